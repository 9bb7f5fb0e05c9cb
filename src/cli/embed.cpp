// SPDX-License-Identifier: Apache-2.0
// ss1 embed: the sentence embedding of each line of a text.
#include <charconv>
#include <chrono>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/encoder.hpp"
#include "apps/failure.hpp"
#include "apps/format.hpp"
#include "apps/line_batches.hpp"
#include "apps/notes.hpp"
#include "apps/output.hpp"
#include "apps/text_lines.hpp"
#include "cli/commands.hpp"
#include "cli/options.hpp"

namespace ss1::cli {

using namespace apps;

namespace {

constexpr size_t lines_at_once = 4096;

struct embed_options : encode_options {
    std::string prompt, format = "jsonl";
    bool has_prompt = false;
    size_t dimensions = 0;
};

template <class T>
void append_number(std::string &list, T value) {
    char digits[32];
    if (!list.empty()) list += ", ";
    list.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::string json_line(std::span<const float> vector) {
    std::string values;
    for (const float value : vector) append_number(values, value);
    return "{\"embedding\": [" + values + "]}\n";
}

// Lists the numbers that are not 0, with their places.
std::string sparse_line(std::span<const float> vector) {
    std::string indices, values;
    for (size_t i = 0; i < vector.size(); ++i) {
        if (vector[i] == 0) continue;
        append_number(indices, i);
        append_number(values, vector[i]);
    }
    return "{\"indices\": [" + indices + "], \"values\": [" + values + "]}\n";
}

std::string_view bytes_of(std::span<const float> values) {
    return {reinterpret_cast<const char *>(values.data()), values.size_bytes()};
}

// The beginning of a .npy file, version 1.0: its length is a multiple of 64.
std::string npy_header(size_t rows, size_t columns) {
    std::string header = format("{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
    header.append(63 - (10 + header.size()) % 64, ' ');
    header += '\n';
    const auto size = static_cast<uint16_t>(header.size());
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(size & 0xff) + static_cast<char>(size >> 8) + header;
}

// Writes vectors as they come; .npy begins with their number, so that it keeps all until the end.
class vector_writer {
  public:
    vector_writer(const std::string &path, const std::string &format, size_t width)
        : out_(path), format_(format), width_(width) {}

    void add(std::span<const float> vectors, const std::string &file, size_t before) {
        refuse_not_finite(vectors, width_, file, before);
        if (format_ == "npy") {
            kept_.insert(kept_.end(), vectors.begin(), vectors.end());
        } else if (format_ == "f32") {
            out_.write(bytes_of(vectors));
        } else {
            const auto line = format_ == "sparse" ? sparse_line : json_line;
            for (size_t i = 0; i < vectors.size(); i += width_) out_.write(line(vectors.subspan(i, width_)));
        }
        out_.flush();
    }
    void close() {
        if (format_ == "npy") {
            out_.write(npy_header(kept_.size() / width_, width_));
            out_.write(bytes_of(kept_));
        }
        out_.close();
    }

  private:
    output out_;
    std::string format_;
    size_t width_;
    std::vector<float> kept_;
};

void embed(const embed_options &options) {
    protect_sources(options.output, "--output", options.text, options.model.directory);
    const context_handle context = make_context(options.threads);
    const encoder model(context, options.model.directory, options.model.options());
    if (!describe(model.model()).embedding_size)
        throw failure(options.model.directory + ": gives no sentence embeddings: it has no modules.json with a pooling",
                      "use a directory of sentence-transformers");
    encode_settings settings;
    settings.max_tokens = options.max_tokens;
    settings.batch_tokens = options.batch_tokens;
    settings.dimensions = options.dimensions;
    if (options.has_prompt) settings.prompt = options.prompt;
    text_lines lines(options.text, text_lines::kind::any_text);
    vector_writer out(options.output, options.format, model.width(settings));
    line_batches batches;
    const auto start = std::chrono::steady_clock::now();
    size_t n = 0;
    for (;;) {
        std::vector<std::string> texts;
        const auto next = [&] {
            if (!lines.next()) return false;
            texts.push_back(lines.first());
            return true;
        };
        if (!batches.fill(lines_at_once, next, [&] { return lines.ready(); })) break;
        out.add(model.encode(texts, settings), lines.input().name(), n);
        n += texts.size();
    }
    out.close();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    note("%zu texts, %zu numbers each, %.0f texts/s", n, model.width(settings),
         static_cast<double>(n) / std::max(seconds, 1e-9));
}

constexpr char notes[] =
    R"(The directory is one of sentence-transformers: modules.json names the pooling and what follows it.
--prompt names a text of config_sentence_transformers.json that is put in front of each line. Every model understands
query and document: without such a prompt, a document gets passage or corpus, else both get the default prompt.
jsonl is {"embedding": [...]} for each line, sparse {"indices": [...], "values": [...]} without the zeros; npy one array [lines, numbers] for numpy.load(); f32 its numbers alone.
Examples:
  ss1 embed minilm --text docs.txt -o npy --output docs.npy
  echo 'How do I unpack a tar file?' | ss1 embed bge --text - --prompt query --dimensions 256)";

}  // namespace

void add_embed(CLI::App &app) {
    const auto options = std::make_shared<embed_options>();
    CLI::App &command = *app.add_subcommand("embed", "Turn each line of a text into a vector");
    add_encode_options(command, *options);
    CLI::Option *prompt =
        command.add_option("--prompt", options->prompt,
                           "Name of the prompt before each text; \"\" for none; default: the model's default prompt");
    command
        .add_option("--dimensions", options->dimensions,
                    "Keep the first numbers alone (Matryoshka); again of length 1 if the model normalises")
        ->check(CLI::Range(1, 1 << 30));
    command.add_option("-o,--format", options->format, "jsonl, sparse, npy or f32")
        ->check(CLI::Validator(
            [](const std::string &name) {
                const bool known = name == "jsonl" || name == "sparse" || name == "npy" || name == "f32";
                return known ? "" : "-o " + name + " is none of jsonl, sparse, npy and f32; --output names the file";
            },
            "{jsonl,sparse,npy,f32}"))
        ->capture_default_str();
    command.footer(notes);
    command.callback([options, prompt] {
        options->has_prompt = prompt->count() > 0;
        embed(*options);
    });
}

}  // namespace ss1::cli
