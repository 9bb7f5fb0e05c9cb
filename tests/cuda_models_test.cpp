// SPDX-License-Identifier: Apache-2.0
// Whole models on the CUDA backend, beside the CPU's.
#define CATCH_CONFIG_RUNNER
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "cuda_support.hpp"
#include "low_rank_support.hpp"
#include "model_support.hpp"

using namespace model_support;
using cuda_support::cuda_context;

namespace {

// Whether the backend runs the model whole: the core knows no stages of it then.
bool is_whole(const ss1::model_ptr &model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    return info.n_stages == 0;
}

// The families whose attention or norms the plugin does not have.
bool is_left_to_core(const std::string &directory) {
    for (const char *name : {"mpnet", "jina", "modernbert", "nomic", "gte", "deberta"})
        if (directory.find(name) != std::string::npos) return true;
    return false;
}

size_t parameters_of(const ss1::model_ptr &model) {
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    return info.parameters;
}

// ||got - want|| / ||want||, of logits where there are probabilities; padding is left out.
double error_of(const arrays &got, const arrays &want, const arrays &inputs) {
    double worst = 0;
    for (const auto &[name, w] : want) {
        if (name == "probability") continue;
        double error = 0, norm = 1e-20;
        for (size_t i = 0; i < w.data.size() / sizeof(float); ++i) {
            if (is_padding(w, i, inputs)) continue;
            const double d = static_cast<double>(got.at(name).as<float>()[i]) - w.as<float>()[i];
            error += d * d;
            norm += static_cast<double>(w.as<float>()[i]) * w.as<float>()[i];
        }
        const double relative = std::sqrt(error / norm);
        ss1_test::keep_worse(worst, relative);
    }
    return worst;
}

// Probabilities are at most 1/4 as steep as logits.
double probability_error(const arrays &got, const arrays &want) {
    double worst = 0;
    if (const auto p = want.find("probability"); p != want.end())
        for (size_t i = 0; i < p->second.data.size() / sizeof(float); ++i) {
            const double d =
                std::abs(static_cast<double>(got.at("probability").as<float>()[i]) - p->second.as<float>()[i]);
            ss1_test::keep_worse(worst, d);
        }
    return worst;
}

// The bounds of the relative error: f32 sums have another order; bf16 and int8 weights and activations are rounded in
// other places than on the CPU.
double bound_of(ss1_dtype dtype) {
    return dtype == SS1_DTYPE_F32 ? 2e-5 : dtype == SS1_DTYPE_BF16 ? 2e-2 : 6e-2;
}

constexpr ss1_dtype dtypes[] = {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8};

// A BERT with heads of `d` values, for the kernel of each size.
std::string bert_with_heads(size_t d) {
    return R"({"model_type": "bert", "vocab_size": 90, "hidden_size": )" + std::to_string(2 * d) +
           R"(, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
              "max_position_embeddings": 300, "num_labels": 3, "architectures": ["BertForSequenceClassification"]})";
}

// An encoder of 3 layers, all of whose layers are tied so that norms and activations make their sketches.
struct tied_encoder {
    const char *type;  // electra and albert project their embeddings; albert stores one layer
    size_t width, heads;
    unsigned c, block_k;
    const char *scheme = "reference", *activation = "gelu";
};

std::string config_of(const tied_encoder &e) {
    const bool shared = !std::strcmp(e.type, "albert"), mixed = !std::strcmp(e.scheme, "mixed");
    const nlohmann::json entry = {{"kind", "ss1"},
                                  {"c", e.c},
                                  {"scheme", e.scheme},
                                  {"seed", 5},
                                  {"block_k", e.block_k},
                                  {"block_n", mixed ? 2048 : 64},
                                  {"step", 8}};
    nlohmann::json config = {{"model_type", e.type},
                             {"vocab_size", 90},
                             {"embedding_size", 64},
                             {"hidden_size", e.width},
                             {"num_hidden_layers", 3},
                             {"num_attention_heads", e.heads},
                             {"intermediate_size", 2 * e.width},
                             {"max_position_embeddings", 300},
                             {"hidden_act", e.activation}};
    for (const char *i : {"0", "1", "2"})
        for (const char *name : {"attention.self.query", "attention.self.key", "attention.self.value",
                                 "attention.output.dense", "intermediate.dense", "output.dense"})
            if (!shared || *i == '0') config["ss1"]["layers"][std::string("encoder.layer.") + i + "." + name] = entry;
    return config.dump();
}

