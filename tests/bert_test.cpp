// SPDX-License-Identifier: Apache-2.0
// BERT models: padding, masks, heads, stacked queries, keys and values, bad inputs.
#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "half.hpp"
#include "model_support.hpp"
#include "op/attention.hpp"
#include "op/pack.hpp"
#include "op/rotary.hpp"

using namespace model_support;

TEST_CASE("optional inputs have defaults, and masked tokens have no effect") {
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
    SECTION("without mask and types: all tokens are seen, all types are 0") {
        std::fill_n(mask.as<int64_t>(), 51, 1);
        std::fill_n(types.as<int64_t>(), 51, 0);
        const arrays given = infer(model, session, inputs);
        inputs.erase("attention_mask");
        inputs.erase("token_type_ids");
        CHECK(same_bits(infer(model, session, inputs), given));
    }
}

namespace {

// Has heads of width 32, which AMX tiles take, and more keys than one block of tiles.
constexpr const char *long_bert =
    R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 300, "num_labels": 3,
  "architectures": ["BertForSequenceClassification"],
  "ss1": {"layers": {"encoder.layer.1.intermediate.dense":
    {"kind": "ss1", "c": 2, "scheme": "mixed", "seed": 7, "block_k": 32, "block_n": 64, "step": 16}}}})";

// Copies the outputs in `all` of the first `length` tokens of sequence s.
arrays sequence_of(const arrays &all, size_t s, size_t length) {
    arrays one = part_of(all, s, s + 1);
    array &hidden = one.at("last_hidden_state");
    hidden.shape[1] = static_cast<int64_t>(length);
    hidden.data.resize(length * 64 * sizeof(float));
    return one;
}

// BYTES of a session for one sequence of so many tokens.
double session_bytes_of(const ss1::model_ptr &model, size_t tokens) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = 1;
    options.max_tokens = tokens;
    size_t bytes = 0;
    ss1::check(ss1_session_bytes(model.get(), &options, &bytes));
    return static_cast<double>(bytes);
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
                REQUIRE(same_bits(got, first));  // 16 threads have few rows each and run layer by layer
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
    const size_t T = 60, batch = 75;  // 4500 rows: more than one chunk of the layer-by-layer path
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

TEST_CASE("a bias of the attention, a window, rotary positions and shared layers keep the bits of a sequence") {
    auto random = ss1_test::seeded();
    const std::string sizes =
        R"(, "vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
            "intermediate_size": 96, "max_position_embeddings": 300})";
    for (const char *type : {R"("mpnet")", R"("albert", "embedding_size": 24)", R"("electra", "embedding_size": 48)",
                             R"("bert", "position_embedding_type": "alibi", "feed_forward_type": "geglu")",
                             R"("modernbert", "local_attention": 40)", R"("new", "type_vocab_size": 2)",
                             R"("nomic_bert", "rope_parameters": {"rope_theta": 1000})",
                             R"("deberta-v2", "relative_attention": true, "pos_att_type": "c2p|p2c",
                                "position_buckets": 64, "norm_rel_ebd": "layer_norm", "type_vocab_size": 2)"}) {
        const std::string config = std::string(R"({"model_type": )") + type + sizes;
        arrays inputs = random_bert_inputs(random, 3, 280);
        int64_t *mask = inputs.at("attention_mask").as<int64_t>();
        for (size_t t = 0; t < 280; ++t) mask[t] = t < 133, mask[280 + t] = 1;          // the third has holes
        if (std::string_view(type).starts_with("\"m")) inputs.erase("token_type_ids");  // mpnet and modernbert
        for (const char *level : ss1_test::levels_here())
            for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16, SS1_DTYPE_I8}) {
                arrays first;
                for (const uint32_t threads : {1u, 3u, 16u}) {
                    INFO(type << ", " << level << ", dtype " << dtype << ", " << threads << " threads");
                    const auto model = random_model(make_context(level, threads), config.c_str(), 1, dtype);
                    const auto session = make_session(model, 3);
                    const arrays got = infer(model, session, inputs);
                    if (threads == 1) first = got;
                    REQUIRE(same_bits(got, first));
                    for (size_t s = 0; s < 3; ++s)
                        REQUIRE(same_bits(infer(model, session, part_of(inputs, s, s + 1)), part_of(got, s, s + 1)));
                }
            }
    }
}

