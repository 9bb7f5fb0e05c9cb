// SPDX-License-Identifier: Apache-2.0
// Compares the tokenizer with Hugging Face's (tests/make_tokenizer_vectors.py); broken vocabularies and configs,
// threads.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "base/hash_multiplier.hpp"
#include "io_support.hpp"
#include "ss1/ss1.hpp"
#include "text/unicode.hpp"
#include "text/words.hpp"
#include "tokenizer_support.hpp"

namespace {

using io_support::temporary_folder;
using io_support::write_file;
using namespace tokenizer_support;

ss1::word_rules rules_of(const json &config) {
    ss1::word_rules rules;
    rules.lower_case = config.at("do_lower_case");
    rules.strip_accents =
        config.value("strip_accents", json()).is_null() ? rules.lower_case : config["strip_accents"].get<bool>();
    rules.split_ideographs = config.value("tokenize_chinese_chars", true);
    return rules;
}

std::string words_of(const ss1::word_rules &rules, const std::string &text) {
    std::string words;
    ss1::split_words(
        rules, text, false,
        [](void *user, std::string_view word, const ss1::word_places *) {
            auto &all = *static_cast<std::string *>(user);
            (all += word) += '\0';
            return true;
        },
        &words);
    return words;
}

}  // namespace

// Keys of which a search with the best known fixed multiplier would pass over all, because they want the same slot.
TEST_CASE("a file cannot know where its tokens and merges stand in a table") {
    constexpr uint64_t golden = 0x9E3779B97F4A7C15;
    uint64_t inverse = golden;
    for (int i = 0; i < 5; ++i) inverse *= 2 - golden * inverse;
    REQUIRE(golden * inverse == 1);
    const auto slots = [inverse](uint64_t multiplier) {
        std::set<uint64_t> taken;
        for (uint64_t i = 0; i < 4096; ++i) taken.insert(i * inverse * multiplier >> 48);
        return taken.size();
    };
    CHECK(slots(golden) == 1);
    std::set<uint64_t> multipliers;
    size_t spread = 0;
    for (int draw = 0; draw < 64; ++draw) {
        const uint64_t multiplier = ss1::hash_multiplier();
        CHECK((multiplier % 2 == 1 && multiplier >> 48 == golden >> 48));
        multipliers.insert(multiplier);
        spread += slots(multiplier) > 256;
    }
    CHECK(multipliers.size() == 64);
    CHECK(spread > 32);  // about 1 draw in 3,000 is unlucky
}

TEST_CASE("texts, pairs and truncation give the ids and offsets of Hugging Face's tokenizers") {
    using numbers = std::vector<int64_t>;
    const json &texts = vectors()["texts"];
    size_t checked = 0;
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::tokenizer_ptr tokenizer = load(expected["config"]);
        for (size_t i = 0; i < texts.size(); ++i) {
            CAPTURE(texts[i].dump());
            const encoded row = encode(tokenizer, texts[i]);
            CHECK(row.ids == expected["ids"][i].get<numbers>());
            CHECK(row.offsets == expected["offsets"][i].get<numbers>());
            ++checked;
        }
        for (const json &pair : expected["pairs"]) {
            CAPTURE(pair.dump());
            const std::string second = pair[1];
            const encoded row = encode(tokenizer, pair[0], &second, pair[2]);
            CHECK(row.ids == pair[3].get<numbers>());
            CHECK(row.types == pair[4].get<numbers>());
            CHECK(row.offsets == pair[5].get<numbers>());
        }
        for (const json &cut : expected["truncated"]) {
            CAPTURE(cut.dump());
            const encoded row = encode(tokenizer, cut[0], nullptr, cut[1]);
            CHECK(row.ids == cut[2].get<numbers>());
            CHECK(row.offsets == cut[3].get<numbers>());
        }
    }
    CHECK(checked >= 700);
}

TEST_CASE("every code point gives the words of Hugging Face's tokenizers") {
    const auto block = vectors()["block"].get<char32_t>();
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::word_rules rules = rules_of(expected["config"]);
        REQUIRE(expected["words"].size() * block == 0x110000);
        for (char32_t begin = 0; begin < 0x110000; begin += block) {
            std::string alone, marks;  // marks: after a kept mark, before which lower classes are sorted
            for (char32_t c = begin; c < begin + block; ++c) {
                if (c >= 0xD800 && c <= 0xDFFF) continue;
                alone += 'a' + utf8(c) + "b|";
                marks += 'a' + utf8(0x302E) + utf8(c) + "b|a" + utf8(0x1D165) + utf8(c) + "b|";
            }
            CAPTURE(hex(begin));
            CHECK(hex(fnv(words_of(rules, alone))) == expected["words"][begin / block]);
            if (expected.contains("marks")) CHECK(hex(fnv(words_of(rules, marks))) == expected["marks"][begin / block]);
        }
    }
}

TEST_CASE("random texts of all scripts give the ids and offsets of Hugging Face's tokenizers") {
    const std::vector<std::string> vocabulary = lines_of(vocabulary_text());
    size_t number = 0;
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::tokenizer_ptr tokenizer = load(expected["config"]);
        generator random{++number};
        const auto text = [&] { return random_text(random, vocabulary, vectors()["alphabets"]); };
        for (size_t group = 0; group < expected["random"].size(); ++group) {
            uint64_t state = fnv(""), offsets_state = state;
            for (size_t i = 0; i < vectors()["group"]; ++i) {
                const encoded row = encode(tokenizer, text());
                state = add_numbers(row.ids, state);
                offsets_state = add_numbers(row.offsets, offsets_state);
            }
            CHECK(hex(state) == expected["random"][group]);
            CHECK(hex(offsets_state) == expected["random_offsets"][group]);
        }
        for (size_t group = 0; group < expected["random_pairs"].size(); ++group) {
            uint64_t state = fnv(""), offsets_state = state;
            for (size_t i = 0; i < vectors()["group"]; ++i) {
                const std::string first = text(), second = text();
                const encoded row = encode(tokenizer, first, &second, 3 + random.below(40));
                state = add_numbers(row.ids, state);
                state = add_numbers({std::count(row.types.begin(), row.types.end(), 0)}, state);
                offsets_state = add_numbers(row.offsets, offsets_state);
            }
            CHECK(hex(state) == expected["random_pairs"][group]);
            CHECK(hex(offsets_state) == expected["random_pairs_offsets"][group]);
        }
    }
}

namespace {

// A small vocabulary.
const std::string small_vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\nab\n";

ss1_status load_status(const temporary_folder &folder) {
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load(context().get(), folder.path.c_str(), &tokenizer);
    CHECK((tokenizer != nullptr) == (status == SS1_OK));
    ss1_tokenizer_destroy(&tokenizer);
    return status;
}

// Returns the error of a directory with these files; "" omits a file.
void check_refused(ss1_status status, const std::string &message, const std::string &vocabulary,
                   const std::string &tokenizer_config = "", const std::string &config = "") {
    const temporary_folder folder;
    if (!vocabulary.empty()) write_file(folder / "vocab.txt", vocabulary);
    if (!tokenizer_config.empty()) write_file(folder / "tokenizer_config.json", tokenizer_config);
    if (!config.empty()) write_file(folder / "config.json", config);
    CAPTURE(message);
    CHECK(load_status(folder) == status);
    CHECK_THAT(ss1_last_error(), Catch::Contains(message));
}

ss1_tokenizer_info describe(const ss1::tokenizer_ptr &tokenizer) {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    ss1::check(ss1_tokenizer_describe(tokenizer.get(), &info));
    return info;
}

using numbers = std::vector<int64_t>;

}  // namespace

