// SPDX-License-Identifier: Apache-2.0
// The run loops of the CPU's linear layer: blocks and threads. A run is one parallel region; a task encodes its rows
// (their sketches, and x V) block by block and multiplies them by its tiles of the packed weights.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/kernel_scope.hpp"
#include "base/round.hpp"
#include "op/linear_cpu.hpp"
#include "op/recent_weights.hpp"
#include "op/split.hpp"

namespace ss1 {
namespace {

constexpr size_t line = 64;                            // bytes
constexpr size_t sketch_f32_bytes = size_t{24} << 10;  // f32 sketches that wait to be quantized
constexpr size_t least_sketched_rows = 4;              // kernels sketch fewer rows more slowly
constexpr size_t least_prefetching_rows = 33;          // fewer wait for their own weights: a prefetch only delays

// The cut of a run of m rows: a grid of tasks, each with an equal share of the rows and of the tiles.
struct plan {
    size_t row_tasks, tile_tasks, rows;
};

// Weight tiles per pass of `rows` rows. A single panel streams its weights once, so it takes as many tiles as the
// products' scratch has room for.
size_t tile_block_of(const linear &l, size_t rows) noexcept {
    return l.gemm->fused || rows > l.gemm->mr ? l.tile_block : l.lone_tile_block;
}

// Sketches of a block of `rows` rows that are in scratch together.
size_t sketches_at_once(const linear &l, size_t rows) noexcept {
    return std::clamp<size_t>(l.sketch_bytes / (rows * l.row_bytes_of_a()), 1, l.n_sketches);
}

// Rows and sketches that are made in f32 before they are quantized.
struct sketch_chunk {
    size_t rows, sketches;
};
sketch_chunk chunk_of(const linear &l, size_t sketches) noexcept {
    const size_t row = l.lda * sizeof(float);
    const size_t rows = std::clamp<size_t>(sketch_f32_bytes / (sketches * row), least_sketched_rows, 32);
    return {rows, std::clamp<size_t>(sketch_f32_bytes / (rows * row), 1, sketches)};
}

// Scratch of one task, in bytes from its start; each part is a multiple of a cache line. `a` comes first.
struct layout {
    size_t scale;         // row scales of `a`, for integers
    size_t sketch_f32;    // sketches before they are quantized
    size_t down;          // x V
    size_t down_scratch;  // of the layer that makes it
    size_t products;  // sums that are not in y: y is of another type or a residual is added; fused: between parts of k
    size_t total;
};

layout make_layout(const linear &l, size_t rows) noexcept {
    rows = round_up(std::min(rows, l.row_block), l.gemm->row_multiple);
    layout p{};
    // An upper bound that never falls as rows grow, not the exact size.
    const auto at_most = [&](size_t row, size_t bytes) { return std::min(rows * l.n_sketches * row, bytes); };
    const size_t row_f32 = l.lda * sizeof(float);
    p.scale = l.makes_a()
                  ? round_up(at_most(l.row_bytes_of_a(), std::max(l.sketch_bytes, rows * l.row_bytes_of_a())), line)
                  : 0;
    p.sketch_f32 = p.scale + (l.quantize ? round_up(rows * l.n_sketches * sizeof(float), line) : 0);
    const bool waits = l.quantize && !l.quantizes_x;
    p.down = p.sketch_f32 +
             (waits ? round_up(at_most(row_f32, std::max(sketch_f32_bytes, least_sketched_rows * row_f32)), line) : 0);
    p.down_scratch = p.down + rows * l.down_ld * size_of(l.encoded_type());
    p.products = p.down_scratch + (l.down ? make_layout(*l.down, rows).total : 0);
    const size_t mr = l.gemm->mr;
    const auto sums_of = [&l](size_t m) { return m * round_up(tile_block_of(l, m) * l.gemm->nt, 32); };
    const size_t sums = l.gemm->cuts_k  ? sums_of(mr)
                        : l.gemm->fused ? 0
                                        : std::max(sums_of(rows), sums_of(std::min(rows, mr)));
    p.total = p.products + round_up(sums * sizeof(float), line);
    return p;
}

// Time of the slowest task in multiply-adds: its products, its own sketches, and the rows and weights that it reads. If
// tiles are split, every task sketches the same rows again (unless its tiles are of other output blocks); if rows are
// split, every task reads the same weights. x V is made by every task for its rows.
double task_cost(const linear &l, size_t m, size_t row_tasks, size_t tile_tasks) {
    const double read_cost = l.gemm->rates.macs_per_byte;
    const double rows = static_cast<double>(ceil_div(m, row_tasks));
    const size_t steps = ceil_div(ceil_div(l.tiles.tiles(), l.gemm->tiles_at_once), tile_tasks);
    const double tiles = static_cast<double>(std::min(l.tiles.tiles(), steps * l.gemm->tiles_at_once));
    const double sketches = std::min(static_cast<double>(l.n_sketches),
                                     std::ceil(tiles / static_cast<double>(l.tiles.tiles_per_segment())));
    const double columns = tiles * static_cast<double>(l.gemm->nt), ka = static_cast<double>(l.ka);
    const double x_bytes = static_cast<double>(l.map.desc.K * size_of(l.x_type));
    const double rank = static_cast<double>(l.map.desc.rank),
                 v_bytes = l.down ? static_cast<double>(l.down->packed.bytes()) : 0;
    return rows * (columns * ka + static_cast<double>(l.map.desc.K) * rank) +
           read_cost * (rows * sketches * x_bytes + v_bytes + columns * ka * static_cast<double>(size_of(l.gemm->b)));
}

size_t tasks_for(const linear &l, size_t m) {
    return most_tasks(l.context, linear_ns(&l, m));
}

plan make_plan(const linear &l, size_t m) {
    const size_t wanted = tasks_for(l, m);
    if (wanted == 1) return {1, 1, m};
    const float_mode mode;  // the arithmetic of costs must not trap
    plan p = {1, 1, m};
    double best = task_cost(l, m, 1, 1);
    for (size_t row_tasks = 1; row_tasks <= std::min(wanted, ceil_div(m, l.gemm->mr)); ++row_tasks) {
        const size_t tile_tasks = std::min(wanted / row_tasks, ceil_div(l.tiles.tiles(), l.gemm->tiles_at_once));
        const double cost = task_cost(l, m, row_tasks, tile_tasks);
        if (cost < best) {
            best = cost;
            p.row_tasks = row_tasks;
            p.tile_tasks = tile_tasks;
        }
    }
    // A task has whole panels, but no more than m rows: the size of its scratch follows from its rows.
    p.rows = std::min(m, round_up(ceil_div(m, p.row_tasks), l.gemm->mr));
    return p;
}

void run_blocks(const linear &l, const ss1_linear_args &args, void *scratch, size_t m0, size_t m1, size_t t0, size_t t1,
                bool in_groups) noexcept;

// The operands of one task.
struct task_state {
    const linear &l;
    const ss1_linear_args &args;
    char *scratch;
    layout at;
    bool makes_a;    // in scratch; else the kernel reads x
    bool in_groups;  // rows of x up to the next multiple of row_group may be read

