// SPDX-License-Identifier: Apache-2.0
// The tokens of a WordPiece vocabulary (one per line of vocab.txt) as a trie over their bytes.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"

namespace ss1 {

class vocabulary {
  public:
    static constexpr int32_t none = -1;
    static constexpr size_t max_bytes = size_t{8}
                                        << 20;  // of all lines, so that a node fits the 24 bits of an edge's key

    // `text` is the content of the file; `label` names it in messages. The id of a token is its line, from 0. The last
    // of several equal tokens counts, as in Python's dict. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_OUT_OF_MEMORY.
    ss1_status read(const allocator &memory, std::string_view text, const char *label);

    // Adds a token after all others; it must be new. split() does not use it. @return its id.
    int32_t add(const std::string &token);

    size_t size() const noexcept { return lines_ + added_.size(); }
    size_t lines() const noexcept { return lines_; }
    size_t different_lines() const noexcept { return different_; }
    // Returns zero-terminated text; id < size().
    const char *token(size_t id) const noexcept {
        return id < lines_ ? text_.as<const char>() + starts_.as<const uint32_t>()[id] : added_[id - lines_]->c_str();
    }
    int32_t find(std::string_view token) const noexcept;  // its id, or none

    // Splits a word by greedy longest match from the left; pieces after the first have the prefix ##. @return the
    // number of ids written, at most one per character; 0 if no split exists.
    size_t split(std::string_view word, int32_t *ids) const noexcept;

  private:
    struct edge {
        uint32_t key, node;  // 0 is the key of a free slot
    };
    static constexpr uint32_t no_node = UINT32_MAX;
    static constexpr uint32_t edge_key(uint32_t parent, char byte) noexcept {
        return (parent << 8 | static_cast<unsigned char>(byte)) + 1;
    }

    ss1_status allocate(const allocator &memory, std::span<const std::string_view> tokens);
    edge &slot(uint32_t key) const noexcept;
    uint32_t child(uint32_t node, char byte) const noexcept;
    uint32_t walk(std::string_view token) const noexcept;
    uint32_t insert(std::string_view token) noexcept;  // the node where it ends

    size_t lines_ = 0, different_ = 0;
    buffer text_, starts_;  // the zero-terminated tokens; the start of each
    buffer edges_, ids_;    // the hash table of edges; the token that ends at each node
    uint32_t mask_ = 0, shift_ = 0, nodes_ = 1, continuation_ = no_node;
    std::map<std::string, int32_t, std::less<>> added_ids_;
    std::vector<const std::string *> added_;  // its keys by id
};

}  // namespace ss1
