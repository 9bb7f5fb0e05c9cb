// SPDX-License-Identifier: Apache-2.0
// What BERT, DistilBERT and RoBERTa call their tensors. The rest of the library knows one graph and its canonical
// names: those of transformers' BertModel, BertForMaskedLM and BertForQuestionAnswering without `bert.`,
// `pre_classifier` for the dense layer in front of a classifier.
#pragma once
#include <string>
#include <string_view>

#include "io/bert_config.hpp"

namespace ss1 {

// The canonical name of a tensor in a checkpoint; a name that the tables do not have keeps its own.
std::string canonical_bert_name(const bert_config &config, std::string_view stored);

// The name that transformers gives to a tensor of canonical name.
std::string stored_bert_name(const bert_config &config, std::string_view canonical);

}  // namespace ss1
