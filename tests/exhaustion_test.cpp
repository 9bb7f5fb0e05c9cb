// SPDX-License-Identifier: Apache-2.0
// Memory that runs out: repeats every use of the library with each allocation failing in turn, once or from then on,
// until all is destroyed again. A failing call returns SS1_ERROR_OUT_OF_MEMORY with a message, writes no output and
// leaves nothing behind. Allocations fail in malloc, which this program replaces, or in the context's own allocator, on
// every thread: also in tasks of the pool, and where it starts threads.
// SS1_TEST_EXHAUSTIVE=1 fails each allocation; otherwise about 40 of each use, which takes seconds.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "model_support.hpp"
#include "ss1/convert.h"
#include "ss1/text.h"

using namespace model_support;
using io_support::temporary_folder;
using io_support::write_file;

namespace {

enum class source { by_malloc, by_hook };
enum class failing { once, from_then_on };

// The allocations of all threads, counted while `on`. Those of one source fail.
struct {
    source where = source::by_malloc;
    failing how = failing::once;
    size_t fail_at = SIZE_MAX;
    std::atomic<size_t> count{0};
    char what[200] = "";
} plan;
std::atomic<bool> on{false};
std::atomic<long> live{0};                // blocks of malloc
std::atomic<size_t> failed_elsewhere{0};  // allocations of other threads than the first
thread_local bool is_first = false;

bool fails(source where) noexcept {
    if (!on || plan.where != where) return false;
    const size_t n = plan.count++;
    const bool fails_now = plan.how == failing::once ? n == plan.fail_at : n >= plan.fail_at;
    failed_elsewhere += fails_now && !is_first;
    return fails_now;
}

void *counted(void *block) noexcept {
    live += block != nullptr;
    return block;
}

}  // namespace

extern "C" {
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

void *malloc(size_t bytes) noexcept {
    return fails(source::by_malloc) ? (errno = ENOMEM, nullptr) : counted(__libc_malloc(bytes));
}
void *calloc(size_t n, size_t bytes) noexcept {
    return fails(source::by_malloc) ? (errno = ENOMEM, nullptr) : counted(__libc_calloc(n, bytes));
}
void *realloc(void *block, size_t bytes) noexcept {
    if (fails(source::by_malloc)) return errno = ENOMEM, nullptr;
    return block ? __libc_realloc(block, bytes) : counted(__libc_malloc(bytes));
}
void *memalign(size_t alignment, size_t bytes) noexcept {
    return fails(source::by_malloc) ? (errno = ENOMEM, nullptr) : counted(__libc_memalign(alignment, bytes));
}
void *aligned_alloc(size_t alignment, size_t bytes) noexcept {
    return memalign(alignment, bytes);
}
int posix_memalign(void **block, size_t alignment, size_t bytes) noexcept {
    void *const made = memalign(alignment, bytes);
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}
void free(void *block) noexcept {
    live -= block != nullptr;
    __libc_free(block);
}
}

namespace {

void *hook_alloc(void *, size_t bytes, size_t alignment) {
    if (fails(source::by_hook)) return nullptr;
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
void hook_free(void *, void *block, size_t) {
    std::free(block);
}

ss1::context_ptr make_context(source where) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 2;
    if (where == source::by_hook) {
        options.alloc = hook_alloc;
        options.free = hook_free;
    }
    return ss1::make_context(options);
}

// One use of the library. While memory fails, act() and then release() run, which must not need memory of their own.
struct use {
    std::string name;
    std::function<ss1_status(ss1_context *)> act;
    std::function<void()> release = [] {};
    // Afterwards, with memory: whether the outputs are as they should be after this status.
    std::function<bool(ss1_status)> check = [](ss1_status) { return true; };
    ss1_status expected = SS1_OK;
};

struct outcome {
    ss1_status status;
    size_t count;
    long left;  // blocks
};

outcome perform(const use &u, ss1_context *context, source where, failing how, size_t fail_at) {
    std::snprintf(plan.what, sizeof plan.what, "%s: allocation %zu fails in %s%s\n", u.name.c_str(), fail_at,
                  where == source::by_malloc ? "malloc" : "the hook",
                  how == failing::once ? "" : " and all later ones");
    plan.where = where;
    plan.how = how;
    plan.fail_at = fail_at;
    plan.count = 0;
    const long before = live;
    is_first = true;
    on = true;
    const ss1_status status = u.act(context);
    u.release();
    on = false;
    return {status, plan.count, live - before};
}

bool exhaustive() {
    static const bool wanted = std::getenv("SS1_TEST_EXHAUSTIVE") != nullptr;
    return wanted;
}

size_t repetitions = 0;

void fail_each_allocation(const use &u, source where) {
    const auto context = make_context(where);
    // The first uses fill caches of the program that later ones keep.
    for (int i = 0; i < 2; ++i) {
        perform(u, context.get(), where, failing::once, SIZE_MAX);
        u.check(u.expected);
    }
    const outcome whole = perform(u, context.get(), where, failing::once, SIZE_MAX);
    INFO(u.name);
    REQUIRE(whole.status == u.expected);
    REQUIRE(u.check(whole.status));
    REQUIRE(whole.left == 0);
    REQUIRE((whole.count > 0 || where == source::by_hook));
    const size_t step = exhaustive() ? 1 : std::max<size_t>(1, whole.count / 40);
    for (const failing how : {failing::once, failing::from_then_on})
        for (size_t n = 0; n < whole.count; n += step) {
            const outcome o = perform(u, context.get(), where, how, n);
            const bool good = u.check(o.status);
            ++repetitions;
            if (o.status == u.expected && good && o.left == 0) continue;
            INFO(plan.what);
            CHECK(o.status == SS1_ERROR_OUT_OF_MEMORY);
            CHECK_THAT(ss1_last_error(), Catch::StartsWith("ss1_"));
            CHECK(good);
            CHECK(o.left == 0);
        }
    const outcome after = perform(u, context.get(), where, failing::once, SIZE_MAX);
    CHECK(after.status == u.expected);
    CHECK(u.check(after.status));
    std::printf("%-44s %6zu allocations by %-8s %9zu repetitions so far\n", u.name.c_str(), whole.count,
                where == source::by_malloc ? "malloc" : "the hook", repetitions);
}

void fail_each_allocation(const use &u) {
    fail_each_allocation(u, source::by_malloc);
    fail_each_allocation(u, source::by_hook);
}

// Outputs that keep their bits if the call fails, and get the same ones whenever it succeeds.
struct output {
    explicit output(size_t bytes) : data(bytes, std::byte{0xa5}) {}

