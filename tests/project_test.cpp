// SPDX-License-Identifier: Apache-2.0
// Tests that projection and expansion write nothing when memory runs out, keep to the calling thread and to little
// stack. This program counts and fails calls of malloc, which operator new and Eigen use.
#include <dirent.h>
#include <pthread.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "sanitizers.hpp"
#include "ss1/ss1.hpp"

#if !ADDRESS_SANITIZER && !THREAD_SANITIZER
namespace {
thread_local long allocations = 0, first_to_fail = -1;
thread_local bool fails_on = false;
}  // namespace

extern "C" void *__libc_malloc(size_t bytes);
extern "C" void *malloc(size_t bytes) {
    const long i = allocations++;
    const bool fails = first_to_fail >= 0 && (fails_on ? i >= first_to_fail : i == first_to_fail);
    return fails ? nullptr : __libc_malloc(bytes);
}
#endif

namespace {

constexpr size_t K = 192, N = 96;

ss1_linear_desc desc_of(ss1_scheme scheme) {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    desc.c = 2;
    desc.scheme = scheme;
    desc.block_k = 32;
    desc.block_n = 32;  // three output blocks
    return desc;
}

std::vector<float> moment() {
    std::vector<float> s(K * K);
    for (size_t k = 0; k < K; ++k) s[k * K + k] = 1 + static_cast<float>(k % 5);
    return s;
}

}  // namespace

#if !ADDRESS_SANITIZER && !THREAD_SANITIZER
namespace {

// Calls `write` with each of its allocations failing, once and from there on.
template <class F>
void fail_each_allocation(std::vector<float> &output, F &&write) {
    allocations = 0;
    REQUIRE(write() == SS1_OK);
    const long all = allocations;
    CHECK(all >= 1);
    const std::vector<float> want = output;
    for (const bool on : {false, true})
        for (long i = 0; i < all; ++i) {
            std::fill(output.begin(), output.end(), -7.0f);
            const std::vector<float> untouched = output;
            allocations = 0;
            fails_on = on;
            first_to_fail = i;
            const ss1_status status = write();
            first_to_fail = -1;
            INFO("allocation " << i << " of " << all << (on ? " and later ones fail" : " fails"));
            CHECK(status == SS1_ERROR_OUT_OF_MEMORY);
            CHECK((output == untouched));
        }
    REQUIRE(write() == SS1_OK);
    CHECK((output == want));
}

}  // namespace

TEST_CASE("projection and expansion write nothing when memory runs out") {
    auto random = ss1_test::seeded();
    for (const ss1_scheme scheme : {SS1_SCHEME_MIXED, SS1_SCHEME_REFERENCE}) {
        const ss1_linear_desc desc = desc_of(scheme);
        std::vector<float> weight(N * K), z(N * K / 2);
        for (float &w : weight) w = random.uniform();
        const std::vector<float> s = moment();
        for (const float *second : {static_cast<const float *>(nullptr), s.data()})
            fail_each_allocation(z, [&] { return ss1_project(&desc, weight.data(), 0, second, z.data(), 0); });
        fail_each_allocation(weight, [&] { return ss1_expand(&desc, z.data(), 0, weight.data(), 0); });
        ss1_linear_desc low_rank = desc;
        low_rank.rank = 2;
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = weights.u = weights.v = z.data();
        fail_each_allocation(weight, [&] { return ss1_linear_expand(&low_rank, &weights, weight.data(), 0); });
    }
}
#endif

TEST_CASE("every element of a second moment must be finite, also where no stored weight stands") {
    ss1_linear_desc desc = desc_of(SS1_SCHEME_REFERENCE);
    desc.K = K - 28;  // the last block is not full: some inputs have no stored weight
    const std::vector<float> weight(N * desc.K, 0.25f);
    std::vector<float> s(desc.K * desc.K), z(N * K / 2, 7.0f);
    for (size_t k = 0; k < desc.K; ++k) s[k * desc.K + k] = 1;
    for (size_t i = 0; i < desc.K; ++i) {
        for (const size_t at : {i * desc.K + i, i * desc.K, i}) {
            const float kept = std::exchange(s[at], std::numeric_limits<float>::quiet_NaN());
            CHECK(ss1_project(&desc, weight.data(), 0, s.data(), z.data(), 0) == SS1_ERROR_INVALID_ARGUMENT);
            CHECK_THAT(std::string(ss1_last_error()), Catch::Contains("is not finite"));
            s[at] = kept;
        }
    }
    CHECK(z == std::vector<float>(z.size(), 7.0f));
    CHECK(ss1_project(&desc, weight.data(), 0, s.data(), z.data(), 0) == SS1_OK);
}

