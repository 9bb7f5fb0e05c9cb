// SPDX-License-Identifier: Apache-2.0
// Runs the library across process boundaries: forks of all kinds, exec, dlclose, exit, signals. Each case is a process
// of its own with a time limit, which opens the library by dlopen and compares every result with the first one bit by
// bit. One boundary is that to the system: a run makes no system calls but those of threads.
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "sanitizers.hpp"
#include "ss1/ss1.h"

extern char **environ;

#if THREAD_SANITIZER
#error "ThreadSanitizer supports no child of fork() that starts threads"
#endif
#if ADDRESS_SANITIZER
// exit() while threads run leaks what they use. The other tests search for leaks.
extern "C" const char *__asan_default_options() {
    return "detect_leaks=0";
}
#endif

namespace {
std::atomic<bool> out_of_memory{false};
}

#if !ADDRESS_SANITIZER
extern "C" void *__libc_malloc(size_t bytes);
extern "C" void *malloc(size_t bytes) {
    return out_of_memory.load(std::memory_order_relaxed) ? nullptr : __libc_malloc(bytes);
}
#endif

namespace {

constexpr unsigned seconds_per_case = 60;

const char *library_path, *data_path;

#define API(F)               \
    F(ss1_last_error)        \
    F(ss1_context_create)    \
    F(ss1_context_destroy)   \
    F(ss1_layer_create)      \
    F(ss1_layer_run)         \
    F(ss1_layer_destroy)     \
    F(ss1_model_load)        \
    F(ss1_model_destroy)     \
    F(ss1_session_create)    \
    F(ss1_session_run)       \
    F(ss1_session_destroy)   \
    F(ss1_tokenizer_load)    \
    F(ss1_tokenizer_encode)  \
    F(ss1_tokenizer_destroy) \
    F(ss1_project)           \
    F(ss1_expand)

struct api {
#define FIELD(name) decltype(&::name) name = nullptr;
    API(FIELD)
    void *handle = nullptr;
};

void require(bool good, const char *what, const api *lib = nullptr) {
    if (good) return;
    std::fprintf(stderr, "  %s%s%s\n", what, lib ? ": " : "", lib ? lib->ss1_last_error() : "");
    _exit(1);
}

api open_library() {
    api lib;
    lib.handle = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    require(lib.handle, "dlopen failed");
#define FIND(name)                                                             \
    lib.name = reinterpret_cast<decltype(lib.name)>(dlsym(lib.handle, #name)); \
    require(lib.name, #name " is missing");
    API(FIND)
    return lib;
}

// ---- what is made and run

using bytes = std::string;

template <class T>
void append(bytes &to, const std::vector<T> &values) {
    to.append(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

std::vector<float> numbers(size_t n) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>((i * 7919 + 13) % 101) / 101.0f - 0.5f;
    return values;
}

struct subject {
    const char *name;
    void *(*make)(const api &, ss1_context *);
    bytes (*run)(const api &, void *);
    void (*destroy)(const api &, void *);
};

constexpr size_t layer_size = 384;  // its weights share a chunk of the context's

void *make_layer(const api &lib, ss1_context *context) {
    const std::vector<float> z = numbers(layer_size * layer_size);
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = desc.N = layer_size;
    ss1_linear_weights weights = SS1_LINEAR_WEIGHTS_INIT;
    weights.z = z.data();
    ss1_layer *layer = nullptr;
    require(lib.ss1_layer_create(context, &desc, &weights, &layer) == SS1_OK, "layer", &lib);
    return layer;
}

bytes run_layer(const api &lib, void *made) {
    constexpr size_t m = 64;
    const std::vector<float> x = numbers(m * layer_size);
    std::vector<float> y(m * layer_size);
    ss1_linear_args args = SS1_LINEAR_ARGS_INIT;
    args.m = m;
    args.x = x.data();
    args.y = y.data();
    require(lib.ss1_layer_run(static_cast<ss1_layer *>(made), &args) == SS1_OK, "layer", &lib);
    bytes result;
    append(result, y);
    return result;
}

void destroy_layer(const api &lib, void *made) {
    auto *layer = static_cast<ss1_layer *>(made);
    lib.ss1_layer_destroy(&layer);
}

constexpr size_t batch = 16, tokens = 16;

void *make_model(const api &lib, ss1_context *context) {
    ss1_model *model = nullptr;
    const std::string directory = data_path + std::string("/bert_classifier");
    require(lib.ss1_model_load(context, directory.c_str(), nullptr, &model) == SS1_OK, "model", &lib);
    ss1_session_options options = SS1_SESSION_OPTIONS_INIT;
    options.max_batch = batch;
    ss1_session *session = nullptr;
    require(lib.ss1_session_create(model, &options, &session) == SS1_OK, "session", &lib);
    lib.ss1_model_destroy(&model);
    return session;
}

template <class T>
ss1_tensor tensor_of(const char *name, ss1_dtype dtype, std::vector<T> &values) {
    ss1_tensor tensor = SS1_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = 2;
    tensor.shape[0] = batch;
    tensor.shape[1] = static_cast<int64_t>(values.size() / batch);
    tensor.data = values.data();
    tensor.bytes = values.size() * sizeof(T);
    return tensor;
}

bytes run_model(const api &lib, void *made) {
    std::vector<int64_t> ids(batch * tokens), mask(batch * tokens, 1);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i * 31 % 100);
    std::vector<float> logits(batch * 3);
    const ss1_tensor inputs[] = {tensor_of("input_ids", SS1_DTYPE_I64, ids),
                                 tensor_of("attention_mask", SS1_DTYPE_I64, mask)};
    ss1_tensor output = tensor_of("logits", SS1_DTYPE_F32, logits);
    require(lib.ss1_session_run(static_cast<ss1_session *>(made), inputs, 2, &output, 1) == SS1_OK, "run", &lib);
    bytes result;
    append(result, logits);
    return result;
}

void destroy_model(const api &lib, void *made) {
    auto *session = static_cast<ss1_session *>(made);
    lib.ss1_session_destroy(&session);
}

[[maybe_unused]] void *make_tokenizer(const api &lib, ss1_context *context) {
    ss1_tokenizer *tokenizer = nullptr;
    const std::string directory = data_path + std::string("/tokenizer");
    require(lib.ss1_tokenizer_load(context, directory.c_str(), &tokenizer) == SS1_OK, "tokenizer", &lib);
    return tokenizer;
}

[[maybe_unused]] bytes run_tokenizer(const api &lib, void *made) {
    constexpr size_t n = 64;
    const char words[] = "\xc3\x89t\xc3\xa9 at the caf\xc3\xa9, \xe6\xbc\xa2\xe5\xad\x97 and more";
    ss1_text text = SS1_TEXT_INIT;
    text.data = words;
    text.bytes = sizeof words - 1;
    const std::vector<ss1_text> texts(n, text);
    std::vector<int64_t> ids(n * tokens);
    ss1_tokenize_args args = SS1_TOKENIZE_ARGS_INIT;
    args.n = n;
    args.first = texts.data();
    args.max_tokens = tokens;
    args.input_ids = ids.data();
    require(lib.ss1_tokenizer_encode(static_cast<ss1_tokenizer *>(made), &args) == SS1_OK, "encode", &lib);
    bytes result;
    append(result, ids);
    return result;
}

[[maybe_unused]] void destroy_tokenizer(const api &lib, void *made) {
    auto *tokenizer = static_cast<ss1_tokenizer *>(made);
    lib.ss1_tokenizer_destroy(&tokenizer);
}

bytes run_project(const api &lib, void *) {
    constexpr size_t K = 256, N = 48;
    ss1_linear_desc desc = SS1_LINEAR_DESC_INIT;
    desc.K = K;
    desc.N = N;
    desc.c = 4;
    std::vector<float> weight = numbers(K * N), moment(K * K), z(K / 4 * N), plain(K / 4 * N);
    for (size_t k = 0; k < K; ++k) moment[k * K + k] = 1 + static_cast<float>(k % 7);
    const ss1_status by_moment = lib.ss1_project(&desc, weight.data(), 0, moment.data(), z.data(), 0);
    require(by_moment == SS1_OK, "project by moment", &lib);
    require(lib.ss1_project(&desc, weight.data(), 0, nullptr, plain.data(), 0) == SS1_OK, "project", &lib);
    require(lib.ss1_expand(&desc, z.data(), 0, weight.data(), 0) == SS1_OK, "expand", &lib);
    bytes result;
    append(result, plain);
    append(result, weight);
    return result;
}

constexpr subject subjects[] = {
    {"layer", make_layer, run_layer, destroy_layer},
    {"model", make_model, run_model, destroy_model},
#ifdef SS1_TEST_TOKENIZER
    {"tokenizer", make_tokenizer, run_tokenizer, destroy_tokenizer},
#endif
    {"project", [](const api &, ss1_context *) -> void * { return nullptr; }, run_project, [](const api &, void *) {}},
};

// ---- how runs get their threads

struct executor {
    const char *name;
    uint32_t num_threads;
    ss1_parallel_for_fn parallel_for;
    bool keeps_threads = false;  // in parallel_for, and misses them in a child of fork()
};

#ifdef _OPENMP
// As in docs/threads.md.
void run_on_openmp(void *, size_t n, void (*task)(void *, size_t), void *arg) {
#pragma omp parallel for schedule(static, 1) num_threads(2)
    for (long i = 0; i < static_cast<long>(n); ++i) task(arg, static_cast<size_t>(i));
}
#endif

constexpr executor executors[] = {{"pool", 2, nullptr},
                                  {"parallel_for", 2, ss1_test::run_on_threads},
#ifdef _OPENMP
                                  {"OpenMP", 2, run_on_openmp, true},
#endif
                                  {"one thread", 1, nullptr}};

// The library with a context and one subject, which has run once.
struct house {
    api lib = open_library();
    const subject *what;
    ss1_context *context = nullptr;
    void *made = nullptr;
    bytes want;

    house(const subject &of, const executor &on) : what(&of) {
        ss1_context_options options = SS1_CONTEXT_OPTIONS_INIT;
        options.num_threads = on.num_threads;
        options.parallel_for = on.parallel_for;
        require(lib.ss1_context_create(&options, &context) == SS1_OK, "context", &lib);
        made = of.make(lib, context);
        want = of.run(lib, made);
    }

    // Runs what there is and what is made anew.
    bool works() {
        if (what->run(lib, made) != want) return false;
        void *fresh = what->make(lib, context);
        const bool good = what->run(lib, fresh) == want;
        what->destroy(lib, fresh);
        return good;
    }

    void close() {
        what->destroy(lib, made);
        lib.ss1_context_destroy(&context);
        dlclose(lib.handle);
    }
};

// ---- the boundaries

bool succeeded(pid_t child) {
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child) return false;
    if (WIFSIGNALED(status)) std::fprintf(stderr, "  a child ended by signal %d\n", WTERMSIG(status));
    return status == 0;
}

template <class F>
bool child_succeeds(F &&f) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(seconds_per_case / 2);  // alarms are not inherited
        _exit(f() ? 0 : 1);
    }
    return succeeded(child);
}

bool forks(house &h) {
    return child_succeeds([&] { return h.works(); }) && h.works();
}

bool forks_twice(house &h) {
    const auto works = [&] { return h.works(); };
    return child_succeeds([&] { return child_succeeds(works); }) &&
           child_succeeds([&] { return h.works() && child_succeeds(works) && h.works(); }) && h.works();
}

bool forks_without_memory(house &h) {
    out_of_memory = !ADDRESS_SANITIZER;
    const pid_t child = fork();
    out_of_memory = false;
    if (child == 0) {
        alarm(seconds_per_case / 2);
        _exit(h.works() ? 0 : 1);
    }
    return succeeded(child) && h.works();
}

// Calls f while two threads make, run and destroy. They last until f returns.
template <class F>
bool beside_others(house &h, F &&f) {
    std::atomic<bool> stop{false}, good{true};
    std::vector<std::thread> others;
    for (int t = 0; t < 2; ++t)
        others.emplace_back([&] {
            while (!stop) {
                void *fresh = h.what->make(h.lib, h.context);
                if (h.what->run(h.lib, fresh) != h.want) good = false;
                h.what->destroy(h.lib, fresh);
            }
        });
    const bool result = f();
    stop = true;
    for (std::thread &other : others) other.join();
    return result && good;
}

[[maybe_unused]] bool forks_beside_others(house &h) {
    return beside_others(h, [&] {
        for (int i = 0; i < 20; ++i)
            if (!child_succeeds([&] { return h.works(); })) return false;
        return true;
    });
}

// This program, for one run of its own.
struct command_line {
    const char *arguments[7];
    command_line(const house &h, const executor &on)
        : arguments{"process_test", library_path, data_path, "--alone", h.what->name, on.name, nullptr} {}
    char **get() { return const_cast<char **>(arguments); }
};

bool executes(house &h, const executor &on) {
    command_line line(h, on);
    return beside_others(h, [&] {
        const pid_t child = vfork();
        if (child == 0) {
            execve("/proc/self/exe", line.get(), environ);
            _exit(1);
        }
        return succeeded(child);
    });
}

bool spawns(house &h, const executor &on) {
    command_line line(h, on);
    return beside_others(h, [&] {
        pid_t child = -1;
        return posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, line.get(), environ) == 0 && succeeded(child);
    });
}

