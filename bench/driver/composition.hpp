// SPDX-License-Identifier: Apache-2.0
// SS1 composed of common parts: a pass that sketches x, then a library's dense product with K/c inputs. An SS1 layer
// that is slower than this composition has no reason to exist.
#pragma once
#include <memory>

#include "driver/linear_data.hpp"
#include "driver/loops.hpp"
#include "driver/peers.hpp"

namespace ss1::bench {

// The weights for one c in the reference scheme, in which all outputs share one sketch.
struct composed_weights {
    // `desc` must be resolved, of the reference scheme, with c > 1.
    composed_weights(const ss1_linear_desc &desc, size_t stored_columns, const linear_data &data);

    array<float> expanded;  // [n, k]
    sketch_plan plan;
    array<float> reduced;  // [n, plan.columns()]
    peer_weights packed;
};

class composed_layer {
  public:
    // Sets the fields of `problem` that belong to the sketch. Returns nullptr if the peer cannot run it, with the
    // reason in `why`.
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
    float scale_ = 0;  // scale of s as u8
    array<float> s_f32_;
    array<uint16_t> s_bf16_;
    array<uint8_t> s_u8_;
    std::unique_ptr<peer_layer> product_;
};

}  // namespace ss1::bench
