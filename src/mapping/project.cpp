// SPDX-License-Identifier: Apache-2.0
#include "mapping/project.hpp"

#include <algorithm>
#include <cmath>
#include <Eigen/Cholesky>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "mapping/mapping.hpp"

namespace ss1 {
namespace {

// The stored column and the sign of input k in one output block; column = npos if no stored weight multiplies it.
struct place {
    size_t column;
    float sign;
};
constexpr size_t npos = static_cast<size_t>(-1);

// Lists the K places of output block j by the definition, W[i*B_K + t, n] = s Z[n, g*B_K + (t - r) mod B_K], in one
// loop.
void list_places(const mapping &map, size_t j, std::span<place> places) noexcept {
    const size_t bk = map.desc.block_k, c = map.desc.c;
    if (c == 0) {
        std::fill(places.begin(), places.end(), place{npos, 1.0f});
        return;
    }
    for (size_t k = 0; k < map.desc.K; ++k) {
        const size_t i = k / bk, t = k % bk, g = i / c, q = i % c;
        const sketch_entry e = map.entry(j, g, q);
        const size_t column = c == 1 ? k : g * bk + (t + bk - e.rotation) % bk;
        places[k] = {column < map.live_columns ? column : npos, e.negative ? -1.0f : 1.0f};
    }
}

// Eigen keeps the cache sizes in a static variable of a function: this sets it when the library is loaded.
[[maybe_unused]] const auto eigen_l1_bytes = Eigen::l1CacheSize();

using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Computes Z_j^T = (A^T S A + lambda I)^-1 A^T S W_j^T for outputs n0..n1-1; A is the K x Kz matrix of `places`.
ss1_status fit_block(std::span<const place> places, size_t kz, const float *weight, size_t ldw, const float *moment,
                     size_t n0, size_t n1, matrix &fit) {
    const size_t K = places.size(), n = n1 - n0;
    const auto index = [](size_t v) { return static_cast<Eigen::Index>(v); };
    const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0,
                     Eigen::OuterStride<>>
        w(weight + n0 * ldw, index(n), index(K), Eigen::OuterStride<>(index(ldw)));
    const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> s(moment, index(K),
                                                                                                    index(K));
    const matrix sw = s.cast<double>() * w.cast<double>().transpose();  // K x n
    matrix gram = matrix::Zero(index(kz), index(kz)), right = matrix::Zero(index(kz), index(n));
    for (size_t k = 0; k < K; ++k) {
        if (places[k].column == npos) continue;
        const double sign = places[k].sign;
        right.row(index(places[k].column)) += sign * sw.row(index(k));
        for (size_t other = 0; other < K; ++other)
            if (places[other].column != npos)
                gram(index(places[k].column), index(places[other].column)) +=
                    sign * places[other].sign * static_cast<double>(s(index(k), index(other)));
    }
    const double ridge = std::max(1e-3 * gram.trace() / static_cast<double>(kz), 1e-30);
    gram.diagonal().array() += ridge;
    const Eigen::LLT<matrix> factors(gram);
    SS1_CHECK(gram.allFinite() && factors.info() == Eigen::Success, SS1_ERROR_INVALID_ARGUMENT,
              "second_moment is not positive semidefinite, as a mean of x^T x must be");
    fit = factors.solve(right);
    return SS1_OK;
}

// Solves every block before it writes the first one.
ss1_status project_by_moment(const mapping &map, const float *weight, size_t ldw, const float *moment, float *z,
                             size_t ldz) {
    const ss1_linear_desc &desc = map.desc;
    for (size_t i = 0; i < desc.K * desc.K; ++i)  // also where no stored weight stands
        SS1_CHECK(std::isfinite(moment[i]), SS1_ERROR_INVALID_ARGUMENT, "second_moment[%zu][%zu]=%g is not finite",
                  i / desc.K, i % desc.K, static_cast<double>(moment[i]));
    std::vector<matrix> fits(map.output_blocks());
    std::vector<place> places(desc.K);
    for (size_t j = 0; j < fits.size(); ++j) {
        const size_t n0 = j * desc.block_n, n1 = std::min<size_t>(desc.N, n0 + desc.block_n);
        list_places(map, j, places);
        SS1_TRY(fit_block(places, map.stored_columns, weight, ldw, moment, n0, n1, fits[j]));
    }
    for (size_t n = 0; n < desc.N; ++n) {
        const auto column = fits[n / desc.block_n].col(static_cast<Eigen::Index>(n % desc.block_n));
        std::copy(column.begin(), column.end(), z + n * ldz);
    }
    return SS1_OK;
}

void mean_row(std::span<const place> places, std::span<const uint32_t> count, std::span<double> sum,
              const float *weight, float *z) noexcept {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t k = 0; k < places.size(); ++k)
        if (places[k].column != npos) sum[places[k].column] += static_cast<double>(places[k].sign * weight[k]);
    for (size_t k = 0; k < count.size(); ++k) z[k] = count[k] ? static_cast<float>(sum[k] / count[k]) : 0.0f;
}

}  // namespace

ss1_status project(const ss1_linear_desc &desc, const float *weight, size_t ldw, const float *moment, float *z,
                   size_t ldz) {
    const mapping map(desc);
    if (moment) return project_by_moment(map, weight, ldw, moment, z, ldz);
    // All memory is taken before the first output is written.
    std::vector<place> places(desc.K);
    std::vector<uint32_t> count(map.stored_columns);
    std::vector<double> sum(map.stored_columns);
    for (size_t j = 0; j < map.output_blocks(); ++j) {
        list_places(map, j, places);
        const size_t n0 = j * desc.block_n, n1 = std::min<size_t>(desc.N, n0 + desc.block_n);
        std::fill(count.begin(), count.end(), 0u);
        for (const place &p : places)
            if (p.column != npos) ++count[p.column];
        for (size_t n = n0; n < n1; ++n) mean_row(places, count, sum, weight + n * ldw, z + n * ldz);
    }
    return SS1_OK;
}

void expand(const ss1_linear_desc &desc, const ss1_linear_weights &from, float *weight, size_t ldw) {
    const mapping map(desc);
    // All memory is taken before the first output is written.
    std::vector<place> places(desc.K);
    std::vector<double> low_rank(desc.K);
    for (size_t j = 0; j < map.output_blocks(); ++j) {
        list_places(map, j, places);
        for (size_t n = j * desc.block_n; n < std::min<size_t>(desc.N, (j + 1) * size_t{desc.block_n}); ++n) {
            std::fill(low_rank.begin(), low_rank.end(), 0.0);
            for (size_t i = 0; i < desc.rank; ++i)
                for (size_t k = 0; k < desc.K; ++k)
                    low_rank[k] += static_cast<double>(from.u[n * desc.rank + i]) * from.v[i * desc.K + k];
            for (size_t k = 0; k < desc.K; ++k) {
                const place &p = places[k];
                const float tied = p.column == npos ? 0.0f : p.sign * from.z[n * from.ldz + p.column];
                weight[n * ldw + k] = desc.rank ? static_cast<float>(tied + low_rank[k]) : tied;
            }
        }
    }
}

}  // namespace ss1
