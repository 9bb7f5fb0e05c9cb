#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: static_guards.sh LIBSS1
# The library has no static variable of a function that needs code to initialise: its guard is a lock, which a child of
# fork() would find taken for ever if another thread was inside. Eigen's cache sizes are set when the library is loaded.
guards=$(nm "$1" | grep ' _ZGV') || { echo "$1: nm finds no guard, not even Eigen's"; exit 2; }
found=$(printf '%s\n' "$guards" | grep -v Eigen8internal20manage_caching_sizes)
[ -z "$found" ] || { echo "guards of static variables:"; printf '%s\n' "$found" | c++filt; exit 1; }
