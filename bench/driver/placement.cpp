// SPDX-License-Identifier: Apache-2.0
#include "driver/placement.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace ss1::bench {
namespace {

struct setting {
    const char *name, *value;
};

std::vector<setting> settings() {
    std::vector<setting> list = {
        {"GOMP_SPINCOUNT", "30000"}, {"KMP_BLOCKTIME", "1"}, {"OPENBLAS_THREAD_TIMEOUT", "20"}};
#if defined(__x86_64__)
    // OpenBLAS 0.3.21 treats an unknown CPU model as one with SSE3 and is then four times slower.
    list.push_back({"OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SkylakeX" : "Haswell"});
#endif
    return list;
}

}  // namespace

void restart_with_pool_settings() {
    bool complete = true;
    for (const auto &[name, value] : settings()) {
        complete = complete && std::getenv(name);
        setenv(name, value, 0);
    }
    if (complete) return;
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) words.push_back(word);
    std::vector<char *> arguments;
    for (std::string &word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    if (!words.empty()) execv("/proc/self/exe", arguments.data());
    // Without /proc: libraries that are loaded later still see the settings.
}

nlohmann::ordered_json pool_settings() {
    nlohmann::ordered_json values;
    for (const auto &[name, value] : settings()) values[name] = std::getenv(name);
    return values;
}

pinned::pinned(size_t threads) : on_(threads == 1) {
    if (!on_) return;
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &before_)) {
            CPU_SET(cpu, &one);
            break;
        }
    sched_setaffinity(0, sizeof one, &one);
}

pinned::~pinned() {
    if (on_) sched_setaffinity(0, sizeof before_, &before_);
}

}  // namespace ss1::bench