// Sequences of many lengths; the last one has a hole.
arrays mixed_lengths(std::mt19937 &random, const std::vector<size_t> &lengths, size_t T) {
    arrays inputs = random_bert_inputs(random, lengths.size(), T);
    int64_t *mask = inputs.at("attention_mask").as<int64_t>();
    for (size_t s = 0; s < lengths.size(); ++s)
        for (size_t t = 0; t < T; ++t) mask[s * T + t] = t < lengths[s];
    mask[(lengths.size() - 1) * T + 7] = 0;
    return inputs;
}

std::string message_of(const ss1::model_ptr &model, size_t batch, const arrays &inputs, ss1_status &status) {
    arrays outputs = make_outputs(model, inputs);
    status = run(make_session(model, batch), inputs, outputs);
    return ss1_last_error();
}

}  // namespace

TEST_CASE("models of every family give the CPU's outputs, whole or layer by layer") {
    const auto context = cuda_context();
    if (!context) return;
    const auto cpu = make_context(nullptr, 2);
    size_t whole = 0;
    double worst[3] = {}, worst_of_cpu[3] = {};
    for (const std::string &directory : cases())
        for (size_t i = 0; i < 3; ++i) {
            INFO(directory << ", dtype " << dtypes[i]);
            arrays inputs, expected;
            read_vectors(directory, inputs, expected);
            const auto model = load_as(context, directory, dtypes[i]), exact = load_as(cpu, directory, SS1_DTYPE_F32),
                       same = load_as(cpu, directory, dtypes[i]);
            CHECK(is_whole(model) != is_left_to_core(directory));
            whole += is_whole(model);
            const size_t batch = batch_of(inputs);
            const auto session = make_session(model, batch);
            const arrays want = infer(exact, make_session(exact, batch), inputs);
            for (int turn = 0; turn < 3; ++turn) {  // runs directly, captures a graph, replays it
                const arrays got = infer(model, session, inputs);
                const double error = error_of(got, want, inputs);
                ss1_test::keep_worse(worst[i], error);
                CHECK(error <= bound_of(dtypes[i]));
                CHECK(probability_error(got, want) <= bound_of(dtypes[i]));
            }
            const arrays of_cpu = infer(same, make_session(same, batch), inputs);
            ss1_test::keep_worse(worst_of_cpu[i], error_of(of_cpu, want, inputs));
        }
    CHECK(whole >= 3 * 40);
    for (size_t i = 0; i < 3; ++i)
        std::printf("dtype %d: largest relative error %.1e, the CPU's is %.1e\n", dtypes[i], worst[i], worst_of_cpu[i]);
}

