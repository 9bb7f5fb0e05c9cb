// SPDX-License-Identifier: Apache-2.0
#include "apps/output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "apps/failure.hpp"
#include "base/temporary_file.hpp"
#include "base/uninterrupted.hpp"

namespace ss1::apps {
namespace {

constexpr size_t buffer_bytes = size_t{1} << 16;

// Whether the path stands for a descriptor that is open already, such as /dev/stdout.
bool names_descriptor(std::string_view path) {
    return path.starts_with("/dev/std") || path.starts_with("/dev/fd/") || path.starts_with("/proc/");
}

// Where symbolic links lead, also if no file is there yet.
std::string without_links(const std::string &path) {
    std::filesystem::path end = path;
    std::error_code error;
    while (std::filesystem::is_symlink(end, error)) {
        const std::filesystem::path next = std::filesystem::read_symlink(end, error);
        if (error) break;
        end = end.parent_path() / next;
    }
    return end.string();
}

// Whether a file that exists may be writable all the same after this error of making another one beside it.
bool is_of_folder(int error) {
    return error == EACCES || error == EPERM || error == EROFS || error == ENAMETOOLONG;
}

}  // namespace

output::output(std::string path) : path_(std::move(path)) {
    if (path_.empty()) throw failure("the path of an output is empty", "give the name of a file, or - for stdout");
    if (path_ == "-") {
        fd_ = STDOUT_FILENO;
        return;
    }
    struct stat old;
    const bool is_there = stat(path_.c_str(), &old) == 0;
    if (!is_there && errno != ENOENT) fail();  // such as a loop of links
    if (names_descriptor(path_) || (is_there && !S_ISREG(old.st_mode))) {
        open_in_place();
        return;
    }
    if (is_there && access(path_.c_str(), W_OK) != 0) fail();  // a rename would not ask
    if (!create_temporary())
        open_in_place();
    else if (is_there)
        fchmod(fd_, old.st_mode & 07777);
}

void output::open_in_place() {
    fd_ = uninterrupted([&] { return open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); });
    if (fd_ < 0) fail();
}

// Returns false if the folder takes no file.
bool output::create_temporary() {
    target_ = without_links(path_);
    interruption_.emplace();  // signals are noted until the file is there
    fd_ = open_temporary(target_, temporary_);
    if (fd_ >= 0) {
        interruption_->arm(temporary_.c_str());
        return true;
    }
    const int error = errno;
    temporary_.clear();
    interruption_->obey("interrupted: nothing written\n");
    interruption_.reset();
    errno = error;
    if (!is_of_folder(error)) fail();
    return false;
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
    close_descriptor();
    if (!temporary_.empty()) replace_target();
}

void output::close_descriptor() {
    const int fd = std::exchange(fd_, -1);
    if (fd != STDOUT_FILENO && ::close(fd) != 0 && errno != EINTR) fail();
}

void output::replace_target() {
    interruption_->disarm();
    if (rename(temporary_.c_str(), target_.c_str()) != 0) {
        const int error = errno;
        if (error == EBUSY || error == EXDEV) copy_in_place();  // a mount point, such as a file lent to a container
        unlink(temporary_.c_str());
        if (error != EBUSY && error != EXDEV) {
            interruption_->obey("interrupted: nothing written\n");
            errno = error;
            fail();
        }
    }
    temporary_.clear();
    interruption_->obey("interrupted when the file was written\n");
    interruption_.reset();
}

void output::copy_in_place() {
    std::ifstream source(temporary_, std::ios::binary);
    open_in_place();
    do {
        buffer_.resize(buffer_bytes);
        source.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
        buffer_.resize(static_cast<size_t>(source.gcount()));
        flush();
    } while (source);
    if (!source.eof()) {
        errno = EIO;
        fail();
    }
    close_descriptor();
}

}  // namespace ss1::apps
