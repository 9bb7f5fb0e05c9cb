// SPDX-License-Identifier: Apache-2.0
// What layers read: shown in the order of execution, without padding, with no effect on the results; and its moments
// beside sums in f64.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "half.hpp"
#include "io_support.hpp"
#include "model_support.hpp"

using namespace model_support;

namespace {

// The rows that each layer has read, in f64.
struct seen_rows {
    std::map<size_t, std::vector<double>> by_layer;
    std::vector<size_t> order;
    ss1_calibration *calibration = nullptr;

    static void add(void *user, const ss1_layer_rows *rows) {
        auto &seen = *static_cast<seen_rows *>(user);
        REQUIRE(rows->struct_size == sizeof(ss1_layer_rows));
        REQUIRE(rows->m > 0);
        for (size_t layer = rows->first_layer; layer < rows->first_layer + rows->n_layers; ++layer) {
            seen.order.push_back(layer);
            for (size_t i = 0; i < rows->m * rows->K; ++i) {
                const size_t at = i / rows->K * rows->ldx + i % rows->K;
                seen.by_layer[layer].push_back(rows->x_dtype == SS1_DTYPE_BF16
                                                   ? ss1::bf16_to_f32(static_cast<const uint16_t *>(rows->x)[at])
                                                   : static_cast<const float *>(rows->x)[at]);
            }
        }
        if (seen.calibration) ss1_calibration_observe(seen.calibration, rows);
    }
};

ss1::session_ptr observed_session(const ss1::model_ptr &model, size_t batch, ss1_observe_fn observe, void *user) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = batch;
    options.observe = observe;
    options.observe_user = user;
    return ss1::make_session(model, options);
}

std::string layer_name(const ss1::model_ptr &model, size_t i) {
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    ss1::check(ss1_model_layer(model.get(), i, &info));
    return info.name;
}

struct statistics {
    size_t rows = 0, K = 0;
    std::vector<float> mean, moment;

    statistics(const ss1_calibration *calibration, const std::string &layer) {
        ss1_layer_statistics read = SS1_LAYER_STATISTICS_INIT;
        ss1::check(ss1_calibration_layer(calibration, layer.c_str(), &read));
        mean.resize(read.K);
        moment.resize(read.K * read.K);
        read.mean = mean.data();
        read.second_moment = moment.data();
        ss1::check(ss1_calibration_layer(calibration, layer.c_str(), &read));
        rows = read.rows;
        K = read.K;
    }
};

// Compares the statistics of a layer with sums over the rows that it was shown.
void check_statistics(const statistics &got, const std::vector<double> &x) {
    const size_t K = got.K, m = x.size() / K;
    REQUIRE(got.rows == m);
    double worst_mean = 0, worst_moment = 0;
    for (size_t i = 0; i < K; ++i) {
        double sum = 0, absolute = 0;
        for (size_t r = 0; r < m; ++r) {
            sum += x[r * K + i];
            absolute += std::fabs(x[r * K + i]);
        }
        const auto rows = static_cast<double>(m);
        ss1_test::keep_worse(worst_mean, std::fabs(got.mean[i] - sum / rows) / (absolute / rows + 1e-30));
        for (size_t j = 0; j < K; ++j) {
            double product = 0, size = 0;
            for (size_t r = 0; r < m; ++r) {
                product += x[r * K + i] * x[r * K + j];
                size += std::fabs(x[r * K + i] * x[r * K + j]);
            }
            ss1_test::keep_worse(worst_moment,
                                 std::fabs(got.moment[i * K + j] - product / rows) / (size / rows + 1e-30));
        }
    }
    CHECK(worst_mean < 1e-6);
    CHECK(worst_moment < 1e-5);
}

ss1_layer_rows make_rows(const std::vector<float> &x, size_t K) {
    ss1_layer_rows rows = SS1_LAYER_ROWS_INIT;
    rows.x_dtype = SS1_DTYPE_F32;
    rows.n_layers = 1;
    rows.K = rows.ldx = K;
    rows.m = x.size() / K;
    rows.x = x.data();
    return rows;
}

}  // namespace