    bool is_right(ss1_status status) {
        const byte_list untouched(data.size(), std::byte{0xa5});
        const byte_list got = std::exchange(data, untouched);
        if (status != SS1_OK) return got == untouched;
        if (expected.empty()) expected = got;
        return got == expected && got != untouched;
    }
    // Of a function that may have written some values when memory runs out: each is the right one or untouched.
    bool is_right_in_part(ss1_status status) {
        if (status != SS1_ERROR_OUT_OF_MEMORY) return is_right(status);
        bool right = true;
        for (size_t i = 0; i < data.size(); ++i) {
            right = right && (data[i] == std::byte{0xa5} || data[i] == expected.at(i));
            data[i] = std::byte{0xa5};
        }
        return right;
    }
    template <class T>
    T *as() {
        return reinterpret_cast<T *>(data.data());
    }

    byte_list data, expected;
};

std::vector<float> numbers(size_t n) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>((i * 7919 + 13) % 101) / 101.0f - 0.5f;
    return values;
}

// A layer of 256 x 256 on 5 rows.
struct layer_use {
    layer_use() {
        desc.K = K;
        desc.N = N;
    }
    ss1_status create(ss1_context *context, ss1_layer **layer) const {
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z.data();
        weights.bias = bias.data();
        weights.u = desc.rank ? z.data() + 1 : nullptr;
        weights.v = desc.rank ? z.data() + 2 : nullptr;
        return ss1_layer_create(context, &desc, &weights, layer);
    }
    const ss1_linear_args &args() {
        args_.m = m;
        args_.x = x.data();
        args_.y = y.as<float>();  // it moves after each run
        return args_;
    }

    static constexpr size_t K = 256, N = 256, m = 5;
    const std::vector<float> z = numbers(K * N), bias = numbers(N), x = numbers(m * K);
    output y{m * N * sizeof(float)};
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;

  private:
    ss1_linear_args args_ = SS1_LINEAR_ARGS_INIT;
};

[[noreturn]] void report_and_abort() {
    on = false;
    std::fputs(plan.what, stderr);
    std::abort();
}
[[maybe_unused]] const auto old_handler = std::set_terminate(report_and_abort);

}  // namespace

TEST_CASE("contexts") {
    static ss1_context *made;
    made = nullptr;
    ss1_info info = SS1_INFO_INIT;
    fail_each_allocation({.name = "context",
                          .act =
                              [&](ss1_context *) {
                                  const ss1_status status = ss1_context_create(nullptr, &made);
                                  return status == SS1_OK ? ss1_get_info(made, &info) : status;
                              },
                          .release = [] { ss1_context_destroy(&made); }},
                         source::by_malloc);
    fail_each_allocation(
        {.name = "switch of the backend", .act = [](ss1_context *c) { return ss1_context_load_backend(c, "cpu"); }},
        source::by_malloc);
    fail_each_allocation({.name = "backend that is missing",
                          .act = [](ss1_context *c) { return ss1_context_load_backend(c, "none"); },
                          .expected = SS1_ERROR_BACKEND},
                         source::by_malloc);
}

