// SPDX-License-Identifier: Apache-2.0
#include "text/words.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "text/unicode.hpp"

namespace ss1 {
namespace {

constexpr std::array<char_class, 128> ascii_classes = [] {
    std::array<char_class, 128> classes{};
    for (size_t c = 0; c < 128; ++c) {
        const bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        classes[c] = c == ' ' || c == '\t' || c == '\n' || c == '\r' ? char_class::space
                     : c < ' ' || c == 0x7f                          ? char_class::control
                     : letter                                        ? char_class::other
                                                                     : char_class::punctuation;
    }
    return classes;
}();

// Vertical tab and form feed count as control characters, not as blanks, because BERT's cleaning drops control
// characters first.
char_class class_of(char32_t c) noexcept {
    return c < 128 ? ascii_classes[c] : classify(c);
}

struct waiting_char {
    char32_t c;
    uint8_t combining;
    size_t number;  // its rank among the characters of its class, from 1
};

// Gives places to a run of combining characters. Canonical order moves them; as in tokenizers, the k-th character after
// sorting gets the place of the k-th before. Characters that a decomposition adds get the place of the previous one.
class mark_places {
  public:
    void start(size_t end_of_base) noexcept {
        base_end_ = end_of_base;
        if (any_) numbers_.fill(0);
        any_ = false;
    }
    size_t add(uint8_t combining, bool is_first_part) noexcept {
        any_ = true;
        return numbers_[combining] += is_first_part;
    }

    // Calls use(character, place) for the characters in sorted order; `base` is the place before the run.
    template <class Use>
    void each(std::string_view text, std::span<const waiting_char> sorted, byte_range base, Use use) const noexcept {
        size_t next_class = 0, of_lower_classes = 0, seen = 0;
        byte_range place = base;
        size_t position = base_end_;
        for (const waiting_char &waiting : sorted) {
            while (next_class < waiting.combining) of_lower_classes += numbers_[next_class++];
            while (seen < of_lower_classes + waiting.number) {
                place.begin = position;
                seen += !is_dropped(next_char(text, position));
                place.end = position;
            }
            use(waiting.c, place);
        }
    }

  private:
    size_t base_end_ = 0;
    bool any_ = false;
    std::array<size_t, 256> numbers_{};  // characters per combining class, without the later parts of a decomposition
};

template <bool with_places>
class splitter {
  public:
    splitter(const word_rules &rules, std::string_view text, word_sink sink, void *user)
        : rules_(rules), text_(text), sink_(sink), user_(user) {}

    void run() noexcept {
        for (size_t i = 0; i < text_.size() && wanted_;) {
            const size_t begin = i;
            const auto byte = static_cast<unsigned char>(text_[i]);
            if (byte < 128) {
                ++i;
                if constexpr (with_places) char_ = {begin, i};
                take_ascii(byte);
            } else {
                const char32_t c = next_char(text_, i);
                if constexpr (with_places) char_ = {begin, i};
                take(c);
            }
        }
        end_word();
    }

  private:
    void take_ascii(unsigned char c) noexcept {
        switch (ascii_classes[c]) {
            case char_class::control:
                return;
            case char_class::space:
                return end_word();
            case char_class::punctuation:
                return put_alone(c);
            default:
                put_waiting();
                put(rules_.lower_case && c >= 'A' && c <= 'Z' ? static_cast<unsigned char>(c + 32) : c);
        }
    }

    void take(char32_t c) noexcept {
        const char_class kind = class_of(c);
        if (c == 0xFFFD || kind == char_class::control) return;  // same as is_dropped()
        if (kind == char_class::space) return end_word();
        const bool alone = rules_.split_ideographs && is_ideograph(c);
        if (alone) end_word();
        rules_.strip_accents ? strip(c) : fold(c);
        if (alone) end_word();
    }

    // Decomposes c, drops its nonspacing marks and sorts the characters after a base character into canonical order.
    void strip(char32_t c) noexcept {
        char32_t parts[max_decomposition];
        const size_t n = decompose(c, parts);
        for (size_t i = 0; i < n; ++i) {
            const uint8_t combining = combining_class(parts[i]);
            size_t number = 0;
            if (combining == 0)
                put_waiting();
            else if constexpr (with_places)
                number = marks_.add(combining, i == 0);
            if (classify(parts[i]) == char_class::mark) continue;
            combining == 0 ? fold(parts[i]) : wait({parts[i], combining, number});
        }
    }

