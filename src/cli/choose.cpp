// SPDX-License-Identifier: Apache-2.0
#include "cli/choose.hpp"

#include <algorithm>
#include <cmath>

namespace ss1::cli {
namespace {

using group = std::vector<time_and_error>;

// The candidates on the lower convex hull, from the fastest to that of the least error.
std::vector<size_t> hull(const group &candidates) {
    std::vector<size_t> order;
    for (size_t i = 0; i < candidates.size(); ++i)
        if (std::isfinite(candidates[i].us)) order.push_back(i);
    std::ranges::sort(order, [&](size_t a, size_t b) {
        const time_and_error &l = candidates[a], &r = candidates[b];
        return l.us != r.us ? l.us < r.us : l.error < r.error;
    });
    const auto slope = [&](size_t from, size_t to) {  // error that a microsecond saves
        return (candidates[from].error - candidates[to].error) / (candidates[to].us - candidates[from].us);
    };
    std::vector<size_t> on_hull;
    for (const size_t next : order) {
        if (!on_hull.empty() && candidates[next].error >= candidates[on_hull.back()].error) continue;
        while (on_hull.size() > 1 && slope(on_hull[on_hull.size() - 2], on_hull.back()) <= slope(on_hull.back(), next))
            on_hull.pop_back();
        on_hull.push_back(next);
    }
    return on_hull;
}

// A step along the hull of a group.
struct step {
    size_t group, to;
    double us, saved;

    double saved_per_us() const { return saved / us; }
};

std::vector<step> steps_of(std::span<const group> groups, std::vector<size_t> &fastest) {
    std::vector<step> steps;
    for (size_t g = 0; g < groups.size(); ++g) {
        const std::vector<size_t> along = hull(groups[g]);
        fastest.push_back(along[0]);
        for (size_t i = 1; i < along.size(); ++i) {
            const time_and_error &from = groups[g][along[i - 1]], &to = groups[g][along[i]];
            steps.push_back({g, along[i], to.us - from.us, from.error - to.error});
        }
    }
    std::ranges::stable_sort(steps, std::greater(), &step::saved_per_us);
    return steps;
}

// Spends what is left: the change of one group that saves most and fits, again and again.
void spend(std::span<const group> groups, std::vector<size_t> &chosen, double left) {
    for (bool found = true; found;) {
        found = false;
        step best = {0, 0, 0, 0};
        for (size_t g = 0; g < groups.size(); ++g) {
            const time_and_error &now = groups[g][chosen[g]];
            for (size_t i = 0; i < groups[g].size(); ++i) {
                const step change = {g, i, groups[g][i].us - now.us, now.error - groups[g][i].error};
                if (change.us <= left && change.saved > best.saved) best = change, found = true;
            }
        }
        if (!found) return;
        chosen[best.group] = best.to;
        left -= best.us;
    }
}

}  // namespace

std::vector<size_t> choose(std::span<const group> groups, double most_us) {
    std::vector<size_t> chosen;
    const std::vector<step> steps = steps_of(groups, chosen);
    double left = most_us * (1 + 1e-12) - least_us(groups);  // sums are rounded: what takes all of the time must fit
    if (left < 0) return chosen;
    std::vector<bool> is_full(groups.size());  // a group whose next step does not fit takes none of the later ones
    for (const step &next : steps) {
        if (is_full[next.group]) continue;
        is_full[next.group] = next.us > left;
        if (is_full[next.group]) continue;
        chosen[next.group] = next.to;
        left -= next.us;
    }
    spend(groups, chosen, left);
    return chosen;
}

double least_us(std::span<const group> groups) {
    double sum = 0;
    for (const group &candidates : groups) sum += std::ranges::min_element(candidates, {}, &time_and_error::us)->us;
    return sum;
}

}  // namespace ss1::cli