TEST_CASE("a sequence has the same bits in any batch, padded to any length, and in replayed runs") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    constexpr size_t T = 300;
    const std::vector<size_t> lengths = {1, 17, 300, 64, 65, 299, 128, 150};
    const auto cpu = make_context(nullptr, 2);
    for (const size_t d : {size_t{20}, size_t{32}, size_t{64}, size_t{128}})
        for (const ss1_dtype dtype : dtypes) {
            INFO("heads of " << d << ", dtype " << dtype);
            const std::string config = bert_with_heads(d);
            const auto model = random_model(context, config.c_str(), 1, dtype);
            REQUIRE(is_whole(model));
            const auto session = make_session(model, lengths.size()), lone = make_session(model, 1);
            const auto exact = random_model(cpu, config.c_str(), 1, SS1_DTYPE_F32);
            for (int turn = 0; turn < 3; ++turn) {
                const arrays inputs = mixed_lengths(random, lengths, T), got = infer(model, session, inputs);
                CHECK(error_of(got, infer(exact, make_session(exact, lengths.size()), inputs), inputs) <=
                      bound_of(dtype));
                for (size_t s = 0; s < lengths.size(); ++s) {
                    const arrays part = part_of(got, s, s + 1);
                    REQUIRE(same_bits(infer(model, lone, part_of(inputs, s, s + 1)), part));
                    const float *hidden = part.at("last_hidden_state").as<float>();
                    if (s + 1 < lengths.size())
                        CHECK(std::all_of(hidden + lengths[s] * 2 * d, hidden + T * 2 * d,
                                          [](float v) { return v == 0; }));
                }
            }
        }
}

TEST_CASE("encoders whose norms and activations make the sketches give the CPU's outputs, and a row's own bits") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto cpu = make_context(nullptr, 2);
    const std::vector<size_t> lengths = {60, 1, 200, 17};
    // Every width of norm kernels; lanes with two columns (384, 320 columns), c beyond 8, odd c, signs (mixed).
    for (const tied_encoder &e : {tied_encoder{"bert", 256, 4, 4, 32},
                                  {"bert", 768, 12, 2, 64},
                                  {"bert", 960, 8, 3, 64},
                                  {"bert", 352, 4, 11, 32},
                                  {"bert", 512, 4, 16, 32},
                                  {"bert", 1024, 16, 8, 64},
                                  {"bert", 256, 4, 4, 32, "mixed"},
                                  {"bert", 256, 4, 8, 32, "reference", "silu"},
                                  {"electra", 256, 4, 2, 32},
                                  {"albert", 256, 4, 4, 32}}) {
        INFO(e.type << " " << e.width << " c " << e.c << " " << e.scheme << " " << e.activation);
        const io_support::temporary_folder folder;
        // Weights three times as large as random ones: the layers then count for more beside the state.
        REQUIRE(io_support::write_model(folder.path, config_of(e), [](std::vector<ss1::tensor_to_write> &tensors) {
                    for (ss1::tensor_to_write &t : tensors) {
                        if (t.shape.size() != 2) continue;
                        std::vector<float> drawn(t.shape[0] * t.shape[1]);
                        ss1::random_weights(1, t.name, 0, drawn);
                        for (float &v : drawn) v *= 3;
                        t = io_support::tensor(t.name, ss1::file_dtype::f32, t.shape, io_support::bytes_of(drawn));
                    }
                }) == SS1_OK);
        const auto model = load_as(context, folder.path, SS1_DTYPE_BF16),
                   exact = load_as(cpu, folder.path, SS1_DTYPE_F32);
        REQUIRE(is_whole(model));
        const auto session = make_session(model, lengths.size()), lone = make_session(model, 1);
        const arrays inputs = mixed_lengths(random, lengths, 201);
        const arrays want = infer(exact, make_session(exact, lengths.size()), inputs);
        for (int turn = 0; turn < 3; ++turn) {  // runs directly, captures a graph, replays it
            const arrays got = infer(model, session, inputs);
            CHECK(error_of(got, want, inputs) <= bound_of(SS1_DTYPE_BF16));
            for (size_t s = 0; s < lengths.size(); ++s)
                CHECK(same_bits(infer(model, lone, part_of(inputs, s, s + 1)), part_of(got, s, s + 1)));
        }
    }
}

TEST_CASE("more rows than graphs take give the same bits") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto model = random_model(context, bert_with_heads(64).c_str(), 1, SS1_DTYPE_BF16);
    const std::vector<size_t> lengths(40, 200);
    const arrays inputs = mixed_lengths(random, lengths, 201), all = infer(model, make_session(model, 40), inputs);
    const auto lone = make_session(model, 1);
    for (size_t s = 0; s < lengths.size(); s += 13)
        CHECK(same_bits(infer(model, lone, part_of(inputs, s, s + 1)), part_of(all, s, s + 1)));
}

