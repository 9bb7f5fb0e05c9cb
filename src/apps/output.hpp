// SPDX-License-Identifier: Apache-2.0
// Writes data to a file, or to stdout for "-". A file appears under its name once it is complete: until then it has a
// temporary name in the same folder, and an older file of that name stays. Symbolic links stay, too. Pipes and devices
// get the data as it comes; so does a file in whose folder none can be made. A full disk is an error, a reader that has
// closed its pipe is not.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "apps/interruption.hpp"

namespace ss1::apps {

// Thrown when the reader of stdout has closed it (`ss1 ... | head`); the program then ends without a message.
struct closed_pipe {};

class output {
  public:
    explicit output(std::string path = "-");
    // Removes a file that close() has not made complete.
    ~output();
    output(const output &) = delete;
    output &operator=(const output &) = delete;

    void write(std::string_view text);
    void flush();
    // Only a successful close() guarantees that all data is written.
    void close();

  private:
    [[noreturn]] void fail();
    bool create_temporary();
    void open_in_place();
    void replace_target();
    void copy_in_place();
    void close_descriptor();

    std::string path_, target_, temporary_, buffer_;
    std::optional<interruption> interruption_;  // while there is a temporary file
    int fd_ = -1;
};

}  // namespace ss1::apps
