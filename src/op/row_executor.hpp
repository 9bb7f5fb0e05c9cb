// SPDX-License-Identifier: Apache-2.0
// The row executor: the only place that decides how rows pass through several operators. With enough rows, each task
// takes a part of the rows block by block through all operators, so that the values between two operators stay in L2.
// With few rows, or where a layer cannot run on one thread, the operators run one after the other, each cut into tasks.
// Both ways give the same bits.
#pragma once
#include <algorithm>

#include "base/round.hpp"
#include "base/stage_clock.hpp"
#include "op/split.hpp"

namespace ss1 {

// A chain of operators that rows pass through.
struct row_graph {
    team all;
    bool on_one_thread;  // every layer has a backend that runs blocks of rows on one thread
    size_t block_rows;   // rows of a task's block, at most: a multiple of row_group
    size_t least_rows;   // rows that each task needs: with fewer, weights come from L3 more slowly than they are used

    // An observer sees one layer at a time, all rows in their order.
    bool has_tasks() const noexcept { return on_one_thread && !all.observer(); }
};

// One worker of a run: a task with its own part of the rows, or the whole team with all rows.
struct row_worker {
    team who;
    char *memory;
    size_t block_rows;
    stage_clock clock;
};

// Where a run adds the seconds of its stages. The workers write to `tasks` first: a run takes as long as its slowest
// task.
struct stage_times {
    double *tasks;  // [threads, stages]
    double *run;    // [stages]; NULL: nobody measures
    size_t stages;
};

// The whole team takes at most this number of rows through the operators at a time.
inline constexpr size_t chunk_rows = 4096;

// Returns the tasks for m rows; 0: one operator after the other. ns(): about how long the rows take on one thread,
// asked only where layers run on one thread.
template <class N>
size_t row_tasks(const row_graph &graph, size_t m, N &&ns) noexcept {
    if (!graph.has_tasks()) return 0;
    const size_t wanted = most_tasks(graph.all.context(), ns());
    return wanted == 1 || m / graph.least_rows >= wanted ? wanted : 0;
}

// Returns the BYTES that serve every run of up to m rows, whatever its number of tasks. bytes(who, rows) are those of
// one worker with `rows` rows, which grow with the rows.
template <class B>
size_t row_memory(const row_graph &graph, size_t m, B &&bytes) noexcept {
    if (m == 0) return 0;
    const size_t threads = graph.all.threads();
    m = std::min(m, std::max(threads * graph.block_rows, chunk_rows));  // beyond, every task has a whole block
    size_t most = 0;
    if (!graph.has_tasks() || threads > 1) {
        const size_t rows = graph.has_tasks() ? std::min(m, threads * graph.least_rows) : m;
        most = bytes(graph.all, std::min(rows, chunk_rows));
    }
    const team one = team::this_thread(graph.all.context());
    for (size_t tasks = 1; graph.has_tasks() && tasks <= threads; ++tasks)
        most = std::max(most, tasks * bytes(one, std::min(longest_part(m, tasks), graph.block_rows)));
    return most;
}

// Runs run(worker, begin, end), which returns a status, over parts that together are [0, m): in row_tasks() tasks.
// memory: row_memory() BYTES.
template <class B, class F>
ss1_status run_rows(const row_graph &graph, size_t m, size_t tasks, char *memory, const stage_times &times, B &&bytes,
                    F &&run) {
    if (tasks == 0) {
        row_worker worker = {
            .who = graph.all, .memory = memory, .block_rows = chunk_rows, .clock = stage_clock(times.run)};
        return run(worker, size_t{0}, m);
    }
    const team one = team::this_thread(graph.all.context());
    const size_t step = bytes(one, std::min(longest_part(m, tasks), graph.block_rows));
    if (times.run) std::fill_n(times.tasks, tasks * times.stages, 0.0);
    parallel(graph.all, tasks, [&](size_t task) {
        double *seconds = times.run ? times.tasks + task * times.stages : nullptr;
        row_worker worker = {
            .who = one, .memory = memory + task * step, .block_rows = graph.block_rows, .clock = stage_clock(seconds)};
        // Operators on one thread cannot fail.
        static_cast<void>(run(worker, part_begin(m, tasks, task), part_begin(m, tasks, task + 1)));
    });
    if (times.run) add_slowest(times.tasks, tasks, times.stages, times.run);
    return SS1_OK;
}

// Runs f(begin, end), which returns a status, over parts of similar height and at most `most` rows, a multiple of
// row_group, one after the other; ends at the first failure.
template <class F>
ss1_status for_blocks(size_t begin, size_t end, size_t most, F &&f) {
    const size_t m = end - begin, parts = ceil_div(m, most);
    for (size_t i = 0; i < parts; ++i)
        if (const ss1_status status = f(begin + part_begin(m, parts, i), begin + part_begin(m, parts, i + 1));
            status != SS1_OK)
            return status;
    return SS1_OK;
}

}  // namespace ss1