TEST_CASE("layers") {
    layer_use use;
    ss1_layer *layer = nullptr;
    for (const uint32_t c : {1u, 4u})
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}) {
            use.desc.c = c;
            use.desc.rank = c > 1 ? 24 : 0;
            use.desc.weight_dtype = dtype;
            use.y.expected.clear();
            fail_each_allocation({.name = "layer, c " + std::to_string(c) + ", weights " + std::to_string(dtype),
                                  .act =
                                      [&](ss1_context *context) {
                                          ss1_layer_info info = SS1_LAYER_INFO_INIT;
                                          ss1_status status = use.create(context, &layer);
                                          if (status == SS1_OK) status = ss1_layer_describe(layer, &info);
                                          return status == SS1_OK ? ss1_layer_run(layer, &use.args()) : status;
                                      },
                                  .release = [&] { ss1_layer_destroy(&layer); },
                                  .check = [&](ss1_status status) { return use.y.is_right(status); }});
        }
}

// A pool whose threads the system does not start runs on its caller.
TEST_CASE("contexts that start threads") {
    layer_use use;
    ss1_context *context = nullptr;
    ss1_layer *layer = nullptr;
    fail_each_allocation({.name = "context, its threads and a layer",
                          .act =
                              [&](ss1_context *) {
                                  ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
                                  options.num_threads = 2;
                                  ss1_status status = ss1_context_create(&options, &context);
                                  if (status == SS1_OK) status = use.create(context, &layer);
                                  return status == SS1_OK ? ss1_layer_run(layer, &use.args()) : status;
                              },
                          .release =
                              [&] {
                                  ss1_layer_destroy(&layer);
                                  ss1_context_destroy(&context);
                              },
                          .check = [&](ss1_status status) { return use.y.is_right(status); }},
                         source::by_malloc);
}

TEST_CASE("towers") {
    layer_use use;
    ss1_layer *layer = nullptr;
    ss1_tower *tower = nullptr;
    fail_each_allocation({.name = "tower of two layers",
                          .act =
                              [&](ss1_context *context) {
                                  ss1_status status = use.create(context, &layer);
                                  const ss1_layer *layers[] = {layer, layer};
                                  if (status == SS1_OK) status = ss1_tower_create(layers, 2, &tower);
                                  return status == SS1_OK ? ss1_tower_run(tower, &use.args()) : status;
                              },
                          .release =
                              [&] {
                                  ss1_tower_destroy(&tower);
                                  ss1_layer_destroy(&layer);
                              },
                          .check = [&](ss1_status status) { return use.y.is_right(status); }});
}

TEST_CASE("embedding bags") {
    constexpr size_t m = 5, d = 32;
    const std::vector<float> values = numbers(16 * d);
    std::vector<ss1_table> tables(3, SS1_TABLE_INIT);
    for (ss1_table &table : tables) {
        table.name = "a table with a long name";
        table.dtype = SS1_TABLE_F32;
        table.rows = 16;
        table.data = values.data();
    }
    const std::vector<int64_t> indices(3 * m, 7), offsets = [] {
        std::vector<int64_t> list(3 * m);
        for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<int64_t>(i);
        return list;
    }();
    output sums(m * 3 * d * sizeof(float));
    ss1_bags_args lookup = SS1_BAGS_ARGS_INIT;
    lookup.batch = m;
    lookup.total = indices.size();
    lookup.indices = indices.data();
    lookup.offsets = offsets.data();
    ss1_bags *bags = nullptr;
    fail_each_allocation({.name = "embedding bags",
                          .act =
                              [&](ss1_context *context) {
                                  lookup.y = sums.as<float>();
                                  const ss1_status status = ss1_bags_create(context, d, tables.data(), 3, &bags);
                                  return status == SS1_OK ? ss1_bags_run(bags, &lookup) : status;
                              },
                          .release = [&] { ss1_bags_destroy(&bags); },
                          .check = [&](ss1_status status) { return sums.is_right(status); }});
}

TEST_CASE("projection and expansion write nothing before they can fail") {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 48;
    desc.c = 4;
    const std::vector<float> weight = numbers(desc.K * desc.N), stored = numbers(desc.K / 4 * desc.N);
    std::vector<float> moment(desc.K * desc.K);
    for (size_t k = 0; k < desc.K; ++k) moment[k * desc.K + k] = 1 + static_cast<float>(k % 7);
    output z(stored.size() * sizeof(float)), dense(weight.size() * sizeof(float));
    for (const float *s : {static_cast<const float *>(nullptr), const_cast<const float *>(moment.data())}) {
        z.expected.clear();
        fail_each_allocation(
            {.name = s ? "projection by a second moment" : "projection",
             .act = [&](ss1_context *) { return ss1_project(&desc, weight.data(), 0, s, z.as<float>(), 0); },
             .check = [&](ss1_status status) { return z.is_right(status); }},
            source::by_malloc);
    }
    fail_each_allocation(
        {.name = "expansion",
         .act = [&](ss1_context *) { return ss1_expand(&desc, stored.data(), 0, dense.as<float>(), 0); },
         .check = [&](ss1_status status) { return dense.is_right(status); }},
        source::by_malloc);
}

