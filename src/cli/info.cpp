// SPDX-License-Identifier: Apache-2.0
// ss1 info: shows the features that the library found on this machine, and its decisions.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <span>

#include "apps/format.hpp"
#include "apps/handles.hpp"
#include "apps/json.hpp"
#include "apps/output.hpp"
#include "cli/commands.hpp"
#include "cli/table.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

struct info_options {
    bool kernels = false;
    std::string format = "text";
};

json to_json(std::span<const ss1_info_item> items) {
    json list = json::array();
    for (const ss1_info_item &item : items)
        list.push_back({{"name", item.name}, {"used", item.used != 0}, {"reason", item.reason}});
    return list;
}

std::string to_text(const char *title, std::span<const ss1_info_item> items) {
    std::vector<table_row> rows = {{title, "used", "why"}};
    for (const ss1_info_item &item : items) rows.push_back({item.name, item.used ? "yes" : "no", item.reason});
    return '\n' + format_table(rows);
}

std::string cache_text(size_t bytes) {
    return bytes ? human_bytes(bytes) : "unknown";
}

std::vector<std::string> notes_on(const ss1_info &info) {
    std::vector<std::string> notes;
    const char *const omp = std::getenv("OMP_NUM_THREADS");
    if (omp && std::to_string(info.num_threads) != omp)
        notes.push_back(
            format("OMP_NUM_THREADS=%s is set, but ss1 does not follow it: SS1_NUM_THREADS and num_threads do", omp));
    return notes;
}

void run_info(const info_options &options) {
    const context_handle context = make_context();
    const ss1_info info = context_info(context);
    const std::span isas(info.isas, info.n_isas), backends(info.backends, info.n_backends),
        kernels(info.kernels, info.n_kernels);
    output out;
    if (options.format == "json") {
        json document = machine_info(info);
        document["caches"] = {{"l1d_bytes", info.l1d_bytes}, {"l2_bytes", info.l2_bytes}, {"l3_bytes", info.l3_bytes}};
        document["threads"] = info.num_threads;
        document["threads_reason"] = info.threads_reason;
        document["backend"] = info.backend;
        document["isas"] = to_json(isas);
        document["backends"] = to_json(backends);
        if (options.kernels) document["kernels"] = to_json(kernels);
        document["notes"] = notes_on(info);
        out.write(document.dump(2) + '\n');
    } else {
        out.write(
            format("ss1       %s\nCPU       %s\ncaches    L1d %s, L2 %s, L3 %s\nthreads   %u (%s)\nbackend   %s\n",
                   ss1_version(), info.cpu, cache_text(info.l1d_bytes).c_str(), cache_text(info.l2_bytes).c_str(),
                   cache_text(info.l3_bytes).c_str(), info.num_threads, info.threads_reason, info.backend));
        for (const std::string &note : notes_on(info)) out.write("note      " + note + '\n');
        out.write(to_text("instructions", isas));
        out.write(to_text("backend", backends));
        if (options.kernels) out.write(to_text("kernel", kernels));
    }
    out.close();
}

}  // namespace

void add_info(CLI::App &app) {
    const auto options = std::make_shared<info_options>();
    CLI::App &command =
        *app.add_subcommand("info", "Show the CPU, threads, instruction sets and kernels that are used, and why");
    command.add_flag("--kernels", options->kernels, "List every kernel");
    command.add_option("-o,--output-format", options->format, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    command.footer("Example: SS1_MAX_ISA=avx2 ss1 info --kernels");
    command.callback([options] { run_info(*options); });
}

}  // namespace ss1::cli
