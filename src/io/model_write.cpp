// SPDX-License-Identifier: Apache-2.0
#include "io/model_write.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/status.hpp"

namespace ss1 {
namespace {

// Records the created files and removes them again unless the work is kept.
struct created_files {
    std::vector<std::string> files;
    std::string folder;
    bool keep = false;

    ~created_files() {
        if (keep) return;
        for (const std::string &file : files) unlink(file.c_str());
        if (!folder.empty()) rmdir(folder.c_str());
    }
};

ss1_status write_text(const std::string &path, const std::string &text, created_files &created) {
    SS1_CHECK(!file_exists(path), SS1_ERROR_IO, "%s: already exists", path.c_str());
    output_file file;
    SS1_TRY(file_create(path, file));
    SS1_TRY(file_write(file, std::as_bytes(std::span(text))));
    SS1_TRY(file_commit(file));
    created.files.push_back(path);
    return SS1_OK;
}

}  // namespace

ss1_status model_write_possible(const std::string &output) {
    struct stat info;
    if (stat(output.c_str(), &info) != 0) return SS1_OK;
    SS1_CHECK(S_ISDIR(info.st_mode), SS1_ERROR_IO, "%s: exists and is not a folder", output.c_str());
    for (const char *name : {"/config.json", "/model.safetensors", "/model.safetensors.index.json"}) {
        SS1_CHECK(!file_exists(output + name), SS1_ERROR_IO, "%s: already holds a model: %s exists", output.c_str(),
                  name + 1);
    }
    return SS1_OK;
}

ss1_status model_write(const std::string &output, const json &config, std::vector<tensor_to_write> tensors,
                       const std::map<std::string, std::string> &others) {
    SS1_TRY(model_write_possible(output));
    created_files created;
    if (mkdir(output.c_str(), 0777) == 0) {
        created.folder = output;
    } else if (errno != EEXIST) {
        return fail(SS1_ERROR_IO, "%s: cannot create the folder: %s", output.c_str(),
                    std::generic_category().message(errno).c_str());
    }
    for (const auto &[name, text] : others) SS1_TRY(write_text(output + "/" + name, text, created));
    const std::string weights = output + "/model.safetensors";
    SS1_TRY(safetensors_write(weights, std::move(tensors), {{"format", "pt"}}));
    created.files.push_back(weights);
    // All other handlers of invalid UTF-8 throw.
    SS1_TRY(write_text(output + "/config.json", config.dump(2, ' ', false, json::error_handler_t::replace) + "\n",
                       created));
    created.keep = true;
    return SS1_OK;
}

}  // namespace ss1
