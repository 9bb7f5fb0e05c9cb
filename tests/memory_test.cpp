// SPDX-License-Identifier: Apache-2.0
// Where packed weights lie.
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "arena.hpp"
#include "context.hpp"
#include "ss1/ss1.hpp"

namespace {

constexpr size_t kb = 1024, mb = kb * kb;

}  // namespace

TEST_CASE("an arena's blocks are aligned, apart and theirs until they are freed") {
    ss1::arena arena;
    struct block {
        unsigned char *p;
        size_t bytes;
    };
    std::vector<block> blocks;
    unsigned char value = 0;
    const auto make = [&](size_t bytes) {
        REQUIRE(ss1::arena::serves(bytes));
        auto *p = static_cast<unsigned char *>(arena.alloc(bytes));
        REQUIRE(p);
        CHECK(reinterpret_cast<uintptr_t>(p) % 64 == 0);
        std::memset(p, value++, bytes);
        blocks.push_back({p, bytes});
    };
    // More than one chunk of 8 MB holds; every third goes again at once.
    for (int i = 0; i < 40; ++i) {
        make(64 * kb + static_cast<size_t>(i) * 37 * 1009);
        if (i % 3 == 2) {
            arena.free(blocks.back().p, blocks.back().bytes);
            blocks.pop_back();
            --value;
        }
    }
    make(4 * mb);
    for (size_t i = 0; i < blocks.size(); ++i)
        for (size_t at = 0; at < blocks[i].bytes; at += 997) REQUIRE(blocks[i].p[at] == i);
    for (const block &b : blocks) arena.free(b.p, b.bytes);
    CHECK(arena.alloc(mb));  // all chunks are gone: a new one
}

TEST_CASE("an arena serves what pays: neither small blocks nor those that get huge pages of their own") {
    CHECK(!ss1::arena::serves(64 * kb - 1));
    CHECK(ss1::arena::serves(64 * kb));
    CHECK(ss1::arena::serves(4 * mb));
    CHECK(!ss1::arena::serves(4 * mb + 1));
}

TEST_CASE("packed weights come from the caller's allocator if there is one") {
    ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
    static size_t asked = 0;
    asked = 0;
    options.alloc = [](void *, size_t bytes, size_t alignment) {
        asked += bytes;
        return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    options.free = [](void *, void *p, size_t) { std::free(p); };
    const auto own = ss1::make_context(options), usual = ss1::make_context();
    CHECK(ss1::weight_memory(*own, mb).alloc == options.alloc);
    CHECK(ss1::weight_memory(*usual, mb).alloc);
    CHECK(!ss1::weight_memory(*usual, kb).alloc);
    ss1::buffer block;
    REQUIRE(block.allocate(ss1::weight_memory(*own, mb), mb) == SS1_OK);
    CHECK(asked == mb);
}
