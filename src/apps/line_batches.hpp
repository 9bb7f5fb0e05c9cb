// SPDX-License-Identifier: Apache-2.0
// Lines of an input in batches that do not wait for each other.
#pragma once
#include <cstddef>
#include <exception>
#include <functional>

namespace ss1::apps {

class line_batches {
  public:
    // Takes up to `most` lines and returns how many: by next(), which is false at the end; after the first as long as
    // ready() says that none must be waited for. Who writes line by line gets answers line by line. A line that is
    // wrong ends the batch and fails in the next call: the lines before it are answered first.
    size_t fill(size_t most, const std::function<bool()> &next, const std::function<bool()> &ready);

  private:
    std::exception_ptr failure_;
};

}  // namespace ss1::apps