    void wait(waiting_char next) noexcept {
        if (n_waiting_ == waiting_.size()) {  // the word is too long to be known: only its end counts
            if (next.combining >= waiting_.back().combining) waiting_.back() = next;
            return;
        }
        const auto end = waiting_.begin() + n_waiting_++;
        const auto place = std::upper_bound(waiting_.begin(), end, next,
                                            [](const auto &a, const auto &b) { return a.combining < b.combining; });
        std::copy_backward(place, end, end + 1);
        *place = next;
    }

    void put_waiting() noexcept {
        if (n_waiting_) put_each_waiting();
        if constexpr (with_places) {
            base_ = char_;
            marks_.start(char_.end);
        }
    }

    void put_each_waiting() noexcept {
        const std::span<const waiting_char> waiting(waiting_.data(), std::exchange(n_waiting_, 0));
        if constexpr (with_places) {
            const byte_range next = char_;
            marks_.each(text_, waiting, base_, [&](char32_t c, byte_range place) {
                char_ = place;
                fold(c);
            });
            char_ = next;
        } else {
            for (const waiting_char &next : waiting) fold(next.c);
        }
    }

    void fold(char32_t c) noexcept {
        if (!rules_.lower_case) return put_class(c);
        char32_t lower[2];
        const size_t n = lower_case(c, lower);
        for (size_t i = 0; i < n; ++i) put_class(lower[i]);
    }

    void put_class(char32_t c) noexcept { class_of(c) == char_class::punctuation ? put_alone(c) : put(c); }

    void put_alone(char32_t c) noexcept {
        end_word();
        put(c);
        end_word();
    }

    void put(char32_t c) noexcept {
        if constexpr (with_places) {
            if (chars_ == 0) place_.begin = char_.begin;
            place_.end = char_.end;
        }
        if (++chars_ > max_word_chars) return;
        [[maybe_unused]] const size_t begin = size_;
        if (c < 128)
            word_[size_++] = static_cast<char>(c);
        else
            size_ += put_char(c, word_.data() + size_);
        if constexpr (with_places) std::fill(places_.begin() + begin, places_.begin() + size_, char_);
    }

    void end_word() noexcept {
        put_waiting();
        if (chars_ && wanted_) {
            const std::string_view word(word_.data(), chars_ > max_word_chars ? size_t{0} : size_);
            const word_places places{place_, places_.data()};
            wanted_ = sink_(user_, word, with_places ? &places : nullptr);
        }
        chars_ = size_ = 0;
    }

    static constexpr size_t max_word_bytes = 4 * max_word_chars;

    const word_rules &rules_;
    const std::string_view text_;
    const word_sink sink_;
    void *const user_;
    bool wanted_ = true;
    std::array<char, max_word_bytes> word_;
    size_t size_ = 0, chars_ = 0;
    std::array<waiting_char, max_word_chars + 1> waiting_;  // combining characters of the current run
    size_t n_waiting_ = 0;

    // Used only with places.
    byte_range char_, place_, base_;  // of the current character; of the word; of the last non-combining character
    std::array<byte_range, with_places ? max_word_bytes : 0> places_;
    std::conditional_t<with_places, mark_places, std::monostate> marks_;
};

}  // namespace

bool is_ideograph(char32_t c) noexcept {
    constexpr char32_t blocks[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    return c >= 0x3400 && std::any_of(std::begin(blocks), std::end(blocks),
                                      [c](const char32_t(&block)[2]) { return c >= block[0] && c <= block[1]; });
}

bool is_dropped(char32_t c) noexcept {
    return c == 0xFFFD || class_of(c) == char_class::control;
}

bool is_punctuation(char32_t c) noexcept {
    return class_of(c) == char_class::punctuation;
}

void split_words(const word_rules &rules, std::string_view text, bool with_places, word_sink sink,
                 void *user) noexcept {
    with_places ? splitter<true>(rules, text, sink, user).run() : splitter<false>(rules, text, sink, user).run();
}

}  // namespace ss1
