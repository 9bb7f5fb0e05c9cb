// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "convert/convert.hpp"
#include "convert/select_layers.hpp"
#include "io/families.hpp"
#include "io/file.hpp"
#include "io_support.hpp"
#include "mapping/mapping.hpp"
#include "mapping/project.hpp"

using namespace io_support;
using ss1::file_dtype;
using json = nlohmann::json;

namespace {

struct context {
    context() { REQUIRE(ss1_context_create(nullptr, &handle) == SS1_OK); }
    ~context() { ss1_context_destroy(&handle); }
    context(const context &) = delete;
    context &operator=(const context &) = delete;
    ss1_context *handle = nullptr;
};

conversion tie_options(uint32_t c, uint32_t block_k) {
    conversion options;
    options.desc.c = c;
    options.desc.block_k = block_k;
    options.desc.seed = 7;
    return options;
}

std::vector<std::string> names_in(const std::string &folder) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TEST_CASE("safetensors: written tensors are read back", "[io]") {
    const temporary_folder folder;
    const std::string path = folder / "a.safetensors";
    const std::vector<float> values{1, -2, 3.5f, 0, 1e-30f, 6};
    REQUIRE(ss1::safetensors_write(
                path,
                {tensor("b", file_dtype::u8, {3}, "xyz"), tensor("weight", file_dtype::f32, {2, 3}, bytes_of(values)),
                 tensor("empty", file_dtype::f32, {4, 0, 2}, ""), tensor("scalar", file_dtype::f64, {}, "12345678"),
                 tensor("a", file_dtype::i16, {1}, "zz")},
                {{"format", "pt"}}) == SS1_OK);
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(path, file) == SS1_OK);
    CHECK(file.header.metadata == std::map<std::string, std::string>{{"format", "pt"}});
    REQUIRE(file.header.tensors.size() == 5);
    for (const ss1::tensor_info &info : file.header.tensors) CHECK(info.begin % ss1::file_dtype_bytes(info.dtype) == 0);
    CHECK(file.header.find("scalar")->begin % 8 == 0);
    CHECK(file.header.find("scalar")->shape.empty());
    CHECK(file.header.find("scalar")->bytes == 8);
    CHECK(file.header.find("empty")->bytes == 0);
    CHECK(file.header.find("none") == nullptr);
    std::vector<float> read(6);
    REQUIRE(ss1::safetensors_read(file, *file.header.find("weight"), 0, std::as_writable_bytes(std::span(read))) ==
            SS1_OK);
    CHECK(read == values);
    CHECK(names_in(folder.path) == std::vector<std::string>{"a.safetensors"});
}

TEST_CASE("safetensors: a failed write leaves nothing", "[io]") {
    const temporary_folder folder;
    auto broken = tensor("w", file_dtype::u8, {1}, "x");
    broken.write = [](ss1::output_file &) { return ss1::fail(SS1_ERROR_IO, "no"); };
    CHECK(ss1::safetensors_write(folder / "a", {broken}, {}) == SS1_ERROR_IO);
    CHECK(ss1::safetensors_write(folder / "a", {tensor("w", file_dtype::u8, {2}, "x")}, {}) == SS1_ERROR_INTERNAL);
    CHECK(ss1::safetensors_write(folder / "a",
                                 {tensor("w", file_dtype::u8, {1}, "x"), tensor("w", file_dtype::u8, {1}, "y")},
                                 {}) == SS1_ERROR_FORMAT);
    CHECK(ss1::safetensors_write(folder / "none/a", {}, {}) == SS1_ERROR_IO);
    CHECK(names_in(folder.path).empty());
}

TEST_CASE("safetensors: a file that shrinks is an error", "[io]") {
    const temporary_folder folder;
    const std::string path = folder / "a";
    REQUIRE(ss1::safetensors_write(path, {tensor("w", file_dtype::u8, {4}, "abcd")}, {}) == SS1_OK);
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(path, file) == SS1_OK);
    std::filesystem::resize_file(path, file.file.bytes - 1);
    std::vector<std::byte> data(4);
    CHECK(ss1::safetensors_read(file, *file.header.find("w"), 0, data) == SS1_ERROR_IO);
}

TEST_CASE("tensors are converted to f32", "[io]") {
    const temporary_folder folder;
    const std::string config = dlrm_json;
    // 1, -2, smallest subnormal, -0, largest f16 and 0.5 as f16; 1, -2, 3.140625 as bf16. An odd header length
    // misaligns all tensors.
    const std::vector<uint16_t> f16{0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff, 0x3800};
    const std::vector<uint16_t> bf16{0x3f80, 0xc000, 0x4049};
    write_file(folder / "config.json", config);
    std::string header =
        R"({"pad":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"h":{"dtype":"F16","shape":[2,3],"data_offsets":[1,13]},)"
        R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[13,19]},"s":{"dtype":"F32","shape":[],"data_offsets":[19,23]}})";
    if (header.size() % 2) header += ' ';
    write_file(folder / "model.safetensors",
               safetensors_bytes(header, "p" + bytes_of(f16) + bytes_of(bf16) + bytes_of(std::vector<float>{2.5f})));
    ss1::model_directory directory;
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    REQUIRE(ss1::model_directory_open(folder.path, options, directory) == SS1_OK);
    const std::vector<float> h = values_of(directory, "h");
    CHECK(h == std::vector<float>{1, -2, 0x1p-24f, -0.0f, 65504, 0.5f});
    CHECK(std::signbit(h[3]));
    CHECK(values_of(directory, "b") == std::vector<float>{1, -2, 3.140625f});
    CHECK(values_of(directory, "s") == std::vector<float>{2.5f});
    CHECK(ss1::model_directory_check(directory) == SS1_ERROR_FORMAT);
}

