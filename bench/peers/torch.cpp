// SPDX-License-Identifier: Apache-2.0
// PyTorch: what torch.nn.functional.linear runs, with a preallocated output so that it need not allocate.
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/version.h>

#include <cstdio>
#include <vector>

#include "peer.h"
#include "ss1/ss1.h"

namespace {

struct layer {
    at::Tensor x, y, bias;
    std::vector<at::Tensor> weights;  // [k, n] views of [n, k], as linear makes them
    int threads;
};

layer make_layer(const ss1_peer_problem &p) {
    const c10::InferenceMode guard;
    const at::ScalarType type = p.precision == SS1_PEER_F32 ? at::kFloat : at::kBFloat16;
    const auto m = static_cast<int64_t>(p.m), k = static_cast<int64_t>(p.k), n = static_cast<int64_t>(p.n);
    layer l;
    l.x = at::from_blob(const_cast<void *>(p.x), {m, k}, type);
    l.y = at::from_blob(p.y, {m, n}, type);
    l.bias = at::from_blob(const_cast<float *>(p.bias), {n}, at::kFloat).to(type, false, true);
    const at::Tensor weight = at::from_blob(const_cast<void *>(p.weight), {n, k}, type);
    for (size_t i = 0; i < p.copies; ++i) l.weights.push_back(weight.clone().t());
    l.threads = static_cast<int>(p.threads);
    at::set_num_threads(l.threads);
    return l;
}

void *create(const ss1_peer_problem *p, char *why, size_t why_bytes) try {
    const bool f32 = p->precision == SS1_PEER_F32 && p->output == SS1_PEER_TO_F32;
    const bool bf16 = p->precision == SS1_PEER_BF16 && p->output == SS1_PEER_TO_BF16;
    if (p->activation == SS1_ACTIVATION_NONE && (f32 || bf16)) return new layer(make_layer(*p));
    std::snprintf(why, why_bytes, "f32, or bf16 to bf16, without activation only");
    return nullptr;
} catch (const std::exception &error) {
    std::snprintf(why, why_bytes, "%s", error.what());
    return nullptr;
}

int run(void *handle, size_t copy) try {
    layer &l = *static_cast<layer *>(handle);
    const c10::InferenceMode guard;
    at::addmm_out(l.y, l.bias, l.x, l.weights[copy]);
    return 0;
} catch (const std::exception &) {
    return 1;
}

void destroy(void *handle) {
    delete static_cast<layer *>(handle);
}

}  // namespace

SS1_PEER_EXPORT const ss1_peer *ss1_peer_entry(char *, size_t) {
    static const ss1_peer peer = {SS1_PEER_ABI, "PyTorch", TORCH_VERSION, 0, create, run, destroy};
    return &peer;
}
