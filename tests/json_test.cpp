// SPDX-License-Identifier: Apache-2.0
// Compares the flat tree of JSON with nlohmann's, and counts its memory.
#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>

#include "check.hpp"
#include "io/json_writer.hpp"

// GCC warns that std::free() frees memory of the operator new below, though the pair matches.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace {

using nlohmann_json = nlohmann::json;

size_t news = 0, live_bytes = 0, most_bytes = 0;

void *counted_or_null(size_t bytes) noexcept {
    void *const p = std::malloc(bytes);
    if (!p) return p;
    ++news;
    live_bytes += malloc_usable_size(p);
    most_bytes = std::max(most_bytes, live_bytes);
    return p;
}

void *counted(size_t bytes) {
    void *const p = counted_or_null(bytes);
    if (!p) throw std::bad_alloc();
    return p;
}

void forget(void *p) noexcept {
    live_bytes -= malloc_usable_size(p);
    std::free(p);
}

}  // namespace

void *operator new(size_t bytes) {
    return counted(bytes);
}
void *operator new[](size_t bytes) {
    return counted(bytes);
}
// std::stable_sort() calls these; a sanitizer's own ones would not match the operators below.
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
    return counted_or_null(bytes);
}
void *operator new[](size_t bytes, const std::nothrow_t &) noexcept {
    return counted_or_null(bytes);
}
void operator delete(void *p) noexcept {
    forget(p);
}
void operator delete(void *p, size_t) noexcept {
    forget(p);
}
void operator delete[](void *p) noexcept {
    forget(p);
}
void operator delete[](void *p, size_t) noexcept {
    forget(p);
}

#pragma GCC diagnostic pop

namespace {

template <class Random>
std::string random_string(Random &random) {
    static const char *const parts[] = {
        "a", "b", "key", "\"", "\\", "\n", "\x01", "\xc3\xa9", "/", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "LABEL_", "0"};
    std::string text;
    for (size_t n = random() % 4; n-- > 0;) text += parts[random() % std::size(parts)];
    return text;
}

template <class Random>
nlohmann_json random_value(Random &random, int depth) {
    switch (random() % (depth ? 8 : 6)) {
        case 0:
            return nullptr;
        case 1:
            return random() % 2 == 0;
        case 2:
            return static_cast<uint64_t>(random()) * random();
        case 3:
            return -static_cast<int64_t>(random());
        case 4:
            return static_cast<double>(random()) / 7e5;
        case 5:
            return random_string(random);
        case 6: {
            auto list = nlohmann_json::array();
            for (size_t n = random() % 6; n-- > 0;) list.push_back(random_value(random, depth - 1));
            return list;
        }
        default: {
            auto object = nlohmann_json::object();
            for (size_t n = random() % 6; n-- > 0;) object[random_string(random)] = random_value(random, depth - 1);
            return object;
        }
    }
}

// An object of many labels, like the largest configurations that people have.
std::string labels(size_t n) {
    std::string text = "{\"id2label\": {";
    for (size_t i = 0; i < n; ++i) {
        const std::string number = std::to_string(i);
        text += (i ? ", \"" : "\"") + number + "\": \"LABEL_" + number + "\"";
    }
    return text + "}}";
}

}  // namespace

TEST_CASE("the tree has the values of the text") {
    auto random = ss1_test::seeded();
    for (int i = 0; i < 2000; ++i) {
        const nlohmann_json value = random_value(random, 5);
        const bool ascii = i % 2 == 0;  // with \u escapes
        const int indent = i % 3 - 1;
        ss1::json_document document;
        REQUIRE(ss1::json_parse(value.dump(indent, ' ', ascii), "text", {}, document) == SS1_OK);
        for (const int spaces : {0, 2}) {
            ss1::json_writer writer(static_cast<size_t>(spaces));
            writer.copy(document.root());
            REQUIRE(writer.take() == value.dump(spaces ? spaces : -1));
        }
    }
}

TEST_CASE("members are found by key, and null counts as absent on request") {
    ss1::json_document document;
    REQUIRE(ss1::json_parse(
                R"({"b": -7, "a": [1, 2.5, {"x": true}], "": "empty", "n": null, "long": 18446744073709551615})",
                "text", {}, document) == SS1_OK);
    const ss1::json &root = document.root();
    CHECK(root.size() == 5);
    CHECK(root.begin()->key().empty());
    REQUIRE(root.find("a"));
    const ss1::json &list = *root.find("a");
    CHECK(list.size() == 3);
    CHECK(list[0].natural() == 1);
    CHECK(list[1].number() == 2.5);
    CHECK(list[2].find("x")->boolean());
    CHECK(root.find("b")->number() == -7);
    CHECK(!root.find("b")->is_natural());
    CHECK(root.find("")->string() == "empty");
    CHECK(root.find("long")->natural() == UINT64_MAX);
    CHECK(!root.find("c"));
    CHECK(!list.find("a"));
    CHECK(root.find("n"));
    CHECK(!root.without_nulls().find("n"));
    CHECK(root.without_nulls().find("a") == &list);
}

TEST_CASE("a key that occurs twice is refused wherever it stands") {
    for (const char *text : {R"({"a": 1, "a": 2})", R"({"b": 1, "a": 2, "c": {}, "b": []})",
                             R"([[{"x": {"a": 1, "\u0061": 2}}]])", R"({"": 1, "x": 2, "": 3})"}) {
        ss1::json_document document;
        CHECK(ss1::json_parse(text, "text", {}, document) == SS1_ERROR_FORMAT);
        CHECK_THAT(ss1_last_error(), Catch::Contains("text: refused JSON: duplicate key '"));
    }
    std::string many = labels(10000);
    many.insert(many.size() - 2, ", \"77\": \"again\"");
    ss1::json_document document;
    CHECK(ss1::json_parse(many, "text", {}, document) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("duplicate key '77'"));
}

TEST_CASE("limits count every value and level") {
    const auto parse = [](const std::string &text, ss1::json_limits limits) {
        ss1::json_document document;
        return ss1::json_parse(text, "text", limits, document);
    };
    CHECK(parse("[1, [2, 3]]", {.values = 5}) == SS1_OK);
    CHECK(parse("[1, [2, 3]]", {.values = 4}) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("more than 4 values"));
    CHECK(parse("[1, [2, {}]]", {.depth = 3}) == SS1_OK);
    CHECK(parse("[1, [2, {}]]", {.depth = 2}) == SS1_ERROR_FORMAT);
    CHECK_THAT(ss1_last_error(), Catch::Contains("deeper than 2 levels"));
    CHECK(parse("[\",,,[[[\"]", {.values = 2}) == SS1_OK);  // not a separator in a string
    CHECK(parse("[]", {.bytes = 1}) == SS1_ERROR_FORMAT);
}

TEST_CASE("a document takes at most 3 times the bytes of a file of labels, and its end allocates nothing") {
    const std::string text = labels(40000);
    const size_t before = live_bytes;
    size_t news_before_end = 0;
    most_bytes = live_bytes;
    {
        ss1::json_document document;
        const ss1_status status = ss1::json_parse(text, "text", {}, document);
        REQUIRE(status == SS1_OK);
        REQUIRE(document.root().find("id2label")->size() == 40000);
        news_before_end = news;
    }
    const size_t news_after_end = news;
    CHECK(news_after_end == news_before_end);
    CHECK(live_bytes == before);
    CHECK(most_bytes - before <= 3 * text.size());
}
