// SPDX-License-Identifier: Apache-2.0
// Directories of sentence-transformers: pooling, the modules behind it, and what is refused.
#include <array>
#include <catch2/catch.hpp>
#include <cfenv>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "base/context.hpp"
#include "model_support.hpp"
#include "op/pooling.hpp"

using namespace model_support;
namespace fs = std::filesystem;

namespace {

struct sentence_case {
    const char *name, *body, *folder;  // folder of the transformer
};
constexpr sentence_case sentence_cases[] = {{"mean", "bert_classifier", ""},
                                            {"all_modes", "bert_distil", "0_Transformer"},
                                            {"modules", "bert_all_positions", ""},
                                            {"words", "bert_words", ""},
                                            {"splade", "bert_words", ""},
                                            {"splade_sum", "bert_distil_words", ""},
                                            {"static", nullptr, ""}};

// A directory of sentence-transformers: the case's modules around a transformer.
void make_directory(const sentence_case &of, const std::string &to) {
    const std::string data = SS1_TEST_DATA;
    fs::copy(data + "/sentence/" + of.name, to, fs::copy_options::recursive);
    if (!of.body) return;  // the case has all files
    const fs::path body = fs::path(to) / of.folder;
    fs::create_directories(body);
    for (const char *file : {"config.json", "model.safetensors"})
        fs::copy_file(data + "/" + of.body + "/" + file, body / file);
}

const sentence_case &case_of(std::string_view name) {
    return *std::ranges::find(sentence_cases, name, &sentence_case::name);
}

// The modules of a case, ready to be spoiled.
struct directory {
    io_support::temporary_folder folder;
    explicit directory(std::string_view name) { make_directory(case_of(name), folder.path); }

    void replace(const std::string &file, const std::string &from, const std::string &to) const {
        std::string text = io_support::read_file(folder / file);
        const size_t at = text.find(from);
        REQUIRE(at != text.npos);
        io_support::write_file(folder / file, text.replace(at, from.size(), to));
    }
    ss1_status load(const ss1::context_ptr &context) const {
        ss1_model *model = nullptr;
        const ss1_status status = ss1_model_load(context.get(), folder.path.c_str(), nullptr, &model);
        ss1_model_destroy(&model);
        return status;
    }
};

// Sums in double; `has` says which tokens are pooled. cls takes row 0 if none is.
double pooled_value(ss1::pooling_mode mode, const std::vector<float> &rows, size_t width, size_t column,
                    const std::vector<bool> &has) {
    if (mode == ss1::pooling_mode::cls) {
        const auto first = std::ranges::find(has, true);
        return rows[first == has.end() ? column : static_cast<size_t>(first - has.begin()) * width + column];
    }
    double sum = 0, weights = 0, n = 0, most = 0, last = 0;
    for (size_t t = 0; t < has.size(); ++t) {
        if (!has[t]) continue;
        const double value = rows[t * width + column];
        const double weight = mode == ss1::pooling_mode::weighted_mean ? static_cast<double>(t + 1) : 1;
        if (n++ == 0) most = value;
        most = std::max(most, value);
        last = value;
        sum += weight * value;
        weights += weight;
    }
    if (n == 0) return 0;
    switch (mode) {
        case ss1::pooling_mode::last:
            return last;
        case ss1::pooling_mode::max:
            return most;
        case ss1::pooling_mode::mean_sqrt_len:
            return sum / std::sqrt(n);
        default:
            return sum / weights;
    }
}

}  // namespace

TEST_CASE("pooling gives the reference's values for any lengths, masks and prompts") {
    using enum ss1::pooling_mode;
    constexpr ss1::pooling_mode modes[] = {cls, max, mean, mean_sqrt_len, weighted_mean, last};
    auto random = ss1_test::seeded();
    const auto context = make_context(nullptr, 3);
    for (const size_t width : {1, 7, 64, 200}) {
        std::vector<ss1::sequence> sequences;
        std::vector<std::vector<float>> masks;
        std::vector<int64_t> skip;
        size_t rows = 0;
        for (const size_t length : {1, 5, 33, 2, 90, 17}) {
            std::vector<float> &mask = masks.emplace_back(length);
            for (float &m : mask) m = random() % 3 ? 0.0f : ss1::masked_key;
            sequences.push_back({rows, length, random() % 2 ? mask.data() : nullptr});
            skip.push_back(static_cast<int64_t>(random() % (length + 1)));
            rows += length;
        }
        std::vector<float> states(rows * width), y(sequences.size() * 6 * width);
        for (float &v : states) v = std::normal_distribution<float>()(random);
        const bool skips = width % 2 != 0;
        ss1::pool(*context, {states.data(), width, sequences, modes, skips ? skip.data() : nullptr, y.data()});
        for (size_t s = 0; s < sequences.size(); ++s) {
            const ss1::sequence &of = sequences[s];
            const std::vector<float> own(states.begin() + of.first * width,
                                         states.begin() + (of.first + of.length) * width);
            std::vector<bool> has(of.length);
            for (size_t t = 0; t < of.length; ++t) has[t] = !of.mask || of.mask[t] == 0;
            // The prompt begins behind the padding on the left.
            const auto begin = std::ranges::find(has, true);
            if (skips) std::fill_n(begin, std::min<ptrdiff_t>(skip[s], has.end() - begin), false);
            for (size_t m = 0; m < 6; ++m)
                for (size_t i = 0; i < width; ++i) {
                    const double want = pooled_value(modes[m], own, width, i, has);
                    CHECK(y[(s * 6 + m) * width + i] == Approx(want).margin(1e-5));
                }
        }
    }
}

