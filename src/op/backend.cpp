// SPDX-License-Identifier: Apache-2.0
#include "op/backend.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backend_dir.h"
#include "base/status.hpp"

namespace ss1 {
namespace {

ss1_status host_fail(ss1_status status, const char *message) {
    return fail(status, "%s", message);
}

void host_log(const ss1_context *context, ss1_log_level level, const char *message) {
    log(*context, level, "%s", message);
}

void host_parallel_for(const ss1_context *context, size_t n, void (*task)(void *, size_t), void *arg) {
    parallel(*context, n, [=](size_t i) { task(arg, i); });
}

constexpr ss1_backend_host host = {.abi = SS1_BACKEND_ABI,
                                   .struct_size = sizeof(ss1_backend_host),
                                   .fail = host_fail,
                                   .get_info = ss1_get_info,
                                   .log = host_log,
                                   .parallel_for = host_parallel_for};

// The required slots are there, and each group of optional ones is whole or absent.
bool is_complete(const ss1_backend &b) noexcept {
    const bool required = b.name && b.score && b.supports && b.layer_create && b.layer_scratch && b.layer_run &&
                          b.layer_describe && b.layer_destroy;
    const int rows = !!b.rows_scratch + !!b.rows_ns + !!b.rows_run;
    const int models = !!b.model_create + !!b.model_describe + !!b.model_layer + !!b.model_destroy + !!b.session_bytes +
                       !!b.session_create + !!b.session_run + !!b.session_destroy;
    return required && (rows == 0 || rows == 3) && (models == 0 || models == 8);
}

std::vector<std::string> search_paths(const std::string &name) {
    if (name.find('/') != std::string::npos) return {name};
    const std::string file = "/libss1-" + name + ".so";
    std::vector<std::string> paths = {SS1_BACKEND_DIR + file};
    if (const char *folder = secure_getenv("SS1_BACKEND_PATH"); folder && *folder) paths.push_back(folder + file);
    return paths;
}

std::string paths_in_words(const std::string &name) {
    std::string words;
    for (const std::string &path : search_paths(name)) words += (words.empty() ? "" : " or ") + path;
    return words;
}

std::string existing_path(const std::string &name) {
    for (const std::string &path : search_paths(name))
        if (access(path.c_str(), R_OK) == 0) return path;
    return {};
}

ss1_status load(const ss1_context &context, const char *name, const ss1_backend *&backend) {
    const std::string path = existing_path(name);
    SS1_CHECK(!path.empty(), SS1_ERROR_BACKEND, "backend %s: no file %s; install it there or set SS1_BACKEND_PATH",
              name, paths_in_words(name).c_str());
    // The library stays open: a backend's threads and device state cannot end safely while layers may exist.
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    SS1_CHECK(library, SS1_ERROR_BACKEND, "backend %s: %s", name, dlerror());
    const auto entry = reinterpret_cast<decltype(&ss1_backend_entry)>(dlsym(library, "ss1_backend_entry"));
    SS1_CHECK(entry, SS1_ERROR_BACKEND, "backend %s: %s has no ss1_backend_entry", name, path.c_str());
    const ss1_backend *found = entry(&host);
    SS1_CHECK(found && found->abi == SS1_BACKEND_ABI, SS1_ERROR_BACKEND,
              "backend %s: %s has another ABI than this library's %d", name, path.c_str(), SS1_BACKEND_ABI);
    SS1_CHECK(found->struct_size >= sizeof(ss1_backend) && is_complete(*found), SS1_ERROR_BACKEND,
              "backend %s: %s lacks a required function, or fills a group of optional ones in part", name,
              path.c_str());
    const char *reason = "it gives no reason";
    SS1_CHECK(found->score(&reason) > 0, SS1_ERROR_BACKEND, "backend %s: not usable on this machine: %s", name, reason);
    backend = found;
    log(context, SS1_LOG_INFO, "backend %s from %s", found->name, path.c_str());
    return SS1_OK;
}

// The backends that this build knows, with what stands in the way of each.
std::vector<info_text> survey(const ss1_backend &used) {
    std::vector<info_text> backends;
    const bool cpu = &used == &cpu_backend;
    backends.push_back({cpu_backend.name, cpu ? "built in, used" : "built in", cpu});
    if (!cpu) backends.push_back({used.name, "loaded, used", true});
    if (std::strcmp(used.name, "cuda") != 0) {
        const std::string path = existing_path("cuda");
        backends.push_back(
            {"cuda", path.empty() ? "no file " + paths_in_words("cuda") : "found at " + path + ", not loaded", false});
    }
    return backends;
}

}  // namespace

ss1_status backend_use(ss1_context &context, const char *name) {
    const ss1_backend *backend = &cpu_backend;
    if (name && std::strcmp(name, cpu_backend.name) != 0) SS1_TRY(load(context, name, backend));
    std::vector<info_text> texts = survey(*backend);
    std::vector<ss1_info_item> items = items_of(texts);
    context.backend = backend;
    context.backend_texts = std::move(texts);
    context.backend_items = std::move(items);
    return SS1_OK;
}

}  // namespace ss1
