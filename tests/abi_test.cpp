// SPDX-License-Identifier: Apache-2.0
// Callers with an older or a newer header: src/base/abi.hpp by itself and through the API.
#include "base/abi.hpp"

#include <array>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "check.hpp"
#include "ss1/ss1.hpp"

using Catch::Contains;

namespace {

// A struct as a newer header might have it: T and one more field.
template <class T>
struct grown {
    T known;
    uint64_t added = 0;

    explicit grown(const T &value) : known(value) { known.struct_size = sizeof *this; }
    operator T *() { return &known; }
};

// A struct of which this library knows the second version.
struct sample {
    uint32_t struct_size, a;
    uint64_t b;
    uint64_t c;  // since the second version
};

std::string last_error() {
    return ss1_last_error();
}

ss1_linear_desc small_desc() {
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = 4;
    desc.N = 2;
    return desc;
}

struct small_layer {
    ss1::context_ptr context = ss1::make_context();
    ss1::layer_ptr layer;

    small_layer() {
        static const float z[8] = {1, 2, 3, 4, 5, 6, 7, 8};
        ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
        weights.z = z;
        layer = ss1::make_layer(context, small_desc(), weights);
    }
};

}  // namespace

template <>
inline constexpr ss1::struct_rule ss1::rule_of<sample> = {16, "SAMPLE_INIT"};

