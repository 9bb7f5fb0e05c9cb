// SPDX-License-Identifier: Apache-2.0
// Handles SIGINT, SIGTERM and SIGHUP while a command writes a file: it removes the half-made file, says so to the user,
// and ends the process by the signal, so that the parent sees why. A signal that the parent ignores stays ignored.
#pragma once
#include <cstdint>

namespace ss1::apps {

// One at a time in a process. Before and after its life the signals end the process at once. During its life they are
// noted for *flag() and obey(), or remove the file that arm() names; only SIGKILL ends the process before that is done.
// Any thread may get the signals, so they are not blocked: whether the file is removed is decided by one atomic
// pointer.
class interruption {
  public:
    interruption();
    ~interruption();
    interruption(const interruption &) = delete;
    interruption &operator=(const interruption &) = delete;

    // No longer 0 after a signal that is noted. Work that looks at it ends itself and removes its files soon.
    const int32_t *flag() const;
    // Ends the process, with `message`, if a signal was noted.
    void obey(const char *message) const;
    // From now on a signal removes the file `half_made` and ends the process; so does one that was noted. Call it when
    // the file is there. The text must outlive this object.
    void arm(const char *half_made);
    // After arm(): from now on signals are noted again. Call it before the file gets its name, and obey() afterwards.
    void disarm();

  private:
    bool is_armed_ = false;
};

}  // namespace ss1::apps
