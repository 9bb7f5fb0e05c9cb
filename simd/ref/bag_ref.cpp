// SPDX-License-Identifier: Apache-2.0
// The specification of bag: y[b,:] = sum over p in [offsets[b], offsets[b+1]) of table[indices[p],:], p ascending.
#include "kernels.hpp"

namespace ss1 {

void bag_f32_ref(const bag_args &args) noexcept {
    for (size_t b = 0; b < args.batch; b++) {
        for (size_t j = 0; j < args.d; j++) {
            float sum = 0.0f;
            for (int64_t p = args.offsets[b]; p < args.offsets[b + 1]; p++)
                sum += args.table[static_cast<size_t>(args.indices[p]) * args.d + j];
            args.y[b * args.ldy + j] = sum;
        }
    }
}

}  // namespace ss1
