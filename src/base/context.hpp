// SPDX-License-Identifier: Apache-2.0
// The context holds the choice of threads, memory, instruction sets and backend. All layers made from it share it.
#pragma once
#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/arena.hpp"
#include "base/buffer.hpp"
#include "base/cpu.hpp"
#include "base/float_mode.hpp"
#include "base/thread_pool.hpp"
#include "kernels.hpp"
#include "ss1/backend.h"

namespace ss1 {

// Scratch for callers that pass none. Each slot holds a block and is claimed by one atomic exchange: no lock, and no
// allocation once a block of the needed size exists. With more than 16 concurrent runs, the others allocate and free.
class scratch_pool {
  public:
    ~scratch_pool();
    buffer *take() noexcept;  // NULL only if out of memory; may be smaller than needed
    void give(buffer *block) noexcept;

  private:
    std::array<std::atomic<buffer *>, 16> slots_{};
};

struct info_text {
    std::string name, reason;
    bool used;
};

}  // namespace ss1

struct ss1_context {
    std::atomic<size_t> references{1};
    ss1::allocator memory;
    uint32_t num_threads = 1;
    ss1_parallel_for_fn parallel_for = nullptr;
    void *parallel_for_user = nullptr;
    std::optional<ss1::thread_pool> pool;  // where the caller has no parallel_for
    std::atomic<bool> warned_of_threads{false};
    ss1_log_fn log = nullptr;
    void *log_user = nullptr;
    ss1_log_level log_level = SS1_LOG_WARNING;
    ss1::isa::mask usable = ss1::isa::none;
    const ss1_backend *backend = nullptr;
    int32_t device = 0;
    ss1::cache_sizes caches{};
    mutable ss1::scratch_pool scratch;
    mutable ss1::arena weights;

    // The lists that ss1_get_info() returns; the items point into the texts.
    std::string threads_reason, cpu_name;
    std::vector<ss1::info_text> isa_texts, backend_texts, kernel_texts;
    std::vector<ss1_info_item> isa_items, backend_items, kernel_items;
};

namespace ss1 {

// A counted reference to a context. Layers and models hold one, so that the caller may destroy the context first.
class context_ref {
  public:
    context_ref() = default;
    explicit context_ref(ss1_context *context) noexcept : context_(context) { context_->references.fetch_add(1); }
    context_ref(const context_ref &other) noexcept : context_(other.context_) {
        if (context_) context_->references.fetch_add(1);
    }
    context_ref &operator=(context_ref other) noexcept {
        std::swap(context_, other.context_);
        return *this;
    }
    ~context_ref();
    ss1_context &operator*() const noexcept { return *context_; }
    ss1_context *operator->() const noexcept { return context_; }

  private:
    ss1_context *context_ = nullptr;
};

// Creates a context without a backend; backend_use() sets it.
ss1_status context_create(const ss1_context_options &options, ss1_context **context);
void context_release(ss1_context *context) noexcept;
void context_info(const ss1_context &context, ss1_info &info) noexcept;
// Makes items that point into `texts`. The texts do not move when their vector is moved.
std::vector<ss1_info_item> items_of(const std::vector<info_text> &texts);

[[gnu::format(printf, 3, 4)]] void log(const ss1_context &context, ss1_log_level level, const char *format,
                                       ...) noexcept;

// The allocator for `bytes` of packed weights: the caller's if there is one.
allocator weight_memory(const ss1_context &context, size_t bytes) noexcept;

void note_executor_failure() noexcept;  // base/status.hpp

// Runs f(i) for i in [0, n) on the context's executor. A single task runs on the calling thread, without a parallel
// region.
template <class F>
void parallel(const ss1_context &context, size_t n, F &&f) {
    if (n == 1) {
        const float_mode mode;
        f(size_t{0});
    } else if (n) {
        const auto task = [](void *arg, size_t i) {
            const float_mode mode;
            (*static_cast<std::remove_reference_t<F> *>(arg))(i);
        };
        try {
            context.parallel_for(context.parallel_for_user, n, task, const_cast<void *>(static_cast<const void *>(&f)));
        } catch (...) {
            note_executor_failure();
        }
    }
}

}  // namespace ss1
