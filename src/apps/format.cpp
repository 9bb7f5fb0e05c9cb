// SPDX-License-Identifier: Apache-2.0
#include "apps/format.hpp"

#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace ss1::apps {

std::string format(const char *pattern, ...) {
    va_list arguments, again;
    va_start(arguments, pattern);
    va_copy(again, arguments);
    std::string text(static_cast<size_t>(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
    std::vsnprintf(text.data(), text.size() + 1, pattern, again);
    va_end(again);
    va_end(arguments);
    return text;
}

bool is_utf8(std::string_view text) {
    try {
        (void)nlohmann::json(text).dump();
        return true;
    } catch (const nlohmann::json::type_error &) {
        return false;
    }
}

std::string shown(std::string_view text) {
    constexpr size_t limit = 80;
    const bool is_text = is_utf8(text);
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool begins = byte < 0x80 || byte >= 0xc0;  // a character
        if (out.size() >= limit && begins) return out + "...";
        out += byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_text)
                   ? format("\\x%02x", static_cast<unsigned>(byte))
                   : std::string(1, c);
    }
    return out;
}

std::string human_bytes(size_t bytes) {
    if (bytes < 1024) return format("%zu B", bytes);
    const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes) / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit < 3; ++unit) value /= 1024;
    return format("%.1f %s", value, units[unit]);
}

const char *dtype_name(ss1_dtype dtype) {
    static constexpr const char *names[] = {"default", "f32", "bf16", "f16", "int8", "uint8", "i32", "i64"};
    return names[dtype];
}

const char *scheme_name(const ss1_linear_desc &desc) {
    if (desc.c <= 1) return desc.c ? "dense" : "low rank";
    return desc.scheme == SS1_SCHEME_REFERENCE ? "reference" : "mixed";
}

}  // namespace ss1::apps
