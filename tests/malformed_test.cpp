// SPDX-License-Identifier: Apache-2.0
// Each file breaks a rule and must give the exact status and a part of the message.
#include <catch2/catch.hpp>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "convert/convert.hpp"
#include "io_support.hpp"

using namespace io_support;
using ss1::file_dtype;
using json = nlohmann::json;

namespace {

struct malformed {
    std::string name;
    std::function<ss1_status()> run;
    ss1_status status;
    std::string message;  // a part of ss1_last_error()
};
using table = std::vector<malformed>;

constexpr ss1_status format = SS1_ERROR_FORMAT, unsupported = SS1_ERROR_UNSUPPORTED, io = SS1_ERROR_IO,
                     invalid = SS1_ERROR_INVALID_ARGUMENT;

ss1_status parse_safetensors(const std::string &bytes) {
    // Copies to an allocation of exact size, so that a read past the end leaves the allocation.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    ss1::safetensors_header header;
    return ss1::safetensors_parse(std::as_bytes(std::span(exact)), exact.size(), "file", header);
}

ss1_status parse_config(const std::string &text) {
    ss1::model_config config;
    return ss1::model_config_parse(text, "config.json", config);
}

ss1_status parse_index(const std::string &text) {
    std::map<std::string, std::string> shards;
    return ss1::model_index_parse(text, "index.json", shards);
}

// Returns `text` with the members of `patch` merged in; null removes a member (RFC 7396).
std::string patched(const char *text, const std::string &patch) {
    json config = json::parse(text);
    config.merge_patch(json::parse(patch));
    return config.dump();
}

std::string nested(size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

const std::string good_header =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[2,1],"data_offsets":[8,10]}})";
const std::string good_data = "0123456789";

void add_truncations(table &cases) {
    const std::string whole = safetensors_bytes(good_header, good_data);
    for (size_t n = 0; n < whole.size(); ++n) {
        const char *message = n < 8                        ? "at least 8"
                              : n < 8 + good_header.size() ? "is past the end of the file"
                                                           : "end past the end of the file";
        cases.push_back({"truncated after " + std::to_string(n), [=] { return parse_safetensors(whole.substr(0, n)); },
                         format, message});
    }
}

void add_header_lengths(table &cases) {
    struct row {
        uint64_t length;
        const char *message;
    };
    const std::string rest = good_header + good_data;
    // The good header ends with two braces, so that it still ends with one after a byte is cut.
    for (const row &r : std::initializer_list<row>{{0, "must start with '{'"},
                                                   {1, "must start with '{' and end with '}'"},
                                                   {2, "must start with '{' and end with '}'"},
                                                   {good_header.size() - 1, "invalid JSON at byte"},
                                                   {good_header.size() + 1, "end with '}'"},
                                                   {rest.size() + 1, "past the end"},
                                                   {100'000'000, "past the end"},
                                                   {100'000'001, "above the limit of 100000000"},
                                                   {uint64_t{1} << 31, "above the limit"},
                                                   {uint64_t{1} << 32, "above the limit"},
                                                   {uint64_t{1} << 63, "above the limit"},
                                                   {~uint64_t{0} - 7, "above the limit"},
                                                   {~uint64_t{0}, "above the limit"}}) {
        cases.push_back({"header length " + std::to_string(r.length),
                         [=] { return parse_safetensors(little_endian(r.length) + rest); }, format, r.message});
    }
}

