// SPDX-License-Identifier: Apache-2.0
// The keys of the families with rotary positions: ModernBERT, NomicBERT and GTE.
#include <cmath>

#include "base/status.hpp"
#include "io/bert_families.hpp"
#include "io/limits.hpp"

namespace ss1 {
namespace {

ss1_status parse_theta(const json &object, const std::string &where, const char *name, key need, double &out) {
    SS1_TRY(json_number(object, where, name, need, out));
    SS1_CHECK(out > 0 && std::isfinite(out), SS1_ERROR_FORMAT, "%s: %s is %g, must be above 0", where.c_str(), name,
              out);
    return SS1_OK;
}

// Sets how many elements of each head are turned.
ss1_status set_size(const std::string &label, double fraction, bert_config &out) {
    const size_t head = out.hidden_size / out.num_attention_heads;
    const double size = static_cast<double>(head) * fraction;
    SS1_CHECK(size > 0 && size <= static_cast<double>(head) && std::fmod(size, 2) == 0, SS1_ERROR_UNSUPPORTED,
              "%s: rotary positions of %g elements of each head of %zu are not supported, an even number above 0 is",
              label.c_str(), size, head);
    out.rotary.size = out.local_rotary.size = static_cast<size_t>(size);
    out.has_positions = false;
    return SS1_OK;
}

// Reads a description of rotary positions as transformers 5 writes it, or the older rope_scaling.
ss1_status parse_rope(const json &object, const std::string &where, bool allows_ntk, key theta, rotary_config &out) {
    SS1_TRY(json_is_object(object, where));
    const json rope = object.without_nulls();
    SS1_TRY(json_only_keys(rope, where, {"type", "rope_type", "rope_theta", "factor"}));
    std::string type = "default";
    SS1_TRY(json_string(rope, where, "type", key::optional, type));
    std::string same = type;  // the newer name of the same key
    SS1_TRY(json_string(rope, where, "rope_type", key::optional, same));
    SS1_CHECK(same == type || !rope.find("type"), SS1_ERROR_FORMAT,
              "%s: type is '%s', rope_type is '%s': they must agree", where.c_str(), printable(type).c_str(),
              printable(same).c_str());
    type = same;
    SS1_CHECK(type == "default" || (allows_ntk && type == "ntk"), SS1_ERROR_UNSUPPORTED,
              "%s: rope_type '%s' is not supported, 'default'%s", where.c_str(), printable(type).c_str(),
              allows_ntk ? " and 'ntk' are" : " is");
    SS1_TRY(parse_theta(rope, where, "rope_theta", theta, out.theta));
    out.factor = 1;
    SS1_CHECK(type == "ntk" || !rope.find("factor"), SS1_ERROR_UNSUPPORTED,
              "%s: factor is not supported with rope_type '%s'", where.c_str(), printable(type).c_str());
    if (type != "ntk") return SS1_OK;
    SS1_TRY(json_number(rope, where, "factor", key::required, out.factor));
    SS1_CHECK(out.factor >= 1 && std::isfinite(out.factor), SS1_ERROR_FORMAT, "%s: factor is %g, must be at least 1",
              where.c_str(), out.factor);
    return SS1_OK;
}

ss1_status parse_local_layers(const json &config, const std::string &label, bert_config &out) {
    const size_t n = out.num_hidden_layers;
    size_t every = 3, width = 128;
    SS1_TRY(json_size(config, label, "global_attn_every_n_layers", key::optional, 1, max_layers, every));
    SS1_TRY(json_size(config, label, "local_attention", key::optional, 1, max_width, width));
    out.window = width / 2;
    for (size_t i = 0; i < n; ++i) out.local_layers.push_back(i % every != 0);
    const json *types;
    SS1_TRY(json_member(config, label, "layer_types", key::optional, types));
    if (!types) return SS1_OK;
    SS1_CHECK(types->is_array() && types->size() == n, SS1_ERROR_FORMAT,
              "%s: layer_types: must be an array of num_hidden_layers = %zu names", label.c_str(), n);
    for (size_t i = 0; i < n; ++i) {
        const json &type = (*types)[i];
        SS1_CHECK(type.is_string(), SS1_ERROR_FORMAT, "%s: layer_types[%zu]: must be a string", label.c_str(), i);
        out.local_layers[i] = type.string() == "sliding_attention";
        SS1_CHECK(out.local_layers[i] || type.string() == "full_attention", SS1_ERROR_UNSUPPORTED,
                  "%s: layer_types[%zu] '%s' is not supported, 'full_attention' and 'sliding_attention' are",
                  label.c_str(), i, printable(type.string()).c_str());
    }
    return SS1_OK;
}

// Reads rope_parameters, or the keys before transformers 5: a local theta of null is the global one.
ss1_status parse_thetas(const json &root, const json &config, const std::string &label, bert_config &out) {
    out.rotary.theta = 160000;
    SS1_TRY(parse_theta(config, label, "global_rope_theta", key::optional, out.rotary.theta));
    const json *local = root.find("local_rope_theta");
    if (local && local->is_null()) out.local_rotary.theta = out.rotary.theta;
    SS1_TRY(parse_theta(config, label, "local_rope_theta", key::optional, out.local_rotary.theta));
    const json *scaling, *parameters;
    SS1_TRY(json_member(config, label, "rope_scaling", key::optional, scaling));
    if (scaling) {
        SS1_CHECK(!scaling->find("rope_theta"), SS1_ERROR_UNSUPPORTED,
                  "%s: rope_scaling.rope_theta is not supported, global_rope_theta and local_rope_theta are",
                  label.c_str());
        rotary_config unused;
        SS1_TRY(parse_rope(*scaling, label + ": rope_scaling", false, key::optional, unused));
    }
    SS1_TRY(json_member(config, label, "rope_parameters", key::optional, parameters));
    if (!parameters) return SS1_OK;
    const std::string where = label + ": rope_parameters";
    SS1_TRY(json_is_object(*parameters, where));
    SS1_TRY(json_only_keys(*parameters, where, {"full_attention", "sliding_attention"}));
    const auto read = [&](const char *name, rotary_config &to) {
        const json *rope = parameters->find(name);
        return rope && !rope->is_null() ? parse_rope(*rope, where + "." + name, false, key::optional, to) : SS1_OK;
    };
    SS1_TRY(read("full_attention", out.rotary));
    return read("sliding_attention", out.local_rotary);
}

ss1_status pad_vocabulary(const json &config, const std::string &label, bert_config &out) {
    size_t multiple = 1;
    SS1_TRY(json_size(config, label, "pad_vocab_size_multiple", key::optional, 1, max_width, multiple));
    out.vocab_size = (out.vocab_size + multiple - 1) / multiple * multiple;
    SS1_CHECK(out.vocab_size <= max_width, SS1_ERROR_FORMAT, "%s: vocab_size is %zu with its padding, above %zu",
              label.c_str(), out.vocab_size, size_t{max_width});
    return SS1_OK;
}

}  // namespace

ss1_status parse_modernbert(const json &root, const json &config, const std::string &label, bert_config &out) {
    out.gate = gating::first;
    out.packs_qkv = out.norms_first = out.transforms_all = true;
    const auto flag = [&](const char *name, bool otherwise, bool &value) {
        value = otherwise;
        return json_bool(config, label, name, key::optional, value);
    };
    SS1_TRY(flag("attention_bias", false, out.qkv_bias));
    SS1_TRY(flag("mlp_bias", false, out.intermediate_bias));
    SS1_TRY(flag("norm_bias", false, out.norm_bias));
    SS1_TRY(flag("classifier_bias", false, out.transform_bias));
    SS1_TRY(flag("decoder_bias", true, out.decoder_bias));
    out.attention_bias = out.qkv_bias;
    out.output_bias = out.intermediate_bias;
    SS1_TRY(parse_bert_activation(config, label, "classifier_activation", "gelu", out.words_act));
    std::string pooling = "cls";
    SS1_TRY(json_string(config, label, "classifier_pooling", key::optional, pooling));
    SS1_CHECK(pooling == "cls" || pooling == "mean", SS1_ERROR_UNSUPPORTED,
              "%s: classifier_pooling '%s' is not supported, 'cls' and 'mean' are", label.c_str(),
              printable(pooling).c_str());
    out.means_tokens = pooling == "mean";
    SS1_TRY(set_size(label, 1, out));
    SS1_TRY(parse_local_layers(config, label, out));
    return parse_thetas(root, config, label, out);
}

ss1_status parse_nomic(const json &, const json &config, const std::string &label, bert_config &out) {
    SS1_TRY(refuse_true(config, label,
                        {"prenorm", "causal", "parallel_block", "use_rms_norm", "norm_mlp", "rotary_emb_interleaved",
                         "rotary_head_dim"}));
    SS1_TRY(refuse_other(config, label,
                         {"rotary_emb_scale_base", "rotary_scaling_factor", "num_experts", "moe_every_n_layers"}, 0));
    SS1_TRY(refuse_other(config, label, {"num_heads_kv"}, static_cast<double>(out.num_attention_heads)));
    out.gate = gating::second;
    out.splits_gate = out.packs_qkv = true;
    std::string activation = "gelu_new";
    SS1_TRY(json_string(config, label, "activation_function", key::optional, activation));
    SS1_CHECK(activation == "swiglu" || activation == "geglu" || activation == "glu", SS1_ERROR_UNSUPPORTED,
              "%s: activation_function '%s' is not supported, 'swiglu', 'geglu' and 'glu' are", label.c_str(),
              printable(activation).c_str());
    out.hidden_act = activation == "swiglu"  ? SS1_ACTIVATION_SILU
                     : activation == "geglu" ? SS1_ACTIVATION_GELU
                                             : SS1_ACTIVATION_SIGMOID;
    out.words_act = activation == "swiglu" ? SS1_ACTIVATION_SILU : SS1_ACTIVATION_GELU;
    SS1_TRY(json_bool(config, label, "qkv_proj_bias", key::optional, out.qkv_bias));
    SS1_TRY(json_bool(config, label, "mlp_fc1_bias", key::optional, out.intermediate_bias));
    SS1_TRY(json_bool(config, label, "mlp_fc2_bias", key::optional, out.output_bias));
    out.attention_bias = out.qkv_bias;
    out.transform_bias = out.decoder_bias = out.intermediate_bias;
    if (!config.find("n_inner")) out.intermediate_size = out.hidden_size * 8 / 3;
    out.intermediate_size = (out.intermediate_size + 255) / 256 * 256;  // NomicBERT's code rounds it up
    double fraction = 0;
    SS1_TRY(json_number(config, label, "rotary_emb_fraction", key::optional, fraction));
    SS1_TRY(set_size(label + ": rotary_emb_fraction", fraction, out));
    SS1_TRY(parse_theta(config, label, "rotary_emb_base", key::optional, out.rotary.theta));
    return pad_vocabulary(config, label, out);
}

ss1_status parse_nomic_hf(const json &, const json &config, const std::string &label, bert_config &out) {
    const size_t heads = out.num_attention_heads;
    SS1_TRY(refuse_other(config, label, {"num_key_value_heads"}, static_cast<double>(heads)));
    SS1_TRY(refuse_other(config, label, {"head_dim"}, static_cast<double>(out.hidden_size / heads)));
    out.gate = gating::second;
    out.splits_gate = out.packs_qkv = true;
    out.qkv_bias = out.attention_bias = out.intermediate_bias = out.output_bias = false;
    SS1_TRY(set_size(label, 1, out));
    const json *parameters;
    SS1_TRY(json_member(config, label, "rope_parameters", key::required, parameters));
    SS1_TRY(parse_rope(*parameters, label + ": rope_parameters", false, key::required, out.rotary));
    return pad_vocabulary(config, label, out);
}

ss1_status parse_gte(const json &, const json &config, const std::string &label, bert_config &out) {
    SS1_TRY(refuse_true(config, label, {"logn_attention_scale"}));
    std::string norm = "layer_norm";
    SS1_TRY(json_string(config, label, "layer_norm_type", key::optional, norm));
    SS1_CHECK(norm == "layer_norm", SS1_ERROR_UNSUPPORTED, "%s: layer_norm_type '%s' is not supported, 'layer_norm' is",
              label.c_str(), printable(norm).c_str());
    out.gate = gating::second;
    out.intermediate_bias = false;
    out.packs_qkv = true;
    SS1_TRY(json_bool(config, label, "pack_qkv", key::optional, out.packs_qkv));
    SS1_TRY(set_size(label, 1, out));
    SS1_TRY(parse_theta(config, label, "rope_theta", key::optional, out.rotary.theta));
    for (const char *name : {"rope_scaling", "rope_parameters"}) {
        const json *rope;
        SS1_TRY(json_member(config, label, name, key::optional, rope));
        if (rope) SS1_TRY(parse_rope(*rope, label + ": " + name, true, key::optional, out.rotary));
    }
    return SS1_OK;
}

}  // namespace ss1
