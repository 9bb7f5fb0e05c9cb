// SPDX-License-Identifier: Apache-2.0
// Structs that cross the API boundary. The caller's header may be older or newer than this library: struct_size is the
// size of the caller's struct. Inside the library every struct has this library's size.
//
//     take_struct   reads a caller's struct, check_array and element read an array of them
//     fill_struct   fills a caller's struct
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "base/status.hpp"

namespace ss1 {

// A struct's size in the first version of this ABI (tests/abi.json has it too: it never changes), and its macro.
struct struct_rule {
    size_t first_size;
    const char *init;
};
template <class T>
inline constexpr struct_rule rule_of = T::has_no_rule_here;  // the structs below have one, for others this is an error

#define SS1_END(type, field) (offsetof(type, field) + sizeof(type::field))
template <>
inline constexpr struct_rule rule_of<ss1_context_options> = {SS1_END(ss1_context_options, backend),
                                                             "SS1_CONTEXT_OPTIONS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_info> = {SS1_END(ss1_info, l3_bytes), "SS1_INFO_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_linear_desc> = {SS1_END(ss1_linear_desc, rank), "SS1_LINEAR_DESC_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_linear_weights> = {SS1_END(ss1_linear_weights, v), "SS1_LINEAR_WEIGHTS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_linear_args> = {SS1_END(ss1_linear_args, ldr), "SS1_LINEAR_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_layer_info> = {
    offsetof(ss1_layer_info, desc) + rule_of<ss1_linear_desc>.first_size, "SS1_LAYER_INFO_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_table> = {SS1_END(ss1_table, data), "SS1_TABLE_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_bags_args> = {SS1_END(ss1_bags_args, ldy), "SS1_BAGS_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_update_rows_args> = {SS1_END(ss1_update_rows_args, ldv),
                                                              "SS1_UPDATE_ROWS_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_model_options> = {SS1_END(ss1_model_options, map_tables),
                                                           "SS1_MODEL_OPTIONS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_memory_file> = {SS1_END(ss1_memory_file, bytes), "SS1_MEMORY_FILE_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_tensor> = {SS1_END(ss1_tensor, bytes), "SS1_TENSOR_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_model_layer_info> = {
    offsetof(ss1_model_layer_info, layer) + rule_of<ss1_layer_info>.first_size, "SS1_MODEL_LAYER_INFO_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_model_info> = {SS1_END(ss1_model_info, score_activation),
                                                        "SS1_MODEL_INFO_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_session_options> = {SS1_END(ss1_session_options, observe_user),
                                                             "SS1_SESSION_OPTIONS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_layer_rows> = {SS1_END(ss1_layer_rows, x), "SS1_LAYER_ROWS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_layer_statistics> = {SS1_END(ss1_layer_statistics, second_moment),
                                                              "SS1_LAYER_STATISTICS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_tokenizer_info> = {SS1_END(ss1_tokenizer_info, mask),
                                                            "SS1_TOKENIZER_INFO_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_text> = {SS1_END(ss1_text, bytes), "SS1_TEXT_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_tokenize_args> = {SS1_END(ss1_tokenize_args, ends), "SS1_TOKENIZE_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_encode_args> = {SS1_END(ss1_encode_args, scores), "SS1_ENCODE_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_convert_options> = {SS1_END(ss1_convert_options, form_user),
                                                             "SS1_CONVERT_OPTIONS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_fit_args> = {SS1_END(ss1_fit_args, error), "SS1_FIT_ARGS_INIT"};
template <>
inline constexpr struct_rule rule_of<ss1_converted_layer> = {
    offsetof(ss1_converted_layer, desc) + rule_of<ss1_linear_desc>.first_size, "SS1_CONVERTED_LAYER_INIT"};
#undef SS1_END

// No struct will grow beyond this: a larger struct_size comes from a struct that nobody initialised.
inline constexpr size_t max_struct_size = 4096;

template <class T>
bool is_plausible(uint32_t size) noexcept {
    return size >= rule_of<T>.first_size && size <= max_struct_size && size % alignof(T) == 0;
}

// Whether the fields that this library does not know are 0. A plausible size is required.
template <class T>
bool has_zero_tail(const T *given, uint32_t size) noexcept {
    const char *bytes = reinterpret_cast<const char *>(given);
    return size <= sizeof(T) || std::all_of(bytes + sizeof(T), bytes + size, [](char byte) { return byte == 0; });
}

template <class T>
ss1_status check_size(uint32_t size, const char *name) noexcept {
    SS1_CHECK(is_plausible<T>(size), SS1_ERROR_INVALID_ARGUMENT,
              "%s.struct_size=%u is not the size of this struct in any version (first %zu, here %zu): set it with %s",
              name, size, rule_of<T>.first_size, sizeof(T), rule_of<T>.init);
    return SS1_OK;
}

template <class T>
ss1_status check_struct(const T *given, const char *name) noexcept {
    const uint32_t size = given->struct_size;
    SS1_TRY(check_size<T>(size, name));
    SS1_CHECK(has_zero_tail(given, size), SS1_ERROR_INVALID_ARGUMENT,
              "%s.struct_size=%u, but ss1 " SS1_VERSION_STRING
              " knows only %zu bytes of it and the rest is not 0: the library is older than the header",
              name, size, sizeof(T));
    return SS1_OK;
}

// A checked struct of any version in this version's size: fields that it lacks are 0.
template <class T>
T known_part(const T *given) noexcept {
    T known{};
    std::memcpy(&known, given, std::min<size_t>(given->struct_size, sizeof(T)));
    known.struct_size = sizeof(T);
    return known;
}

// Checks a caller's struct and copies it to `taken`.
template <class T>
ss1_status take_struct(const T *given, const char *name, T &taken) noexcept {
    if (given->struct_size == sizeof(T)) [[likely]] {
        taken = *given;
        return SS1_OK;
    }
    SS1_TRY(check_struct(given, name));
    taken = known_part(given);
    return SS1_OK;
}

// The same for options: NULL stands for all defaults.
template <class T>
ss1_status take_options(const T *given, const char *name, T &taken) noexcept {
    if (given) return take_struct(given, name, taken);
    taken = {};
    taken.struct_size = sizeof(T);
    return SS1_OK;
}

// The address of element i of a caller's array: read or write only fields of the first version through it.
template <class T>
T *address_of(T *array, size_t i) noexcept {
    using byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return reinterpret_cast<T *>(reinterpret_cast<byte *>(array) + i * array->struct_size);
}

// Checks an array of a caller's structs, all of the first one's size.
template <class T>
ss1_status check_array(const T *array, size_t n, const char *name) noexcept {
    for (size_t i = 0; i < n; ++i) {
        const T *given = address_of(array, i);
        const uint32_t size = given->struct_size, first = array->struct_size;
        if (size == first && is_plausible<T>(size) && has_zero_tail(given, size)) [[likely]]
            continue;
        SS1_CHECK(size == first, SS1_ERROR_INVALID_ARGUMENT,
                  "%s[%zu].struct_size=%u is not the %u of %s[0]: set it with %s", name, i, size, first, name,
                  rule_of<T>.init);
        char element_name[64];
        std::snprintf(element_name, sizeof element_name, "%s[%zu]", name, i);
        return check_struct(given, element_name);
    }
    return SS1_OK;
}

// Element i of a checked array.
template <class T>
T element(const T *array, size_t i) noexcept {
    return known_part(address_of(array, i));
}

// Sets struct_size, and that of a nested last struct to the room that it has.
template <class T>
void set_size(T &value, uint32_t size) noexcept {
    value.struct_size = size;
}
inline void set_size(ss1_layer_info &value, uint32_t size) noexcept {
    value.struct_size = size;
    set_size(value.desc, size - static_cast<uint32_t>(offsetof(ss1_layer_info, desc)));
}
inline void set_size(ss1_model_layer_info &value, uint32_t size) noexcept {
    value.struct_size = size;
    set_size(value.layer, size - static_cast<uint32_t>(offsetof(ss1_model_layer_info, layer)));
}

// Copies `filled` to the caller's struct: at most struct_size bytes, and 0 for fields that this library does not know.
template <class T>
void give_struct(T filled, T *given) noexcept {
    const uint32_t size = given->struct_size;
    set_size(filled, size);
    std::memcpy(given, &filled, std::min<size_t>(size, sizeof(T)));
    if (size > sizeof(T)) std::memset(reinterpret_cast<char *>(given) + sizeof(T), 0, size - sizeof(T));
}

// Lets `fill(T &)` fill a caller's struct; nothing is written on error.
template <class T, class F>
ss1_status fill_struct(T *given, const char *name, F &&fill) {
    SS1_TRY(check_size<T>(given->struct_size, name));
    T filled{};
    filled.struct_size = sizeof(T);
    SS1_TRY(fill(filled));
    give_struct(filled, given);
    return SS1_OK;
}

}  // namespace ss1