// Headers over ten bytes of data.
void add_headers(table &cases) {
    struct row {
        const char *name, *header;
        ss1_status status;
        const char *message;
    };
    static const row rows[] = {
        {"space before the brace", R"( {})", format, "must start with '{'"},
        {"array", R"([])", format, "must start with '{'"},
        {"string", R"("a")", format, "must start with '{'"},
        {"only spaces", R"(    )", format, "must start with '{'"},
        {"line feed as padding", "{}\n", format, "end with '}' and spaces"},
        {"garbage after the object", R"({} {})", format, "invalid JSON at byte 4"},
        {"unfinished", R"({"a"})", format, "invalid JSON at byte 5"},
        {"unfinished member", R"({"a":})", format, "invalid JSON at byte 6"},
        {"trailing comma", R"({"a":{},})", format, "invalid JSON"},
        {"single quotes", R"({'a':{}})", format, "invalid JSON at byte 2"},
        {"comment", R"({/* */})", format, "invalid JSON"},
        {"literal", R"({"a":tru})", format, "invalid JSON"},
        {"NaN", R"({"a":NaN})", format, "invalid JSON"},
        {"number too large for a double", R"({"a":1e999})", format, "number overflow"},
        {"raw control character", "{\"a\nb\":{}}", format, "invalid JSON"},
        {"bad escape", R"({"\x":{}})", format, "invalid JSON"},
        {"half a surrogate", R"({"\ud800":{}})", format, "invalid JSON"},
        {"invalid UTF-8", "{\"\xff\":{}}", format, "invalid JSON"},
        {"overlong UTF-8", "{\"\xc0\x80\":{}}", format, "invalid JSON"},
        {"UTF-8 surrogate", "{\"\xed\xa0\x80\":{}}", format, "invalid JSON"},
        {"half of a UTF-8 character", "{\"\xc3\":{}}", format, "invalid JSON"},
        {"tensor is a number", R"({"a":1})", format, "tensor 'a': is of type number, must be an object"},
        {"tensor is null", R"({"a":null})", format, "is of type null"},
        {"tensor is an array", R"({"a":[]})", format, "is of type array"},
        {"empty tensor", R"({"a":{}})", format, "key 'dtype' is missing"},
        {"no shape", R"({"a":{"dtype":"U8","data_offsets":[0,10]}})", format, "key 'shape' is missing"},
        {"no offsets", R"({"a":{"dtype":"U8","shape":[10]}})", format, "key 'data_offsets' is missing"},
        {"unknown key", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10],"strides":[1]}})", format,
         "unknown key 'strides'"},
        {"dtype is a number", R"({"a":{"dtype":1,"shape":[10],"data_offsets":[0,10]}})", format,
         "dtype: is of type number"},
        {"dtype in small letters", R"({"a":{"dtype":"f32","shape":[10],"data_offsets":[0,10]}})", format,
         "'f32' is not a safetensors dtype"},
        {"no such dtype", R"({"a":{"dtype":"F128","shape":[10],"data_offsets":[0,10]}})", format,
         "'F128' is not a safetensors dtype"},
        {"empty dtype", R"({"a":{"dtype":"","shape":[10],"data_offsets":[0,10]}})", format,
         "'' is not a safetensors dtype"},
        {"F4", R"({"a":{"dtype":"F4","shape":[20],"data_offsets":[0,10]}})", unsupported, "dtype F4 is not supported"},
        {"F6_E2M3", R"({"a":{"dtype":"F6_E2M3","shape":[8],"data_offsets":[0,6]}})", unsupported, "dtype F6_E2M3"},
        {"F6_E3M2", R"({"a":{"dtype":"F6_E3M2","shape":[8],"data_offsets":[0,6]}})", unsupported, "dtype F6_E3M2"},
        {"F8_E5M2", R"({"a":{"dtype":"F8_E5M2","shape":[10],"data_offsets":[0,10]}})", unsupported, "dtype F8_E5M2"},
        {"F8_E4M3", R"({"a":{"dtype":"F8_E4M3","shape":[10],"data_offsets":[0,10]}})", unsupported, "dtype F8_E4M3"},
        {"F8_E8M0", R"({"a":{"dtype":"F8_E8M0","shape":[10],"data_offsets":[0,10]}})", unsupported, "dtype F8_E8M0"},
        {"F8_E4M3FNUZ", R"({"a":{"dtype":"F8_E4M3FNUZ","shape":[10],"data_offsets":[0,10]}})", unsupported,
         "dtype F8_E4M3FNUZ"},
        {"F8_E5M2FNUZ", R"({"a":{"dtype":"F8_E5M2FNUZ","shape":[10],"data_offsets":[0,10]}})", unsupported,
         "dtype F8_E5M2FNUZ"},
        {"C64", R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})", unsupported, "dtype C64"},
        {"shape is a number", R"({"a":{"dtype":"U8","shape":10,"data_offsets":[0,10]}})", format,
         "shape must be an array"},
        {"shape is null", R"({"a":{"dtype":"U8","shape":null,"data_offsets":[0,10]}})", format,
         "shape must be an array"},
        {"negative width", R"({"a":{"dtype":"U8","shape":[-10],"data_offsets":[0,10]}})", format,
         "shape: is -10, must be a whole number"},
        {"minus zero", R"({"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}})", format, "must be a whole number"},
        {"width with a point", R"({"a":{"dtype":"U8","shape":[10.0],"data_offsets":[0,10]}})", format,
         "shape: is 10.0, must be a whole"},
        {"width with an exponent", R"({"a":{"dtype":"U8","shape":[1e1],"data_offsets":[0,10]}})", format,
         "must be a whole number"},
        {"width of 2^64", R"({"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,10]}})", format,
         "must be a whole number"},
        {"width is a string", R"({"a":{"dtype":"U8","shape":["10"],"data_offsets":[0,10]}})", format,
         "shape: is string"},
        {"width is true", R"({"a":{"dtype":"U8","shape":[true],"data_offsets":[0,10]}})", format, "shape: is boolean"},
        {"nested shape", R"({"a":{"dtype":"U8","shape":[[10]],"data_offsets":[0,10]}})", format, "shape: is array"},
        {"product overflows", R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,10]}})", format,
         "overflows"},
        {"product overflows to the right size",
         R"({"a":{"dtype":"U8","shape":[9223372036854775809,2,5],"data_offsets":[0,10]}})", format, "overflows"},
        {"bytes overflow", R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", format,
         "overflows"},
        {"bytes overflow to the right size",
         R"({"a":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}})", format, "overflows"},
        {"offsets are an object", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":{}}})", format,
         "data_offsets must be an array"},
        {"no offset", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[]}})", format, "data_offsets has 0 numbers"},
        {"one offset", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0]}})", format, "data_offsets has 1 numbers"},
        {"three offsets", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10,10]}})", format,
         "data_offsets has 3 numbers"},
        {"negative offset", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[-1,9]}})", format,
         "data_offsets: is -1"},
        {"offset with a point", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,1e1]}})", format,
         "data_offsets: is 10.0"},
        {"begin above end", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[10,0]}})", format, "begin is above end"},
        {"offsets at 2^64",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[18446744073709551605,18446744073709551615]}})", format,
         "data_offsets overflow"},
        {"offsets near 2^63",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[9223372036854775807,9223372036854775817]}})", format,
         "leaving a hole"},
        {"end past the file", R"({"a":{"dtype":"U8","shape":[11],"data_offsets":[0,11]}})", format,
         "end past the end of the file"},
        {"end far past the file", R"({"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}})",
         format, "end past the end"},
        {"fewer offsets than shape", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", format,
         "of shape [2] has 8 bytes, data_offsets have 4"},
        {"more offsets than shape", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,10]}})", format,
         "has 9 bytes, data_offsets have 10"},
        {"scalar without bytes", R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,0]}})", format,
         "of shape [] has 1 bytes"},
        {"empty with bytes", R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,10]}})", format,
         "has 0 bytes, data_offsets have 10"},
        {"no tensor for the data", R"({})", format, "the tensors end at byte 10, the file at 20"},
        {"hole in front", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[1,10]}})", format,
         "begins at data offset 1, leaving a hole"},
        {"hole at the end", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", format,
         "the tensors end at byte"},
        {"hole between",
         R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[5],"data_offsets":[5,10]}})",
         format, "tensor 'b': begins at data offset 5, leaving a hole"},
        {"overlap",
         R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[5],"data_offsets":[5,10]}})",
         format, "tensor 'b': begins at data offset 5, overlapping"},
        {"same place twice",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})",
         format, "overlapping"},
        {"one inside the other",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
         format, "overlapping"},
        {"empty tensor inside another",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
         format, "overlapping"},
        {"empty tensor past the end",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"b":{"dtype":"U8","shape":[0],"data_offsets":[11,11]}})",
         format, "leaving a hole"},
        {"duplicate tensor",
         R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]},"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})",
         format, "duplicate key 'a'"},
        {"duplicate empty tensor",
         R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})",
         format, "duplicate key 'a'"},
        {"duplicate by escape",
         R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})",
         format, "duplicate key 'a'"},
        {"duplicate dtype", R"({"a":{"dtype":"U8","dtype":"F32","shape":[10],"data_offsets":[0,10]}})", format,
         "duplicate key 'dtype'"},
        {"duplicate offsets", R"({"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10],"data_offsets":[0,10]}})",
         format, "duplicate key 'data_offsets'"},
        {"duplicate metadata",
         R"({"__metadata__":{},"__metadata__":{},"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "duplicate key '__metadata__'"},
        {"duplicate in metadata", R"({"__metadata__":{"k":"1","k":"2"}})", format, "duplicate key 'k'"},
        {"metadata is a string", R"({"__metadata__":"pt"})", format, "__metadata__: is of type string"},
        {"metadata is null", R"({"__metadata__":null})", format, "__metadata__: is of type null"},
        {"metadata with a number", R"({"__metadata__":{"step":1}})", format,
         "'step' is of type number, must be a string"},
        {"metadata with an object", R"({"__metadata__":{"step":{}}})", format, "'step' is of type object"},
        {"empty name", R"({"":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "a name has 1 to 512 bytes"},
        {"U+0000 in a name", R"({"a\u0000b":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "tensor 'a\\x00b': a name has"},
        {"line feed in a name", R"({"a\nb":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "tensor 'a\\x0ab': a name has"},
        {"escape character in a name", R"({"\u001b[2J":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "no control characters"},
        {"delete character in a name", R"({"a\u007f":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})", format,
         "no control characters"},
    };
    for (const row &r : rows) {
        cases.push_back(
            {std::string("header: ") + r.name,
             [header = std::string(r.header)] { return parse_safetensors(safetensors_bytes(header, good_data)); },
             r.status, r.message});
    }
    const auto add = [&](const char *name, std::string header, const char *message) {
        cases.push_back(
            {name, [header = std::move(header)] { return parse_safetensors(safetensors_bytes(header, good_data)); },
             format, message});
    };
    const std::string tensor = R"(":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})";
    add("header: long name", "{\"" + std::string(513, 'n') + tensor, "1 to 512 bytes");
    add("header: zero byte after the object", std::string("{}\0}", 4), "zero byte at byte 2");
    add("header: zero byte in a name", "{\"a" + std::string(1, '\0') + tensor, "zero byte at byte 3");
    add("header: 17 levels", R"({"a":)" + nested(16) + "}", "deeper than 16 levels");
    add("header: 100,000 levels", R"({"a":)" + nested(100'000) + "}", "deeper than 16 levels");
    add("header: 100,000 brackets that stay open", R"({"a":)" + std::string(100'000, '[') + "}",
        "deeper than 16 levels");
    add(
        "header: 65 dimensions",
        R"({"a":{"dtype":"U8","shape":[1)" +
            [] {
                std::string s;
                for (int i = 0; i < 64; ++i) s += ",1";
                return s;
            }() +
            R"(],"data_offsets":[0,1]}})",
        "at most 64");
    add(
        "header: too many values",
        R"({"a":[0)" +
            [] {
                std::string s;
                for (int i = 0; i < (1 << 21); ++i) s += ",0";
                return s;
            }() +
            "]}",
        "more than 2097152 values");
    cases.push_back({"data too long", [] { return parse_safetensors(safetensors_bytes(good_header, good_data + "x")); },
                     format, "the tensors end at byte"});
}

// Texts that are invalid as config.json and as index.
void add_texts(table &cases) {
    struct row {
        const char *name;
        std::string text;
        const char *message;
    };
    const row rows[] = {{"empty", "", "invalid JSON at byte 1"},
                        {"a word", "model", "invalid JSON"},
                        {"an array", "[]", "is of type array, must be an object"},
                        {"a number", "1", "is of type number"},
                        {"null", "null", "is of type null"},
                        {"open", "{", "invalid JSON at byte 2"},
                        {"two objects", "{}{}", "invalid JSON at byte 3"},
                        {"zero byte behind", std::string("{}\0", 3), "zero byte at byte 2"},
                        {"byte order mark", "\xef\xbb\xbf{}", "byte order mark"},
                        {"UTF-16", std::string("{\0}\0", 4), "zero byte"},
                        {"invalid UTF-8", "{\"a\":\"\x80\"}", "invalid JSON"},
                        {"duplicate key", R"({"model_type":"bert","model_type":"dlrm"})", "duplicate key 'model_type'"},
                        {"deep", "{\"a\":" + nested(50'000) + "}", "deeper than 16 levels"},
                        {"comment", "{} // c", "invalid JSON"},
                        {"nothing in it", "{}", "is missing"}};
    for (const row &r : rows) {
        cases.push_back(
            {std::string("config: ") + r.name, [text = r.text] { return parse_config(text); }, format, r.message});
        cases.push_back(
            {std::string("index: ") + r.name, [text = r.text] { return parse_index(text); }, format, r.message});
    }
}

struct patch_row {
    const char *patch;
    ss1_status status;
    const char *message;
};

void add_patches(table &cases, const char *name, const char *text, std::span<const patch_row> rows) {
    for (const patch_row &r : rows) {
        cases.push_back(
            {std::string(name) + r.patch, [=] { return parse_config(patched(text, r.patch)); }, r.status, r.message});
    }
}

void add_dlrm(table &cases) {
    static const patch_row rows[] = {
        {R"({"model_type":null})", format, "key 'model_type' is missing"},
        {R"({"model_type":7})", format, "model_type: is of type number"},
        {R"({"model_type":"gpt2"})", unsupported, "model_type 'gpt2' is not supported"},
        {R"({"model_type":"DLRM"})", unsupported, "model_type 'DLRM'"},
        {R"({"interaction_iself":true})", format, "unknown key 'interaction_iself'"},
        {R"({"dense_features":null})", format, "key 'dense_features' is missing"},
        {R"({"dense_features":"age"})", format, "dense_features: must be an array"},
        {R"({"dense_features":["a",1]})", format, "dense_features[1]: must be a string"},
        {R"({"dense_features":["a",""]})", format, "dense_features[1]: must be a string of 1 to 512"},
        {R"({"dense_features":["a","a\u0000"]})", format, "without control characters"},
        {R"({"dense_features":["a","a"]})", format, "'a' is listed twice"},
        {R"({"dense_features":["a"]})", format, "bottom_mlp starts with 2, must be the number of dense_features, 1"},
        {R"({"dense_means":[1]})", format,
         "dense_means: must be an array of 2 numbers, one for each of dense_features"},
        {R"({"dense_means":[1,2,3]})", format, "dense_means: must be an array of 2 numbers"},
        {R"({"dense_means":{"age":1,"clicks":2}})", format, "dense_means: must be an array of 2 numbers"},
        {R"({"dense_means":[1,"2"]})", format, "dense_means[1]: is string, must be a finite number in f32"},
        {R"({"dense_means":[null,2]})", format, "dense_means[0]: is null, must be a finite number"},
        {R"({"dense_means":[1,-3.5e38]})", format, "dense_means[1]: is -3.5e+38, must be a finite number"},
        {R"({"embedding_dim":null})", format, "key 'embedding_dim' is missing"},
        {R"({"embedding_dim":0})", format, "embedding_dim: is 0, must be in [1, 65536]"},
        {R"({"embedding_dim":65537})", format, "embedding_dim: is 65537"},
        {R"({"embedding_dim":-16})", format, "is -16, must be a whole number"},
        {R"({"embedding_dim":16.0})", format, "is 16.0, must be a whole number"},
        {R"({"embedding_dim":"16"})", format, "embedding_dim: is string"},
        {R"({"embedding_dim":18446744073709551616})", format, "must be a whole number"},
        {R"({"embedding_dim":32})", format, "bottom_mlp ends with 16, must be embedding_dim, 32"},
        {R"({"tables":null})", format, "key 'tables' is missing"},
        {R"({"tables":[]})", format, "tables: must be an array of 1 to 100000"},
        {R"({"tables":{"user":3}})", format, "tables: must be an array"},
        {R"({"tables":[3]})", format, "tables[0]: is of type number"},
        {R"({"tables":[{"name":"u"}]})", format, "tables[0]: key 'rows' is missing"},
        {R"({"tables":[{"rows":3}]})", format, "tables[0]: key 'name' is missing"},
        {R"({"tables":[{"name":1,"rows":3}]})", format, "name: is of type number"},
        {R"({"tables":[{"name":"","rows":3}]})", format, "tables[0]: name: must have 1 to 512"},
        {R"({"tables":[{"name":"u\t","rows":3}]})", format, "no control characters"},
        {R"({"tables":[{"name":"u","rows":0}]})", format, "rows: is 0"},
        {R"({"tables":[{"name":"u","rows":1099511627777}]})", format, "rows: is 1099511627777"},
        {R"({"tables":[{"name":"u","rows":-3}]})", format, "rows: is -3"},
        {R"({"tables":[{"name":"u","rows":3,"dim":4}]})", format, "tables[0]: unknown key 'dim'"},
        {R"({"tables":[{"name":"u","rows":3,"dtype":"int2"}]})", unsupported,
         "tables[0]: dtype 'int2' is not supported, 'f32', 'bf16', 'f16', 'int8' and 'int4' are"},
        {R"({"tables":[{"name":"u","rows":3,"dtype":8}]})", format, "dtype: is of type number"},
        {R"({"tables":[{"name":"u","rows":3,"dtype":"robe"}]})", unsupported, "dtype 'robe' is not supported"},
        {R"({"tables":[{"name":"u","rows":3,"pooling":"max"}]})", unsupported,
         "tables[0]: pooling 'max' is not supported, 'sum' and 'mean' are"},
        {R"({"tables":[{"name":"u","rows":3,"pooling":true}]})", format, "pooling: is of type boolean"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":7}]})", format, "tables[0]: vocabulary: is of type number"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":""}]})", format,
         "tables[0]: vocabulary '' must be the plain name of a file in the same folder"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"a/b.txt"}]})", format,
         "vocabulary 'a/b.txt' must be the plain"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"a\\b"}]})", format, "vocabulary 'a\\b' must be the plain"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":".."}]})", format, "vocabulary '..' must be the plain name"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"a\n"}]})", format, "vocabulary 'a\\x0a' must be the plain"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"config.json"}]})", format,
         "vocabulary 'config.json' has the name of a file that ss1 writes"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"ss1-report.json"}]})", format, "of a file that ss1 writes"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"ids.tmp-1-2"}]})", format, "of a file that ss1 writes"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"model.safetensors"}]})", format, "of a file that ss1 writes"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"v","hash":"hex"}]})", format,
         "tables[0]: vocabulary and hash exclude each other"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"v","unknown":3}]})", format,
         "tables[0]: unknown: is 3, must be in [0, 2]"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"v","unknown":-1}]})", format, "unknown: is -1"},
        {R"({"tables":[{"name":"u","rows":3,"vocabulary":"v","unknown":"x"}]})", format, "unknown: is string"},
        {R"({"tables":[{"name":"u","rows":3,"unknown":0}]})", format, "unknown: only a table with a vocabulary has it"},
        {R"({"tables":[{"name":"u","rows":3,"hash":"hex","unknown":0}]})", format, "only a table with a vocabulary"},
        {R"({"tables":[{"name":"u","rows":3,"hash":"md5"}]})", unsupported,
         "tables[0]: hash 'md5' is not supported, 'murmur3', 'hex' and 'modulo' are"},
        {R"({"tables":[{"name":"u","rows":3,"hash":""}]})", unsupported, "tables[0]: hash '' is not supported"},
        {R"({"tables":[{"name":"u","rows":3,"hash":true}]})", format, "tables[0]: hash: is of type boolean"},
        {R"({"robe":[]})", format, "robe: is of type array"},
        {R"({"robe":{"size":64,"block":8}})", format, "robe: key 'seed' is missing"},
        {R"({"robe":{"size":64,"seed":1}})", format, "robe: key 'block' is missing"},
        {R"({"robe":{"block":8,"seed":1}})", format, "robe: key 'size' is missing"},
        {R"({"robe":{"size":64,"block":8,"seed":1,"chunk":8}})", format, "robe: unknown key 'chunk'"},
        {R"({"robe":{"size":64,"block":4,"seed":1}})", format, "robe: block: is 4, must be in [8, "},
        {R"({"robe":{"size":96,"block":12,"seed":1}})", format, "block is 12, must be a power of two that divides"},
        {R"({"robe":{"size":64,"block":32,"seed":1}})", format, "block is 32, must be a power of two that divides"},
        {R"({"robe":{"size":68,"block":8,"seed":1}})", format, "size is 68, must be a multiple of block, 8"},
        {R"({"robe":{"size":0,"block":8,"seed":1}})", format, "robe: size: is 0, must be in [8, 1099511627776]"},
        {R"({"robe":{"size":1099511627784,"block":8,"seed":1}})", format, "robe: size: is 1099511627784"},
        {R"({"robe":{"size":64,"block":8,"seed":9223372036854775808}})", format, "robe: seed: is 9223372036854775808"},
        {R"({"robe":{"size":64,"block":8,"seed":-1}})", format, "robe: seed: is -1"},
        {R"({"tables":[{"name":"u","rows":3,"dtype":"int8"}],"robe":{"size":64,"block":8,"seed":1}})", unsupported,
         "table 'u' has dtype 'int8', tables of a ROBE array are f32"},
        {R"({"tables":[{"name":"u","rows":3},{"name":"u","rows":4}]})", format, "tables[1]: name 'u' is used twice"},
        {R"({"bottom_mlp":null})", format, "key 'bottom_mlp' is missing"},
        {R"({"bottom_mlp":[]})", format, "bottom_mlp: must be an array of 2 to 1000"},
        {R"({"bottom_mlp":[16]})", format, "bottom_mlp: must be an array of 2 to 1000"},
        {R"({"bottom_mlp":"2-16"})", format, "bottom_mlp: must be an array"},
        {R"({"bottom_mlp":[2,0,16]})", format, "bottom_mlp[1]: is 0"},
        {R"({"bottom_mlp":[2,2147483649,16]})", format, "bottom_mlp[1]: is 2147483649"},
        {R"({"bottom_mlp":[2,64,17]})", format, "bottom_mlp ends with 17"},
        {R"({"bottom_mlp":[3,64,16]})", format, "bottom_mlp starts with 3"},
        {R"({"bottom_mlp":[2,null,16]})", format, "bottom_mlp[1]: is null"},
        {R"({"top_mlp":null})", format, "key 'top_mlp' is missing"},
        {R"({"top_mlp":[]})", format, "top_mlp: must be an array of 1 to 1000"},
        {R"({"top_mlp":[64]})", format, "top_mlp ends with 64, must be 1"},
        {R"({"top_mlp":[64,2]})", format, "top_mlp ends with 2, must be 1"},
        {R"({"top_mlp":[-1]})", format, "top_mlp[0]: is -1"},
        {R"({"top_mlp":[1.5]})", format, "top_mlp[0]: is 1.5"},
        {R"({"interaction":"sum"})", unsupported, "interaction 'sum' is not supported"},
        {R"({"interaction":1})", format, "interaction: is of type number"},
        {R"({"interaction":"dcn","cross_rank":4})", format, "key 'cross_layers' is missing"},
        {R"({"interaction":"dcn","cross_layers":3})", format, "key 'cross_rank' is missing"},
        {R"({"interaction":"dcn","cross_layers":0,"cross_rank":4})", format, "cross_layers: is 0"},
        {R"({"interaction":"dcn","cross_layers":1001,"cross_rank":4})", format, "cross_layers: is 1001"},
        {R"({"interaction":"dcn","cross_layers":1,"cross_rank":2147483649})", format, "cross_rank: is 2147483649"},
        {R"({"interaction":"dcn","cross_layers":"1","cross_rank":4})", format, "cross_layers: is string"},
        {R"({"cross_layers":3})", format, "cross_layers: only interaction 'dcn' has it, this one is 'dot'"},
        {R"({"interaction":"cat","cross_rank":3})", format, "cross_rank: only interaction 'dcn' has it"},
        {R"({"tables":[{"name":"u","rows":3,"side":"both"}]})", format, "side 'both' is neither 'user' nor 'item'"},
        {R"({"tables":[{"name":"u","rows":3,"side":1}]})", format, "tables[0]: side: is of type number"},
        {R"({"tables":[{"name":"u","rows":3,"side":"user"}]})", format, "tables: all are on the user's side"},
        {R"({"ss1":{"layers":{"cross_net.0.v":{"kind":"dense"}}}})", format, "is not a linear layer of this model"},
        {R"({"interaction_itself":1})", format, "interaction_itself: is of type number, must be true or false"},
        {R"({"loss_threshold":"0"})", format, "loss_threshold: is of type string"},
        {R"({"loss_threshold":-0.1})", format, "loss_threshold is -0.1"},
        {R"({"loss_threshold":0.5})", format, "loss_threshold is 0.5, must be in [0, 0.5)"},
        {R"({"ss1":[]})", format, "ss1: is of type array"},
        {R"({"ss1":{}})", format, "ss1: key 'layers' is missing"},
        {R"({"ss1":{"layers":[]}})", format, "ss1.layers: is of type array"},
        {R"({"ss1":{"layers":{},"version":1}})", format, "ss1: unknown key 'version'"},
        {R"({"ss1":{"layers":{"top_l.1":{"kind":"dense"}}}})", format,
         "ss1.layers 'top_l.1': is not a linear layer of this model"},
        {R"({"ss1":{"layers":{"emb_l.0":{"kind":"dense"}}}})", format, "'emb_l.0': is not a linear layer"},
        {R"({"ss1":{"layers":{"top_l.0":1}}})", format, "'top_l.0': is of type number"},
        {R"({"ss1":{"layers":{"top_l.0":{}}}})", format, "key 'kind' is missing"},
        {R"({"ss1":{"layers":{"top_l.0":{"kind":"sparse"}}}})", unsupported, "kind 'sparse' is not supported"},
        {R"({"ss1":{"layers":{"top_l.0":{"kind":"dense","c":2}}}})", format, "'top_l.0': unknown key 'c'"},
        {R"({"ss1":{"layers":{"top_l.0":{"kind":"dense","dtype":"f16"}}}})", unsupported,
         "'top_l.0': dtype 'f16' is not supported, 'f32', 'bf16' and 'int8' are"},
        {R"({"ss1":{"layers":{"top_l.0":{"kind":"dense","dtype":"i8"}}}})", unsupported, "dtype 'i8' is not supported"},
        {R"({"ss1":{"layers":{"top_l.0":{"kind":"dense","dtype":8}}}})", format, "dtype: is of type number"},
        {R"({"ss1":{"layers":{"top_l.0":{"dtype":"bf16"}}}})", format, "key 'kind' is missing"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank"}}}})", format, "'bot_l.2': key 'rank' is missing"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":0}}}})", format, "rank: is 0, must be in [1,"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":17}}}})", format,
         "'bot_l.2': rank=17 is above min(K, N)=16"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"dense","rank":17}}}})", format, "rank=17 is above min(K, N)=16"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":-1}}}})", format, "'bot_l.2': rank: is -1"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":1.5}}}})", format, "'bot_l.2': rank: is 1.5"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":"4"}}}})", format, "must be a whole number"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":4,"c":2}}}})", format, "unknown key 'c'"},
        {R"({"ss1":{"layers":{"bot_l.2":{"kind":"low rank","rank":4}}}})", unsupported,
         "kind 'low rank' is not supported, 'ss1', 'dense' and 'low_rank' are"},
        {R"({"top_mlp":[131073,1],"ss1":{"layers":{"top_l.2":{"kind":"dense","dtype":"int8"}}}})", unsupported,
         "'top_l.2': K=131073 with c=1 stores 131073 columns"}};
    add_patches(cases, "dlrm: ", dlrm_json, rows);

    json many = json::parse(dlrm_json);
    for (int i = 0; i < 100'001; ++i) many["tables"][i] = {{"name", std::to_string(i)}, {"rows", 1}};
    cases.push_back(
        {"dlrm: 100,001 tables", [text = many.dump()] { return parse_config(text); }, format, "array of 1 to 100000"});
    many["tables"].erase(100'000);
    cases.push_back({"dlrm: 100,000 tables and their products", [text = many.dump()] { return parse_config(text); },
                     format, "outputs, the limit is 2147483648"});
    json deep = json::parse(dlrm_json);
    deep["top_mlp"] = std::vector<int>(1001, 1);
    cases.push_back(
        {"dlrm: 1,001 layers", [text = deep.dump()] { return parse_config(text); }, format, "array of 1 to 1000"});
}

void add_tied(table &cases) {
    static const patch_row rows[] = {
        {R"({"c":null})", format, "'bot_l.2': key 'c' is missing"},
        {R"({"scheme":null})", format, "key 'scheme' is missing"},
        {R"({"seed":null})", format, "key 'seed' is missing"},
        {R"({"block_k":null})", format, "key 'block_k' is missing"},
        {R"({"block_n":null})", format, "key 'block_n' is missing"},
        {R"({"step":null})", format, "key 'step' is missing"},
        {R"({"K":64})", format, "unknown key 'K'"},
        {R"({"c":0})", format, "c: is 0"},
        {R"({"c":2.0})", format, "c: is 2.0"},
        {R"({"c":-2})", format, "c: is -2"},
        {R"({"c":"2"})", format, "c: is string"},
        {R"({"c":5})", format, "'bot_l.2': K=64 is below c*block_k=5*16"},
        {R"({"c":4294967296})", format, "c: is 4294967296"},
        {R"({"scheme":"default"})", unsupported, "scheme 'default' is not supported"},
        {R"({"scheme":2})", format, "scheme: is of type number"},
        {R"({"scheme":"reference"})", format, "step=16: the reference scheme always has step=8"},
        {R"({"seed":-1})", format, "seed: is -1"},
        {R"({"seed":4294967296})", format, "seed: is 4294967296, must be in [0, 4294967295]"},
        {R"({"block_k":0})", format, "block_k: is 0"},
        {R"({"block_k":24})", format, "block_k=24 is not one of 16, 32, 64, 128, 256"},
        {R"({"block_k":8})", format, "block_k=8 is not one of"},
        {R"({"block_k":512})", format, "block_k=512 is not one of"},
        {R"({"block_k":64})", format, "K=64 is below c*block_k=2*64"},
        {R"({"block_n":0})", format, "block_n: is 0"},
        {R"({"block_n":20})", format, "block_n=20 is not a multiple of 16"},
        {R"({"block_n":4294967295})", format, "block_n: is 4294967295"},
        {R"({"block_n":"all"})", format, "block_n: is string"},
        {R"({"step":0})", format, "step: is 0"},
        {R"({"dtype":"int4"})", unsupported, "'bot_l.2': dtype 'int4' is not supported"},
        {R"({"step":3})", format, "step=3 is not a power of two"},
        {R"({"step":32})", format, "step=32 is not a power of two that divides block_k=16"}};
    for (const patch_row &r : rows) {
        const std::string patch = std::string(R"({"ss1":{"layers":{"bot_l.2":)") + r.patch + "}}}";
        cases.push_back({std::string("tied: ") + r.patch, [=] { return parse_config(patched(dlrm_tied_json, patch)); },
                         r.status, r.message});
    }
}

void add_bert(table &cases) {
    static const patch_row rows[] = {
        {R"({"position_embedding_type":"relative_key"})", unsupported, "position_embedding_type 'relative_key'"},
        {R"({"position_embedding_type":1})", format, "position_embedding_type: is of type number"},
        {R"({"is_decoder":true})", unsupported, "is_decoder true is not supported"},
        {R"({"is_decoder":"no"})", format, "is_decoder: is of type string"},
        {R"({"add_cross_attention":true})", unsupported, "add_cross_attention true is not supported"},
        {R"({"hidden_act":"mish"})", unsupported,
         "hidden_act 'mish' is not supported, 'gelu', 'gelu_python', 'gelu_new', 'gelu_fast', 'gelu_accurate', "
         "'gelu_pytorch_tanh', 'relu', 'silu', 'swish', 'tanh', 'sigmoid' and 'linear' are"},
        {R"({"hidden_act":["gelu"]})", format, "hidden_act: is of type array"},
        {R"({"vocab_size":0})", format, "vocab_size: is 0"},
        {R"({"vocab_size":2147483649})", format, "vocab_size: is 2147483649"},
        {R"({"vocab_size":1e3})", format, "vocab_size: is 1000.0, must be a whole number"},
        {R"({"hidden_size":0})", format, "hidden_size: is 0"},
        {R"({"hidden_size":33})", format, "hidden_size 33 is not a multiple of num_attention_heads 2"},
        {R"({"hidden_size":"32"})", format, "hidden_size: is string"},
        {R"({"hidden_size":-32})", format, "hidden_size: is -32"},
        {R"({"num_attention_heads":0})", format, "num_attention_heads: is 0"},
        {R"({"num_attention_heads":5})", format, "hidden_size 32 is not a multiple"},
        {R"({"num_hidden_layers":0})", format, "num_hidden_layers: is 0"},
        {R"({"num_hidden_layers":1001})", format, "num_hidden_layers: is 1001, must be in [1, 1000]"},
        {R"({"num_hidden_layers":18446744073709551615})", format, "num_hidden_layers: is 18446744073709551615"},
        {R"({"intermediate_size":0})", format, "intermediate_size: is 0"},
        {R"({"intermediate_size":true})", format, "intermediate_size: is boolean"},
        {R"({"max_position_embeddings":0})", format, "max_position_embeddings: is 0"},
        {R"({"type_vocab_size":0})", format, "type_vocab_size: is 0"},
        {R"({"layer_norm_eps":0})", format, "layer_norm_eps is 0, must be in (0, 1)"},
        {R"({"layer_norm_eps":-1e-12})", format, "layer_norm_eps is -1e-12"},
        {R"({"layer_norm_eps":"1e-12"})", format, "layer_norm_eps: is of type string"},
        {R"({"num_labels":0})", format, "num_labels: is 0"},
        {R"({"num_labels":3,"id2label":{"0":"a"}})", format, "num_labels is 3, id2label has 1"},
        {R"({"id2label":["a"]})", format, "id2label: must be an object"},
        {R"({"id2label":{}})", format, "id2label: must be an object with at least one label"},
        {R"({"id2label":{"0":"a","2":"b"}})", format, "id2label: key '1' is missing"},
        {R"({"id2label":{"0":"a","1":["b"]}})", format, "id2label '1' is of type array, must be a string"},
        {R"({"is_encoder_decoder":true})", unsupported, "is_encoder_decoder true is not supported"},
        {R"({"pruned_heads":{"0":[1]}})", unsupported, "pruned_heads is not empty"},
        {R"({"tie_word_embeddings":1})", format, "tie_word_embeddings: is of type number"},
        {R"({"architectures":"BertModel"})", format, "architectures: must be an array"},
        {R"({"architectures":["BertModel","BertForMaskedLM"]})", format, "must be an array of at most one name"},
        {R"({"architectures":["BertForMultipleChoice"]})", unsupported,
         "architectures[0] 'BertForMultipleChoice' is not supported, of model_type 'bert' are 'BertModel', "
         "'BertForSequenceClassification'"},
        {R"({"architectures":["BertLMHeadModel"]})", unsupported, "'BertLMHeadModel' is not supported"},
        {R"({"architectures":["RobertaForMaskedLM"]})", unsupported, "'RobertaForMaskedLM' is not supported"},
        {R"({"architectures":["BertForQuestionAnswering"],"num_labels":3})", format,
         "num_labels is 3, must be 2 (start and end)"},
        {R"({"architectures":[1]})", format, "architectures[0]: must be a string"},
        {R"({"ss1":{"layers":{"bert.pooler.dense":{"kind":"dense"}}}})", format,
         "'bert.pooler.dense': is not a linear layer"},
        {R"({"ss1":{"layers":{"encoder.layer.1.output.dense":{"kind":"dense"}}}})", format,
         "is not a linear layer of this model"},
        {R"({"ss1":{"layers":{"embeddings.LayerNorm":{"kind":"dense"}}}})", format,
         "is not a linear layer of this model"}};
    add_patches(cases, "bert: ", bert_json, rows);
}

void add_relatives(table &cases) {
    static const patch_row distilbert[] = {
        {R"({"dim":33})", format, "dim 33 is not a multiple of n_heads 2"},
        {R"({"dim":0})", format, "dim: is 0"},
        {R"({"n_layers":1001})", format, "n_layers: is 1001, must be in [1, 1000]"},
        {R"({"n_heads":"2"})", format, "n_heads: is string"},
        {R"({"hidden_dim":0})", format, "hidden_dim: is 0"},
        {R"({"activation":"mish"})", unsupported, "activation 'mish' is not supported"},
        {R"({"architectures":["DistilBertForPreTraining"]})", unsupported, "of model_type 'distilbert' are"},
        {R"({"architectures":["BertModel"]})", unsupported, "architectures[0] 'BertModel' is not supported"},
        {R"({"ss1":{"layers":{"pooler.dense":{"kind":"dense"}}}})", format, "'pooler.dense': is not a linear layer"}};
    add_patches(cases, "distilbert: ", distilbert_json, distilbert);
    static const patch_row roberta[] = {
        {R"({"pad_token_id":10})", format, "pad_token_id: is 10, must be in [0, 9]"},
        {R"({"pad_token_id":-1})", format, "pad_token_id: is -1"},
        {R"({"max_position_embeddings":2})", format,
         "max_position_embeddings is 2, must be above pad_token_id + 1 = 2, where positions start"},
        {R"({"is_decoder":true})", unsupported, "is_decoder true is not supported"},
        {R"({"position_embedding_type":"relative_key_query"})", unsupported, "position_embedding_type"},
        {R"({"architectures":["RobertaForCausalLM"]})", unsupported, "'RobertaForCausalLM' is not supported"},
        {R"({"architectures":["XLMRobertaModel"]})", unsupported, "of model_type 'roberta' are 'RobertaModel'"},
        {R"({"model_type":"xlnet"})", unsupported,
         "model_type 'xlnet' is not supported, 'dlrm', 'bert', 'distilbert', 'roberta', 'xlm-roberta', 'camembert', "
         "'electra', 'mpnet', 'albert', 'modernbert', 'nomic_bert', 'new', 'deberta-v2' and 'model2vec' are"},
        {R"({"model_type":"camembert"})", unsupported, "of model_type 'camembert' are 'CamembertModel'"}};
    add_patches(cases, "roberta: ", roberta_json, roberta);
    static const patch_row jina[] = {
        {R"({"position_embedding_type":"alibi"})", unsupported,
         "feed_forward_type 'original' is not supported with position_embedding_type 'alibi', 'geglu' and 'reglu' are"},
        {R"({"position_embedding_type":"alibi","feed_forward_type":7})", format,
         "feed_forward_type: is of type number"},
        {R"({"position_embedding_type":"alibi","feed_forward_type":"geglu","architectures":["BertModel"]})",
         unsupported, "of model_type 'bert' are 'JinaBertModel'"}};
    add_patches(cases, "jina: ", bert_json, jina);
    static const patch_row electra[] = {
        {R"({"embedding_size":0})", format, "embedding_size: is 0, must be in [1"},
        {R"({"embedding_size":"16"})", format, "embedding_size: is string"},
        {R"({"position_embedding_type":"relative_key"})", unsupported, "position_embedding_type 'relative_key'"},
        {R"({"architectures":["ElectraForCausalLM"]})", unsupported,
         "'ElectraForMaskedLM', 'ElectraForQuestionAnswering', 'ElectraForPreTraining'"},
        {R"({"architectures":["ElectraForSequenceClassification"],"id2label":{"1":"a"}})", format,
         "id2label: key '0' is missing"},
        {R"({"ss1":{"layers":{"pooler.dense":{"kind":"dense"}}}})", format, "'pooler.dense': is not a linear layer"}};
    add_patches(cases, "electra: ", electra_json, electra);
    static const patch_row mpnet[] = {
        {R"({"relative_attention_num_buckets":64})", unsupported,
         "relative_attention_num_buckets 64 is not supported, 32 is"},
        {R"({"max_position_embeddings":2})", format,
         "max_position_embeddings is 2, must be above pad_token_id + 1 = 2"},
        {R"({"architectures":["MPNetForPreTraining"]})", unsupported, "of model_type 'mpnet' are 'MPNetModel'"}};
    add_patches(cases, "mpnet: ", mpnet_json, mpnet);
    static const patch_row albert[] = {
        {R"({"inner_group_num":2})", unsupported, "inner_group_num 2 is not supported, 1 is"},
        {R"({"num_hidden_groups":3})", format, "num_hidden_groups: is 3, must be in [1, 2]"},
        {R"({"num_hidden_groups":0})", format, "num_hidden_groups: is 0"},
        {R"({"hidden_size":33})", format, "hidden_size 33 is not a multiple of num_attention_heads 2"},
        {R"({"ss1":{"layers":{"encoder.layer.1.output.dense":{"kind":"dense"}}}})", format,
         "is not a linear layer of this model"}};
    add_patches(cases, "albert: ", albert_json, albert);
}

// Families with rotary positions.
void add_rotary(table &cases) {
    static const patch_row modernbert[] = {
        {R"({"hidden_size":30,"num_attention_heads":6})", unsupported,
         "rotary positions of 5 elements of each head of 5 are not supported, an even number above 0 is"},
        {R"({"hidden_activation":"mish"})", unsupported, "hidden_activation 'mish' is not supported"},
        {R"({"classifier_activation":"mish"})", unsupported, "classifier_activation 'mish' is not supported"},
        {R"({"classifier_pooling":"max"})", unsupported, "classifier_pooling 'max' is not supported, 'cls' and 'mean'"},
        {R"({"position_embedding_type":"rope"})", unsupported, "position_embedding_type 'rope' is not supported"},
        {R"({"norm_eps":0})", format, "norm_eps is 0, must be in (0, 1)"},
        {R"({"attention_bias":1})", format, "attention_bias: is of type number"},
        {R"({"mlp_bias":"no"})", format, "mlp_bias: is of type string"},
        {R"({"norm_bias":[]})", format, "norm_bias: is of type array"},
        {R"({"decoder_bias":0})", format, "decoder_bias: is of type number"},
        {R"({"local_attention":0})", format, "local_attention: is 0"},
        {R"({"local_attention":-1})", format, "local_attention: is -1"},
        {R"({"global_attn_every_n_layers":0})", format, "global_attn_every_n_layers: is 0"},
        {R"({"global_rope_theta":0})", format, "global_rope_theta is 0, must be above 0"},
        {R"({"local_rope_theta":-1})", format, "local_rope_theta is -1, must be above 0"},
        {R"({"layer_types":["full_attention"]})", format,
         "layer_types: must be an array of num_hidden_layers = 2 names"},
        {R"({"layer_types":["full_attention",1]})", format, "layer_types[1]: must be a string"},
        {R"({"layer_types":["full_attention","chunked_attention"]})", unsupported,
         "layer_types[1] 'chunked_attention' is not supported, 'full_attention' and 'sliding_attention' are"},
        {R"({"rope_scaling":{"type":"linear","factor":2.0}})", unsupported,
         "rope_scaling: rope_type 'linear' is not supported, 'default' is"},
        {R"({"rope_scaling":{"rope_type":"default","rope_theta":5.0}})", unsupported,
         "rope_scaling.rope_theta is not supported, global_rope_theta and local_rope_theta are"},
        {R"({"rope_scaling":{"rope_type":"default","factor":2.0}})", unsupported,
         "rope_scaling: factor is not supported with rope_type 'default'"},
        {R"({"rope_parameters":[]})", format, "rope_parameters: is of type array"},
        {R"({"rope_parameters":{"rope_theta":1.0}})", format, "rope_parameters: unknown key 'rope_theta'"},
        {R"({"rope_parameters":{"full_attention":{"rope_type":"yarn"}}})", unsupported,
         "rope_parameters.full_attention: rope_type 'yarn' is not supported, 'default' is"},
        {R"({"rope_parameters":{"sliding_attention":{"rope_theta":"x"}}})", format,
         "rope_parameters.sliding_attention: rope_theta: is of type string"},
        {R"({"rope_parameters":{"full_attention":{"partial_rotary_factor":0.5}}})", format,
         "rope_parameters.full_attention: unknown key 'partial_rotary_factor'"},
        {R"({"architectures":["ModernBertForMultipleChoice"]})", unsupported, "of model_type 'modernbert' are"},
        {R"({"ss1":{"layers":{"encoder.layer.0.attention.self.query":{"kind":"dense"}}}})", format,
         "is not a linear layer of this model"}};
    add_patches(cases, "modernbert: ", modernbert_json, modernbert);
    static const patch_row nomic[] = {
        {R"({"n_embd":33})", format, "n_embd 33 is not a multiple of n_head 2"},
        {R"({"n_inner":"64"})", format, "n_inner: is string"},
        {R"({"n_positions":0})", format, "n_positions: is 0"},
        {R"({"layer_norm_epsilon":2})", format, "layer_norm_epsilon is 2, must be in (0, 1)"},
        {R"({"activation_function":"gelu"})", unsupported,
         "activation_function 'gelu' is not supported, 'swiglu', 'geglu' and 'glu' are"},
        {R"({"prenorm":true})", unsupported, "prenorm true is not supported"},
        {R"({"causal":true})", unsupported, "causal true is not supported"},
        {R"({"use_rms_norm":true})", unsupported, "use_rms_norm true is not supported"},
        {R"({"rotary_emb_interleaved":true})", unsupported, "rotary_emb_interleaved true is not supported"},
        {R"({"rotary_emb_scale_base":512})", unsupported, "rotary_emb_scale_base 512 is not supported, 0 is"},
        {R"({"rotary_scaling_factor":2.0})", unsupported, "rotary_scaling_factor 2 is not supported, 0 is"},
        {R"({"num_experts":8})", unsupported, "num_experts 8 is not supported, 0 is"},
        {R"({"moe_every_n_layers":2})", unsupported, "moe_every_n_layers 2 is not supported, 0 is"},
        {R"({"num_heads_kv":1})", unsupported, "num_heads_kv 1 is not supported, 2 is"},
        {R"({"rotary_emb_fraction":0})", unsupported, "rotary_emb_fraction: rotary positions of 0 elements"},
        {R"({"rotary_emb_fraction":0.3})", unsupported, "rotary positions of 4.8 elements of each head of 16"},
        {R"({"rotary_emb_fraction":2})", unsupported, "rotary positions of 32 elements of each head of 16"},
        {R"({"rotary_emb_base":0})", format, "rotary_emb_base is 0, must be above 0"},
        {R"({"pad_vocab_size_multiple":0})", format, "pad_vocab_size_multiple: is 0"},
        {R"({"vocab_size":2147483648,"pad_vocab_size_multiple":2147483647})", format,
         "vocab_size is 4294967294 with its padding, above 2147483648"},
        {R"({"architectures":["NomicBertForSequenceClassification"]})", unsupported,
         "of model_type 'nomic_bert' are 'NomicBertModel', 'NomicBertForMaskedLM', 'NomicBertForPreTraining'"}};
    add_patches(cases, "nomic: ", nomic_json, nomic);
    static const patch_row nomic_hf[] = {
        {R"({"rope_parameters":null})", format, "key 'rope_parameters' is missing"},
        {R"({"rope_parameters":{"rope_type":"default","rope_theta":null}})", format, "key 'rope_theta' is missing"},
        {R"({"rope_parameters":{"rope_type":"dynamic","rope_theta":1.0,"factor":2.0}})", unsupported,
         "rope_parameters: rope_type 'dynamic' is not supported"},
        {R"({"num_key_value_heads":1})", unsupported, "num_key_value_heads 1 is not supported, 2 is"},
        {R"({"head_dim":8})", unsupported, "head_dim 8 is not supported, 16 is"}};
    add_patches(cases, "nomic_bert: ", nomic_hf_json, nomic_hf);
    static const patch_row gte[] = {
        {R"({"position_embedding_type":"absolute"})", unsupported,
         "position_embedding_type 'absolute' is not supported, 'rope' is"},
        {R"({"layer_norm_type":"rms_norm"})", unsupported, "layer_norm_type 'rms_norm' is not supported"},
        {R"({"logn_attention_scale":true})", unsupported, "logn_attention_scale true is not supported"},
        {R"({"pack_qkv":1})", format, "pack_qkv: is of type number"},
        {R"({"rope_theta":0})", format, "rope_theta is 0, must be above 0"},
        {R"({"rope_scaling":{"type":"dynamic","factor":2.0}})", unsupported,
         "rope_scaling: rope_type 'dynamic' is not supported, 'default' and 'ntk' are"},
        {R"({"rope_scaling":{"type":"ntk"}})", format, "rope_scaling: key 'factor' is missing"},
        {R"({"rope_scaling":{"type":"ntk","rope_type":"default","factor":2.0}})", format,
         "rope_scaling: type is 'ntk', rope_type is 'default': they must agree"},
        {R"({"rope_scaling":{"type":"ntk","factor":0.5}})", format, "rope_scaling: factor is 0.5, must be at least 1"},
        {R"({"rope_scaling":{"type":"ntk","factor":2.0,"mixed_b":1.0}})", format,
         "rope_scaling: unknown key 'mixed_b'"},
        {R"({"type_vocab_size":-1})", format, "type_vocab_size: is -1"}};
    add_patches(cases, "new: ", gte_json, gte);
}

void add_deberta(table &cases) {
    static const patch_row deberta[] = {
        {R"({"relative_attention":false})", unsupported, "relative_attention false is not supported, true is"},
        {R"({"relative_attention":null})", unsupported, "relative_attention false is not supported"},
        {R"({"conv_kernel_size":3})", unsupported, "conv_kernel_size 3 is not supported, 0 is"},
        {R"({"embedding_size":16})", unsupported, "embedding_size 16 is not supported, 32 is"},
        {R"({"pooler_hidden_size":64})", unsupported, "pooler_hidden_size 64 is not supported, 32 is"},
        {R"({"attention_head_size":8})", unsupported, "attention_head_size 8 is not supported, 16 is"},
        {R"({"pooler_hidden_act":"mish"})", unsupported, "pooler_hidden_act 'mish' is not supported"},
        {R"({"pos_att_type":"p2c|p2p"})", unsupported, "pos_att_type 'p2p' is not supported, 'c2p' and 'p2c' are"},
        {R"({"pos_att_type":["C2P"]})", unsupported, "pos_att_type 'C2P' is not supported"},
        {R"({"pos_att_type":[]})", unsupported, "pos_att_type must name 'c2p', 'p2c' or both"},
        {R"({"pos_att_type":null})", unsupported, "pos_att_type must name 'c2p', 'p2c' or both"},
        {R"({"pos_att_type":7})", format, "pos_att_type: is of type number, must be a string or an array"},
        {R"({"pos_att_type":["c2p",7]})", format, "pos_att_type[1]: must be a string"},
        {R"({"norm_rel_ebd":"layer_norm|rms"})", unsupported,
         "norm_rel_ebd 'rms' is not supported, 'none' and 'layer_norm' are"},
        {R"({"norm_rel_ebd":true})", format, "norm_rel_ebd: is of type boolean"},
        {R"({"share_att_key":1})", format, "share_att_key: is of type number"},
        {R"({"position_biased_input":"no"})", format, "position_biased_input: is of type string"},
        {R"({"legacy":false,"tie_word_embeddings":false})", unsupported,
         "tie_word_embeddings false is not supported with legacy false"},
        {R"({"legacy":0})", format, "legacy: is of type number"},
        {R"({"position_buckets":2.5})", format, "position_buckets is 2.5, must be a whole number"},
        {R"({"position_buckets":1e300})", format, "position_buckets is 1e+300, must be a whole number"},
        {R"({"max_relative_positions":"8"})", format, "max_relative_positions: is of type string"},
        {R"({"position_buckets":1})", unsupported,
         "position_buckets 1 with distances up to 8 (max_relative_positions) are not supported: half of the buckets "
         "must be at least 1 and below 7"},
        {R"({"max_relative_positions":3})", unsupported, "half of the buckets must be at least 1 and below 2"},
        {R"({"position_buckets":67108864,"max_position_embeddings":33554434})", unsupported,
         "position_buckets 67108864 with distances up to 33554434"},
        {R"({"max_relative_positions":1})", unsupported, "position_buckets 4 with distances up to 1"},
        {R"({"layer_norm_eps":0})", format, "layer_norm_eps is 0, must be in (0, 1)"},
        {R"({"architectures":["DebertaV2ForMultipleChoice"]})", unsupported, "of model_type 'deberta-v2' are"},
        {R"({"architectures":["DebertaForMaskedLM"]})", unsupported, "'DebertaForMaskedLM' is not supported"},
        {R"({"ss1":{"layers":{"pooler.dense":{"kind":"dense"}}}})", format, "'pooler.dense': is not a linear layer"},
        {R"({"ss1":{"layers":{"encoder.layer.0.attention.self.pos_key":{"kind":"dense"}}}})", format,
         "is not a linear layer of this model"}};
    add_patches(cases, "deberta-v2: ", deberta_json, deberta);
}

void add_index(table &cases) {
    struct row {
        const char *text, *message;
    };
    static const row rows[] = {{R"({"metadata":{}})", "key 'weight_map' is missing"},
                               {R"({"weight_map":[]})", "weight_map: is of type array"},
                               {R"({"weight_map":{}})", "lists no tensor"},
                               {R"({"weight_map":{"a":1}})", "'a' is of type number, must be a string"},
                               {R"({"weight_map":{"a":null}})", "'a' is of type null"},
                               {R"({"weight_map":{"":"m.safetensors"}})", "a name has 1 to 512 bytes"},
                               {R"({"weight_map":{"a\u0000":"m.safetensors"}})", "no control characters"},
                               {R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})", "duplicate key 'a'"},
                               {R"({"weight_map":{"a":""}})", "must be the plain name"},
                               {R"({"weight_map":{"a":"."}})", "shard '.' must be the plain name"},
                               {R"({"weight_map":{"a":".."}})", "shard '..' must be"},
                               {R"({"weight_map":{"a":"/etc/passwd"}})", "shard '/etc/passwd' must be"},
                               {R"({"weight_map":{"a":"/tmp/m.safetensors"}})", "shard '/tmp/m.safetensors' must be"},
                               {R"({"weight_map":{"a":"../m.safetensors"}})", "shard '../m.safetensors' must be"},
                               {R"({"weight_map":{"a":"x/../m.safetensors"}})", "must be the plain name"},
                               {R"({"weight_map":{"a":"x/m.safetensors"}})", "must be the plain name"},
                               {R"({"weight_map":{"a":"..\\m.safetensors"}})", "must be the plain name"},
                               {R"({"weight_map":{"a":"m\u0000.safetensors"}})", "shard 'm\\x00.safetensors' must be"},
                               {R"({"weight_map":{"a":"m.safetensors\n"}})", "must be the plain name"},
                               {R"({"weight_map":{"a":"m.bin"}})", "shard 'm.bin' must be"}};
    for (const row &r : rows)
        cases.push_back({std::string("index: ") + r.text, [=] { return parse_index(r.text); }, format, r.message});
    const std::string name = std::string(300, 'm') + ".safetensors";
    cases.push_back({"index: long shard name", [=] { return parse_index(R"({"weight_map":{"a":")" + name + "\"}}"); },
                     format, "must be the plain name"});
}

