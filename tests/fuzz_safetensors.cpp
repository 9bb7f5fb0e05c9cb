// SPDX-License-Identifier: Apache-2.0
// Fuzzes the reader. If it accepts a file, the tensors tile it, sizes agree and names are found.
#include <cstdlib>
#include <span>

#include "base/checked.hpp"
#include "io/safetensors.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ss1::safetensors_header header;
    const ss1_status status = ss1::safetensors_parse(std::as_bytes(std::span(data, size)), size, "fuzz", header);
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT || status == SS1_ERROR_UNSUPPORTED);
    if (status != SS1_OK) return 0;
    size_t total = 0;
    for (const ss1::tensor_info &tensor : header.tensors) {
        size_t bytes;
        promise(ss1::checked_bytes(tensor.shape, ss1::file_dtype_bytes(tensor.dtype), bytes) && bytes == tensor.bytes);
        promise(tensor.begin >= 8 && tensor.begin <= size && tensor.bytes <= size - tensor.begin);
        promise(header.find(tensor.name) == &tensor);
        total += bytes;
    }
    promise(total <= size - 8);
    return 0;
}
