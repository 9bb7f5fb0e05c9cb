// SPDX-License-Identifier: Apache-2.0
#include "apps/byte_input.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "apps/failure.hpp"
#include "base/uninterrupted.hpp"

namespace ss1::apps {
namespace {

constexpr size_t buffer_bytes = size_t{1} << 16;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

// Returns whether read() would return at once.
bool is_readable(int descriptor) {
    pollfd entry = {descriptor, POLLIN, 0};
    return poll(&entry, 1, 0) > 0;
}

}  // namespace

byte_input::byte_input(const std::string &path)
    : name_(path == "-" ? "standard input" : path),
      file_(path == "-" ? stdin : uninterrupted([&] { return std::fopen(path.c_str(), "rb"); })),
      buffer_(buffer_bytes) {
    if (path.empty()) throw failure("the path of an input is empty", "give the name of a file, or - for stdin");
    if (!file_)
        throw failure("cannot read " + name_ + ": " + std::strerror(errno), "check the path and its permissions");
    struct stat status;
    if (fstat(fileno(file_.get()), &status) == 0 && S_ISREG(status.st_mode))
        bytes_in_all_ = static_cast<uint64_t>(
            std::max<off_t>(0, status.st_size - lseek(fileno(file_.get()), 0, SEEK_CUR)));  // stdin may start later
    const auto start = [&] { return std::string_view(buffer_.data(), filled_); };
    while (filled_ < byte_order_mark.size() && byte_order_mark.starts_with(start()) && read_more()) {
    }
    if (start().starts_with(byte_order_mark)) position_ = byte_order_mark.size();
}

bool byte_input::read_more() {
    if (ended_) return false;
    const ssize_t got =
        uninterrupted([&] { return read(fileno(file_.get()), buffer_.data() + filled_, buffer_.size() - filled_); });
    if (got < 0) throw failure("cannot read " + name_ + ": " + std::strerror(errno), "check that it is a text file");
    ended_ = got == 0;
    if (ended_ && bytes_read_ < bytes_in_all_)
        throw failure(name_ + " ends at byte " + std::to_string(bytes_read_) + ", it had " +
                          std::to_string(bytes_in_all_) + " bytes when it was opened",
                      "run again when no other program changes the file");
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

bool byte_input::has_line(bool quotes) {
    if (bytes_in_all_) return true;
    bool quoted = false;
    for (size_t i = position_; !ended_; ++i) {
        if (i == filled_) {
            if (position_ > 0) {
                std::copy(buffer_.begin() + position_, buffer_.begin() + filled_, buffer_.begin());
                i = filled_ -= std::exchange(position_, 0);
            }
            if (filled_ == buffer_.size() || !is_readable(fileno(file_.get()))) return false;
            if (!read_more()) break;
        }
        if (buffer_[i] == '"') quoted = quotes && !quoted;
        if (buffer_[i] == '\n' && !quoted) return true;
    }
    return true;
}

bool byte_input::skip_blank_line(char delimiter) {
    size_t i = position_;
    while (i < filled_ && buffer_[i] != delimiter && (buffer_[i] == ' ' || buffer_[i] == '\t')) ++i;
    if (i < filled_ && buffer_[i] == '\r') ++i;
    if (i == filled_ || buffer_[i] != '\n') return false;
    position_ = i + 1;
    ++line_;
    return true;
}

}  // namespace ss1::apps
