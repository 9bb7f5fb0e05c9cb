# SPDX-License-Identifier: Apache-2.0
"""Lets each I/O call of a command fail in turn: an error must be told, transfers in pieces must go on, and no file may be
left half made.

    SS1_EXE=build/src/cli/ss1 IO_FAULTS=build/tests/libio_faults.so python3 tests/io_faults_test.py

Prints how many calls and failures of each command it tried.
"""
import collections
import errno
import filecmp
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

EXE = os.environ["SS1_EXE"]
SHIM = os.environ["IO_FAULTS"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA, EXAMPLES = ROOT / "tests/data", ROOT / "examples"

# How each kind of call can fail, and which of these failures a program must overcome.
FAULTS = {
    "open": [errno.EINTR, errno.EIO, errno.EMFILE],
    "create": [errno.EINTR, errno.EIO, errno.ENOSPC],
    "examine": [errno.EIO],
    "read": [errno.EINTR, errno.EIO, "short", "end"],
    "write": [errno.EINTR, errno.EIO, errno.ENOSPC, "short"],
    "map": [errno.ENOMEM],
    "sync": [errno.EIO, errno.ENOSPC],
    "rename": [errno.EIO, errno.ENOSPC],
    "mkdir": [errno.EIO, errno.ENOSPC],
}
OVERCOME = [errno.EINTR, "short"]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class IoFaults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.log = self.folder / "log"
        self.inputs = self.folder / "inputs"  # these and the outputs are what the faults concern
        self.outputs = self.inputs / "outputs"

    def run_command(self, arguments, **environment):
        shutil.rmtree(self.outputs, ignore_errors=True)
        self.outputs.mkdir()
        return subprocess.run([EXE, *map(str, arguments)], capture_output=True, timeout=120,
                              env={**os.environ, "LD_PRELOAD": SHIM, "IO_FAULT_FOLDER": f"{self.inputs}/", **environment})

    def check(self, name, arguments):
        whole = self.run_command(arguments, IO_FAULT_LOG=str(self.log))
        self.assertEqual(whole.returncode, 0, whole.stderr)
        calls = self.log.read_text().split()
        reference = self.folder / "reference"
        shutil.copytree(self.outputs, reference)
        tried = collections.Counter()
        for number, call in enumerate(calls, 1):
            for fault in FAULTS[call]:
                with self.subTest(command=name, call=f"{number} of {len(calls)}: {call}", fault=fault):
                    result = self.run_command(arguments, IO_FAULT_CALL=str(number), IO_FAULT_KIND=str(fault))
                    self.compare(result, whole, reference, fault)
                tried[call] += 1
        print(f"{name}: {len(calls)} calls, {sum(tried.values())} failures:", dict(tried), flush=True)

    def compare(self, result, whole, reference, fault):
        """A failure that must be overcome changes nothing; after another one no file is there under its final name that
        differs from the whole one, and none under another name."""
        if fault in OVERCOME or result.returncode == 0:
            self.assertEqual(result.returncode, 0, result.stderr)
            if fault in OVERCOME or b"is written, but not summarised: " not in result.stderr:
                self.assertEqual(result.stdout, whole.stdout)
            self.assertEqual(files(self.outputs), files(reference))
        else:
            self.assertIn(result.returncode, (1, 2), result.stderr)
            self.assertIn(b"ss1", result.stderr)
            self.assertIn(str(self.inputs).encode(), result.stderr)  # names the file
        for path in files(self.outputs):
            self.assertTrue(filecmp.cmp(self.outputs / path, reference / path, shallow=False), path)

    def test_load_dlrm(self):
        shutil.copytree(DATA / "dlrm_dot", self.inputs)
        self.check("inspect a DLRM", ["inspect", self.inputs])

    def test_load_bert(self):
        shutil.copytree(DATA / "bert_classifier", self.inputs)
        self.check("inspect a BERT", ["inspect", self.inputs])

    def test_run_rows(self):
        shutil.copytree(EXAMPLES / "models/insteval-ss1", self.inputs)
        rows = (EXAMPLES / "data/insteval-test.csv").read_text().splitlines(keepends=True)
        (self.inputs / "rows.csv").write_text("".join(rows[:1000]))
        self.check("run a DLRM on rows", ["run", self.inputs, "--input", self.inputs / "rows.csv", "--output", self.outputs / "scores"])

    def test_run_text(self):
        shutil.copytree(DATA / "bert_classifier", self.inputs)
        (self.inputs / "mail.txt").write_bytes((EXAMPLES / "data/mail.txt").read_bytes())
        self.check("run a BERT on texts",
                   ["run", self.inputs, "--text", self.inputs / "mail.txt", "--output", self.outputs / "answers"])

    def test_convert(self):
        shutil.copytree(DATA / "dlrm_dot", self.inputs)
        self.check("convert a DLRM", ["convert", self.inputs, self.outputs / "model", "-c", "2", "--block-k", "16"])


if __name__ == "__main__":
    unittest.main()
