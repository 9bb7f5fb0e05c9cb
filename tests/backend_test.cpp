// SPDX-License-Identifier: Apache-2.0
// The plugin interface, with a backend that needs no device.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "ss1/ss1.hpp"

TEST_CASE("each way a plugin can fail has its own message") {
    const auto context = ss1::make_context();
    const auto message_of = [&](const char *name) {
        CHECK(ss1_context_load_backend(context.get(), name) == SS1_ERROR_BACKEND);
        return std::string(ss1_last_error());
    };
    const std::string absent = message_of("absent");  // each place that was looked at is named
    CHECK(absent.find("/ss1/libss1-absent.so or ") != std::string::npos);
    CHECK(absent.find(std::string(std::getenv("SS1_BACKEND_PATH")) + "/libss1-absent.so") != std::string::npos);
    setenv("SS1_DUMMY_ABI", "1", 1);
    CHECK(message_of("dummy").find("another ABI") != std::string::npos);
    unsetenv("SS1_DUMMY_ABI");
    setenv("SS1_DUMMY_PART", "1", 1);
    CHECK(message_of("dummy").find("fills a group of optional ones in part") != std::string::npos);
    unsetenv("SS1_DUMMY_PART");
    setenv("SS1_DUMMY_UNUSABLE", "1", 1);
    CHECK(message_of("dummy").find("SS1_DUMMY_UNUSABLE is set") != std::string::npos);
    unsetenv("SS1_DUMMY_UNUSABLE");
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(context.get(), &info) == SS1_OK);
    CHECK(std::string(info.backend) == "cpu");  // a failed load changes nothing
}

namespace {

ss1::context_ptr context_with(const char *backend) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.backend = backend;
    return ss1::make_context(options);
}

ss1::layer_ptr dense_layer(const ss1::context_ptr &context, size_t K, size_t N, const float *z) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z;
    return ss1::make_layer(context, desc, weights);
}

ss1_linear_args args_of(size_t m, const float *x, float *y) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.y = y;
    return args;
}

std::vector<float> hidden_states(const ss1::model_ptr &model, std::vector<int64_t> ids) {
    const auto session = ss1::make_session(model);
    std::vector<float> result(ids.size() * 64);
    ss1_tensor input = {sizeof(ss1_tensor), "input_ids",   SS1_DTYPE_I64, 2, {1, static_cast<int64_t>(ids.size())},
                        ids.data(),         ids.size() * 8};
    ss1_tensor output = {sizeof(ss1_tensor), "last_hidden_state",          SS1_DTYPE_F32, 0, {},
                         result.data(),      result.size() * sizeof(float)};
    ss1::check(ss1_session_run(session.get(), &input, 1, &output, 1));
    return result;
}

size_t count_different(const std::vector<float> &got, const std::vector<float> &want) {
    size_t different = got.size() != want.size();
    for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) different += !(std::fabs(got[i] - want[i]) < 1e-4f);
    return different;
}

}  // namespace

TEST_CASE("a loaded backend makes and runs the layers") {
    const char *backend = GENERATE("dummy", "bare");
    const auto context = context_with(backend);
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(context.get(), &info) == SS1_OK);
    CHECK(std::string(info.backend) == backend);
    const float z[6] = {1, 2, 3, 4, 5, 6}, x[4] = {1, 10, 100, 1000}, residual[6] = {1, 1, 1, 2, 2, 2};
    float y[6] = {};
    const auto layer = dense_layer(context, 2, 3, z);
    ss1_linear_args args = args_of(2, x, y);
    REQUIRE(ss1_layer_run(layer.get(), &args) == SS1_OK);
    CHECK(std::vector<float>(y, y + 6) == std::vector<float>{21, 43, 65, 2100, 4300, 6500});
    args.residual = residual;
    if (std::string(backend) == "dummy") {
        REQUIRE(ss1_layer_run(layer.get(), &args) == SS1_OK);
        CHECK(std::vector<float>(y, y + 6) == std::vector<float>{22, 44, 66, 2102, 4302, 6502});
    } else {
        CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_UNSUPPORTED);
        CHECK_THAT(ss1_last_error(), Catch::Contains("args.residual is set: backend 'bare' adds none"));
    }
}

