// SPDX-License-Identifier: Apache-2.0
// The run loops of the CPU's linear layer: the only place with blocking and thread loops. One parallel region a run; a
// task sketches its rows block by block and multiplies them with its tiles of the packed weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/round.hpp"
#include "op/linear_cpu.hpp"
#include "op/recent_weights.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

constexpr size_t line = 64;                      // bytes
constexpr size_t sums_bytes = size_t{16} << 10;  // f32 sketches on their way to int8

// How a run of m rows is cut: rows and tiles are split evenly over a grid of tasks.
struct plan {
    size_t row_tasks, tile_tasks, rows;
};

// Tiles of weights that so many rows take at a time. Those of a lone panel pass once and need no place in L2: as many
// as the scratch of a row block has room for their sums.
size_t tile_block_of(const linear &l, size_t rows) noexcept {
    return l.gemm->fused || rows > l.gemm->mr ? l.tile_block : l.lone_tile_block;
}

// Sketches that so many rows of a block have in scratch at a time.
size_t sketches_at_once(const linear &l, size_t rows) noexcept {
    return std::clamp<size_t>(l.sketch_bytes / (rows * l.row_bytes_of_a()), 1, l.n_sketches);
}

// Integers: rows of so many f32 sketches on their way to `a` at a time.
size_t rows_of_sums(const linear &l, size_t sketches) noexcept {
    return std::clamp<size_t>(sums_bytes / (sketches * l.lda * sizeof(float)), 1, 32);
}

// Scratch of one task, in bytes from its start; each part is a multiple of a cache line.
struct layout {
    size_t scale, sums, c, total;  // `a` comes first
};

layout make_layout(const linear &l, size_t rows) noexcept {
    rows = std::min(rows, l.row_block);
    if (l.gemm->fused) rows = round_up(rows, 16);  // these kernels read groups of 16
    layout p{};
    // Not what so many rows take, but a bound that grows with them.
    const auto at_most = [&](size_t row, size_t bytes) { return std::min(rows * l.n_sketches * row, bytes); };
    const size_t row_of_sums = l.lda * sizeof(float);
    p.scale =
        l.sketch ? round_up(at_most(l.row_bytes_of_a(), std::max(l.sketch_bytes, rows * l.row_bytes_of_a())), line) : 0;
    p.sums = p.scale + (l.quantize ? round_up(rows * l.n_sketches * sizeof(float), line) : 0);
    p.c = p.sums +
          (l.quantize ? round_up(at_most(row_of_sums, std::max(sums_bytes, l.n_sketches * row_of_sums)), line) : 0);
    // f32 sums apart from y, where y is of another type or a residual is added.
    // Fused kernels have sums of 32 rows between parts of k.
    const auto sums_of = [&l](size_t m) { return m * round_up(tile_block_of(l, m) * l.gemm->nt, 32); };
    const size_t sums =
        l.gemm->fused ? sums_of(row_panel) : std::max(sums_of(rows), sums_of(std::min<size_t>(rows, l.gemm->mr)));
    p.total = p.c + round_up(sums * sizeof(float), line);
    return p;
}

// Time of the slowest task in units of one FMA: its products, the sketches that it makes itself, and the rows and
// weights that it reads. A split over tiles makes every task sketch the same rows again (unless its tiles lie in other
// output blocks); a split over rows makes every task read the same weights.
double task_cost(const linear &l, size_t m, size_t row_tasks, size_t tile_tasks) {
    // One byte from L3 at 25 GB/s, against an FMA at 50-90 a ns (f32) or 1000 a ns (tiles).
    const double read_cost = l.gemm->fused ? 40 : 2;
    const double rows = static_cast<double>(ceil_div(m, row_tasks));
    const size_t steps = ceil_div(ceil_div(l.tiles.tiles(), l.tiles_at_once), tile_tasks);
    const double tiles = static_cast<double>(std::min(l.tiles.tiles(), steps * l.tiles_at_once));
    const double sketches = std::min(static_cast<double>(l.n_sketches),
                                     std::ceil(tiles / static_cast<double>(l.tiles.tiles_per_segment())));
    const double columns = tiles * static_cast<double>(l.gemm->nt), ka = static_cast<double>(l.ka);
    const double x_bytes = static_cast<double>(l.map.desc.K * size_of(l.x_type));
    return rows * columns * ka +
           read_cost * (rows * sketches * x_bytes + columns * ka * static_cast<double>(size_of(l.gemm->b)));
}