// Makes a folder, spoils it and opens it.
void add_folder(table &cases, const std::string &name, const char *config, const edit_tensors &edit, ss1_status status,
                const char *message) {
    cases.push_back({"folder: " + name,
                     [=]() -> ss1_status {
                         const temporary_folder folder;
                         SS1_TRY(write_model(folder.path, config, edit));
                         ss1::model_directory directory;
                         SS1_TRY(open_model(folder.path, directory));
                         for (const ss1::tensor_spec &spec : ss1::model_tensors(directory.config)) {
                             std::vector<float> values(1 << 12);
                             if (directory.find(spec.name))
                                 SS1_TRY(ss1::tensor_f32(directory, spec.name, spec.shape, values.data()));
                         }
                         return SS1_OK;
                     },
                     status, message});
}

void add_tensors(table &cases) {
    const auto rename = [](const char *from, const char *to) -> edit_tensors {
        return [=](auto &tensors) { find(tensors, from).name = to; };
    };
    const auto reshape = [](const char *name, file_dtype dtype, std::vector<size_t> shape) -> edit_tensors {
        return [=](auto &tensors) {
            size_t bytes = ss1::file_dtype_bytes(dtype);
            for (const size_t n : shape) bytes *= n;
            find(tensors, name) = tensor(name, dtype, shape, std::string(bytes, '\0'));
        };
    };
    const auto spoil = [](const char *name, size_t n, size_t at, float value) -> edit_tensors {
        return [=](auto &tensors) {
            std::vector<float> values(n);
            values[at] = value;
            ss1::tensor_to_write &t = find(tensors, name);
            t = tensor(name, file_dtype::f32, t.shape, bytes_of(values));
        };
    };
    const auto twin = [](const char *name, const char *other) -> edit_tensors {
        return [=](auto &tensors) {
            ss1::tensor_to_write copy = find(tensors, name);
            copy.name = other;
            tensors.push_back(copy);
        };
    };
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    const char *dlrm = dlrm_json, *tied = dlrm_tied_json, *bert = bert_json;
    static const std::string untied = patched(words_json, R"({"tie_word_embeddings":false})");
    add_folder(cases, "table missing", dlrm, rename("emb_l.1.weight", "emb_l.2.weight"), format,
               "tensor 'emb_l.1.weight' is missing");
    add_folder(cases, "bias missing", dlrm, rename("top_l.2.bias", "top_l.3.bias"), format,
               "tensor 'top_l.2.bias' is missing");
    add_folder(cases, "table with too few rows", dlrm, reshape("emb_l.0.weight", file_dtype::f32, {2, 16}), format,
               "'emb_l.0.weight' has shape [2, 16], must be [3, 16]");
    add_folder(cases, "transposed weight", dlrm, reshape("bot_l.2.weight", file_dtype::f32, {64, 16}), format,
               "has shape [64, 16], must be [16, 64]");
    add_folder(cases, "flat weight", dlrm, reshape("bot_l.2.weight", file_dtype::f32, {1024}), format,
               "has shape [1024], must be [16, 64]");
    add_folder(cases, "weight with a third dimension", dlrm, reshape("bot_l.2.weight", file_dtype::f32, {16, 64, 1}),
               format, "has shape [16, 64, 1], must be");
    add_folder(cases, "scalar bias", dlrm, reshape("top_l.2.bias", file_dtype::f32, {}), format,
               "has shape [], must be [1]");
    for (const file_dtype dtype :
         {file_dtype::boolean, file_dtype::u8, file_dtype::i8, file_dtype::i16, file_dtype::u16, file_dtype::i32,
          file_dtype::u32, file_dtype::f64, file_dtype::i64, file_dtype::u64}) {
        add_folder(cases, std::string("weight of ") + ss1::file_dtype_name(dtype), dlrm,
                   reshape("bot_l.2.weight", dtype, {16, 64}), format, "must be F32, F16 or BF16");
    }
    add_folder(cases, "NaN", dlrm, spoil("bot_l.2.weight", 1024, 77, nan), format,
               "'bot_l.2.weight' has nan at element 77, values must be finite");
    add_folder(cases, "infinity", dlrm, spoil("emb_l.1.weight", 80, 79, inf), format,
               "'emb_l.1.weight' has inf at element 79");
    add_folder(cases, "minus infinity", dlrm, spoil("top_l.2.bias", 1, 0, -inf), format, "has -inf at element 0");
    add_folder(
        cases, "f16 with infinity", dlrm,
        [](auto &t) {
            find(t, "top_l.2.bias") = tensor("top_l.2.bias", file_dtype::f16, {1}, std::string("\x00\x7c", 2));
        },
        format, "'top_l.2.bias' has inf");
    add_folder(
        cases, "bf16 with NaN", dlrm,
        [](auto &t) { find(t, "top_l.2.bias") = tensor("top_l.2.bias", file_dtype::bf16, {1}, "\xc1\x7f"); }, format,
        "'top_l.2.bias' has nan");
    add_folder(cases, "same name with and without .module.", dlrm, twin("emb_l.0.weight", "emb_l.module.0.weight"),
               format, "tensor 'emb_l.0.weight' exists twice");
    add_folder(cases, "same name with and without module.", dlrm, twin("top_l.0.bias", "module.top_l.0.bias"), format,
               "tensor 'top_l.0.bias' exists twice");
    add_folder(cases, "same name with and without bert.", bert, twin("pooler.dense.bias", "bert.pooler.dense.bias"),
               format, "'pooler.dense.bias' exists twice");
    add_folder(cases, "gamma and weight", bert, twin("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma"),
               format, "exists twice");
    add_folder(cases, "beta and bias", bert, twin("embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"), format,
               "exists twice");
    add_folder(cases, "embeddings missing", bert, rename("embeddings.word_embeddings.weight", "other"), format,
               "'embeddings.word_embeddings.weight' is missing");
    add_folder(cases, "pooler without bias", bert, rename("pooler.dense.bias", "other"), format,
               "'pooler.dense.bias' is missing");
    add_folder(cases, "classifier with other labels", bert, reshape("classifier.weight", file_dtype::f32, {3, 32}),
               format, "has shape [3, 32], must be [2, 32]");
    add_folder(cases, "no layer that scores words", words_json, rename("cls.predictions.transform.dense.bias", "other"),
               format, "'cls.predictions.transform.dense.bias' is missing");
    add_folder(
        cases, "untied words without a decoder", untied.c_str(),
        [](auto &tensors) {
            std::erase_if(tensors, [](const auto &t) { return t.name == "cls.predictions.decoder.weight"; });
        },
        format, "'cls.predictions.decoder.weight' is missing");
    add_folder(cases, "decoder of another vocabulary", words_json,
               reshape("cls.predictions.decoder.weight", file_dtype::f32, {9, 32}), format,
               "'cls.predictions.decoder.weight' has shape [9, 32], must be [10, 32]");
    add_folder(
        cases, "NaN in embeddings that score words", words_json,
        [](auto &tensors) {
            std::vector<float> values(320);
            values[33] = std::numeric_limits<float>::quiet_NaN();
            find(tensors, "embeddings.word_embeddings.weight") =
                tensor("bert.embeddings.word_embeddings.weight", file_dtype::f32, {10, 32}, bytes_of(values));
            std::erase_if(tensors, [](const auto &t) { return t.name == "cls.predictions.decoder.weight"; });
        },
        format, "tensor 'bert.embeddings.word_embeddings.weight' has nan at element 33");
    static const std::string unshared = patched(deberta_json, R"({"share_att_key":false})");
    add_folder(cases, "deberta's table of distances missing", deberta_json,
               rename("encoder.rel_embeddings.weight", "other"), format,
               "tensor 'deberta.encoder.rel_embeddings.weight' is missing");
    add_folder(cases, "deberta's table of distances with other rows", deberta_json,
               reshape("encoder.rel_embeddings.weight", file_dtype::f32, {16, 32}), format,
               "has shape [16, 32], must be [8, 32]");
    add_folder(cases, "deberta's layer of distances missing", unshared.c_str(),
               rename("encoder.layer.0.attention.self.pos_query.bias", "other"), format,
               "tensor 'deberta.encoder.layer.0.attention.self.pos_query_proj.bias' is missing");
    add_folder(cases, "distilbert's layer missing", distilbert_json,
               rename("encoder.layer.0.attention.self.query.weight", "other"), format,
               "tensor 'transformer.layer.0.attention.q_lin.weight' is missing");
    add_folder(cases, "same name by BERT and DistilBERT", distilbert_json,
               twin("encoder.layer.0.output.dense.bias", "distilbert.transformer.layer.0.ffn.lin2.bias"), format,
               "'encoder.layer.0.output.dense.bias' exists twice");
    add_folder(cases, "positions too short", bert,
               reshape("embeddings.position_embeddings.weight", file_dtype::f32, {7, 32}), format,
               "has shape [7, 32], must be [8, 32]");
    static const std::string low_rank = patched(dlrm, R"({"ss1":{"layers":{"bot_l.2":{"kind":"low_rank","rank":4}}}})");
    const char *low = low_rank.c_str();
    add_folder(cases, "low-rank up missing", low, rename("bot_l.2.low_rank_up", "other"), format,
               "'bot_l.2.low_rank_up' is missing");
    add_folder(cases, "low-rank down missing", low, rename("bot_l.2.low_rank_down", "other"), format,
               "'bot_l.2.low_rank_down' is missing");
    add_folder(cases, "low-rank parts of another rank", low, reshape("bot_l.2.low_rank_up", file_dtype::f32, {16, 5}),
               format, "has shape [16, 5], must be [16, 4]");
    add_folder(cases, "low-rank part transposed", low, reshape("bot_l.2.low_rank_down", file_dtype::f32, {64, 4}),
               format, "has shape [64, 4], must be [4, 64]");
    add_folder(cases, "NaN in a low-rank part", low, spoil("bot_l.2.low_rank_up", 64, 3, nan), format,
               "'bot_l.2.low_rank_up' has nan at element 3");
    add_folder(cases, "low rank and dense", low, twin("bot_l.0.weight", "bot_l.2.weight"), format,
               "'bot_l.2.weight' must be absent: config.json stores the layer as low_rank_up and low_rank_down");
    add_folder(cases, "low rank and tied", low, twin("bot_l.0.weight", "bot_l.2.ss1_weight"), format,
               "'bot_l.2.ss1_weight' has no entry in ss1.layers");
    add_folder(cases, "low rank without an entry", dlrm, twin("bot_l.2.weight", "bot_l.2.low_rank_up"), format,
               "'bot_l.2.low_rank_up' has no rank in ss1.layers");
    add_folder(cases, "low rank but no layer", dlrm, twin("bot_l.2.weight", "foo.low_rank_down"), format,
               "'foo.low_rank_down' has no rank in ss1.layers");
    add_folder(cases, "tied weight missing", tied, rename("bot_l.2.ss1_weight", "other"), format,
               "'bot_l.2.ss1_weight' is missing");
    add_folder(cases, "tied layer stored dense", tied, rename("bot_l.2.ss1_weight", "bot_l.2.weight"), format,
               "'bot_l.2.ss1_weight' is missing");
    add_folder(cases, "tied weight of another c", tied, reshape("bot_l.2.ss1_weight", file_dtype::f32, {16, 16}),
               format, "has shape [16, 16], must be [16, 32]");
    add_folder(cases, "tied and dense", tied, twin("bot_l.0.weight", "bot_l.2.weight"), format,
               "'bot_l.2.weight' must be absent");
    add_folder(cases, "tied without an entry", dlrm, twin("bot_l.2.weight", "bot_l.2.ss1_weight"), format,
               "'bot_l.2.ss1_weight' has no entry in ss1.layers");
    add_folder(cases, "tied but no layer", dlrm, twin("bot_l.2.weight", "foo.ss1_weight"), format,
               "'foo.ss1_weight' has no entry");
}