bool closes_the_library(const subject &of, const executor &on) {
    bytes want;
    for (int i = 0; i < 100; ++i) {
        house h(of, on);
        if (i > 0 && h.want != want) return false;
        want = h.want;
        h.close();
    }
    return true;
}

// exit() ends the process, and with it the threads in the library.
bool exits(house &h) {
    beside_others(h, [] {
        usleep(20'000);
        std::exit(0);
        return false;
    });
    return false;
}

std::atomic<long> signals{0};

// Runs what there is and makes it anew 20 times and for 200 signals, which come every millisecond and also take the
// place of the alarm. The system restarts the calls that they interrupt, or with flags = 0 lets them fail with EINTR.
bool survives_signals(house &h, int flags) {
    struct sigaction action = {};
    action.sa_handler = [](int) {
        if (++signals > 1000 * long{seconds_per_case}) _exit(1);
    };
    action.sa_flags = flags;
    itimerval every{};
    every.it_interval.tv_usec = every.it_value.tv_usec = 1000;
    signals = 0;
    if (sigaction(SIGALRM, &action, nullptr) || setitimer(ITIMER_REAL, &every, nullptr)) return false;
    bool good = true;
    for (int i = 0; good && (i < 20 || signals < 200); ++i) good = h.works();
    every = {};
    setitimer(ITIMER_REAL, &every, nullptr);
    signal(SIGALRM, SIG_DFL);
    alarm(seconds_per_case);
    return good;
}

#if !ADDRESS_SANITIZER
// From now on a system call that this list lacks ends the process.
bool forbid_system_calls() {
    const auto number = static_cast<uint32_t>(offsetof(seccomp_data, nr));
    std::vector<sock_filter> filter = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number)};
    for (const uint32_t allowed : {SYS_futex, SYS_exit_group, SYS_getrusage, SYS_write}) {
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed, 0, 1));
        filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

