# SPDX-License-Identifier: Apache-2.0
"""ss1.torch.convert, finetune and export on small models of several families.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_torch_convert.py
"""
import copy
import itertools
import math
import pathlib
import sys
import tempfile
import unittest
import warnings

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "train")]
import ss1
try:
    import torch
    from torch.nn import functional
    import bert
    import dlrm
    from ss1.torch import Linear, Moments, convert, export, finetune, fit
    from ss1.torch.allocate import allocate, lower_hull
    from ss1.torch.convert import OTHERS_LOSE_LESS, candidates
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

WIDTH, TOKENS, WORDS = 64, 12, 50


class Conv1D(torch.nn.Module):
    """As in transformers: a linear layer whose weight is [K, N]."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = torch.nn.Parameter(torch.randn(nx, nf) / math.sqrt(nx))
        self.bias = torch.nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).reshape(*x.shape[:-1], self.nf)


def attend(q, k, v, heads=4):
    split = lambda t: t.reshape(*t.shape[:2], heads, -1).transpose(1, 2)
    scores = split(q) @ split(k).transpose(2, 3) / math.sqrt(q.shape[-1] // heads)
    scores = scores + torch.full(scores.shape[2:], float("-inf")).triu(1)
    return (torch.softmax(scores, 3) @ split(v)).transpose(1, 2).reshape(q.shape)


class GPT2Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.c_attn, self.attn_proj = Conv1D(3 * WIDTH, WIDTH), Conv1D(WIDTH, WIDTH)
        self.c_fc, self.mlp_proj = Conv1D(4 * WIDTH, WIDTH), Conv1D(WIDTH, 4 * WIDTH)

    def forward(self, x):
        x = x + self.attn_proj(attend(*self.c_attn(self.ln_1(x)).chunk(3, -1)))
        return x + self.mlp_proj(functional.gelu(self.c_fc(self.ln_2(x))))


class LlamaBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda K, N: torch.nn.Linear(K, N, bias=False)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(WIDTH, WIDTH) for _ in range(4))
        self.gate_proj, self.up_proj, self.down_proj = linear(WIDTH, 3 * WIDTH), linear(WIDTH, 3 * WIDTH), linear(3 * WIDTH, WIDTH)

    def forward(self, x):
        h = functional.normalize(x, dim=-1) * math.sqrt(WIDTH)
        x = x + self.o_proj(attend(self.q_proj(h), self.k_proj(h), self.v_proj(h)))
        h = functional.normalize(x, dim=-1) * math.sqrt(WIDTH)
        return x + self.down_proj(functional.silu(self.gate_proj(h)) * self.up_proj(h))


class Language(torch.nn.Module):
    """Words in, logits out; the head shares its weight with the embedding, as GPT-2's does."""

    def __init__(self, block):
        super().__init__()
        self.wte = torch.nn.Embedding(WORDS, WIDTH)
        self.wte.weight.data *= 0.3  # else each word predicts itself
        self.h = torch.nn.ModuleList(block() for _ in range(2))
        self.lm_head = torch.nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, input_ids, attention_mask=None):
        x = self.wte(input_ids)
        for block in self.h:
            x = block(x)
        return self.lm_head(x)


class MixerBlock(torch.nn.Module):
    """An MLP over tokens, then one over channels."""

    def __init__(self):
        super().__init__()
        mlp = lambda: torch.nn.Sequential(torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.GELU(), torch.nn.Linear(2 * WIDTH, WIDTH))
        self.tokens, self.channels, self.norm = mlp(), mlp(), torch.nn.LayerNorm(WIDTH)

    def forward(self, x):
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm(x))


def words(batches=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, WORDS, (8, TOKENS), generator=generator) for _ in range(batches)]


