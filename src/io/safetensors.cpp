// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "base/checked.hpp"
#include "base/status.hpp"
#include "io/foreign.hpp"
#include "io/json.hpp"
#include "io/json_writer.hpp"

namespace ss1 {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor data is little-endian and not converted");

constexpr size_t length_bytes = 8;
constexpr size_t max_header_bytes = 100'000'000;
constexpr size_t max_rank = 64;

struct dtype_row {
    const char *name;
    size_t bytes;
};
constexpr std::array<dtype_row, 13> dtypes{{{"BOOL", 1},
                                            {"U8", 1},
                                            {"I8", 1},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I32", 4},
                                            {"U32", 4},
                                            {"F32", 4},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8}}};
// The format's other types: such a file is valid but unsupported.
constexpr std::array<std::string_view, 9> foreign_dtypes{"F4",      "F6_E2M3",     "F6_E3M2",     "F8_E5M2", "F8_E4M3",
                                                         "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

// The tensor or file named in a message.
struct place {
    const char *label;
    std::string_view name;
    std::string text() const { return std::string(label) + ": tensor '" + printable(name) + "'"; }
};

ss1_status parse_length(std::span<const std::byte> front, size_t file_bytes, const char *label, size_t &n) {
    SS1_CHECK(file_bytes >= length_bytes && front.size() >= length_bytes, SS1_ERROR_FORMAT,
              "%s: has %zu bytes, a safetensors file has at least %zu", label, file_bytes, length_bytes);
    uint64_t length = 0;
    for (size_t i = 0; i < length_bytes; ++i) length |= std::to_integer<uint64_t>(front[i]) << (8 * i);
    SS1_CHECK(length <= max_header_bytes, SS1_ERROR_FORMAT, "%s: header length %llu is above the limit of %zu", label,
              static_cast<unsigned long long>(length), max_header_bytes);
    SS1_CHECK(length <= file_bytes - length_bytes, SS1_ERROR_FORMAT,
              "%s: header length %llu is past the end of the file (%zu)", label,
              static_cast<unsigned long long>(length), file_bytes);
    n = static_cast<size_t>(length);
    return SS1_OK;
}

ss1_status parse_dtype(const std::string &text, const std::string &where, file_dtype &out) {
    for (size_t i = 0; i < dtypes.size(); ++i) {
        if (text == dtypes[i].name) {
            out = static_cast<file_dtype>(i);
            return SS1_OK;
        }
    }
    const bool foreign = std::find(foreign_dtypes.begin(), foreign_dtypes.end(), text) != foreign_dtypes.end();
    SS1_CHECK(!foreign, SS1_ERROR_UNSUPPORTED, "%s: dtype %s is not supported", where.c_str(), text.c_str());
    return fail(SS1_ERROR_FORMAT, "%s: '%s' is not a safetensors dtype", where.c_str(), printable(text).c_str());
}

ss1_status parse_sizes(const json &entry, const std::string &where, const char *name, std::vector<size_t> &out) {
    const json *list;
    SS1_TRY(json_member(entry, where, name, key::required, list));
    SS1_CHECK(list->is_array() && list->size() <= max_rank, SS1_ERROR_FORMAT,
              "%s: %s must be an array of at most %zu numbers", where.c_str(), name, max_rank);
    out.reserve(list->size());
    for (const json &value : *list) {
        size_t n = 0;
        SS1_TRY(json_size_value(value, where + ": " + name, 0, SIZE_MAX, n));
        out.push_back(n);
    }
    return SS1_OK;
}

// The bytes of the tensors start at `data` in the file. check_tiling() checks that they end inside the file.
ss1_status parse_tensor(const json &entry, const std::string &where, size_t data, tensor_info &out) {
    const std::string_view name = entry.key();
    SS1_CHECK(is_name(name), SS1_ERROR_FORMAT, "%s: a name has 1 to 512 bytes and no control characters",
              where.c_str());
    SS1_TRY(json_is_object(entry, where));
    SS1_TRY(json_only_keys(entry, where, {"dtype", "shape", "data_offsets"}));
    std::string dtype;
    SS1_TRY(json_string(entry, where, "dtype", key::required, dtype));
    SS1_TRY(parse_dtype(dtype, where, out.dtype));
    SS1_TRY(parse_sizes(entry, where, "shape", out.shape));
    std::vector<size_t> offsets;
    SS1_TRY(parse_sizes(entry, where, "data_offsets", offsets));
    SS1_CHECK(offsets.size() == 2, SS1_ERROR_FORMAT, "%s: data_offsets has %zu numbers, must have 2", where.c_str(),
              offsets.size());
    SS1_CHECK(offsets[0] <= offsets[1], SS1_ERROR_FORMAT, "%s: data_offsets [%zu, %zu]: begin is above end",
              where.c_str(), offsets[0], offsets[1]);
    size_t bytes;
    SS1_CHECK(checked_bytes(out.shape, file_dtype_bytes(out.dtype), bytes), SS1_ERROR_FORMAT,
              "%s: the size of shape %s overflows", where.c_str(), printable(shape_text(out.shape)).c_str());
    SS1_CHECK(bytes == offsets[1] - offsets[0], SS1_ERROR_FORMAT,
              "%s: %s of shape %s has %zu bytes, data_offsets have %zu", where.c_str(), dtype.c_str(),
              printable(shape_text(out.shape)).c_str(), bytes, offsets[1] - offsets[0]);
    SS1_CHECK(checked_add(offsets[0], data, out.begin), SS1_ERROR_FORMAT, "%s: data_offsets overflow", where.c_str());
    out.name = name;
    out.bytes = bytes;
    return SS1_OK;
}

ss1_status parse_metadata(const json &object, const char *label, std::map<std::string, std::string> &out) {
    const std::string where = std::string(label) + ": __metadata__";
    SS1_TRY(json_is_object(object, where));
    for (const json &value : object) {
        SS1_CHECK(value.is_string(), SS1_ERROR_FORMAT, "%s: '%s' is of type %s, must be a string", where.c_str(),
                  printable(value.key()).c_str(), value.type_name());
        out.emplace(value.key(), value.string());
    }
    return SS1_OK;
}

// Checks that the tensors fill [data, file_bytes) without holes and overlaps: no byte is hidden or used twice.
ss1_status check_tiling(const std::vector<tensor_info> &tensors, const char *label, size_t data, size_t file_bytes) {
    std::vector<const tensor_info *> in_file;
    in_file.reserve(tensors.size());
    for (const tensor_info &tensor : tensors) in_file.push_back(&tensor);
    std::sort(in_file.begin(), in_file.end(), [](const tensor_info *a, const tensor_info *b) {
        return a->begin != b->begin ? a->begin < b->begin : a->bytes < b->bytes;
    });
    size_t end = data;
    for (const tensor_info *tensor : in_file) {
        SS1_CHECK(tensor->begin == end, SS1_ERROR_FORMAT,
                  "%s: begins at data offset %zu, %s the tensor before it ends at %zu",
                  (place{label, tensor->name}.text()).c_str(), tensor->begin - data,
                  tensor->begin > end ? "leaving a hole:" : "overlapping:", end - data);
        SS1_CHECK(checked_add(end, tensor->bytes, end) && end <= file_bytes, SS1_ERROR_FORMAT,
                  "%s: its %zu bytes end past the end of the file (%zu)", (place{label, tensor->name}.text()).c_str(),
                  tensor->bytes, file_bytes);
    }
    SS1_CHECK(end == file_bytes, SS1_ERROR_FORMAT, "%s: the tensors end at byte %zu, the file at %zu", label, end,
              file_bytes);
    return SS1_OK;
}

// The JSON of a header that fills the bytes behind the length.
ss1_status parse_json(std::string_view text, const char *label, json_document &out) {
    const size_t last = text.find_last_not_of(' ');
    SS1_CHECK(last != text.npos && text.front() == '{' && text[last] == '}', SS1_ERROR_FORMAT,
              "%s: the header must start with '{' and end with '}' and spaces", label);
    return json_parse(text, label, {.bytes = max_header_bytes}, out);
}

// The tensors of a header; `data`: where their bytes start. Members of an object are sorted by key, so these are by
// name.
ss1_status parse_header(const json &root, const char *label, size_t data, size_t file_bytes, safetensors_header &out) {
    safetensors_header header;
    header.tensors.reserve(root.size());
    for (const json &entry : root) {
        if (entry.key() == "__metadata__") {
            SS1_TRY(parse_metadata(entry, label, header.metadata));
            continue;
        }
        // Most tensors need no message: the text that names one in it is made when there is one.
        if (parse_tensor(entry, "", data, header.tensors.emplace_back()) != SS1_OK) {
            header.tensors.back() = {};
            SS1_TRY(parse_tensor(entry, place{label, entry.key()}.text(), data, header.tensors.back()));
        }
    }
    SS1_TRY(check_tiling(header.tensors, label, data, file_bytes));
    out = std::move(header);
    return SS1_OK;
}

void write_entry(json_writer &out, const tensor_to_write &tensor, size_t begin, size_t end) {
    out.key(tensor.name).begin('{');
    out.key("dtype").string(file_dtype_name(tensor.dtype));
    out.key("shape").begin('[');
    for (const size_t n : tensor.shape) out.number(n);
    out.end(']');
    out.key("data_offsets").begin('[');
    out.number(begin);
    out.number(end);
    out.end(']');
    out.end('}');
}

}  // namespace

