# SPDX-License-Identifier: Apache-2.0
"""The small BERT and its training: names, masks, SS1 layers, the split of the mails, tiny runs of both commands.

    SS1_LIBRARY=build/src/libss1.so python3 bindings/python/tests/test_train_bert.py
"""
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
TRAIN = HERE.parent / "train"
sys.path[:0] = [str(HERE.parent), str(TRAIN)]
import ss1
import mails
try:
    import torch
    import bert
    import finetune_spam
    import pretrain_bert
    import train_embedder
    from ss1 import model_dir
    from ss1.torch import fit
except ImportError as error:
    raise unittest.SkipTest(f"PyTorch is not installed: {error}")

VOCABULARY, LENGTH = 60, 24
SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}

# state_dict() of transformers' BertForMaskedLM and BertForSequenceClassification, but for buffers and tied copies.
LAYER = [f"{name}.{kind}" for name in
         ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
          "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")
         for kind in ("weight", "bias")]
COMMON = ["bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight",
          "bert.embeddings.token_type_embeddings.weight", "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias",
          *(f"bert.encoder.layer.{i}.{name}" for i in range(2) for name in LAYER)]
MASKED_LM = ["cls.predictions.bias", "cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias",
             "cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias"]
CLASSIFIER = ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]


def small_config(name="dense"):
    return pretrain_bert.config_of(name, VOCABULARY, LENGTH, **SIZES)


def texts(count):
    """Token ids [count, LENGTH] with padding, and labels: spam has other tokens. Words repeat, so that they can be guessed."""
    draw = numpy.random.RandomState(1)
    labels = draw.randint(0, 2, count)
    ids = numpy.zeros((count, LENGTH), numpy.uint16)
    for row, label in zip(ids, labels):
        length = draw.randint(8, LENGTH - 1)
        first = draw.randint(5, 30) + 25 * label
        row[:length] = [2, *(5 + (first + numpy.arange(length - 2)) % (VOCABULARY - 5)), 3]
    return ids, labels.astype(numpy.uint8)


def write_data(folder):
    """Writes the files of prepare_spam.py from made-up ids."""
    folder.mkdir()
    arrays = {}
    for part, count in (("train", 96), ("valid", 32), ("test", 40)):
        arrays[f"{part}_ids"], arrays[f"{part}_labels"] = texts(count)
    arrays["stream"] = texts(2000)[0].reshape(-1)
    arrays["stream"] = arrays["stream"][arrays["stream"] > 0]
    arrays["held_out"] = arrays["stream"][:2000]
    numpy.savez(folder / "tokens.npz", **arrays)
    (folder / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(VOCABULARY)))


class Mails(unittest.TestCase):
    def test_lines(self):
        self.assertEqual(mails.line_of("Re: \tyou ", "two\n\nlines\r\n"), "Re: you two lines")

    def test_near_duplicates_go(self):
        words = [f"w{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10]}" for i in range(60)]
        lines = [" ".join(words), " ".join(words[::-1]), " ".join(["> ", *words[:50], "changed", "end"]), "short"]
        self.assertEqual(mails.distinct(lines), [0, 1, 3])

    def test_split(self):
        parts = mails.split([(f"mail {i}", i % 2) for i in range(50)])
        self.assertEqual([len(part) for part in parts.values()], [35, 5, 10])
        self.assertEqual(len(set(sum(parts.values(), []))), 50)
        self.assertEqual(parts, mails.split([(f"mail {i}", i % 2) for i in range(50)]))

    def test_topics(self):
        for subject in ("Re: [ILUG] RE: your  mail", "your mail ", "[a-b] [c] Fwd: your mail", "re[2]: your mail"):
            self.assertEqual(mails.topic(subject), "your mail")
        self.assertEqual(mails.topic("Report: reply [6ywab]"), "Report: reply [6ywab]")

    def test_pairs_are_the_mails_of_the_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "mails.jsonl.gz"
            with gzip.open(path, "wt") as file:
                for i in range(20):
                    text = f" body  {chr(97 + i)} " * 5
                    file.write(json.dumps({"subject": f"Re: {chr(97 + i)}", "text": text, "label": i % 2}) + "\n")
            pairs, lines = mails.read_pairs(path), mails.read(path)
        self.assertGreater(len(pairs), 10)
        self.assertEqual([f"{subject} {body}" for subject, body in pairs], [line for line, _ in lines])


