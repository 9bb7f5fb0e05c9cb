// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding: merges the characters or bytes of a piece, the pair of the lowest rank first.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "base/hash_multiplier.hpp"
#include "text/vocabulary.hpp"

namespace ss1 {

struct bpe_rules {
    std::vector<std::pair<std::string, std::string>> merges;  // by rank
    std::string unknown, prefix, suffix;                      // "": none
    bool fuse_unknown = false, byte_fallback = false, ignore_merges = false;
    bool bytes = false;  // of the alphabet of ByteLevel
};

struct bpe_scratch {
    struct symbol {
        int32_t id;
        uint32_t bytes;
        int32_t before, behind;  // indices; -1: none
    };
    struct candidate {
        uint32_t rank, at;
        int32_t id;
    };
    std::vector<symbol> symbols;
    std::vector<candidate> heap;
    std::string text;
};

class bpe {
  public:
    // `all` has the tokens of the file and outlives this object.
    ss1_status load(const allocator &memory, const vocabulary &all, const bpe_rules &rules, const std::string &path);

    void encode(std::string_view piece, bpe_scratch &scratch, std::vector<model_token> &out) const;

  private:
    struct merge {
        uint64_t pair;  // no_pair: a free slot
        uint32_t rank;
        int32_t id;
    };
    static constexpr uint64_t no_pair = UINT64_MAX;
    static uint64_t pair_of(int32_t a, int32_t b) noexcept {
        return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
    }

    ss1_status add_merges(const allocator &memory, const std::vector<std::pair<std::string, std::string>> &merges,
                          const std::string &path);
    ss1_status find_whole_words(const allocator &memory);
    merge &slot(uint64_t pair) const noexcept;
    const merge *find_merge(int32_t a, int32_t b) const noexcept;
    int32_t find_character(std::string_view character, bool first, bool last, std::string &scratch) const;
    void add_symbols(std::string_view piece, bpe_scratch &scratch) const;
    void add_unknown(std::string_view character, uint32_t &waiting, bpe_scratch &scratch) const;
    void put_unknown(uint32_t &waiting, bpe_scratch &scratch) const;
    void merge_all(bpe_scratch &scratch) const;

    const vocabulary *all_ = nullptr;
    std::string prefix_, suffix_;
    int32_t unknown_ = vocabulary::none;
    bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false, bytes_ = false;
    std::array<int32_t, 256> byte_ids_{};   // of the bytes of ByteLevel's alphabet, else of ASCII characters
    std::array<int32_t, 256> fallbacks_{};  // <0x00> and so on
    buffer merges_;
    uint64_t merge_multiplier_ = hash_multiplier();
    uint32_t merge_mask_ = 0, merge_shift_ = 0;
    vocabulary whole_;  // pieces that are one token, by their bytes
    bool any_whole_ = false;
};

// Converts a token from ByteLevel's alphabet to bytes. @return false: it has other characters.
bool to_bytes(std::string_view token, std::string &out);

}  // namespace ss1
