/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SS1_VERSION_H
#define SS1_VERSION_H

/* Read by meson.build. The SONAME carries the major number. */
#define SS1_VERSION_MAJOR 0
#define SS1_VERSION_MINOR 1
#define SS1_VERSION_PATCH 0
#define SS1_VERSION_STRING "0.1.0"

#endif
