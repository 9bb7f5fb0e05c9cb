// SPDX-License-Identifier: Apache-2.0
#include "convert/other_files.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/status.hpp"
#include "io/file.hpp"

namespace ss1 {
namespace {

namespace fs = std::filesystem;

// Weights of the model in other forms, and folders of them.
constexpr std::array<std::string_view, 10> foreign = {".bin", ".gguf", ".h5", ".msgpack", ".onnx",
                                                      ".ot",  ".pkl",  ".pt", ".pth",     ".ckpt"};
constexpr std::array<std::string_view, 2> foreign_folders = {"onnx", "openvino"};

bool is_among(const auto &list, std::string_view name) {
    return std::ranges::find(list, name) != list.end();
}

// Adds the files in `folder`, relative to the root, and in up to `deeper` levels of folders below it.
ss1_status list(const model_directory &directory, const fs::path &root, const fs::path &folder, int deeper,
                std::vector<std::string> &files) {
    std::vector<std::string> names;
    SS1_TRY(folder_names(root / folder, names));
    for (const std::string &name : names) {
        const fs::path path = folder / name;
        const std::string extension = path.extension().string();
        std::error_code unknown;  // of a link that leads nowhere: it is neither
        const fs::file_status status = fs::status(root / path, unknown);
        if (fs::is_directory(status)) {
            if (deeper > 0 && !name.starts_with('.') && !is_among(foreign_folders, name))
                SS1_TRY(list(directory, root, path, deeper - 1, files));
            continue;
        }
        const bool is_old =
            folder == fs::path(directory.config.sentence.folder) &&
            (name == "config.json" || name == "model.safetensors.index.json" || extension == ".safetensors");
        // Without the vocabularies that config.json names, whatever they are called, programs could not read the ids.
        const bool is_vocabulary = std::ranges::find(directory.config.dlrm.tables, path.string(),
                                                     &dlrm_table::vocabulary) != directory.config.dlrm.tables.end();
        const bool is_report = name.starts_with("ss1-report.");  // of how the source was made, not the new model
        const bool is_left = is_report || is_among(foreign, extension) || name.find(".tmp-") != name.npos;
        if (fs::is_regular_file(status) && !is_old && (is_vocabulary || !is_left)) files.push_back(path.string());
    }
    return SS1_OK;
}

}  // namespace

ss1_status other_files(const model_directory &directory, const std::string &root, std::vector<std::string> &names) {
    std::error_code none;
    const bool has_modules = fs::exists(fs::path(root) / "modules.json", none);
    SS1_TRY(list(directory, root.empty() ? "." : root, {}, has_modules ? 2 : 0, names));
    std::ranges::sort(names);
    for (const dlrm_table &table : directory.config.dlrm.tables)
        SS1_CHECK(table.vocabulary.empty() || std::ranges::binary_search(names, table.vocabulary), SS1_ERROR_IO,
                  "%s/config.json: table '%s': vocabulary '%s' is not in the folder", root.c_str(), table.name.c_str(),
                  table.vocabulary.c_str());
    return SS1_OK;
}

}  // namespace ss1
