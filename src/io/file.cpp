// SPDX-License-Identifier: Apache-2.0
#include "io/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/status.hpp"
#include "base/temporary_file.hpp"
#include "base/uninterrupted.hpp"
#include "io/foreign.hpp"
#include "io/json.hpp"

namespace ss1 {
namespace {

constexpr size_t largest_transfer = size_t{1} << 30;  // Linux moves at most 2 GiB in one call

ss1_status system_error(const char *what, const std::string &path, int error) {
    const ss1_status status = error == ENOMEM ? SS1_ERROR_OUT_OF_MEMORY : SS1_ERROR_IO;  // opendir() allocates, too
    return fail(status, "%s: %s: %s", path.c_str(), what, std::generic_category().message(error).c_str());
}

std::string folder_of(const std::string &path) {
    const size_t slash = path.rfind('/');
    if (slash == path.npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

thread_local const memory_folder *folder_in_memory = nullptr;

}  // namespace

memory_folder::memory_folder(std::span<const ss1_memory_file> files) noexcept
    : files_(files), outer_(std::exchange(folder_in_memory, this)) {}

memory_folder::~memory_folder() {
    folder_in_memory = outer_;
}

ss1_status memory_folder::check() const {
    std::map<std::string_view, size_t> seen;
    for (size_t i = 0; i < files_.size(); ++i) {
        const ss1_memory_file &file = files_[i];
        SS1_CHECK(file.name && *file.name, SS1_ERROR_INVALID_ARGUMENT, "files[%zu].name is %s", i,
                  file.name ? "empty" : "NULL");
        SS1_CHECK(file.data || file.bytes == 0, SS1_ERROR_INVALID_ARGUMENT,
                  "files[%zu].data of '%s' is NULL, but bytes=%zu", i, printable(file.name).c_str(), file.bytes);
        const auto [same, is_new] = seen.emplace(file.name, i);
        SS1_CHECK(is_new, SS1_ERROR_INVALID_ARGUMENT, "files[%zu] and files[%zu] have the same name '%s'", same->second,
                  i, printable(file.name).c_str());
    }
    return SS1_OK;
}

const ss1_memory_file *memory_folder::find(const std::string &path) const noexcept {
    const std::string_view name = std::string_view(path).substr(std::string_view(root).size() + 1);
    const auto found = std::ranges::find_if(files_, [&](const ss1_memory_file &file) { return file.name == name; });
    return found == files_.end() ? nullptr : &*found;
}

descriptor::~descriptor() {
    if (fd_ >= 0) close(fd_);
}

ss1_status file_open(const std::string &path, input_file &out) {
    if (folder_in_memory) {
        const ss1_memory_file *file = folder_in_memory->find(path);
        if (!file) return system_error("cannot open", path, ENOENT);
        out.memory = static_cast<const std::byte *>(file->data);
        out.path = path;
        out.bytes = file->bytes;
        return SS1_OK;
    }
    // With O_NONBLOCK, opening a named pipe does not wait for a writer. It has no effect on regular files.
    descriptor fd(uninterrupted([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }));
    if (fd.get() < 0) return system_error("cannot open", path, errno);
    struct stat info;
    if (fstat(fd.get(), &info) != 0) return system_error("cannot examine", path, errno);
    SS1_CHECK(S_ISREG(info.st_mode), SS1_ERROR_IO, "%s: is not a regular file", path.c_str());
    out.fd = std::move(fd);
    out.path = path;
    out.bytes = static_cast<size_t>(info.st_size);
    return SS1_OK;
}

ss1_status file_read(const input_file &file, size_t position, std::span<std::byte> out) {
    if (file.memory) {
        std::ranges::copy(std::span(file.memory, file.bytes).subspan(position, out.size()), out.begin());
        return SS1_OK;
    }
    while (!out.empty()) {
        const ssize_t got = uninterrupted([&] {
            return pread(file.fd.get(), out.data(), std::min(out.size(), largest_transfer),
                         static_cast<off_t>(position));
        });
        if (got < 0) return system_error("cannot read", file.path, errno);
        SS1_CHECK(got > 0, SS1_ERROR_IO, "%s: ends at byte %zu, it had %zu bytes when it was opened", file.path.c_str(),
                  position, file.bytes);
        position += static_cast<size_t>(got);
        out = out.subspan(static_cast<size_t>(got));
    }
    return SS1_OK;
}

ss1_status file_read_text(const std::string &path, size_t limit, std::string &out) {
    input_file file;
    SS1_TRY(file_open(path, file));
    SS1_CHECK(file.bytes <= limit, SS1_ERROR_FORMAT, "%s: has %zu bytes, the limit is %zu", path.c_str(), file.bytes,
              limit);
    out.resize(file.bytes);
    SS1_TRY(file_read(file, 0, std::as_writable_bytes(std::span(out))));
    return file_refuse_foreign(path, std::as_bytes(std::span(out)));
}

ss1_status file_refuse_foreign(const std::string &path, std::span<const std::byte> front) {
    const char *what = foreign_content({reinterpret_cast<const char *>(front.data()), front.size()});
    SS1_CHECK(!what, SS1_ERROR_FORMAT, "%s: %s", path.c_str(), what);
    return SS1_OK;
}

file_mapping::~file_mapping() {
    if (bytes_) munmap(const_cast<std::byte *>(data_), bytes_);
}

ss1_status file_mapping::map(const input_file &file) {
    data_ = file.memory;
    if (data_) return SS1_OK;
    // Reserves no memory for pages that are written to: most never are.
    void *p = mmap(nullptr, file.bytes, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file.fd.get(), 0);
    if (p == MAP_FAILED) return system_error("cannot map", file.path, errno);
    madvise(p, file.bytes, MADV_RANDOM);  // do not read the pages around a row
    data_ = static_cast<const std::byte *>(p);
    bytes_ = file.bytes;
    return SS1_OK;
}

ss1_status file_mapping::make_writable(const char *table, const void *from, size_t bytes) const {
    SS1_CHECK(bytes_, SS1_ERROR_UNSUPPORTED,
              "table '%s': its rows lie in the caller's own memory, which ss1 never writes to", table);
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<uintptr_t>(from) / page * page;
    const size_t length = reinterpret_cast<uintptr_t>(from) + bytes - begin;
    if (mprotect(reinterpret_cast<void *>(begin), length, PROT_READ | PROT_WRITE) == 0) return SS1_OK;
    return fail(SS1_ERROR_IO,
                "table '%s': the system does not let this process write to its copy of the mapped rows: %s", table,
                std::generic_category().message(errno).c_str());
}

bool file_exists(const std::string &path) noexcept {
    if (folder_in_memory) return folder_in_memory->find(path) != nullptr;
    struct stat info;
    return lstat(path.c_str(), &info) == 0;
}

output_file::~output_file() {
    if (!temporary.empty()) unlink(temporary.c_str());
}

ss1_status file_create(const std::string &path, output_file &out) {
    std::string temporary;
    out.path = path;
    out.bytes = 0;
    out.fd = descriptor(open_temporary(path, temporary));
    if (out.fd.get() < 0) return system_error("cannot create", temporary, errno);
    out.temporary = std::move(temporary);
    return SS1_OK;
}

ss1_status file_write(output_file &file, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t put =
            uninterrupted([&] { return write(file.fd.get(), bytes.data(), std::min(bytes.size(), largest_transfer)); });
        if (put < 0) return system_error("cannot write", file.temporary, errno);
        file.bytes += static_cast<size_t>(put);
        bytes = bytes.subspan(static_cast<size_t>(put));
    }
    return SS1_OK;
}

ss1_status file_commit(output_file &file) {
    if (uninterrupted([&] { return fsync(file.fd.get()); }) != 0)
        return system_error("cannot write to the disk", file.temporary, errno);
    if (rename(file.temporary.c_str(), file.path.c_str()) != 0)
        return system_error("cannot rename to", file.path, errno);
    file.temporary.clear();
    // The rename is durable after fsync of the folder; a file system that cannot do that has renamed all the same.
    const descriptor folder(open(folder_of(file.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() >= 0) fsync(folder.get());
    return SS1_OK;
}

ss1_status folder_names(const std::string &folder, std::vector<std::string> &names) {
    const std::unique_ptr<DIR, int (*)(DIR *)> listing(opendir(folder.c_str()), closedir);
    if (!listing) return system_error("cannot be listed", folder, errno);
    errno = 0;
    while (const dirent *entry = readdir(listing.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
        errno = 0;
    }
    if (errno) return system_error("cannot be listed", folder, errno);
    std::ranges::sort(names);
    return SS1_OK;
}

std::vector<std::string> file_leftovers(const std::string &path) {
    std::vector<std::string> names, found;
    const std::string folder = folder_of(path),
                      start = path.substr(path.rfind('/') + 1) + std::string(temporary_suffix);
    if (folder_names(folder, names) != SS1_OK) return found;  // there is no such folder
    for (const std::string &name : names)
        if (name.starts_with(start) && name.find_first_not_of("0123456789-", start.size()) == name.npos)
            found.push_back(folder + '/' + name);
    return found;
}

}  // namespace ss1
