// SPDX-License-Identifier: Apache-2.0
// The part of sessions that all families share: their bounds, their one block of memory, and the tensors of a run.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "base/check_values.hpp"
#include "base/checked.hpp"
#include "base/context.hpp"
#include "base/run_control.hpp"
#include "base/status.hpp"
#include "op/split.hpp"

namespace ss1 {

struct session_bounds {
    size_t max_batch, max_tokens;
    const layer_observer *observer = nullptr;
};

// Hands out the parts of one block of memory, each at a multiple of 64 bytes. Without a block it only counts.
class carver {
  public:
    explicit carver(void *block = nullptr) noexcept : block_(static_cast<char *>(block)) {}

    // [rows, columns] elements of T.
    template <class T>
    T *take(size_t rows, size_t columns) noexcept {
        const size_t begin = used_, shape[] = {rows, columns};
        size_t bytes = 0;
        fits_ = fits_ && checked_bytes(shape, sizeof(T), bytes) && checked_add(bytes, 63, bytes) &&
                checked_add(begin, bytes & ~size_t{63}, used_);
        return block_ ? reinterpret_cast<T *>(block_ + begin) : nullptr;
    }

    size_t bytes() const noexcept { return used_; }
    bool fits() const noexcept { return fits_; }  // false once a size overflowed

  private:
    char *block_;
    size_t used_ = 0;
    bool fits_ = true;
};

// An input or output as ss1_model_input() shows it: shape -1 where it varies.
struct tensor_slot {
    ss1_tensor tensor;
    bool required;
};

tensor_slot make_slot(const char *name, ss1_dtype dtype, std::initializer_list<size_t> shape, bool required);
inline constexpr size_t varies = SIZE_MAX;

// The given tensors in the order of the slots, NULL where none was given. No family has more than seven of a kind.
inline constexpr size_t max_slots = 7;
template <class T>
using tensor_list = std::array<T *, max_slots>;

// The values of an i64 tensor; NULL if none was given.
inline const int64_t *ids_of(const ss1_tensor *tensor) noexcept {
    return tensor ? static_cast<const int64_t *>(tensor->data) : nullptr;
}

// Checks names, dtypes, ranks, fixed sizes, bytes, data and its alignment.
ss1_status match_inputs(std::span<const tensor_slot> slots, std::span<const ss1_tensor> given,
                        tensor_list<const ss1_tensor> &out);
ss1_status match_outputs(std::span<const tensor_slot> slots, std::span<ss1_tensor> given, tensor_list<ss1_tensor> &out);

// The sizes of a run: B and T (1 for DLRM) replace the sizes that vary, in this order.
struct run_size {
    size_t batch, tokens;
    bool empty() const noexcept { return batch == 0 || tokens == 0; }
};

// Outputs by slot: where each result lies, and which are wanted (NULL: not wanted, the family may skip it).
struct run_outputs {
    tensor_list<ss1_tensor> wanted;
    tensor_list<const float> results;
};

// One run of a session, as a family sees it.
struct model_run {
    const ss1_context &context;
    const layer_observer *observer;
    const run_control &control;
    tensor_list<const ss1_tensor> inputs;  // in the order of the slots
    run_size size;
    double *stage_seconds;  // [stages]: the run adds its time; NULL: nobody measures
    run_outputs outputs;

    team all() const noexcept { return {context, observer}; }
};

// Checks that each output given has room, and shares none with another one or with an input.
ss1_status check_room(std::span<const tensor_slot> slots, const tensor_list<ss1_tensor> &outputs, const run_size &size,
                      std::span<const tensor_slot> input_slots, const tensor_list<const ss1_tensor> &inputs);
// Writes shapes and data of those wanted. An empty run gives zeros where an output is not empty (T = 0).
void write_outputs(std::span<const tensor_slot> slots, const run_outputs &outputs, const run_size &size) noexcept;

// Checks and sets the sizes of input_ids [B, T], which all other inputs of a model of tokens share.
ss1_status check_token_sizes(const session_bounds &bounds, const tensor_list<const ss1_tensor> &inputs, run_size &size);

}  // namespace ss1