TEST_CASE("models with low-rank parts run whole in f32 and bf16, and are refused in int8") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto cpu = make_context(nullptr, 2);
    const io_support::temporary_folder bert, dlrm;
    REQUIRE(low_rank_support::write(bert.path, low_rank_support::bert_config()) == SS1_OK);
    REQUIRE(low_rank_support::write(dlrm.path, low_rank_support::dlrm_config()) == SS1_OK);
    for (const auto &[folder, inputs] : {std::pair{bert.path, mixed_lengths(random, {5, 33, 17}, 33)},
                                         std::pair{dlrm.path, random_dlrm_inputs(random, 70)}}) {
        const size_t batch = batch_of(inputs);
        const auto exact = load_as(cpu, folder, SS1_DTYPE_F32);
        const arrays want = infer(exact, make_session(exact, batch), inputs);
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16}) {
            const auto model = load_as(context, folder, dtype);
            CHECK(is_whole(model));
            CHECK(parameters_of(model) == parameters_of(exact));
            const auto session = make_session(model, batch);
            for (int turn = 0; turn < 3; ++turn)  // runs directly, captures a graph, replays it
                CHECK(error_of(infer(model, session, inputs), want, inputs) <= bound_of(dtype));
        }
        CHECK_THROWS_WITH(load_as(context, folder, SS1_DTYPE_I8),
                          Catch::Contains("low-rank part with weight_dtype=i8"));
    }
}

TEST_CASE("a DLRM gives the CPU's logits for tables of every dtype, bags of weights, and users given once") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto cpu = make_context(nullptr, 2);
    for (const char *interaction : {"dot", "cat"})
        for (const char *table : {"f32", "bf16", "f16"})
            for (const size_t d : {size_t{10}, size_t{36}, size_t{128}}) {
                const std::string config = std::string(R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"],
                    "embedding_dim": )") + std::to_string(d) +
                                           R"(, "interaction": ")" + interaction + R"(", "tables": [
                    {"name": "user", "rows": 100, "side": "user", "dtype": ")" +
                                           table + R"("},
                    {"name": "item", "rows": 11, "dtype": ")" +
                                           table + R"("},
                    {"name": "page", "rows": 60, "side": "user", "pooling": "mean"},
                    {"name": "day", "rows": 7, "pooling": "mean", "dtype": ")" +
                                           table + R"("}],
                    "bottom_mlp": [3, 70, )" +
                                           std::to_string(d) + R"(], "top_mlp": [96, 1]})";
                const auto model = random_model(context, config.c_str()), exact = random_model(cpu, config.c_str());
                REQUIRE(is_whole(model));
                const auto session = make_session(model, 70), wanted = make_session(exact, 70);
                for (const size_t batch : {size_t{1}, size_t{70}}) {
                    INFO(interaction << " " << table << " d " << d << " batch " << batch);
                    arrays once;
                    add_random_dense(random, 1, once);
                    add_random_bags(random, "", {11, 7}, batch, once);
                    add_random_bags(random, "user_", {100, 60}, 1, once);
                    add_random_weights(random, "user_", once);
                    add_random_weights(random, "", once);
                    arrays all = once;
                    all["dense_x"] = repeated(once["dense_x"], batch);
                    repeat_bags(all, "user_", batch);
                    const arrays got = infer(model, session, all);
                    CHECK(error_of(got, infer(exact, wanted, all), all) <= bound_of(SS1_DTYPE_F32));
                    CHECK(same_bits(infer(model, session, once), got));
                }
            }
}