const char *file_dtype_name(file_dtype dtype) noexcept {
    return dtypes[static_cast<size_t>(dtype)].name;
}
size_t file_dtype_bytes(file_dtype dtype) noexcept {
    return dtypes[static_cast<size_t>(dtype)].bytes;
}

std::string shape_text(std::span<const size_t> shape) {
    std::string text = "[";
    for (const size_t n : shape) {
        if (text.size() > 1) text += ", ";
        text += std::to_string(n);
    }
    return text + "]";
}

const tensor_info *safetensors_header::find(std::string_view name) const noexcept {
    const auto found = std::lower_bound(tensors.begin(), tensors.end(), name,
                                        [](const tensor_info &a, std::string_view b) { return a.name < b; });
    return found != tensors.end() && found->name == name ? &*found : nullptr;
}

ss1_status safetensors_parse(std::span<const std::byte> front, size_t file_bytes, const char *label,
                             safetensors_header &out) {
    size_t n = 0;
    SS1_TRY(parse_length(front, file_bytes, label, n));
    SS1_CHECK(n <= front.size() - length_bytes, SS1_ERROR_INVALID_ARGUMENT,
              "%s: %zu bytes of a header of %zu were given", label, front.size() - length_bytes, n);
    json_document document;
    SS1_TRY(parse_json({reinterpret_cast<const char *>(front.data()) + length_bytes, n}, label, document));
    return parse_header(document.root(), label, length_bytes + n, file_bytes, out);
}

