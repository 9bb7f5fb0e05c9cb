// SPDX-License-Identifier: Apache-2.0
// The contract of the C API: every bad argument has a pinned status and a message that names function, argument, value
// and rule; nothing half created; callbacks are used as documented.

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cfenv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/buffer.hpp"
#include "ss1/ss1.hpp"
#include "text/unicode.hpp"

namespace {

ss1_linear_desc small_desc() {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 64;
    desc.c = 2;
    return desc;
}

struct layer_fixture {
    ss1::context_ptr context = ss1::make_context();
    std::vector<float> z = std::vector<float>(64 * 128, 0.5f), bias = std::vector<float>(64, 1.0f);
    std::vector<float> x = std::vector<float>(4 * 300, 1.0f), y = std::vector<float>(4 * 300, -7.0f);
    std::vector<float> r = std::vector<float>(4 * 300, 0.25f);

    ss1_linear_weights weights() const {
        ss1_linear_weights w = SS1_LINEAR_WEIGHTS_INIT;
        w.z = z.data();
        w.bias = bias.data();
        return w;
    }
    ss1_linear_args args() {
        ss1_linear_args a = SS1_LINEAR_ARGS_INIT;
        a.m = 4;
        a.x = x.data();
        a.y = y.data();
        return a;
    }
};

struct bad_case {
    const char *what;
    std::function<ss1_status()> call;
    ss1_status status;
    std::vector<std::string> words;  // all in the message
};

void check_all(const std::vector<bad_case> &cases) {
    for (const bad_case &c : cases) {
        INFO(c.what);
        CHECK(c.call() == c.status);
        const std::string message = ss1_last_error();
        for (const std::string &word : c.words) {
            INFO("message: " << message);
            CHECK(message.find(word) != std::string::npos);
        }
    }
}

}  // namespace

TEST_CASE("statuses are pinned and named") {
    CHECK(SS1_OK == 0);
    CHECK(SS1_ERROR_INVALID_ARGUMENT == 1);
    CHECK(SS1_ERROR_UNSUPPORTED == 2);
    CHECK(SS1_ERROR_OUT_OF_MEMORY == 3);
    CHECK(SS1_ERROR_BACKEND == 4);
    CHECK(SS1_ERROR_INTERNAL == 5);
    CHECK(SS1_ERROR_IO == 6);
    CHECK(SS1_ERROR_FORMAT == 7);
    CHECK(SS1_ERROR_CANCELLED == 8);
    CHECK(SS1_ERROR_DEADLINE == 9);
    CHECK(std::string(ss1_status_name(SS1_ERROR_CANCELLED)) == "SS1_ERROR_CANCELLED");
    CHECK(std::string(ss1_status_name(SS1_ERROR_DEADLINE)) == "SS1_ERROR_DEADLINE");
    CHECK(std::string(ss1_status_name(SS1_ERROR_FORMAT)) == "SS1_ERROR_FORMAT");
    CHECK(std::string(ss1_status_name(static_cast<ss1_status>(99))) == "SS1_ERROR_UNKNOWN");
    CHECK(std::string(ss1_version()) == SS1_VERSION_STRING);
}

TEST_CASE("bad context options") {
    ss1_context *context = nullptr;
    const auto create = [&](const std::function<void(ss1_context_options &)> &change) {
        return [&context, change] {
            ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
            change(options);
            return ss1_context_create(&options, &context);
        };
    };
    using options = ss1_context_options;
    check_all({
        {"null out",
         [] { return ss1_context_create(nullptr, nullptr); },
         SS1_ERROR_INVALID_ARGUMENT,
         {"ss1_context_create", "context is NULL"}},
        {"size",
         create([](options &o) { o.struct_size = 3; }),
         SS1_ERROR_INVALID_ARGUMENT,
         {"struct_size=3", "SS1_CONTEXT_OPTIONS_INIT"}},
        {"threads",
         create([](options &o) { o.num_threads = 5000; }),
         SS1_ERROR_INVALID_ARGUMENT,
         {"num_threads=5000", "4096"}},
        {"half allocator",
         create([](options &o) { o.free = [](void *, void *, size_t) {}; }),
         SS1_ERROR_INVALID_ARGUMENT,
         {"alloc and free"}},
        {"isa",
         create([](options &o) { o.max_isa = "pentium"; }),
         SS1_ERROR_INVALID_ARGUMENT,
         {"max_isa=pentium", "none"}},
        {"log level",
         create([](options &o) { o.log_level = static_cast<ss1_log_level>(9); }),
         SS1_ERROR_INVALID_ARGUMENT,
         {"log_level=9"}},
        {"backend", create([](options &o) { o.backend = "abacus"; }), SS1_ERROR_BACKEND, {"abacus", "no file"}},
    });
    CHECK(context == nullptr);
}