TEST_CASE("a second moment must be symmetric and positive semidefinite, also between inputs that no weight ties") {
    const ss1_linear_desc desc = desc_of(SS1_SCHEME_MIXED);
    const std::vector<float> weight(N * K, 0.25f);
    std::vector<float> z(N * K / 2, 7.0f);
    const auto project = [&](const std::vector<float> &s) {
        return ss1_project(&desc, weight.data(), 0, s.data(), z.data(), 0);
    };
    const auto refused = [&](const std::vector<float> &s, const char *message) {
        CHECK(project(s) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(std::string(ss1_last_error()), Catch::Contains(message));
        CHECK(z == std::vector<float>(z.size(), 7.0f));
    };
    const auto correlated = [](float r, float scale) {  // inputs 3 and 150; its least eigenvalue is about 1 - r
        std::vector<float> s = moment();
        s[3 * K + 3] = 1;
        s[150 * K + 150] = scale * scale;
        s[3 * K + 150] = s[150 * K + 3] = r * scale;
        return s;
    };
    for (const float scale : {1.0f, 1e-4f, 1e4f}) {
        refused(correlated(1.002f, scale),
                "second_moment is not positive semidefinite, as a mean of x^T x must be, to 0.001");
        refused(correlated(-1.002f, scale), "is not positive semidefinite");
    }
    for (const float diagonal : {0.0f, -1.0f}) {
        std::vector<float> s = correlated(0.5f, 1);
        s[3 * K + 3] = diagonal;
        refused(s, "is not positive semidefinite");
    }
    std::vector<float> lopsided = correlated(0.5f, 1);
    lopsided[3 * K + 150] = 0.51f;
    refused(lopsided, "second_moment[150][3]=0.5 is not [3][150]=0.51, but it must be symmetric");

    // The mean of few rows of very different scales, computed in f32, of which one input is always 0.
    auto random = ss1_test::seeded();
    std::vector<float> mean(K * K);
    for (int row = 0; row < 50; ++row) {
        std::vector<float> x(K);
        for (size_t k = 0; k < K; ++k) x[k] = k == 7 ? 0 : random.uniform() * (k % 9 == 0 ? 1e4f : 1e-2f);
        for (size_t i = 0; i < K * K; ++i) mean[i] += x[i / K] * x[i % K] / 50;
    }
    CHECK(project(mean) == SS1_OK);
    CHECK(project(std::vector<float>(K * K)) == SS1_OK);
    CHECK(project(correlated(1.0005f, 1e4f)) == SS1_OK);
}

// 96 KB is beside the frames of a sanitizer little, but Eigen's buffers were 128 KB each.
TEST_CASE("a projection by a second moment starts no thread and needs little stack") {
    struct task {
        ss1_linear_desc desc = desc_of(SS1_SCHEME_MIXED);
        std::vector<float> weight = std::vector<float>(N * K, 0.25f), s = moment(), z = std::vector<float>(N * K / 2);
        ss1_status status = SS1_ERROR_INTERNAL;
        long threads = 0;
    } given;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, size_t{96} << 10) == 0);
    pthread_t thread;
    const int failed = pthread_create(
        &thread, &attributes,
        [](void *p) -> void * {
            auto &t = *static_cast<task *>(p);
            t.status = ss1_project(&t.desc, t.weight.data(), 0, t.s.data(), t.z.data(), 0);
            DIR *tasks = opendir("/proc/self/task");
            while (const dirent *entry = readdir(tasks)) t.threads += entry->d_name[0] != '.';
            closedir(tasks);
            return nullptr;
        },
        &given);
    pthread_attr_destroy(&attributes);
    REQUIRE(failed == 0);
    pthread_join(thread, nullptr);
    CHECK(given.status == SS1_OK);
    if (!ss1_test::sanitized) CHECK(given.threads == 2);
}
