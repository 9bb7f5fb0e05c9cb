// SPDX-License-Identifier: Apache-2.0
#include "driver/composition.hpp"

#include "apps/failure.hpp"

namespace ss1::bench {

using namespace apps;

namespace {

array<float> expand(const ss1_linear_desc &desc, size_t stored_columns) {
    const array<float> z = random_floats(desc.N * stored_columns, 1 / std::sqrt(static_cast<float>(desc.K)), 4);
    array<float> weight = make_array<float>(desc.N * desc.K);
    check(ss1_expand(&desc, z.get(), 0, weight.get(), 0));
    return weight;
}

// In the reference scheme, member q of a group has the weights of member 0 rotated by a number that depends on q alone.
// The first output's row tells the number.
sketch_plan plan_of(const ss1_linear_desc &desc, size_t stored_columns, const float *weight) {
    sketch_plan plan = {desc.K, desc.block_k, stored_columns / desc.block_k, {}};
    for (size_t q = 0; q < desc.c; ++q) {
        const float *member = weight + q * desc.block_k;
        const auto fits = [&](size_t rotation) {
            for (size_t t = 0; t < desc.block_k; ++t)
                if (member[(t + rotation) % desc.block_k] != weight[t]) return false;
            return true;
        };
        size_t rotation = 0;
        while (rotation < desc.block_k && !fits(rotation)) rotation += 8;
        if (rotation == desc.block_k) throw failure("the reference scheme is not a rotation by multiples of 8");
        plan.rotations.push_back(rotation);
    }
    return plan;
}

// Copies member 0 of every group.
array<float> reduce(const sketch_plan &plan, const float *weight, size_t n) {
    const size_t columns = plan.columns(), span = plan.rotations.size() * plan.block_k;
    array<float> reduced = make_array<float>(n * columns);
    std::fill_n(reduced.get(), n * columns, 0.0f);
    for (size_t j = 0; j < n; ++j)
        for (size_t g = 0; g < plan.groups; ++g)
            std::copy_n(weight + j * plan.k + g * span, std::min(plan.block_k, plan.k - g * span),
                        reduced.get() + j * columns + g * plan.block_k);
    return reduced;
}

}  // namespace

composed_weights::composed_weights(const ss1_linear_desc &desc, size_t stored_columns, const linear_data &data)
    : expanded(expand(desc, stored_columns)),
      plan(plan_of(desc, stored_columns, expanded.get())),
      reduced(reduce(plan, expanded.get(), desc.N)),
      packed(reduced.get(), desc.N, plan.columns(), data.type.peer) {}

composed_layer::composed_layer(const composed_weights &weights, const linear_data &data, size_t m, uint32_t threads)
    : weights_(weights), data_(data), m_(m), threads_(threads) {
    const size_t count = m * weights.plan.columns();
    if (data.type.peer == SS1_PEER_BF16) {
        s_bf16_ = make_array<uint16_t>(count);
        return;
    }
    s_f32_ = make_array<float>(count);
    if (data.type.peer == SS1_PEER_F32) return;
    sketch(weights.plan, data.x.get(), m, s_f32_.get(), threads);
    scale_ = largest(s_f32_.get(), count) / 127;  // known in advance, which favours the composition
    s_u8_ = make_array<uint8_t>(count);
}

std::unique_ptr<composed_layer> composed_layer::create(const ss1_peer &peer, const composed_weights &weights,
                                                       const linear_data &data, ss1_peer_problem problem,
                                                       std::string &why) {
    std::unique_ptr<composed_layer> layer(new composed_layer(weights, data, problem.m, problem.threads));
    problem.k = weights.plan.columns();
    problem.weight = weights.packed.data();
    problem.weight_scale = weights.packed.scales.get();
    problem.x_scale = layer->scale_;
    problem.x = data.type.peer == SS1_PEER_F32    ? static_cast<const void *>(layer->s_f32_.get())
                : data.type.peer == SS1_PEER_BF16 ? static_cast<const void *>(layer->s_bf16_.get())
                                                  : layer->s_u8_.get();
    layer->sketch_rows();
    layer->product_ = peer_layer::create(peer, problem, why);
    return layer->product_ ? std::move(layer) : nullptr;
}

void composed_layer::sketch_rows() {
    const sketch_plan &plan = weights_.plan;
    if (data_.type.peer == SS1_PEER_F32)
        sketch(plan, data_.x.get(), m_, s_f32_.get(), threads_);
    else if (data_.type.peer == SS1_PEER_BF16)
        sketch(plan, data_.x_bf16.get(), m_, s_bf16_.get(), threads_);
    else if (data_.type.x == SS1_DTYPE_BF16)
        sketch(plan, data_.x_bf16.get(), m_, s_u8_.get(), scale_, threads_);
    else
        sketch(plan, data_.x.get(), m_, s_u8_.get(), scale_, threads_);
}

void composed_layer::run() {
    sketch_rows();
    product_->run();
}

}  // namespace ss1::bench
