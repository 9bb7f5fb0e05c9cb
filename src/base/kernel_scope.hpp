// SPDX-License-Identifier: Apache-2.0
// Brackets the calls of a kernel on this thread by the functions that its row names.
#pragma once
#include "kernels.hpp"

namespace ss1 {

class scope_guard {
  public:
    explicit scope_guard(const kernel_scope *scope) noexcept : scope_(scope) {
        if (scope_) scope_->enter();
    }
    ~scope_guard() {
        if (scope_) scope_->leave();
    }
    scope_guard(const scope_guard &) = delete;
    scope_guard &operator=(const scope_guard &) = delete;

  private:
    const kernel_scope *scope_;
};

}  // namespace ss1
