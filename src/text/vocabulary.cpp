// SPDX-License-Identifier: Apache-2.0
#include "text/vocabulary.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "base/status.hpp"
#include "io/json.hpp"
#include "text/unicode.hpp"

namespace ss1 {
namespace {

ss1_status check_token(std::string_view token, const char *label, size_t line) {
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
size_t count_nodes(std::vector<std::string_view> tokens) {
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
    SS1_CHECK(text.size() <= max_bytes, SS1_ERROR_FORMAT, "%s: the tokens have %zu bytes, the limit is %zu", label,
              text.size(), max_bytes);
    std::vector<std::string_view> tokens;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        std::string_view token = text.substr(begin, end - begin);
        if (token.ends_with('\r')) token.remove_suffix(1);
        SS1_TRY(check_token(token, label, tokens.size() + 1));
        tokens.push_back(token);
        begin = end + 1;
    }
    SS1_CHECK(!tokens.empty(), SS1_ERROR_FORMAT, "%s: has no tokens", label);
    SS1_TRY(allocate(memory, tokens));
    size_t position = 0;
    for (size_t id = 0; id < lines_; ++id) {
        char *const copy = text_.as<char>() + position;
        *std::copy(tokens[id].begin(), tokens[id].end(), copy) = '\0';
        starts_.as<uint32_t>()[id] = static_cast<uint32_t>(position);
        position += tokens[id].size() + 1;
        int32_t &last = ids_.as<int32_t>()[insert(tokens[id])];
        different_ += last == none;
        last = static_cast<int32_t>(id);
    }
    continuation_ = walk("##");
    return SS1_OK;
}

ss1_status vocabulary::allocate(const allocator &memory, std::span<const std::string_view> tokens) {
    size_t bytes = tokens.size();
    for (const std::string_view token : tokens) bytes += token.size();
    const size_t nodes = count_nodes({tokens.begin(), tokens.end()});
    const size_t slots = std::bit_ceil(nodes + nodes / 2 + 1);  // at least one slot stays free
    SS1_TRY(text_.allocate(memory, bytes));
    SS1_TRY(starts_.allocate(memory, tokens.size() * sizeof(uint32_t)));
    SS1_TRY(edges_.allocate(memory, slots * sizeof(edge)));
    SS1_TRY(ids_.allocate(memory, nodes * sizeof(int32_t)));
    std::fill_n(edges_.as<edge>(), slots, edge{});
    std::fill_n(ids_.as<int32_t>(), nodes, none);
    mask_ = static_cast<uint32_t>(slots - 1);
    shift_ = static_cast<uint32_t>(std::countl_zero(mask_));
    lines_ = tokens.size();
    return SS1_OK;
}

// Returns the slot of an edge, or the free slot to put it in. Fibonacci hashing; the table is at most 2/3 full.
vocabulary::edge &vocabulary::slot(uint32_t key) const noexcept {
    edge *const edges = edges_.as<edge>();
    for (uint32_t i = (key * 0x9E3779B1u) >> shift_;; ++i) {
        edge &found = edges[i & mask_];
        if (found.key == key || found.key == 0) return found;
    }
}

uint32_t vocabulary::child(uint32_t node, char byte) const noexcept {
    const edge &found = slot(edge_key(node, byte));
    return found.key ? found.node : no_node;
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

int32_t vocabulary::find(std::string_view token) const noexcept {
    const uint32_t node = walk(token);
    if (node != no_node && ids_.as<int32_t>()[node] != none) return ids_.as<int32_t>()[node];
    const auto added = added_ids_.find(token);
    return added == added_ids_.end() ? none : added->second;
}

int32_t vocabulary::add(const std::string &token) {
    const auto added = added_ids_.emplace(token, static_cast<int32_t>(size())).first;
    added_.push_back(&added->first);
    return added->second;
}

size_t vocabulary::split(std::string_view word, int32_t *ids) const noexcept {
    const int32_t *const node_ids = ids_.as<int32_t>();
    size_t n = 0;
    for (size_t begin = 0; begin < word.size(); ++n) {
        uint32_t node = begin == 0 ? 0 : continuation_;
        size_t end = begin;
        for (size_t i = begin; node != no_node && i < word.size();) {
            node = child(node, word[i++]);
            if (node == no_node || node_ids[node] == none) continue;
            end = i;
            ids[n] = node_ids[node];
        }
        if (end == begin) return 0;
        begin = end;
    }
    return n;
}

}  // namespace ss1
