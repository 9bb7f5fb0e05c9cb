// SPDX-License-Identifier: Apache-2.0
// Classify one sequence with a BERT directory from a C++17 program, handles owned by ss1.hpp.
// Build: c++ -std=c++17 classify_bert.cpp $(pkg-config --cflags --libs ss1)
// Run:   ./classify_bert [directory [token id]...]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ss1/ss1.hpp>
#include <vector>

namespace {

// Returns the logits of one sequence of token ids.
std::vector<float> classify(const ss1::model_ptr &model, const std::vector<int64_t> &ids) {
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_tokens = ids.size();
    const ss1::session_ptr session = ss1::make_session(model, options);

    // By default every token is seen and of type 0, so attention_mask and token_type_ids are not given.
    const auto tokens = static_cast<int64_t>(ids.size());
    const ss1_tensor inputs[] = {ss1::input("input_ids", ids.data(), {1, tokens})};
    ss1_model_info info = SS1_MODEL_INFO_INIT;
    ss1::check(ss1_model_describe(model.get(), &info));
    std::vector<float> logits(info.n_labels);
    ss1_tensor outputs[] = {ss1::output("logits", logits.data(), logits.size())};  // [batch, labels]
    ss1::run(session, inputs, outputs);  // fails if the model has no classifier
    return logits;
}

}  // namespace

int main(int argc, char **argv) try {
    const ss1::context_ptr context = ss1::make_context();
    const ss1::model_ptr model = ss1::load_model(context, argc > 1 ? argv[1] : "tests/data/bert_classifier");
    std::vector<int64_t> ids;
    for (int i = 2; i < argc; ++i) ids.push_back(std::atoll(argv[i]));
    if (ids.empty()) ids = {2, 71, 82, 81, 3};

    const std::vector<float> logits = classify(model, ids);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    for (size_t i = 0; i < logits.size(); ++i)
        std::printf("label %zu: logit %+.4f, probability %.4f\n", i, static_cast<double>(logits[i]),
                    std::exp(static_cast<double>(logits[i])) / sum);
    std::printf("most likely: label %td\n", std::max_element(logits.begin(), logits.end()) - logits.begin());
} catch (const ss1::error &e) {
    std::fprintf(stderr, "%s: %s\n", ss1_status_name(e.status()), e.what());
    return 1;
}
