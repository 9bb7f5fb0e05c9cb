// SPDX-License-Identifier: Apache-2.0
// Embedding tables of every format: values, files and probabilities against a reference in double.
#include <catch2/catch.hpp>
#include <cfenv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "check.hpp"
#include "half.hpp"
#include "io/model_directory.hpp"
#include "io/table_rows.hpp"
#include "io_support.hpp"
#include "robe.hpp"

using namespace ss1;
using namespace ss1_test;
using namespace io_support;
using Catch::Matchers::Contains;

namespace {

constexpr row_format all_formats[] = {row_format::f32, row_format::bf16, row_format::f16, row_format::int8,
                                      row_format::int4};

template <class T>
double get(const std::byte *p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return double{value};
}

double get_f16(const std::byte *p) {
    uint16_t h;
    std::memcpy(&h, p, sizeof h);
    return double{f16_to_f32(h)};
}

// Computes value j of a row of d by the definition in docs/format.md.
double decode(row_format format, const std::byte *row, size_t d, size_t j) {
    switch (format) {
        case row_format::f32:
            return get<float>(row + 4 * j);
        case row_format::bf16: {
            uint16_t h;
            std::memcpy(&h, row + 2 * j, sizeof h);
            return double{bf16_to_f32(h)};
        }
        case row_format::f16:
            return get_f16(row + 2 * j);
        case row_format::int8:
            return get<float>(row + d) * std::to_integer<int>(row[j]) + get<float>(row + d + 4);
        default:
            break;
    }
    const std::byte *scale = row + (d + 1) / 2;
    const int q = std::to_integer<int>(row[j / 2]) >> (j % 2 ? 4 : 0) & 15;
    return get_f16(scale) * q + get_f16(scale + 2);
}

std::vector<float> random_row(seeded &random, size_t d, float low = -1, float high = 1) {
    std::vector<float> values(d);
    for (float &value : values) value = random.uniform(low, high);
    return values;
}

std::vector<std::byte> encoded(row_format format, const std::vector<float> &values) {
    std::vector<std::byte> row(row_bytes(format, values.size()));
    REQUIRE(encode_row(format, values, row.data()));
    return row;
}

file_dtype dtype_of(row_format format) {
    return format == row_format::f32    ? file_dtype::f32
           : format == row_format::bf16 ? file_dtype::bf16
           : format == row_format::f16  ? file_dtype::f16
                                        : file_dtype::u8;
}

}  // namespace

TEST_CASE("rows are rounded and quantised to the nearest value of their format") {
    seeded random;
    for (row_format format : all_formats)
        for (size_t d : {1, 2, 3, 16, 33, 128}) {
            const float low = random.uniform(-4, 1), high = low + random.uniform(0, 3);
            const std::vector<float> values = random_row(random, d, low, high);
            const std::vector<std::byte> row = encoded(format, values);
            double lowest = 1e9, highest = -1e9;
            for (const float v : values) lowest = std::min(lowest, double{v}), highest = std::max(highest, double{v});
            // Allows half a step; int4 also rounds scale and bias to 11 bits.
            const double bound = format == row_format::f32    ? 0
                                 : format == row_format::bf16 ? 4 * 0x1p-8
                                 : format == row_format::f16  ? 4 * 0x1p-11
                                 : format == row_format::int8 ? (highest - lowest) / 255 * 0.5001 + 1e-6
                                                              : (highest - lowest) / 15 * 0.51 + 4 * 0x1p-10;
            for (size_t j = 0; j < d; ++j)
                CHECK(std::abs(decode(format, row.data(), d, j) - double{values[j]}) <= bound);
        }
}

