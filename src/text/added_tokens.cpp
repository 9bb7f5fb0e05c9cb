// SPDX-License-Identifier: Apache-2.0
#include "text/added_tokens.hpp"

#include <algorithm>

#include "base/status.hpp"
#include "text/unicode.hpp"

namespace ss1 {

ss1_status added_tokens::take(const allocator &memory, std::vector<special_token> tokens) {
    std::stable_sort(tokens.begin(), tokens.end(), [](const auto &a, const auto &b) { return a.text < b.text; });
    const auto same = [](const auto &a, const auto &b) { return a.text == b.text; };
    tokens.erase(std::unique(tokens.begin(), tokens.end(), same), tokens.end());
    tokens_ = std::move(tokens);
    if (tokens_.empty()) return SS1_OK;
    std::vector<vocabulary_entry> entries;
    for (const special_token &token : tokens_) {
        entries.push_back({token.text, static_cast<int32_t>(entries.size())});
        starts_[static_cast<unsigned char>(token.text[0])] = true;
    }
    return trie_.take(memory, entries, "added tokens");
}

bool added_tokens::stands_alone(std::string_view text, size_t begin, size_t end) noexcept {
    size_t before = previous_char(text, begin), behind = end;
    return (begin == 0 || !is_word(next_char(text, before))) &&
           (end == text.size() || !is_word(next_char(text, behind)));
}

size_t added_tokens::space_before(std::string_view text, size_t end, size_t limit) noexcept {
    while (end > limit) {
        size_t next = previous_char(text, end);
        const size_t begin = next;
        if (!is_white_space(next_char(text, next)) || next != end) break;  // broken bytes may lie between
        end = begin;
    }
    return end;
}

size_t added_tokens::space_behind(std::string_view text, size_t begin) noexcept {
    for (size_t next = begin; next < text.size(); begin = next)
        if (!is_white_space(next_char(text, next))) break;
    return begin;
}

}  // namespace ss1
