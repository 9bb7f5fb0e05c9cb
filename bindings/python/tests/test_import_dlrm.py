# SPDX-License-Identifier: Apache-2.0
"""import_dlrm.py on checkpoints of models written from the published definitions, run through the library.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_import_dlrm.py

Facebook follows dlrm_s_pytorch.py and tricks/ of facebookresearch/dlrm, TorchRec models/dlrm.py and modules/crossnet.py
of TorchRec, with the same names of modules: their state_dicts are the checkpoints'.
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import ss1
try:
    import torch
    from torch.nn import functional
    import dlrm
    import import_dlrm
    from ss1 import model_dir
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

IMPORT = HERE.parent / "train/import_dlrm.py"
BATCH, D, ROWS, DENSE = 7, 8, [40, 3, 25], 5


class QuotientRemainder(torch.nn.Module):
    """tricks/qr_embedding_bag.py: both parts are pooled, then combined."""

    def __init__(self, rows, d, collisions, operation):
        super().__init__()
        self.collisions, self.operation = collisions, operation
        self.weight_q = torch.nn.Parameter(torch.randn(-(-rows // collisions), d))
        self.weight_r = torch.nn.Parameter(torch.randn(collisions, d))

    def forward(self, indices, offsets, per_sample_weights=None):
        q, r = (functional.embedding_bag(i, weight, offsets, mode="sum", per_sample_weights=per_sample_weights)
                for i, weight in ((torch.div(indices, self.collisions, rounding_mode="floor"), self.weight_q),
                                  (indices % self.collisions, self.weight_r)))
        return {"concat": lambda: torch.cat([q, r], 1), "add": lambda: q + r, "mult": lambda: q * r}[self.operation]()


class MixedDimension(torch.nn.Module):
    """tricks/md_embedding_bag.py."""

    def __init__(self, rows, width, base):
        super().__init__()
        self.embs = torch.nn.EmbeddingBag(rows, width, mode="sum")
        self.proj = torch.nn.Linear(width, base, bias=False) if width < base else torch.nn.Identity()

    def forward(self, indices, offsets, per_sample_weights=None):
        return self.proj(self.embs(indices, offsets, per_sample_weights=per_sample_weights))


class Facebook(torch.nn.Module):
    """dlrm_s_pytorch.py: DLRM_Net. `interaction` is dot, itself or cat; `tables` replaces emb_l."""

    def __init__(self, interaction="dot", tables=None, d=D, pooling=False, threshold=0.0):
        super().__init__()
        self.interaction, self.threshold = interaction, threshold
        self.emb_l = torch.nn.ModuleList(tables or [torch.nn.EmbeddingBag(n, d, mode="sum") for n in ROWS])
        if pooling:
            self.v_W_l = torch.nn.ParameterList(torch.nn.Parameter(torch.rand(n) + 0.5) for n in ROWS)
        vectors = len(ROWS) + 1
        width = {"dot": d + vectors * (vectors - 1) // 2, "itself": d + vectors * (vectors + 1) // 2, "cat": d * vectors}
        self.bot_l = self.mlp([DENSE, 12, d], torch.nn.ReLU())
        self.top_l = self.mlp([width[interaction], 16, 9, 1], torch.nn.Sigmoid())

    def last(self):
        """The layer that makes the logits."""
        return self.top_l[-2]

    @staticmethod
    def mlp(widths, last):
        layers = [layer for K, N in zip(widths, widths[1:]) for layer in (torch.nn.Linear(K, N), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers[:-1], last)

    def forward(self, dense_x, lS_o, lS_i):
        x, weights = self.bot_l(dense_x), getattr(self, "v_W_l", [None] * len(ROWS))
        ly = [E(i, o, per_sample_weights=None if w is None else w.gather(0, i))
              for E, i, o, w in zip(self.emb_l, lS_i, lS_o, weights)]
        if self.interaction == "cat":
            R = torch.cat([x] + ly, 1)
        else:
            T = torch.cat([x] + ly, dim=1).view((len(x), -1, x.shape[1]))
            Z, offset = torch.bmm(T, T.transpose(1, 2)), 1 if self.interaction == "itself" else 0
            pairs = [(i, j) for i in range(Z.shape[1]) for j in range(i + offset)]
            R = torch.cat([x] + [Z[:, [i for i, _ in pairs], [j for _, j in pairs]]], 1)
        p = self.top_l(R).squeeze(1)
        return p.clamp(self.threshold, 1 - self.threshold) if self.threshold else p


class Named(torch.nn.Module):
    """Modules under the given names, for state_dicts with the names of another library."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