TEST_CASE("quantised rows have the bytes of FBGEMM") {
    // The bytes are from torch.ops.quantized.embedding_bag_byte_prepack and _4bit_prepack of these rows.
    const std::vector<float> values = {-0.5966f, 0.1820f, -0.8567f, 1.1006f, -1.0712f, 0.1227f};
    const std::vector<std::byte> row = encoded(row_format::int4, values);
    const unsigned char want[] = {0x93, 0xf1, 0x80, 162, 48, 73, 188};
    CHECK(row.size() == sizeof want);
    CHECK(std::memcmp(row.data(), want, sizeof want) == 0);
    const std::vector<std::byte> same = encoded(row_format::int8, {2.5f, 2.5f, 2.5f});
    CHECK(get<float>(same.data() + 3) == 0);
    CHECK(get<float>(same.data() + 7) == 2.5);
    CHECK(decode(row_format::int4, encoded(row_format::int4, {0.5f, 0.5f}).data(), 2, 1) == 0.5);
}

TEST_CASE("values that a format cannot hold are refused") {
    std::vector<std::byte> row(64);
    CHECK(encode_row(row_format::f16, std::vector{65504.0f, 65519.0f}, row.data()));
    CHECK(!encode_row(row_format::f16, std::vector{0.0f, 65520.0f}, row.data()));
    CHECK(!encode_row(row_format::int4, std::vector{-70000.0f, 0.0f}, row.data()));
    CHECK(!encode_row(row_format::int4, std::vector{0.0f, 2e6f}, row.data()));
    CHECK(!encode_row(row_format::bf16, std::vector{3.4e38f}, row.data()));
    CHECK(!encode_row(row_format::int8, std::vector{-3e38f, 3e38f}, row.data()));
}

TEST_CASE("f16_from_f32 rounds to nearest and returns all 65536 values unchanged") {
    for (uint32_t h = 0; h < 65536; ++h) {
        const float value = f16_to_f32(static_cast<uint16_t>(h));
        if (std::isnan(value)) {
            CHECK(std::isnan(f16_to_f32(f16_from_f32(value))));
            continue;
        }
        if (f16_from_f32(value) != h) FAIL_CHECK(h);
        if ((h & 0x7fff) >= 0x7bff) continue;
        const float next = f16_to_f32(static_cast<uint16_t>(h + 1)), middle = (value + next) / 2;
        const uint16_t even = static_cast<uint16_t>(h % 2 ? h + 1 : h);
        if (f16_from_f32(middle) != even) FAIL_CHECK("tie above " << h);
        if (f16_from_f32(std::nextafter(middle, value)) != h) FAIL_CHECK("below the tie above " << h);
        if (f16_from_f32(std::nextafter(middle, next)) != h + 1) FAIL_CHECK("above the tie above " << h);
    }
}

TEST_CASE("ROBE offsets equal the vectors") {
    std::ifstream file(SS1_TEST_DATA "/robe_vectors.json");
    const auto vectors = nlohmann::json::parse(file);
    REQUIRE(!vectors["mix64"].empty());
    for (const auto &v : vectors["mix64"]) {
        uint64_t h = v["seed"];
        for (const char *key : {"table", "row", "chunk"}) h = robe_mix(h, v[key]);
        char text[17];
        std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(h));
        CHECK(text == v["h"].get<std::string>());
    }
    REQUIRE(!vectors["rows"].empty());
    for (const auto &v : vectors["rows"]) {
        const robe_layout layout = make_robe_layout(v["seed"], v["table"], v["size"], v["block"]);
        const std::vector<size_t> wanted = v["chunk_offsets"];
        for (size_t z = 0; z < wanted.size(); ++z)
            CHECK(robe_offset(layout, robe_mix(layout.table_hash, v["row"]), z) == wanted[z]);
        CHECK((wanted.back() + v["block"].get<size_t>() - 1) % v["size"].get<size_t>() ==
              v["last_element"].get<size_t>());
    }
}