TEST_CASE("a DLRM directory", "[io]") {
    const temporary_folder folder;
    REQUIRE(write_model(folder.path, dlrm_json) == SS1_OK);
    ss1::model_directory directory;
    REQUIRE(open_model(folder.path, directory) == SS1_OK);
    CHECK(directory.config.text == dlrm_json);
    CHECK(directory.config.dlrm.interaction_width() == 19);
    std::vector<std::string> names;
    for (const ss1::linear_shape &layer : ss1::linear_layers(directory.config)) names.push_back(layer.name);
    CHECK(names == std::vector<std::string>{"bot_l.0", "bot_l.2", "top_l.0", "top_l.2"});
    context ctx;
    ss1::buffer values;
    REQUIRE(ss1::tensor_f32(*ctx.handle, directory, "top_l.0.weight", std::array<size_t, 2>{64, 19}, values) == SS1_OK);
    std::vector<float> expected(64 * 19);
    ss1::random_weights(1, "top_l.0.weight", 0, expected);
    CHECK(std::equal(expected.begin(), expected.end(), values.as<float>()));
}

TEST_CASE("names of distributed DLRM checkpoints", "[io]") {
    const temporary_folder folder;
    REQUIRE(write_model(folder.path, dlrm_json, [](auto &tensors) {
                find(tensors, "emb_l.0.weight").name = "emb_l.module.0.weight";
                find(tensors, "bot_l.0.bias").name = "bot_l.module.0.bias";
                find(tensors, "top_l.0.weight").name = "module.top_l.0.weight";
            }) == SS1_OK);
    CHECK(open_model(folder.path) == SS1_OK);
}

TEST_CASE("names of Hugging Face BERT checkpoints", "[io]") {
    const temporary_folder folder;
    REQUIRE(
        write_model(folder.path, bert_json, [](auto &tensors) {
            for (ss1::tensor_to_write &t : tensors) {
                if (!t.name.starts_with("classifier")) t.name = "bert." + t.name;
            }
            find(tensors, "bert.embeddings.LayerNorm.weight").name = "bert.embeddings.LayerNorm.gamma";
            find(tensors, "bert.embeddings.LayerNorm.bias").name = "bert.embeddings.LayerNorm.beta";
            tensors.push_back(tensor("bert.embeddings.position_ids", file_dtype::i64, {1, 1}, std::string(8, '\0')));
            tensors.push_back(tensor("cls.predictions.bias", file_dtype::f32, {1}, std::string(4, '\0')));
        }) == SS1_OK);
    ss1::model_directory directory;
    REQUIRE(open_model(folder.path, directory) == SS1_OK);
    CHECK(values_of(directory, "embeddings.LayerNorm.weight") == std::vector<float>(32, 1.0f));
    CHECK(values_of(directory, "classifier.weight").size() == 64);
    CHECK(directory.find("cls.predictions.bias"));

    SECTION("pooler and classifier may be absent") {
        REQUIRE(write_model(folder.path, bert_json, [](auto &tensors) {
                    std::erase_if(tensors, [](const auto &t) {
                        return t.name.starts_with("pooler") || t.name.starts_with("classifier");
                    });
                }) == SS1_OK);
        CHECK(open_model(folder.path) == SS1_OK);
    }
}