def torchrec_mlp(widths):
    """modules/mlp.py: every layer is followed by a ReLU."""
    return Named(_mlp=torch.nn.Sequential(*(Named(_linear=torch.nn.Linear(K, N)) for K, N in zip(widths, widths[1:]))))


def run_torchrec_mlp(mlp, x):
    for layer in mlp._mlp:
        x = torch.relu(layer._linear(x))
    return x


class TorchRec(torch.nn.Module):
    """models/dlrm.py: DLRM, or DLRM_DCN if cross_layers > 0. Gives logits."""

    def __init__(self, cross_layers=0, rank=6):
        super().__init__()
        vectors, self.cross_layers = len(ROWS) + 1, cross_layers
        N = vectors * D
        tables = {f"t_cat_{k}": torch.nn.EmbeddingBag(n, D, mode="sum") for k, n in enumerate(ROWS)}
        self.sparse_arch = Named(embedding_bag_collection=Named(embedding_bags=torch.nn.ModuleDict(tables)))
        self.dense_arch = Named(model=torchrec_mlp([DENSE, 12, D]))
        self.inter_arch = Named()
        if cross_layers:
            random = lambda *shape: torch.nn.ParameterList(torch.nn.Parameter(torch.randn(shape) / 5)
                                                           for _ in range(cross_layers))
            self.inter_arch.crossnet = Named(W_kernels=random(N, rank), V_kernels=random(rank, N), bias=random(N))
        width = N if cross_layers else D + vectors * (vectors - 1) // 2
        self.over_arch = Named(model=torch.nn.Sequential(torchrec_mlp([width, 16, 9]), torch.nn.Linear(9, 1)))

    def last(self):
        """The layer that makes the logits."""
        return self.over_arch.model[1]

    def forward(self, dense_x, lS_o, lS_i):
        x = run_torchrec_mlp(self.dense_arch.model, dense_x)
        bags = self.sparse_arch.embedding_bag_collection.embedding_bags.values()
        combined = torch.stack([x, *(bag(i, o) for bag, i, o in zip(bags, lS_i, lS_o))], 1)
        if self.cross_layers:
            net, x_0 = self.inter_arch.crossnet, combined.reshape(len(x), -1)
            interacted = x_0
            for W, V, b in zip(net.W_kernels, net.V_kernels, net.bias):
                interacted = x_0 * (functional.linear(functional.linear(interacted, V), W) + b) + interacted
        else:
            i, j = torch.triu_indices(combined.shape[1], combined.shape[1], offset=1)
            interacted = torch.cat([x, torch.bmm(combined, combined.transpose(1, 2))[:, i, j]], 1)
        first, last = self.over_arch.model
        return last(run_torchrec_mlp(first, interacted)).squeeze(1)


def requests(longest):
    """dense_x, and offsets and indices as lists of one tensor a table; bags of 0 to `longest` indices."""
    lengths = torch.randint(0, longest + 1, (len(ROWS), BATCH))
    return (torch.randn(BATCH, DENSE), [length.cumsum(0) - length for length in lengths],
            [torch.randint(0, n, (int(length.sum()),)) for n, length in zip(ROWS, lengths)])


