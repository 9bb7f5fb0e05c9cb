// SPDX-License-Identifier: Apache-2.0
#include "apps/line_batches.hpp"

#include "apps/failure.hpp"

namespace ss1::apps {

size_t line_batches::fill(size_t most, const std::function<bool()> &next, const std::function<bool()> &ready) {
    if (failure_) std::rethrow_exception(failure_);
    size_t lines = 0;
    try {
        while (lines < most && (lines == 0 || ready()) && next()) ++lines;
    } catch (const failure &) {
        if (lines == 0) throw;
        failure_ = std::current_exception();
    }
    return lines;
}

}  // namespace ss1::apps
