// SPDX-License-Identifier: Apache-2.0
#include "text/normalizer.hpp"

#include <algorithm>
#include <iterator>

#include "base/status.hpp"

namespace ss1 {
namespace {

// Calls edit(writer, c, end) for each character c, which ends at `end`; edit moves the writer to or after it.
template <class Edit>
void each_char(traced_text &text, traced_text &spare, Edit edit) {
    rewrite(text, spare, [&](rewriter &writer) {
        while (!writer.at_end()) {
            size_t end;
            const char32_t c = writer.peek(end);
            edit(writer, c, end);
        }
    });
}

template <class Keep>
void filter(traced_text &text, traced_text &spare, Keep keep) {
    each_char(text, spare,
              [&](rewriter &writer, char32_t c, size_t end) { keep(c) ? writer.keep(end) : writer.drop(end); });
}

template <class Map>
void map(traced_text &text, traced_text &spare, Map mapped) {
    each_char(text, spare, [&](rewriter &writer, char32_t c, size_t end) {
        const char32_t other = mapped(c);
        other == c ? writer.keep(end) : writer.replace(other);
    });
}

// A character on its way to canonical order or composition; `change` as in rewriter::change().
struct moving_char {
    char32_t c;
    uint8_t combining;
    ptrdiff_t change;
};

// Decomposes [at, ...) up to and without the next character that starts with a non-combining one, in canonical order.
void decompose_run(std::string_view text, size_t &at, bool compatible, std::vector<moving_char> &run) {
    run.clear();
    char32_t parts[max_compatible_decomposition];
    while (at < text.size()) {
        size_t next = at;
        const char32_t c = next_char(text, next);
        const size_t n = compatible ? decompose_compatible(c, parts) : decompose(c, parts);
        if (!run.empty() && combining_class(parts[0]) == 0) break;
        for (size_t i = 0; i < n; ++i) run.push_back({parts[i], combining_class(parts[i]), i > 0});
        at = next;
    }
    for (auto begin = run.begin(); begin != run.end();) {
        begin = std::find_if(begin, run.end(), [](const moving_char &part) { return part.combining != 0; });
        const auto end = std::find_if(begin, run.end(), [](const moving_char &part) { return part.combining == 0; });
        std::stable_sort(begin, end, [](const auto &a, const auto &b) { return a.combining < b.combining; });
        begin = end;
    }
}

// The end of the ASCII characters from `at` on that no character behind them joins.
size_t plain_end(std::string_view text, size_t at) noexcept {
    size_t end = at;
    while (end < text.size() && !(text[end] & 0x80)) ++end;
    return end < text.size() && end > at ? end - 1 : end;
}

void decompose_text(traced_text &text, traced_text &spare, bool compatible) {
    if (is_ascii(text.text)) return;
    std::vector<moving_char> run;
    rewrite(text, spare, [&](rewriter &writer) {
        for (size_t at = 0; at < text.text.size();) {
            at = plain_end(text.text, at);
            writer.keep(at);
            if (at == text.text.size()) break;
            decompose_run(text.text, at, compatible, run);
            for (const moving_char &part : run) writer.change(part.c, part.change);
        }
    });
}

// Composes characters in canonical order, as the crate that tokenizers uses does: a state machine over a base character
// and those after it that do not join it.
class composer {
  public:
    explicit composer(rewriter &writer) : writer_(writer) {}

    void add(const moving_char &next) {
        char32_t joined;
        if (!any_) {
            if (next.combining) return writer_.change(next.c, next.change);
            start(next);
        } else if (last_class_ < next.combining && compose(base_.c, next.c, joined)) {
            base_.c = joined;
            base_.change += next.change - 1;
        } else if (next.combining == 0) {
            flush();
            start(next);
        } else {
            behind_.push_back(next);
            last_class_ = next.combining;
        }
    }

