// SPDX-License-Identifier: Apache-2.0
#include "model/session.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/span.hpp"

namespace ss1 {
namespace {

size_t element_bytes(ss1_dtype dtype) noexcept {
    return dtype == SS1_DTYPE_I64 ? sizeof(int64_t) : sizeof(float);
}

std::string names_of(std::span<const tensor_slot> slots) {
    std::string names;
    for (const tensor_slot &slot : slots) names += (names.empty() ? "'" : ", '") + std::string(slot.tensor.name) + "'";
    return names;
}

// Puts each given tensor into its slot. `what` is "inputs" or "outputs".
template <class T>
ss1_status match_names(const char *what, std::span<const tensor_slot> slots, std::span<T> given, tensor_list<T> &out) {
    out = {};
    for (size_t i = 0; i < given.size(); ++i) {
        const char *name = given[i].name;
        SS1_CHECK(name, SS1_ERROR_INVALID_ARGUMENT, "%s[%zu].name is NULL", what, i);
        size_t s = 0;
        while (s < slots.size() && std::strcmp(slots[s].tensor.name, name)) ++s;
        SS1_CHECK(s < slots.size(), SS1_ERROR_INVALID_ARGUMENT, "%s[%zu].name='%.100s' is not one of %s", what, i, name,
                  names_of(slots).c_str());
        SS1_CHECK(!out[s], SS1_ERROR_INVALID_ARGUMENT, "%s[%zu].name='%s' is given twice", what, i, name);
        out[s] = &given[i];
    }
    return SS1_OK;
}

ss1_status check_data(const char *what, const ss1_tensor &slot, const ss1_tensor &given) {
    const bool dtype_fits =
        given.dtype == slot.dtype || (slot.dtype == SS1_DTYPE_F32 && given.dtype == SS1_DTYPE_DEFAULT);
    SS1_CHECK(dtype_fits, SS1_ERROR_INVALID_ARGUMENT, "%s '%s': dtype=%d is not %s=%d", what, slot.name,
              static_cast<int>(given.dtype), slot.dtype == SS1_DTYPE_I64 ? "SS1_DTYPE_I64" : "SS1_DTYPE_F32",
              static_cast<int>(slot.dtype));
    SS1_CHECK(given.data || given.bytes == 0, SS1_ERROR_INVALID_ARGUMENT, "%s '%s': data is NULL, but bytes=%zu", what,
              slot.name, given.bytes);
    SS1_CHECK(reinterpret_cast<uintptr_t>(given.data) % element_bytes(slot.dtype) == 0, SS1_ERROR_INVALID_ARGUMENT,
              "%s '%s': data=%p is not aligned to %zu bytes", what, slot.name, given.data, element_bytes(slot.dtype));
    return SS1_OK;
}

ss1_status check_shape(const ss1_tensor &slot, const ss1_tensor &given) {
    SS1_CHECK(given.rank == slot.rank, SS1_ERROR_INVALID_ARGUMENT, "input '%s': rank=%u is not %u", slot.name,
              given.rank, slot.rank);
    size_t sizes[4];
    for (uint32_t i = 0; i < slot.rank; ++i) {
        const long long size = given.shape[i], fixed = slot.shape[i];
        SS1_CHECK(size >= 0, SS1_ERROR_INVALID_ARGUMENT, "input '%s': shape[%u]=%lld is negative", slot.name, i, size);
        SS1_CHECK(fixed < 0 || size == fixed, SS1_ERROR_INVALID_ARGUMENT, "input '%s': shape[%u]=%lld is not %lld",
                  slot.name, i, size, fixed);
        sizes[i] = static_cast<size_t>(size);
    }
    size_t bytes = 0;
    SS1_CHECK(checked_bytes({sizes, slot.rank}, element_bytes(slot.dtype), bytes), SS1_ERROR_INVALID_ARGUMENT,
              "input '%s': the size of its shape overflows", slot.name);
    SS1_CHECK(given.bytes == bytes, SS1_ERROR_INVALID_ARGUMENT, "input '%s': bytes=%zu is not the %zu of its shape",
              slot.name, given.bytes, bytes);
    return SS1_OK;
}

memory_span span_of(const void *data, size_t bytes) noexcept {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    return {begin, begin + bytes};
}

// The slot's shape with B and T in the places that vary.
ss1_tensor sized(const ss1_tensor &slot, const run_size &size) noexcept {
    ss1_tensor tensor = slot;
    const size_t by_order[] = {size.batch, size.tokens};
    tensor.bytes = element_bytes(slot.dtype);
    for (uint32_t i = 0, n = 0; i < slot.rank; ++i) {
        if (slot.shape[i] < 0) tensor.shape[i] = static_cast<int64_t>(by_order[n++]);
        tensor.bytes *= static_cast<size_t>(tensor.shape[i]);
    }
    return tensor;
}

}  // namespace

tensor_slot make_slot(const char *name, ss1_dtype dtype, std::initializer_list<size_t> shape, bool required) {
    tensor_slot slot = {{sizeof(ss1_tensor), name, dtype, static_cast<uint32_t>(shape.size()), {}, nullptr, 0},
                        required};
    for (size_t i = 0; const size_t size : shape)
        slot.tensor.shape[i++] = size == varies ? -1 : static_cast<int64_t>(size);
    return slot;
}

ss1_status check_token_sizes(const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs,
                             run_size &size) {
    const int64_t *shape = inputs[0]->shape;
    size = {static_cast<size_t>(shape[0]), static_cast<size_t>(shape[1])};
    SS1_CHECK(size.batch <= bounds.max_batch, SS1_ERROR_INVALID_ARGUMENT,
              "input 'input_ids': shape[0]=%zu is above the session's max_batch=%zu", size.batch, bounds.max_batch);
    SS1_CHECK(size.tokens <= bounds.max_tokens, SS1_ERROR_INVALID_ARGUMENT,
              "input 'input_ids': shape[1]=%zu is above the session's max_tokens=%zu", size.tokens, bounds.max_tokens);
    for (const ss1_tensor *given : std::span(inputs).subspan(1)) {
        for (uint32_t i = 0; given && i < given->rank; ++i)
            SS1_CHECK(given->shape[i] == shape[i], SS1_ERROR_INVALID_ARGUMENT,
                      "input '%s': shape[%u]=%lld is not the %lld of 'input_ids'", given->name, i,
                      static_cast<long long>(given->shape[i]), static_cast<long long>(shape[i]));
    }
    return SS1_OK;
}

ss1_status match_inputs(std::span<const tensor_slot> slots, std::span<const ss1_tensor> given,
                        tensor_list<const ss1_tensor> &out) {
    SS1_TRY(match_names("inputs", slots, given, out));
    for (size_t s = 0; s < slots.size(); ++s) {
        const ss1_tensor &slot = slots[s].tensor;
        SS1_CHECK(out[s] || !slots[s].required, SS1_ERROR_INVALID_ARGUMENT, "input '%s' is missing", slot.name);
        if (!out[s]) continue;
        SS1_TRY(check_data("input", slot, *out[s]));
        SS1_TRY(check_shape(slot, *out[s]));
    }
    return SS1_OK;
}

ss1_status match_outputs(std::span<const tensor_slot> slots, std::span<ss1_tensor> given,
                         tensor_list<ss1_tensor> &out) {
    SS1_TRY(match_names("outputs", slots, given, out));
    for (size_t s = 0; s < slots.size(); ++s)
        if (out[s]) SS1_TRY(check_data("output", slots[s].tensor, *out[s]));
    return SS1_OK;
}

ss1_status check_room(std::span<const tensor_slot> slots, const tensor_list<ss1_tensor> &outputs, const run_size &size,
                      std::span<const tensor_slot> input_slots, const tensor_list<const ss1_tensor> &inputs) {
    memory_span written[max_slots]{};
    for (size_t s = 0; s < slots.size(); ++s) {
        if (!outputs[s]) continue;
        const char *name = slots[s].tensor.name;
        const size_t needed = sized(slots[s].tensor, size).bytes;
        SS1_CHECK(outputs[s]->bytes >= needed, SS1_ERROR_INVALID_ARGUMENT,
                  "output '%s': bytes=%zu is below the %zu of this run", name, outputs[s]->bytes, needed);
        if (needed == 0) continue;
        written[s] = span_of(outputs[s]->data, needed);
        for (size_t other = 0; other < s; ++other)
            if (written[other].end) SS1_TRY(check_apart(name, written[s], slots[other].tensor.name, written[other]));
        for (size_t i = 0; i < input_slots.size(); ++i)
            if (inputs[i] && inputs[i]->bytes)
                SS1_TRY(check_apart(name, written[s], input_slots[i].tensor.name,
                                    span_of(inputs[i]->data, inputs[i]->bytes)));
    }
    return SS1_OK;
}

void write_outputs(std::span<const tensor_slot> slots, const run_outputs &outputs, const run_size &size) noexcept {
    for (size_t s = 0; s < slots.size(); ++s) {
        ss1_tensor *to = outputs.wanted[s];
        if (!to) continue;
        const ss1_tensor tensor = sized(slots[s].tensor, size);
        to->rank = tensor.rank;
        std::copy_n(tensor.shape, tensor.rank, to->shape);
        if (tensor.bytes == 0) continue;
        if (size.empty()) {
            std::memset(to->data, 0, tensor.bytes);
        } else if (outputs.results[s]) {  // else a backend has written it
            std::memcpy(to->data, outputs.results[s], tensor.bytes);
        }
    }
}

}  // namespace ss1