TEST_CASE("names of BERT's relatives, and the names that transformers gives them", "[io]") {
    ss1::model_config distilbert, roberta, words, tokens;
    json config = json::parse(distilbert_json);
    config["architectures"] = {"DistilBertForMaskedLM"};
    REQUIRE(ss1::model_config_parse(config.dump(), "c", distilbert) == SS1_OK);
    REQUIRE(ss1::model_config_parse(roberta_json, "c", roberta) == SS1_OK);
    REQUIRE(ss1::model_config_parse(words_json, "c", words) == SS1_OK);
    config = json::parse(roberta_json);
    config["architectures"] = {"RobertaForTokenClassification"};
    REQUIRE(ss1::model_config_parse(config.dump(), "c", tokens) == SS1_OK);
    ss1::model_config electra, mpnet, albert, generator;
    REQUIRE(ss1::model_config_parse(electra_json, "c", electra) == SS1_OK);
    REQUIRE(ss1::model_config_parse(mpnet_json, "c", mpnet) == SS1_OK);
    REQUIRE(ss1::model_config_parse(albert_json, "c", albert) == SS1_OK);
    ss1::model_config modernbert, nomic, nomic_hf, gte;
    REQUIRE(ss1::model_config_parse(modernbert_json, "c", modernbert) == SS1_OK);
    REQUIRE(ss1::model_config_parse(nomic_json, "c", nomic) == SS1_OK);
    REQUIRE(ss1::model_config_parse(nomic_hf_json, "c", nomic_hf) == SS1_OK);
    REQUIRE(ss1::model_config_parse(gte_json, "c", gte) == SS1_OK);
    ss1::model_config deberta, deberta_words, deberta_lm;
    REQUIRE(ss1::model_config_parse(deberta_json, "c", deberta) == SS1_OK);
    config = json::parse(deberta_json);
    config["architectures"] = {"DebertaV2ForMaskedLM"};
    config["share_att_key"] = false;
    REQUIRE(ss1::model_config_parse(config.dump(), "c", deberta_words) == SS1_OK);
    config["legacy"] = false;
    REQUIRE(ss1::model_config_parse(config.dump(), "c", deberta_lm) == SS1_OK);
    config = json::parse(electra_json);
    config["architectures"] = {"ElectraForMaskedLM"};
    REQUIRE(ss1::model_config_parse(config.dump(), "c", generator) == SS1_OK);
    const struct {
        const ss1::model_config &config;
        const char *stored, *canonical;
    } rows[] = {
        {distilbert, "distilbert.embeddings.LayerNorm.weight", "embeddings.LayerNorm.weight"},
        {distilbert, "distilbert.transformer.layer.12.attention.q_lin.bias",
         "encoder.layer.12.attention.self.query.bias"},
        {distilbert, "distilbert.transformer.layer.0.sa_layer_norm.bias",
         "encoder.layer.0.attention.output.LayerNorm.bias"},
        {distilbert, "distilbert.transformer.layer.3.ffn.lin2.ss1_weight", "encoder.layer.3.output.dense.ss1_weight"},
        {distilbert, "vocab_projector.bias", "cls.predictions.decoder.bias"},
        {roberta, "roberta.encoder.layer.1.output.LayerNorm.weight", "encoder.layer.1.output.LayerNorm.weight"},
        {roberta, "classifier.dense.weight", "pre_classifier.weight"},
        {roberta, "classifier.out_proj.bias", "classifier.bias"},
        {tokens, "classifier.bias", "classifier.bias"},
        {words, "bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"},
        {words, "cls.predictions.bias", "cls.predictions.bias"},
        {electra, "electra.embeddings_project.weight", "embeddings_project.weight"},
        {electra, "discriminator_predictions.dense_prediction.bias", "discriminator_predictions.dense_prediction.bias"},
        {generator, "generator_lm_head.bias", "cls.predictions.decoder.bias"},
        {mpnet, "mpnet.encoder.layer.11.attention.attn.o.weight", "encoder.layer.11.attention.output.dense.weight"},
        {mpnet, "mpnet.encoder.layer.0.attention.LayerNorm.bias", "encoder.layer.0.attention.output.LayerNorm.bias"},
        {mpnet, "mpnet.encoder.relative_attention_bias.weight", "encoder.relative_attention_bias.weight"},
        {mpnet, "classifier.dense.weight", "pre_classifier.weight"},
        {albert, "albert.encoder.embedding_hidden_mapping_in.weight", "embeddings_project.weight"},
        {albert, "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn_output.ss1_weight",
         "encoder.layer.1.output.dense.ss1_weight"},
        {albert, "albert.pooler.bias", "pooler.dense.bias"},
        {albert, "predictions.bias", "cls.predictions.bias"},
        {modernbert, "model.embeddings.tok_embeddings.weight", "embeddings.word_embeddings.weight"},
        {modernbert, "model.layers.21.attn.Wqkv.ss1_weight", "encoder.layer.21.attention.self.qkv.ss1_weight"},
        {modernbert, "model.layers.1.attn_norm.weight", "encoder.layer.1.attention.LayerNorm.weight"},
        {modernbert, "model.layers.1.mlp.Wo.weight", "encoder.layer.1.output.dense.weight"},
        {modernbert, "model.final_norm.weight", "encoder.LayerNorm.weight"},
        {modernbert, "head.norm.weight", "cls.predictions.transform.LayerNorm.weight"},
        {modernbert, "decoder.bias", "cls.predictions.decoder.bias"},
        {nomic, "bert.emb_ln.bias", "embeddings.LayerNorm.bias"},
        {nomic, "bert.encoder.layers.11.mlp.fc12.weight", "encoder.layer.11.intermediate.gate.weight"},
        {nomic, "bert.encoder.layers.0.norm1.weight", "encoder.layer.0.attention.output.LayerNorm.weight"},
        {nomic_hf, "nomic_bert.encoder.layers.2.mlp.fc11.weight", "encoder.layer.2.intermediate.up.weight"},
        {nomic_hf, "nomic_bert.encoder.layers.2.attn.out_proj.weight", "encoder.layer.2.attention.output.dense.weight"},
        {gte, "new.encoder.layer.3.attention.qkv_proj.bias", "encoder.layer.3.attention.self.qkv.bias"},
        {gte, "new.encoder.layer.3.mlp.up_gate_proj.weight", "encoder.layer.3.intermediate.dense.weight"},
        {gte, "lm_head.norm.bias", "cls.predictions.transform.LayerNorm.bias"},
        {deberta, "deberta.encoder.layer.11.attention.self.query_proj.ss1_weight",
         "encoder.layer.11.attention.self.query.ss1_weight"},
        {deberta, "deberta.encoder.layer.0.attention.output.LayerNorm.weight",
         "encoder.layer.0.attention.output.LayerNorm.weight"},
        {deberta, "deberta.encoder.rel_embeddings.weight", "encoder.rel_embeddings.weight"},
        {deberta, "pooler.dense.weight", "pre_classifier.weight"},
        {deberta_words, "deberta.encoder.layer.3.attention.self.pos_key_proj.bias",
         "encoder.layer.3.attention.self.pos_key.bias"},
        {deberta_words, "cls.predictions.transform.LayerNorm.bias", "cls.predictions.transform.LayerNorm.bias"},
        {deberta_words, "cls.predictions.bias", "cls.predictions.bias"},
        {deberta_lm, "deberta.encoder.layer.3.attention.self.pos_query_proj.weight",
         "encoder.layer.3.attention.self.pos_query.weight"},
        {deberta_lm, "lm_predictions.lm_head.dense.weight", "cls.predictions.transform.dense.weight"},
        {deberta_lm, "lm_predictions.lm_head.LayerNorm.weight", "cls.predictions.transform.LayerNorm.weight"},
        {deberta_lm, "lm_predictions.lm_head.bias", "cls.predictions.decoder.bias"},
    };
    for (const auto &row : rows) {
        CHECK(ss1::canonical_name(row.config, row.stored) == row.canonical);
        CHECK(ss1::stored_name(row.config, row.canonical) == row.stored);
    }
    // Names that are not in the tables stay unchanged.
    for (const char *other : {"transformer.layer.x.ffn.lin1.weight", "transformer.layer..ffn.lin1.weight",
                              "transformer.layer.1", "transformer.layer.1.ffn", "vocab_projectors.bias", ""})
        CHECK(ss1::canonical_name(distilbert, other) == other);
    for (const ss1::model_config *each : {&distilbert, &roberta, &words, &tokens, &electra, &mpnet, &albert, &generator,
                                          &modernbert, &nomic, &nomic_hf, &gte, &deberta, &deberta_words, &deberta_lm})
        for (const ss1::tensor_spec &spec : ss1::model_tensors(*each))
            CHECK(ss1::canonical_name(*each, ss1::stored_name(*each, spec.name)) == spec.name);
}

