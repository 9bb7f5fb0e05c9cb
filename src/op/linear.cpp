// SPDX-License-Identifier: Apache-2.0
// The CPU's linear layer: the only place with blocking and thread loops. One parallel region a run; a task sketches its
// rows block by block and multiplies them with its tiles of the packed weights.
#include "op/linear.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "backend.hpp"
#include "op/mapping.hpp"
#include "op/pack.hpp"
#include "span.hpp"

namespace ss1 {
namespace {

// Blocking, for a core with 2 MB of L2 and 48 KB of L1: a row panel of the sketch (mr rows x 512 columns, 28 KB) sits
// in L1 while a block of packed weights (at most 768 KB) streams past it from L2; 168 rows reuse that block before it
// goes.
constexpr size_t max_k_block = 512;
constexpr size_t weight_block_bytes = size_t{768} << 10;
constexpr size_t max_row_block = 168;
// Below this much work a further thread costs more than it brings: 1 MFLOP is 5-12 us, an OpenMP region 2-5 us.
constexpr double min_flops_per_task = 1e6;

struct linear {
    linear(const ss1_context &c, const ss1_linear_desc &d) : context(c), map(d) {}

    const ss1_context &context;
    mapping map;
    const gemm_kernel *gemm = nullptr;
    const sketch_kernel *sketch = nullptr;        // NULL for c = 1
    const activation_kernel *activate = nullptr;  // NULL where the gemm kernel does it
    bool relu = false;
    size_t n_sketches = 0;  // distinct ones: 1, or the output blocks of `mixed`
    tiling tiles{};
    size_t k_block = 0, tile_block = 0;  // columns of the sketch, tiles of one block of weights
    size_t lds = 0;                      // row stride of the sketch in scratch
    buffer entries, packed, bias;
    std::string kernels;
    double flops_per_row = 0;
};

// How a run of m rows is cut: rows and tiles are split evenly over a grid of tasks.
struct plan {
    size_t row_tasks, tile_tasks, rows, row_block, scratch_bytes_per_task;
};

size_t ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

// Time of the slowest task in units of one FMA: its products, the sketches that it makes itself, and the rows and
// weights that it reads. A split over tiles makes every task sketch the same rows again (unless its tiles lie in other
// output blocks); a split over rows makes every task read the same weights.
double task_cost(const linear &l, size_t m, size_t row_tasks, size_t tile_tasks) {
    constexpr double read_cost = 8;  // one float from L3 at 25 GB/s, against an FMA from registers at 50-90 a ns
    const double rows = static_cast<double>(ceil_div(m, row_tasks));
    const double tiles = static_cast<double>(ceil_div(l.tiles.tiles(), tile_tasks));
    const double per_sketch = static_cast<double>(l.tiles.tiles_per_segment());
    const double sketches = l.sketch ? std::ceil(tiles / per_sketch) : 1;
    const double columns = tiles * static_cast<double>(l.tiles.nt), kz = static_cast<double>(l.map.stored_columns);
    return rows * columns * kz + read_cost * (rows * sketches * static_cast<double>(l.map.desc.K) + columns * kz);
}

size_t most_tasks(const linear &l, size_t m) {
    // Compared as double: the quotient need not fit a size_t.
    const double wanted = l.flops_per_row * static_cast<double>(m) / min_flops_per_task;
    return static_cast<size_t>(std::clamp<double>(wanted, 1, l.context.num_threads));
}

size_t most_rows(const linear &l) {
    return std::max<size_t>(max_row_block / l.gemm->mr, 1) * l.gemm->mr;
}

plan make_plan(const linear &l, size_t m) {
    const size_t wanted = most_tasks(l, m);
    plan p = {1, 1, m, 0, 0};
    double best = task_cost(l, m, 1, 1);
    for (size_t row_tasks = 1; row_tasks <= wanted; ++row_tasks) {
        if (row_tasks > ceil_div(m, l.gemm->mr)) break;
        const size_t tile_tasks = std::min(wanted / row_tasks, l.tiles.tiles());
        const double cost = task_cost(l, m, row_tasks, tile_tasks);
        if (cost < best) {
            best = cost;
            p.row_tasks = row_tasks;
            p.tile_tasks = tile_tasks;
        }
    }
    p.rows = ceil_div(m, p.row_tasks);
    p.row_block = std::min(p.rows, most_rows(l));
    p.scratch_bytes_per_task = l.sketch ? std::min(p.row_block, m) * l.lds * sizeof(float) : 0;
    return p;
}

// Rows [m0, m1) times the tiles [t0, t1), all of one segment; `a` is the sketch (or x) of row m0.
void multiply(const linear &l, const ss1_linear_args &args, const float *a, size_t lda, size_t m0, size_t m1, size_t t0,
              size_t t1) noexcept {
    const size_t kz = l.map.stored_columns, nt = l.tiles.nt;
    const size_t n0 = l.tiles.first_column(t0), n = l.tiles.end_column(t1) - n0;
    const size_t panels = ceil_div(m1 - m0, l.gemm->mr);
    float *y = static_cast<float *>(args.y) + n0;
    const float *bias = l.bias.as<float>();
    size_t k0 = 0;
    do {
        const size_t k1 = std::min(kz, k0 + l.k_block);
        gemm_args g;
        g.b = l.packed.as<float>() + (t0 * kz + k0) * nt;
        g.bias = bias ? bias + n0 : nullptr;
        g.n = n;
        g.k = k1 - k0;
        g.lda = lda;
        g.ldb = kz * nt;
        g.ldc = args.ldy;
        g.accumulate = k0 > 0;
        g.relu = l.relu && k1 == kz;
        for (size_t p = 0; p < panels; ++p) {
            // Panels of like height: 15 rows run as 8 + 7, not as 14 + 1.
            const size_t i0 = (m1 - m0) * p / panels, i1 = (m1 - m0) * (p + 1) / panels;
            g.a = a + i0 * lda + k0;
            g.c = y + (m0 + i0) * args.ldy;
            g.m = i1 - i0;
            l.gemm->run(g);
        }
        k0 = k1;
    } while (k0 < kz);
    if (l.activate) l.activate->run({y + m0 * args.ldy, m1 - m0, n, args.ldy});
}

// Rows [m0, m1) of one block and the tiles [t0, t1): one sketch per output block, then its blocks of weights.
void run_block(const linear &l, const ss1_linear_args &args, float *scratch, size_t m0, size_t m1, size_t t0,
               size_t t1) noexcept {
    const float *x = static_cast<const float *>(args.x) + m0 * args.ldx;
    const size_t groups = l.sketch ? l.map.groups() : 0;
    while (t0 < t1) {
        const size_t segment = l.tiles.segment_of(t0);
        const size_t segment_end = std::min(t1, (segment + 1) * l.tiles.tiles_per_segment());
        const float *a = x;
        size_t lda = args.ldx;
        if (l.sketch) {
            const sketch_entry *entries = l.entries.as<sketch_entry>() + segment * groups * l.map.desc.c;
            l.sketch->run({x, scratch, entries, m1 - m0, l.map.desc.K, args.ldx, l.lds, l.map.desc.block_k,
                           l.map.desc.c, groups});
            a = scratch;
            lda = l.lds;
        }
        for (; t0 < segment_end; t0 = std::min(segment_end, t0 + l.tile_block))
            multiply(l, args, a, lda, m0, m1, t0, std::min(segment_end, t0 + l.tile_block));
    }
}

ss1_status linear_run(const void *state, const ss1_linear_args *args) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    const plan p = make_plan(l, args->m);
    const size_t tiles = l.tiles.tiles();
    parallel(l.context, p.row_tasks * p.tile_tasks, [&](size_t task) {
        const size_t row_task = task / p.tile_tasks, tile_task = task % p.tile_tasks;
        const size_t t0 = tiles * tile_task / p.tile_tasks, t1 = tiles * (tile_task + 1) / p.tile_tasks;
        float *scratch =
            reinterpret_cast<float *>(static_cast<char *>(args->scratch) + task * p.scratch_bytes_per_task);
        const size_t end = std::min(args->m, (row_task + 1) * p.rows);
        for (size_t m0 = row_task * p.rows; m0 < end; m0 += p.row_block)
            run_block(l, *args, scratch, m0, std::min(end, m0 + p.row_block), t0, t1);
    });
    return SS1_OK;
}

size_t linear_scratch(const void *state, size_t m) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    // The bound over all plans, which grows with m: the plan's own need falls where a split over rows takes over from
    // one over tiles (20 rows of 2 tasks: 40 rows of sketch, 28 rows: 28), but scratch for m rows must serve fewer too.
    return l.sketch ? most_tasks(l, m) * std::min(m, most_rows(l)) * l.lds * sizeof(float) : 0;
}

