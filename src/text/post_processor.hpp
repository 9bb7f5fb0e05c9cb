// SPDX-License-Identifier: Apache-2.0
// The post-processor of a tokenizer.json: the special tokens around a text or a pair, and their type ids.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "text/words.hpp"

namespace ss1 {

// A row is: before, the first text, between, the second text, after.
struct row_template {
    struct special {
        int32_t id, type;
    };
    std::vector<special> before, between, after;
    int32_t first_type = 0, second_type = 0;

    size_t specials() const noexcept { return before.size() + between.size() + after.size(); }
};

// Characters of white space, or of ByteLevel's blank, at the ends of a token's text.
struct blank_counts {
    uint32_t before = 0, behind = 0;
};
blank_counts count_blanks(std::string_view text) noexcept;

struct post_processor {
    row_template single, pair{{}, {}, {}, 0, 1};
    bool trims_places = false;      // of white space in byte-level tokens
    bool keeps_first_space = true;  // a single one at the beginning of a text, which the tokenizer adds

    // The place of a token of `text` without the blanks at its ends; `first`: the first that is left of the text.
    byte_range trimmed(std::string_view text, blank_counts blanks, bool first, byte_range place) const noexcept;
};

// cls first sep, and cls first sep second sep with the type ids 0 and `second_type`; `twice`: RoBERTa's two seps
// between.
post_processor classic_post_processor(int32_t cls, int32_t sep, int32_t second_type, bool twice);

// Reads the member `post_processor` of `root`, the content of the tokenizer.json `path`. None or null adds nothing.
ss1_status read_post_processor(const json &root, const std::string &path, post_processor &out);

}  // namespace ss1
