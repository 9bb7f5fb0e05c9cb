// SPDX-License-Identifier: Apache-2.0
// What the tests of the CUDA backend share. Without a device a test checks the message of the failed load and is
// skipped, or fails if SS1_TEST_REQUIRE_CUDA is set. Define CATCH_CONFIG_RUNNER before catch.hpp.
#pragma once
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "ss1/ss1.hpp"

namespace cuda_support {

inline bool no_device = false;

// A context with the backend, or NULL without a device.
inline ss1::context_ptr cuda_context(const ss1_context_options &options = SS1_CONTEXT_OPTIONS_INIT) {
    auto context = ss1::make_context(options);
    if (ss1_context_load_backend(context.get(), "cuda") == SS1_OK) return context;
    CHECK(std::string(ss1_last_error()).find("backend cuda: not usable on this machine") != std::string::npos);
    if (std::getenv("SS1_TEST_REQUIRE_CUDA")) FAIL("SS1_TEST_REQUIRE_CUDA is set: " << ss1_last_error());
    no_device = true;
    return nullptr;
}

inline int run_or_skip(int argc, char **argv) {
    const int failed = Catch::Session().run(argc, argv);
    if (failed || !no_device) return failed;
    std::puts("skipped: no CUDA device");
    return 77;  // meson's code for a skipped test
}

}  // namespace cuda_support
