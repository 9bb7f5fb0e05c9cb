// SPDX-License-Identifier: Apache-2.0
// Tests which quota of CPUs is found in the files of cgroups, below a folder that stands for the root.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "base/cpu.hpp"

namespace {

// A root with /proc/self/cgroup and the files of cgroups; removed at the end.
struct fake_root {
    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("ss1_cpu_test_" + std::to_string(getpid()));

    explicit fake_root(const std::string &cgroups) { write("proc/self/cgroup", cgroups); }
    fake_root(const fake_root &) = delete;
    fake_root &operator=(const fake_root &) = delete;
    ~fake_root() { std::filesystem::remove_all(folder); }

    fake_root &write(const std::string &path, const std::string &text) {
        std::filesystem::create_directories((folder / path).parent_path());
        std::ofstream(folder / path) << text;
        return *this;
    }
    double quota() const { return ss1::cpu_cgroup_quota(folder.string()); }
};

}  // namespace

TEST_CASE("a cgroup of version 2 grants what cpu.max says") {
    fake_root root("0::/system.slice/a:b\n");
    const std::string group = "sys/fs/cgroup/system.slice/a:b/cpu.max";
    CHECK(root.quota() == 0);  // no file
    for (const char *none : {"max 100000\n", "max\n", "", "0 100000\n", "-1 100000\n", "50000 0\n", "half\n"}) {
        INFO(none);
        CHECK(root.write(group, none).quota() == 0);
    }
    CHECK(root.write(group, "50000 100000\n").quota() == 0.5);
    CHECK(root.write(group, "150000 50000\n").quota() == 3);
    CHECK(root.write(group, "250000\n").quota() == 2.5);  // the kernel's default period
}

TEST_CASE("the least quota of a cgroup and its ancestors counts") {
    fake_root root("0::/outer/inner\n");
    root.write("sys/fs/cgroup/outer/inner/cpu.max", "400000 100000\n");
    CHECK(root.quota() == 4);
    root.write("sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
    CHECK(root.quota() == 1.5);
    root.write("sys/fs/cgroup/outer/cpu.max", "max 100000\n");
    CHECK(root.quota() == 4);
    // A container sees the limit of its own cgroup at the root, whatever path the file names.
    root.write("sys/fs/cgroup/cpu.max", "200000 100000\n");
    CHECK(root.quota() == 2);
}

TEST_CASE("a cgroup of version 1 grants its share of a period, if its hierarchy has the controller cpu") {
    fake_root root("12:cpuset:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job\n");
    const std::string group = "sys/fs/cgroup/cpu/job/cpu.";
    root.write(group + "cfs_period_us", "100000\n").write(group + "cfs_quota_us", "-1\n");
    CHECK(root.quota() == 0);
    CHECK(root.write(group + "cfs_quota_us", "150000\n").quota() == 1.5);
    CHECK(root.write(group + "cfs_period_us", "50000\n").quota() == 3);
    CHECK(root.write("proc/self/cgroup", "4:cpuacct,cpuset:/job\n").quota() == 0);
}

TEST_CASE("without or with unreadable files there is no quota") {
    CHECK(ss1::cpu_cgroup_quota("/does/not/exist") == 0);
    for (const char *text : {"", "\n", "0\n", "0:\n", "0:cpu\n", ":::\n", "0::\n", "x:cpu:\n"}) {
        INFO(text);
        CHECK(fake_root(text).quota() == 0);
    }
}

TEST_CASE("threads are the quota, rounded up, at most the CPUs of the affinity mask") {
    fake_root root("0::/\n");
    const auto threads = [&root] { return ss1::cpu_usable_threads(root.folder.string()).threads; };
    const uint32_t all = threads();
    CHECK(all >= 1);
    const auto granted = [&](const char *limit) {
        root.write("sys/fs/cgroup/cpu.max", limit);
        return threads();
    };
    CHECK(granted("1000 100000\n") == 1);
    CHECK(granted("100000 100000\n") == 1);
    CHECK(granted("100001 100000\n") == std::min(2u, all));
    CHECK(granted("1e12 100000\n") == all);
    granted("50000 100000\n");
    CHECK(ss1::cpu_usable_threads(root.folder.string()).reason.ends_with(", cgroup quota of 0.5"));
}
