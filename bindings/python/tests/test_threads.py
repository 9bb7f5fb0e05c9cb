# SPDX-License-Identifier: Apache-2.0
"""Threads and processes: Model.run() from a pool of threads, a session in two threads, multiprocessing; values that C cannot hold."""
import concurrent.futures
import multiprocessing
import pathlib
import sys
import threading
import unittest

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1

DATA = HERE.parents[2] / "tests/data"
DLRM, BERT = DATA / "dlrm_dcn", DATA / "bert_classifier"


def bert_inputs(batch, tokens, seed):
    return {"input_ids": numpy.random.default_rng(seed).integers(0, 100, (batch, tokens))}


def dlrm_inputs(model, batch, seed):
    """Bags of one index each."""
    random = numpy.random.default_rng(seed)
    tables = model.inputs["offsets"][1][0]
    inputs = {"indices": numpy.zeros(tables * batch, numpy.int64),
              "offsets": numpy.arange(tables * batch).reshape(tables, batch)}
    if "dense_x" in model.inputs:
        inputs["dense_x"] = random.uniform(-1, 1, (batch, model.inputs["dense_x"][1][1])).astype(numpy.float32)
    return inputs


def requests(model, count):
    """Of many sizes."""
    if "input_ids" in model.inputs:
        return [bert_inputs(1 + i % 5, 1 + i * 7 % 16, i) for i in range(count)]
    return [dlrm_inputs(model, 1 + i * 7 % 40, i) for i in range(count)]


def expected(model, inputs):
    batch = inputs["input_ids"].shape[0] if "input_ids" in inputs else inputs["offsets"].shape[1]
    with ss1.Session(model, max_batch=batch) as session:
        return session.run(inputs)


def same(got, want):
    return got.keys() == want.keys() and all(numpy.array_equal(got[name], want[name]) for name in want)


WEIGHT = numpy.random.default_rng(0).uniform(-1, 1, (384, 384)).astype(numpy.float32)
# What a process makes with a context, and what it then runs.
SUBJECTS = {
    "layer": (lambda context: ss1.Layer(context, WEIGHT), lambda layer: {"y": layer(WEIGHT[:64])}),
    "model": (lambda context: ss1.Model(context, BERT), lambda model: model.run(bert_inputs(8, 16, 0))),
    "tokenizer": (lambda context: ss1.Tokenizer(context, DATA / "tokenizer"),
                  lambda tokenizer: tokenizer(["at the caf\xe9"] * 64, max_tokens=16)),
    "project": (lambda context: context, lambda context: {"z": ss1.project(WEIGHT, c=4)}),
}


def run_in_child(name, num_threads, want, made=None):
    """What the parent made and the child's own: for multiprocessing's fork and spawn. A spawned child has only its own."""
    make, run = SUBJECTS[name]
    if made is not None and not same(run(made), want):
        return False
    with ss1.Context(num_threads=num_threads) as context:
        own = make(context)
        return same(run(own), want) and same(run(own), want)


inherited = []


def run_inherited():
    sys.exit(0 if run_in_child(*inherited) else 1)


def run_spawned(*arguments):
    sys.exit(0 if run_in_child(*arguments) else 1)


class Threads(unittest.TestCase):
    def test_many_threads_run_one_model(self):
        for directory in (DLRM, BERT):
            with self.subTest(directory.name), ss1.Context(num_threads=2) as context, ss1.Model(context, directory) as model:
                given = requests(model, 40)
                want = [expected(model, inputs) for inputs in given]
                with concurrent.futures.ThreadPoolExecutor(8) as threads:
                    for _ in range(10):
                        got = list(threads.map(model.run, given))
                        self.assertTrue(all(map(same, got, want)))
                self.assertTrue(1 <= len(model._idle) <= 8, len(model._idle))

    def test_model_run(self):
        with ss1.Context() as context, ss1.Model(context, BERT) as model:
            inputs = bert_inputs(3, 5, 0)
            want = expected(model, inputs)
            self.assertEqual(list(model.run(inputs, ["logits"])), ["logits"])
            logits = numpy.zeros((3, 3), numpy.float32)
            model.run(inputs, {"logits": logits})
            numpy.testing.assert_array_equal(logits, want["logits"])
            self.assertEqual(len(model._idle), 1)  # one caller at a time: one session
            # Errors are those of a session, and the pool goes on.
            for wrong, message in (({}, "'input_ids' is missing"), ({"x": logits}, "'x'"),
                                   ({"input_ids": numpy.zeros(3, numpy.int64)}, "rank=1"),
                                   (bert_inputs(1, 17, 0), "17"),
                                   ({"input_ids": numpy.full((1, 2), 100)}, "100")):
                with self.assertRaisesRegex(ss1.Error, message):
                    model.run(wrong)
            self.assertTrue(same(model.run(inputs), want))
            self.assertTrue(same(model.run(bert_inputs(0, 5, 0)), expected(model, bert_inputs(0, 5, 0))))
            self.assertEqual(len(model._idle), 1)
            model.close()
            with self.assertRaisesRegex(ss1.Error, "Model is closed"):
                model.run(inputs)

    def test_a_session_is_in_use_while_another_thread_runs_it(self):
        with ss1.Context(num_threads=1) as context, ss1.Model(context, BERT) as model:
            session, inputs = ss1.Session(model, max_batch=64), bert_inputs(64, 16, 0)
            want = session.run(inputs)
            right, in_use, barrier = [], [], threading.Barrier(4)

            def hammer():
                barrier.wait()
                for _ in range(50):
                    try:
                        right.append(same(session.run(inputs), want))
                    except ss1.Error as error:
                        in_use.append("in use" in error.message and error.status == ss1.Status.INVALID_ARGUMENT)

            threads = [threading.Thread(target=hammer) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(right) + len(in_use), 200)
            self.assertTrue(right and all(right) and in_use and all(in_use), (len(right), len(in_use)))