TEST_CASE("an observer sees the rows of every layer and changes no bit") {
    const ss1::context_ptr context = make_context(nullptr, 3);
    for (const std::string &directory : cases()) {
        INFO(directory);
        arrays inputs, expected;
        read_vectors(directory, inputs, expected);
        const ss1::model_ptr model = ss1::load_model(context, directory);
        const size_t batch = batch_of(inputs);
        const arrays want = infer(model, make_session(model, batch), inputs);
        const ss1::calibration_ptr calibration = ss1::make_calibration(model);
        seen_rows seen;
        seen.calibration = calibration.get();
        const ss1::session_ptr session = observed_session(model, batch, seen_rows::add, &seen);
        CHECK(same_bits(infer(model, session, inputs), want));

        ss1_model_info info = SS1_MODEL_INFO_INIT;
        ss1::check(ss1_model_describe(model.get(), &info));
        CHECK(seen.by_layer.size() == info.n_layers);
        if (directory.find("albert") == directory.npos) {
            CHECK(seen.order.size() == info.n_layers);  // each once
        } else {
            CHECK(seen.order.size() > info.n_layers);  // layers that share weights are one layer that runs more often
        }
        for (const auto &[layer, x] : seen.by_layer)
            check_statistics(statistics(calibration.get(), layer_name(model, layer)), x);
    }
}

TEST_CASE("a layer reads the rows of tokens, and none of padding") {
    const ss1::context_ptr context = make_context(nullptr, 2);
    const ss1::model_ptr model = ss1::load_model(context, SS1_TEST_DATA "/bert_classifier");
    const std::vector<int64_t> ids = {5, 6, 7, 0, 5, 6, 7, 8}, mask = {1, 1, 1, 0, 1, 1, 1, 1};
    const arrays inputs = {{"input_ids", make_array("input_ids", {2, 4}, ids)},
                           {"attention_mask", make_array("attention_mask", {2, 4}, mask)}};
    seen_rows seen;
    infer(model, observed_session(model, 2, seen_rows::add, &seen), inputs);
    ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
    for (const auto &[layer, x] : seen.by_layer) {
        ss1::check(ss1_model_layer(model.get(), layer, &info));
        const bool of_sequences = !std::string(info.name).starts_with("encoder");
        CHECK(x.size() / info.layer.desc.K == (of_sequences ? 2 : 7));
    }
}

TEST_CASE("the moments have the same bits for any number of threads and rows beyond a block") {
    constexpr size_t m = 2500, K = 13;
    ss1_test::seeded random;
    std::vector<float> x(m * K);
    for (float &v : x) v = 2 + random.uniform();
    std::vector<statistics> got;
    for (const uint32_t threads : {1u, 2u, 7u}) {
        const ss1::context_ptr context = make_context(nullptr, threads);
        const ss1::model_ptr model = ss1::load_model(context, SS1_EXAMPLES "/models/insteval-dense");
        const ss1::calibration_ptr calibration = ss1::make_calibration(model);
        ss1_layer_statistics found = SS1_LAYER_STATISTICS_INIT;
        ss1::check(ss1_calibration_layer(calibration.get(), layer_name(model, 0).c_str(), &found));
        std::vector<float> rows_of_layer(m * found.K);
        for (size_t i = 0; i < rows_of_layer.size(); ++i) rows_of_layer[i] = x[i % x.size()];
        const ss1_layer_rows rows = make_rows(rows_of_layer, found.K);
        ss1_calibration_observe(calibration.get(), &rows);
        got.emplace_back(calibration.get(), layer_name(model, 0));
        check_statistics(got.back(), std::vector<double>(rows_of_layer.begin(), rows_of_layer.end()));
        CHECK(got.back().moment == got.front().moment);
        CHECK(got.back().mean == got.front().mean);
    }
}