// Only ss1_model_load() reads tables.
void add_tables(table &cases) {
    const auto add = [&](const char *name, const char *dtype, const edit_tensors &edit, ss1_status status,
                         const char *message, bool map = false) {
        json config = json::parse(dlrm_json);
        config["tables"][1]["dtype"] = dtype;
        cases.push_back({std::string("table: ") + name,
                         [=, text = config.dump()] {
                             const temporary_folder folder;
                             SS1_TRY(write_model(folder.path, text, edit));
                             ss1_context *context = nullptr;
                             SS1_TRY(ss1_context_create(nullptr, &context));
                             ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
                             options.map_tables = map;
                             ss1_model *model = nullptr;
                             const ss1_status result = ss1_model_load(context, folder.path.c_str(), &options, &model);
                             ss1_model_destroy(&model);
                             ss1_context_destroy(&context);
                             return result;
                         },
                         status, message});
    };
    const auto rows = [](file_dtype dtype, size_t columns, std::string bytes) -> edit_tensors {
        return [=](auto &tensors) {
            find(tensors, "emb_l.1.weight") = tensor("emb_l.1.weight", dtype, {5, columns}, bytes);
        };
    };
    std::string bad8(5 * 24, '\0'), bad4(5 * 12, '\0');
    bad8.replace(2 * 24 + 20, 4, std::string("\x00\x00\xc0\x7f", 4));
    bad4.replace(3 * 12 + 8, 2, std::string("\x00\x7c", 2));
    add("int8 as f32", "int8", rows(file_dtype::f32, 16, std::string(320, '\0')), format,
        "tensor 'emb_l.1.weight' has dtype F32, rows of an int8 or int4 table must be U8");
    add("f32 as bytes", "f32", rows(file_dtype::u8, 16, std::string(80, '\0')), format, "must be F32, F16 or BF16");
    add("int8 without scale and bias", "int8", rows(file_dtype::u8, 16, std::string(80, '\0')), format,
        "has shape [5, 16], must be [5, 24]");
    add("int4 as int8", "int4", rows(file_dtype::u8, 24, bad8), format, "has shape [5, 24], must be [5, 12]");
    add("int8 with a bias that is NaN", "int8", rows(file_dtype::u8, 24, bad8), format,
        "'emb_l.1.weight': scale or bias of row 2 is not finite");
    add("int4 with an infinite scale", "int4", rows(file_dtype::u8, 12, bad4), format,
        "'emb_l.1.weight': scale or bias of row 3 is not finite");
    std::vector<float> large(80, 1);
    large[77] = 1e6f;
    add("f16 of a large value", "f16", rows(file_dtype::f32, 16, bytes_of(large)), invalid,
        "'emb_l.1.weight': the values of row 4 do not fit the table's dtype f16");
    large[3] = std::numeric_limits<float>::quiet_NaN();
    add("f16 of NaN", "f16", rows(file_dtype::f32, 16, bytes_of(large)), format, "has nan at element 3");
    add("mapped and converted", "bf16", {}, unsupported,
        "'emb_l.1.weight' is stored as F32, its table's dtype is bf16: only rows that need no conversion", true);
}

