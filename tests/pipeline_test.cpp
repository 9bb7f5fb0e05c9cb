// SPDX-License-Identifier: Apache-2.0
// Compares tokenizers that a tokenizer.json describes with Hugging Face's (tests/make_pipeline_vectors.js).
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>

#include "io_support.hpp"
#include "ss1/ss1.hpp"
#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;
using io_support::temporary_folder;
using io_support::write_file;

const json &content() {
    static const json document = json::parse(io_support::read_file(data_folder + "/pipelines.json"));
    return document;
}

// The tokenizer.json of a tokenizer of pipelines.json.
json document_of(const std::string &name) {
    json document = content()["tokenizers"][name];
    document["model"] = content()["models"][document["model"].get<std::string>()];
    const auto fill = [](const auto &self, json &value) -> void {
        if (value.is_object() && value.contains("precompiled_charsmap"))
            value["precompiled_charsmap"] = content()["charsmap"];
        if (value.is_structured())
            for (json &member : value) self(self, member);
    };
    fill(fill, document["normalizer"]);
    return document;
}

ss1::tokenizer_ptr load_document(const json &document) {
    const temporary_folder folder;
    write_file(folder / "tokenizer.json", document.dump());
    return ss1::load_tokenizer(context(), folder.path);
}

// SS1_PIPELINE_DETAILS names the folder of the script; then a failure shows the text.
const json &details(const std::string &name) {
    static std::map<std::string, json> known;
    const char *const folder = std::getenv("SS1_PIPELINE_DETAILS");
    if (folder && !known.contains(name))
        known[name] = json::parse(io_support::read_file(folder + ("/" + name + ".json")));
    return known[name];
}

struct checker {
    const std::string &name;
    ss1::tokenizer_ptr tokenizer;
    std::map<std::string, size_t> number{};

    void check_details(const std::string &key, size_t i, const std::string &first, const encoded &row) {
        const json &known = details(name);
        if (known.is_null()) return;
        const json &wanted = known[key][i];
        INFO(json(first).dump());
        REQUIRE(wanted[0] == first);
        CHECK(row.ids == wanted[3].get<std::vector<int64_t>>());
        CHECK(row.types == wanted[4].get<std::vector<int64_t>>());
        CHECK(row.offsets == wanted[5].get<std::vector<int64_t>>());
    }

    uint64_t add(const std::string &key, const std::string &first, const std::string *second, size_t limit,
                 uint64_t state) {
        const encoded row = encode(tokenizer, first, second, limit);
        check_details(key, number[key]++, first, row);
        for (const auto *list : {&row.ids, &row.types, &row.offsets}) state = add_numbers(*list, state);
        return state;
    }
};

}  // namespace

