// SPDX-License-Identifier: Apache-2.0
#include "cli/layer_run.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <string_view>

#include "apps/failure.hpp"
#include "apps/sampler.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

layer_handle create(const context_handle &context, const ss1_linear_desc &desc, const float *z, const float *u,
                    const float *v) {
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z;
    weights.u = u;
    weights.v = v;
    ss1_layer *layer = nullptr;
    check(ss1_layer_create(context.get(), &desc, &weights, &layer));
    return layer_handle(layer);
}

size_t stored_columns(ss1_linear_desc desc) {
    size_t columns = 0;
    check(ss1_linear_resolve(&desc, &columns));
    return columns;
}

void run(const layer_handle &layer, size_t m, const float *x, float *y, size_t ldy) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.y = y;
    args.ldy = ldy;
    check(ss1_layer_run(layer.get(), &args));
}

// Layers that read the same rows run as one if they have one V or none.
bool run_as_one(const ss1_linear_desc &desc) {
    return desc.c <= 1 || desc.rank == 0;
}

bool is_expanded(const layer_handle &layer) {
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    check(ss1_layer_describe(layer.get(), &info));
    return std::string_view(info.kernels).find("expanded") != std::string_view::npos;
}

// Layers of random weights that together do the work of a group.
struct timed_layers {
    std::vector<layer_handle> layers;
    size_t N;  // of each

    timed_layers(const context_handle &context, ss1_linear_desc desc, size_t parts, std::mt19937 &random) {
        const bool as_one = run_as_one(desc);
        if (as_one) desc.N *= parts;
        N = desc.N;
        std::uniform_real_distribution<float> uniform(-1, 1);
        const auto draw = [&](size_t n) {
            std::vector<float> values(n);
            std::ranges::generate(values, [&] { return uniform(random); });
            return values;
        };
        const std::vector<float> z = draw(N * stored_columns(desc)), u = draw(N * desc.rank),
                                 v = draw(desc.rank * desc.K);
        const auto or_null = [](const std::vector<float> &values) { return values.empty() ? nullptr : values.data(); };
        for (size_t i = 0; i < (as_one ? 1 : parts); ++i)
            layers.push_back(create(context, desc, or_null(z), or_null(u), or_null(v)));
    }
};

}  // namespace

std::vector<float> run_stacked(const context_handle &context, const ss1_linear_desc &desc, size_t parts,
                               const stacked_weights &weights, std::span<const float> x, size_t m) {
    const size_t columns = stored_columns(desc), N = desc.N;
    const bool one_v = weights.v.size() == desc.rank * desc.K;
    std::vector<float> y(m * parts * N);
    for (size_t i = 0; i < parts; ++i) {
        const layer_handle layer =
            create(context, desc, columns ? weights.z.data() + i * N * columns : nullptr,
                   desc.rank ? weights.u.data() + i * N * desc.rank : nullptr,
                   desc.rank ? weights.v.data() + (one_v ? 0 : i * desc.rank * desc.K) : nullptr);
        run(layer, m, x.data(), y.data() + i * N, parts * N);
    }
    return y;
}

std::vector<double> time_layers(const context_handle &context, std::span<const ss1_linear_desc> descs, size_t parts,
                                size_t m) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> x(m * descs[0].K), y(m * descs[0].N * parts);
    std::ranges::generate(x, [&] { return uniform(random); });
    std::vector<double> us(descs.size(), std::numeric_limits<double>::infinity());
    std::vector<timed_layers> layers;
    std::vector<size_t> which;
    for (size_t i = 0; i < descs.size(); ++i) {
        timed_layers made(context, descs[i], parts, random);
        if (i > 0 && is_expanded(made.layers[0])) continue;
        layers.push_back(std::move(made));
        which.push_back(i);
    }
    std::vector<std::function<void()>> calls;
    for (const timed_layers &timed : layers)
        calls.emplace_back([&] {
            for (size_t i = 0; i < timed.layers.size(); ++i)
                run(timed.layers[i], m, x.data(), y.data() + i * timed.N, timed.N * timed.layers.size());
        });
    const std::vector<timing> timings = interleave(calls, layer_sampling);
    for (size_t i = 0; i < calls.size(); ++i) us[which[i]] = sorted(timings[i].ns)[timings[i].ns.size() / 10] / 1e3;
    return us;
}

}  // namespace ss1::cli
