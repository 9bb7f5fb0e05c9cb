// SPDX-License-Identifier: Apache-2.0
// Makes the pipeline of a tokenizer.json, of a vocab.json with a merges.txt, or of BERT's rules.
#pragma once
#include "text/tokenizer.hpp"

namespace ss1 {

// Reads normalizer, pre-tokenizer and model, and the vocabulary into `all`. `out` refers to `all` from then on.
ss1_status read_pipeline(const tokenizer_json &file, const allocator &memory, vocabulary &all, pipeline &out);

// The byte-level BPE of GPT-2 and RoBERTa; `file` has the content of vocab.json as `vocab`.
ss1_status read_merges_file(const std::string &directory, const tokenizer_json &file, bool add_prefix_space,
                            const allocator &memory, vocabulary &all, pipeline &out);

// The pipeline that does what words.hpp does in one pass.
pipeline bert_pipeline(const word_rules &rules, const vocabulary &all, int32_t unknown);

}  // namespace ss1