TEST_CASE("tokenizers of every kind give the ids, types and offsets of Hugging Face's tokenizers") {
    const json &old = vectors();
    const std::pair<std::string, uint64_t> cases[] = {
        {"gpt2", 101}, {"roberta", 102},  {"modernbert", 103}, {"qwen", 104},    {"gpt4", 105},  {"gemma", 106},
        {"xlmr", 107}, {"xlmr_old", 108}, {"albert", 109},     {"deberta", 110}, {"mpnet", 111}, {"nmt", 112}};
    // Planes from here on have ideographs or hardly any characters: blocks stand for them, unless SS1_PIPELINE_ALL is
    // set.
    constexpr char32_t ideographs = 0x20000, compatibility_ideographs = 0x2F000;
    const auto is_skipped = [&](char32_t block) {
        return block >= ideographs && block % 0x10000 && block != compatibility_ideographs &&
               !std::getenv("SS1_PIPELINE_ALL");
    };
    for (const auto &[name, seed] : cases) {
        CAPTURE(name);
        const json &expected = content()["vectors"][name];
        checker checked{name, load_document(document_of(name))};
        const auto one = [&](const std::string &key, size_t i, const std::string &first,
                             const std::string *second = nullptr, size_t limit = 0) {
            CAPTURE(key, i);
            checked.number[key] = i;
            CHECK(hex(checked.add(key, first, second, limit, fnv(""))) == expected[key][i]);
        };
        for (size_t i = 0; i < old["texts"].size(); ++i) one("texts", i, old["texts"][i]);
        size_t n = 0;
        for (const json &pair : old["vectors"][0]["pairs"]) {
            const std::string second = pair[1];
            if (pair[2] == 0 || pair[2] >= 6) one("pairs", n++, pair[0], &second, pair[2]);
        }
        for (char32_t begin = 0; begin < 0x110000; begin += 4096) {
            if (is_skipped(begin)) continue;
            std::string text;
            for (char32_t c = begin; c < begin + 4096; ++c)
                if (c < 0xD800 || c > 0xDFFF) text += 'a' + utf8(c) + "b|";
            one("blocks", begin / 4096, text, nullptr, 3 * text.size());
        }
        generator random{seed};
        const std::vector<std::string> lines = lines_of(vocabulary_text());
        const auto text = [&] { return random_text(random, lines, old["alphabets"]); };
        for (const char *key : {"random", "random_pairs"}) {
            for (const json &group : expected[key]) {
                uint64_t state = fnv("");
                for (size_t i = 0; i < 1000; ++i) {
                    const std::string first = text();
                    if (key == std::string("random")) {
                        state = checked.add(key, first, nullptr, 0, state);
                    } else {
                        const std::string second = text();
                        state = checked.add(key, first, &second, 6 + random.below(40), state);
                    }
                }
                CHECK(hex(state) == group);
            }
        }
    }
}

TEST_CASE("what a tokenizer.json asks for and is not supported is refused by name") {
    const auto refused = [](ss1_status status, const std::string &message, const char *name, const char *pointer,
                            json value) {
        json document = document_of(name);
        document[json::json_pointer(pointer)] = std::move(value);
        CAPTURE(message);
        try {
            load_document(document);
            FAIL("accepted");
        } catch (const ss1::error &error) {
            CHECK(error.status() == status);
            CHECK_THAT(error.what(), Catch::Contains(message));
        }
    };
    const auto unsupported = [&](const std::string &message, const char *name, const char *pointer, json value) {
        refused(SS1_ERROR_UNSUPPORTED, message, name, pointer, std::move(value));
    };
    const auto broken = [&](const std::string &message, const char *name, const char *pointer, json value) {
        refused(SS1_ERROR_FORMAT, message, name, pointer, std::move(value));
    };
    unsupported("model: dropout 0.1 is not supported", "gpt2", "/model/dropout", 0.1);
    unsupported("model: type 'Other' is not supported", "gemma", "/model/type", "Other");
    unsupported("model: type 'WordLevel' with the pre_tokenizer ByteLevel", "gpt2", "/model/type", "WordLevel");
    unsupported("not supported with ByteLevel", "gpt2", "/model/end_of_word_suffix", "</w>");
    unsupported("normalizer: type 'Other' is not supported", "qwen", "/normalizer/type", "Other");
    unsupported("has 513 bytes, at most 512 are supported", "qwen", "/normalizer",
                {{"type", "Prepend"}, {"prepend", std::string(513, 'a')}});
    unsupported("normalizers[1]: type 'Other' is not supported", "xlmr", "/normalizer/normalizers/1/type", "Other");
    unsupported("the regular expression 'a|b' is not supported", "xlmr", "/normalizer/normalizers/2/pattern/Regex",
                "a|b");
    unsupported("pre_tokenizer: type 'UnicodeScripts' is not supported", "gpt2", "/pre_tokenizer/type",
                "UnicodeScripts");
    unsupported("pre_tokenizer: type 'FixedLength' is not supported", "gpt2", "/pre_tokenizer",
                {{"type", "FixedLength"}, {"length", 2}});
    unsupported("the regular expression 'x' is not supported", "qwen", "/pre_tokenizer/pretokenizers/0/pattern/Regex",
                "x");
    unsupported("post_processor: type 'Other' is not supported", "roberta", "/post_processor/type", "Other");
    broken("precompiled_charsmap is not base64", "xlmr_old", "/normalizer/precompiled_charsmap", "a?==");
    broken("precompiled_charsmap has 3 bytes", "xlmr_old", "/normalizer/precompiled_charsmap", "AAAA");
    broken("says that its trie has 16 bytes, of 4", "xlmr_old", "/normalizer/precompiled_charsmap", "EAAAAAAAAAA=");
    broken("merges[0]: 'abc' must be two tokens", "gpt2", "/model/merges/0", "abc");
    broken("merges[1]: must be two strings", "gpt2", "/model/merges/1", json::array({"a"}));
    broken("merges[0]: 'a' and '?!?' need the token '?!?'", "gpt2", "/model/merges/0", "a ?!?");
    broken("vocab[7]: must be a text and a score", "xlmr", "/model/vocab/7", "a");
    broken("model: unk_id: is null", "xlmr", "/model/unk_id", nullptr);
    broken("prepend_scheme 'always' contradicts add_prefix_space false", "xlmr", "/pre_tokenizer",
           {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}});
    broken("model: unk_id: is 99999", "xlmr", "/model/unk_id", 99999);
    broken("vocab lacks the unk_token 'none'", "gemma", "/model/unk_token", "none");
    broken("key 'merges' is missing", "gpt2", "/model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}});
    broken("merges[0]: '#version:' and '0.2' need the token '#version:'", "gpt2", "/model/merges/0",
           {"#version:", "0.2"});
    json bare = document_of("gpt2");
    bare["model"]["vocab"].erase("\u0120");
    CHECK_THROWS_WITH(load_document(bare), Catch::Contains("lacks the byte 0x20 of ByteLevel"));
}

