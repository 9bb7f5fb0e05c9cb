// SPDX-License-Identifier: Apache-2.0
// Models through the C API: outputs against PyTorch's at every instruction-set level, bits for any thread count and
// batch, every bad input, memory, threads, life times.
#include <sys/mman.h>
#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cfenv>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <new>
#include <numeric>
#include <random>
#include <thread>

#include "check.hpp"
#include "io_support.hpp"
#include "ss1/ss1.hpp"

namespace {

std::atomic<size_t> news{0};            // calls of operator new by anything in this program
std::atomic<size_t> fail_at{SIZE_MAX};  // the call, counted from 0, that finds no memory

void *counted(size_t bytes, size_t alignment) noexcept {
    if (news++ == fail_at) return nullptr;
    if (bytes > size_t{1} << 40) return nullptr;  // sanitizers end the program where malloc says no
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

}  // namespace

// GCC sees std::free() meet memory of the operator new above it, and warns, though this pair is a matching one.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
void *operator new(size_t bytes) {
    if (void *p = counted(bytes, 16)) return p;
    throw std::bad_alloc();
}
void *operator new(size_t bytes, std::align_val_t alignment) {
    if (void *p = counted(bytes, static_cast<size_t>(alignment))) return p;
    throw std::bad_alloc();
}
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
    return counted(bytes, 16);
}
void *operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t &) noexcept {
    return counted(bytes, static_cast<size_t>(alignment));
}
void operator delete(void *p) noexcept {
    std::free(p);
}
void operator delete(void *p, size_t) noexcept {
    std::free(p);
}
void operator delete(void *p, std::align_val_t) noexcept {
    std::free(p);
}
void operator delete(void *p, size_t, std::align_val_t) noexcept {
    std::free(p);
}

#pragma GCC diagnostic pop

namespace {

using byte_list = std::vector<std::byte>;

// A tensor that owns its data.
struct array {
    std::string name;
    ss1_dtype dtype = SS1_DTYPE_F32;
    std::vector<int64_t> shape;
    byte_list data;

    template <class T>
    const T *as() const {
        return reinterpret_cast<const T *>(data.data());
    }
    template <class T>
    T *as() {
        return reinterpret_cast<T *>(data.data());
    }
    ss1_tensor tensor() {
        ss1_tensor t = {name.c_str(), dtype, static_cast<uint32_t>(shape.size()), {}, data.data(), data.size()};
        std::copy(shape.begin(), shape.end(), t.shape);
        return t;
    }
};
using arrays = std::map<std::string, array>;

template <class T>
array make_array(std::string name, std::vector<int64_t> shape, const std::vector<T> &values) {
    array a{std::move(name), std::is_same_v<T, float> ? SS1_DTYPE_F32 : SS1_DTYPE_I64, std::move(shape), {}};
    a.data.resize(values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(a.data.data(), values.data(), a.data.size());
    return a;
}

bool is_output(const std::string &name) {
    return name == "probability" || name == "last_hidden_state" || name == "pooled" || name.ends_with("logits");
}

// The inputs and expected outputs of a case.
void read_vectors(const std::string &directory, arrays &inputs, arrays &outputs) {
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(directory + "/vectors.safetensors", file) == SS1_OK);
    for (const ss1::tensor_info &info : file.header.tensors) {
        array a{
            info.name, info.dtype == ss1::file_dtype::f32 ? SS1_DTYPE_F32 : SS1_DTYPE_I64, {}, byte_list(info.bytes)};
        a.shape.assign(info.shape.begin(), info.shape.end());
        REQUIRE(ss1::safetensors_read(file, info, 0, a.data) == SS1_OK);
        (is_output(info.name) ? outputs : inputs)[info.name] = std::move(a);
    }
}

std::vector<std::string> cases() {
    std::vector<std::string> found;
    for (const auto &entry : std::filesystem::directory_iterator(SS1_TEST_DATA))
        if (std::filesystem::exists(entry.path() / "vectors.safetensors")) found.push_back(entry.path().string());
    std::sort(found.begin(), found.end());
    REQUIRE(found.size() >= 27);
    return found;
}

ss1::context_ptr make_context(const char *max_isa, uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = max_isa;
    options.num_threads = threads;
    options.parallel_for = ss1_test::executor;
    return ss1::make_context(options);
}

ss1::session_ptr make_session(const ss1::model_ptr &model, size_t max_batch, size_t max_tokens = 0) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = max_batch;
    options.max_tokens = max_tokens;
    return ss1::make_session(model, options);
}

// Room for every output of the model at the size of `inputs`.
arrays make_outputs(const ss1::model_ptr &model, const arrays &inputs) {
    const auto ids = inputs.find("input_ids");
    const std::vector<int64_t> lead =
        ids == inputs.end() ? std::vector{inputs.at("offsets").shape[1]} : ids->second.shape;
    arrays outputs;
    ss1_tensor t;
    for (size_t i = 0; ss1_model_output(model.get(), i, &t) == SS1_OK; ++i) {
        array a{t.name, t.dtype, {}, {}};
        size_t n = sizeof(float);
        for (size_t k = 0, varying = 0; k < t.rank; ++k) {
            a.shape.push_back(t.shape[k] < 0 ? lead[varying++] : t.shape[k]);
            n *= static_cast<size_t>(a.shape.back());
        }
        a.data.assign(n, std::byte{0xa5});
        outputs[a.name] = std::move(a);
    }
    return outputs;
}

ss1_status run(const ss1::session_ptr &session, const arrays &inputs, arrays &outputs) {
    std::vector<ss1_tensor> in, out;
    for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
    for (auto &[name, a] : outputs) out.push_back(a.tensor());
    const ss1_status status = ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size());
    for (size_t i = 0; auto &[name, a] : outputs) {
        if (status == SS1_OK)
            CHECK(std::equal(a.shape.begin(), a.shape.end(), out[i].shape, out[i].shape + out[i].rank));
        ++i;
    }
    return status;
}

// All outputs of a run.
arrays infer(const ss1::model_ptr &model, const ss1::session_ptr &session, const arrays &inputs) {
    arrays outputs = make_outputs(model, inputs);
    ss1::check(run(session, inputs, outputs));
    return outputs;
}

bool same_bits(const arrays &a, const arrays &b) {
    if (a.size() != b.size()) return false;
    for (const auto &[name, value] : a)
        if (b.at(name).shape != value.shape || b.at(name).data != value.data) return false;
    return true;
}

// Rows [begin, end) of a DLRM batch, or sequences of a BERT batch.
arrays part_of(const arrays &inputs, size_t begin, size_t end) {
    arrays part;
    const auto rows = static_cast<int64_t>(end - begin);
    for (const auto &[name, a] : inputs) {
        if (name.ends_with("indices") || name.ends_with("offsets") || name.ends_with("weights")) continue;
        const size_t row = a.data.size() / static_cast<size_t>(a.shape[0]);
        array copy{name, a.dtype, a.shape, {a.data.begin() + begin * row, a.data.begin() + end * row}};
        copy.shape[0] = rows;
        part[name] = std::move(copy);
    }
    for (const std::string prefix : {"", "user_"}) {
        if (!inputs.contains(prefix + "indices")) continue;
        const array &indices = inputs.at(prefix + "indices"), &offsets = inputs.at(prefix + "offsets");
        const auto tables = static_cast<size_t>(offsets.shape[0]), batch = static_cast<size_t>(offsets.shape[1]);
        std::vector<int64_t> picked, starts;
        std::vector<float> factors;
        const auto given = inputs.find(prefix + "weights");
        for (size_t t = 0; t < tables; ++t)
            for (size_t b = begin; b < end; ++b) {
                const size_t i = t * batch + b;
                const int64_t from = offsets.as<int64_t>()[i];
                const int64_t to = i + 1 < tables * batch ? offsets.as<int64_t>()[i + 1] : indices.shape[0];
                starts.push_back(static_cast<int64_t>(picked.size()));
                picked.insert(picked.end(), indices.as<int64_t>() + from, indices.as<int64_t>() + to);
                if (given == inputs.end()) continue;
                factors.insert(factors.end(), given->second.as<float>() + from, given->second.as<float>() + to);
            }
        if (given != inputs.end())
            part[prefix + "weights"] = make_array(prefix + "weights", {static_cast<int64_t>(factors.size())}, factors);
        part[prefix + "indices"] = make_array(prefix + "indices", {static_cast<int64_t>(picked.size())}, picked);
        part[prefix + "offsets"] = make_array(prefix + "offsets", {static_cast<int64_t>(tables), rows}, starts);
    }
    return part;
}

size_t batch_of(const arrays &inputs) {
    return static_cast<size_t>(inputs.at(inputs.contains("dense_x") ? "dense_x" : "input_ids").shape[0]);
}

constexpr const char *wide_dlrm = R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 36,
  "tables": [{"name": "user", "rows": 100}, {"name": "item", "rows": 1}, {"name": "page", "rows": 60}, {"name": "day", "rows": 7}],
  "bottom_mlp": [3, 300, 36], "top_mlp": [512, 300, 1],
  "ss1": {"layers": {"top_l.2": {"kind": "ss1", "c": 4, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64, "step": 16}}}})";
constexpr const char *wide_bert =
    R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 120, "num_hidden_layers": 2,
  "num_attention_heads": 5, "intermediate_size": 256, "max_position_embeddings": 48, "num_labels": 3,
  "architectures": ["BertForSequenceClassification"],
  "ss1": {"layers": {"encoder.layer.1.output.dense":
    {"kind": "ss1", "c": 2, "scheme": "reference", "seed": 7, "block_k": 32, "block_n": 64, "step": 8}}}})";

// A model from a text, wide enough that every operator is cut into several tasks; weights N(0, 0.02^2).
ss1::model_ptr random_model(const ss1::context_ptr &context, const char *config, uint64_t seed = 1,
                            ss1_dtype weight_dtype = SS1_DTYPE_DEFAULT) {
    const io_support::temporary_folder folder;
    io_support::write_file(folder / "config.json", config);
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    options.seed = seed;
    options.weight_dtype = weight_dtype;
    return ss1::load_model(context, folder.path, options);
}

ss1::model_ptr load_as(const ss1::context_ptr &context, const std::string &directory, ss1_dtype weight_dtype) {
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.weight_dtype = weight_dtype;
    return ss1::load_model(context, directory, options);
}

void add_random_dense(std::mt19937 &random, size_t batch, arrays &out) {
    std::vector<float> dense(batch * 3);
    for (float &v : dense) v = std::normal_distribution<float>()(random);
    out["dense_x"] = make_array("dense_x", {static_cast<int64_t>(batch), 3}, dense);
}

