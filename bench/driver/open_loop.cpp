// SPDX-License-Identifier: Apache-2.0
#include "driver/open_loop.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <CLI/CLI.hpp>
#include <cmath>
#include <future>
#include <limits>
#include <random>
#include <thread>

#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "cli/options.hpp"
#include "driver/sampler.hpp"
#include "driver/stats.hpp"

namespace ss1::bench {

using namespace apps;
using namespace cli;

namespace {

using clock = std::chrono::steady_clock;
constexpr double never = std::numeric_limits<double>::infinity();

double seconds_since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
}

// The arrival times of n requests in seconds. They form a Poisson process, whose times are independent and uniform once
// their number is known. Equal n give equal times.
std::vector<double> poisson_arrivals(size_t n, double seconds) {
    std::mt19937_64 random(n);
    std::vector<double> arrivals(n);
    for (double &arrival : arrivals) arrival = static_cast<double>(random() >> 11) * 0x1p-53 * seconds;
    return sorted(std::move(arrivals));
}

// The requests of one run and their queue, which the workers share.
struct service {
    std::span<const model_run> requests;  // arrival i takes request i modulo their number
    std::vector<double> arrivals;         // seconds
    double deadline, give_up;  // seconds after arrival; seconds after the start after which no request begins
    clock::time_point start{};
    std::atomic<size_t> next{0};
    std::vector<double> latencies;  // seconds from the scheduled arrival; `never`: not answered
};

struct worker {
    session_handle session;
    row_output output;
    std::vector<float> values;
    size_t dropped = 0, late = 0;  // dropped before they began; given up after they began
    double last_end = 0;

    ss1_status answer(const model_run &request) {
        ss1_tensor tensor = output.tensor(values.data(), request.rows.size());
        return ss1_session_run(session.get(), request.inputs.data(), request.inputs.size(), &tensor, 1);
    }

    // Takes the requests in the order of arrival until none is left. A worker takes a request before it arrives and
    // sleeps until then: so the first free worker serves it.
    void serve(service &s) {
        for (size_t i; (i = s.next++) < s.arrivals.size();) {
            const auto arrival =
                s.start + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(s.arrivals[i]));
            std::this_thread::sleep_until(arrival);
            const double waited = seconds_since(arrival);
            if (waited >= s.deadline || seconds_since(s.start) >= s.give_up) {
                ++dropped;
                continue;
            }
            check(ss1_session_set_deadline(session.get(), s.deadline == never ? 0 : s.deadline - waited));
            const ss1_status status = answer(s.requests[i % s.requests.size()]);
            last_end = seconds_since(s.start);
            if (status == SS1_ERROR_DEADLINE) {
                ++late;
                continue;
            }
            check(status);
            s.latencies[i] = seconds_since(arrival);
        }
    }
};

std::vector<worker> make_workers(const model_handle &model, const ss1_session_options &bounds, const row_output &output,
                                 size_t n) {
    std::vector<worker> workers(n);
    for (worker &w : workers) {
        w.session = make_session(model, bounds);
        w.output = output;
        w.values.resize(bounds.max_batch * output.width);
    }
    return workers;
}

// Every worker first answers each request once, which warms its threads and caches. Then the clock starts for all.
void run_workers(std::vector<worker> &workers, service &s) {
    std::barrier ready(static_cast<std::ptrdiff_t>(workers.size()),
                       [&s]() noexcept { s.start = clock::now() + std::chrono::milliseconds(1); });
    std::vector<std::future<void>> ends;
    for (worker &w : workers)
        ends.push_back(std::async(std::launch::async, [&w, &s, &ready] {
            prctl(PR_SET_TIMERSLACK, 1UL);  // ns; the default of 50 us would count as latency
            ss1_status status = SS1_OK;
            for (size_t i = 0; i < s.requests.size() && status == SS1_OK; ++i) status = w.answer(s.requests[i]);
            ready.arrive_and_wait();
            check(status);
            w.serve(s);
        }));
    for (std::future<void> &end : ends) end.get();
}