TEST_CASE("heads split at their queries, for threads that would be idle, give the bits of whole heads") {
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

// Heads in f32 and in bf16 are cut at multiples of different numbers of queries.
TEST_CASE("the scratch of the attention serves as many threads as there are, in both types") {
    constexpr size_t tokens = 167, head_size = 64;
    const ss1::sequence sequence = {0, tokens, nullptr};
    for (const char *level : ss1_test::levels_here())
        for (const ss1::dtype type : {ss1::dtype::f32, ss1::dtype::bf16}) {
            const auto context = make_context(level, 32);
            const ss1::attention_kernels kernels = ss1::select_attention(context->usable, head_size);
            const size_t numbers =
                ss1::attention_scratch(*context, kernels, nullptr, 1, tokens, 1, head_size) / sizeof(float);
            ss1_test::guarded<float> scratch(1, numbers, numbers, ss1_test::guard::after, 64);
            std::vector<float> qkv(3 * (tokens + 15) * head_size, 0.5f);
            if (type == ss1::dtype::bf16) std::fill(qkv.begin(), qkv.end(), std::bit_cast<float>(0x3f003f00u));
            char *rows = reinterpret_cast<char *>(qkv.data());
            const size_t part = head_size * ss1::size_of(type);
            ss1::attend(*context, kernels,
                        {.q = rows,
                         .k = rows + part,
                         .v = rows + 2 * part,
                         .type = type,
                         .sequences = {&sequence, 1},
                         .heads = 1,
                         .head_size = head_size,
                         .ld = 3 * head_size,
                         .scratch = scratch.data()});
            INFO(level << ", " << (type == ss1::dtype::f32 ? "f32" : "bf16"));
            CHECK(scratch.intact());
            CHECK(std::ranges::all_of(
                qkv, [&](float x) { return std::abs(x - qkv.back()) < 1e-6f; }));  // a mean of equal values
        }
}

TEST_CASE("a sequence whose tokens are all masked sees all of them equally") {
    // With zero queries every score is 0, so an unmasked run attends uniformly, too.
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
        // Positions start after the padding position, 1.
        {"bert_roberta", 12, 1, 0, {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}}},
        {"bert_roberta_tokens", 12, 1, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_xlm_roberta_classifier", 12, 1, 2, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 2}}}},
        {"bert_camembert_classifier", 12, 1, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 3}}}},
        {"bert_electra", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_electra_classifier", 14, 2, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 3}}}},
        {"bert_electra_words", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_electra_pretraining", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"replaced_logits", {-1, -1}}}},
        {"bert_mpnet", 178, 0, 0, {{"last_hidden_state", {-1, -1, 16}}, {"pooled", {-1, 16}}}},
        {"bert_mpnet_tokens", 12, 0, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_albert", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}}},
        {"bert_albert_classifier",
         14,
         2,
         3,
         {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}, {"logits", {-1, 3}}}},
        {"bert_jina", 64, 2, 0, {{"last_hidden_state", {-1, -1, 48}}, {"pooled", {-1, 48}}}},
        {"bert_modernbert", 64, 0, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_modernbert_classifier", 64, 0, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 3}}}},
        {"bert_modernbert_first", 64, 0, 2, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 2}}}},
        {"bert_modernbert_tokens", 64, 0, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_modernbert_words", 64, 0, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_modernbert_answers",
         64,
         0,
         0,
         {{"last_hidden_state", {-1, -1, 32}}, {"start_logits", {-1, -1}}, {"end_logits", {-1, -1}}}},
        {"bert_nomic", 64, 2, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_nomic_words", 64, 0, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_nomic_hf", 64, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}}},
        {"bert_gte", 64, 2, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_gte_classifier",
         64,
         0,
         3,
         {{"last_hidden_state", {-1, -1, 32}}, {"pooled", {-1, 32}}, {"logits", {-1, 3}}}},
        {"bert_albert_words", 14, 2, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_deberta", 180, 0, 0, {{"last_hidden_state", {-1, -1, 32}}}},
        {"bert_deberta_classifier", 14, 0, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, 3}}}},
        {"bert_deberta_tokens", 14, 2, 3, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 3}}}},
        {"bert_deberta_words", 14, 0, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_deberta_lm", 14, 0, 0, {{"last_hidden_state", {-1, -1, 32}}, {"logits", {-1, -1, 40}}}},
        {"bert_deberta_answers",
         14,
         0,
         0,
         {{"last_hidden_state", {-1, -1, 32}}, {"start_logits", {-1, -1}}, {"end_logits", {-1, -1}}}},
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
        ss1_tensor t = SS1_TENSOR_INIT;
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
        // Each token must have the values of its sequence alone, and padding must be 0.
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

TEST_CASE("queries, keys and values that run as one layer are described separately") {
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
        // Counts its own multiply-adds and a third of four shared sketches, or four sketches of its own.
        CHECK(one[i].flops_per_row == Approx(2.0 * 64 * 128 + 4 * 128 / 3.0));
        CHECK(three[i].flops_per_row == 2.0 * 64 * 128 + 4 * 128);
    }
    CHECK((mixed[1].desc.c == 1 && mixed[0].desc.c == 2 && mixed[2].desc.c == 2));
}