    size_t x_size() const noexcept { return size_of(l.x_type); }
    const char *x(size_t row) const noexcept { return static_cast<const char *>(args.x) + row * args.ldx * x_size(); }
    char *a(size_t sketch, size_t row, size_t rows) const noexcept {
        return scratch + (sketch * rows + row) * l.lda * size_of(l.gemm->a);
    }
};

// Makes x V for rows [m0, m1), once for all sketches.
void make_down(const task_state &t, size_t m0, size_t m1) noexcept {
    const linear &down = *t.l.down;
    const scope_guard scope(t.l.gemm->scope ? nullptr : down.gemm->scope);  // kernels of one type have one scope
    ss1_linear_args args = linear_args(m1 - m0, t.x(m0), t.args.ldx, t.scratch + t.at.down, t.l.down_ld, nullptr);
    run_blocks(down, args, t.scratch + t.at.down_scratch, 0, args.m, 0, down.tiles.tiles(), t.in_groups);
}

// Appends rows [m, m + rows) of x V to each of `sketches`, which start at `encoded` and lie `stride` rows apart.
void append_down(const task_state &t, size_t m, size_t rows, char *encoded, size_t sketches, size_t stride) noexcept {
    const linear &l = t.l;
    const size_t size = size_of(l.encoded_type());
    for (size_t j = 0; j < sketches; ++j)
        for (size_t i = 0; i < rows; ++i)
            std::memcpy(encoded + ((j * stride + i) * l.lda + l.sketch_columns()) * size,
                        t.scratch + t.at.down + (m + i) * l.down_ld * size, l.map.desc.rank * size);
}

// Encodes rows [m, m + rows) for the sketches [s0, s1) at `to`: the sketches, `stride` rows each, and x V behind each.
// x V was made from row m0 on.
void encode(const task_state &t, size_t m0, size_t m, size_t rows, size_t s0, size_t s1, char *to,
            size_t stride) noexcept {
    const linear &l = t.l;
    if (l.sketch)
        l.sketch->run({.x = t.x(m),
                       .s = to,
                       .entries = l.entries.as<sketch_entry>() + s0 * l.groups * l.c,
                       .m = rows,
                       .k = l.map.desc.K,
                       .ldx = t.args.ldx,
                       .lds = l.lda,
                       .block_k = l.block_k,
                       .c = l.c,
                       .groups = l.groups,
                       .sketches = s1 - s0,
                       .sketch_stride = stride * l.lda});
    if (l.down) append_down(t, m - m0, rows, to, s1 - s0, stride);
}

// The same for rows [m0, m1), as integers and their scales.
void encode_integers(const task_state &t, size_t m0, size_t m1, size_t s0, size_t s1, size_t stride) noexcept {
    const linear &l = t.l;
    const auto quantize = [&](const void *s, size_t lds, size_t m, size_t rows, size_t j) {
        l.quantize->run({.s = s,
                         .q = t.a(j - s0, m - m0, stride),
                         .scale = reinterpret_cast<float *>(t.scratch + t.at.scale) + (j - s0) * stride + (m - m0),
                         .m = rows,
                         .n = l.made_columns(),
                         .lds = lds,
                         .ldq = l.lda,
                         .zero = static_cast<uint8_t>(l.gemm->a == dtype::u8 ? 128 : 0)});
    };
    if (l.quantizes_x) return quantize(t.x(m0), t.args.ldx, m0, m1 - m0, s0);
    const sketch_chunk most = chunk_of(l, s1 - s0);
    float *sums = reinterpret_cast<float *>(t.scratch + t.at.sketch_f32);
    for (size_t m = m0; m < m1; m += most.rows)
        for (size_t s = s0; s < s1; s += most.sketches) {
            const size_t rows = std::min(most.rows, m1 - m), end = std::min(s1, s + most.sketches);
            encode(t, m0, m, rows, s, end, reinterpret_cast<char *>(sums), rows);
            for (size_t j = s; j < end; ++j) quantize(sums + (j - s) * rows * l.lda, l.lda, m, rows, j);
        }
}

// Makes rows [m0, m1) of the sketches [s0, s1), all columns, in `a`: sketch j of them starts at j * stride rows.
void make_a(const task_state &t, size_t m0, size_t m1, size_t s0, size_t s1, size_t stride) noexcept {
    const linear &l = t.l;
    const size_t columns = l.made_columns(), size = size_of(l.gemm->a);
    if (l.quantize) {
        encode_integers(t, m0, m1, s0, s1, stride);
    } else {
        encode(t, m0, m0, m1 - m0, s0, s1, t.a(0, 0, stride), stride);
    }
    if (columns == l.ka) return;
    for (size_t j = 0; j < s1 - s0; ++j)
        for (size_t i = 0; i < m1 - m0; ++i)
            std::memset(t.a(j, i, stride) + columns * size, l.gemm->a == dtype::u8 ? 128 : 0, (l.ka - columns) * size);
}

const char *packed_at(const linear &l, size_t tile, size_t k) noexcept {
    return l.packed.as<char>() + (tile * l.ka + k) * l.gemm->nt * size_of(l.gemm->b);
}

// Sets the arguments that all calls for the tiles [t0, t1) share.
void set_tiles(const linear &l, size_t t0, size_t t1, size_t k0, size_t k1, gemm_args &g) noexcept {
    const size_t n0 = l.tiles.first_column(t0), nt = l.gemm->nt;
    g.b = packed_at(l, t0, k0);
    if (l.bias.data()) g.bias = l.bias.as<float>() + t0 * nt;
    if (l.column_scale.data()) g.column_scale = l.column_scale.as<float>() + t0 * nt;
    if (l.column_start.data()) g.column_start = l.column_start.as<int32_t>() + t0 * nt;
    g.n = l.tiles.end_column(t1) - n0;
    g.k = k1 - k0;
    g.relu = l.relu && k1 == l.ka;
}

struct range {
    size_t begin, end;
};

// A block of tiles, whose packed weights stay in L2 for all rows of a row block.
struct weight_block {
    range now;
    range next;  // the block to prefetch to L2 meanwhile; may be empty
    bool cold;   // `now` is not in L2 yet
};

struct rows_of_a {
    const char *a;
    size_t lda;
    const float *scale;
};

// Fused kernels: one call for all rows, epilogue included.
void multiply_fused(const task_state &t, rows_of_a rows, size_t m0, size_t m1, const weight_block &tiles) noexcept {
    const linear &l = t.l;
    gemm_fused_args g = l.fused_args;
    set_tiles(l, tiles.now.begin, tiles.now.end, 0, l.ka, g);
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
    if (l.gemm->cuts_k) g.partial = reinterpret_cast<float *>(t.scratch + t.at.products);
    g.m = m1 - m0;
    l.gemm->fused(g);
}

// Rows without gaps become one row: kernels would process a matrix of one column value by value.
activation_args joined(const activation_args &a) noexcept {
    const size_t n = a.m * a.n;
    return a.ldy == a.n ? activation_args{.y = a.y, .m = 1, .n = n, .ldy = n} : a;
}
store_args joined(const store_args &s) noexcept {
    const bool gaps = s.ldc != s.n || s.ldy != s.n || (s.residual && s.ldr != s.n);
    const size_t n = s.m * s.n;
    return gaps ? s
                : store_args{.c = s.c, .y = s.y, .residual = s.residual, .m = 1, .n = n, .ldc = n, .ldy = n, .ldr = n};
}

// The last steps for the sums c of a panel [m, n], which starts at `row` of y and column n0. `apart`: c is not in y.
void finish_panel(const task_state &t, float *c, size_t ldc, size_t row, size_t n0, size_t m, size_t n,
                  bool apart) noexcept {
    const linear &l = t.l;
    if (l.activate) l.activate->run(joined(activation_args{.y = c, .m = m, .n = n, .ldy = ldc}));
    if (!apart) return;
    const size_t y_size = size_of(l.y_type);
    const char *residual = static_cast<const char *>(t.args.residual);
    l.store->run(joined(store_args{.c = c,
                                   .y = static_cast<char *>(t.args.y) + (row * t.args.ldy + n0) * y_size,
                                   .residual = residual ? residual + (row * t.args.ldr + n0) * y_size : nullptr,
                                   .m = m,
                                   .n = n,
                                   .ldc = ldc,
                                   .ldy = t.args.ldy,
                                   .ldr = t.args.ldr}));
}

// Panel kernels: panel by panel, k block by k block. The sums add up in y, or in scratch if y is of another type or a
// residual is added.
void multiply_panels(const task_state &t, rows_of_a rows, size_t m0, size_t m1, const weight_block &tiles) noexcept {
    const linear &l = t.l;
    const size_t panels = ceil_div(m1 - m0, l.gemm->mr), n0 = l.tiles.first_column(tiles.now.begin);
    const bool apart = l.y_type != dtype::f32 || t.args.residual;
    float *sums = apart ? reinterpret_cast<float *>(t.scratch + t.at.products)
                        : static_cast<float *>(t.args.y) + m0 * t.args.ldy + n0;
    size_t k0 = 0;
    do {
        const size_t k1 = std::min(l.ka, k0 + l.k_block);
        gemm_panel_args g = l.panel_args;
        set_tiles(l, tiles.now.begin, tiles.now.end, k0, k1, g);
        g.accumulate = k0 > 0;
        const char *next = k1 < l.ka                           ? packed_at(l, tiles.now.begin, k1)
                           : tiles.next.begin < tiles.next.end ? packed_at(l, tiles.next.begin, 0)
                                                               : nullptr;
        g.lda = rows.lda;
        g.ldy = apart ? tile_block_of(l, m1 - m0) * l.gemm->nt : t.args.ldy;
        for (size_t p = 0; p < panels; ++p) {
            // Panels of equal height: 15 rows run as 8 + 7, not as 14 + 1.
            const size_t i0 = (m1 - m0) * p / panels, i1 = (m1 - m0) * (p + 1) / panels;
            g.a = rows.a + (i0 * rows.lda + k0) * size_of(l.gemm->a);
            g.row_scale = rows.scale ? rows.scale + i0 : nullptr;
            g.y = sums + i0 * g.ldy;
            g.m = i1 - i0;
            if (next && p > 0) {  // the first panel still waits for its own weights
                g.ahead_step = ceil_div(l.gemm->nt * size_of(l.gemm->b), panels - 1);
                g.ahead = next + (p - 1) * g.k * g.ahead_step;
            }
            l.gemm->panel(g);
            if (k1 == l.ka) finish_panel(t, sums + i0 * g.ldy, g.ldy, m0 + i0, n0, g.m, g.n, apart);
        }
        k0 = k1;
    } while (k0 < l.ka);
}

// The sketches that the tiles read. All parts have the same segments and sketches.
range sketches_of(const linear &l, range tiles) noexcept {
    const size_t n = l.n_sketches;
    if (n == 1) return {0, 1};
    const size_t first = l.tiles.segment_of(tiles.begin), last = l.tiles.segment_of(tiles.end - 1);
    if (last - first >= n || first % n > last % n) return {0, n};
    return {first % n, last % n + 1};
}

// The first block of `tiles`: at most `most` tiles, which all read the same sketch.
range first_block(const linear &l, range tiles, size_t most) noexcept {
    const size_t segment_end = (l.tiles.segment_of(tiles.begin) + 1) * l.tiles.tiles_per_segment();
    return {tiles.begin, std::min({tiles.end, segment_end, tiles.begin + most})};
}

// Multiplies rows [m0, m1) by `tiles`. cold: their weights are not in L2. fetched: the previous row block has
// prefetched the first weight block. last: no row block follows. Returns whether it prefetched for the next row block.
bool run_block(const task_state &t, size_t m0, size_t m1, range tiles, bool cold, bool fetched, bool last) noexcept {
    const linear &l = t.l;
    const size_t most = tile_block_of(l, m1 - m0);
    const range wanted = sketches_of(l, tiles), first = first_block(l, tiles, most);
    const size_t stride = round_up(m1 - m0, l.gemm->row_multiple), at_once = sketches_at_once(l, stride);
    const bool takes_hint = (l.gemm->panel || l.gemm->cuts_k) && m1 - m0 >= least_prefetching_rows;
    range made = {};
    if (l.down) make_down(t, m0, m1);
    for (range now = first; now.begin < tiles.end;) {
        const size_t of_tiles = sketches_of(l, now).begin;
        if (t.makes_a && (of_tiles < made.begin || of_tiles >= made.end)) {
            made = {of_tiles, std::min(wanted.end, of_tiles + at_once)};
            make_a(t, m0, m1, made.begin, made.end, stride);
        }
        const size_t sketch = of_tiles - made.begin;
        rows_of_a rows = {t.x(m0), t.args.ldx, nullptr};
        if (t.makes_a) rows = {t.a(sketch, 0, stride), l.lda, nullptr};
        if (l.quantize) rows.scale = reinterpret_cast<const float *>(t.scratch + t.at.scale) + sketch * stride;
        const range left = {now.end, tiles.end};
        const bool more = left.begin < left.end;
        const range next = more ? first_block(l, left, most) : first;
        // A single block stays in L2.
        const bool fetches = takes_hint && (more || !last) && next.begin != now.begin;
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

// Runs within the scope of the kernel.
void run_blocks(const linear &l, const ss1_linear_args &args, void *scratch, size_t m0, size_t m1, size_t t0, size_t t1,
                bool in_groups) noexcept {
    const bool direct = l.x_is_a && (in_groups || !l.sketch);
    const task_state t = {.l = l,
                          .args = args,
                          .scratch = static_cast<char *>(scratch),
                          .at = make_layout(l, m1 - m0),
                          .makes_a = l.makes_a() && !direct,
                          .in_groups = in_groups};
    const size_t rows = direct && l.gemm->fused ? max_fused_row_block : l.row_block;
    const size_t weights = static_cast<size_t>(packed_at(l, t1, 0) - packed_at(l, t0, 0));
    // Panel kernels take no hint: they always prefetch.
    bool cold = l.gemm->fused && !used_recently(packed_at(l, t0, 0), weights, l.l2), fetched = false;
    for (size_t m = m0; m < m1; m += rows) {
        fetched = run_block(t, m, std::min(m1, m + rows), {t0, t1}, cold, fetched, m + rows >= m1);
        cold = cold && weights > l.l2;  // else they are in L2 by now
    }
}

void run_task(const linear &l, const ss1_linear_args &args, void *scratch, size_t m0, size_t m1, size_t t0, size_t t1,
              bool in_groups) noexcept {
    const scope_guard scope(l.gemm->scope);
    run_blocks(l, args, scratch, m0, m1, t0, t1, in_groups);
}

}  // namespace

void linear_rows_run(const void *state, const ss1_linear_args *args, int in_groups) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    run_task(l, *args, args->scratch, 0, args->m, 0, l.tiles.tiles(), in_groups != 0);
}

uint64_t linear_ns(const void *state, size_t m) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    constexpr size_t bytes_per_ns = 30;             // of weights from L3: with few rows nothing else costs
    constexpr uint64_t max_ns = uint64_t{1} << 50;  // small enough that sums of it do not overflow
    size_t flops = 0;
    if (__builtin_mul_overflow(l.flops_per_row, m, &flops)) return max_ns;
    const size_t bytes = l.packed.bytes() + (l.down ? l.down->packed.bytes() : 0);
    return std::min(max_ns, flops / l.gemm->rates.flops_per_ns + bytes / bytes_per_ns);
}

size_t linear_rows_scratch(const void *state, size_t rows) noexcept {
    return make_layout(*static_cast<const linear *>(state), rows).total;
}

ss1_status linear_run(const void *state, const ss1_linear_args *args) noexcept {
    const linear &l = *static_cast<const linear *>(state);
    const plan p = make_plan(l, args->m);
    const size_t tiles = l.tiles.tiles(), at_once = l.gemm->tiles_at_once;
    if (p.row_tasks * p.tile_tasks ==
        1) {  // not cut: the loops below would cost too much for a layer that takes less than 100 ns
        parallel(l.context, 1, [&](size_t) { run_task(l, *args, args->scratch, 0, args->m, 0, tiles, false); });
        return SS1_OK;
    }
    const size_t bytes = make_layout(l, p.rows).total;
    const auto first_tile = [&](size_t task) {
        return std::min(tiles, ceil_div(tiles, at_once) * task / p.tile_tasks * at_once);
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
    // An upper bound for all plans that never falls as m grows, since scratch for m rows must serve fewer rows, too.
    // The need of a plan does fall where it splits rows instead of tiles (20 rows in 2 tasks: 40 rows of sketch; 28
    // rows: 28).
    return tasks_for(l, m) * make_layout(l, m).total;
}

}  // namespace ss1
