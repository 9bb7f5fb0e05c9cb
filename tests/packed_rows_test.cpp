// SPDX-License-Identifier: Apache-2.0
// How the CUDA plugin packs the rows of a run. It needs no device.
#include <catch2/catch.hpp>
#include <vector>

#include "../cuda/packed_rows.hpp"

using namespace ss1::cuda;
using ss1::masked_key;

namespace {

struct packed {
    explicit packed(const token_batch &from)
        : ids(bucket_of(from.batch * from.tokens), -1),
          positions(ids),
          types(ids),
          starts(from.batch + 1, -1),
          mask(ids.size(), -1) {
        rows = {.ids = ids.data(),
                .positions = positions.data(),
                .types = types.data(),
                .starts = starts.data(),
                .mask = mask.data(),
                .rows = 0,
                .longest = 0,
                .hides = false};
        pack_rows(from, rows);
    }
    std::vector<int> ids, positions, types, starts;
    std::vector<float> mask;
    packed_rows rows;
};

template <class T>
std::vector<T> first(const std::vector<T> &values, size_t n) {
    return {values.begin(), values.begin() + static_cast<ptrdiff_t>(n)};
}

}  // namespace

TEST_CASE("a bucket has room for its rows, and wastes little") {
    size_t buckets = 0, before = 0;
    for (size_t rows = 1; rows <= most_graph_rows; ++rows) {
        const size_t bucket = bucket_of(rows);
        REQUIRE(bucket >= rows);
        REQUIRE(bucket % 16 == 0);
        REQUIRE((bucket - rows < 16 || bucket * 4 < rows * 5));
        buckets += bucket != before;
        before = bucket;
    }
    CHECK(buckets == 16 + 12 + 12);
    CHECK(bucket_of(most_graph_rows) == most_graph_rows);
    CHECK(bucket_of(most_graph_rows + 1) == most_graph_rows + 1);
}

TEST_CASE("rows are packed without the padding, and those behind them are token 0") {
    const std::vector<int64_t> ids = {5, 6, 7, 8, 9, 4, 3, 2}, mask = {1, 1, 0, 0, 1, 1, 1, 1},
                               types = {0, 1, 0, 0, 1, 1, 0, 1};
    const packed p(
        {.ids = ids.data(), .mask = mask.data(), .types = types.data(), .batch = 2, .tokens = 4, .padding = -1});
    CHECK(p.rows.rows == 6);
    CHECK(p.rows.longest == 4);
    CHECK(!p.rows.hides);
    CHECK(first(p.ids, 6) == std::vector<int>{5, 6, 9, 4, 3, 2});
    CHECK(first(p.positions, 6) == std::vector<int>{0, 1, 0, 1, 2, 3});
    CHECK(first(p.types, 6) == std::vector<int>{0, 1, 1, 1, 0, 1});
    CHECK(p.starts == std::vector<int>{0, 2, 6});
    CHECK(std::vector<int>(p.ids.begin() + 6, p.ids.end()) == std::vector<int>(10, 0));
    CHECK(p.mask == std::vector<float>(16, 0));
}

TEST_CASE("a mask that is no length keeps all rows and hides keys") {
    const std::vector<int64_t> ids = {5, 6, 7, 8, 9, 4}, mask = {1, 0, 1, 0, 0, 0};
    const packed p({.ids = ids.data(), .mask = mask.data(), .types = nullptr, .batch = 2, .tokens = 3, .padding = -1});
    CHECK(p.rows.rows == 6);
    CHECK(p.rows.hides);
    CHECK(first(p.mask, 6) == std::vector<float>{0, masked_key, 0, masked_key, masked_key, masked_key});
    CHECK(first(p.types, 6) == std::vector<int>(6, 0));
}

TEST_CASE("RoBERTa's positions skip padding") {
    const std::vector<int64_t> ids = {1, 7, 1, 8};
    const packed p({.ids = ids.data(), .mask = nullptr, .types = nullptr, .batch = 1, .tokens = 4, .padding = 1});
    CHECK(first(p.positions, 4) == std::vector<int>{1, 2, 1, 3});
}
