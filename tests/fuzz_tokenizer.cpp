// SPDX-License-Identifier: Apache-2.0
// Fuzzes the tokenizer. The input is a byte of rules, a vocabulary, an empty line and a text. Words keep the promises
// of words.hpp, their places are in order, and the pieces of a word that an accepted vocabulary splits join to the
// word.
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/unicode.hpp"
#include "text/vocabulary.hpp"
#include "text/words.hpp"

namespace {

// Unlike assert(), this checks in every build type.
void promise(bool kept) {
    if (!kept) std::abort();
}

struct checked_text {
    const ss1::vocabulary &vocabulary;
    std::string_view text;
    ss1::byte_range last;  // place
};

// Places are inside the text and never move back.
void check_place(checked_text &seen, const ss1::byte_range &place) {
    promise(place.begin < place.end && place.end <= seen.text.size());
    promise(seen.last.begin <= place.begin && seen.last.end <= place.end);
    seen.last = place;
}

bool check_word(void *user, std::string_view word, const ss1::word_places *places) {
    auto &seen = *static_cast<checked_text *>(user);
    const ss1::vocabulary &vocabulary = seen.vocabulary;
    for (size_t i = 0; places && i < word.size(); ++i) check_place(seen, places->bytes[i]);
    if (places && word.empty()) check_place(seen, places->word);
    promise(!places || seen.last.end == places->word.end);
    promise(word.size() <= 4 * ss1::max_word_chars && ss1::is_utf8(word) && word.find(' ') == word.npos);
    ss1::vocabulary::piece pieces[ss1::max_word_chars];
    std::string together;
    const size_t n = vocabulary.split(word, pieces);
    for (size_t i = 0; i < n; ++i) {
        const std::string_view token = vocabulary.token(static_cast<size_t>(pieces[i].id));
        promise(i == 0 || token.starts_with("##"));
        together += i == 0 ? token : token.substr(2);
        promise(together.size() == pieces[i].end);
    }
    promise(n == 0 || together == word);
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const std::string_view input(reinterpret_cast<const char *>(data) + 1, size - 1);
    const size_t end = std::min(input.find("\n\n"), input.size());
    ss1::vocabulary vocabulary;
    const ss1_status status = vocabulary.read({}, input.substr(0, end), "fuzz");
    promise(status == SS1_OK || status == SS1_ERROR_FORMAT);
    if (status != SS1_OK) return 0;
    for (size_t id = 0; id < vocabulary.size(); ++id) {
        const int32_t last = vocabulary.find(vocabulary.token(id));  // the last of equal tokens
        promise(last >= static_cast<int32_t>(id) &&
                std::string_view(vocabulary.token(static_cast<size_t>(last))) == vocabulary.token(id));
    }
    const ss1::word_rules rules = {(data[0] & 1) != 0, (data[0] & 2) != 0, (data[0] & 4) != 0};
    checked_text checked{vocabulary, input.substr(std::min(end + 2, input.size())), {}};
    ss1::split_words(rules, checked.text, (data[0] & 8) != 0, check_word, &checked);
    return 0;
}
