// SPDX-License-Identifier: Apache-2.0
#include "mapping/project.hpp"

#include <algorithm>
#include <cmath>
#include <Eigen/Cholesky>
#include <span>
#include <vector>

#include "base/status.hpp"
#include "mapping/fit.hpp"
#include "mapping/places.hpp"

namespace ss1 {
namespace {

using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Checks that S is finite and symmetric, and that S + tolerance * diag(S) is positive definite. A mean of x^T x in f32
// is so whatever the scales of its inputs; this tolerance is also what fit_tied() adds.
ss1_status check_moment(const float *moment, size_t K) {
    constexpr double tolerance = 1e-3;
    for (size_t i = 0; i < K * K; ++i)  // also where no stored weight stands
        SS1_CHECK(std::isfinite(moment[i]), SS1_ERROR_INVALID_ARGUMENT, "second_moment[%zu][%zu]=%g is not finite",
                  i / K, i % K, static_cast<double>(moment[i]));
    const auto n = static_cast<Eigen::Index>(K);
    matrix s = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(moment, n, n)
                   .cast<double>();
    for (size_t i = 0; i < K; ++i)
        for (size_t k = 0; k < i; ++k) {
            const double a = moment[i * K + k], b = moment[k * K + i];
            const double scale = std::sqrt(std::max(0.0, s(i, i)) * std::max(0.0, s(k, k)));
            SS1_CHECK(std::fabs(a - b) <= tolerance * scale, SS1_ERROR_INVALID_ARGUMENT,
                      "second_moment[%zu][%zu]=%g is not [%zu][%zu]=%g, but it must be symmetric", i, k, a, k, i, b);
        }
    s.diagonal() *= 1 + tolerance;
    s.diagonal().array() += 1e-30;  // for inputs that are always 0
    const Eigen::LLT<Eigen::Ref<matrix>> factors(s);
    SS1_CHECK(factors.info() == Eigen::Success, SS1_ERROR_INVALID_ARGUMENT,
              "second_moment is not positive semidefinite, as a mean of x^T x must be, to %g of its diagonal",
              tolerance);
    return SS1_OK;
}

// Fits all of z before it writes the first value.
ss1_status project_by_moment(const ss1_linear_desc &desc, const float *weight, size_t ldw, const float *moment,
                             float *z, size_t ldz) {
    SS1_TRY(check_moment(moment, desc.K));
    const std::vector<double> second(moment, moment + desc.K * desc.K);
    std::vector<float> fitted;
    SS1_TRY(fit_tied({desc.N, desc.K, weight, ldw, second.data(), nullptr}, desc, fitted));
    const size_t kz = fitted.size() / desc.N;
    for (size_t n = 0; n < desc.N; ++n) std::copy_n(fitted.data() + n * kz, kz, z + n * ldz);
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
    if (moment) return project_by_moment(desc, weight, ldw, moment, z, ldz);
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