// Of 8,192 tokens two layers of three see 129 each. Norms over 8 values divide by what may be small: 1.5e-5 measured.
TEST_CASE("a ModernBERT takes 8,192 tokens, in memory that grows with them alone") {
    const std::string directory = SS1_TEST_DATA "/bert_modernbert_long";
    arrays inputs, expected;
    read_vectors(directory, inputs, expected, "long.safetensors");
    REQUIRE(inputs.at("input_ids").shape == std::vector<int64_t>{1, 8192});
    for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16}) {
        arrays first;
        for (const uint32_t threads : {1u, 3u}) {
            const auto model = load_as(make_context(nullptr, threads), directory, dtype);
            const arrays got = infer(model, make_session(model, 1), inputs);
            if (threads == 1) first = got;
            CHECK(same_bits(got, first));
            const double worst =
                worst_difference(got.at("last_hidden_state"), expected.at("last_hidden_state"), inputs);
            INFO("dtype " << dtype << ": differs by " << worst);
            CHECK(worst <= (dtype == SS1_DTYPE_F32 ? 5e-5 : 0.2));
        }
    }
    const auto model = ss1::load_model(make_context(nullptr, 1), directory);
    CHECK(session_bytes_of(model, 8192) < 2.2 * session_bytes_of(model, 4096));
}

