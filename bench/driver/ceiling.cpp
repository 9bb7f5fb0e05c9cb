// SPDX-License-Identifier: Apache-2.0
#include "driver/ceiling.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <vector>
#endif

namespace ss1::bench {

#if defined(__x86_64__)
namespace {

// Runs `loop` once on each thread.
template <class Loop>
void on_threads([[maybe_unused]] uint32_t threads, const Loop &loop) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    loop();
}

// Independent chains hide the latency of 4 cycles at 2 instructions per cycle; the values of
// FMAs converge to 1.
constexpr int chains = 16, fma_steps = 40000;  // about 130 us, much longer than waking a thread takes

__attribute__((target("avx512f"))) void fma_avx512() {
    __m512 sums[chains];
    for (__m512 &sum : sums) sum = _mm512_set1_ps(0.5f);
    const __m512 factor = _mm512_set1_ps(0.5f);
    for (int i = 0; i < fma_steps; ++i) {
#pragma GCC unroll 16
        for (int j = 0; j < chains; ++j) sums[j] = _mm512_fmadd_ps(sums[j], factor, factor);
        asm volatile("");
    }
    for (const __m512 &sum : sums) asm volatile("" ::"v"(sum));
}

__attribute__((target("avx2,fma"))) void fma_avx2() {
    constexpr int fewer = 12;  // there are 16 registers
    __m256 sums[fewer];
    for (__m256 &sum : sums) sum = _mm256_set1_ps(0.5f);
    const __m256 factor = _mm256_set1_ps(0.5f);
    for (int i = 0; i < fma_steps; ++i) {
#pragma GCC unroll 12
        for (int j = 0; j < fewer; ++j) sums[j] = _mm256_fmadd_ps(sums[j], factor, factor);
        asm volatile("");
    }
    for (const __m256 &sum : sums) asm volatile("" ::"x"(sum));
}

// In one asm of 12 instructions, the fewest that hide the latency of 6 cycles: GCC 12 copies the sums around the
// intrinsic, and keeps those of an asm in a loop in memory.
constexpr int dot_chains = 12;
__attribute__((target("avx512f"))) void dot_bf16_avx512() {
    __m512 s[dot_chains];
    for (__m512 &sum : s) sum = _mm512_set1_ps(0.5f);
    const __m512i quarters = _mm512_set1_epi16(0x3e80);  // 0.25
    for (int i = 0; i < fma_steps; ++i)
        asm volatile(
            "vdpbf16ps %12, %12, %0\n\t"
            "vdpbf16ps %12, %12, %1\n\t"
            "vdpbf16ps %12, %12, %2\n\t"
            "vdpbf16ps %12, %12, %3\n\t"
            "vdpbf16ps %12, %12, %4\n\t"
            "vdpbf16ps %12, %12, %5\n\t"
            "vdpbf16ps %12, %12, %6\n\t"
            "vdpbf16ps %12, %12, %7\n\t"
            "vdpbf16ps %12, %12, %8\n\t"
            "vdpbf16ps %12, %12, %9\n\t"
            "vdpbf16ps %12, %12, %10\n\t"
            "vdpbf16ps %12, %12, %11\n\t"
            : "+v"(s[0]), "+v"(s[1]), "+v"(s[2]), "+v"(s[3]), "+v"(s[4]), "+v"(s[5]), "+v"(s[6]), "+v"(s[7]),
              "+v"(s[8]), "+v"(s[9]), "+v"(s[10]), "+v"(s[11])
            : "v"(quarters));
    for (const __m512 &sum : s) asm volatile("" ::"v"(sum));
}

constexpr size_t tile_bytes = 1024, k_steps = 16, b_bytes = size_t{1} << 20;
constexpr int amx_steps = 8192;  // steps of four products: 16 passes over B, about 180 us

struct alignas(64) tile_config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

const tile_config config;  // not a local: GCC assumes that the instruction reads only its first 8 bytes

// Tiles 0-3 hold sums, 4-5 parts of A, 6-7 parts of B.
template <bool bf16>
__attribute__((target("amx-tile,amx-bf16,amx-int8"), always_inline)) inline void multiply_tiles() {
    if constexpr (bf16) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    } else {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}

template <bool bf16>
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) void amx_registers(const uint8_t *a) {
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a, 64);
    _tile_loadd(6, a, 64);
    _tile_loadd(7, a, 64);
    for (int i = 0; i < amx_steps; ++i) multiply_tiles<bf16>();
    _tile_release();
}

// The inner loop of a matrix product: A has 32 rows and is in L1, B is in L2.
template <bool bf16>
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) void amx_from_l2(const uint8_t *a, const uint8_t *b) {
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < amx_steps; ++i) {
        const uint8_t *a_tiles = a + i % k_steps * 2 * tile_bytes, *b_tiles = b + i * 2 * tile_bytes % b_bytes;
        _tile_stream_loadd(6, b_tiles, 64);
        _tile_stream_loadd(7, b_tiles + tile_bytes, 64);
        _tile_loadd(4, a_tiles, 64);
        _tile_loadd(5, a_tiles + tile_bytes, 64);
        multiply_tiles<bf16>();
    }
    _tile_release();
}

// Returns whether the CPU has AMX and the system lets this process use it.
bool has_amx() {
    constexpr unsigned bf16_tile_int8 = 1u << 22 | 1u << 24 | 1u << 25;
    constexpr long request_permission = 0x1023, tile_data = 18;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & bf16_tile_int8) == bf16_tile_int8 &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

template <bool bf16>
ceiling amx_ceiling(uint32_t threads) {
    // All threads read the same source, each through its own L2. The values are zeros: the clock does not depend on
    // them here.
    const auto a = std::make_shared<std::vector<uint8_t>>(2 * k_steps * tile_bytes + 64);
    const auto b = std::make_shared<std::vector<uint8_t>>(b_bytes + 64);
    const auto aligned = [](const std::vector<uint8_t> &bytes) {
        return bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    };
    constexpr double products = 16 * 16 * (bf16 ? 32 : 64);
    return {bf16 ? "AMX bf16" : "AMX int8", 4.0 * amx_steps * 2 * products * threads,
            [=] { on_threads(threads, [&] { amx_registers<bf16>(aligned(*a)); }); },
            [=] { on_threads(threads, [&] { amx_from_l2<bf16>(aligned(*a), aligned(*b)); }); }};
}

}  // namespace

ceiling make_ceiling(const std::string &dtype, uint32_t threads) {
    if (dtype != "f32" && has_amx()) return dtype == "bf16" ? amx_ceiling<true>(threads) : amx_ceiling<false>(threads);
    if (dtype == "bf16" && __builtin_cpu_supports("avx512bf16"))
        return {"vdpbf16ps",
                2.0 * 32 * dot_chains * fma_steps * threads,
                [=] { on_threads(threads, dot_bf16_avx512); },
                {}};
    if (__builtin_cpu_supports("avx512f"))
        return {"FMA avx512", 2.0 * 16 * chains * fma_steps * threads, [=] { on_threads(threads, fma_avx512); }, {}};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return {"FMA avx2", 2.0 * 8 * 12 * fma_steps * threads, [=] { on_threads(threads, fma_avx2); }, {}};
    return {};
}
#else
ceiling make_ceiling(const std::string &, uint32_t) {
    return {};
}
#endif

}  // namespace ss1::bench