def correlated(batches, *shape, seed=1):
    """Inputs with few strong directions, as hidden states have them."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(shape[-1], shape[-1], generator=generator) * torch.logspace(0, -2, shape[-1])
    return [torch.randn(*shape, generator=generator) @ basis + 0.3 for _ in range(batches)]


class TestCase(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)


class ClosedForms(TestCase):
    """fit() against the definitions: the gradient of the output error is 0 at the minimum, and known optima are found."""

    def moments(self, x):
        moments = Moments(x.shape[1])
        moments.add(x.double(), x.double().T @ x.double())
        return moments

    def problem(self, K=128, N=96):
        return torch.randn(N, K), torch.randn(N), torch.cat(correlated(4, 400, K))

    def test_error_is_that_of_the_outputs(self):
        weight, bias, x = self.problem()
        for options in ({"c": 2}, {"c": 0, "rank": 16}, {"c": 4, "block_k": 32, "rank": 8}):
            for has_bias in (True, False):
                layer = Linear(128, 96, has_bias, **options)
                error = fit(layer, weight, bias if has_bias else None, self.moments(x))
                want = functional.linear(x, weight, bias if has_bias else None).double()
                got = functional.linear(x, layer.weight.detach(), layer.bias.detach() if has_bias else None).double()
                whole = want - want.mean(0) if has_bias else want
                self.assertAlmostEqual(error, ((got - want).square().sum() / whole.square().sum()).item(), delta=1e-4 * (1 + error))
                if has_bias:  # the correction makes the means equal
                    torch.testing.assert_close(got.mean(0), want.mean(0), rtol=0, atol=1e-3)

    def test_low_rank_is_the_best_of_its_rank(self):
        weight, _, x = self.problem()
        layer = Linear(128, 96, False, c=0, rank=10)
        error = fit(layer, weight, None, self.moments(x))
        y = x.double() @ weight.double().T  # Eckart and Young: the outputs' truncated SVD bounds every layer of this rank
        values = torch.linalg.svdvals(y)
        self.assertAlmostEqual(error, (values[10:].square().sum() / values.square().sum()).item(), delta=1e-3)

    def test_moments_help(self):
        weight, bias, x = self.problem()
        for options in ({"c": 2}, {"c": 0, "rank": 16}, {"c": 4, "block_k": 32, "rank": 8}):
            errors = []
            for moments in (None, self.moments(x)):
                layer = Linear(128, 96, False, **options)
                fit(layer, weight, None, moments)
                errors.append(((x @ (layer.weight.detach() - weight).T).square().sum() / (x @ weight.T).square().sum()).item())
            self.assertLess(errors[1], 0.7 * errors[0], options)

    def test_both_parts_beat_each(self):
        weight, _, x = self.problem()
        error = lambda **options: fit(Linear(128, 96, False, **options), weight, None, self.moments(x))
        both = error(c=2, rank=8)
        self.assertLess(both, min(error(c=2), error(c=0, rank=8)))

    def test_exact_weights_are_found(self):
        x = torch.cat(correlated(4, 400, 128))
        for options in ({"c": 2}, {"c": 0, "rank": 6}, {"c": 1, "rank": 2}):
            origin, layer = Linear(128, 96, **options), Linear(128, 96, **options)
            self.assertLess(fit(layer, origin.weight, origin.bias), 1e-9)
            torch.testing.assert_close(layer.weight, origin.weight, rtol=0, atol=1e-4)
            torch.testing.assert_close(layer.bias, origin.bias)

    def test_wrong_shape(self):
        with self.assertRaisesRegex(ValueError, r"weight has shape \(96, 128\), must be \(128, 96\)"):
            fit(Linear(96, 128, c=0, rank=2), torch.zeros(96, 128))


def refused(report):
    """The rows of layers that stay dense for another reason than the model's budget."""
    return [row for row in report if row.reason not in (None, OTHERS_LOSE_LESS)]


