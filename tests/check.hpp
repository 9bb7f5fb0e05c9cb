// SPDX-License-Identifier: Apache-2.0
// Helpers for all tests: matrices that catch stray reads and writes, seeded random numbers, comparison with a bound.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sanitizers.hpp"
#include "ss1/ss1.hpp"

namespace ss1_test {

enum class guard { after, before };

// A [rows, cols] matrix with leading dimension ld that ends directly at an inaccessible page (guard::before: starts
// directly after one). All bytes around the elements, the row padding included, are 0xff: a stray read gives NaN, and
// intact() finds a stray write. An alignment above alignof(T) can leave a gap of that many bytes at the page.
template <class T>
class guarded {
  public:
    guarded(size_t rows, size_t cols, size_t ld, guard where = guard::after, size_t alignment = alignof(T))
        : rows_(rows), cols_(cols), ld_(ld), page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
        const size_t bytes = size() * sizeof(T);
        usable_ = (bytes + page_ - 1) / page_ * page_ + page_;
        map_ = static_cast<unsigned char *>(
            mmap(nullptr, usable_ + 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        REQUIRE(map_ != MAP_FAILED);
        std::memset(map_, 0xff, usable_ + 2 * page_);
        mprotect(map_, page_, PROT_NONE);
        mprotect(map_ + page_ + usable_, page_, PROT_NONE);
        offset_ = page_ + (where == guard::before ? 0 : (usable_ - bytes) / alignment * alignment);
        for (size_t i = 0; i < rows_; i++)
            for (size_t j = 0; j < cols_; j++) at(i, j) = T{};
    }
    guarded(const guarded &) = delete;
    guarded &operator=(const guarded &) = delete;
    ~guarded() { munmap(map_, usable_ + 2 * page_); }

    T *data() { return reinterpret_cast<T *>(map_ + offset_); }
    T &at(size_t i, size_t j) { return data()[i * ld_ + j]; }
    size_t ld() const { return ld_; }
    size_t size() const { return rows_ == 0 || cols_ == 0 ? 0 : (rows_ - 1) * ld_ + cols_; }

    template <class Generator>
    void fill(Generator generate) {
        for (size_t i = 0; i < rows_; i++)
            for (size_t j = 0; j < cols_; j++) at(i, j) = generate();
    }

    // Whether all bytes around the elements are unchanged.
    bool intact() {
        const unsigned char *first = map_ + page_, *begin = map_ + offset_;
        for (const unsigned char *p = first; p < first + usable_; p++) {
            if (*p == 0xff) continue;
            const size_t element = static_cast<size_t>(p - begin) / sizeof(T);
            if (p < begin || element >= size() || element % ld_ >= cols_) return false;
        }
        return true;
    }

  private:
    size_t rows_, cols_, ld_, page_, usable_ = 0, offset_ = 0;
    unsigned char *map_;
};

// Random numbers from the seed of the command line (--rng-seed). A failed assertion in its scope prints the seed.
class seeded : public std::mt19937 {
  public:
    seeded()
        : std::mt19937(Catch::rngSeed()),
          message_(Catch::MessageBuilder("INFO", CATCH_INTERNAL_LINEINFO, Catch::ResultWas::Info)
                   << "repeat with --rng-seed " << Catch::rngSeed()) {}

    float uniform(float low = -1, float high = 1) { return std::uniform_real_distribution<float>(low, high)(*this); }
    size_t index(size_t low, size_t high) { return std::uniform_int_distribution<size_t>(low, high)(*this); }

  private:
    Catch::ScopedMessage message_;
};

// An executor for contexts that starts one thread per task.
inline void run_on_threads(void *, size_t n, void (*task)(void *, size_t), void *arg) {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < n; ++i) threads.emplace_back(task, arg, i);
    for (std::thread &thread : threads) thread.join();
}

// Keeps the larger error in `worst`, and NaN, which std::max would drop.
inline void keep_worse(double &worst, double error) {
    if (std::isnan(error) || error > worst) worst = error;
}

// Sanitizers cause page faults of their own.
constexpr bool sanitized = ADDRESS_SANITIZER || THREAD_SANITIZER;

// The levels to test, lowest first: those that the machine has and a kernel needs. All other levels select the same
// kernels as the level below them. With SS1_MAX_ISA set, only its level: the others give the same without it.
inline std::vector<const char *> levels_here() {
    static const ss1::context_ptr context = ss1::make_context();  // owns the names
    ss1_info info = SS1_INFO_INIT;
    ss1::check(ss1_get_info(context.get(), &info));
    std::vector<const char *> names = {"none"};
    for (size_t i = 0; i < info.n_isas; ++i)
        if (info.isas[i].used) names.push_back(info.isas[i].name);
    static const bool capped = std::getenv("SS1_MAX_ISA");
    if (capped) names.erase(names.begin(), names.end() - 1);
    return names;
}

// Makes one assertion for an [m, n] result: |got - want| <= bound in every element (NaN where `want` is NaN). A failure
// prints the kernel, the shape, the number of bad elements, and the first and the worst of them.
template <class Got, class Want, class Bound>
void check_close(const std::string &kernel, const std::string &shape, size_t m, size_t n, Got got, Want want,
                 Bound bound) {
    size_t bad = 0;
    double worst = -1;
    std::string first_text, worst_text;
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            const double g = got(i, j), w = want(i, j), b = bound(i, j), excess = std::abs(g - w) / b;
            if (g == w || (std::isnan(g) && std::isnan(w)) || (excess <= 1)) continue;
            char text[160];
            std::snprintf(text, sizeof text, "[%zu,%zu]: got %.9g, want %.9g, error %.3g, bound %.3g", i, j, g, w,
                          std::abs(g - w), b);
            if (bad++ == 0) first_text = text;
            if (!(excess <= worst)) worst = excess, worst_text = text;
        }
    }
    INFO(kernel << " " << shape << ": " << bad << " of " << m * n << " elements out of bounds\n  first " << first_text
                << "\n  worst " << worst_text);
    CHECK(bad == 0);
}

}  // namespace ss1_test