ss1_status safetensors_open(const std::string &path, safetensors_file &out) {
    safetensors_file opened;
    SS1_TRY(file_open(path, opened.file));
    std::vector<std::byte> front(std::min(opened.file.bytes, foreign_bytes));
    SS1_TRY(file_read(opened.file, 0, front));
    SS1_TRY(file_refuse_foreign(path, front));
    size_t n = 0;
    SS1_TRY(parse_length(front, opened.file.bytes, path.c_str(), n));
    json_document document;
    {  // the text is not kept beside the tensors: a header may have 100 MB
        std::string text(n, '\0');
        SS1_TRY(file_read(opened.file, length_bytes, std::as_writable_bytes(std::span(text))));
        SS1_TRY(parse_json(text, path.c_str(), document));
    }
    SS1_TRY(parse_header(document.root(), path.c_str(), length_bytes + n, opened.file.bytes, opened.header));
    out = std::move(opened);
    return SS1_OK;
}

ss1_status safetensors_read(const safetensors_file &from, const tensor_info &tensor, size_t first,
                            std::span<std::byte> out) {
    SS1_CHECK(first <= tensor.bytes && out.size() <= tensor.bytes - first, SS1_ERROR_INTERNAL,
              "%s: read of %zu bytes at %zu of %zu", printable(tensor.name).c_str(), out.size(), first, tensor.bytes);
    return file_read(from.file, tensor.begin + first, out);
}

ss1_status safetensors_write(const std::string &path, std::vector<tensor_to_write> tensors,
                             const std::map<std::string, std::string> &metadata) {
    std::sort(tensors.begin(), tensors.end(), [](const tensor_to_write &a, const tensor_to_write &b) {
        const size_t wide_a = file_dtype_bytes(a.dtype), wide_b = file_dtype_bytes(b.dtype);
        return wide_a != wide_b ? wide_a > wide_b : a.name < b.name;
    });
    json_writer header_text;
    header_text.begin('{');
    if (!metadata.empty()) {
        header_text.key("__metadata__").begin('{');
        for (const auto &[name, value] : metadata) header_text.key(name).string(value);
        header_text.end('}');
    }
    std::vector<size_t> ends;
    size_t end = 0;
    for (const tensor_to_write &tensor : tensors) {
        size_t bytes, begin = end;
        SS1_CHECK(checked_bytes(tensor.shape, file_dtype_bytes(tensor.dtype), bytes) && checked_add(begin, bytes, end),
                  SS1_ERROR_FORMAT, "%s: the size of tensor '%s' overflows", path.c_str(),
                  printable(tensor.name).c_str());
        write_entry(header_text, tensor, begin, end);
        ends.push_back(end);
    }
    header_text.end('}');
    std::string text = header_text.take();
    text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');
    std::string front(length_bytes, '\0');
    for (size_t i = 0; i < length_bytes; ++i) front[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i) & 0xff);
    front += text;
    // The reader checks the header before it is written: names, duplicates and sizes need no second set of rules.
    size_t file_bytes;
    SS1_CHECK(checked_add(front.size(), end, file_bytes), SS1_ERROR_FORMAT, "%s: the size of the file overflows",
              path.c_str());
    safetensors_header header;
    SS1_TRY(safetensors_parse(std::as_bytes(std::span(front)), file_bytes, path.c_str(), header));

    output_file file;
    SS1_TRY(file_create(path, file));
    SS1_TRY(file_write(file, std::as_bytes(std::span(front))));
    for (size_t i = 0; i < tensors.size(); ++i) {
        SS1_TRY(tensors[i].write(file));
        SS1_CHECK(file.bytes == front.size() + ends[i], SS1_ERROR_INTERNAL,
                  "%s: tensor '%s' ends at byte %zu, not at %zu", path.c_str(), printable(tensors[i].name).c_str(),
                  file.bytes, front.size() + ends[i]);
    }
    return file_commit(file);
}

}  // namespace ss1
