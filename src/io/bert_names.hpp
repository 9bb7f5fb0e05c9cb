// SPDX-License-Identifier: Apache-2.0
// The tensor names of BERT and its relatives. The rest of the library knows one graph and its canonical names:
// those of transformers' BertModel, BertForMaskedLM and BertForQuestionAnswering without `bert.`, `pre_classifier` for
// the dense layer before a classifier, and ELECTRA's names for what BERT lacks.
#pragma once
#include <string>
#include <string_view>

#include "io/bert_config.hpp"

namespace ss1 {

// Returns the canonical name of a tensor in a checkpoint; names that are not in the tables stay unchanged.
std::string canonical_bert_name(const bert_config &config, std::string_view stored);

// Returns the name in transformers of the tensor with a canonical name.
std::string stored_bert_name(const bert_config &config, std::string_view canonical);

}  // namespace ss1
