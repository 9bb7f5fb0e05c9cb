// SPDX-License-Identifier: Apache-2.0
// Tells what ss1 reads in each of many safetensors files: tests/compare_safetensors.py compares it with the reference
// reader. Standard input has for each file its length (u64, little endian) and its bytes. The output has for each a
// line of JSON: {"tensors": {name: [dtype, shape, data in hex]}, "metadata": {...}}, or {"status": name, "error":
// message}.
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/status.hpp"
#include "io/safetensors.hpp"

namespace {

std::string hex(std::string_view bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const char byte : bytes) {
        text += digits[static_cast<unsigned char>(byte) >> 4];
        text += digits[byte & 15];
    }
    return text;
}

nlohmann::json views(const std::string &file) {
    ss1::safetensors_header header;
    const ss1_status status =
        ss1::safetensors_parse(std::as_bytes(std::span(file.data(), file.size())), file.size(), "file", header);
    if (status != SS1_OK) return {{"status", ss1_status_name(status)}, {"error", ss1_last_error()}};
    nlohmann::json tensors = nlohmann::json::object();
    for (const ss1::tensor_info &tensor : header.tensors)
        tensors[tensor.name] = {ss1::file_dtype_name(tensor.dtype), tensor.shape,
                                hex(std::string_view(file).substr(tensor.begin, tensor.bytes))};
    return {{"tensors", tensors}, {"metadata", header.metadata}};
}

}  // namespace

int main() {
    std::ios::sync_with_stdio(false);
    uint64_t length;
    for (std::string file; std::cin.read(reinterpret_cast<char *>(&length), sizeof length);) {
        file.resize(length);
        if (!std::cin.read(file.data(), static_cast<std::streamsize>(length))) return 1;
        std::cout << views(file).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
    }
    return std::cout.flush() ? 0 : 1;
}
