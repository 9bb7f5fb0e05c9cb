// SPDX-License-Identifier: Apache-2.0
// A layer is a sketch of x, a product by cuBLASLt, and what the product's epilogue cannot do: int8 scales, activations
// other than ReLU, results that are not aligned. A low-rank part is one more product, x V, whose columns lie behind
// those of the sketch, so that one product multiplies both. Runs take blocks of rows, so that what lies between the
// steps stays in the L2 cache and scratch has a bound.
#include "layer.hpp"

#include <algorithm>
#include <climits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "half.hpp"
#include "kernels.hpp"
#include "mapping/mapping.hpp"
#include "mapping/pack_order.hpp"
#include "plugin.hpp"
#include "product.hpp"

namespace ss1::cuda {
namespace {

constexpr size_t row_values = 16;                    // copied rows and outputs are padded to multiples of this
constexpr size_t dense_block = 16;                   // B_K of the sketch that only converts and pads x
constexpr size_t scratch_bytes = size_t{512} << 20;  // at most, of a block of rows
constexpr size_t max_rows = 32768;                   // of a block
constexpr size_t alignment = 256;                    // of the parts of scratch, in bytes

// Whether a product can write y itself: cuBLASLt rounds no f32 product to bf16, its GELU by tanh is less exact than
// ours, and its rows must start at multiples of 16 bytes.
bool can_be_direct(const ss1_linear_desc &desc) {
    const bool types =
        desc.weight_dtype == SS1_DTYPE_BF16 || (desc.weight_dtype == SS1_DTYPE_F32 && desc.y_dtype == SS1_DTYPE_F32);
    return types && desc.N % 16 == 0 &&
           (desc.activation == SS1_ACTIVATION_NONE || desc.activation == SS1_ACTIVATION_RELU);
}

struct layer {
    layer(const ss1_linear_desc &desc, size_t n_parts) : map(desc), parts(n_parts) {}
    mapping map;  // of one part
    size_t parts;
    int device = 0;
    cudaMemPool_t pool = nullptr;    // of the device's scratch
    bool tied = false;               // the sketch sums; else it converts and pads, where x does not fit the product
    size_t sketches = 1, block = 0;  // distinct sketches, and the outputs of a part that each serves
    size_t kz = 0, rank = 0;         // columns of a sketch and of x V, each padded to whole 16 values
    size_t ka = 0;                   // both: what the product sums over
    size_t np = 0;                   // outputs of all parts, padded
    size_t rows = 0;                 // of a block
    bool direct = false;             // the product gives y; else it gives sums, and finish() gives y
    device_buffer weights, bias, column_scale, entries;
    device_buffer down_weights, plain_entries;  // V [rank, kx]; of the sketch that only converts x for the product by V
    product whole, last;                        // the whole output blocks of a part; its last, narrower block
    product down;                               // x V
    size_t weight_bytes = 0;
    std::string kernels;