size_t tasks_for(const linear &l, size_t m) {
    return most_tasks(l.context, linear_ns(&l, m));
}

plan make_plan(const linear &l, size_t m) {
    const size_t wanted = tasks_for(l, m);
    if (wanted == 1) return {1, 1, m};
    const float_mode mode;  // costs must not meet the caller's traps
    plan p = {1, 1, m};
    double best = task_cost(l, m, 1, 1);
    for (size_t row_tasks = 1; row_tasks <= std::min(wanted, ceil_div(m, l.gemm->mr)); ++row_tasks) {
        const size_t tile_tasks = std::min(wanted / row_tasks, ceil_div(l.tiles.tiles(), l.tiles_at_once));
        const double cost = task_cost(l, m, row_tasks, tile_tasks);
        if (cost < best) {
            best = cost;
            p.row_tasks = row_tasks;
            p.tile_tasks = tile_tasks;
        }
    }
    // Whole panels a task, but no more rows than there are: scratch is reckoned from them.
    p.rows = std::min(m, round_up(ceil_div(m, p.row_tasks), l.gemm->mr));
    return p;
}

// What one task works on.
struct task_state {
    const linear &l;
    const ss1_linear_args &args;
    char *scratch;
    layout at;
    bool sketches;  // else x is what the kernel reads

    size_t x_size() const noexcept { return size_of(l.x_type); }
    const char *x(size_t row) const noexcept { return static_cast<const char *>(args.x) + row * args.ldx * x_size(); }
    char *a(size_t sketch, size_t row, size_t rows) const noexcept {
        return scratch + (sketch * rows + row) * l.lda * size_of(l.gemm->a);
    }
};

// Rows [m0, m1) of the sketches [s0, s1), all columns, into `a`: sketch j of the task starts at j * stride rows.
void make_a(const task_state &t, size_t m0, size_t m1, size_t s0, size_t s1, size_t stride) noexcept {
    const linear &l = t.l;
    const size_t columns = l.groups * l.block_k, size = size_of(l.gemm->a);
    const size_t step = l.quantize ? rows_of_sums(l, s1 - s0) : m1 - m0;
    float *sums = reinterpret_cast<float *>(t.scratch + t.at.sums);
    for (size_t m = m0; m < m1; m += step) {
        const size_t rows = std::min(step, m1 - m);
        sketch_args s;
        s.x = t.x(m);
        s.s = l.quantize ? static_cast<void *>(sums) : t.a(0, m - m0, stride);
        s.entries = l.entries.as<sketch_entry>() + s0 * l.groups * l.c;
        s.m = rows;
        s.k = l.map.desc.K;
        s.ldx = t.args.ldx;
        s.lds = l.lda;
        s.block_k = l.block_k;
        s.c = l.c;
        s.groups = l.groups;
        s.sketches = s1 - s0;
        s.sketch_stride = (l.quantize ? rows : stride) * l.lda;
        l.sketch->run(s);
        for (size_t j = 0; l.quantize && j < s1 - s0; ++j) {
            float *scale = reinterpret_cast<float *>(t.scratch + t.at.scale) + j * stride + (m - m0);
            l.quantize->run({sums + j * rows * l.lda, t.a(j, m - m0, stride), scale, rows, columns, l.lda, l.lda,
                             static_cast<uint8_t>(l.gemm->a == dtype::u8 ? 128 : 0)});
        }
    }
    if (columns == l.ka) return;
    for (size_t j = 0; j < s1 - s0; ++j)
        for (size_t i = 0; i < m1 - m0; ++i)
            std::memset(t.a(j, i, stride) + columns * size, l.gemm->a == dtype::u8 ? 128 : 0, (l.ka - columns) * size);
}

const char *packed_at(const linear &l, size_t tile, size_t k) noexcept {
    return l.packed.as<char>() + (tile * l.ka + k) * l.gemm->nt * size_of(l.gemm->b);
}