TEST_CASE("the layer that scores words shares the word embeddings if it has no weight of its own", "[io]") {
    const temporary_folder folder;
    const auto leave_out = [](auto &tensors) {
        find(tensors, "cls.predictions.decoder.bias").name = "cls.predictions.bias";
        std::erase_if(tensors, [](const auto &t) { return t.name == "cls.predictions.decoder.weight"; });
    };
    REQUIRE(write_model(folder.path, words_json, leave_out) == SS1_OK);
    ss1::model_directory directory;
    REQUIRE(open_model(folder.path, directory) == SS1_OK);
    CHECK(values_of(directory, "cls.predictions.decoder.weight") ==
          values_of(directory, "embeddings.word_embeddings.weight"));
    CHECK(values_of(directory, "cls.predictions.decoder.bias") == values_of(directory, "cls.predictions.bias"));

    // A file may have the layer's weight alone. The conversion that ties the layer keeps the embeddings.
    const auto leave_out_words = [](auto &tensors) {
        for (const char *name : {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"})
            find(tensors, name).name.replace(0, 16, "lm_head.");
        std::erase_if(tensors, [](const auto &t) { return t.name == "embeddings.word_embeddings.weight"; });
    };
    json config = json::parse(roberta_json);
    config["architectures"] = {"RobertaForMaskedLM"};
    REQUIRE(write_model(folder.path, config.dump(), leave_out_words) == SS1_OK);
    REQUIRE(open_model(folder.path, directory) == SS1_OK);
    const std::vector<float> weights = values_of(directory, "cls.predictions.decoder.weight");
    CHECK(values_of(directory, "embeddings.word_embeddings.weight") == weights);
    CHECK(weights.size() == 320);
    context ctx;
    conversion options = tie_options(2, 16);
    options.layers = "cls.predictions.decoder";
    REQUIRE(ss1::convert_model(*ctx.handle, folder.path.c_str(), (folder / "tied").c_str(), options) == SS1_OK);
    REQUIRE(open_model(folder / "tied", directory) == SS1_OK);
    CHECK(values_of(directory, "embeddings.word_embeddings.weight") == weights);
    CHECK(directory.find("roberta.embeddings.word_embeddings.weight") == nullptr);
    CHECK(directory.find("embeddings.word_embeddings.weight")->stored.name ==
          "roberta.embeddings.word_embeddings.weight");
    config["tie_word_embeddings"] = false;
    REQUIRE(write_model(folder.path, config.dump(), leave_out_words) == SS1_OK);
    CHECK(open_model(folder.path) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1::last_error(), Catch::Contains("'roberta.embeddings.word_embeddings.weight' is missing"));

    // A weight of its own takes precedence.
    REQUIRE(write_model(folder.path, words_json) == SS1_OK);
    REQUIRE(open_model(folder.path, directory) == SS1_OK);
    CHECK(values_of(directory, "cls.predictions.decoder.weight") !=
          values_of(directory, "embeddings.word_embeddings.weight"));
}

TEST_CASE("BERT defaults and activations", "[io]") {
    ss1::model_config config;
    REQUIRE(ss1::model_config_parse(R"({"model_type": "bert"})", "c", config) == SS1_OK);
    CHECK(config.bert.hidden_size == 768);
    CHECK(config.bert.layer_norm_eps == 1e-12);
    CHECK(ss1::linear_layers(config).size() == 74);
    CHECK(ss1::model_tensors(config).size() == 201);
    REQUIRE(ss1::model_config_parse(
                R"({"model_type": "bert", "hidden_act": "gelu_new", "id2label": {"0": "a", "1": "b", "2": "c"},
                                        "classifier_dropout": null, "num_hidden_layers": null,
                                        "architectures": ["BertForSequenceClassification"]})",
                "c", config) == SS1_OK);
    CHECK(config.bert.hidden_act == SS1_ACTIVATION_GELU_TANH);
    CHECK(config.bert.labels == std::vector<std::string>{"a", "b", "c"});
    CHECK(config.bert.num_hidden_layers == 12);
    CHECK(config.bert.head == ss1::bert_head::sequence_classification);
    CHECK_FALSE(ss1::linear_layers(config).back().optional);
}

