# SPDX-License-Identifier: Apache-2.0
"""Import a DLRM that facebookresearch/dlrm or TorchRec trained: write it as an ss1 model directory.

The checkpoint is what torch.save wrote: a state_dict, or a dictionary that holds one under "state_dict" (as
`dlrm_s_pytorch.py --save-model` writes it; that needs PyTorch 2.6), or a .safetensors file with the same names. Only
tensors and numbers are unpickled (weights_only), never code. All sizes follow from the tensors. Supported are

- facebookresearch/dlrm: bot_l, top_l, emb_l, with the parts that PyTorch's DistributedDataParallel adds to names.
  Tables in parts become plain tables: row i of a quotient-remainder table (--qr-flag) is q[i div n] op r[i mod n] with
  the n rows of weight_r, of a mixed-dimension table (--md-flag) embs[i] . proj^T. Learned pooling (v_W_l) weights row i
  of a table in every use, so the rows are multiplied by it.
- TorchRec's DLRM and DLRM_DCN, also inside DLRMTrain. TorchRec lists pairs of vectors as (0,1), (0,2), ..., ss1 as
  (1,0), (2,0), (2,1), ...: the columns of the first top layer are sorted accordingly. TorchRec's outputs are logits,
  the model's probabilities are their sigmoids.

The imported model computes the same function, with one exception: facebookresearch/dlrm pools the two parts of a table with
--qr-operation mult before it multiplies them, so there only bags of at most one index agree.
"""
import argparse
import contextlib
import pathlib
import pickle
import re
import sys

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from ss1 import model_dir, safetensors_io

TORCHREC = ("dense_arch.", "sparse_arch.", "inter_arch.", "over_arch.")
TORCHREC_TABLES = "sparse_arch.embedding_bag_collection.embedding_bags."
QR_OPERATIONS = {"mult": numpy.multiply, "add": numpy.add,
                 "concat": lambda q, r: numpy.concatenate([q, r], 1)}


def require(holds, message):
    if not holds:
        raise ValueError(message)


def numpy_numbers():
    """Returns the types in pickled numbers of numpy 1 and 2: dlrm_s_pytorch.py stores such metrics with the weights."""
    scalar = numpy.float64(0).__reduce__()[0]
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), numpy.dtype,
            *{type(numpy.dtype(code)) for code in ("f8", "f4", "i8", "i4")}]


def load(path):
    """torch.load() of tensors and numbers; anything else in the pickle is refused and never called."""
    extended = [int(part) for part in torch.__version__.split(".")[:2]] >= [2, 6]
    try:
        with torch.serialization.safe_globals(numpy_numbers()) if extended else contextlib.nullcontext():
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).split("WeightsUnpickler error: ")[-1].split("\n")[0]
        raise ValueError(
            f"{path}: holds more than tensors and numbers, or is no checkpoint ({reason}). Use PyTorch 2.6 or later (this is "
            f"{torch.__version__}; old ones refuse floats beside the weights) or, where you trust the file, save the weights "
            "alone: torch.save(torch.load('old.pt', weights_only=False)['state_dict'], 'new.pt')") from error


def read_checkpoint(path):
    """Returns {name: f32 array} of a checkpoint, with names without the wrappers `module` (DistributedDataParallel)."""
    state = safetensors_io.read(path) if pathlib.Path(path).suffix == ".safetensors" else load(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    require(isinstance(state, dict) and state, f"{path}: holds no state_dict")
    tensors = {}
    for name, value in state.items():
        require(isinstance(value, (torch.Tensor, numpy.ndarray)),
                f"{path}: {name!r} is no tensor but {type(value).__name__}; a state_dict, or a dictionary with one under "
                "'state_dict', is expected")
        array = value if isinstance(value, numpy.ndarray) else value.detach().float().numpy()
        tensors[".".join(part for part in name.split(".") if part != "module")] = array.astype(numpy.float32, copy=False)
    return tensors


def take(tensors, name, shape):
    """Remove a tensor and check its shape; None matches any size."""
    require(name in tensors, f"tensor {name!r} is missing")
    array = tensors.pop(name)
    require(len(array.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape)),
            f"tensor {name!r} has shape {array.shape}, must be {tuple('any' if want is None else want for want in shape)}")
    return array


