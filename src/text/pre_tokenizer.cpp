// SPDX-License-Identifier: Apache-2.0
#include "text/pre_tokenizer.hpp"

#include <algorithm>
#include <iterator>

#include "base/status.hpp"
#include "text/patterns.hpp"

namespace ss1 {
namespace {

// One character for which `is` holds.
template <bool (*is)(char32_t)>
bool find_char(const pre_tokenizer_step &, std::string_view text, size_t from, byte_range &match) {
    for (size_t next = from; next < text.size(); from = next) {
        if (!is(next_char(text, next))) continue;
        match = {from, next};
        return true;
    }
    return false;
}

// A run of characters for which `is` holds.
template <bool (*is)(char32_t)>
bool find_run(const pre_tokenizer_step &, std::string_view text, size_t from, byte_range &match) {
    match = {from, from};
    for (size_t next = from; next < text.size(); from = next) {
        if (is(next_char(text, next))) {
            if (match.begin == match.end) match.begin = from;
            match.end = next;
        } else if (match.begin < match.end) {
            return true;
        }
    }
    return match.begin < match.end;
}

bool find_text(const pre_tokenizer_step &step, std::string_view text, size_t from, byte_range &match) {
    const size_t begin = text.find(step.pattern, from);
    match = {begin, begin + step.pattern.size()};
    return begin != text.npos;
}

// \w as Split has it: its regular expressions are Oniguruma's, where the joiners are not of a word, and those
// characters of Latin-1 are that are numbers without being digits.
bool is_split_word(char32_t c) {
    if (c == 0x200C || c == 0x200D) return false;
    return is_word(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE);
}

// \w+|[^\w\s]+
template <bool (*is)(char32_t)>
bool find_word(const pre_tokenizer_step &, std::string_view text, size_t from, byte_range &match) {
    const auto kind_of = [&](size_t &at) {
        const char32_t c = next_char(text, at);
        return is(c) ? 1 : is_white_space(c) ? 0 : 2;
    };
    for (size_t next = from; next < text.size(); from = next) {
        const int kind = kind_of(next);
        if (kind == 0) continue;
        for (size_t end = next; end < text.size(); next = end)
            if (kind_of(end) != kind) break;
        match = {from, next};
        return true;
    }
    return false;
}

bool find_gpt2(const pre_tokenizer_step &, std::string_view text, size_t from, byte_range &match) {
    match = {from, from < text.size() ? gpt2_match(text, from) : from};
    return from < text.size();
}

bool find_gpt4(const pre_tokenizer_step &step, std::string_view text, size_t from, byte_range &match) {
    match = {from, from < text.size() ? gpt4_match(text, from, step.digits) : from};
    return from < text.size();
}

// Merges the parts [first, ...) of one text, of which those at `matches` are matches, in tokenizers' way. The parts of
// merged_with_next come from the last to the first.
class splitter {
  public:
    splitter(const pre_tokenizer_step &step, std::vector<byte_range> &out)
        : step_(step), out_(out), first_(out.size()) {}

    void add(byte_range part, bool is_match) {
        if (part.begin == part.end) return;
        using enum split_behavior;
        is_match ^= step_.invert;
        const bool any = out_.size() > first_;
        if (step_.behavior == removed) {
            if (!is_match) out_.push_back(part);
        } else if (step_.behavior == contiguous && any && is_match == last_) {
            out_.back().end = part.end;
        } else if (step_.behavior == merged_with_previous && any && is_match && !last_) {
            out_.back().end = part.end;
        } else if (step_.behavior == merged_with_next && any && last_ && !is_match) {
            out_.back().end = part.end;
        } else {
            out_.push_back(part);
        }
        last_ = is_match;
    }

