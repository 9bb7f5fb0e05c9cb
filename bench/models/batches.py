# SPDX-License-Identifier: Apache-2.0
"""Another contender (spec["inner"]), of which one run is a whole list of batches: what a loop over many texts costs."""
import importlib

import numpy


class Batches:
    def __init__(self, spec):
        self.inner = importlib.import_module(spec["inner"]).make(spec)
        self.info = self.inner.info

    def prepare(self, sets):
        """One list of batches alone: a contender keeps what it prepares until it prepares again."""
        batches, = sets
        calls = self.inner.prepare(batches)
        return [lambda: numpy.concatenate([call() for call in calls])]


make = Batches
