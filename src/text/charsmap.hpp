// SPDX-License-Identifier: Apache-2.0
// The normalizer Precompiled: sentencepiece's map from characters to texts, a Darts double array and the texts.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ss1/ss1.h"
#include "text/traced_text.hpp"

namespace ss1 {

class charsmap {
  public:
    // @return SS1_OK; SS1_ERROR_FORMAT with `where` in the message.
    ss1_status read(std::string_view base64, const std::string &where);

    // As in tokenizers 0.23: replaces grapheme clusters below 6 bytes that the map knows, else their characters.
    void run(traced_text &text, traced_text &spare) const;

  private:
    // The text for the shortest prefix of `key` that the map knows.
    std::optional<std::string_view> find(std::string_view key) const noexcept;
    size_t unchanged_prefix(std::string_view text) const noexcept;

    std::vector<uint32_t> units_;
    std::string texts_;                      // each ends with a zero byte
    std::array<bool, 128> changes_ascii_{};  // the map knows the character
};

}  // namespace ss1
