// SPDX-License-Identifier: Apache-2.0
// DLRM models: the user's side given once, large batches, types of layers, bad inputs.
#include <catch2/catch.hpp>
#include <climits>
#include <cmath>
#include <random>

#include "model_support.hpp"

using namespace model_support;

namespace {

constexpr const char *interactions[] = {R"("interaction": "dot")", R"("interaction": "cat")",
                                        R"("interaction": "dcn", "cross_layers": 3, "cross_rank": 40,
       "ss1": {"layers": {"cross_net.1.v": {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 3, "block_k": 32, "block_n": 64, "step": 16},
                          "cross_net.2.w": {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 4, "block_k": 16, "block_n": 64, "step": 16}}})"};

// A DLRM with user and item tables: tables 0 and 2 belong to the user.
std::string two_sided_dlrm(const std::string &interaction) {
    return R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 36,
      "tables": [{"name": "user", "rows": 100, "side": "user"},
                 {"name": "item", "rows": 11, "side": "item", "dtype": "int8"},
                 {"name": "page", "rows": 60, "side": "user", "dtype": "bf16", "pooling": "mean"},
                 {"name": "day", "rows": 7, "dtype": "int4", "pooling": "mean"}],
      "bottom_mlp": [3, 70, 36], "top_mlp": [96, 1], )" +
           interaction + "}";
}

}  // namespace

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
            // Single rows on one thread give the probabilities of the large batch.
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

TEST_CASE("each layer has the type in config.json, or that of the options if they name one") {
    const char *dlrm = R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 32,
      "tables": [{"name": "user", "rows": 9}], "bottom_mlp": [3, 64, 48, 32], "top_mlp": [128, 96, 64, 1],
      "ss1": {"layers": {"bot_l.0": {"kind": "dense", "dtype": "bf16"}, "bot_l.2": {"kind": "dense", "dtype": "int8"},
        "bot_l.4": {"kind": "dense", "dtype": "int8"}, "top_l.0": {"kind": "dense", "dtype": "bf16"},
        "top_l.2": {"kind": "dense", "dtype": "f32"}, "top_l.6": {"kind": "dense"},
        "top_l.4": {"kind": "ss1", "dtype": "int8", "c": 2, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64,
                    "step": 16}}}})";
    const ss1_dtype f32 = SS1_DTYPE_F32, bf16 = SS1_DTYPE_BF16, i8 = SS1_DTYPE_I8;
    const struct {
        ss1_dtype weight, x, y;  // as in the file
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

TEST_CASE("bad inputs of a DLRM are refused by name, position, value and rule") {
    auto random = ss1_test::seeded();
    const uint32_t threads = GENERATE(1u, 3u);
    const auto model = random_model(make_context(nullptr, threads), wide_dlrm);
    const auto session = make_session(model, 130);
    arrays good = random_dlrm_inputs(random, 130);
    // The faults below need an index in bag (0, 0) and in the last bag.
    auto starts = good["offsets"].as<int64_t>();
    auto &indices = good["indices"];
    REQUIRE(indices.shape[0] > 1000);
    if (starts[1] == 0) starts[1] = 1;
    for (size_t i = 1; i < 4 * 130; ++i) starts[i] = std::max(starts[i], starts[1]);
    for (int64_t p = 0; p < indices.shape[0]; ++p) indices.as<int64_t>()[p] = 0;  // row 0 exists in every table
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
                 if (in[at_user_offsets].shape[1] == 1) {  // the data must cover the larger shape
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

TEST_CASE("a configuration without weights runs with random ones: MLPerf's DLRM") {
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.random_weights = 1;
    const auto model = ss1::load_model(make_context(nullptr, 2), SS1_EXAMPLES "/models/dlrm-mlperf", options);
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    CHECK(info.n_layers == 3 + 5);
    // Both MLPs, and 128 floats for each of the 149667 rows to which the 26 tables are cut.
    CHECK(info.parameters == 171392 + 2197505 + 149667u * 128);
    std::vector<int64_t> indices(26 * 3), offsets(26 * 3);
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<int64_t>(i);
    const arrays inputs = {{"dense_x", make_array("dense_x", {3, 13}, std::vector<float>(3 * 13, 0.5f))},
                           {"indices", make_array("indices", {26 * 3}, indices)},
                           {"offsets", make_array("offsets", {26, 3}, offsets)}};
    const arrays got = infer(model, make_session(model, 3), inputs);
    for (size_t b = 0; b < 3; ++b) CHECK(std::abs(got.at("probability").as<float>()[b] - 0.5f) < 0.1f);
}
