// SPDX-License-Identifier: Apache-2.0
#include "io/model_write.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <system_error>

#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr const char *config_name = "/config.json", *weights_name = "/model.safetensors",
                     *index_name = "/model.safetensors.index.json";

// Records the created files and removes them again unless the work is kept.
struct created_files {
    created_files() = default;
    created_files(const created_files &) = delete;
    created_files &operator=(const created_files &) = delete;
    ~created_files() {
        if (keep) return;
        for (const std::string &file : files) unlink(file.c_str());
        if (!folder.empty()) rmdir(folder.c_str());
    }

    ss1_status commit(output_file &file) {
        files.push_back(file.path);  // before the file has its name, because memory and the commit may fail
        return file_commit(file);
    }

    std::vector<std::string> files;
    std::string folder;
    bool keep = false;
};

// Whether a conversion into the folder was killed: from its begin to its end, config.json has its temporary name.
bool is_half_written(const std::string &folder) {
    return !file_exists(folder + config_name) && !file_leftovers(folder + config_name).empty();
}

void remove_half_written(const std::string &folder, const std::map<std::string, std::string> &others) {
    std::vector<std::string> paths = {folder + weights_name, folder + config_name};
    for (const auto &[name, text] : others) paths.push_back(folder + "/" + name);
    for (const std::string &path : paths) {
        unlink(path.c_str());
        for (const std::string &temporary : file_leftovers(path)) unlink(temporary.c_str());
    }
}

ss1_status write_text(const std::string &path, const std::string &text, output_file &file) {
    SS1_CHECK(!file_exists(path), SS1_ERROR_IO, "%s: already exists", path.c_str());
    SS1_TRY(file_create(path, file));
    return file_write(file, std::as_bytes(std::span(text)));
}

}  // namespace

ss1_status model_write_possible(const std::string &output) {
    SS1_CHECK(!output.empty(), SS1_ERROR_INVALID_ARGUMENT, "output is an empty path");
    struct stat info;
    if (stat(output.c_str(), &info) != 0) return SS1_OK;
    SS1_CHECK(S_ISDIR(info.st_mode), SS1_ERROR_IO, "%s: exists and is not a folder", output.c_str());
    if (is_half_written(output)) return SS1_OK;
    for (const char *name : {config_name, weights_name, index_name}) {
        SS1_CHECK(!file_exists(output + name), SS1_ERROR_IO, "%s: already holds a model: %s exists", output.c_str(),
                  name + 1);
    }
    return SS1_OK;
}

ss1_status model_write(const std::string &output, const std::string &config, std::vector<tensor_to_write> tensors,
                       const std::map<std::string, std::string> &others) {
    SS1_TRY(model_write_possible(output));
    if (is_half_written(output)) remove_half_written(output, others);
    created_files created;
    created.folder = output;  // before the folder exists, because this may fail
    if (const int error = mkdir(output.c_str(), 0777) == 0 ? 0 : errno; error) {
        created.folder.clear();
        SS1_CHECK(error == EEXIST, SS1_ERROR_IO, "%s: cannot create the folder: %s", output.c_str(),
                  std::generic_category().message(error).c_str());
    }
    // config.json is the first file to be created and the last to get its name.
    output_file config_file;
    SS1_TRY(write_text(output + config_name, config, config_file));
    std::list<output_file> texts;
    for (const auto &[name, text] : others) SS1_TRY(write_text(output + "/" + name, text, texts.emplace_back()));
    const std::string weights = output + weights_name;
    created.files.push_back(weights);
    SS1_TRY(safetensors_write(weights, std::move(tensors), {{"format", "pt"}}));
    for (output_file &text : texts) SS1_TRY(created.commit(text));
    SS1_TRY(created.commit(config_file));
    created.keep = true;
    return SS1_OK;
}

}  // namespace ss1
