# SPDX-License-Identifier: Apache-2.0
"""Lets each I/O call of a command fail in turn: an error must be told, transfers in pieces must go on, and no file may be
left half made.

    SS1_EXE=build/src/cli/ss1 IO_FAULTS=build/tests/libio_faults.so python3 tests/io_faults_test.py

Prints how many calls and failures of each command it tried.
"""
import collections
import errno
import filecmp
import json
import os
import pathlib
import shutil
import signal
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

    def run_whole(self, arguments):
        """A run without a fault, and the names of its calls."""
        whole = self.run_command(arguments, IO_FAULT_LOG=str(self.log))
        self.assertEqual(whole.returncode, 0, whole.stderr)
        return whole, self.log.read_text().split()

    def check(self, name, arguments):
        whole, calls = self.run_whole(arguments)
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

    def check_signals(self, arguments, may_fail):
        """A signal before each call, which may also fail, ends the command: its files are whole, or none is there."""
        _, calls = self.run_whole(arguments)
        reference = self.folder / "reference"
        shutil.copytree(self.outputs, reference)
        ends = collections.Counter()
        for number, call in enumerate(calls, 1):
            for error in (0, errno.EIO) if may_fail else (0,):
                with self.subTest(call=f"{number} of {len(calls)}: {call}", error=error):
                    result = self.run_command(arguments, IO_FAULT_CALL=str(number), IO_FAULT_KIND=f"signal {error}")
                    self.assertEqual(result.returncode, -signal.SIGTERM, result.stderr)
                    told = result.stderr.decode()
                    if files(self.outputs):
                        self.assertEqual(files(self.outputs), files(reference))
                        for path in files(self.outputs):
                            self.assertTrue(filecmp.cmp(self.outputs / path, reference / path, shallow=False), path)
                        self.assertNotIn("nothing written", told)
                    else:
                        self.assertNotIn("was written", told)
                    ends[told.strip()] += 1
        print(f"{arguments[0]}, interrupted:", dict(ends), flush=True)
        self.assertLessEqual({"interrupted: nothing written"}, {told[-28:] for told in ends})
        self.assertTrue(any("was written" in told for told in ends), ends)

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

    def score_rows(self):
        shutil.copytree(DATA / "dlrm_cat", self.inputs)
        config = json.loads((DATA / "dlrm_cat/config.json").read_text())
        names = config["dense_features"] + [table["name"] for table in config["tables"]]
        (self.inputs / "rows.csv").write_text(",".join(names) + "\n" + ",".join("0" for _ in names) + "\n")
        return ["run", self.inputs, "--input", self.inputs / "rows.csv", "--output", self.outputs / "scores"]

    def test_signals_while_scores_are_written(self):
        self.check_signals(self.score_rows(), may_fail=False)

    def test_signals_while_a_model_is_written(self):
        shutil.copytree(DATA / "dlrm_dot", self.inputs)
        self.check_signals(["convert", self.inputs, self.outputs / "model", "-c", "2", "--block-k", "16"], may_fail=True)

    def test_scores_are_written_in_place(self):
        """Where the folder takes no file, or the file cannot be replaced, such as a mount point."""
        arguments = self.score_rows()
        _, calls = self.run_whole(arguments)
        expected = (self.outputs / "scores").read_bytes()
        for call, faults in {"create": [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG],
                             "rename": [errno.EBUSY, errno.EXDEV]}.items():
            self.assertEqual(calls.count(call), 1)
            for fault in [*faults, *(f"signal {fault}" for fault in faults)]:
                with self.subTest(call=call, fault=fault):
                    result = self.run_command(arguments, IO_FAULT_CALL=str(calls.index(call) + 1), IO_FAULT_KIND=str(fault))
                    if isinstance(fault, int):
                        self.assertEqual((result.returncode, result.stderr.count(b"cannot")), (0, 0), result.stderr)
                    else:
                        self.assertEqual(result.returncode, -signal.SIGTERM, result.stderr)
                    whole = isinstance(fault, int) or call == "rename"
                    self.assertEqual(files(self.outputs), ["scores"] if whole else [])
                    if whole:
                        self.assertEqual((self.outputs / "scores").read_bytes(), expected)

    def test_run_text(self):
        shutil.copytree(DATA / "bert_classifier", self.inputs)
        (self.inputs / "mail.txt").write_bytes((EXAMPLES / "data/mail.txt").read_bytes())
        self.check("run a BERT on texts",
                   ["run", self.inputs, "--text", self.inputs / "mail.txt", "--output", self.outputs / "answers"])

    def test_convert(self):
        shutil.copytree(DATA / "dlrm_dot", self.inputs)
        self.check("convert a DLRM", ["convert", self.inputs, self.outputs / "model", "-c", "2", "--block-k", "16"])

    def test_a_model_without_its_report_is_a_success(self):
        shutil.copytree(DATA / "bert_classifier", self.inputs)
        (self.inputs / "rows.csv").write_text("input_ids\n" + "".join(f"{5 + i} {6 + i} {7 + i}\n" for i in range(20)))
        model = self.outputs / "model"
        arguments = ["convert", self.inputs, model, "--budget", "1", "--calibrate", self.inputs / "rows.csv", "--min-rows", "1"]
        _, calls = self.run_whole(arguments)
        whole = files(model)
        named = [number for number, call in enumerate(calls, 1) if call == "rename"][-3]  # then come those of two reports
        tried = 0
        for number in range(calls.index("create", named) + 1, len(calls) + 1):
            if calls[number - 1] not in ("create", "write", "sync", "rename"):
                continue
            tried += 1
            with self.subTest(call=f"{number} of {len(calls)}: {calls[number - 1]}"):
                result = self.run_command(arguments, IO_FAULT_CALL=str(number), IO_FAULT_KIND=str(errno.EIO))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(f"ss1: {model} is written, but not its whole report: ".encode(), result.stderr)
                self.assertLess(set(files(model)), set(whole))
                subprocess.run([EXE, "inspect", model], check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(tried, 8)


if __name__ == "__main__":
    unittest.main()