TEST_CASE("fits and expansions of layers with a rank write nothing before they can fail") {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 48;
    desc.c = 4;
    desc.rank = 8;
    const std::vector<float> weight = numbers(desc.K * desc.N), mean = numbers(desc.K);
    std::vector<float> moment(desc.K * desc.K);
    for (size_t k = 0; k < desc.K; ++k)
        for (size_t i = 0; i < desc.K; ++i)
            moment[k * desc.K + i] = mean[k] * mean[i] + (k == i ? 1 + static_cast<float>(k % 7) : 0);
    output z(desc.K / 4 * desc.N * sizeof(float)), u(desc.N * desc.rank * sizeof(float));
    output v(desc.rank * desc.K * sizeof(float)), bias(desc.N * sizeof(float)), error(sizeof(double));
    fail_each_allocation({.name = "fit of a tied part and a rank",
                          .act =
                              [&](ss1_context *) {
                                  ss1_fit_args args = SS1_FIT_ARGS_INIT;
                                  args.weight = weight.data();
                                  args.second_moment = moment.data();
                                  args.mean = mean.data();
                                  args.z = z.as<float>();
                                  args.u = u.as<float>();
                                  args.v = v.as<float>();
                                  args.bias = bias.as<float>();
                                  args.error = error.as<double>();
                                  return ss1_linear_fit(&desc, &args);
                              },
                          .check =
                              [&](ss1_status status) {
                                  bool right = true;
                                  for (output *o : {&z, &u, &v, &bias, &error}) right = o->is_right(status) && right;
                                  return right;
                              }},
                         source::by_malloc);
    output dense(weight.size() * sizeof(float));
    const std::vector<float> stored = numbers(desc.K * desc.N);
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = stored.data();
    weights.u = stored.data() + 1;
    weights.v = stored.data() + 2;
    fail_each_allocation(
        {.name = "expansion of a tied part and a rank",
         .act = [&](ss1_context *) { return ss1_linear_expand(&desc, &weights, dense.as<float>(), 0); },
         .check = [&](ss1_status status) { return dense.is_right(status); }},
        source::by_malloc);
}

namespace {

// The files of a directory, for loading from memory.
struct files_in_memory {
    explicit files_in_memory(const std::string &directory) {
        for (const auto &entry : std::filesystem::recursive_directory_iterator(directory))
            if (entry.is_regular_file())
                contents[std::filesystem::relative(entry.path(), directory)] = io_support::read_file(entry.path());
        for (const auto &[name, content] : contents)
            files.push_back(ss1::memory_file(name.c_str(), content.data(), content.size()));
    }

    std::map<std::string, std::string> contents;
    std::vector<ss1_memory_file> files;
};

// Asks for all that a model says of itself.
ss1_status ask(const ss1_model *model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1_tensor tensor = SS1_TENSOR_INIT;
    ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
    const char *name = nullptr, *text = nullptr;
    ss1_status status = ss1_model_describe(model, &info);
    for (size_t i = 0; status == SS1_OK && i < info.n_inputs; ++i) status = ss1_model_input(model, i, &tensor);
    for (size_t i = 0; status == SS1_OK && i < info.n_outputs; ++i) status = ss1_model_output(model, i, &tensor);
    for (size_t i = 0; status == SS1_OK && i < info.n_layers; ++i) status = ss1_model_layer(model, i, &layer);
    for (size_t i = 0; status == SS1_OK && i < info.n_labels; ++i) status = ss1_model_label(model, i, &name);
    for (size_t i = 0; status == SS1_OK && i < info.n_prompts; ++i) status = ss1_model_prompt(model, i, &name, &text);
    for (size_t i = 0; status == SS1_OK && i < info.n_stages; ++i) status = ss1_model_stage(model, i, &name);
    return status;
}

// Loads, describes and runs a model.
struct model_use {
    explicit model_use(const std::string &path, ss1_model_options given = SS1_MODEL_OPTIONS_INIT)
        : directory(path), options(given) {
        arrays ignored;
        read_vectors(std::filesystem::exists(path + "/vectors.safetensors") ? path : SS1_TEST_DATA "/dlrm_ss1", inputs,
                     ignored);
        const auto context = make_context(source::by_malloc);
        ss1_model *handle = nullptr;
        ss1::check(ss1_model_load(context.get(), directory.c_str(), &options, &handle));
        const ss1::model_ptr first(handle);
        const arrays shapes = make_outputs(first, inputs);
        for (auto &[name, a] : inputs) in.push_back(a.tensor());
        for (const auto &[name, a] : shapes) {
            names.push_back(name);
            outputs.emplace_back(a.data.size());
            out.push_back(const_cast<array &>(a).tensor());
        }
        for (size_t i = 0; i < out.size(); ++i) out[i].name = names[i].c_str();
        given_out = out;
        const auto ids = inputs.find("input_ids");
        sizes.max_batch =
            static_cast<size_t>(ids == inputs.end() ? inputs.at("offsets").shape[1] : ids->second.shape[0]);
    }
    model_use(const model_use &) = delete;
    model_use &operator=(const model_use &) = delete;

