// SPDX-License-Identifier: Apache-2.0
// Says which sanitizers a file is compiled with, by the macros of GCC and clang.
#pragma once

#if defined(__has_feature)
#define SS1_TEST_HAS(feature) __has_feature(feature)
#else
#define SS1_TEST_HAS(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SS1_TEST_HAS(address_sanitizer)
#define ADDRESS_SANITIZER 1
#else
#define ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__) || SS1_TEST_HAS(thread_sanitizer)
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif

#undef SS1_TEST_HAS