// Tokens of a local layer that are further away than the window change nothing, bit for bit; the nearest do.
TEST_CASE("the tokens of a local layer see their window alone") {
    const char *config = R"({"model_type": "modernbert", "vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 700, "local_attention": 33,
        "layer_types": ["sliding_attention"]})";
    auto random = ss1_test::seeded();
    arrays inputs = random_bert_inputs(random, 1, 700);
    inputs.erase("attention_mask");
    inputs.erase("token_type_ids");
    for (const char *level : ss1_test::levels_here())
        for (const ss1_dtype dtype : {SS1_DTYPE_F32, SS1_DTYPE_BF16}) {
            const auto model = random_model(make_context(level, 2), config, 1, dtype);
            const auto session = make_session(model, 1);
            const arrays before = infer(model, session, inputs);
            for (const size_t changed : {size_t{0}, size_t{256}, size_t{391}, size_t{699}}) {
                arrays other = inputs;
                int64_t &id = other.at("input_ids").as<int64_t>()[changed];
                id = (id + 1) % 90;
                const arrays after = infer(model, session, other);
                const float *x = before.at("last_hidden_state").as<float>(),
                            *y = after.at("last_hidden_state").as<float>();
                for (size_t t = 0; t < 700; ++t) {
                    const bool same = std::equal(x + t * 64, x + (t + 1) * 64, y + t * 64);
                    const bool sees = t + 16 >= changed && t <= changed + 16;
                    INFO(level << ", dtype " << dtype << ": token " << t << " with token " << changed << " changed");
                    REQUIRE(same == !sees);
                }
            }
        }
}

// (a, b) of each pair must keep its length and turn by the angle of its position; other elements stay.
TEST_CASE("pairs of a head turn by their positions") {
    auto random = ss1_test::seeded();
    const auto context = make_context(nullptr, 2);
    constexpr size_t rows = 5, ld_more = 7;
    const ss1::sequence sequences[] = {{0, 2, nullptr}, {2, 3, nullptr}};
    const struct {
        size_t heads, head_size, size;
        double theta, factor;
    } shapes[] = {{3, 16, 16, 10000, 1}, {2, 70, 34, 500, 1}, {1, 2100, 2060, 160000, 2}, {40, 64, 64, 10000, 1.5}};
    for (const auto &s : shapes)
        for (const ss1::dtype type : {ss1::dtype::f32, ss1::dtype::bf16}) {
            const size_t ld = s.heads * s.head_size + ld_more;
            std::vector<float> before(rows * ld), table(3 * s.size);
            std::vector<uint16_t> narrow(rows * ld);
            for (size_t i = 0; i < before.size(); ++i) {
                narrow[i] = ss1::bf16_from_f32(std::normal_distribution<float>()(random));
                before[i] = ss1::bf16_to_f32(narrow[i]);
            }
            std::vector<float> after = before;
            ss1::make_rotary_table(s.theta, s.factor, 3, s.size, table.data());
            const bool wide = type == ss1::dtype::f32;
            // Rows 1 to 4: the last token of the first sequence, and the second sequence.
            ss1::rotate(*context, {.rows = wide ? static_cast<void *>(after.data() + ld) : narrow.data() + ld,
                                   .type = type,
                                   .first = 1,
                                   .m = rows - 1,
                                   .heads = s.heads,
                                   .head_size = s.head_size,
                                   .ld = ld,
                                   .sequences = sequences,
                                   .table = table.data(),
                                   .size = s.size,
                                   .round = ss1::select_attention(context->usable, s.head_size).round});
            const size_t positions[rows] = {0, 1, 0, 1, 2};
            double worst = 0;
            for (size_t r = 0; r < rows; ++r)
                for (size_t i = 0; i < ld; ++i) {
                    const float *row = before.data() + r * ld;
                    const size_t at = i % s.head_size, half = s.size / 2, k = at % half;
                    double want = row[i];
                    if (r > 0 && i < ld - ld_more && at < s.size) {
                        const double exponent = 2.0 * static_cast<double>(k) / static_cast<double>(s.size);
                        const double angle = static_cast<double>(positions[r]) *
                                             std::pow(s.theta * s.factor, -exponent) /
                                             std::pow(s.factor, 2.0 / static_cast<double>(s.size));
                        const double other = at < half ? -row[i + half] : row[i - half];
                        want = row[i] * std::cos(angle) + other * std::sin(angle);
                    }
                    const double got = wide ? after[r * ld + i] : ss1::bf16_to_f32(narrow[r * ld + i]);
                    ss1_test::keep_worse(worst, std::abs(got - want) / std::max(1.0, std::abs(want)));
                }
            INFO(s.heads << " heads of " << s.head_size << ", " << s.size << " turned, " << (wide ? "f32" : "bf16"));
            CHECK(worst <= (wide ? 2e-6 : 0x1p-8));
        }
}