// Whole folders: missing files, other things in place of files, shards that disagree with their index.
// Directories of sentence-transformers: files around a BERT whose weights are missing.
void add_sentences(table &cases) {
    using files = std::vector<std::pair<const char *, const char *>>;
    const auto add = [&](const char *name, const files &given, ss1_status status, const char *message) {
        cases.push_back({std::string("sentences: ") + name,
                         [=] {
                             const temporary_folder folder;
                             write_file(folder / "config.json", bert_json);
                             for (const auto &[file, text] : given) write_file(folder / file, text);
                             return open_model(folder.path);
                         },
                         status, message});
    };
    const auto modules = [&](const char *name, const char *text, ss1_status status, const char *message) {
        add(name, {{"modules.json", text}}, status, message);
    };
    modules("no JSON", "[{", format, "modules.json: ");
    modules("an object", "{}", format, "must be an array of 1 to 100 modules");
    modules("no module", "[]", format, "must be an array of 1 to 100 modules");
    modules("a number", "[1]", format, "modules.json: module 0");
    modules("no type", R"([{"path": ""}])", format, "'type'");
    modules("no path", R"([{"type": "models.Transformer"}])", format, "'path'");
    modules("another first", R"([{"type": "models.Pooling", "path": "1"}])", unsupported, "the first module 'Pooling'");
    for (const char *path : {"..", "a/../b", "/tmp", "a\\\\b"}) {
        const std::string text = std::string(R"([{"type": "models.Transformer", "path": ")") + path + "\"}]";
        cases.push_back({std::string("sentences: path ") + path,
                         [=] {
                             const temporary_folder folder;
                             write_file(folder / "modules.json", text);
                             return open_model(folder.path);
                         },
                         format, "must be a folder below the directory"});
    }
    const char *pooled = R"([{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "1"}])";
    add("no pooling", {{"modules.json", pooled}}, io, "1/config.json");
    add("seven modes",
        {{"modules.json", pooled},
         {"1/config.json", R"({"pooling_mode": ["cls", "cls", "cls", "cls", "cls", "cls", "cls"]})"}},
        format, "pooling_mode: has 7 names, must have at most 6");
    add("a mode of another type", {{"modules.json", pooled}, {"1/config.json", R"({"pooling_mode": [3]})"}}, format,
        "must be a name or an array of names");
    const auto transformer = [&](const char *name, const char *text, const char *message) {
        add(name, {{"modules.json", pooled}, {"1/config.json", "{}"}, {"sentence_bert_config.json", text}}, format,
            message);
    };
    transformer("no limit", R"({"max_seq_length": 0})", "max_seq_length");
    transformer("a task that is a number", R"({"transformer_task": 1})", "transformer_task: is of type number");
    transformer("modalities in an array", R"({"modality_config": ["text"]})", "modality_config: is of type array");
    transformer("a modality that is a text", R"({"modality_config": {"text": "forward"}})",
                "modality_config: text: is of type string");
    transformer("arguments in an array", R"({"processing_kwargs": [1]})", "processing_kwargs: is of type array");
    const auto settings = [&](const char *name, const char *text, const char *message) {
        add(name, {{"modules.json", pooled}, {"1/config.json", "{}"}, {"config_sentence_transformers.json", text}},
            format, message);
    };
    settings("prompts in an array", R"({"prompts": ["a"]})", "config_sentence_transformers.json: prompts");
    settings("a prompt that is a number", R"({"prompts": {"a": 1}})", "prompts: 'a' must be a string");
    settings("U+0000 in a prompt", R"({"prompts": {"a": "b\u0000c"}})", "prompts: 'a' has U+0000 in its name or text");
    settings("U+0000 in a prompt's name", R"({"prompts": {"a\u0000": "b"}})", "has U+0000 in its name or text");
}