TEST_CASE("NaN arrives from any token") {
    using enum ss1::pooling_mode;
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    constexpr ss1::pooling_mode modes[] = {max, mean, mean_sqrt_len, weighted_mean};
    const auto context = make_context(nullptr, 2);
    const ss1::sequence whole[] = {{0, 3, nullptr}};
    for (size_t t = 0; t < 3; ++t) {
        std::vector<float> rows(3 * 2, -1.0f), y(4 * 2), words(2);
        rows[t * 2] = nan;
        ss1::pool(*context, {rows.data(), 2, whole, modes, nullptr, y.data()});
        for (size_t m = 0; m < 4; ++m) {
            CHECK(std::isnan(y[m * 2]));
            CHECK(std::isfinite(y[m * 2 + 1]));
        }
        for (const ss1::word_pooling mode : {ss1::word_pooling::max, ss1::word_pooling::sum}) {
            words.assign(2, 0.0f);
            const ss1::word_args args = {rows.data(), 2, 0, 3, whole, mode, true, words.data()};
            ss1::pool_words(*context, args);
            ss1::finish_words(*context, args);
            CHECK(std::isnan(words[0]));
            CHECK(words[1] == 0);
        }
    }
}

TEST_CASE("directories of sentence-transformers give their sentence embeddings") {
    const sentence_case &of = sentence_cases[GENERATE(0, 1, 2, 3, 4, 5, 6)];
    INFO(of.name);
    const directory made(of.name);
    arrays inputs, unused;
    read_vectors(std::string(SS1_TEST_DATA) + "/sentence/" + of.name, inputs, unused);
    const array want = inputs.at("sentence_embedding");
    inputs.erase("sentence_embedding");
    const auto context = make_context(nullptr, 2);
    const auto model = ss1::load_model(context, made.folder.path);
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    CHECK(info.embedding_size == static_cast<size_t>(want.shape[1]));
    CHECK(info.n_labels == 0);  // a transformer that is pooled has no head
    const bool by_dot = std::ranges::count(std::array{"all_modes", "splade", "splade_sum"}, std::string_view(of.name));
    CHECK(std::string(info.similarity) == (by_dot ? "dot" : "cosine"));
    const auto session = make_session(model, 3);
    const array got = infer(model, session, inputs).at("sentence_embedding");
    REQUIRE(got.shape == want.shape);
    CHECK(worst_difference(got, want, {}) < 2e-6);

    // The same bits whatever else is wanted, and in any batch.
    arrays alone;
    alone["sentence_embedding"] = got;
    alone["sentence_embedding"].data.assign(got.data.size(), std::byte{0});
    CHECK(run(session, inputs, alone) == SS1_OK);
    CHECK(alone.at("sentence_embedding").data == got.data);
    const size_t row = got.data.size() / static_cast<size_t>(got.shape[0]);
    for (size_t s = 0; s < batch_of(inputs); ++s) {
        const array one = infer(model, session, part_of(inputs, s, s + 1)).at("sentence_embedding");
        CHECK(std::equal(one.data.begin(), one.data.end(), got.data.begin() + s * row));
    }
}

