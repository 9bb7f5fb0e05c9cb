// SPDX-License-Identifier: Apache-2.0
// A batch of rows of one model, and the session runs that compute their outputs.
#pragma once
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "apps/csv.hpp"
#include "apps/handles.hpp"

namespace ss1::apps {

// One run of a session: its inputs, and for each of its rows the row's number in the batch.
struct model_run {
    std::vector<ss1_tensor> inputs;
    std::vector<size_t> rows;
};

// Every model family has its kind of rows: see row_family.
class model_rows {
  public:
    virtual ~model_rows() = default;

    // Finds the columns that add() reads. `directory` of the model may have files that say how to read them.
    virtual void bind(const csv_reader &reader, const std::string &directory) = 0;
    // Adds the reader's row. Returns false if the reader's options leave it out.
    virtual bool add(const csv_reader &reader) = 0;
    // Adds a row of random values; a row of tokens has `tokens` of them.
    virtual void add_random(std::mt19937_64 &random, size_t tokens) = 0;
    virtual void clear() = 0;
    virtual size_t size() const = 0;
    virtual size_t max_tokens() const = 0;      // tokens that a row may have; 1 for rows without tokens
    virtual size_t tokens(size_t i) const = 0;  // tokens of row i; 1 for rows without tokens
    // Gives the first row's user to all rows. Does nothing if the family has no users.
    virtual void share_user() {}
    virtual size_t users() const { return size(); }  // users that a run computes
    // The runs point into this object.
    virtual const std::vector<model_run> &runs() = 0;
};

ss1_tensor input_tensor(const char *name, const std::vector<float> &values, std::initializer_list<size_t> shape);
ss1_tensor input_tensor(const char *name, const std::vector<int64_t> &values, std::initializer_list<size_t> shape);

// The output that answers for a row: DLRM's probability; BERT's logits or, without a classifier, its sentence embedding
// or its pooled vector.
struct row_output {
    std::string name;
    size_t width;  // values of one row

    // A tensor [rows, width] in the memory at `values`.
    ss1_tensor tensor(float *values, size_t rows) const;
};
row_output choose_output(const model_handle &model);
bool gives_probability(const model_handle &model);

}  // namespace ss1::apps