class Models(TestCase):
    def end_to_end(self, model, batches, forward=None):
        """Converts at two budgets; errors fall with the budget, and the converted model runs, trains and predicts alike."""
        options = {} if forward is None else {"forward": forward}
        run = (lambda m, b: m(b)) if forward is None else forward
        state, errors = copy.deepcopy(model.state_dict()), []
        for budget in (0.5, 0.25):
            converted, report = convert(model, budget, batches, **options)
            kept = [row for row in report if row not in refused(report)]
            self.assertLess(sum(row.share * row.K * row.N for row in kept), 1.051 * budget * sum(row.K * row.N for row in kept))
            for row in report:
                self.assertEqual(type(dict(converted.named_modules())[row.name]) is Linear, row.reason is None, row)
            errors.append(numpy.mean([row.error for row in kept]))
            with torch.no_grad():
                got = run(converted, batches[0])
            torch.testing.assert_close(got, run(converted, batches[0]).detach(), rtol=1e-3, atol=1e-3)  # libss1 and PyTorch agree
            history = finetune(converted, model, batches, 36, loss="mse", lr=3e-4, **options)  # each batch some times
            self.assertLess(numpy.mean(history[-3:]), numpy.mean(history[:3]))
        self.assertLess(errors[0], errors[1])
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=0, atol=0)
        return report

    def test_gpt2(self):
        report = self.end_to_end(Language(GPT2Block), words())
        self.assertEqual([row.name for row in refused(report)], ["lm_head"])
        self.assertIn("shares its weight with wte.weight", report[-1].reason)
        self.assertIn("dense: it shares", str(report))

    def test_llama(self):
        report = self.end_to_end(Language(LlamaBlock), words())
        self.assertEqual((len(report), [row.name for row in refused(report)]), (15, ["lm_head"]))

    def test_mlp_mixer(self):
        model = torch.nn.Sequential(MixerBlock(), MixerBlock(), torch.nn.Linear(WIDTH, 10))
        report = self.end_to_end(model, correlated(4, 4, WIDTH, WIDTH))
        self.assertEqual(report[-1].reason, "K=64 or N=10 is below 64")

    def test_budget_of_the_model(self):
        """Layers whose error costs the output more get more: the output is nearer than with the same budget for each."""
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.Linear(128, 128))
        with torch.no_grad():
            model[3].weight.copy_(torch.eye(128) + 0.01 * torch.randn(128, 128))
            model[2].weight.copy_(torch.randn(128, 8) @ torch.randn(8, 128) / 32 + 0.002 * torch.randn(128, 128))  # nearly of rank 8
        batches = correlated(4, 200, 128)
        want = model(batches[0]).detach()
        distances = {}
        for title, spec in (("model", 0.25), ("layer", {"*": 0.25})):
            converted, report = convert(model, spec, batches)
            self.assertLessEqual(sum(row.share for row in report) / 3, 1.06 * 0.25)
            distances[title] = (converted(batches[0]).detach() - want).square().mean().item()
        self.assertLess(distances["model"], 0.5 * distances["layer"])

    def test_allocate(self):
        """Within one step of the best of all choices, and never above what may be spent."""
        random = numpy.random.default_rng(5)
        for _ in range(200):
            choices = [[(int(random.integers(1, 20)), float(random.random())) for _ in range(4)] for _ in range(4)]
            most = int(random.integers(4, 70))
            fitting = [picks for picks in itertools.product(range(4), repeat=4)
                       if sum(points[i][0] for points, i in zip(choices, picks)) <= most]
            taken = allocate(choices, most)
            if taken is None:
                self.assertEqual(fitting, [])
                continue
            self.assertIn(tuple(taken), fitting)
            loss = lambda picks: sum(points[i][1] for points, i in zip(choices, picks))
            largest = max(points[hull[i]][1] - points[hull[i + 1]][1] for points in choices for hull in [lower_hull(points)]
                          for i in range(len(hull) - 1)) if any(len(lower_hull(points)) > 1 for points in choices) else 0
            self.assertLessEqual(loss(taken), min(map(loss, fitting)) + largest + 1e-12)

    def test_candidates_fit_the_budget(self):
        for K, N in ((768, 3072), (768, 768), (256, 1024), (1000, 300), (14336, 4096)):
            for budget in (0.5, 0.3, 0.25, 0.125):
                kinds = {(options["c"] > 0, options.get("rank", 0) > 0) for options in candidates(budget, K, N)}
                self.assertEqual(kinds, {(True, False), (False, True), (True, True)}, (K, N, budget))
        self.assertEqual(candidates(0.125, 768, 3072)[0], {"c": 8, "block_k": 32, "step": 8})
        self.assertEqual(candidates(0.125, 256, 1024)[0], {"c": 8, "block_k": 32, "step": 8})

    def test_names_and_wishes(self):
        model = Language(LlamaBlock)
        converted, report = convert(model, {"h.0.q_proj": None, "h.0.*_proj": {"rank": 8}, "h.1.down*": {"c": 2, "seed": 9},
                                            "h.1.up*": {"c": 2, "rank": 4, "scheme": "reference", "block_k": 16}}, words())
        rows = {row.name: row for row in report}
        self.assertEqual(rows["h.0.q_proj"].reason, "spec leaves it so")
        self.assertEqual((rows["h.0.k_proj"].c, rows["h.0.k_proj"].rank), (0, 8))
        self.assertEqual(converted.h[1].down_proj.config()["seed"], 9)
        self.assertEqual(converted.h[1].up_proj.config()["scheme"], "reference")
        self.assertEqual((rows["h.1.up_proj"].c, rows["h.1.up_proj"].rank), (2, 4))
        self.assertIs(type(converted.h[1].q_proj), torch.nn.Linear)
        seeds = [m.config()["seed"] for m in convert(model, {"h.*": {"c": 2, "block_k": 32}}, words())[0].modules() if isinstance(m, Linear)]
        self.assertEqual(len(set(seeds)), 14)  # layers that read one state must not be blind to the same part of it

    def test_shared_modules_stay_shared(self):
        shared = torch.nn.Linear(64, 64)
        model = torch.nn.Sequential(shared, torch.nn.ReLU(), shared)
        converted, report = convert(model, {"*": {"c": 2, "block_k": 32}}, correlated(3, 100, 64))
        self.assertEqual(len(report), 1)
        self.assertIs(converted[0], converted[2])
        self.assertIsInstance(converted[0], Linear)
        self.assertIsInstance(convert(torch.nn.Linear(64, 64), 0.5, correlated(3, 100, 64))[0], Linear)

    def test_layers_that_cannot_be_replaced(self):
        class Odd(torch.nn.Linear):
            pass

        hooked = torch.nn.Linear(64, 64)
        hooked.register_forward_hook(lambda *arguments: None)
        with torch.no_grad():  # else PyTorch could not copy it
            norm = torch.nn.utils.weight_norm(torch.nn.Linear(64, 64))
        model = torch.nn.ModuleDict({"odd": Odd(64, 64), "norm": norm, "hooked": hooked,
                                     "attention": torch.nn.MultiheadAttention(64, 4), "far": torch.nn.Linear(64, 64)})
        _, report = convert(model, 0.5, correlated(3, 100, 64), forward=lambda m, x: m["odd"](x))
        reasons = {row.name: row.reason for row in report}
        self.assertIn("class Odd", reasons["odd"])
        self.assertEqual(reasons["norm"], "its weight is computed from other parameters")
        self.assertEqual(reasons["hooked"], "it has forward hooks")
        self.assertIn("class NonDynamicallyQuantizableLinear", reasons["attention.out_proj"])
        self.assertEqual(reasons["far"], "no calibration row reached it")

    def test_padding_and_passes(self):
        model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(20, 64), "first": torch.nn.Linear(64, 64), "second": torch.nn.Linear(64, 64)})

        def forward(m, batch):
            return m["second"](torch.relu(m["first"](m["embed"](batch["input_ids"]))))

        ids, mask = torch.randint(1, 20, (40, 8)), torch.ones(40, 8, dtype=torch.int64)
        padded = [{"input_ids": torch.cat([ids, torch.zeros(40, 3, dtype=torch.int64)], 1),
                   "attention_mask": torch.cat([mask, torch.zeros(40, 3, dtype=torch.int64)], 1)}]
        results = [convert(model, {"*": {"c": 2, "block_k": 32}}, batches, forward=forward, **options)
                   for batches, options in (([{"input_ids": ids}], {}), (padded, {}), (padded, {"memory": 1}))]
        for converted, report in results[1:]:
            for a, b in zip(converted.parameters(), results[0][0].parameters()):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        with self.assertRaisesRegex(ValueError, "2 times are needed"):
            convert(model, {"*": {"rank": 2}}, iter(padded), forward=forward, memory=1)

    def test_modules_that_write_in_place(self):
        """What a layer has read or given may be written afterwards; calibration and training use what it was."""
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(inplace=True), torch.nn.Linear(64, 64))
        other = torch.nn.Sequential(model[0], torch.nn.ReLU(), model[2])
        batches = correlated(3, 100, 64)
        (a, _), (b, _) = (convert(m, {"*": {"c": 2, "block_k": 32}}, batches) for m in (model, other))
        torch.testing.assert_close(a[2].ss1_weight, b[2].ss1_weight, rtol=0, atol=0)
        histories = [finetune(convert(m, {"*": {"c": 2, "block_k": 32}}, batches)[0], m, batches, 3, loss="mse") for m in (model, other)]
        self.assertEqual(*histories)

    def test_modes_and_hooks_are_left(self):
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 64)).train()
        model[2].eval()
        before = copy.deepcopy(model.state_dict())
        converted, _ = convert(model, {"*": {"rank": 4}}, correlated(3, 100, 64))
        self.assertEqual([m.training for m in model], [True, True, False, True])
        self.assertEqual(converted[1].training, True)
        self.assertFalse(model[0]._forward_pre_hooks)
        torch.testing.assert_close(model[2].running_mean, before["2.running_mean"])

    def test_bad_input(self):
        model, good = torch.nn.Sequential(torch.nn.Linear(64, 64)), correlated(3, 100, 64)
        nan = [good[0].clone().index_fill_(0, torch.tensor([3]), float("nan"))]
        for spec, batches, message in ((0.25, [good[0][:10]], "0 has 64 inputs and read 10 rows"), (0.25, nan, "0 reads values that are not finite"),
                                       ({"q*": 0.5}, good, "no linear layer matches 'q[*]'; there are 0"), (1.5, good, "asks for 1.5"),
                                       ({"*": "c=4"}, good, "asks for 'c=4'"), (True, good, "asks for True")):
            with self.assertRaisesRegex(ValueError, message):
                convert(model, spec, batches)
        with self.assertRaisesRegex(ss1.Error, r"block_k=3[*]64"):
            convert(model, {"*": {"c": 3}}, good)
        with self.assertRaisesRegex(ValueError, "ReLU has no torch.nn.Linear"):
            convert(torch.nn.ReLU(), 0.5, good)
        self.assertFalse(model[0]._forward_pre_hooks)

    def test_without_calibration_there_is_a_warning(self):
        with self.assertWarnsRegex(UserWarning, "without calibration: errors of 0[.]"):
            convert(torch.nn.Sequential(torch.nn.Linear(64, 64)), 0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            convert(torch.nn.Sequential(torch.nn.Linear(64, 64)), 0.5, correlated(3, 100, 64))

    def test_transformers(self):
        try:
            import transformers
        except ImportError:
            self.skipTest("transformers is not installed")
        config = transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=WORDS, n_positions=TOKENS)
        model = transformers.GPT2LMHeadModel(config).eval()
        batches = [{"input_ids": batch} for batch in words()]
        report = self.end_to_end(model, batches, lambda m, batch: m(**batch).logits)
        self.assertEqual(sum(row.reason is None for row in report), 8)
        config = transformers.LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=WORDS)
        self.end_to_end(transformers.LlamaForCausalLM(config).eval(), batches, lambda m, batch: m(**batch).logits)