// transformers' formula in PyTorch wrote the file: {position_buckets}_{farthest distance}, one number for each distance
// of a query from its key.
TEST_CASE("distances share DeBERTa's rows as in transformers") {
    arrays buckets, unused;
    read_vectors(SS1_TEST_DATA "/bert_deberta", buckets, unused, "buckets.safetensors");
    REQUIRE(buckets.size() == 7);
    for (const auto &[name, want] : buckets) {
        ss1::relative_config config;
        config.buckets = config.span = std::stoul(name);
        config.farthest = std::stoul(name.substr(name.find('_') + 1));
        const auto most = static_cast<ptrdiff_t>(config.farthest) + 50, span = static_cast<ptrdiff_t>(config.span);
        REQUIRE(want.shape[0] == 2 * most + 1);
        for (ptrdiff_t back = -most; back <= most; ++back) {
            const ptrdiff_t row = std::clamp<ptrdiff_t>(want.as<int64_t>()[back + most] + span, 0, 2 * span - 1);
            INFO(name << ": a key " << back << " tokens before its query");
            REQUIRE(static_cast<ptrdiff_t>(config.row_of(-back)) == row);
        }
    }
}

namespace {

struct position_case {
    size_t heads, head_size, rows;
    bool keys, queries, masks_queries;
};

// q, k and v of all heads in rows of ld elements, and the tables of position terms, [heads, rows, head_size].
struct position_values {
    size_t ld;
    std::vector<float> qkv, keys, queries;
    std::vector<uint32_t> row_of_distance;
    size_t step = 1;

