// SPDX-License-Identifier: Apache-2.0
// Helpers for the model tests: tensors with their data, sessions, random models and inputs, comparison, bad inputs.
#pragma once
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "io_support.hpp"
#include "ss1/ss1.hpp"

namespace model_support {

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
        ss1_tensor t = {sizeof(ss1_tensor), name.c_str(), dtype, static_cast<uint32_t>(shape.size()), {},
                        data.data(),        data.size()};
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

inline bool is_output(const std::string &name) {
    return name == "probability" || name == "last_hidden_state" || name == "pooled" || name.ends_with("logits");
}

// Reads the inputs and expected outputs of a case.
inline void read_vectors(const std::string &directory, arrays &inputs, arrays &outputs,
                         const char *name = "vectors.safetensors") {
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(directory + "/" + name, file) == SS1_OK);
    for (const ss1::tensor_info &info : file.header.tensors) {
        array a{
            info.name, info.dtype == ss1::file_dtype::f32 ? SS1_DTYPE_F32 : SS1_DTYPE_I64, {}, byte_list(info.bytes)};
        a.shape.assign(info.shape.begin(), info.shape.end());
        REQUIRE(ss1::safetensors_read(file, info, 0, a.data) == SS1_OK);
        (is_output(info.name) ? outputs : inputs)[info.name] = std::move(a);
    }
}

// Models in tests/data, and those of make_transformers_models.py in the folder SS1_TEST_MODELS.
inline std::vector<std::string> cases() {
    std::vector<std::string> found;
    for (const char *folder : {SS1_TEST_DATA, static_cast<const char *>(std::getenv("SS1_TEST_MODELS"))}) {
        if (!folder) continue;
        for (const auto &entry : std::filesystem::directory_iterator(folder))
            if (std::filesystem::exists(entry.path() / "vectors.safetensors")) found.push_back(entry.path().string());
    }
    std::sort(found.begin(), found.end());
    REQUIRE(found.size() >= 60);
    return found;
}

inline ss1::context_ptr make_context(const char *max_isa, uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = max_isa;
    options.num_threads = threads;
    return ss1::make_context(options);
}

inline ss1::session_ptr make_session(const ss1::model_ptr &model, size_t max_batch, size_t max_tokens = 0) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = max_batch;
    options.max_tokens = max_tokens;
    return ss1::make_session(model, options);
}

// Allocates every output of the model for the batch of `inputs`.
inline arrays make_outputs(const ss1::model_ptr &model, const arrays &inputs) {
    const auto ids = inputs.find("input_ids");
    const std::vector<int64_t> lead =
        ids == inputs.end() ? std::vector{inputs.at("offsets").shape[1]} : ids->second.shape;
    arrays outputs;
    ss1_tensor t = SS1_TENSOR_INIT;
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

inline ss1_status run(const ss1::session_ptr &session, const arrays &inputs, arrays &outputs) {
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

// Runs the model and returns all outputs.
inline arrays infer(const ss1::model_ptr &model, const ss1::session_ptr &session, const arrays &inputs) {
    arrays outputs = make_outputs(model, inputs);
    ss1::check(run(session, inputs, outputs));
    return outputs;
}

inline bool same_bits(const arrays &a, const arrays &b) {
    if (a.size() != b.size()) return false;
    for (const auto &[name, value] : a)
        if (b.at(name).shape != value.shape || b.at(name).data != value.data) return false;
    return true;
}

// Copies rows [begin, end) of a DLRM batch, or sequences of a BERT batch.
inline arrays part_of(const arrays &inputs, size_t begin, size_t end) {
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

inline size_t batch_of(const arrays &inputs) {
    return static_cast<size_t>(inputs.at(inputs.contains("dense_x") ? "dense_x" : "input_ids").shape[0]);
}

inline constexpr const char *wide_dlrm =
    R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 36,
  "tables": [{"name": "user", "rows": 100}, {"name": "item", "rows": 1}, {"name": "page", "rows": 60}, {"name": "day", "rows": 7}],
  "bottom_mlp": [3, 300, 36], "top_mlp": [512, 300, 1],
  "ss1": {"layers": {"top_l.2": {"kind": "ss1", "c": 4, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64, "step": 16}}}})";
inline constexpr const char *wide_bert =
    R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 120, "num_hidden_layers": 2,
  "num_attention_heads": 5, "intermediate_size": 256, "max_position_embeddings": 48, "num_labels": 3,
  "architectures": ["BertForSequenceClassification"],
  "ss1": {"layers": {"encoder.layer.1.output.dense":
    {"kind": "ss1", "c": 2, "scheme": "reference", "seed": 7, "block_k": 32, "block_n": 64, "step": 8}}}})";

