# SPDX-License-Identifier: Apache-2.0
"""Model directories and files that are written whole or not at all."""
import errno
import os
import pathlib
import re
import stat
import sys
import tempfile
import threading
import unittest
import unittest.mock

import numpy

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import ss1
from ss1 import model_dir, safetensors_io

DLRM = HERE.parents[2] / "tests/data/dlrm_dot"
TEMPORARY = r"\.tmp-\d+-\d+"  # what src/io/file.cpp takes for the rest of a killed process


class TestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.config, self.tensors = model_dir.load(DLRM)

    def contents(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


class Save(TestCase):
    def recorded(self):
        """Saves; (a word for each fsync and each rename, the names renamed from)."""
        steps, sources = [], []

        def fsync(descriptor):
            steps.append("fsync " + re.sub(TEMPORARY, "", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))

        def replace(source, target):
            steps.append(f"rename {os.path.basename(target)}")
            sources.append(os.path.basename(source))
            rename(source, target)

        rename = os.replace
        with unittest.mock.patch("os.fsync", fsync), unittest.mock.patch("os.replace", replace):
            model_dir.save(self.folder, self.config, self.tensors)
        return steps, sources

    def test_config_json_gets_its_name_last(self):
        steps, sources = self.recorded()
        self.assertEqual([step for step in steps if step.startswith("rename")], ["rename model.safetensors", "rename config.json"])
        for name in ("model.safetensors", "config.json"):  # both are on the disk before one has its name
            self.assertLess(steps.index(f"fsync {name}"), steps.index("rename model.safetensors"))
        for name, source in zip(("model.safetensors", "config.json"), sources):
            self.assertRegex(source, f"^{re.escape(name)}{TEMPORARY}$")
        again = self.recorded()[1]
        self.assertFalse(set(sources) & set(again))
        self.assertEqual(sorted(self.contents()), ["config.json", "model.safetensors"])
        with ss1.Context(num_threads=1) as context:
            ss1.Model(context, self.folder).close()

    def test_an_exception_leaves_what_was_there(self):
        interrupting, changed = unittest.mock.MagicMock(), {**self.config, "bottom_mlp": [1]}
        interrupting.detach.side_effect = KeyboardInterrupt
        full = OSError(errno.ENOSPC, "No space left on device")
        for before in (False, True):
            if before:
                model_dir.save(self.folder, self.config, self.tensors)
            want = self.contents()
            for where in ("os.fsync", "os.fchmod" if before else "os.fsync", "ss1.safetensors_io.struct.pack"):
                for error in (full, KeyboardInterrupt()):
                    with self.subTest(before=before, where=where, error=error), unittest.mock.patch(where, side_effect=error):
                        self.assertRaises(type(error), model_dir.save, self.folder, changed, self.tensors)
                    self.assertEqual(self.contents(), want)
            for error, config, tensors in ((KeyboardInterrupt, changed, {**self.tensors, "last": interrupting}),
                                           (TypeError, {"config": object()}, self.tensors)):
                with self.subTest(before=before, error=error):
                    self.assertRaises(error, model_dir.save, self.folder, config, tensors)
                    self.assertEqual(self.contents(), want)
            self.assertRaises(TypeError, model_dir.save_config, self.folder, {"config": object()})
            with self.assertRaisesRegex(ValueError, "'bot_l.0.bias': safetensors has no type for numpy's complex64"):
                model_dir.save(self.folder, changed, self.tensors, numpy.complex64)
            self.assertEqual(self.contents(), want)

    def test_an_old_config_never_lies_beside_new_weights(self):
        model_dir.save(self.folder, self.config, self.tensors)
        for killed_at in ("model.safetensors", "config.json"):
            with self.subTest(killed_at=killed_at):
                child = os.fork()
                if child == 0:  # killed right after the name is there
                    def replace(source, target, rename=os.replace):
                        rename(source, target)
                        if target.endswith(killed_at):
                            os._exit(9)
                    os.replace = replace
                    try:
                        model_dir.save(self.folder, self.config, {name: array + 1 for name, array in self.tensors.items()})
                    finally:
                        os._exit(1)
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 9)
                self.assertEqual((self.folder / "config.json").exists(), killed_at == "config.json")
        names = [name for name in self.contents() if name not in ("config.json", "model.safetensors")]
        self.assertEqual([re.sub(TEMPORARY + "$", "", name) for name in names], ["config.json"])

    def test_threads_save_one_directory(self):
        first = {name: numpy.zeros_like(array) for name, array in self.tensors.items()}
        second = {name: numpy.ones_like(array) for name, array in self.tensors.items()}
        errors = []

        def save(tensors):
            try:
                for _ in range(20):
                    safetensors_io.write(self.folder / "model.safetensors", tensors)
                    found = safetensors_io.read(self.folder / "model.safetensors")
                    if len({array.flat[0] for array in found.values() if array.size}) != 1:
                        errors.append("mixed")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=save, args=(tensors,)) for tensors in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((errors, sorted(self.contents())), ([], ["model.safetensors"]))