class Distillation(TestCase):
    def setUp(self):
        super().setUp()
        self.model, self.batches = Language(LlamaBlock), words()

    def student(self):
        return convert(self.model, 0.25, self.batches)[0]

    def test_deterministic(self):
        loader = torch.utils.data.DataLoader(torch.cat(self.batches), 8, shuffle=True)
        runs, students = [], [self.student() for _ in range(3)]
        random = torch.random.get_rng_state()
        for seed, student in zip((3, 3, 4), students):
            runs.append(finetune(student, self.model, loader, 5, loss="kl", seed=seed))
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])
        self.assertTrue(torch.equal(random, torch.random.get_rng_state()))

    def test_losses(self):
        for loss, layers in (("kl", 0), ("kl", 1.0), ("mse", 0.5), ("none", 1.0)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                student, steps = convert(self.model, 0.25)[0], []  # calibrated layers leave nothing to gain layer by layer
            history = finetune(student, self.model, self.batches[:2], 30, loss=loss, layers=layers, lr=5e-4,
                               progress=lambda step, value: steps.append(step))
            self.assertEqual(steps, list(range(1, 31)))
            self.assertLess(numpy.mean(history[-4:]), 0.98 * numpy.mean(history[:4]), (loss, layers))
        self.assertFalse(self.model.h[0].q_proj._forward_hooks)

    def test_a_perfect_student_has_no_loss(self):
        self.assertLess(finetune(copy.deepcopy(self.model), self.model, self.batches, 1, loss="kl", layers=0)[0], 1e-6)

    def test_padding_does_not_count(self):
        results = []
        for filler in (0, 7):
            ids = torch.cat([self.batches[0], torch.full((8, 3), filler)], 1)
            batch = {"input_ids": ids, "attention_mask": torch.cat([torch.ones(8, TOKENS), torch.zeros(8, 3)], 1)}
            results.append(finetune(self.student(), self.model, [batch], 2, loss="kl"))
        numpy.testing.assert_allclose(*results, rtol=1e-4)

    def test_bad_input(self):
        student = self.student()
        for arguments, options, message in (((self.batches, 2), {}, "loss: must be given"), (([], 2), {"loss": "kl"}, "has no batch"),
                                            ((self.batches, 0), {"loss": "kl"}, "steps=0"), ((self.batches, 2), {"loss": "ce"}, "loss='ce'"),
                                            ((self.batches, 2), {"loss": "none", "layers": 0}, "nothing to train for")):
            with self.assertRaisesRegex(ValueError, message):
                finetune(student, self.model, *arguments, **options)
        with self.assertRaisesRegex(ValueError, "no converted layer"):
            finetune(self.model, self.model, self.batches, 2, loss="kl")


class Export(TestCase):
    def test_bert(self):
        config = bert.config(60, 64, 2, 2, 128, 16, id2label={"0": "no", "1": "yes"}, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        model = bert.BertForSequenceClassification(config).eval()
        ids = torch.randint(5, 60, (40, 11))
        for wish in ({"c": 2, "block_k": 32}, {"rank": 12}, {"c": 4, "block_k": 16, "rank": 8}):
            converted, report = convert(model, {"*encoder*": wish}, [ids])
            with tempfile.TemporaryDirectory() as folder, ss1.Context(num_threads=1) as context:
                export(converted, folder)
                self.assertIn("encoder.layer.0.output.dense", {layer["name"] for layer in ss1.Model(context, folder).layers})
                got = ss1.Model(context, folder).run({"input_ids": ids[:3].numpy(), "attention_mask": numpy.ones((3, 11), numpy.int64),
                                                      "token_type_ids": numpy.zeros((3, 11), numpy.int64)})["logits"]
            numpy.testing.assert_allclose(got, converted(ids[:3]).detach().numpy(), rtol=0, atol=1e-4)

    def test_dlrm(self):
        config = {"model_type": "dlrm", "dense_features": ["a", "b", "c"], "embedding_dim": 16,
                  "tables": [{"name": f"t{i}", "rows": 9} for i in range(4)], "bottom_mlp": [3, 64, 16], "top_mlp": [128, 64, 1]}
        model = dlrm.DLRM(config).eval()
        batches = [(torch.randn(200, 3), torch.randint(0, 9, (800,)), torch.arange(800).reshape(4, 200)) for _ in range(2)]
        converted, report = convert(model, {"top_l.2": {"c": 4, "block_k": 32}, "bot_l.2": {"rank": 8}}, batches)
        inputs = dict(zip(("dense_x", "indices", "offsets"), (value.numpy() for value in batches[0])))
        with tempfile.TemporaryDirectory() as folder, ss1.Context(num_threads=1) as context:
            export(converted, folder)
            got = ss1.Model(context, folder).run(inputs)["probability"]
        numpy.testing.assert_allclose(got, converted(*batches[0]).detach().numpy(), rtol=0, atol=1e-5)

    def test_names_of_relatives(self):
        from ss1.torch.export import _layer_name
        for model_type, name, want in (("distilbert", "distilbert.transformer.layer.3.ffn.lin2", "encoder.layer.3.output.dense"),
                                       ("distilbert", "pre_classifier", "pre_classifier"), ("roberta", "classifier.dense", "pre_classifier"),
                                       ("roberta", "classifier", "classifier"), ("dlrm", "top_l.2", "top_l.2"),
                                       ("xlm-roberta", "roberta.encoder.layer.0.output.dense", "encoder.layer.0.output.dense")):
            self.assertEqual(_layer_name(model_type, name), want)

    def test_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(ValueError, "config: must be a dict"):
                export(torch.nn.Linear(2, 2), folder)
            with self.assertRaisesRegex(ss1.Error, "gpt2"):
                export(torch.nn.Linear(2, 2), folder, {"model_type": "gpt2"})


if __name__ == "__main__":
    unittest.main()
