// SPDX-License-Identifier: Apache-2.0
// ss1_model_update_rows(): the rows of a file that has them, errors that change nothing, mapped files, and readers who
// check every value while rows change.
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "model_support.hpp"
#include "sanitizers.hpp"

using namespace model_support;
using namespace io_support;
using Catch::Matchers::Contains;

namespace {

constexpr const char *dtypes[] = {"f32", "bf16", "f16", "int8", "int4"};
constexpr size_t rows = 40;

// Two tables, the second on the user's side, whose vectors are inputs of the first layer of the top MLP.
std::string config_of(const std::string &dtype, size_t d, const std::string &more = "") {
    const std::string width = std::to_string(d);
    return R"({"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": )" + width +
           R"(, "tables": [{"name": "item", "rows": 40, "dtype": ")" + dtype +
           R"("}, {"name": "user", "rows": 40, "side": "user", "dtype": ")" + dtype + R"("}], "bottom_mlp": [3, )" +
           width + R"(], "top_mlp": [8, 1], "interaction": "cat")" + more + "}";
}

// A single index for each row of the batch in each table.
arrays inputs_of(const std::vector<int64_t> &items, const std::vector<int64_t> &users) {
    const auto batch = static_cast<int64_t>(items.size());
    std::vector<int64_t> offsets(items.size());
    for (size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<int64_t>(i);
    arrays inputs;
    inputs["dense_x"] = make_array("dense_x", {batch, 3}, std::vector<float>(3 * items.size(), 0.5f));
    for (const auto &[prefix, indices] : {std::pair{std::string(), items}, {std::string("user_"), users}}) {
        inputs[prefix + "indices"] = make_array(prefix + "indices", {batch}, indices);
        inputs[prefix + "offsets"] = make_array(prefix + "offsets", {1, batch}, offsets);
    }
    return inputs;
}

arrays every_row() {
    std::vector<int64_t> all(rows);
    for (size_t i = 0; i < rows; ++i) all[i] = static_cast<int64_t>(i);
    return inputs_of(all, all);
}

arrays answers(const ss1::model_ptr &model) {
    return infer(model, make_session(model, rows), every_row());
}

std::vector<float> random_values(size_t n) {
    ss1_test::seeded random;
    std::vector<float> values(n);
    for (float &v : values) v = random.uniform(-1, 1);
    return values;
}

ss1_status update(const ss1::model_ptr &model, const char *table, const std::vector<int64_t> &numbers,
                  const std::vector<float> &values) {
    ss1_update_rows_args args = SS1_UPDATE_ROWS_ARGS_INIT;
    args.table = table;
    args.n = numbers.size();
    args.rows = numbers.data();
    args.values = values.data();
    args.d = numbers.empty() ? 1 : values.size() / numbers.size();
    return ss1_model_update_rows(model.get(), &args);
}

// Writes `values` as rows `numbers` of table k of a file of f32 rows; a later one replaces an earlier one.
edit_tensors with_rows(size_t k, const std::vector<int64_t> &numbers, const std::vector<float> &values, size_t d) {
    return [=](std::vector<ss1::tensor_to_write> &tensors) {
        ss1::tensor_to_write &table = find(tensors, "emb_l." + std::to_string(k) + ".weight");
        std::vector<float> all(rows * d);
        ss1::random_weights(1, table.name, 0, all);
        for (size_t i = 0; i < numbers.size(); ++i)
            std::copy_n(values.begin() + i * d, d, all.begin() + static_cast<size_t>(numbers[i]) * d);
        table = tensor(table.name, ss1::file_dtype::f32, table.shape, bytes_of(all));
    };
}

// Loads a model of f32 tables with tables of the dtype number `format`, as ss1_model_convert() writes them.
ss1::model_ptr load_with(const ss1::context_ptr &context, const std::string &folder, size_t format) {
    if (format == 0) return ss1::load_model(context, folder);
    conversion as;
    as.tables = static_cast<ss1_table_dtype>(SS1_TABLE_F32 + format);
    const ss1_convert_options options = as;
    ss1::check(ss1_model_convert(context.get(), folder.c_str(), (folder + "-of-dtype").c_str(), &options));
    return ss1::load_model(context, folder + "-of-dtype");
}

}  // namespace