// Bags of tables with so many rows each.
void add_random_bags(std::mt19937 &random, const std::string &prefix, const std::vector<size_t> &rows, size_t batch,
                     arrays &out) {
    std::vector<int64_t> indices, offsets;
    for (const size_t n : rows)
        for (size_t b = 0; b < batch; ++b) {
            offsets.push_back(static_cast<int64_t>(indices.size()));
            for (size_t k = random() % 9; k > 0; --k) indices.push_back(static_cast<int64_t>(random() % n));
        }
    const auto T = static_cast<int64_t>(rows.size()), B = static_cast<int64_t>(batch);
    out[prefix + "indices"] = make_array(prefix + "indices", {static_cast<int64_t>(indices.size())}, indices);
    out[prefix + "offsets"] = make_array(prefix + "offsets", {T, B}, offsets);
}

// A factor for each index of the bags.
void add_random_weights(std::mt19937 &random, const std::string &prefix, arrays &out) {
    const int64_t total = out.at(prefix + "indices").shape[0];
    std::vector<float> weights(static_cast<size_t>(total));
    for (float &v : weights) v = std::normal_distribution<float>()(random);
    out[prefix + "weights"] = make_array(prefix + "weights", {total}, weights);
}

arrays random_dlrm_inputs(std::mt19937 &random, size_t batch) {
    arrays inputs;
    add_random_dense(random, batch, inputs);
    add_random_bags(random, "", {100, 1, 60, 7}, batch, inputs);
    return inputs;
}

// The same rows given `batch` times: dense features, or the bags of one row.
array repeated(const array &once, size_t batch) {
    array all = once;
    all.shape[0] = static_cast<int64_t>(batch);
    all.data.clear();
    for (size_t b = 0; b < batch; ++b) all.data.insert(all.data.end(), once.data.begin(), once.data.end());
    return all;
}

void repeat_bags(arrays &inputs, const std::string &prefix, size_t batch) {
    array &indices = inputs.at(prefix + "indices"), &offsets = inputs.at(prefix + "offsets");
    const auto given = inputs.find(prefix + "weights");
    const auto tables = static_cast<size_t>(offsets.shape[0]);
    std::vector<int64_t> all, starts;
    std::vector<float> factors;
    for (size_t t = 0; t < tables; ++t) {
        const int64_t from = offsets.as<int64_t>()[t];
        const int64_t to = t + 1 < tables ? offsets.as<int64_t>()[t + 1] : indices.shape[0];
        for (size_t b = 0; b < batch; ++b) {
            starts.push_back(static_cast<int64_t>(all.size()));
            all.insert(all.end(), indices.as<int64_t>() + from, indices.as<int64_t>() + to);
            if (given == inputs.end()) continue;
            factors.insert(factors.end(), given->second.as<float>() + from, given->second.as<float>() + to);
        }
    }
    if (given != inputs.end())
        given->second = make_array(prefix + "weights", {static_cast<int64_t>(factors.size())}, factors);
    indices = make_array(prefix + "indices", {static_cast<int64_t>(all.size())}, all);
    offsets = make_array(prefix + "offsets", {offsets.shape[0], static_cast<int64_t>(batch)}, starts);
}

arrays random_bert_inputs(std::mt19937 &random, size_t batch, size_t tokens) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(batch), static_cast<int64_t>(tokens)};
    std::vector<int64_t> ids(batch * tokens), mask(ids), types(ids);
    for (int64_t &v : ids) v = static_cast<int64_t>(random() % 90);
    for (int64_t &v : mask) v = random() % 4 != 0;
    for (int64_t &v : types) v = random() % 2;
    return {{"input_ids", make_array("input_ids", shape, ids)},
            {"attention_mask", make_array("attention_mask", shape, mask)},
            {"token_type_ids", make_array("token_type_ids", shape, types)}};
}

// Whether element i of an output belongs to a token of padding: such rows are not compared (the files hold 0 there).
bool is_padding(const array &output, size_t i, const arrays &inputs) {
    const auto mask = inputs.find("attention_mask");
    const bool of_tokens = output.name == "last_hidden_state" || output.name.ends_with("_logits") ||
                           (output.name == "logits" && output.shape.size() == 3);
    if (!of_tokens || mask == inputs.end()) return false;
    const size_t width = output.shape.size() == 3 ? static_cast<size_t>(output.shape[2]) : 1;
    return mask->second.as<int64_t>()[i / width] == 0;
}

double worst_difference(const array &got, const array &want, const arrays &inputs) {
    const size_t n = want.data.size() / sizeof(float);
    double worst = 0;
    for (size_t i = 0; i < n; ++i) {
        if (is_padding(want, i, inputs)) continue;
        const double difference = std::abs(static_cast<double>(got.as<float>()[i]) - want.as<float>()[i]);
        if (!(difference <= worst)) worst = difference;  // NaN sticks
    }
    return worst;
}

// What the context's allocator was asked for.
struct counting_allocator {
    std::atomic<size_t> live{0}, calls{0};

    static void *alloc(void *user, size_t bytes, size_t alignment) {
        auto &self = *static_cast<counting_allocator *>(user);
        self.live += bytes;
        ++self.calls;
        return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    }
    static void free(void *user, void *pointer, size_t bytes) {
        static_cast<counting_allocator *>(user)->live -= bytes;
        std::free(pointer);
    }
    ss1::context_ptr context(uint32_t threads) {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.num_threads = threads;
        options.alloc = alloc;
        options.free = free;
        options.alloc_user = this;
        return ss1::make_context(options);
    }
};

}  // namespace

// The expected outputs were computed in double. Single precision loses about eps = 6e-8 of each sum's magnitude; a
// probability is at most 1/4 as steep as its logit, whose terms are of order 1 to 10: 1e-6 (measured: 1.2e-7 at worst).
// Hidden states and logits of the tiny BERTs are of order 1 to 4 and pass two layers of two LayerNorms, each with a few
// roundings of its 32 to 96 inputs: 1e-5 (measured: 1.3e-6 at worst).
TEST_CASE("models give PyTorch's outputs at every level with the same bits for any thread count") {
    for (const std::string &directory : cases())
        for (const char *level : ss1_test::levels_here()) {
            INFO(directory << " at " << level);
            arrays inputs, expected, first;
            read_vectors(directory, inputs, expected);
            for (const uint32_t threads : {1u, 2u, 3u, 7u}) {
                const auto model = ss1::load_model(make_context(level, threads), directory);
                const auto session = make_session(model, batch_of(inputs));
                const arrays got = infer(model, session, inputs);
                for (const auto &[name, want] : expected) {
                    INFO(name);
                    CHECK(worst_difference(got.at(name), want, inputs) <= (name == "probability" ? 1e-6 : 1e-5));
                }
                CHECK((got.size() == expected.size() || got.contains("probability")));  // older cases lack logits
                if (threads == 1) first = got;
                CHECK(same_bits(got, first));
            }
        }
}

TEST_CASE("bits depend neither on threads nor on the batch") {
    auto random = ss1_test::seeded();
    const arrays dlrm_inputs = random_dlrm_inputs(random, 133), bert_inputs = random_bert_inputs(random, 4, 37);
    for (const char *level : ss1_test::levels_here())
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8})
            for (const bool dlrm : {true, false}) {
                const arrays &inputs = dlrm ? dlrm_inputs : bert_inputs;
                const size_t batch = batch_of(inputs);
                arrays all;
                for (const uint32_t threads : {1u, 2u, 3u, 7u}) {
                    const auto model =
                        random_model(make_context(level, threads), dlrm ? wide_dlrm : wide_bert, 1, dtype);
                    const auto session = make_session(model, batch);
                    INFO((dlrm ? "dlrm" : "bert")
                         << " at " << level << " with " << threads << " threads, dtype " << dtype);
                    const arrays got = infer(model, session, inputs);
                    if (threads == 1) all = got;
                    REQUIRE(same_bits(got, all));
                    for (const size_t step :
                         {size_t{1}, size_t{3}, size_t{64}})  // with 1 and 7 threads: they are short
                        for (size_t b = 0; b < batch && threads % 6 == 1; b += step) {
                            const size_t end = std::min(batch, b + step);
                            REQUIRE(same_bits(infer(model, session, part_of(inputs, b, end)), part_of(all, b, end)));
                        }
                }
            }
}

namespace {

// ||got - want|| / ||want|| in the Frobenius norm, of probabilities' logits; padding rows are not compared.
double relative_error(const array &got, const array &want, const arrays &inputs) {
    const bool logits = want.name == "probability";
    const auto value = [logits](float v) { return logits ? std::log(v / (1.0 - v)) : static_cast<double>(v); };
    double error = 0, norm = 0;
    for (size_t i = 0; i < want.data.size() / sizeof(float); ++i) {
        if (is_padding(want, i, inputs)) continue;
        const double w = value(want.as<float>()[i]), difference = value(got.as<float>()[i]) - w;
        error += difference * difference;
        norm += w * w;
    }
    return std::sqrt(error / norm);
}

}  // namespace

// Measured: 1.1 % (DLRM, of the logit) and 0.6 % with bf16, 2.3 % and 2.6 % with int8, most of it by the activations of
// layers that are 16 to 96 wide.
TEST_CASE("models with bf16 and int8 weights keep within their bounds of PyTorch's outputs") {
    const struct {
        ss1_dtype dtype;
        double dlrm, bert;
    } bounds[] = {{SS1_DTYPE_BF16, 0.02, 0.01}, {SS1_DTYPE_I8, 0.04, 0.04}};
    for (const std::string &directory : cases())
        for (const char *level : ss1_test::levels_here()) {
            arrays inputs, expected;
            read_vectors(directory, inputs, expected);
            const auto context = make_context(level, 2);
            const auto exact = ss1::load_model(context, directory);
            const arrays f32 = infer(exact, make_session(exact, batch_of(inputs)), inputs);
            for (const auto &bound : bounds) {
                const auto model = load_as(context, directory, bound.dtype);
                const arrays got = infer(model, make_session(model, batch_of(inputs)), inputs);
                for (const auto &[name, want] : expected) {
                    INFO(directory << " at " << level << ", dtype " << bound.dtype << ": " << name);
                    const double error = relative_error(got.at(name), want, inputs);
                    CHECK(error <= (name == "probability" ? bound.dlrm : bound.bert));
                }
                CHECK_FALSE(same_bits(got, f32));
            }
        }
}

constexpr const char *interactions[] = {R"("interaction": "dot")", R"("interaction": "cat")",
                                        R"("interaction": "dcn", "cross_layers": 3, "cross_rank": 40,
       "ss1": {"layers": {"cross_net.1.v": {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 3, "block_k": 32, "block_n": 64, "step": 16},
                          "cross_net.2.w": {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 4, "block_k": 16, "block_n": 64, "step": 16}}})"};

