// SPDX-License-Identifier: Apache-2.0
// Expands kernels.inc: first to the declarations of all kernels, then once per family to its table.
#include "kernels.hpp"

#include "simd_config.h"

namespace ss1 {

#define SS1_GEMM(name, ...) void name(const gemm_args &) noexcept;
#define SS1_SKETCH(name, ...) void name(const sketch_args &) noexcept;
#define SS1_QUANTIZE(name, ...) void name(const quantize_args &) noexcept;
#define SS1_STORE(name, ...) void name(const store_args &) noexcept;
#define SS1_ACTIVATION(name, ...) void name(const activation_args &) noexcept;
#define SS1_SOFTMAX(name, ...) void name(const softmax_args &) noexcept;
#define SS1_ATTEND(name, ...) void name(const attend_args &) noexcept;
#define SS1_NORM(name, ...) void name(const norm_args &) noexcept;
#define SS1_BAG(name, ...) bool name(const bag_args &) noexcept;
#define SS1_INTERACT(name, ...) void name(const interact_args &) noexcept;
#define SS1_CROSS(name, ...) void name(const cross_args &) noexcept;
#include "kernels.inc"

namespace {

#define SS1_GEMM(name, needs, a, b, fused, mr, nt, kr, k_multiple, max_n) \
    {#name, name, needs, dtype::a, dtype::b, fused, mr, nt, kr, k_multiple, max_n},
constexpr gemm_kernel gemm_rows[] = {
#include "kernels.inc"
};

#define SS1_SKETCH(name, needs, x, s) {#name, name, needs, dtype::x, dtype::s},
constexpr sketch_kernel sketch_rows[] = {
#include "kernels.inc"
};

#define SS1_QUANTIZE(name, needs) {#name, name, needs},
constexpr quantize_kernel quantize_rows[] = {
#include "kernels.inc"
};

#define SS1_STORE(name, needs, y) {#name, name, needs, dtype::y},
constexpr store_kernel store_rows[] = {
#include "kernels.inc"
};

#define SS1_ACTIVATION(name, needs, what) {#name, name, needs, activation::what},
constexpr activation_kernel activation_rows[] = {
#include "kernels.inc"
};

#define SS1_SOFTMAX(name, needs) {#name, name, needs},
constexpr softmax_kernel softmax_rows[] = {
#include "kernels.inc"
};

#define SS1_ATTEND(name, needs, d_multiple) {#name, name, needs, d_multiple},
constexpr attend_kernel attend_rows[] = {
#include "kernels.inc"
};

#define SS1_NORM(name, needs) {#name, name, needs},
constexpr norm_kernel norm_rows[] = {
#include "kernels.inc"
};

#define SS1_BAG(name, needs, format) {#name, name, needs, row_format::format},
constexpr bag_kernel bag_rows[] = {
#include "kernels.inc"
};

#define SS1_INTERACT(name, needs) {#name, name, needs},
constexpr interact_kernel interact_rows[] = {
#include "kernels.inc"
};

#define SS1_CROSS(name, needs) {#name, name, needs},
constexpr cross_kernel cross_rows[] = {
#include "kernels.inc"
};

template <class K, size_t count>
constexpr table<K> table_of(const K (&rows)[count]) {
    return {rows, count};
}

}  // namespace

table<gemm_kernel> gemm_kernels() noexcept {
    return table_of(gemm_rows);
}
table<sketch_kernel> sketch_kernels() noexcept {
    return table_of(sketch_rows);
}
table<quantize_kernel> quantize_kernels() noexcept {
    return table_of(quantize_rows);
}
table<store_kernel> store_kernels() noexcept {
    return table_of(store_rows);
}
table<activation_kernel> activation_kernels() noexcept {
    return table_of(activation_rows);
}
table<softmax_kernel> softmax_kernels() noexcept {
    return table_of(softmax_rows);
}
table<attend_kernel> attend_kernels() noexcept {
    return table_of(attend_rows);
}
table<norm_kernel> norm_kernels() noexcept {
    return table_of(norm_rows);
}
table<bag_kernel> bag_kernels() noexcept {
    return table_of(bag_rows);
}
table<interact_kernel> interact_kernels() noexcept {
    return table_of(interact_rows);
}
table<cross_kernel> cross_kernels() noexcept {
    return table_of(cross_rows);
}

#if !SS1_HAVE_AMX
void amx_configure() noexcept {}
void amx_release() noexcept {}
#endif

const gemm_kernel &select_gemm(dtype b, size_t n, dtype narrow_a, isa::mask usable) noexcept {
    return *gemm_kernels().find(
        usable, [=](const gemm_kernel &k) { return k.b == b && (k.max_n == 0 || (n <= k.max_n && k.a == narrow_a)); });
}

const sketch_kernel &select_sketch(dtype x, dtype to, isa::mask usable) noexcept {
    return *sketch_kernels().find(usable, [x, to](const sketch_kernel &k) { return k.x == x && k.s == to; });
}

const store_kernel &select_store(dtype y, isa::mask usable) noexcept {
    return *store_kernels().find(usable, [y](const store_kernel &k) { return k.y == y; });
}

const bag_kernel &select_bag(row_format format, isa::mask usable) noexcept {
    return *bag_kernels().find(usable, [format](const bag_kernel &k) { return k.format == format; });
}

const activation_kernel *select_activation(activation what, isa::mask usable) noexcept {
    return activation_kernels().find(usable, [what](const activation_kernel &k) { return k.what == what; });
}

}  // namespace ss1
