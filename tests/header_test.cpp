// SPDX-License-Identifier: Apache-2.0
// Both headers stand alone in C++17.
#include "ss1/backend.h"
#include "ss1/ss1.hpp"

int main() {
    const ss1::context_ptr context = ss1::make_context();
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    try {
        ss1::make_layer(context, desc, SS1_LINEAR_WEIGHTS_INIT);
    } catch (const ss1::error &e) {
        return e.status() == SS1_ERROR_INVALID_ARGUMENT ? 0 : 2;
    }
    return 1;
}
