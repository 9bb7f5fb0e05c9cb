// SPDX-License-Identifier: Apache-2.0
// C++17 for ss1.h: owning handles that destroy their object, named tensors made of typed arrays, and ss1::error for
// a failing status. No logic.
#ifndef SS1_HPP
#define SS1_HPP

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "ss1.h"

namespace ss1 {

// A failed call: status() is its status, what() the message of ss1_last_error().
class error : public std::runtime_error {
  public:
    explicit error(ss1_status status) : std::runtime_error(ss1_last_error()), status_(status) {}
    ss1_status status() const noexcept { return status_; }

  private:
    ss1_status status_;
};

// Throws unless `status` is SS1_OK.
inline void check(ss1_status status) {
    if (status != SS1_OK) throw error(status);
}

namespace detail {
template <class T, void (*Destroy)(T **)>
struct deleter {
    void operator()(T *pointer) const noexcept { Destroy(&pointer); }
};
}  // namespace detail

// Owning handles; `get()` returns the C pointer for the functions of ss1.h.
using context_ptr = std::unique_ptr<ss1_context, detail::deleter<ss1_context, ss1_context_destroy>>;
using layer_ptr = std::unique_ptr<ss1_layer, detail::deleter<ss1_layer, ss1_layer_destroy>>;
using tower_ptr = std::unique_ptr<ss1_tower, detail::deleter<ss1_tower, ss1_tower_destroy>>;
using bags_ptr = std::unique_ptr<ss1_bags, detail::deleter<ss1_bags, ss1_bags_destroy>>;
using model_ptr = std::unique_ptr<ss1_model, detail::deleter<ss1_model, ss1_model_destroy>>;
using tokenizer_ptr = std::unique_ptr<ss1_tokenizer, detail::deleter<ss1_tokenizer, ss1_tokenizer_destroy>>;
using session_ptr = std::unique_ptr<ss1_session, detail::deleter<ss1_session, ss1_session_destroy>>;

using calibration_ptr = std::unique_ptr<ss1_calibration, detail::deleter<ss1_calibration, ss1_calibration_destroy>>;

inline context_ptr make_context(const ss1_context_options &options = SS1_CONTEXT_OPTIONS_INIT) {
    ss1_context *context = nullptr;
    check(ss1_context_create(&options, &context));
    return context_ptr(context);
}

inline layer_ptr make_layer(const context_ptr &context, const ss1_linear_desc &desc,
                            const ss1_linear_weights &weights) {
    ss1_layer *layer = nullptr;
    check(ss1_layer_create(context.get(), &desc, &weights, &layer));
    return layer_ptr(layer);
}

// The layers must outlive the tower.
inline tower_ptr make_tower(const std::vector<const ss1_layer *> &layers) {
    ss1_tower *tower = nullptr;
    check(ss1_tower_create(layers.data(), layers.size(), &tower));
    return tower_ptr(tower);
}

// The data of the tables must outlive the bags.
inline bags_ptr make_bags(const context_ptr &context, size_t d, const std::vector<ss1_table> &tables) {
    ss1_bags *bags = nullptr;
    check(ss1_bags_create(context.get(), d, tables.data(), tables.size(), &bags));
    return bags_ptr(bags);
}

inline model_ptr load_model(const context_ptr &context, const std::string &directory,
                            const ss1_model_options &options = SS1_MODEL_OPTIONS_INIT) {
    ss1_model *model = nullptr;
    check(ss1_model_load(context.get(), directory.c_str(), &options, &model));
    return model_ptr(model);
}

// A file of load_model() and load_tokenizer() from memory. `name` and `data` must live until they return; with
// map_tables, `data` must live, unchanged, as long as the model.
inline ss1_memory_file memory_file(const char *name, const void *data, size_t bytes) {
    ss1_memory_file file = SS1_MEMORY_FILE_INIT;
    file.name = name;
    file.data = data;
    file.bytes = bytes;
    return file;
}

// Loads a model from files in memory; see memory_file() for how long they must live.
inline model_ptr load_model(const context_ptr &context, const std::vector<ss1_memory_file> &files,
                            const ss1_model_options &options = SS1_MODEL_OPTIONS_INIT) {
    ss1_model *model = nullptr;
    check(ss1_model_load_memory(context.get(), files.data(), files.size(), &options, &model));
    return model_ptr(model);
}

inline session_ptr make_session(const model_ptr &model, const ss1_session_options &options = SS1_SESSION_OPTIONS_INIT) {
    ss1_session *session = nullptr;
    check(ss1_session_create(model.get(), &options, &session));
    return session_ptr(session);
}

inline calibration_ptr make_calibration(const model_ptr &model) {
    ss1_calibration *calibration = nullptr;
    check(ss1_calibration_create(model.get(), &calibration));
    return calibration_ptr(calibration);
}

inline tokenizer_ptr load_tokenizer(const context_ptr &context, const std::string &directory) {
    ss1_tokenizer *tokenizer = nullptr;
    check(ss1_tokenizer_load(context.get(), directory.c_str(), &tokenizer));
    return tokenizer_ptr(tokenizer);
}

inline tokenizer_ptr load_tokenizer(const context_ptr &context, const std::vector<ss1_memory_file> &files) {
    ss1_tokenizer *tokenizer = nullptr;
    check(ss1_tokenizer_load_memory(context.get(), files.data(), files.size(), &tokenizer));
    return tokenizer_ptr(tokenizer);
}

namespace detail {
template <class T>
constexpr ss1_dtype dtype_of() {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, int64_t> || std::is_same_v<T, int32_t> ||
                      std::is_same_v<T, int8_t> || std::is_same_v<T, uint8_t>,
                  "set ss1_tensor.dtype by hand for other types");
    return std::is_same_v<T, float>     ? SS1_DTYPE_F32
           : std::is_same_v<T, int64_t> ? SS1_DTYPE_I64
           : std::is_same_v<T, int32_t> ? SS1_DTYPE_I32
           : std::is_same_v<T, int8_t>  ? SS1_DTYPE_I8
                                        : SS1_DTYPE_U8;
}
}  // namespace detail

// An input of a session, of 1 to 4 sizes: as many elements as `shape` says. A run does not write to it.
template <class T>
ss1_tensor input(const char *name, const T *data, std::initializer_list<int64_t> shape) {
    ss1_tensor tensor = SS1_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = detail::dtype_of<T>();
    tensor.data = const_cast<T *>(data);
    tensor.rank = static_cast<uint32_t>(shape.size());
    tensor.bytes = sizeof(T);
    std::copy_n(shape.begin(), std::min(shape.size(), std::size(tensor.shape)), tensor.shape);
    for (const int64_t size : shape) tensor.bytes *= static_cast<size_t>(size);
    return tensor;
}

// Room for an output of at most n elements; a run sets its rank and shape.
template <class T>
ss1_tensor output(const char *name, T *data, size_t n) {
    ss1_tensor tensor = SS1_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = detail::dtype_of<T>();
    tensor.data = data;
    tensor.bytes = n * sizeof(T);
    return tensor;
}

// Runs a session on arrays or vectors of named tensors. Allocates nothing.
template <class Inputs, class Outputs>
void run(const session_ptr &session, const Inputs &inputs, Outputs &outputs) {
    check(ss1_session_run(session.get(), std::data(inputs), std::size(inputs), std::data(outputs), std::size(outputs)));
}

}  // namespace ss1

#endif
