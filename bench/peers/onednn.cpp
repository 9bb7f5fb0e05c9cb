// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul: weights packed once as it likes best, bias and activation fused, scratchpad from outside.
#include <omp.h>

#include <cstdio>
#include <cstring>
#include <dnnl.hpp>
#include <memory>
#include <vector>

#include "peer.h"
#include "ss1/ss1.h"

namespace {

using dnnl::memory;
using type = memory::data_type;

dnnl::algorithm eltwise_of(int activation) {
    switch (activation) {
        case SS1_ACTIVATION_RELU:
            return dnnl::algorithm::eltwise_relu;
        case SS1_ACTIVATION_GELU:
            return dnnl::algorithm::eltwise_gelu_erf;
        case SS1_ACTIVATION_GELU_TANH:
            return dnnl::algorithm::eltwise_gelu_tanh;
        case SS1_ACTIVATION_TANH:
            return dnnl::algorithm::eltwise_tanh;
        case SS1_ACTIVATION_SIGMOID:
            return dnnl::algorithm::eltwise_logistic;
        case SS1_ACTIVATION_SILU:
            return dnnl::algorithm::eltwise_swish;
        default:
            return dnnl::algorithm::undef;
    }
}

dnnl::primitive_attr attributes(const ss1_peer_problem &p) {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(
        dnnl::scratchpad_mode::user);  // else oneDNN takes a lock or its global buffer in each call
    if (p.precision == SS1_PEER_U8S8) {
        std::vector<float> scales(p.weight_scale, p.weight_scale + p.n);
        for (float &scale : scales) scale *= p.x_scale;
        attr.set_output_scales(1 << 1, scales);
    }
    if (const dnnl::algorithm eltwise = eltwise_of(p.activation); eltwise != dnnl::algorithm::undef) {
        dnnl::post_ops ops;
        const float relu_slope = 0, swish_factor = 1;
        ops.append_eltwise(1, eltwise, p.activation == SS1_ACTIVATION_RELU ? relu_slope : swish_factor, 0);
        attr.set_post_ops(ops);
    }
    return attr;
}

// u8 times s8: oneDNN scales (sum + bias), and a zero point would cost it time in each call. Both go into the bias.
std::vector<float> bias_of(const ss1_peer_problem &p) {
    std::vector<float> bias(p.bias, p.bias + p.n);
    if (p.precision != SS1_PEER_U8S8) return bias;
    const int8_t *weight = static_cast<const int8_t *>(p.weight);
    for (size_t j = 0; j < p.n; ++j) {
        int64_t sum = 0;
        for (size_t i = 0; i < p.k; ++i) sum += weight[j * p.k + i];
        bias[j] = bias[j] / (p.x_scale * p.weight_scale[j]) - static_cast<float>(128 * sum);
    }
    return bias;
}

struct layer {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    dnnl::matmul primitive;
    std::vector<memory> weights;
    memory x, y, bias, scratchpad;
    // Arguments are made once: the C++ execute() would build this list in each call.
    std::vector<std::vector<dnnl_exec_arg_t>> arguments;

    explicit layer(const ss1_peer_problem &p);
};

layer::layer(const ss1_peer_problem &p) {
    omp_set_num_threads(static_cast<int>(p.threads));  // before the primitive is made: its blocking depends on it
    constexpr type x_types[] = {type::f32, type::bf16, type::u8}, weight_types[] = {type::f32, type::bf16, type::s8};
    const type y_type = p.output == SS1_PEER_TO_BF16 ? type::bf16 : type::f32, weight_type = weight_types[p.precision];
    const auto m = static_cast<memory::dim>(p.m), k = static_cast<memory::dim>(p.k), n = static_cast<memory::dim>(p.n);
    const memory::desc x_desc({m, k}, x_types[p.precision], memory::format_tag::ab);
    const memory::desc y_desc({m, n}, y_type, memory::format_tag::ab),
        bias_desc({1, n}, type::f32, memory::format_tag::ab);
    const memory::desc any_weight({k, n}, weight_type, memory::format_tag::any);
    const memory::desc plain_weight({k, n}, weight_type, memory::format_tag::ba);
    const dnnl::matmul::primitive_desc desc({x_desc, any_weight, bias_desc, y_desc}, attributes(p), engine);
    primitive = dnnl::matmul(desc);
    x = memory(x_desc, engine, const_cast<void *>(p.x));
    y = memory(y_desc, engine, p.y);
    bias = memory(bias_desc, engine);
    std::memcpy(bias.get_data_handle(), bias_of(p).data(), p.n * sizeof(float));
    scratchpad = memory(desc.scratchpad_desc(), engine);
    memory plain(plain_weight, engine, const_cast<void *>(p.weight));
    for (size_t i = 0; i < p.copies; ++i) {
        memory &packed = weights.emplace_back(desc.weights_desc(), engine);
        dnnl::reorder(plain, packed).execute(stream, plain, packed);
        arguments.push_back({{DNNL_ARG_SRC, x.get()},
                             {DNNL_ARG_WEIGHTS, packed.get()},
                             {DNNL_ARG_BIAS, bias.get()},
                             {DNNL_ARG_DST, y.get()},
                             {DNNL_ARG_SCRATCHPAD, scratchpad.get()}});
    }
    stream.wait();
}

void *create(const ss1_peer_problem *problem, char *why, size_t why_bytes) try {
    return new layer(*problem);
} catch (const std::exception &error) {
    std::snprintf(why, why_bytes, "%s", error.what());
    return nullptr;
}

int run(void *handle, size_t copy) {
    const layer &l = *static_cast<layer *>(handle);
    const std::vector<dnnl_exec_arg_t> &arguments = l.arguments[copy];
    // A CPU stream with OpenMP is done when this returns.
    return dnnl_primitive_execute(l.primitive.get(), l.stream.get(), static_cast<int>(arguments.size()),
                                  arguments.data()) != dnnl_success;
}

void destroy(void *handle) {
    delete static_cast<layer *>(handle);
}

}  // namespace

SS1_PEER_EXPORT const ss1_peer *ss1_peer_entry(char *, size_t) {
    static char version[32];
    const dnnl_version_t &v = *dnnl_version();
    std::snprintf(version, sizeof version, "%d.%d.%d", v.major, v.minor, v.patch);
    static const ss1_peer peer = {SS1_PEER_ABI, "oneDNN", version, 0, create, run, destroy};
    return &peer;
}
