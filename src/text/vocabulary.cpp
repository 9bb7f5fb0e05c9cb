// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <vector>

#include "base/status.hpp"
#include "io/json.hpp"
#include "text/unicode.hpp"

namespace ss1 {
namespace {

// tokenizers reads a line with Rust's trim_end().
std::string_view without_space_at_end(std::string_view line) noexcept {
    for (size_t end = line.size(); end;) {
        const size_t begin = previous_char(line, end);
        size_t next = begin;
        if (!is_white_space(next_char(line, next)) || next != end) break;
        line = line.substr(0, end = begin);
    }
    return line;
}

ss1_status check_line(std::string_view token, const char *label, size_t line) {
    SS1_CHECK(token.find('\0') == token.npos, SS1_ERROR_FORMAT, "%s: line %zu: '%s' has a zero byte", label, line,
              printable(token).c_str());
    // Python would end the line there and number all later tokens differently.
    SS1_CHECK(token.find('\r') == token.npos, SS1_ERROR_FORMAT,
              "%s: line %zu: '%s' has a carriage return before its end", label, line, printable(token).c_str());
    SS1_CHECK(is_utf8(token), SS1_ERROR_FORMAT, "%s: line %zu: '%s' is not UTF-8", label, line,
              printable(token).c_str());
    return SS1_OK;
}

size_t common_prefix(std::string_view a, std::string_view b) noexcept {
    return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

// Counts the nodes of the trie: the root, and one per prefix.
size_t count_nodes(std::span<const vocabulary_entry> entries) {
    std::vector<std::string_view> tokens;
    for (const vocabulary_entry &entry : entries) tokens.push_back(entry.text);
    std::sort(tokens.begin(), tokens.end());
    size_t nodes = 1;
    std::string_view before;
    for (const std::string_view token : tokens) {
        nodes += token.size() - common_prefix(before, token);
        before = token;
    }
    return nodes;
}

}  // namespace

ss1_status vocabulary::read(const allocator &memory, std::string_view text, const char *label) {
    std::vector<vocabulary_entry> entries;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view token = without_space_at_end(text.substr(begin, end - begin));
        SS1_TRY(check_line(token, label, entries.size() + 1));
        entries.push_back({token, static_cast<int32_t>(entries.size())});
        begin = end + 1;
    }
    return take(memory, entries, label);
}

ss1_status vocabulary::take(const allocator &memory, std::span<const vocabulary_entry> entries, const char *label) {
    SS1_CHECK(!entries.empty(), SS1_ERROR_FORMAT, "%s: has no tokens", label);
    size_t bytes = entries.size();
    for (const vocabulary_entry &entry : entries) bytes += entry.text.size();
    SS1_CHECK(bytes <= max_bytes, SS1_ERROR_FORMAT, "%s: the tokens have %zu bytes, the limit is %zu", label, bytes,
              max_bytes);
    SS1_TRY(text_.allocate(memory, bytes));
    SS1_TRY(allocate(memory, entries));
    uint32_t position = 0;
    for (const auto &[token, id] : entries) {
        char *const copy = text_.as<char>() + position;
        *std::copy(token.begin(), token.end(), copy) = '\0';
        starts_.as<uint32_t>()[id] = position;
        position += static_cast<uint32_t>(token.size() + 1);
        int32_t &last = ids_.as<int32_t>()[insert(token)];
        different_ += last == none;
        last = id;
    }
    continuation_ = walk("##");
    return SS1_OK;
}

ss1_status vocabulary::allocate(const allocator &memory, std::span<const vocabulary_entry> entries) {
    for (const vocabulary_entry &entry : entries) end_ = std::max(end_, static_cast<size_t>(entry.id) + 1);
    const size_t nodes = count_nodes(entries);
    const size_t slots = std::bit_ceil(nodes + nodes / 2 + 1);  // at least one slot stays free
    SS1_TRY(starts_.allocate(memory, end_ * sizeof(uint32_t)));
    SS1_TRY(edges_.allocate(memory, slots * sizeof(edge)));
    SS1_TRY(ids_.allocate(memory, nodes * sizeof(int32_t)));
    std::fill_n(starts_.as<uint32_t>(), end_, no_text);
    std::fill_n(edges_.as<edge>(), slots, edge{});
    std::fill_n(ids_.as<int32_t>(), nodes, none);
    mask_ = static_cast<uint32_t>(slots - 1);
    shift_ = static_cast<uint32_t>(std::countl_zero(uint64_t{mask_}));
    return SS1_OK;
}

uint32_t vocabulary::insert(std::string_view token) noexcept {
    uint32_t node = 0;
    for (const char byte : token) {
        const uint32_t key = edge_key(node, byte);
        edge &found = slot(key);
        if (found.key == 0) found = {key, nodes_++};
        node = found.node;
    }
    return node;
}

uint32_t vocabulary::walk(std::string_view token) const noexcept {
    uint32_t node = 0;
    for (size_t i = 0; i < token.size() && node != no_node; ++i) node = child(node, token[i]);
    return node;
}

int32_t vocabulary::find_own(std::string_view token) const noexcept {
    const uint32_t node = walk(token);
    return node == no_node ? none : ids_.as<int32_t>()[node];
}

int32_t vocabulary::find(std::string_view token) const noexcept {
    if (const int32_t id = find_own(token); id != none) return id;
    const auto added = added_ids_.find(token);
    return added == added_ids_.end() ? none : added->second;
}

int32_t vocabulary::longest_prefix(std::string_view text) const noexcept {
    int32_t longest = none;
    each_prefix(text, [&](int32_t id, size_t) { longest = id; });
    return longest;
}

int32_t vocabulary::add(const std::string &token) {
    const auto added = added_ids_.emplace(token, static_cast<int32_t>(size())).first;
    added_.push_back(&added->first);
    return added->second;
}

size_t vocabulary::split(std::string_view word, piece *pieces) const noexcept {
    const int32_t *const node_ids = ids_.as<int32_t>();
    size_t n = 0;
    for (size_t begin = 0; begin < word.size(); ++n) {
        uint32_t node = begin == 0 ? 0 : continuation_;
        size_t end = begin;
        for (size_t i = begin; node != no_node && i < word.size();) {
            node = child(node, word[i++]);
            if (node == no_node || node_ids[node] == none) continue;
            end = i;
            pieces[n] = {node_ids[node], static_cast<uint32_t>(i)};
        }
        if (end == begin) return 0;
        begin = end;
    }
    return n;
}

std::array<int32_t, 256> byte_tokens(const vocabulary &all) {
    std::array<int32_t, 256> ids;
    for (size_t byte = 0; byte < ids.size(); ++byte) {
        char name[7];
        std::snprintf(name, sizeof name, "<0x%02zX>", byte);
        ids[byte] = all.find_own(name);
    }
    return ids;
}

}  // namespace ss1