    ss1_status load(ss1_context *context) {
        return files ? ss1_model_load_memory(context, files->files.data(), files->files.size(), &options, &model)
                     : ss1_model_load(context, directory.c_str(), &options, &model);
    }
    ss1_status run() {
        std::copy(given_out.begin(), given_out.end(), out.begin());
        for (size_t i = 0; i < out.size(); ++i) out[i].data = outputs[i].data.data();
        size_t bytes = 0;
        ss1_status status = ss1_session_bytes(model, &sizes, &bytes);
        if (status == SS1_OK) status = ss1_session_create(model, &sizes, &session);
        if (status == SS1_OK) status = ss1_session_run(session, in.data(), in.size(), out.data(), out.size());
        return status;
    }
    ss1_status act(ss1_context *context) {
        ss1_status status = load(context);
        if (status == SS1_OK) status = ask(model);
        return status == SS1_OK ? run() : status;
    }
    void release() {
        ss1_session_destroy(&session);
        ss1_model_destroy(&model);
    }
    bool check(ss1_status status) {
        return std::all_of(outputs.begin(), outputs.end(), [&](output &o) { return o.is_right(status); });
    }
    use as_use(const std::string &name) {
        return {.name = name,
                .act = [this](ss1_context *context) { return act(context); },
                .release = [this] { release(); },
                .check = [this](ss1_status status) { return check(status); }};
    }

    std::string directory;
    ss1_model_options options;
    const files_in_memory *files = nullptr;  // instead of the directory
    arrays inputs;
    std::vector<std::string> names;
    std::vector<output> outputs;
    std::vector<ss1_tensor> in, out, given_out;
    ss1_session_options sizes = SS1_SESSION_OPTIONS_INIT;
    ss1_model *model = nullptr;
    ss1_session *session = nullptr;
};

std::string file_name(const std::string &path) {
    return std::filesystem::path(path).filename();
}

// Of a layer of a model directory.
ss1_linear_desc description(const std::string &directory, const std::string &layer) {
    const auto context = make_context(source::by_malloc);
    const ss1::model_ptr model = ss1::load_model(context, directory);
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    for (size_t i = 0; !info.name || info.name != layer; ++i) ss1::check(ss1_model_layer(model.get(), i, &info));
    return info.layer.desc;
}

}  // namespace

TEST_CASE("models: load, describe, session, run") {
    for (const std::string &directory : cases()) {
        if (!exhaustive() && file_name(directory).find("ss1") == std::string::npos) continue;
        model_use model(directory);
        fail_each_allocation(model.as_use(file_name(directory)));
    }
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.map_tables = 1;
    model_use mapped(SS1_TEST_DATA "/dlrm_ss1", options);
    fail_each_allocation(mapped.as_use("dlrm_ss1 with mapped tables"));
    options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    options.weight_dtype = SS1_DTYPE_I8;
    model_use random(SS1_TEST_DATA "/bert_ss1", options);
    fail_each_allocation(random.as_use("bert_ss1 with random int8 weights"));
    for (const bool map_tables : {false, true}) {
        const files_in_memory files(SS1_TEST_DATA "/dlrm_ss1");
        options = SS1_MODEL_OPTIONS_INIT;
        options.map_tables = map_tables;
        model_use in_memory(SS1_TEST_DATA "/dlrm_ss1", options);
        in_memory.files = &files;
        fail_each_allocation(in_memory.as_use(map_tables ? "dlrm_ss1 in memory, tables there" : "dlrm_ss1 in memory"));
    }
}

TEST_CASE("calibration: observe, compare, read") {
    model_use model(SS1_TEST_DATA "/dlrm_ss1");
    constexpr const char *layer = "top_l.2";
    const size_t K = description(model.directory, layer).K;
    output mean(K * sizeof(float)), moment(K * K * sizeof(float));
    ss1_calibration *calibration = nullptr;
    fail_each_allocation({.name = "calibration: observe, compare, read",
                          .act =
                              [&](ss1_context *context) {
                                  double change = 0;
                                  ss1_layer_statistics statistics = SS1_LAYER_STATISTICS_INIT;
                                  statistics.mean = mean.as<float>();
                                  statistics.second_moment = moment.as<float>();
                                  ss1_status status = model.load(context);
                                  if (status == SS1_OK) status = ss1_calibration_create(model.model, &calibration);
                                  model.sizes.observe = ss1_calibration_observe;
                                  model.sizes.observe_user = calibration;
                                  if (status == SS1_OK) status = model.run();
                                  if (status == SS1_OK) status = ss1_calibration_change(calibration, &change);
                                  if (status == SS1_OK) status = ss1_calibration_layer(calibration, layer, &statistics);
                                  return status;
                              },
                          .release =
                              [&] {
                                  model.release();
                                  ss1_calibration_destroy(&calibration);
                              },
                          .check =
                              [&](ss1_status status) {
                                  const bool right = mean.is_right(status);
                                  return moment.is_right(status) && right;
                              }});
}

TEST_CASE("layers of models are expanded") {
    const std::string directory = SS1_TEST_DATA "/dlrm_ss1";
    constexpr const char *layer = "top_l.2";
    const ss1_linear_desc desc = description(directory, layer);
    output dense(desc.K * desc.N * sizeof(float));
    fail_each_allocation({.name = "expansion of a model's layer",
                          .act =
                              [&](ss1_context *context) {
                                  return ss1_model_expand(context, directory.c_str(), nullptr, layer, dense.as<float>(),
                                                          0);
                              },
                          .check = [&](ss1_status status) { return dense.is_right(status); }});
}

