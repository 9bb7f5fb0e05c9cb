// SPDX-License-Identifier: Apache-2.0
#include "text/charsmap.hpp"

#include <algorithm>
#include <cstring>

#include "base/status.hpp"
#include "text/traced_text.hpp"

namespace ss1 {
namespace {

constexpr size_t longest_cluster = 5;  // bytes; longer ones are replaced by character

// Whether the byte at `i` is a character that is a grapheme cluster of its own because another ASCII character follows.
bool is_plain(std::string_view text, size_t i) noexcept {
    return !(text[i] & 0x80) && text[i] != '\r' && (i + 1 == text.size() || !(text[i + 1] & 0x80));
}

// Decodes RFC 4648 strictly. @return whether `text` is valid.
bool decode_base64(std::string_view text, std::string &out) {
    const auto value = [](char c) -> uint32_t {
        return c >= 'A' && c <= 'Z'   ? static_cast<uint32_t>(c - 'A')
               : c >= 'a' && c <= 'z' ? static_cast<uint32_t>(c - 'a' + 26)
               : c >= '0' && c <= '9' ? static_cast<uint32_t>(c - '0' + 52)
               : c == '+'             ? 62
               : c == '/'             ? 63
                                      : 64;
    };
    if (text.size() % 4) return false;
    for (size_t i = 0; i < text.size(); i += 4) {
        const bool last = i + 4 == text.size();
        const size_t padding = !last ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; ++k) {
            const uint32_t digit = k < 4 - padding ? value(text[i + k]) : 0;
            if (digit > 63) return false;
            bits = bits << 6 | digit;
        }
        if (bits & ((1u << (8 * padding)) - 1)) return false;
        for (size_t k = 0; k < 3 - padding; ++k) out += static_cast<char>(bits >> (16 - 8 * k));
    }
    return true;
}

}  // namespace

ss1_status charsmap::read(std::string_view base64, const std::string &where) {
    const char *const path = where.c_str();
    std::string bytes;
    SS1_CHECK(decode_base64(base64, bytes), SS1_ERROR_FORMAT, "%s: precompiled_charsmap is not base64", path);
    SS1_CHECK(bytes.size() >= 4, SS1_ERROR_FORMAT, "%s: precompiled_charsmap has %zu bytes, must have at least 4", path,
              bytes.size());
    const auto word = [&](size_t at) {
        uint32_t value = 0;
        for (size_t i = 0; i < 4; ++i)
            value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
        return value;
    };
    const size_t units = word(0) / 4;
    SS1_CHECK(units && units <= (bytes.size() - 4) / 4, SS1_ERROR_FORMAT,
              "%s: precompiled_charsmap says that its trie has %u bytes, of %zu after the first 4", path, word(0),
              bytes.size() - 4);
    for (size_t i = 0; i < units; ++i) units_.push_back(word(4 + 4 * i));
    texts_ = bytes.substr(4 + 4 * units);
    SS1_CHECK(is_utf8(texts_), SS1_ERROR_FORMAT, "%s: precompiled_charsmap: its texts are not UTF-8", path);
    for (size_t i = 1; i < changes_ascii_.size(); ++i) {
        const char c = static_cast<char>(i);
        changes_ascii_[i] = find({&c, 1}).has_value();
    }
    return SS1_OK;
}

std::optional<std::string_view> charsmap::find(std::string_view key) const noexcept {
    const auto offset = [](uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 512) >> 6); };
    size_t node = offset(units_[0]);
    for (const char c : key) {
        const auto byte = static_cast<unsigned char>(c);
        node ^= byte;
        if (byte == 0 || node >= units_.size()) return {};
        const uint32_t unit = units_[node];
        if ((unit & 0x800000FF) != byte) return {};
        node ^= offset(unit);
        if (!(unit & 256)) continue;
        const size_t begin = node < units_.size() ? units_[node] & 0x7FFFFFFF : texts_.size();
        if (begin > texts_.size()) return {};
        const std::string_view rest = std::string_view(texts_).substr(begin);
        return rest.substr(0, std::min(rest.find('\0'), longest_pattern));
    }
    return {};
}

namespace {

// A changed text as tokenizers lists it: characters, each with its rewriter::change().
struct changed_text {
    struct entry {
        char32_t c;
        ptrdiff_t change;
    };
    std::vector<entry> entries;
    bool lost_first = false;  // tokenizers then takes the places of the wrong characters

    void keep(char32_t c) { entries.push_back({c, 0}); }

    void write(rewriter &writer) {
        for (const auto &[c, change] : entries) writer.change(c, change);
        entries.clear();
    }

    // Puts `replacement` instead of `old`. If it is shorter, the last character so far drops the rest of the old ones.
    void put(std::string_view old, std::string_view replacement) {
        ptrdiff_t left = 0;
        for (size_t i = 0; i < old.size(); ++left) next_char(old, i);
        for (size_t i = 0; i < replacement.size(); --left)
            entries.push_back({next_char(replacement, i), left > 0 ? 0 : 1});
        if (left <= 0) return;
        if (entries.empty())
            lost_first = true;
        else
            entries.back().change -= left;
    }
};

}  // namespace

// Returns where the first character lies that may change. A character that is dropped changes the one before it.
size_t charsmap::unchanged_prefix(std::string_view text) const noexcept {
    size_t i = 0;
    while (i < text.size() && is_plain(text, i) && !changes_ascii_[static_cast<unsigned char>(text[i])]) ++i;
    return i < text.size() && i ? i - 1 : i;
}

void charsmap::run(traced_text &text, traced_text &spare) const {
    const std::string_view all = text.text;
    changed_text changed;
    const auto put = [&](std::string_view part) {
        const auto found = find(part);
        if (found) changed.put(part, *found);
        return found.has_value();
    };
    rewrite(text, spare, [&](rewriter &writer) {
        for (size_t begin = 0, end; begin < all.size(); begin = end) {
            end = changed.lost_first ? begin : begin + unchanged_prefix(all.substr(begin));
            if (end > begin) {
                changed.write(writer);
                writer.keep(end);
                continue;
            }
            end = is_plain(all, begin) ? begin + 1 : grapheme_end(all, begin);
            if (end - begin <= longest_cluster && put(all.substr(begin, end - begin))) continue;
            for (size_t at = begin, next; at < end; at = next) {
                next = at;
                const char32_t c = next_char(all, next);
                if (!put(all.substr(at, next - at))) changed.keep(c);
            }
        }
        changed.write(writer);
        if (!writer.at_end()) writer.drop(all.size());
    });
}

}  // namespace ss1
