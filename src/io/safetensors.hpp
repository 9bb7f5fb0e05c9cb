// SPDX-License-Identifier: Apache-2.0
// Reads safetensors files strictly: no holes, overlaps, duplicate names or control characters; every size is checked.
// Every rule is that of the reference implementation (huggingface/safetensors) or stricter, so that no two readers
// disagree.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.hpp"
#include "ss1/ss1.h"

namespace ss1 {

enum class file_dtype { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };
const char *file_dtype_name(file_dtype dtype) noexcept;
size_t file_dtype_bytes(file_dtype dtype) noexcept;

std::string shape_text(std::span<const size_t> shape);  // "[2, 3]"

// The header entry of a tensor. Its bytes are [begin, begin + bytes) of the file.
struct tensor_info {
    std::string name;
    file_dtype dtype = file_dtype::f32;
    std::vector<size_t> shape;
    size_t begin = 0;
    size_t bytes = 0;
};

struct safetensors_header {
    std::vector<tensor_info> tensors;  // sorted by name
    std::map<std::string, std::string> metadata;
    const tensor_info *find(std::string_view name) const noexcept;
};

// An open file with a parsed header. Tensors are read on request, directly to their destination.
struct safetensors_file {
    input_file file;
    safetensors_header header;
};

// Checks and parses the front of a file of `file_bytes` bytes; `front` must contain the header and may be longer.
// `label` names the file in messages. @return SS1_OK; SS1_ERROR_FORMAT; SS1_ERROR_UNSUPPORTED for a safetensors dtype
// that file_dtype lacks.
ss1_status safetensors_parse(std::span<const std::byte> front, size_t file_bytes, const char *label,
                             safetensors_header &out);

ss1_status safetensors_open(const std::string &path, safetensors_file &out);

// Reads bytes [first, first + out.size()) of a tensor; the caller must stay within the tensor.
ss1_status safetensors_read(const safetensors_file &from, const tensor_info &tensor, size_t first,
                            std::span<std::byte> out);

// A tensor to write; `write` writes its bytes by any number of calls of file_write().
struct tensor_to_write {
    std::string name;
    file_dtype dtype = file_dtype::f32;
    std::vector<size_t> shape;
    std::function<ss1_status(output_file &)> write;
};

// Writes a file. Its tensors are sorted by the width of their type, widest first, then by name, so that each is aligned
// to its type. The file replaces `path` when it is complete.
ss1_status safetensors_write(const std::string &path, std::vector<tensor_to_write> tensors,
                             const std::map<std::string, std::string> &metadata);

}  // namespace ss1
