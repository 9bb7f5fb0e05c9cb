// SPDX-License-Identifier: Apache-2.0
// Where data goes: a file, or stdout for "-". A reader that has gone away is not an error, a full disk is.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>

namespace ss1::apps {

// Thrown when nobody reads stdout any more (`ss1 ... | head`); the command then ends quietly.
struct closed_pipe {};

class output {
  public:
    explicit output(std::string path = "-");
    ~output();
    output(const output &) = delete;
    output &operator=(const output &) = delete;

    void write(std::string_view text);
    void flush();
    // Only after close() is everything known to be written.
    void close();

  private:
    [[noreturn]] void fail();

    std::string path_;
    std::FILE *file_;
};

}  // namespace ss1::apps
