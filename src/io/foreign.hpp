// SPDX-License-Identifier: Apache-2.0
// Recognises files that were fetched wrongly: what stands in them is not what their name promises.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string_view>

namespace ss1 {

inline constexpr size_t foreign_bytes = 64;  // the first bytes of a file, or all if it has fewer, decide

// What the file is, in words for a message, or nullptr.
inline const char *foreign_content(std::string_view front) noexcept {
    const auto starts = [front](std::string_view sign) {
        return front.size() >= sign.size() && std::equal(sign.begin(), sign.end(), front.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
               });
    };
    if (front.empty()) return "is empty";
    if (starts("version https://git-lfs."))
        return "is a pointer of Git LFS, not the file itself: 'git lfs pull' fetches that";
    if (starts("<!doctype html") || starts("<html"))
        return "is an HTML page, not the file itself: fetch that by the link for downloads";
    return nullptr;
}

}  // namespace ss1
