// SPDX-License-Identifier: Apache-2.0
// SS1 put together from parts that anybody has: a pass that sketches x, then a library's dense product with K/c inputs.
// A layer of ours that is slower than that has no reason to exist.
#pragma once
#include <memory>

#include "driver/linear_data.hpp"
#include "driver/loops.hpp"
#include "driver/peers.hpp"

namespace ss1::bench {

// The weights for one c, of the reference scheme: one sketch serves every output.
struct composed_weights {
    // `desc` resolved, of the reference scheme, c > 1.
    composed_weights(const ss1_linear_desc &desc, size_t stored_columns, const linear_data &data);

    array<float> expanded;  // [n, k]
    sketch_plan plan;
    array<float> reduced;  // [n, plan.columns()]
    peer_weights packed;
};

class composed_layer {
  public:
    // Fills in the fields of `problem` that belong to the sketch. Empty if the peer cannot run it: see `why`.
    static std::unique_ptr<composed_layer> create(const ss1_peer &peer, const composed_weights &weights,
                                                  const linear_data &data, ss1_peer_problem problem, std::string &why);
    void run();

  private:
    composed_layer(const composed_weights &weights, const linear_data &data, size_t m, uint32_t threads);
    void sketch_rows();

    const composed_weights &weights_;
    const linear_data &data_;
    size_t m_;
    uint32_t threads_;
    float scale_ = 0;  // of s as u8
    array<float> s_f32_;
    array<uint16_t> s_bf16_;
    array<uint8_t> s_u8_;
    std::unique_ptr<peer_layer> product_;
};

}  // namespace ss1::bench