// A DLRM of both sides: tables 0 and 2 are the user's.
std::string two_sided_dlrm(const std::string &interaction) {
    return R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 36,
      "tables": [{"name": "user", "rows": 100, "side": "user"},
                 {"name": "item", "rows": 11, "side": "item", "dtype": "int8"},
                 {"name": "page", "rows": 60, "side": "user", "dtype": "bf16", "pooling": "mean"},
                 {"name": "day", "rows": 7, "dtype": "int4", "pooling": "mean"}],
      "bottom_mlp": [3, 70, 36], "top_mlp": [96, 1], )" +
           interaction + "}";
}

TEST_CASE("a user's side given once gives the bits of the repeated form") {
    auto random = ss1_test::seeded();
    for (const char *interaction : interactions) {
        const std::string config = two_sided_dlrm(interaction);
        for (const size_t batch : {size_t{1}, size_t{5}, size_t{70}, size_t{600}}) {
            arrays once;
            add_random_dense(random, 1, once);
            add_random_bags(random, "", {11, 7}, batch, once);
            add_random_bags(random, "user_", {100, 60}, 1, once);
            if (batch % 2 == 0) add_random_weights(random, "user_", once);
            arrays all = once;
            all["dense_x"] = repeated(once["dense_x"], batch);
            repeat_bags(all, "user_", batch);
            for (const char *level : ss1_test::levels_here()) {
                arrays want;
                for (const uint32_t threads : {1u, 2u, 7u}) {
                    INFO(interaction << " batch " << batch << " at " << level << " with " << threads << " threads");
                    const auto model = random_model(make_context(level, threads), config.c_str());
                    const auto session = make_session(model, batch);
                    if (threads == 1) want = infer(model, session, all);
                    REQUIRE(same_bits(infer(model, session, once), want));
                    arrays mixed = all;
                    mixed["dense_x"] = once["dense_x"];
                    REQUIRE(same_bits(infer(model, session, mixed), want));
                    mixed = once;
                    mixed["dense_x"] = all["dense_x"];
                    REQUIRE(same_bits(infer(model, session, mixed), want));
                    if (threads > 1) REQUIRE(same_bits(infer(model, session, all), want));
                }
            }
        }
    }
}

TEST_CASE("large batches run block by block to the same bits") {
    auto random = ss1_test::seeded();
    const size_t batch = 1200;
    arrays inputs;
    add_random_dense(random, batch, inputs);
    add_random_bags(random, "", {11, 7}, batch, inputs);
    add_random_bags(random, "user_", {100, 60}, batch, inputs);
    add_random_weights(random, "", inputs);
    for (const char *interaction : interactions) {
        const std::string config = two_sided_dlrm(interaction);
        for (const char *level : {static_cast<const char *>("none"), ss1_test::levels_here().back()}) {
            arrays all;
            for (const uint32_t threads : {1u, 3u, 16u}) {
                INFO(interaction << " at " << level << " with " << threads << " threads");
                const auto model = random_model(make_context(level, threads), config.c_str());
                const arrays got = infer(model, make_session(model, batch), inputs);
                if (threads == 1) all = got;
                REQUIRE(same_bits(got, all));
            }
            // Fewer rows on one thread each: their probabilities are those of the large batch.
            const auto model = random_model(make_context(level, 1), config.c_str());
            const auto session = make_session(model, 1);
            for (const size_t row : {size_t{0}, size_t{33}, size_t{256}, batch - 1}) {
                arrays one = part_of(inputs, row, row + 1);
                REQUIRE(same_bits(infer(model, session, one), part_of(all, row, row + 1)));
            }
        }
    }
}

TEST_CASE("probabilities are the logits' sigmoids, and either can be left out") {
    auto random = ss1_test::seeded();
    const auto model = random_model(make_context(nullptr, 2), wide_dlrm);
    const auto session = make_session(model, 21);
    const arrays inputs = random_dlrm_inputs(random, 21), both = infer(model, session, inputs);
    const float *logits = both.at("logits").as<float>(), *p = both.at("probability").as<float>();
    for (size_t i = 0; i < 21; ++i) CHECK(std::abs(1 / (1 + std::exp(-double{logits[i]})) - double{p[i]}) < 3e-7);
    for (const std::string name : {"logits", "probability"}) {
        arrays one = {{name, both.at(name)}};
        std::fill(one[name].data.begin(), one[name].data.end(), std::byte{0});
        CHECK(run(session, inputs, one) == SS1_OK);
        CHECK(one[name].data == both.at(name).data);
    }
    arrays none;
    CHECK(run(session, inputs, none) == SS1_OK);
}

TEST_CASE("stages of a run are timed where asked for") {
    auto random = ss1_test::seeded();
    for (const uint32_t threads : {1u, 3u}) {
        const auto model = random_model(make_context(nullptr, threads), wide_dlrm);
        const auto session = make_session(model, 500);
        std::vector<double> seconds(4, 0.0);
        ss1::check(ss1_session_time_stages(session.get(), seconds.data(), 4));
        double run_seconds = 0;
        for (const size_t batch : {size_t{1}, size_t{40}, size_t{500}}) {
            const arrays inputs = random_dlrm_inputs(random, batch);
            const auto start = std::chrono::steady_clock::now();
            infer(model, session, inputs);
            run_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        for (const double s : seconds) CHECK(s > 0);
        CHECK(seconds[0] + seconds[1] + seconds[2] + seconds[3] <= run_seconds);
        const std::vector<double> before = seconds;
        ss1::check(ss1_session_time_stages(session.get(), nullptr, 0));
        infer(model, session, random_dlrm_inputs(random, 40));
        CHECK(seconds == before);
        CHECK(ss1_session_time_stages(session.get(), seconds.data(), 3) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains("n=3: this model of family 'dlrm' has 4 stages"));
        CHECK(ss1_session_time_stages(session.get(), nullptr, 4) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK(ss1_session_time_stages(nullptr, seconds.data(), 4) == SS1_ERROR_INVALID_ARGUMENT);
    }
    for (const uint32_t threads : {1u, 3u}) {
        const auto bert = random_model(make_context(nullptr, threads), wide_bert);
        const auto session = make_session(bert, 40);
        std::vector<double> seconds(8, 0.0);
        ss1::check(ss1_session_time_stages(session.get(), seconds.data(), 8));
        const auto start = std::chrono::steady_clock::now();
        for (const size_t batch : {1, 40}) infer(bert, session, random_bert_inputs(random, batch, 30));
        const double run_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        for (const double s : seconds) CHECK(s > 0);
        CHECK(std::accumulate(seconds.begin(), seconds.end(), 0.0) <= run_seconds);
        CHECK(ss1_session_time_stages(session.get(), seconds.data(), 4) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains("n=4: this model of family 'bert' has 8 stages"));
    }
}

TEST_CASE("each layer has the type that config.json gives it, and the options' instead if they name one") {
    const char *dlrm = R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 32,
      "tables": [{"name": "user", "rows": 9}], "bottom_mlp": [3, 64, 48, 32], "top_mlp": [128, 96, 64, 1],
      "ss1": {"layers": {"bot_l.0": {"kind": "dense", "dtype": "bf16"}, "bot_l.2": {"kind": "dense", "dtype": "int8"},
        "bot_l.4": {"kind": "dense", "dtype": "int8"}, "top_l.0": {"kind": "dense", "dtype": "bf16"},
        "top_l.2": {"kind": "dense", "dtype": "f32"}, "top_l.6": {"kind": "dense"},
        "top_l.4": {"kind": "ss1", "dtype": "int8", "c": 2, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64,
                    "step": 16}}}})";
    const ss1_dtype f32 = SS1_DTYPE_F32, bf16 = SS1_DTYPE_BF16, i8 = SS1_DTYPE_I8;
    const struct {
        ss1_dtype weight, x, y;  // as the file says
        uint32_t c;
    } layers[] = {{bf16, f32, bf16, 1}, {i8, bf16, bf16, 1}, {i8, bf16, f32, 1}, {bf16, f32, f32, 1},
                  {f32, f32, f32, 1},   {i8, f32, f32, 2},   {f32, f32, f32, 1}};
    for (const ss1_dtype dtype : {SS1_DTYPE_DEFAULT, f32, bf16, i8}) {
        const auto model = random_model(make_context(nullptr, 1), dlrm, 1, dtype);
        size_t bytes = 0;
        for (size_t i = 0; i < std::size(layers); ++i) {
            ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
            ss1::check(ss1_model_layer(model.get(), i, &info));
            INFO(info.name << " with dtype " << dtype);
            const ss1_linear_desc &desc = info.layer.desc;
            CHECK(desc.c == layers[i].c);
            CHECK(desc.weight_dtype == (dtype ? dtype : layers[i].weight));
            const bool first = i == 0 || i == 3, last = i == 2 || i == 6, below_f32 = dtype == bf16 || dtype == i8;
            CHECK(desc.x_dtype == (!dtype ? layers[i].x : below_f32 && !first ? bf16 : f32));
            CHECK(desc.y_dtype == (!dtype ? layers[i].y : below_f32 && !last ? bf16 : f32));
            bytes += info.layer.weight_bytes;
        }
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        CHECK(info.weight_bytes == bytes + 9 * 32 * sizeof(float));
    }
}

TEST_CASE("a model converted to a type gives the bits of one loaded with it") {
    const io_support::temporary_folder folder;
    const auto context = make_context(nullptr, 2);
    for (const char *name : {"dlrm_ss1", "bert_ss1"})
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}) {
            const std::string from = std::string(SS1_TEST_DATA "/") + name, to = folder / name + std::to_string(dtype);
            ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
            options.desc.weight_dtype = dtype;
            ss1::check(ss1_model_convert(context.get(), from.c_str(), to.c_str(), &options));
            arrays inputs, expected;
            read_vectors(from, inputs, expected);
            const auto converted = ss1::load_model(context, to), loaded = load_as(context, from, dtype);
            const size_t batch = batch_of(inputs);
            INFO(to);
            CHECK(same_bits(infer(converted, make_session(converted, batch), inputs),
                            infer(loaded, make_session(loaded, batch), inputs)));
        }
}

