// SPDX-License-Identifier: Apache-2.0
// Models whose layers have a low-rank part, alone, beside a tied and beside a dense part: their files, and their
// results against the same model with dense layers.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "convert/convert.hpp"
#include "io_support.hpp"
#include "low_rank_support.hpp"
#include "model_support.hpp"
#include "ss1/ss1.hpp"

namespace {

using io_support::temporary_folder;
using model_support::arrays;
using namespace low_rank_support;

// Writes the model in `from` with dense layers of the weights that its layers stand for.
void write_expanded(const std::string &from, const std::string &to, const char *base) {
    ss1::model_directory stored;
    REQUIRE(io_support::open_model(from, stored) == SS1_OK);
    json config = json::parse(base);
    config.erase("ss1");
    REQUIRE(io_support::write_model(to, config.dump(), [&](std::vector<ss1::tensor_to_write> &tensors) {
                for (ss1::tensor_to_write &t : tensors) {
                    const std::string layer = t.name.substr(0, t.name.rfind('.'));
                    const auto entry = stored.config.layers.find(layer);
                    std::vector<float> weight = io_support::values_of(stored, t.name);
                    if (t.name.ends_with(".weight") && entry != stored.config.layers.end()) {
                        const ss1_linear_desc &desc = entry->second.desc;
                        const std::vector<float> tied_part = io_support::values_of(
                                                     stored, layer + (entry->second.tied ? ".ss1_weight" : ".weight")),
                                                 u = io_support::values_of(stored, layer + ".low_rank_up"),
                                                 v = io_support::values_of(stored, layer + ".low_rank_down");
                        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
                        weights.z = tied_part.empty() ? nullptr : tied_part.data();
                        weights.u = u.data();
                        weights.v = v.data();
                        weight.resize(desc.N * desc.K);
                        ss1::check(ss1_linear_expand(&desc, &weights, weight.data(), 0));
                    }
                    t = io_support::tensor(t.name, ss1::file_dtype::f32, t.shape, io_support::bytes_of(weight));
                }
            }) == SS1_OK);
}

double relative_difference(const arrays &got, const arrays &want) {
    double worst = 0;
    for (const auto &[name, a] : want) {
        double difference = 0, norm = 0;
        for (size_t i = 0; i < a.data.size() / sizeof(float); ++i) {
            difference += std::pow(static_cast<double>(got.at(name).as<float>()[i]) - a.as<float>()[i], 2);
            norm += std::pow(static_cast<double>(a.as<float>()[i]), 2);
        }
        ss1_test::keep_worse(worst, std::sqrt(difference / norm));
    }
    return worst;
}

struct family {
    const char *base;
    std::string config;
    arrays inputs;
};

std::vector<family> families() {
    std::mt19937 random(3);
    return {{model_support::wide_dlrm, dlrm_config(), model_support::random_dlrm_inputs(random, 70)},
            {model_support::wide_bert, bert_config(), model_support::random_bert_inputs(random, 5, 33)}};
}

}  // namespace

TEST_CASE("models with low-rank parts give the results of the dense models that they stand for") {
    for (const family &f : families()) {
        const temporary_folder folder;
        REQUIRE(write(folder / "low", f.config) == SS1_OK);
        write_expanded(folder / "low", folder / "dense", f.base);
        for (const char *level : ss1_test::levels_here()) {
            const auto context = model_support::make_context(level, 1);
            const auto dense = ss1::load_model(context, folder / "dense");
            const size_t batch = model_support::batch_of(f.inputs);
            const arrays want = model_support::infer(dense, model_support::make_session(dense, batch), f.inputs);
            for (const auto &[dtype, bound] :
                 {std::pair(SS1_DTYPE_F32, 2e-5), {SS1_DTYPE_BF16, 1e-2}, {SS1_DTYPE_I8, 5e-2}}) {
                const auto model = model_support::load_as(context, folder / "low", dtype);
                const arrays got = model_support::infer(model, model_support::make_session(model, batch), f.inputs);
                const double difference = relative_difference(got, want);
                INFO(level << " " << f.base << " type " << dtype << ": " << difference);
                CHECK(difference < bound);
                CHECK(difference > 0);
                // Each row has the same bits alone and on several threads.
                const auto threaded =
                    model_support::load_as(model_support::make_context(level, 3), folder / "low", dtype);
                CHECK(model_support::same_bits(
                    got, model_support::infer(threaded, model_support::make_session(threaded, batch), f.inputs)));
            }
        }
    }
}