// The arguments that all calls for the tiles [t0, t1) share.
gemm_args tile_args(const task_state &t, size_t t0, size_t t1, size_t k0, size_t k1) noexcept {
    const linear &l = t.l;
    const size_t n0 = l.tiles.first_column(t0), nt = l.gemm->nt;
    gemm_args g = l.gemm_common;
    g.b = packed_at(l, t0, k0);
    if (l.bias.data()) g.bias = l.bias.as<float>() + t0 * nt;
    if (l.column_scale.data()) g.column_scale = l.column_scale.as<float>() + t0 * nt;
    if (l.column_start.data()) g.column_start = l.column_start.as<int32_t>() + t0 * nt;
    g.n = l.tiles.end_column(t1) - n0;
    g.k = k1 - k0;
    g.accumulate = k0 > 0;
    g.relu = l.relu && k1 == l.ka;
    return g;
}

struct range {
    size_t begin, end;
};

// A block of tiles, whose packed weights stay in L2 while rows pass by, and the one that follows, which the rows fetch
// to L2 meanwhile (none: empty).
struct weight_block {
    range now, next;
    bool cold;  // not in L2 yet
};

struct rows_of_a {
    const char *a;
    size_t lda;
    const float *scale;
};

// Rows with `fused`: all rows in one call, which does the rest, too.
void multiply_fused(const task_state &t, rows_of_a rows, size_t m0, size_t m1, const weight_block &tiles) noexcept {
    const linear &l = t.l;
    gemm_args g = tile_args(t, tiles.now.begin, tiles.now.end, 0, l.ka);
    const size_t n0 = l.tiles.first_column(tiles.now.begin), y_size = size_of(l.y_type);
    g.b_beyond_l2 = tiles.cold;
    if (tiles.next.begin < tiles.next.end) {
        g.ahead = packed_at(l, tiles.next.begin, 0);
        g.ahead_bytes = static_cast<size_t>(packed_at(l, tiles.next.end, 0) - g.ahead);
    }
    g.a = rows.a;
    g.lda = rows.lda;
    g.row_scale = rows.scale;
    g.y = static_cast<char *>(t.args.y) + (m0 * t.args.ldy + n0) * y_size;
    g.ldy = t.args.ldy;
    if (t.args.residual) g.residual = static_cast<const char *>(t.args.residual) + (m0 * t.args.ldr + n0) * y_size;
    g.ldr = t.args.ldr;
    g.partial = reinterpret_cast<float *>(t.scratch + t.at.c);
    g.m = m1 - m0;
    l.gemm->run(g);
}

// Rows without gaps as one row: kernels would take a column of one output value by value.
activation_args joined(const activation_args &a) noexcept {
    return a.ldy == a.n ? activation_args{a.y, 1, a.m * a.n, a.m * a.n} : a;
}
store_args joined(const store_args &s) noexcept {
    const bool gaps = s.ldc != s.n || s.ldy != s.n || (s.residual && s.ldr != s.n);
    const size_t n = s.m * s.n;
    return gaps ? s : store_args{s.c, s.y, s.residual, 1, n, n, n, n};
}

