// SPDX-License-Identifier: Apache-2.0
// Fuzzes the files of a tokenizer. The input is the files that `names` lists and a text, with empty lines between them;
// an empty part is no file. Accepted files have ids and tokens below vocab_size, and places lie in the text.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ss1/ss1.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

constexpr const char *names[] = {"tokenizer.json",
                                 "vocab.txt",
                                 "tokenizer_config.json",
                                 "special_tokens_map.json",
                                 "added_tokens.json",
                                 "vocab.json",
                                 "merges.txt",
                                 "config.json"};

ss1::context_ptr one_thread() {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    options.num_threads = 1;
    return ss1::make_context(options);
}

std::string_view next_part(std::string_view &rest) {
    const size_t end = std::min(rest.find("\n\n"), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    return part;
}

// Encodes a text with and without places; checks ids and places.
void encode(const ss1_tokenizer *tokenizer, const ss1_tokenizer_info &info, std::string_view text) {
    ss1_text row = SS1_TEXT_INIT;
    row.data = text.data();
    row.bytes = text.size();
    const size_t room = info.max_tokens && info.max_tokens < 256 ? info.max_tokens : 256;
    std::vector<int64_t> ids(room), alone(room), begins(room), ends(room);
    size_t length = 0;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &row;
    args.max_tokens = room;
    args.input_ids = alone.data();
    const ss1_status status = ss1_tokenizer_encode(tokenizer, &args);
    promise(status == SS1_OK || status == SS1_ERROR_INVALID_ARGUMENT);  // no room for the tokens around a text
    args.input_ids = ids.data();
    args.begins = begins.data();
    args.ends = ends.data();
    args.lengths = &length;
    promise(ss1_tokenizer_encode(tokenizer, &args) == status);
    if (status != SS1_OK) return;
    promise(length <= room && ids == alone);
    for (size_t i = 0; i < length; ++i) {
        promise(ids[i] >= 0 && static_cast<size_t>(ids[i]) < info.vocab_size);
        promise(begins[i] >= 0 && begins[i] <= ends[i] && static_cast<size_t>(ends[i]) <= text.size());
    }
}

void walk(const ss1_tokenizer *tokenizer, std::string_view text) {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    promise(ss1_tokenizer_describe(tokenizer, &info) == SS1_OK);
    const char *token = nullptr;
    for (size_t id = 0; id < info.vocab_size; ++id) {
        const ss1_status status = ss1_tokenizer_token(tokenizer, static_cast<int64_t>(id), &token);
        promise(status == SS1_OK || status == SS1_ERROR_INVALID_ARGUMENT);  // the file leaves out the id
        if (status == SS1_OK && id < 256) encode(tokenizer, info, token);
    }
    promise(ss1_tokenizer_token(tokenizer, static_cast<int64_t>(info.vocab_size), &token) != SS1_OK);
    for (const int64_t id : {info.unk, info.sep, info.pad, info.cls, info.mask})
        promise(id == -1 || (ss1_tokenizer_token(tokenizer, id, &token) == SS1_OK && token));
    encode(tokenizer, info, text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ss1::context_ptr context = one_thread();
    std::string_view rest(reinterpret_cast<const char *>(data), size);
    std::vector<ss1_memory_file> files;
    for (const char *name : names)
        if (const std::string_view part = next_part(rest); !part.empty())
            files.push_back(ss1::memory_file(name, part.data(), part.size()));
    if (files.empty()) return 0;
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load_memory(context.get(), files.data(), files.size(), &tokenizer);
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT || status == SS1_ERROR_UNSUPPORTED ||
            status == SS1_ERROR_IO);
    promise((status == SS1_OK) == (tokenizer != nullptr));
    if (tokenizer) walk(tokenizer, rest);
    ss1_tokenizer_destroy(&tokenizer);
    return 0;
}
