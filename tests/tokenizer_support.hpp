// SPDX-License-Identifier: Apache-2.0
// What the tests of tokenizers share: the texts of tests/data/tokenizer, one row of a tokenizer, hashes, random texts.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io_support.hpp"
#include "ss1/ss1.hpp"
#include "text/unicode.hpp"

namespace tokenizer_support {

using json = nlohmann::json;

inline const std::string data_folder = SS1_TEST_DATA "/tokenizer";

inline const std::string &vocabulary_text() {
    static const std::string text = io_support::read_file(data_folder + "/vocab.txt");
    return text;
}

// SS1_TOKENIZER_VECTORS may name another vectors.json, e.g. a new one.
inline const json &vectors() {
    static const json document = [] {
        const char *other = std::getenv("SS1_TOKENIZER_VECTORS");
        return json::parse(io_support::read_file(other ? other : data_folder + "/vectors.json"));
    }();
    return document;
}

inline const ss1::context_ptr &context() {
    static const ss1::context_ptr made = ss1::make_context();
    return made;
}

inline ss1::tokenizer_ptr load(const json &config, const std::string &vocabulary = vocabulary_text()) {
    const io_support::temporary_folder folder;
    io_support::write_file(folder / "vocab.txt", vocabulary);
    io_support::write_file(folder / "tokenizer_config.json", config.dump());
    return ss1::load_tokenizer(context(), folder.path);
}

struct encoded {
    std::vector<int64_t> ids, types, offsets;  // offsets: begin, end, begin, end, ...
};

inline ss1_text text_of(const std::string &text) {
    return {sizeof(ss1_text), text.data(), text.size()};
}

// The ids must be the same without offsets.
inline void check_ids_alone(const ss1::tokenizer_ptr &tokenizer, ss1_tokenize_args args,
                            const std::vector<int64_t> &ids) {
    std::vector<int64_t> alone(args.max_tokens);
    args.input_ids = alone.data();
    args.begins = args.ends = nullptr;
    ss1::check(ss1_tokenizer_encode(tokenizer.get(), &args));
    if (!std::equal(ids.begin(), ids.end(), alone.begin())) throw std::logic_error("offsets change ids");
}

// `max_tokens` = 0 means no limit.
inline encoded encode(const ss1::tokenizer_ptr &tokenizer, const std::string &first,
                      const std::string *second = nullptr, size_t max_tokens = 0) {
    if (max_tokens == 0) max_tokens = 4 + 12 * (first.size() + (second ? second->size() : 0));
    encoded row{std::vector<int64_t>(max_tokens), std::vector<int64_t>(max_tokens), {}};
    std::vector<int64_t> begins(max_tokens, -7), ends(max_tokens, -7);
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
    args.begins = begins.data();
    args.ends = ends.data();
    ss1::check(ss1_tokenizer_encode(tokenizer.get(), &args));
    row.ids.resize(length);
    row.types.resize(length);
    for (size_t t = 0; t < max_tokens; ++t) {
        if (t < length) row.offsets.insert(row.offsets.end(), {begins[t], ends[t]});
        if (t >= length && (begins[t] || ends[t])) throw std::logic_error("padding has a place");
    }
    check_ids_alone(tokenizer, args, row.ids);
    return row;
}

inline uint64_t fnv(std::string_view bytes, uint64_t state = 0xCBF29CE484222325) {
    for (const char byte : bytes) state = (state ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
    return state;
}

// Appends each number as 4 bytes, little endian.
inline uint64_t add_numbers(const std::vector<int64_t> &numbers, uint64_t state) {
    for (const int64_t number : numbers) {
        const auto value = static_cast<uint32_t>(number);
        const char bytes[] = {static_cast<char>(value), static_cast<char>(value >> 8), static_cast<char>(value >> 16),
                              static_cast<char>(value >> 24)};
        state = fnv({bytes, 4}, state);
    }
    return state;
}

inline std::string hex(uint64_t value) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
    return digits;
}

inline std::string utf8(char32_t c) {
    char bytes[4];
    return {bytes, ss1::put_char(c, bytes)};
}

// The same generator as in the script.
struct generator {
    uint64_t state;
    size_t below(size_t n) {
        state = state * 6364136223846793005 + 1442695040888963407;
        return (state >> 33) % n;
    }
};

inline std::string random_text(generator &random, const std::vector<std::string> &vocabulary, const json &alphabets) {
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

inline std::vector<std::string> lines_of(const std::string &text) {
    std::vector<std::string> lines;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
        lines.push_back(text.substr(begin, end - begin));
    return lines;
}

}  // namespace tokenizer_support