def take_mlp(tensors, name, sources):
    """Move the layers with the names `sources` to `name`; gives {name: array} and the widths, the input's first."""
    require(sources, f"{name} has no layers")
    moved, widths = {}, [None]
    for i, source in enumerate(sources):
        weight = moved[f"{name}.{2 * i}.weight"] = take(tensors, f"{source}.weight", (None, widths[-1]))
        moved[f"{name}.{2 * i}.bias"] = take(tensors, f"{source}.bias", (len(weight),))
        widths[-1:] = weight.shape[::-1]
    return moved, widths


def numbered(tensors, pattern):
    """Counts the different numbers N in names that begin with `pattern`."""
    expression = re.compile(re.escape(pattern).replace("N", r"(\d+)"))
    return len({match[1] for name in tensors if (match := expression.match(name))})


def expand_table(tensors, k, qr_operation):
    """Returns table k of facebookresearch/dlrm as one array [rows, d]."""
    name, pooling = f"emb_l.{k}", f"v_W_l.{k}"
    multiplied = False
    if f"{name}.weight_q" in tensors:
        require(qr_operation in QR_OPERATIONS,
                f"{name} is a quotient-remainder table: --qr-operation {'|'.join(QR_OPERATIONS)} must say how it was made")
        q, r = take(tensors, f"{name}.weight_q", (None, None)), take(tensors, f"{name}.weight_r", (None, None))
        require(qr_operation == "concat" or q.shape[1] == r.shape[1],
                f"{name}: weight_q has {q.shape[1]} columns, weight_r {r.shape[1]}: {qr_operation} needs as many")
        rows = len(tensors[pooling]) if pooling in tensors else len(q) * len(r)
        require((len(q) - 1) * len(r) < rows <= len(q) * len(r),
                f"{pooling} has {rows} rows, {name}.weight_q and weight_r have {len(q)} * {len(r)}")
        row, multiplied = numpy.arange(rows), qr_operation == "mult"
        table = QR_OPERATIONS[qr_operation](q[row // len(r)], r[row % len(r)])
    elif f"{name}.embs.weight" in tensors:
        table = take(tensors, f"{name}.embs.weight", (None, None))
        if f"{name}.proj.weight" in tensors:  # a table of full width has no projection
            table = table @ take(tensors, f"{name}.proj.weight", (None, table.shape[1])).T
    else:
        table = take(tensors, f"{name}.weight", (None, None))
    if pooling in tensors:
        weight = take(tensors, pooling, (len(table),))
        # Training weighted both tables of a product.
        table = table * (weight * weight if multiplied else weight)[:, None]
    return table


def from_facebook(tensors, qr_operation):
    """(our tensors, tables' names, bottom widths, top widths) of a state_dict of facebookresearch/dlrm."""
    tables = [f"table{k}" for k in range(numbered(tensors, "emb_l.N."))]
    moved = {f"emb_l.{k}.weight": expand_table(tensors, k, qr_operation) for k in range(len(tables))}
    widths = {}
    for name in ("bot_l", "top_l"):
        sources = [f"{name}.{2 * i}" for i in range(numbered(tensors, f"{name}.N."))]
        layers, widths[name] = take_mlp(tensors, name, sources)
        moved.update(layers)
    return moved, tables, widths["bot_l"], widths["top_l"]


def lower_from_upper(vectors):
    """Maps ss1's pairs to TorchRec's list: position of (j, i) in the upper triangle for (i, j) of the lower."""
    upper = numpy.zeros((vectors, vectors), numpy.int64)
    upper[numpy.triu_indices(vectors, 1)] = numpy.arange(vectors * (vectors - 1) // 2)
    return upper.T[numpy.tril_indices(vectors, -1)]


def take_cross_net(tensors, width):
    """Converts TorchRec's LowRankCrossNet; returns (tensors, layers, rank)."""
    moved, rank, layers = {}, None, numbered(tensors, "inter_arch.crossnet.W_kernels.N")
    for i in range(layers):
        w = moved[f"cross_net.{i}.w.weight"] = take(tensors, f"inter_arch.crossnet.W_kernels.{i}", (width, rank))
        rank = w.shape[1]
        moved[f"cross_net.{i}.v.weight"] = take(tensors, f"inter_arch.crossnet.V_kernels.{i}", (rank, width))
        bias = f"inter_arch.crossnet.bias.{i}"  # [N] or, in early versions, [N, 1]
        if bias in tensors and tensors[bias].shape == (width, 1):
            tensors[bias] = tensors[bias][:, 0]
        moved[f"cross_net.{i}.w.bias"] = take(tensors, bias, (width,))
    return moved, layers, rank


def from_torchrec(tensors, table_names):
    """(our tensors, tables' names, bottom widths, top widths, keys of the interaction) of a TorchRec state_dict."""
    for name in list(tensors):
        if name.startswith(tuple(f"model.{part}" for part in TORCHREC)):  # DLRMTrain
            tensors[name[len("model."):]] = tensors.pop(name)
    tensors.pop("inter_arch.triu_indices", None)
    found = [name[len(TORCHREC_TABLES):-len(".weight")] for name in tensors
             if name.startswith(TORCHREC_TABLES) and name.endswith(".weight")]
    tables = table_names or found
    require(sorted(tables) == sorted(found), f"--tables must be the model's order of {','.join(found)}")
    moved = {f"emb_l.{k}.weight": take(tensors, f"{TORCHREC_TABLES}{name}.weight", (None, None))
             for k, name in enumerate(tables)}
    bottom = [f"dense_arch.model._mlp.{i}._linear" for i in range(numbered(tensors, "dense_arch.model._mlp.N."))]
    top = [f"over_arch.model.0._mlp.{i}._linear" for i in range(numbered(tensors, "over_arch.model.0._mlp.N."))]
    bottom_layers, bottom_mlp = take_mlp(tensors, "bot_l", bottom)
    top_layers, top_mlp = take_mlp(tensors, "top_l", [*top, "over_arch.model.1"])
    moved.update(bottom_layers)
    moved.update(top_layers)
    vectors, d, first = len(tables) + 1, bottom_mlp[-1], top_layers["top_l.0.weight"]
    if any(name.startswith("inter_arch.crossnet.") for name in tensors):
        layers, count, rank = take_cross_net(tensors, vectors * d)
        moved.update(layers)
        return moved, tables, bottom_mlp, top_mlp, {"interaction": "dcn", "cross_layers": count, "cross_rank": rank}
    require(top_mlp[0] == d + vectors * (vectors - 1) // 2,
            f"over_arch has {top_mlp[0]} inputs, {len(tables)} tables of {d} columns make {d + vectors * (vectors - 1) // 2}; "
            "a table that serves several features is not supported")
    moved["top_l.0.weight"] = numpy.concatenate([first[:, :d], first[:, d:][:, lower_from_upper(vectors)]], 1)
    return moved, tables, bottom_mlp, top_mlp, {"interaction": "dot", "interaction_itself": False}


def interaction_of(width, d, vectors, wanted):
    """Returns the keys of the interaction with `width` outputs; `wanted` chooses if two interactions fit."""
    widths = {"dot": d + vectors * (vectors - 1) // 2, "dot-itself": d + vectors * (vectors + 1) // 2, "cat": vectors * d}
    fitting = [name for name, size in widths.items() if size == width and wanted in (None, name)]
    sizes = ", ".join(f"{name} {size}" for name, size in widths.items())
    require(fitting, f"top_l.0 has {width} inputs; from {vectors - 1} tables of {d} columns come: {sizes}")
    require(len(fitting) == 1, f"top_l.0 has {width} inputs, which {' and '.join(fitting)} make: say --interaction")
    return {"interaction": fitting[0].split("-")[0], "interaction_itself": fitting[0] == "dot-itself"}


def convert(tensors, dense_features=None, tables=None, qr_operation=None, interaction=None, loss_threshold=0.0):
    """(config, tensors) of the model directory from {name: array}, which is emptied; ValueError describes a mismatch.

        model_dir.save("model", *convert(read_checkpoint("dlrm.pt")))
    """
    torchrec = any(part in name for name in tensors for part in TORCHREC)
    if torchrec:
        moved, names, bottom, top, keys = from_torchrec(tensors, tables)
        names = [name[2:] if name.startswith("t_") else name for name in names]
    else:
        require("emb_l." in "".join(tensors) and "bot_l.0.weight" in tensors,
                "neither the names of facebookresearch/dlrm (bot_l, emb_l, top_l) nor TorchRec's (dense_arch, sparse_arch, "
                f"over_arch) are there but {', '.join(list(tensors)[:3])}, ...")
        moved, names, bottom, top = from_facebook(tensors, qr_operation)
        keys = interaction_of(top[0], bottom[-1], len(names) + 1, interaction)
        names = tables or names
    count = len([name for name in moved if name.startswith("emb_l.")])
    dense = dense_features or [f"dense{i}" for i in range(bottom[0])]
    require(not tensors, f"tensor {next(iter(tensors), None)!r} has no place in a DLRM")
    require(len(names) == count, f"--tables has {len(names)} names, the model {count} tables")
    require(len(dense) == bottom[0], f"--dense-features has {len(dense)} names, the model {bottom[0]} inputs")
    require(top[-1] == 1, f"the top MLP has {top[-1]} outputs, must have 1")
    require(0 <= loss_threshold < 0.5, f"--loss-threshold {loss_threshold} is not in [0, 0.5)")
    rows = [moved[f"emb_l.{k}.weight"].shape for k in range(count)]
    for k, (_, d) in enumerate(rows):
        require(d == bottom[-1], f"table {names[k]!r} has {d} columns, the bottom MLP {bottom[-1]} outputs; must be the same")
    return {"model_type": "dlrm", "dense_features": dense, "embedding_dim": bottom[-1],
            "tables": [{"name": name, "rows": n} for name, (n, _) in zip(names, rows)],
            "bottom_mlp": bottom, "top_mlp": top[1:], **keys, "loss_threshold": loss_threshold}, moved


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 import_dlrm.py dlrm.pt model --qr-operation mult --loss-threshold 1e-7\n"
               "  ss1 inspect model")
    names = lambda text: text.split(",")
    parser.add_argument("checkpoint", type=pathlib.Path, help="file that torch.save wrote, or .safetensors")
    parser.add_argument("out", type=pathlib.Path, help="model directory to write: config.json, model.safetensors")
    parser.add_argument("--dense-features", type=names, metavar="A,B,...", help="names (default: dense0,dense1,...)")
    parser.add_argument("--tables", type=names, metavar="A,B,...",
                        help="facebookresearch/dlrm: names (default: table0,...); TorchRec: the tables in the order of the "
                             "model's features (default: as in the file), t_ at the start of a name is dropped")
    parser.add_argument("--qr-operation", choices=QR_OPERATIONS, help="as in training, for quotient-remainder tables")
    parser.add_argument("--interaction", choices=["dot", "dot-itself", "cat"],
                        help="needed only if the inputs of the top MLP fit two interactions (facebookresearch/dlrm)")
    parser.add_argument("--loss-threshold", type=float, default=0.0, help="as in training (default: %(default)s)")
    return parser.parse_args()


def main():
    options = vars(arguments())
    checkpoint, out = options.pop("checkpoint"), options.pop("out")
    try:
        config, tensors = convert(read_checkpoint(checkpoint), **options)
        model_dir.save(out, config, tensors)
    except (ValueError, OSError) as error:
        sys.exit(f"import_dlrm.py: {error}")
    print(f"{out}: {len(config['tables'])} tables of {config['embedding_dim']} columns, bottom MLP "
          f"{'-'.join(map(str, config['bottom_mlp']))}, {config['interaction']} interaction, top MLP "
          f"{'-'.join(map(str, config['top_mlp']))}")
    if options["qr_operation"] == "mult":
        print("quotient-remainder tables with mult agree with the checkpoint in bags of at most one index only")


if __name__ == "__main__":
    main()