TEST_CASE("tables of int8 and int4 are read as they are stored") {
    const auto context = cuda_context();
    if (!context) return;
    const auto cpu = make_context(nullptr, 2);
    const std::string directory = SS1_TEST_DATA "/dlrm_dot";
    arrays inputs, expected;
    read_vectors(directory, inputs, expected);
    for (const ss1_table_dtype dtype : {SS1_TABLE_INT8, SS1_TABLE_INT4}) {
        const io_support::temporary_folder folder;
        ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
        options.tables = dtype;
        ss1::check(ss1_model_convert(cpu.get(), directory.c_str(), (folder / "model").c_str(), &options));
        const auto model = ss1::load_model(context, folder / "model"), exact = ss1::load_model(cpu, folder / "model");
        CHECK(is_whole(model));
        const size_t batch = batch_of(inputs);
        CHECK(error_of(infer(model, make_session(model, batch), inputs),
                       infer(exact, make_session(exact, batch), inputs), inputs) <= bound_of(SS1_DTYPE_F32));
    }
}

TEST_CASE("bad ids, offsets and indices get the CPU's status and message") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto cpu = make_context(nullptr, 2);
    const auto expect_same = [&](const char *config, const arrays &inputs) {
        const size_t batch =
            inputs.contains("offsets") ? static_cast<size_t>(inputs.at("offsets").shape[1]) : batch_of(inputs);
        ss1_status status, wanted;
        const std::string message = message_of(random_model(context, config), batch, inputs, status);
        CHECK(message == message_of(random_model(cpu, config), batch, inputs, wanted));
        CHECK(status == SS1_ERROR_INVALID_ARGUMENT);
        CHECK(status == wanted);
    };
    for (const char *name : {"input_ids", "attention_mask", "token_type_ids"})
        for (const int64_t bad : {int64_t{90}, int64_t{-1}, int64_t{1} << 40}) {
            arrays inputs = random_bert_inputs(random, 3, 17);
            inputs.at(name).as<int64_t>()[20] = bad;
            expect_same(wide_bert, inputs);
        }
    for (const int64_t bad : {int64_t{100}, int64_t{-1}, int64_t{1} << 40})
        for (const char *name : {"indices", "offsets"})
            for (const size_t at : {size_t{0}, size_t{9}}) {
                arrays inputs = random_dlrm_inputs(random, 20);
                inputs.at(name).as<int64_t>()[at] = bad == 100 && std::string(name) == "offsets" ? 5000 : bad;
                expect_same(wide_dlrm, inputs);
            }
}

TEST_CASE("only the outputs that are wanted are written, and each is the same alone") {
    const auto context = cuda_context();
    if (!context) return;
    for (const char *name : {"bert_classifier", "bert_answers", "bert_words", "bert_electra_pretraining", "dlrm_dot"}) {
        arrays inputs, expected;
        read_vectors(std::string(SS1_TEST_DATA "/") + name, inputs, expected);
        const auto model = ss1::load_model(context, std::string(SS1_TEST_DATA "/") + name);
        const auto session = make_session(model, batch_of(inputs));
        const arrays all = infer(model, session, inputs);
        for (const auto &[output, values] : all) {
            INFO(name << " " << output);
            arrays one = {{output, values}};
            std::fill(one[output].data.begin(), one[output].data.end(), std::byte{0x5a});
            CHECK(run(session, inputs, one) == SS1_OK);
            CHECK(one[output].data == values.data);
        }
        arrays none;
        CHECK(run(session, inputs, none) == SS1_OK);
    }
}

