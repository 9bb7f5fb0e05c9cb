// SPDX-License-Identifier: Apache-2.0
// The tokenizer against Hugging Face's (tests/make_tokenizer_vectors.py), broken vocabularies and configs, threads.
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "io/json.hpp"
#include "io_support.hpp"
#include "ss1/ss1.hpp"
#include "text/unicode.hpp"
#include "text/words.hpp"

namespace {

using io_support::temporary_folder;
using io_support::write_file;
using ss1::json;

const std::string data_folder = SS1_TEST_DATA "/tokenizer";

const std::string &vocabulary_text() {
    static const std::string text = io_support::read_file(data_folder + "/vocab.txt");
    return text;
}

// SS1_TOKENIZER_VECTORS is another vectors.json, made anew.
const json &vectors() {
    static const json document = [] {
        const char *other = std::getenv("SS1_TOKENIZER_VECTORS");
        return json::parse(io_support::read_file(other ? other : data_folder + "/vectors.json"));
    }();
    return document;
}

const ss1::context_ptr &context() {
    static const ss1::context_ptr made = ss1::make_context();
    return made;
}

ss1::tokenizer_ptr load(const json &config, const std::string &vocabulary = vocabulary_text()) {
    const temporary_folder folder;
    write_file(folder / "vocab.txt", vocabulary);
    write_file(folder / "tokenizer_config.json", config.dump());
    return ss1::load_tokenizer(context(), folder.path);
}

struct encoded {
    std::vector<int64_t> ids, types;
};

ss1_text text_of(const std::string &text) {
    return {text.data(), text.size()};
}

// `max_tokens` 0: no limit.
encoded encode(const ss1::tokenizer_ptr &tokenizer, const std::string &first, const std::string *second = nullptr,
               size_t max_tokens = 0) {
    if (max_tokens == 0) max_tokens = 3 + 4 * (first.size() + (second ? second->size() : 0));
    encoded row{std::vector<int64_t>(max_tokens), std::vector<int64_t>(max_tokens)};
    const ss1_text a = text_of(first), b = second ? text_of(*second) : ss1_text{};
    size_t length = 0;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &a;
    if (second) args.second = &b;
    args.max_tokens = max_tokens;
    args.input_ids = row.ids.data();
    args.token_type_ids = row.types.data();
    args.lengths = &length;
    ss1::check(ss1_tokenizer_encode(tokenizer.get(), &args));
    row.ids.resize(length);
    row.types.resize(length);
    return row;
}

uint64_t fnv(std::string_view bytes, uint64_t state = 0xCBF29CE484222325) {
    for (const char byte : bytes) state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
    return state;
}

std::string hex(uint64_t value) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
    return digits;
}

std::string utf8(char32_t c) {
    char bytes[4];
    return {bytes, ss1::put_char(c, bytes)};
}

// The same as in the script.
struct generator {
    uint64_t state;
    size_t below(size_t n) {
        state = state * 6364136223846793005 + 1442695040888963407;
        return (state >> 33) % n;
    }
};

std::string random_text(generator &random, const std::vector<std::string> &vocabulary, const json &alphabets) {
    const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    std::string text;
    for (size_t pieces = 1 + random.below(40); pieces; --pieces) {
        const size_t kind = random.below(12);
        if (kind < 2) {
            const std::string &token = vocabulary[random.below(vocabulary.size())];
            text += token.starts_with("##") ? token.substr(2) : token;
        } else if (kind < 3) {
            text += ' ';
        } else if (kind < 4 && random.below(4) == 0) {
            text += special[random.below(5)];
        } else {
            const json &range = alphabets[random.below(alphabets.size())];
            const auto begin = range[0].get<size_t>(), end = range[1].get<size_t>();
            const std::string character = utf8(static_cast<char32_t>(begin + random.below(end - begin + 1)));
            const size_t times = kind == 4 && random.below(8) == 0 ? 1 + random.below(110) : 1;
            for (size_t i = 0; i < times; ++i) text += character;
        }
    }
    return text;
}

std::vector<std::string> lines_of(const std::string &text) {
    std::vector<std::string> lines;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
        lines.push_back(text.substr(begin, end - begin));
    return lines;
}

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
        rules, text,
        [](void *user, std::string_view word) {
            auto &all = *static_cast<std::string *>(user);
            (all += word) += '\0';
            return true;
        },
        &words);
    return words;
}

}  // namespace

TEST_CASE("texts, pairs and truncation give the ids of Hugging Face's tokenizers") {
    const json &texts = vectors()["texts"];
    size_t checked = 0;
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::tokenizer_ptr tokenizer = load(expected["config"]);
        for (size_t i = 0; i < texts.size(); ++i) {
            CAPTURE(texts[i].dump());
            CHECK(encode(tokenizer, texts[i]).ids == expected["ids"][i].get<std::vector<int64_t>>());
            ++checked;
        }
        for (const json &pair : expected["pairs"]) {
            CAPTURE(pair.dump());
            const std::string second = pair[1];
            const encoded row = encode(tokenizer, pair[0], &second, pair[2]);
            CHECK(row.ids == pair[3].get<std::vector<int64_t>>());
            CHECK(row.types == pair[4].get<std::vector<int64_t>>());
        }
        for (const json &cut : expected["truncated"]) {
            CAPTURE(cut.dump());
            CHECK(encode(tokenizer, cut[0], nullptr, cut[1]).ids == cut[2].get<std::vector<int64_t>>());
        }
    }
    CHECK(checked >= 700);
}

TEST_CASE("every code point gives the words of Hugging Face's tokenizers") {
    const auto block = vectors()["block"].get<char32_t>();
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::word_rules rules = rules_of(expected["config"]);
        const json &hashes = expected["words"];
        REQUIRE(hashes.size() * block == 0x110000);
        for (char32_t begin = 0; begin < 0x110000; begin += block) {
            std::string text;
            for (char32_t c = begin; c < begin + block; ++c)
                if (c < 0xD800 || c > 0xDFFF) text += 'a' + utf8(c) + "b|";
            CAPTURE(hex(begin));
            CHECK(hex(fnv(words_of(rules, text))) == hashes[begin / block]);
        }
    }
}

TEST_CASE("random texts of all scripts give the ids of Hugging Face's tokenizers") {
    const std::vector<std::string> vocabulary = lines_of(vocabulary_text());
    size_t number = 0;
    for (const json &expected : vectors()["vectors"]) {
        CAPTURE(expected["config"].dump());
        const ss1::tokenizer_ptr tokenizer = load(expected["config"]);
        generator random{++number};
        for (const json &hash : expected["random"]) {
            uint64_t state = fnv("");
            for (size_t i = 0; i < vectors()["group"]; ++i) {
                for (const int64_t id :
                     encode(tokenizer, random_text(random, vocabulary, vectors()["alphabets"])).ids) {
                    const auto value = static_cast<uint32_t>(id);
                    const char bytes[] = {static_cast<char>(value), static_cast<char>(value >> 8),
                                          static_cast<char>(value >> 16), static_cast<char>(value >> 24)};
                    state = fnv({bytes, 4}, state);
                }
            }
            CHECK(hex(state) == hash);
        }
    }
}