    size_t N() const { return map.desc.N; }
    size_t K() const { return map.desc.K; }
    bool integer() const { return map.desc.weight_dtype == SS1_DTYPE_I8; }
    dtype operands() const { return integer() ? dtype::s8 : static_cast<dtype>(map.desc.weight_dtype); }
    dtype y_type() const { return static_cast<dtype>(map.desc.y_dtype); }
    dtype x_type() const { return static_cast<dtype>(map.desc.x_dtype); }
    size_t whole_blocks() const { return sketches == 1 ? 1 : N() / block; }
    size_t last_outputs() const { return sketches == 1 ? 0 : N() % block; }
    size_t lds() const { return sketches * ka; }
    size_t kx() const { return round_up(K(), row_values); }
    bool sketch_is_x() const { return map.desc.c == 1; }  // in the type of the products
};

template <class T>
ss1_status upload_values(const layer &l, const std::vector<T> &values, device_buffer &to) {
    return upload(values.data(), values.size() * sizeof(T), weight_pool(l.device), to);
}

ss1_status upload_weights(layer &l, const ss1_linear_weights &weights) {
    const size_t outputs = l.parts * l.N();
    std::vector<char> packed(l.np * l.ka * size_of(l.operands()));
    std::vector<float> scale(l.integer() ? l.np : 0);
    // A tile of one column and kr = ka is a row of [N, ka].
    pack_stored(l.map, {.z = weights.z, .ldz = weights.ldz, .u = weights.u, .rank = l.map.desc.rank, .u_at = l.kz},
                {outputs, outputs, 1}, {l.operands(), 1, static_cast<uint32_t>(l.ka)}, l.ka,
                {packed.data(), scale.data(), nullptr});
    SS1_CHECK_OK(upload_values(l, packed, l.weights));
    SS1_CHECK_OK(upload_values(l, scale, l.column_scale));
    l.weight_bytes += packed.size() + scale.size() * sizeof(float);
    if (!weights.bias) return SS1_OK;
    const bool rounded = l.direct && l.y_type() == dtype::bf16;  // cuBLASLt takes a bias of the type of its result
    l.weight_bytes += l.np * (rounded ? sizeof(uint16_t) : sizeof(float));
    std::vector<float> bias(l.np);
    std::copy_n(weights.bias, outputs, bias.begin());
    if (!rounded) return upload_values(l, bias, l.bias);
    std::vector<uint16_t> halves(l.np);
    std::transform(bias.begin(), bias.end(), halves.begin(), bf16_from_f32);
    return upload_values(l, halves, l.bias);
}

ss1_status upload_down(layer &l, const float *v) {
    if (!l.rank) return SS1_OK;
    std::vector<float> rows(l.rank * l.kx());
    for (size_t r = 0; r < l.map.desc.rank; ++r) std::copy_n(v + r * l.K(), l.K(), &rows[r * l.kx()]);
    l.weight_bytes += rows.size() * size_of(l.operands());
    if (!l.sketch_is_x()) {
        const std::vector<sketch_entry> entries(l.kx() / dense_block);
        l.weight_bytes += entries.size() * sizeof(sketch_entry);
        SS1_CHECK_OK(upload_values(l, entries, l.plain_entries));
    }
    if (l.operands() == dtype::f32) return upload_values(l, rows, l.down_weights);
    std::vector<uint16_t> halves(rows.size());
    std::transform(rows.begin(), rows.end(), halves.begin(), bf16_from_f32);
    return upload_values(l, halves, l.down_weights);
}

ss1_status upload_entries(layer &l) {
    const size_t c = l.map.desc.c, groups = l.tied ? l.map.groups() : l.kz / dense_block;
    std::vector<sketch_entry> entries;
    for (size_t j = 0; j < l.sketches; ++j)
        for (size_t g = 0; g < groups; ++g)
            for (size_t q = 0; q < c; ++q)
                entries.push_back(!l.tied ? sketch_entry{0, 0}
                                  : l.sketches == 1 && l.map.desc.scheme == SS1_SCHEME_REFERENCE
                                      ? sketch_entry{static_cast<uint16_t>(l.map.rho(q)), 0}
                                      : l.map.entry(j, g, q));
    l.weight_bytes += entries.size() * sizeof(sketch_entry);
    return upload_values(l, entries, l.entries);
}

ss1_status create_products(layer &l) {
    product_shape shape{.operands = l.operands(),
                        .results = l.direct ? l.y_type() : dtype::f32,
                        .n = l.sketches == 1 ? l.np : l.block,
                        .k = l.ka,
                        .lda = l.lds(),
                        .batch = l.whole_blocks(),
                        .a_stride = l.ka,
                        .w_stride = l.block * l.ka,
                        .d_stride = l.sketches == 1 ? l.np : l.block,
                        .bias = l.direct && l.bias.as(),
                        .relu = l.direct && l.map.desc.activation == SS1_ACTIVATION_RELU};
    if (shape.batch) SS1_CHECK_OK(l.whole.create(l.device, shape, l.rows));
    if (l.last_outputs()) {
        shape.batch = 1;
        shape.n = shape.d_stride = round_up(l.last_outputs(), row_values);
        SS1_CHECK_OK(l.last.create(l.device, shape, l.rows));
    }
    if (!l.rank) return SS1_OK;
    return l.down.create(l.device,
                         {.operands = l.operands(),
                          .results = l.operands(),
                          .n = l.rank,
                          .k = l.kx(),
                          .lda = l.sketch_is_x() ? l.lds() : l.kx(),
                          .batch = 1,
                          .a_stride = 0,
                          .w_stride = 0,
                          .d_stride = l.rank,
                          .bias = false,
                          .relu = false},
                         l.rows);
}

void name_kernels(layer &l) {
    const char *type = l.integer() ? "s8" : l.operands() == dtype::bf16 ? "bf16" : "f32";
    l.kernels = std::string("cuda ") + (l.tied ? "sketch_" : "") + (l.tied ? type : "") + (l.tied ? " " : "") +
                (l.rank ? "low_rank " : "") + "cublaslt_" + type + (l.direct ? "" : " finish");
}

ss1_status create(const ss1_context *context, const ss1_linear_desc &desc, size_t parts,
                  const ss1_linear_weights &weights, void **state) {
    ss1_info info = SS1_INFO_INIT;
    SS1_CHECK_OK(host->get_info(context, &info));
    const device_scope device(info.device);  // until after the layer: what a failure frees is on this device
    SS1_CUDA(device.status());
    auto l = std::make_unique<layer>(desc, parts);
    l->device = info.device;
    l->pool = scratch_pool(l->device);
    if (!l->pool) return fail(SS1_ERROR_BACKEND, "the device has no memory pools");
    l->tied = desc.c > 1;
    if (l->tied && desc.scheme != SS1_SCHEME_REFERENCE) l->sketches = l->map.output_blocks();
    l->block = l->sketches == 1 ? desc.N : desc.block_n;
    l->kz = round_up(l->map.stored_columns, dense_block);
    l->rank = round_up(desc.rank, row_values);
    l->ka = l->kz + l->rank;
    l->np = round_up(parts * desc.N, row_values);
    l->direct = can_be_direct(desc);
    const size_t row_bytes = (l->lds() + (l->rank ? l->kx() : 0)) * size_of(l->operands()) +
                             l->np * (l->direct ? size_of(l->y_type()) : sizeof(float));
    l->rows = std::clamp<size_t>(scratch_bytes / row_bytes, 256, max_rows) / 256 * 256;
    SS1_CHECK_OK(upload_weights(*l, weights));
    SS1_CHECK_OK(upload_down(*l, weights.v));
    SS1_CHECK_OK(upload_entries(*l));
    SS1_CHECK_OK(create_products(*l));
    name_kernels(*l);
    *state = l.release();
    return SS1_OK;
}

// Rows of host or device memory that a block of a run works on.
struct rows_of {
    const void *at;
    size_t ld;  // elements
};

bool is_aligned(const void *pointer, size_t ld, size_t value) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && ld * value % 16 == 0;
}

const void *offset(const void *base, size_t elements, size_t value) {
    return static_cast<const char *>(base) + elements * value;
}

// How a run treats its matrices. It holds for each block of rows, because all rows of a matrix are aligned alike.
struct run_plan {
    bool waits;                      // a matrix is host memory
    bool copies_x, copies_residual;  // to aligned memory of the device
    bool sketches;                   // x is not what the product multiplies
    bool converts;                   // nor what the product by V multiplies
    activation f;                    // of the values in x
    bool y_here;                     // y is device memory
    bool in_y;                       // the product writes y
};

// Whether matrices are device memory; so is a residual that there is none of.
struct places {
    bool x, y, residual;
};

places places_of(const ss1_linear_args &args) {
    return {on_device(args.x), on_device(args.y), !args.residual || on_device(args.residual)};
}

run_plan make_plan(const layer &l, const ss1_linear_args &args, const places &here, const made_x &made = {}) {
    const size_t x_value = size_of(l.x_type()), y_value = size_of(l.y_type());
    run_plan plan{};
    plan.y_here = here.y;
    plan.waits = !here.x || !here.y || !here.residual;
    plan.copies_x = !here.x;
    // Copies have rows of kx values.
    const auto fits = [&](size_t lda) {
        return l.x_type() == l.operands() && l.K() == l.kx() &&
               (here.x ? args.ldx == lda && is_aligned(args.x, args.ldx, x_value) : l.kx() == lda);
    };
    plan.sketches = !made.sketched && (l.tied || l.integer() || l.rank || !fits(l.lds()));
    plan.f = made.f;
    plan.converts = l.rank && !l.sketch_is_x() && !fits(l.kx());
    plan.copies_residual =
        args.residual && (!here.residual || (l.direct && !is_aligned(args.residual, args.ldr, y_value)));
    plan.in_y = l.direct && plan.y_here && is_aligned(args.y, args.ldy, y_value);
    return plan;
}

// Device memory for one block of rows. A run takes what its plan needs.
struct scratch {
    char *x = nullptr, *sketch = nullptr, *converted = nullptr, *residual = nullptr;
    char *results = nullptr;   // of the product
    char *finished = nullptr;  // y, where y itself is host memory
    float *row_scale = nullptr;
};

// Lays out the scratch of `rows` rows from `base` on. @return its BYTES
size_t carve(const layer &l, const run_plan &plan, size_t rows, char *base, scratch &s) {
    const size_t y_value = size_of(l.y_type()), outputs = l.parts * l.N();
    size_t used = 0;
    const auto take = [&](bool needed, size_t row_bytes) {
        char *const at = base ? base + used : nullptr;
        used += needed ? round_up(rows * row_bytes, alignment) : 0;
        return needed ? at : nullptr;
    };
    s.x = take(plan.copies_x, l.kx() * size_of(l.x_type()));
    s.sketch = take(plan.sketches, l.lds() * size_of(l.operands()));
    s.converted = take(plan.converts, l.kx() * size_of(l.operands()));
    s.row_scale = reinterpret_cast<float *>(take(l.integer(), l.sketches * sizeof(float)));
    s.results = take(!plan.in_y, l.np * (l.direct ? y_value : sizeof(float)));
    s.finished = take(!l.direct && !plan.y_here, l.np * y_value);
    s.residual = take(plan.copies_residual, round_up(outputs, row_values) * y_value);
    return used;
}

// Copies rows to the device, each to a multiple of 16 values.
ss1_status bring(rows_of &from, size_t m, size_t columns, size_t value, char *room, cudaStream_t stream) {
    const size_t ld = round_up(columns, row_values);
    SS1_CUDA(
        cudaMemcpy2DAsync(room, ld * value, from.at, from.ld * value, columns * value, m, cudaMemcpyDefault, stream));
    from = {room, ld};
    return SS1_OK;
}

ss1_status make_sketch(const layer &l, const rows_of &x, size_t m, activation f, const scratch &s,
                       cudaStream_t stream) {
    const size_t block_k = l.tied ? l.map.desc.block_k : dense_block;
    const sketch_args args{.x = x.at,
                           .s = s.sketch,
                           .entries = l.entries.as<sketch_entry>(),
                           .m = m,
                           .k = l.K(),
                           .ldx = x.ld,
                           .lds = l.lds(),
                           .block_k = block_k,
                           .c = l.map.desc.c,
                           .groups = l.kz / block_k,
                           .sketches = l.sketches,
                           .sketch_stride = l.ka};
    const size_t step = l.tied ? l.map.desc.step : dense_block;
    SS1_CUDA(f != activation::none ? sketch_activated(args, f, stream)
             : l.integer()         ? sketch_quantized(args, step, l.x_type(), s.row_scale, stream)
                                   : sketch(args, step, l.x_type(), l.operands(), stream));
    return SS1_OK;
}

// Makes x of the type of the products, padded with zeros to whole 16 values.
ss1_status convert_rows(const layer &l, const rows_of &x, size_t m, void *to, cudaStream_t stream) {
    const sketch_args args{.x = x.at,
                           .s = to,
                           .entries = l.plain_entries.as<sketch_entry>(),
                           .m = m,
                           .k = l.K(),
                           .ldx = x.ld,
                           .lds = l.kx(),
                           .block_k = dense_block,
                           .c = 1,
                           .groups = l.kx() / dense_block,
                           .sketches = 1,
                           .sketch_stride = 0};
    SS1_CUDA(sketch(args, dense_block, l.x_type(), l.operands(), stream));
    return SS1_OK;
}

// Makes the columns of x V behind those of each sketch.
ss1_status multiply_down(const layer &l, const run_plan &plan, rows_of x, size_t m, const scratch &s,
                         cudaStream_t stream) {
    const size_t value = size_of(l.operands());
    if (plan.converts) {
        SS1_CHECK_OK(convert_rows(l, x, m, s.converted, stream));
        x = {s.converted, l.kx()};
    } else if (l.sketch_is_x()) {
        x = {s.sketch, l.lds()};
    }
    char *const columns = s.sketch + l.kz * value;
    SS1_CHECK_OK(l.down.run({.m = m,
                             .a = x.at,
                             .w = l.down_weights.as(),
                             .bias = nullptr,
                             .residual = nullptr,
                             .ldr = 0,
                             .d = columns,
                             .ldd = l.lds()},
                            stream));
    if (l.sketches > 1)
        SS1_CUDA(repeat_columns({.from = columns,
                                 .m = m,
                                 .row = l.lds() * value,
                                 .width = l.rank * value,
                                 .stride = l.ka * value,
                                 .copies = l.sketches - 1},
                                stream));
    return SS1_OK;
}

// Replaces x by what the product multiplies.
ss1_status make_operand(const layer &l, const run_plan &plan, rows_of &x, size_t m, const scratch &s,
                        cudaStream_t stream) {
    if (!plan.sketches) return SS1_OK;
    if (l.kz) SS1_CHECK_OK(make_sketch(l, x, m, plan.f, s, stream));
    if (l.rank) SS1_CHECK_OK(multiply_down(l, plan, x, m, s, stream));
    x = {s.sketch, l.lds()};
    return SS1_OK;
}

// The products of all parts and output blocks: to d [m, ldd] of y's type or f32.
ss1_status multiply(const layer &l, const void *a, size_t m, const rows_of &residual, void *d, size_t ldd,
                    cudaStream_t stream) {
    const size_t operand = size_of(l.operands()), result = l.direct ? size_of(l.y_type()) : sizeof(float);
    auto run = [&](const product &p, size_t first_output, size_t first_sketch) {
        const bool add = l.direct && residual.at;
        return p.run({.m = m,
                      .a = offset(a, first_sketch * l.ka, operand),
                      .w = offset(l.weights.as(), first_output * l.ka, operand),
                      .bias = offset(l.bias.as(), first_output, result),
                      .residual = add ? offset(residual.at, first_output, result) : nullptr,
                      .ldr = residual.ld,
                      .d = const_cast<void *>(offset(d, first_output, result)),
                      .ldd = ldd},
                     stream);
    };
    if (l.sketches == 1) return run(l.whole, 0, 0);
    for (size_t part = 0; part < l.parts; ++part) {
        if (l.whole_blocks()) SS1_CHECK_OK(run(l.whole, part * l.N(), 0));
        if (l.last_outputs()) SS1_CHECK_OK(run(l.last, part * l.N() + l.whole_blocks() * l.block, l.whole_blocks()));
    }
    return SS1_OK;
}

// One block of rows: y [m, N] of all parts.
ss1_status run_block(const layer &l, const run_plan &plan, rows_of x, rows_of residual, void *y, size_t ldy, size_t m,
                     const scratch &s, cudaStream_t stream) {
    const size_t outputs = l.parts * l.N(), y_value = size_of(l.y_type());
    if (plan.copies_x) SS1_CHECK_OK(bring(x, m, l.K(), size_of(l.x_type()), s.x, stream));
    SS1_CHECK_OK(make_operand(l, plan, x, m, s, stream));
    if (plan.copies_residual) SS1_CHECK_OK(bring(residual, m, outputs, y_value, s.residual, stream));
    void *const results = plan.in_y ? y : s.results;
    const size_t ld = plan.in_y ? ldy : l.np;
    SS1_CHECK_OK(multiply(l, x.at, m, residual, results, ld, stream));
    if (plan.in_y) return SS1_OK;
    void *const finished = l.direct ? results : plan.y_here ? y : s.finished;
    const size_t finished_ld = !l.direct && plan.y_here ? ldy : l.np;
    if (!l.direct)
        SS1_CUDA(finish({.sums = results,
                         .lds = ld,
                         .row_scale = s.row_scale,
                         .column_scale = l.column_scale.as<float>(),
                         .scales = l.sketches,
                         .part = l.N(),
                         .block = l.block,
                         .bias = l.bias.as<float>(),
                         .what = static_cast<activation>(l.map.desc.activation),
                         .residual = residual.at,
                         .ldr = residual.ld,
                         .y = finished,
                         .y_type = l.y_type(),
                         .m = m,
                         .n = outputs,
                         .ldy = finished_ld},
                        stream));
    if (finished == y) return SS1_OK;
    SS1_CUDA(cudaMemcpy2DAsync(y, ldy * y_value, finished, finished_ld * y_value, outputs * y_value, m,
                               cudaMemcpyDefault, stream));
    return SS1_OK;
}

ss1_status run_blocks(const layer &l, const run_plan &plan, const ss1_linear_args &args, const scratch &s,
                      cudaStream_t stream) {
    const size_t x_value = size_of(l.x_type()), y_value = size_of(l.y_type());
    for (size_t i = 0; i < args.m; i += l.rows) {
        const rows_of x{offset(args.x, i * args.ldx, x_value), args.ldx};
        const rows_of residual{args.residual ? offset(args.residual, i * args.ldr, y_value) : nullptr, args.ldr};
        SS1_CHECK_OK(run_block(l, plan, x, residual, const_cast<void *>(offset(args.y, i * args.ldy, y_value)),
                               args.ldy, std::min(l.rows, args.m - i), s, stream));
    }
    return SS1_OK;
}

ss1_status run_checked(const layer &l, const ss1_linear_args &args) {
    if (std::max({l.ka, l.np, args.ldx, args.ldy, args.ldr}) > INT_MAX)
        return fail(SS1_ERROR_UNSUPPORTED, "ldx=" + std::to_string(args.ldx) + ", ldy=" + std::to_string(args.ldy) +
                                               ", ldr=" + std::to_string(args.ldr) + " must all be below 2^31");
    const device_scope device(l.device);
    SS1_CUDA(device.status());
    const run_plan plan = make_plan(l, args, places_of(args));
    // Threads that work on host memory do not wait for each other, as they would on the default stream.
    const auto stream = args.stream || !plan.waits ? static_cast<cudaStream_t>(args.stream) : cudaStreamPerThread;
    const size_t rows = std::min(args.m, l.rows);
    scratch s;
    device_buffer memory;  // in the order of the stream
    SS1_CUDA(memory.allocate(carve(l, plan, rows, nullptr, s), l.pool, stream));
    carve(l, plan, rows, memory.as<char>(), s);
    SS1_CHECK_OK(run_blocks(l, plan, args, s, stream));
    if (plan.waits) SS1_CUDA(cudaStreamSynchronize(stream));
    return SS1_OK;
}

}  // namespace