TEST_CASE("prompts, similarity and limits of a directory are readable") {
    const directory made("modules");
    io_support::write_file(made.folder / "sentence_bert_config.json",
                           R"({"max_seq_length": 7, "do_lower_case": true})");
    const auto context = make_context(nullptr, 1);
    const auto model = ss1::load_model(context, made.folder.path);
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    REQUIRE(info.n_prompts == 2);
    CHECK(std::string(info.default_prompt) == "query");
    CHECK(std::string(info.similarity) == "cosine");
    std::map<std::string, std::string> prompts;
    const char *name = nullptr, *text = nullptr;
    for (size_t i = 0; i < 2; ++i) {
        ss1::check(ss1_model_prompt(model.get(), i, &name, &text));
        prompts[name] = text;
    }
    CHECK(prompts == std::map<std::string, std::string>{{"query", "find: "}, {"document", ""}});
    CHECK(ss1_model_prompt(model.get(), 2, &name, &text) == SS1_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("the tokenizer of a directory has the limits of its module") {
    const directory made("all_modes");
    io_support::write_file(made.folder / "0_Transformer/vocab.txt",
                           "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nA\n\xc3\xa0\n");
    io_support::write_file(made.folder / "0_Transformer/tokenizer_config.json", R"({"do_lower_case": false})");
    io_support::write_file(made.folder / "0_Transformer/sentence_bert_config.json",
                           R"({"max_seq_length": 5, "do_lower_case": true})");
    const auto context = make_context(nullptr, 1);
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load(context.get(), made.folder.path.c_str(), &tokenizer);
    if (status == SS1_ERROR_UNSUPPORTED) return;  // a build without ICU
    REQUIRE(status == SS1_OK);
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    ss1::check(ss1_tokenizer_describe(tokenizer, &info));
    CHECK(info.max_tokens == 5);
    std::string letters = "A \xc3\x80";
    const ss1_text text = {sizeof(ss1_text), letters.data(), letters.size()};
    int64_t ids[5];
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &text;
    args.input_ids = ids;
    ss1::check(ss1_tokenizer_encode(tokenizer, &args));
    ss1_tokenizer_destroy(&tokenizer);
    CHECK(std::vector<int64_t>(ids, ids + 5) == std::vector<int64_t>{2, 5, 7, 3, 0});  // lower case with its accent
}

TEST_CASE("max_seq_length replaces model_max_length and stays below the model's positions") {
    const directory made("mean");
    io_support::write_file(made.folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
    io_support::write_file(made.folder / "tokenizer_config.json", R"({"model_max_length": 6})");
    const auto context = make_context(nullptr, 1);
    const auto limit = [&] {
        ss1_tokenizer *tokenizer = nullptr;
        ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
        ss1::check(ss1_tokenizer_load(context.get(), made.folder.path.c_str(), &tokenizer));
        ss1::check(ss1_tokenizer_describe(tokenizer, &info));
        ss1_tokenizer_destroy(&tokenizer);
        return info.max_tokens;
    };
    ss1_tokenizer *tokenizer = nullptr;
    if (ss1_tokenizer_load(context.get(), made.folder.path.c_str(), &tokenizer) == SS1_ERROR_UNSUPPORTED) return;
    ss1_tokenizer_destroy(&tokenizer);
    CHECK(limit() == 6);
    io_support::write_file(made.folder / "sentence_bert_config.json", R"({"max_seq_length": 9})");
    CHECK(limit() == 9);
    io_support::write_file(made.folder / "sentence_bert_config.json", R"({"max_seq_length": 4})");
    CHECK(limit() == 4);
    io_support::write_file(made.folder / "sentence_bert_config.json", R"({"max_seq_length": 1000})");
    CHECK(limit() == 16);
}

TEST_CASE("what a directory asks for and ss1 lacks is refused by name") {
    struct refusal {
        const char *file, *from, *to;
        ss1_status status;
        const char *message;
    };
    const refusal refusals[] = {
        {"modules.json", "models.Dense", "models.LSTM", SS1_ERROR_UNSUPPORTED, "module 'LSTM' is not supported"},
        {"modules.json", "models.Transformer", "models.CLIPModel", SS1_ERROR_UNSUPPORTED,
         "the first module 'CLIPModel'"},
        {"modules.json", "1_Pooling", "../1_Pooling", SS1_ERROR_FORMAT, "must be a folder below the directory"},
        {"modules.json", "2_Dense", "9_Dense", SS1_ERROR_IO, "9_Dense/config.json"},
        {"1_Pooling/config.json", "32", "33", SS1_ERROR_FORMAT, "must be the hidden size 32"},
        {"2_Dense/config.json", "activation.Tanh", "activation.Mish", SS1_ERROR_UNSUPPORTED, "Mish"},
        {"2_Dense/config.json", "torch.nn.modules.activation.Tanh", "my.module.Tanh", SS1_ERROR_UNSUPPORTED,
         "2_Dense/config.json: activation_function 'my.module.Tanh' is not supported, torch.nn's"},
        {"2_Dense/config.json", "\"out_features\": 40", "\"out_features\": 41", SS1_ERROR_FORMAT,
         "'2_Dense.linear.weight' has shape [40, 32], must be [41, 32]"},
        {"2_Dense/config.json", "\"bias\": true", "\"use_residual\": true", SS1_ERROR_UNSUPPORTED, "use_residual"},
        {"3_LayerNorm/config.json", "40", "24", SS1_ERROR_FORMAT, "3_LayerNorm.norm"},
        {"config_sentence_transformers.json", "\"default_prompt_name\": \"query\"", "\"default_prompt_name\": \"none\"",
         SS1_ERROR_FORMAT, "is none of the prompts"},
    };
    const auto context = make_context(nullptr, 1);
    for (const refusal &r : refusals) {
        INFO(r.message);
        const directory made("modules");
        made.replace(r.file, r.from, r.to);
        CHECK(made.load(context) == r.status);
        CHECK_THAT(ss1_last_error(), Catch::Contains(r.message));
    }
    const directory normalized("mean");
    fs::create_directories(normalized.folder / "2_Normalize");
    for (const auto &[config, status] :
         {std::pair(R"({})", SS1_OK), std::pair(R"({"module_input_name": "sentence_embedding"})", SS1_OK),
          std::pair(R"({"module_output_name": "token_embeddings"})", SS1_ERROR_UNSUPPORTED),
          std::pair(R"({"module_input_name": "token_embeddings"})", SS1_ERROR_UNSUPPORTED)}) {
        io_support::write_file(normalized.folder / "2_Normalize/config.json", config);
        CHECK(normalized.load(context) == status);
        if (status == SS1_OK) continue;
        CHECK_THAT(ss1_last_error(), Catch::Contains("2_Normalize/config.json: module_") &&
                                         Catch::Contains("'token_embeddings' is not supported"));
    }
    const directory modes("all_modes");
    modes.replace("1_Pooling/config.json", "weightedmean", "attention");
    CHECK(modes.load(context) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("pooling_mode 'attention' is not supported"));
    const directory sparse("splade");
    sparse.replace("modules.json", "\n]", R"(, {"path": "2_Normalize", "type": "models.Normalize"}])");
    CHECK(sparse.load(context) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("module 2: module 'Normalize' behind SpladePooling is not supported"));
}

TEST_CASE("messages about a module name its folder, not the transformer's") {
    const auto context = make_context(nullptr, 1);
    const directory made("all_modes");
    const auto refused = [&](const char *message) {
        CHECK(made.load(context) == SS1_ERROR_FORMAT);
        CHECK_THAT(ss1_last_error(), Catch::StartsWith("ss1_model_load: " + made.folder.path + message));
    };
    fs::copy(std::string(SS1_TEST_DATA) + "/sentence/modules/2_Dense", made.folder / "2_Dense");
    made.replace("modules.json", "\n]", R"(, {"path": "2_Dense", "type": "models.Dense"}])");
    made.replace("1_Pooling/config.json", "32", "33");
    refused("/1_Pooling: the pooling has embedding_dimension 33, must be the hidden size 32");
    made.replace("1_Pooling/config.json", "33", "32");
    refused("/2_Dense: takes rows of 32, must be the 192 that the module before it gives");
    made.replace("2_Dense/config.json", "\"in_features\": 32", "\"in_features\": 192");
    refused(": tensor '2_Dense.linear.weight' has shape [40, 32], must be [40, 192]");
}

// The names are those of sentence-transformers 6.
TEST_CASE("a transformer that gives anything but the output that is pooled is refused") {
    const auto context = make_context(nullptr, 1);
    const auto load = [&](const char *name, const char *settings, const char *type = nullptr) {
        const directory made(name);
        io_support::write_file(made.folder / (fs::path(case_of(name).folder) / "sentence_bert_config.json").string(),
                               settings);
        if (type) made.replace("modules.json", "MLMTransformer", type);
        return made.load(context);
    };
    CHECK(load("mean", R"({"transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "processing_kwargs": {"text": {}}, "unpad_inputs": true, "query_length": null})") == SS1_OK);
    CHECK(load("all_modes", R"({"transformer_task": null, "processing_kwargs": {}, "model_args": null})") == SS1_OK);
    const char *words = R"({"transformer_task": "fill-mask", "module_output_name": "token_embeddings",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}}})";
    CHECK(load("splade", words) == SS1_OK);
    CHECK(load("splade", words, "Transformer") == SS1_OK);

    struct refusal {
        const char *name, *settings, *message;
    };
    for (const refusal &r : {
             refusal{
                 "mean", R"({"transformer_task": "fill-mask"})",
                 "transformer_task 'fill-mask' is not supported in front of these modules, 'feature-extraction' is"},
             refusal{"all_modes", R"({"transformer_task": "sequence-classification"})", "0_Transformer/sentence_bert_"},
             refusal{"splade", R"({"transformer_task": "feature-extraction"})", "modules, 'fill-mask' is"},
             refusal{"mean", R"({"module_output_name": "sentence_embedding"})", "'token_embeddings' is"},
             refusal{"mean", R"({"modality_config": {"image": {}}})", "modality_config: 'image' is not supported"},
             refusal{"mean", R"({"modality_config": {"text": {"method": "get_text_features"}}})",
                     "modality_config: text: method 'get_text_features' is not supported, 'forward' is"},
             refusal{"mean", R"({"modality_config": {"text": {"method_output_name": "pooler_output"}}})",
                     "method_output_name 'pooler_output' is not supported, 'last_hidden_state' is"},
             refusal{"mean", R"({"processing_kwargs": {"text": {"max_length": 4}}})",
                     "processing_kwargs: 'text' is not supported"},
             refusal{"mean", R"({"model_args": {"add_pooling_layer": false}})",
                     "model_args: 'add_pooling_layer' is not supported"},
             refusal{"mean", R"({"tokenizer_args": {"do_lower_case": true}})",
                     "tokenizer_args: 'do_lower_case' is not"},
             refusal{"mean", R"({"config_kwargs": {"hidden_act": "relu"}})", "config_kwargs: 'hidden_act' is not"},
         }) {
        INFO(r.settings);
        CHECK(load(r.name, r.settings) == SS1_ERROR_UNSUPPORTED);
        CHECK_THAT(ss1_last_error(), Catch::Contains(r.message));
    }
    CHECK(load("splade", "{}", "Transformer") == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("transformer_task 'feature-extraction' is not supported"));
}

TEST_CASE("prompt tokens are checked") {
    const directory made("all_modes");
    const auto context = make_context(nullptr, 1);
    const auto model = ss1::load_model(context, made.folder.path);
    const auto session = make_session(model, 2);
    arrays inputs, unused;
    read_vectors(std::string(SS1_TEST_DATA) + "/sentence/all_modes", inputs, unused);
    inputs.erase("sentence_embedding");
    const auto slot = [](std::vector<ss1_tensor> &in) -> ss1_tensor & {
        return *std::ranges::find_if(in, [](const ss1_tensor &t) { return std::string(t.name) == "prompt_tokens"; });
    };
    check_bad_inputs(
        model, session, inputs,
        {{"beyond the sequence", "prompt_tokens[1,0]=99 is not in 0..14",
          [&](auto &in, auto &) { i64(slot(in))[1] = 99; }},
         {"another batch", "input 'prompt_tokens': shape[0]=1 is not the 2 of 'input_ids'", [&](auto &in, auto &) {
              slot(in).shape[0] = 1;
              slot(in).bytes = 8;
          }}});
}

namespace {

constexpr const char *letters = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\n##a\n##b\n##c\n##d\n##e\nq\n:\n";

// NULL in a build without ICU.
ss1::tokenizer_ptr tokenizer_of(const ss1::context_ptr &context, const std::string &directory) {
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load(context.get(), directory.c_str(), &tokenizer);
    if (status != SS1_ERROR_UNSUPPORTED) ss1::check(status);
    return ss1::tokenizer_ptr(tokenizer);
}

// A directory with a vocabulary and further files, loaded. Without ICU it has no tokenizer.
struct text_model {
    directory made;
    ss1::context_ptr context;
    ss1::model_ptr model;
    ss1::tokenizer_ptr tokenizer;

    explicit text_model(std::string_view name, const std::map<std::string, std::string> &files = {},
                        uint32_t threads = 1, const std::string &vocabulary = "vocab.txt")
        : made(name), context(make_context(nullptr, threads)) {
        io_support::write_file(made.folder / vocabulary, letters);
        for (const auto &[file, text] : files) io_support::write_file(made.folder / file, text);
        model = ss1::load_model(context, made.folder.path);
        tokenizer = tokenizer_of(context, made.folder.path);
    }
};

std::vector<ss1_text> views(const std::vector<std::string> &texts) {
    std::vector<ss1_text> views;
    for (const std::string &text : texts) views.push_back({sizeof(ss1_text), text.data(), text.size()});
    return views;
}

std::vector<std::string> random_texts(std::mt19937 &random, size_t n) {
    std::vector<std::string> texts(n);
    for (std::string &text : texts)
        for (size_t words = random() % 20; words > 0; --words) {
            for (size_t i = 1 + random() % 3; i > 0; --i) text += static_cast<char>('a' + random() % 5);
            text += ' ';
        }
    return texts;
}

struct encoded {
    ss1_status status;
    std::vector<float> y;
};

encoded encode(const ss1::model_ptr &model, const ss1::tokenizer_ptr &tokenizer, const std::vector<std::string> &texts,
               size_t width, ss1_encode_args args = SS1_ENCODE_ARGS_INIT) {
    const std::vector<ss1_text> first = views(texts);
    encoded result = {SS1_OK, std::vector<float>(texts.size() * width)};
    args.n = texts.size();
    args.first = first.data();
    args.y = result.y.data();
    result.status = ss1_model_encode(model.get(), tokenizer.get(), &args);
    return result;
}

}  // namespace

TEST_CASE("texts become the vectors of their tokens, in their order, whatever runs together") {
    const text_model loaded("mean", {}, 2);
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    auto random = ss1_test::seeded();
    const std::vector<std::string> texts = random_texts(random, 60);
    const std::vector<float> want = encode(model, tokenizer, texts, 64).y;
    for (const size_t batch_tokens : {1, 17, 100}) {
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.batch_tokens = batch_tokens;
        CHECK(encode(model, tokenizer, texts, 64, args).y == want);
    }
    const auto session = make_session(model, 1);
    for (size_t i = 0; i < texts.size(); ++i) {
        const ss1_text text = views(texts)[i];
        std::vector<int64_t> ids(16);
        size_t length = 0;
        ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
        args.n = 1;
        args.first = &text;
        args.max_tokens = 16;
        args.input_ids = ids.data();
        args.lengths = &length;
        ss1::check(ss1_tokenizer_encode(tokenizer.get(), &args));
        ids.resize(length);
        const arrays outputs =
            infer(model, session, {{"input_ids", make_array("input_ids", {1, static_cast<int64_t>(length)}, ids)}});
        const float *row = outputs.at("sentence_embedding").as<float>();
        CHECK(std::equal(row, row + 64, want.begin() + static_cast<ptrdiff_t>(i * 64)));
    }
}

TEST_CASE("prompts go in front of texts, by name, by like name or by default") {
    const text_model loaded("modules", {{"config_sentence_transformers.json", R"({
        "prompts": {"query": "q: ", "passage": "b ", "other": "c ", "none": null}, "default_prompt_name": "other"})"}});
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    const auto with = [&](const char *prompt, const char *text) {
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.prompt = prompt;
        const encoded result = encode(model, tokenizer, {text}, 24, args);
        ss1::check(result.status);
        return result.y;
    };
    CHECK(with("query", "ab") == with("", "q: ab"));
    CHECK(with("document", "ab") == with("", "b ab"));
    CHECK(with("none", "ab") == with("", "ab"));
    CHECK(with(nullptr, "ab") == with("", "c ab"));
    CHECK(with("", "ab") != with("", "c ab"));
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.prompt = "title";
    CHECK(encode(model, tokenizer, {"ab"}, 24, args).status == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.prompt 'title' is not a prompt of the model, which has"));

    // Fewer dimensions: the first numbers, of length 1 again as the model normalises.
    args.prompt = "query";
    const std::vector<float> all = with("query", "ab");
    args.dimensions = 10;
    const std::vector<float> cut = encode(model, tokenizer, {"ab"}, 10, args).y;
    double length = 0;
    for (size_t i = 0; i < 10; ++i) length += static_cast<double>(all[i]) * all[i];
    for (size_t i = 0; i < 10; ++i) CHECK(cut[i] == Approx(all[i] / std::sqrt(length)).margin(1e-6));
    args.dimensions = 25;
    CHECK(encode(model, tokenizer, {"ab"}, 25, args).status == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.dimensions=25 is above the 24"));
}

TEST_CASE("the default prompt stands before the first texts of a CrossEncoder") {
    const text_model loaded("mean", {{"modules.json", R"([{"path": "", "type": "models.Transformer"}])"},
                                     {"config_sentence_transformers.json",
                                      R"({"prompts": {"query": "b "}, "default_prompt_name": "query"})"}});
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    const auto with = [&](const char *prompt, const char *text) {
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.output = "logits";
        args.prompt = prompt;
        const encoded result = encode(model, tokenizer, {text}, 3, args);
        ss1::check(result.status);
        return result.y;
    };
    CHECK(with(nullptr, "a") == with("", "b a"));
    CHECK(with("document", "a") == with("", "b a"));
    CHECK(with("query", "a") == with("", "b a"));
    CHECK(with("query", "a") != with("", "a"));
}

TEST_CASE("the numbers of SPLADE are not cut") {
    const text_model loaded("splade");
    if (!loaded.tokenizer) return;
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.dimensions = 8;
    CHECK(encode(loaded.model, loaded.tokenizer, {"a"}, 8, args).status == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.dimensions=8: the numbers of a SPLADE model belong to words"));
}

TEST_CASE("the caller's floating-point mode does not matter") {
    const text_model loaded("modules");
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.dimensions = 7;
    const std::vector<std::string> texts = {"a b c", "d", "e e ab"};
    const std::vector<float> want = encode(model, tokenizer, texts, 7, args).y;
    std::fesetround(FE_UPWARD);
    const std::vector<float> got = encode(model, tokenizer, texts, 7, args).y;
    const int mode = std::fegetround();
    std::fesetround(FE_TONEAREST);
    CHECK(mode == FE_UPWARD);
    CHECK(got == want);
}

TEST_CASE("a pooling without the prompt leaves its tokens out") {
    const text_model loaded("all_modes", {{"config_sentence_transformers.json", R"({"prompts": {"task": "q: "}})"}}, 1,
                            "0_Transformer/vocab.txt");
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.prompt = "task";
    const std::vector<float> got = encode(model, tokenizer, {"a b"}, 192, args).y;
    // [CLS] q : a b [SEP]: the prompt alone is [CLS] q : [SEP], so that three tokens are left out.
    const arrays inputs = {{"input_ids", make_array("input_ids", {1, 6}, std::vector<int64_t>{2, 15, 16, 5, 6, 3})},
                           {"prompt_tokens", make_array("prompt_tokens", {1}, std::vector<int64_t>{3})}};
    const array want = infer(model, make_session(model, 1), inputs).at("sentence_embedding");
    CHECK(std::equal(got.begin(), got.end(), want.as<float>()));
}

namespace {

// A tokenizer.json with the letters as its vocabulary.
std::string letters_json(const std::string &truncation, const std::string &processor) {
    std::string vocab;
    std::istringstream lines(letters);
    size_t id = 0;
    for (std::string line; std::getline(lines, line); ++id)
        vocab += (id ? ", \"" : "\"") + line + "\": " + std::to_string(id);
    return R"({"truncation": )" + truncation + R"(, "normalizer": {"type": "BertNormalizer", "clean_text": true,
        "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}, "pre_tokenizer":
        {"type": "BertPreTokenizer"}, "post_processor": )" +
           processor + R"(, "added_tokens": [{"id": 2, "content": "[CLS]", "special": true, "normalized": false,
        "single_word": false, "lstrip": false, "rstrip": false}, {"id": 3, "content": "[SEP]", "special": true,
        "normalized": false, "single_word": false, "lstrip": false, "rstrip": false}],
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": {)" +
           vocab + "}}}";
}

constexpr const char *of_bert = R"({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]})";
constexpr const char *fast_class = R"({"tokenizer_class": "PreTrainedTokenizerFast"})";

// A template with [CLS] in front of or [SEP] behind a text.
std::string template_json(bool cls, bool sep) {
    const std::string before = cls ? R"({"SpecialToken": {"id": "[CLS]", "type_id": 0}}, )" : "",
                      after = sep ? R"(, {"SpecialToken": {"id": "[SEP]", "type_id": 0}})" : "";
    return R"({"type": "TemplateProcessing", "single": [)" + before + R"({"Sequence": {"id": "A", "type_id": 0}})" +
           after + R"(], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                           "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}})";
}

}  // namespace

TEST_CASE("a tokenizer without a token at the end leaves all tokens of the prompt out") {
    struct rule {
        const char *processor, *prompt;
        std::vector<int64_t> ids;
        int64_t left_out;
    };
    const rule rules[] = {{"null", "q: ", {15, 16, 5, 6}, 2},
                          {of_bert, "q: ", {2, 15, 16, 5, 6, 3}, 3},
                          {"null", "q [SEP] ", {15, 3, 5, 6}, 1},
                          {"null", "q ? ", {15, 1, 5, 6}, 1}};
    for (const rule &r : rules) {
        INFO(r.processor << r.prompt);
        const text_model loaded(
            "all_modes",
            {{"config_sentence_transformers.json", R"({"prompts": {"task": ")" + std::string(r.prompt) + R"("}})"},
             {"0_Transformer/tokenizer_config.json", fast_class},
             {"0_Transformer/tokenizer.json", letters_json("null", r.processor)}},
            1, "unused.txt");
        if (!loaded.tokenizer) return;
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.prompt = "task";
        const std::vector<float> got = encode(loaded.model, loaded.tokenizer, {"a b"}, 192, args).y;
        const auto n = static_cast<int64_t>(r.ids.size());
        const arrays inputs = {{"input_ids", make_array("input_ids", {1, n}, r.ids)},
                               {"prompt_tokens", make_array("prompt_tokens", {1}, std::vector{r.left_out})}};
        const array want = infer(loaded.model, make_session(loaded.model, 1), inputs).at("sentence_embedding");
        CHECK(std::equal(got.begin(), got.end(), want.as<float>()));
    }
}

TEST_CASE("scores of a CrossEncoder are its logits under the activation of its config.json") {
    struct rule {
        const char *config, *name;
    };
    const rule rules[] = {
        {R"("num_labels": 1)", "Sigmoid"},
        {R"("num_labels": 2)", "Identity"},
        {R"("num_labels": 1, "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity")", "Identity"},
        {R"("num_labels": 1, "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
            "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"})",
         "Tanh"},
        {R"("num_labels": 3, "sentence_transformers": {"activation_fn": "torch.nn.Mish"})", "Mish"},
        {R"("num_labels": 1, "sentence_transformers": {"activation_fn": "my.module.ReLU"})", "ReLU"},
        {R"("num_labels": 1, "sentence_transformers": {"activation_fn": "SiLU"})", "SiLU"},
    };
    const auto context = make_context(nullptr, 1);
    const directory files("mean");
    io_support::write_file(files.folder / "vocab.txt", letters);
    const ss1::tokenizer_ptr tokenizer = tokenizer_of(context, files.folder.path);
    for (const rule &r : rules) {
        INFO(r.config);
        const std::string config =
            R"({"model_type": "bert", "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 1,
                "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 48,
                "architectures": ["BertForSequenceClassification"], )" +
            std::string(r.config) + "}";
        const auto model = random_model(context, config.c_str());
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        CHECK(std::string(info.score_activation) == r.name);
        if (!tokenizer) continue;
        const std::vector<std::string> queries(5, "a b"), documents = {"c", "d e", "a", "abc", ""};
        const std::vector<ss1_text> second = views(documents);
        const size_t width = info.n_labels;
        std::vector<float> scores(5 * width);
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.second = second.data();
        args.output = "logits";
        args.scores = scores.data();
        const encoded logits = encode(model, tokenizer, queries, width, args);
        if (const auto refused = std::map<std::string, const char *>{{"Mish", "'torch.nn.Mish' is not supported"},
                                                                     {"ReLU", "'my.module.ReLU' is not supported"},
                                                                     {"SiLU", "'SiLU' is not supported"}};
            refused.contains(r.name)) {
            CHECK(logits.status == SS1_ERROR_UNSUPPORTED);
            CHECK_THAT(ss1_last_error(), Catch::Contains(refused.at(r.name)));
            continue;
        }
        ss1::check(logits.status);
        for (size_t i = 0; i < scores.size(); ++i) {
            const double x = static_cast<double>(logits.y[i]);
            const double want = r.name == std::string("Sigmoid") ? 1 / (1 + std::exp(-x))
                                : r.name == std::string("Tanh")  ? std::tanh(x)
                                                                 : x;
            CHECK(scores[i] == Approx(want).margin(1e-6));
        }
        args.output = nullptr;
        CHECK(encode(model, tokenizer, queries, width, args).status == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains("no output 'sentence_embedding', because its directory has no"));
    }
}

