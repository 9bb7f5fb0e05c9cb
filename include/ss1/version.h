/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SS1_VERSION_H
#define SS1_VERSION_H

/* meson.build reads these lines. */
#define SS1_VERSION_MAJOR 0
#define SS1_VERSION_MINOR 2
#define SS1_VERSION_PATCH 0
#define SS1_VERSION_STRING "0.2.0"

/* The SONAME is libss1.so.<SS1_ABI_VERSION>. The number rises only when a program that was built with an older header
 * no longer works: structs that grow at their end and new functions keep it. @since 0.2 */
#define SS1_ABI_VERSION 1

#endif
