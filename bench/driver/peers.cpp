// SPDX-License-Identifier: Apache-2.0
#include "driver/peers.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::bench {

using namespace apps;

namespace {

namespace fs = std::filesystem;

// In the build tree bench/peers is beside the program's folder; installed modules are below libdir.
fs::path usual_folder() {
    std::error_code ignored;
    const fs::path beside = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "../peers";
    return fs::is_directory(beside, ignored) ? fs::canonical(beside) : fs::path(SS1_PEERS_DIR);
}

std::vector<fs::path> modules_in(const fs::path &folder) {
    std::vector<fs::path> modules;
    std::error_code error;
    for (const fs::directory_entry &entry : fs::directory_iterator(folder, error))
        if (entry.path().filename().string().starts_with("libpeer-") && entry.path().extension() == ".so")
            modules.push_back(entry.path());
    std::ranges::sort(modules);
    return modules;
}

const ss1_peer *load(const fs::path &module, std::string &why) {
    // Never closed: the threads of these libraries cannot be stopped safely.
    void *opened = dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL);
    const auto entry = opened ? reinterpret_cast<ss1_peer_entry_fn>(dlsym(opened, "ss1_peer_entry")) : nullptr;
    if (!entry) {
        why = dlerror();
        return nullptr;
    }
    char reason[512] = "no reason given";
    const ss1_peer *peer = entry(reason, sizeof reason);
    why = reason;
    if (peer && peer->abi != SS1_PEER_ABI) {
        why = format("its ABI is %u, not %d", peer->abi, SS1_PEER_ABI);
        return nullptr;
    }
    return peer;
}

}  // namespace

peer_list load_peers(const std::string &folder) {
    if (!folder.empty() && !fs::is_directory(folder))
        throw failure("--peers: '" + folder + "' is no folder", "give the folder with libpeer-*.so, or leave it out");
    peer_list peers;
    for (const fs::path &module : modules_in(folder.empty() ? usual_folder() : fs::path(folder))) {
        std::string why;
        if (const ss1_peer *peer = load(module, why))
            peers.found.push_back(peer);
        else
            peers.missing.push_back(module.stem().string().substr(sizeof "libpeer-" - 1) + ": " + why);
    }
    return peers;
}

std::string label(const ss1_peer &peer) {
    return std::string(peer.name) + ' ' + peer.version;
}

std::unique_ptr<peer_layer> peer_layer::create(const ss1_peer &peer, const ss1_peer_problem &problem,
                                               std::string &why) {
    char reason[512] = "no reason given";
    void *handle = peer.create(&problem, reason, sizeof reason);
    if (!handle) {
        why = reason;
        return nullptr;
    }
    return std::unique_ptr<peer_layer>(new peer_layer(peer, handle, problem.copies));
}

void peer_layer::run() {
    if (++next_ >= copies_) next_ = 0;
    if (peer_.run(handle_, next_)) throw failure(label(peer_) + " failed to run a layer");
}

}  // namespace ss1::bench