void choose_kernels(linear &l) {
    const isa::mask usable = l.context.usable;
    const auto what = static_cast<activation>(l.map.desc.activation);
    l.gemm = &gemm_kernels().select(usable);
    if (l.map.desc.c > 1) l.sketch = &sketch_kernels().select(usable);
    l.relu = what == activation::relu;
    if (!l.relu) l.activate = select_activation(what, usable);
    l.kernels = "cpu";
    if (l.sketch) l.kernels += std::string(" ") + l.sketch->name;
    l.kernels += std::string(" ") + l.gemm->name;
    if (l.activate) l.kernels += std::string(" ") + l.activate->name;
}

void choose_blocking(linear &l) {
    const mapping &map = l.map;
    const bool factorised = map.desc.scheme == SS1_SCHEME_REFERENCE || map.desc.c == 1;
    const size_t kz = map.stored_columns;
    l.n_sketches = map.desc.c == 1 ? 0 : factorised ? 1 : map.output_blocks();
    l.tiles = {map.desc.N, factorised ? map.desc.N : map.desc.block_n, l.gemm->nt};
    l.k_block = ceil_div(kz, ceil_div(kz, max_k_block));
    l.tile_block = std::max<size_t>(1, weight_block_bytes / (l.k_block * l.gemm->nt * sizeof(float)));
    // Rows of the scratch start one cache line further each: powers of two would meet in a few L1 sets.
    l.lds = kz + 16;
    const double additions = static_cast<double>(l.n_sketches) * static_cast<double>(map.desc.K);
    l.flops_per_row = 2.0 * static_cast<double>(kz) * static_cast<double>(map.desc.N) + additions;
}