TEST_CASE("static embeddings are the means of the rows of a text's own tokens") {
    const directory made("static");
    io_support::write_file(made.folder / "vocab.txt", letters);
    const auto context = make_context(nullptr, 2);
    const ss1::tokenizer_ptr tokenizer = tokenizer_of(context, made.folder.path);
    if (!tokenizer) return;
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(made.folder / "model.safetensors", file) == SS1_OK);
    std::vector<float> table(17 * 12);
    REQUIRE(ss1::safetensors_read(file, *file.header.find("embedding.weight"), 0,
                                  std::as_writable_bytes(std::span(table))) == SS1_OK);
    const auto mean = [&](const std::vector<size_t> &ids) {
        std::vector<double> sum(12);
        double squares = 0;
        for (const size_t id : ids)
            for (size_t i = 0; i < 12; ++i) sum[i] += static_cast<double>(table[id * 12 + i]);
        for (const double v : sum) squares += v * v;
        for (double &v : sum) v /= std::max(std::sqrt(squares), 1e-12);
        return sum;
    };
    const auto check = [&](const std::string &folder, const std::vector<std::vector<size_t>> &want) {
        const encoded got =
            encode(ss1::load_model(context, folder), tokenizer_of(context, folder), {"a ab", "", "b unknown e"}, 12);
        ss1::check(got.status);
        for (size_t t = 0; t < want.size(); ++t)
            for (size_t i = 0; i < 12; ++i) CHECK(got.y[t * 12 + i] == Approx(mean(want[t])[i]).margin(1e-6));
    };
    check(made.folder.path, {{5, 5, 11}, {}, {6, 1, 9}});

    // model2vec's own files: other names, and unknown tokens are left out.
    const io_support::temporary_folder own;
    fs::copy_file(made.folder / "vocab.txt", own / "vocab.txt");
    io_support::write_file(own / "config.json", R"({"model_type": "model2vec", "normalize": true})");
    std::string bytes = io_support::read_file(made.folder / "model.safetensors");
    const std::string name = "\"embedding.weight\"";
    bytes.replace(bytes.find(name), name.size(), "\"embeddings\"      ");
    io_support::write_file(own / "model.safetensors", bytes);
    check(own.path, {{5, 5, 11}, {}, {6, 9}});

    // It then cuts a text at 512 tokens, or max_tokens.
    const auto rows = [&](const std::string &text, size_t max_tokens) {
        ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
        args.max_tokens = max_tokens;
        const encoded got =
            encode(ss1::load_model(context, own.path), tokenizer_of(context, own.path), {text}, 12, args);
        ss1::check(got.status);
        return got.y;
    };
    const auto repeated = [](size_t n, const char *word) {
        std::string text;
        for (size_t i = 0; i < n; ++i) text += word;
        return text;
    };
    const std::string unknown = repeated(50, "unknown "), a = repeated(400, "a "), b = repeated(112, "b ");
    CHECK(rows(unknown + a + b + "c c", 0) == rows(a + b, 0));
    CHECK(rows(a + b + "c c", 514) != rows(a + b, 0));
    CHECK(rows("unknown a b c", 2) == rows("a b", 0));
}

