// SPDX-License-Identifier: Apache-2.0
// How the operators between linear layers are cut into tasks. Every row is computed by one task in one way, so that its
// bits do not depend on the cut.
#pragma once
#include <algorithm>

#include "base/context.hpp"

namespace ss1 {

// An OpenMP region costs 2-5 us: a task should bring that much, and 16384 floats read from L2 are about 4 us.
inline constexpr double min_floats_per_task = 16384;

// Tasks for `parts` equal parts that read `floats` floats together. Grows with both.
inline size_t task_count(const ss1_context &context, size_t parts, double floats) noexcept {
    const size_t most = std::min<size_t>(parts, context.num_threads);
    const double wanted = floats / min_floats_per_task;
    return wanted <= 1                          ? 1
           : wanted < static_cast<double>(most) ? static_cast<size_t>(wanted)
                                                : std::max<size_t>(most, 1);
}

// Where rows are cut into parts that each run through several operators: in groups that tile kernels read together.
inline constexpr size_t row_group = 16;
inline constexpr size_t row_panel = 32;  // the tallest of the CPU's gemm kernels

// Rows of the longest of n parts into which m rows are cut.
inline size_t longest_part(size_t m, size_t n) noexcept {
    return m ? ((m - 1) / row_group / n + 1) * row_group : 0;
}

inline size_t part_begin(size_t m, size_t n, size_t i) noexcept {
    return std::min(m, (m + row_group - 1) / row_group * i / n * row_group);
}

// Runs f(begin, end) over parts of like height and at most `most` rows, a multiple of row_group, one after the other.
template <class F>
void for_parts(size_t m, size_t most, F &&f) {
    const size_t parts = (m + most - 1) / most;
    for (size_t i = 0; i < parts; ++i) f(part_begin(m, parts, i), part_begin(m, parts, i + 1));
}

// Runs f(begin, end) over ranges that together are [0, n); one item reads about `floats_each` floats.
template <class F>
void parallel_ranges(const ss1_context &context, size_t n, size_t floats_each, F &&f) {
    if (n == 0) return;
    const size_t tasks = task_count(context, n, static_cast<double>(n) * static_cast<double>(floats_each));
    parallel(context, tasks, [&](size_t task) { f(n * task / tasks, n * (task + 1) / tasks); });
}

}  // namespace ss1
