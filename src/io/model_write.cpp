// SPDX-License-Identifier: Apache-2.0
#include "io/model_write.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <system_error>

#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr const char *config_name = "/config.json", *weights_name = "/model.safetensors",
                     *index_name = "/model.safetensors.index.json", *modules_name = "/modules.json";

// Records the created files and folders and removes them again unless the work is kept.
struct created_files {
    created_files() = default;
    created_files(const created_files &) = delete;
    created_files &operator=(const created_files &) = delete;
    ~created_files() {
        if (keep) return;
        for (const std::string &file : files) unlink(file.c_str());
        for (; !folders.empty(); folders.pop_back()) rmdir(folders.back().c_str());
    }

    ss1_status commit(output_file &file) {
        files.push_back(file.path);  // before the file has its name, because memory and the commit may fail
        return file_commit(file);
    }
    ss1_status make_folder(const std::string &path) {
        folders.push_back(path);  // before the folder exists, because this may fail
        if (const int error = mkdir(path.c_str(), 0777) == 0 ? 0 : errno; error) {
            folders.pop_back();
            SS1_CHECK(error == EEXIST, SS1_ERROR_IO, "%s: cannot create the folder: %s", path.c_str(),
                      std::generic_category().message(error).c_str());
        }
        return SS1_OK;
    }
    // Makes the folders of a file below `output`.
    ss1_status make_folders_of(const std::string &output, const std::string &name) {
        for (size_t end = name.find('/'); end != name.npos; end = name.find('/', end + 1))
            SS1_TRY(make_folder(output + "/" + name.substr(0, end)));
        return SS1_OK;
    }

    std::vector<std::string> files, folders;
    bool keep = false;
};

// Whether a conversion into the folder was killed: from its begin to its end, config.json has its temporary name.
bool is_half_written(const std::string &folder) {
    return !file_exists(folder + config_name) && !file_leftovers(folder + config_name).empty();
}

// config.json last: while its temporary file is there, this can be repeated.
void remove_half_written(const std::string &output, const std::string &folder, const std::vector<std::string> &others) {
    std::vector<std::string> paths;
    for (const std::string &name : others) paths.push_back(output + "/" + name);
    for (const char *name : {weights_name, config_name}) paths.push_back(folder + name);
    for (const std::string &path : paths) {
        unlink(path.c_str());
        for (const std::string &temporary : file_leftovers(path)) unlink(temporary.c_str());
    }
}

ss1_status create_new(const std::string &path, output_file &file) {
    SS1_CHECK(!file_exists(path), SS1_ERROR_IO, "%s: already exists", path.c_str());
    return file_create(path, file);
}

ss1_status copy(const std::string &source, output_file &file, const std::function<ss1_status()> &check) {
    input_file from;
    SS1_TRY(file_open(source, from));
    std::vector<std::byte> block(std::min(from.bytes, size_t{1} << 20));
    for (size_t first = 0; first < from.bytes; first += block.size()) {
        const std::span<std::byte> part(block.data(), std::min(block.size(), from.bytes - first));
        SS1_TRY(check());
        SS1_TRY(file_read(from, first, part));
        SS1_TRY(file_write(file, part));
    }
    return SS1_OK;
}

// Keeps other conversions from writing into the folder while `lock` is open; some file systems have no such locks.
ss1_status lock_folder(const std::string &folder, descriptor &lock) {
    lock = descriptor(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const bool is_busy = lock.get() >= 0 && flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    SS1_CHECK(!is_busy, SS1_ERROR_IO, "%s: another conversion writes a model there", folder.c_str());
    return SS1_OK;
}

std::string folder_in(const std::string &output, const std::string &folder) {
    return folder.empty() ? output : output + "/" + folder;
}

ss1_status holds_no_model(const std::string &output, const std::string &folder) {
    if (is_half_written(folder_in(output, folder))) return SS1_OK;
    for (const std::string &at : {output, folder_in(output, folder)})
        for (const char *name : {config_name, weights_name, index_name, modules_name})
            SS1_CHECK(!file_exists(at + name), SS1_ERROR_IO, "%s: already holds a model: %s exists", at.c_str(),
                      name + 1);
    return SS1_OK;
}

}  // namespace

ss1_status model_write_possible(const std::string &output, const std::string &folder) {
    SS1_CHECK(!output.empty(), SS1_ERROR_INVALID_ARGUMENT, "output is an empty path");
    struct stat info;
    if (stat(output.c_str(), &info) != 0) return SS1_OK;
    SS1_CHECK(S_ISDIR(info.st_mode), SS1_ERROR_IO, "%s: exists and is not a folder", output.c_str());
    descriptor lock;
    SS1_TRY(lock_folder(output, lock));
    return holds_no_model(output, folder);
}

ss1_status model_write(const std::string &output, model_files what, const std::function<ss1_status()> &check) {
    const std::string folder = folder_in(output, what.folder);
    created_files created;
    SS1_TRY(created.make_folder(output));
    descriptor lock;
    SS1_TRY(lock_folder(output, lock));
    SS1_TRY(holds_no_model(output, what.folder));
    if (is_half_written(folder)) remove_half_written(output, folder, what.others);
    if (!what.folder.empty()) SS1_TRY(created.make_folders_of(output, what.folder + "/"));
    // config.json is the first file to be created and the last to get its name.
    output_file config_file;
    SS1_TRY(create_new(folder + config_name, config_file));
    SS1_TRY(file_write(config_file, std::as_bytes(std::span(what.config))));
    std::list<output_file> copies;
    for (const std::string &name : what.others) {
        SS1_TRY(created.make_folders_of(output, name));
        SS1_TRY(create_new(output + "/" + name, copies.emplace_back()));
        SS1_TRY(copy(what.source + "/" + name, copies.back(), check));
    }
    const std::string weights = folder + weights_name;
    created.files.push_back(weights);
    SS1_TRY(safetensors_write(weights, std::move(what.tensors), {{"format", "pt"}}));
    for (output_file &file : copies) SS1_TRY(created.commit(file));
    SS1_TRY(created.commit(config_file));
    created.keep = true;
    return SS1_OK;
}

}  // namespace ss1