int layer_supports(const ss1_linear_desc *desc, int residual, size_t parts, const char **reason) noexcept {
    *reason = "the CUDA backend takes no low-rank part with weight_dtype=i8";
    if (desc->rank && desc->weight_dtype == SS1_DTYPE_I8) return 0;
    *reason = "the last output block of a part is not whole";
    if (parts > 1 && desc->c > 1 && desc->scheme != SS1_SCHEME_REFERENCE && desc->N % desc->block_n) return 0;
    *reason = "the CUDA backend adds no residual behind ReLU";
    return !residual || desc->activation != SS1_ACTIVATION_RELU;
}

ss1_status layer_create(const ss1_context *context, const ss1_linear_desc *desc, size_t parts,
                        const ss1_linear_weights *weights, void **state) noexcept {
    try {
        return create(context, *desc, parts, *weights, state);
    } catch (const std::bad_alloc &) {
        return host->fail(SS1_ERROR_OUT_OF_MEMORY, "cuda: no host memory to pack the weights");
    }
}

size_t layer_scratch(const void *, size_t) noexcept {
    return 0;  // the scratch is on the device, in the order of the stream
}

ss1_status layer_run(const void *state, const ss1_linear_args *args) noexcept {
    try {
        return run_checked(*static_cast<const layer *>(state), *args);
    } catch (const std::bad_alloc &) {
        return host->fail(SS1_ERROR_OUT_OF_MEMORY, "cuda: no host memory for the run");
    }
}

