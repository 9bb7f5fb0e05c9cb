// SPDX-License-Identifier: Apache-2.0
// Makes the file that gets its name when it is complete: until then it lies beside that name.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>

#include "base/uninterrupted.hpp"

namespace ss1 {

inline constexpr std::string_view temporary_suffix = ".tmp-";  // then the number of the process, -, and a number

// Creates an empty file to be renamed to `path`; `name` receives its name.
// @return its descriptor; -1 with errno if the folder takes none.
inline int open_temporary(const std::string &path, std::string &name) {
    static std::atomic<unsigned> counter{0};
    int fd = -1;
    // A killed process may have left its file, and in a container the next process may have the same number.
    for (int attempt = 0; attempt < 1000; ++attempt) {
        name = path;
        name += temporary_suffix;
        name += std::to_string(getpid()) + '-' + std::to_string(counter.fetch_add(1));
        fd = uninterrupted([&] { return open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
        if (fd >= 0 || errno != EEXIST) break;
    }
    return fd;
}

}  // namespace ss1
