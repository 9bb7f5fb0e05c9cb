// SPDX-License-Identifier: Apache-2.0
// Tests a session that several threads call at once: one call gets in, the others fail and change nothing.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "ss1/ss1.hpp"

namespace {

struct request {
    std::vector<int64_t> ids;
    std::vector<float> logits;
    ss1_tensor input = SS1_TENSOR_INIT, output = SS1_TENSOR_INIT;

    // Sequences of `tokens` tokens; each seed has logits of its own.
    request(size_t batch, size_t tokens, size_t seed) : ids(batch * tokens), logits(batch * 3) {
        for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>((i * 31 + seed * 17) % 100);
        describe(input, "input_ids", SS1_DTYPE_I64, batch, tokens, ids.data(), ids.size() * sizeof(int64_t));
        describe(output, "logits", SS1_DTYPE_F32, batch, 3, logits.data(), logits.size() * sizeof(float));
    }
    request(const request &) = delete;
    request &operator=(const request &) = delete;

    static void describe(ss1_tensor &tensor, const char *name, ss1_dtype dtype, size_t rows, size_t columns, void *data,
                         size_t bytes) {
        tensor.name = name;
        tensor.dtype = dtype;
        tensor.rank = 2;
        tensor.shape[0] = static_cast<int64_t>(rows);
        tensor.shape[1] = static_cast<int64_t>(columns);
        tensor.data = data;
        tensor.bytes = bytes;
    }

    ss1_status run(ss1_session *session) { return ss1_session_run(session, &input, 1, &output, 1); }
};

constexpr size_t batch = 8, tokens = 16;

// Calls `at_region` inside of each parallel region, that is, while a run is in progress.
struct watched {
    std::function<void()> at_region = [] {};
    static void run(void *user, size_t n, void (*task)(void *, size_t), void *arg) {
        static_cast<watched *>(user)->at_region();
        ss1_test::run_on_threads(nullptr, n, task, arg);
    }
};

struct fixture {
    watched executor;
    ss1::context_ptr context;
    ss1::model_ptr model;
    ss1::session_ptr session;

    fixture() {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.num_threads = 2;
        options.parallel_for = watched::run;
        options.parallel_for_user = &executor;
        context = ss1::make_context(options);
        model = ss1::load_model(context, SS1_TEST_DATA "/bert_classifier");
        ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
        bounds.max_batch = batch;
        session = ss1::make_session(model, bounds);
    }
};

}  // namespace

TEST_CASE("a session that a thread runs is in use: calls fail and change nothing") {
    fixture f;
    request first(batch, tokens, 1), second(batch, tokens, 2);
    REQUIRE(first.run(f.session.get()) == SS1_OK);
    const std::vector<float> want = first.logits, untouched = second.logits;
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(f.model.get(), &info));
    std::vector<double> seconds(info.n_stages);
    int regions = 0, refused = 0;
    const auto in_use = [&](ss1_status status) {
        refused += status == SS1_ERROR_INVALID_ARGUMENT && std::strstr(ss1_last_error(), "in use by another call");
    };
    f.executor.at_region = [&] {
        if (regions++) return;
        // From another thread, and from the pool of the run itself.
        std::thread([&] { in_use(second.run(f.session.get())); }).join();
        in_use(second.run(f.session.get()));
        in_use(ss1_session_set_deadline(f.session.get(), 1e-9));
        in_use(ss1_session_time_stages(f.session.get(), seconds.data(), seconds.size()));
    };
    std::fill(first.logits.begin(), first.logits.end(), 0.0f);
    REQUIRE(first.run(f.session.get()) == SS1_OK);
    CHECK(regions > 0);
    CHECK(refused == 4);
    CHECK(first.logits == want);
    CHECK(second.logits == untouched);
    CHECK(seconds == std::vector<double>(seconds.size()));
    f.executor.at_region = [] {};
    CHECK(second.run(f.session.get()) == SS1_OK);
    CHECK(ss1_session_set_deadline(f.session.get(), 3600) == SS1_OK);
    CHECK(ss1_session_time_stages(f.session.get(), seconds.data(), seconds.size()) == SS1_OK);
}

TEST_CASE("many threads on one session: each result is right or the session is in use") {
    fixture f;
    constexpr size_t n_threads = 8;
    std::atomic<int> right{0}, in_use{0}, wrong{0};
    std::atomic<size_t> ready{0};
    std::vector<std::thread> threads;
    for (size_t t = 0; t < n_threads; ++t)
        threads.emplace_back([&, t] {
            // Its own session says what is right.
            ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
            bounds.max_batch = batch;
            const auto own = ss1::make_session(f.model, bounds);
            request mine(1 + t, tokens - t, t);
            if (mine.run(own.get()) != SS1_OK) ++wrong;
            const std::vector<float> want = mine.logits;
            const std::vector<float> zeros(want.size());
            ++ready;
            while (ready < n_threads) std::this_thread::yield();
            for (int i = 0; i < 100; ++i) {
                mine.logits = zeros;
                const ss1_status status = mine.run(f.session.get());
                const bool busy = status == SS1_ERROR_INVALID_ARGUMENT && std::strstr(ss1_last_error(), "in use");
                if (status == SS1_OK && mine.logits == want) {
                    ++right;
                } else if (busy && mine.logits == zeros) {
                    ++in_use;
                } else {
                    ++wrong;
                }
                if (i % 10 == 0) ss1_session_set_deadline(f.session.get(), 3600);
            }
        });
    for (std::thread &thread : threads) thread.join();
    INFO(right << " right, " << in_use << " in use");
    CHECK(wrong == 0);
    CHECK(right > 0);
    CHECK(in_use > 0);
}