TEST_CASE("static embeddings read a text's own tokens, whatever the tokenizer puts around them") {
    const directory made("static"), bert("mean");
    io_support::write_file(made.folder / "tokenizer_config.json", fast_class);
    io_support::write_file(bert.folder / "vocab.txt", letters);
    const auto context = make_context(nullptr, 1);
    const auto model = ss1::load_model(context, made.folder.path);
    const auto rows = [&](const std::string &processor, const std::string &text) {
        io_support::write_file(made.folder / "tokenizer.json", letters_json("null", processor));
        const encoded got = encode(model, tokenizer_of(context, made.folder.path), {text}, 12);
        ss1::check(got.status);
        return got.y;
    };
    const ss1::tokenizer_ptr other = tokenizer_of(context, bert.folder.path);
    if (!other) return;
    for (const char *text : {"a b", "[CLS] a b [SEP]", "[CLS]", ""}) {
        INFO(text);
        const std::vector<float> want = rows("null", text);
        CHECK(rows(of_bert, text) == want);
        CHECK(rows(template_json(true, false), text) == want);
        CHECK(rows(template_json(false, true), text) == want);
    }
    CHECK(rows(of_bert, "[CLS] a b [SEP]") != rows(of_bert, "a b"));
    CHECK(encode(model, other, {"a"}, 12).status == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("the tokenizer puts special tokens around a text"));
}