TEST_CASE("an update of rows changes all of them or none") {
    const auto context = make_context(source::by_malloc);
    ss1_model *handle = nullptr;
    ss1::check(ss1_model_load(context.get(), SS1_TEST_DATA "/dlrm_ss1", nullptr, &handle));
    const ss1::model_ptr model(handle);
    arrays inputs, ignored;
    read_vectors(SS1_TEST_DATA "/dlrm_ss1", inputs, ignored);
    const auto answer = [&] { return infer(model, make_session(model, batch_of(inputs)), inputs); };
    const auto config = nlohmann::json::parse(std::ifstream(SS1_TEST_DATA "/dlrm_ss1/config.json"));
    const nlohmann::json &table = config["tables"][0];
    const std::string name = table["name"];
    std::vector<int64_t> rows(table["rows"].get<size_t>());
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
    std::vector<float> values(rows.size() * config["embedding_dim"].get<size_t>());
    arrays last = answer();
    float sign = 1;  // each update changes the answers
    fail_each_allocation({.name = "an update of rows",
                          .act =
                              [&](ss1_context *) {
                                  const ss1_update_rows_args args = {sizeof args,
                                                                     name.c_str(),
                                                                     rows.size(),
                                                                     rows.data(),
                                                                     values.data(),
                                                                     values.size() / rows.size(),
                                                                     0};
                                  return ss1_model_update_rows(model.get(), &args);
                              },
                          .check =
                              [&](ss1_status status) {
                                  arrays got = answer();
                                  const bool changed = !same_bits(got, last);
                                  last = std::move(got);
                                  if (status != SS1_OK) return !changed;
                                  sign = -sign;
                                  std::fill(values.begin(), values.end(), sign);
                                  return changed;
                              }},
                         source::by_malloc);
}

TEST_CASE("a model in shards") {
    const temporary_folder folder;
    const std::string from = SS1_TEST_DATA "/dlrm_ss1/", tensors = "model-1.safetensors";
    std::filesystem::copy_file(from + "config.json", folder / "config.json");
    std::filesystem::copy_file(from + "model.safetensors", folder / tensors);
    std::filesystem::copy_file(from + "vectors.safetensors", folder / "vectors.safetensors");
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(folder / tensors, file) == SS1_OK);
    nlohmann::json index;
    for (const ss1::tensor_info &tensor : file.header.tensors) index["weight_map"][tensor.name] = tensors;
    write_file(folder / "model.safetensors.index.json", index.dump());
    model_use model(folder.path);
    fail_each_allocation(model.as_use("dlrm_ss1 in shards"));
}

TEST_CASE("models that are refused") {
    const temporary_folder folder;
    const std::string config = io_support::read_file(SS1_TEST_DATA "/dlrm_ss1/config.json");
    const struct {
        const char *name, *from, *to;
        ss1_status status;
    } cases[] = {{"no JSON", "\"bottom_mlp\"", "bottom_mlp", SS1_ERROR_FORMAT},
                 {"a key twice", "\"top_mlp\"", "\"bottom_mlp\"", SS1_ERROR_FORMAT},
                 {"an unknown key", "\"top_mlp\"", "\"top_mlps\"", SS1_ERROR_FORMAT},
                 {"an unknown type", "\"dlrm\"", "\"gpt\"", SS1_ERROR_UNSUPPORTED},
                 {"a wrong shape", "\"rows\": 9", "\"rows\": 10", SS1_ERROR_FORMAT},
                 {"no weights", "", "", SS1_ERROR_IO}};
    for (const auto &c : cases) {
        const std::string directory = folder / std::string(c.name);
        std::string text = config;
        text.replace(text.find(c.from), std::strlen(c.from), c.to);
        write_file(directory + "/config.json", text);
        if (c.status != SS1_ERROR_IO)
            std::filesystem::copy_file(SS1_TEST_DATA "/dlrm_ss1/model.safetensors", directory + "/model.safetensors");
        ss1_model *model = nullptr;
        fail_each_allocation(
            {.name = std::string("model refused: ") + c.name,
             .act = [&](ss1_context *context) { return ss1_model_load(context, directory.c_str(), nullptr, &model); },
             .release = [&] { ss1_model_destroy(&model); },
             .check = [&](ss1_status) { return model == nullptr; },
             .expected = c.status});
    }
}