TEST_CASE("bad and old model options") {
    const auto context = make_context(nullptr, 1);
    ss1_model *model = nullptr;
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    const auto load = [&] { return ss1_model_load(context.get(), SS1_TEST_DATA "/dlrm_dot", &options, &model); };
    options.weight_dtype = SS1_DTYPE_F16;
    CHECK(load() == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("layer bot_l.0: weight_dtype=f16 is not one of f32, bf16, i8"));
    options.weight_dtype = static_cast<ss1_dtype>(70);
    CHECK(load() == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("weight_dtype=70 is not a value of ss1_dtype"));
    options.struct_size = offsetof(ss1_model_options, weight_dtype) + 1;
    CHECK(load() == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(model == nullptr);
    // 0.1's struct ended before the type: what lies behind it is not the caller's to set.
    options.struct_size = offsetof(ss1_model_options, weight_dtype);
    CHECK(load() == SS1_OK);
    ss1_model_destroy(&model);
    const io_support::temporary_folder folder;
    ss1_convert_options convert = SS1_CONVERT_OPTIONS_INIT;
    convert.desc.c = 2;
    convert.desc.block_k = 16;
    convert.struct_size = offsetof(ss1_convert_options, load) + offsetof(ss1_model_options, weight_dtype);
    convert.load.struct_size = offsetof(ss1_model_options, weight_dtype);
    convert.load.weight_dtype = SS1_DTYPE_I8;
    CHECK(ss1_model_convert(context.get(), SS1_TEST_DATA "/dlrm_dot", (folder / "out").c_str(), &convert) == SS1_OK);
}

TEST_CASE("optional inputs have defaults, and masked tokens do not show") {
    auto random = ss1_test::seeded();
    const auto model = random_model(make_context(nullptr, 2), wide_bert);
    const auto session = make_session(model, 3);
    arrays inputs = random_bert_inputs(random, 3, 17);
    array &mask = inputs["attention_mask"], &types = inputs["token_type_ids"];

    SECTION("a masked token's id and type change no other token") {
        mask.as<int64_t>()[5] = 0;
        const arrays before = infer(model, session, inputs);
        inputs["input_ids"].as<int64_t>()[5] ^= 1;
        types.as<int64_t>()[5] ^= 1;
        const arrays after = infer(model, session, inputs);
        const size_t row = 120 * sizeof(float);
        const byte_list &a = before.at("last_hidden_state").data, &b = after.at("last_hidden_state").data;
        for (size_t i = 0; i < 3 * 17; ++i) CHECK((std::memcmp(&a[i * row], &b[i * row], row) == 0) == (i != 5));
        CHECK(before.at("logits").data == after.at("logits").data);
    }
    SECTION("left out: every token is seen, all types are 0") {
        std::fill_n(mask.as<int64_t>(), 51, 1);
        std::fill_n(types.as<int64_t>(), 51, 0);
        const arrays given = infer(model, session, inputs);
        inputs.erase("attention_mask");
        inputs.erase("token_type_ids");
        CHECK(same_bits(infer(model, session, inputs), given));
    }
}

namespace {

// Heads of 32, which tiles take, and more keys than one of their blocks.
constexpr const char *long_bert =
    R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 300, "num_labels": 3,
  "architectures": ["BertForSequenceClassification"],
  "ss1": {"layers": {"encoder.layer.1.intermediate.dense":
    {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64, "step": 16}}}})";

// What the outputs of `all` are for sequence s, of its first `length` tokens.
arrays sequence_of(const arrays &all, size_t s, size_t length) {
    arrays one = part_of(all, s, s + 1);
    array &hidden = one.at("last_hidden_state");
    hidden.shape[1] = static_cast<int64_t>(length);
    hidden.data.resize(length * 64 * sizeof(float));
    return one;
}

}  // namespace

TEST_CASE("padding is not computed: a sequence has the same bits in any batch and padded to any length") {
    auto random = ss1_test::seeded();
    constexpr size_t T = 300;
    const std::vector<size_t> lengths = {1, 17, 300, 40, 299, 150};  // the last has a hole and keeps its rows
    arrays inputs = random_bert_inputs(random, lengths.size(), T);
    int64_t *mask = inputs.at("attention_mask").as<int64_t>();
    for (size_t s = 0; s < lengths.size(); ++s)
        for (size_t t = 0; t < T; ++t) mask[s * T + t] = t < lengths[s];
    mask[5 * T + 7] = 0;
    for (const char *level : ss1_test::levels_here())
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}) {
            arrays first;
            for (const uint32_t threads : {1u, 2u, 3u, 7u, 16u}) {
                INFO(level << ", dtype " << dtype << ", " << threads << " threads");
                const auto model = random_model(make_context(level, threads), long_bert, 1, dtype);
                const auto session = make_session(model, lengths.size());
                const arrays got = infer(model, session, inputs);
                if (threads == 1) first = got;
                REQUIRE(same_bits(got, first));  // few rows for each of 16 threads: there it goes layer by layer
                if (threads % 6 != 1) continue;
                for (size_t s = 0; s + 1 < lengths.size(); ++s) {
                    arrays alone = part_of(inputs, s, s + 1);
                    for (auto &[name, a] : alone) {
                        a.shape[1] = static_cast<int64_t>(lengths[s]);
                        a.data.resize(lengths[s] * sizeof(int64_t));
                    }
                    REQUIRE(same_bits(infer(model, session, alone), sequence_of(got, s, lengths[s])));
                    const float *hidden = got.at("last_hidden_state").as<float>() + s * T * 64;
                    CHECK(std::all_of(hidden + lengths[s] * 64, hidden + T * 64, [](float v) { return v == 0; }));
                }
                const float *kept = got.at("last_hidden_state").as<float>() + (5 * T + 200) * 64;
                CHECK(std::any_of(kept, kept + 64, [](float v) { return v != 0; }));
            }
        }
}

TEST_CASE("encoder layers of different types: a sequence has the same bits in any batch, for any number of threads") {
    auto random = ss1_test::seeded();
    const size_t T = 60, batch = 75;  // 4500 rows: more than are taken layer by layer at a time
    arrays inputs = random_bert_inputs(random, batch, T);
    inputs.erase("attention_mask");
    for (const char *encoder : {"0", "1"})
        for (const char *dtype : {"bf16", "int8"}) {
            std::string layers;
            for (const char *name : {"attention.self.query", "attention.self.key", "attention.self.value",
                                     "attention.output.dense", "intermediate.dense", "output.dense"})
                layers += std::string(layers.empty() ? "" : ", ") + R"("encoder.layer.)" + encoder + "." + name +
                          R"(": {"kind": "dense", "dtype": ")" + dtype + R"("})";
            const std::string config = R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 64,
                "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
                "max_position_embeddings": 60, "ss1": {"layers": {)" +
                                       layers + "}}}";
            const auto lone = random_model(make_context(nullptr, 1), config.c_str());
            const auto session = make_session(lone, 1);
            std::vector<arrays> alone;
            for (size_t s = 0; s < batch; ++s) alone.push_back(infer(lone, session, part_of(inputs, s, s + 1)));
            for (const uint32_t threads : {1u, 2u, 7u, 64u}) {
                const auto model = random_model(make_context(nullptr, threads), config.c_str());
                const size_t n = threads == 64 ? batch : 12;
                const arrays got = infer(model, make_session(model, n), part_of(inputs, 0, n));
                size_t different = 0;
                for (size_t s = 0; s < n; ++s) different += !same_bits(part_of(got, s, s + 1), alone[s]);
                INFO(dtype << " in encoder layer " << encoder << ", " << threads << " threads");
                CHECK(different == 0);
            }
        }
}

TEST_CASE("heads cut at their queries, for threads that would have none, give the bits of whole heads") {
    auto random = ss1_test::seeded();
    for (const size_t batch : {size_t{1}, size_t{3}}) {
        arrays inputs = random_bert_inputs(random, batch, 293);
        int64_t *mask = inputs.at("attention_mask").as<int64_t>();
        std::fill_n(mask, 293, 1);
        for (size_t t = 0; t < 293 && batch > 1; ++t) mask[293 + t] = t < 150;  // the third has holes
        for (const char *level : ss1_test::levels_here())
            for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16}) {
                arrays first;
                for (const uint32_t threads : {1u, 2u, 3u, 7u, 16u}) {
                    INFO(level << ", dtype " << dtype << ", batch " << batch << ", " << threads << " threads");
                    const auto model = random_model(make_context(level, threads), long_bert, 1, dtype);
                    const arrays got = infer(model, make_session(model, batch, 293), inputs);
                    if (threads == 1) first = got;
                    REQUIRE(same_bits(got, first));
                }
            }
    }
}

TEST_CASE("a sequence whose tokens are all masked sees all of them equally") {
    // With zero queries every score is 0, so an unmasked run attends uniformly too.
    const io_support::temporary_folder folder;
    const auto zero_query = [](std::vector<ss1::tensor_to_write> &tensors) {
        for (const char *name : {"weight", "bias"}) {
            const std::string full = std::string("encoder.layer.0.attention.self.query.") + name;
            ss1::tensor_to_write &t = io_support::find(tensors, full);
            t = io_support::tensor(full, t.dtype, t.shape, std::string(name[0] == 'w' ? 4096 : 128, '\0'));
        }
    };
    REQUIRE(io_support::write_model(folder / "drawn", io_support::bert_json) == SS1_OK);
    REQUIRE(io_support::write_model(folder / "uniform", io_support::bert_json, zero_query) == SS1_OK);
    for (const char *level : ss1_test::levels_here()) {
        const auto context = make_context(level, 1);
        const auto drawn = ss1::load_model(context, folder / "drawn"),
                   uniform = ss1::load_model(context, folder / "uniform");
        arrays inputs = {{"input_ids", make_array<int64_t>("input_ids", {1, 7}, {1, 2, 3, 4, 5, 6, 7})}};
        const arrays want = infer(uniform, make_session(uniform, 1), inputs);
        CHECK_FALSE(same_bits(infer(drawn, make_session(drawn, 1), inputs), want));
        inputs["attention_mask"] = make_array<int64_t>("attention_mask", {1, 7}, std::vector<int64_t>(7, 0));
        INFO(level);
        CHECK(same_bits(infer(drawn, make_session(drawn, 1), inputs), want));
    }
}

