// SPDX-License-Identifier: Apache-2.0
// Text for messages and tables.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "ss1/ss1.h"

namespace ss1::apps {

bool is_utf8(std::string_view text);

// As std::printf().
std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
// A text of a file for a message: control characters, and all bytes above 0x7f of a text that is no UTF-8, as \xNN; at
// most about 80 bytes.
std::string shown(std::string_view text);
// "1.5 MiB"
std::string human_bytes(size_t bytes);

const char *dtype_name(ss1_dtype dtype);  // "int8" for SS1_DTYPE_I8
const char *scheme_name(const ss1_linear_desc &desc);

}  // namespace ss1::apps
