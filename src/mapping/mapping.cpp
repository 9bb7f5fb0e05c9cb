// SPDX-License-Identifier: Apache-2.0
#include "mapping/mapping.hpp"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <random>

#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr uint32_t authors_step = 8;       // V of the authors' code
constexpr uint64_t authors_prime = 45007;  // R0, and the modulus of R1..R3
constexpr uint32_t default_block_k = 64;
constexpr uint32_t default_step = 16;  // a rotation then selects whole vectors and never shuffles

// Gives about four output blocks where N allows: W can then have full rank at c = 4 and the sketches stay cheap.
uint32_t default_block_n(size_t N) noexcept {
    return static_cast<uint32_t>(std::clamp<size_t>(64 * ((N + 255) / 256), 256, 512));
}

uint32_t mix(uint32_t h) noexcept {
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    return h ^ (h >> 16);
}

bool power_of_two(uint32_t v) noexcept {
    return v && (v & (v - 1)) == 0;
}

const char *dtype_name(ss1_dtype dtype) noexcept {
    constexpr const char *names[] = {"default", "f32", "bf16", "f16", "i8", "u8", "i32", "i64"};
    return names[dtype];
}

ss1_status check_dtype(ss1_dtype &dtype, const char *field, std::initializer_list<ss1_dtype> supported,
                       const char *supported_names) noexcept {
    if (dtype == SS1_DTYPE_DEFAULT) dtype = SS1_DTYPE_F32;
    SS1_CHECK(dtype >= SS1_DTYPE_F32 && dtype <= SS1_DTYPE_I64, SS1_ERROR_INVALID_ARGUMENT,
              "%s=%d is not a value of ss1_dtype", field, static_cast<int>(dtype));
    SS1_CHECK(std::find(supported.begin(), supported.end(), dtype) != supported.end(), SS1_ERROR_UNSUPPORTED,
              "%s=%s is not one of %s", field, dtype_name(dtype), supported_names);
    return SS1_OK;
}

ss1_status check_mapping_fields(const ss1_linear_desc &desc) noexcept {
    const uint32_t bk = desc.block_k;
    SS1_CHECK(power_of_two(bk) && bk >= 16 && bk <= 256, SS1_ERROR_INVALID_ARGUMENT,
              "block_k=%u is not one of 16, 32, 64, 128, 256", bk);
    SS1_CHECK(power_of_two(desc.step) && desc.step <= bk, SS1_ERROR_INVALID_ARGUMENT,
              "step=%u is not a power of two that divides block_k=%u", desc.step, bk);
    SS1_CHECK(desc.scheme != SS1_SCHEME_REFERENCE || desc.step == authors_step, SS1_ERROR_INVALID_ARGUMENT,
              "step=%u: the reference scheme always has step=%u", desc.step, authors_step);
    SS1_CHECK(desc.block_n % 16 == 0, SS1_ERROR_INVALID_ARGUMENT, "block_n=%u is not a multiple of 16", desc.block_n);
    SS1_CHECK(desc.c <= 1 || size_t{desc.c} <= desc.K / bk, SS1_ERROR_INVALID_ARGUMENT,
              "K=%zu is below c*block_k=%u*%u: use a dense layer (c=1) or a smaller block_k", desc.K, desc.c, bk);
    return SS1_OK;
}

ss1_status fill_defaults(ss1_linear_desc &desc) noexcept {
    if (desc.c == 0 && desc.rank == 0) desc.c = 1;
    if (desc.scheme == SS1_SCHEME_DEFAULT) desc.scheme = SS1_SCHEME_MIXED;
    SS1_CHECK(desc.scheme == SS1_SCHEME_REFERENCE || desc.scheme == SS1_SCHEME_MIXED, SS1_ERROR_INVALID_ARGUMENT,
              "scheme=%d is not a value of ss1_scheme", static_cast<int>(desc.scheme));
    if (desc.block_k == 0) desc.block_k = default_block_k;
    if (desc.step == 0) desc.step = desc.scheme == SS1_SCHEME_REFERENCE ? authors_step : default_step;
    if (desc.block_n == 0) desc.block_n = default_block_n(desc.N);
    // "All": a single block holds every output.
    if (desc.block_n == SS1_BLOCK_N_ALL) desc.block_n = static_cast<uint32_t>((desc.N + 15) / 16 * 16);
    return SS1_OK;
}

}  // namespace

