// SPDX-License-Identifier: Apache-2.0
#include "byte_input.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "cli.hpp"

namespace ss1::cli {
namespace {

constexpr size_t buffer_bytes = size_t{1} << 16;

}  // namespace

byte_input::byte_input(const std::string &path)
    : name_(path == "-" ? "standard input" : path),
      file_(path == "-" ? stdin : std::fopen(path.c_str(), "rb")),
      buffer_(buffer_bytes) {
    if (!file_)
        throw failure("cannot read " + name_ + ": " + std::strerror(errno), "check the path and its permissions");
    struct stat status;
    if (fstat(fileno(file_.get()), &status) == 0 && S_ISREG(status.st_mode))
        bytes_in_all_ = static_cast<uint64_t>(status.st_size);
    while (filled_ < 3 && read_more()) {
    }
    if (std::string_view(buffer_.data(), filled_).starts_with("\xEF\xBB\xBF")) position_ = 3;
}

bool byte_input::read_more() {
    if (ended_) return false;
    ssize_t got;
    do {
        got = read(fileno(file_.get()), buffer_.data() + filled_, buffer_.size() - filled_);
    } while (got < 0 && errno == EINTR);
    if (got < 0) throw failure("cannot read " + name_ + ": " + std::strerror(errno), "check that it is a text file");
    ended_ = got == 0;
    filled_ += static_cast<size_t>(got);
    bytes_read_ += static_cast<uint64_t>(got);
    return !ended_;
}

int byte_input::peek() {
    if (position_ == filled_) {
        position_ = filled_ = 0;
        if (!read_more()) return EOF;
    }
    return static_cast<unsigned char>(buffer_[position_]);
}

int byte_input::get() {
    const int c = peek();
    if (c == EOF) return EOF;
    ++position_;
    line_ += c == '\n';
    return c;
}

}  // namespace ss1::cli