TEST_CASE("a word is something else for the regular expression of Split than for Whitespace") {
    json document = {{"version", "1.0"},
                     {"model",
                      {{"type", "WordLevel"},
                       {"vocab", {{"u", 0}, {"a", 1}, {"m\u00b2", 2}, {"m", 3}, {"\u00b2", 4}}},
                       {"unk_token", "u"}}}};
    document["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", "\\w+|[^\\w\\s]+"}}}, {"behavior", "Removed"}, {"invert", true}};
    const ss1::tokenizer_ptr split = load_document(document);
    document["pre_tokenizer"] = {{"type", "Whitespace"}};
    const ss1::tokenizer_ptr whitespace = load_document(document);
    // Ids of tokenizers 0.23.2.
    const struct {
        std::string text;
        std::vector<int64_t> split, whitespace;
    } cases[] = {{"m\u00b2 a", {2, 1}, {3, 4, 1}},
                 {"a\u200da", {1, 0, 1}, {0}},
                 {"1\u00bd\u00bda", {0}, {0, 0, 1}},
                 {"\u00b2\u00b3\u00b9\u00bc\u00bd\u00be"
                  "a",
                  {0},
                  {0, 1}},
                 {"a\u200c\u200da a", {1, 0, 1, 1}, {0, 1}},
                 {"a\u00b4"
                  "a",
                  {1, 0, 1},
                  {1, 0, 1}}};
    for (const auto &[text, as_split, as_whitespace] : cases) {
        CAPTURE(text);
        CHECK(encode(split, text).ids == as_split);
        CHECK(encode(whitespace, text).ids == as_whitespace);
    }
}

