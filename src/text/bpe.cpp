// SPDX-License-Identifier: Apache-2.0
#include "text/bpe.hpp"

#include <algorithm>
#include <bit>

#include "base/status.hpp"
#include "io/json.hpp"
#include "text/unicode.hpp"

namespace ss1 {
namespace {

// GPT-2's alphabet: visible characters of Latin-1 stand for themselves, U+0100 and on for the other bytes in order.
constexpr bool is_visible(uint32_t byte) noexcept {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr size_t hidden_bytes = 256 - 94 - 12 - 82;

bool later(const bpe_scratch::candidate &a, const bpe_scratch::candidate &b) noexcept {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

}  // namespace

bool to_bytes(std::string_view token, std::string &out) {
    static constexpr std::array<char, hidden_bytes> hidden = [] {
        std::array<char, hidden_bytes> bytes{};
        size_t n = 0;
        for (uint32_t byte = 0; byte < 256; ++byte)
            if (!is_visible(byte)) bytes[n++] = static_cast<char>(byte);
        return bytes;
    }();
    out.clear();
    for (size_t i = 0; i < token.size();) {
        const char32_t c = next_char(token, i);
        if (c < 256 ? !is_visible(c) : c >= 256 + hidden_bytes) return false;
        out += c < 256 ? static_cast<char>(c) : hidden[c - 256];
    }
    return true;
}

ss1_status bpe::load(const allocator &memory, const vocabulary &all, const bpe_rules &rules, const std::string &path) {
    all_ = &all;
    prefix_ = rules.prefix;
    suffix_ = rules.suffix;
    fuse_unknown_ = rules.fuse_unknown;
    byte_fallback_ = rules.byte_fallback;
    ignore_merges_ = rules.ignore_merges;
    bytes_ = rules.bytes;
    if (!rules.unknown.empty()) {
        unknown_ = all.find_own(rules.unknown);
        SS1_CHECK(unknown_ != vocabulary::none, SS1_ERROR_FORMAT, "%s: vocab lacks the unk_token '%s'", path.c_str(),
                  printable(rules.unknown).c_str());
    }
    fallbacks_ = byte_tokens(all);
    byte_ids_.fill(vocabulary::none);
    for (size_t byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        if (!bytes_ && byte < 128) byte_ids_[byte] = all.find_own({&character, 1});
    }
    std::string bytes;
    for (size_t id = 0; bytes_ && id < all.own_end(); ++id) {
        const char *const token = all.token(id);
        if (!token || !to_bytes(token, bytes) || bytes.size() != 1) continue;
        byte_ids_[static_cast<unsigned char>(bytes[0])] = static_cast<int32_t>(id);
    }
    for (size_t byte = 0; bytes_ && byte < 256; ++byte) {
        const bool in_utf8 = byte != 0xC0 && byte != 0xC1 && byte <= 0xF4;
        SS1_CHECK(byte_ids_[byte] != vocabulary::none || unknown_ != vocabulary::none || !in_utf8,
                  SS1_ERROR_UNSUPPORTED, "%s: vocab lacks the byte 0x%02zX of ByteLevel, and there is no unk_token",
                  path.c_str(), byte);
        SS1_CHECK(byte_ids_[byte] != vocabulary::none || !in_utf8 || !byte_fallback_, SS1_ERROR_UNSUPPORTED,
                  "%s: vocab lacks the byte 0x%02zX: byte_fallback is not supported with ByteLevel", path.c_str(),
                  byte);
    }
    SS1_TRY(add_merges(memory, rules.merges, path));
    return find_whole_words(memory);
}

ss1_status bpe::add_merges(const allocator &memory, const std::vector<std::pair<std::string, std::string>> &merges,
                           const std::string &path) {
    const size_t slots = std::bit_ceil(2 * merges.size() + 2);
    SS1_TRY(merges_.allocate(memory, slots * sizeof(merge)));
    std::fill_n(merges_.as<merge>(), slots, merge{no_pair, 0, 0});
    merge_mask_ = static_cast<uint32_t>(slots - 1);
    merge_shift_ = static_cast<uint32_t>(64 - std::countr_zero(slots));
    for (size_t rank = 0; rank < merges.size(); ++rank) {
        const auto &[left, right] = merges[rank];
        SS1_CHECK(right.starts_with(prefix_), SS1_ERROR_FORMAT,
                  "%s: merges[%zu]: '%s' must start with the continuing_subword_prefix '%s'", path.c_str(), rank,
                  printable(right).c_str(), printable(prefix_).c_str());
        const std::string joined = left + right.substr(prefix_.size());
        int32_t ids[3];
        const std::string *const texts[] = {&left, &right, &joined};
        for (size_t i = 0; i < 3; ++i) {
            ids[i] = all_->find_own(*texts[i]);
            SS1_CHECK(ids[i] != vocabulary::none, SS1_ERROR_FORMAT,
                      "%s: merges[%zu]: '%s' and '%s' need the token '%s', which the vocabulary lacks", path.c_str(),
                      rank, printable(left).c_str(), printable(right).c_str(), printable(*texts[i]).c_str());
        }
        const uint64_t pair = pair_of(ids[0], ids[1]);
        slot(pair) = {pair, static_cast<uint32_t>(rank), ids[2]};  // the last of equal pairs counts
    }
    return SS1_OK;
}

// Collects the pieces that become one token, so that most words of a text need one look-up. With ignore_merges every
// token is such a piece, and its prefix or suffix is part of the piece.
ss1_status bpe::find_whole_words(const allocator &memory) {
    if (!ignore_merges_ && (!prefix_.empty() || !suffix_.empty())) return SS1_OK;
    std::vector<std::string> texts;
    std::vector<vocabulary_entry> entries;
    texts.reserve(all_->own_tokens());
    bpe_scratch scratch;
    for (size_t id = 0; id < all_->own_end(); ++id) {
        const char *const token = all_->token(id);
        if (!token || all_->find_own(token) != static_cast<int32_t>(id)) continue;
        std::string text = token;
        if (bytes_ && !to_bytes(token, text)) continue;
        if (!ignore_merges_) {
            add_symbols(text, scratch);
            merge_all(scratch);
            if (scratch.symbols.size() != 1 || scratch.symbols[0].id != static_cast<int32_t>(id)) continue;
        }
        entries.push_back({texts.emplace_back(std::move(text)), static_cast<int32_t>(id)});
    }
    any_whole_ = !entries.empty();
    return any_whole_ ? whole_.take(memory, entries, "merged tokens") : SS1_OK;
}

bpe::merge &bpe::slot(uint64_t pair) const noexcept {
    merge *const slots = merges_.as<merge>();
    for (auto i = static_cast<uint32_t>(pair * merge_multiplier_ >> merge_shift_);; ++i) {
        merge &found = slots[i & merge_mask_];
        if (found.pair == pair || found.pair == no_pair) return found;
    }
}

const bpe::merge *bpe::find_merge(int32_t a, int32_t b) const noexcept {
    const merge &found = slot(pair_of(a, b));
    return found.pair == no_pair ? nullptr : &found;
}

int32_t bpe::find_character(std::string_view character, bool first, bool last, std::string &scratch) const {
    const auto byte = static_cast<unsigned char>(character[0]);
    const bool plain = (first || prefix_.empty()) && (!last || suffix_.empty());
    if (plain) return bytes_ || byte < 128 ? byte_ids_[byte] : all_->find_own(character);
    scratch.clear();
    if (!first) scratch += prefix_;
    scratch += character;
    if (last) scratch += suffix_;
    return all_->find_own(scratch);
}

// As in tokenizers, an unknown character waits for others to fuse with, and bytes that stand for characters overtake
// it.
void bpe::add_unknown(std::string_view character, uint32_t &waiting, bpe_scratch &scratch) const {
    const auto fallback = [&](char c) { return fallbacks_[static_cast<unsigned char>(c)]; };
    if (byte_fallback_ &&
        std::all_of(character.begin(), character.end(), [&](char c) { return fallback(c) != vocabulary::none; })) {
        for (const char c : character) scratch.symbols.push_back({fallback(c), 1, 0, 0});
        return;
    }
    if (unknown_ == vocabulary::none) return;  // tokenizers drops the character
    if (!fuse_unknown_) put_unknown(waiting, scratch);
    waiting += static_cast<uint32_t>(character.size());
}

void bpe::put_unknown(uint32_t &waiting, bpe_scratch &scratch) const {
    if (waiting) scratch.symbols.push_back({unknown_, waiting, 0, 0});
    waiting = 0;
}

void bpe::add_symbols(std::string_view piece, bpe_scratch &scratch) const {
    scratch.symbols.clear();
    uint32_t waiting = 0;  // bytes of unknown characters
    for (size_t i = 0; i < piece.size();) {
        const size_t begin = i;
        bytes_ ? void(++i) : void(next_char(piece, i));
        const std::string_view character = piece.substr(begin, i - begin);
        const int32_t id = find_character(character, begin == 0, i == piece.size(), scratch.text);
        if (id == vocabulary::none) {
            add_unknown(character, waiting, scratch);
        } else {
            put_unknown(waiting, scratch);
            scratch.symbols.push_back({id, static_cast<uint32_t>(character.size()), 0, 0});
        }
    }
    put_unknown(waiting, scratch);
    auto &symbols = scratch.symbols;
    for (size_t i = 0; i < symbols.size(); ++i) {
        symbols[i].before = static_cast<int32_t>(i) - 1;
        symbols[i].behind = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : -1;
    }
}

// Keeps the candidates in a heap; those whose symbols have changed since are dropped when they come up.
void bpe::merge_all(bpe_scratch &scratch) const {
    auto &symbols = scratch.symbols;
    auto &heap = scratch.heap;
    heap.clear();
    const auto propose = [&](int32_t at) {
        if (at < 0 || symbols[static_cast<size_t>(at)].behind < 0) return;
        const auto &left = symbols[static_cast<size_t>(at)];
        if (const merge *const found = find_merge(left.id, symbols[static_cast<size_t>(left.behind)].id))
            heap.push_back({found->rank, static_cast<uint32_t>(at), found->id});
    };
    for (size_t i = 0; i + 1 < symbols.size(); ++i) propose(static_cast<int32_t>(i));
    std::make_heap(heap.begin(), heap.end(), later);
    const auto push = [&](int32_t at) {
        const size_t n = heap.size();
        propose(at);
        if (heap.size() > n) std::push_heap(heap.begin(), heap.end(), later);
    };
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), later);
        const bpe_scratch::candidate best = heap.back();
        heap.pop_back();
        auto &left = symbols[best.at];
        if (left.bytes == 0 || left.behind < 0) continue;
        auto &right = symbols[static_cast<size_t>(left.behind)];
        const merge *const found = find_merge(left.id, right.id);
        if (!found || found->id != best.id) continue;
        left.id = best.id;
        left.bytes += right.bytes;
        left.behind = right.behind;
        right.bytes = 0;
        if (left.behind >= 0) symbols[static_cast<size_t>(left.behind)].before = static_cast<int32_t>(best.at);
        push(left.before);
        push(static_cast<int32_t>(best.at));
    }
    std::erase_if(symbols, [](const auto &symbol) { return symbol.bytes == 0; });
}

void bpe::encode(std::string_view piece, bpe_scratch &scratch, std::vector<model_token> &out) const {
    if (any_whole_) {
        if (const int32_t id = whole_.find_own(piece); id != vocabulary::none) {
            out.push_back({id, 0, static_cast<uint32_t>(piece.size())});
            return;
        }
    }
    add_symbols(piece, scratch);
    merge_all(scratch);
    uint32_t begin = 0;
    for (const auto &symbol : scratch.symbols) {
        out.push_back({symbol.id, begin, begin + symbol.bytes});
        begin += symbol.bytes;
    }
}

}  // namespace ss1