    position_values(const position_case &c, size_t rows, size_t tokens, std::mt19937 &random)
        : ld(3 * c.heads * c.head_size + 5), row_of_distance(2 * tokens - 1) {
        const auto draw = [&](std::vector<float> &to, size_t n) {
            for (to.resize(n); float &v : to)
                v = ss1::bf16_to_f32(ss1::bf16_from_f32(std::normal_distribution<float>()(random)));
        };
        draw(qkv, (rows + 15) * ld);
        draw(keys, c.heads * c.rows * c.head_size);
        draw(queries, keys.size());
        for (size_t i = 0; i < row_of_distance.size(); ++i) {  // some rows are never used, some often
            row_of_distance[i] = static_cast<uint32_t>(i * i * (c.rows - 1) / (4 * tokens * tokens));
            if (i > 0) step = std::max<size_t>(step, row_of_distance[i] - row_of_distance[i - 1]);
        }
    }
};

// Element e of the result of query i of one head, from the formula.
std::vector<double> attend_in_double(const position_case &c, const position_values &v, const ss1::sequence &s,
                                     size_t head, size_t i, size_t tokens) {
    const size_t d = c.head_size, H = c.heads * d;
    const auto row = [&](size_t t, size_t part) { return v.qkv.data() + (s.first + t) * v.ld + part * H + head * d; };
    const auto dot = [&](const float *x, const float *y) {
        double sum = 0;
        for (size_t e = 0; e < d; ++e) sum += static_cast<double>(x[e]) * static_cast<double>(y[e]);
        return sum;
    };
    std::vector<double> result(d), weights(s.length);
    double most = -HUGE_VAL, sum = 0;
    for (size_t j = 0; j < s.length; ++j) {
        const size_t at = (head * c.rows + v.row_of_distance[tokens - 1 + j - i]) * d;
        const double score = dot(row(i, 0), row(j, 1)) + (c.keys ? dot(row(i, 0), &v.keys[at]) : 0) +
                             (c.queries ? dot(row(j, 1), &v.queries[at]) : 0);
        weights[j] =
            s.mask && s.mask[j] != 0 ? -HUGE_VAL : score / std::sqrt(static_cast<double>(d) * (1 + c.keys + c.queries));
        most = std::max(most, weights[j]);
    }
    for (double &w : weights) sum += w = std::exp(w - most);
    if (c.masks_queries && s.mask && s.mask[i] != 0) {
        std::ranges::fill(weights, 1.0);
        sum = static_cast<double>(s.length);
    }
    for (size_t j = 0; j < s.length; ++j)
        for (size_t e = 0; e < d; ++e) result[e] += weights[j] / sum * static_cast<double>(row(j, 2)[e]);
    return result;
}

ss1::buffer packed(const ss1_context &context, const ss1::gemm_kernel &gemm, const position_case &c,
                   const std::vector<float> &table) {
    const size_t each = ss1::packed_positions(gemm, c.rows, c.head_size), d = c.head_size;
    ss1::buffer result;
    REQUIRE(result.allocate(context, c.heads * each * sizeof(float)) == SS1_OK);
    for (size_t h = 0; h < c.heads; ++h)
        ss1::pack_columns(table.data() + h * c.rows * d, d, c.rows, d, gemm.nt, result.as<float>() + h * each);
    return result;
}

// Runs the attention and returns its results, [rows, heads * head_size].
std::vector<float> attend_with_terms(const ss1_context &context, const position_case &c, const position_values &v,
                                     std::span<const ss1::sequence> sequences, size_t tokens, ss1::dtype type) {
    const ss1::attention_kernels kernels = ss1::select_attention(context.usable, c.head_size);
    const size_t H = c.heads * c.head_size, rows = v.qkv.size() / v.ld;
    const ss1::buffer keys = packed(context, *kernels.gemm, c, v.keys),
                      queries = packed(context, *kernels.gemm, c, v.queries);
    const auto terms = static_cast<float>(1 + c.keys + c.queries);
    const ss1::position_terms positions = {.keys = c.keys ? keys.as<float>() : nullptr,
                                           .queries = c.queries ? queries.as<float>() : nullptr,
                                           .rows = c.rows,
                                           .head_stride = ss1::packed_positions(*kernels.gemm, c.rows, c.head_size),
                                           .row_of_distance = v.row_of_distance.data(),
                                           .tokens = tokens,
                                           .step = v.step,
                                           .scale = 1 / std::sqrt(static_cast<float>(c.head_size) * terms)};
    std::vector<float> wide = v.qkv;
    std::vector<uint16_t> narrow(wide.size());
    std::ranges::transform(wide, narrow.begin(), ss1::bf16_from_f32);
    const bool is_f32 = type == ss1::dtype::f32;
    const auto at = [&](size_t part) {
        return is_f32 ? static_cast<void *>(wide.data() + part * H) : static_cast<void *>(narrow.data() + part * H);
    };
    ss1::buffer scratch;
    const size_t bytes =
        ss1::attention_scratch(context, kernels, &positions, sequences.size(), tokens, c.heads, c.head_size);
    REQUIRE(scratch.allocate(context, bytes) == SS1_OK);
    ss1::attend(context, kernels,
                {.q = at(0),
                 .k = at(1),
                 .v = at(2),
                 .type = type,
                 .sequences = sequences,
                 .heads = c.heads,
                 .head_size = c.head_size,
                 .ld = v.ld,
                 .scratch = scratch.data(),
                 .positions = &positions,
                 .masks_queries = c.masks_queries});
    std::vector<float> results;
    for (size_t i = 0; i < rows; ++i)
        for (size_t e = 0; e < H; ++e)
            results.push_back(is_f32 ? wide[i * v.ld + e] : ss1::bf16_to_f32(narrow[i * v.ld + e]));
    return results;
}

}  // namespace