class Output(TestCase):
    def write(self, path, data=b"new"):
        from ss1._output import output
        with output(path) as file:
            file.write(data)

    def test_mode_and_links_stay(self):
        umask = os.umask(0o027)
        self.addCleanup(os.umask, umask)
        path, link, dangling = (self.folder / name for name in ("file", "link", "dangling"))
        link.symlink_to("file")
        dangling.symlink_to("other")
        for given in (link, str(link), os.fsencode(link)):
            self.write(given)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        path.chmod(0o604)
        self.write(path, b"newer")
        self.write(dangling)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o604)
        self.assertEqual(self.contents(), {"file": b"newer", "link": b"newer", "dangling": b"new", "other": b"new"})
        self.assertTrue(link.is_symlink() and dangling.is_symlink())

    def test_devices_and_pipes_get_the_data(self):
        self.write("/dev/null")
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode))
        pipe, got = self.folder / "pipe", []
        os.mkfifo(pipe)
        reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
        reader.start()
        self.write(pipe)
        reader.join()
        self.assertEqual((got, stat.S_ISFIFO(pipe.stat().st_mode)), ([b"new"], True))

    def test_what_cannot_be_written(self):
        with self.assertRaises(IsADirectoryError):
            self.write(self.folder)
        with self.assertRaisesRegex(FileNotFoundError, "No such file or directory: '.*/no folder/file'$"):
            self.write(self.folder / "no folder/file")
        with unittest.mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            with self.assertRaisesRegex(OSError, "No space left on device: '.*/file'$"):
                self.write(self.folder / "file")
        path = self.folder / "file"
        path.write_bytes(b"old")
        path.chmod(0o444)
        if os.access(path, os.W_OK):
            self.skipTest("this user may write every file")
        with self.assertRaises(PermissionError):
            self.write(path)
        self.assertEqual(self.contents(), {"file": b"old"})


class Scripts(TestCase):
    def test_nothing_is_written_in_place(self):
        in_place = re.compile(r"\.write_(text|bytes)\(|\bopen\(.*[\"']w|shutil\.copy\(|torch\.save\((?!.*, file\))|numpy\.savez?\((?!file)")
        logs = {"train_insteval.py": 'open(options.out / "train.log", "w")'}  # which one reads while it grows
        for path in sorted([*(HERE.parent / "ss1").rglob("*.py"), *(HERE.parent / "train").glob("*.py")]):
            if path.name == "_output.py":
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if "torch.save(torch.load" in line or logs.get(path.name, "no log") in line:  # the first is advice in a message
                    continue
                with self.subTest(f"{path.name}:{number}"):
                    self.assertIsNone(in_place.search(line), "write it by ss1._output.output")


if __name__ == "__main__":
    unittest.main()