TEST_CASE("bad environment variables are errors, not guesses") {
    ss1_context *context = nullptr;
    for (const char *value : {"0", "-2", "two", "99999", "3x"}) {
        setenv("SS1_NUM_THREADS", value, 1);
        CHECK(ss1_context_create(nullptr, &context) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK(std::string(ss1_last_error()).find(std::string("SS1_NUM_THREADS=") + value) != std::string::npos);
    }
    setenv("SS1_NUM_THREADS", "3", 1);
    ss1_info info = SS1_INFO_INIT;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    REQUIRE(ss1_context_create(&options, &context) == SS1_OK);
    REQUIRE(ss1_get_info(context, &info) == SS1_OK);
    CHECK(info.num_threads == 3);
    CHECK(std::string(info.threads_reason).find("SS1_NUM_THREADS") != std::string::npos);
    ss1_context_destroy(&context);
    setenv("SS1_NUM_THREADS", "many", 1);  // not read where num_threads is given
    options.num_threads = 2;
    CHECK(ss1_context_create(&options, &context) == SS1_OK);
    ss1_context_destroy(&context);
    unsetenv("SS1_NUM_THREADS");
}

TEST_CASE("SS1_VERBOSE raises the log level and never lowers it") {
    size_t lines = 0;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.log_user = &lines;
    options.log = [](void *user, ss1_log_level, const char *) { ++*static_cast<size_t *>(user); };
    const auto lines_at = [&](ss1_log_level level, const char *verbose) {
        options.log_level = level;
        verbose ? setenv("SS1_VERBOSE", verbose, 1) : unsetenv("SS1_VERBOSE");
        lines = 0;
        ss1::make_context(options);
        unsetenv("SS1_VERBOSE");
        return lines;
    };
    const size_t info = lines_at(SS1_LOG_INFO, nullptr), debug = lines_at(SS1_LOG_DEBUG, nullptr);
    REQUIRE(debug > info);
    CHECK(lines_at(static_cast<ss1_log_level>(0), "3") == info);
    CHECK(lines_at(SS1_LOG_INFO, "4") == debug);
    CHECK(lines_at(SS1_LOG_DEBUG, "1") == debug);
    setenv("SS1_VERBOSE", "5", 1);
    ss1_context *context = nullptr;
    CHECK(ss1_context_create(nullptr, &context) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(std::string(ss1_last_error()).find("SS1_VERBOSE=5") != std::string::npos);
    unsetenv("SS1_VERBOSE");
}

TEST_CASE("a size that no memory has is refused, also where rounding it up would wrap") {
    for (const size_t bytes : {SIZE_MAX, SIZE_MAX - 5, SIZE_MAX - (size_t{1} << 20), SIZE_MAX / 2 + 1}) {
        ss1::buffer block;
        CHECK(block.allocate(ss1::allocator{}, bytes) == SS1_ERROR_OUT_OF_MEMORY);
        CHECK(block.data() == nullptr);
    }
}

TEST_CASE("bad layer descriptions and weights") {
    layer_fixture f;
    ss1_layer *layer = nullptr;
    const auto create = [&](const std::function<void(ss1_linear_desc &, ss1_linear_weights &)> &change) {
        return [&f, &layer, change] {
            ss1_linear_desc desc = small_desc();
            ss1_linear_weights weights = f.weights();
            change(desc, weights);
            return ss1_layer_create(f.context.get(), &desc, &weights, &layer);
        };
    };
    using desc = ss1_linear_desc;
    using weights = ss1_linear_weights;
    const ss1_status invalid = SS1_ERROR_INVALID_ARGUMENT;
    check_all({
        {"size",
         create([](desc &d, weights &) { d.struct_size = 8; }),
         invalid,
         {"ss1_layer_create", "desc.struct_size=8"}},
        {"K 0", create([](desc &d, weights &) { d.K = 0; }), invalid, {"K=0", "1..2^31"}},
        {"N 0", create([](desc &d, weights &) { d.N = 0; }), invalid, {"N=0"}},
        {"K huge", create([](desc &d, weights &) { d.K = SIZE_MAX; }), invalid, {"K=18446744073709551615"}},
        {"c too large",
         create([](desc &d, weights &) { d.c = 5; }),
         invalid,
         {"K=256", "c*block_k=5*64", "smaller block_k"}},
        {"c huge", create([](desc &d, weights &) { d.c = UINT32_MAX; }), invalid, {"c*block_k"}},
        {"block_k",
         create([](desc &d, weights &) { d.block_k = 48; }),
         invalid,
         {"block_k=48", "16, 32, 64, 128, 256"}},
        {"block_k large", create([](desc &d, weights &) { d.block_k = 512; }), invalid, {"block_k=512"}},
        {"block_n", create([](desc &d, weights &) { d.block_n = 100; }), invalid, {"block_n=100", "multiple of 16"}},
        {"step", create([](desc &d, weights &) { d.step = 3; }), invalid, {"step=3", "power of two"}},
        {"step above block", create([](desc &d, weights &) { d.step = 128; }), invalid, {"step=128", "block_k=64"}},
        {"reference step",
         create([](desc &d, weights &) {
             d.scheme = SS1_SCHEME_REFERENCE;
             d.step = 16;
         }),
         invalid,
         {"step=16", "step=8"}},
        {"scheme", create([](desc &d, weights &) { d.scheme = static_cast<ss1_scheme>(7); }), invalid, {"scheme=7"}},
        {"activation",
         create([](desc &d, weights &) { d.activation = static_cast<ss1_activation>(70); }),
         invalid,
         {"activation=70"}},
        {"dtype", create([](desc &d, weights &) { d.x_dtype = static_cast<ss1_dtype>(70); }), invalid, {"x_dtype=70"}},
        {"x dtype negative",
         create([](desc &d, weights &) { d.x_dtype = static_cast<ss1_dtype>(-1); }),
         invalid,
         {"x_dtype=-1"}},
        {"weight dtype f16",
         create([](desc &d, weights &) { d.weight_dtype = SS1_DTYPE_F16; }),
         SS1_ERROR_UNSUPPORTED,
         {"weight_dtype=f16", "f32, bf16, i8"}},
        {"weight dtype u8",
         create([](desc &d, weights &) { d.weight_dtype = SS1_DTYPE_U8; }),
         SS1_ERROR_UNSUPPORTED,
         {"weight_dtype=u8", "f32, bf16, i8"}},
        {"y dtype f16",
         create([](desc &d, weights &) { d.y_dtype = SS1_DTYPE_F16; }),
         SS1_ERROR_UNSUPPORTED,
         {"y_dtype=f16", "f32, bf16"}},
        {"x dtype i8",
         create([](desc &d, weights &) { d.x_dtype = SS1_DTYPE_I8; }),
         SS1_ERROR_UNSUPPORTED,
         {"x_dtype=i8", "f32, bf16, f16"}},
        {"x dtype i64",
         create([](desc &d, weights &) { d.x_dtype = SS1_DTYPE_I64; }),
         SS1_ERROR_UNSUPPORTED,
         {"x_dtype=i64", "f32, bf16, f16"}},
        {"weights size", create([](desc &, weights &w) { w.struct_size = 1; }), invalid, {"weights.struct_size=1"}},
        {"z", create([](desc &, weights &w) { w.z = nullptr; }), invalid, {"weights.z is NULL"}},
        {"ldz", create([](desc &, weights &w) { w.ldz = 100; }), invalid, {"ldz=100", "Kz=128"}},
        {"ldz overflows",
         create([](desc &, weights &w) { w.ldz = SIZE_MAX / 8; }),
         invalid,
         {"weights.z", "64 rows", "address space"}},
        {"z misaligned",
         create([](desc &, weights &w) {
             w.z = reinterpret_cast<const float *>(reinterpret_cast<const char *>(w.z) + 2);
         }),
         invalid,
         {"weights.z", "aligned"}},
        {"bias misaligned",
         create([](desc &, weights &w) {
             w.bias = reinterpret_cast<const float *>(reinterpret_cast<const char *>(w.bias) + 1);
         }),
         invalid,
         {"weights.bias", "aligned"}},
        {"null desc",
         [&] {
             const auto w = f.weights();
             return ss1_layer_create(f.context.get(), nullptr, &w, &layer);
         },
         invalid,
         {"desc is NULL"}},
        {"null weights",
         [&] {
             const auto d = small_desc();
             return ss1_layer_create(f.context.get(), &d, nullptr, &layer);
         },
         invalid,
         {"weights is NULL"}},
        {"null context",
         [&] {
             const auto d = small_desc();
             const auto w = f.weights();
             return ss1_layer_create(nullptr, &d, &w, &layer);
         },
         invalid,
         {"context is NULL"}},
        {"null layer",
         [&] {
             const auto d = small_desc();
             const auto w = f.weights();
             return ss1_layer_create(f.context.get(), &d, &w, nullptr);
         },
         invalid,
         {"layer is NULL"}},
    });
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        f.z[3 * 128 + 5] = bad;
        const auto d = small_desc();
        const auto w = f.weights();
        CHECK(ss1_layer_create(f.context.get(), &d, &w, &layer) == invalid);
        CHECK(std::string(ss1_last_error()).find("weights.z[3,5]") != std::string::npos);
    }
    CHECK(layer == nullptr);
}

TEST_CASE("int8 takes as many stored columns as its sums in s32 do") {
    const auto context = ss1::make_context();
    const std::vector<float> z(131104, 1.0f);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.N = 1;
    desc.weight_dtype = SS1_DTYPE_I8;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    ss1_layer *layer = nullptr;
    const auto create = [&](size_t K, uint32_t c) {
        return [&, K, c] {
            desc.K = K;
            desc.c = c;
            return ss1_layer_create(context.get(), &desc, &weights, &layer);
        };
    };
    const auto resolve = [&] {
        desc.c = 2;
        desc.K = 2 * 131072 + 1;
        return ss1_linear_resolve(&desc, nullptr);
    };
    check_all({
        {"dense", create(131073, 1), SS1_ERROR_UNSUPPORTED, {"K=131073", "c=1", "stores 131073", "131072", "i8"}},
        {"tied", create(2 * 131072 + 1, 2), SS1_ERROR_UNSUPPORTED, {"K=262145", "c=2", "stores 131136", "131072"}},
        {"resolve", resolve, SS1_ERROR_UNSUPPORTED, {"ss1_linear_resolve", "K=262145"}},
        {"rank",
         [&] {
             desc.rank = 1;
             desc.c = 0;
             desc.K = 131073;
             const ss1_status status = ss1_linear_resolve(&desc, nullptr);
             desc.rank = 0;
             return status;
         },
         SS1_ERROR_UNSUPPORTED,
         {"K=131073", "c=0", "rank=1", "adds 131073 products", "131072"}},
    });
    CHECK(layer == nullptr);
    // The most there may be, and a tied layer that must not be expanded: that sums stay exact is a test of
    // linear_types.
    for (const uint32_t c : {1u, 2u}) {
        CHECK(create(size_t{131072} * c, c)() == SS1_OK);
        ss1_layer_info info = SS1_LAYER_INFO_INIT;
        REQUIRE(ss1_layer_describe(layer, &info) == SS1_OK);
        CHECK(std::string(info.kernels).find("expanded") == std::string::npos);
        ss1_layer_destroy(&layer);
    }
}

TEST_CASE("bad ranks and factors of low rank are refused") {
    const auto context = ss1::make_context();
    std::vector<float> z(64 * 256, 1.0f), u(64 * 4, 1.0f), v(4 * 256, 1.0f), w(64 * 256);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 64;
    desc.rank = 4;
    ss1_linear_weights good = SS1_LINEAR_WEIGHTS_INIT;
    good.u = u.data();
    good.v = v.data();
    const auto create = [&](const std::function<void(ss1_linear_desc &, ss1_linear_weights &)> &change) {
        return [&, change] {
            ss1_linear_desc changed = desc;
            ss1_linear_weights weights = good;
            change(changed, weights);
            ss1_layer *layer = nullptr;
            const ss1_status status = ss1_layer_create(context.get(), &changed, &weights, &layer);
            CHECK(layer == nullptr);
            return status;
        };
    };
    const ss1_status invalid = SS1_ERROR_INVALID_ARGUMENT;
    using d = ss1_linear_desc;
    using lw = ss1_linear_weights;
    check_all({
        {"rank", create([](d &a, lw &) { a.rank = 65; }), invalid, {"rank=65", "min(K, N)=64"}},
        {"no u", create([](d &, lw &b) { b.u = nullptr; }), invalid, {"weights.u is NULL", "rank=4"}},
        {"no v", create([](d &, lw &b) { b.v = nullptr; }), invalid, {"weights.v is NULL", "rank=4"}},
        {"u without a rank",
         create([&](d &a, lw &b) {
             a.rank = 0;
             b.z = z.data();
         }),
         invalid,
         {"weights.u is set, but rank=0"}},
        {"z without c", create([&](d &, lw &b) { b.z = z.data(); }), invalid, {"weights.z is set", "c=0"}},
        {"c without z", create([](d &a, lw &) { a.c = 1; }), invalid, {"weights.z is NULL"}},
        {"u misaligned",
         create(
             [&](d &, lw &b) { b.u = reinterpret_cast<const float *>(reinterpret_cast<const char *>(u.data()) + 2); }),
         invalid,
         {"weights.u", "aligned to 4"}},
        {"u NaN",
         [&] {
             u[5] = std::numeric_limits<float>::quiet_NaN();
             const ss1_status status = create([](d &, lw &) {})();
             u[5] = 1;
             return status;
         },
         invalid,
         {"weights.u[1,1]=nan is not finite"}},
        {"v infinite",
         [&] {
             v[300] = std::numeric_limits<float>::infinity();
             const ss1_status status = create([](d &, lw &) {})();
             v[300] = 1;
             return status;
         },
         invalid,
         {"weights.v[1,44]=inf is not finite"}},
        {"project", [&] { return ss1_project(&desc, w.data(), 0, nullptr, z.data(), 0); }, invalid, {"desc.rank=4"}},
        {"expand", [&] { return ss1_expand(&desc, z.data(), 0, w.data(), 0); }, invalid, {"desc.rank=4"}},
        {"expand without weights",
         [&] { return ss1_linear_expand(&desc, nullptr, w.data(), 0); },
         invalid,
         {"weights is NULL"}},
        {"expand ldw", [&] { return ss1_linear_expand(&desc, &good, w.data(), 5); }, invalid, {"ldw=5", "K=256"}},
        {"expand onto v",
         [&] {
             ss1_linear_weights inside = good;
             inside.v = w.data() + 64;
             return ss1_linear_expand(&desc, &inside, w.data(), 0);
         },
         invalid,
         {"weight=", "overlaps weights.v"}},
    });
    size_t kz = 1;
    ss1::check(ss1_linear_resolve(&desc, &kz));
    CHECK((kz == 0 && desc.c == 0 && desc.rank == 4));
    ss1::check(ss1_linear_expand(&desc, &good, w.data(), 0));
    CHECK(std::all_of(w.begin(), w.end(), [](float value) { return value == 4; }));
}

TEST_CASE("bad run arguments leave the output alone") {
    layer_fixture f;
    const auto layer = ss1::make_layer(f.context, small_desc(), f.weights());
    const auto run = [&](const std::function<void(ss1_linear_args &)> &change) {
        return [&f, &layer, change] {
            ss1_linear_args args = f.args();
            change(args);
            return ss1_layer_run(layer.get(), &args);
        };
    };
    using args = ss1_linear_args;
    const ss1_status invalid = SS1_ERROR_INVALID_ARGUMENT;
    check_all({
        {"null layer",
         [&] {
             const auto a = f.args();
             return ss1_layer_run(nullptr, &a);
         },
         invalid,
         {"ss1_layer_run: layer is NULL"}},
        {"null args", [&] { return ss1_layer_run(layer.get(), nullptr); }, invalid, {"args is NULL"}},
        {"size", run([](args &a) { a.struct_size = 9; }), invalid, {"args.struct_size=9"}},
        {"x", run([](args &a) { a.x = nullptr; }), invalid, {"args.x is NULL"}},
        {"y", run([](args &a) { a.y = nullptr; }), invalid, {"args.y is NULL"}},
        {"ldx", run([](args &a) { a.ldx = 255; }), invalid, {"args.ldx=255", "K=256"}},
        {"ldy", run([](args &a) { a.ldy = 63; }), invalid, {"args.ldy=63", "N=64"}},
        {"overlap", run([](args &a) { a.y = const_cast<void *>(a.x); }), invalid, {"overlaps"}},
        {"overflow", run([](args &a) { a.m = SIZE_MAX / 2; }), invalid, {"address space"}},
        {"residual narrow",
         run([&f](args &a) {
             a.residual = f.r.data();
             a.ldr = 63;
         }),
         invalid,
         {"args.ldr=63", "N=64"}},
        {"residual misaligned",
         run([&f](args &a) { a.residual = reinterpret_cast<const char *>(f.r.data()) + 2; }),
         invalid,
         {"args.residual", "aligned to 4"}},
        {"residual overflows",
         run([&f](args &a) {
             a.residual = f.r.data();
             a.ldr = SIZE_MAX / 8;
         }),
         invalid,
         {"args.residual", "address space"}},
        {"residual overlaps y",
         run([](args &a) { a.residual = static_cast<const float *>(a.y) + 1; }),
         invalid,
         {"args.y", "overlaps args.residual"}},
        {"residual is y with other rows",
         run([](args &a) {
             a.residual = a.y;
             a.ldr = 65;
         }),
         invalid,
         {"args.y", "overlaps args.residual"}},
        {"residual is y with padded rows",
         run([](args &a) {
             a.residual = a.y;
             a.ldy = 65;
         }),
         invalid,
         {"args.y", "overlaps args.residual"}},
        {"misaligned x", run([](args &a) { a.x = static_cast<const char *>(a.x) + 1; }), invalid, {"aligned"}},
        {"misaligned scratch",
         run([](args &a) { a.scratch = reinterpret_cast<void *>(uintptr_t{72}); }),
         invalid,
         {"args.scratch", "64"}},
    });
    for (const float v : f.y) REQUIRE(v == -7.0f);
    ss1_linear_args nothing = SS1_LINEAR_ARGS_INIT;
    CHECK(ss1_layer_run(layer.get(), &nothing) == SS1_OK);
}

TEST_CASE("alignment and room are those of the element types") {
    layer_fixture f;
    ss1_linear_desc desc = small_desc();
    desc.x_dtype = SS1_DTYPE_F16;
    desc.y_dtype = SS1_DTYPE_BF16;
    const auto layer = ss1::make_layer(f.context, desc, f.weights());
    const auto moved = [](void *p, size_t bytes) { return static_cast<void *>(static_cast<char *>(p) + bytes); };
    ss1_linear_args args = f.args();
    args.x = moved(f.x.data(), 2);
    args.y = moved(f.y.data(), 2);
    args.residual = moved(f.r.data(), 2);
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_OK);
    // y right behind x, residual right behind y.
    args.y = moved(const_cast<void *>(args.x), 4 * 256 * 2);
    args.residual = moved(args.y, 4 * 64 * 2);
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_OK);
    const auto refused = [&](const char *word) {
        CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
        INFO(ss1_last_error());
        CHECK(std::string(ss1_last_error()).find(word) != std::string::npos);
    };
    args.residual = moved(args.y, 4 * 64 * 2 - 2);
    refused("args.residual");
    args.residual = nullptr;
    args.y = moved(const_cast<void *>(args.x), 4 * 256 * 2 - 2);
    refused("overlaps args.x");
    args.y = moved(f.y.data(), 1);
    refused("args.y");
    args.y = f.y.data();
    args.x = moved(f.x.data(), 1);
    refused("args.x");
}