TEST_CASE("division by reciprocal is exact for small and odd numbers of places") {
    seeded random;
    for (size_t i = 0; i < 20000; ++i) {
        const size_t m = 16 * (i < 100 ? i + 1 : random.index(1, size_t{1} << random.index(1, 36)));
        const robe_layout layout = make_robe_layout(i, 0, m, 16);
        const size_t offset = robe_offset(layout, i, 0);
        if (offset != (robe_mix(i, 0) >> 1) % (m / 16) * 16) FAIL_CHECK("m=" << m);
    }
}

// ---------------------------------------------------------------------------------------------------------------- bags

namespace {

struct bag_input {
    std::vector<int64_t> indices, offsets;
    std::vector<float> weights;

    bag_input(seeded &random, const std::vector<size_t> &rows, size_t batch) {
        for (const size_t n : rows)
            for (size_t b = 0; b < batch; ++b) {
                offsets.push_back(static_cast<int64_t>(indices.size()));
                for (size_t left = random.index(0, 9); left; --left)
                    indices.push_back(static_cast<int64_t>(random.index(0, n - 1)));
            }
        for (size_t p = 0; p < indices.size(); ++p) weights.push_back(random.uniform());
    }
    size_t end(size_t i) const { return i + 1 < offsets.size() ? static_cast<size_t>(offsets[i + 1]) : indices.size(); }
};

context_ptr context_of(const char *max_isa, uint32_t threads) {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.max_isa = max_isa;
    options.num_threads = threads;
    return make_context(options);
}

}  // namespace

TEST_CASE("ss1_bags: every format against double, the same bits for any thread count and batch") {
    seeded random;
    const size_t d = 48, batch = 40;
    const std::vector<size_t> rows = {1, 37, 500, 20, 90};
    std::vector<std::vector<std::byte>> data;
    std::vector<ss1_table> tables;
    for (size_t t = 0; t < rows.size(); ++t) {
        auto &bytes = data.emplace_back();
        for (size_t x = 0; x < rows[t]; ++x) {
            const auto row = encoded(all_formats[t], random_row(random, d));
            bytes.insert(bytes.end(), row.begin(), row.end());
        }
    }
    for (size_t t = 0; t < rows.size(); ++t)
        tables.push_back({sizeof(ss1_table), "t", static_cast<ss1_table_dtype>(all_formats[t]),
                          t % 2 ? SS1_POOLING_MEAN : SS1_POOLING_SUM, rows[t], data[t].data()});
    const bag_input input(random, rows, batch);
    const size_t columns = rows.size() * d, ldy = columns + 3;
    std::vector<float> first;
    for (const char *level : levels_here()) {
        first.clear();
        for (uint32_t threads : {1u, 3u}) {
            const context_ptr context = context_of(level, threads);
            const bags_ptr bags = make_bags(context, d, tables);
            ss1_bags_args args = SS1_BAGS_ARGS_INIT;
            std::vector<float> y(batch * ldy, -7);
            args.batch = batch, args.total = input.indices.size();
            args.indices = input.indices.data(), args.offsets = input.offsets.data();
            args.weights = input.weights.data(), args.y = y.data(), args.ldy = ldy;
            ss1::check(ss1_bags_run(bags.get(), &args));
            if (first.empty()) first = y;
            CHECK(y == first);
            args.unchecked = 1;
            ss1::check(ss1_bags_run(bags.get(), &args));
            CHECK(y == first);
        }
        const auto sum = [&](size_t b, size_t column, auto of) {
            const size_t t = column / d, i = t * batch + b, begin = static_cast<size_t>(input.offsets[i]);
            double total = 0;
            for (size_t p = begin; p < input.end(i); ++p) {
                const std::byte *row =
                    data[t].data() + static_cast<size_t>(input.indices[p]) * row_bytes(all_formats[t], d);
                total += of(double{input.weights[p]} * decode(all_formats[t], row, d, column % d));
            }
            return t % 2 && input.end(i) > begin ? total / static_cast<double>(input.end(i) - begin) : total;
        };
        check_close(
            level, "bags", batch, columns, [&](size_t b, size_t j) { return first[b * ldy + j]; },
            [&](size_t b, size_t j) { return sum(b, j, [](double v) { return v; }); },
            [&](size_t, size_t) { return 30 * 0x1p-24 * 10; });
        for (size_t b = 0; b < batch; ++b) CHECK(first[b * ldy + columns] == -7);
    }
}