TEST_CASE("broken vocabularies are refused with line, value and rule") {
    check_refused(SS1_ERROR_IO, "vocab.txt: cannot open", "");
    const std::string &good = small_vocabulary;
    check_refused(SS1_ERROR_FORMAT, "vocab.txt: line 10: 'x\\x00y' has a zero byte", good + std::string("x\0y\n", 4));
    check_refused(SS1_ERROR_FORMAT, "vocab.txt: line 10: 'x\\x0dy' has a carriage return", good + "x\ry\n");
    check_refused(SS1_ERROR_FORMAT, "vocab.txt: line 10: '\\xff' is not UTF-8", good + "\xff\n");
    check_refused(SS1_ERROR_FORMAT, "vocab.txt: line 10: '\\xed\\xa0\\x80' is not UTF-8", good + "\xed\xa0\x80\n");
    check_refused(SS1_ERROR_FORMAT, "the limit is 8388608", std::string((8 << 20) + 1, 'a'));
    for (const auto &[token, role] : {std::pair("[UNK]", "unknown"), std::pair("[SEP]", "separator"),
                                      std::pair("[PAD]", "padding"), std::pair("[CLS]", "classification")}) {
        std::string without = good;
        without.replace(without.find(token), 5, "other");
        check_refused(SS1_ERROR_FORMAT, std::string("vocab.txt: lacks the ") + role + " token '" + token + "'",
                      without);
    }
}

TEST_CASE("an empty vocabulary is refused") {
    const temporary_folder folder;
    write_file(folder / "vocab.txt", "");
    CHECK(load_status(folder) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("vocab.txt: is empty"));
}

