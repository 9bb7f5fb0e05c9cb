// SPDX-License-Identifier: Apache-2.0
// The tokens of a vocabulary and their ids, as a trie over their bytes; WordPiece's split of a word.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"
#include "base/hash_multiplier.hpp"

namespace ss1 {

struct vocabulary_entry {
    std::string_view text;
    int32_t id;
};

// A token of a piece of text: the bytes [begin, end) of it.
struct model_token {
    int32_t id;
    uint32_t begin, end;
};

class vocabulary {
  public:
    static constexpr int32_t none = -1;
    static constexpr size_t max_bytes = size_t{8}
                                        << 20;  // of all lines, so that a node fits the 24 bits of an edge's key

    // Reads a vocab.txt; `label` names it in messages. The id of a token is its line, from 0. White space at the end of
    // a line is no part of the token. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_OUT_OF_MEMORY.
    ss1_status read(const allocator &memory, std::string_view text, const char *label);

    // Takes tokens with ids in any order, which may leave ids out. The last of several equal tokens or ids counts, as
    // in Python's dict. The texts are copied.
    ss1_status take(const allocator &memory, std::span<const vocabulary_entry> entries, const char *label);

    // Adds a token after all others; it must be new. split() does not use it. @return its id.
    int32_t add(const std::string &token);

    size_t size() const noexcept { return end_ + added_.size(); }
    size_t own_end() const noexcept { return end_; }           // the ids of the file's tokens are below it
    size_t own_tokens() const noexcept { return different_; }  // how many different ones there are
    // Returns zero-terminated text, or NULL for an id that the file leaves out; id < size().
    const char *token(size_t id) const noexcept {
        if (id >= end_) return added_[id - end_]->c_str();
        const uint32_t start = starts_.as<const uint32_t>()[id];
        return start == no_text ? nullptr : text_.as<const char>() + start;
    }
    int32_t find(std::string_view token) const noexcept;      // its id, or none
    int32_t find_own(std::string_view token) const noexcept;  // the same without those of add()

    // Returns the id of the longest token that `text` starts with, or none. Leaves out those of add().
    int32_t longest_prefix(std::string_view text) const noexcept;

    // Calls use(id, bytes) for each token that `text` starts with, the shortest first. Leaves out those of add().
    template <class Use>
    void each_prefix(std::string_view text, Use use) const {
        uint32_t node = 0;
        for (size_t i = 0; i < text.size() && (node = child(node, text[i])) != no_node; ++i)
            if (const int32_t id = ids_.as<int32_t>()[node]; id != none) use(id, i + 1);
    }

    // Sets the prefix of pieces after the first, instead of ##.
    void set_continuation(std::string_view prefix) noexcept { continuation_ = walk(prefix); }

    // Splits a word by greedy longest match from the left; pieces after the first have that prefix. @return the
    // number of pieces, at most one per character; 0 if no split exists.
    struct piece {
        int32_t id;
        uint32_t end;  // in the word
    };
    size_t split(std::string_view word, piece *pieces) const noexcept;

  private:
    struct edge {
        uint32_t key, node;  // 0 is the key of a free slot
    };
    static constexpr uint32_t no_node = UINT32_MAX, no_text = UINT32_MAX;
    static constexpr uint32_t edge_key(uint32_t parent, char byte) noexcept {
        return (parent << 8 | static_cast<unsigned char>(byte)) + 1;
    }

    ss1_status allocate(const allocator &memory, std::span<const vocabulary_entry> entries);
    // Returns the slot of an edge, or the free slot to put it in. The table is at most 2/3 full.
    edge &slot(uint32_t key) const noexcept {
        edge *const edges = edges_.as<edge>();
        for (auto i = static_cast<uint32_t>(key * multiplier_ >> shift_);; ++i) {
            edge &found = edges[i & mask_];
            if (found.key == key || found.key == 0) return found;
        }
    }
    uint32_t child(uint32_t node, char byte) const noexcept {
        const edge &found = slot(edge_key(node, byte));
        return found.key ? found.node : no_node;
    }
    uint32_t walk(std::string_view token) const noexcept;
    uint32_t insert(std::string_view token) noexcept;  // the node where it ends

    size_t end_ = 0, different_ = 0;
    buffer text_, starts_;  // the zero-terminated tokens; the start of each id's
    buffer edges_, ids_;    // the hash table of edges; the token that ends at each node
    uint64_t multiplier_ = hash_multiplier();
    uint32_t mask_ = 0, shift_ = 0, nodes_ = 1, continuation_ = no_node;
    std::map<std::string, int32_t, std::less<>> added_ids_;
    std::vector<const std::string *> added_;  // its keys by id
};

// The ids of the tokens <0x00> to <0xFF>, or none.
std::array<int32_t, 256> byte_tokens(const vocabulary &all);

}  // namespace ss1
