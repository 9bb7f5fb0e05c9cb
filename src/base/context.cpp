// SPDX-License-Identifier: Apache-2.0
#include "base/context.hpp"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/amx.hpp"
#include "base/cpu.hpp"
#include "base/status.hpp"

namespace ss1 {
namespace {

constexpr uint32_t max_threads = 4096;

void run_on_pool(void *user, size_t n, void (*task)(void *, size_t), void *arg) {
    auto &context = *static_cast<ss1_context *>(user);
    context.pool->run(n, task, arg);
    if (context.pool->lacks_threads() && !context.warned_of_threads.exchange(true, std::memory_order_relaxed))
        log(context, SS1_LOG_WARNING, "the system refuses to start threads: runs use those that there are");
}

// secure_getenv() returns NULL in a program with raised privileges, which must not obey its environment.
const char *environment(const char *name) noexcept {
    const char *value = secure_getenv(name);
    return value && *value ? value : nullptr;
}

ss1_status read_number(const char *name, unsigned long limit, unsigned long &value) {
    const char *text = environment(name);
    if (!text) return SS1_OK;
    char *end = nullptr;
    const unsigned long parsed = std::strtoul(text, &end, 10);
    SS1_CHECK(*end == 0 && *text != '-' && parsed >= 1 && parsed <= limit, SS1_ERROR_INVALID_ARGUMENT,
              "the environment variable %s=%s is not a whole number from 1 to %lu", name, text, limit);
    value = parsed;
    return SS1_OK;
}

ss1_status choose_threads(const ss1_context_options &options, ss1_context &context) {
    SS1_CHECK(options.num_threads <= max_threads, SS1_ERROR_INVALID_ARGUMENT, "num_threads=%u is above %u",
              options.num_threads, max_threads);
    unsigned long from_environment = 0;
    if (!options.num_threads) SS1_TRY(read_number("SS1_NUM_THREADS", max_threads, from_environment));
    const cpu_budget budget = cpu_usable_threads();
    if (options.num_threads) {
        context.num_threads = options.num_threads;
        context.threads_reason = "asked for by num_threads (" + budget.reason + ")";
    } else if (from_environment) {
        context.num_threads = static_cast<uint32_t>(from_environment);
        context.threads_reason = "asked for by SS1_NUM_THREADS (" + budget.reason + ")";
    } else {
        context.num_threads = budget.threads;
        context.threads_reason = budget.reason;
    }
    context.parallel_for = options.parallel_for;
    context.parallel_for_user = options.parallel_for_user;
    if (context.parallel_for) return SS1_OK;
    context.pool.emplace(context.num_threads);
    context.parallel_for = run_on_pool;
    context.parallel_for_user = &context;
    return SS1_OK;
}

std::string level_names() {
    std::string names;
    for (const isa_level &level : isa_levels()) names += (names.empty() ? "" : ", ") + std::string(level.name);
    return names;
}

// The instruction sets that at least one kernel of this build needs.
isa::mask needed_isas() {
    isa::mask needs = 0;
    for_each_family([&needs](const auto &rows) {
        for (const auto &row : rows) needs |= row.needs;
    });
    return needs;
}

ss1_status choose_isas(const ss1_context_options &options, ss1_context &context) {
    const char *wanted = options.max_isa, *source = "max_isa";
    if (!wanted) wanted = environment("SS1_MAX_ISA"), source = "SS1_MAX_ISA";
    const isa::mask found = cpu_detect_isas();
    isa::mask allowed = 0;
    bool above = false, known = !wanted;
    for (const isa_level &level : isa_levels()) {
        const bool has = (found & level.bit) == level.bit;
        const bool tiles = level.bit & (isa::amx_bf16 | isa::amx_int8), needed = needed_isas() & level.bit;
        const char *refusal = tiles && has && !above && needed ? amx_refusal() : nullptr;
        if (!above && !refusal) allowed |= level.bit;
        std::string reason = !has      ? "not found on this CPU"
                             : above   ? "above " + std::string(source) + "=" + wanted
                             : refusal ? "found, but " + std::string(refusal)
                             : needed  ? "found and used"
                                       : "found, but no kernel of this version needs it";
        if (level.bit)
            context.isa_texts.push_back({level.name, std::move(reason), has && !above && needed && !refusal});
        if (wanted && std::strcmp(wanted, level.name) == 0) {
            SS1_CHECK(has, SS1_ERROR_UNSUPPORTED, "%s=%s is above this machine: not found on this CPU", source, wanted);
            known = above = true;
        }
    }
    SS1_CHECK(known, SS1_ERROR_INVALID_ARGUMENT, "%s=%s is not one of %s", source, wanted, level_names().c_str());
    context.usable = found & allowed;
    return SS1_OK;
}

ss1_status choose_log(const ss1_context_options &options, ss1_context &context) {
    unsigned long verbose = 0;
    SS1_TRY(read_number("SS1_VERBOSE", 4, verbose));
    SS1_CHECK(options.log_level >= 0 && options.log_level <= SS1_LOG_DEBUG, SS1_ERROR_INVALID_ARGUMENT,
              "log_level=%d is not a value of ss1_log_level", static_cast<int>(options.log_level));
    context.log = options.log;
    context.log_user = options.log_user;
    if (options.log_level) context.log_level = options.log_level;
    if (verbose) context.log_level = std::max(context.log_level, static_cast<ss1_log_level>(verbose));
    return SS1_OK;
}

template <class K>
void add_kernels(const table<K> &rows, ss1_context &context) {
    for (const K &row : rows) {
        std::string missing;
        for (const isa_level &level : isa_levels())
            if (row.needs & level.bit & ~context.usable)
                missing += (missing.empty() ? "needs " : ", ") + std::string(level.name);
        const bool usable = missing.empty();
        context.kernel_texts.push_back({row.name, usable ? "usable" : missing, usable});
    }
}

}  // namespace

scratch_pool::~scratch_pool() {
    for (auto &slot : slots_) delete slot.load();
}

buffer *scratch_pool::take() noexcept {
    for (auto &slot : slots_)
        if (slot.load(std::memory_order_relaxed))
            if (buffer *block = slot.exchange(nullptr, std::memory_order_acquire)) return block;
    return new (std::nothrow) buffer;
}

void scratch_pool::give(buffer *block) noexcept {
    for (auto &slot : slots_) {
        buffer *expected = nullptr;
        if (slot.compare_exchange_strong(expected, block, std::memory_order_release, std::memory_order_relaxed)) return;
    }
    delete block;
}

std::vector<ss1_info_item> items_of(const std::vector<info_text> &texts) {
    std::vector<ss1_info_item> items;
    for (const info_text &t : texts) items.push_back({t.name.c_str(), t.used, t.reason.c_str()});
    return items;
}

context_ref::~context_ref() {
    if (context_) context_release(context_);
}

void context_release(ss1_context *context) noexcept {
    if (context->references.fetch_sub(1) == 1) delete context;
}

allocator weight_memory(const ss1_context &context, size_t bytes) noexcept {
    if (context.memory.alloc || !arena::serves(bytes)) return context.memory;
    return {[](void *user, size_t n, size_t) { return static_cast<arena *>(user)->alloc(n); },
            [](void *user, void *p, size_t n) { static_cast<arena *>(user)->free(p, n); }, &context.weights};
}

ss1_status context_create(const ss1_context_options &options, ss1_context **out) {
    SS1_CHECK(!options.alloc == !options.free, SS1_ERROR_INVALID_ARGUMENT,
              "alloc and free must both be set, but only %s is", options.alloc ? "alloc" : "free");
    auto context = std::make_unique<ss1_context>();
    context->memory = {options.alloc, options.free, options.alloc_user};
    context->device = options.device;
    SS1_TRY(choose_log(options, *context));
    SS1_TRY(choose_threads(options, *context));
    SS1_TRY(choose_isas(options, *context));
    context->cpu_name = cpu_model_name();
    context->caches = cpu_caches();
    for_each_family([&context](const auto &rows) { add_kernels(rows, *context); });
    context->isa_items = items_of(context->isa_texts);
    context->kernel_items = items_of(context->kernel_texts);
    log(*context, SS1_LOG_INFO, "%u threads: %s", context->num_threads, context->threads_reason.c_str());
    for (const info_text &t : context->isa_texts)
        log(*context, SS1_LOG_INFO, "isa %s: %s", t.name.c_str(), t.reason.c_str());
    for (const info_text &t : context->kernel_texts)
        log(*context, SS1_LOG_DEBUG, "kernel %s: %s", t.name.c_str(), t.reason.c_str());
    *out = context.release();
    return SS1_OK;
}

void context_info(const ss1_context &context, ss1_info &info) noexcept {
    info.num_threads = context.num_threads;
    info.threads_reason = context.threads_reason.c_str();
    info.cpu = context.cpu_name.c_str();
    info.backend = context.backend->name;
    info.n_isas = context.isa_items.size();
    info.isas = context.isa_items.data();
    info.n_backends = context.backend_items.size();
    info.backends = context.backend_items.data();
    info.n_kernels = context.kernel_items.size();
    info.kernels = context.kernel_items.data();
    info.l1d_bytes = context.caches.l1d;
    info.l2_bytes = context.caches.l2;
    info.l3_bytes = context.caches.l3;
    info.device = context.device;
}

void log(const ss1_context &context, ss1_log_level level, const char *format, ...) noexcept {
    if (!context.log || level > context.log_level) return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    const int needed = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (needed >= static_cast<int>(sizeof text)) drop_partial_character(text);
    context.log(context.log_user, level, text);
}

}  // namespace ss1