TEST_CASE("queries, keys and values that share V run as one layer and give the bits of each alone") {
    const temporary_folder folder;
    REQUIRE(write(folder / "shared", bert_config()) == SS1_OK);
    const auto context = model_support::make_context(nullptr, 1);
    const auto model = ss1::load_model(context, folder / "shared");
    // The queries get a V of their own: one value differs in its last bit.
    ss1::model_directory directory;
    REQUIRE(io_support::open_model(folder / "shared", directory) == SS1_OK);
    REQUIRE(io_support::write_model(folder / "apart", bert_config(), [&](auto &tensors) {
                for (ss1::tensor_to_write &t : tensors) {
                    std::vector<float> same = io_support::values_of(directory, t.name);
                    if (t.name.ends_with(".query.low_rank_down")) same[0] = std::nextafter(same[0], 1.0f);
                    t = io_support::tensor(t.name, ss1::file_dtype::f32, t.shape, io_support::bytes_of(same));
                }
            }) == SS1_OK);
    const auto apart = ss1::load_model(context, folder / "apart");
    const auto layer_of = [](const ss1::model_ptr &of, size_t i) {
        ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
        ss1::check(ss1_model_layer(of.get(), i, &info));
        return info;
    };
    const ss1_model_layer_info query = layer_of(model, 0), own = layer_of(apart, 0);
    REQUIRE(std::string(query.name) == "encoder.layer.0.attention.self.query");
    CHECK(query.layer.desc.rank == 24);
    CHECK(query.layer.flops_per_row == 2 * 24 * 120 + 2 * 24 * 120 / 3);  // a third of x V
    CHECK(own.layer.flops_per_row == 2 * 24 * 120 + 2 * 24 * 120);
    std::mt19937 random(5);
    const arrays inputs = model_support::random_bert_inputs(random, 3, 20);
    const arrays got = model_support::infer(model, model_support::make_session(model, 3), inputs);
    const arrays near = model_support::infer(apart, model_support::make_session(apart, 3), inputs);
    CHECK(relative_difference(near, got) < 1e-5);
}

TEST_CASE("a conversion keeps low-rank parts and their entries, and refuses to tie such layers") {
    for (const family &f : families()) {
        const temporary_folder folder;
        REQUIRE(write(folder / "in", f.config) == SS1_OK);
        const auto context = ss1::make_context();
        io_support::conversion options;
        options.desc.weight_dtype = SS1_DTYPE_BF16;
        REQUIRE(ss1::convert_model(*context, (folder / "in").c_str(), (folder / "out").c_str(), options) == SS1_OK);
        ss1::model_directory before, after;
        REQUIRE(io_support::open_model(folder / "in", before) == SS1_OK);
        REQUIRE(io_support::open_model(folder / "out", after) == SS1_OK);
        CHECK(before.tensors.size() == after.tensors.size());
        for (const ss1::model_tensor &tensor : before.tensors)
            CHECK(io_support::values_of(before, tensor.name) == io_support::values_of(after, tensor.name));
        json want = json::parse(before.config.text)["ss1"]["layers"];
        const json got = json::parse(after.config.text)["ss1"]["layers"];
        for (auto &[name, entry] : want.items()) {
            entry["dtype"] = "bf16";
            CHECK(got[name] == entry);
        }
        options = {};
        options.desc.c = 2;
        options.desc.block_k = 16;
        const std::string low = f.base == model_support::wide_dlrm ? "bot_l.2" : "encoder.layer.0.intermediate.dense";
        options.layers = low.c_str();
        CHECK(ss1::convert_model(*context, (folder / "in").c_str(), (folder / "2").c_str(), options) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains("layer " + low + " has a low-rank part already"));
    }
}