TEST_CASE("the change of the moments falls with the rows") {
    const ss1::context_ptr context = make_context(nullptr, 2);
    const ss1::model_ptr model = ss1::load_model(context, SS1_TEST_DATA "/bert_classifier");
    const ss1::calibration_ptr calibration = ss1::make_calibration(model);
    double change = -1;
    CHECK(ss1_calibration_change(calibration.get(), &change) == SS1_OK);
    CHECK(change == 0);  // no rows
    ss1_layer_statistics found = SS1_LAYER_STATISTICS_INIT;
    ss1::check(ss1_calibration_layer(calibration.get(), layer_name(model, 0).c_str(), &found));
    CHECK(found.rows == 0);
    ss1_test::seeded random;
    double last = 2;
    for (const size_t m : {200, 200, 400, 800, 1600}) {
        std::vector<float> x(m * found.K);
        for (float &v : x) v = random.uniform();
        const ss1_layer_rows rows = make_rows(x, found.K);
        ss1_calibration_observe(calibration.get(), &rows);
        CHECK(ss1_calibration_change(calibration.get(), &change) == SS1_OK);
        CHECK(change < last);
        if (last == 2) CHECK(change == 1);
        last = change;
    }
    CHECK(last < 0.2);
    CHECK(ss1_calibration_change(calibration.get(), &change) == SS1_OK);
    CHECK(change == 0);  // no rows since the last call
}

TEST_CASE("rows that do not fit or are not finite are errors that name the layer") {
    const ss1::context_ptr context = make_context(nullptr, 2);
    const ss1::model_ptr model = ss1::load_model(context, SS1_TEST_DATA "/bert_classifier");
    const std::string name = layer_name(model, 0);
    ss1_layer_statistics found = SS1_LAYER_STATISTICS_INIT;
    const auto message_after = [&](auto &&break_rows) {
        const ss1::calibration_ptr calibration = ss1::make_calibration(model);
        ss1::check(ss1_calibration_layer(calibration.get(), name.c_str(), &found));
        std::vector<float> x(3 * found.K, 1.0f);
        ss1_layer_rows rows = make_rows(x, found.K);
        break_rows(x, rows);
        ss1_calibration_observe(calibration.get(), &rows);
        double change;
        CHECK(ss1_calibration_change(calibration.get(), &change) == SS1_ERROR_INVALID_ARGUMENT);
        CHECK(ss1_calibration_layer(calibration.get(), name.c_str(), &found) == SS1_ERROR_INVALID_ARGUMENT);
        return std::string(ss1_last_error());
    };
    using x_t = std::vector<float>;
    CHECK_THAT(message_after([](x_t &x, ss1_layer_rows &) { x[1] = std::numeric_limits<float>::quiet_NaN(); }),
               Catch::Contains("layer " + name + " reads x[0,1]=nan, which is not finite"));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.K -= 1; }), Catch::Contains("rows.K="));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.ldx -= 1; }), Catch::Contains("is below K="));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.n_layers = 1000; }), Catch::Contains("n_layers"));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.x_dtype = SS1_DTYPE_I8; }),
               Catch::Contains("neither f32 nor bf16"));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.x = nullptr; }), Catch::Contains("rows.x is NULL"));
    CHECK_THAT(message_after([](x_t &, ss1_layer_rows &rows) { rows.struct_size = 3; }),
               Catch::Contains("SS1_LAYER_ROWS_INIT"));

    const ss1::calibration_ptr calibration = ss1::make_calibration(model);
    CHECK(ss1_calibration_layer(calibration.get(), "no.such", &found) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(std::string(ss1_last_error()), Catch::Contains("layer='no.such'"));
    ss1_calibration *none = nullptr;
    ss1_calibration_destroy(&none);
    ss1_calibration_destroy(nullptr);
    CHECK(ss1_calibration_create(nullptr, &none) == SS1_ERROR_INVALID_ARGUMENT);
}