TEST_CASE("heads: outputs, limits, memory, empty runs and bits of sequences alone") {
    const struct {
        const char *name;
        size_t max_tokens, type_vocab_size, n_labels;
        std::map<std::string, std::vector<int64_t>> outputs;
    } rows[] = {
        {"bert_tokens", 14, 2, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_words", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_pretraining",
         14,
         2,
         0,
         {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_answers",
         14,
         2,
         0,
         {{"last_hidden_state", {-1, -1, 32}}, {"start_logits", {-1, -1}}, {"end_logits", {-1, -1}}}},
        {"bert_distil", 14, 0, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_distil_classifier", 14, 0, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 3}}}},
        // Positions start behind that of padding, 1.
        {"bert_roberta", 12, 1, 0, {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}}},
        {"bert_roberta_tokens", 12, 1, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_xlm_roberta_classifier", 12, 1, 2, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 2}}}},
    };
    counting_allocator counter;
    for (const auto &row : rows) {
        INFO(row.name);
        const auto model = ss1::load_model(counter.context(2), SS1_TEST_DATA "/" + std::string(row.name));
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        CHECK((info.max_tokens == row.max_tokens && info.type_vocab_size == row.type_vocab_size));
        CHECK((info.n_labels == row.n_labels && info.n_inputs == (row.type_vocab_size ? 3 : 2)));
        CHECK(info.n_outputs == row.outputs.size());
        size_t logits = 0;  // floats of all heads
        ss1_tensor t;
        for (size_t i = 0; ss1_model_output(model.get(), i, &t) == SS1_OK; ++i) {
            CHECK(row.outputs.at(t.name) == std::vector<int64_t>(t.shape, t.shape + t.rank));
            if (t.rank == 3) logits += 3 * row.max_tokens * static_cast<size_t>(t.shape[2]);
        }

        const size_t before = counter.live;
        const auto session = make_session(model, 3);
        ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
        options.max_batch = 3;
        size_t bytes = 0;
        ss1::check(ss1_session_bytes(model.get(), &options, &bytes));
        CHECK(counter.live == before + bytes);
        CHECK(bytes > logits * sizeof(float));
        options.max_tokens = row.max_tokens + 1;
        CHECK(ss1_session_bytes(model.get(), &options, &bytes) == SS1_ERROR_INVALID_ARGUMENT);

        arrays inputs, unused;
        read_vectors(SS1_TEST_DATA "/" + std::string(row.name), inputs, unused);
        const arrays all = infer(model, session, inputs);
        for (size_t b = 0; b < batch_of(inputs); ++b)
            CHECK(same_bits(infer(model, session, part_of(inputs, b, b + 1)), part_of(all, b, b + 1)));
        // Of each token what its sequence alone gives, and 0 for padding.
        arrays padded = part_of(inputs, 0, 2), alone = part_of(padded, 1, 2);
        const size_t T = static_cast<size_t>(padded.at("input_ids").shape[1]), length = 3;
        std::vector<int64_t> mask(2 * T, 1);
        std::fill(mask.begin() + static_cast<ptrdiff_t>(T + length), mask.end(), 0);
        padded["attention_mask"] = make_array<int64_t>("attention_mask", {2, static_cast<int64_t>(T)}, mask);
        alone.erase("attention_mask");
        for (auto &[name, a] : alone) {
            a.shape[1] = length;
            a.data.resize(length * sizeof(int64_t));
        }
        const arrays want = infer(model, session, alone);
        for (const auto &[name, output] : infer(model, session, padded)) {
            const auto second = output.data.begin() + static_cast<ptrdiff_t>(output.data.size() / 2);
            const byte_list &first_tokens = want.at(name).data;
            const auto padding = second + static_cast<ptrdiff_t>(first_tokens.size());
            CHECK(std::equal(first_tokens.begin(), first_tokens.end(), second));
            CHECK(std::all_of(padding, output.data.end(), [](std::byte b) { return b == std::byte{0}; }));
        }
        for (const auto &[batch, tokens] : {std::pair<int64_t, int64_t>{0, 5}, {2, 0}}) {
            const arrays nothing = {{"input_ids", make_array<int64_t>("input_ids", {batch, tokens}, {})}};
            for (const auto &[name, output] : infer(model, session, nothing))
                CHECK(output.data == byte_list(output.data.size()));
        }
    }
}

TEST_CASE("each output has the same bits without the others") {
    const auto context = make_context(nullptr, 2);
    for (const std::string &directory : cases()) {
        INFO(directory);
        arrays inputs, unused;
        read_vectors(directory, inputs, unused);
        const auto model = ss1::load_model(context, directory);
        const arrays all = infer(model, make_session(model, batch_of(inputs)), inputs);
        for (const auto &[name, want] : all) {
            arrays one = {{name, want}};
            std::fill(one[name].data.begin(), one[name].data.end(), std::byte{0xa5});
            // A session of its own, whose memory holds nothing of other runs.
            CHECK(run(make_session(model, batch_of(inputs)), inputs, one) == SS1_OK);
            CHECK(one[name].data == want.data);
        }
    }
}

TEST_CASE("a run meets none of the caller's traps, and leaves no flags") {
    for (const char *name : {"bert_classifier", "dlrm_dot"})
        for (const uint32_t threads : {1u, 3u}) {
            const std::string directory = SS1_TEST_DATA "/" + std::string(name);
            const auto context = make_context(nullptr, threads);
            arrays inputs, unused;
            read_vectors(directory, inputs, unused);
            const auto usual = ss1::load_model(context, directory);
            const arrays want = infer(usual, make_session(usual, batch_of(inputs)), inputs);
            std::feclearexcept(FE_ALL_EXCEPT);
            feenableexcept(FE_ALL_EXCEPT);  // on a CPU that has no traps: nothing
            const auto model = ss1::load_model(context, directory);
            const auto session = make_session(model, batch_of(inputs));
            const arrays got = infer(model, session, inputs);
            fedisableexcept(FE_ALL_EXCEPT);
            INFO(name << ", " << threads << " threads");
            CHECK(std::fetestexcept(FE_ALL_EXCEPT) == 0);
            CHECK(same_bits(got, want));
        }
}

TEST_CASE("outputs in the memory of another output or of an input are refused") {
    const auto model = ss1::load_model(make_context(nullptr, 1), SS1_TEST_DATA "/bert_classifier");
    const auto session = make_session(model, 1);
    std::vector<int64_t> ids = {2, 5, 3};
    std::vector<float> room(3 * 64);
    const ss1_tensor input = {"input_ids", SS1_DTYPE_I64, 2, {1, 3}, ids.data(), 3 * sizeof(int64_t)};
    const auto output = [](const char *name, void *data, size_t bytes) {
        return ss1_tensor{name, SS1_DTYPE_F32, 0, {}, data, bytes};
    };
    ss1_tensor both[] = {output("last_hidden_state", room.data(), room.size() * sizeof(float)),
                         output("pooled", room.data() + 100, 64 * sizeof(float))};
    CHECK(ss1_session_run(session.get(), &input, 1, both, 2) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("overlaps last_hidden_state="));
    ss1_tensor logits = output("logits", ids.data(), 3 * sizeof(int64_t));
    CHECK(ss1_session_run(session.get(), &input, 1, &logits, 1) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("overlaps input_ids="));
    CHECK(ids == std::vector<int64_t>{2, 5, 3});
}

TEST_CASE("empty runs do nothing") {
    auto random = ss1_test::seeded();
    const auto context = make_context(nullptr, 2);
    const auto dlrm = random_model(context, wide_dlrm), bert = random_model(context, wide_bert);
    CHECK(infer(dlrm, make_session(dlrm, 4), random_dlrm_inputs(random, 0)).at("probability").data.empty());
    CHECK(infer(bert, make_session(bert, 4), random_bert_inputs(random, 0, 5)).at("pooled").data.empty());
    const arrays no_tokens = infer(bert, make_session(bert, 4), random_bert_inputs(random, 2, 0));
    CHECK(no_tokens.at("last_hidden_state").data.empty());
    CHECK(no_tokens.at("logits").data == byte_list(2 * 3 * sizeof(float)));  // zeros
}

namespace {

struct bad_input {
    const char *what, *message;  // a part of the message
    std::function<void(std::vector<ss1_tensor> &in, std::vector<ss1_tensor> &out)> spoil;
};

// Applies each fault to a good run and checks the message and that no byte of the outputs changed.
void check_bad_inputs(const ss1::model_ptr &model, const ss1::session_ptr &session, const arrays &good,
                      const std::vector<bad_input> &table) {
    for (const bad_input &bad : table) {
        INFO(bad.what);
        arrays inputs = good, outputs = make_outputs(model, inputs);
        const arrays untouched = outputs;
        std::vector<ss1_tensor> in, out;
        for (auto &[name, a] : inputs) in.push_back(a.tensor());
        for (auto &[name, a] : outputs) out.push_back(a.tensor());
        bad.spoil(in, out);
        const std::vector<ss1_tensor> before = out;
        CHECK(ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size()) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains(bad.message) && Catch::StartsWith("ss1_session_run: "));
        CHECK(same_bits(outputs, untouched));
        for (size_t i = 0; i < out.size(); ++i) {
            CHECK(out[i].rank == before[i].rank);
            CHECK(std::equal(out[i].shape, out[i].shape + 4, before[i].shape));
        }
    }
    CHECK(same_bits(infer(model, session, good), infer(model, session, good)));  // the session is as good as before
}

int64_t *i64(ss1_tensor &t) {
    return static_cast<int64_t *>(t.data);
}

}  // namespace

TEST_CASE("bad inputs of a DLRM are refused by name, position, value and rule") {
    auto random = ss1_test::seeded();
    const uint32_t threads = GENERATE(1u, 3u);
    const auto model = random_model(make_context(nullptr, threads), wide_dlrm);
    const auto session = make_session(model, 130);
    arrays good = random_dlrm_inputs(random, 130);
    // Bags that the faults below can rely on: (0, 0) and the last one have an index.
    auto starts = good["offsets"].as<int64_t>();
    auto &indices = good["indices"];
    REQUIRE(indices.shape[0] > 1000);
    if (starts[1] == 0) starts[1] = 1;
    for (size_t i = 1; i < 4 * 130; ++i) starts[i] = std::max(starts[i], starts[1]);
    for (int64_t p = 0; p < indices.shape[0]; ++p) indices.as<int64_t>()[p] = 0;  // a row of every table
    starts[4 * 130 - 1] = std::min(starts[4 * 130 - 1], indices.shape[0] - 1);
    const size_t last = static_cast<size_t>(indices.shape[0]) - 1;
    enum { at_dense, at_indices, at_offsets };  // in the order of their names
    using tensors = std::vector<ss1_tensor> &;
    check_bad_inputs(
        model, session, good,
        {
            {"unknown input", "'dense' is not one of 'dense_x', 'indices', 'offsets'",
             [](tensors in, tensors) { in[at_dense].name = "dense"; }},
            {"unknown output", "'pooled' is not one of 'probability', 'logits'",
             [](tensors, tensors out) { out[0].name = "pooled"; }},
            {"no name", "inputs[1].name is NULL", [](tensors in, tensors) { in[at_indices].name = nullptr; }},
            {"missing", "input 'indices' is missing", [](tensors in, tensors) { in.erase(in.begin() + at_indices); }},
            {"twice", "'offsets' is given twice", [](tensors in, tensors) { in.push_back(in[at_offsets]); }},
            {"output twice", "'probability' is given twice", [](tensors, tensors out) { out.push_back(out[1]); }},
            {"dtype", "input 'indices': dtype=6 is not SS1_DTYPE_I64=7",
             [](tensors in, tensors) { in[at_indices].dtype = SS1_DTYPE_I32; }},
            {"output dtype", "output 'probability': dtype=2",
             [](tensors, tensors out) { out[1].dtype = SS1_DTYPE_BF16; }},
            {"rank", "input 'dense_x': rank=1 is not 2", [](tensors in, tensors) { in[at_dense].rank = 1; }},
            {"negative size", "input 'indices': shape[0]=-1 is negative",
             [](tensors in, tensors) { in[at_indices].shape[0] = -1; }},
            {"fixed size", "input 'dense_x': shape[1]=4 is not 3",
             [](tensors in, tensors) { in[at_dense].shape[1] = 4; }},
            {"size that overflows", "overflows", [](tensors in, tensors) { in[at_indices].shape[0] = INT64_MAX; }},
            {"tables", "input 'offsets': shape[0]=3 is not 4",
             [](tensors in, tensors) { in[at_offsets].shape[0] = 3; }},
            {"batches that differ", "input 'dense_x': shape[0]=130 is neither shape[1]=129 of 'offsets' nor 1",
             [](tensors in, tensors) { in[at_offsets].shape[1] = 129, in[at_offsets].bytes = 4 * 129 * 8; }},
            {"bytes", "input 'dense_x': bytes=1559 is not the 1560", [](tensors in, tensors) { in[at_dense].bytes--; }},
            {"data", "input 'offsets': data is NULL", [](tensors in, tensors) { in[at_offsets].data = nullptr; }},
            {"alignment", "is not aligned to 8 bytes",
             [](tensors in, tensors) { in[at_offsets].data = static_cast<char *>(in[at_offsets].data) + 4; }},
            {"output bytes", "output 'probability': bytes=519 is below the 520",
             [](tensors, tensors out) { out[1].bytes--; }},
            {"output data", "output 'logits': data is NULL", [](tensors, tensors out) { out[0].data = nullptr; }},
            {"index -1", "indices[0]=-1 is not a row of table 0 'user' (row 0 of the batch), which has 100 rows",
             [](tensors in, tensors) { i64(in[at_indices])[0] = -1; }},
            {"index rows", "indices[0]=100 is not a row of table 0 'user'",
             [](tensors in, tensors) { i64(in[at_indices])[0] = 100; }},
            {"last index", "=7 is not a row of table 3 'day' (row 129 of the batch), which has 7 rows",
             [=](tensors in, tensors) { i64(in[at_indices])[last] = 7; }},
            {"index INT64_MAX", "=9223372036854775807 is not a row of table 3 'day'",
             [=](tensors in, tensors) { i64(in[at_indices])[last] = INT64_MAX; }},
            {"index INT64_MIN", "=-9223372036854775808 is not a row",
             [=](tensors in, tensors) { i64(in[at_indices])[last] = INT64_MIN; }},
            {"first offset", "offsets[0,0]=1 (table 0 'user') is not 0",
             [](tensors in, tensors) { i64(in[at_offsets])[0] = 1; }},
            {"negative offset", "offsets[0,7]=-1 (table 0 'user') is below the offset before it",
             [](tensors in, tensors) { i64(in[at_offsets])[7] = -1; }},
            {"offset below the one before", "offsets[1,0]=0 (table 1 'item') is below the offset before it",
             [](tensors in, tensors) { i64(in[at_offsets])[130] = 0; }},
            {"offset above all indices", "is above the number of indices",
             [=](tensors in, tensors) { i64(in[at_offsets])[4 * 130 - 1] = static_cast<int64_t>(last) + 2; }},
            {"offset INT64_MAX", "offsets[2,64]=9223372036854775807 (table 2 'page') is above",
             [](tensors in, tensors) { i64(in[at_offsets])[2 * 130 + 64] = INT64_MAX; }},
            {"offset INT64_MIN", "is below the offset before it",
             [](tensors in, tensors) { i64(in[at_offsets])[2 * 130 + 64] = INT64_MIN; }},
            {"no indices", "is above the number of indices, 0",
             [](tensors in, tensors) { in[at_indices].shape[0] = 0, in[at_indices].bytes = 0; }},
        });
    arrays outputs = make_outputs(model, good);
    CHECK(run(make_session(model, 129), good, outputs) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("shape[1]=130 is above the session's max_batch=129"));
}

TEST_CASE("bad inputs of a user's side are refused by name, position, value and rule") {
    auto random = ss1_test::seeded();
    const uint32_t threads = GENERATE(1u, 3u);
    const bool once = GENERATE(true, false);
    const size_t batch = GENERATE(size_t{40}, size_t{300});
    const auto model = random_model(make_context(nullptr, threads), two_sided_dlrm(interactions[0]).c_str());
    arrays good;
    add_random_dense(random, once ? 1 : batch, good);
    add_random_bags(random, "", {11, 7}, batch, good);
    good["user_indices"] = make_array<int64_t>("user_indices", {3}, {5, 6, 7});
    good["user_offsets"] = make_array<int64_t>("user_offsets", {2, 1}, {0, 2});
    if (!once) repeat_bags(good, "user_", batch);
    enum { at_dense, at_indices, at_offsets, at_user_indices, at_user_offsets };  // in the order of their names
    using tensors = std::vector<ss1_tensor> &;
    check_bad_inputs(
        model, make_session(model, batch), good,
        {
            {"missing", "input 'user_offsets' is missing",
             [](tensors in, tensors) { in.erase(in.begin() + at_user_offsets); }},
            {"tables", "input 'user_offsets': shape[0]=1 is not 2",
             [](tensors in, tensors) { in[at_user_offsets].shape[0] = 1; }},
            {"rows", "input 'user_offsets': shape[1]=2 is neither shape[1]=",
             [](tensors in, tensors) {
                 if (in[at_user_offsets].shape[1] == 1) {  // nobody gets to read more than there is
                     static int64_t four[4];
                     in[at_user_offsets].data = four;
                 }
                 in[at_user_offsets].shape[1] = 2, in[at_user_offsets].bytes = 32;
             }},
            {"index", "user_indices[0]=100 is not a row of table 0 'user' (row 0 of the batch), which has 100 rows",
             [](tensors in, tensors) { i64(in[at_user_indices])[0] = 100; }},
            {"index of the second table", "=60 is not a row of table 2 'page' (row ",
             [](tensors in, tensors) { i64(in[at_user_indices])[in[at_user_indices].shape[0] - 1] = 60; }},
            {"first offset", "user_offsets[0,0]=1 (table 0 'user') is not 0",
             [](tensors in, tensors) { i64(in[at_user_offsets])[0] = 1; }},
            {"offset", "user_offsets[1,0]=-1 (table 2 'page') is below the offset before it",
             [](tensors in, tensors) { i64(in[at_user_offsets])[in[at_user_offsets].shape[1]] = -1; }},
            {"both sides: the user's comes first", "user_indices[0]=-1",
             [](tensors in, tensors) {
                 i64(in[at_user_indices])[0] = -1;
                 i64(in[at_offsets])[0] = 1;
             }},
            {"an item's table by its number in the model", "offsets[1,0]=-1 (table 3 'day') is below",
             [=](tensors in, tensors) { i64(in[at_offsets])[batch] = -1; }},
        });
}

TEST_CASE("bad inputs of a BERT are refused by name, position, value and rule") {
    auto random = ss1_test::seeded();
    const auto model = random_model(make_context(nullptr, 2), wide_bert);
    const arrays good = random_bert_inputs(random, 3, 9);
    enum { mask, ids, types };  // in the order of their names
    using tensors = std::vector<ss1_tensor> &;
    check_bad_inputs(
        model, make_session(model, 3, 9), good,
        {
            {"missing", "input 'input_ids' is missing", [](tensors in, tensors) { in.erase(in.begin() + ids); }},
            {"dtype", "input 'input_ids': dtype=1 is not SS1_DTYPE_I64=7",
             [](tensors in, tensors) { in[ids].dtype = SS1_DTYPE_F32; }},
            {"default dtype of an integer", "dtype=0 is not SS1_DTYPE_I64=7",
             [](tensors in, tensors) { in[ids].dtype = SS1_DTYPE_DEFAULT; }},
            {"token id -1", "input_ids[0,0]=-1 is not in 0..89", [](tensors in, tensors) { i64(in[ids])[0] = -1; }},
            {"token id vocab_size", "input_ids[2,8]=90 is not in 0..89",
             [](tensors in, tensors) { i64(in[ids])[26] = 90; }},
            {"token id INT64_MAX", "input_ids[1,0]=9223372036854775807",
             [](tensors in, tensors) { i64(in[ids])[9] = INT64_MAX; }},
            {"type", "token_type_ids[0,3]=2 is not in 0..1", [](tensors in, tensors) { i64(in[types])[3] = 2; }},
            {"mask", "attention_mask[1,1]=-1 is not in 0..1", [](tensors in, tensors) { i64(in[mask])[10] = -1; }},
            {"shapes that differ", "input 'attention_mask': shape[0]=9 is not the 3 of 'input_ids'",
             [](tensors in, tensors) { std::swap(in[mask].shape[0], in[mask].shape[1]); }},
            {"output bytes", "output 'pooled': bytes=1439 is below the 1440",
             [](tensors, tensors out) { out[2].bytes--; }},
        });
    arrays outputs = make_outputs(model, good);
    CHECK(run(make_session(model, 2, 9), good, outputs) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("shape[0]=3 is above the session's max_batch=2"));
    CHECK(run(make_session(model, 3, 8), good, outputs) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("shape[1]=9 is above the session's max_tokens=8"));
}

TEST_CASE("bounds of a session are checked before anything is allocated") {
    const auto context = make_context(nullptr, 2);
    const auto dlrm = random_model(context, wide_dlrm), bert = random_model(context, wide_bert);
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    size_t bytes = 1;
    options.max_tokens = 49;
    CHECK(ss1_session_bytes(bert.get(), &options, &bytes) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("max_tokens=49 is above the model's limit of 48"));
    CHECK(ss1_session_bytes(dlrm.get(), &options, &bytes) == SS1_OK);  // ignored by DLRM
    options.max_tokens = 0;
    // Of a DLRM only the outputs grow with the batch.
    for (const size_t batch : {SIZE_MAX, SIZE_MAX / 4, SIZE_MAX / 16, SIZE_MAX / 256})
        for (const auto &model : {dlrm.get(), bert.get()}) {
            if (model == dlrm.get() && batch < SIZE_MAX / 4) continue;
            options.max_batch = batch;
            bytes = 1;
            CHECK(ss1_session_bytes(model, &options, &bytes) == SS1_ERROR_INVALID_ARGUMENT);
            CHECK(bytes == 1);
        }
    options.max_batch = size_t{1} << 48;
    ss1_session *session = nullptr;
    CHECK(ss1_session_create(dlrm.get(), &options, &session) == SS1_ERROR_OUT_OF_MEMORY);
    CHECK(session == nullptr);
}

TEST_CASE("a session allocates what session_bytes says, a run nothing") {
    auto random = ss1_test::seeded();
    counting_allocator counter;
    for (const uint32_t threads : {1u, 3u})
        for (const bool is_dlrm : {true, false}) {
            auto context = counter.context(threads);
            const auto model = random_model(context, is_dlrm ? wide_dlrm : wide_bert);
            ss1_model_info info = SS1_MODEL_INFO_INIT;
            ss1::check(ss1_model_describe(model.get(), &info));
            CHECK(counter.live == info.weight_bytes);
            ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
            options.max_batch = 20;
            size_t bytes = 0;
            ss1::check(ss1_session_bytes(model.get(), &options, &bytes));
            const size_t calls = counter.calls;
            auto session = make_session(model, 20);
            CHECK(counter.live == info.weight_bytes + bytes);
            CHECK(counter.calls == calls + 1);
            for (const auto &[batch, tokens] : {std::pair<size_t, size_t>{20, 48}, {1, 48}, {13, 7}, {20, 5}}) {
                const arrays inputs =
                    is_dlrm ? random_dlrm_inputs(random, batch) : random_bert_inputs(random, batch, tokens);
                arrays copy = inputs, outputs = make_outputs(model, inputs);
                std::vector<ss1_tensor> in, out;
                for (auto &[name, a] : copy) in.push_back(a.tensor());
                for (auto &[name, a] : outputs) out.push_back(a.tensor());
                const size_t before = news;
                const ss1_status status = ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size());
                const size_t after = news;
                CHECK(status == SS1_OK);
                CHECK(after == before);
            }
            CHECK(counter.calls == calls + 1);
            session.reset();
            CHECK(counter.live == info.weight_bytes);
        }
    CHECK(counter.live == 0);
}