ss1_status linear_resolve(ss1_linear_desc &desc, size_t *stored_columns) noexcept {
    constexpr size_t limit = size_t{1} << 31;  // of K and N, so that their product fits 62 bits
    SS1_CHECK(desc.K >= 1 && desc.K <= limit, SS1_ERROR_INVALID_ARGUMENT, "K=%zu is not in 1..2^31", desc.K);
    SS1_CHECK(desc.N >= 1 && desc.N <= limit, SS1_ERROR_INVALID_ARGUMENT, "N=%zu is not in 1..2^31", desc.N);
    SS1_CHECK(desc.K <= std::numeric_limits<size_t>::max() / 8 / (desc.N + 512), SS1_ERROR_INVALID_ARGUMENT,
              "K*N=%zu*%zu overflows", desc.K, desc.N);
    SS1_CHECK(desc.activation >= SS1_ACTIVATION_NONE && desc.activation <= SS1_ACTIVATION_SILU,
              SS1_ERROR_INVALID_ARGUMENT, "activation=%d is not a value of ss1_activation",
              static_cast<int>(desc.activation));
    ss1_linear_desc resolved = desc;
    SS1_TRY(fill_defaults(resolved));
    SS1_TRY(check_mapping_fields(resolved));
    SS1_CHECK(desc.rank <= std::min(desc.K, desc.N), SS1_ERROR_INVALID_ARGUMENT,
              "rank=%zu is above min(K, N)=%zu: no weight of K x N has it", desc.rank, std::min(desc.K, desc.N));
    SS1_TRY(check_dtype(resolved.x_dtype, "x_dtype", {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_F16}, "f32, bf16, f16"));
    SS1_TRY(check_dtype(resolved.y_dtype, "y_dtype", {SS1_DTYPE_F32, SS1_DTYPE_BF16}, "f32, bf16"));
    SS1_TRY(check_dtype(resolved.weight_dtype, "weight_dtype", {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8},
                        "f32, bf16, i8"));
    const size_t kz = mapping(resolved).stored_columns;
    SS1_CHECK(resolved.weight_dtype != SS1_DTYPE_I8 || kz <= max_int8_columns, SS1_ERROR_UNSUPPORTED,
              "K=%zu with c=%u stores %zu columns: with weight_dtype=i8 more than %zu could overflow the sums in s32",
              resolved.K, resolved.c, kz, max_int8_columns);
    const size_t summed = resolved.rank ? std::max(kz + resolved.rank, resolved.K) : 0;
    SS1_CHECK(resolved.weight_dtype != SS1_DTYPE_I8 || summed <= max_int8_columns, SS1_ERROR_UNSUPPORTED,
              "K=%zu with c=%u and rank=%zu adds %zu products: with weight_dtype=i8 more than %zu could overflow the "
              "sums in s32",
              resolved.K, resolved.c, resolved.rank, summed, max_int8_columns);
    desc = resolved;
    if (stored_columns) *stored_columns = kz;
    return SS1_OK;
}

mapping::mapping(const ss1_linear_desc &resolved) noexcept : desc(resolved) {
    const size_t span = size_t{desc.c} * desc.block_k;
    stored_columns = desc.c == 0 ? 0 : desc.c == 1 ? desc.K : (desc.K + span - 1) / span * desc.block_k;
    live_columns = stored_columns;
    if (desc.scheme != SS1_SCHEME_REFERENCE || desc.c <= 1) return;
    if (desc.K % span) live_columns = std::min(stored_columns, desc.K / desc.c);
    std::mt19937 generator(desc.seed);
    r1_ = generator() % authors_prime;
    r2_ = generator() % authors_prime;
    r3_ = generator() % authors_prime;
}

uint32_t mapping::alpha(size_t j, size_t g) const noexcept {
    return static_cast<uint32_t>((r3_ + r2_ * j + r1_ * (g + 1)) * desc.step % desc.block_k);
}

uint32_t mapping::rho(size_t q) const noexcept {
    return static_cast<uint32_t>(authors_prime * (q + 1) * desc.step % desc.block_k);
}

sketch_entry mapping::entry(size_t j, size_t g, size_t q) const noexcept {
    if (desc.c <= 1) return {0, 0};
    if (desc.scheme == SS1_SCHEME_REFERENCE) return {static_cast<uint16_t>((alpha(j, g) + rho(q)) % desc.block_k), 0};
    const uint32_t h = mix(static_cast<uint32_t>(j) * 0x9E3779B1u + static_cast<uint32_t>(g) * 0x85EBCA77u +
                           static_cast<uint32_t>(q) * 0xC2B2AE3Du + desc.seed);
    return {static_cast<uint16_t>((h >> 1) % (desc.block_k / desc.step) * desc.step), static_cast<uint16_t>(h & 1)};
}

}  // namespace ss1