TEST_CASE("sessions run on several threads at once") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    const auto bert = random_model(context, bert_with_heads(64).c_str(), 1, SS1_DTYPE_BF16),
               dlrm = random_model(context, wide_dlrm);
    const arrays texts = mixed_lengths(random, {30, 200, 5, 64}, 200), rows = random_dlrm_inputs(random, 200);
    const arrays want_texts = infer(bert, make_session(bert, 4), texts),
                 want_rows = infer(dlrm, make_session(dlrm, 200), rows);
    std::vector<std::thread> threads;
    std::atomic<size_t> wrong{0};
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            const bool is_bert = i % 2 == 0;
            const auto &model = is_bert ? bert : dlrm;
            const auto session = make_session(model, 200, is_bert ? 200 : 0);
            const arrays &inputs = is_bert ? texts : rows, &want = is_bert ? want_texts : want_rows;
            for (int turn = 0; turn < 20; ++turn) {
                arrays outputs = make_outputs(model, inputs);
                std::vector<ss1_tensor> in, out;
                for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
                for (auto &[name, a] : outputs) out.push_back(a.tensor());
                wrong += ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size()) != SS1_OK ||
                         !same_bits(outputs, want);
            }
        });
    for (std::thread &thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("a late run fails, a cancelled run fails, and the next one is right") {
    const auto context = cuda_context();
    if (!context) return;
    auto random = ss1_test::seeded();
    for (const bool is_dlrm : {false, true}) {
        const auto model = is_dlrm ? random_model(context, wide_dlrm) : random_model(context, wide_bert);
        const arrays inputs = is_dlrm ? random_dlrm_inputs(random, 40) : random_bert_inputs(random, 4, 48);
        const auto session = make_session(model, 40);
        const arrays want = infer(model, session, inputs);
        arrays outputs = make_outputs(model, inputs);
        ss1::check(ss1_session_set_deadline(session.get(), 1e-9));
        CHECK(run(session, inputs, outputs) == SS1_ERROR_DEADLINE);
        ss1::check(ss1_session_set_deadline(session.get(), 0));
        CHECK(same_bits(infer(model, session, inputs), want));
        std::atomic<bool> done{false};
        std::thread canceller([&] {
            while (!done) ss1_session_cancel(session.get());
        });
        size_t cancelled = 0;
        for (int i = 0; i < 50; ++i) {
            const ss1_status status = run(session, inputs, outputs);
            cancelled += status == SS1_ERROR_CANCELLED;
            CHECK((status == SS1_OK || status == SS1_ERROR_CANCELLED));
        }
        done = true;
        canceller.join();
        CHECK(cancelled > 0);
        CHECK(same_bits(infer(model, session, inputs), want));
    }
}

TEST_CASE("a model describes its layers and memory, and the log says why one is left to the core") {
    std::string log;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.log = [](void *user, ss1_log_level, const char *message) {
        static_cast<std::string *>(user)->append(message).append("\n");
    };
    options.log_user = &log;
    options.log_level = SS1_LOG_INFO;
    const auto context = cuda_context(options);
    if (!context) return;
    const auto cpu = make_context(nullptr, 2);
    for (const char *name : {"bert_classifier", "bert_ss1", "dlrm_ss1"}) {
        INFO(name);
        const std::string directory = std::string(SS1_TEST_DATA "/") + name;
        const auto model = ss1::load_model(context, directory), other = ss1::load_model(cpu, directory);
        ss1_model_info info = SS1_MODEL_INFO_INIT, want = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        ss1::check(ss1_model_describe(other.get(), &want));
        CHECK(info.parameters == want.parameters);
        CHECK(info.weight_bytes > 4 * info.parameters / 5);
        CHECK(info.n_layers == want.n_layers);
        for (size_t i = 0; i < info.n_layers; ++i) {
            ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
            ss1::check(ss1_model_layer(model.get(), i, &layer));
            CHECK(std::string(layer.layer.kernels).starts_with("cuda "));
            CHECK(layer.layer.weight_bytes > 0);
        }
    }
    log.clear();
    const auto left = ss1::load_model(context, SS1_TEST_DATA "/bert_mpnet");
    CHECK(!is_whole(left));
    CHECK_THAT(log, Catch::Contains("backend cuda leaves the model to the core, layer by layer: ") &&
                        Catch::Contains("cuda: whole models: no attention or norms of this member of BERT's family"));
}

int main(int argc, char **argv) {
    return cuda_support::run_or_skip(argc, argv);
}
