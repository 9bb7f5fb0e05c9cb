// SPDX-License-Identifier: Apache-2.0
// The plugin interface, with a backend that needs no device.
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
    setenv("SS1_DUMMY_UNUSABLE", "1", 1);
    CHECK(message_of("dummy").find("SS1_DUMMY_UNUSABLE is set") != std::string::npos);
    unsetenv("SS1_DUMMY_UNUSABLE");
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(context.get(), &info) == SS1_OK);
    CHECK(std::string(info.backend) == "cpu");  // a failed load changes nothing
}

TEST_CASE("a loaded backend makes and runs the layers") {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.backend = "dummy";
    const auto context = ss1::make_context(options);
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(context.get(), &info) == SS1_OK);
    CHECK(std::string(info.backend) == "dummy");
    const float z[6] = {0, 0, 0, 0, 1, 0}, x[4] = {3, 0, 5, 0};
    float y[6] = {};
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 2;
    desc.N = 3;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z;
    const auto layer = ss1::make_layer(context, desc, weights);
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = 2;
    args.x = x;
    args.y = y;
    REQUIRE(ss1_layer_run(layer.get(), &args) == SS1_OK);
    CHECK(y[2] == 3);
    CHECK(y[5] == 5);

    desc.K = 256;
    desc.c = 2;
    const std::vector<float> tied(3 * 256);  // room for the dense layer below, too
    weights.z = tied.data();
    CHECK_THROWS_WITH(ss1::make_layer(context, desc, weights), Catch::Contains("dummy: c must be 1"));
    desc.c = 1;
    desc.weight_dtype = SS1_DTYPE_BF16;
    CHECK_THROWS_WITH(ss1::make_layer(context, desc, weights),
                      Catch::Contains("backend 'dummy': x_dtype=1, weight_dtype=2"));
    args.residual = x;
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.residual is set: backend 'dummy' adds none"));
}

TEST_CASE("a BERT runs on a loaded backend, whose layers add no residual") {
    const auto hidden = [](const char *backend) {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.backend = backend;
        const auto model = ss1::load_model(ss1::make_context(options), SS1_TEST_DATA "/bert_classifier");
        const auto session = ss1::make_session(model);
        int64_t ids[] = {2, 17, 5, 40, 3};
        std::vector<float> result(5 * 64);
        ss1_tensor input = {"input_ids", SS1_DTYPE_I64, 2, {1, 5}, ids, sizeof ids};
        ss1_tensor output = {"last_hidden_state", SS1_DTYPE_F32, 0, {}, result.data(), result.size() * sizeof(float)};
        ss1::check(ss1_session_run(session.get(), &input, 1, &output, 1));
        return result;
    };
    const std::vector<float> want = hidden("cpu"), got = hidden("dummy");
    size_t different = 0;
    for (size_t i = 0; i < want.size(); ++i) different += !(std::fabs(got[i] - want[i]) < 1e-4f);
    CHECK(different == 0);
}