// Requests without an answer count as infinitely slow; a percentile among them is null.
json latency(const std::vector<double> &sorted, double fraction) {
    const double position = fraction * static_cast<double>(sorted.size() - 1);
    if (sorted[static_cast<size_t>(std::ceil(position))] == never) return nullptr;
    return rounded(1e9 * percentile(sorted, fraction), 1);
}

}  // namespace

void add_open_loop(CLI::App &command, open_loop &load) {
    command.add_option("--rate", load.rates,
                       "Open loop: requests per second, a list; requests arrive at random times whether or not earlier "
                       "ones are done");
    above_zero(command.add_option("--duration", load.seconds, "Open loop: seconds in which requests arrive"))
        ->capture_default_str();
    command.add_option("--workers", load.workers, "Open loop: requests that run at once, each on --threads threads")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    above_zero(
        command.add_option("--deadline-ms", load.deadline_ms,
                           "Open loop: give a request up this many milliseconds after its arrival; default: never"));
    at_least(1,
             command.add_option("--least-batch", load.least_batch,
                                "Open loop: each request has between this number and --batch rows; default: --batch"));
}

json measure_open_loop(const model_handle &model, const ss1_session_options &bounds, const row_output &output,
                       std::span<const model_run> requests, const open_loop &load, size_t rate) {
    const double expected = static_cast<double>(rate) * load.seconds;
    if (expected < 1 || expected > 1e8)
        throw failure(format("--rate %zu for --duration %g s is %g requests", rate, load.seconds, expected),
                      "choose 1 to 100,000,000");
    const auto n = static_cast<size_t>(expected);
    service s = {requests,
                 poisson_arrivals(n, load.seconds),
                 load.deadline_ms > 0 ? load.deadline_ms / 1e3 : never,
                 2 * load.seconds,
                 {},
                 {},
                 std::vector<double>(n, never)};
    std::vector<worker> workers = make_workers(model, bounds, output, load.workers);
    run_workers(workers, s);

    size_t dropped = 0, late = 0;
    double end = load.seconds;  // if the service is faster, the rate is that of the arrivals
    for (const worker &w : workers) {
        dropped += w.dropped;
        late += w.late;
        end = std::max(end, w.last_end);
    }
    const std::vector<double> latencies = sorted(std::move(s.latencies));
    const auto answered_within = [&](double limit) {
        return static_cast<double>(std::ranges::upper_bound(latencies, limit) - latencies.begin());
    };
    const double answered = answered_within(std::numeric_limits<double>::max());
    json row = {{"workers", load.workers}, {"rate", rate}, {"duration_s", load.seconds}};
    row["deadline_ms"] = load.deadline_ms > 0 ? json(load.deadline_ms) : json(nullptr);
    row["requests"] = n;
    row["dropped"] = dropped;
    row["late"] = late;
    for (const auto &[name, fraction] :
         {std::pair("ns_p50", 0.5), {"ns_p90", 0.9}, {"ns_p99", 0.99}, {"ns_p999", 0.999}})
        row[name] = latency(latencies, fraction);
    row["answered_per_s"] = rounded(answered / end, 1);
    row["goodput_per_s"] = rounded(answered_within(std::min(s.deadline, std::numeric_limits<double>::max())) / end, 1);
    return row;
}

const std::vector<column> open_loop_columns = {{"batch", "batch"},
                                               {"tokens", "tokens"},
                                               {"threads", "threads"},
                                               {"workers", "workers"},
                                               {"dtype", "dtype"},
                                               {"rate", "rate/s"},
                                               {"answered_per_s", "answered/s", 1, 0},
                                               {"goodput_per_s", "goodput/s", 1, 0},
                                               {"ns_p50", "p50 us", 1e-3, 1, 9},
                                               {"ns_p90", "p90 us", 1e-3, 1, 9},
                                               {"ns_p99", "p99 us", 1e-3, 1, 9},
                                               {"ns_p999", "p99.9 us", 1e-3, 1, 9},
                                               {"requests", "requests"},
                                               {"dropped", "dropped"},
                                               {"late", "late"},
                                               {"model", "model"}};

}  // namespace ss1::bench