TEST_CASE("updated rows are those of a model that was loaded with them") {
    const std::vector<int64_t> numbers = {3, 39, 0, 17, 3};
    for (size_t format = 0; format < std::size(dtypes); ++format)
        for (const size_t d : {1, 16, 129})
            for (size_t k = 0; k < 2; ++k) {
                CAPTURE(dtypes[format], d, k);
                const temporary_folder folder;
                const std::vector<float> values = random_values(numbers.size() * d);
                REQUIRE(write_model(folder / "old", config_of("f32", d)) == SS1_OK);
                REQUIRE(write_model(folder / "new", config_of("f32", d), with_rows(k, numbers, values, d)) == SS1_OK);
                const ss1::context_ptr context = make_context(nullptr, 2);
                const ss1::model_ptr model = load_with(context, folder / "old", format);
                const ss1::model_ptr wanted = load_with(context, folder / "new", format);
                CHECK(!same_bits(answers(model), answers(wanted)));
                REQUIRE(update(model, k == 0 ? "item" : "user", numbers, values) == SS1_OK);
                CHECK(same_bits(answers(model), answers(wanted)));
            }
}

TEST_CASE("what an update may not do changes nothing") {
    const ss1::context_ptr context = make_context(nullptr, 1);
    constexpr float infinity = std::numeric_limits<float>::infinity();
    struct bad {
        const char *dtype, *table;
        std::vector<int64_t> numbers;
        std::vector<float> values;
        const char *message;
    };
    for (const bad &b :
         {bad{"f32", "page", {0}, {1, 1}, "args.table='page': the model has no table of this name"},
          bad{"f32", "item", {1, 40}, {1, 1, 1, 1}, "args.rows[1]=40: table 'item' has 40 rows"},
          bad{"f32", "item", {1, -1}, {1, 1, 1, 1}, "args.rows[1]=-1: table 'item' has 40 rows"},
          bad{"f32", "user", {1, 2}, {1, 1, 1, infinity}, "args.values[1,1]=inf is not finite"},
          bad{"f16", "user", {1, 2}, {1, 1, 1, 1e5f}, "args.values[1,:] do not fit the dtype f16 of table 'user'"}}) {
        const ss1::model_ptr model = random_model(context, config_of(b.dtype, 2).c_str());
        const arrays before = answers(model);
        CHECK(update(model, b.table, b.numbers, b.values) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(b.message));
        CHECK(same_bits(answers(model), before));
    }
    const ss1::model_ptr model = random_model(context, config_of("f32", 2).c_str());
    CHECK(update(model, "item", {1}, {1, 1, 1}) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(ss1_last_error(), Contains("args.d=3: table 'item' has rows of 2 values"));
    const int64_t row = 0;
    const float values[2] = {1, 1};
    const ss1_update_rows_args good = {sizeof(ss1_update_rows_args), "item", 1, &row, values, 2, 0};
    const auto refuses = [&](auto change, const char *message) {
        ss1_update_rows_args args = good;
        change(args);
        CHECK(ss1_model_update_rows(model.get(), &args) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(ss1_last_error(), Contains(message));
    };
    refuses([](ss1_update_rows_args &args) { args.table = nullptr; }, "args.table is NULL");
    refuses([](ss1_update_rows_args &args) { args.rows = nullptr; }, "args.rows is NULL");
    refuses([](ss1_update_rows_args &args) { args.values = nullptr; }, "args.values is NULL");
    refuses([](ss1_update_rows_args &args) { args.ldv = 1; }, "args.ldv=1 is below d = 2");
    refuses([](ss1_update_rows_args &args) { args.struct_size = 2; }, "struct_size");
    CHECK(ss1_model_update_rows(nullptr, &good) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_model_update_rows(model.get(), nullptr) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(ss1_model_update_rows(model.get(), &good) == SS1_OK);
}

TEST_CASE("values may lie apart, and no rows are an update, too") {
    const ss1::context_ptr context = make_context(nullptr, 1);
    const ss1::model_ptr model = random_model(context, config_of("f32", 2).c_str());
    const ss1::model_ptr other = random_model(context, config_of("f32", 2).c_str());
    const int64_t numbers[] = {5, 6};
    const float apart[] = {1, 2, -1, 3, 4};
    const ss1_update_rows_args args = {sizeof(ss1_update_rows_args), "user", 2, numbers, apart, 2, 3};
    REQUIRE(ss1_model_update_rows(model.get(), &args) == SS1_OK);
    REQUIRE(update(other, "user", {5, 6}, {1, 2, 3, 4}) == SS1_OK);
    CHECK(same_bits(answers(model), answers(other)));
    const ss1_update_rows_args nothing = {sizeof(ss1_update_rows_args), "user", 0, nullptr, nullptr, 2, 0};
    CHECK(ss1_model_update_rows(model.get(), &nothing) == SS1_OK);
}

TEST_CASE("models without rows of their own refuse updates") {
    const ss1::context_ptr context = make_context(nullptr, 1);
    CHECK(update(random_model(context, bert_json), "item", {0}, {1}) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Contains("models of the family 'bert' have no embedding tables"));
    const std::string robe = config_of("f32", 16, R"(, "robe": {"size": 64, "block": 8, "seed": 3})");
    CHECK(update(random_model(context, robe.c_str()), "item", {0}, std::vector<float>(16)) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Contains("ROBE array"));
}

TEST_CASE("a mapped file keeps its rows, and so do other models that map it") {
    const temporary_folder folder;
    REQUIRE(write_model(folder.path, config_of("f32", 600)) == SS1_OK);  // several pages
    const std::string before = read_file(folder / "model.safetensors");
    const ss1::context_ptr context = make_context(nullptr, 1);
    ss1_model_options map = SS1_MODEL_OPTIONS_INIT;
    map.map_tables = 1;
    const ss1::model_ptr model = ss1::load_model(context, folder.path, map);
    const ss1::model_ptr other = ss1::load_model(context, folder.path, map);
    const ss1::model_ptr copied = ss1::load_model(context, folder.path);
    const arrays old = answers(model);
    const std::vector<float> values = random_values(3 * 600);
    REQUIRE(update(model, "item", {0, 7, 39}, values) == SS1_OK);
    REQUIRE(update(copied, "item", {0, 7, 39}, values) == SS1_OK);
    CHECK(same_bits(answers(model), answers(copied)));
    CHECK(same_bits(answers(other), old));
    CHECK(read_file(folder / "model.safetensors") == before);

    const std::string config = read_file(folder / "config.json");
    const std::vector<ss1_memory_file> files = {ss1::memory_file("config.json", config.data(), config.size()),
                                                ss1::memory_file("model.safetensors", before.data(), before.size())};
    const ss1::model_ptr in_place = ss1::load_model(context, files, map);
    CHECK(update(in_place, "item", {0}, std::vector<float>(600)) == SS1_ERROR_UNSUPPORTED);
    CHECK_THAT(ss1_last_error(), Contains("the caller's own memory"));
}

namespace {

// The value j of each row of update `number`: two values that take turns, so that quantised rows of two updates differ
// in all of their bytes.
float value_of(int64_t number, size_t j) {
    return static_cast<float>(number + ((static_cast<int64_t>(j) + number) % 2 ? 1 : 0));
}

// Checks that each row that a run reads is that of one update. Numbers never go back.
struct reader {
    size_t d;
    int64_t least = 0;  // that the next run may find
    size_t read = 0, torn = 0, stale = 0;

    static void look(void *user, const ss1_layer_rows *seen) {
        auto &self = *static_cast<reader *>(user);
        if (seen->K != 3 * self.d) return;  // the first layer of the top MLP reads the dense vector and two bags
        for (size_t i = 0; i < seen->m; ++i) {
            const float *row = static_cast<const float *>(seen->x) + i * seen->ldx;
            for (size_t k = 1; k <= 2; ++k) self.check({row + k * self.d, self.d});
        }
    }
    void check(std::span<const float> vector) {
        ++read;
        const auto number = std::lround(std::min(vector[0], vector[1]));
        for (size_t j = 0; j < d; ++j)
            if (std::abs(vector[j] - value_of(number, j)) > 0.02f) {  // int4 has scale and bias in f16
                ++torn;
                return;
            }
        if (number < least) ++stale;
    }
};

// An update of all rows of both tables.
struct whole_update {
    std::vector<int64_t> numbers;
    std::vector<float> values;

    whole_update(size_t d, int64_t number) : numbers(rows), values(rows * d) {
        for (size_t i = 0; i < rows; ++i) numbers[i] = static_cast<int64_t>(i);
        for (size_t i = 0; i < values.size(); ++i) values[i] = value_of(number, i % d);
    }
    void write_to(const ss1::model_ptr &model) const {
        for (const char *table : {"item", "user"}) ss1::check(update(model, table, numbers, values));
    }
};

void set_all_rows(const ss1::model_ptr &model, size_t d, int64_t number) {
    whole_update(d, number).write_to(model);
}

// Runs until `last` has been written; what a run finds is at least what was complete when it began.
void read_until(const ss1::model_ptr &model, const std::atomic<int64_t> &complete, int64_t last, reader &mine) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = rows;
    options.observe = reader::look;
    options.observe_user = &mine;
    const ss1::session_ptr session = ss1::make_session(model, options);
    const arrays inputs = every_row();
    arrays outputs = make_outputs(model, inputs);
    for (bool more = true; more;) {
        mine.least = complete;
        more = mine.least < last;
        std::vector<ss1_tensor> in, out;
        for (const auto &[name, a] : inputs) in.push_back(const_cast<array &>(a).tensor());
        for (auto &[name, a] : outputs) out.push_back(a.tensor());
        ss1::check(ss1_session_run(session.get(), in.data(), in.size(), out.data(), out.size()));
    }
}

}  // namespace

TEST_CASE("readers find each row old or new while threads update it") {
    constexpr int64_t last = 60;  // bf16 has all whole numbers up to 256
    for (const char *dtype : dtypes)
        for (const size_t d : {16, 1024}) {
            CAPTURE(dtype, d);
            const ss1::context_ptr context = make_context(nullptr, 1);
            const ss1::model_ptr model = random_model(context, config_of(dtype, d).c_str());
            set_all_rows(model, d, 0);
            std::atomic<int64_t> complete{0};
            std::vector<reader> readers(3, {d});
            std::vector<std::thread> threads;
            for (reader &r : readers) threads.emplace_back([&] { read_until(model, complete, last, r); });
            for (int64_t number = 1; number <= last; ++number) {
                set_all_rows(model, d, number);
                complete = number;
            }
            for (std::thread &t : threads) t.join();
            for (const reader &r : readers) {
                CHECK(r.read > 0);
                CHECK(r.torn == 0);
                CHECK(r.stale == 0);
            }
        }
}

TEST_CASE("three threads update the same rows of one model") {
    constexpr size_t d = 256;
    const ss1::context_ptr context = make_context(nullptr, 1);
    const ss1::model_ptr model = random_model(context, config_of("f32", d).c_str());
    set_all_rows(model, d, 0);
    std::atomic<int64_t> ended{0};
    reader mine{d};
    std::thread reading([&] {
        mine.least = 0;
        do read_until(model, std::atomic<int64_t>(0), 0, mine);
        while (ended < 3);  // on a busy machine this thread may start when the others have ended
    });
    std::vector<std::thread> threads;
    for (int t = 1; t <= 3; ++t)
        threads.emplace_back([&model, &ended, t] {
            for (int i = 0; i < 100; ++i) set_all_rows(model, d, t);
            ++ended;
        });
    for (std::thread &t : threads) t.join();
    reading.join();
    CHECK(mine.read > 0);
    CHECK(mine.torn == 0);
}

// Both threads allocate, and neither sanitizer locks its allocator for fork(): a child may wait for it for ever.
#if !ADDRESS_SANITIZER && !THREAD_SANITIZER
TEST_CASE("a child of fork() finds whole rows, and updates them, whatever its parent's threads did") {
    constexpr size_t d = 8192;  // copies of rows take a good part of the time
    const ss1::context_ptr context = make_context(nullptr, 1);
    const ss1::model_ptr model = random_model(context, config_of("f32", d).c_str());
    set_all_rows(model, d, 0);
    std::atomic<int64_t> complete{0};
    std::atomic<bool> ends{false};
    reader others{d};
    std::thread reading([&] { read_until(model, complete, 1, others); });
    std::thread writing([&] {
        const whole_update updates[] = {{d, 0}, {d, 1}};
        for (size_t i = 0; !ends; ++i) updates[i % 2].write_to(model);
    });
    for (int i = 0; i < 20; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);
            reader mine{d};
            std::atomic<int64_t> done{0};
            read_until(model, done, 0, mine);
            set_all_rows(model, d, 100);
            done = 100;
            read_until(model, done, 100, mine);
            _exit(mine.read == 0 || mine.torn || mine.stale ? 1 : 0);
        }
        int status = -1;
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
    ends = true;
    writing.join();
    complete = 1;
    reading.join();
    CHECK(others.torn == 0);
}
#endif
