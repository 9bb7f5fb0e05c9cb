// SPDX-License-Identifier: Apache-2.0
// Reads model files at given positions, and writes files under a temporary name until they are complete on disk.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

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

// Opens a regular file for reading. It is not mapped, so that a file that shrinks meanwhile causes an error, not a
// signal.
struct input_file {
    descriptor fd;
    const std::byte *memory = nullptr;  // of a memory_folder; then there is no fd
    std::string path;
    size_t bytes = 0;
};

// While it lives, this thread opens the caller's `files` under the paths root/NAME, and no file of the disk.
class memory_folder {
  public:
    static constexpr const char *root = "files";
    explicit memory_folder(std::span<const ss1_memory_file> files) noexcept;
    memory_folder(const memory_folder &) = delete;
    memory_folder &operator=(const memory_folder &) = delete;
    ~memory_folder();
    ss1_status check() const;  // the names
    const ss1_memory_file *find(const std::string &path) const noexcept;

  private:
    std::span<const ss1_memory_file> files_;
    const memory_folder *outer_;
};

ss1_status file_open(const std::string &path, input_file &out);
// Fills `out` with the bytes from `position` on; fails with SS1_ERROR_IO if the file ends before. Thread-safe.
ss1_status file_read(const input_file &file, size_t position, std::span<std::byte> out);
// Reads the whole file; fails with SS1_ERROR_FORMAT if it has more than `limit` bytes or foreign content.
ss1_status file_read_text(const std::string &path, size_t limit, std::string &out);
// Fails with SS1_ERROR_FORMAT if a file that begins with `front` is recognised as foreign (foreign.hpp).
ss1_status file_refuse_foreign(const std::string &path, std::span<const std::byte> front);

// Maps all bytes of a file; the kernel reads each page when it is first used. The file must not change meanwhile: if it
// shrinks, SIGBUS ends the process. A file in memory is its own mapping. Processes share the pages until one writes to
// them, which gives it copies of its own; the file never changes.
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
    // Lets the process write to `bytes` bytes at `from`, which lie in the mapping: the rows of `table`.
    ss1_status make_writable(const char *table, const void *from, size_t bytes) const;

  private:
    const std::byte *data_ = nullptr;
    size_t bytes_ = 0;  // to unmap
};

bool file_exists(const std::string &path) noexcept;

// A file written under a temporary name beside `path`; file_commit() renames it to `path`. Without file_commit() it is
// deleted.
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
// The names in a folder, sorted, without "." and "..". std::filesystem's iterators end the process if they get no
// memory.
ss1_status folder_names(const std::string &folder, std::vector<std::string> &names);
// The temporary files beside `path` that killed processes left; also those of processes that still write.
std::vector<std::string> file_leftovers(const std::string &path);

}  // namespace ss1