// sentence-transformers' StaticEmbedding has no max_seq_length, and reads tokenizer.json alone.
TEST_CASE("texts of static embeddings are cut by tokenizer.json alone") {
    const directory made("static");
    io_support::write_file(
        made.folder / "tokenizer_config.json",
        R"({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 3, "truncation_side": "left"})");
    const auto write = [&](const std::string &truncation) {
        io_support::write_file(made.folder / "tokenizer.json", letters_json(truncation, of_bert));
    };
    const auto context = make_context(nullptr, 1);
    write("null");
    if (!tokenizer_of(context, made.folder.path)) return;
    const auto rows = [&](const std::string &text) {
        const encoded got =
            encode(ss1::load_model(context, made.folder.path), tokenizer_of(context, made.folder.path), {text}, 12);
        ss1::check(got.status);
        return got.y;
    };
    const std::vector<float> five = rows("a b c d e"), two = rows("a b"), last = rows("d e");
    CHECK(five != two);
    write(R"({"max_length": 2, "strategy": "LongestFirst", "stride": 0})");
    CHECK(rows("a b c d e") == two);
    write(R"({"direction": "Left", "max_length": 2, "strategy": "LongestFirst", "stride": 0})");
    CHECK(rows("a b c d e") == last);
    write(R"({"max_length": 5})");
    CHECK(rows("a b c d e") == five);
    write(R"({"max_length": 0})");
    ss1_tokenizer *tokenizer = nullptr;
    CHECK(ss1_tokenizer_load(context.get(), made.folder.path.c_str(), &tokenizer) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("truncation: max_length: is 0, must be in [1,"));
}