TEST_CASE("a token that takes white space before it gets none that the last one took") {
    const auto ids = [](bool left, bool right, const std::string &text) {
        const auto token = [](int id, const char *content, bool lstrip, bool rstrip) {
            return json{{"id", id},         {"content", content},  {"single_word", false}, {"lstrip", lstrip},
                        {"rstrip", rstrip}, {"normalized", false}, {"special", false}};
        };
        const json document = {{"version", "1.0"},
                               {"added_tokens",
                                {token(1, "  ", left, right), token(2, "<r>", false, true),
                                 token(3, "<l>", true, false), token(4, " <b>", true, true)}},
                               {"model",
                                {{"type", "WordLevel"},
                                 {"vocab", {{"u", 0}, {"  ", 1}, {"<r>", 2}, {"<l>", 3}, {" <b>", 4}, {"a", 5}}},
                                 {"unk_token", "u"}}}};
        return encode(load_document(document), text);
    };
    // Ids and offsets of tokenizers 0.23.2.
    const struct {
        bool left, right;
        const char *text;
        std::vector<int64_t> ids, offsets;
    } cases[] = {
        {true, true, "a    a", {5, 1, 5}, {0, 1, 1, 5, 5, 6}},
        {true, true, "a     ", {5, 1}, {0, 1, 1, 6}},
        {true, true, "<r>    a", {2, 5}, {0, 7, 7, 8}},
        {true, true, "a  <l>", {5, 1, 3}, {0, 1, 1, 3, 3, 6}},
        {true, true, "a   <b>  a", {5, 1, 4, 5}, {0, 1, 1, 4, 4, 9, 9, 10}},
        {true, false, "a    a", {5, 1, 1, 5}, {0, 1, 1, 3, 3, 5, 5, 6}},
        {true, false, "a   <b>  a", {5, 1, 4, 5}, {0, 1, 1, 3, 3, 9, 9, 10}},
        {true, false, "  <l>", {1, 3}, {0, 2, 2, 5}},
        {false, true, "a    a", {5, 1, 1, 5}, {0, 1, 1, 5, 3, 5, 5, 6}},
        {false, true, "<r>    a", {2, 1, 1, 5}, {0, 7, 3, 7, 5, 7, 7, 8}},
        {false, true, "<r>   <l>", {2, 1, 3}, {0, 6, 3, 6, 6, 9}},
        {false, true, "a     <b> a", {5, 1, 1, 4, 5}, {0, 1, 1, 6, 3, 6, 6, 10, 10, 11}},
        {false, false, "<r>     a", {2, 1, 1, 0}, {0, 8, 3, 5, 5, 7, 7, 9}},
        {false, false, "<r>  <b>a", {2, 1, 0}, {0, 5, 3, 5, 5, 9}},
    };
    for (const auto &[left, right, text, expected, offsets] : cases) {
        CAPTURE(left, right, text);
        CHECK(ids(left, right, text).ids == expected);
        CHECK(ids(left, right, text).offsets == offsets);
    }
}

TEST_CASE("added tokens that share white space keep their places in the text") {
    const auto token = [](int id, const char *content, bool left, bool right) {
        return json{{"id", id},        {"content", content}, {"single_word", false}, {"lstrip", left},
                    {"rstrip", right}, {"normalized", true}, {"special", false}};
    };
    const json document = {
        {"version", "1.0"},
        {"added_tokens", {token(1, "A", false, true), token(2, " ", true, true)}},
        {"model", {{"type", "WordLevel"}, {"vocab", {{"x", 0}, {"A", 1}, {" ", 2}}}, {"unk_token", "x"}}}};
    const auto tokenizer = load_document(document);
    for (const std::string text : {"A   ", " A  A ", "\x80 A", " \x80  A\x80 ", "   ", "AA  AA"}) {
        const encoded row = encode(tokenizer, text);
        CAPTURE(text);
        for (size_t t = 0; t < row.ids.size(); ++t) {
            CHECK(row.offsets[2 * t] <= row.offsets[2 * t + 1]);
            CHECK(row.offsets[2 * t + 1] <= static_cast<int64_t>(text.size()));
        }
    }
    const std::string blanks(200000, ' ');
    CHECK(!encode(tokenizer, blanks).ids.empty());  // in linear time: a quadratic one takes minutes
}

