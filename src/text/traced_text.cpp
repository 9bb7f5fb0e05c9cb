// SPDX-License-Identifier: Apache-2.0
#include "text/traced_text.hpp"

#include <cstdint>
#include <cstring>

#include "base/status.hpp"
#include "io/json.hpp"

namespace ss1 {

ss1_status check_pattern(std::string_view pattern, const std::string &where) {
    SS1_CHECK(!pattern.empty(), SS1_ERROR_UNSUPPORTED, "%s: an empty text is not supported", where.c_str());
    SS1_CHECK(pattern.size() <= longest_pattern, SS1_ERROR_UNSUPPORTED,
              "%s: '%s' has %zu bytes, at most %zu are supported", where.c_str(), printable(pattern).c_str(),
              pattern.size(), longest_pattern);
    return SS1_OK;
}

bool is_ascii(std::string_view text) noexcept {
    uint64_t all = 0;
    size_t i = 0;
    for (; i + 8 <= text.size(); i += 8) {
        uint64_t bytes;
        std::memcpy(&bytes, text.data() + i, 8);
        all |= bytes;
    }
    for (; i < text.size(); ++i) all |= static_cast<unsigned char>(text[i]);
    return (all & 0x8080808080808080) == 0;
}

void prepend_text(traced_text &text, traced_text &spare, std::string_view start) {
    rewrite(text, spare, [&](rewriter &writer) {
        writer.insert_before(start);
        writer.keep(text.text.size());
    });
}

void traced_text::take(std::string_view source, byte_range part, bool with_places) {
    clear();
    traced = with_places;
    origin = part.begin;
    const std::string_view bytes = source.substr(part.begin, part.end - part.begin);
    const bool valid = is_ascii(bytes) || is_utf8(bytes);
    if (valid) text.assign(bytes);
    if (valid && origin == 0 && !bytes.empty()) next_char(bytes, first);
    if (valid && !traced) return;
    for (size_t i = 0; i < bytes.size();) {
        const size_t begin = i;
        const char32_t c = next_char(bytes, i);
        char encoded[4];
        const size_t n = valid ? i - begin : put_char(c, encoded);
        if (!valid) text.append(encoded, n);
        if (part.begin + begin == 0) first = n;
        if (traced) places.insert(places.end(), n, {part.begin + begin, part.begin + i});
    }
}

}  // namespace ss1