TEST_CASE("StaticEmbedding ignores config.json") {
    const directory made("static");
    const std::string modules = io_support::read_file(made.folder / "modules.json");
    io_support::write_file(made.folder / "modules.json", R"([{"path": ".", "type": "models.StaticEmbedding"}])");
    io_support::write_file(made.folder / "vocab.txt", letters);
    const auto context = make_context(nullptr, 1);
    const ss1::tokenizer_ptr tokenizer = tokenizer_of(context, made.folder.path);
    if (!tokenizer) return;
    const auto rows = [&] { return encode(ss1::load_model(context, made.folder.path), tokenizer, {"a b"}, 12).y; };
    const std::vector<float> want = rows();
    for (const char *config :
         {R"({"model_type": "model2vec", "normalize": true})", R"({"model_type": "gpt"})", "no JSON"}) {
        io_support::write_file(made.folder / "config.json", config);
        CHECK(rows() == want);
    }
    io_support::write_file(made.folder / "modules.json", modules);
    CHECK(rows() != want);  // with Normalize
}

TEST_CASE("a message gives the place of a text among all of them") {
    const text_model loaded("static");
    const auto &model = loaded.model;
    const auto &tokenizer = loaded.tokenizer;
    if (!tokenizer) return;
    // Four texts of this length may have as many tokens as are tokenised together.
    const std::vector<std::string> first(6, std::string(131072, 'a')), others(6, "b");
    std::vector<ss1_text> second = views(others);
    second[5].data = nullptr;
    ss1_encode_args args = SS1_ENCODE_ARGS_INIT;
    args.second = second.data();
    CHECK(encode(model, tokenizer, first, 12, args).status == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.second[5].data is NULL but bytes=1"));
}