TEST_CASE("labels count where a head has them, and nowhere else", "[io]") {
    ss1::model_config config;
    for (const char *odd : {R"("num_labels": 3, "id2label": {"0": "a"})", R"("id2label": {"0": "a", "2": "b"})",
                            R"("id2label": ["a"])", R"("id2label": {})", R"("num_labels": 0)"})
        for (const char *head : {"Model", "ForMaskedLM"}) {
            const auto with = [&](const char *architecture) {
                return std::string(R"({"model_type": "roberta", "architectures": ["Roberta)") + architecture +
                       R"("], )" + odd + "}";
            };
            INFO(odd << ", " << head);
            CHECK(ss1::model_config_parse(with(head), "c", config) == SS1_OK);
            CHECK(ss1::model_config_parse(with("ForSequenceClassification"), "c", config) == SS1_ERROR_FORMAT);
            CHECK(ss1::model_config_parse(with("ForQuestionAnswering"), "c", config) == SS1_ERROR_FORMAT);
        }
}

TEST_CASE("sharded checkpoints", "[io]") {
    const temporary_folder folder;
    REQUIRE(write_model(folder.path, dlrm_json) == SS1_OK);
    ss1::model_directory whole;
    REQUIRE(open_model(folder.path, whole) == SS1_OK);
    std::vector<ss1::tensor_to_write> parts[2];
    json index{{"metadata", {{"total_size", 1}}}, {"weight_map", json::object()}};
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
        const ss1::model_tensor &t = whole.tensors[i];
        parts[i % 2].push_back(tensor(t.name, file_dtype::f32, t.stored.shape, bytes_of(values_of(whole, t.name))));
        index["weight_map"][t.name] = i % 2 ? "model-2.safetensors" : "model-1.safetensors";
    }
    REQUIRE(ss1::safetensors_write(folder / "model-1.safetensors", parts[0], {}) == SS1_OK);
    REQUIRE(ss1::safetensors_write(folder / "model-2.safetensors", parts[1], {}) == SS1_OK);
    write_file(folder / "model.safetensors.index.json", index.dump());
    std::filesystem::remove(folder / "model.safetensors");
    ss1::model_directory sharded;
    REQUIRE(open_model(folder.path, sharded) == SS1_OK);
    CHECK(sharded.files.size() == 2);
    for (const ss1::model_tensor &t : whole.tensors) CHECK(values_of(sharded, t.name) == values_of(whole, t.name));
}

TEST_CASE("random weights depend only on seed, name and position", "[io]") {
    std::vector<float> whole(1000), part(501), other(1000);
    ss1::random_weights(5, "w", 0, whole);
    ss1::random_weights(5, "w", 7, part);
    CHECK(std::equal(part.begin(), part.end(), whole.begin() + 7));
    ss1::random_weights(6, "w", 0, other);
    CHECK(other != whole);
    ss1::random_weights(5, "v", 0, other);
    CHECK(other != whole);

    std::vector<float> many(100000);
    ss1::random_weights(1, "w", 0, many);
    double sum = 0, square = 0;
    for (const float v : many) sum += v, square += double{v} * v;
    CHECK(std::abs(sum / 1e5) < 5 * 0.02 / std::sqrt(1e5));
    CHECK(std::sqrt(square / 1e5) == Approx(0.02).epsilon(0.02));

    const temporary_folder folder;
    write_file(folder / "config.json", bert_json);
    ss1::model_directory directory;
    REQUIRE(open_model(folder.path, directory, true, 9) == SS1_OK);
    CHECK(directory.find("pooler.dense.weight"));
    CHECK_FALSE(directory.find("classifier.weight"));
    CHECK(values_of(directory, "embeddings.LayerNorm.weight") == std::vector<float>(32, 1.0f));
    CHECK(values_of(directory, "embeddings.LayerNorm.bias") == std::vector<float>(32, 0.0f));
    CHECK(values_of(directory, "pooler.dense.weight")[0] != 0);

    // A tied layer is always drawn, even one that a checkpoint may lack.
    json config = json::parse(bert_json);
    config["ss1"]["layers"]["classifier"] = json::parse(dlrm_tied_json)["ss1"]["layers"]["bot_l.2"];
    write_file(folder / "config.json", config.dump());
    REQUIRE(open_model(folder.path, directory, true) == SS1_OK);
    CHECK(values_of(directory, "classifier.ss1_weight").size() == 2 * 16);
}

