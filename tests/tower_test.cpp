// SPDX-License-Identifier: Apache-2.0
// Towers: the same bits as their layers one by one, for any number of rows and threads; layers that do not fit
// together.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.hpp"
#include "half.hpp"

using ss1_test::guarded;
using ss1_test::seeded;

namespace {

ss1::context_ptr make_context(const char *level, uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = level;
    options.num_threads = threads;
    return ss1::make_context(options);
}

ss1::layer_ptr make_layer(const ss1::context_ptr &context, ss1_linear_desc desc) {
    ss1_test::seeded random;
    size_t kz = 0;
    ss1::check(ss1_linear_resolve(&desc, &kz));
    std::vector<float> z(desc.N * kz), bias(desc.N), u(desc.N * desc.rank), v(desc.rank * desc.K);
    for (float &value : z) value = random.uniform() / 8;
    for (std::vector<float> *values : {&bias, &u, &v})
        for (float &value : *values) value = random.uniform();
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    weights.bias = bias.data();
    weights.u = desc.rank ? u.data() : nullptr;
    weights.v = desc.rank ? v.data() : nullptr;
    return ss1::make_layer(context, desc, weights);
}

// Makes layers of widths 45 -> 100 -> 300 -> 1 with tied weights and a part of that rank in the middle.
std::vector<ss1::layer_ptr> make_layers(const ss1::context_ptr &context, ss1_dtype weights, ss1_dtype between,
                                        size_t rank = 0) {
    const size_t widths[] = {45, 100, 300, 1};
    std::vector<ss1::layer_ptr> layers;
    for (size_t i = 0; i < 3; ++i) {
        ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
        desc.K = widths[i];
        desc.N = widths[i + 1];
        desc.c = i == 1 ? 2 : 1;
        desc.rank = i == 1 ? rank : 0;
        desc.block_k = 16;
        desc.block_n = 128;
        desc.activation = i == 2 ? SS1_ACTIVATION_SIGMOID : SS1_ACTIVATION_RELU;
        desc.weight_dtype = weights;
        desc.x_dtype = i == 0 ? SS1_DTYPE_F32 : between;
        desc.y_dtype = i == 2 ? SS1_DTYPE_F32 : between;
        layers.push_back(make_layer(context, desc));
    }
    return layers;
}

std::vector<const ss1_layer *> pointers(const std::vector<ss1::layer_ptr> &layers) {
    std::vector<const ss1_layer *> result;
    for (const ss1::layer_ptr &layer : layers) result.push_back(layer.get());
    return result;
}

void run_one(const ss1_layer *layer, size_t m, const void *x, size_t ldx, void *y) {
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x;
    args.ldx = ldx;
    args.y = y;
    ss1::check(ss1_layer_run(layer, &args));
}

}  // namespace

TEST_CASE("a tower gives its layers' bits for any number of rows and threads") {
    for (const char *level : ss1_test::levels_here())
        for (const auto &[weights, between] : {std::pair(SS1_DTYPE_F32, SS1_DTYPE_F32),
                                               {SS1_DTYPE_BF16, SS1_DTYPE_BF16},
                                               {SS1_DTYPE_I8, SS1_DTYPE_BF16},
                                               {SS1_DTYPE_I8, SS1_DTYPE_F32}})
            for (const uint32_t threads : {1u, 2u, 3u, 7u}) {
                const auto context = make_context(level, threads);
                const auto layers = make_layers(context, weights, between, threads % 2 ? 12 : 0);
                const auto tower = ss1::make_tower(pointers(layers));
                seeded random;
                for (const size_t m : {1, 31, 64, 97, 300, 700}) {
                    guarded<float> x(m, 45, 47);
                    x.fill([&] { return random.uniform(); });
                    std::vector<float> a(m * 100), b(m * 300), want(m), scratch;
                    run_one(layers[0].get(), m, x.data(), x.ld(), a.data());
                    run_one(layers[1].get(), m, a.data(), 0, b.data());
                    run_one(layers[2].get(), m, b.data(), 0, want.data());
                    guarded<float> y(m, 1, 3);
                    const size_t bytes = ss1_tower_scratch_bytes(tower.get(), m);
                    guarded<char> memory(1, bytes, bytes, ss1_test::guard::after, 64);
                    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
                    args.m = m;
                    args.x = x.data();
                    args.ldx = x.ld();
                    args.y = y.data();
                    args.ldy = y.ld();
                    args.scratch = threads % 2 ? memory.data() : nullptr;
                    ss1::check(ss1_tower_run(tower.get(), &args));
                    size_t different = 0;
                    for (size_t i = 0; i < m; ++i) different += std::memcmp(&y.at(i, 0), &want[i], sizeof(float)) != 0;
                    INFO(level << " weights " << weights << " between " << between << " threads " << threads << " m "
                               << m);
                    CHECK(different == 0);
                    CHECK((x.intact() && y.intact() && memory.intact()));
                }
            }
}