TEST_CASE("trim_offsets takes off the white space that a token has in tokenizers, whatever its name is here") {
    const auto word_piece = [](const char *type) {
        return json{{"type", type},
                    {"vocab", {{"u", 0}, {"a", 1}, {"m", 2}}},
                    {"unk_token", "u"},
                    {"continuing_subword_prefix", "##"},
                    {"max_input_chars_per_word", 100}};
    };
    const auto bert = [](bool lower_case) {
        return json{{"type", "BertNormalizer"},
                    {"clean_text", true},
                    {"handle_chinese_chars", true},
                    {"strip_accents", nullptr},
                    {"lowercase", lower_case}};
    };
    const auto added = [](bool rstrip, bool normalized) {
        return json{{"id", 2},          {"content", "m"},           {"single_word", false}, {"lstrip", true},
                    {"rstrip", rstrip}, {"normalized", normalized}, {"special", false}};
    };
    const json unigram = json::parse(R"({"type": "Unigram", "unk_id": 0,
                                         "vocab": [["u", 0], ["a", -1], [" ", -2], ["b", -1]]})"),
               words = {{"type", "BertPreTokenizer"}}, none = json::array();
    const auto document = [](const json &model, const json &normalizer, const json &pre_tokenizer, const json &tokens) {
        return json{{"version", "1.0"},
                    {"added_tokens", tokens},
                    {"normalizer", normalizer},
                    {"pre_tokenizer", pre_tokenizer},
                    {"post_processor", {{"type", "ByteLevel"}, {"trim_offsets", true}, {"add_prefix_space", false}}},
                    {"model", model}};
    };
    // Ids and offsets of tokenizers 0.23.2.
    const struct {
        json document;
        const char *text;
        std::vector<int64_t> ids, offsets;
    } cases[] = {
        {document(word_piece("WordPiece"), bert(true), words, json::array({added(false, false)})),
         "a  m a",
         {1, 2, 1},
         {0, 1, 3, 4, 5, 6}},
        {document(word_piece("WordPiece"), bert(false), words, json::array({added(true, false)})),
         "\u0120 a  m  \u0120"
         "a",
         {0, 1, 2, 0},
         {0, 2, 3, 4, 6, 7, 9, 12}},
        {document(unigram, nullptr, nullptr, none), "a\u3000b", {1, 0, 3}, {0, 1, 4, 4, 4, 5}},
        {document(unigram, nullptr, nullptr, none), "a c\u3000 ", {1, 2, 0, 2}, {0, 1, 2, 2, 2, 3, 7, 7}},
        {document(word_piece("WordLevel"), {{"type", "Prepend"}, {"prepend", " "}}, nullptr,
                  json::array({added(false, true)})),
         "m",
         {2},
         {1, 1}},
    };
    for (const auto &[file, text, ids, offsets] : cases) {
        CAPTURE(file.dump(), text);
        const encoded row = encode(load_document(file), text);
        CHECK(row.ids == ids);
        CHECK(row.offsets == offsets);
    }
}