namespace {

// Fails each call of operator new inside `call` in turn. It must end as SS1_ERROR_OUT_OF_MEMORY with a message, or
// well: streams and sorting get by without the memory that they asked for. `after` then looks at what is left and
// tidies up.
void check_every_failure(const char *what, const std::function<ss1_status()> &call,
                         const std::function<void(ss1_status)> &after) {
    bool all_failed = false;
    for (size_t n = 0; !all_failed; ++n) {
        news = 0;
        fail_at = n;
        const ss1_status status = call();
        fail_at = SIZE_MAX;
        all_failed = news <= n;
        INFO(what << ": call " << n << " fails");
        if (status != SS1_OK) {
            CHECK(status == SS1_ERROR_OUT_OF_MEMORY);
            CHECK_THAT(ss1_last_error(), Catch::StartsWith("ss1_"));
        }
        after(status);
    }
}

template <class T, class Destroy>
auto gone_on_error(T *&object, Destroy destroy) {
    return [&object, destroy](ss1_status status) {
        CHECK((status == SS1_OK) == (object != nullptr));
        destroy(&object);
    };
}

}  // namespace

TEST_CASE("no memory for the library's own objects is an error that leaves nothing behind") {
    counting_allocator counter;
    {
        auto context = counter.context(2);
        ss1_context *created = nullptr;
        check_every_failure(
            "context", [&] { return ss1_context_create(nullptr, &created); },
            gone_on_error(created, ss1_context_destroy));

        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = 128;
        desc.N = 48;
        desc.c = 2;
        desc.activation = SS1_ACTIVATION_GELU;  // a long list of kernel names
        const std::vector<float> z(48 * 64), bias(48);
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z.data();
        weights.bias = bias.data();
        ss1_layer *layer = nullptr;
        check_every_failure(
            "layer", [&] { return ss1_layer_create(context.get(), &desc, &weights, &layer); },
            gone_on_error(layer, ss1_layer_destroy));
        CHECK(counter.live == 0);

        // Not ss1_model_load(): nlohmann's destructor of a JSON value asks for memory, and ends the program without it.
        ss1_model *model = nullptr;
        ss1::check(ss1_model_load(context.get(), SS1_TEST_DATA "/bert_ss1", nullptr, &model));
        const size_t weight_bytes = counter.live;
        ss1_session *session = nullptr;
        check_every_failure(
            "session", [&] { return ss1_session_create(model, nullptr, &session); },
            gone_on_error(session, ss1_session_destroy));
        CHECK(counter.live == weight_bytes);
        ss1_model_destroy(&model);

        // A backend is switched as a whole.
        check_every_failure(
            "backend", [&] { return ss1_context_load_backend(context.get(), "cpu"); },
            [&](ss1_status) {
                ss1_info info = SS1_INFO_INIT;
                ss1::check(ss1_get_info(context.get(), &info));
                REQUIRE(info.n_backends == 2);
                CHECK(info.backends[0].name == std::string("cpu"));
                CHECK(std::strlen(info.backends[1].reason) > 0);
            });
    }
    CHECK(counter.live == 0);
}

