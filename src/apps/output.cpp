// SPDX-License-Identifier: Apache-2.0
#include "apps/output.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include "apps/failure.hpp"
#include "base/uninterrupted.hpp"

namespace ss1::apps {

output::output(std::string path)
    : path_(std::move(path)),
      file_(path_ == "-" ? stdout : uninterrupted([&] { return std::fopen(path_.c_str(), "wb"); })) {
    if (!file_) fail();
}

output::~output() {
    if (file_ && file_ != stdout) std::fclose(file_);
}

void output::fail() {
    const int error = errno;
    if (error == EPIPE) throw closed_pipe();
    throw failure("cannot write to " + (path_ == "-" ? "standard output" : path_) + ": " + std::strerror(error),
                  "check the path, its permissions and the free space");
}

void output::write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) != text.size()) fail();
}

void output::flush() {
    if (std::fflush(file_) != 0) fail();
}

void output::close() {
    flush();
    std::FILE *file = std::exchange(file_, nullptr);
    if (file != stdout && std::fclose(file) != 0) fail();
}

}  // namespace ss1::apps