// Makes a model from a config.json with random weights N(0, 0.02^2). The configurations above are wide enough that
// every operator splits into several tasks.
inline ss1::model_ptr random_model(const ss1::context_ptr &context, const char *config, uint64_t seed = 1,
                                   ss1_dtype weight_dtype = SS1_DTYPE_DEFAULT) {
    const io_support::temporary_folder folder;
    io_support::write_file(folder / "config.json", config);
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    options.seed = seed;
    options.weight_dtype = weight_dtype;
    return ss1::load_model(context, folder.path, options);
}

inline ss1::model_ptr load_as(const ss1::context_ptr &context, const std::string &directory, ss1_dtype weight_dtype) {
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.weight_dtype = weight_dtype;
    return ss1::load_model(context, directory, options);
}

inline void add_random_dense(std::mt19937 &random, size_t batch, arrays &out) {
    std::vector<float> dense(batch * 3);
    for (float &v : dense) v = std::normal_distribution<float>()(random);
    out["dense_x"] = make_array("dense_x", {static_cast<int64_t>(batch), 3}, dense);
}

// Adds bags for tables with the given numbers of rows.
inline void add_random_bags(std::mt19937 &random, const std::string &prefix, const std::vector<size_t> &rows,
                            size_t batch, arrays &out) {
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

// Adds a weight for each index of the bags.
inline void add_random_weights(std::mt19937 &random, const std::string &prefix, arrays &out) {
    const int64_t total = out.at(prefix + "indices").shape[0];
    std::vector<float> weights(static_cast<size_t>(total));
    for (float &v : weights) v = std::normal_distribution<float>()(random);
    out[prefix + "weights"] = make_array(prefix + "weights", {total}, weights);
}

inline arrays random_dlrm_inputs(std::mt19937 &random, size_t batch) {
    arrays inputs;
    add_random_dense(random, batch, inputs);
    add_random_bags(random, "", {100, 1, 60, 7}, batch, inputs);
    return inputs;
}

// Repeats the rows of dense features `batch` times.
inline array repeated(const array &once, size_t batch) {
    array all = once;
    all.shape[0] = static_cast<int64_t>(batch);
    all.data.clear();
    for (size_t b = 0; b < batch; ++b) all.data.insert(all.data.end(), once.data.begin(), once.data.end());
    return all;
}

inline void repeat_bags(arrays &inputs, const std::string &prefix, size_t batch) {
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

inline arrays random_bert_inputs(std::mt19937 &random, size_t batch, size_t tokens) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(batch), static_cast<int64_t>(tokens)};
    std::vector<int64_t> ids(batch * tokens), mask(ids), types(ids);
    for (int64_t &v : ids) v = static_cast<int64_t>(random() % 90);
    for (int64_t &v : mask) v = random() % 4 != 0;
    for (int64_t &v : types) v = random() % 2;
    return {{"input_ids", make_array("input_ids", shape, ids)},
            {"attention_mask", make_array("attention_mask", shape, mask)},
            {"token_type_ids", make_array("token_type_ids", shape, types)}};
}

// Whether element i of an output belongs to a padding token. Such elements are not compared (the files hold 0 there).
inline bool is_padding(const array &output, size_t i, const arrays &inputs) {
    const auto mask = inputs.find("attention_mask");
    const bool of_tokens = output.name == "last_hidden_state" || output.name.ends_with("_logits") ||
                           (output.name == "logits" && output.shape.size() == 3);
    if (!of_tokens || mask == inputs.end()) return false;
    const size_t width = output.shape.size() == 3 ? static_cast<size_t>(output.shape[2]) : 1;
    return mask->second.as<int64_t>()[i / width] == 0;
}

inline double worst_difference(const array &got, const array &want, const arrays &inputs) {
    const size_t n = want.data.size() / sizeof(float);
    double worst = 0;
    for (size_t i = 0; i < n; ++i) {
        if (is_padding(want, i, inputs)) continue;
        const double difference = std::abs(static_cast<double>(got.as<float>()[i]) - want.as<float>()[i]);
        ss1_test::keep_worse(worst, difference);
    }
    return worst;
}

// Counts the bytes and calls of the context's allocator.
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

struct bad_input {
    const char *what, *message;  // a part of the message
    std::function<void(std::vector<ss1_tensor> &in, std::vector<ss1_tensor> &out)> spoil;
};

// Applies each fault to a good run and checks the message and that no byte of the outputs changed.
inline void check_bad_inputs(const ss1::model_ptr &model, const ss1::session_ptr &session, const arrays &good,
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
    CHECK(same_bits(infer(model, session, good), infer(model, session, good)));  // the session still works
}

inline int64_t *i64(ss1_tensor &t) {
    return static_cast<int64_t *>(t.data);
}

}  // namespace model_support