TEST_CASE("a residual is added, may be y or x, and may be left out") {
    layer_fixture f;
    ss1_linear_desc desc = small_desc();
    desc.N = 256;
    const std::vector<float> z(256 * 128, 0.5f);
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    const auto layer = ss1::make_layer(f.context, desc, weights);
    for (size_t i = 0; i < f.x.size(); ++i) f.x[i] = static_cast<float>(i % 7) - 3;
    ss1_linear_args args = f.args();
    ss1::check(ss1_layer_run(layer.get(), &args));
    const std::vector<float> plain = f.y;
    const auto run = [&](const float *residual) {
        args.residual = residual;
        ss1::check(ss1_layer_run(layer.get(), &args));
        size_t wrong = 0;
        for (size_t i = 0; i < 4 * 256; ++i) wrong += f.y[i] != plain[i] + (residual == f.x.data() ? f.x[i] : f.r[i]);
        return wrong;
    };
    CHECK(run(f.r.data()) == 0);
    CHECK(run(f.x.data()) == 0);
    std::copy_n(f.r.begin(), 4 * 256, f.y.begin());
    CHECK(run(f.y.data()) == 0);

    args.residual = nullptr;
    ss1::check(ss1_layer_run(layer.get(), &args));
    CHECK((f.y == plain));
}

