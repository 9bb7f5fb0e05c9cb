// SPDX-License-Identifier: Apache-2.0
// Groups lines of an input into batches without waiting for further lines.
#pragma once
#include <cstddef>
#include <exception>
#include <functional>

namespace ss1::apps {

class line_batches {
  public:
    // Takes up to `most` lines and returns their number. next() takes a line and returns false at the end. After the
    // first line, fill() continues only while ready() says that the next one can be read without waiting: a user who
    // writes line by line gets answers line by line. If next() throws after the first line, the batch ends, and the
    // next call throws the failure: the lines before it are answered first.
    size_t fill(size_t most, const std::function<bool()> &next, const std::function<bool()> &ready);

  private:
    std::exception_ptr failure_;
};

}  // namespace ss1::apps