TEST_CASE("scratch of a layer never falls with more rows, so that a session's serves every batch") {
    for (const uint32_t threads : {1u, 2u, 7u, 16u}) {
        const auto context = make_context(nullptr, threads);
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = 2048;  // the FLOPs of SIZE_MAX rows, counted in MFLOPs, do not fit a size_t
        desc.N = 1024;
        desc.c = 2;
        const std::vector<float> z(desc.N * 1024);
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z.data();
        const auto layer = ss1::make_layer(context, desc, weights);
        for (size_t m = 0; m < 4000; ++m) {
            const size_t here = ss1_layer_scratch_bytes(layer.get(), m),
                         next = ss1_layer_scratch_bytes(layer.get(), m + 1);
            if (here <= next) continue;
            INFO("threads " << threads << " m " << m);
            REQUIRE(here <= next);
        }
        const size_t most = ss1_layer_scratch_bytes(layer.get(), size_t{1} << 24);
        for (int bits = 25; bits < 64; ++bits) CHECK(ss1_layer_scratch_bytes(layer.get(), size_t{1} << bits) == most);
        CHECK(ss1_layer_scratch_bytes(layer.get(), SIZE_MAX) == most);
    }
}

TEST_CASE("8 threads share one model") {
    auto random = ss1_test::seeded();
    const auto context = make_context(nullptr, 2);
    for (const bool is_dlrm : {true, false}) {
        const auto model = random_model(context, is_dlrm ? wide_dlrm : wide_bert);
        const arrays inputs = is_dlrm ? random_dlrm_inputs(random, 90) : random_bert_inputs(random, 3, 30);
        const arrays want = infer(model, make_session(model, 90), inputs);
        std::atomic<int> same{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 8; ++t)
            threads.emplace_back([&] {
                const auto session = make_session(model, 90);
                arrays outputs = want;
                std::vector<ss1_tensor> in, out;
                for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
                for (auto &[name, a] : outputs) out.push_back(a.tensor());
                for (int round = 0; round < 5; ++round) {
                    for (auto &[name, a] : outputs) std::fill(a.data.begin(), a.data.end(), std::byte{0});
                    const ss1_status status =
                        ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size());
                    same += status == SS1_OK && same_bits(outputs, want);
                }
            });
        for (std::thread &thread : threads) thread.join();
        CHECK(same == 40);
    }
}

namespace {

// An executor that calls `at_region` before each parallel region of a run, on the thread that runs the session.
struct hooked_executor {
    std::function<void()> at_region = [] {};

    static void run(void *user, size_t n, void (*task)(void *, size_t), void *arg) {
        static_cast<hooked_executor *>(user)->at_region();
        ss1_test::run_on_threads(nullptr, n, task, arg);
    }
    ss1::context_ptr context() {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.num_threads = 3;
        options.parallel_for = run;
        options.parallel_for_user = this;
        return ss1::make_context(options);
    }
};

// A run that must give up with `status` and leave its outputs alone.
void check_given_up(const ss1::model_ptr &model, const ss1::session_ptr &session, const arrays &inputs,
                    ss1_status status, const char *message) {
    arrays outputs = make_outputs(model, inputs);
    const arrays untouched = outputs;
    CHECK(run(session, inputs, outputs) == status);
    CHECK_THAT(ss1_last_error(), Catch::StartsWith("ss1_session_run: ") && Catch::Contains(message));
    CHECK(same_bits(outputs, untouched));
}

}  // namespace

TEST_CASE("a run is cancelled at the stage where it is, and only this run") {
    auto random = ss1_test::seeded();
    hooked_executor executor;
    const auto context = executor.context();
    // A DLRM's many rows go through all stages in one region, few rows stage by stage.
    const struct { size_t dlrm_rows, least_regions; } runs[] = {{500, 1}, {20, 2}, {0, 3}};
    for (const auto &[dlrm_rows, least_regions] : runs) {
        const bool is_dlrm = dlrm_rows > 0;
        const auto model = random_model(context, is_dlrm ? wide_dlrm : wide_bert);
        const arrays inputs = is_dlrm ? random_dlrm_inputs(random, dlrm_rows) : random_bert_inputs(random, 4, 48);
        const auto session = make_session(model, 500);
        size_t regions = 0;
        executor.at_region = [&] { ++regions; };
        ss1_session_cancel(session.get());  // no run is under way
        const arrays want = infer(model, session, inputs);
        const size_t all = regions;
        REQUIRE(all >= least_regions);
        for (size_t n = 1; n <= all; ++n) {
            INFO((is_dlrm ? "dlrm" : "bert")
                 << " of " << dlrm_rows << " rows: cancelled in region " << n << " of " << all);
            regions = 0;
            executor.at_region = [&] {
                if (++regions == n) std::thread(ss1_session_cancel, session.get()).join();
            };
            check_given_up(model, session, inputs, SS1_ERROR_CANCELLED, "ss1_session_cancel() was called");
            CHECK(regions < n + (is_dlrm ? 1 : 3));
            executor.at_region = [] {};
            CHECK(same_bits(infer(model, session, inputs), want));
        }
    }
}

TEST_CASE("a run that is late gives up, and a deadline far away changes nothing") {
    auto random = ss1_test::seeded();
    hooked_executor executor;
    const auto context = executor.context();
    for (const bool is_dlrm : {true, false}) {
        const auto model = random_model(context, is_dlrm ? wide_dlrm : wide_bert);
        const arrays inputs = is_dlrm ? random_dlrm_inputs(random, 500) : random_bert_inputs(random, 4, 48);
        const auto session = make_session(model, 500);
        const arrays want = infer(model, session, inputs);
        size_t regions = 0;
        executor.at_region = [&] { ++regions; };
        ss1::check(ss1_session_set_deadline(session.get(), 1e-9));
        check_given_up(model, session, inputs, SS1_ERROR_DEADLINE, "the deadline of 1e-09 s has passed");
        CHECK(regions <= 1);  // no clock has run for less than 1 ns by the second stage
        for (const double far : {1e6, 1e300, 0.0}) {
            ss1::check(ss1_session_set_deadline(session.get(), far));
            CHECK(same_bits(infer(model, session, inputs), want));
        }
        executor.at_region = [] {};
        for (const double bad : {-1.0, double{NAN}, double{INFINITY}}) {
            CHECK(ss1_session_set_deadline(session.get(), bad) == SS1_ERROR_INVALID_ARGUMENT);
            CHECK_THAT(ss1_last_error(), Catch::Contains("is not a finite number of at least 0"));
        }
        CHECK(same_bits(infer(model, session, inputs), want));  // still without one
    }
}

