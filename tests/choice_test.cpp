// SPDX-License-Identifier: Apache-2.0
// The choice of forms under a budget of time, beside a search through all of them, and the plot of the report.
#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <vector>

#include "check.hpp"
#include "cli/choose.hpp"
#include "cli/scatter.hpp"

namespace {

using namespace ss1::cli;
using groups = std::vector<std::vector<time_and_error>>;

struct total {
    double us = 0, error = 0;
};

total total_of(const groups &all, const std::vector<size_t> &chosen) {
    total sum;
    for (size_t g = 0; g < all.size(); ++g) {
        sum.us += all[g][chosen[g]].us;
        sum.error += all[g][chosen[g]].error;
    }
    return sum;
}

// The least error of any choice within `most_us`.
double least_error(const groups &all, double most_us) {
    double least = std::numeric_limits<double>::infinity();
    std::vector<size_t> chosen(all.size());
    for (;;) {
        if (const total sum = total_of(all, chosen); sum.us <= most_us) least = std::min(least, sum.error);
        size_t g = 0;
        while (g < all.size() && ++chosen[g] == all[g].size()) chosen[g++] = 0;
        if (g == all.size()) return least;
    }
}

groups random_groups(ss1_test::seeded &random, size_t n, size_t candidates) {
    groups all(n);
    for (auto &group : all) {
        group.push_back({10, 0});  // dense
        for (size_t i = 1; i < candidates; ++i)
            group.push_back(
                {5 + 4 * static_cast<double>(random.uniform()), 1.5 + static_cast<double>(random.uniform())});
    }
    return all;
}

}  // namespace

TEST_CASE("a choice keeps to its budget and is as good as any with one step less") {
    ss1_test::seeded random;
    for (int round = 0; round < 30; ++round) {
        const groups all = random_groups(random, 5, 5);
        const double least = least_us(all), largest_step = 9;
        for (const double share : {0.0, 0.1, 0.3, 0.6, 0.9, 1.0}) {
            const double budget = least + share * (50 - least);
            const total got = total_of(all, choose(all, budget));
            CHECK(got.us <= budget + 1e-9);
            CHECK(got.error >= least_error(all, budget) - 1e-9);
            if (budget - largest_step >= least) CHECK(got.error <= least_error(all, budget - largest_step) + 1e-9);
        }
        CHECK(total_of(all, choose(all, 50)).error == 0);
    }
}

TEST_CASE("all of the time lets every group have its least error, however the sums are rounded") {
    ss1_test::seeded random;
    for (int round = 0; round < 100; ++round) {
        groups all(8);
        double most = 0;
        for (auto &group : all) {
            for (const double error : {0.0, 0.1, 0.3})
                group.push_back({(1 - error) * (9 + static_cast<double>(random.uniform())), error});
            most += group[0].us;
        }
        CHECK(total_of(all, choose(all, most)).error == 0);
    }
}

TEST_CASE("a mixture beats each kind alone at equal time") {
    // Low rank is good in the first layer, tied in the second: {dense, low rank, tied}.
    const groups all = {{{10, 0}, {3, 0.01}, {2.5, 0.4}}, {{10, 0}, {3, 0.5}, {2.5, 0.02}}};
    const total got = total_of(all, choose(all, 6));
    CHECK(got.error == Approx(0.03));
    CHECK(got.error < total_of(all, {1, 1}).error);
    CHECK(got.error < total_of(all, {2, 2}).error);
}

TEST_CASE("a choice never takes what is slower without less error, or cannot be timed") {
    const double never = std::numeric_limits<double>::infinity();
    const groups all = {{{10, 0}, {never, -1}, {12, 0.1}}, {{1, 0}, {never, 0}}};
    CHECK(choose(all, 100) == std::vector<size_t>{0, 0});
    CHECK(least_us(all) == 11);
    // The fastest, where even they do not fit.
    CHECK(choose(groups{{{10, 0}, {4, 0.5}}}, 3) == std::vector<size_t>{1});
}

TEST_CASE("a plot has each point once, a ring for each mark, and escapes what is text") {
    const std::string svg =
        to_svg({"a < b & c",
                "us",
                "error",
                {"dense", "low rank"},
                "chosen",
                {{10, 0, 0, false, "\"dense\""}, {2.5, 1e-3, 1, true, "x"}, {0.5, 0.2, 1, false, "y"}}});
    const auto count = [&](const std::string &part) {
        size_t n = 0;
        for (size_t at = svg.find(part); at != svg.npos; at = svg.find(part, at + 1)) ++n;
        return n;
    };
    CHECK(count("<title>") == 3);
    CHECK(count("class=\"mark\"") == 2);  // one is in the legend
    CHECK(count("a &lt; b &amp; c") == 1);
    CHECK(count("&quot;dense&quot;") == 1);
    CHECK(count("prefers-color-scheme:dark") == 1);
    CHECK(svg.find("nan") == svg.npos);
    CHECK(to_svg({"", "", "", {}, "", {}}).find("nan") == std::string::npos);
}