class Embedder(unittest.TestCase):
    """train_embedder.py: what a pair is, the loss, and how finding is counted."""

    def setUp(self):
        torch.manual_seed(1)
        self.texts = train_embedder.Texts(torch.arange(10, 410, dtype=torch.int32), torch.tensor([5, 25, 1, 369]))

    def test_rows(self):
        rows = self.texts.whole(torch.tensor([0, 1]), 10)
        self.assertEqual(rows.tolist(), [[2, 10, 11, 12, 13, 14, 3, 0, 0, 0], [2, 15, 16, 17, 18, 19, 20, 21, 22, 3]])
        one = torch.tensor([0])
        row = self.texts.rows(self.texts.begin[one], self.texts.size[one], 10, torch.tensor([1]), torch.tensor([2]))
        self.assertEqual(row.tolist(), [[2, 10, 13, 14, 3]])

    def test_cuttings_are_of_their_text_and_most_are_gone_from_it(self):
        rows = torch.randint(4, (2000,))
        queries, documents = self.texts.cuttings(rows)
        left = 0
        for i, row in enumerate(rows.tolist()):
            query, document = (ids[(ids != 0) & (ids > 3)].tolist() for ids in (queries[i], documents[i]))
            begin, size = int(self.texts.begin[row]) + 10, int(self.texts.size[row])
            self.assertTrue(begin <= query[0] <= query[-1] < begin + size)
            self.assertTrue(all(begin <= token < begin + size for token in document))
            self.assertLessEqual(len(document), train_embedder.DOCUMENT - 2)
            left += set(query) <= set(document)
        self.assertAlmostEqual(left / 2000, train_embedder.KEPT, delta=0.05)

    def test_the_same_topic_is_no_negative(self):
        vectors = torch.nn.functional.normalize(torch.randn(4, 8), dim=1)
        loss = lambda topics: train_embedder.loss_of(vectors, vectors, torch.tensor(topics), 1.0).item()
        self.assertAlmostEqual(loss([1, 1, 1, 1]), 0.0, places=6)
        self.assertGreater(loss([1, 2, 3, 4]), loss([1, 1, 3, 4]))

    def test_recalls(self):
        scores = numpy.zeros((12, 12))
        scores[0] = scores[1, 1] = 1  # a tie of all is lost
        self.assertEqual(train_embedder.recalls(scores), (1 / 12, 1 / 12))
        self.assertEqual(train_embedder.recalls(numpy.eye(12) + 0.5 * (numpy.arange(12) < 3)), (1.0, 1.0))

    def test_bm25(self):
        scores = train_embedder.bm25(["a rare word", "nothing"], ["the word", "the rare Word", "the end of the end"])
        self.assertEqual(scores[0].argmax(), 1)
        self.assertEqual(scores[1].tolist(), [0, 0, 0])
        n, length = numpy.log(1 + 2.5 / 1.5) + numpy.log(1 + 1.5 / 2.5), 1.2 * (0.25 + 0.75 * 3 / (10 / 3))
        self.assertAlmostEqual(scores[0, 1], n * 2.2 / (1 + length))

    def test_held_out_topics_are_new(self):
        part = [("Re: a", "1"), ("b", "2"), ("[x] B", "3"), ("", "4"), ("c", "5")]
        self.assertEqual(train_embedder.held_out(part, [("fwd: A", "6")]), (["b", "c"], ["2", "5"]))


