// SPDX-License-Identifier: Apache-2.0
// Writes data to a file, or to stdout for "-". A full disk is an error, a reader that has closed its pipe is not.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>

namespace ss1::apps {

// Thrown when the reader of stdout has closed it (`ss1 ... | head`); the program then ends without a message.
struct closed_pipe {};

class output {
  public:
    explicit output(std::string path = "-");
    ~output();
    output(const output &) = delete;
    output &operator=(const output &) = delete;

    void write(std::string_view text);
    void flush();
    // Only a successful close() guarantees that all data is written.
    void close();

  private:
    [[noreturn]] void fail();

    std::string path_;
    std::FILE *file_;
};

}  // namespace ss1::apps
