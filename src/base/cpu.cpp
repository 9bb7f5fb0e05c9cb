// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ss1 {
namespace {

#if defined(__x86_64__)

constexpr isa_level levels[] = {
    {"none", isa::none},
    {"sse4", isa::sse4},
    {"avx2", isa::avx2},
    {"avxvnni", isa::avxvnni},
    {"avx512", isa::avx512},
    {"avx512vnni", isa::avx512vnni},
    {"avx512bf16", isa::avx512bf16},
    {"avx512bf16_fast", isa::avx512bf16_fast},
    {"avx512fp16", isa::avx512fp16},
    {"amx_bf16", isa::amx_bf16},
    {"amx_int8", isa::amx_int8},
};

struct cpuid_result {
    uint32_t a = 0, b = 0, c = 0, d = 0;
};

cpuid_result cpuid(uint32_t leaf, uint32_t subleaf) noexcept {
    cpuid_result r;
    if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return {};
    return r;
}

bool all(uint32_t word, std::initializer_list<int> bits) noexcept {
    return std::all_of(bits.begin(), bits.end(), [word](int bit) { return (word >> bit) & 1; });
}

uint64_t read_xcr0() noexcept {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

// By vendor, not by a measurement: the kernels of a machine, and so its bits, must not depend on noise. AMD's cores
// that have vdpbf16ps (Zen 4 and 5) issue it as often as an FMA, Intel's half as often.
bool is_amd() noexcept {
    const cpuid_result vendor = cpuid(0, 0);
    return vendor.b == signature_AMD_ebx && vendor.d == signature_AMD_edx && vendor.c == signature_AMD_ecx;
}

isa::mask detect() noexcept {
    const cpuid_result l1 = cpuid(1, 0), l7 = cpuid(7, 0), l71 = cpuid(7, 1), ext = cpuid(0x80000001u, 0);
    isa::mask found = 0;
    // Highway's SSE4 target needs SSE3, PCLMUL, SSSE3, SSE4.1, SSE4.2 and AES.
    if (all(l1.c, {0, 1, 9, 19, 20, 25})) found |= isa::sse4;
    const uint64_t xcr0 = all(l1.c, {27}) ? read_xcr0() : 0;
    const bool ymm = (xcr0 & 0x6) == 0x6, zmm = (xcr0 & 0xe6) == 0xe6, tiles = (xcr0 >> 17 & 3) == 3;
    // Highway's AVX2 target and our own flags need AVX, FMA, F16C, BMI1, AVX2, BMI2 and LZCNT.
    if (!(ymm && (found & isa::sse4) && all(l1.c, {12, 28, 29}) && all(l7.b, {3, 5, 8}) && all(ext.c, {5})))
        return found;
    found |= isa::avx2;
    if (all(l71.a, {4})) found |= isa::avxvnni;
    if (!(zmm && all(l7.b, {16, 17, 28, 30, 31}))) return found;
    found |= isa::avx512;
    if (all(l7.c, {11})) found |= isa::avx512vnni;
    if (all(l71.a, {5})) found |= isa::avx512bf16 | (is_amd() ? isa::avx512bf16_fast : isa::none);
    if (all(l7.d, {23})) found |= isa::avx512fp16;
    // AMX also needs the system's permission: see amx.hpp.
    if (tiles && all(l7.d, {24})) {
        if (all(l7.d, {22})) found |= isa::amx_bf16;
        if (all(l7.d, {25})) found |= isa::amx_int8;
    }
    return found;
}

#elif defined(__aarch64__)

constexpr isa_level levels[] = {
    {"none", isa::none},         {"neon", isa::neon},         {"neondot", isa::neondot},
    {"neoni8mm", isa::neoni8mm}, {"neonbf16", isa::neonbf16},
};

isa::mask detect() noexcept {
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    isa::mask found = cap & HWCAP_ASIMD ? isa::neon : isa::none;
    if (cap & HWCAP_ASIMDDP) found |= isa::neondot;
    if (cap2 & HWCAP2_I8MM) found |= isa::neoni8mm;
    if (cap2 & HWCAP2_BF16) found |= isa::neonbf16;
    return found;
}

#else

constexpr isa_level levels[] = {{"none", isa::none}};
isa::mask detect() noexcept {
    return isa::none;
}

#endif

std::string first_line(const std::string &path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// Whether the comma-separated list contains the word.
bool lists(const std::string &list, const char *word) {
    std::istringstream words(list);
    for (std::string each; std::getline(words, each, ',');)
        if (each == word) return true;
    return false;
}

// Returns the CPUs that the quota of this cgroup grants: v2 cpu.max ("50000 100000" or "max 100000"), v1 cfs_quota (-1:
// none); 0 means no quota.
double quota_of(const std::string &cgroup, bool v2) {
    double limit = 0, period = 100000;
    if (v2) {
        std::istringstream(first_line(cgroup + "/cpu.max")) >> limit >> period;
    } else {
        std::istringstream(first_line(cgroup + "/cpu.cfs_quota_us")) >> limit;
        std::istringstream(first_line(cgroup + "/cpu.cfs_period_us")) >> period;
    }
    return limit > 0 && period > 0 ? limit / period : 0;
}

const isa::mask found_isas = detect();

size_t cache_size(int name) noexcept {
    const long bytes = sysconf(name);
    return bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

}  // namespace

std::span<const isa_level> isa_levels() noexcept {
    return levels;
}

isa::mask cpu_detect_isas() noexcept {
    return found_isas;
}

cache_sizes cpu_caches() noexcept {
    return {cache_size(_SC_LEVEL1_DCACHE_SIZE), cache_size(_SC_LEVEL2_CACHE_SIZE), cache_size(_SC_LEVEL3_CACHE_SIZE)};
}

std::string cpu_model_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.rfind("model name", 0) == 0) return line.substr(std::min(line.size(), line.find(':') + 2));
    return "unknown CPU";
}

double cpu_cgroup_quota(const std::string &root) {
    double quota = 0;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        std::istringstream fields(line);  // "hierarchy:controllers:path"; the path may contain colons
        std::string hierarchy, controllers, path;
        if (!std::getline(fields, hierarchy, ':') || !std::getline(fields, controllers, ':') ||
            !std::getline(fields, path))
            continue;
        const bool v2 = hierarchy == "0" && controllers.empty();
        if (!v2 && !lists(controllers, "cpu")) continue;
        const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
        for (;; path.resize(path.find_last_of('/'))) {
            const double granted = quota_of(mount + path, v2);
            if (granted > 0 && (quota == 0 || granted < quota)) quota = granted;
            if (path.find('/') == path.npos) break;
        }
    }
    return quota;
}

cpu_budget cpu_usable_threads(const std::string &root) {
    cpu_set_t set;
    CPU_ZERO(&set);
    // With more than 1,024 CPUs the call fails with EINVAL; then use the hardware count.
    const bool have_mask = sched_getaffinity(0, sizeof set, &set) == 0;
    const uint32_t cpus =
        have_mask ? static_cast<uint32_t>(CPU_COUNT(&set)) : std::max(1u, std::thread::hardware_concurrency());
    std::ostringstream reason;
    reason << (have_mask ? "affinity mask of " : "hardware count of ") << cpus << (cpus == 1 ? " CPU" : " CPUs");
    const double quota = cpu_cgroup_quota(root);
    uint32_t threads = cpus;
    if (quota > 0) {
        reason << ", cgroup quota of " << quota;
        threads = static_cast<uint32_t>(std::min<double>(cpus, std::ceil(quota)));
    } else {
        reason << ", no cgroup quota";
    }
    return {std::max(1u, threads), reason.str()};
}

}  // namespace ss1
