// SPDX-License-Identifier: Apache-2.0
#include "dense_baseline.hpp"

#include <omp.h>

#include <cstring>
#include <dnnl.hpp>
#include <vector>

#include "cli.hpp"

namespace ss1::cli {
namespace {

using dnnl::memory;

dnnl::algorithm eltwise_of(ss1_activation activation) {
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

dnnl::primitive_attr attributes(ss1_activation activation) {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(
        dnnl::scratchpad_mode::user);  // else oneDNN takes a lock or its global buffer in each call
    if (const dnnl::algorithm eltwise = eltwise_of(activation); eltwise != dnnl::algorithm::undef) {
        dnnl::post_ops ops;
        const float relu_slope = 0, swish_factor = 1;
        ops.append_eltwise(1, eltwise, activation == SS1_ACTIVATION_RELU ? relu_slope : swish_factor, 0);
        attr.set_post_ops(ops);
    }
    return attr;
}

}  // namespace

struct dense_baseline::state {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    dnnl::matmul primitive;
    std::vector<memory> weights;
    memory x, y, bias, scratchpad;
    // Arguments are made once: the C++ execute() would build this list in each call.
    std::vector<std::vector<dnnl_exec_arg_t>> arguments;
};

std::string dense_library() {
    const dnnl_version_t &version = *dnnl_version();
    return "oneDNN " + std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.patch);
}

dense_baseline::dense_baseline(const dense_problem &p, size_t copies, uint32_t threads) try
    : state_(std::make_unique<state>()) {
    omp_set_num_threads(static_cast<int>(threads));  // before the primitive is made: its blocking depends on it
    state &s = *state_;
    const auto f32 = memory::data_type::f32;
    const auto m = static_cast<memory::dim>(p.m), k = static_cast<memory::dim>(p.k), n = static_cast<memory::dim>(p.n);
    const memory::desc x_desc({m, k}, f32, memory::format_tag::ab), y_desc({m, n}, f32, memory::format_tag::ab);
    const memory::desc bias_desc({1, n}, f32, memory::format_tag::ab), any_weight({k, n}, f32, memory::format_tag::any);
    const memory::desc plain_weight({k, n}, f32, memory::format_tag::ba);
    const dnnl::matmul::primitive_desc desc({x_desc, any_weight, bias_desc, y_desc}, attributes(p.activation),
                                            s.engine);
    s.primitive = dnnl::matmul(desc);
    s.x = memory(x_desc, s.engine, const_cast<float *>(p.x));
    s.y = memory(y_desc, s.engine, p.y);
    s.bias = memory(bias_desc, s.engine);
    std::memcpy(s.bias.get_data_handle(), p.bias, p.n * sizeof(float));
    s.scratchpad = memory(desc.scratchpad_desc(), s.engine);
    memory plain(plain_weight, s.engine, const_cast<float *>(p.weight));
    for (size_t i = 0; i < copies; ++i) {
        memory &packed = s.weights.emplace_back(desc.weights_desc(), s.engine);
        dnnl::reorder(plain, packed).execute(s.stream, plain, packed);
        s.arguments.push_back({{DNNL_ARG_SRC, s.x.get()},
                               {DNNL_ARG_WEIGHTS, packed.get()},
                               {DNNL_ARG_BIAS, s.bias.get()},
                               {DNNL_ARG_DST, s.y.get()},
                               {DNNL_ARG_SCRATCHPAD, s.scratchpad.get()}});
    }
    s.stream.wait();
} catch (const dnnl::error &error) {
    throw failure(std::string("oneDNN: ") + error.what(), "measure ss1 alone with --no-dense, or other shapes");
}

dense_baseline::~dense_baseline() = default;

void dense_baseline::run(size_t copy) {
    const std::vector<dnnl_exec_arg_t> &arguments = state_->arguments[copy];
    // A CPU stream with OpenMP is done when this returns.
    const dnnl_status_t status = dnnl_primitive_execute(state_->primitive.get(), state_->stream.get(),
                                                        static_cast<int>(arguments.size()), arguments.data());
    if (status != dnnl_success) throw failure("oneDNN: a dense layer failed to run");
}

}  // namespace ss1::cli
