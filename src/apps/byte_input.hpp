// SPDX-License-Identifier: Apache-2.0
// A file, or stdin for "-", read byte by byte; knows the line it is in. A byte order mark at its start is skipped.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace ss1::apps {

class byte_input {
  public:
    explicit byte_input(const std::string &path);

    // The next byte, or EOF: get() takes it. What is there is handed out before a pipe is waited for.
    int get();
    int peek();
    // Whether the next line, or the end, can be read without waiting for a pipe; no for a line above 64 KiB that comes
    // from one. `quotes`: a line end between double quotes ends no line.
    bool has_line(bool quotes);

    const std::string &name() const { return name_; }  // for messages
    size_t line() const { return line_; }              // of the next byte, from 1
    uint64_t bytes_read() const { return bytes_read_; }
    // 0 if that is unknown (a pipe).
    uint64_t bytes_in_all() const { return bytes_in_all_; }

  private:
    struct close_file {
        void operator()(std::FILE *file) const {
            if (file != stdin) std::fclose(file);
        }
    };

    // Appends to the buffer what the file has now: a pipe is not waited for until the buffer is full. False at the end.
    bool read_more();

    std::string name_;
    std::unique_ptr<std::FILE, close_file> file_;
    size_t line_ = 1;
    uint64_t bytes_read_ = 0, bytes_in_all_ = 0;
    std::vector<char> buffer_;
    size_t position_ = 0, filled_ = 0;
    bool ended_ = false;  // a terminal would go on after its end of file
};

}  // namespace ss1::apps