namespace {

// The forms that a test asks for, by layer.
using forms = std::map<std::string, ss1_linear_desc>;

void give_form(void *user, const char *layer, ss1_linear_desc *desc) {
    CHECK(desc->K > 0);
    CHECK(desc->N > 0);
    const auto &wanted = *static_cast<const forms *>(user);
    const auto found = wanted.find(layer);
    if (found == wanted.end()) return;
    const size_t K = desc->K, N = desc->N;
    *desc = found->second;
    desc->K = K;
    desc->N = N;
}

std::map<std::string, ss1_linear_desc> descs_of(const ss1::model_ptr &model) {
    std::map<std::string, ss1_linear_desc> descs;
    for (size_t i = 0;; ++i) {
        ss1_model_layer_info info = SS1_MODEL_LAYER_INFO_INIT;
        if (ss1_model_layer(model.get(), i, &info) != SS1_OK) return descs;
        descs[info.name] = info.layer.desc;
    }
}

std::vector<float> expand(const ss1::context_ptr &context, const std::string &directory, const std::string &layer,
                          const ss1_linear_desc &desc, size_t gap = 0) {
    std::vector<float> weight(desc.N * (desc.K + gap), -7.0f);
    ss1::check(ss1_model_expand(context.get(), directory.c_str(), nullptr, layer.c_str(), weight.data(), desc.K + gap));
    return weight;
}

}  // namespace

TEST_CASE("each layer gets the form that a function gives it, and expands to the weight of that form") {
    const ss1::context_ptr context = make_context(nullptr, 2);
    const std::string source = SS1_TEST_DATA "/dlrm_dot";
    const io_support::temporary_folder folder;
    const std::string out = (std::filesystem::path(folder.path) / "out").string();
    forms wanted;
    for (const char *name : {"bot_l.0", "bot_l.2", "top_l.2"}) wanted[name] = SS1_LINEAR_DESC_INIT;
    wanted["bot_l.0"].weight_dtype = SS1_DTYPE_BF16;
    wanted["bot_l.2"].rank = 3;
    wanted["top_l.2"].c = 2;
    wanted["top_l.2"].block_k = 16;
    ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
    options.form = give_form;
    options.form_user = &wanted;
    std::map<std::string, double> errors;
    options.report = [](void *user, const ss1_converted_layer *layer) {
        if (!layer->reason) (*static_cast<std::map<std::string, double> *>(user))[layer->name] = layer->error;
    };
    options.report_user = &errors;
    ss1::check(ss1_model_convert(context.get(), source.c_str(), out.c_str(), &options));
    const ss1::model_ptr before = ss1::load_model(context, source), after = ss1::load_model(context, out);
    const auto old_descs = descs_of(before), new_descs = descs_of(after);
    CHECK(new_descs.at("bot_l.0").weight_dtype == SS1_DTYPE_BF16);
    CHECK(new_descs.at("bot_l.2").rank == 3);
    CHECK(new_descs.at("top_l.2").c == 2);
    CHECK(errors.size() == 3);
    for (const auto &[name, desc] : old_descs) {
        INFO(name);
        const bool is_new = name == "bot_l.2" || name == "top_l.2";
        if (!is_new) CHECK(new_descs.at(name).c == desc.c);
        const std::vector<float> was = expand(context, source, name, desc), is = expand(context, out, name, desc);
        if (!is_new) {
            CHECK(was == is);
            continue;
        }
        double lost = 0, all = 0;  // without calibration the error is that of the weight
        for (size_t i = 0; i < was.size(); ++i) {
            lost += std::pow(static_cast<double>(was[i]) - static_cast<double>(is[i]), 2);
            all += std::pow(static_cast<double>(was[i]), 2);
        }
        CHECK(errors.at(name) == Approx(lost / all).epsilon(1e-4));
    }
    const ss1_linear_desc &desc = old_descs.at("top_l.2");
    const std::vector<float> wide = expand(context, out, "top_l.2", desc, 3),
                             narrow = expand(context, out, "top_l.2", desc);
    for (size_t n = 0; n < desc.N; ++n)
        for (size_t k = 0; k < desc.K + 3; ++k)
            REQUIRE(wide[n * (desc.K + 3) + k] == (k < desc.K ? narrow[n * desc.K + k] : -7.0f));
}