TEST_CASE("glob patterns", "[io]") {
    CHECK(ss1::glob_match("*", ""));
    CHECK(ss1::glob_match("top_l.*", "top_l.2"));
    CHECK(ss1::glob_match("*.dense", "a.b.dense"));
    CHECK(ss1::glob_match("*a*b*", "xxaxxbxx"));
    CHECK(ss1::glob_match("a*a", "aa"));
    CHECK_FALSE(ss1::glob_match("a*a", "a"));
    CHECK_FALSE(ss1::glob_match("top_l.2", "top_l.20"));
    CHECK_FALSE(ss1::glob_match("", "a"));
    CHECK_FALSE(ss1::glob_match("*.dense", "a.densely"));
}

TEST_CASE("files left by a killed process of the same number cause no error", "[io]") {
    const temporary_folder folder;
    const std::string path = folder / "x", left = path + ".tmp-" + std::to_string(getpid()) + "-";
    for (int i = 0; i < 900; ++i) write_file(left + std::to_string(i), "");
    ss1::output_file file;
    REQUIRE(ss1::file_create(path, file) == SS1_OK);
    CHECK(ss1::file_commit(file) == SS1_OK);
}

TEST_CASE("ids and means of a DLRM are read, and kept by a conversion", "[io]") {
    const temporary_folder folder;
    const std::string in = folder / "in", out = folder / "out";
    json config = json::parse(dlrm_json);
    config["dense_means"] = {35.25, -3};
    config["tables"][0].update({{"vocabulary", "users.pt"}, {"unknown", 2}});
    config["tables"][1]["hash"] = "murmur3";
    REQUIRE(write_model(in, config.dump()) == SS1_OK);
    write_file(in + "/users.pt", "a\nb\n");
    write_file(in + "/old.pt", "");
    ss1::model_directory source;
    REQUIRE(open_model(in, source) == SS1_OK);
    CHECK(source.config.dlrm.dense_means == std::vector<double>{35.25, -3});
    CHECK(source.config.dlrm.tables[0].vocabulary == "users.pt");
    CHECK(source.config.dlrm.tables[1].vocabulary.empty());

    context ctx;
    conversion options = tie_options(2, 16);
    options.layers = "bot_l.2";
    options.tables = SS1_TABLE_BF16;
    REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
    CHECK(names_in(out) == std::vector<std::string>{"config.json", "model.safetensors", "users.pt"});
    CHECK(read_file(out + "/users.pt") == "a\nb\n");
    const json written = json::parse(read_file(out + "/config.json"));
    CHECK(written["dense_means"] == config["dense_means"]);
    for (size_t i = 0; i < 2; ++i) {
        config["tables"][i]["dtype"] = "bf16";
        CHECK(written["tables"][i] == config["tables"][i]);
    }
    std::filesystem::remove(in + "/users.pt");
    CHECK(ss1::convert_model(*ctx.handle, in.c_str(), (folder / "other").c_str(), options) == SS1_ERROR_IO);
    CHECK_THAT(ss1_last_error(), Catch::Contains("table 'user': vocabulary 'users.pt' is not in the folder"));
    CHECK(!std::filesystem::exists((folder / "other") + "/config.json"));
}