TEST_CASE("broken and unsupported tokenizer configs are refused with key, value and rule") {
    const std::string &good = small_vocabulary;
    check_refused(SS1_ERROR_FORMAT, "tokenizer_config.json: invalid JSON", good, "{");
    check_refused(SS1_ERROR_FORMAT, "do_lower_case: is of type string", good, R"({"do_lower_case": "yes"})");
    check_refused(SS1_ERROR_FORMAT, "strip_accents: is of type number", good, R"({"strip_accents": 1})");
    check_refused(SS1_ERROR_FORMAT, "model_max_length is 1, must be at least 2", good, R"({"model_max_length": 1})");
    check_refused(SS1_ERROR_FORMAT, "unk_token", good, R"({"unk_token": 3})");
    check_refused(SS1_ERROR_FORMAT, "unk_token: key 'content' is missing", good, R"({"unk_token": {}})");
    check_refused(SS1_ERROR_FORMAT, "must have 1 to 512 bytes", good, R"({"cls_token": ""})");
    check_refused(SS1_ERROR_FORMAT, "lacks the unknown token '<unk>'", good, R"({"unk_token": "<unk>"})");
    check_refused(SS1_ERROR_UNSUPPORTED, "tokenizer_class 'RobertaTokenizer' is not supported", good,
                  R"({"tokenizer_class": "RobertaTokenizer"})");
    check_refused(SS1_ERROR_FORMAT, "mask_token: lstrip: is of type number", good,
                  R"({"mask_token": {"content": "[MASK]", "lstrip": 1}})");
    check_refused(SS1_ERROR_FORMAT, "added_tokens_decoder['x']: is not the id", good,
                  R"({"added_tokens_decoder": {"x": {"content": "new"}}})");
    check_refused(SS1_ERROR_FORMAT, "tokenizer_config.json: added_tokens_decoder['9']: 'a' has the id 9, but 5 in",
                  good, R"({"added_tokens_decoder": {"9": {"content": "a"}}})");
    for (const char *id : {"8", "10"})
        check_refused(SS1_ERROR_FORMAT, std::string("'new' has the id ") + id + ", must be 9: added tokens follow",
                      good, std::string(R"({"added_tokens_decoder": {")") + id + R"(": {"content": "new"}}})");
    check_refused(SS1_ERROR_UNSUPPORTED, "the tokenizer of model_type 'roberta' is not supported", "", "",
                  R"({"model_type": "roberta"})");
    check_refused(SS1_ERROR_UNSUPPORTED, "config.json: tokenizer_class 'BertJapaneseTokenizer' is not supported", good,
                  "{}", R"({"tokenizer_class": "BertJapaneseTokenizer"})");
    check_refused(SS1_ERROR_UNSUPPORTED, "word_tokenizer_type 'mecab' is not supported, 'basic' is", good,
                  R"({"word_tokenizer_type": "mecab"})");
    check_refused(SS1_ERROR_UNSUPPORTED, "subword_tokenizer_type 'character' is not supported, 'wordpiece' is", good,
                  R"({"subword_tokenizer_type": "character"})");
    check_refused(SS1_ERROR_FORMAT, "truncation_side is 'top', must be 'left' or 'right'", good,
                  R"({"truncation_side": "top"})");
    check_refused(SS1_ERROR_UNSUPPORTED, "split_special_tokens is true, which is not supported", good,
                  R"({"split_special_tokens": true})");
}

TEST_CASE("settings of other tokenizers with BertTokenizer's own values are accepted") {
    const json config = {
        {"tokenizer_class", "BertTokenizer"}, {"word_tokenizer_type", "basic"}, {"subword_tokenizer_type", "wordpiece"},
        {"truncation_side", "right"},         {"padding_side", "left"},         {"split_special_tokens", false}};
    const temporary_folder folder;
    write_file(folder / "vocab.txt", small_vocabulary);
    write_file(folder / "tokenizer_config.json", config.dump());
    write_file(folder / "config.json",
               R"({"tokenizer_class": "BertJapaneseTokenizer"})");  // tokenizer_config.json wins
    CHECK(load_status(folder) == SS1_OK);
}

TEST_CASE("a vocabulary with a byte order mark is refused") {
    check_refused(SS1_ERROR_FORMAT, "vocab.txt: line 1: starts with a byte order mark",
                  "\xef\xbb\xbf" + small_vocabulary);
}

namespace {

json tokenizer_json(json vocabulary, bool lower_case, json added = json::array()) {
    const auto special = [](const char *id) { return json{{"SpecialToken", {{"id", id}, {"type_id", 0}}}}; };
    const auto text = [](const char *id) { return json{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
    const auto ids = [&](const char *token) {
        return json{{"id", token}, {"ids", json::array({vocabulary[token]})}, {"tokens", json::array({token})}};
    };
    const json processor = {
        {"type", "TemplateProcessing"},
        {"single", json::array({special("[CLS]"), text("A"), special("[SEP]")})},
        {"pair", json::array({special("[CLS]"), text("A"), special("[SEP]"), text("B"), special("[SEP]")})},
        {"special_tokens", {{"[CLS]", ids("[CLS]")}, {"[SEP]", ids("[SEP]")}}}};
    return {{"added_tokens", std::move(added)},
            {"truncation", nullptr},
            {"post_processor", processor},
            {"normalizer",
             {{"type", "BertNormalizer"},
              {"clean_text", true},
              {"handle_chinese_chars", true},
              {"strip_accents", nullptr},
              {"lowercase", lower_case}}},
            {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
            {"model",
             {{"type", "WordPiece"},
              {"unk_token", "[UNK]"},
              {"continuing_subword_prefix", "##"},
              {"max_input_chars_per_word", 100},
              {"vocab", std::move(vocabulary)}}}};
}

// The vocabulary of a tokenizer.json that matches the small one.
json small_vocab() {
    json vocab;
    for (const std::string &line : lines_of(small_vocabulary)) vocab[line] = vocab.size();
    return vocab;
}

using files = std::map<std::string, std::string>;  // by name

void write_files(const temporary_folder &folder, const files &contents) {
    write_file(folder / "vocab.txt", small_vocabulary);
    for (const auto &[name, text] : contents) write_file(folder / name, text);
}

ss1::tokenizer_ptr load_files(const files &contents) {
    const temporary_folder folder;
    write_files(folder, contents);
    return ss1::load_tokenizer(context(), folder.path);
}

void check_files_refused(ss1_status status, const std::string &message, const files &contents) {
    const temporary_folder folder;
    write_files(folder, contents);
    CAPTURE(message);
    CHECK(load_status(folder) == status);
    CHECK_THAT(ss1_last_error(), Catch::Contains(message));
}

std::string token_of(const ss1::tokenizer_ptr &tokenizer, int64_t id) {
    const char *token = nullptr;
    ss1::check(ss1_tokenizer_token(tokenizer.get(), id, &token));
    return token;
}

}  // namespace

TEST_CASE("the tokenizer.json of a WordPiece replaces vocab.txt") {
    const json good =
        tokenizer_json({{"[PAD]", 4}, {"[UNK]", 3}, {"[CLS]", 2}, {"[SEP]", 1}, {"a", 0}, {"##b", 5}}, false,
                       json::array({{{"id", 3}, {"content", "[UNK]"}, {"special", true}},
                                    {{"id", 6}, {"content", "[NEW]"}, {"special", true}}}));
    const temporary_folder folder;
    write_file(folder / "tokenizer.json", good.dump());
    write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "TokenizersBackend", "model_max_length": 9})");
    const ss1::tokenizer_ptr tokenizer = ss1::load_tokenizer(context(), folder.path);
    CHECK(encode(tokenizer, "ab A[NEW]").ids == numbers{2, 0, 5, 3, 6, 1});
    CHECK(describe(tokenizer).lower_case + describe(tokenizer).strip_accents == 0);
    CHECK(describe(tokenizer).max_tokens == 9);

    const auto refused = [&](ss1_status status, const std::string &message, const std::string &pointer, json value) {
        json document = good;
        document[json::json_pointer(pointer)] = std::move(value);
        write_file(folder / "tokenizer.json", document.dump());
        CAPTURE(message);
        CHECK(load_status(folder) == status);
        CHECK_THAT(ss1_last_error(), Catch::Contains(message));
    };
    refused(SS1_ERROR_FORMAT, "model: key 'merges' is missing", "/model/type", "BPE");
    refused(SS1_ERROR_UNSUPPORTED, "pre_tokenizer: type 'Other'", "/pre_tokenizer/type", "Other");
    refused(SS1_ERROR_UNSUPPORTED, "normalizer: type 'Other'", "/normalizer/type", "Other");
    refused(SS1_ERROR_FORMAT, "added_tokens[1]: rstrip: is of type null", "/added_tokens/1/rstrip", nullptr);
    refused(SS1_ERROR_FORMAT, "added_tokens[0]: id: is 2147483648", "/added_tokens/0/id", 2147483648);
    refused(SS1_ERROR_FORMAT, "vocab['a']: is 16777216, must be in [0, 16777215]", "/model/vocab/a", 1 << 24);
    refused(SS1_ERROR_FORMAT, "vocab: is of type array", "/model/vocab", json::array());
    refused(SS1_ERROR_FORMAT, "tokenizer.json: truncation: direction is 'Up', must be 'Left' or 'Right'", "/truncation",
            {{"direction", "Up"}, {"max_length", 8}});
    json old = good;
    old["model"].erase("type");
    old["truncation"] = {{"max_length", 8}, {"strategy", "LongestFirst"}};
    write_file(folder / "tokenizer.json", old.dump());
    CHECK(load_status(folder) == SS1_OK);
}

TEST_CASE("white space at the end of a line of vocab.txt is no part of the token") {
    const ss1::tokenizer_ptr tokenizer =
        load(json::object(), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello \nworld\t\n##s\u3000\nplain\n");
    CHECK(encode(tokenizer, "hello world worlds plain").ids == numbers{2, 5, 6, 6, 7, 8, 3});
    // White space only at the end is cut, and a line of white space is the empty token.
    CHECK(encode(load(json::object(), small_vocabulary + " c\n \u00a0\n\u2028\nd\u0085\n"), "d").ids ==
          numbers{2, 12, 3});
    CHECK(encode(load(json::object(), small_vocabulary + "b \n"), "b").ids == numbers{2, 9, 3});  // the last counts
}

namespace {

// A directory of the class PreTrainedTokenizerFast with this vocabulary; `change` edits tokenizer.json.
template <class Change>
ss1::tokenizer_ptr load_fast(Change change, json config = json::object()) {
    json vocab;
    for (const char *token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<unk>", "a", "b"})
        vocab[token] = vocab.size();
    json file = tokenizer_json(vocab, true);
    change(file);
    const temporary_folder folder;
    config["tokenizer_class"] = "PreTrainedTokenizerFast";
    write_file(folder / "tokenizer.json", file.dump());
    write_file(folder / "tokenizer_config.json", config.dump());
    return ss1::load_tokenizer(context(), folder.path);
}

}  // namespace

TEST_CASE("the post-processor of tokenizer.json decides about special tokens and type ids") {
    const std::string a = "a", b = "b";
    const auto rows = [&](const json &processor) {
        const ss1::tokenizer_ptr tokenizer = load_fast([&](json &file) { file["post_processor"] = processor; });
        const encoded pair = encode(tokenizer, a, &b);
        return std::vector{encode(tokenizer, "a b").ids, pair.ids, pair.types};
    };
    using lists = std::vector<numbers>;
    CHECK(rows(nullptr) == lists{{6, 7}, {6, 7}, {0, 1}});
    CHECK(rows({{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}) ==
          lists{{2, 6, 7, 3}, {2, 6, 3, 7, 3}, {0, 0, 0, 1, 1}});
    CHECK(rows({{"type", "RobertaProcessing"},
                {"sep", {"[SEP]", 3}},
                {"cls", {"[CLS]", 2}},
                {"trim_offsets", true},
                {"add_prefix_space", false}}) == lists{{2, 6, 7, 3}, {2, 6, 3, 3, 7, 3}, {0, 0, 0, 0, 0, 0}});
    const json special = {{"id", "x"}, {"ids", {2, 4}}, {"tokens", {"[CLS]", "[MASK]"}}};
    const auto text = [](const char *id, int type) { return json{{"Sequence", {{"id", id}, {"type_id", type}}}}; };
    const auto mark = [](int type) { return json{{"SpecialToken", {{"id", "x"}, {"type_id", type}}}}; };
    json processor = {{"type", "TemplateProcessing"},
                      {"single", {mark(5), text("A", 4)}},
                      {"pair", {text("A", 3), mark(2), text("B", 7)}},
                      {"special_tokens", {{"x", special}}}};
    CHECK(rows(processor) == lists{{2, 4, 6, 7}, {6, 2, 4, 7}, {3, 2, 2, 7}});
    CHECK(rows({{"type", "Sequence"},
                {"processors",
                 {{{"type", "ByteLevel"}, {"trim_offsets", true}, {"add_prefix_space", true}}, processor}}}) ==
          lists{{2, 4, 6, 7}, {6, 2, 4, 7}, {3, 2, 2, 7}});

    const auto refused = [&](ss1_status status, const std::string &message, const json &changed) {
        CAPTURE(message);
        try {
            rows(changed);
            FAIL("accepted");
        } catch (const ss1::error &error) {
            CHECK(error.status() == status);
            CHECK_THAT(error.what(), Catch::Contains(message));
        }
    };
    refused(SS1_ERROR_UNSUPPORTED, "post_processor: type 'Other' is not supported", {{"type", "Other"}});
    json changed = processor;
    changed["pair"] = {text("B", 0), text("A", 0)};
    refused(SS1_ERROR_UNSUPPORTED, "pair[0]: 'B' is out of place", changed);
    changed["pair"] = {text("A", 0), text("A", 0)};
    refused(SS1_ERROR_UNSUPPORTED, "pair[1]: 'A' is out of place", changed);
    changed["pair"] = json::array({text("A", 0)});
    refused(SS1_ERROR_UNSUPPORTED, "pair lacks a text", changed);
    changed = processor;
    changed["single"] = json::array({text("C", 0)});
    refused(SS1_ERROR_FORMAT, "single[0]: id is 'C', must be 'A' or 'B'", changed);
    changed = processor;
    changed["special_tokens"] = json::object();
    refused(SS1_ERROR_FORMAT, "special_tokens: key 'x' is missing", changed);
    changed = processor;
    changed["special_tokens"]["x"]["ids"] = json::array({8});
    refused(SS1_ERROR_FORMAT, "post_processor: adds the id 8, which is no token's", changed);
}

TEST_CASE("a general class takes the unknown token from the model, and only stated tokens are special") {
    const ss1::tokenizer_ptr tokenizer = load_fast([](json &file) { file["model"]["unk_token"] = "<unk>"; });
    CHECK(encode(tokenizer, "a z").ids == numbers{2, 6, 5, 3});
    CHECK(describe(tokenizer).unk == 5);
    CHECK(encode(tokenizer, "[MASK]").ids == numbers{2, 5, 5, 5, 3});
    const ss1::tokenizer_ptr stated = load_fast([](json &) {}, {{"mask_token", "[MASK]"}});
    CHECK(encode(stated, "[MASK]").ids == numbers{2, 4, 3});
    const ss1::tokenizer_ptr few = load_fast([](json &file) {
        file["model"]["vocab"] = {{"[UNK]", 1}, {"a", 0}};
        file["post_processor"] = nullptr;
    });
    const ss1_tokenizer_info info = describe(few);
    CHECK(numbers{info.unk, info.sep, info.pad, info.cls, info.mask} == numbers{1, -1, -1, -1, -1});
    CHECK(encode(few, "a [SEP]").ids == numbers{0, 1, 1, 1});
    CHECK_THROWS_WITH(load_fast([](json &file) { file["model"]["unk_token"] = "?"; }),
                      Catch::Contains("model: vocab lacks the unk_token '?'"));
    CHECK_THROWS_WITH(load_fast([](json &) {}, {{"mask_token", "[M]"}}), Catch::Contains("lacks the mask token '[M]'"));
}

TEST_CASE("ids of tokenizer.json may be left out or given twice") {
    const ss1::tokenizer_ptr gap = load_fast([](json &file) {
        file["model"]["vocab"].erase("<unk>");
        file["model"]["vocab"]["a"] = 7, file["model"]["vocab"]["b"] = 6;
    });
    CHECK(encode(gap, "a b").ids == numbers{2, 7, 6, 3});
    CHECK(describe(gap).vocab_size == 8);
    const char *token = nullptr;
    CHECK(ss1_tokenizer_token(gap.get(), 5, &token) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("id=5 has no token"));
    const ss1::tokenizer_ptr twice =
        load_fast([](json &file) { file["model"]["vocab"]["bbb"] = file["model"]["vocab"]["b"] = 6; });
    CHECK(encode(twice, "bbb a b").ids == numbers{2, 6, 6, 6, 3});
    CHECK(encode(twice, "bbb a b").offsets == numbers{0, 0, 0, 3, 4, 5, 6, 7, 0, 0});
    CHECK_THROWS_WITH(load_fast([](json &file) {
                          file["model"]["vocab"].erase("<unk>");
                          file["added_tokens"] = json::array({{{"id", 8}, {"content", "[NEW]"}}});
                      }),
                      Catch::Contains("'[NEW]' is new, and") && Catch::Contains("only 7 different tokens for 8 ids"));
}

TEST_CASE("added tokens take the white space beside them or stand alone if they are to") {
    const auto with = [](const char *flag) {
        return load_fast([&](json &file) {
            file["added_tokens"] =
                json::array({{{"id", 4}, {"content", "[MASK]"}, {flag, true}}, {{"id", 6}, {"content", "a"}}});
        });
    };
    const std::string text = "b \u3000[MASK]\u00a0 b[MASK] a[MASK]";
    const encoded left = encode(with("lstrip"), text), right = encode(with("rstrip"), text),
                  alone = encode(with("single_word"), text);
    CHECK(left.ids == numbers{2, 7, 4, 7, 4, 6, 4, 3});
    CHECK(left.offsets == numbers{0, 0, 0, 1, 1, 11, 14, 15, 15, 21, 22, 23, 23, 29, 0, 0});
    CHECK(right.ids == numbers{2, 7, 4, 7, 4, 6, 4, 3});
    CHECK(right.offsets == numbers{0, 0, 0, 1, 5, 14, 14, 15, 15, 22, 22, 23, 23, 29, 0, 0});
    CHECK(alone.ids == numbers{2, 7, 4, 7, 1, 1, 1, 6, 1, 1, 1, 3});
}

TEST_CASE("a token that no file names as special is looked for in the normalised text") {
    const ss1::tokenizer_ptr tokenizer = load_files({{"added_tokens.json", R"({"C\u00e9": 9})"}});
    CHECK(encode(tokenizer, "ab CE\u0301b ce").ids == numbers{2, 8, 9, 6, 9, 3});
    CHECK(encode(tokenizer, "ab CE\u0301b ce").offsets == numbers{0, 0, 0, 2, 3, 5, 7, 8, 9, 11, 0, 0});
    CHECK_THROWS_WITH(load_files({{"added_tokens.json", R"({"\u0301": 9})"}}), Catch::Contains("leaves nothing of it"));
}

TEST_CASE("rows lose tokens at their beginning if truncation_side is left") {
    const ss1::tokenizer_ptr tokenizer = load_files({{"tokenizer_config.json", R"({"truncation_side": "left"})"}});
    CHECK(encode(tokenizer, "a b ab abb", nullptr, 5).ids == numbers{2, 8, 8, 7, 3});
    CHECK(encode(tokenizer, "a b ab abb", nullptr, 5).offsets == numbers{0, 0, 4, 6, 7, 9, 9, 10, 0, 0});
    const std::string second = "b b b";
    CHECK(encode(tokenizer, "a b ab abb", &second, 7).ids == numbers{2, 8, 7, 3, 6, 6, 3});
    CHECK(encode(tokenizer, "ab", &second, 7).ids == numbers{2, 8, 3, 6, 6, 6, 3});
}

TEST_CASE("without added_tokens_decoder, added tokens come from the lists of all files") {
    const std::string text = "a[X]b [Y] [Z] <s>ab</s> [I]";
    CHECK(encode(load_files({}), "a[X]b").ids == numbers{2, 5, 1, 1, 1, 6, 3});
    const ss1::tokenizer_ptr ids = load_files(
        {{"added_tokens.json", R"({"[Y]": 9, "[Z]": 10, "[X]": 11, "<s>": 12, "</s>": 13, "[I]": 14, "[CLS]": 2})"},
         {"tokenizer_config.json", R"({"bos_token": "<s>", "additional_special_tokens": ["[X]"],
                                       "extra_special_tokens": {"image_token": "[I]"}})"},
         {"special_tokens_map.json", R"({"eos_token": {"content": "</s>", "lstrip": false}, "bos_token": "<s>",
             "additional_special_tokens": ["[X]", {"content": "[Y]", "normalized": false}, "[Z]"]})"}});
    CHECK(encode(ids, text).ids == numbers{2, 5, 11, 6, 9, 10, 12, 8, 13, 14, 3});
    CHECK(describe(ids).vocab_size == 15);
    CHECK(token_of(ids, 8) == "ab");
    CHECK(token_of(ids, 9) == "[Y]");
    CHECK(token_of(ids, 14) == "[I]");
    const char *token = nullptr;
    CHECK(ss1_tokenizer_token(ids.get(), 15, &token) == SS1_ERROR_INVALID_ARGUMENT);

    // New tokens without ids are numbered in this order: bos_token, eos_token, other names, lists.
    const ss1::tokenizer_ptr counted =
        load_files({{"tokenizer_config.json", R"({"eos_token": "</s>", "bos_token": "<s>", "image_token": "[I]",
                                       "additional_special_tokens": ["[Z]", "a"]})"},
                    {"special_tokens_map.json", R"({"extra_special_tokens": ["[Y]", "[Z]", "[X]"]})"}});
    CHECK(encode(counted, text).ids == numbers{2, 5, 14, 6, 13, 12, 9, 5, 6, 10, 11, 3});
    CHECK(encode(counted, "ba").ids == numbers{2, 6, 5, 3});  // the token a is special

    const ss1::tokenizer_ptr old = load_files({{"tokenizer_config.json", R"({"extra_special_tokens": ["[X]"]})"},
                                               {"special_tokens_map.json", R"({"mask_token": "a"})"}});
    CHECK(describe(old).mask == 5);
    CHECK(encode(old, "[X] [MASK]").ids == numbers{2, 9, 1, 1, 1, 3});
}

TEST_CASE("special_tokens_map.json wins, unless there is added_tokens_decoder") {
    const std::string config = R"({"cls_token": "[CLS]", "additional_special_tokens": ["[X]"])",
                      map = R"({"cls_token": "[MASK]", "additional_special_tokens": ["[Y]"]})";
    const ss1::tokenizer_ptr old =
        load_files({{"tokenizer_config.json", config + "}"}, {"special_tokens_map.json", map}});
    CHECK(encode(old, "[X][Y]").ids == numbers{4, 9, 10, 3});
    const ss1::tokenizer_ptr listed =
        load_files({{"tokenizer_config.json", config + R"(, "added_tokens_decoder": {"9": {"content": "[N]"}}})"},
                    {"special_tokens_map.json", map},
                    {"added_tokens.json", R"({"[Y]": 77})"}});
    CHECK(encode(listed, "[N][X]").ids == numbers{2, 9, 10, 3});
    CHECK(encode(listed, "[Y]").ids == numbers{2, 1, 1, 1, 3});
}

TEST_CASE("added tokens of tokenizer.json also count beside vocab.txt") {
    const json added = json::array(
        {{{"id", 4}, {"content", "[MASK]"}, {"special", true}}, {{"id", 9}, {"content", "[NEW]"}, {"special", true}}});
    const std::string file = tokenizer_json(small_vocab(), true, added).dump();
    const ss1::tokenizer_ptr tokenizer =
        load_files({{"tokenizer.json", file}, {"added_tokens.json", R"({"[NEW]": 9})"}});
    CHECK(encode(tokenizer, "a[NEW]b").ids == numbers{2, 5, 9, 6, 3});
    check_files_refused(SS1_ERROR_FORMAT, "added_tokens_decoder['10']: '[NEW]' has the id 10, but 9 in another list",
                        {{"tokenizer.json", file},
                         {"tokenizer_config.json", R"({"added_tokens_decoder": {"10": {"content": "[NEW]"}}})"}});
}

TEST_CASE("a mask token may be an added one") {
    std::string vocabulary = small_vocabulary;
    vocabulary.replace(vocabulary.find("[MASK]"), 6, "other");
    const ss1::tokenizer_ptr tokenizer = load({{"added_tokens_decoder", {{"9", {{"content", "[MASK]"}}}}}}, vocabulary);
    CHECK(describe(tokenizer).mask == 9);
    CHECK(encode(tokenizer, "[MASK]").ids == numbers{2, 9, 3});
}

TEST_CASE("added tokens that cannot get Hugging Face's ids are refused with file, key and rule") {
    const auto refused = [](ss1_status status, const std::string &message, const char *name, const char *text) {
        check_files_refused(status, message, {{name, text}});
    };
    refused(SS1_ERROR_FORMAT, "added_tokens.json: '[SEP]': is -1", "added_tokens.json", R"({"[SEP]": -1})");
    refused(SS1_ERROR_FORMAT, "added_tokens.json: '[SEP]': '[SEP]' has the id 5, but 3 in", "added_tokens.json",
            R"({"[SEP]": 5})");
    refused(SS1_ERROR_FORMAT, "added_tokens.json: is of type array", "added_tokens.json", "[]");
    const char *const config = "tokenizer_config.json", *const map = "special_tokens_map.json";
    refused(SS1_ERROR_FORMAT, "additional_special_tokens: is of type string, must be an array or an object", config,
            R"({"additional_special_tokens": "[X]"})");
    refused(SS1_ERROR_FORMAT, "map.json: additional_special_tokens[1]: is of type number", map,
            R"({"additional_special_tokens": ["[X]", 1]})");
    refused(SS1_ERROR_FORMAT, "extra_special_tokens[0]: key 'content' is missing", config,
            R"({"extra_special_tokens": [{}]})");
    refused(SS1_ERROR_FORMAT, "bos_token: is of type number", config, R"({"bos_token": 1})");
    refused(SS1_ERROR_UNSUPPORTED,
            "extra_special_tokens['y']: '[Y]' has no id, nor has '[X]': members of an object have no order", config,
            R"({"extra_special_tokens": {"x": "[X]", "y": "[Y]"}})");
    refused(SS1_ERROR_UNSUPPORTED, "'[X]' has no id, nor has the mask token '[M]'", config,
            R"({"mask_token": "[M]", "additional_special_tokens": ["[X]"]})");
    check_refused(SS1_ERROR_UNSUPPORTED, "'[X]' is new, and", small_vocabulary + "a\n",
                  R"({"additional_special_tokens": ["[X]"]})");
    check_refused(SS1_ERROR_UNSUPPORTED, "has only 9 different tokens for 10 ids", small_vocabulary + "a\n",
                  R"({"additional_special_tokens": ["[X]"]})");
}

TEST_CASE("vocab.txt and tokenizer.json must have the same tokens") {
    const auto with = [](json vocab) {
        return files{{"tokenizer.json", tokenizer_json(std::move(vocab), true).dump()}};
    };
    CHECK(encode(load_files(with(small_vocab())), "ab").ids == numbers{2, 8, 3});
    json other = small_vocab();
    other["a"] = 6, other["b"] = 5;
    check_files_refused(SS1_ERROR_FORMAT, "vocab.txt: line 6: 'a' has the id 5, but in", with(other));
    check_files_refused(SS1_ERROR_FORMAT, "tokenizer.json: 6", with(other));
    other = small_vocab();
    other.erase("##b");
    check_files_refused(SS1_ERROR_FORMAT, "vocab.txt: line 8: '##b' has the id 7, but in", with(other));
    check_files_refused(SS1_ERROR_FORMAT, "tokenizer.json: model: vocab lacks it", with(other));
    other = small_vocab();
    other["more"] = 9;
    check_files_refused(SS1_ERROR_FORMAT, "tokenizer.json: model: vocab: 'more' is not in", with(other));
    files twice = with(small_vocab());  // the last of equal lines counts
    twice["vocab.txt"] = small_vocabulary + "a\n";
    check_files_refused(SS1_ERROR_FORMAT, "vocab.txt: line 10: 'a' has the id 9, but in", twice);
    other = small_vocab();
    other["a"] = 9;
    twice["tokenizer.json"] = tokenizer_json(other, true).dump();
    CHECK(encode(load_files(twice), "a").ids == numbers{2, 9, 3});
}

TEST_CASE("tokenizer.json and tokenizer_config.json must not contradict each other") {
    const auto with = [](const char *config, const char *name = nullptr, json value = {}) {
        json file = tokenizer_json(small_vocab(), true);
        if (name) file["normalizer"][name] = std::move(value);
        return files{{"tokenizer.json", file.dump()}, {"tokenizer_config.json", config}};
    };
    const auto refused = [&](const std::string &message, const files &contents) {
        check_files_refused(SS1_ERROR_FORMAT, message, contents);
    };
    const files cased = with(R"({"do_lower_case": false})");
    refused("tokenizer_config.json: do_lower_case is false, but", cased);
    refused("tokenizer.json: normalizer: lowercase is true; they must be equal", cased);
    refused("tokenize_chinese_chars is false, but", with(R"({"tokenize_chinese_chars": false})"));
    refused("strip_accents is false, but", with(R"({"strip_accents": false})", "strip_accents", true));
    CHECK(describe(load_files(with(R"({"strip_accents": false})"))).strip_accents == 0);
    refused("strip_accents is false, but",
            with(R"({"tokenizer_class": "PreTrainedTokenizerFast", "strip_accents": false})"));  // null means the value
                                                                                                 // of lowercase
    // Rules missing in the config: BertTokenizer uses its defaults, the general class uses tokenizer.json.
    CHECK(describe(load_files(with("{}", "lowercase", false))).lower_case == 1);
    const files fast = with(R"({"tokenizer_class": "PreTrainedTokenizerFast"})", "lowercase", false);
    CHECK(describe(load_files(fast)).lower_case + describe(load_files(fast)).strip_accents == 0);
}

TEST_CASE("a RoBERTa body with a BertTokenizer has BERT's tokens and its own limit") {
    const json &expected = vectors()["vectors"][0];
    json config = expected["config"];
    const std::string roberta = R"("model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0)";
    const auto check = [&](const files &contents) {
        const ss1::tokenizer_ptr tokenizer = load_files(contents);
        CHECK(describe(tokenizer).max_tokens == 513);  // positions begin behind that of the padding token
        for (size_t i = 0; i < vectors()["texts"].size(); ++i) {
            const std::string text = vectors()["texts"][i];
            CAPTURE(text);
            CHECK(encode(tokenizer, text).ids == expected["ids"][i].get<numbers>());
        }
    };
    const std::string of_body = "{" + roberta + R"(, "tokenizer_class": "BertTokenizer"})";
    check({{"vocab.txt", vocabulary_text()}, {"tokenizer_config.json", config.dump()}, {"config.json", of_body}});
    for (const char *name : {"BertTokenizer", "BertTokenizerFast"}) {
        config["tokenizer_class"] = name;
        check({{"vocab.txt", vocabulary_text()},
               {"tokenizer_config.json", config.dump()},
               {"config.json", "{" + roberta + "}"}});
    }
}

TEST_CASE("a tokenizer follows the rules in its files") {
    const ss1_tokenizer_info plain = describe(load(json::object(), small_vocabulary));
    CHECK(plain.lower_case + plain.strip_accents + plain.split_ideographs == 3);
    CHECK(plain.vocab_size == 9);
    CHECK(plain.max_tokens == 0);
    CHECK(numbers{plain.pad, plain.unk, plain.cls, plain.sep, plain.mask} == numbers{0, 1, 2, 3, 4});

    std::string other = small_vocabulary;
    for (const char *token : {"PAD", "UNK", "CLS", "SEP"}) other[other.find(token) + 1] = '_';
    const json config = {{"do_lower_case", false},
                         {"model_max_length", 1e30},
                         {"unk_token", "[U_K]"},
                         {"pad_token", {{"content", "[P_D]"}, {"lstrip", false}}},
                         {"cls_token", "[C_S]"},
                         {"sep_token", "[S_P]"},
                         {"mask_token", nullptr},
                         {"strip_accents", nullptr},
                         {"added_tokens_decoder", {{"0", {{"content", "[P_D]"}}}, {"9", {{"content", "[NEW]"}}}}}};
    const ss1::tokenizer_ptr tokenizer = load(config, other);
    const ss1_tokenizer_info info = describe(tokenizer);
    CHECK(info.lower_case + info.strip_accents == 0);
    CHECK(info.max_tokens == 0);
    CHECK(encode(tokenizer, "A a[NEW]b [P_D] [PAD]").ids == numbers{2, 1, 5, 9, 6, 0, 1, 1, 1, 3});
    CHECK(info.vocab_size == 10);

    const temporary_folder folder;
    write_file(folder / "vocab.txt", small_vocabulary);
    write_file(folder / "tokenizer_config.json", R"({"model_max_length": 40})");
    write_file(folder / "config.json", R"({"model_type": "distilbert", "max_position_embeddings": 50})");
    CHECK(describe(ss1::load_tokenizer(context(), folder.path)).max_tokens == 40);
    write_file(folder / "config.json", R"({"model_type": "bert", "max_position_embeddings": 30})");
    CHECK(describe(ss1::load_tokenizer(context(), folder.path)).max_tokens == 30);
}

TEST_CASE("lines of a vocabulary may end in CRLF or not at all, and the last of two equal ones counts") {
    const json uncased = json::object();
    const numbers expected = encode(load(uncased, small_vocabulary), "ab abb b").ids;
    CHECK(expected == numbers{2, 8, 8, 7, 6, 3});
    std::string crlf;
    for (const std::string &line : lines_of(small_vocabulary)) crlf += line + "\r\n";
    CHECK(encode(load(uncased, crlf), "ab abb b").ids == expected);
    CHECK(encode(load(uncased, small_vocabulary.substr(0, small_vocabulary.size() - 1)), "ab abb b").ids == expected);
    const ss1::tokenizer_ptr twice = load(uncased, small_vocabulary + "b\n\n##b\n");
    CHECK(encode(twice, "ab abb b").ids == numbers{2, 8, 8, 11, 9, 3});
    CHECK(describe(twice).vocab_size == 12);
    const ss1::tokenizer_ptr whole_words = load(uncased, "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n");
    CHECK(encode(whole_words, "a aa [MASK]").ids == numbers{2, 4, 1, 1, 1, 1, 3});
    CHECK(describe(whole_words).mask == -1);
}

TEST_CASE("bytes that are not UTF-8 are dropped") {
    const ss1::tokenizer_ptr tokenizer = load(json::object());
    const std::string clean = "naive words 中 end",
                      broken = "na\xffive wo\xc3rds\xe4\xb8 \xe4\xb8\xad\xed\xa0\x80 end\xf0\x9f";
    CHECK(encode(tokenizer, broken).ids == encode(tokenizer, clean).ids);
}

namespace {

// The source bytes of the tokens of a text, or of the second text of a pair; empty for [CLS] and [SEP].
std::vector<std::string> sources(const ss1::tokenizer_ptr &tokenizer, const std::string &first,
                                 const std::string *second = nullptr, size_t max_tokens = 0) {
    const encoded row = encode(tokenizer, first, second, max_tokens);
    std::vector<std::string> parts;
    for (size_t t = 0; t < row.ids.size(); ++t) {
        const auto begin = static_cast<size_t>(row.offsets[2 * t]), end = static_cast<size_t>(row.offsets[2 * t + 1]);
        if (end && row.types[t] == (second ? 1 : 0))
            parts.push_back((second ? *second : first).substr(begin, end - begin));
    }
    return parts;
}

}  // namespace

TEST_CASE("tokens know the bytes that they come from") {
    using parts = std::vector<std::string>;
    const std::string vocabulary =
        small_vocabulary + "cafe\nun\n##aff\n##able\n\u65e5\n\u1100\n##\u1161\ni\n##\u0307\n";
    const ss1::tokenizer_ptr tokenizer = load(json::object(), vocabulary);
    CHECK(sources(tokenizer, "") == parts{});
    CHECK(sources(tokenizer, " unAFFable  b") == parts{"un", "AFF", "able", "b"});
    CHECK(sources(tokenizer, "Caf\u00e9, CAFE\u0301!") ==
          parts{"Caf\u00e9", ",", "CAFE", "!"});  // the mark at the end is outside
    CHECK(sources(tokenizer, "C\u0301A\u0302FE") == parts{"C\u0301A\u0302FE"});
    CHECK(sources(tokenizer, "u\u0301n\u0301aff") == parts{"u\u0301n", "aff"});
    CHECK(sources(tokenizer, "a\u65e5\u65e5\u65e6") == parts{"a", "\u65e5", "\u65e5", "\u65e6"});
    CHECK(sources(tokenizer, "\uac00") == parts{"\uac00", "\uac00"});  // two pieces of one character
    CHECK(sources(tokenizer, "\u0007un\u0007aff\u200bable\ufeff b") == parts{"un", "aff", "able", "b"});
    CHECK(sources(tokenizer, "a\u0007\u0007b") == parts{"a\u0007\u0007b"});  // the token ab
    CHECK(sources(tokenizer, "\U0001f600\U0001f601 a\U0001f600") == parts{"\U0001f600\U0001f601", "a\U0001f600"});
    CHECK(sources(tokenizer,
                  "un\xff\xff"
                  "aff\xe4 b") == parts{"un", "aff", "b"});
    CHECK(sources(tokenizer, "unx un[MASK]aff[SEP]") == parts{"unx", "un", "[MASK]", "aff", "[SEP]"});
    CHECK(sources(tokenizer, "un affable unaffable", nullptr, 6) == parts{"un", "affable", "un", "aff"});
    const std::string longest(100, 'b'), longer = std::string(150, 'b') + "e\u0301", marks = "a" + [] {
        std::string text;
        for (size_t i = 0; i < 150; ++i) text += utf8(0x302E);  // combining, but kept
        return text;
    }();
    CHECK(sources(tokenizer, longest) == parts(100, "b"));
    CHECK(sources(tokenizer, longer + " a") == parts{longer.substr(0, 151), "a"});
    CHECK(sources(tokenizer, marks + " a") == parts{marks, "a"});
    const ss1::tokenizer_ptr accents = load({{"strip_accents", false}}, vocabulary);
    CHECK(sources(accents, "\u0130a") == parts{"\u0130a"});
    CHECK(sources(accents, "\u0130") == parts{"\u0130", "\u0130"});

    const std::string first = "ab b a", second = "\u00c3\u0303 b  UNaffable";
    CHECK(sources(tokenizer, first, &second) == parts{"\u00c3", "b", "UN", "aff", "able"});
    CHECK(sources(tokenizer, first, &second, 8) == parts{"\u00c3", "b", "UN"});
    CHECK(encode(tokenizer, first, &second, 8).offsets == numbers{0, 0, 0, 2, 3, 4, 0, 0, 0, 2, 5, 6, 8, 10, 0, 0});
}

TEST_CASE("places are in order and inside the text, and plain words equal their source") {
    const std::vector<std::string> vocabulary = lines_of(vocabulary_text());
    const ss1::tokenizer_ptr tokenizer = load(json::object());
    generator random{77};
    for (size_t i = 0; i < 2000; ++i) {
        const std::string text = random_text(random, vocabulary, vectors()["alphabets"]);
        CAPTURE(json(text).dump());
        const encoded row = encode(tokenizer, text);
        int64_t begin = 0, end = 0;
        bool good = row.offsets.front() == 0 && row.offsets.back() == 0;
        for (size_t t = 1; t + 1 < row.ids.size(); ++t) {
            good &= begin <= row.offsets[2 * t] && end <= row.offsets[2 * t + 1];
            begin = row.offsets[2 * t], end = row.offsets[2 * t + 1];
            good &= begin < end && end <= static_cast<int64_t>(text.size());
        }
        CHECK(good);
        for (const std::string &source : sources(tokenizer, text)) CHECK(ss1::is_utf8(source));
    }
    for (size_t i = 0; i < 2000; ++i) {
        std::string text;
        for (size_t n = random.below(60); n; --n)
            text += "abcdefghijklmnopqrstuvwxyz0123456789.,!-   "[random.below(43)];
        CAPTURE(text);
        const encoded row = encode(tokenizer, text);
        const std::vector<std::string> parts = sources(tokenizer, text);
        for (size_t t = 0; t < parts.size(); ++t) {
            const std::string token = vocabulary[static_cast<size_t>(row.ids[t + 1])];
            CHECK((token == "[UNK]" || token == parts[t] || token == "##" + parts[t]));
        }
    }
}

TEST_CASE("rows are padded, and memory around them is unchanged") {
    const ss1::tokenizer_ptr tokenizer = load(json::object(), small_vocabulary);
    const std::vector<ss1_text> first = {
        {sizeof(ss1_text), "a b a b a b", 11}, SS1_TEXT_INIT, {sizeof(ss1_text), "ab", 2}};
    const std::vector<ss1_text> second = {{sizeof(ss1_text), "b", 1}, {sizeof(ss1_text), "a", 1}, SS1_TEXT_INIT};
    numbers ids(3 * 8, -7), mask = ids, types = ids, begins = ids, ends = ids;
    std::vector<size_t> lengths(3);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 3;
    args.first = first.data();
    args.second = second.data();
    args.max_tokens = 7;
    args.ld = 8;
    args.input_ids = ids.data();
    args.attention_mask = mask.data();
    args.token_type_ids = types.data();
    args.lengths = lengths.data();
    args.begins = begins.data();
    args.ends = ends.data();
    REQUIRE(ss1_tokenizer_encode(tokenizer.get(), &args) == SS1_OK);
    CHECK(ids == numbers{2, 5, 6, 5, 3, 6, 3, -7, 2, 3, 5, 3, 0, 0, 0, -7, 2, 8, 3, 3, 0, 0, 0, -7});
    CHECK(mask == numbers{1, 1, 1, 1, 1, 1, 1, -7, 1, 1, 1, 1, 0, 0, 0, -7, 1, 1, 1, 1, 0, 0, 0, -7});
    CHECK(types == numbers{0, 0, 0, 0, 0, 1, 1, -7, 0, 0, 1, 1, 0, 0, 0, -7, 0, 0, 0, 1, 0, 0, 0, -7});
    CHECK(begins == numbers{0, 0, 2, 4, 0, 0, 0, -7, 0, 0, 0, 0, 0, 0, 0, -7, 0, 0, 0, 0, 0, 0, 0, -7});
    CHECK(ends == numbers{0, 1, 3, 5, 0, 1, 0, -7, 0, 0, 1, 0, 0, 0, 0, -7, 0, 2, 0, 0, 0, 0, 0, -7});
    CHECK(lengths == std::vector<size_t>{7, 4, 4});

    const numbers wanted = ends;  // only one of the two
    std::fill(ends.begin(), ends.end(), -7);
    args.begins = nullptr;
    REQUIRE(ss1_tokenizer_encode(tokenizer.get(), &args) == SS1_OK);
    CHECK(ends == wanted);
}

TEST_CASE("texts of a newer header are taken at their own stride") {
    struct newer_text {
        ss1_text known;
        uint64_t added;
    };
    const ss1::tokenizer_ptr tokenizer = load(json::object(), small_vocabulary);
    newer_text texts[] = {{{sizeof(newer_text), "a", 1}, 0}, {{sizeof(newer_text), "b", 1}, 0}};
    numbers ids(2 * 3);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 2;
    args.first = &texts[0].known;
    args.max_tokens = 3;
    args.input_ids = ids.data();
    REQUIRE(ss1_tokenizer_encode(tokenizer.get(), &args) == SS1_OK);
    CHECK(ids == numbers{2, 5, 3, 2, 6, 3});
    texts[1].added = 1;
    CHECK(ss1_tokenizer_encode(tokenizer.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.first[1].struct_size=32"));
}

TEST_CASE("invalid arguments of the tokenizer are refused") {
    const ss1::tokenizer_ptr tokenizer = load(json::object(), small_vocabulary);
    const ss1_text text = {sizeof(ss1_text), "a", 1}, null_text = {sizeof(ss1_text), nullptr, 1};
    const ss1_text old_text = {16, "a", 1};
    numbers ids(8), mask(8);
    ss1_tokenize_args good = SS1_TOKENIZE_ARGS_INIT;
    good.n = 1;
    good.first = &text;
    good.max_tokens = 4;
    good.input_ids = ids.data();
    const auto refused = [&](const std::string &message, auto &&change) {
        ss1_tokenize_args args = good;
        change(args);
        CAPTURE(message);
        CHECK(ss1_tokenizer_encode(tokenizer.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains(message));
    };
    CHECK(ss1_tokenizer_encode(tokenizer.get(), &good) == SS1_OK);
    refused("struct_size", [](auto &args) { args.struct_size = 3; });
    refused("args.first is NULL", [](auto &args) { args.first = nullptr; });
    refused("args.first[0].data is NULL but bytes=1", [&](auto &args) { args.first = &null_text; });
    refused("args.first[0].struct_size=16 is not the size", [&](auto &args) { args.first = &old_text; });
    refused("args.second[0].data is NULL but bytes=1", [&](auto &args) { args.second = &null_text; });
    refused("args.input_ids is NULL", [](auto &args) { args.input_ids = nullptr; });
    refused("args.max_tokens=0", [](auto &args) { args.max_tokens = 0; });
    refused("args.max_tokens=1 is below 2", [](auto &args) { args.max_tokens = 1; });
    refused("args.max_tokens=2 is below 3", [&](auto &args) { args.max_tokens = 2, args.second = &text; });
    refused("args.ld=3 is below max_tokens=4", [](auto &args) { args.ld = 3; });
    refused("overlaps", [&](auto &args) { args.attention_mask = ids.data() + 3; });
    refused("args.begins", [&](auto &args) { args.begins = ids.data() + 3; });
    refused("args.ends", [&](auto &args) { args.begins = mask.data(), args.ends = mask.data(); });
    refused("fit the address space", [](auto &args) { args.max_tokens = SIZE_MAX / 8 + 1; });
    CHECK(ss1_tokenizer_encode(nullptr, &good) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_tokenizer_encode(tokenizer.get(), nullptr) == SS1_ERROR_INVALID_ARGUMENT);
    const char *token = nullptr;
    CHECK(ss1_tokenizer_token(tokenizer.get(), 7, &token) == SS1_OK);
    CHECK(token == std::string("##b"));
    for (const int64_t id : {int64_t{-1}, int64_t{9}})
        CHECK(ss1_tokenizer_token(tokenizer.get(), id, &token) == SS1_ERROR_INVALID_ARGUMENT);
    ss1_tokenizer *none = nullptr;
    ss1_tokenizer_destroy(&none);
    ss1_tokenizer_destroy(nullptr);
}

TEST_CASE("a tokenizer's memory comes from the context's allocator, and running out of it is an error") {
    struct counted {
        size_t blocks = 0, left = SIZE_MAX;
    } memory;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.alloc_user = &memory;
    options.alloc = [](void *user, size_t bytes, size_t alignment) -> void * {
        auto &count = *static_cast<counted *>(user);
        if (count.left == 0) return nullptr;
        --count.left, ++count.blocks;
        return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    options.free = [](void *user, void *pointer, size_t) {
        --static_cast<counted *>(user)->blocks;
        std::free(pointer);
    };
    const ss1::context_ptr own = ss1::make_context(options);
    const temporary_folder folder;
    write_file(folder / "vocab.txt", small_vocabulary);
    size_t needed = 0;
    for (ss1_status status = SS1_ERROR_OUT_OF_MEMORY; status != SS1_OK; ++needed) {
        REQUIRE(needed < 100);
        memory.left = needed;
        ss1_tokenizer *tokenizer = nullptr;
        status = ss1_tokenizer_load(own.get(), folder.path.c_str(), &tokenizer);
        CHECK((status == SS1_OK || status == SS1_ERROR_OUT_OF_MEMORY));
        ss1_tokenizer_destroy(&tokenizer);
        CHECK(memory.blocks == 0);
    }
    CHECK(needed >= 4);
}

TEST_CASE("many threads share a tokenizer") {
    const ss1::tokenizer_ptr tokenizer = load(json::object());
    const json &texts = vectors()["texts"];
    std::vector<numbers> expected;
    for (const json &text : texts) expected.push_back(encode(tokenizer, text).ids);
    std::vector<size_t> wrong(4);
    std::vector<std::thread> threads;
    for (size_t &count : wrong) {
        threads.emplace_back([&] {
            for (size_t i = 0; i < texts.size(); ++i) count += encode(tokenizer, texts[i]).ids != expected[i];
        });
    }
    for (std::thread &thread : threads) thread.join();
    CHECK(wrong == std::vector<size_t>(4));
}
