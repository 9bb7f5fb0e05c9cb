// SPDX-License-Identifier: Apache-2.0
// With C = E[x^T x], or the covariance of x where the bias is corrected, all fits minimise tr(D C D^T), D = W - W': the
// mean square of the outputs' difference.
#include "mapping/fit.hpp"

#include <algorithm>
#include <cmath>
#include <span>

// GCC 12 takes the buffers that Eigen's products write for uninitialised results.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

#include "base/status.hpp"
#include "mapping/places.hpp"

namespace ss1 {
namespace {

// Eigen keeps the cache sizes in a static variable of a function: this sets it when the library is loaded.
[[maybe_unused]] const auto eigen_l1_bytes = Eigen::l1CacheSize();

using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using float_rows =
    Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0, Eigen::OuterStride<>>;

Eigen::Index index(size_t v) noexcept {
    return static_cast<Eigen::Index>(v);
}

matrix to_matrix(const std::vector<float> &values, size_t rows) {
    const size_t columns = rows ? values.size() / rows : 0;
    return float_rows(values.data(), index(rows), index(columns), Eigen::OuterStride<>(index(columns))).cast<double>();
}

std::vector<float> to_floats(const matrix &values) {
    std::vector<float> floats(static_cast<size_t>(values.size()));
    std::transform(values.data(), values.data() + values.size(), floats.begin(),
                   [](double v) { return static_cast<float>(v); });
    return floats;
}

// The weight and the moments in f64.
struct problem {
    matrix w;     // [N, K]
    matrix c;     // [K, K]; empty: the identity
    matrix root;  // C = root root^T; empty until low_rank() needs it
};

ss1_status read_problem(const dense_layer &layer, problem &out) {
    const Eigen::Index N = index(layer.N), K = index(layer.K);
    out.w = float_rows(layer.weight, N, K, Eigen::OuterStride<>(index(layer.ldw))).cast<double>();
    if (!layer.second) return SS1_OK;
    out.c = Eigen::Map<const matrix>(layer.second, K, K);
    if (layer.mean) {
        const Eigen::Map<const Eigen::VectorXd> mean(layer.mean, K);
        out.c -= mean * mean.transpose();
    }
    SS1_CHECK(out.c.allFinite(), SS1_ERROR_INVALID_ARGUMENT, "the moments of the inputs are not finite");
    return SS1_OK;
}

constexpr const char *not_a_moment = "second_moment is not positive semidefinite, as a mean of x^T x must be";

// D C.
matrix weighted(const problem &p, const matrix &d) {
    return p.c.size() ? matrix(d * p.c) : d;
}

// Factors a moment of sketches, after adding 1e-3 of its mean diagonal: few rows then do not decide all weights.
ss1_status factor(matrix m, Eigen::LLT<matrix> &out) {
    m.diagonal().array() += std::max(1e-3 * m.trace() / static_cast<double>(m.rows()), 1e-30);
    out.compute(m);
    SS1_CHECK(m.allFinite() && out.info() == Eigen::Success, SS1_ERROR_INVALID_ARGUMENT, "%s", not_a_moment);
    return SS1_OK;
}

// Writes the `rank` eigenvectors of the largest eigenvalues, as columns, largest first. Sums in f32 may make an
// eigenvalue of 0 a little negative.
ss1_status largest_eigenvectors(const matrix &symmetric, Eigen::Index rank, matrix &vectors, Eigen::VectorXd &values) {
    const Eigen::SelfAdjointEigenSolver<matrix> solver(symmetric);
    SS1_CHECK(solver.info() == Eigen::Success, SS1_ERROR_INVALID_ARGUMENT,
              "the eigenvalues of a matrix of %td x %td were not found: are its values finite?", symmetric.rows(),
              symmetric.cols());
    const double least = solver.eigenvalues()[0], most = solver.eigenvalues()[symmetric.rows() - 1];
    SS1_CHECK(least >= -1e-4 * std::fabs(most), SS1_ERROR_INVALID_ARGUMENT, "%s", not_a_moment);
    vectors = solver.eigenvectors().rightCols(rank).rowwise().reverse();
    values = solver.eigenvalues().tail(rank).reverse().cwiseMax(0.0);
    return SS1_OK;
}

// The best low-rank D' for D: with D C^(1/2) = P S Q^T it is P_r P_r^T D, so that C^(-1/2) is not needed and inputs
// without energy do no harm. P comes from the smaller of D C D^T [N, N] and its counterpart [K, K].
ss1_status low_rank(problem &p, const matrix &d, size_t rank, matrix &u, matrix &v) {
    Eigen::VectorXd values;
    if (d.rows() <= d.cols()) {
        SS1_TRY(largest_eigenvectors(weighted(p, d) * d.transpose(), index(rank), u, values));
    } else {
        if (p.c.size() && p.root.size() == 0) {
            SS1_TRY(largest_eigenvectors(p.c, p.c.rows(), p.root, values));
            p.root *= values.cwiseSqrt().asDiagonal();
        }
        const matrix scaled = p.c.size() ? matrix(d * p.root) : d;
        matrix q;
        SS1_TRY(largest_eigenvectors(scaled.transpose() * scaled, index(rank), q, values));
        u = scaled * q;
        // A direction of hardly any energy is not known well enough to be orthogonal to the others.
        for (Eigen::Index i = 0; i < u.cols(); ++i)
            u.col(i) *= values[i] > 1e-10 * values[0] ? 1 / std::sqrt(values[i]) : 0.0;
    }
    v = u.transpose() * d;
    return SS1_OK;
}

// A^T C A of the places of an output block, and A^T times `cd`.
void add_products(const problem &p, std::span<const place> places, const matrix &cd, matrix &gram, matrix &right) {
    for (size_t k = 0; k < places.size(); ++k) {
        if (places[k].column == npos) continue;
        const double sign = places[k].sign;
        const Eigen::Index row = index(places[k].column);
        right.row(row) += sign * cd.row(index(k));
        if (!p.c.size()) gram(row, row) += 1;
        for (size_t other = 0; p.c.size() && other < places.size(); ++other)
            if (places[other].column != npos)
                gram(row, index(places[other].column)) += sign * places[other].sign * p.c(index(k), index(other));
    }
}

// Computes Z_j^T = (A^T C A + lambda I)^-1 A^T C D_j^T for each output block j, A the K x Kz matrix of its places.
ss1_status tied(const problem &p, const matrix &d, const mapping &map, matrix &z) {
    const size_t kz = map.stored_columns;
    const matrix cd = weighted(p, d).transpose();  // [K, N]
    std::vector<place> places(map.desc.K);
    z.resize(d.rows(), index(kz));
    for (size_t j = 0; j < map.output_blocks(); ++j) {
        const Eigen::Index n0 = index(j * map.desc.block_n), n = std::min(d.rows() - n0, index(map.desc.block_n));
        list_places(map, j, places);
        matrix gram = matrix::Zero(index(kz), index(kz)), right = matrix::Zero(index(kz), n);
        add_products(p, places, cd.middleCols(n0, n), gram, right);
        auto fitted = z.middleRows(n0, n);
        if (!p.c.size()) {  // the mean of the tied entries; 0 where none is
            fitted = (gram.diagonal().cwiseMax(1.0).cwiseInverse().asDiagonal() * right).transpose();
            continue;
        }
        Eigen::LLT<matrix> factors;
        SS1_TRY(factor(std::move(gram), factors));
        fitted = factors.solve(right).transpose();
    }
    return SS1_OK;
}

// The dense weight of z.
matrix expand_tied(const matrix &z, const mapping &map) {
    matrix w = matrix::Zero(z.rows(), index(map.desc.K));
    std::vector<place> places(map.desc.K);
    for (size_t j = 0; j < map.output_blocks(); ++j) {
        list_places(map, j, places);
        for (size_t n = j * map.desc.block_n; n < std::min<size_t>(map.desc.N, (j + 1) * size_t{map.desc.block_n}); ++n)
            for (size_t k = 0; k < map.desc.K; ++k)
                if (places[k].column != npos)
                    w(index(n), index(k)) = places[k].sign * z(index(n), index(places[k].column));
    }
    return w;
}

// Rounds the parts to f32 and measures what they lose.
void finish(const problem &p, const dense_layer &layer, const matrix &z, const mapping *map, const matrix &u,
            const matrix &v, fitted_layer &out) {
    out = {to_floats(z), to_floats(u), to_floats(v), {}, 0};
    matrix d = p.w;
    if (map) d -= expand_tied(to_matrix(out.z, layer.N), *map);
    if (u.size()) d -= to_matrix(out.u, layer.N) * to_matrix(out.v, static_cast<size_t>(v.rows()));
    if (layer.mean) out.bias = to_floats(d * Eigen::Map<const Eigen::VectorXd>(layer.mean, index(layer.K)));
    const double lost = weighted(p, d).cwiseProduct(d).sum(), all = weighted(p, p.w).cwiseProduct(p.w).sum();
    out.error = all > 0 ? std::max(lost, 0.0) / all : 0.0;
}

}  // namespace

ss1_status fit_tied(const dense_layer &layer, const ss1_linear_desc &desc, std::vector<float> &z) {
    problem p;
    SS1_TRY(read_problem(layer, p));
    matrix fitted;
    SS1_TRY(tied(p, p.w, mapping(desc), fitted));
    z = to_floats(fitted);
    return SS1_OK;
}

ss1_status fit_layer(const dense_layer &layer, const ss1_linear_desc *desc, size_t rank, fitted_layer &out) {
    problem p;
    SS1_TRY(read_problem(layer, p));
    matrix z, u, v;
    if (!desc) {
        SS1_TRY(low_rank(p, p.w, rank, u, v));
        finish(p, layer, z, nullptr, u, v, out);
        return SS1_OK;
    }
    const mapping map(*desc);
    constexpr int alternations = 4;
    for (int i = 0; i < (rank ? alternations : 1); ++i) {
        if (rank) SS1_TRY(low_rank(p, i ? matrix(p.w - expand_tied(z, map)) : p.w, rank, u, v));
        SS1_TRY(tied(p, rank ? matrix(p.w - u * v) : p.w, map, z));
    }
    finish(p, layer, z, &map, u, v, out);
    return SS1_OK;
}

}  // namespace ss1
