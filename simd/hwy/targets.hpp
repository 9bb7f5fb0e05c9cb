// SPDX-License-Identifier: Apache-2.0
// Include before Highway: it then compiles exactly the levels that have rows in kernels.inc, whatever the -march of the
// build.
#pragma once
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_COMPILE_ALL_ATTAINABLE