TEST_CASE("structs of any version are taken") {
    sample given = {sizeof(sample), 1, 2, 3}, taken;
    CHECK(ss1::take_struct(&given, "given", taken) == SS1_OK);
    CHECK((taken.a == 1 && taken.b == 2 && taken.c == 3));

    given.struct_size = 16;  // the first version: c lies outside
    CHECK(ss1::take_struct(&given, "given", taken) == SS1_OK);
    CHECK((taken.struct_size == sizeof(sample) && taken.a == 1 && taken.b == 2 && taken.c == 0));

    grown<sample> newer(sample{0, 1, 2, 3});
    CHECK(ss1::take_struct<sample>(newer, "given", taken) == SS1_OK);
    CHECK((taken.struct_size == sizeof(sample) && taken.a == 1 && taken.b == 2 && taken.c == 3));
    newer.added = uint64_t{1} << 63;
    CHECK(ss1::take_struct<sample>(newer, "given", taken) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("given.struct_size=32") && Contains("ss1 " SS1_VERSION_STRING) &&
                                 Contains("24 bytes") && Contains("the library is older than the header"));

    for (const uint32_t size : {0u, 8u, 12u, 20u, 28u, 4104u, 0xcccccccc}) {
        given.struct_size = size;
        CHECK(ss1::take_struct(&given, "given", taken) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK_THAT(last_error(), Contains("given.struct_size=" + std::to_string(size)) && Contains("SAMPLE_INIT"));
    }
}

TEST_CASE("structs of any version are filled") {
    const auto fill = [](sample &filled) {
        CHECK((filled.struct_size == sizeof(sample) && filled.a == 0));
        filled.a = 1, filled.b = 2, filled.c = 3;
        return SS1_OK;
    };
    sample older = {16, 9, 9, 9};
    CHECK(ss1::fill_struct(&older, "info", fill) == SS1_OK);
    CHECK((older.struct_size == 16 && older.a == 1 && older.b == 2 && older.c == 9));
    grown<sample> newer(sample{0, 9, 9, 9});
    newer.added = 9;
    CHECK(ss1::fill_struct<sample>(newer, "info", fill) == SS1_OK);
    CHECK((newer.known.struct_size == 32 && newer.known.c == 3 && newer.added == 0));
    older = {12, 9, 9, 9};
    CHECK(ss1::fill_struct(&older, "info", fill) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK((older.struct_size == 12 && older.a == 9));
    older = {16, 9, 9, 9};
    CHECK(ss1::fill_struct(&older, "info", [](sample &) { return SS1_ERROR_IO; }) == SS1_ERROR_IO);
    CHECK(older.a == 9);
}

TEST_CASE("arrays have the stride of their first element") {
    std::vector<grown<sample>> newer(3, grown<sample>(sample{0, 1, 2, 3}));
    newer[2].known.a = 7;
    CHECK(ss1::check_array(&newer[0].known, 3, "list") == SS1_OK);
    const sample taken = ss1::element(&newer[0].known, 2);
    CHECK((taken.struct_size == sizeof(sample) && taken.a == 7 && taken.c == 3));
    newer[1].added = 1;
    CHECK(ss1::check_array(&newer[0].known, 3, "list") == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("list[1].struct_size=32") && Contains("older than the header"));
    newer[1].known.struct_size = sizeof(sample);
    CHECK(ss1::check_array(&newer[0].known, 3, "list") == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("list[1].struct_size=24 is not the 32 of list[0]"));
    const sample none = {0, 1, 2, 3};
    CHECK(ss1::check_array(&none, 1, "list") == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("list[0].struct_size=0"));
    CHECK(ss1::check_array<sample>(nullptr, 0, "list") == SS1_OK);

    const sample older[] = {{16, 1, 2, 16}, {5, 6, 7, 8}};  // the second element of the first version begins at .c
    CHECK(ss1::check_array(older, 2, "list") == SS1_OK);
    CHECK((ss1::element(older, 1).a == 0 && ss1::element(older, 1).b == ((uint64_t{6} << 32) | 5)));
}

namespace {

template <class T>
void check_rule(const nlohmann::json &structs, const char *name) {
    INFO(name);
    CHECK(structs.at(name).at("first_size") == ss1::rule_of<T>.first_size);
    CHECK(structs.at(name).at("init") == ss1::rule_of<T>.init);
    CHECK(structs.at(name).at("size") == sizeof(T));
}

}  // namespace

TEST_CASE("the table of first sizes is that of abi.json") {
    const nlohmann::json structs = nlohmann::json::parse(std::ifstream(SS1_TEST_DATA "/../abi.json")).at("structs");
    size_t sized = 0;
    for (const auto &[name, entry] : structs.items()) sized += entry.contains("first_size");
#define SS1_RULE(type) check_rule<type>(structs, #type), --sized
    SS1_RULE(ss1_context_options);
    SS1_RULE(ss1_info);
    SS1_RULE(ss1_linear_desc);
    SS1_RULE(ss1_linear_weights);
    SS1_RULE(ss1_linear_args);
    SS1_RULE(ss1_layer_info);
    SS1_RULE(ss1_table);
    SS1_RULE(ss1_bags_args);
    SS1_RULE(ss1_update_rows_args);
    SS1_RULE(ss1_memory_file);
    SS1_RULE(ss1_model_options);
    SS1_RULE(ss1_tensor);
    SS1_RULE(ss1_model_layer_info);
    SS1_RULE(ss1_model_info);
    SS1_RULE(ss1_session_options);
    SS1_RULE(ss1_layer_rows);
    SS1_RULE(ss1_layer_statistics);
    SS1_RULE(ss1_tokenizer_info);
    SS1_RULE(ss1_text);
    SS1_RULE(ss1_tokenize_args);
    SS1_RULE(ss1_encode_args);
    SS1_RULE(ss1_convert_options);
    SS1_RULE(ss1_converted_layer);
    SS1_RULE(ss1_fit_args);
#undef SS1_RULE
    CHECK(sized == 0);  // none is missing here
}

TEST_CASE("newer structs work through the API") {
    const small_layer f;

    grown<ss1_linear_desc> desc(small_desc());
    ss1::check(ss1_linear_resolve(desc, nullptr));
    CHECK((desc.known.block_k == 64 && desc.known.struct_size == sizeof desc && desc.added == 0));
    desc.added = 1;
    CHECK(ss1_linear_resolve(desc, nullptr) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("ss1_linear_resolve: desc.struct_size=80"));

    const float x[4] = {1, 1, 1, 1};
    float y[2] = {};
    grown<ss1_linear_args> args(SS1_LINEAR_ARGS_INIT);
    args.known.m = 1, args.known.x = x, args.known.y = y;
    ss1::check(ss1_layer_run(f.layer.get(), args));
    CHECK((y[0] == 10 && y[1] == 26));
    args.added = 1, y[0] = 0;
    CHECK(ss1_layer_run(f.layer.get(), args) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK(y[0] == 0);

    grown<ss1_info> info(SS1_INFO_INIT);
    info.added = 1;
    ss1::check(ss1_get_info(f.context.get(), info));
    CHECK((info.known.struct_size == sizeof info && info.known.cpu && info.added == 0));

    grown<ss1_context_options> options(SS1_CONTEXT_OPTIONS_INIT);
    ss1_context *context = nullptr;
    ss1::check(ss1_context_create(options, &context));
    ss1_context_destroy(&context);
    options.added = 1;
    CHECK(ss1_context_create(options, &context) == SS1_ERROR_INVALID_ARGUMENT);
}

// The description that an info ends with may be handed to another function: its size is the room that it has.
TEST_CASE("a nested struct grows with the outer one") {
    const small_layer f;
    ss1_layer_info info = SS1_LAYER_INFO_INIT;
    info.desc.struct_size = 0;
    ss1::check(ss1_layer_describe(f.layer.get(), &info));
    CHECK((info.struct_size == sizeof info && info.desc.struct_size == sizeof info.desc));

    grown<ss1_layer_info> newer(SS1_LAYER_INFO_INIT);
    newer.added = 1;
    ss1::check(ss1_layer_describe(f.layer.get(), newer));
    CHECK((newer.known.desc.struct_size == sizeof info.desc + 8 && newer.added == 0));
    ss1::check(ss1_linear_resolve(&newer.known.desc, nullptr));

    const ss1::model_ptr model = ss1::load_model(f.context, SS1_TEST_DATA "/dlrm_dot");
    grown<ss1_model_layer_info> layer(SS1_MODEL_LAYER_INFO_INIT);
    ss1::check(ss1_model_layer(model.get(), 0, layer));
    CHECK(layer.known.struct_size == sizeof layer);
    CHECK(layer.known.layer.struct_size == sizeof info + 8);
    CHECK(layer.known.layer.desc.struct_size == sizeof info.desc + 8);
}

TEST_CASE("newer tensors, tables and texts work through the API") {
    const ss1::context_ptr context = ss1::make_context();
    const ss1::model_ptr model = ss1::load_model(context, SS1_TEST_DATA "/bert_classifier");
    const ss1::session_ptr session = ss1::make_session(model);
    std::array<int64_t, 3> ids = {2, 5, 3}, mask = {1, 1, 1};
    std::array<float, 3 * 64> hidden{}, wanted{};
    std::array<float, 64> pooled{};
    const auto tensor = [](const char *name, ss1_dtype dtype, auto &data) {
        return ss1_tensor{sizeof(ss1_tensor), name, dtype, 2, {1, 3, 0, 0}, data.data(), sizeof data};
    };
    ss1_tensor in[] = {tensor("input_ids", SS1_DTYPE_I64, ids), tensor("attention_mask", SS1_DTYPE_I64, mask)};
    ss1_tensor out = tensor("last_hidden_state", SS1_DTYPE_F32, wanted);
    ss1::check(ss1_session_run(session.get(), in, 2, &out, 1));

    std::vector<grown<ss1_tensor>> newer_in = {grown(in[0]), grown(in[1])};
    std::vector<grown<ss1_tensor>> newer_out = {grown(tensor("pooled", SS1_DTYPE_F32, pooled)),
                                                grown(tensor("last_hidden_state", SS1_DTYPE_F32, hidden))};
    const auto run = [&] { return ss1_session_run(session.get(), newer_in[0], 2, newer_out[0], 2); };
    ss1::check(run());
    CHECK(hidden == wanted);
    const ss1_tensor &written = newer_out[1].known;
    CHECK((written.struct_size == sizeof newer_out[1] && written.rank == 3 && written.shape[2] == 64));
    newer_in[1].added = 1;
    CHECK(run() == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("ss1_session_run: inputs[1].struct_size=80"));
    newer_in[1].added = 0;
    newer_out[1].known.struct_size -= 8;
    CHECK(run() == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("outputs[1].struct_size=72 is not the 80 of outputs[0]"));

    // More inputs than any model has: one of the first eight must be wrong.
    std::vector<ss1_tensor> many(40, in[0]);
    CHECK(ss1_session_run(session.get(), many.data(), many.size(), &out, 1) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("inputs[1].name='input_ids' is given twice"));

    grown<ss1_tensor> described(SS1_TENSOR_INIT);
    described.added = 1;
    ss1::check(ss1_model_input(model.get(), 0, described));
    CHECK((described.known.struct_size == sizeof described && described.known.rank == 2 && described.added == 0));
    described.known.struct_size = 0;
    CHECK(ss1_model_output(model.get(), 0, described) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("tensor.struct_size=0") && Contains("SS1_TENSOR_INIT"));

    const float rows[] = {1, 2, 3, 4};
    const ss1_table table = {sizeof(ss1_table), "t", SS1_TABLE_F32, SS1_POOLING_SUM, 2, rows};
    std::vector<grown<ss1_table>> tables(2, grown(table));
    ss1_bags *bags = nullptr;
    ss1::check(ss1_bags_create(context.get(), 2, tables[0], 2, &bags));
    const ss1::bags_ptr owner(bags);
    const int64_t indices[] = {0, 1}, offsets[] = {0, 1};
    float sums[4];
    grown<ss1_bags_args> args(SS1_BAGS_ARGS_INIT);
    args.known.batch = 1, args.known.total = 2, args.known.y = sums;
    args.known.indices = indices, args.known.offsets = offsets;
    ss1::check(ss1_bags_run(bags, args));
    CHECK((sums[0] == 1 && sums[1] == 2 && sums[2] == 3 && sums[3] == 4));
    tables[1].added = 1;
    CHECK(ss1_bags_create(context.get(), 2, tables[0], 2, &bags) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(last_error(), Contains("tables[1].struct_size=48"));
}
