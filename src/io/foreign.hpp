// SPDX-License-Identifier: Apache-2.0
// Recognises files that were fetched wrongly: what stands in them is not what their name promises.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string_view>

namespace ss1 {

inline constexpr size_t foreign_bytes = 512;  // the first bytes of a file, or all if it has fewer, decide

// What the file is, in words for a message, or nullptr.
inline const char *foreign_content(std::string_view front) noexcept {
    if (front.empty()) return "is empty";
    // A page often begins with blank lines or a byte order mark.
    std::string_view page = front.substr(front.starts_with("\xef\xbb\xbf") ? 3 : 0);
    page.remove_prefix(std::min(page.find_first_not_of(" \t\r\n"), page.size()));
    const auto page_starts = [page](std::string_view sign) {
        return page.size() >= sign.size() && std::equal(sign.begin(), sign.end(), page.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
               });
    };
    if (front.starts_with("version https://git-lfs."))
        return "is a pointer of Git LFS, not the file itself: 'git lfs pull' fetches that";
    if (page_starts("<!doctype html") || page_starts("<html"))
        return "is an HTML page, not the file itself: fetch that by the link for downloads";
    return nullptr;
}

}  // namespace ss1
