# SPDX-License-Identifier: Apache-2.0
"""Runs models where the system refuses threads, memory, files or system calls: results stay the same bits, or an error
names what is missing.

    SS1_EXE=build/src/cli/ss1 python3 tests/limits_test.py

Cases that need a right that this process lacks are skipped, and say so.
"""
import ctypes
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest

EXE = pathlib.Path(os.environ["SS1_EXE"]).resolve()
ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL, ROWS = ROOT / "examples/models/insteval-ss1", ROOT / "examples/data/insteval-test.csv"
NOBODY = 65534
NEWNS = 0x20000
# Without /proc the program does not know its own folder, beside which libss1 is.
ENVIRONMENT = {**os.environ, "LD_LIBRARY_PATH": str(EXE.parent.parent)}
libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def limit(which, value):
    return lambda: resource.setrlimit(which, (value, value))


def hide(*folders):
    """Empty folders stand in the place of these, in a file system name space of this process alone."""
    def act():
        must(libc.unshare(NEWNS), "unshare")
        must(libc.mount(b"none", b"/", None, 0x44000, None), "mount")  # MS_REC | MS_PRIVATE
        for folder in folders:
            must(libc.mount(b"none", folder.encode(), b"tmpfs", 0, None), "mount")
    return act


def one_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def be_nobody():
    """Becomes a user who can run the program: the folders above it may be closed to others."""
    os.setuid(NOBODY)
    subprocess.run([EXE, "--version"], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)


def can(act):
    """Whether a child of this process may do that."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Another user must be able to read what it runs.
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.folder.chmod(0o755)
        cls.model = cls.folder / "model"
        shutil.copytree(MODEL, cls.model)
        cls.rows = cls.folder / "rows.csv"
        cls.rows.write_text("".join(ROWS.read_text().splitlines(keepends=True)[:2000]))
        cls.want = cls.run_model(threads=4).stdout
        assert len(cls.want.splitlines()) == 2000, cls.want

    @classmethod
    def run_model(cls, before=None, threads=4, user=None, output="-"):
        return subprocess.run([EXE, "run", cls.model, "--input", cls.rows, "--threads", str(threads), "--batch", "500", "--output",
                               str(output)], capture_output=True, timeout=120, preexec_fn=before, user=user, env=ENVIRONMENT)

    def same(self, **options):
        result = self.run_model(**options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.want)

    def need(self, act):
        if not can(act):
            self.skipTest("this process may not do that here")

    def test_no_threads(self):
        if os.getuid() == 0:  # the limit does not hold for root
            self.need(be_nobody)
            self.same(before=limit(resource.RLIMIT_NPROC, 1), user=NOBODY)
        else:
            self.same(before=limit(resource.RLIMIT_NPROC, 1))

    def test_no_memory_for_stacks(self):
        self.same(before=limit(resource.RLIMIT_AS, 700 << 20), threads=256)

    def test_file_size(self):
        whole = self.folder / "scores"
        self.assertEqual(self.run_model(output=whole).returncode, 0)
        size = whole.stat().st_size
        whole.unlink()

        def act():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limit(resource.RLIMIT_FSIZE, size - 1)()
        result = self.run_model(before=act, output=whole)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(b"File too large", result.stderr)

    def test_no_descriptors(self):
        scores, refused = self.folder / "scores", 0
        self.addCleanup(scores.unlink, missing_ok=True)
        for n in range(3, 9):
            with self.subTest(descriptors=n):
                result = self.run_model(before=limit(resource.RLIMIT_NOFILE, n), output=scores)
                if result.returncode == 0:
                    self.assertEqual(scores.read_bytes(), self.want)
                elif result.returncode != 127:  # the dynamic linker could not open a library
                    self.assertEqual(result.returncode, 2, result.stderr)
                    self.assertIn(b"Too many open files", result.stderr)
                    refused += 1
        self.assertGreater(refused, 0)

    def test_read_only_folder(self):
        if os.getuid() == 0:
            self.need(be_nobody)
            result = self.run_model(output=self.folder / "none", user=NOBODY)
        else:
            self.folder.chmod(0o555)
            self.addCleanup(self.folder.chmod, 0o755)
            result = self.run_model(output=self.folder / "none")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(b"Permission denied", result.stderr)
        self.assertFalse((self.folder / "none").exists())

    def test_one_cpu(self):
        self.same(before=one_cpu)
        info = subprocess.run([EXE, "info"], capture_output=True, preexec_fn=one_cpu, text=True, timeout=60)
        self.assertIn("affinity mask of 1 CPU", info.stdout)

    def test_no_proc_and_no_sys(self):
        for folders in (["/proc"], ["/sys"], ["/proc", "/sys"]):
            with self.subTest(folders=folders):
                self.need(hide(*folders))
                self.same(before=hide(*folders))


if __name__ == "__main__":
    unittest.main()
