// SPDX-License-Identifier: Apache-2.0
#include "apps/output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "apps/failure.hpp"
#include "base/uninterrupted.hpp"

namespace ss1::apps {
namespace {

constexpr size_t buffer_bytes = size_t{1} << 16;

// Whether the path stands for a descriptor that is open already, such as /dev/stdout.
bool names_descriptor(std::string_view path) {
    return path.starts_with("/dev/std") || path.starts_with("/dev/fd/") || path.starts_with("/proc/");
}

// Where links lead; the path itself if there is no file yet.
std::string without_links(const std::string &path) {
    std::error_code error;
    const std::filesystem::path resolved = std::filesystem::canonical(path, error);
    return error ? path : resolved.string();
}

}  // namespace

output::output(std::string path) : path_(std::move(path)) {
    if (path_.empty()) throw failure("the path of an output is empty", "give the name of a file, or - for stdout");
    struct stat old;
    const bool is_there = stat(path_.c_str(), &old) == 0;
    if (path_ == "-") {
        fd_ = STDOUT_FILENO;
    } else if (names_descriptor(path_) || (is_there && !S_ISREG(old.st_mode))) {
        fd_ = uninterrupted([&] { return open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); });
        if (fd_ < 0) fail();
    } else {
        if (is_there && access(path_.c_str(), W_OK) != 0) fail();  // a rename would not ask
        create_temporary();
        if (is_there) fchmod(fd_, old.st_mode & 07777);
    }
}

void output::create_temporary() {
    target_ = without_links(path_);
    // A killed process may have left its file, and in a container the next process may have the same number.
    for (int attempt = 0; fd_ < 0 && attempt < 1000; ++attempt) {
        interruption_.reset();
        temporary_ = target_ + ".tmp-" + std::to_string(getpid()) + '-' + std::to_string(attempt);
        interruption_.emplace(temporary_.c_str());  // first: the file must not be there without it
        fd_ = uninterrupted([&] { return open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
        if (fd_ < 0 && errno != EEXIST) break;
    }
    if (fd_ < 0) {
        temporary_.clear();
        fail();
    }
}

output::~output() {
    if (fd_ > STDOUT_FILENO) ::close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
}

void output::fail() {
    const int error = errno;
    if (error == EPIPE) throw closed_pipe();
    throw failure("cannot write to " + (path_ == "-" ? "standard output" : path_) + ": " + std::strerror(error),
                  "check the path, its permissions and the free space");
}

void output::write(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() >= buffer_bytes) flush();
}

void output::flush() {
    for (std::string_view rest = buffer_; !rest.empty();) {
        const ssize_t put = uninterrupted([&] { return ::write(fd_, rest.data(), rest.size()); });
        if (put < 0) fail();
        rest.remove_prefix(static_cast<size_t>(put));
    }
    buffer_.clear();
}

void output::close() {
    flush();
    if (!temporary_.empty() && uninterrupted([&] { return fsync(fd_); }) != 0) fail();
    const int fd = std::exchange(fd_, -1);
    if (fd != STDOUT_FILENO && ::close(fd) != 0 && errno != EINTR) fail();
    if (temporary_.empty()) return;
    if (rename(temporary_.c_str(), target_.c_str()) != 0) fail();
    temporary_.clear();
    interruption_.reset();
}

}  // namespace ss1::apps