// The other rows: panel by panel, k block by k block; the sums meet in y, or in scratch if y is of another type.
void multiply_panels(const task_state &t, rows_of_a rows, size_t m0, size_t m1, const weight_block &tiles) noexcept {
    const linear &l = t.l;
    const size_t panels = ceil_div(m1 - m0, l.gemm->mr), n0 = l.tiles.first_column(tiles.now.begin);
    const size_t y_size = size_of(l.y_type);
    const bool apart = l.y_type != dtype::f32 || t.args.residual;
    float *sums =
        apart ? reinterpret_cast<float *>(t.scratch + t.at.c) : static_cast<float *>(t.args.y) + m0 * t.args.ldy + n0;
    size_t k0 = 0;
    do {
        const size_t k1 = std::min(l.ka, k0 + l.k_block);
        gemm_args g = tile_args(t, tiles.now.begin, tiles.now.end, k0, k1);
        const char *next = k1 < l.ka                           ? packed_at(l, tiles.now.begin, k1)
                           : tiles.next.begin < tiles.next.end ? packed_at(l, tiles.next.begin, 0)
                                                               : nullptr;
        g.lda = rows.lda;
        g.ldy = apart ? tile_block_of(l, m1 - m0) * l.gemm->nt : t.args.ldy;
        for (size_t p = 0; p < panels; ++p) {
            // Panels of like height: 15 rows run as 8 + 7, not as 14 + 1.
            const size_t i0 = (m1 - m0) * p / panels, i1 = (m1 - m0) * (p + 1) / panels;
            float *c = sums + i0 * g.ldy;
            g.a = rows.a + (i0 * rows.lda + k0) * size_of(l.gemm->a);
            g.row_scale = rows.scale ? rows.scale + i0 : nullptr;
            g.y = c;
            g.m = i1 - i0;
            if (next && p > 0) {  // the first panel waits for its own weights
                g.ahead_step = ceil_div(l.gemm->nt * size_of(l.gemm->b), panels - 1);
                g.ahead = next + (p - 1) * g.k * g.ahead_step;
            }
            l.gemm->run(g);
            if (k1 < l.ka) continue;
            if (l.activate) l.activate->run(joined({c, g.m, g.n, g.ldy}));
            if (!apart) continue;
            const char *residual = static_cast<const char *>(t.args.residual);
            l.store->run(joined({c, static_cast<char *>(t.args.y) + ((m0 + i0) * t.args.ldy + n0) * y_size,
                                 residual ? residual + ((m0 + i0) * t.args.ldr + n0) * y_size : nullptr, g.m, g.n,
                                 g.ldy, t.args.ldy, t.args.ldr}));
        }
        k0 = k1;
    } while (k0 < l.ka);
}

// The sketches that the tiles [t0, t1) read. Each part has its segments, whose sketches are the same.
range sketches_of(const linear &l, range tiles) noexcept {
    const size_t n = l.n_sketches;
    if (n == 1) return {0, 1};
    const size_t first = l.tiles.segment_of(tiles.begin), last = l.tiles.segment_of(tiles.end - 1);
    if (last - first >= n || first % n > last % n) return {0, n};
    return {first % n, last % n + 1};
}

// The first block of these tiles, at most so many: they read one sketch.
range first_block(const linear &l, range tiles, size_t most) noexcept {
    const size_t segment_end = (l.tiles.segment_of(tiles.begin) + 1) * l.tiles.tiles_per_segment();
    return {tiles.begin, std::min({tiles.end, segment_end, tiles.begin + most})};
}

// Rows [m0, m1) of one block and some tiles. `cold`: their weights, not in L2. `fetched`: by rows before, those of the
// first block. Returns the same for the rows that follow; `last`: there are none.
bool run_block(const task_state &t, size_t m0, size_t m1, range tiles, bool cold, bool fetched, bool last) noexcept {
    const linear &l = t.l;
    const size_t most = tile_block_of(l, m1 - m0);
    const range wanted = sketches_of(l, tiles), first = first_block(l, tiles, most);
    const size_t stride = round_up(m1 - m0, l.gemm->fused ? 16 : 1), at_once = sketches_at_once(l, stride);
    range made = {};
    for (range now = first; now.begin < tiles.end;) {
        const size_t of_tiles = sketches_of(l, now).begin;
        if (t.sketches && (of_tiles < made.begin || of_tiles >= made.end)) {
            made = {of_tiles, std::min(wanted.end, of_tiles + at_once)};
            make_a(t, m0, m1, made.begin, made.end, stride);
        }
        const size_t sketch = of_tiles - made.begin;
        rows_of_a rows = {t.x(m0), t.args.ldx, nullptr};
        if (t.sketches) rows = {t.a(sketch, 0, stride), l.lda, nullptr};
        if (l.quantize) rows.scale = reinterpret_cast<const float *>(t.scratch + t.at.scale) + sketch * stride;
        const range left = {now.end, tiles.end};
        const bool more = left.begin < left.end;
        const range next = more ? first_block(l, left, most) : first;
        // A lone block stays where it is; a lone panel waits for its own weights.
        const bool fetches = (more || !last) && next.begin != now.begin && m1 - m0 > row_panel;
        const weight_block block = {now, fetches ? next : range{}, cold && !fetched};
        if (l.gemm->fused) {
            multiply_fused(t, rows, m0, m1, block);
        } else {
            multiply_panels(t, rows, m0, m1, block);
        }
        fetched = fetches;
        now = more ? next : left;
    }
    return fetched;
}

