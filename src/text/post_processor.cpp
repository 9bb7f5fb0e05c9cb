// SPDX-License-Identifier: Apache-2.0
#include "text/post_processor.hpp"

#include <algorithm>
#include "base/status.hpp"
#include "text/unicode.hpp"

namespace ss1 {
namespace {

constexpr size_t most_specials = 1024;  // at each place of a template

ss1_status read_number(const json &object, const std::string &where, const char *name, int32_t &out) {
    size_t value = 0;
    SS1_TRY(json_size(object, where, name, key::required, 0, INT32_MAX, value));
    out = static_cast<int32_t>(value);
    return SS1_OK;
}

// Reads the members of a template while it grows: `list` is where the next special token is put.
struct template_reader {
    const json &specials;  // {name: {ids: [...]}}
    row_template &out;
    std::vector<row_template::special> *list = &out.before;

    ss1_status read_special(const json &piece, const std::string &where) const {
        std::string name;
        int32_t type = 0;
        SS1_TRY(json_string(piece, where, "id", key::required, name));
        SS1_TRY(read_number(piece, where, "type_id", type));
        const json *token, *ids;
        SS1_TRY(json_member(specials, where + ": special_tokens", name.c_str(), key::required, token));
        const std::string place = where + ": special_tokens['" + printable(name) + "']";
        SS1_TRY(json_is_object(*token, place));
        SS1_TRY(json_array(*token, place, "ids", ids));
        for (size_t i = 0; i < ids->size(); ++i) {
            size_t value = 0;
            SS1_TRY(json_size_value((*ids)[i], place + ": ids", 0, INT32_MAX, value));
            SS1_CHECK(list->size() < most_specials, SS1_ERROR_UNSUPPORTED,
                      "%s: a template with more than %zu special tokens is not supported", where.c_str(),
                      most_specials);
            list->push_back({static_cast<int32_t>(value), type});
        }
        return SS1_OK;
    }