TEST_CASE("forms that contradict other options or the model are errors, and no form writes the model again") {
    const ss1::context_ptr context = make_context(nullptr, 2);
    const std::string source = SS1_TEST_DATA "/dlrm_dot";
    const io_support::temporary_folder folder;
    const std::string out = (std::filesystem::path(folder.path) / "out").string();
    forms wanted;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    ss1_convert_options options = SS1_CONVERT_OPTIONS_INIT;
    options.desc = &desc;
    options.form = give_form;
    options.form_user = &wanted;
    const auto message = [&] {
        CHECK(ss1_model_convert(context.get(), source.c_str(), out.c_str(), &options) == SS1_ERROR_INVALID_ARGUMENT);
        return std::string(ss1_last_error());
    };
    desc.c = 2;
    CHECK_THAT(message(), Catch::Contains("options.form says the form of each layer"));
    desc.c = 0;
    options.layers = "bot_l.2";
    CHECK_THAT(message(), Catch::Contains("options.form says the form of each layer"));
    options.layers = nullptr;
    options.from = SS1_CONVERT_FROM_SSL;
    CHECK_THAT(message(), Catch::Contains("SS1_CONVERT_FROM_DENSE"));
    options.from = SS1_CONVERT_FROM_DENSE;
    wanted["bot_l.2"] = SS1_LINEAR_DESC_INIT;
    wanted["bot_l.2"].rank = 1000;
    CHECK_THAT(message(), Catch::Contains("bot_l.2") && Catch::Contains("rank=1000"));
    wanted["bot_l.2"].rank = 0;
    wanted["bot_l.2"].activation = SS1_ACTIVATION_RELU;
    wanted["bot_l.2"].weight_dtype = SS1_DTYPE_BF16;
    CHECK_THAT(message(), Catch::Contains("options.form, layer bot_l.2: options.desc.activation"));
    // A field alone is not ignored.
    for (const auto set : std::initializer_list<void (*)(ss1_linear_desc &)>{
             [](ss1_linear_desc &one) { one.c = 1; }, [](ss1_linear_desc &one) { one.scheme = SS1_SCHEME_REFERENCE; },
             [](ss1_linear_desc &one) { one.seed = 7; }, [](ss1_linear_desc &one) { one.block_k = 16; },
             [](ss1_linear_desc &one) { one.block_n = 16; }, [](ss1_linear_desc &one) { one.step = 16; },
             [](ss1_linear_desc &one) { one.activation = SS1_ACTIVATION_RELU; }}) {
        wanted["bot_l.2"] = SS1_LINEAR_DESC_INIT;
        set(wanted["bot_l.2"]);
        CHECK_THAT(message(), Catch::Contains("ss1_model_convert: options.form, layer bot_l.2: options.desc."));
    }

    wanted.clear();
    ss1::check(ss1_model_convert(context.get(), source.c_str(), out.c_str(), &options));
    const ss1::model_ptr again = ss1::load_model(context, out);
    CHECK(descs_of(again).size() == descs_of(ss1::load_model(context, source)).size());

    float weight[1];
    CHECK(ss1_model_expand(context.get(), out.c_str(), nullptr, "no.such", weight, 0) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(std::string(ss1_last_error()), Catch::Contains("layer='no.such'"));
    CHECK(ss1_model_expand(context.get(), out.c_str(), nullptr, "bot_l.2", weight, 1) == SS1_ERROR_INVALID_ARGUMENT);
    CHECK_THAT(std::string(ss1_last_error()), Catch::Contains("ldw=1 is below K="));
}