// Sequences end in the first and in later blocks of queries, and masks hide keys.
TEST_CASE("position terms are added to the scores") {
    auto random = ss1_test::seeded();
    const position_case shapes[] = {{2, 16, 40, true, true, false}, {1, 33, 7, true, true, true},
                                    {3, 8, 600, false, true, true}, {2, 64, 64, true, false, false},
                                    {1, 64, 512, true, true, true}, {2, 7, 1, true, true, false}};
    constexpr size_t tokens = 300;
    std::vector<float> mask(131);
    for (float &m : mask) m = random() % 4 == 0 ? ss1::masked_key : 0.0f;
    mask[3] = 0;
    const ss1::sequence sequences[] = {
        {0, 1, nullptr}, {1, 131, mask.data()}, {132, 257, nullptr}, {389, 20, nullptr}, {409, 300, nullptr}};
    for (const position_case &c : shapes) {
        const position_values v(c, 709, tokens, random);
        std::vector<double> want;
        for (const ss1::sequence &s : sequences)
            for (size_t i = 0; i < s.length; ++i)
                for (size_t h = 0; h < c.heads; ++h)
                    std::ranges::copy(attend_in_double(c, v, s, h, i, tokens), std::back_inserter(want));
        for (const char *level : ss1_test::levels_here())
            for (const ss1::dtype type : {ss1::dtype::f32, ss1::dtype::bf16}) {
                std::vector<float> first;
                for (const uint32_t threads : {1u, 3u, 16u}) {
                    const auto context = make_context(level, threads);
                    std::vector<float> got = attend_with_terms(*context, c, v, sequences, tokens, type);
                    got.resize(want.size());
                    if (threads == 1) first = got;
                    double worst = 0;
                    for (size_t i = 0; i < want.size(); ++i)
                        ss1_test::keep_worse(worst, std::abs(static_cast<double>(got[i]) - want[i]));
                    INFO(level << ", " << c.heads << " heads of " << c.head_size << ", " << c.rows << " rows, "
                               << threads << " threads, " << (type == ss1::dtype::f32 ? "f32" : "bf16") << ": "
                               << worst);
                    CHECK(worst <= (type == ss1::dtype::f32 ? 2e-5 : 0x1p-6));
                    CHECK(std::memcmp(got.data(), first.data(), got.size() * sizeof(float)) == 0);
                }
            }
    }
}

// transformers multiplies the embeddings by the mask, so that a sequence that the mask hides wholly has one result.
TEST_CASE("the tokens of a DeBERTa whose mask hides all are alike") {
    const auto model = ss1::load_model(make_context(nullptr, 2), SS1_TEST_DATA "/bert_deberta_classifier");
    const auto session = make_session(model, 1);
    arrays inputs = {{"input_ids", make_array<int64_t>("input_ids", {1, 4}, {1, 2, 3, 4})}};
    const arrays seen = infer(model, session, inputs);
    inputs["attention_mask"] = make_array<int64_t>("attention_mask", {1, 4}, {0, 0, 0, 0});
    const arrays hidden = infer(model, session, inputs);
    inputs["input_ids"] = make_array<int64_t>("input_ids", {1, 4}, {7, 8, 9, 10});
    CHECK(same_bits(infer(model, session, inputs), hidden));
    CHECK_FALSE(same_bits(seen, hidden));
}

TEST_CASE("the memory of a DeBERTa's session grows with its tokens alone") {
    for (const char *buckets : {"64", "-1"}) {
        const std::string config = std::string(R"({"model_type": "deberta-v2", "vocab_size": 90, "hidden_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 96, "relative_attention": true,
            "max_position_embeddings": 8192, "max_relative_positions": 200, "pos_att_type": "p2c|c2p",
            "position_buckets": )") +
                                   buckets + "}";
        const auto model = random_model(make_context(nullptr, 1), config.c_str());
        CHECK(session_bytes_of(model, 8192) < 2.2 * session_bytes_of(model, 4096));
    }
}