TEST_CASE("conversions leave a whole model or nothing") {
    const temporary_folder folder;
    const std::string out = folder / "out";
    ss1_linear_desc tie = SS1_LINEAR_DESC_INIT;
    tie.c = 2;
    tie.block_k = 16;
    ss1_linear_desc low_rank = SS1_LINEAR_DESC_INIT;
    low_rank.rank = 4;
    ss1_linear_desc int8 = SS1_LINEAR_DESC_INIT;
    int8.weight_dtype = SS1_DTYPE_I8;
    const struct {
        const char *name, *directory;
        const ss1_linear_desc *desc;
        ss1_table_dtype tables;
        const char *layers = nullptr;
    } cases[] = {{"tie a DLRM's layers", "dlrm_dot", &tie, SS1_TABLE_DEFAULT, "bot_l.2,top_l.2"},
                 {"a low rank for a DLRM's layers", "dlrm_dot", &low_rank, SS1_TABLE_DEFAULT, "bot_l.2,top_l.2"},
                 {"quantise a DLRM's tables", "dlrm_ss1", nullptr, SS1_TABLE_INT8},
                 {"tie a BERT's layers", "bert_classifier", &tie, SS1_TABLE_DEFAULT, "encoder.*"},
                 {"int8 weights for a BERT", "bert_ss1", &int8, SS1_TABLE_DEFAULT}};
    for (const auto &c : cases) {
        ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
        options.desc = c.desc;
        options.tables = c.tables;
        options.layers = c.layers;
        const std::string directory = SS1_TEST_DATA "/" + std::string(c.directory);
        std::string expected;
        const auto check = [&](ss1_status status) {
            const bool complete = std::filesystem::exists(out + "/config.json");
            std::string files;
            for (const auto &entry : std::filesystem::directory_iterator(folder.path))
                if (entry.path() != out) return false;
            if (!complete) return status != SS1_OK && !std::filesystem::exists(out);
            for (const char *name : {"/config.json", "/model.safetensors"}) files += io_support::read_file(out + name);
            if (expected.empty()) expected = files;
            std::filesystem::remove_all(out);
            return status == SS1_OK && files == expected;
        };
        fail_each_allocation({.name = c.name,
                              .act =
                                  [&](ss1_context *context) {
                                      return ss1_model_convert(context, directory.c_str(), out.c_str(), &options);
                                  },
                              .check = check});
    }
}

#ifdef SS1_TEST_TOKENIZER
namespace {

// Files that state everything that the tokenizer reads.
void write_tokenizer_files(const std::string &directory, bool with_vocab_txt) {
    std::istringstream tokens(io_support::read_file(SS1_TEST_DATA "/tokenizer/vocab.txt"));
    std::string lines;
    nlohmann::json vocab;
    for (std::string token; vocab.size() < 500 && std::getline(tokens, token); lines += token + "\n")
        vocab[token] = vocab.size();
    const nlohmann::json file = {
        {"added_tokens", nlohmann::json::array({{{"id", vocab.at("[UNK]")}, {"content", "[UNK]"}}})},
        {"normalizer",
         {{"type", "BertNormalizer"},
          {"clean_text", true},
          {"handle_chinese_chars", true},
          {"strip_accents", nullptr},
          {"lowercase", true}}},
        {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
        {"model", {{"type", "WordPiece"}, {"continuing_subword_prefix", "##"}, {"vocab", vocab}}}};
    write_file(directory + "/tokenizer.json", file.dump());
    if (with_vocab_txt) write_file(directory + "/vocab.txt", lines);
    write_file(directory + "/tokenizer_config.json",
               R"({"do_lower_case": true, "model_max_length": 512, "bos_token": null,
        "tokenizer_class": "BertTokenizer", "additional_special_tokens": ["[A]"]})");
    write_file(directory + "/special_tokens_map.json", R"({"unk_token": "[UNK]", "eos_token": "[B]"})");
    write_file(directory + "/added_tokens.json",
               nlohmann::json{{"[B]", vocab.size()}, {"[A]", vocab.size() + 1}}.dump());
}

// Tokenizers with steps of their own: BPE, and Unigram with an added token in the normalised text.
void write_steps(const std::string &bpe, const std::string &unigram) {
    write_file(bpe + "/tokenizer.json",
               R"({"normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
        "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "t": 2, "at": 3}, "merges": ["a t"]},
        "added_tokens": []})");
    write_file(unigram + "/tokenizer.json",
               R"({"normalizer": {"type": "Lowercase"}, "post_processor": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["?", 0], ["\u2581", -1], ["a", -1.5], ["t", -2]]},
        "added_tokens": [{"id": 4, "content": "Caf", "normalized": true}]})");
}

}  // namespace