long page_faults() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

// After the first runs one calls the system only to wait for and wake threads, and touches no new page.
bool runs_quietly(const subject &of, const executor &on) {
    mallopt(M_MMAP_THRESHOLD, 1 << 24);  // the vectors of this program stay in its heap
    mallopt(M_TRIM_THRESHOLD, 1 << 24);
    house h(of, on);
    for (int i = 0; i < 5; ++i) require(of.run(h.lib, h.made) == h.want, "other bits");
    require(forbid_system_calls(), "no filter for system calls");
    const long before = page_faults();
    for (int i = 0; i < 20; ++i) require(of.run(h.lib, h.made) == h.want, "other bits");
    require(page_faults() == before, "page faults");
    _exit(0);
}
#endif

struct boundary {
    const char *name;
    bool (*crosses)(const subject &, const executor &);
    enum { on_all, not_on_kept_threads, not_on_parallel_for } where = on_all;

    bool takes(const executor &on) const {
        return where == on_all || !on.parallel_for || (where == not_on_kept_threads && !on.keeps_threads);
    }
};

#define OF_HOUSE(call)                          \
    [](const subject &of, const executor &on) { \
        house h(of, on);                        \
        return call;                            \
    }

constexpr boundary boundaries[] = {
    {"fork", OF_HOUSE(forks(h)), boundary::not_on_kept_threads},
    {"fork of a fork", OF_HOUSE(forks_twice(h)), boundary::not_on_kept_threads},
    {"fork without memory", OF_HOUSE(forks_without_memory(h)), boundary::not_on_kept_threads},
#if !ADDRESS_SANITIZER  // clang 14 does not lock its allocator for fork(): a child may wait for it for ever
    {"fork beside threads that make and run", OF_HOUSE(forks_beside_others(h)), boundary::not_on_kept_threads},
    {"system calls and page faults of a run", runs_quietly, boundary::not_on_parallel_for},  // it starts threads
#endif
    {"vfork and exec", OF_HOUSE(executes(h, on))},
    {"posix_spawn", OF_HOUSE(spawns(h, on))},
    {"dlopen and dlclose 100 times", closes_the_library},
    {"signals every millisecond", OF_HOUSE(survives_signals(h, 0))},
    {"signals every millisecond that restart calls", OF_HOUSE(survives_signals(h, SA_RESTART))},
    {"exit beside threads that make and run", OF_HOUSE(exits(h))},
};