class Model(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)

    def test_names(self):
        masked = bert.BertForMaskedLM(small_config())
        self.assertEqual(sorted(masked.state_dict()), sorted(COMMON + MASKED_LM))
        spam = finetune_spam.classifier(small_config(), "cpu")
        self.assertEqual(sorted(spam.state_dict()), sorted(COMMON + CLASSIFIER))
        self.assertEqual(spam.config["architectures"], ["BertForSequenceClassification"])

    def test_tied_layers(self):
        for name, tied in (("ss1-4", {0, 1}), ("ss1-4-half", {1})):
            names = bert.BertForMaskedLM(small_config(name)).state_dict()
            for i in range(2):
                for layer in bert.PER_LAYER:
                    self.assertEqual(f"bert.encoder.layer.{i}.{layer}.ss1_weight" in names, i in tied, (name, i, layer))
                    self.assertEqual(f"bert.encoder.layer.{i}.{layer}.weight" in names, i not in tied, (name, i, layer))
        layers = small_config("ss1-4")["ss1"]["layers"].values()
        self.assertEqual(len({layer["seed"] for layer in layers}), 12)

    def test_masked_words(self):
        ids = pretrain_bert.sequences(torch.randint(5, VOCABULARY, (50000,)), torch.arange(0, 40000, 20), LENGTH)
        self.assertTrue(bool((ids[:, 0] == 2).all() and (ids[:, -1] == 3).all()))
        masked, places, wanted = pretrain_bert.mask(ids, VOCABULARY)
        self.assertEqual(places.shape, (2000, round(0.15 * LENGTH)))
        self.assertTrue(torch.equal(ids.scatter(1, places, -1), masked.scatter(1, places, -1)))  # the others stay
        self.assertTrue(torch.equal(ids.gather(1, places), wanted))
        self.assertTrue(bool((wanted >= 5).all()))
        got = masked.gather(1, places)
        self.assertAlmostEqual((got == 4).float().mean().item(), 0.8, delta=0.02)
        self.assertAlmostEqual((got == wanted).float().mean().item(), 0.1 + 0.1 / (VOCABULARY - 5), delta=0.02)

    def test_logits_at_places(self):
        model = bert.BertForMaskedLM(small_config()).eval()
        ids, places = torch.randint(5, VOCABULARY, (3, LENGTH)), torch.tensor([[1, 4], [2, 3], [9, 0]])
        every = model(ids)
        self.assertEqual(every.shape, (3, LENGTH, VOCABULARY))
        torch.testing.assert_close(model(ids, places=places), torch.stack([every[i, row] for i, row in enumerate(places)]))

    def test_padding_is_not_seen(self):
        model = finetune_spam.classifier(small_config("ss1-4"), "cpu").eval()
        ids = torch.randint(5, VOCABULARY, (2, LENGTH))
        padded = torch.nn.functional.pad(ids[:, :10], (0, 6))
        torch.testing.assert_close(model(padded, (padded != 0).long()), model(ids[:, :10]), rtol=1e-4, atol=1e-5)

    def test_projection_keeps_what_is_tied_already(self):
        model = finetune_spam.classifier(small_config(), "cpu").eval()
        projected = bert.project(model, 4).eval()
        name = "bert.encoder.layer.1.intermediate.dense"
        layer = dict(projected.named_modules())[name]
        want = ss1.project(model.state_dict()[f"{name}.weight"].numpy(), **layer.mapping)
        numpy.testing.assert_allclose(layer.ss1_weight.detach().numpy(), want, atol=1e-6)
        before = layer.ss1_weight.detach().clone()
        fit(layer, layer.weight.detach().clone(), layer.bias.detach().clone())
        torch.testing.assert_close(layer.ss1_weight.detach(), before)

    def test_directory_runs_in_the_library(self):
        ids = texts(12)[0].astype(numpy.int64)
        for name in ("dense", "ss1-4", "ss1-2-half"):
            model = finetune_spam.classifier(small_config(name), "cpu").eval()
            for parameter in model.parameters():  # larger than the initial ones, whose logits are nearly equal
                parameter.data.add_(torch.randn_like(parameter) * 0.05)
            with tempfile.TemporaryDirectory() as folder, ss1.Context(num_threads=1) as context:
                model_dir.save(folder, model.config, model.state_dict(), numpy.float16)
                want = finetune_spam.predict(finetune_spam.load(model, pathlib.Path(folder)), torch.from_numpy(ids))
                session = ss1.Session(ss1.Model(context, folder), max_batch=16)
                got = finetune_spam.predict_by_library(session, ids, batch=5)
            self.assertGreater(want.std(), 0.05)
            numpy.testing.assert_allclose(got, want, atol=1e-4, err_msg=name)

    def test_scores(self):
        logits = numpy.array([[2, 0], [0, 1], [0, 3], [1, 0]], numpy.float32)
        got = finetune_spam.scores(logits, numpy.array([0, 1, 0, 1]))
        self.assertEqual((got["accuracy"], got["f1"]), (0.5, 0.5))
        self.assertAlmostEqual(got["log_loss"], numpy.log1p(numpy.exp([-2, -1, 3, 1])).mean(), places=6)


class Commands(unittest.TestCase):
    def command(self, script, *options):
        return subprocess.run([sys.executable, "-B", str(TRAIN / f"{script}.py"), *map(str, options)], capture_output=True,
                              text=True, check=True).stdout

    def test_tiny_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            write_data(folder / "data")
            data = ("--data", folder / "data")
            for model in ("dense", "ss1-2"):
                pretrain = ("pretrain_bert", *data, "--model", model, "--out", folder / "pre", "--hidden", 64, "--layers", 1,
                            "--length", LENGTH, "--batch", 32, "--steps", 200, "--lr", 5e-3, "--log-every", 10)
                self.command(*pretrain)
                result = json.loads((folder / "pre" / model / "result.json").read_text())
                self.assertEqual(result["steps"], 200)
                self.assertLess(result["held_out_loss"], numpy.log(VOCABULARY - 5) - 0.3)
                self.assertIn("already finished", self.command(*pretrain))
            names = "dense,projected-2,tuned-2,ss1-2"
            finetune = ("finetune_spam", *data, "--pretrained", folder / "pre", "--out", folder / "runs", "--epochs", 3,
                        "--again-epochs", 1, "--batch", 16, "--lr", 3e-3, "--models", names)
            self.command(*finetune, "--seeds", "2")
            self.command(*finetune, "--seeds", "1,2", "--dtypes", "f32,bf16,i8", "--report", folder / "spam.md",
                         "--export", f"ss1-2={folder / 'best'}")
            table = (folder / "spam.md").read_text()
            for text in ("| tuned-2 |", "accuracy int8, %", "± ", "| ss1-2 | "):
                self.assertIn(text, table)
            runs = json.loads((folder / "spam.json").read_text())
            self.assertEqual(len(runs), 8)
            self.assertGreater(runs[0]["test"]["f32"]["accuracy"], 0.9)
            self.assertLess(abs(runs[0]["test"]["f32"]["log_loss"] - runs[0]["test"]["bf16"]["log_loss"]), 0.02)
            config, tensors = model_dir.load(folder / "best")
            self.assertEqual((config["id2label"], tensors["classifier.weight"].dtype), (mails.LABELS, numpy.float16))
            self.assertTrue((folder / "best" / "vocab.txt").exists())


if __name__ == "__main__":
    unittest.main()