    ss1_status read_sequence(const json &piece, const std::string &where, bool pair) {
        std::string name;
        SS1_TRY(json_string(piece, where, "id", key::required, name));
        SS1_CHECK(name == "A" || name == "B", SS1_ERROR_FORMAT, "%s: id is '%s', must be 'A' or 'B'", where.c_str(),
                  printable(name).c_str());
        const bool first = list == &out.before && name == "A";
        SS1_CHECK(first || (pair && list == &out.between && name == "B"), SS1_ERROR_UNSUPPORTED,
                  "%s: '%s' is out of place: only templates with %s are supported", where.c_str(), name.c_str(),
                  pair ? "A once, then B once" : "A once");
        SS1_TRY(read_number(piece, where, "type_id", first ? out.first_type : out.second_type));
        list = first && pair ? &out.between : &out.after;
        return SS1_OK;
    }
};

ss1_status read_template(const json &processor, const std::string &where, const char *name, bool pair,
                         row_template &out) {
    const json *pieces, *specials;
    out = {};
    SS1_TRY(json_array(processor, where, name, pieces));
    SS1_TRY(json_member(processor, where, "special_tokens", key::required, specials));
    SS1_TRY(json_is_object(*specials, where + ": special_tokens"));
    template_reader reader{*specials, out};
    for (size_t i = 0; i < pieces->size(); ++i) {
        const std::string place = where + ": " + name + "[" + std::to_string(i) + "]";
        const json &piece = (*pieces)[i];
        SS1_TRY(json_is_object(piece, place));
        const json *special, *sequence;
        SS1_TRY(json_member(piece, place, "SpecialToken", key::optional, special));
        SS1_TRY(json_member(piece, place, "Sequence", special ? key::optional : key::required, sequence));
        const json &content = special ? *special : *sequence;
        SS1_TRY(json_is_object(content, place));
        SS1_TRY(special ? reader.read_special(content, place) : reader.read_sequence(content, place, pair));
    }
    SS1_CHECK(reader.list == &out.after, SS1_ERROR_UNSUPPORTED, "%s: %s lacks a text: templates need %s", where.c_str(),
              name, pair ? "A and B" : "A");
    return SS1_OK;
}

// Reads [text, id] of RobertaProcessing and BertProcessing.
ss1_status read_token_id(const json &processor, const std::string &where, const char *name, int32_t &id) {
    const json *pair;
    SS1_TRY(json_array(processor, where, name, pair));
    SS1_CHECK(pair->size() == 2, SS1_ERROR_FORMAT, "%s: %s has %zu values, must have 2: text and id", where.c_str(),
              name, pair->size());
    size_t value = 0;
    SS1_TRY(json_size_value((*pair)[1], where + ": " + name + "[1]", 0, INT32_MAX, value));
    id = static_cast<int32_t>(value);
    return SS1_OK;
}

ss1_status read_trimming(const json &processor, const std::string &where, post_processor &out) {
    bool trims = false, keeps_first_space = true;
    SS1_TRY(json_bool(processor, where, "trim_offsets", key::required, trims));
    SS1_TRY(json_bool(processor, where, "add_prefix_space", key::required, keeps_first_space));
    if (!trims) return SS1_OK;
    SS1_CHECK(!out.trims_places, SS1_ERROR_UNSUPPORTED,
              "%s: trim_offsets is true, as in a processor before it, which is not supported: it trims twice",
              where.c_str());
    out.trims_places = true;
    out.keeps_first_space = keeps_first_space;
    return SS1_OK;
}

ss1_status read_processor(const json &processor, const std::string &where, bool &adds, post_processor &out) {
    std::string type;
    SS1_TRY(json_is_object(processor, where));
    SS1_TRY(json_string(processor, where, "type", key::required, type));
    SS1_CHECK(!adds, SS1_ERROR_UNSUPPORTED, "%s: '%s' after a processor that adds tokens is not supported",
              where.c_str(), printable(type).c_str());
    if (type == "ByteLevel") return read_trimming(processor, where, out);
    adds = true;
    if (type == "TemplateProcessing") {
        SS1_TRY(read_template(processor, where, "single", false, out.single));
        return read_template(processor, where, "pair", true, out.pair);
    }
    const bool roberta = type == "RobertaProcessing";
    SS1_CHECK(roberta || type == "BertProcessing", SS1_ERROR_UNSUPPORTED,
              "%s: type '%s' is not supported; TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel and "
              "Sequence are",
              where.c_str(), printable(type).c_str());
    int32_t cls = 0, sep = 0;
    SS1_TRY(read_token_id(processor, where, "cls", cls));
    SS1_TRY(read_token_id(processor, where, "sep", sep));
    const post_processor classic = classic_post_processor(cls, sep, roberta ? 0 : 1, roberta);
    out.single = classic.single;
    out.pair = classic.pair;
    return roberta ? read_trimming(processor, where, out) : SS1_OK;
}

}  // namespace

blank_counts count_blanks(std::string_view text) noexcept {
    blank_counts blanks;
    const auto is_blank = [](char32_t c) { return c == 0x120 || is_white_space(c); };  // U+0120 is ByteLevel's blank
    for (size_t next = 0; next < text.size() && is_blank(next_char(text, next));) ++blanks.before;
    for (size_t end = text.size(); end; ++blanks.behind) {
        size_t next = end = previous_char(text, end);
        if (!is_blank(next_char(text, next))) break;
    }
    return blanks;
}

byte_range post_processor::trimmed(std::string_view text, blank_counts blanks, bool first,
                                   byte_range place) const noexcept {
    auto [leading, trailing] = blanks;
    if (leading == 1 && keeps_first_space && (first || place.begin == 0)) leading = 0;
    for (; leading && place.begin < place.end; --leading) next_char(text, place.begin);
    size_t end = place.end;
    for (; trailing && end; --trailing) end = previous_char(text, end);
    if (trailing == 0) place.end = std::max(place.begin, end);  // else the text has fewer characters: as in tokenizers
    return place;
}

post_processor classic_post_processor(int32_t cls, int32_t sep, int32_t second_type, bool twice) {
    post_processor out;
    out.single = {{{cls, 0}}, {}, {{sep, 0}}, 0, 0};
    out.pair = {{{cls, 0}}, {{sep, 0}}, {{sep, second_type}}, 0, second_type};
    if (twice) out.pair.between.push_back({sep, 0});
    return out;
}

ss1_status read_post_processor(const json &root, const std::string &path, post_processor &out) {
    const std::string where = path + ": post_processor";
    out = {};
    const json *processor;
    SS1_TRY(json_member(root, path, "post_processor", key::optional, processor));
    if (!processor || processor->is_null()) return SS1_OK;
    SS1_TRY(json_is_object(*processor, where));
    bool adds = false;
    std::string type;
    SS1_TRY(json_string(*processor, where, "type", key::required, type));
    if (type != "Sequence") return read_processor(*processor, where, adds, out);
    const json *list;
    SS1_TRY(json_array(*processor, where, "processors", list));
    for (size_t i = 0; i < list->size(); ++i)
        SS1_TRY(read_processor((*list)[i], where + ": processors[" + std::to_string(i) + "]", adds, out));
    return SS1_OK;
}

}  // namespace ss1