size_t device_scratch(const void *state, size_t m) {
    const layer &l = *static_cast<const layer *>(state);
    scratch s;
    return carve(l,
                 {.waits = false,
                  .copies_x = false,
                  .copies_residual = false,
                  .sketches = true,
                  .converts = l.rank && !l.sketch_is_x(),
                  .f = activation::none,
                  .y_here = true,
                  .in_y = false},
                 std::min(m, l.rows), nullptr, s);
}

bool on_device(const void *pointer) {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    return attributes.type != cudaMemoryTypeHost && attributes.type != cudaMemoryTypeUnregistered;
}

sketch_form sketch_of(const void *state) {
    const layer &l = *static_cast<const layer *>(state);
    const ss1_linear_desc &desc = l.map.desc;
    const bool whole = l.tied && l.sketches == 1 && !l.rank && l.K() == desc.c * l.kz && desc.step % 8 == 0;
    if (!whole || l.operands() != dtype::bf16 || l.x_type() != dtype::bf16) return {};
    return {l.entries.as<sketch_entry>(), desc.c, desc.block_k, static_cast<unsigned>(l.kz)};
}

ss1_status run_on_device(const void *state, const ss1_linear_args &args, const made_x &x) {
    const layer &l = *static_cast<const layer *>(state);
    if ((x.sketched || x.f != activation::none) && !sketch_of(state).entries)
        return fail(SS1_ERROR_INTERNAL, "a layer without a sketch was given one, or values before an activation");
    const run_plan plan = make_plan(l, args, {true, true, true}, x);
    scratch s;
    carve(l, plan, std::min(args.m, l.rows), static_cast<char *>(args.scratch), s);
    return run_blocks(l, plan, args, s, static_cast<cudaStream_t>(args.stream));
}

void layer_describe(const void *state, ss1_layer_info *info) noexcept {
    const layer &l = *static_cast<const layer *>(state);
    const double outputs = static_cast<double>(l.parts * l.N());
    info->kernels = l.kernels.c_str();
    info->weight_bytes = l.weight_bytes;
    const double rank = static_cast<double>(l.map.desc.rank);
    info->flops_per_row = 2.0 * (static_cast<double>(l.map.stored_columns) + rank) * outputs +
                          2.0 * static_cast<double>(l.K()) * rank +
                          (l.tied ? static_cast<double>(l.sketches) * static_cast<double>(l.K()) : 0.0);
}

void layer_destroy(void *state) noexcept {
    const layer *l = static_cast<layer *>(state);
    const device_scope device(l->device);  // the stream that frees the weights is the current device's
    delete l;
}

}  // namespace ss1::cuda
