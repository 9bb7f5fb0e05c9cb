# SPDX-License-Identifier: Apache-2.0
"""close() while other threads are inside of calls, and the order in which objects that need each other are destroyed."""
import collections
import contextlib
import ctypes
import functools
import gc
import json
import pathlib
import sys
import threading
import unittest
import unittest.mock
import weakref

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1

DATA = HERE.parents[2] / "tests/data"
BERT, DLRM = DATA / "bert_classifier", DATA / "dlrm_dot"
ROUNDS = 200


def uniform(*shape, seed=0):
    return numpy.random.default_rng(seed).uniform(-1, 1, shape).astype(numpy.float32)


def has_tokenizers():
    with ss1.Context(num_threads=1) as context:
        try:
            ss1.Tokenizer(context, BERT).close()
        except ss1.Error as error:
            if error.status != ss1.Status.UNSUPPORTED:
                raise
            return False
    return True


def same(got, want):
    """Whether two results of a call are equal: arrays, or what else a call gives."""
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(same(got[name], want[name]) for name in want)
    return numpy.array_equal(got, want) if isinstance(want, numpy.ndarray) else got == want


Case = collections.namedtuple("Case", "kind make call function")  # `call` of what `make` gives is inside of the C function


def cases(context):
    """Of each class a call that computes and, where there is one, a call that reads what the object owns."""
    ids = {"input_ids": numpy.arange(12).reshape(2, 6)}
    x, layers = uniform(3, 16), lambda: [ss1.Layer(context, uniform(16, 16)) for _ in range(2)]
    bags = functools.partial(ss1.Bags, context, 8, {"a": uniform(5, 8)})
    bert, dlrm = functools.partial(ss1.Model, context, BERT), functools.partial(ss1.Model, context, DLRM)
    table = json.loads((DLRM / "config.json").read_text())["tables"][0]["name"]
    width = json.loads((DLRM / "config.json").read_text())["embedding_dim"]
    rows = numpy.zeros(1, numpy.int64), numpy.zeros((1, width), numpy.float32)
    yield Case("Session", lambda: ss1.Session(bert(), 2), lambda session: session.run(ids), "ss1_session_run")
    yield Case("Session", lambda: ss1.Session(bert(), 2), lambda session: session.cancel(), "ss1_session_cancel")
    yield Case("Model", bert, lambda model: model.run(ids), "ss1_session_run")
    yield Case("Model", dlrm, lambda model: model.update_rows(table, *rows), "ss1_model_update_rows")
    yield Case("Model", bert, lambda model: model.labels, "ss1_model_label")
    yield Case("Model", bert, lambda model: model.info, "ss1_model_describe")
    yield Case("Model", bert, lambda model: model.layers, "ss1_model_layer")
    yield Case("Layer", lambda: layers()[0], lambda layer: layer(x), "ss1_layer_run")
    yield Case("Layer", lambda: layers()[0], lambda layer: layer.info, "ss1_layer_describe")
    yield Case("Tower", lambda: ss1.Tower(layers()), lambda tower: tower(x), "ss1_tower_run")
    yield Case("Bags", bags, lambda bags: bags(numpy.arange(4), numpy.array([[0, 2]])), "ss1_bags_run")
    if has_tokenizers():
        yield Case("Model", bert, lambda model: model.predict(["a b", "c"]), "ss1_model_encode")
        yield Case("Tokenizer", lambda: ss1.Tokenizer(context, BERT), lambda tokenizer: tokenizer(["a b"], max_tokens=8), "ss1_tokenizer_encode")
        yield Case("Tokenizer", lambda: ss1.Tokenizer(context, BERT), lambda tokenizer: tokenizer.tokens([1, 2]), "ss1_tokenizer_token")
    yield Case("Context", lambda: ss1.Context(num_threads=1), lambda other: other.info, "ss1_get_info")