void add_folders(table &cases) {
    const auto add = [&](const char *name, std::function<void(const temporary_folder &)> fill, ss1_status status,
                         const char *message) {
        cases.push_back({std::string("folder: ") + name,
                         [=] {
                             const temporary_folder folder;
                             fill(folder);
                             return open_model(folder.path);
                         },
                         status, message});
    };
    const auto bytes = [](const char *name) {
        return safetensors_bytes(std::string("{\"") + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                 "x");
    };
    const auto sharded = [&](const char *name, std::string index, ss1_status status, const char *message) {
        add(
            name,
            [=](const temporary_folder &folder) {
                write_file(folder / "config.json", dlrm_json);
                write_file(folder / "a.safetensors", bytes("a"));
                write_file(folder / "b.safetensors", bytes("b"));
                write_file(folder / "model.safetensors.index.json", index);
            },
            status, message);
    };
    add(
        "empty", [](const temporary_folder &) {}, io, "config.json: cannot open: No such file or directory");
    add(
        "config only", [](const temporary_folder &f) { write_file(f / "config.json", dlrm_json); }, io,
        "model.safetensors: cannot open");
    for (const char *name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
        add((std::string("weights as ") + name).c_str(),
            [=](const temporary_folder &f) {
                write_file(f / "config.json", bert_json);
                write_file(f / name, "");
            },
            unsupported, (std::string(name) + ": weights are read from model.safetensors or its shards").c_str());
    }
    add(
        "config is a folder", [](const temporary_folder &f) { std::filesystem::create_directory(f / "config.json"); },
        io, "is not a regular file");
    add(
        "config is a loop",
        [](const temporary_folder &f) { std::filesystem::create_symlink("config.json", f / "config.json"); }, io,
        "cannot open");
    add(
        "config is a device",
        [](const temporary_folder &f) { std::filesystem::create_symlink("/dev/zero", f / "config.json"); }, io,
        "is not a regular file");
    add(
        "config of 17 MB",
        [](const temporary_folder &f) {
            write_file(f / "config.json", "{}");
            std::filesystem::resize_file(f / "config.json", 17 << 20);
        },
        format, "the limit is 16777216");
    add(
        "weights are a folder",
        [](const temporary_folder &f) {
            write_file(f / "config.json", dlrm_json);
            std::filesystem::create_directory(f / "model.safetensors");
        },
        io, "model.safetensors: is not a regular file");
    add(
        "empty weights",
        [](const temporary_folder &f) {
            write_file(f / "config.json", dlrm_json);
            write_file(f / "model.safetensors", "");
        },
        format, "model.safetensors: is empty");
    add(
        "huge header in a sparse file",
        [](const temporary_folder &f) {
            write_file(f / "config.json", dlrm_json);
            write_file(f / "model.safetensors", little_endian(100'000'001));
            std::filesystem::resize_file(f / "model.safetensors", 200'000'000);
        },
        format, "above the limit of 100000000");
    sharded("shard missing", R"({"weight_map":{"a":"a.safetensors","c":"c.safetensors"}})", io,
            "c.safetensors: cannot open");
    sharded("tensor not in its shard",
            R"({"weight_map":{"a":"a.safetensors","b":"b.safetensors","c":"b.safetensors"}})", format,
            "tensor 'c' is not in b.safetensors");
    sharded("shards exchanged", R"({"weight_map":{"a":"b.safetensors","b":"a.safetensors"}})", format,
            "which the index places in another shard");
    sharded("tensor not in the index", R"({"weight_map":{"c":"a.safetensors","b":"b.safetensors"}})", format,
            "holds tensor 'a', which the index does not list");
    sharded("shard outside", R"({"weight_map":{"a":"../a.safetensors"}})", format, "must be the plain name");
    sharded("index is no JSON", "weights", format, "invalid JSON");
    add(
        "tensor in two shards",
        [=](const temporary_folder &f) {
            write_file(f / "config.json", dlrm_json);
            write_file(f / "a.safetensors", bytes("a"));
            write_file(f / "b.safetensors", bytes("a"));
            write_file(f / "model.safetensors.index.json",
                       R"({"weight_map":{"a":"a.safetensors","b":"b.safetensors"}})");
        },
        format, "b.safetensors: holds tensor 'a', which the index places in another shard");
    std::string crowd = R"({"weight_map":{"a":"a.safetensors")";
    for (int i = 0; i < 256; ++i) crowd += ",\"" + std::to_string(i) + "\":\"" + std::to_string(i) + ".safetensors\"";
    sharded("257 shards", crowd + "}}", unsupported, "257 shards, the limit is 256");
}

