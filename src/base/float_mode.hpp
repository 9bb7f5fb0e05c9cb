// SPDX-License-Identifier: Apache-2.0
// Sets the floating-point mode that kernels or file readers need and restores the caller's afterwards.
#pragma once
#include <cfenv>
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace ss1 {

// Treats denormal operands and results as zero (AMX always does): an f32 FMA with a denormal product takes about 150
// cycles more. Rounds to nearest and masks all exceptions. The destructor restores the caller's mode and flags.
class float_mode {
  public:
    float_mode() noexcept : found_(read()) {
        if (found_ != wanted) write(wanted);
    }
    ~float_mode() { write(found_); }
    float_mode(const float_mode &) = delete;
    float_mode &operator=(const float_mode &) = delete;

  private:
#if defined(__x86_64__)
    using word = uint32_t;
    static constexpr word wanted = 0x9fc0;  // MXCSR: flush to zero, denormals are zero, all exceptions masked
    static word read() noexcept {
        return _mm_getcsr();
    }
    static void write(word w) noexcept {
        _mm_setcsr(w);
    }
#elif defined(__aarch64__)
    using word = uint64_t;
    static constexpr word wanted = uint64_t{1} << 24;  // FPCR: flush to zero
    static word read() noexcept {
        word w;
        asm volatile("mrs %0, fpcr" : "=r"(w));
        return w;
    }
    static void write(word w) noexcept {
        asm volatile("msr fpcr, %0" ::"r"(w));
    }
#else
    using word = uint32_t;
    static constexpr word wanted = 0;
    static word read() noexcept {
        return 0;
    }
    static void write(word) noexcept {}
#endif
    word found_;
};

// The mode for reading, converting and writing: rounds to nearest and masks all exceptions, but keeps denormals.
class default_float_mode {
  public:
    default_float_mode() noexcept {
        std::fegetenv(&found_);
        std::fesetenv(FE_DFL_ENV);
    }
    ~default_float_mode() { std::fesetenv(&found_); }
    default_float_mode(const default_float_mode &) = delete;
    default_float_mode &operator=(const default_float_mode &) = delete;

  private:
    std::fenv_t found_;
};

}  // namespace ss1
