# SPDX-License-Identifier: Apache-2.0
"""ss1 as a contender. The arguments of ss1_session_run() are made once, as a C program has them: what is timed is that call."""
import time

import numpy
import ss1
from ss1 import _capi

WEIGHT_DTYPES = {"f32": "f32", "bf16": "bf16", "int8": "i8"}
OUTPUTS = {"dlrm": "probability", "bert": "last_hidden_state"}
STAGES = {"dlrm": ("lookup", "bottom MLP", "interaction", "top MLP")}


class Ss1:
    def __init__(self, spec):
        self.context = ss1.Context(num_threads=spec["threads"])
        self.model = ss1.Model(self.context, spec["directory"], weight_dtype=WEIGHT_DTYPES[spec["dtype"]])
        self.family = self.model.info["family"]
        self.session, self.arguments = None, []
        self.info = {"library": f"ss1 {ss1.version()}", "weight_bytes": self.model.info["weight_bytes"],
                     "kernels": sorted({layer["layer"]["kernels"] for layer in self.model.layers})}

    def prepare(self, sets):
        name = OUTPUTS[self.family]
        largest = {key: max(len(inputs[key]) for inputs in sets) for key in sets[0]}
        batch = sets[0]["offsets"].shape[1] if self.family == "dlrm" else largest["input_ids"]
        tokens = 0 if self.family == "dlrm" else sets[0]["input_ids"].shape[1]
        self.session, self.arguments = ss1.Session(self.model, max_batch=batch, max_tokens=tokens), []
        return [self._call(inputs, self.session.run(inputs, [name])) for inputs in sets]

    def _call(self, inputs, outputs):
        given, wanted = (self.session._tensors("arrays", arrays, known)
                         for arrays, known in ((inputs, self.model.inputs), (outputs, self.model.outputs)))
        handle, run, array = self.session._pointer, _capi.lib.ss1_session_run, next(iter(outputs.values()))
        n_given, n_wanted = len(given), len(wanted)
        self.arguments.append((given, wanted, inputs, outputs))  # alive as long as they may be run

        def call():
            if run(handle, given, n_given, wanted, n_wanted):
                raise RuntimeError(_capi.lib.ss1_last_error().decode())
            return array
        return call

    def stages(self, n):
        """Mean seconds of n runs by stage, and of the whole run."""
        names = STAGES.get(self.family)
        if not names:
            return None
        seconds = self.session.time_stages(len(names))
        calls = [(given, wanted) for given, wanted, _, _ in self.arguments]
        handle, run, whole = self.session._pointer, _capi.lib.ss1_session_run, 0.0
        for i in range(n + 1):
            given, wanted = calls[i % len(calls)]
            begin = time.perf_counter()
            run(handle, given, len(given), wanted, len(wanted))
            whole += time.perf_counter() - begin
            if i == 0:  # wakes up threads
                whole, seconds[:] = 0.0, 0
        result = {"whole": whole / n, "stages": dict(zip(names, (seconds / n).tolist()))}
        self.session.time_stages(0)
        return result


make = Ss1