// Tile kernels run between these; thread by thread, as the configuration is the thread's.
struct tile_scope {
    explicit tile_scope(const linear &l) noexcept : on(l.gemm->needs & (isa::amx_bf16 | isa::amx_int8)) {
        if (on) amx_configure();
    }
    ~tile_scope() {
        if (on) amx_release();
    }
    tile_scope(const tile_scope &) = delete;
    tile_scope &operator=(const tile_scope &) = delete;
    bool on;
};

void run_task(const linear &l, const ss1_linear_args &args, void *scratch, size_t m0, size_t m1, size_t t0, size_t t1,
              bool in_groups) noexcept {
    const tile_scope tiles(l);
    const bool direct = in_groups && l.copies;
    const task_state t = {l, args, static_cast<char *>(scratch), make_layout(l, m1 - m0), l.sketch && !direct};
    const size_t rows = direct && l.gemm->fused ? max_fused_row_block : l.row_block;
    const size_t weights = static_cast<size_t>(packed_at(l, t1, 0) - packed_at(l, t0, 0));
    // Kernels without `fused` prefetch as they go.
    bool cold = l.gemm->fused && !run_recently(packed_at(l, t0, 0), weights, l.l2), fetched = false;
    for (size_t m = m0; m < m1; m += rows) {
        fetched = run_block(t, m, std::min(m1, m + rows), {t0, t1}, cold, fetched, m + rows >= m1);
        cold = cold && weights > l.l2;  // else they are there by now
    }
}

}  // namespace

void linear_rows_run(const void *state, const ss1_linear_args *args, int in_groups) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    run_task(l, *args, args->scratch, 0, args->m, 0, l.tiles.tiles(), in_groups != 0);
}

uint64_t linear_ns(const void *state, size_t m) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    const size_t flops_a_ns = l.gemm->fused ? 1000 : l.gemm->b == dtype::s8 ? 300 : 100;
    constexpr size_t bytes_a_ns = 30;                 // from L3: with few rows the weights are all that costs
    constexpr uint64_t for_ever = uint64_t{1} << 50;  // sums of it do not overflow
    size_t flops = 0;
    if (__builtin_mul_overflow(l.flops_per_row, m, &flops)) return for_ever;
    return std::min(for_ever, flops / flops_a_ns + l.packed.bytes() / bytes_a_ns);
}

size_t linear_rows_scratch(const void *state, size_t rows) noexcept {
    return make_layout(*static_cast<const linear *>(state), rows).total;
}

ss1_status linear_run(const void *state, const ss1_linear_args *args) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    const plan p = make_plan(l, args->m);
    const size_t tiles = l.tiles.tiles();
    if (p.row_tasks * p.tile_tasks == 1) {  // nothing to cut: a layer may take less than 100 ns
        parallel(l.context, 1, [&](size_t) { run_task(l, *args, args->scratch, 0, args->m, 0, tiles, false); });
        return SS1_OK;
    }
    const size_t bytes = make_layout(l, p.rows).total;
    const auto first_tile = [&](size_t task) {
        return std::min(tiles, ceil_div(tiles, l.tiles_at_once) * task / p.tile_tasks * l.tiles_at_once);
    };
    parallel(l.context, p.row_tasks * p.tile_tasks, [&](size_t task) {
        const size_t row_task = task / p.tile_tasks, tile_task = task % p.tile_tasks;
        const size_t t0 = first_tile(tile_task), t1 = first_tile(tile_task + 1);
        const size_t m0 = std::min(args->m, row_task * p.rows), m1 = std::min(args->m, m0 + p.rows);
        if (m0 < m1) run_task(l, *args, static_cast<char *>(args->scratch) + task * bytes, m0, m1, t0, t1, false);
    });
    return SS1_OK;
}

size_t linear_scratch(const void *state, size_t m) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    // The bound over all plans, which grows with m: the plan's own need falls where a split over rows takes over from
    // one over tiles (20 rows of 2 tasks: 40 rows of sketch, 28 rows: 28), but scratch for m rows must serve fewer too.
    return tasks_for(l, m) * make_layout(l, m).total;
}

}  // namespace ss1