TEST_CASE("bad arguments of the other functions") {
    layer_fixture f;
    ss1_info info = SS1_INFO_INIT;
    ss1_info old_info = SS1_INFO_INIT;
    old_info.struct_size = 1;
    ss1_linear_desc desc = small_desc();
    std::vector<float> big(64 * 256 + 64 * 128), moment(256 * 256 + 64 * 128);
    ss1_model *model = nullptr;
    ss1_tensor tensor = SS1_TENSOR_INIT;
    size_t bytes = 0;
    ss1_session *session = nullptr;
    ss1_convert_options convert = SS1_CONVERT_OPTIONS_INIT;
    const ss1_status invalid = SS1_ERROR_INVALID_ARGUMENT;
    check_all({
        {"info", [&] { return ss1_get_info(nullptr, &info); }, invalid, {"ss1_get_info: context is NULL"}},
        {"info out", [&] { return ss1_get_info(f.context.get(), nullptr); }, invalid, {"info is NULL"}},
        {"info size", [&] { return ss1_get_info(f.context.get(), &old_info); }, invalid, {"struct_size=1"}},
        {"resolve", [&] { return ss1_linear_resolve(nullptr, nullptr); }, invalid, {"desc is NULL"}},
        {"project w",
         [&] { return ss1_project(&desc, nullptr, 0, nullptr, f.y.data(), 0); },
         invalid,
         {"weight is NULL"}},
        {"project z", [&] { return ss1_project(&desc, f.z.data(), 0, nullptr, nullptr, 0); }, invalid, {"z is NULL"}},
        {"project ldz",
         [&] { return ss1_project(&desc, f.z.data(), 0, nullptr, f.z.data(), 5); },
         invalid,
         {"ldz=5", "Kz=128"}},
        {"expand ldw", [&] { return ss1_expand(&desc, f.z.data(), 0, f.z.data(), 5); }, invalid, {"ldw=5", "K=256"}},
        {"expand desc", [&] { return ss1_expand(nullptr, f.z.data(), 0, f.z.data(), 0); }, invalid, {"desc is NULL"}},
        {"expand overflow",
         [&] { return ss1_expand(&desc, f.z.data(), SIZE_MAX / 8, big.data(), 0); },
         invalid,
         {"z:", "address space"}},
        {"expand onto itself",
         [&] { return ss1_expand(&desc, big.data() + 64 * 255, 0, big.data(), 0); },
         invalid,
         {"weight=", "overlaps", "z="}},
        {"project overflow",
         [&] { return ss1_project(&desc, big.data(), 0, nullptr, f.z.data(), SIZE_MAX / 8); },
         invalid,
         {"z:", "address space"}},
        {"project onto its weight",
         [&] { return ss1_project(&desc, big.data(), 0, nullptr, big.data() + 64 * 255, 0); },
         invalid,
         {"z=", "overlaps", "weight="}},
        {"project onto its second moment",
         [&] { return ss1_project(&desc, big.data(), 0, moment.data(), moment.data() + 5, 0); },
         invalid,
         {"z=", "overlaps", "second_moment="}},
        {"project misaligned",
         [&] {
             const auto moved = reinterpret_cast<const float *>(reinterpret_cast<const char *>(moment.data()) + 1);
             return ss1_project(&desc, big.data(), 0, moved, f.z.data(), 0);
         },
         invalid,
         {"second_moment=", "aligned"}},
        {"describe", [&] { return ss1_layer_describe(nullptr, nullptr); }, invalid, {"layer is NULL"}},
        {"backend name", [&] { return ss1_context_load_backend(f.context.get(), nullptr); }, invalid, {"name is NULL"}},
        {"backend missing",
         [&] { return ss1_context_load_backend(f.context.get(), "/nowhere/libss1-x.so"); },
         SS1_ERROR_BACKEND,
         {"no file", "/nowhere/libss1-x.so"}},
        {"load directory",
         [&] { return ss1_model_load(f.context.get(), nullptr, nullptr, &model); },
         invalid,
         {"directory is NULL"}},
        {"load nothing",
         [&] { return ss1_model_load(f.context.get(), "/nowhere/model", nullptr, &model); },
         SS1_ERROR_IO,
         {"/nowhere/model"}},
        {"load out",
         [&] { return ss1_model_load(f.context.get(), "x", nullptr, nullptr); },
         invalid,
         {"model is NULL"}},
        {"input", [&] { return ss1_model_input(nullptr, 0, &tensor); }, invalid, {"model is NULL"}},
        {"output", [&] { return ss1_model_output(nullptr, 0, &tensor); }, invalid, {"model is NULL"}},
        {"model layer", [&] { return ss1_model_layer(nullptr, 0, nullptr); }, invalid, {"model is NULL"}},
        {"model describe", [&] { return ss1_model_describe(nullptr, nullptr); }, invalid, {"model is NULL"}},
        {"model label", [&] { return ss1_model_label(nullptr, 0, nullptr); }, invalid, {"model is NULL"}},
        {"session bytes", [&] { return ss1_session_bytes(nullptr, nullptr, &bytes); }, invalid, {"model is NULL"}},
        {"session", [&] { return ss1_session_create(nullptr, nullptr, &session); }, invalid, {"model is NULL"}},
        {"session run", [&] { return ss1_session_run(nullptr, nullptr, 0, nullptr, 0); }, invalid, {"session is NULL"}},
        {"deadline", [&] { return ss1_session_set_deadline(nullptr, 1); }, invalid, {"session is NULL"}},
        {"convert",
         [&] { return ss1_model_convert(f.context.get(), "x", nullptr, &convert); },
         invalid,
         {"output is NULL"}},
        {"convert options",
         [&] { return ss1_model_convert(f.context.get(), "x", "y", nullptr); },
         invalid,
         {"options is NULL"}},
    });
    CHECK(model == nullptr);
    CHECK(session == nullptr);
}