TEST_CASE("the plugin says what it does not support, not the core") {
    const auto context = context_with("dummy");
    const std::vector<float> z(3 * 256);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 3;
    desc.c = 2;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    CHECK_THROWS_WITH(ss1::make_layer(context, desc, weights),
                      Catch::Contains("backend 'dummy' does not support a layer with K=256, N=3, c=2") &&
                          Catch::Contains(": c must be 1"));
    desc.c = 1;
    desc.weight_dtype = SS1_DTYPE_BF16;
    CHECK_THROWS_WITH(ss1::make_layer(context, desc, weights),
                      Catch::Contains("weight_dtype=2, y_dtype=1: it runs f32 alone"));
}

TEST_CASE("a tower runs by rows where the backend can, else layer by layer") {
    std::vector<float> first(16 * 8), second(4 * 16);
    for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<float>(i % 7) - 3;
    for (size_t i = 0; i < second.size(); ++i) second[i] = static_cast<float>(i % 5) - 2;
    const size_t m = 5000;  // more than a chunk
    std::vector<float> x(m * 8);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 11) / 4;
    std::vector<float> results[3];
    for (size_t i = 0; const char *backend : {"cpu", "dummy", "bare"}) {
        const auto context = context_with(backend);
        const auto a = dense_layer(context, 8, 16, first.data()), b = dense_layer(context, 16, 4, second.data());
        const ss1_layer *layers[] = {a.get(), b.get()};
        ss1_tower *tower = nullptr;
        ss1::check(ss1_tower_create(layers, 2, &tower));
        std::vector<float> &y = results[i++];
        y.resize(m * 4);
        ss1_linear_args args = args_of(m, x.data(), y.data());
        CHECK(ss1_tower_run(tower, &args) == SS1_OK);
        ss1_tower_destroy(&tower);
    }
    CHECK(count_different(results[1], results[0]) == 0);
    CHECK(count_different(results[2], results[0]) == 0);
}

TEST_CASE("a BERT runs on a loaded backend, whether or not its layers add the residual") {
    const char *directory = SS1_TEST_DATA "/bert_classifier";
    const std::vector<int64_t> ids = {2, 17, 5, 40, 3};
    const std::vector<float> want = hidden_states(ss1::load_model(context_with("cpu"), directory), ids);
    for (const char *backend : {"dummy", "bare"}) {
        INFO(backend);
        const auto model = ss1::load_model(context_with(backend), directory);
        CHECK(count_different(hidden_states(model, ids), want) == 0);
        ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
        REQUIRE(ss1_model_layer(model.get(), 0, &layer) == SS1_OK);
        CHECK(std::string(layer.layer.kernels) == backend);
    }
}

TEST_CASE("a DLRM runs on a loaded backend") {
    const auto probability = [](const char *backend) {
        const auto model = ss1::load_model(context_with(backend), SS1_TEST_DATA "/dlrm_dot");
        ss1_tensor slot[3] = {SS1_TENSOR_INIT, SS1_TENSOR_INIT, SS1_TENSOR_INIT};
        for (size_t i = 0; i < 3; ++i) ss1::check(ss1_model_input(model.get(), i, &slot[i]));
        const auto features = static_cast<size_t>(slot[0].shape[1]), tables = static_cast<size_t>(slot[2].shape[0]);
        const size_t rows = 3;
        ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
        options.max_batch = rows;
        const auto session = ss1::make_session(model, options);
        std::vector<float> dense(rows * features, 0.5f), result(rows);
        std::vector<int64_t> indices(tables * rows), offsets(tables * rows);
        for (size_t i = 0; i < indices.size(); ++i)
            indices[i] = static_cast<int64_t>(i % 2), offsets[i] = static_cast<int64_t>(i);
        const auto n = static_cast<int64_t>(indices.size());
        const ss1_tensor inputs[] = {
            {sizeof(ss1_tensor), "dense_x", SS1_DTYPE_F32, 2, {rows, slot[0].shape[1]}, dense.data(), dense.size() * 4},
            {sizeof(ss1_tensor), "indices", SS1_DTYPE_I64, 1, {n}, indices.data(), indices.size() * 8},
            {sizeof(ss1_tensor),
             "offsets",
             SS1_DTYPE_I64,
             2,
             {slot[2].shape[0], rows},
             offsets.data(),
             offsets.size() * 8}};
        ss1_tensor output = {sizeof(ss1_tensor), "probability", SS1_DTYPE_F32, 0, {}, result.data(), result.size() * 4};
        ss1::check(ss1_session_run(session.get(), inputs, 3, &output, 1));
        return result;
    };
    const std::vector<float> want = probability("cpu");
    CHECK(count_different(probability("dummy"), want) == 0);
    CHECK(count_different(probability("bare"), want) == 0);
}

