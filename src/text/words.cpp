// SPDX-License-Identifier: Apache-2.0
#include "text/words.hpp"

#include <algorithm>
#include <array>

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

// Vertical tab and form feed are controls here, blanks elsewhere: BERT's cleaning drops controls first.
char_class class_of(char32_t c) noexcept {
    return c < 128 ? ascii_classes[c] : classify(c);
}

// The blocks of BERT's first implementation; Hangul and kana are not among them.
bool is_ideograph(char32_t c) noexcept {
    constexpr char32_t blocks[][2] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
    return c >= 0x3400 && std::any_of(std::begin(blocks), std::end(blocks),
                                      [c](const char32_t(&block)[2]) { return c >= block[0] && c <= block[1]; });
}

class splitter {
  public:
    splitter(const word_rules &rules, word_sink sink, void *user) : rules_(rules), sink_(sink), user_(user) {}

    void run(std::string_view text) noexcept {
        for (size_t i = 0; i < text.size() && wanted_;) {
            const auto byte = static_cast<unsigned char>(text[i]);
            if (byte < 128) {
                ++i;
                take_ascii(byte);
            } else {
                take(next_char(text, i));
            }
        }
        end_word();
    }

  private:
    struct waiting_char {
        char32_t c;
        uint8_t combining;
    };

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
        if (c == 0xFFFD || kind == char_class::control) return;
        if (kind == char_class::space) return end_word();
        const bool alone = rules_.split_ideographs && is_ideograph(c);
        if (alone) end_word();
        rules_.strip_accents ? strip(c) : fold(c);
        if (alone) end_word();
    }

    // Decomposes c, drops its nonspacing marks and puts what follows a base character in canonical order.
    void strip(char32_t c) noexcept {
        char32_t parts[max_decomposition];
        const size_t n = decompose(c, parts);
        for (size_t i = 0; i < n; ++i) {
            const uint8_t combining = combining_class(parts[i]);
            if (combining == 0) put_waiting();
            if (classify(parts[i]) == char_class::mark) continue;
            combining == 0 ? fold(parts[i]) : wait({parts[i], combining});
        }
    }

    void wait(waiting_char next) noexcept {
        if (n_waiting_ == waiting_.size()) return;  // their word is longer than any that is known
        const auto end = waiting_.begin() + n_waiting_++;
        const auto place = std::upper_bound(waiting_.begin(), end, next,
                                            [](const auto &a, const auto &b) { return a.combining < b.combining; });
        std::copy_backward(place, end, end + 1);
        *place = next;
    }

    void put_waiting() noexcept {
        const size_t n = n_waiting_;
        n_waiting_ = 0;
        for (size_t i = 0; i < n; ++i) fold(waiting_[i].c);
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
        if (++chars_ > max_word_chars) return;
        if (c < 128)
            word_[size_++] = static_cast<char>(c);
        else
            size_ += put_char(c, word_.data() + size_);
    }

    void end_word() noexcept {
        put_waiting();
        if (chars_ && wanted_) wanted_ = sink_(user_, {word_.data(), chars_ > max_word_chars ? size_t{0} : size_});
        chars_ = size_ = 0;
    }

    const word_rules &rules_;
    const word_sink sink_;
    void *const user_;
    bool wanted_ = true;
    std::array<char, 4 * max_word_chars> word_;
    size_t size_ = 0, chars_ = 0;
    std::array<waiting_char, max_word_chars + 1> waiting_;  // combining characters whose run has not ended
    size_t n_waiting_ = 0;
};

}  // namespace

void split_words(const word_rules &rules, std::string_view text, word_sink sink, void *user) noexcept {
    splitter(rules, sink, user).run(text);
}

}  // namespace ss1