@contextlib.contextmanager
def recorded_destroys():
    """The list of the names of the classes whose C objects were destroyed, in order."""
    destroyed = []

    def recording(name, destroy):
        def record(handle):
            if handle:
                destroyed.append(name)
            destroy(handle)
        return record

    with contextlib.ExitStack() as patches:
        for name in ("context", "layer", "tower", "bags", "model", "session", "tokenizer"):
            function = f"ss1_{name}_destroy"
            patches.enter_context(unittest.mock.patch.object(ss1._lib, function, recording(name.capitalize(), getattr(ss1._lib, function))))
        yield destroyed


class Calling(threading.Thread):
    """A thread inside of call(): the C function is at its end and does not return before finish()."""

    def __init__(self, function, call):
        super().__init__()
        self._function, self._call = function, call
        self._inside, self._go, self.result, self.error = threading.Event(), threading.Event(), None, None

    def run(self):
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        self._inside.set()

    def __enter__(self):
        function = getattr(ss1._lib, self._function)

        def wait_at_the_end(*arguments):
            status = function(*arguments)
            if threading.current_thread() is self:
                self._inside.set()
                self._go.wait()
            return status

        self._patch = unittest.mock.patch.object(ss1._lib, self._function, wait_at_the_end)
        self._patch.start()
        self.start()
        self._inside.wait()
        return self

    def finish(self):
        self._go.set()
        self.join()

    def __exit__(self, *exception):
        self.finish()
        self._patch.stop()


class Close(unittest.TestCase):
    def setUp(self):
        self.context = ss1.Context(num_threads=1)
        self.addCleanup(self.context.close)

    def test_calls_in_flight_end_before_the_object_is_destroyed(self):
        for case in cases(self.context):
            with self.subTest(case.kind, function=case.function), recorded_destroys() as destroyed:
                made = case.make()
                want = case.call(made)
                destroyed.clear()
                with Calling(case.function, lambda: case.call(made)) as calling:
                    made.close()
                    made.close()
                    self.assertNotIn(case.kind, destroyed)
                    with self.assertRaisesRegex(ss1.Error, f"^{case.kind} is closed$") as caught:
                        case.call(made)
                    self.assertEqual(caught.exception.status, ss1.Status.INVALID_ARGUMENT)
                    self.assertNotIn(case.kind, destroyed)
                    calling.finish()
                    self.assertIsNone(calling.error)
                    self.assertTrue(same(calling.result, want), (calling.result, want))
                    self.assertEqual(destroyed.count(case.kind), 1)

    def test_a_call_that_fails_lets_go_too(self):
        with recorded_destroys() as destroyed:
            session = ss1.Session(ss1.Model(self.context, BERT))
            with Calling("ss1_session_run", lambda: session.run({})) as calling:
                session.close()
                self.assertNotIn("Session", destroyed)
                calling.finish()
                self.assertRegex(str(calling.error), "'input_ids' is missing")
                self.assertEqual(destroyed.count("Session"), 1)

    def test_a_tower_keeps_its_layers(self):
        with recorded_destroys() as destroyed:
            layers = [ss1.Layer(self.context, uniform(16, 16, seed=seed)) for seed in range(2)]
            tower, x = ss1.Tower(layers), uniform(3, 16)
            want = tower(x)
            with Calling("ss1_tower_run", lambda: tower(x)) as calling:
                layers[1].close()
                calling.finish()
                numpy.testing.assert_array_equal(calling.result, want)
            with self.assertRaisesRegex(ss1.Error, "^Layer is closed$"):
                tower(x)
            self.assertEqual(destroyed, [])
            tower.close()
            self.assertEqual(destroyed, ["Tower", "Layer"])
            with self.assertRaisesRegex(ss1.Error, "^Layer is closed$"):
                ss1.Tower(layers)

    def test_a_model_closed_while_a_session_returns_keeps_no_session(self):
        model = ss1.Model(self.context, BERT)

        class Closing(collections.deque):  # the model is closed at the last moment before the session is in the pool
            def append(self, session):
                model.close()
                super().append(session)

        model._idle = Closing()
        with recorded_destroys() as destroyed:
            model.run({"input_ids": numpy.zeros((1, 4), numpy.int64)})
        self.assertEqual((len(model._idle), destroyed), (0, ["Session"]))

    def test_sessions_keep_the_files_in_memory(self):
        files = {path.name: numpy.fromfile(path, numpy.uint8) for path in DLRM.iterdir() if path.name in ("config.json", "model.safetensors")}
        kept = weakref.ref(files["model.safetensors"])
        session = ss1.Session(ss1.Model(self.context, files, map_tables=True))
        del files
        gc.collect()
        self.assertIsNotNone(kept(), "the session reads the tables of its model")
        session.close()
        self.assertIsNone(kept())

    def test_an_interrupted_time_stages_keeps_the_array_that_runs_write_to(self):
        session, made = ss1.Session(ss1.Model(self.context, BERT)), []
        measure = ss1._lib.ss1_session_time_stages

        def interrupted(handle, seconds, count):
            measure(handle, seconds, count)
            made.append(ctypes.addressof(seconds.contents))
            raise KeyboardInterrupt

        with unittest.mock.patch.object(ss1._lib, "ss1_session_time_stages", interrupted), self.assertRaises(KeyboardInterrupt):
            session.time_stages()
        self.assertEqual([array.ctypes.data for array in session._stages], made)
        session.run({"input_ids": numpy.zeros((1, 4), numpy.int64)})
        self.assertGreater(session._stages[0].sum(), 0)
        session.time_stages(0)
        self.assertEqual([array.size for array in session._stages], [0])

    def test_what_is_made_from_a_context_keeps_its_log(self):
        log = lambda level, message: None
        context, kept = ss1.Context(num_threads=1, log=log), weakref.ref(log)
        tower = ss1.Tower([ss1.Layer(context, uniform(16, 16))])
        session = ss1.Session(ss1.Model(context, BERT))
        del context, log
        for user in (tower, session):
            self.assertIsNotNone(kept())
            user.close()
        del tower, session, user
        gc.collect()
        self.assertIsNone(kept())