TEST_CASE("a backend may run a model whole") {
    setenv("SS1_DUMMY_MODELS", "1", 1);
    const auto model = ss1::load_model(context_with("dummy"), SS1_TEST_DATA "/bert_classifier");
    unsetenv("SS1_DUMMY_MODELS");
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    REQUIRE(ss1_model_describe(model.get(), &info) == SS1_OK);
    CHECK(info.vocab_size > 40);
    CHECK(info.parameters == info.vocab_size * 64);
    CHECK(info.weight_bytes == info.parameters * 4);
    CHECK(info.n_layers > 6);
    ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
    REQUIRE(ss1_model_layer(model.get(), 0, &layer) == SS1_OK);
    CHECK(std::string(layer.layer.kernels) == "dummy whole, first");
    CHECK(layer.layer.desc.N == 64);

    // The dummy's hidden states are the word embeddings: the same id gives the same row.
    const std::vector<float> states = hidden_states(model, {2, 17, 2});
    CHECK(std::vector<float>(states.begin(), states.begin() + 64) ==
          std::vector<float>(states.begin() + 128, states.end()));
    CHECK(count_different({states.begin(), states.begin() + 64}, {states.begin() + 64, states.begin() + 128}) > 0);
    CHECK_THROWS_WITH(hidden_states(model, {2, 1 << 20}), Catch::Contains("dummy: input_ids has an id out of range"));

    const auto session = ss1::make_session(model);
    double seconds[8];
    CHECK(ss1_session_time_stages(session.get(), seconds, 8) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("this model of family 'bert' has 0 stages"));
    CHECK(info.n_stages == 0);
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = 3;
    options.max_tokens = 7;
    size_t bytes = 0;
    REQUIRE(ss1_session_bytes(model.get(), &options, &bytes) == SS1_OK);
    CHECK(bytes == sizeof(void *) + 21);

    const ss1_update_rows_args rows = SS1_UPDATE_ROWS_ARGS_INIT;
    CHECK(ss1_model_update_rows(model.get(), &rows) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("backend 'dummy' runs the model whole"));

    // It leaves other families to the core.
    setenv("SS1_DUMMY_MODELS", "1", 1);
    const auto dlrm = ss1::load_model(context_with("dummy"), SS1_TEST_DATA "/dlrm_dot");
    unsetenv("SS1_DUMMY_MODELS");
    REQUIRE(ss1_model_layer(dlrm.get(), 0, &layer) == SS1_OK);
    CHECK(std::string(layer.layer.kernels) == "dummy");
}

TEST_CASE("a plugin that breaks its rules gets an error that names it, not a crash") {
    const auto with_fault = [](const char *fault, auto &&call) {
        setenv("SS1_DUMMY_FAULT", fault, 1);
        CHECK_THROWS_WITH(call(), Catch::Contains("backend 'dummy': "));
        const std::string message = ss1_last_error();
        unsetenv("SS1_DUMMY_FAULT");
        return message;
    };
    const char *directory = SS1_TEST_DATA "/bert_classifier";
    const auto context = context_with("dummy");
    const float z[2] = {1, 2};
    CHECK_THAT(with_fault("null layer", [&] { dense_layer(context, 2, 1, z); }),
               Catch::Contains("layer_create gave NULL"));
    CHECK_THAT(with_fault("null model", [&] { ss1::load_model(context, directory); }),
               Catch::Contains("model_create gave NULL"));
    setenv("SS1_DUMMY_MODELS", "1", 1);
    const auto model = ss1::load_model(context, directory);
    unsetenv("SS1_DUMMY_MODELS");
    CHECK_THAT(with_fault("null session", [&] { ss1::make_session(model); }),
               Catch::Contains("session_create gave NULL"));
    CHECK_THAT(with_fault("mute run", [&] { hidden_states(model, {2, 3}); }), Catch::Contains("session_run failed"));
}