// Random weights have no file that shows what does not fit. Overflow breaks a rule; lack of memory is another error.
void add_huge_models(table &cases) {
    const auto add = [&](size_t hidden_size, ss1_status status, const char *message) {
        const std::string config =
            patched(bert_json, R"({"num_attention_heads":1,"hidden_size":)" + std::to_string(hidden_size) + "}");
        cases.push_back({"hidden_size " + std::to_string(hidden_size),
                         [=]() -> ss1_status {
                             const temporary_folder folder;
                             write_file(folder / "config.json", config);
                             ss1_context_options limits = SS1_CONTEXT_OPTIONS_INIT;
                             limits.alloc = [](void *, size_t, size_t) -> void * { return nullptr; };
                             limits.free = [](void *, void *, size_t) {};
                             ss1_context *context = nullptr;
                             SS1_TRY(ss1_context_create(&limits, &context));
                             ss1_model_options options = SS1_MODEL_OPTIONS_INIT;
                             options.random_weights = 1;
                             ss1_model *model = nullptr;
                             const ss1_status result = ss1_model_load(context, folder.path.c_str(), &options, &model);
                             ss1_context_destroy(&context);
                             return result;
                         },
                         status, message});
    };
    add(size_t{1} << 31, format, "the size of shape [2147483648, 2147483648] overflows");
    add(size_t{1} << 30, format, "config.json: tensor '");
    add(size_t{1} << 29, SS1_ERROR_OUT_OF_MEMORY, "the allocator has no ");
}

using edit_options = std::function<void(conversion &)>;

void add_conversion(table &cases, const char *name, const char *config, const edit_tensors &edit,
                    const edit_options &set, ss1_status status, const char *message, const char *output = "out") {
    cases.push_back({std::string("convert: ") + name,
                     [=]() -> ss1_status {
                         const temporary_folder folder;
                         SS1_TRY(write_model(folder / "in", config, edit));
                         write_file(folder / "file", "x");
                         conversion options;
                         options.desc.c = 2;
                         options.desc.block_k = 16;
                         options.desc.block_n = 16;
                         options.desc.seed = 1;
                         set(options);
                         ss1_context *context = nullptr;
                         SS1_TRY(ss1_context_create(nullptr, &context));
                         const ss1_status status_now =
                             ss1::convert_model(*context, (folder / "in").c_str(), (folder / output).c_str(), options);
                         ss1_context_destroy(&context);
                         SS1_CHECK(!std::filesystem::exists(folder / "out"), SS1_ERROR_INTERNAL,
                                   "something was left behind");
                         return status_now;
                     },
                     status, message});
}