ss1_status fill_entries(linear &l) {
    const mapping &map = l.map;
    const bool reference = map.desc.scheme == SS1_SCHEME_REFERENCE;
    SS1_TRY(l.entries.allocate(l.context, l.n_sketches * map.groups() * map.desc.c * sizeof(sketch_entry)));
    sketch_entry *entry = l.entries.as<sketch_entry>();
    for (size_t j = 0; j < l.n_sketches; ++j)
        for (size_t g = 0; g < map.groups(); ++g)
            for (size_t q = 0; q < map.desc.c; ++q)
                *entry++ = reference ? sketch_entry{static_cast<uint16_t>(map.rho(q)), 0} : map.entry(j, g, q);
    return SS1_OK;
}

ss1_status linear_create(const ss1_context *context, const ss1_linear_desc *desc, const ss1_linear_weights *weights,
                         void **state) {
    auto l = std::make_unique<linear>(*context, *desc);
    choose_kernels(*l);
    choose_blocking(*l);
    if (l->sketch) SS1_TRY(fill_entries(*l));
    SS1_TRY(l->packed.allocate(*context, l->tiles.tiles() * l->map.stored_columns * l->tiles.nt * sizeof(float)));
    pack_stored(l->map, weights->z, weights->ldz, l->tiles, l->packed.as<float>());
    if (weights->bias) {
        SS1_TRY(l->bias.allocate(*context, desc->N * sizeof(float)));
        std::copy_n(weights->bias, desc->N, l->bias.as<float>());
    }
    *state = l.release();
    return SS1_OK;
}

