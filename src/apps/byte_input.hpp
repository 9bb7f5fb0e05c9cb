// SPDX-License-Identifier: Apache-2.0
// Reads a file, or stdin for "-", byte by byte and counts lines. Skips a byte order mark at the start.
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

    // The next byte, or EOF: get() takes it. All bytes that have arrived are given out before the reader waits for a
    // pipe.
    int get();
    int peek();
    // Returns whether the next line, or the end, can be read without waiting for a pipe; false for a line above 64 KiB
    // from a pipe. `quotes`: a line end between double quotes does not end the line.
    bool has_line(bool quotes);
    // Takes the next line if it has arrived as a whole and is spaces, tabs and LF or CRLF; else returns false.
    // `delimiter`: a tab that separates fields is not blank.
    bool skip_blank_line(char delimiter);

    const std::string &name() const { return name_; }  // for messages
    size_t line() const { return line_; }              // line of the next byte, from 1
    uint64_t bytes_read() const { return bytes_read_; }
    // 0 for a pipe, whose size is unknown.
    uint64_t bytes_in_all() const { return bytes_in_all_; }

  private:
    struct close_file {
        void operator()(std::FILE *file) const {
            if (file != stdin) std::fclose(file);
        }
    };

    // Appends the bytes that have arrived to the buffer; does not wait for a pipe to fill it. Returns false at the end.
    bool read_more();

    std::string name_;
    std::unique_ptr<std::FILE, close_file> file_;
    size_t line_ = 1;
    uint64_t bytes_read_ = 0, bytes_in_all_ = 0;
    std::vector<char> buffer_;
    size_t position_ = 0, filled_ = 0;
    bool ended_ = false;  // a terminal would continue after its end of file
};

}  // namespace ss1::apps