int run_alone(const char *subject_name, const char *executor_name) {
    for (const subject &of : subjects)
        for (const executor &on : executors)
            if (!std::strcmp(of.name, subject_name) && !std::strcmp(on.name, executor_name)) {
                house h(of, on);
                const bool good = h.works();
                h.close();
                return good ? 0 : 1;
            }
    return 1;
}

}  // namespace

// process_test LIBSS1 DATA [WORD...]: the cases whose name has all the words.
int main(int argc, char **argv) {
    if (argc < 3) return std::fprintf(stderr, "usage: process_test LIBSS1 DATA [WORD...]\n"), 2;
    library_path = argv[1];
    data_path = argv[2];
    if (argc == 6 && !std::strcmp(argv[3], "--alone")) return run_alone(argv[4], argv[5]);
    int cases = 0, failures = 0;
    for (const boundary &b : boundaries)
        for (const executor &on : executors) {
            std::vector<std::pair<std::string, pid_t>> started;  // the subjects at once
            for (const subject &of : subjects) {
                const std::string name = std::string(of.name) + ", " + on.name + ": " + b.name;
                bool wanted = true;
                for (int i = 3; i < argc; ++i) wanted = wanted && name.find(argv[i]) != name.npos;
                if (!wanted || !b.takes(on)) continue;
                const pid_t child = fork();
                if (child == 0) {
                    alarm(seconds_per_case);
                    _exit(b.crosses(of, on) ? 0 : 1);
                }
                started.emplace_back(name, child);
            }
            for (const auto &[name, child] : started) {
                ++cases;
                if (!succeeded(child)) ++failures, std::fprintf(stderr, "FAILED: %s\n", name.c_str());
            }
        }
    std::printf("%d cases, %d failed\n", cases, failures);
    return failures || !cases ? 1 : 0;
}