// Loads a directory of sentence-transformers with its tokenizer, and encodes texts behind a prompt.
TEST_CASE("sentences: load, encode") {
    const temporary_folder folder;
    const std::string directory = folder / "sentences";
    std::filesystem::copy(SS1_TEST_DATA "/sentence/modules", directory, std::filesystem::copy_options::recursive);
    for (const char *name : {"/config.json", "/model.safetensors"})
        std::filesystem::copy_file(SS1_TEST_DATA "/bert_all_positions" + std::string(name), directory + name);
    write_file(directory + "/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##a\n##b\n");
    const char *words[] = {"a b", "ab c a b", "", "c"};
    std::vector<ss1_text> texts;
    for (const char *word : words) texts.push_back({sizeof(ss1_text), word, std::strlen(word)});
    output rows(texts.size() * 16 * sizeof(float));
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.n = texts.size();
    args.first = texts.data();
    ss1_model *model = nullptr;
    ss1_tokenizer *tokenizer = nullptr;
    fail_each_allocation({.name = "sentences: load, encode",
                          .act =
                              [&](ss1_context *context) {
                                  args.y = rows.as<float>();
                                  ss1_status status = ss1_model_load(context, directory.c_str(), nullptr, &model);
                                  if (status == SS1_OK) status = ask(model);
                                  if (status == SS1_OK)
                                      status = ss1_tokenizer_load(context, directory.c_str(), &tokenizer);
                                  return status == SS1_OK ? ss1_model_encode(model, tokenizer, &args) : status;
                              },
                          .release =
                              [&] {
                                  ss1_tokenizer_destroy(&tokenizer);
                                  ss1_model_destroy(&model);
                              },
                          .check = [&](ss1_status status) { return rows.is_right(status); }});
}

namespace {

// Loads a tokenizer from a directory, or from its files in memory, and encodes four texts.
struct tokenizer_use {
    tokenizer_use() {
        text.data = words;
        text.bytes = sizeof words - 1;
        texts.assign(4, text);
        args.n = texts.size();
        args.first = texts.data();
        args.max_tokens = tokens;
    }
    ss1_status act(ss1_context *context, const std::string &directory, const files_in_memory *memory = nullptr) {
        ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
        const char *token = nullptr;
        args.input_ids = ids.as<int64_t>();
        ss1_status status =
            memory ? ss1_tokenizer_load_memory(context, memory->files.data(), memory->files.size(), &tokenizer)
                   : ss1_tokenizer_load(context, directory.c_str(), &tokenizer);
        if (status == SS1_OK) status = ss1_tokenizer_describe(tokenizer, &info);
        if (status == SS1_OK) status = ss1_tokenizer_token(tokenizer, 1, &token);
        return status == SS1_OK ? ss1_tokenizer_encode(tokenizer, &args) : status;
    }

    static constexpr size_t tokens = 24;
    static constexpr char words[] = "\xc3\x89t\xc3\xa9 at the caf\xc3\xa9, \xe6\xbc\xa2\xe5\xad\x97 and more [SEP]";
    ss1_text text = SS1_TEXT_INIT;
    std::vector<ss1_text> texts;
    output ids{4 * tokens * sizeof(int64_t)};
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    ss1_tokenizer *tokenizer = nullptr;
};

}  // namespace

TEST_CASE("tokenizers: load, describe, encode") {
    const temporary_folder folder;
    write_tokenizer_files(folder / "all", true);
    write_tokenizer_files(folder / "json", false);
    write_steps(folder / "bpe", folder / "unigram");
    tokenizer_use use;
    const auto release = [&] { ss1_tokenizer_destroy(&use.tokenizer); };
    for (const std::string &directory :
         {std::string(SS1_TEST_DATA "/tokenizer"), folder / "all", folder / "json", folder / "bpe", folder / "unigram"})
        for (const bool from_memory : {false, true}) {
            if (from_memory && directory == SS1_TEST_DATA "/tokenizer") continue;  // it has other, large files
            const files_in_memory files(directory);
            use.ids.expected.clear();
            const bool has_steps = directory == folder / "bpe" || directory == folder / "unigram";
            fail_each_allocation(
                {.name = "tokenizer: " + file_name(directory) + (from_memory ? " in memory" : ""),
                 .act =
                     [&](ss1_context *context) { return use.act(context, directory, from_memory ? &files : nullptr); },
                 .release = release,
                 .check =
                     [&](ss1_status status) {
                         return has_steps ? use.ids.is_right_in_part(status) : use.ids.is_right(status);
                     }});
        }
    // The first task of a thread that starts is left to it: here allocations fail on threads of the pool.
    const std::string bpe = folder / "bpe";
    ss1_context *fresh = nullptr;
    use.ids.expected.clear();
    failed_elsewhere = 0;
    fail_each_allocation({.name = "context, its threads and a tokenizer",
                          .act =
                              [&](ss1_context *) {
                                  ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
                                  options.num_threads = 2;
                                  const ss1_status status = ss1_context_create(&options, &fresh);
                                  return status == SS1_OK ? use.act(fresh, bpe) : status;
                              },
                          .release =
                              [&] {
                                  release();
                                  ss1_context_destroy(&fresh);
                              },
                          .check = [&](ss1_status status) { return use.ids.is_right_in_part(status); }},
                         source::by_malloc);
    std::printf("%zu of these failures were on other threads\n", failed_elsewhere.load());
    CHECK(failed_elsewhere > 0);
    const std::string broken = folder / "all";
    write_file(broken + "/tokenizer_config.json", R"({"do_lower_case": "yes"})");
    fail_each_allocation(
        {.name = "tokenizer refused",
         .act = [&](ss1_context *context) { return ss1_tokenizer_load(context, broken.c_str(), &use.tokenizer); },
         .release = release,
         .expected = SS1_ERROR_FORMAT});
}
#endif