TEST_CASE("destroy functions accept NULL and set NULL") {
    ss1_context_destroy(nullptr);
    ss1_layer_destroy(nullptr);
    ss1_model_destroy(nullptr);
    ss1_session_destroy(nullptr);
    ss1_session_cancel(nullptr);
    ss1_context *context = nullptr;
    ss1_layer *layer = nullptr;
    ss1_model *model = nullptr;
    ss1_session *session = nullptr;
    ss1_context_destroy(&context);
    ss1_layer_destroy(&layer);
    ss1_model_destroy(&model);
    ss1_session_destroy(&session);
    layer_fixture f;
    const auto desc = small_desc();
    const auto weights = f.weights();
    REQUIRE(ss1_context_create(nullptr, &context) == SS1_OK);
    REQUIRE(ss1_layer_create(context, &desc, &weights, &layer) == SS1_OK);
    REQUIRE(ss1_model_load(context, SS1_TEST_DATA "/dlrm_dot", nullptr, &model) == SS1_OK);
    REQUIRE(ss1_session_create(model, nullptr, &session) == SS1_OK);
    ss1_context_destroy(&context);
    ss1_layer_destroy(&layer);
    ss1_model_destroy(&model);
    ss1_session_destroy(&session);
    CHECK((!context && !layer && !model && !session));
}

