// SPDX-License-Identifier: Apache-2.0
#include "text/pipeline.hpp"

#include <algorithm>

namespace ss1 {
namespace {

byte_range place_of(const traced_text &text, size_t begin, size_t end) noexcept {
    if (!text.traced || begin == end) return {};
    return {text.places[begin].begin, text.places[end - 1].end};
}

void copy_part(const traced_text &from, size_t begin, size_t end, traced_text &to) {
    to.clear();
    to.traced = from.traced;
    // Without places, it only counts whether this is 0.
    to.origin = from.traced ? from.places[begin].begin : begin < from.first ? 0 : from.origin + begin + 1;
    to.first = begin < from.first ? std::min(end, from.first) - begin : 0;
    to.text.assign(from.text, begin, end - begin);
    if (from.traced)
        to.places.assign(from.places.begin() + static_cast<ptrdiff_t>(begin),
                         from.places.begin() + static_cast<ptrdiff_t>(end));
}

size_t count_chars(std::string_view text) noexcept {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

// `name`: what tokenizers calls the token.
void pipeline::put(const text_token &token, std::string_view name, bool traced, std::vector<text_token> &out) const {
    out.push_back(token);
    if (traced && counts_blanks) out.back().blanks = count_blanks(name);
}

void pipeline::encode_piece(std::string_view piece, text_scratch &scratch) const {
    auto &tokens = scratch.tokens;
    tokens.clear();
    const auto end = static_cast<uint32_t>(piece.size());
    switch (kind) {
        case model_kind::bpe:
            return merging.encode(piece, scratch.merging, tokens);
        case model_kind::unigram:
            return scoring.encode(piece, scratch.ways, tokens);
        case model_kind::word_level: {
            const int32_t id = all->find_own(piece);
            tokens.push_back({id == vocabulary::none ? unknown : id, 0, end});
            return;
        }
        case model_kind::word_piece: {
            scratch.word.resize(std::max(scratch.word.size(), piece.size()));
            const bool too_long = piece.size() > max_word_chars && count_chars(piece) > max_word_chars;
            const size_t n = too_long ? 0 : all->split(piece, scratch.word.data());
            if (n == 0) tokens.push_back({unknown, 0, end});
            for (uint32_t i = 0, begin = 0; i < n; begin = scratch.word[i++].end)
                tokens.push_back({scratch.word[i].id, begin, scratch.word[i].end});
            return;
        }
    }
}

bool pipeline::run_normalized(traced_text &text, size_t enough, text_scratch &scratch,
                              std::vector<text_token> &out) const {
    splitting.run(text, scratch.spare, scratch.pieces, scratch.next);
    for (const byte_range piece : scratch.pieces) {
        const std::string_view part = std::string_view(text.text).substr(piece.begin, piece.end - piece.begin);
        encode_piece(part, scratch);
        bool first = true;
        for (const model_token &token : scratch.tokens) {
            // Unigram names an unknown piece by its text, the other models name it by their unk_token.
            const bool keeps_text = kind == model_kind::unigram && token.id == unknown;
            put({token.id, first, place_of(text, piece.begin + token.begin, piece.begin + token.end)},
                keeps_text ? part.substr(token.begin, token.end - token.begin)
                           : std::string_view(all->token(static_cast<size_t>(token.id))),
                text.traced, out);
            first = false;
        }
        if (out.size() >= enough) return false;
    }
    return true;
}

bool pipeline::run_part(std::string_view source, byte_range part, bool traced, size_t enough, text_scratch &scratch,
                        std::vector<text_token> &out) const {
    traced_text &text = scratch.text;
    text.take(source, part, traced);
    normalizing.run(text, scratch.spare);
    if (normalized.empty()) return run_normalized(text, enough, scratch, out);
    bool more = true;
    normalized.cut(
        text.text,
        [&](size_t begin, size_t end) {
            copy_part(text, begin, end, scratch.part);
            return more = run_normalized(scratch.part, enough, scratch, out);
        },
        [&](const special_token &token, size_t begin, size_t end) {
            put({token.id, false, place_of(text, begin, end)}, std::string_view(text.text).substr(begin, end - begin),
                traced, out);
            return true;
        });
    return more;
}

void pipeline::run(std::string_view source, bool with_places, size_t enough, text_scratch &scratch,
                   std::vector<text_token> &out) const {
    literal.cut(
        source,
        [&](size_t begin, size_t end) {
            return run_part(source, {begin, end}, with_places, enough, scratch, out);
        },
        [&](const special_token &token, size_t begin, size_t end) {
            put({token.id, false, {begin, end}}, source.substr(begin, end - begin), with_places, out);
            return true;
        });
}

}  // namespace ss1
