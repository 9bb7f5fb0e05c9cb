// SPDX-License-Identifier: Apache-2.0
#include "convert/fit_linear.hpp"

#include <algorithm>
#include <vector>

#include "base/span.hpp"
#include "base/status.hpp"
#include "mapping/fit.hpp"

namespace ss1 {
namespace {

// An output exists exactly where its part does.
ss1_status check_output(const char *name, const void *output, bool has_part, const char *rule) {
    SS1_CHECK(!has_part || output, SS1_ERROR_INVALID_ARGUMENT, "args.%s is NULL: %s", name, rule);
    SS1_CHECK(has_part || !output, SS1_ERROR_INVALID_ARGUMENT, "args.%s is set: %s", name, rule);
    return SS1_OK;
}

ss1_status check_args(const ss1_linear_desc &desc, size_t kz, const ss1_fit_args &args, size_t ldw, size_t ldz) {
    SS1_CHECK(args.weight, SS1_ERROR_INVALID_ARGUMENT, "args.weight is NULL");
    SS1_CHECK(!args.mean || args.second_moment, SS1_ERROR_INVALID_ARGUMENT,
              "args.mean is set without args.second_moment");
    SS1_CHECK(ldw >= desc.K, SS1_ERROR_INVALID_ARGUMENT, "args.ldw=%zu is below K=%zu", ldw, desc.K);
    SS1_CHECK(ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "args.ldz=%zu is below the stored columns Kz=%zu", ldz, kz);
    SS1_TRY(check_output("z", args.z, kz > 0, "it belongs to a tied part"));
    SS1_TRY(check_output("u", args.u, desc.rank > 0, "it belongs to desc.rank > 0"));
    SS1_TRY(check_output("v", args.v, desc.rank > 0, "it belongs to desc.rank > 0"));
    SS1_TRY(check_output("bias", args.bias, args.mean != nullptr, "it belongs to args.mean"));
    memory_span span{};
    SS1_TRY(matrix_span("args.weight", args.weight, desc.N, desc.K, ldw, span));
    if (args.second_moment)
        SS1_TRY(matrix_span("args.second_moment", args.second_moment, desc.K, desc.K, desc.K, span));
    return kz ? matrix_span("args.z", args.z, desc.N, kz, ldz, span) : SS1_OK;
}

std::vector<double> to_doubles(const float *values, size_t n) {
    return values ? std::vector<double>(values, values + n) : std::vector<double>();
}

}  // namespace

ss1_status fit_linear(const ss1_linear_desc &desc, size_t kz, const ss1_fit_args &args) {
    const size_t ldw = args.ldw ? args.ldw : desc.K, ldz = args.ldz ? args.ldz : kz;
    SS1_TRY(check_args(desc, kz, args, ldw, ldz));
    const std::vector<double> second = to_doubles(args.second_moment, desc.K * desc.K),
                              mean = to_doubles(args.mean, desc.K);
    fitted_layer fitted;
    SS1_TRY(fit_layer({desc.N, desc.K, args.weight, ldw, args.second_moment ? second.data() : nullptr,
                       args.mean ? mean.data() : nullptr},
                      kz ? &desc : nullptr, desc.rank, fitted));
    for (size_t n = 0; kz && n < desc.N; ++n) std::copy_n(fitted.z.data() + n * kz, kz, args.z + n * ldz);
    std::ranges::copy(fitted.u, args.u);
    std::ranges::copy(fitted.v, args.v);
    std::ranges::copy(fitted.bias, args.bias);
    if (args.error) *args.error = fitted.error;
    return SS1_OK;
}

}  // namespace ss1