class Processes(unittest.TestCase):
    def finishes(self, process):
        process.start()
        process.join(60)
        if process.exitcode is None:
            process.kill()
        self.assertEqual(process.exitcode, 0)

    def test_fork_and_spawn(self):
        for num_threads in (1, 2):
            for name in SUBJECTS:
                with self.subTest(name, num_threads=num_threads), ss1.Context(num_threads=num_threads) as context:
                    if name == "tokenizer" and not self.has_tokenizer(context):
                        continue
                    self.forks_and_spawns(name, num_threads, context)

    def has_tokenizer(self, context):
        try:
            return ss1.Tokenizer(context, DATA / "tokenizer") is not None
        except ss1.Error as error:
            self.assertEqual(error.status, ss1.Status.UNSUPPORTED)  # built without ICU
            return False

    def forks_and_spawns(self, name, num_threads, context):
        make, run = SUBJECTS[name]
        made = make(context)
        want = run(made)
        inherited[:] = name, num_threads, want, made
        fork = multiprocessing.get_context("fork")
        self.finishes(fork.Process(target=run_inherited))
        stop, wrong = threading.Event(), []

        def make_and_run():
            while not stop.is_set():
                if not same(run(make(context)), want):
                    wrong.append(name)

        threads = [threading.Thread(target=make_and_run) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                self.finishes(fork.Process(target=run_inherited))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        spawn = multiprocessing.get_context("spawn")
        self.finishes(spawn.Process(target=run_spawned, args=(name, num_threads, want)))
        self.assertTrue(not wrong and same(run(made), want))


class Values(unittest.TestCase):
    def refused(self, message, call, *arguments, **options):
        with self.assertRaisesRegex(ss1.Error, message) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status, ss1.Status.INVALID_ARGUMENT)

    def test_zero_bytes_and_numbers_beyond_their_width(self):
        with ss1.Context() as context:
            for directory in (f"{BERT}\0x", f"{BERT}\0x".encode()):
                self.refused("zero byte", ss1.Model, context, directory)
                self.refused("zero byte", ss1.Tokenizer, context, directory)
            self.refused("zero byte", context.load_backend, "cpu\0x")
            self.refused("zero byte", ss1.Context, backend="cpu\0x")
            self.refused("zero byte", ss1.Context, max_isa="none\0x")
            self.refused("zero byte", ss1.Bags, context, 4, {"a\0b": numpy.zeros((2, 4), numpy.float32)})
            for device in (2**32, 2**31, -2**31 - 1, 1.5, "0"):
                self.refused("device=", ss1.Context, device=device)
            try:
                tokenizer = ss1.Tokenizer(context, DATA / "tokenizer")
            except ss1.Error:
                self.skipTest("built without ICU")
            self.refused("id=", tokenizer.tokens, [2**64])
            self.refused("id=", tokenizer.tokens, [1.5])

    def test_messages_that_are_not_utf8(self):
        with ss1.Context() as context:
            with self.assertRaises(ss1.Error) as caught:
                ss1.Model(context, b"/nowhere/\xff")
            self.assertIn("/nowhere/\N{REPLACEMENT CHARACTER}", caught.exception.message)
            for length in range(600, 604):  # cut somewhere inside of a character
                with self.assertRaises(ss1.Error) as caught:
                    ss1.Model(context, "a" * length + "\N{GREEK SMALL LETTER ALPHA}" * 400)
                self.assertNotIn("\N{REPLACEMENT CHARACTER}", caught.exception.message)


if __name__ == "__main__":
    unittest.main()
