// SPDX-License-Identifier: Apache-2.0
// Tests the arena of packed weights and the guess of which of them are still in L2.
#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "base/arena.hpp"
#include "base/context.hpp"
#include "op/recent_weights.hpp"
#include "ss1/ss1.hpp"

namespace {

constexpr size_t kb = 1024, mb = kb * kb;

}  // namespace

TEST_CASE("an arena's blocks are aligned, separate and valid until they are freed") {
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
    // Fills more than one chunk of 8 MB; frees every third block at once.
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
    CHECK(arena.alloc(mb));  // needs a new chunk: all others are freed
}

TEST_CASE("an arena serves neither small blocks nor blocks that get huge pages of their own") {
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

TEST_CASE("weights count as recent until an L2 full of other weights was used") {
    std::thread([] {  // a new thread has an empty list
        const size_t l2 = 2 * mb;
        std::array<char, 64> w{};
        const auto run = [&](size_t i, size_t bytes) { return ss1::used_recently(&w[i], bytes, l2); };
        CHECK(!run(0, mb));  // first use
        CHECK(run(0, mb));
        CHECK(!run(1, mb / 2));
        CHECK(run(0, mb));  // after 0.5 MB of others
        CHECK(run(1, mb / 2));
        CHECK(!run(2, mb));
        CHECK(!run(0, mb));       // after 1.5 MB of others, and 1 MB itself
        CHECK(!run(3, 3 * mb));   // larger than L2,
        CHECK(!run(3, 3 * mb));   // never recent
        CHECK(run(4, 63 * kb));   // too small to be recorded
        CHECK(!run(5, 64 * kb));  // just large enough
        CHECK(run(5, 64 * kb));
        // Uses as many layers as the list holds, twice: all are recent. With one more layer none is.
        for (size_t i = 10; i < 41; ++i) run(i, 64 * kb);
        for (size_t i = 10; i < 41; ++i) CHECK(run(i, 64 * kb));
        for (size_t i = 10; i < 43; ++i) run(i, 64 * kb);
        for (size_t i = 10; i < 43; ++i) CHECK(!run(i, 64 * kb));
    })
        .join();
}