class Race(unittest.TestCase):
    def setUp(self):
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)  # threads take turns also between the instructions around a call

    def race(self, make, call, callers):
        """Threads call while this one closes, many times."""
        made = make()
        want, ran, wrong = call(made), [], []
        made.close()

        def hammer(made, barrier):
            barrier.wait()
            try:
                while True:
                    result = call(made)
                    ran.append(same(result, want))
            except ss1.Error as error:
                if error.message != f"{type(made).__name__} is closed":
                    wrong.append(error)

        for i in range(ROUNDS):
            made, barrier = make(), threading.Barrier(callers + 1)
            threads = [threading.Thread(target=hammer, args=(made, barrier)) for _ in range(callers)]
            for thread in threads:
                thread.start()
            barrier.wait()
            threading.Event().wait(i % 8 * 1e-4)
            made.close()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])
        self.assertTrue(ran and all(ran), (len(ran), ran.count(False)))

    def test_calls_are_right_or_refused(self):
        ids, x = {"input_ids": numpy.arange(60).reshape(10, 6) % 50}, uniform(40, 64)
        with ss1.Context(num_threads=1) as context, ss1.Model(context, BERT) as bert:
            layer = lambda: ss1.Layer(context, uniform(64, 64))
            tokenizer = functools.partial(ss1.Tokenizer, context, BERT)
            tried = [(functools.partial(ss1.Session, bert, 10), lambda session: session.run(ids), 1),
                     (functools.partial(ss1.Model, context, BERT), lambda model: model.run(ids), 2),
                     (functools.partial(ss1.Model, context, BERT), lambda model: model.labels, 2),
                     (layer, lambda layer: layer(x), 2), (lambda: ss1.Tower([layer(), layer()]), lambda tower: tower(x), 2)]
            if has_tokenizers():
                tried.append((tokenizer, lambda tokenizer: tokenizer(["a b c", "d"], max_tokens=8), 2))
            for make, call, callers in tried:
                with self.subTest(make=make):
                    self.race(make, call, callers)


if __name__ == "__main__":
    unittest.main()