void linear_describe(const void *state, ss1_layer_info *info) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    info->kernels = l.kernels.c_str();
    info->weight_bytes = l.packed.bytes() + l.bias.bytes() + l.entries.bytes();
    info->flops_per_row = l.flops_per_row;
}

void linear_destroy(void *state) noexcept {
    delete static_cast<linear *>(state);
}

int cpu_score(const char **) noexcept {
    return 1;
}

ss1_status check_finite(const char *what, const float *values, size_t rows, size_t columns, size_t ld) noexcept {
    for (size_t i = 0; i < rows; ++i)
        for (size_t k = 0; k < columns; ++k)
            SS1_CHECK(std::isfinite(values[i * ld + k]), SS1_ERROR_INVALID_ARGUMENT,
                      "weights.%s[%zu,%zu]=%g is not finite", what, i, k, static_cast<double>(values[i * ld + k]));
    return SS1_OK;
}

}  // namespace

const ss1_backend cpu_backend = {SS1_BACKEND_ABI, sizeof(ss1_backend), "cpu",           cpu_score,     linear_create,
                                 linear_scratch,  linear_run,          linear_describe, linear_destroy};

ss1_status layer_create(ss1_context &context, const ss1_linear_desc &wanted, const ss1_linear_weights &given,
                        ss1_layer **out) {
    auto layer = std::make_unique<ss1_layer>();
    layer->desc = wanted;
    size_t kz = 0;
    SS1_TRY(linear_resolve(layer->desc, &kz));
    ss1_linear_weights weights = given;
    SS1_CHECK(weights.struct_size == sizeof weights, SS1_ERROR_INVALID_ARGUMENT,
              "weights.struct_size=%u is not %zu: set weights with SS1_LINEAR_WEIGHTS_INIT", weights.struct_size,
              sizeof weights);
    SS1_CHECK(weights.z, SS1_ERROR_INVALID_ARGUMENT, "weights.z is NULL");
    if (weights.ldz == 0) weights.ldz = kz;
    SS1_CHECK(weights.ldz >= kz, SS1_ERROR_INVALID_ARGUMENT, "weights.ldz=%zu is below the stored columns Kz=%zu",
              weights.ldz, kz);
    memory_span z{}, bias{};
    SS1_TRY(matrix_span("weights.z", weights.z, layer->desc.N, kz, weights.ldz, z));
    if (weights.bias) SS1_TRY(matrix_span("weights.bias", weights.bias, 1, layer->desc.N, layer->desc.N, bias));
    SS1_TRY(check_finite("z", weights.z, layer->desc.N, kz, weights.ldz));
    if (weights.bias) SS1_TRY(check_finite("bias", weights.bias, 1, layer->desc.N, layer->desc.N));
    layer->context = context_ref(&context);
    layer->backend = context.backend;
    SS1_TRY(layer->backend->layer_create(&context, &layer->desc, &weights, &layer->state));
    layer->info = SS1_LAYER_INFO_INIT;
    layer->info.desc = layer->desc;
    layer->info.stored_columns = kz;
    layer->info.flops_per_row_dense = 2.0 * static_cast<double>(layer->desc.K) * static_cast<double>(layer->desc.N);
    layer->backend->layer_describe(layer->state, &layer->info);
    log(context, SS1_LOG_DEBUG, "layer K=%zu N=%zu c=%u: %s", layer->desc.K, layer->desc.N, layer->desc.c,
        layer->info.kernels);
    *out = layer.release();
    return SS1_OK;
}

}  // namespace ss1
