// SPDX-License-Identifier: Apache-2.0
#include "convert/other_files.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

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

}  // namespace

std::vector<std::string> other_files(const model_directory &directory, const std::string &root) {
    std::vector<std::string> names;
    const bool has_modules = fs::exists(fs::path(root) / "modules.json");
    const auto follow = fs::directory_options::follow_directory_symlink;
    for (auto at = fs::recursive_directory_iterator(root, follow); at != fs::recursive_directory_iterator(); ++at) {
        const fs::path path = at->path().lexically_relative(root);
        const std::string name = path.filename().string(), extension = path.extension().string();
        if (at->is_directory()) {
            if (!has_modules || at.depth() > 1 || name.starts_with('.') || is_among(foreign_folders, name))
                at.disable_recursion_pending();
            continue;
        }
        const bool is_old =
            path.parent_path() == fs::path(directory.config.sentence.folder) &&
            (name == "config.json" || name == "model.safetensors.index.json" || extension == ".safetensors");
        if (at->is_regular_file() && !is_old && !is_among(foreign, extension) && name.find(".tmp-") == name.npos)
            names.push_back(path.string());
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace ss1
