// SPDX-License-Identifier: Apache-2.0
// Expands kernels.inc twice: into the declarations of all kernels, then into a table for each family.
#include "kernels.hpp"

#include <type_traits>

#include "simd_config.h"

namespace ss1 {

template <class Kernel>
using function_of = std::remove_pointer_t<decltype(Kernel::run)>;

#define SS1_FAMILY(family)
#define SS1_KERNEL(family, name, ...) function_of<family##_kernel> name;
#define SS1_PANEL(name, ...) void name(const gemm_panel_args &) noexcept;
#define SS1_FUSED(name, ...) void name(const gemm_fused_args &) noexcept;
#define SS1_END(family)
#include "kernels.inc"

#if SS1_HAVE_AMX
void amx_configure() noexcept;
void amx_release() noexcept;
#endif

namespace {

using enum dtype;

// FMAs run at 24 to 32 multiply-adds a cycle (50 to 90 a ns), bf16 dot products at 64 where they are fast (250 a ns),
// tiles at 350 to 500 (1000 a ns).
constexpr gemm_rates fma_rates = {.macs_per_cycle = 24, .macs_per_byte = 2, .flops_per_ns = 100};
constexpr gemm_rates int8_rates = {.macs_per_cycle = 24, .macs_per_byte = 2, .flops_per_ns = 300};
#if SS1_HAVE_AVX512BF16
constexpr gemm_rates dot_rates = {.macs_per_cycle = 48, .macs_per_byte = 4, .flops_per_ns = 300};
#endif
#if SS1_HAVE_AMX
constexpr gemm_rates tile_rates = {.macs_per_cycle = 400, .macs_per_byte = 40, .flops_per_ns = 1000};
constexpr kernel_scope amx_scope = {amx_configure, amx_release};
#endif

}  // namespace

// clang-format off
#define SS1_FAMILY(family) \
    table<family##_kernel> family##_kernels() noexcept { \
        static constexpr family##_kernel rows[] = {
#define SS1_KERNEL(family, name, ...) {#name, name, __VA_ARGS__},
#define SS1_PANEL(name, ...) {#name, name, nullptr, __VA_ARGS__},
#define SS1_FUSED(name, ...) {#name, nullptr, name, __VA_ARGS__},
#define SS1_END(family) }; \
        return {#family, rows, sizeof rows / sizeof *rows}; \
    }
// clang-format on
#include "kernels.inc"

const gemm_kernel &select_gemm(dtype b, size_t n, dtype narrow_a, isa::mask usable) noexcept {
    return *gemm_kernels().find(
        usable, [=](const gemm_kernel &k) { return k.b == b && (k.max_n == 0 || (n <= k.max_n && k.a == narrow_a)); });
}

const sketch_kernel &select_sketch(dtype x, dtype to, isa::mask usable) noexcept {
    return *sketch_kernels().find(usable, [x, to](const sketch_kernel &k) { return k.x == x && k.s == to; });
}

const quantize_kernel &select_quantize(dtype s, isa::mask usable) noexcept {
    return *quantize_kernels().find(usable, [s](const quantize_kernel &k) { return k.s == s; });
}

const store_kernel &select_store(dtype y, isa::mask usable) noexcept {
    return *store_kernels().find(usable, [y](const store_kernel &k) { return k.y == y; });
}

const attend_kernel &select_attend(dtype type, size_t d, isa::mask usable) noexcept {
    return *attend_kernels().find(usable,
                                  [=](const attend_kernel &k) { return k.type == type && d % k.d_multiple == 0; });
}

const bag_kernel &select_bag(row_format format, isa::mask usable) noexcept {
    return *bag_kernels().find(usable, [format](const bag_kernel &k) { return k.format == format; });
}

const activation_kernel *select_activation(activation what, isa::mask usable) noexcept {
    return activation_kernels().find(usable, [what](const activation_kernel &k) { return k.what == what; });
}

}  // namespace ss1
