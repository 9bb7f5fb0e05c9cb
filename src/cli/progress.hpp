// SPDX-License-Identifier: Apache-2.0
// Shows one line on stderr and overwrites it; does nothing if stderr is not a terminal.
#pragma once
#include <chrono>
#include <string>

namespace ss1::cli {

class progress {
  public:
    progress();
    ~progress();
    progress(const progress &) = delete;
    progress &operator=(const progress &) = delete;

    // Returns true at most ten times a second; the caller then makes the text for show().
    bool due();
    void show(const std::string &text);
    // Call this before writing anything else to the terminal.
    void clear();

  private:
    bool terminal_, shown_ = false;
    std::chrono::steady_clock::time_point next_;
};

}  // namespace ss1::cli
