// SPDX-License-Identifier: Apache-2.0
// Finds the tokens that a tokenizer cuts out of a text before its model sees the rest.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"
#include "text/vocabulary.hpp"

namespace ss1 {

struct token_flags {
    bool lstrip = false, rstrip = false;  // takes the white space before, behind it
    bool single_word = false;             // only between characters that are no part of a word
    bool normalized = false;              // is looked for in the normalised text
};

struct special_token {
    std::string text;
    int32_t id;
    token_flags flags{};
};

class added_tokens {
  public:
    // The first of several equal texts counts.
    ss1_status take(const allocator &memory, std::vector<special_token> tokens);

    bool empty() const noexcept { return tokens_.empty(); }

    // Calls part(begin, end) for the text between two tokens, and found(token, begin, end) for each token, the longest
    // of those at the leftmost place; both return false to stop.
    template <class Part, class Found>
    void cut(std::string_view text, Part part, Found found) const {
        size_t position = 0, begin = 0, space_end = 0;  // space_end: of the white space that was measured last
        while (const special_token *const token = next(text, position)) {
            size_t first = position, last = position += token->text.size();
            if (token->flags.single_word && !stands_alone(text, first, last)) continue;
            // As in tokenizers, a token within the white space that the last one took keeps its own place, but one that
            // takes white space before it begins behind that, and is dropped if nothing of it is left. (tokenizers
            // breaks off where less than nothing is left.)
            if (token->flags.lstrip) first = std::max(begin, space_before(text, first, begin));
            if (token->flags.rstrip) {
                if (last >= space_end) space_end = space_behind(text, last);
                last = space_end;
            }
            if (first >= last) continue;
            if (begin < first && !part(begin, first)) return;
            if (!found(*token, first, last)) return;
            begin = last;
        }
        if (begin < text.size()) part(begin, text.size());
    }

  private:
    // Moves `position` to the next token.
    const special_token *next(std::string_view text, size_t &position) const noexcept {
        for (; position < text.size(); ++position) {
            if (!starts_[static_cast<unsigned char>(text[position])]) continue;
            if (const int32_t index = trie_.longest_prefix(text.substr(position)); index != vocabulary::none)
                return &tokens_[static_cast<size_t>(index)];
        }
        return nullptr;
    }
    static bool stands_alone(std::string_view text, size_t begin, size_t end) noexcept;
    static size_t space_before(std::string_view text, size_t end, size_t limit) noexcept;
    static size_t space_behind(std::string_view text, size_t begin) noexcept;

    std::vector<special_token> tokens_;
    vocabulary trie_;  // from texts to indices
    bool starts_[256] = {};
};

}  // namespace ss1
