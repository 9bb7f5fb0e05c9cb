// SPDX-License-Identifier: Apache-2.0
#include "model/tables.hpp"

#include <algorithm>
#include <cstring>

#include "base/checked.hpp"
#include "base/status.hpp"
#include "io/table_rows.hpp"
#include "robe.hpp"

namespace ss1 {
namespace {

// Maps a table whose rows in the file have the kernel's format: nothing is converted or copied.
ss1_status map_table(const model_directory &from, const model_tensor &tensor, const table_shape &shape,
                     dlrm_tables &tables, embedding_table &table) {
    const file_dtype stored = tensor.stored.dtype;
    const char *path = from.files[tensor.file].file.path.c_str();
    const size_t alignment = file_dtype_bytes(stored);
    const bool same = stored == file_dtype::f32    ? shape.format == row_format::f32
                      : stored == file_dtype::bf16 ? shape.format == row_format::bf16
                      : stored == file_dtype::f16  ? shape.format == row_format::f16
                                                   : stored == file_dtype::u8;
    SS1_CHECK(same, SS1_ERROR_UNSUPPORTED,
              "options.map_tables: %s: tensor '%s' is stored as %s, its table's dtype is %s: only rows that need no "
              "conversion can be mapped",
              path, tensor.name.c_str(), file_dtype_name(stored), table_dtype_name(shape.format));
    file_mapping &mapping = tables.mappings[tensor.file];
    if (!mapping.data()) SS1_TRY(mapping.map(from.files[tensor.file].file));
    table.mapping = &mapping;
    table.args.table = mapping.data() + tensor.stored.begin;
    SS1_CHECK(reinterpret_cast<uintptr_t>(table.args.table) % alignment == 0, SS1_ERROR_UNSUPPORTED,
              "options.map_tables: %s: tensor '%s' starts at byte %zu, %swhich is not a multiple of %zu", path,
              tensor.name.c_str(), tensor.stored.begin, from.files[tensor.file].file.memory ? "at an address " : "",
              alignment);
    return SS1_OK;
}

ss1_status copy_table(const ss1_context &context, const model_directory &from, const model_tensor &tensor,
                      const table_shape &shape, buffer &memory) {
    size_t bytes;
    SS1_CHECK(checked_mul(shape.rows, shape.row_bytes(), bytes), SS1_ERROR_FORMAT,
              "%s: tensor '%s': the size of the table overflows", from.path.c_str(), tensor.name.c_str());
    SS1_TRY(memory.allocate(context, bytes));
    std::byte *to = memory.as<std::byte>();
    return read_table(from, tensor, shape, [&](std::span<const std::byte> rows) {
        to = std::copy(rows.begin(), rows.end(), to);
        return SS1_OK;
    });
}

ss1_status load_robe(const ss1_context &context, const model_directory &from, buffer &out) {
    const robe_config &robe = from.config.dlrm.robe;
    SS1_TRY(out.allocate(context, (robe.size + robe.block) * sizeof(float)));
    SS1_TRY(tensor_f32(from, "robe.weight", std::span(&robe.size, 1), out.as<float>()));
    std::copy_n(out.as<float>(), robe.block, out.as<float>() + robe.size);
    return SS1_OK;
}

}  // namespace

ss1_status load_tables(const ss1_context &context, const model_directory &from, dlrm_tables &out) {
    const dlrm_config &config = from.config.dlrm;
    const bool map = from.map_tables;
    SS1_CHECK(!map || !config.robe.size, SS1_ERROR_UNSUPPORTED, "options.map_tables: a ROBE array cannot be mapped");
    if (map) out.mappings.resize(from.files.size());
    if (config.robe.size) SS1_TRY(load_robe(context, from, out.robe));
    out.bytes = out.robe.bytes();
    out.parameters = config.robe.size;
    for (size_t k = 0; k < config.tables.size(); ++k) {
        const dlrm_table &described = config.tables[k];
        embedding_table &table = (described.user_side ? out.users : out.items).emplace_back();
        table.name = described.name;
        table.number = k;
        table.kernel = &select_bag(described.format, context.usable);
        table.args.rows = described.rows;
        table.args.d = config.embedding_dim;
        table.args.mean = described.mean;
        if (config.robe.size) {
            table.args.table = out.robe.data();
            table.args.robe = make_robe_layout(config.robe.seed, k, config.robe.size, config.robe.block);
            continue;
        }
        const table_shape shape = {described.rows, config.embedding_dim, described.format};
        const model_tensor &tensor = *from.find("emb_l." + std::to_string(k) + ".weight");  // checked to be there
        if (map) {
            SS1_TRY(map_table(from, tensor, shape, out, table));
        } else {
            SS1_TRY(copy_table(context, from, tensor, shape, table.memory));
            table.args.table = table.memory.data();
        }
        out.bytes += shape.rows * shape.row_bytes();
        out.parameters += shape.rows * shape.d;
    }
    return SS1_OK;
}

}  // namespace ss1
