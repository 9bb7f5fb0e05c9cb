// SPDX-License-Identifier: Apache-2.0
#include "apps/text_lines.hpp"

#include <algorithm>

#include "apps/failure.hpp"
#include "apps/format.hpp"

namespace ss1::apps {
namespace {

constexpr size_t max_line_bytes = size_t{64} << 20;  // a file without line ends must not fill the memory

[[noreturn]] void fail(const byte_input &in, size_t line, const std::string &problem, const char *hint) {
    throw failure(in.name() + ":" + std::to_string(line) + ": " + problem, hint);
}

}  // namespace

bool text_lines::next() {
    while (read())
        if (subset_.takes(lines_++)) return true;
    return false;
}

bool text_lines::read() {
    const size_t line = in_.line();
    first_.clear();
    int c = in_.get();
    if (c == EOF) return false;
    for (; c != '\n' && c != EOF; c = in_.get()) {
        if (first_.size() == max_line_bytes)
            fail(in_, line, "the line is longer than " + human_bytes(max_line_bytes), "end each text with its line");
        first_.push_back(static_cast<char>(c));
    }
    if (first_.ends_with('\r')) first_.pop_back();
    if (kind_ == kind::any_text) return true;
    const auto tabs = std::count(first_.begin(), first_.end(), '\t');
    if (kind_ == kind::texts_alone) {
        if (tabs)
            fail(in_, line, "the line has a tab, but --pairs is missing",
                 "give --pairs if the line is two texts; else put a blank in place of the tab");
        return true;
    }
    if (tabs != 1)
        fail(in_, line, "the line has " + std::to_string(tabs) + " tabs, a pair of texts has one between them",
             "each line is two texts with a tab between them; to find answers, a question and its context");
    const size_t tab = first_.find('\t');
    second_.assign(first_, tab + 1);
    first_.resize(tab);
    return true;
}

}  // namespace ss1::apps
