// SPDX-License-Identifier: Apache-2.0
#include "text/unigram.hpp"

#include <algorithm>
#include <limits>

#include "text/unicode.hpp"

namespace ss1 {
namespace {

constexpr double unknown_penalty = 10;
constexpr uint32_t no_way = UINT32_MAX;

}  // namespace

ss1_status unigram::load(const allocator &memory, const vocabulary &all, const std::vector<double> &scores,
                         int32_t unknown, bool byte_fallback) {
    all_ = &all;
    unknown_ = unknown;
    falls_back_ = byte_fallback;
    if (ss1_status status = scores_.allocate(memory, scores.size() * sizeof(double)); status != SS1_OK) return status;
    std::copy(scores.begin(), scores.end(), scores_.as<double>());
    unknown_score_ = std::numeric_limits<double>::infinity();
    for (const double score : scores) unknown_score_ = std::min(unknown_score_, score);
    unknown_score_ -= unknown_penalty;
    fallbacks_ = byte_tokens(all);
    return SS1_OK;
}

// Of equal ways to a place, the one whose last token begins first stays.
void unigram::find_best(std::string_view piece, unigram_scratch &scratch) const {
    auto &nodes = scratch.nodes;
    nodes.assign(piece.size() + 1, {0, no_way, 0});
    const double *const scores = scores_.as<double>();
    for (size_t begin = 0, next; begin < piece.size(); begin = next) {
        next = begin;
        next_char(piece, next);
        const double here = nodes[begin].score;
        const auto offer = [&](int32_t id, double score, size_t end) {
            auto &node = nodes[end];
            if (node.begin == no_way || here + score > node.score)
                node = {here + score, static_cast<uint32_t>(begin), id};
        };
        bool known = false;
        all_->each_prefix(piece.substr(begin), [&](int32_t id, size_t bytes) {
            offer(id, scores[id], begin + bytes);
            known |= begin + bytes == next;
        });
        if (!known) offer(unknown_, unknown_score_, next);
    }
}

// Puts the token of a part, which may be several unknown characters.
void unigram::put(std::string_view piece, uint32_t begin, uint32_t end, std::vector<model_token> &out) const {
    const std::string_view part = piece.substr(begin, end - begin);
    const int32_t id = all_->find_own(part);
    const auto byte_id = [&](char c) { return fallbacks_[static_cast<unsigned char>(c)]; };
    if (id != vocabulary::none || !falls_back_ ||
        std::any_of(part.begin(), part.end(), [&](char c) { return byte_id(c) == vocabulary::none; })) {
        out.push_back({id == vocabulary::none ? unknown_ : id, begin, end});
        return;
    }
    for (auto c = part.rbegin(); c != part.rend(); ++c) out.push_back({byte_id(*c), begin, end});
}

void unigram::encode(std::string_view piece, unigram_scratch &scratch, std::vector<model_token> &out) const {
    find_best(piece, scratch);
    const auto first = static_cast<ptrdiff_t>(out.size());
    for (auto end = static_cast<uint32_t>(piece.size()); end;) {  // from the last token to the first
        const auto &node = scratch.nodes[end];
        uint32_t begin = node.begin;
        if (node.id == unknown_) {
            while (begin && scratch.nodes[begin].id == unknown_) begin = scratch.nodes[begin].begin;
            put(piece, begin, end, out);
        } else {
            out.push_back({node.id, begin, end});
        }
        end = begin;
    }
    std::reverse(out.begin() + first, out.end());
}

}  // namespace ss1
