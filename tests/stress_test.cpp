// SPDX-License-Identifier: Apache-2.0
// Many threads make, run, cancel and destroy sessions of one model while another thread replaces the model, on the pool
// of the context and on an executor of this program; for ThreadSanitizer. By default for a moment; a long run sets
// SS1_STRESS_THREADS and SS1_STRESS_RUNS (of all threads).
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "model_support.hpp"

using namespace model_support;

namespace {

size_t setting(const char *name, size_t standard) {
    const char *text = std::getenv(name);
    return text ? std::strtoul(text, nullptr, 10) : standard;
}

// The session that the calling thread cancels at the next parallel region of its run, after which the run must fail.
thread_local ss1_session *cancelled_here = nullptr;

void run_and_cancel(void *, size_t n, void (*task)(void *, size_t), void *arg) {
    ss1_session_cancel(std::exchange(cancelled_here, nullptr));
    ss1_test::run_on_threads(nullptr, n, task, arg);
}

// What the threads share. The model is replaced under the lock; a session keeps the model that it was made from.
struct shared_model {
    const char *config;
    const bool on_pool;  // of the context; there no run can cancel itself
    ss1::context_ptr context;
    std::mutex lock;
    ss1::model_ptr model;
    std::vector<arrays> inputs, wanted;  // of batches of different sizes

    shared_model(const char *config_, std::mt19937 &random, bool is_dlrm, bool on_pool_)
        : config(config_), on_pool(on_pool_) {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.num_threads = on_pool ? 3 : 2;
        if (!on_pool) options.parallel_for = run_and_cancel;
        context = ss1::make_context(options);
        model = random_model(context, config);
        for (const size_t batch : {1, 2, 5, 40}) {
            inputs.push_back(is_dlrm ? random_dlrm_inputs(random, batch) : random_bert_inputs(random, batch, 7));
            wanted.push_back(infer(model, make_session(model, batch), inputs.back()));
        }
    }
    ss1::session_ptr session() {
        const std::scoped_lock hold(lock);
        return make_session(model, 40, 0);
    }
    void replace() {
        ss1::model_ptr next = random_model(context, config);
        const std::scoped_lock hold(lock);
        model.swap(next);
    }
};

// A thread's session, which others cancel. The lock guards its life, not its runs.
struct place {
    std::mutex lock;
    ss1::session_ptr session;

    void set(ss1::session_ptr next) {
        const std::scoped_lock hold(lock);
        session = std::move(next);
    }
    void cancel() {
        const std::scoped_lock hold(lock);
        ss1_session_cancel(session.get());
    }
};

struct counts {
    std::atomic<size_t> right{0}, cancelled{0}, late{0}, wrong{0};

    // Outputs are complete after SS1_OK, else as before the run.
    void add(ss1_status status, bool complete, bool untouched) {
        if (status == SS1_OK && complete) {
            ++right;
        } else if (status == SS1_ERROR_CANCELLED && untouched) {
            ++cancelled;
        } else if (status == SS1_ERROR_DEADLINE && untouched) {
            ++late;
        } else {
            ++wrong;
        }
    }
};

// Runs a session on the inputs of number i: with a deadline that has passed if `late`, and cancelled by this thread if
// `cancelled`.
void run_once(const shared_model &shared, ss1_session *session, size_t i, bool late, bool cancelled, counts &all) {
    const arrays &inputs = shared.inputs[i % shared.inputs.size()], &want = shared.wanted[i % shared.inputs.size()];
    arrays outputs = want;
    for (auto &[name, a] : outputs) std::fill(a.data.begin(), a.data.end(), std::byte{0xa5});
    const arrays untouched = outputs;
    std::vector<ss1_tensor> in, out;
    for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
    for (auto &[name, a] : outputs) out.push_back(a.tensor());
    ss1_session_set_deadline(session, late ? 1e-9 : 0);
    if (cancelled) cancelled_here = session;
    const ss1_status status = ss1_session_run(session, in.data(), in.size(), out.data(), out.size());
    if (!std::exchange(cancelled_here, nullptr) && cancelled && status == SS1_OK) ++all.wrong;
    all.add(status, same_bits(outputs, want), same_bits(outputs, untouched));
}

// Runs the thread's session `runs` times, with a new session after each seventh run.
void work(shared_model &shared, place &mine, size_t runs, counts &all) {
    for (size_t i = 0; i < runs; ++i) {
        if (i % 7 == 0) mine.set(shared.session());
        run_once(shared, mine.session.get(), i, i % 5 == 0, i % 3 == 0 && !shared.on_pool, all);
    }
    mine.set(nullptr);
}

// How a run of 40 rows ends is certain once no other thread cancels.
void check_alone(shared_model &shared) {
    const ss1::session_ptr session = shared.session();
    counts alone;
    run_once(shared, session.get(), 3, false, false, alone);
    CHECK(alone.right == 1);
    run_once(shared, session.get(), 3, true, false, alone);
    CHECK(alone.late == 1);
    if (shared.on_pool) return;
    run_once(shared, session.get(), 3, false, true, alone);
    CHECK(alone.cancelled == 1);
}

void stress(shared_model &shared, size_t n_threads, size_t runs) {
    std::vector<place> places(n_threads);
    counts all;
    std::atomic<size_t> working{n_threads}, replaced{0};
    std::vector<std::thread> threads;
    for (place &mine : places)
        threads.emplace_back([&] {
            work(shared, mine, runs / n_threads, all);
            --working;
        });
    threads.emplace_back([&] {
        do {
            shared.replace();
            ++replaced;
        } while (working > 0);
    });
    while (working > 0)
        for (place &other : places) {
            other.cancel();
            std::this_thread::yield();
        }
    for (std::thread &thread : threads) thread.join();
    std::printf("%zu threads on the %s: %zu runs right, %zu cancelled, %zu late; the model was replaced %zu times\n",
                n_threads, shared.on_pool ? "pool" : "executor", all.right.load(), all.cancelled.load(),
                all.late.load(), replaced.load());
    CHECK(all.wrong == 0);
    check_alone(shared);
}

}  // namespace

TEST_CASE("sessions of one model in many threads, cancelled and destroyed while the model is replaced") {
    auto random = ss1_test::seeded();
    const size_t n_threads = setting("SS1_STRESS_THREADS", 8), runs = setting("SS1_STRESS_RUNS", 800);
    for (const bool on_pool : {false, true})
        for (const bool is_dlrm : {true, false}) {
            shared_model shared(is_dlrm ? wide_dlrm : wide_bert, random, is_dlrm, on_pool);
            stress(shared, n_threads, runs);
        }
}