class Import(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def imported(self, state, **options):
        """(config, tensors) of the model directory self.path / "model" that is made from a state_dict."""
        torch.save(state, self.path / "dlrm.pt")
        read = import_dlrm.read_checkpoint(self.path / "dlrm.pt")
        model_dir.save(self.path / "model", *import_dlrm.convert(read, **options))
        return model_dir.load(self.path / "model")

    def check(self, model, rename=lambda state: state, longest=3, **options):
        """The imported model's probabilities are those of `model`, in the library and in dlrm.DLRM; gives its config."""
        dense_x, offsets, indices = requests(longest)
        with torch.no_grad():  # logits of deviation 1, so that neither a bias nor saturation hides a wrong interaction
            last, logits = model.last(), []
            hook = last.register_forward_hook(lambda module, inputs, output: logits.append(output))
            model(dense_x, offsets, indices)
            hook.remove()
            last.weight /= logits[0].std()
            last.bias -= logits[0].mean()
            last.bias /= logits[0].std()
        config, tensors = self.imported(rename(model.state_dict()), **options)
        with torch.no_grad():
            want = model.double()(dense_x.double(), offsets, indices).numpy()
        want = want if isinstance(model, Facebook) else 1 / (1 + numpy.exp(-want))
        self.assertGreater(want.std(), 0.05)
        starts = numpy.cumsum([0, *(len(i) for i in indices)])
        inputs = (dense_x, torch.cat(indices), torch.stack([o + int(s) for o, s in zip(offsets, starts)]))
        ours = dlrm.DLRM(config)
        ours.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
        with torch.no_grad():
            numpy.testing.assert_allclose(ours.double()(inputs[0].double(), *inputs[1:]).numpy(), want, rtol=0, atol=1e-5)
        with ss1.Context() as context, ss1.Model(context, self.path / "model") as library:
            got = ss1.Session(library, max_batch=BATCH).run(
                dict(zip(("dense_x", "indices", "offsets"), (tensor.numpy() for tensor in inputs))), ["probability"])
        numpy.testing.assert_allclose(got["probability"], want, rtol=0, atol=1e-5)
        return config

    def refused(self, message, state, **options):
        tensors = {name: value.detach().numpy() for name, value in state.items()}
        with self.assertRaisesRegex(ValueError, message):
            import_dlrm.convert(tensors, **options)

    def test_facebook(self):
        for interaction, ours in (("dot", ("dot", False)), ("itself", ("dot", True)), ("cat", ("cat", False))):
            with self.subTest(interaction):
                config = self.check(Facebook(interaction))
                self.assertEqual((config["interaction"], config["interaction_itself"]), ours)
                self.assertEqual([table["rows"] for table in config["tables"]], ROWS)

    def test_facebook_loss_threshold(self):
        config = self.check(Facebook(threshold=0.3), loss_threshold=0.3)
        self.assertEqual(config["loss_threshold"], 0.3)

    def test_facebook_names_and_wrappers(self):
        def checkpoint(state):
            return {"nepochs": 3, "opt_state_dict": {"param_groups": []},
                    "state_dict": {name.replace("_l.", "_l.module.", 1): value for name, value in state.items()}}

        config = self.check(Facebook(), checkpoint, dense_features=list("abcde"), tables=["user", "sex", "item"])
        self.assertEqual([table["name"] for table in config["tables"]], ["user", "sex", "item"])
        self.assertEqual(config["dense_features"], ["a", "b", "c", "d", "e"])

    def test_facebook_quotient_remainder(self):
        for operation, longest in (("mult", 1), ("add", 3), ("concat", 3)):
            for pooling in (False, True):
                with self.subTest(operation, pooling=pooling):
                    width = D // 2 if operation == "concat" else D
                    tables = [QuotientRemainder(n, width, 4, operation) for n in ROWS]
                    config = self.check(Facebook(tables=tables, pooling=pooling), longest=longest, qr_operation=operation)
                    # 25 rows in 7 quotients of 4: only the weights of the rows show the number of rows.
                    self.assertEqual([table["rows"] for table in config["tables"]], ROWS if pooling else [40, 4, 28])

    def test_facebook_mixed_dimension(self):
        for pooling in (False, True):
            self.check(Facebook(tables=[MixedDimension(n, width, D) for n, width in zip(ROWS, (2, D, 4))], pooling=pooling))

    def test_facebook_learned_pooling(self):
        self.check(Facebook("itself", pooling=True))

    def test_torchrec(self):
        for wrapper in ("", "model.", "module.model."):
            with self.subTest(wrapper):
                config = self.check(TorchRec(), lambda state: {wrapper + name: value for name, value in state.items()})
                self.assertEqual([table["name"] for table in config["tables"]], ["cat_0", "cat_1", "cat_2"])

    def test_torchrec_order_of_tables(self):
        self.check(TorchRec(), lambda state: dict(reversed(state.items())), tables=["t_cat_0", "t_cat_1", "t_cat_2"])

    def test_torchrec_dcn(self):
        for columns in (False, True):  # early versions have a bias [N, 1]
            def rename(state):
                return {name: value[:, None] if columns and "crossnet.bias" in name else value
                        for name, value in state.items()}

            self.check(TorchRec(cross_layers=3), rename)
            config, _ = model_dir.load(self.path / "model")
            self.assertEqual([config[key] for key in ("interaction", "cross_layers", "cross_rank")], ["dcn", 3, 6])

    def test_numbers_beside_the_weights(self):
        state = Facebook().state_dict()
        torch.save({"state_dict": state, "test_acc": numpy.float64(0.79), "train_loss": 0.5}, self.path / "dlrm.pt")
        if torch.__version__.startswith("1."):  # its weights_only does not support floats
            with self.assertRaisesRegex(ValueError, r"dlrm.pt: .* \(Unsupported .*\). Use PyTorch 2.6 or later"):
                import_dlrm.read_checkpoint(self.path / "dlrm.pt")
        else:
            numpy.testing.assert_array_equal(import_dlrm.read_checkpoint(self.path / "dlrm.pt")["bot_l.0.bias"],
                                             state["bot_l.0.bias"].numpy())

    def test_code_is_not_run(self):
        class Harmful:
            def __reduce__(_):
                return pathlib.Path.touch, (self.path / "touched",)

        for zipped in (True, False):  # PyTorch's format since 1.6, and before
            torch.save({"state_dict": {"bot_l.0.weight": Harmful()}}, self.path / "dlrm.pt",
                       _use_new_zipfile_serialization=zipped)
            with self.assertRaisesRegex(ValueError, "dlrm.pt: holds more than tensors and numbers"):
                import_dlrm.read_checkpoint(self.path / "dlrm.pt")
            self.assertFalse((self.path / "touched").exists())
        (self.path / "dlrm.pt").write_bytes(b"no checkpoint")
        with self.assertRaisesRegex(ValueError, "dlrm.pt: .* is no checkpoint"):
            import_dlrm.read_checkpoint(self.path / "dlrm.pt")

    def test_command(self):
        def command(*options):
            return subprocess.run([sys.executable, "-B", IMPORT, self.path / "dlrm.pt", self.path / "model", *options],
                                  capture_output=True, text=True)

        torch.save({"state_dict": {"weight": torch.zeros(3)}}, self.path / "dlrm.pt")
        run = command()
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, "^import_dlrm.py: neither the names of facebookresearch/dlrm .* but weight")
        self.assertFalse((self.path / "model").exists())
        torch.save(Facebook().state_dict(), self.path / "dlrm.pt")
        run = command("--dense-features", "a,b,c,d,e", "--tables", "user,sex,item", "--loss-threshold", "1e-7")
        self.assertRegex(run.stdout, "3 tables of 8 columns, bottom MLP 5-12-8, dot interaction, top MLP 16-9-1")
        config, _ = model_dir.load(self.path / "model")
        self.assertEqual((config["dense_features"], config["loss_threshold"]), (list("abcde"), 1e-7))

    def test_refused(self):
        facebook, torchrec = Facebook().state_dict(), TorchRec().state_dict()
        less = lambda state, name: {key: value for key, value in state.items() if key != name}
        self.refused("bot_l.2.bias' is missing", less(facebook, "bot_l.2.bias"))
        self.refused(r"bot_l.2.bias' has shape \(3,\), must be \(8,\)", {**facebook, "bot_l.2.bias": torch.zeros(3)})
        self.refused("'extra' has no place", {**facebook, "extra": torch.zeros(3)})
        self.refused("top_l.0 has 14 inputs; from 4 tables of 8 columns come: dot 18",
                     {**facebook, "emb_l.3.weight": torch.zeros(3, 8)})
        self.refused("table 'table1' has 9 columns", {**facebook, "emb_l.1.weight": torch.zeros(3, 9)})
        self.refused("--loss-threshold 0.5", facebook, loss_threshold=0.5)
        self.refused("--tables has 1 names", facebook, tables=["a"])
        self.refused("--dense-features has 1 names", facebook, dense_features=["a"])
        self.refused("top_l.0 has 14 inputs; .* cat 32", facebook, interaction="cat")
        self.refused("--qr-operation mult.add.concat must",
                     Facebook(tables=[QuotientRemainder(n, D, 4, "add") for n in ROWS]).state_dict())
        self.refused("--tables must be", torchrec, tables=["t_cat_0"])
        self.refused("over_arch has 14 inputs", less(torchrec, f"{import_dlrm.TORCHREC_TABLES}t_cat_2.weight"))
        with self.assertRaisesRegex(ValueError, "which dot-itself and cat make: say --interaction"):
            import_dlrm.interaction_of(9, 3, 3, None)


if __name__ == "__main__":
    unittest.main()
