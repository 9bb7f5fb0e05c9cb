// SPDX-License-Identifier: Apache-2.0
// Files of a model: reading at positions, and writing under a temporary name until all is on the disk.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "ss1/ss1.h"

namespace ss1 {

// A file descriptor that closes itself.
class descriptor {
  public:
    descriptor() = default;
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor &operator=(descriptor &&other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor();
    int get() const noexcept { return fd_; }

  private:
    int fd_ = -1;
};

// A regular file, open for reading. Not mapped: a file that shrinks meanwhile is an error, not a signal.
struct input_file {
    descriptor fd;
    std::string path;
    size_t bytes = 0;
};

ss1_status file_open(const std::string &path, input_file &out);
// Fills `out` with the bytes from `position` on; a file that ends before is SS1_ERROR_IO. Safe on many threads at once.
ss1_status file_read(const input_file &file, size_t position, std::span<std::byte> out);
// The whole file; more than `limit` bytes is SS1_ERROR_FORMAT.
ss1_status file_read_text(const std::string &path, size_t limit, std::string &out);

// All bytes of a file, read when they are touched, each page for itself. The file must not change meanwhile: one that
// shrinks ends the process with SIGBUS.
class file_mapping {
  public:
    file_mapping() = default;
    file_mapping(file_mapping &&other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    file_mapping &operator=(file_mapping &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~file_mapping();
    ss1_status map(const input_file &file);
    const std::byte *data() const noexcept { return data_; }

  private:
    std::byte *data_ = nullptr;
    size_t bytes_ = 0;
};

bool file_exists(const std::string &path) noexcept;

// A file that is written under a temporary name beside `path`; file_commit() gives it its name. Without it nothing
// remains.
struct output_file {
    output_file() = default;
    output_file(const output_file &) = delete;
    output_file &operator=(const output_file &) = delete;
    ~output_file();

    descriptor fd;
    std::string path, temporary;
    size_t bytes = 0;  // written so far
};

ss1_status file_create(const std::string &path, output_file &out);
ss1_status file_write(output_file &file, std::span<const std::byte> bytes);
ss1_status file_commit(output_file &file);

}  // namespace ss1