TEST_CASE("conversion of dense layers", "[io]") {
    const temporary_folder folder;
    const std::string in = folder / "in", out = folder / "out";
    REQUIRE(write_model(in, dlrm_json) == SS1_OK);
    write_file(in + "/vocab.txt", "[PAD]\n");
    write_file(in + "/added_tokens.json", "{}");
    write_file(in + "/tokenizer.json", "{}");
    write_file(in + "/training_args.bin", "");
    context ctx;
    conversion options = tie_options(2, 16);

    SECTION("layers by name") {
        options.layers = "bot_l.2,top_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        CHECK(names_in(out) == std::vector<std::string>{"added_tokens.json", "config.json", "model.safetensors",
                                                        "tokenizer.json", "vocab.txt"});
        ss1::model_directory source, tied;
        REQUIRE(open_model(in, source) == SS1_OK);
        REQUIRE(open_model(out, tied) == SS1_OK);
        CHECK(tied.config.layers.size() == 2);
        CHECK(values_of(tied, "top_l.0.weight") == values_of(source, "top_l.0.weight"));
        CHECK(values_of(tied, "bot_l.2.bias") == values_of(source, "bot_l.2.bias"));
        const ss1_linear_desc &desc = tied.config.layers.at("bot_l.2").desc;
        CHECK(desc.block_n == 256);
        CHECK(desc.step == 16);
        std::vector<float> z(16 * 32);
        REQUIRE(ss1::project(desc, values_of(source, "bot_l.2.weight").data(), 64, nullptr, z.data(), 32) == SS1_OK);
        CHECK(values_of(tied, "bot_l.2.ss1_weight") == z);

        // A second conversion leaves tied layers unchanged.
        options.layers = "top_l.2";
        CHECK(ss1::convert_model(*ctx.handle, out.c_str(), (folder / "twice").c_str(), options) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_FALSE(std::filesystem::exists(folder / "twice"));
    }
    SECTION("files of the tokenizer are copied, whatever they hold") {
        const std::string pointer = "version https://git-lfs.github.com/spec/v1\n";
        write_file(in + "/vocab.txt", "");
        write_file(in + "/tokenizer.json", pointer);
        options.layers = "bot_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        CHECK(std::filesystem::file_size(out + "/vocab.txt") == 0);
        CHECK(read_file(out + "/tokenizer.json") == pointer);
    }
    SECTION("in two steps") {
        options.layers = " bot_l.* , !bot_l.0";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        options.layers = "top_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, out.c_str(), (folder / "twice").c_str(), options) == SS1_OK);
        ss1::model_directory tied;
        REQUIRE(open_model(folder / "twice", tied) == SS1_OK);
        CHECK(tied.config.layers.size() == 2);
    }
    SECTION("only the type of the weights") {
        const std::string twice = folder / "twice";
        options.layers = "bot_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        options = {};
        options.desc.weight_dtype = SS1_DTYPE_I8;
        options.layers = "bot_l.2,top_l.0";
        REQUIRE(ss1::convert_model(*ctx.handle, out.c_str(), twice.c_str(), options) == SS1_OK);
        ss1::model_directory before, after;
        REQUIRE(open_model(out, before) == SS1_OK);
        REQUIRE(open_model(twice, after) == SS1_OK);
        CHECK(io_support::read_file(twice + "/model.safetensors") == io_support::read_file(out + "/model.safetensors"));
        json expected = json::parse(before.config.text);
        expected["ss1"]["layers"]["bot_l.2"]["dtype"] = "int8";
        expected["ss1"]["layers"]["top_l.0"] = {{"kind", "dense"}, {"dtype", "int8"}};
        CHECK(json::parse(after.config.text) == expected);

        // Tying keeps the type of the layer unless another is given, and f32 needs no entry.
        options = tie_options(2, 16);
        options.layers = "top_l.2";
        options.desc.weight_dtype = SS1_DTYPE_BF16;
        REQUIRE(ss1::convert_model(*ctx.handle, twice.c_str(), (folder / "3").c_str(), options) == SS1_OK);
        options = {};
        options.desc.weight_dtype = SS1_DTYPE_F32;
        options.layers = "bot_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, (folder / "3").c_str(), (folder / "4").c_str(), options) == SS1_OK);
        REQUIRE(open_model(folder / "4", after) == SS1_OK);
        const auto &layers = after.config.layers;
        CHECK((layers.at("top_l.2").tied && layers.at("top_l.2").desc.weight_dtype == SS1_DTYPE_BF16));
        CHECK((layers.at("bot_l.2").tied && layers.at("bot_l.2").desc.weight_dtype == SS1_DTYPE_F32));
        CHECK((!layers.at("top_l.0").tied && layers.at("top_l.0").desc.weight_dtype == SS1_DTYPE_I8));
        CHECK(json::parse(after.config.text)["ss1"]["layers"]["bot_l.2"] ==
              json::parse(before.config.text)["ss1"]["layers"]["bot_l.2"]);
    }
    SECTION("random weights") {
        std::filesystem::remove(in + "/model.safetensors");
        options.load.random_weights = 1;
        options.layers = "bot_l.2";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        CHECK(open_model(out) == SS1_OK);
    }
}

TEST_CASE("conversion of a BERT", "[io]") {
    const temporary_folder folder;
    REQUIRE(write_model(folder / "in", bert_json, [](auto &tensors) {
                for (ss1::tensor_to_write &t : tensors) t.name = "bert." + t.name;
                std::erase_if(tensors, [](const auto &t) { return t.name.starts_with("bert.classifier"); });
            }) == SS1_OK);
    context ctx;
    conversion options = tie_options(2, 16);
    options.layers = "*.output.dense,!*attention*";
    REQUIRE(ss1::convert_model(*ctx.handle, (folder / "in").c_str(), (folder / "out").c_str(), options) == SS1_OK);
    ss1::model_directory tied;
    REQUIRE(open_model(folder / "out", tied) == SS1_OK);
    CHECK(std::string(tied.config.family->name) == "bert");
    REQUIRE(tied.config.layers.size() == 1);
    CHECK(tied.config.layers.begin()->first == "encoder.layer.0.output.dense");
    CHECK(tied.find("encoder.layer.0.output.dense.ss1_weight")->stored.shape == std::vector<size_t>{32, 32});
}

