# SPDX-License-Identifier: Apache-2.0
"""ss1 as a contender. The arguments of ss1_session_run() are made once, as a C program has them: what is timed is that call."""
import ctypes
import time
from ctypes import c_int, c_size_t, c_void_p

import numpy
import ss1
from ss1 import _capi

WEIGHT_DTYPES = {"f32": "f32", "bf16": "bf16", "int8": "i8"}
# With addresses as plain numbers a call costs half a microsecond; as arrays of structs two, of a run of twenty.
session_run = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)(("ss1_session_run", _capi.lib))
OUTPUTS = {"dlrm": "probability", "bert": "last_hidden_state"}


class Ss1:
    def __init__(self, spec):
        self.context = ss1.Context(num_threads=spec["threads"])
        self.model = ss1.Model(self.context, spec["directory"], weight_dtype=WEIGHT_DTYPES[spec["dtype"]])
        self.family = self.model.info["family"]
        self.output = spec.get("output", OUTPUTS[self.family])
        self.session, self.calls, self.kept = None, [], []
        self.info = {"library": f"ss1 {ss1.version()}", "weight_bytes": self.model.info["weight_bytes"],
                     "kernels": sorted({layer["layer"]["kernels"] for layer in self.model.layers})}

    def prepare(self, sets):
        dlrm = self.family == "dlrm"
        batch = max(inputs["offsets"].shape[1] if dlrm else len(inputs["input_ids"]) for inputs in sets)
        tokens = 0 if dlrm else max(inputs["input_ids"].shape[1] for inputs in sets)
        self.session, self.calls, self.kept = ss1.Session(self.model, max_batch=batch, max_tokens=tokens), [], []
        return [self._call(inputs, self.session._empty([self.output], inputs)) for inputs in sets]

    def _call(self, inputs, outputs):
        given, wanted = (self.session._tensors("arrays", arrays, known)
                         for arrays, known in ((inputs, self.model.inputs), (outputs, self.model.outputs)))
        array = next(iter(outputs.values()))
        arguments = (self.session._pointer.value, ctypes.addressof(given), len(given), ctypes.addressof(wanted), len(wanted))
        self.calls.append(arguments)
        self.kept.append((given, wanted, inputs, outputs))  # alive as long as they may be run

        def call():
            if session_run(*arguments):
                raise RuntimeError(_capi.lib.ss1_last_error().decode())
            return array
        return call

    def stages(self, n):
        """Seconds of a run by stage, and of the whole run: means over the faster half of n runs, which nothing disturbed."""
        runs, seconds = [], self.session.time_stages()
        for i in range(n + 1):
            arguments = self.calls[i % len(self.calls)]
            seconds[:] = 0
            begin = time.perf_counter()
            session_run(*arguments)
            runs.append((time.perf_counter() - begin, *seconds))
        self.session.time_stages(0)
        whole, *stages = numpy.mean(sorted(runs[1:])[:(n + 1) // 2], axis=0).tolist()  # the first run wakes up threads
        return {"whole": whole, "stages": dict(zip(self.model.stages, stages))}


make = Ss1
