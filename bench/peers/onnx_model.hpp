// SPDX-License-Identifier: Apache-2.0
// A model of one node in ONNX's file format, written by hand: protocol buffers are tags, lengths and bytes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace onnx_model {

enum element : uint64_t { f32 = 1, u8 = 2, s8 = 3 };

inline std::string varint(uint64_t value) {
    std::string bytes;
    for (; value >= 128; value >>= 7) bytes += static_cast<char>(value % 128 + 128);
    return bytes += static_cast<char>(value);
}

// The fields of a message: number and value; wire type 0 is a whole number, 2 is bytes.
inline std::string number(uint64_t field, uint64_t value) {
    return varint(field << 3) + varint(value);
}

inline std::string bytes(uint64_t field, const std::string &value) {
    return varint(field << 3 | 2) + varint(value.size()) + value;
}

struct constant {
    std::string name;
    element type;
    std::vector<size_t> shape;
    const void *data;
    size_t data_bytes;
};

inline std::string tensor(const constant &c) {
    std::string message;
    for (const size_t size : c.shape) message += number(1, size);  // dims
    message += number(2, c.type) + bytes(8, c.name);
    return message + bytes(9, std::string(static_cast<const char *>(c.data), c.data_bytes));  // raw_data
}

// A graph input or output of two dimensions.
inline std::string value(const std::string &name, element type, size_t rows, size_t columns) {
    const std::string shape = bytes(1, number(1, rows)) + bytes(1, number(1, columns));
    return bytes(1, name) + bytes(2, bytes(1, number(1, type) + bytes(2, shape)));  // type: tensor_type
}

struct node {
    std::string operation, domain;
    std::vector<std::string> inputs;                           // "" stands for one that is left out
    std::vector<std::pair<std::string, uint64_t>> attributes;  // whole numbers
};

inline std::string encode(const node &n, const std::string &output) {
    std::string message;
    for (const std::string &input : n.inputs) message += bytes(1, input);
    message += bytes(2, output) + bytes(4, n.operation) + bytes(7, n.domain);
    for (const auto &[name, integer] : n.attributes)
        message += bytes(5, bytes(1, name) + number(3, integer) + number(20, 2));  // i; type INT
    return message;
}

// x[m,k] to y[m,n] through one node whose other inputs are constants.
inline std::string encode(const node &n, const std::vector<constant> &constants, element x_type, size_t m, size_t k,
                          size_t columns) {
    std::string graph = bytes(1, encode(n, "y")) + bytes(2, "layer");
    for (const constant &c : constants) graph += bytes(5, tensor(c));
    graph += bytes(11, value("x", x_type, m, k)) + bytes(12, value("y", f32, m, columns));
    const std::string opsets =
        bytes(8, bytes(1, "") + number(2, 13)) + bytes(8, bytes(1, "com.microsoft") + number(2, 1));
    return number(1, 8) + bytes(7, graph) + opsets;  // IR version 8
}

}  // namespace onnx_model