namespace {

std::vector<std::string> tensors_in(const std::string &folder) {
    ss1::safetensors_file file;
    REQUIRE(ss1::safetensors_open(folder + "/model.safetensors", file) == SS1_OK);
    std::vector<std::string> names;
    for (const ss1::tensor_info &tensor : file.header.tensors) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TEST_CASE("conversion keeps the names of BERT's relatives and omits the same tensors", "[io]") {
    const temporary_folder folder;
    context ctx;
    for (const char *name :
         {"bert_distil_words", "bert_roberta_words", "bert_words", "bert_roberta_classifier", "bert_electra_words",
          "bert_mpnet_words", "bert_albert_words", "bert_electra_pretraining", "bert_modernbert_words",
          "bert_nomic_hf_words", "bert_gte_words", "bert_deberta_words", "bert_deberta_lm"}) {
        INFO(name);
        const std::string in = std::string(SS1_TEST_DATA) + "/" + name, out = folder / name, typed = out + "-bf16";
        conversion options = tie_options(2, 16);
        options.layers = "encoder.*output.dense";
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
        std::vector<std::string> expected = tensors_in(in);
        for (std::string &tensor : expected)
            for (const char *end :
                 {".output.dense.weight", ".out_lin.weight", ".lin2.weight", ".attn.o.weight",
                  ".attention.dense.weight", ".ffn_output.weight", ".attn.Wo.weight", ".mlp.Wo.weight",
                  ".attn.out_proj.weight", ".mlp.fc2.weight", ".o_proj.weight", ".down_proj.weight"})
                if (tensor.ends_with(end)) tensor.replace(tensor.rfind('.'), tensor.npos, ".ss1_weight");
        std::sort(expected.begin(), expected.end());
        CHECK(tensors_in(out) == expected);
        CHECK(open_model(out) == SS1_OK);

        options = {};
        options.desc.weight_dtype = SS1_DTYPE_BF16;
        REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), typed.c_str(), options) == SS1_OK);
        CHECK(tensors_in(typed) == tensors_in(in));
        CHECK(open_model(typed) == SS1_OK);
    }
    // A tied layer gets a weight of its own in place of a shared one; the embeddings stay.
    conversion options = tie_options(2, 16);
    options.layers = "cls.predictions.decoder";
    const std::string in = std::string(SS1_TEST_DATA) + "/bert_distil_words", out = folder / "decoder";
    REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), out.c_str(), options) == SS1_OK);
    ss1::model_directory source, tied;
    REQUIRE(open_model(in, source) == SS1_OK);
    REQUIRE(open_model(out, tied) == SS1_OK);
    CHECK(tied.find("cls.predictions.decoder.ss1_weight")->stored.name == "vocab_projector.ss1_weight");
    CHECK_FALSE(tied.find("cls.predictions.decoder.weight"));
    CHECK(values_of(tied, "embeddings.word_embeddings.weight") ==
          values_of(source, "embeddings.word_embeddings.weight"));
    // Models with random weights are also written under transformers' names.
    options = tie_options(2, 16);
    options.load.random_weights = 1;
    REQUIRE(ss1::convert_model(*ctx.handle, in.c_str(), (folder / "drawn").c_str(), options) == SS1_OK);
    CHECK(open_model(folder / "drawn") == SS1_OK);
    ss1::model_directory drawn;
    REQUIRE(open_model(folder / "drawn", drawn) == SS1_OK);
    CHECK(drawn.find("embeddings.word_embeddings.weight")->stored.name ==
          "distilbert.embeddings.word_embeddings.weight");
}

TEST_CASE("conversion of the authors' checkpoints", "[io]") {
    const temporary_folder folder;
    // bot_l.2 has K = 64: with c = 3 and B_K = 16, Kz is 32 and columns from 21 on are dead.
    std::vector<float> z(16 * 32);
    for (size_t i = 0; i < z.size(); ++i) z[i] = static_cast<float>(i + 1);
    REQUIRE(write_model(folder / "in", dlrm_json, [&](auto &tensors) {
                find(tensors, "bot_l.2.weight") = tensor("bot_l.2.weight", file_dtype::f32, {16, 32}, bytes_of(z));
            }) == SS1_OK);
    context ctx;
    conversion options = tie_options(3, 16);
    options.from = SS1_CONVERT_FROM_SSL;
    options.desc.scheme = SS1_SCHEME_REFERENCE;
    options.desc.block_n = 16;
    options.layers = "bot_l.2";
    REQUIRE(ss1::convert_model(*ctx.handle, (folder / "in").c_str(), (folder / "out").c_str(), options) == SS1_OK);
    ss1::model_directory tied;
    REQUIRE(open_model(folder / "out", tied) == SS1_OK);
    const std::vector<float> stored = values_of(tied, "bot_l.2.ss1_weight");
    REQUIRE(stored.size() == z.size());
    for (size_t i = 0; i < z.size(); ++i) CHECK(stored[i] == (i % 32 < 21 ? z[i] : 0));
    const ss1_linear_desc &desc = tied.config.layers.at("bot_l.2").desc;
    CHECK(desc.scheme == SS1_SCHEME_REFERENCE);
    CHECK(desc.seed == 7);
    CHECK(desc.step == 8);
}