TEST_CASE("a layer outlives its context") {
    layer_fixture f;
    const auto layer = ss1::make_layer(f.context, small_desc(), f.weights());
    f.context.reset();
    const ss1_linear_args args = f.args();
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_OK);
}

TEST_CASE("the allocator is used, balanced, and its refusal is an error that leaves nothing behind") {
    struct counter {
        std::atomic<long> blocks{0}, calls{0}, fail_at{-1};
        std::atomic<size_t> bytes{0};
    } count;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 2;
    options.alloc_user = &count;
    options.alloc = [](void *user, size_t bytes, size_t alignment) -> void * {
        auto &c = *static_cast<counter *>(user);
        if (c.calls++ == c.fail_at) return nullptr;
        c.blocks++;
        c.bytes += bytes;
        return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    options.free = [](void *user, void *pointer, size_t bytes) {
        auto &c = *static_cast<counter *>(user);
        c.blocks--;
        c.bytes -= bytes;
        std::free(pointer);
    };
    layer_fixture f;
    f.context = ss1::make_context(options);
    for (long n = 0;; ++n) {  // fail the n-th allocation until everything goes through
        count.calls = 0;
        count.fail_at = n;
        ss1_layer *layer = nullptr;
        const auto desc = small_desc();
        const auto weights = f.weights();
        const ss1_status status = ss1_layer_create(f.context.get(), &desc, &weights, &layer);
        if (status == SS1_OK) {
            CHECK(n >= 3);  // entries, packed weights, bias
            const auto args = f.args();
            count.calls = 0;
            count.fail_at = 0;
            CHECK(ss1_layer_run(layer, &args) == SS1_ERROR_OUT_OF_MEMORY);
            CHECK(f.y[0] == -7.0f);
            count.fail_at = -1;
            CHECK(ss1_layer_run(layer, &args) == SS1_OK);
            const long before = count.calls;
            for (int i = 0; i < 10; ++i) CHECK(ss1_layer_run(layer, &args) == SS1_OK);
            CHECK(count.calls == before);  // scratch is kept: a steady run allocates nothing
            ss1_layer_destroy(&layer);
            break;
        }
        CHECK(status == SS1_ERROR_OUT_OF_MEMORY);
        CHECK(std::string(ss1_last_error()).find("bytes") != std::string::npos);
        CHECK(layer == nullptr);
        CHECK(count.blocks == 0);
    }
    f.context.reset();
    CHECK(count.blocks == 0);
    CHECK(count.bytes == 0);
}

TEST_CASE("what the caller's parallel_for throws is an error of the call, and only of this call") {
    static bool throws;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 4;
    options.parallel_for = [](void *, size_t n, void (*task)(void *, size_t), void *arg) {
        if (throws) throw std::runtime_error("the pool is shut");
        for (size_t i = 0; i < n; ++i) task(arg, i);
    };
    const ss1::context_ptr context = ss1::make_context(options);
    constexpr size_t K = 512, N = 512, m = 64;
    const std::vector<float> z(K * N, 0.5f), x(m * K, 1.0f);
    std::vector<float> y(m * N);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    desc.K = K, desc.N = N, weights.z = z.data(), args.m = m, args.x = x.data(), args.y = y.data();
    const ss1::layer_ptr layer = ss1::make_layer(context, desc, weights);
    const ss1::model_ptr model = ss1::load_model(context, SS1_EXAMPLES "/models/spam-bert-ss1");
    const ss1::session_ptr session = ss1::make_session(model);
    const std::vector<int64_t> ids(64, 7);
    float logits[] = {-1, -1};
    const ss1_tensor inputs[] = {ss1::input("input_ids", ids.data(), {1, 64})};
    ss1_tensor outputs[] = {ss1::output("logits", logits, 2)};

    throws = true;
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(std::string(ss1_last_error()) ==
          "ss1_layer_run: the context's parallel_for threw an exception: the pool is shut");
    CHECK(ss1_session_run(session.get(), inputs, 1, outputs, 1) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(std::string(ss1_last_error()) ==
          "ss1_session_run: the context's parallel_for threw an exception: the pool is shut");
    CHECK(logits[0] == -1);
    throws = false;
    CHECK(ss1_layer_run(layer.get(), &args) == SS1_OK);
    CHECK(ss1_session_run(session.get(), inputs, 1, outputs, 1) == SS1_OK);
    CHECK(logits[0] != -1);
}

TEST_CASE("the caller's parallel_for runs the tasks, and one thread needs none") {
    struct pool {
        std::atomic<int> calls{0};
    } used;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 4;
    options.parallel_for_user = &used;
    options.parallel_for = [](void *user, size_t n, void (*task)(void *, size_t), void *arg) {
        static_cast<pool *>(user)->calls++;
        std::vector<std::thread> threads;
        for (size_t i = 0; i < n; ++i) threads.emplace_back(task, arg, n - 1 - i);
        for (auto &t : threads) t.join();
    };
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 512;
    desc.N = 512;
    desc.c = 2;
    const std::vector<float> z(512 * 256, 0.25f), x(200 * 512, 1.0f);
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    std::vector<float> own(200 * 512), callers(200 * 512);
    for (const uint32_t threads : {4u, 1u}) {
        options.num_threads = threads;
        used.calls = 0;
        const auto layer = ss1::make_layer(ss1::make_context(options), desc, weights);
        ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
        args.m = 200;
        args.x = x.data();
        args.y = callers.data();
        REQUIRE(ss1_layer_run(layer.get(), &args) == SS1_OK);
        CHECK(used.calls == (threads == 4 ? 1 : 0));
        const auto plain = ss1::make_layer(ss1::make_context(), desc, weights);
        args.y = own.data();
        REQUIRE(ss1_layer_run(plain.get(), &args) == SS1_OK);
        CHECK(std::memcmp(own.data(), callers.data(), own.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("the log callback gets lines up to its level, and nobody prints") {
    std::vector<std::string> lines;
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.log_user = &lines;
    options.log = [](void *user, ss1_log_level, const char *message) {
        static_cast<std::vector<std::string> *>(user)->push_back(message);
    };
    ss1::make_context(options);
    CHECK(lines.empty());
    options.log_level = SS1_LOG_INFO;
    ss1::make_context(options);
    CHECK(lines.size() >= 2);
    const size_t info_lines = lines.size();
    options.log_level = SS1_LOG_DEBUG;
    ss1::make_context(options);
    CHECK(lines.size() > 2 * info_lines);
}

TEST_CASE("info tells threads, instruction sets, backends and kernels with reasons") {
    const auto context = ss1::make_context();
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(context.get(), &info) == SS1_OK);
    CHECK(info.num_threads >= 1);
    CHECK(std::strlen(info.threads_reason) > 0);
    CHECK(info.n_isas >= 4);
    CHECK(info.n_backends >= 1);
    CHECK(std::string(info.backends[0].name) == "cpu");
    CHECK(info.n_kernels >= 7);
    for (size_t i = 0; i < info.n_kernels; ++i) CHECK(std::strlen(info.kernels[i].reason) > 0);
    // The scalar reference is always usable.
    CHECK(info.kernels[info.n_kernels - 1].used == 1);
}

TEST_CASE("max_isa caps the kernels of a layer; above the machine is an error") {
    layer_fixture f;
    ss1_info info = SS1_INFO_INIT;
    REQUIRE(ss1_get_info(f.context.get(), &info) == SS1_OK);
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = "none";
    const auto layer = ss1::make_layer(ss1::make_context(options), small_desc(), f.weights());
    ss1_layer_info layer_info = SS1_LAYER_INFO_INIT;
    REQUIRE(ss1_layer_describe(layer.get(), &layer_info) == SS1_OK);
    CHECK(std::string(layer_info.kernels).find("_ref") != std::string::npos);
    CHECK(std::string(layer_info.kernels).find("avx") == std::string::npos);
    CHECK(layer_info.desc.block_k == 64);
    CHECK(layer_info.desc.block_n == 256);
    CHECK(layer_info.stored_columns == 128);
    for (size_t i = 0; i < info.n_isas; ++i) {
        ss1_context *context = nullptr;
        options.max_isa = info.isas[i].name;
        // SS1_MAX_ISA may cap this run; an explicit max_isa replaces it.
        const bool here = info.isas[i].used || std::strncmp(info.isas[i].reason, "found,", 6) == 0 ||
                          std::strncmp(info.isas[i].reason, "above", 5) == 0;
        CHECK(ss1_context_create(&options, &context) == (here ? SS1_OK : SS1_ERROR_UNSUPPORTED));
        ss1_context_destroy(&context);
    }
}

TEST_CASE("one layer on many threads, each with the context's scratch") {
    layer_fixture f;
    const auto layer = ss1::make_layer(f.context, small_desc(), f.weights());
    const auto first = f.args();
    REQUIRE(ss1_layer_run(layer.get(), &first) == SS1_OK);
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 24; ++t)
        threads.emplace_back([&] {
            std::vector<float> y(f.y.size(), -7.0f);
            ss1_linear_args args = f.args();
            args.y = y.data();
            for (int i = 0; i < 50; ++i)
                if (ss1_layer_run(layer.get(), &args) != SS1_OK ||
                    std::memcmp(y.data(), f.y.data(), y.size() * sizeof(float)))
                    wrong++;
        });
    for (auto &t : threads) t.join();
    CHECK(wrong == 0);
}

TEST_CASE("a projection depends neither on the caller's rounding nor on its traps") {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 256;
    desc.N = 16;
    desc.c = 4;
    std::vector<float> weight(desc.K * desc.N), want(16 * 64), got(16 * 64);
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = 1 / static_cast<float>(i + 3);
    ss1::check(ss1_project(&desc, weight.data(), 0, nullptr, want.data(), 0));
    std::fesetround(FE_UPWARD);
    feenableexcept(FE_ALL_EXCEPT);
    const ss1_status status = ss1_project(&desc, weight.data(), 0, nullptr, got.data(), 0);
    fedisableexcept(FE_ALL_EXCEPT);
    const int rounding = std::fegetround();
    std::fesetround(FE_TONEAREST);
    CHECK(status == SS1_OK);
    CHECK(rounding == FE_UPWARD);
    CHECK(got == want);
}

TEST_CASE("weights that are too large for bf16 are refused") {
    layer_fixture f;
    ss1_linear_desc desc = small_desc();
    desc.weight_dtype = SS1_DTYPE_BF16;
    f.z[64 + 3] = 3.389e38f;
    ss1::make_layer(f.context, desc, f.weights());
    f.z[128 + 3] = -3.4e38f;
    CHECK_THROWS_WITH(ss1::make_layer(f.context, desc, f.weights()),
                      Catch::Contains("weights.z[1,3]=-3.4e+38 does not fit weight_dtype=bf16"));
    desc.weight_dtype = SS1_DTYPE_F32;
    ss1::make_layer(f.context, desc, f.weights());
}

TEST_CASE("scratch does not depend on the caller's rounding") {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 64;
    options.parallel_for = [](void *, size_t n, void (*task)(void *, size_t), void *arg) {
        for (size_t i = 0; i < n; ++i) task(arg, i);
    };
    const auto context = ss1::make_context(options);
    for (const size_t K : {64, 100, 171, 256, 300})
        for (const size_t N : {33, 96, 128}) {
            ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
            desc.K = K;
            desc.N = N;
            const std::vector<float> z(K * N, 0.5f);
            ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
            weights.z = z.data();
            const auto layer = ss1::make_layer(context, desc, weights);
            size_t different = 0;
            for (size_t m = 1; m < 200; ++m) {
                const size_t nearest = ss1_layer_scratch_bytes(layer.get(), m);
                std::fesetround(FE_DOWNWARD);
                different += ss1_layer_scratch_bytes(layer.get(), m) != nearest;
                std::fesetround(FE_TONEAREST);
            }
            INFO("K " << K << " N " << N);
            CHECK(different == 0);
        }
}

TEST_CASE("a folder without a tokenizer gives none, nor does a build without ICU") {
    const ss1::context_ptr context = ss1::make_context();
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load(context.get(), "/no/such/folder", &tokenizer);
    CHECK(status == (ss1::unicode_supported() ? SS1_ERROR_IO : SS1_ERROR_UNSUPPORTED));
    CHECK_THAT(ss1_last_error(), Catch::Contains(ss1::unicode_supported() ? "vocab.txt: cannot open" : "without ICU"));
    CHECK(tokenizer == nullptr);
    CHECK(ss1_tokenizer_load(nullptr, "folder", &tokenizer) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_tokenizer_load(context.get(), nullptr, &tokenizer) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_tokenizer_load(context.get(), "folder", nullptr) == SS1_ERROR_INVALID_ARGUMENT);
}
