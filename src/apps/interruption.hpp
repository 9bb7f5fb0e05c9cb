// SPDX-License-Identifier: Apache-2.0
// What SIGINT, SIGTERM and SIGHUP do while a command writes a file: nothing half made stays, the user is told so, and
// the process ends by the signal, as its parent must see. A signal that the parent has set to be ignored stays ignored.
#pragma once
#include <cstdint>

namespace ss1::apps {

// One at a time in a process. Before and after its life the signals end the process at once.
class interruption {
  public:
    // The signal handler removes the file `half_made`; the text must outlive this object.
    explicit interruption(const char *half_made);
    // For work that ends itself and removes its files soon after *flag() is no longer 0. A second signal ends the
    // process at once.
    interruption() : interruption(nullptr) {}
    ~interruption();
    interruption(const interruption &) = delete;
    interruption &operator=(const interruption &) = delete;

    const int32_t *flag() const;
    // Call it after that work: ends the process, with `message`, if a signal came.
    void obey(const char *message) const;
};

}  // namespace ss1::apps