  private:
    const pre_tokenizer_step &step_;
    std::vector<byte_range> &out_;
    const size_t first_;
    bool last_ = false;
};

void split(const pre_tokenizer_step &step, std::string_view text, byte_range piece, std::vector<byte_range> &out) {
    splitter parts(step, out);
    const std::string_view part = text.substr(piece.begin, piece.end - piece.begin);
    const auto add = [&](size_t begin, size_t end, bool is_match) {
        parts.add({piece.begin + begin, piece.begin + end}, is_match);
    };
    size_t at = 0;
    for (byte_range match; step.find(step, part, at, match); at = match.end) {
        add(at, match.begin, false);
        add(match.begin, match.end, true);
    }
    add(at, part.size(), false);
}

// Replaces blanks in the pieces and puts one in front of them.
void put_blanks(const pre_tokenizer_step &step, traced_text &text, traced_text &spare,
                std::vector<byte_range> &pieces) {
    const std::string_view blank = step.blank.empty() ? " " : std::string_view(step.blank), all = text.text;
    rewrite(text, spare, [&](rewriter &writer) {
        for (byte_range &piece : pieces) {
            writer.drop(piece.begin);
            const size_t begin = writer.written();
            const bool there = all.substr(piece.begin).starts_with(blank) || all[piece.begin] == ' ';
            const bool wanted = step.prefix == pre_tokenizer_step::always ||
                                (step.prefix == pre_tokenizer_step::first && piece.begin < text.first);
            if (wanted && !there) writer.insert_before(blank);
            while (writer.position() < piece.end) {
                const size_t next = std::min(all.substr(0, piece.end).find(' ', writer.position()), piece.end);
                writer.keep(next);
                if (next == piece.end) break;
                if (step.blank.empty()) {
                    writer.keep(next + 1);
                } else {
                    writer.drop(next + 1);
                    writer.insert(blank);
                }
            }
            piece = {begin, writer.written()};
        }
    });
}

}  // namespace

void pre_tokenizer::run(traced_text &text, traced_text &spare, std::vector<byte_range> &pieces,
                        std::vector<byte_range> &next) const {
    pieces.clear();
    if (!text.text.empty()) pieces.push_back({0, text.text.size()});
    for (const pre_tokenizer_step &step : steps) {
        if (!step.blank.empty() || step.prefix != pre_tokenizer_step::never) put_blanks(step, text, spare, pieces);
        if (!step.find) continue;
        next.clear();
        for (const byte_range piece : pieces) split(step, text.text, piece, next);
        pieces.swap(next);
    }
}

namespace {

ss1_status read_behavior(const json &entry, const std::string &where, key need, split_behavior &out) {
    using enum split_behavior;
    constexpr struct {
        const char *name;
        split_behavior behavior;
    } known[] = {{"Removed", removed},
                 {"Isolated", isolated},
                 {"MergedWithPrevious", merged_with_previous},
                 {"MergedWithNext", merged_with_next},
                 {"Contiguous", contiguous}};
    std::string text = "Isolated";
    SS1_TRY(json_string(entry, where, "behavior", need, text));
    for (const auto &[name, behavior] : known) {
        if (text != name) continue;
        out = behavior;
        return SS1_OK;
    }
    return fail(SS1_ERROR_FORMAT, "%s: behavior '%s' is none of tokenizers'", where.c_str(), printable(text).c_str());
}

ss1_status read_metaspace(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    std::string scheme = "always";
    bool add_prefix = true, splits = true;
    SS1_TRY(json_string(entry, where, "replacement", key::required, step.blank));
    size_t end = 0;
    SS1_CHECK(!step.blank.empty() && (next_char(step.blank, end), end == step.blank.size()) && step.blank != " ",
              SS1_ERROR_UNSUPPORTED, "%s: replacement '%s' is not supported: it must be one character, no blank",
              where.c_str(), printable(step.blank).c_str());
    SS1_TRY(json_bool(entry, where, "add_prefix_space", key::optional, add_prefix));
    SS1_TRY(json_string(entry, where, "prepend_scheme", key::optional, scheme));
    SS1_TRY(json_bool(entry, where, "split", key::optional, splits));
    SS1_CHECK(scheme == "always" || scheme == "first" || scheme == "never", SS1_ERROR_FORMAT,
              "%s: prepend_scheme '%s' is none of always, first and never", where.c_str(), printable(scheme).c_str());
    SS1_CHECK(add_prefix || scheme == "never", SS1_ERROR_FORMAT,
              "%s: prepend_scheme '%s' contradicts add_prefix_space false", where.c_str(), scheme.c_str());
    step.prefix = scheme == "always"  ? pre_tokenizer_step::always
                  : scheme == "first" ? pre_tokenizer_step::first
                                      : pre_tokenizer_step::never;
    if (!splits) return SS1_OK;
    step.find = find_text;
    step.pattern = step.blank;
    step.behavior = split_behavior::merged_with_next;
    return SS1_OK;
}

ss1_status read_byte_level(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    bool add_prefix = false, use_regex = true;
    SS1_TRY(json_bool(entry, where, "add_prefix_space", key::required, add_prefix));
    SS1_TRY(json_bool(entry, where, "use_regex", key::optional, use_regex));
    step.prefix = add_prefix ? pre_tokenizer_step::always : pre_tokenizer_step::never;
    if (use_regex) step.find = find_gpt2;
    out.to_bytes = true;
    return SS1_OK;
}

ss1_status read_split(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    const json *pattern, *text;
    SS1_TRY(json_member(entry, where, "pattern", key::required, pattern));
    SS1_TRY(json_is_object(*pattern, where + ": pattern"));
    SS1_TRY(json_member(*pattern, where, "String", key::optional, text));
    SS1_TRY(json_string(*pattern, where + ": pattern", text ? "String" : "Regex", key::required, step.pattern));
    SS1_TRY(read_behavior(entry, where, key::required, step.behavior));
    SS1_TRY(json_bool(entry, where, "invert", key::required, step.invert));
    SS1_TRY(check_pattern(step.pattern, where));
    step.find = find_text;
    if (text) return SS1_OK;
    const struct {
        const char *regex;
        find_match find;
        size_t digits;
    } known[] = {{gpt2_pattern, find_gpt2, 1},
                 {gpt4_pattern, find_gpt4, 3},
                 {qwen_pattern, find_gpt4, 1},
                 {"\\s+", find_run<is_white_space>, 1},
                 {"\\s", find_char<is_white_space>, 1},
                 {" ", find_text, 1},
                 {"\\w+|[^\\w\\s]+", find_word<is_split_word>, 1}};
    for (const auto &[regex, find, digits] : known) {
        if (step.pattern != regex) continue;
        step.find = find;
        step.digits = digits;
        return SS1_OK;
    }
    return fail(SS1_ERROR_UNSUPPORTED,
                "%s: the regular expression '%s' is not supported; those of GPT-2, GPT-4 and Qwen2, '\\s+', '\\s' and "
                "'\\w+|[^\\w\\s]+' are",
                where.c_str(), printable(step.pattern).c_str());
}

ss1_status read_punctuation(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    step.find = find_char<is_punctuation>;
    return read_behavior(entry, where, key::optional, step.behavior);
}

ss1_status read_digits(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    bool individual = false;
    SS1_TRY(json_bool(entry, where, "individual_digits", key::required, individual));
    step.find = find_char<is_number>;
    if (!individual) step.behavior = split_behavior::contiguous;
    return SS1_OK;
}

ss1_status read_delimiter(const json &entry, const std::string &where, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    SS1_TRY(json_string(entry, where, "delimiter", key::required, step.pattern));
    SS1_CHECK(!step.pattern.empty(), SS1_ERROR_FORMAT, "%s: delimiter is empty", where.c_str());
    SS1_TRY(check_pattern(step.pattern, where));
    step.find = find_text;
    step.behavior = split_behavior::removed;
    return SS1_OK;
}

ss1_status read_whitespace(const json &, const std::string &, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    step.find = find_word<is_word>;
    step.invert = true;
    step.behavior = split_behavior::removed;
    return SS1_OK;
}

ss1_status read_whitespace_split(const json &, const std::string &, pre_tokenizer &out) {
    pre_tokenizer_step &step = out.steps.emplace_back();
    step.find = find_char<is_white_space>;
    step.behavior = split_behavior::removed;
    return SS1_OK;
}

ss1_status read_bert(const json &, const std::string &, pre_tokenizer &out) {
    for (pre_tokenizer_step &added : bert_pre_tokenizer().steps) out.steps.push_back(std::move(added));
    return SS1_OK;
}

ss1_status read_steps(const json &entry, const std::string &where, pre_tokenizer &out) {
    constexpr struct {
        const char *type;
        ss1_status (*read)(const json &entry, const std::string &where, pre_tokenizer &out);
    } known[] = {
        {"BertPreTokenizer", read_bert}, {"ByteLevel", read_byte_level},  {"CharDelimiterSplit", read_delimiter},
        {"Digits", read_digits},         {"Metaspace", read_metaspace},   {"Punctuation", read_punctuation},
        {"Split", read_split},           {"Whitespace", read_whitespace}, {"WhitespaceSplit", read_whitespace_split}};
    std::string type;
    SS1_TRY(json_is_object(entry, where));
    SS1_TRY(json_string(entry, where, "type", key::required, type));
    SS1_CHECK(!out.to_bytes, SS1_ERROR_UNSUPPORTED, "%s: '%s' after ByteLevel is not supported", where.c_str(),
              printable(type).c_str());
    for (const auto &[name, read] : known)
        if (type == name) return read(entry, where, out);
    SS1_CHECK(type == "Sequence", SS1_ERROR_UNSUPPORTED, "%s: type '%s' is not supported", where.c_str(),
              printable(type).c_str());
    const json *list;
    SS1_TRY(json_array(entry, where, "pretokenizers", list));
    for (size_t i = 0; i < list->size(); ++i)
        SS1_TRY(read_steps((*list)[i], where + ": pretokenizers[" + std::to_string(i) + "]", out));
    return SS1_OK;
}

}  // namespace

ss1_status read_pre_tokenizer(const json &root, const std::string &path, pre_tokenizer &out) {
    const json *entry;
    SS1_TRY(json_member(root, path, "pre_tokenizer", key::optional, entry));
    return entry && !entry->is_null() ? read_steps(*entry, path + ": pre_tokenizer", out) : SS1_OK;
}

pre_tokenizer byte_level_pre_tokenizer(bool add_prefix_space) {
    pre_tokenizer out;
    pre_tokenizer_step &step = out.steps.emplace_back();
    step.find = find_gpt2;
    step.prefix = add_prefix_space ? pre_tokenizer_step::always : pre_tokenizer_step::never;
    out.to_bytes = true;
    return out;
}

pre_tokenizer bert_pre_tokenizer() {
    pre_tokenizer out;
    pre_tokenizer_step &blanks = out.steps.emplace_back();
    blanks.find = find_char<is_white_space>;
    blanks.behavior = split_behavior::removed;
    out.steps.emplace_back().find = find_char<is_punctuation>;
    return out;
}

}  // namespace ss1
