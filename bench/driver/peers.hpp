// SPDX-License-Identifier: Apache-2.0
// Loads the libraries that ss1 is compared with. Each is a module with the interface of bench/peers/peer.h.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "peers/peer.h"

namespace ss1::bench {

struct peer_list {
    std::vector<const ss1_peer *> found;
    std::vector<std::string> missing;  // "NAME: why"
};

// Loads every libpeer-*.so of `folder` in the order of names; "": the folder of the build or of the installation.
peer_list load_peers(const std::string &folder);

// "oneDNN 2.6.3"
std::string label(const ss1_peer &peer);

// A layer of a peer.
class peer_layer {
  public:
    // Returns nullptr if the peer cannot run this problem, with the reason in `why`.
    static std::unique_ptr<peer_layer> create(const ss1_peer &peer, const ss1_peer_problem &problem, std::string &why);
    ~peer_layer() { peer_.destroy(handle_); }
    peer_layer(const peer_layer &) = delete;
    peer_layer &operator=(const peer_layer &) = delete;

    // Runs with the next copy of the weights.
    void run();

  private:
    peer_layer(const ss1_peer &peer, void *handle, size_t copies) : peer_(peer), handle_(handle), copies_(copies) {}

    const ss1_peer &peer_;
    void *handle_;
    size_t copies_, next_ = 0;
};

}  // namespace ss1::bench