TEST_CASE("a layer that occurs more than once, also as the last one") {
    for (const uint32_t threads : {1u, 3u}) {
        const auto context = make_context(nullptr, threads);
        const auto make = [&](size_t K, size_t N) {
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = K;
            desc.N = N;
            desc.activation = SS1_ACTIVATION_TANH;
            return make_layer(context, desc);
        };
        const auto a = make(64, 64), wide = make(16, 256), narrow = make(256, 16);
        for (const std::vector<const ss1_layer *> &chain : {std::vector<const ss1_layer *>{a.get(), a.get()},
                                                            {a.get(), a.get(), a.get()},
                                                            {wide.get(), narrow.get(), wide.get()}})
            for (const size_t m : {1, 64, 300}) {
                const size_t K = chain[0] == a.get() ? 64 : 16, N = chain[0] == a.get() ? 64 : 256;
                seeded random;
                std::vector<float> x(m * K);
                for (float &v : x) v = random.uniform();
                std::vector<float> want = x;
                for (const ss1_layer *layer : chain) {
                    std::vector<float> next(m * (layer == narrow.get() ? 16 : N));
                    run_one(layer, m, want.data(), 0, next.data());
                    want = next;
                }
                const auto tower = ss1::make_tower(chain);
                const size_t bytes = ss1_tower_scratch_bytes(tower.get(), m);
                guarded<char> memory(1, bytes, bytes, ss1_test::guard::after, 64);
                std::vector<float> y(m * N);
                ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
                args.m = m;
                args.x = x.data();
                args.y = y.data();
                args.scratch = memory.data();
                ss1::check(ss1_tower_run(tower.get(), &args));
                INFO(threads << " threads, " << chain.size() << " layers, m " << m);
                CHECK(y == want);
                CHECK(memory.intact());
            }
    }
}

TEST_CASE("scratch of a tower serves fewer rows too, and stops growing") {
    for (const uint32_t threads : {1u, 3u}) {
        const auto context = make_context(nullptr, threads);
        const auto layers = make_layers(context, SS1_DTYPE_F32, SS1_DTYPE_F32);
        const auto tower = ss1::make_tower(pointers(layers));
        size_t before = 0;
        for (size_t m = 0; m < 1500; ++m) {
            const size_t bytes = ss1_tower_scratch_bytes(tower.get(), m);
            if (bytes < before) FAIL("m=" << m << ": " << bytes << " after " << before);
            before = bytes;
        }
        CHECK(ss1_tower_scratch_bytes(tower.get(), SIZE_MAX) == ss1_tower_scratch_bytes(tower.get(), 1u << 20));
        CHECK(ss1_tower_scratch_bytes(nullptr, 3) == 0);
    }
}

TEST_CASE("a tower of layers that do not fit is refused by rule") {
    const auto context = make_context(nullptr, 1), other = make_context(nullptr, 1);
    const auto layers = make_layers(context, SS1_DTYPE_F32, SS1_DTYPE_F32);
    const auto foreign = make_layers(other, SS1_DTYPE_F32, SS1_DTYPE_F32);
    const auto halves = make_layers(context, SS1_DTYPE_BF16, SS1_DTYPE_BF16);
    const struct {
        std::vector<const ss1_layer *> chain;
        const char *message;
    } cases[] = {
        {{}, "n=0"},
        {{layers[0].get(), nullptr}, "layers[1] is NULL"},
        {{layers[0].get(), layers[2].get()}, "layers[1] has K=300, layers[0] before it N=100"},
        {{layers[0].get(), foreign[1].get()}, "layers[1] is of another context"},
        {{layers[0].get(), halves[1].get()}, "layers[1] has x_dtype=2, layers[0] before it y_dtype=1"},
    };
    for (const auto &c : cases) {
        ss1_tower *tower = nullptr;
        static const ss1_layer *nothing = nullptr;
        CHECK(ss1_tower_create(c.chain.empty() ? &nothing : c.chain.data(), c.chain.size(), &tower) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Catch::Contains(c.message));
        CHECK(tower == nullptr);
    }
    const auto tower = ss1::make_tower(pointers(layers));
    float x[45] = {}, y[1];
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = 1;
    args.x = x;
    args.y = y;
    args.residual = y;
    CHECK(ss1_tower_run(tower.get(), &args) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.residual"));
    args.residual = nullptr;
    args.ldx = 44;
    CHECK(ss1_tower_run(tower.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("args.ldx=44 is below K=45"));
    args.m = 0;
    CHECK(ss1_tower_run(tower.get(), &args) == SS1_OK);
    ss1_tower_destroy(nullptr);
}
