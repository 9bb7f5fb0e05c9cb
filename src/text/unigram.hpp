// SPDX-License-Identifier: Apache-2.0
// The unigram model: splits a piece into the tokens with the highest sum of scores.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"
#include "text/vocabulary.hpp"

namespace ss1 {

struct unigram_scratch {
    struct node {
        double score;    // of the best way here
        uint32_t begin;  // of its last token; no_way: there is none yet
        int32_t id;
    };
    std::vector<node> nodes;  // by the end of a token
};

class unigram {
  public:
    // `all` has the tokens of the file, with `scores` by id, and outlives this object. `unknown`: an id or none.
    ss1_status load(const allocator &memory, const vocabulary &all, const std::vector<double> &scores, int32_t unknown,
                    bool byte_fallback);

    void encode(std::string_view piece, unigram_scratch &scratch, std::vector<model_token> &out) const;

  private:
    void find_best(std::string_view piece, unigram_scratch &scratch) const;
    void put(std::string_view piece, uint32_t begin, uint32_t end, std::vector<model_token> &out) const;

    const vocabulary *all_ = nullptr;
    buffer scores_;
    double unknown_score_ = 0;
    int32_t unknown_ = vocabulary::none;
    bool falls_back_ = false;               // to bytes
    std::array<int32_t, 256> fallbacks_{};  // <0x00> and so on
};

}  // namespace ss1