    void flush() {
        if (any_) writer_.change(base_.c, base_.change);
        for (const moving_char &part : behind_) writer_.change(part.c, part.change);
        any_ = false;
        behind_.clear();
    }

  private:
    void start(const moving_char &base) {
        base_ = base;
        any_ = true;
        last_class_ = -1;
    }

    rewriter &writer_;
    moving_char base_{};
    bool any_ = false;     // there is a base character
    int last_class_ = -1;  // of those behind it; -1: there are none
    std::vector<moving_char> behind_;
};

void compose_text(traced_text &text, traced_text &spare, bool compatible) {
    if (is_ascii(text.text)) return;
    std::vector<moving_char> run;
    rewrite(text, spare, [&](rewriter &writer) {
        composer joined(writer);
        for (size_t at = 0; at < text.text.size();) {
            if (const size_t end = plain_end(text.text, at); end > at) {
                joined.flush();
                writer.keep(at = end);
                continue;
            }
            decompose_run(text.text, at, compatible, run);
            for (const moving_char &part : run) joined.add(part);
        }
        joined.flush();
    });
}

void nfc(const normalizer_step &, traced_text &text, traced_text &spare) {
    compose_text(text, spare, false);
}
void nfkc(const normalizer_step &, traced_text &text, traced_text &spare) {
    compose_text(text, spare, true);
}
void nfd(const normalizer_step &, traced_text &text, traced_text &spare) {
    decompose_text(text, spare, false);
}
void nfkd(const normalizer_step &, traced_text &text, traced_text &spare) {
    decompose_text(text, spare, true);
}

void lowercase(const normalizer_step &, traced_text &text, traced_text &spare) {
    if (is_ascii(text.text)) {
        for (char &c : text.text)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
        return;
    }
    each_char(text, spare, [](rewriter &writer, char32_t c, size_t end) {
        char32_t lower[2] = {c < 128 && c >= 'A' && c <= 'Z' ? c + 32 : c};
        const size_t n = c < 128 ? 1 : lower_case(c, lower);
        if (n == 1 && lower[0] == c) return writer.keep(end);
        writer.replace(lower[0]);
        if (n == 2) writer.insert(lower[1]);
    });
}

void strip_accents(const normalizer_step &, traced_text &text, traced_text &spare) {
    if (!is_ascii(text.text)) filter(text, spare, [](char32_t c) { return !is_mark(c); });
}

void strip(const normalizer_step &step, traced_text &text, traced_text &spare) {
    const std::string_view all = text.text;
    size_t begin = 0, end = all.size();
    for (size_t next = 0; step.left && next < end && is_white_space(next_char(all, next));) begin = next;
    while (step.right && end > begin) {
        const size_t last = previous_char(all, end);
        size_t next = last;
        if (!is_white_space(next_char(all, next))) break;
        end = last;
    }
    if (begin == 0 && end == all.size()) return;
    rewrite(text, spare, [&](rewriter &writer) {
        writer.drop(begin);
        writer.keep(end);
    });
}

void prepend(const normalizer_step &step, traced_text &text, traced_text &spare) {
    if (text.text.empty()) return;
    prepend_text(text, spare, step.content);
}

// The end of a match that begins at `at`; `at`: there is none.
size_t match_end(const normalizer_step &step, std::string_view text, size_t at) noexcept {
    if (step.least == 0) return text.substr(at).starts_with(step.pattern) ? at + step.pattern.size() : at;
    size_t end = at, n = 0;
    for (size_t next = at; next < text.size(); end = next, ++n) {
        const char32_t c = next_char(text, next);
        if (step.only_blanks ? c != ' ' : !is_white_space(c)) break;
    }
    return n >= step.least ? end : at;
}

void replace(const normalizer_step &step, traced_text &text, traced_text &spare) {
    const std::string_view first = step.least == 0 ? std::string_view(step.pattern) : " ";
    const bool known = step.least == 0 || step.only_blanks;  // how a match begins
    if (known && text.text.find(first) == std::string::npos) return;
    rewrite(text, spare, [&](rewriter &writer) {
        while (!writer.at_end()) {
            if (known) writer.keep(std::min(text.text.find(first, writer.position()), text.text.size()));
            if (writer.at_end()) break;
            const size_t match = match_end(step, text.text, writer.position());
            if (match == writer.position()) {
                size_t end;
                writer.peek(end);
                writer.keep(end);
                continue;
            }
            writer.drop(match);
            writer.insert(step.content);
        }
    });
}

void nmt(const normalizer_step &, traced_text &text, traced_text &spare) {
    filter(text, spare, [](char32_t c) {
        return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
    });
    map(text, spare, [](char32_t c) {
        constexpr char32_t blanks[] = {0x9, 0xA, 0xC, 0xD, 0x1680, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD};
        const bool blank =
            (c >= 0x200B && c <= 0x200F) || std::find(std::begin(blanks), std::end(blanks), c) != std::end(blanks);
        return blank ? U' ' : c;
    });
}

void precompiled(const normalizer_step &step, traced_text &text, traced_text &spare) {
    step.mapping->run(text, spare);
}

void bert(const normalizer_step &step, traced_text &text, traced_text &spare) {
    if (step.clean) {
        filter(text, spare, [](char32_t c) { return c != 0 && !is_dropped(c); });
        map(text, spare, [](char32_t c) { return is_white_space(c) ? U' ' : c; });
    }
    if (step.words.split_ideographs && !is_ascii(text.text)) {
        each_char(text, spare, [](rewriter &writer, char32_t c, size_t end) {
            if (!is_ideograph(c)) return writer.keep(end);
            writer.replace(' ');
            writer.insert(c);
            writer.insert(' ');
        });
    }
    if (step.words.strip_accents && !is_ascii(text.text)) {
        decompose_text(text, spare, false);
        filter(text, spare, [](char32_t c) { return c < 128 || classify(c) != char_class::mark; });
    }
    if (step.words.lower_case) lowercase(step, text, spare);
}

ss1_status read_replace(const json &entry, const std::string &where, normalizer_step &out) {
    const json *pattern, *text, *regex;
    SS1_TRY(json_member(entry, where, "pattern", key::required, pattern));
    SS1_TRY(json_is_object(*pattern, where + ": pattern"));
    SS1_TRY(json_string(entry, where, "content", key::required, out.content));
    SS1_TRY(json_member(*pattern, where, "String", key::optional, text));
    SS1_TRY(json_member(*pattern, where, "Regex", key::optional, regex));
    SS1_TRY(json_string(*pattern, where + ": pattern", text ? "String" : "Regex", key::required, out.pattern));
    SS1_TRY(check_pattern(out.pattern, where));
    if (!out.content.empty()) SS1_TRY(check_pattern(out.content, where));
    if (text) return SS1_OK;
    constexpr struct {
        const char *regex;
        size_t least;
        bool only_blanks;
    } known[] = {{" {2,}", 2, true}, {" +", 1, true}, {"\\s+", 1, false}, {"\\s{2,}", 2, false}};
    for (const auto &[name, least, only_blanks] : known) {
        if (out.pattern != name) continue;
        out.least = least;
        out.only_blanks = only_blanks;
    }
    SS1_CHECK(out.least, SS1_ERROR_UNSUPPORTED,
              "%s: the regular expression '%s' is not supported; ' {2,}', ' +', '\\s+' and '\\s{2,}' are",
              where.c_str(), printable(out.pattern).c_str());
    return SS1_OK;
}

ss1_status read_strip(const json &entry, const std::string &where, normalizer_step &out) {
    SS1_TRY(json_bool(entry, where, "strip_left", key::required, out.left));
    return json_bool(entry, where, "strip_right", key::required, out.right);
}

ss1_status read_prepend(const json &entry, const std::string &where, normalizer_step &out) {
    SS1_TRY(json_string(entry, where, "prepend", key::required, out.content));
    return check_pattern(out.content, where);
}

ss1_status read_precompiled(const json &entry, const std::string &where, normalizer_step &out) {
    std::string base64;
    SS1_TRY(json_string(entry, where, "precompiled_charsmap", key::required, base64));
    auto mapping = std::make_shared<charsmap>();
    SS1_TRY(mapping->read(base64, where));
    out.mapping = std::move(mapping);
    return SS1_OK;
}

ss1_status read_bert(const json &entry, const std::string &where, normalizer_step &out) {
    SS1_TRY(json_bool(entry, where, "clean_text", key::required, out.clean));
    SS1_TRY(json_bool(entry, where, "handle_chinese_chars", key::required, out.words.split_ideographs));
    SS1_TRY(json_bool(entry, where, "lowercase", key::required, out.words.lower_case));
    out.words.strip_accents = out.words.lower_case;
    const json *strip_accents;
    SS1_TRY(json_member(entry, where, "strip_accents", key::optional, strip_accents));
    if (!strip_accents || strip_accents->is_null()) return SS1_OK;
    return json_bool(entry, where, "strip_accents", key::required, out.words.strip_accents);
}

ss1_status read_step(const json &entry, const std::string &where, const std::string &type, normalizer &out) {
    constexpr struct {
        const char *type;
        decltype(normalizer_step::run) run;
        ss1_status (*read)(const json &entry, const std::string &where, normalizer_step &out);
    } known[] = {{"NFC", nfc, nullptr},
                 {"NFD", nfd, nullptr},
                 {"NFKC", nfkc, nullptr},
                 {"NFKD", nfkd, nullptr},
                 {"Lowercase", lowercase, nullptr},
                 {"StripAccents", strip_accents, nullptr},
                 {"Nmt", nmt, nullptr},
                 {"Strip", strip, read_strip},
                 {"Replace", replace, read_replace},
                 {"Prepend", prepend, read_prepend},
                 {"Precompiled", precompiled, read_precompiled},
                 {"BertNormalizer", bert, read_bert}};
    for (const auto &[name, run, read] : known) {
        if (type != name) continue;
        normalizer_step &added = out.steps.emplace_back();
        added.run = run;
        return read ? read(entry, where, added) : SS1_OK;
    }
    return fail(SS1_ERROR_UNSUPPORTED, "%s: type '%s' is not supported", where.c_str(), printable(type).c_str());
}

ss1_status read_steps(const json &entry, const std::string &where, normalizer &out, size_t depth = 0) {
    SS1_TRY(json_is_object(entry, where));
    std::string type;
    SS1_TRY(json_string(entry, where, "type", key::required, type));
    out.lowers |= type == "Lowercase" && depth < 2;
    if (type != "Sequence") return read_step(entry, where, type, out);
    const json *list;
    SS1_TRY(json_array(entry, where, "normalizers", list));
    for (size_t i = 0; i < list->size(); ++i)
        SS1_TRY(read_steps((*list)[i], where + ": normalizers[" + std::to_string(i) + "]", out, depth + 1));
    return SS1_OK;
}

}  // namespace

ss1_status read_normalizer(const json &root, const std::string &path, normalizer &out) {
    const json *entry;
    SS1_TRY(json_member(root, path, "normalizer", key::optional, entry));
    return entry && !entry->is_null() ? read_steps(*entry, path + ": normalizer", out) : SS1_OK;
}

void lower_first(normalizer &out) {
    if (out.lowers) return;
    normalizer_step first;
    first.run = lowercase;
    out.steps.insert(out.steps.begin(), std::move(first));
}

normalizer bert_normalizer(const word_rules &rules) {
    normalizer out;
    normalizer_step &only = out.steps.emplace_back();
    only.run = bert;
    only.words = rules;
    return out;
}

}  // namespace ss1
