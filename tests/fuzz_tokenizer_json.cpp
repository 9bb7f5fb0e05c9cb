// SPDX-License-Identifier: Apache-2.0
// Fuzzes the files of a tokenizer. The input is a tokenizer.json, a vocab.txt, a tokenizer_config.json and a text, with
// empty lines between them; an empty part is no file. Accepted files have ids and tokens below vocab_size, and a
// text that is a special token is its id.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "ss1/ss1.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

// A folder in memory that is removed at the end.
struct memory_folder {
    std::string path = "/dev/shm/ss1_fuzz_XXXXXX";
    memory_folder() { promise(mkdtemp(path.data())); }
    ~memory_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    void set(const char *name, std::string_view content) const {
        const std::string file = path + "/" + name;
        unlink(file.c_str());
        if (!content.empty()) std::ofstream(file, std::ios::binary) << content;
    }
};

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

// Encodes a text and checks ids and places. @return the ids of its tokens.
std::vector<int64_t> encode(const ss1_tokenizer *tokenizer, const ss1_tokenizer_info &info, std::string_view text) {
    ss1_text row = SS1_TEXT_INIT;
    row.data = text.data();
    row.bytes = text.size();
    const size_t room = info.max_tokens && info.max_tokens < 256 ? info.max_tokens : 256;
    std::vector<int64_t> ids(room), begins(room), ends(room);
    size_t length = 0;
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = 1;
    args.first = &row;
    args.max_tokens = room;
    args.input_ids = ids.data();
    args.begins = begins.data();
    args.ends = ends.data();
    args.lengths = &length;
    promise(ss1_tokenizer_encode(tokenizer, &args) == SS1_OK);
    promise(length >= 2 && length <= room && ids[0] == info.cls && ids[length - 1] == info.sep);
    for (size_t i = 1; i + 1 < length; ++i) {
        promise(ids[i] >= 0 && static_cast<size_t>(ids[i]) < info.vocab_size);
        promise(begins[i] >= begins[i - 1] && ends[i] >= ends[i - 1] && begins[i] < ends[i]);
        promise(static_cast<size_t>(ends[i]) <= text.size());
    }
    ids.resize(length - 1);
    ids.erase(ids.begin());
    return ids;
}

void walk(const ss1_tokenizer *tokenizer, std::string_view text) {
    ss1_tokenizer_info info = SS1_TOKENIZER_INFO_INIT;
    promise(ss1_tokenizer_describe(tokenizer, &info) == SS1_OK);
    const char *token = nullptr;
    for (size_t id = 0; id < info.vocab_size; ++id)
        promise(ss1_tokenizer_token(tokenizer, static_cast<int64_t>(id), &token) == SS1_OK && token);
    promise(ss1_tokenizer_token(tokenizer, static_cast<int64_t>(info.vocab_size), &token) != SS1_OK);
    for (const int64_t id : {info.unk, info.sep, info.pad, info.cls, info.mask}) {
        if (id < 0) continue;
        promise(ss1_tokenizer_token(tokenizer, id, &token) == SS1_OK);
        const std::vector<int64_t> found = encode(tokenizer, info, token);
        promise(info.max_tokens == 2 ? found.empty() : found == std::vector<int64_t>{id});
    }
    encode(tokenizer, info, text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const memory_folder folder;
    static const ss1::context_ptr context = one_thread();
    std::string_view rest(reinterpret_cast<const char *>(data), size);
    for (const char *name : {"tokenizer.json", "vocab.txt", "tokenizer_config.json"}) folder.set(name, next_part(rest));
    ss1_tokenizer *tokenizer = nullptr;
    const ss1_status status = ss1_tokenizer_load(context.get(), folder.path.c_str(), &tokenizer);
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT || status == SS1_ERROR_UNSUPPORTED ||
            status == SS1_ERROR_IO);
    promise((status == SS1_OK) == (tokenizer != nullptr));
    if (tokenizer) walk(tokenizer, rest);
    ss1_tokenizer_destroy(&tokenizer);
    return 0;
}