TEST_CASE("ss1_bags: bad arguments, indices and offsets are named") {
    const context_ptr context = context_of(nullptr, 2);
    const std::vector<float> data(6 * 16);
    ss1_table table = {sizeof(ss1_table), "item", SS1_TABLE_F32, SS1_POOLING_SUM, 6, data.data()};
    ss1_bags *made = nullptr;
    const auto refused = [&](const ss1_table &bad, const char *message) {
        CHECK(ss1_bags_create(context.get(), 16, &bad, 1, &made) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(message));
        CHECK(!made);
    };
    refused({sizeof(ss1_table), nullptr, SS1_TABLE_F32, SS1_POOLING_SUM, 6, data.data()}, "tables[0].name is NULL");
    refused({sizeof(ss1_table), "a", static_cast<ss1_table_dtype>(6), SS1_POOLING_SUM, 6, data.data()},
            "tables[0].dtype=6");
    refused({sizeof(ss1_table), "a", SS1_TABLE_F32, static_cast<ss1_pooling>(2), 6, data.data()},
            "tables[0].pooling=2");
    refused({sizeof(ss1_table), "a", SS1_TABLE_F32, SS1_POOLING_SUM, 0, data.data()}, "tables[0].rows=0");
    refused({sizeof(ss1_table), "a", SS1_TABLE_F32, SS1_POOLING_SUM, SIZE_MAX / 4, data.data()}, "too many");
    refused({sizeof(ss1_table), "a", SS1_TABLE_F32, SS1_POOLING_SUM, 6, nullptr}, "tables[0].data is NULL");
    refused(
        {sizeof(ss1_table), "a", SS1_TABLE_F32, SS1_POOLING_SUM, 5, reinterpret_cast<const char *>(data.data()) + 2},
        "multiple of 4");
    CHECK(ss1_bags_create(context.get(), 0, &table, 1, &made) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_bags_create(context.get(), 16, &table, 0, &made) == SS1_ERROR_INVALID_ARGUMENT);
    const bags_ptr bags =
        make_bags(context, 16, {table, {sizeof(ss1_table), "user", SS1_TABLE_F32, SS1_POOLING_SUM, 4, data.data()}});

    std::vector<int64_t> indices = {0, 5, 1, 3}, offsets = {0, 1, 2, 3};
    std::vector<float> y(2 * 32);
    ss1_bags_args args = SS1_BAGS_ARGS_INIT;
    args.batch = 2, args.total = 4;
    args.indices = indices.data(), args.offsets = offsets.data(), args.y = y.data();
    ss1::check(ss1_bags_run(bags.get(), &args));
    const auto fails = [&](const char *message) {
        CHECK(ss1_bags_run(bags.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(message));
    };
    indices[3] = 4;
    fails("indices[3]=4 is not a row of table 1 'user' (row 1 of the batch), which has 4 rows");
    indices[3] = -1;
    fails("indices[3]=-1 is not a row of table 1 'user'");
    indices[3] = 0;
    indices[1] = 6;
    fails("indices[1]=6 is not a row of table 0 'item' (row 1 of the batch), which has 6 rows");
    indices[1] = 5;
    offsets = {0, 1, 5, 3};
    fails("offsets[1,0]=5 (table 1 'user') is above the number of indices, 4");
    offsets = {0, 3, 2, 3};
    fails("offsets[1,0]=2 (table 1 'user') is below the offset before it, 3");
    offsets = {1, 1, 2, 3};
    fails("offsets[0,0]=1 (table 0 'item') is not 0");
    offsets = {0, 1, 2, 3};
    args.ldy = 31;
    fails("args.ldy=31 is below tables * d = 32");
    args.ldy = 0;
    args.y = nullptr;
    fails("args.y is NULL");
    args.y = y.data();
    args.offsets = nullptr;
    fails("args.offsets is NULL");
    args.offsets = offsets.data();
    args.indices = nullptr;
    fails("args.indices is NULL");
    args.indices = indices.data();
    args.weights = y.data();
    fails("overlaps args.weights");
    args.struct_size = 8;
    fails("struct_size=8");
}

// -------------------------------------------------------------------------------------------------------------- models

namespace {

constexpr size_t d = 32, batch = 19;
const std::vector<size_t> table_rows = {40, 7, 300};

// Makes a DLRM with three tables; the second has pooling "mean".
nlohmann::json dlrm_config_of(const std::string &dtype) {
    nlohmann::json config = {{"model_type", "dlrm"}, {"dense_features", {"a", "b"}},
                             {"embedding_dim", d},   {"bottom_mlp", {2, 64, d}},
                             {"top_mlp", {64, 1}},   {"interaction_itself", true},
                             {"interaction", "dot"}, {"tables", nlohmann::json::array()}};
    for (size_t t = 0; t < table_rows.size(); ++t)
        config["tables"].push_back({{"name", "t" + std::to_string(t)},
                                    {"rows", table_rows[t]},
                                    {"dtype", dtype},
                                    {"pooling", t == 1 ? "mean" : "sum"}});
    return config;
}

using row_values = std::function<std::vector<float>(size_t table, size_t row)>;

// Replaces the tables of a model before it is written.
edit_tensors with_tables(row_format format, const row_values &values) {
    return [=](std::vector<tensor_to_write> &tensors) {
        for (size_t t = 0; t < table_rows.size(); ++t) {
            tensor_to_write &out = find(tensors, "emb_l." + std::to_string(t) + ".weight");
            std::string bytes;
            for (size_t x = 0; x < table_rows[t]; ++x) {
                const auto row = encoded(format, values(t, x));
                bytes.append(reinterpret_cast<const char *>(row.data()), row.size());
            }
            out = tensor(out.name, dtype_of(format), out.shape, bytes);
        }
    };
}

std::vector<float> probabilities(const std::string &folder, const bag_input &input, const char *level, uint32_t threads,
                                 bool weighted, bool map = false) {
    const context_ptr context = context_of(level, threads);
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
    options.map_tables = map;
    const model_ptr model = load_model(context, folder, options);
    ss1_session_options bounds = SS1_SESSION_OPTIONS_INIT;
    bounds.max_batch = batch;
    const session_ptr session = make_session(model, bounds);
    std::vector<float> dense(batch * 2, 0.5f), y(batch);
    const auto total = static_cast<int64_t>(input.indices.size());
    std::vector<ss1_tensor> inputs = {ss1::input("dense_x", dense.data(), {batch, 2}),
                                      ss1::input("indices", input.indices.data(), {total}),
                                      ss1::input("offsets", input.offsets.data(), {3, batch})};
    if (weighted) inputs.push_back(ss1::input("weights", input.weights.data(), {total}));
    ss1_tensor outputs[] = {ss1::output("probability", y.data(), y.size())};
    ss1::run(session, inputs, outputs);
    return y;
}

// The reference for tables of `format`: the same model with the decoded values as f32.
struct model_pair {
    temporary_folder folder;
    std::string stored, plain;

    model_pair(row_format format, const row_values &values) : stored(folder / "stored"), plain(folder / "plain") {
        const row_values decoded = [=](size_t t, size_t x) {
            const auto row = encoded(format, values(t, x));
            std::vector<float> out(d);
            for (size_t j = 0; j < d; ++j) out[j] = static_cast<float>(decode(format, row.data(), d, j));
            return out;
        };
        ss1::check(write_model(stored, dlrm_config_of(table_dtype_name(format)).dump(), with_tables(format, values)));
        ss1::check(write_model(plain, dlrm_config_of("f32").dump(), with_tables(row_format::f32, decoded)));
    }
};

row_values drawn(uint32_t seed) {
    return [=](size_t t, size_t x) {
        std::mt19937 random(seed + static_cast<uint32_t>(1000 * t + x));
        std::vector<float> row(d);
        for (float &v : row) v = std::uniform_real_distribution<float>(-1, 1)(random);
        return row;
    };
}

void check_near(const std::vector<float> &got, const std::vector<float> &want, double bound) {
    check_close(
        "model", "probabilities", 1, batch, [&](size_t, size_t j) { return got[j]; },
        [&](size_t, size_t j) { return want[j]; }, [&](size_t, size_t) { return bound; });
}

}  // namespace

TEST_CASE("models with tables of every format equal those with the decoded f32 tables") {
    seeded random;
    const bag_input input(random, table_rows, batch);
    for (row_format format : all_formats) {
        const model_pair pair(format, drawn(Catch::rngSeed()));
        // Scale and bias of quantised rows are multiplied by the weight before the sum.
        const double bound = format == row_format::int8 || format == row_format::int4 ? 1e-5 : 0;
        for (const char *level : levels_here())
            for (bool weighted : {false, true}) {
                const std::vector<float> got = probabilities(pair.stored, input, level, 1, weighted);
                check_near(got, probabilities(pair.plain, input, level, 1, weighted), bound);
                CHECK(got == probabilities(pair.stored, input, level, 3, weighted));
                CHECK(got == probabilities(pair.stored, input, level, 2, weighted, true));
            }
        CHECK(probabilities(pair.stored, input, nullptr, 1, true) !=
              probabilities(pair.stored, input, nullptr, 1, false));
    }
}

TEST_CASE("a ROBE model equals the model with its tables written out") {
    seeded random;
    const bag_input input(random, table_rows, batch);
    for (size_t block : {8, 16, 32}) {
        const size_t m = block * random.index(1, 50), seed = 11;
        std::vector<float> array(m);
        random_weights(1, "robe.weight", 0, array);  // as write_model() draws it
        const row_values expanded = [&](size_t t, size_t x) {
            std::vector<float> row(d);
            const size_t line = std::min<size_t>(block, 16);
            for (size_t j = 0; j < d; ++j) {
                const uint64_t h = robe_mix(robe_mix(robe_mix(seed, t), x), j / block);
                row[j] = array[((h >> 1) % (m / line) * line + j % block) % m];
            }
            return row;
        };
        const temporary_folder folder;
        nlohmann::json config = dlrm_config_of("f32");
        ss1::check(write_model(folder / "plain", config.dump(), with_tables(row_format::f32, expanded)));
        config["robe"] = {{"size", m}, {"block", block}, {"seed", seed}};
        ss1::check(write_model(folder / "robe", config.dump()));
        for (const char *level : levels_here())
            for (bool weighted : {false, true}) {
                const std::vector<float> got = probabilities(folder / "robe", input, level, 1, weighted);
                CHECK(got == probabilities(folder / "plain", input, level, 1, weighted));
                CHECK(got == probabilities(folder / "robe", input, level, 3, weighted));
            }
        const context_ptr context = make_context();
        const model_ptr model = load_model(context, folder / "robe");
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        CHECK(info.weight_bytes < 4 * (m + block) + 60000);
        ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
        options.map_tables = 1;
        ss1_model *none = nullptr;
        CHECK(ss1_model_load(context.get(), (folder / "robe").c_str(), &options, &none) == SS1_ERROR_UNSUPPORTED);
        CHECK_THAT(ss1_last_error(), Contains("a ROBE array cannot be mapped"));
    }
}

TEST_CASE("conversion to another table dtype changes nothing else") {
    seeded random;
    const bag_input input(random, table_rows, batch);
    const model_pair pair(row_format::f32, drawn(Catch::rngSeed()));
    const context_ptr context = make_context();
    for (row_format format : all_formats) {
        const std::string out = pair.folder / table_dtype_name(format);
        ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
        options.tables = static_cast<ss1_table_dtype>(format);
        ss1::check(ss1_model_convert(context.get(), pair.stored.c_str(), out.c_str(), &options));
        const model_pair wanted(format, drawn(Catch::rngSeed()));
        CHECK(probabilities(out, input, nullptr, 1, false) == probabilities(wanted.stored, input, nullptr, 1, false));
        CHECK(read_file(out + "/model.safetensors").size() <=
              read_file(wanted.stored + "/model.safetensors").size() + 256);
        std::fesetround(FE_UPWARD);
        const ss1_status status =
            ss1_model_convert(context.get(), pair.stored.c_str(), (out + "-upward").c_str(), &options);
        const int rounding = std::fegetround();
        std::fesetround(FE_TONEAREST);
        CHECK((status == SS1_OK && rounding == FE_UPWARD));
        CHECK(read_file(out + "-upward/model.safetensors") == read_file(out + "/model.safetensors"));
        if (format < row_format::int8) continue;
        CHECK(ss1_model_convert(context.get(), out.c_str(), (out + "-again").c_str(), &options) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(std::string("table 0 't0' is ") + table_dtype_name(format) + " already"));
    }
    ss1_convert_options alone = SS1_CONVERT_OPTIONS_INIT;
    alone.tables = SS1_TABLE_INT8;
    const auto refused = [&](const char *words) {
        CHECK(ss1_model_convert(context.get(), pair.stored.c_str(), (pair.folder / "no").c_str(), &alone) ==
              SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(words));
    };
    alone.layers = "top_l.*";
    refused("options.layers='top_l.*': neither desc.c nor desc.weight_dtype says what to do with them");
    alone.layers = nullptr;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.block_k = 16;
    alone.desc = &desc;
    refused("options.desc.c=0 ties no layer");
    ss1_convert_options both = SS1_CONVERT_OPTIONS_INIT;
    both.tables = SS1_TABLE_INT8;
    both.desc = &desc;
    desc.c = 2;
    ss1::check(ss1_model_convert(context.get(), pair.stored.c_str(), (pair.folder / "both").c_str(), &both));
    const model_ptr model = load_model(context, pair.folder / "both");
    ss1_model_layer_info layer = SS1_MODEL_LAYER_INFO_INIT;
    ss1::check(ss1_model_layer(model.get(), 1, &layer));
    CHECK(layer.layer.desc.c == 2);
    both.tables = static_cast<ss1_table_dtype>(6);
    CHECK(ss1_model_convert(context.get(), pair.stored.c_str(), (pair.folder / "no").c_str(), &both) ==
          SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Contains("options.tables=6"));
}

TEST_CASE("random weights work with tables of every format, but cannot be mapped") {
    const temporary_folder folder;
    const context_ptr context = make_context();
    for (row_format format : all_formats) {
        write_file(folder / "config.json", dlrm_config_of(table_dtype_name(format)).dump());
        ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
        options.random_weights = 1;
        const model_ptr model = load_model(context, folder.path, options);
        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        size_t parameters = 0;
        for (size_t n : table_rows) parameters += n * d;
        CHECK(info.parameters > parameters);
        options.map_tables = 1;
        ss1_model *none = nullptr;
        CHECK(ss1_model_load(context.get(), folder.path.c_str(), &options, &none) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains("random weights have no file to map"));
    }
    ss1_model_options options = SS1_MODEL_OPTIONS_INIT;  // no effect on a BERT
    options.random_weights = options.map_tables = 1;
    CHECK(load_model(context, SS1_TEST_DATA "/bert_one_token", options));
}