TEST_CASE("of several post-processors one may trim offsets") {
    json document = document_of("gpt2");
    const auto byte_level = [](bool trims) {
        return json{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", trims}};
    };
    const auto with = [&](const json &first, const json &second) {
        document["post_processor"] = {{"type", "Sequence"}, {"processors", {first, second}}};
        return load_document(document);
    };
    const std::vector<int64_t> trimmed{1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 7, 9};  // of tokenizers 0.23.2
    CHECK(encode(with(byte_level(true), byte_level(false)), "  a  b \u00e9").offsets == trimmed);
    CHECK(encode(with(byte_level(false), byte_level(true)), "  a  b \u00e9").offsets == trimmed);
    CHECK_THROWS_WITH(with(byte_level(true), byte_level(true)),
                      Catch::Contains("processors[1]: trim_offsets is true, as in a processor before it"));
    const json roberta = document_of("roberta")["post_processor"];
    CHECK_THROWS_WITH(with(byte_level(true), roberta), Catch::Contains("processors[1]: trim_offsets is true"));
}

TEST_CASE("a list of merges may have the first line of a merges.txt") {
    json document = document_of("gpt2"), versioned = document;
    json &merges = versioned["model"]["merges"];
    merges.insert(merges.begin(), "#version: 0.2");
    const std::string text = "Hello there, #version: 0.2";
    CHECK(encode(load_document(versioned), text).ids == encode(load_document(document), text).ids);
}

TEST_CASE("ignore_merges takes a word as it is written before a prefix or suffix counts") {
    json document = json::parse(R"({"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": {
        "type": "BPE", "unk_token": "u", "ignore_merges": true, "merges": [], "vocab": {"u": 0, "a": 1, "b": 2, "ab": 3,
        "b</w>": 4, "</w>": 5, "a</w>": 6, "ab</w>": 7, "##b": 8, "abb": 9, "\u00e9": 10}}})");
    json &model = document["model"];
    const auto ids = [&] {
        return encode(load_document(document),
                      "ab b a b</w> abb xa \u00e9"
                      "b")
            .ids;
    };
    using numbers = std::vector<int64_t>;
    // Ids of tokenizers 0.23.2.
    model["end_of_word_suffix"] = "</w>";
    CHECK(ids() == numbers{3, 2, 1, 2, 0, 0, 0, 0, 9, 0, 6, 10, 4});
    model["ignore_merges"] = false;
    CHECK(ids() == numbers{1, 4, 4, 6, 4, 0, 0, 0, 0, 1, 2, 4, 0, 6, 10, 4});
    model.erase("end_of_word_suffix");
    model["continuing_subword_prefix"] = "##";
    CHECK(ids() == numbers{1, 8, 2, 1, 2, 0, 0, 0, 0, 1, 8, 8, 0, 0, 10, 8});
    model["ignore_merges"] = true;
    CHECK(ids() == numbers{3, 2, 1, 2, 0, 0, 0, 0, 9, 0, 0, 10, 8});
    model["merges"] = {"a b"};
    CHECK_THROWS_WITH(load_document(document), Catch::Contains("merges[0]: 'b' must start with the continuing_"));
    model["merges"] = json::array();
    model["byte_fallback"] = true;
    CHECK_THROWS_WITH(load_document(document), Catch::Contains("byte_fallback is not supported with continuing_"));
    model.erase("continuing_subword_prefix");
    model["end_of_word_suffix"] = "</w>";
    CHECK_THROWS_WITH(load_document(document), Catch::Contains("byte_fallback is not supported with continuing_"));
}

TEST_CASE("lower case that a module of sentence-transformers wants comes before the steps of a tokenizer") {
    const auto lower = [](const json &document, bool wanted) {
        const temporary_folder folder;
        write_file(folder / "tokenizer.json", document.dump());
        write_file(folder / "modules.json",
                   R"([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])");
        write_file(folder / "sentence_bert_config.json", json{{"max_seq_length", 7}, {"do_lower_case", wanted}}.dump());
        return ss1::load_tokenizer(context(), folder.path);
    };
    json document = document_of("gpt2");
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    ss1::check(ss1_tokenizer_describe(lower(document, false).get(), &info));
    CHECK(info.max_tokens == 7);
    document["added_tokens"].push_back({{"id", document["model"]["vocab"].size()},
                                        {"content", "HeLLo"},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", true},
                                        {"special", false}});
    const std::string text = "The HELLO hello [MASK] \u0130 X", small = "the hello hello [MASK] i\u0307 x";
    const auto ids = [&](bool wanted, const std::string &given) { return encode(lower(document, wanted), given).ids; };
    const json replace = {{"type", "Replace"}, {"pattern", {{"String", "X"}}}, {"content", "the"}},
               lowercase = {{"type", "Lowercase"}};
    const auto sequence = [](json list) { return json{{"type", "Sequence"}, {"normalizers", std::move(list)}}; };
    const std::vector<int64_t> plain = ids(true, text);
    CHECK(plain == ids(true, small));
    CHECK(plain != ids(false, text));
    document["normalizer"] = lowercase;
    CHECK(plain == ids(false, text));
    CHECK(plain == ids(true, text));
    document["normalizer"] = replace;  // finds no X in lower case
    CHECK(plain == ids(true, text));
    document["normalizer"] = sequence(json::array({replace, sequence(json::array({lowercase}))}));
    CHECK(plain == ids(true, text));
    CHECK(plain != ids(false, text));
    document["normalizer"] = sequence(json::array({replace, lowercase}));
    CHECK(plain != ids(true, text));
    CHECK(ids(true, text) == ids(false, text));
}

