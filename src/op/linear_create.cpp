// SPDX-License-Identifier: Apache-2.0
// Creates the CPU's linear layer: decides kernels and blocking, packs the weights.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/round.hpp"
#include "mapping/project.hpp"
#include "op/linear_cpu.hpp"

namespace ss1 {
namespace {

// Blocking. A block of packed weights takes an eighth of L2, and so does the next one, which is prefetched meanwhile;
// without that prefetch it takes three eighths.
constexpr size_t panel_values = 7168;  // values of `a` in a k block of a panel: 28 KB of f32 in L1, beside the weights
constexpr size_t least_k_block = 512;
constexpr size_t max_f32_row_block = 168;
constexpr size_t line = 64;  // bytes

size_t distinct_sketches(const mapping &map) noexcept {
    return map.desc.c <= 1 || map.desc.scheme == SS1_SCHEME_REFERENCE ? 1 : map.output_blocks();
}

// Narrow dense layers read bf16 rows of x directly; narrow tied layers read an f32 sketch.
const gemm_kernel &choose_gemm(const ss1_linear_desc &desc, isa::mask usable) noexcept {
    const bool directly = desc.c == 1 && desc.x_dtype == SS1_DTYPE_BF16 && desc.weight_dtype != SS1_DTYPE_F32;
    return select_gemm(static_cast<dtype>(desc.weight_dtype), desc.N, directly ? dtype::bf16 : dtype::f32, usable);
}

// The layer x V of K inputs and `rank` outputs.
ss1_linear_desc down_desc(const ss1_linear_desc &desc, dtype y) noexcept {
    ss1_linear_desc down = desc;
    down.N = desc.rank;
    down.c = 1;
    down.rank = 0;
    down.activation = SS1_ACTIVATION_NONE;
    down.y_dtype = static_cast<ss1_dtype>(y);
    return down;
}

// A sketch costs K additions a row, at 10-12 a cycle, and x V its products; the kernels' rates say how fast the
// products run that both save. So a dense layer is cheaper for few outputs: N <= 1 in f32, N <= 85 in tiles at c = 2.
// With a sketch for each block of outputs B_N decides: 64 in tiles at c = 2.
bool worth_encoding(const mapping &map, isa::mask usable) noexcept {
    const ss1_linear_desc &desc = map.desc;
    const gemm_kernel &gemm = choose_gemm(desc, usable);
    if (gemm.b == dtype::s8 && desc.K > max_int8_columns) return true;  // dense sums could overflow
    constexpr double additions_per_cycle = 10;
    const double K = static_cast<double>(desc.K), N = static_cast<double>(desc.N);
    const double kz = static_cast<double>(map.stored_columns), rank = static_cast<double>(desc.rank);
    const double saved = N * (K - kz - rank) / gemm.rates.macs_per_cycle;
    double cost = desc.c > 1 ? static_cast<double>(distinct_sketches(map)) * K / additions_per_cycle : 0;
    if (desc.rank) cost += K * rank / choose_gemm(down_desc(desc, dtype::f32), usable).rates.macs_per_cycle;
    return saved > cost;
}

void choose_kernels(linear &l) {
    const isa::mask usable = l.context.usable;
    const ss1_linear_desc &desc = l.map.desc;
    const auto what = static_cast<activation>(desc.activation);
    l.x_type = static_cast<dtype>(desc.x_dtype);
    l.y_type = static_cast<dtype>(desc.y_dtype);
    l.gemm = &choose_gemm(desc, usable);
    const bool integers = l.gemm->a == dtype::s8 || l.gemm->a == dtype::u8;
    // The kernel of a dense layer reads x directly if type and padding allow.
    l.x_is_a = desc.c == 1 && l.x_type == l.gemm->a && desc.K % l.gemm->k_multiple == 0;
    // Rows of f16 take a copy in f32 first.
    l.quantizes_x = integers && desc.c == 1 && !desc.rank && l.x_type != dtype::f16;
    if (desc.c && !l.quantizes_x && (!l.x_is_a || l.gemm->row_multiple > 1))
        l.sketch = &select_sketch(l.x_type, integers ? dtype::f32 : l.gemm->a, usable);
    if (integers) l.quantize = &select_quantize(l.quantizes_x ? l.x_type : dtype::f32, usable);
    if (!l.gemm->fused) l.store = &select_store(l.y_type, usable);
    l.relu = what == activation::relu;
    const bool rounded = what == activation::gelu && l.y_type == dtype::bf16;
    if (!l.relu) l.activate = select_activation(rounded ? activation::gelu_bf16 : what, usable);
    l.fused_args.activate = l.activate ? l.activate->run : nullptr;
    l.fused_args.y_bf16 = l.y_type == dtype::bf16;
    l.kernels = l.expanded ? "cpu expanded" : "cpu";
    const auto name = [&l](const auto *kernel) {
        if (kernel) l.kernels += std::string(" ") + kernel->name;
    };
    name(l.sketch);
    name(l.quantize);
    name(l.gemm);
    name(l.activate);
    if (l.y_type != dtype::f32) name(l.store);
}

void choose_sketch_shape(linear &l) {
    const mapping &map = l.map;
    const size_t multiple = l.gemm->k_multiple;
    l.c = map.desc.c;
    l.ka = round_up(map.stored_columns + map.desc.rank, multiple);
    if (l.c > 1) {
        l.block_k = map.desc.block_k;
    } else if (l.sketch) {  // a copy: groups of one block each, of any length that divides ka
        l.ka = round_up(map.stored_columns, std::max<size_t>(multiple, 16));
        for (l.block_k = 256; l.ka % l.block_k; l.block_k /= 2) continue;
    }
    l.groups = l.sketch ? ceil_div(map.desc.K, l.c * l.block_k) : 0;
    l.down_ld = round_up(map.desc.rank, line / size_of(l.encoded_type()));
    const size_t of_line = line / size_of(l.gemm->a);
    // An extra cache line in each row of `a`: at a distance of a power of two, rows would share a few sets of L1.
    l.lda = round_up(l.ka, of_line) + of_line;
}

void choose_blocking(linear &l) {
    const mapping &map = l.map;
    const size_t nt = l.gemm->nt;
    l.l2 = l.context.caches.l2_or_usual();
    const bool whole_k = l.gemm->fused || l.gemm->b == dtype::s8;
    l.tiles = {l.outputs(), l.n_sketches > 1 ? map.desc.block_n : l.outputs(), nt};
    const size_t most_k = std::max(panel_values / l.gemm->mr, least_k_block);
    l.k_block = whole_k ? l.ka : round_up(ceil_div(l.ka, ceil_div(l.ka, most_k)), l.gemm->k_multiple);
    const bool streams = l.gemm->fused && !l.gemm->cuts_k;
    const size_t weight_block = streams ? l.l2 / 8 * 3 : l.l2 / 8;
    const size_t tiles_at_once = l.gemm->tiles_at_once;
    const size_t group_bytes = tiles_at_once * nt * l.k_block * size_of(l.gemm->b);
    l.tile_block = std::min(std::max<size_t>(weight_block / group_bytes, 1) * tiles_at_once, l.tiles.tiles());
    // Whole k of few tiles leave L2 no room for a panel's `a`. L3 feeds a panel fast enough: K = 3072 runs at 96 % of
    // the products' rate with the panels outermost, at 94 % with the tiles outermost (a prototype on Zen 5).
    if (streams && group_bytes > l.l2 / 16) l.tile_block = l.tiles.tiles();
    if (l.gemm->fused) {
        l.sketch_bytes = l.l2 / 4;
        // sketch_bytes hold `a` of the row block, in whole panels. Each row block reads all weights: where they come
        // from L3, it takes more rows and makes a few of their sketches at a time, while x stays in half of L2.
        // (1024,4096), c = 2, 8 sketches: 256 rows at a time instead of 32, 1.1 to 1.9 times as fast.
        const bool far = l.tiles.tiles() * nt * l.ka * size_of(l.gemm->b) > l.l2;
        const size_t x_row = map.desc.K * size_of(l.x_type) / 2, all = l.n_sketches * l.row_bytes_of_a();
        const size_t row = far ? std::min(all, std::max(x_row, l.row_bytes_of_a())) : all;
        const size_t rows = l.sketch_bytes / row / l.gemm->mr * l.gemm->mr;
        l.row_block = std::clamp<size_t>(rows, l.gemm->mr, max_fused_row_block);
    } else {
        l.sketch_bytes = l.l2;
        l.row_block = std::max<size_t>(max_f32_row_block / l.gemm->mr, 1) * l.gemm->mr;
    }
    l.panel_args.ldb = l.fused_args.ldb = l.ka * nt;
    l.lone_tile_block = std::min(l.row_block / l.gemm->mr * l.tile_block, l.tiles.tiles());
    const size_t additions = map.desc.c > 1 ? l.n_sketches * map.desc.K : 0;
    l.flops_per_row =
        2 * (map.stored_columns + map.desc.rank) * l.outputs() + additions + 2 * map.desc.K * map.desc.rank;
}

ss1_status fill_entries(linear &l) {
    const mapping &map = l.map;
    const size_t n = l.n_sketches * l.groups * l.c;
    SS1_TRY(l.entries.allocate(l.context, n * sizeof(sketch_entry)));
    sketch_entry *entry = l.entries.as<sketch_entry>();
    std::fill_n(entry, n, sketch_entry{});
    if (l.c == 1) return SS1_OK;
    const bool reference = map.desc.scheme == SS1_SCHEME_REFERENCE;
    for (size_t j = 0; j < l.n_sketches; ++j)
        for (size_t g = 0; g < l.groups; ++g)
            for (size_t q = 0; q < l.c; ++q)
                *entry++ = reference ? sketch_entry{static_cast<uint16_t>(map.rho(q)), 0} : map.entry(j, g, q);
    return SS1_OK;
}

ss1_status pack_weights(linear &l, const stored_weights &from, const float *bias) {
    const size_t columns = l.tiles.tiles() * l.gemm->nt;
    const size_t bytes = columns * l.ka * size_of(l.gemm->b);
    SS1_TRY(l.packed.allocate(weight_memory(l.context, bytes), bytes));
    if (l.gemm->b == dtype::s8) SS1_TRY(l.column_scale.allocate(l.context, columns * sizeof(float)));
    if (l.gemm->a == dtype::u8) SS1_TRY(l.column_start.allocate(l.context, columns * sizeof(int32_t)));
    pack_stored(l.map, from, l.tiles, {l.gemm->b, l.gemm->nt, l.gemm->kr}, l.ka,
                {l.packed.data(), l.column_scale.as<float>(), l.column_start.as<int32_t>()});
    if (!bias) return SS1_OK;
    SS1_TRY(l.bias.allocate(l.context, columns * sizeof(float)));
    float *to = l.bias.as<float>();
    std::fill_n(to, columns, 0.0f);
    for (size_t t = 0; t < l.tiles.tiles(); ++t)
        std::copy(bias + l.tiles.first_column(t), bias + l.tiles.end_column(t + 1), to + t * l.gemm->nt);
    return SS1_OK;
}

ss1_status make_linear(const ss1_context &context, const ss1_linear_desc &desc, size_t parts,
                       const ss1_linear_weights &, bool expanded, std::unique_ptr<linear> &out);

// Makes the layer x V. int8 quantises a row of [sketch | x V] with one scale: where inputs are alike, a column of the
// sketch has the size of sqrt(c) inputs and a column of x V that of its length in V. `factors` [rank] make both equal;
// rows of U are divided by them. They depend on V and c alone, so each of several parts has the bits that it has alone.
ss1_status make_down(linear &l, const float *v, std::vector<float> &factors) {
    const ss1_linear_desc desc = down_desc(l.map.desc, l.encoded_type());
    const size_t K = desc.K, rank = desc.N;
    std::vector<float> scaled;
    if (l.quantize) {
        factors.resize(rank);
        scaled.assign(v, v + rank * K);
        for (size_t i = 0; i < rank; ++i) {
            double squares = 0;
            for (size_t k = 0; k < K; ++k) squares += static_cast<double>(v[i * K + k]) * v[i * K + k];
            const double wanted = std::sqrt(std::max<double>(l.map.desc.c, 1) / squares);
            factors[i] = std::isfinite(wanted) ? static_cast<float>(wanted) : 1.0f;
            for (size_t k = 0; k < K; ++k) scaled[i * K + k] *= factors[i];
        }
        v = scaled.data();
    }
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = v;
    weights.ldz = K;
    SS1_TRY(make_linear(l.context, desc, 1, weights, false, l.down));
    l.kernels += ", x V by" + l.down->kernels.substr(l.down->kernels.find(' '));
    return SS1_OK;
}

// Makes the layer as `desc` says, without expanding it.
ss1_status make_linear(const ss1_context &context, const ss1_linear_desc &desc, size_t parts,
                       const ss1_linear_weights &weights, bool expanded, std::unique_ptr<linear> &out) {
    auto l = std::make_unique<linear>(context, desc, parts);
    l->expanded = expanded;
    l->n_sketches = distinct_sketches(l->map);
    choose_kernels(*l);
    choose_sketch_shape(*l);
    choose_blocking(*l);
    if (l->sketch) SS1_TRY(fill_entries(*l));
    std::vector<float> factors, u;
    if (desc.rank) SS1_TRY(make_down(*l, weights.v, factors));
    if (!factors.empty()) {
        u.assign(weights.u, weights.u + l->outputs() * desc.rank);
        for (size_t i = 0; i < u.size(); ++i) u[i] /= factors[i % desc.rank];
    }
    const stored_weights stored = {.z = weights.z,
                                   .ldz = weights.ldz,
                                   .u = u.empty() ? weights.u : u.data(),
                                   .rank = desc.rank,
                                   .u_at = l->sketch_columns()};
    SS1_TRY(pack_weights(*l, stored, weights.bias));
    out = std::move(l);
    return SS1_OK;
}

}  // namespace

ss1_status linear_create(const ss1_context *owner, const ss1_linear_desc *of_part, size_t parts,
                         const ss1_linear_weights *given, void **state) {
    const float_mode mode;  // int8 weights must not depend on the caller's rounding mode, nor zero outputs trap
    const ss1_linear_desc &desc = *of_part;
    ss1_linear_desc as_run = desc;
    ss1_linear_weights weights = *given;
    std::vector<float> dense;
    const bool encodes = desc.c != 1 || desc.rank;
    const bool expanded = encodes && !worth_encoding(mapping(desc), owner->usable);
    if (expanded) {
        dense.resize(parts * desc.N * desc.K);
        for (size_t part = 0; part < parts; ++part) {
            ss1_linear_weights of = weights;
            if (of.z) of.z += part * desc.N * of.ldz;
            if (of.u) of.u += part * desc.N * desc.rank;
            expand(desc, of, dense.data() + part * desc.N * desc.K, desc.K);
        }
        weights.z = dense.data();
        weights.ldz = desc.K;
        as_run.c = 1;
        as_run.rank = 0;
    }
    std::unique_ptr<linear> made;
    SS1_TRY(make_linear(*owner, as_run, parts, weights, expanded, made));
    *state = made.release();
    return SS1_OK;
}

}  // namespace ss1