TEST_CASE("threads cancel each other's runs: a result is whole or not there") {
    auto random = ss1_test::seeded();
    const auto context = make_context(nullptr, 2);
    const auto model = random_model(context, wide_bert);
    const arrays inputs = random_bert_inputs(random, 3, 30);
    const arrays want = infer(model, make_session(model, 3), inputs);
    std::vector<ss1::session_ptr> sessions;
    for (int t = 0; t < 4; ++t) sessions.push_back(make_session(model, 3));
    std::atomic<int> good{0}, running{4};
    std::vector<std::thread> threads;
    for (const auto &session : sessions)
        threads.emplace_back([&, session = session.get()] {
            arrays outputs = want;
            std::vector<ss1_tensor> in, out;
            for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
            for (auto &[name, a] : outputs) out.push_back(a.tensor());
            for (int round = 0; round < 20; ++round) {
                for (auto &[name, a] : outputs) std::fill(a.data.begin(), a.data.end(), std::byte{0});
                const arrays untouched = outputs;
                const ss1_status status = ss1_session_run(session, in.data(), in.size(), out.data(), out.size());
                good += status == SS1_OK ? same_bits(outputs, want)
                                         : status == SS1_ERROR_CANCELLED && same_bits(outputs, untouched);
            }
            --running;
        });
    while (running > 0)
        for (const auto &session : sessions) ss1_session_cancel(session.get());
    for (std::thread &thread : threads) thread.join();
    CHECK(good == 80);
}

namespace {

// Memory straight from the kernel, so that a page is never there before it is touched.
struct fresh_pages {
    static void *alloc(void *, size_t bytes, size_t) {
        void *p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? nullptr : p;
    }
    static void free(void *, void *pointer, size_t bytes) { munmap(pointer, bytes); }
};

long page_faults() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace

TEST_CASE("no page fault after the first run") {
    if (ss1_test::sanitized) return;
    auto random = ss1_test::seeded();
    for (const uint32_t threads : {1u, 3u})
        for (const bool is_dlrm : {true, false}) {
            ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
            options.num_threads = threads;
            options.parallel_for = ss1_test::executor;
            if (threads > 1 && options.parallel_for) continue;  // its threads are new in each run
            options.alloc = fresh_pages::alloc;
            options.free = fresh_pages::free;
            const auto model = random_model(ss1::make_context(options), is_dlrm ? wide_dlrm : wide_bert);
            // One thread: the first run is short, and later ones reach memory that it did not. Several: in the first
            // run all of them start.
            std::vector<arrays> runs;
            const size_t most = is_dlrm ? 64 : 10;
            for (const size_t batch : {threads == 1 ? 1 : most, most, size_t{1}, most / 2 + 1, most})
                runs.push_back(is_dlrm ? random_dlrm_inputs(random, batch) : random_bert_inputs(random, batch, 48));
            // Another thread of the process or an emulator may fault: a session that never does is enough.
            long fewest = LONG_MAX;
            for (int attempt = 0; attempt < 5 && fewest > 0; ++attempt) {
                const auto session = make_session(model, most);
                long faults = 0;
                for (size_t i = 0; i < runs.size(); ++i) {
                    arrays outputs = make_outputs(model, runs[i]);
                    std::vector<ss1_tensor> in, out;
                    for (auto &[name, a] : runs[i]) in.push_back(a.tensor());
                    for (auto &[name, a] : outputs) out.push_back(a.tensor());
                    const long before = page_faults();
                    const ss1_status status =
                        ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size());
                    if (i > 0) faults += page_faults() - before;
                    REQUIRE(status == SS1_OK);
                }
                fewest = std::min(fewest, faults);
            }
            INFO((is_dlrm ? "dlrm" : "bert") << " with " << threads << " threads");
            CHECK(fewest == 0);
        }
}

TEST_CASE("context and model may go before their session") {
    auto random = ss1_test::seeded();
    const arrays inputs = random_dlrm_inputs(random, 9);
    counting_allocator counter;
    auto context = counter.context(2);
    auto model = random_model(context, wide_dlrm);
    auto session = make_session(model, 9);
    const arrays want = infer(model, session, inputs);
    context.reset();
    arrays outputs = make_outputs(model, inputs);
    model.reset();
    CHECK(run(session, inputs, outputs) == SS1_OK);
    CHECK(same_bits(outputs, want));
    session.reset();
    CHECK(counter.live == 0);
}

namespace {

std::vector<std::string> labels_of(const ss1::model_ptr &model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    std::vector<std::string> labels;
    const char *label;
    for (size_t i = 0; ss1_model_label(model.get(), i, &label) == SS1_OK; ++i) labels.push_back(label);
    CHECK(labels.size() == info.n_labels);
    return labels;
}

}  // namespace

TEST_CASE("a model describes its inputs, outputs and layers") {
    const auto context = make_context(nullptr, 1);
    const auto model = ss1::load_model(context, std::string(SS1_TEST_DATA) + "/bert_ss1");
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    CHECK(info.family == std::string("bert"));
    CHECK(info.config == io_support::read_file(std::string(SS1_TEST_DATA) + "/bert_ss1/config.json"));
    CHECK(info.n_inputs == 3);
    CHECK(info.n_outputs == 3);
    CHECK(info.n_layers == 2 * 6 + 2);
    CHECK((info.max_tokens == 16 && info.vocab_size == 60 && info.type_vocab_size == 2));
    CHECK(labels_of(model) == std::vector<std::string>{"LABEL_0", "LABEL_1"});
    CHECK(labels_of(ss1::load_model(context, SS1_TEST_DATA "/bert_classifier")) ==
          std::vector<std::string>{"no", "maybe", "yes"});
    CHECK(labels_of(ss1::load_model(context, SS1_TEST_DATA "/bert_one_token")).empty());
    CHECK(labels_of(ss1::load_model(context, SS1_TEST_DATA "/dlrm_dot")).empty());
    // 0.1's ended before n_labels.
    ss1_model_info older = SS1_MODEL_INFO_INIT;
    older.struct_size = offsetof(ss1_model_info, n_labels);
    older.n_labels = 99;
    ss1::check(ss1_model_describe(model.get(), &older));
    CHECK((older.parameters == info.parameters && older.n_labels == 99));
    older.struct_size = 8;
    CHECK(ss1_model_describe(model.get(), &older) == SS1_ERROR_INVALID_ARGUMENT);
    ss1_tensor tensor;
    CHECK(ss1_model_input(model.get(), 3, &tensor) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_model_output(model.get(), 3, &tensor) == SS1_ERROR_INVALID_ARGUMENT);
    ss1::check(ss1_model_output(model.get(), 0, &tensor));
    CHECK(tensor.name == std::string("last_hidden_state"));
    CHECK(tensor.rank == 3);
    CHECK((tensor.shape[0] == -1 && tensor.shape[1] == -1 && tensor.shape[2] == 64));
    CHECK((tensor.data == nullptr && tensor.bytes == 0));
    ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
    ss1::check(ss1_model_layer(model.get(), 4, &layer));
    CHECK(layer.name == std::string("encoder.layer.0.intermediate.dense"));
    CHECK(layer.layer.desc.c == 4);
    CHECK(layer.layer.desc.activation == SS1_ACTIVATION_GELU);
    ss1::check(ss1_model_layer(model.get(), 13, &layer));
    CHECK(layer.name == std::string("classifier"));
    CHECK(ss1_model_layer(model.get(), 14, &layer) == SS1_ERROR_INVALID_ARGUMENT);
    ss1_model *none = nullptr;
    CHECK(ss1_model_load(context.get(), SS1_TEST_DATA "/absent", nullptr, &none) == SS1_ERROR_IO);
    CHECK(none == nullptr);
}

TEST_CASE("queries, keys and values that run as one layer are told apart") {
    const auto context = make_context(nullptr, 1);
    const auto describe = [&](const std::string &key, std::vector<ss1_layer_info> &layers) {
        const std::string entry =
            R"({"kind": "ss1", "c": 2, "scheme": "mixed", "block_k": 32, "block_n": 32, "step": 16, "seed": )";
        const std::string config =
            R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 128, "num_hidden_layers": 1,
          "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 30, "ss1": {"layers": {
          "encoder.layer.0.attention.self.query": )" +
            entry + R"(7}, "encoder.layer.0.attention.self.key": )" + key +
            R"(, "encoder.layer.0.attention.self.value": )" + entry + "7}}}}";
        const auto model = random_model(context, config.c_str());
        for (size_t i = 0; i < 3; ++i) {
            ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
            ss1::check(ss1_model_layer(model.get(), i, &info));
            CHECK(info.name ==
                  "encoder.layer.0.attention.self." + std::vector<std::string>{"query", "key", "value"}[i]);
            CHECK((info.layer.desc.K == 128 && info.layer.desc.N == 128));
            CHECK(info.layer.flops_per_row_dense == 2.0 * 128 * 128);
            layers.push_back(info.layer);
        }
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        return info;
    };
    const std::string tied =
        R"({"kind": "ss1", "c": 2, "scheme": "mixed", "block_k": 32, "block_n": 32, "step": 16, "seed": )";
    std::vector<ss1_layer_info> one, three, mixed;
    const ss1_model_info same = describe(tied + "7}", one), other_seed = describe(tied + "8}", three),
                         dense = describe(R"({"kind": "dense"})", mixed);
    CHECK(same.parameters == other_seed.parameters);
    CHECK(dense.parameters == same.parameters + 128 * 64);
    CHECK(same.weight_bytes < other_seed.weight_bytes);  // one table of rotations instead of three
    for (size_t i = 0; i < 3; ++i) {
        CHECK(one[i].stored_columns == 64);
        // Multiply-adds of its own; a third of four sketches, or four sketches.
        CHECK(one[i].flops_per_row == Approx(2.0 * 64 * 128 + 4 * 128 / 3.0));
        CHECK(three[i].flops_per_row == 2.0 * 64 * 128 + 4 * 128);
    }
    CHECK((mixed[1].desc.c == 1 && mixed[0].desc.c == 2 && mixed[2].desc.c == 2));
}

TEST_CASE("random weights stand for a shape: MLPerf's DLRM") {
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    const auto model = ss1::load_model(make_context(nullptr, 2), SS1_EXAMPLES "/models/dlrm-mlperf", options);
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    CHECK(info.n_layers == 3 + 5);
    // Both MLPs, and 128 floats for each of the 149667 rows that the 26 tables are cut to.
    CHECK(info.parameters == 171392 + 2197505 + 149667u * 128);
    std::vector<int64_t> indices(26 * 3), offsets(26 * 3);
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<int64_t>(i);
    const arrays inputs = {{"dense_x", make_array("dense_x", {3, 13}, std::vector<float>(3 * 13, 0.5f))},
                           {"indices", make_array("indices", {26 * 3}, indices)},
                           {"offsets", make_array("offsets", {26, 3}, offsets)}};
    const arrays got = infer(model, make_session(model, 3), inputs);
    for (size_t b = 0; b < 3; ++b) CHECK(std::abs(got.at("probability").as<float>()[b] - 0.5f) < 0.1f);
}