void add_conversions(table &cases) {
    const auto layers = [](const char *list) -> edit_options { return [=](conversion &o) { o.layers = list; }; };
    const edit_options ssl = [](conversion &o) {
        o.from = SS1_CONVERT_FROM_SSL;
        o.desc.scheme = SS1_SCHEME_REFERENCE;
        o.layers = "bot_l.2";
    };
    const auto ssl_and = [=](const edit_options &more) -> edit_options {
        return [=](conversion &o) {
            ssl(o);
            more(o);
        };
    };
    const auto z = [](std::vector<size_t> shape) -> edit_tensors {
        return [=](auto &tensors) {
            std::string data(4 * shape[0] * shape[1], '\0');
            find(tensors, "bot_l.2.weight") = tensor("bot_l.2.weight", file_dtype::f32, shape, data);
        };
    };
    const char *dlrm = dlrm_json, *tied = dlrm_tied_json;
    add_conversion(
        cases, "no c", dlrm, {}, [](auto &o) { o.desc.c = 0; }, invalid, "c must be given");
    add_conversion(
        cases, "c = 1", dlrm, {}, [](auto &o) { o.desc.c = 1; }, invalid, "at least 2");
    add_conversion(
        cases, "c too large for all", dlrm, {}, [](auto &o) { o.desc.c = 100; }, invalid,
        "is selected: none has c*block_k=1600 <= K");
    add_conversion(
        cases, "unknown source", dlrm, {}, [](auto &o) { o.from = static_cast<ss1_convert_from>(2); }, invalid,
        "options.from=2");
    add_conversion(
        cases, "c = 1 with a rank", dlrm, {}, [](auto &o) { o.desc.c = 1, o.desc.rank = 2; }, invalid,
        "options.desc.rank=2, share=0: a low-rank part needs");
    add_conversion(
        cases, "rank and share", dlrm, {}, [](auto &o) { o.desc.rank = 2, o.share = 0.5; }, invalid,
        "options.desc.rank=2 and share=0.5: one of them must be 0");
    add_conversion(
        cases, "a share of all", dlrm, {}, [](auto &o) { o.share = 1; }, invalid, "options.share=1 is not in [0, 1)");
    add_conversion(
        cases, "a share that c takes", dlrm, {}, [](auto &o) { o.share = 0.5, o.layers = "bot_l.2"; }, invalid,
        "layer bot_l.2: options.share=0.5 leaves no rank of K=64, N=16, c=2");
    add_conversion(
        cases, "rows without a calibration", dlrm, {}, [](auto &o) { o.min_rows = 5; }, invalid,
        "options.min_rows=5: there is no calibration");
    add_conversion(
        cases, "block_k", dlrm, {}, [](auto &o) { o.desc.block_k = 17; }, invalid, "options.desc: block_k=17");
    add_conversion(
        cases, "block_n", dlrm, {}, [](auto &o) { o.desc.block_n = 17; }, invalid, "options.desc: block_n=17");
    add_conversion(
        cases, "step", dlrm, {}, [](auto &o) { o.desc.step = 32; }, invalid, "options.desc: step=32");
    add_conversion(
        cases, "x_dtype", dlrm, {}, [](auto &o) { o.desc.x_dtype = SS1_DTYPE_BF16; }, unsupported, "x_dtype=2");
    add_conversion(
        cases, "an activation", dlrm, {}, [](auto &o) { o.desc.activation = SS1_ACTIVATION_GELU; }, invalid,
        "options.desc.activation=2, K=0, N=0");
    add_conversion(
        cases, "dtype", dlrm, {}, [](auto &o) { o.desc.weight_dtype = SS1_DTYPE_F16; }, unsupported,
        "layer bot_l.2: weight_dtype=f16 is not one of f32, bf16, i8");
    add_conversion(
        cases, "no dtype", dlrm, {}, [](auto &o) { o.desc.weight_dtype = static_cast<ss1_dtype>(-1); }, invalid,
        "weight_dtype=-1 is not a value of ss1_dtype");
    add_conversion(
        cases, "dtype to load with", dlrm, {}, [](auto &o) { o.load.weight_dtype = SS1_DTYPE_I8; }, invalid,
        "options.load.weight_dtype=4: the type to write is options.desc.weight_dtype");
    add_conversion(
        cases, "dtype alone with a mapping", dlrm, {},
        [](auto &o) { o.desc.weight_dtype = SS1_DTYPE_I8, o.desc.c = 1; }, invalid,
        "options.desc.c=1 ties no layer: scheme, seed, block_k, block_n and step must be 0");
    add_conversion(cases, "no patterns", dlrm, {}, layers(""), invalid, "options.layers is empty");
    add_conversion(cases, "empty pattern", dlrm, {}, layers("bot_l.2,,top_l.2"), invalid, "empty pattern");
    add_conversion(cases, "empty exclusion", dlrm, {}, layers("bot_l.2,!"), invalid, "empty pattern");
    add_conversion(cases, "pattern without a match", dlrm, {}, layers("bot_l.2,mid_*"), invalid,
                   "'mid_*' matches no linear layer");
    add_conversion(cases, "exclusion without a match", dlrm, {}, layers("!mid_*"), invalid,
                   "'mid_*' matches no linear layer");
    add_conversion(cases, "all excluded", dlrm, {}, layers("!*"), invalid, "no linear layer");
    add_conversion(cases, "narrow layer by name", dlrm, {}, layers("top_l.0"), invalid,
                   "layer top_l.0: K=19 is below c*block_k=2*16");
    add_conversion(cases, "tied layer by name", tied, {}, layers("bot_l.*,!bot_l.0"), invalid,
                   "layer bot_l.2 is tied (SS1) already");
    add_conversion(cases, "broken source", dlrm, z({16, 32}), layers("top_l.2"), format,
                   "has shape [16, 32], must be [16, 64]");
    add_conversion(
        cases, "NaN in the source", dlrm,
        [](auto &t) {
            const std::vector<float> values(1024, std::numeric_limits<float>::quiet_NaN());
            find(t, "bot_l.2.weight") = tensor("bot_l.2.weight", file_dtype::f32, {16, 64}, bytes_of(values));
        },
        layers("bot_l.2"), format, "has nan at element 0");
    add_conversion(
        cases, "output is a file", dlrm, {}, [](auto &) {}, io, "exists and is not a folder", "file");
    add_conversion(
        cases, "output is the source", dlrm, {}, [](auto &) {}, io, "already holds a model: config.json exists", "in");
    add_conversion(cases, "output below a file", dlrm, {}, layers("bot_l.2"), io, "cannot create the folder",
                   "file/out");
    add_conversion(cases, "output below nothing", dlrm, {}, layers("bot_l.2"), io, "cannot create the folder", "a/b");
    add_conversion(cases, "SSL without c", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.c = 0; }), invalid,
                   "c must be given");
    add_conversion(cases, "SSL of a type alone", dlrm, z({16, 32}),
                   ssl_and([](auto &o) { o.desc.c = 1, o.desc.weight_dtype = SS1_DTYPE_I8; }), invalid,
                   "c must be given");
    add_conversion(cases, "SSL without seed", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.seed = 0; }), invalid,
                   "seed is missing");
    add_conversion(cases, "SSL without block_k", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.block_k = 0; }),
                   invalid, "block_k is missing");
    add_conversion(cases, "SSL without block_n", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.block_n = 0; }),
                   invalid, "block_n is missing");
    add_conversion(cases, "SSL of low rank", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.rank = 2; }), invalid,
                   "a low-rank part needs SS1_CONVERT_FROM_DENSE");
    add_conversion(cases, "SSL mixed", dlrm, z({16, 32}), ssl_and([](auto &o) { o.desc.scheme = SS1_SCHEME_MIXED; }),
                   invalid, "SSL checkpoints are made with");
    add_conversion(cases, "SSL default scheme", dlrm, z({16, 32}),
                   ssl_and([](auto &o) { o.desc.scheme = SS1_SCHEME_DEFAULT; }), invalid,
                   "SSL checkpoints are made with");
    add_conversion(cases, "SSL with random weights", dlrm, z({16, 32}),
                   ssl_and([](auto &o) { o.load.random_weights = 1; }), invalid, "random_weights");
    add_conversion(cases, "SSL of a dense weight", dlrm, {}, ssl, format,
                   "has shape [16, 64], Z of K=64, c=2, block_k=16 must be [16, 32]");
    add_conversion(
        cases, "SSL of Z under ss1's own name", dlrm,
        [](auto &t) { find(t, "bot_l.2.weight").name = "bot_l.2.ss1_weight"; }, ssl, format,
        "'bot_l.2.ss1_weight' has no entry in ss1.layers");
    add_conversion(cases, "SSL with other outputs", dlrm, z({8, 32}), ssl, format, "must be [16, 32]");
    add_conversion(
        cases, "SSL with another layer broken", dlrm,
        [=](auto &t) {
            z({16, 32})(t);
            find(t, "top_l.0.bias") = tensor("top_l.0.bias", file_dtype::f32, {1}, "1234");
        },
        ssl, format, "'top_l.0.bias' has shape [1], must be [64]");
}

}  // namespace

TEST_CASE("malformed files are refused with the broken rule", "[io]") {
    table cases;
    add_truncations(cases);
    add_header_lengths(cases);
    add_headers(cases);
    add_texts(cases);
    add_dlrm(cases);
    add_tied(cases);
    add_bert(cases);
    add_relatives(cases);
    add_rotary(cases);
    add_deberta(cases);
    add_index(cases);
    add_tensors(cases);
    add_tables(cases);
    add_folders(cases);
    add_sentences(cases);
    add_huge_models(cases);
    add_conversions(cases);

    std::set<std::string> names;
    for (const malformed &c : cases) {
        INFO(c.name);
        CHECK(names.insert(c.name).second);
        ss1::clear_error();
        const ss1_status status = c.run();
        INFO(ss1::last_error());
        CHECK(status == c.status);
        CHECK(std::string(ss1::last_error()).find(c.message) != std::string::npos);
    }
    std::printf("%zu files refused, each with its message\n", cases.size());
    CHECK(cases.size() >= 780);
}

// Other bytes in a name or in a type may be another name and type of the same size. All else is refused.
TEST_CASE("a header with any byte replaced is refused, or has tensors of the same size", "[io]") {
    const std::string whole = safetensors_bytes(good_header, good_data);
    const auto within = [&](size_t i, const std::string &quoted) {
        const size_t begin = whole.find(quoted);
        return i > begin && i + 1 < begin + quoted.size();
    };
    size_t refused = 0, accepted = 0;
    for (size_t i = 0; i < 8 + good_header.size(); ++i) {
        const bool may_pass = within(i, "\"a\"") || within(i, "\"b\"") || within(i, "\"F32\"") || within(i, "\"U8\"");
        for (int value = 0; value < 256; ++value) {
            std::string bytes = whole;
            bytes[i] = static_cast<char>(value);
            if (bytes == whole) continue;
            INFO("byte " << i << " is " << value);
            ss1::clear_error();
            const std::vector<char> exact(bytes.begin(), bytes.end());
            ss1::safetensors_header header;
            const ss1_status status =
                ss1::safetensors_parse(std::as_bytes(std::span(exact)), exact.size(), "file", header);
            if (status == SS1_OK) {
                ++accepted;
                REQUIRE(may_pass);
                REQUIRE(header.tensors.size() == 2);
                REQUIRE(header.tensors[0].bytes + header.tensors[1].bytes == good_data.size());
                continue;
            }
            ++refused;
            REQUIRE((status == format || status == unsupported));
            REQUIRE(std::string(ss1::last_error()).starts_with("file: "));
        }
    }
    std::printf("%zu files with another byte in the header: %zu refused\n", refused + accepted, refused);
    CHECK(refused >= 29'000);
    CHECK(accepted > 0);
}