TEST_CASE("a vocab.json with a merges.txt is RoBERTa's or GPT-2's tokenizer") {
    const json document = document_of("roberta");
    std::string merges = "#version: 0.2\n";
    for (const json &merge : document["model"]["merges"]) merges += merge.get<std::string>() + "\n";
    json vocab = document["model"]["vocab"];
    const std::pair<const char *, const char *> names[] = {
        {"[CLS]", "<s>"}, {"[SEP]", "</s>"}, {"[PAD]", "<pad>"}, {"[UNK]", "<unk>"}, {"[MASK]", "<mask>"}};
    for (const auto &[old, usual] : names) {
        vocab[usual] = vocab[old];
        vocab.erase(old);
    }
    const temporary_folder folder;
    write_file(folder / "vocab.json", vocab.dump());
    write_file(folder / "merges.txt", merges);
    CHECK_THROWS_WITH(ss1::load_tokenizer(context(), folder.path),
                      Catch::Contains("RobertaTokenizer and GPT2Tokenizer are"));
    write_file(folder / "config.json", R"({"model_type": "roberta", "max_position_embeddings": 514})");
    const ss1::tokenizer_ptr tokenizer = ss1::load_tokenizer(context(), folder.path),
                             same = load_document([&] {
                                 json changed = document;
                                 changed["pre_tokenizer"]["add_prefix_space"] = false;
                                 changed["post_processor"]["add_prefix_space"] = false;
                                 return changed;
                             }());
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    ss1::check(ss1_tokenizer_describe(tokenizer.get(), &info));
    CHECK(info.max_tokens == 512);
    CHECK(std::vector{info.pad, info.unk, info.cls, info.sep, info.mask} == std::vector<int64_t>{0, 1, 2, 3, 4});
    for (const json &text : vectors()["texts"]) {
        const std::string first = text, second = "a  " + first;
        if (first.find('[') != first.npos) continue;  // other special tokens
        CHECK(encode(tokenizer, first, &second).ids == encode(same, first, &second).ids);
        CHECK(encode(tokenizer, first).offsets == encode(same, first).offsets);
    }
    CHECK(encode(tokenizer, "a  <mask>").ids == encode(same, "a  [MASK]").ids);
}

TEST_CASE("the steps of BERT's tokenizer give what its single pass gives") {
    for (const json &expected : vectors()["vectors"]) {
        json config = expected["config"];
        const ss1::tokenizer_ptr plain = load(config);
        config["added_tokens_decoder"] = {{"4", {{"content", "[MASK]"}, {"normalized", true}}}};
        const ss1::tokenizer_ptr steps = load(config);
        for (const json &text : vectors()["texts"]) {
            if (text.get<std::string>().find('[') != std::string::npos) continue;
            CAPTURE(text);
            CHECK(encode(steps, text).ids == encode(plain, text).ids);
            CHECK(encode(steps, text).offsets == encode(plain, text).offsets);
        }
    }
}

TEST_CASE("broken UTF-8 is read as replacement characters in every kind of tokenizer") {
    const std::string broken = "na\xffive wo\xc3rds\xe4\xb8 end\xf0\x9f",
                      clean = "na\ufffdive wo\ufffdrds\ufffd end\ufffd";
    for (const char *name : {"gpt2", "gemma", "xlmr", "albert", "nmt"}) {
        CAPTURE(name);
        const ss1::tokenizer_ptr tokenizer = load_document(document_of(name));
        CHECK(encode(tokenizer, broken).ids == encode(tokenizer, clean).ids);
        for (const int64_t end : encode(tokenizer, broken).offsets) CHECK(end <= static_cast<int64_t>(broken.size()));
    }
}
