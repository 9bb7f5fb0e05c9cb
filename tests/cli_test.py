# SPDX-License-Identifier: Apache-2.0
"""The programs ss1 and ss1-bench: what they print, where, with which exit code.

    SS1_EXE=build/src/cli/ss1 SS1_BENCH_EXE=build/bench/driver/ss1-bench SS1_TEST_DATA=tests/data python3 tests/cli_test.py

Without SS1_BENCH_EXE the tests of ss1-bench are skipped.
"""
import csv
import ctypes
import errno
import fcntl
import io
import json
import math
import os
import pathlib
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree

EXE = os.environ["SS1_EXE"]
BENCH_EXE = os.environ.get("SS1_BENCH_EXE", "")
DATA = pathlib.Path(os.environ.get("SS1_TEST_DATA", pathlib.Path(__file__).resolve().parent / "data"))
EXAMPLES = pathlib.Path(os.environ["SS1_EXAMPLES"])
COMMANDS = [[], ["info"], ["inspect"], ["convert"], ["run"], ["embed"], ["rerank"]]
BENCH_COMMANDS = [[], ["linear"], ["tower"], ["model"], ["bag"], ["text"]]
LINEAR_FIELDS = ["m", "k", "n", "c", "rank", "scheme", "dtype", "threads", "ran_as", "kernel", "ns_median", "ns_p10", "ns_p90",
                 "fastest_peer", "peer_ns_median", "speedup", "composition_ns_median", "composition_ratio", "tower_ns_median",
                 "tower_ratio", "contenders", "not_measured",
                 "gflops_done", "gflops_dense_equiv", "ceiling", "ceiling_gflops", "percent_of_ceiling", "bytes",
                 "weight_bytes", "gbytes_s", "copies", "error", "rounds", "rounds_dropped"]
TINY = ["linear", "-m", "1,3", "-k", "128", "-n", "64", "-c", "1,2", "--repetitions", "2", "--min-time", "0"]


def run(program, *arguments, stdin=None, **environment):
    return subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, timeout=240,
                          env={**os.environ, **environment})


def ss1(*arguments, **options):
    return run(EXE, *arguments, **options)


def read_safetensors(path):
    """{name: flat list}, enough for the vectors of the tests."""
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    codes = {"F32": "f", "I64": "q"}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        code = codes[entry["dtype"]]
        tensors[name] = list(struct.unpack(f"<{(end - begin) // struct.calcsize(code)}{code}", data[begin:end]))
        tensors[name, "shape"] = entry["shape"]
    return tensors


def dlrm_csv(directory):
    """The vectors of a DLRM case as the rows of a CSV file, header first, and the probabilities that belong to them."""
    config, vectors = json.loads((directory / "config.json").read_text()), read_safetensors(directory / "vectors.safetensors")
    features, tables = config["dense_features"], [table["name"] for table in config["tables"]]
    batch, bounds = len(vectors["probability"]), vectors["offsets"] + [len(vectors["indices"])]
    rows = [features + tables]
    for i in range(batch):
        dense = [repr(value) for value in vectors["dense_x"][i * len(features):(i + 1) * len(features)]]
        bags = [vectors["indices"][bounds[t * batch + i]:bounds[t * batch + i + 1]] for t in range(len(tables))]
        rows.append(dense + ["|".join(map(str, bag)) for bag in bags])
    return rows, vectors["probability"]


def to_text(rows, end="\n"):
    return "".join(",".join(row) + end for row in rows).encode()


def exchange(arguments, messages):
    """What a command answers to each message (bytes, lines of the answer) before it gets the next one; b"" for none in time."""
    answers = []
    with subprocess.Popen([EXE, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        for message, lines in messages:
            process.stdin.write(message)
            text, came = b"", True
            while came and text.count(b"\n") < lines:
                came = select.select([process.stdout], [], [], 30)[0]
                piece = os.read(process.stdout.fileno(), 1 << 16) if came else b""
                text, came = text + piece, bool(piece)
            answers.append(text if came else b"")
        process.stdin.close()
        answers.append(process.stdout.read())
    return answers, process.returncode


class Case(unittest.TestCase):
    program = EXE

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def ok(self, *arguments, **options):
        result = run(self.program, *arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def refused(self, *arguments, **options):
        """stderr of a command that must fail with exit code 2 and nothing on stdout."""
        result = run(self.program, *arguments, **options)
        message = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (2, b""), message)
        self.assertTrue(message.startswith(f"{pathlib.Path(self.program).name}: "), message)
        return message


@unittest.skipUnless(BENCH_EXE, "ss1-bench is not built")
class BenchCase(Case):
    program = BENCH_EXE


class Help(Case):
    def test_every_command_has_help_with_an_example(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.ok(*command, "--help")
                self.assertRegex(text, r"Examples?:\s+.*ss1 " + " ".join(command))

    def test_run_tells_that_texts_are_cut(self):
        self.assertRegex(self.ok("run", "--help"), r'cut off[\s\S]*not searched[\s\S]*"cut": true')

    def test_version(self):
        self.assertRegex(self.ok("--version"), r"^ss1 \d+\.\d+\.\d+\n$")

    def test_mistakes_name_the_help(self):
        self.assertIn("'ss1 --help'", self.refused())
        self.assertIn("nonsense", self.refused("nonsense"))
        self.assertIn("'ss1 inspect --help'", self.refused("inspect"))

    def test_bench_names_its_program(self):
        for arguments in (["bench"], ["bench", "linear", "-m", "1"], ["bench", "--help"]):
            message = self.refused(*arguments)
            self.assertIn("ss1-bench", message)
            self.assertEqual(message.count("\n"), 1, message)

    def test_closed_pipe_is_quiet(self):
        read, write = os.pipe()
        os.close(read)
        process = subprocess.run([EXE, "info", "--kernels"], stdout=write, stderr=subprocess.PIPE, timeout=60)
        os.close(write)
        self.assertEqual((process.returncode, process.stderr), (0, b""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            process = subprocess.run([EXE, "info"], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn(b"ss1: cannot write to standard output: ", process.stderr)


class MadeHelp(Case):
    """Man pages and completions, made of what the programs say about themselves."""
    MAKE = pathlib.Path(__file__).resolve().parent.parent / "docs/make_help.py"

    def made(self, form, program=EXE):
        result = run("/usr/bin/env", "python3", self.MAKE, form, program)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode()

    def test_man_pages_have_every_command_and_option(self):
        for program, commands in (EXE, COMMANDS), (BENCH_EXE, BENCH_COMMANDS):
            if not program:
                continue
            page = self.made("man", program).replace("\\-", "-")
            for command in commands[1:]:
                self.assertIn(f".SH {command[0].upper()}\n", page)
                for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", run(program, *command, "--help").stdout.decode().split("Example")[0])):
                    self.assertIn(option, page)
            self.assertNotIn("describe", page)
            if shutil.which("mandoc"):
                lint = run("mandoc", "-T", "lint", "-W", "error", stdin=self.made("man", program).encode())
                self.assertEqual(lint.stdout, b"")

    def test_shells_understand_their_completions(self):
        for shell in ("bash", "zsh", "fish"):
            path = self.directory / shell
            path.write_text(self.made(shell))
            if shutil.which(shell):
                self.assertEqual(run(shell, "-n", path).returncode, 0, shell)

    def test_bash_completes(self):
        script = self.directory / "ss1.bash"
        script.write_text(self.made("bash"))
        for words, wanted in {("ss1", "in"): {"info", "inspect"}, ("ss1", "run", "--lab"): {"--label"},
                              ("ss1", "inspect", "--output-format", ""): {"text", "json"}}.items():
            line = (f". {script}; COMP_WORDS=({' '.join(map(repr, words))}) COMP_CWORD={len(words) - 1}; "
                    f"_ss1 ss1 '{words[-1]}' '{words[-2]}'; echo \"${{COMPREPLY[@]}}\"")
            self.assertEqual(set(run("bash", "-c", line).stdout.decode().split()), wanted)


class BenchHelp(BenchCase):
    def test_every_command_has_help_with_an_example(self):
        for command in BENCH_COMMANDS:
            with self.subTest(command=command):
                self.assertRegex(self.ok(*command, "--help"), r"Examples?:\s+.*ss1-bench " + " ".join(command))

    def test_version(self):
        self.assertRegex(self.ok("--version"), r"^ss1-bench \d+\.\d+\.\d+\n$")

    def test_mistakes_name_the_help(self):
        self.assertIn("'ss1-bench --help'", self.refused())
        self.assertIn("nonsense", self.refused("nonsense"))
        self.assertIn("'ss1-bench linear --help'", self.refused("linear", "--nonsense"))

    def test_numbers_out_of_range(self):
        """As for ss1: the message names option, value and rule."""
        model = DATA / "bert_classifier"
        for command, option, value, rule in ((["model", model], "--tokens", "0", "at least 1"),
                                             (["model", model], "--least-batch", "0", "at least 1"),
                                             (["model", model], "--duration", "0", "above 0"),
                                             (["model", model], "--deadline-ms", "-0.5", "above 0"),
                                             (["model", model], "--min-time", "-1", "at least 0"),
                                             (["bag"], "--max-time", "nan", "at least 0"),
                                             (["linear"], "--repetitions", "0", "at least 1"),
                                             (["tower"], "--repetitions", "0", "at least 1")):
            with self.subTest(option=option, value=value):
                self.assertEqual(self.refused(*command, f"{option}={value}").splitlines()[0],
                                 f"ss1-bench: {option} {value}: must be {rule}")


class Info(Case):
    def test_json(self):
        info = json.loads(self.ok("info", "--kernels", "-o", "json"))
        self.assertGreaterEqual(info["threads"], 1)
        self.assertTrue(info["cpu"] and info["threads_reason"])
        for part in ("isas", "backends", "kernels"):
            self.assertTrue(info[part], part)
            for item in info[part]:
                self.assertEqual(list(item), ["name", "used", "reason"])
                self.assertTrue(item["reason"])
        self.assertNotIn("kernels", json.loads(self.ok("info", "-o", "json")))

    def test_numbers_out_of_range(self):
        """The message names option, value and rule; CLI11's own has 300 digits."""
        model = DATA / "bert_classifier"
        for command, option, value, rule in ((["run", model, "--text", "-"], "--batch", "0", "at least 1"),
                                             (["run", model, "--text", "-"], "--batch", "-3", "at least 1"),
                                             (["convert", model, self.directory / "out"], "--compression", "0", "at least 1")):
            with self.subTest(option=option, value=value):
                self.assertEqual(self.refused(*command, f"{option}={value}").splitlines()[0],
                                 f"ss1: {option} {value}: must be {rule}")
        self.assertIn("--batch = many", self.refused("run", model, "--text", "-", "--batch", "many"))

    def test_max_isa(self):
        info = json.loads(self.ok("info", "-o", "json", SS1_MAX_ISA="none"))
        self.assertFalse(any(item["used"] for item in info["isas"] if item["name"] != "none"))
        self.assertIn("none", self.ok("info", SS1_MAX_ISA="none"))
        self.assertIn("quantum", self.refused("info", SS1_MAX_ISA="quantum"))

    def test_tiles_denied(self):
        """Where arch_prctl(ARCH_REQ_XCOMP_PERM) fails, info tells why tiles are not used."""
        reasons = {item["name"]: item["reason"] for item in json.loads(self.ok("info", "-o", "json"))["isas"]}
        if not reasons.get("amx_bf16", "not found").startswith("found"):
            self.skipTest("no AMX to be denied")

        def deny():
            def step(code, k, yes=0, no=0):
                return struct.pack("=HBBI", code, yes, no, k)
            load, equal, give = 0x20, 0x15, 0x06  # arch, nr and args[0] of struct seccomp_data; x86-64's arch_prctl
            program = b"".join([step(load, 4), step(equal, 0xC000003E, 0, 5), step(load, 0), step(equal, 158, 0, 3),
                                step(load, 16), step(equal, 0x1023, 0, 1), step(give, 0x00050000 | errno.EPERM),
                                step(give, 0x7FFF0000)])
            steps = ctypes.create_string_buffer(program, len(program))
            prctl = ctypes.CDLL(None, use_errno=True).prctl
            head = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
            if prctl(38, 1, 0, 0, 0) or prctl(22, 2, head):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
                raise OSError(ctypes.get_errno(), "no seccomp filter here")

        try:
            process = subprocess.run([EXE, "info"], capture_output=True, timeout=60, preexec_fn=deny)
        except subprocess.SubprocessError:
            self.skipTest("no seccomp filter can be installed here")
        self.assertEqual(process.returncode, 0, process.stderr)
        self.assertIn("the system denies tile data to this process (arch_prctl: EPERM)", process.stdout.decode())

    def test_text(self):
        text = self.ok("info")
        for word in ("CPU", "threads", "instructions", "backend"):
            self.assertIn(word, text)


class BenchLinear(BenchCase):
    def check_rows(self, rows, *more):
        self.assertEqual([(row["m"], row["c"]) for row in rows], [(1, 1), (1, 2), (3, 1), (3, 2)])
        for row in rows:
            self.assertEqual(list(row), LINEAR_FIELDS + list(more))
            self.assertEqual((row["k"], row["n"], row["dtype"], row["threads"]), (128, 64, "f32", 1))
            self.assertEqual((row["scheme"], row["ran_as"]), ("dense", "dense") if row["c"] == 1 else ("mixed", "ss1"))
            self.assertLess(row["error"], 1e-4)
            self.assertGreater(row["ns_median"], 0)
            self.assertLessEqual(row["ns_p10"], row["ns_p90"])

    def test_json(self):
        document = json.loads(self.ok(*TINY, "-o", "json"))
        self.check_rows(document["results"])
        for key in ("cpu", "compiler", "ss1"):
            self.assertTrue(document[key], key)

    def test_json_lines(self):
        rows = [json.loads(line) for line in self.ok(*TINY, "-o", "jsonl").splitlines()]
        machine = list(rows[0])[len(LINEAR_FIELDS):]
        self.assertEqual(machine[:3], ["cpu", "compiler", "ss1"])
        self.check_rows(rows, *machine)

    def test_csv_and_markdown(self):
        rows = list(csv.DictReader(io.StringIO(self.ok(*TINY, "-o", "csv"))))
        self.assertEqual([(row["m"], row["c"]) for row in rows], [("1", "1"), ("1", "2"), ("3", "1"), ("3", "2")])
        self.assertEqual(list(rows[0])[:len(LINEAR_FIELDS)], LINEAR_FIELDS)
        lines = [line for line in self.ok(*TINY).splitlines() if line.startswith("|")]
        self.assertEqual(len(lines), 2 + 4)
        self.assertEqual(len({line.count("|") for line in lines}), 1)

    def test_no_dense_and_cold(self):
        arguments = ["linear", "-m", "1", "-k", "2048", "-n", "2048", "-c", "2", "--repetitions", "2", "--min-time", "0"]
        row = json.loads(self.ok(*arguments, "--no-dense", "-o", "json"))["results"][0]
        self.assertEqual([row[key] for key in ("fastest_peer", "peer_ns_median", "speedup", "composition_ratio")], [None] * 4)
        self.assertEqual((row["contenders"], row["copies"]), ({}, 1))
        cold = json.loads(self.ok(*arguments, "--cold", "--no-dense", "-o", "json"))
        self.assertEqual(cold["weights"], "cold")
        self.assertGreater(cold["results"][0]["copies"], 1)

    def test_low_rank(self):
        rows = json.loads(self.ok(*TINY[:-6], "-c", "1", "--rank", "16,2+8", *TINY[-4:], "-o", "json"))["results"]
        self.assertEqual([(row["m"], row["c"], row["rank"], row["ran_as"]) for row in rows],
                         [(m, *layer) for m in (1, 3) for layer in ((1, 0, "dense"), (0, 16, "low rank"), (2, 8, "ss1"))])
        for row in rows:
            self.assertEqual(row["tower_ratio"] is None, row["c"] > 0)
            self.assertEqual("two layers of rank 16" in row["contenders"], row["c"] == 0)
        for wrong, why in (("0", "'0' is not a whole number above 0"), ("2+", "has an empty value"), ("65", "rank=65 is above min")):
            self.assertIn(why, self.refused(*TINY, "--rank", wrong))

    def test_denormals(self):
        for dtype in ("f32", "bf16"):
            for row in json.loads(self.ok(*TINY, "--denormals", "--dtype", dtype, "-o", "json"))["results"]:
                self.assertGreater(row["denormal_ratio"], 0)
                self.assertNotIn("", row["contenders"])
        self.assertIn("denormals", self.ok(*TINY, "--denormals", "--no-dense").splitlines()[2])

    def test_peers(self):
        document = json.loads(self.ok(*TINY, "-o", "json"))
        for row in document["results"]:
            names = set(row["contenders"]) | set(row["not_measured"])
            for peer in document["peers"]:
                self.assertIn(peer, names)
            self.assertEqual([], [why for why in row["not_measured"].values() if "differs" in why])
            if any(peer.startswith("oneDNN") for peer in document["peers"]):
                self.assertEqual(row["composition_ratio"] is None, row["c"] == 1)
            if row["fastest_peer"]:
                fastest = min(value["ns_median"] for name, value in row["contenders"].items() if "sketch" not in name)
                self.assertEqual(row["peer_ns_median"], fastest)
                self.assertEqual(row["contenders"][row["fastest_peer"]]["ns_median"], fastest)
        self.assertIn("GOMP_SPINCOUNT", document["environment"])

    def test_peers_folder(self):
        self.assertIn("'/no/such/folder' is no folder", self.refused(*TINY, "--peers", "/no/such/folder"))
        result = run(BENCH_EXE, *TINY, "--peers", self.directory, "-o", "json")
        self.assertIn(b"no peer found", result.stderr)
        self.check_rows(json.loads(result.stdout)["results"])
        (self.directory / "libpeer-broken.so").write_text("not a library")
        document = json.loads(self.ok(*TINY, "--peers", self.directory, "-o", "json"))
        self.assertTrue(document["peers_missing"][0].startswith("broken: "), document["peers_missing"])

    def test_ranges(self):
        arguments = ["linear", "-k", "64", "-n", "16", "-c", "1", "--no-dense", "--repetitions", "1", "--min-time", "0", "-o", "json"]
        results = json.loads(self.ok(*arguments, "-m", "1-8*2,5-6,16-48+16"))["results"]
        self.assertEqual([row["m"] for row in results], [1, 2, 4, 8, 5, 6, 16, 32, 48])
        for text in ("", "0", "x", "1,,2", "4-2", "1-8*1", "1-8*", "1-8+0", "1-", "3x", "-1", "1-100000", "99999999999999999999"):
            with self.subTest(range=text):
                self.assertIn("-m", self.refused(*arguments, f"-m={text}"))

    def test_shapes_file(self):
        path = self.directory / "shapes.csv"
        path.write_text("name,k,n\na,64,16\nb,128,32\n")
        arguments = ["linear", "-m", "2", "-c", "1", "--repetitions", "1", "--min-time", "0", "-o", "json", "--shapes", path]
        self.assertEqual([(row["k"], row["n"]) for row in json.loads(self.ok(*arguments))["results"]], [(64, 16), (128, 32)])
        self.assertIn("-k", self.refused(*arguments, "-k", 64))
        path.write_text("k,n\n64,many\n")
        self.assertIn(f"{path}:2: column n (2): 'many'", self.refused(*arguments))

    def test_activations_are_those_of_the_dense_layer(self):
        for activation in ("relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu"):
            with self.subTest(activation=activation):
                self.ok(*TINY, "--activation", activation, "-o", "json")

    def test_types(self):
        for dtype in ("bf16", "int8"):
            for row in json.loads(self.ok(*TINY, "--dtype", dtype, "-o", "json"))["results"]:
                self.assertEqual(row["dtype"], dtype)
                self.assertLess(row["error"], 5e-2)
        self.assertIn("'f23'", self.refused(*TINY, "--dtype", "f23"))
        self.assertIn("--rows", self.refused(*TINY, "--rows", "f23"))

    def test_layers_that_cannot_be_tied_run_as_dense(self):
        result = self.ok("linear", "-m", "1", "-k", "128", "-n", "16", "-c", "1,2,8", "--repetitions", "1", "--min-time", "0", "-o", "jsonl")
        rows = [json.loads(line) for line in result.splitlines()]
        self.assertEqual([(row["c"], row["ran_as"]) for row in rows], [(1, "dense"), (2, "ss1"), (8, "dense")])

    def test_single_output(self):
        # Which cancels to little here: its rounding error is large beside it, not beside what such inputs give on average.
        row = json.loads(self.ok("linear", "-m", "1", "-k", "256", "-n", "1", "-c", "4", "--scheme", "mixed", "--dtype", "int8",
                                 "--no-dense", "--repetitions", "1", "--min-time", "0", "-o", "jsonl"))
        self.assertLess(row["error"], 0.05)


class BenchBag(BenchCase):
    ARGUMENTS = ["bag", "--rows", "100", "-d", "16,40", "--pooling", "3", "--batch", "5", "--repetitions", "2",
                 "--min-time", "0"]

    def test_json(self):
        document = json.loads(self.ok(*self.ARGUMENTS, "--tables", "2", "--threads", "1,2", "--weighted", "-o", "json"))
        rows = document["results"]
        self.assertEqual(len(rows), 2 * 2 * 5)
        self.assertEqual([row["row_bytes"] for row in rows[:10]], [64, 160, 32, 80, 32, 80, 24, 48, 12, 24])
        for row in rows:
            self.assertEqual((row["rows"], row["tables"], row["batch"], row["pooling"]), (100, 2, 5, 3))
            for name in ("bags_ns", "unchecked_ns", "gather_ns", "share_of_gather"):
                self.assertGreater(row[name + "_p10"], 0)
                self.assertLessEqual(row[name + "_p10"], row[name + "_p90"])

    def test_mistakes(self):
        self.assertIn("'int2' is no dtype of a table", self.refused(*self.ARGUMENTS, "--dtype", "int2"))
        self.assertIn("--rows", self.refused("bag", "--rows", "0"))


class BenchTower(BenchCase):
    ARGUMENTS = ["tower", "-m", "3,70", "-c", "1,2", "--repetitions", "2", "--min-time", "0"]

    def check_rows(self, rows, dtype, threads):
        self.assertEqual([(row["m"], row["c"], row["scheme"]) for row in rows],
                         [(3, 1, "dense"), (3, 2, "mixed"), (70, 1, "dense"), (70, 2, "mixed")])
        for row in rows:
            self.assertEqual((row["dtype"], row["threads"]), (dtype, threads))
            self.assertEqual(row["tied_layers"], row["c"] - 1)  # 64 inputs are too few for c = 2
            self.assertEqual(len(row["kernels"]), 2)
            for name in ("tower_ns", "layers_ns", "ratio"):
                self.assertGreater(row[name + "_p10"], 0)
                self.assertLessEqual(row[name + "_p10"], row[name + "_median"])
                self.assertLessEqual(row[name + "_median"], row[name + "_p90"])
            self.assertGreater(row["gflops_done"], 0)
            self.assertGreater(row["tower_bytes"], 0)
            # One by one, all rows of 128 values are between the layers.
            self.assertGreaterEqual(row["layers_bytes"], row["m"] * 128 * (4 if dtype == "f32" else 2))
            self.assertGreaterEqual(row["rounds"], 2)

    def test_json(self):
        for dtype in ("f32", "bf16", "int8"):
            document = json.loads(self.ok(*self.ARGUMENTS, "--widths", "64,128,200", "--dtype", dtype, "--threads", "1,2", "-o", "json"))
            self.assertEqual(document["widths"], "64,128,200")
            self.check_rows(document["results"][:4], dtype, 1)
            self.check_rows(document["results"][4:], dtype, 2)

    def test_markdown(self):
        lines = [line for line in self.ok(*self.ARGUMENTS, "--widths", "64,128,1").splitlines() if line.startswith("|")]
        self.assertEqual(len(lines), 2 + 4)
        self.assertEqual(len({line.count("|") for line in lines}), 1)

    def test_schemes_of_one_layer(self):
        rows = json.loads(self.ok(*self.ARGUMENTS, "--widths", "256,16", "--scheme", "reference,mixed", "-o", "json"))["results"]
        self.assertEqual([row["scheme"] for row in rows[:3]], ["dense", "reference", "mixed"])

    def test_mistakes(self):
        self.assertIn("--widths: '5' is one width", self.refused(*self.ARGUMENTS, "--widths", "5"))
        self.assertIn("--widths: '0'", self.refused(*self.ARGUMENTS, "--widths", "5,0"))
        self.assertIn("'f23'", self.refused(*self.ARGUMENTS, "--dtype", "f32,f23"))
        self.assertIn("'best'", self.refused(*self.ARGUMENTS, "--scheme", "best"))


class Models(Case):
    def test_weights_of_pickle_are_named(self):
        (self.directory / "config.json").write_text((DATA / "bert_classifier/config.json").read_text())
        self.assertIn("model.safetensors: cannot open", self.refused("inspect", self.directory))
        for name in ("pytorch_model.bin.index.json", "pytorch_model.bin"):
            (self.directory / name).write_bytes(b"")
            message = self.refused("run", self.directory, "--input", "-")
            self.assertIn(f"{self.directory / name}: weights are read from model.safetensors or its shards, ", message)
            self.assertIn("save_pretrained() of transformers", message)

    def test_files_that_are_something_else(self):
        """Each reader names a pointer of Git LFS, a page of HTML and an empty file as what it is."""
        model, rows, words = self.directory / "model", self.directory / "rows.csv", DATA / "bert_classifier"
        contents = {"is a pointer of Git LFS, not the file itself: 'git lfs pull'":
                    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n",
                    "is an HTML page, not the file itself": b'<!DOCTYPE html>\n<html lang="en">\n',
                    "is an HTML page,": b'<html lang="en"><body></body></html>\n',
                    "is an HTML page, not": b'\xef\xbb\xbf\r\n\t \n  <!doctype HTML>\n',
                    "is an HTML page, not the": b'\n' * 300 + b'<HTML lang="en">\n',
                    "is empty": b""}
        for name, command in {"config.json": ["inspect", model], "model.safetensors": ["inspect", model],
                              "model.safetensors.index.json": ["inspect", model], "vocab.txt": ["run", model, "--text", "-"],
                              "tokenizer_config.json": ["run", model, "--text", "-"],
                              "tokenizer.json": ["run", model, "--text", "-"], "rows.csv": ["run", words, "--input", rows]}.items():
            for message, content in contents.items():
                with self.subTest(name=name, content=content):
                    shutil.copytree(words, model, dirs_exist_ok=True)
                    if name.endswith("index.json"):
                        (model / "model.safetensors").unlink()
                    path = rows if name == "rows.csv" else model / name
                    path.write_bytes(content)
                    told = self.refused(*command, stdin=b"a\n")
                    self.assertIn(f"{path}:1: the file {message}" if path == rows and not content else f"{path}: {message}", told)
                    path.unlink()

    def test_empty_paths(self):
        for command, message in {("inspect", ""): "directory is an empty path",
                                 ("run", "", "--text", "-"): "directory is an empty path",
                                 ("convert", "", self.directory / "out"): "directory is an empty path",
                                 ("convert", DATA / "dlrm_dot", "", "--tables", "int8"): "output is an empty path",
                                 ("run", DATA / "dlrm_dot", "--input", ""): "--input: the path is empty",
                                 ("run", DATA / "bert_classifier", "--text", ""): "--text: the path is empty",
                                 ("run", DATA / "dlrm_dot", "--input", "-", "--output", ""): "--output: the path is empty",
                                 ("run", DATA / "dlrm_dot", "--input", "-", "--summary", ""): "--summary: the path is empty"}.items():
            with self.subTest(command=command):
                self.assertIn(message, self.refused(*command))

    def test_what_is_not_supported(self):
        config = json.loads((DATA / "bert_classifier/config.json").read_text())
        (self.directory / "config.json").write_text(json.dumps({**config, "hidden_act": "quick_gelu"}))
        message = self.refused("inspect", self.directory)
        self.assertIn("hidden_act 'quick_gelu' is not supported, 'gelu', 'gelu_python', ", message)
        self.assertIn(" and 'linear' are\n", message)
        self.assertIn("this version of ss1 lacks it\n", message)
        self.assertNotIn("backends", message)

    def test_unknown_directory(self):
        for command in (["inspect"], ["run", "--input", "-"]):
            self.assertIn("/no/such/model", self.refused(*command, "/no/such/model"))
        self.assertIn("/no/such/model", self.refused("convert", "/no/such/model", self.directory / "out"))

    def test_inspect(self):
        document = json.loads(self.ok("inspect", DATA / "dlrm_ss1", "-o", "json"))
        self.assertEqual(document["family"], "dlrm")
        self.assertEqual([tensor["name"] for tensor in document["inputs"]], ["dense_x", "indices", "offsets", "weights"])
        config = json.loads((DATA / "dlrm_ss1/config.json").read_text())
        layers = {layer["name"]: layer for layer in document["layers"]}
        for name, entry in config["ss1"]["layers"].items():
            if entry["kind"] == "ss1":
                for key in ("c", "scheme", "seed", "block_k", "block_n", "step"):
                    self.assertEqual(layers[name][key], entry[key], (name, key))
        self.assertTrue(all(layer["rank"] == 0 and 0 < layer["multiply_adds_share"] <= 1 for layer in layers.values()))
        self.assertEqual(document["totals"]["layers"], len(layers))
        self.assertEqual(document["totals"]["flops_per_row_dense"], sum(2 * layer["k"] * layer["n"] for layer in layers.values()))
        self.assertEqual(document["features"], config["dense_features"])
        self.assertEqual([(table["name"], table["rows"]) for table in document["tables"]],
                         [(table["name"], table["rows"]) for table in config["tables"]])
        self.assertLessEqual({"f32"}, {table["dtype"] for table in document["tables"]})
        for word in [*config["dense_features"], *(table["name"] for table in config["tables"])]:
            self.assertIn(word, self.ok("inspect", DATA / "dlrm_ss1"))
        self.assertNotIn("tables", json.loads(self.ok("inspect", DATA / "bert_ss1", "-o", "json")))
        text = self.ok("inspect", DATA / "bert_ss1")
        for word in ("bert", "input_ids", "encoder.layer.0.output.dense", "reference", "total"):
            self.assertIn(word, text)

    def test_inspect_shows_labels_and_limits(self):
        document = json.loads(self.ok("inspect", DATA / "bert_classifier", "-o", "json"))
        self.assertEqual((document["labels"], document["max_tokens"], document["vocab_size"]), (["no", "maybe", "yes"], 16, 100))
        text = self.ok("inspect", DATA / "bert_classifier")
        for line in ("labels      0 no, 1 maybe, 2 yes", "max tokens  16", "vocabulary  100"):
            self.assertIn(line + "\n", text)
        self.assertNotIn("labels", json.loads(self.ok("inspect", DATA / "dlrm_cat", "-o", "json")))
        text = self.ok("inspect", EXAMPLES / "models/mail-embed")
        self.assertIn("embedding   256\nsimilarity  cosine\n", text)

    def test_info_tells_what_openmp_does_not(self):
        def notes(**environment):
            return json.loads(self.ok("info", "-o", "json", **environment))["notes"]

        ignored = "OMP_NUM_THREADS=99 is set, but ss1 does not follow it"
        self.assertTrue(any(note.startswith(ignored) for note in notes(OMP_NUM_THREADS="99")))
        self.assertIn(ignored, self.ok("info", OMP_NUM_THREADS="99"))
        self.assertFalse(any("OMP_NUM_THREADS" in note for note in notes(OMP_NUM_THREADS="1", SS1_NUM_THREADS="1")))

    def test_inspect_shows_ranks(self):
        config = json.loads((DATA / "dlrm_ss1/config.json").read_text())
        K, N = config["bottom_mlp"][1:3]
        config["ss1"] = {"layers": {"bot_l.2": {"kind": "low_rank", "rank": 3, "dtype": "bf16"}}}
        (self.directory / "config.json").write_text(json.dumps(config))
        arguments = ["inspect", self.directory, "--random-weights", "1"]
        layers = {layer["name"]: layer for layer in json.loads(self.ok(*arguments, "-o", "json"))["layers"]}
        layer = layers["bot_l.2"]
        self.assertEqual((layer["c"], layer["rank"], layer["scheme"], layer["dtype"]), (0, 3, "low rank", "bf16"))
        self.assertAlmostEqual(layer["multiply_adds_share"], 3 * (K + N) / (K * N))
        line, = (line for line in self.ok(*arguments).splitlines() if line.startswith("bot_l.2 "))
        self.assertIn("low rank", line)
        self.assertIn(f"{300 * (K + N) / (K * N):.1f} %", line)

    def test_inspect_a_bert_whose_config_has_tables(self):
        model = self.directory / "model"
        shutil.copytree(DATA / "bert_ss1", model)
        config = json.loads((model / "config.json").read_text())
        for tables in (3, {}, [{}], [1]):
            (model / "config.json").write_text(json.dumps({**config, "tables": tables}))
            self.assertEqual(self.ok("inspect", model, "-o", "json"), self.ok("inspect", DATA / "bert_ss1", "-o", "json"))

    def test_relatives_of_bert(self):
        for name, layer in (("bert_distil_words", "cls.predictions.decoder"), ("bert_roberta_classifier", "pre_classifier"),
                            ("bert_answers", "qa_outputs")):
            document = json.loads(self.ok("inspect", DATA / name, "-o", "json"))
            self.assertEqual(document["family"], "bert")
            self.assertIn(layer, [each["name"] for each in document["layers"]])
            out = self.directory / name
            self.ok("convert", DATA / name, out, "--dtype", "bf16", "--layers", f"{layer},encoder.*")
            self.assertEqual({dtype for each, (_, dtype, *_) in self.types_of(out).items() if each == layer or each.startswith("enc")},
                             {"bf16"})
        rows = b"input_ids\n5 6 7\n8\n"
        self.assertEqual(len(self.ok("run", DATA / "bert_distil_classifier", "--input", "-", stdin=rows).splitlines()), 3)
        self.assertIn("no output for a whole row", self.refused("run", DATA / "bert_distil_words", "--input", "-", stdin=rows))

    def test_convert(self):
        out = self.directory / "out"
        text = self.ok("convert", DATA / "dlrm_dot", out, "-c", 2, "--block-k", 16, "--layers", "bot_l.2,top_l.2", "--seed", 9)
        self.assertIn("bot_l.2", text)
        self.assertIn("2 of ", text)
        layers = {layer["name"]: layer for layer in json.loads(self.ok("inspect", out, "-o", "json"))["layers"]}
        self.assertEqual([layers[name]["c"] for name in ("bot_l.2", "top_l.2", "bot_l.0")], [2, 2, 1])
        self.assertEqual((layers["bot_l.2"]["seed"], layers["bot_l.2"]["block_k"]), (9, 16))
        self.assertIn(str(out), self.refused("convert", DATA / "dlrm_dot", out, "-c", 2, "--block-k", 16))
        self.assertIn("nothing*", self.refused("convert", DATA / "dlrm_dot", self.directory / "other", "--layers", "nothing*"))
        self.assertIn("--block-n", self.refused("convert", DATA / "dlrm_dot", self.directory / "other", "--block-n", "wide"))

    def calibrated(self, model, *arguments, **options):
        """stdout and stderr of a calibrated conversion."""
        result = ss1("convert", model, self.directory / "out", *arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode(), result.stderr.decode()

    def test_convert_calibrated_rows(self):
        rows, _ = dlrm_csv(DATA / "dlrm_dot")
        path, out = self.directory / "rows.csv", self.directory / "out"
        path.write_bytes(to_text(rows[:1] + rows[1:] * 20))
        arguments = ["-c", 2, "--block-k", 16, "--layers", "bot_l.2,top_l.2"]
        text, told = self.calibrated(DATA / "dlrm_dot", *arguments, "--calibrate", path)
        self.assertRegex(told, r"^calibrated with \d+ rows.*: the new layers lose \S+ % on average, \S+ % at worst \(")
        self.assertIn("loss %", text)
        self.assertRegex(text, r"\d+ layers that --layers leaves out keep their form")
        calibrated_scores = self.ok("run", out, "--input", path)
        self.ok("convert", DATA / "dlrm_dot", self.directory / "plain", *arguments)
        plain_scores, dense_scores = (self.ok("run", model, "--input", path) for model in (self.directory / "plain", DATA / "dlrm_dot"))

        def distance(scores):
            return sum((float(a) - float(b)) ** 2 for a, b in zip(scores.splitlines()[1:], dense_scores.splitlines()[1:]))

        self.assertLess(distance(calibrated_scores), distance(plain_scores) / 4)

        path.write_bytes(to_text(rows[:4]))
        other = ["convert", DATA / "dlrm_dot", self.directory / "other", *arguments, "--calibrate"]
        self.assertRegex(self.refused(*other, path), r"layer bot_l.2 has read 3 rows, it needs \d+ \(as many as it has inputs\)")
        self.assertIn("it needs 4 (options.min_rows)", self.refused(*other, path, "--min-rows", 4))
        self.assertIn("no rows to calibrate with", self.refused(*other, "-", stdin=to_text(rows[:1])))
        rows[1][0] = "nan"
        self.assertIn("nan", self.refused(*other, "-", stdin=to_text(rows)))
        self.assertIn("column", self.refused(*other, "-", stdin=b"a,b\n1,2\n"))
        self.assertFalse((self.directory / "other").exists())
        self.ok(*other, path, "--min-rows", 3)

    def test_convert_calibrated_rows_of_other_files(self):
        """--delimiter, --missing and vocabularies: the model is that of the same rows in plain CSV."""
        source, path = self.directory / "source", self.directory / "rows"
        shutil.copytree(DATA / "dlrm_dot", source)
        config = json.loads((source / "config.json").read_text())
        config["dense_means"] = [0.25] * len(config["dense_features"])
        config["tables"][0].update(vocabulary="ids.txt")
        (source / "config.json").write_text(json.dumps(config))
        (source / "ids.txt").write_text("".join(f"id {i}\n" for i in range(config["tables"][0]["rows"])))
        rows, _ = dlrm_csv(DATA / "dlrm_dot")
        rows, column = rows[:1] + rows[1:] * 20, len(config["dense_features"])
        plain = [rows[0]] + [["0.25"] + row[1:] if i % 3 == 0 else row for i, row in enumerate(rows[1:])]
        named = [rows[0]] + [(["NA"] if i % 3 == 0 else row[:1]) + row[1:column] +
                             ["|".join(f"id {index}" for index in row[column].split("|") if index)] + row[column + 1:] for i, row in enumerate(rows[1:])]
        arguments = ["-c", 2, "--block-k", 16, "--layers", "bot_l.2,top_l.2", "--calibrate", path]
        path.write_bytes(to_text(plain))
        self.ok("convert", DATA / "dlrm_dot", self.directory / "expected", *arguments)
        path.write_text("".join(";".join(row) + "\n" for row in named))
        out = self.directory / "out"
        self.ok("convert", source, out, *arguments, "--delimiter", ";", "--missing", "mean")
        self.assertEqual((out / "model.safetensors").read_bytes(), (self.directory / "expected/model.safetensors").read_bytes())
        self.assertEqual((out / "ids.txt").read_text(), (source / "ids.txt").read_text())
        written = json.loads((out / "config.json").read_text())
        self.assertEqual((written["dense_means"], written["tables"]), (config["dense_means"], config["tables"]))
        scores = self.ok("run", out, "--input", path, "--delimiter", ";", "--missing", "mean")
        self.assertEqual(scores, self.ok("run", self.directory / "expected", "--input", "-", stdin=to_text(plain)))
        skipped = ss1("convert", source, self.directory / "other", *arguments, "--delimiter", ";", "--missing", "skip")
        self.assertRegex(skipped.stderr.decode(), rf"calibrated with \d+ rows, \d+ left out")
        path.write_text("".join(";".join(row) + "\n" for row in named[:2]))
        self.assertIn("no rows to calibrate with; --missing skip left out 1",
                      self.refused("convert", source, self.directory / "none", *arguments, "--delimiter", ";", "--missing", "skip"))

    def test_inspect_shows_ids_and_means(self):
        config = json.loads((DATA / "dlrm_cat/config.json").read_text())
        config["dense_means"] = [1.5, -2, 0]
        config["tables"] = [{"name": "a", "rows": 5, "vocabulary": "a.txt", "unknown": 4}, {"name": "b", "rows": 5, "hash": "murmur3"},
                            {"name": "c", "rows": 5}]
        config["top_mlp"] = [1]
        (self.directory / "config.json").write_text(json.dumps(config))
        document = json.loads(self.ok("inspect", self.directory, "--random-weights", 1, "-o", "json"))
        self.assertEqual(document["dense_means"], [1.5, -2, 0])
        self.assertEqual([{key: table[key] for key in ("vocabulary", "unknown", "hash") if key in table} for table in document["tables"]],
                         [{"vocabulary": "a.txt", "unknown": 4}, {"hash": "murmur3"}, {}])
        text = self.ok("inspect", self.directory, "--random-weights", 1)
        for line in ("dense0 (mean 1.5)\n", "vocabulary a.txt, unknown in row 4\n", "hash murmur3\n", "item  indices\n"):
            self.assertRegex(text, re.escape(line).replace("item\\ \\ ", "item +"))
        self.assertNotIn("dense_means", json.loads(self.ok("inspect", DATA / "dlrm_cat", "-o", "json")))

    def test_convert_to_low_rank(self):
        rows, _ = dlrm_csv(DATA / "dlrm_dot")
        path = self.directory / "rows.csv"
        path.write_bytes(to_text(rows[:1] + rows[1:] * 20))

        def converted(*arguments):
            out = self.directory / "-".join(map(str, arguments))
            text = self.ok("convert", DATA / "dlrm_dot", out, *arguments, "--layers", "bot_l.2,top_l.2", "--calibrate", path)
            layers = {layer["name"]: layer for layer in json.loads(self.ok("inspect", out, "-o", "json"))["layers"]}
            return text, {name: (layers[name]["c"], layers[name]["rank"]) for name in ("bot_l.0", "bot_l.2", "top_l.2")}

        text, forms = converted("--rank", 3)
        self.assertEqual(forms, {"bot_l.0": (1, 0), "bot_l.2": (0, 3), "top_l.2": (0, 3)})
        self.assertRegex(text, r"0 of \d+ layers are SS1, 2 have a low-rank part")
        _, forms = converted("-c", 2, "--block-k", 16, "--rank", 2)
        self.assertEqual(forms, {"bot_l.0": (1, 0), "bot_l.2": (2, 2), "top_l.2": (2, 2)})
        _, forms = converted("--rank", "50%")
        for name in ("bot_l.2", "top_l.2"):
            self.assertEqual(forms[name][0], 0)
            self.assertGreater(forms[name][1], 1)
        text = self.ok("convert", EXAMPLES / "models/insteval-dense", self.directory / "all", "--rank", 32)
        self.assertIn("top_l.6 keeps its form: K=512, N=1: it has no rank of 32", text)
        text = self.ok("convert", EXAMPLES / "models/insteval-dense", self.directory / "wide", "--rank", "50%")
        self.assertIn("bot_l.0 keeps its form: K=3: a product over so few inputs", text)
        other = ["convert", DATA / "dlrm_dot", self.directory / "other", "--layers", "bot_l.2"]
        for rank, error in (("0", "--rank: '0'"), ("x%", "is not a share"), ("120%", "is not a share"), ("1000", "rank=1000")):
            self.assertIn(error, self.refused(*other, "--rank", rank))
        self.assertIn("leaves no rank", self.refused(*other, "-c", 2, "--block-k", 16, "--rank", "50%"))
        self.assertIn("has a low-rank part already", self.refused("convert", self.directory / "--rank-3", self.directory / "other",
                                                                  "--rank", 2, "--layers", "bot_l.2"))

    def test_convert_calibrated_texts(self):
        model, out = DATA / "bert_classifier", self.directory / "out"
        words = ["you", "win", "money", "lunch", "please", "a", "!"]
        chance = random.Random(5)
        texts = "".join(" ".join(chance.choices(words, k=chance.randrange(1, 12))) + "\n" for _ in range(60)).encode()
        arguments = ["-c", 2, "--block-k", 16, "--layers", "encoder.*.output.dense"]
        _, told = self.calibrated(model, *arguments, "--calibrate", "-", stdin=texts)
        self.assertIn("calibrated with ", told)
        shutil.rmtree(out)
        ids = b"input_ids\n" + b"5 6 7 8 9 10\n11 12 13 14\n" * 60
        path = self.directory / "ids.csv"
        path.write_bytes(ids)
        self.calibrated(model, *arguments, "--calibrate", path)
        bare = self.directory / "bare"
        bare.mkdir()
        for name in ("config.json", "model.safetensors"):
            (bare / name).write_bytes((model / name).read_bytes())
        self.assertIn("vocab.txt", self.refused("convert", bare, self.directory / "other", *arguments, "--calibrate", "-", stdin=texts))

    def test_convert_says_what_it_costs_and_what_it_leaves(self):
        result = ss1("convert", DATA / "dlrm_dot", self.directory / "out", "-c", 2, "--block-k", 16, "--layers", "bot_l.2")
        self.assertRegex(result.stderr.decode(), r"^ss1: warning: without --calibrate .* lose \S+ % on average")
        self.assertEqual(ss1("convert", DATA / "dlrm_dot", self.directory / "types", "--dtype", "bf16").stderr, b"")
        for flag in (["--calibrate", "-"], ["--min-rows", 3]):
            self.assertIn("calibration", self.refused("convert", DATA / "dlrm_dot", self.directory / "other", "--dtype", "bf16", *flag,
                                                      stdin=to_text(dlrm_csv(DATA / "dlrm_dot")[0])))
        text = self.ok("convert", EXAMPLES / "models/spam-bert-dense", self.directory / "bert", "-c", 8)
        for name, reason in (("pooler.dense", "it runs once a sequence, not once a token"),
                             ("classifier", "it runs once a sequence, not once a token"),
                             ("encoder.layer.0.attention.self.query", "K=256 is below c*block_k=512; block_k=32 would fit")):
            self.assertIn(f"{name} keeps its form: {reason}\n", text)
        self.assertRegex(text, r"encoder.layer.0.output.dense +1024 +256 +8 ")
        self.assertIn("no linear layer of", self.refused("convert", self.directory / "bert", self.directory / "other", "-c", 8))

    def test_convert_keeps_the_other_files(self):
        source, out = self.directory / "source", self.directory / "out"
        shutil.copytree(EXAMPLES / "models/mail-embed", source)
        (source / "README.md").write_text("read me")
        (source / "0_Transformer/pytorch_model.bin").write_text("old weights")
        (source / "1_Pooling/notes.txt").write_text("")
        self.ok("convert", source, out, "--dtype", "bf16")

        def names(folder):
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

        self.assertEqual(names(out), [name for name in names(source) if not name.endswith(".bin")])
        self.assertEqual((out / "README.md").read_text(), "read me")
        texts = b"You have won a prize\n"
        self.assertEqual(self.ok("embed", out, "--text", "-", stdin=texts),
                         self.ok("embed", source, "--text", "-", "--dtype", "bf16", stdin=texts))
        self.assertIn("already holds a model", self.refused("convert", source, out, "--dtype", "bf16"))
        config = out / "0_Transformer/config.json"
        config.rename(out / "0_Transformer/config.json.tmp-1-0")  # as a killed conversion leaves it
        self.refused("inspect", out)
        self.ok("convert", source, out, "--dtype", "bf16")
        self.assertEqual(names(out), [name for name in names(source) if not name.endswith(".bin")])

    def types_of(self, *arguments):
        layers = json.loads(self.ok("inspect", *arguments, "-o", "json"))["layers"]
        return {layer["name"]: (layer["c"], layer["dtype"], layer["x_dtype"], layer["y_dtype"]) for layer in layers}

    def test_types(self):
        out, twice = self.directory / "out", self.directory / "twice"
        text = self.ok("convert", DATA / "dlrm_dot", out, "--dtype", "int8", "--layers", "bot_l.0,bot_l.2")
        self.assertRegex(text, r"0 of \d+ layers are SS1, 0 have a low-rank part, 2 in bf16 or int8")
        types = self.types_of(out)
        self.assertEqual((types["bot_l.0"], types["bot_l.2"], types["top_l.0"]),
                         ((1, "int8", "f32", "bf16"), (1, "int8", "bf16", "f32"), (1, "f32", "f32", "f32")))
        self.assertEqual({dtype for _, dtype, _, _ in self.types_of(out, "--dtype", "bf16").values()}, {"bf16"})
        self.assertIn(" int8 ", self.ok("inspect", out))
        self.ok("convert", out, twice, "-c", 2, "--block-k", 16, "--dtype", "bf16", "--layers", "top_l.2")
        types = self.types_of(twice)
        self.assertEqual((types["top_l.2"][:2], types["bot_l.2"][:2]), ((2, "bf16"), (1, "int8")))
        rows, expected = dlrm_csv(DATA / "dlrm_dot")
        as_stored, overridden = (self.ok("run", model, "--input", "-", *more, stdin=to_text(rows))
                                 for model, more in ((out, []), (DATA / "dlrm_dot", ["--dtype", "int8"])))
        self.assertNotEqual(as_stored, overridden)
        for text in (as_stored, overridden):
            for line, value in zip(text.splitlines()[1:], expected):
                self.assertAlmostEqual(float(line), value, delta=0.02)
        for command in (["inspect", out], ["run", out, "--input", "-"], ["convert", out, twice / "other"]):
            self.assertIn("--dtype: 'f23' is none of f32, bf16, int8", self.refused(*command, "--dtype", "f23"))

    def test_standard_input_that_another_program_has_begun_to_read(self):
        rows, _ = dlrm_csv(DATA / "dlrm_dot")
        path = self.directory / "rows.csv"
        path.write_bytes(b"read before\n" + to_text(rows))
        with open(path, "rb", buffering=0) as file:
            file.seek(len(b"read before\n"))
            result = subprocess.run([EXE, "run", DATA / "dlrm_dot", "--input", "-"], stdin=file, capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(len(result.stdout.splitlines()), len(rows))

    def test_convert_tables(self):
        out = self.directory / "out"
        before = json.loads(self.ok("inspect", DATA / "dlrm_dot", "-o", "json"))
        text = self.ok("convert", DATA / "dlrm_dot", out, "--tables", "int8")
        self.assertIn("0 of ", text)
        self.assertFalse(text.startswith("layer"), text)  # no header of a table without rows
        after = json.loads(self.ok("inspect", out, "-o", "json"))
        self.assertEqual(before["parameters"], after["parameters"])
        self.assertEqual({table["dtype"] for table in json.loads((out / "config.json").read_text())["tables"]}, {"int8"})
        self.assertIn("is int8 already", self.refused("convert", out, self.directory / "again", "--tables", "f16"))
        self.assertIn("--tables", self.refused("convert", DATA / "dlrm_dot", self.directory / "other", "--tables", "int2"))

    def test_random_weights(self):
        (self.directory / "config.json").write_text((DATA / "bert_classifier/config.json").read_text())
        arguments = ["run", self.directory, "--input", "-", "--random-weights"]
        rows = b"input_ids\n5 6 7\n"
        self.assertEqual(self.ok(*arguments, 3, stdin=rows), self.ok(*arguments, 3, stdin=rows))
        self.assertNotEqual(self.ok(*arguments, 3, stdin=rows), self.ok(*arguments, 4, stdin=rows))
        self.refused("run", self.directory, "--input", "-", stdin=rows)


class BenchModel(BenchCase):
    def test_open_loop(self):
        arguments = ["model", "--threads", "1", "--duration", "0.2"]
        def rows_of(*more):
            return json.loads(self.ok(*arguments, *more, "-o", "json"))["results"]

        rows = rows_of(DATA / "dlrm_dot", "--dtype", "f32,int8", "--batch", "1,7", "--rate", "100,200", "--workers", "2")
        self.assertEqual([(row["batch"], row["dtype"], row["rate"]) for row in rows],
                         [(batch, dtype, rate) for batch in (1, 7) for dtype in ("f32", "int8") for rate in (100, 200)])
        for row in rows:
            self.assertEqual((row["requests"], row["workers"], row["late"], row["deadline_ms"]), (row["rate"] / 5, 2, 0, None))
            if row["dropped"] == 0:  # on a machine that lives
                self.assertTrue(0 < row["ns_p50"] <= row["ns_p90"] <= row["ns_p99"] <= row["ns_p999"], row)
                self.assertEqual(row["goodput_per_s"], row["answered_per_s"])
                self.assertLessEqual(row["goodput_per_s"], row["rate"])
        # No run takes less than 1 ns: all requests are dropped or given up, and no percentile has a value.
        row = rows_of(DATA / "dlrm_dot", "--rate", "500", "--batch", "3", "--deadline-ms", "0.000001")[0]
        self.assertEqual((row["dropped"] + row["late"], row["ns_p50"], row["ns_p999"]), (100, None, None))
        self.assertEqual((row["answered_per_s"], row["goodput_per_s"]), (0, 0))
        # Far more than a worker can answer: what is left when twice the duration is over is dropped.
        row = rows_of(DATA / "bert_classifier", "--rate", "1000000", "--batch", "8")[0]
        self.assertEqual(row["requests"], 200000)
        self.assertGreater(row["dropped"], 0)
        self.assertIsNone(row["ns_p999"])
        self.assertLess(row["answered_per_s"], 1000000)
        row = rows_of(DATA / "bert_classifier", "--rate", "50", "--batch", "4", "--least-batch", "2", "--tokens", "9")[0]
        self.assertEqual((row["batch"], row["least_batch"], row["tokens"]), (4, 2, 9))
        lines = [line for line in self.ok(*arguments, DATA / "dlrm_dot", "--rate", "100", "--batch", "1").splitlines() if line[:1] == "|"]
        self.assertEqual((len(lines), len({line.count("|") for line in lines})), (3, 1))
        self.assertIn("--least-batch 9 is above --batch 4", self.refused(*arguments, DATA / "dlrm_dot", "--rate", "1", "--batch", "4",
                                                                         "--least-batch", "9", "-o", "jsonl"))
        self.assertIn("--rate 1 for --duration 0.2 s is 0.2 requests", self.refused(*arguments, DATA / "dlrm_dot", "--rate", "1", "-o", "jsonl"))
        self.assertIn("--rate", self.refused(*arguments, DATA / "dlrm_dot", "--rate", "fast", "-o", "jsonl"))

    def test_closed_loop(self):
        arguments = ["model", DATA / "dlrm_dot", DATA / "dlrm_dot", "--batch", "1,4", "--threads", "1", "--repetitions", "3",
                     "--min-time", "0"]
        rows = json.loads(self.ok(*arguments, "-o", "json"))["results"]
        self.assertEqual([row["batch"] for row in rows], [1, 1, 4, 4])
        self.assertEqual([row["speedup"] for row in rows[::2]], [1.0, 1.0])
        typed = json.loads(self.ok(*arguments, "--dtype", "f32,int8", "-o", "json"))["results"]
        self.assertEqual([row["dtype"] for row in typed], ["f32", "int8"] * 4)
        self.assertLess(typed[1]["weight_bytes"], typed[0]["weight_bytes"])
        for row in rows:
            self.assertLessEqual(row["ns_p50"], row["ns_p99"])
            self.assertGreater(row["session_bytes"], 0)
        path = self.directory / "rows.csv"
        path.write_bytes(to_text(dlrm_csv(DATA / "dlrm_dot")[0][:3]))
        self.ok(*arguments, "--input", path)
        self.assertIn("--input -", self.refused(*arguments, "--input", "-", stdin=path.read_bytes()))
        bert = ["model", DATA / "bert_classifier", "--batch", "2", "--repetitions", "1", "--min-time", "0", "-o", "jsonl"]
        self.assertGreater(json.loads(self.ok(*bert))["tokens"], 0)
        self.assertEqual(json.loads(self.ok(*bert, "--tokens", 3))["tokens"], 3)
        self.assertIn("family", self.refused("model", DATA / "dlrm_dot", DATA / "bert_classifier"))
        self.assertIn("--one-user is for DLRM", self.refused(*bert, "--one-user"))
        row = json.loads(self.ok(*bert, "--stages"))
        stages = ("embed", "qkv", "attention", "attention_output", "intermediate", "output", "norm", "heads")
        self.assertGreater(min(row[f"ns_{stage}"] for stage in stages), 0)
        self.assertTrue(0 < row["stages_of_run"] <= 1, row)
        shares = [row[f"percent_of_ceiling_{stage}"] for stage in stages[1:6]]  # None: no ceiling is known for this CPU
        self.assertTrue(all(share is None or share > 0 for share in shares), row)
        self.assertNotIn("percent_of_ceiling_norm", row)

    def test_stages_of_one_user(self):
        config = json.loads((DATA / "dlrm_dot/config.json").read_text())
        config["tables"][1]["side"] = "user"
        (self.directory / "config.json").write_text(json.dumps(config))
        arguments = ["model", self.directory, "--random-weights", 1, "--batch", "70", "--repetitions", "3",
                     "--min-time", "0", "--stages"]
        for more in ([], ["--one-user"]):
            row = json.loads(self.ok(*arguments, *more, "-o", "json"))["results"][0]
            stages = [row[f"ns_{stage}"] for stage in ("lookup", "bottom", "interaction", "top")]
            self.assertGreater(min(stages), 0)
            self.assertTrue(0 < row["stages_of_run"] <= 1, row)
        self.assertIn("top us", self.ok(*arguments))

    def test_rows_of_a_file(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        path = self.directory / "rows"
        path.write_text("".join(";".join(row) + "\n" for row in [rows[0], ["NA"] + rows[1][1:]]))
        arguments = ["model", DATA / "dlrm_cat", "--input", path, "--batch", "3", "--repetitions", "2", "--min-time", "0", "-o", "json"]
        self.assertEqual(json.loads(self.ok(*arguments, "--delimiter", ";", "--missing", "zero"))["results"][0]["batch"], 3)
        self.assertIn("give --delimiter ';'", self.refused(*arguments))
        self.assertIn("'NA' is a missing value", self.refused(*arguments, "--delimiter", ";"))
        self.assertIn("has no rows that --missing skip keeps", self.refused(*arguments, "--delimiter", ";", "--missing", "skip"))
        self.assertIn("--missing mean: ", self.refused(*arguments, "--delimiter", ";", "--missing", "mean"))
        self.assertIn("--delimiter and --missing need --input", self.refused("model", DATA / "dlrm_cat", "--missing", "zero"))

    def test_mistakes(self):
        self.assertIn("/no/such/model", self.refused("model", "/no/such/model"))
        self.assertIn("--dtype: 'f23' is none of f32, bf16, int8", self.refused("model", DATA / "dlrm_dot", "--dtype", "f23"))


class Text(Case):
    """ss1 run --text against ss1 run --input with the ids that belong to the lines."""
    MODEL = DATA / "bert_classifier"  # 16 tokens, labels no, maybe, yes
    CASES = {"You WIN money!": "[CLS] you win money ! [SEP]", "": "[CLS] [SEP]", "lunch, please": "[CLS] lunch , please [SEP]",
             "über [MASK] 日本語": "[CLS] u ##b ##er [MASK] 日 本 [UNK] [SEP]", "a " * 40: "[CLS] " + "a " * 14 + "[SEP]"}
    TEXT = "\n".join(CASES)

    def setUp(self):
        super().setUp()
        self.vocabulary = {token: i for i, token in enumerate((self.MODEL / "vocab.txt").read_text(encoding="utf-8").split())}

    def logits(self, *sequences, types=()):
        """Those that ss1 run --input gives for sequences of tokens."""
        rows = [["input_ids", "token_type_ids"]]
        for tokens in sequences:
            ids = [str(self.vocabulary[token]) for token in tokens.split()]
            rows.append([" ".join(ids), " ".join(map(str, types or [0] * len(ids)))])
        lines = self.ok("run", self.MODEL, "--input", "-", stdin=to_text(rows)).splitlines()[1:]
        return [[float(value) for value in line.split(",")] for line in lines]

    def answers(self, model, *arguments, text):
        return [json.loads(line) for line in self.ok("run", model, "--text", "-", *arguments, stdin=text.encode()).splitlines()]

    def variant(self, **config):
        """The classifier with other keys in its config.json."""
        folder = self.directory / "model"
        folder.mkdir(exist_ok=True)
        for name in ("model.safetensors", "vocab.txt"):
            (folder / name).write_bytes((self.MODEL / name).read_bytes())
        (folder / "config.json").write_text(json.dumps({**json.loads((self.MODEL / "config.json").read_text()), **config}))
        return folder

    def check_answer(self, answer, logits):
        weights = [math.exp(value) for value in logits]
        best = logits.index(max(logits))
        self.assertEqual(answer["label"], ["no", "maybe", "yes"][best])
        self.assertAlmostEqual(answer["score"], weights[best] / sum(weights), delta=1e-5)

    def test_labels_and_scores(self):
        answers = self.answers(self.MODEL, text=self.TEXT)
        for answer, logits in zip(answers, self.logits(*self.CASES.values()), strict=True):
            self.check_answer(answer, logits)
        path, out, summary = (self.directory / name for name in ("texts", "out", "summary"))
        path.write_bytes(b"\xef\xbb\xbf" + self.TEXT.replace("\n", "\r\n").encode() + b"\r\n")
        for batch in (1, 2, 3, 50):
            self.assertEqual(self.ok("run", self.MODEL, "--text", path, "--batch", batch, "--output", out, "--summary", summary), "")
            self.assertEqual([json.loads(line) for line in out.read_text().splitlines()], answers)
            self.assertEqual(json.loads(summary.read_text())["n"], len(answers))

    def test_pairs_and_truncation(self):
        for limit, tokens in ((5, "[CLS] you win money [SEP]"), (4, "[CLS] you win [SEP]")):
            answers = self.answers(self.MODEL, "--max-tokens", limit, text="you win money\n")
            self.check_answer(answers[0], self.logits(tokens)[0])
        answers = self.answers(self.MODEL, "--pairs", text="you win\tlunch\n")
        self.check_answer(answers[0], self.logits("[CLS] you win [SEP] lunch [SEP]", types=[0, 0, 0, 0, 1, 1])[0])

    def test_other_kinds_of_classifiers(self):
        logits = self.logits(*self.CASES.values())
        answers = self.answers(self.variant(problem_type="multi_label_classification"), text=self.TEXT)
        for answer, values in zip(answers, logits, strict=True):
            self.assertEqual(list(answer["scores"]), ["no", "maybe", "yes"])
            for score, value in zip(answer["scores"].values(), values):
                self.assertAlmostEqual(score, 1 / (1 + math.exp(-value)), delta=1e-5)
        answers = self.answers(self.variant(problem_type="regression"), text=self.TEXT)
        for answer, values in zip(answers, logits, strict=True):
            for score, value in zip(answer["score"], values, strict=True):
                self.assertAlmostEqual(score, value, delta=1e-5)

    def test_labels_of_one_name(self):
        names = {"0": "insult", "1": "threat", "2": "insult"}
        model = self.variant(problem_type="multi_label_classification", id2label=names)
        self.assertIn('id2label gives 0 and 2 the same label "insult"', self.refused("run", model, "--text", "-", stdin=b"a\n"))
        model = self.variant(id2label=names)  # of one label nothing is lost
        self.assertIn(self.answers(model, text="a\n")[0]["label"], names.values())

    def test_a_line_is_answered_before_the_next(self):
        texts = ["a", "you win", "", "a " * 30]
        expected = self.answers(self.MODEL, text="".join(text + "\n" for text in texts))
        answers, code = exchange(["run", self.MODEL, "--text", "-"], [(text.encode() + b"\n", 1) for text in texts])
        self.assertEqual(([json.loads(answer) for answer in answers[:-1]], answers[-1], code), (expected, b"", 0))
        # Half a line behind two whole ones is not waited for.
        answers, code = exchange(["run", self.MODEL, "--text", "-"], [(b"a\nyou win\n\na a", 3), (b" a" * 28 + b"\n", 1)])
        self.assertEqual(([json.loads(line) for line in b"".join(answers).splitlines()], code), (expected, 0))

    def test_good_lines_are_answered_before_a_bad_one(self):
        expected = self.answers(self.MODEL, "--pairs", text="a\tyou\nwin\t\n")
        for batch in ([], ["--batch", 1], ["--batch", 2], ["--batch", 3]):
            result = ss1("run", self.MODEL, "--text", "-", "--pairs", *batch, stdin=b"a\tyou\nwin\t\nmoney\na\tb\n")
            self.assertEqual(result.returncode, 2)
            self.assertEqual([json.loads(line) for line in result.stdout.splitlines()], expected)
            self.assertIn("standard input:3: the line has 0 tabs", result.stderr.decode())

    def with_huge_embedding(self, token, **config):
        """The classifier, in which a token's numbers overflow."""
        folder = self.variant(**config)
        data = bytearray((folder / "model.safetensors").read_bytes())
        size = struct.unpack_from("<Q", data)[0]
        entry = next(entry for name, entry in json.loads(data[8:8 + size]).items() if name.endswith("word_embeddings.weight"))
        self.assertEqual(entry["dtype"], "F32")
        begin = 8 + size + entry["data_offsets"][0] + 4 * entry["shape"][1] * self.vocabulary[token]
        data[begin:begin + 4 * entry["shape"][1]] = struct.pack("<f", 3e38) * entry["shape"][1]
        (folder / "model.safetensors").write_bytes(data)
        return folder

    def test_numbers_that_are_not_finite(self):
        for config in ({}, {"problem_type": "regression"}, {"problem_type": "multi_label_classification"}):
            model = self.with_huge_embedding("money", **config)
            for batch in (1, 2, 8):
                with self.subTest(config=config, batch=batch):
                    result = ss1("run", model, "--text", "-", "--batch", batch, stdin=b"you win\nmy lunch\nwin money\nyou\n")
                    self.assertEqual(result.returncode, 2, result.stdout)
                    self.assertEqual(len(result.stdout.splitlines()), 2)
                    self.assertIn("standard input:3: the model gives numbers that are not finite", result.stderr.decode())

    def test_what_is_cut_is_told(self):
        texts = ["a " * 13, "a " * 14, "a " * 15, "a"]
        self.assertEqual([answer.get("cut") for answer in self.answers(self.MODEL, text="\n".join(texts))], [None, None, True, None])
        pairs = ["a a\ta a", "a a a\ta a", "a a a a\ta", "a\t"]
        answers = self.answers(self.MODEL, "--pairs", "--max-tokens", 7, text="\n".join(pairs))
        self.assertEqual([answer.get("cut") for answer in answers], [None, True, True, None])
        self.assertEqual(list(answers[1]), ["label", "score", "cut"])

    def test_masked_words_and_vectors(self):
        masked = self.variant(architectures=["BertForMaskedLM"])
        answers = self.answers(masked, "--random-weights", 1, text="the [MASK] [MASK]\nthe\n")
        self.assertEqual([len(answer["masks"]) for answer in answers], [2, 0])
        for tokens in answers[0]["masks"]:
            self.assertEqual(len(tokens), 5)
            self.assertTrue(all(token["token"] in self.vocabulary for token in tokens))
            scores = [token["score"] for token in tokens]
            self.assertEqual(scores, sorted(scores, reverse=True))
        answers = self.answers(self.variant(architectures=["BertModel"]), "--random-weights", 1, text="the\n")
        self.assertEqual(len(answers[0]["pooled"]), 64)

    def with_vocabulary(self, model, tokens):
        """A model of tests/data with a vocabulary: {id: token}, words like q7 in between."""
        folder = self.directory / model
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes((DATA / model / name).read_bytes())
        names = [tokens.get(i, f"q{i}") for i in range(json.loads((folder / "config.json").read_text())["vocab_size"])]
        (folder / "vocab.txt").write_text("".join(name + "\n" for name in names), encoding="utf-8")
        return folder

    def test_labels_of_words(self):
        # The sequences of PyTorch's vectors: their first token is made [CLS], their last [SEP].
        vectors = read_safetensors(DATA / "bert_distil_tokens/vectors.safetensors")
        self.assertEqual(vectors["input_ids"], [2, 3, 33, 23, 16, 28, 2, 5, 30, 31])
        special = {0: "[PAD]", 1: "[UNK]"}
        first = self.with_vocabulary("bert_distil_tokens", {**special, 2: "[CLS]", 16: "[SEP]", 33: "##ing"})
        second = self.answers(first, text="Q3iNG\u0301   q23\nq3\u0301ing q23")
        self.assertEqual(second[0]["words"][0], {**second[1]["words"][0], "word": "Q3iNG", "begin": 0, "end": 5})
        words = second[1]["words"]
        self.assertEqual([(word["word"], word["begin"], word["end"]) for word in words], [("q3\u0301ing", 0, 7), ("q23", 8, 11)])
        for word, t in zip(words, (1, 3)):
            weights = [math.exp(value) for value in vectors["logits"][2 * t:2 * t + 2]]
            best = weights.index(max(weights))
            self.assertEqual(word["label"], f"LABEL_{best}")
            self.assertAlmostEqual(word["score"], weights[best] / sum(weights), delta=1e-5)

    def test_words_of_any_text(self):
        model = self.with_vocabulary("bert_tokens", {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]", 4: "[MASK]", 5: "you", 6: "##r", 7: "!"})
        text = "YOUR \u00e9! \u4e2d\u6587 [MASK]you [SEP]\n\n" + "your " * 9 + "\n"
        answers = self.answers(model, text=text)
        words = [[word["word"] for word in answer["words"]] for answer in answers]
        self.assertEqual(words, [["YOUR", "\u00e9", "!", "\u4e2d", "\u6587", "[MASK]", "you", "[SEP]"], [], ["your"] * 6])
        for line, answer in zip(text.splitlines(), answers, strict=True):
            for word in answer["words"]:
                self.assertEqual(line.encode()[word["begin"]:word["end"]].decode(), word["word"])
                self.assertIn(word["label"], ["no", "maybe", "yes"])
                self.assertTrue(1 / 3 <= word["score"] <= 1)
        for batch in (1, 2):
            self.assertEqual(self.answers(model, "--batch", batch, text=text), answers)
        cut = self.answers(model, "--max-tokens", 4, text="your your\n")[0]["words"]  # in the middle of no word: [CLS] you ##r [SEP]
        self.assertEqual([(word["word"], word["begin"], word["end"]) for word in cut], [("your", 0, 4)])
        broken = ss1("run", model, "--text", "-", stdin=b"yo\xffur you")  # bytes that are not UTF-8
        self.assertEqual([(word["word"], word["begin"], word["end"]) for word in json.loads(broken.stdout)["words"]],
                         [("yo\ufffdur", 0, 5), ("you", 6, 9)])
        self.assertIn("--pairs does not go with a classifier of tokens", self.refused("run", model, "--text", "-", "--pairs"))
        (model / "tokenizer_config.json").write_text('{"additional_special_tokens": ["##r"]}')  # found in the text before it is normalised
        added = self.answers(model, text="you ##r you\n")[0]["words"]
        self.assertEqual([word["word"] for word in added], ["you", "##r", "you"])

    def test_answers_to_questions(self):
        vectors = read_safetensors(DATA / "bert_distil_answers/vectors.safetensors")
        self.assertEqual(vectors["input_ids"][:9], [8, 21, 36, 10, 6, 24, 15, 38, 15])
        model = self.with_vocabulary("bert_distil_answers", {0: "[PAD]", 1: "[UNK]", 8: "[CLS]", 15: "[SEP]"})
        answers = self.answers(model, text="q21 q36 q10 q6 q24\t  Q38\u0301 \n")
        expected = 1
        for logits in (vectors["start_logits"][:9], vectors["end_logits"][:9]):
            expected *= math.exp(logits[7]) / (math.exp(logits[7]) + math.exp(logits[0]))  # the context's token and [CLS]
        score = answers[0].pop("score")
        self.assertEqual(answers, [{"answer": "Q38", "begin": 2, "end": 5}])
        self.assertAlmostEqual(score, expected, delta=1e-5)

    def test_answers_of_any_text(self):
        model = self.with_vocabulary("bert_answers", {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]", 5: "you", 6: "##r", 7: "!"})
        text = "".join(f"q{i}\tq{i + 1} \u00c9 your q{i + 2}!\n" for i in range(8, 30)) + "q9\t\nyour\t\u4e2dyour\n"
        answers = self.answers(model, text=text)
        self.assertEqual(self.answers(model, "--pairs", "--batch", 3, text=text), answers)
        for line, answer in zip(text.splitlines(), answers, strict=True):
            context = line.split("\t")[1].encode()
            self.assertEqual(list(answer), ["answer", "begin", "end", "score"])
            self.assertEqual(context[answer["begin"]:answer["end"]].decode(), answer["answer"])
            self.assertTrue(0 <= answer["score"] <= 1)
            self.assertNotRegex(answer["answer"].replace("your", ""), "[your]")  # whole words
        self.assertEqual(answers[22], {"answer": "", "begin": 0, "end": 0, "score": 0})  # no context
        (model / "config.json").write_text((model / "config.json").read_text().replace(": 14", ": 60"))  # positions
        text = "".join("you\t" + " ".join(f"q{8 + (i * k) % 31}" for k in range(50)) + "\n" for i in range(100))
        lengths = {len(answer["answer"].split()) for answer in self.answers(model, "--random-weights", 3, text=text)}
        self.assertEqual((min(lengths), max(lengths)), (1, 15))
        result = ss1("run", model, "--random-weights", 3, "--text", "-", stdin=b"you\n")
        self.assertEqual(result.returncode, 2)
        self.assertIn("standard input:1: the line has 0 tabs", result.stderr.decode())
        self.assertIn("to find answers, a question and its context", result.stderr.decode())

    def test_mistakes(self):
        path = self.directory / "texts"
        path.write_text("a\n")
        small = self.variant(vocab_size=99)
        for message, arguments in {
                "one of --input and --text": [self.MODEL],
                "--input and --text exclude each other": [self.MODEL, "--text", "-", "--input", "-"],
                "--pairs and --max-tokens need --text": [self.MODEL, "--input", "-", "--pairs"],
                "--text and --label cannot both be stdin": [self.MODEL, "--text", "-", "--label", "-"],
                f"--output {path} is the file of --label": [self.MODEL, "--text", "-", "--label", path, "--output", path],
                "--max-tokens 17 is above the model's 16": [self.MODEL, "--text", "-", "--max-tokens", 17],
                "--text needs a BERT": [DATA / "dlrm_cat", "--text", "-"],
                "vocab.txt: cannot open": [DATA / "bert_ss1", "--text", "-"],
                "the tokenizer of model_type 'roberta' is not supported": [DATA / "bert_roberta_tokens", "--text", "-"],
                "has 100 tokens, the model 99": [small, "--random-weights", 1, "--text", "-"],
                "/no/such/texts": [self.MODEL, "--text", "/no/such/texts"],
                f"--output {path} is the input file": [self.MODEL, "--text", path, "--output", path]}.items():
            with self.subTest(message=message):
                self.assertIn(message, self.refused("run", *arguments, stdin=b"a\n"))
        result = ss1("run", self.MODEL, "--text", "-", "--pairs", stdin=b"a\tb\n\t\na\tb\tc\n")
        self.assertEqual(result.returncode, 2)
        self.assertIn("standard input:3: the line has 2 tabs", result.stderr.decode())


class Embed(Case):
    """ss1 embed and ss1 rerank against ss1 run --input with the ids that belong to the lines."""
    TEXTS = ["you win money", "", "lunch, please", "win"]

    def make(self, **config):
        """The classifier with other keys in its config.json."""
        folder = self.directory / "model"
        folder.mkdir()
        for name in ("model.safetensors", "vocab.txt"):
            (folder / name).write_bytes((Text.MODEL / name).read_bytes())
        (folder / "config.json").write_text(json.dumps({**json.loads((Text.MODEL / "config.json").read_text()), **config}))
        return folder

    def sentences(self):
        folder = self.make()
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "win "}}))
        (folder / "modules.json").write_text(json.dumps([{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in (
            ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))]))
        return folder

    def test_formats(self):
        model, text = self.sentences(), "\n".join(self.TEXTS) + "\n"
        lines = [json.loads(line)["embedding"] for line in self.ok("embed", model, "--text", "-", stdin=text.encode()).splitlines()]
        self.assertEqual([len(line) for line in lines], [64] * 4)
        for line in lines:
            self.assertAlmostEqual(sum(value * value for value in line), 1, delta=1e-5)
        path = self.directory / "vectors"
        for batch in (1, 9):
            self.ok("embed", model, "--text", "-", "-o", "f32", "--output", path, "--batch-tokens", batch, stdin=text.encode())
            self.assertEqual(path.read_bytes(), struct.pack("<256f", *sum(lines, [])))
        self.ok("embed", model, "--text", "-", "-o", "npy", "--output", path, stdin=text.encode())
        data = path.read_bytes()
        size = 10 + struct.unpack_from("<H", data, 8)[0]
        self.assertEqual((data[:8], size % 64), (b"\x93NUMPY\x01\x00", 0))
        self.assertEqual(data[10:size].decode().strip(), "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 64), }")
        self.assertEqual(data[size:], struct.pack("<256f", *sum(lines, [])))

    def test_sparse(self):
        folder = Text.with_vocabulary(self, "bert_words", {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]", 4: "[MASK]"})
        (folder / "1_SpladePooling").mkdir()
        (folder / "1_SpladePooling/config.json").write_text("{}")
        (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "x.MLMTransformer"}, {"path": "1_SpladePooling", "type": "x.SpladePooling"}]))
        text = b"q7 q8\nq9\n"
        dense, sparse = ([json.loads(line) for line in self.ok("embed", folder, "--text", "-", "-o", name, stdin=text).splitlines()]
                         for name in ("jsonl", "sparse"))
        for full, short in zip(dense, sparse, strict=True):
            self.assertEqual({i: value for i, value in enumerate(full["embedding"]) if value}, dict(zip(short["indices"], short["values"], strict=True)))
            self.assertGreaterEqual(min(full["embedding"]), 0)
        self.assertIn("ss1: --dimensions=8: the numbers of a SPLADE model belong to words",
                      self.refused("embed", folder, "--text", "-", "--dimensions", 8, stdin=text))

    def test_prompts_and_dimensions(self):
        model = self.sentences()
        prompted = self.ok("embed", model, "--text", "-", "--prompt", "query", stdin=b"money\n")
        self.assertEqual(prompted, self.ok("embed", model, "--text", "-", "--prompt", "", stdin=b"win money\n"))
        cut = json.loads(self.ok("embed", model, "--text", "-", "--dimensions", 8, stdin=b"money\n"))["embedding"]
        self.assertEqual(len(cut), 8)
        self.assertAlmostEqual(sum(value * value for value in cut), 1, delta=1e-5)

    def test_static(self):
        """A directory of model2vec: its config.json names neither an architecture nor a limit."""
        folder = self.directory / "static"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": False}))
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b")))
        header = json.dumps({"embeddings": {"dtype": "F32", "shape": [6, 2], "data_offsets": [0, 48]}}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<12f", *range(12)))
        lines = self.ok("embed", folder, "--text", "-", stdin=b"a b\nb c\n").splitlines()
        self.assertEqual([json.loads(line)["embedding"] for line in lines], [[9, 10], [10, 11]])
        self.assertIn("use ss1 embed", self.refused("run", folder, "--text", "-", stdin=b"a\n"))

    def test_an_embedder_without_a_pooler_has_an_output_for_a_row(self):
        model, texts = EXAMPLES / "models/mail-embed", EXAMPLES / "data/documents.txt"
        out, layers = self.directory / "out", ["--layers", "encoder.layer.0.intermediate.dense"]
        self.ok("convert", model, out, "-c", 4, "--calibrate", texts, *layers)
        self.assertEqual(len(self.ok("embed", out, "--text", texts).splitlines()), 100)
        shutil.rmtree(out)
        many, small = self.directory / "many.txt", self.directory / "small"
        many.write_bytes(3 * texts.read_bytes())
        shutil.copytree(model, small)
        config = json.loads((small / "0_Transformer/config.json").read_text())
        (small / "0_Transformer/config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
        self.ok("convert", small, out, "--budget", 1, "--calibrate", many, "--rows", 8)
        quality = json.loads((out / "ss1-report.json").read_text())["quality"]
        self.assertEqual(quality["rows"], 60)
        self.assertTrue(0 <= quality["output_error"] < 1, quality)
        ids = self.directory / "ids.csv"
        ids.write_text("input_ids\n2 50 60 3\n")
        names = self.ok("run", model, "--input", ids).splitlines()[0].split(",")
        self.assertEqual((names[0], len(names)), ("sentence_embedding_0", 256))
        self.assertIn("use ss1 embed", self.refused("run", model, "--text", texts))
        if BENCH_EXE:
            run(BENCH_EXE, "model", model, "--batch", 2, "--tokens", 16, "--min-time", 0, "--repetitions", 3).check_returncode()

    def test_rerank(self):
        model = self.make(id2label={"0": "yes"}, label2id={"yes": 0})
        weights = (model / "model.safetensors").read_bytes()
        size = struct.unpack_from("<Q", weights)[0]
        header = json.loads(weights[8:8 + size])
        parts, at = {}, 0
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                data = weights[8 + size + begin:8 + size + end]
                if name.startswith("classifier."):  # of the three labels the first
                    entry["shape"][0], data = 1, data[:len(data) // 3]
                entry["data_offsets"] = [at, at + len(data)]
                parts[name], at = data, at + len(data)
        text = json.dumps(header).encode()
        (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts.values()))
        rows = [json.loads(line) for line in self.ok(
            "rerank", model, "--query", "you win", "--text", "-", stdin="\n".join(self.TEXTS).encode()).splitlines()]
        self.assertEqual(sorted(row["index"] for row in rows), [0, 1, 2, 3])
        self.assertEqual([row["text"] for row in rows], [self.TEXTS[row["index"]] for row in rows])
        self.assertEqual([row["logit"] for row in rows], sorted((row["logit"] for row in rows), reverse=True))
        pairs = "".join(f"you win\t{text}\n" for text in self.TEXTS)
        scores = [json.loads(line)["scores"]["yes"] for line in self.ok("run", model, "--text", "-", "--pairs", stdin=pairs.encode()).splitlines()]
        for row in rows:
            self.assertAlmostEqual(row["score"], scores[row["index"]], delta=2e-6)
            self.assertAlmostEqual(row["score"], 1 / (1 + math.exp(-row["logit"])), delta=2e-6)
        top = self.ok("rerank", model, "--query", "you win", "--text", "-", "--top", 1, stdin="\n".join(self.TEXTS).encode())
        self.assertEqual(json.loads(top), rows[0])
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "sentence_transformers": {"activation_fn": "my.module.ReLU"}}))
        self.assertIn("ss1: the model's activation 'my.module.ReLU' is not supported",
                      self.refused("rerank", model, "--query", "you win", "--text", "-", stdin=b"win\n"))

    def test_mistakes(self):
        plain = self.make()
        self.assertIn("no modules.json with a pooling", self.refused("embed", plain, "--text", "-", stdin=b"a\n"))
        self.assertIn("is no reranker", self.refused("rerank", plain, "--query", "a", "--text", "-", stdin=b"a\n"))
        self.assertIn("standard input:1: the line has a tab, but --pairs is missing", self.refused("run", plain, "--text", "-", stdin=b"a\tb\n"))
        shutil.rmtree(plain)
        model, path = self.sentences(), self.directory / "texts"
        path.write_text("a\n")
        for command in (["embed", model], ["rerank", model, "--query", "a"]):
            with self.subTest(command=command[0]):
                self.assertIn(f"--output {path} is the input file", self.refused(*command, "--text", path, "--output", path))
                self.assertIn("--text: the path is empty", self.refused(*command, "--text", ""))
                self.assertIn("--output: the path is empty", self.refused(*command, "--text", path, "--output", ""))
        self.assertEqual(path.read_text(), "a\n")
        self.assertIn("ss1: --prompt 'title' is not a prompt of the model", self.refused("embed", model, "--text", path, "--prompt", "title"))
        self.assertIn("ss1: --max-tokens=1000000 is above the model's", self.refused("embed", model, "--text", path, "--max-tokens", 10**6))
        self.assertIn("-o x.json is none of jsonl, sparse, npy and f32; --output names the file",
                      self.refused("embed", model, "--text", path, "-o", "x.json"))
        self.assertIn("--dimensions 1000000000 is above the 64 of the model",
                      self.refused("embed", model, "--text", path, "--dimensions", 10**9))


class Run(Case):
    def test_every_dlrm_case(self):
        for directory in sorted(DATA.glob("dlrm_*")):
            with self.subTest(model=directory.name):
                rows, expected = dlrm_csv(directory)
                lines = self.ok("run", directory, "--input", "-", stdin=to_text(rows)).splitlines()
                self.assertEqual(lines[0], "probability")
                self.assertEqual(len(lines), 1 + len(expected))
                for line, value in zip(lines[1:], expected):
                    self.assertAlmostEqual(float(line), value, delta=1e-5)

    def test_bert_classifier(self):
        vectors = read_safetensors(DATA / "bert_classifier/vectors.safetensors")
        batch, tokens = vectors["input_ids", "shape"]
        mask, types = vectors.get("attention_mask"), vectors.get("token_type_ids")
        text = "input_ids,token_type_ids\n"
        for i in range(batch):
            kept = [j for j in range(i * tokens, (i + 1) * tokens) if mask is None or mask[j]]
            text += " ".join(str(vectors["input_ids"][j]) for j in kept) + "," + " ".join(str(types[j] if types else 0) for j in kept) + "\n"
        outputs = {self.ok("run", DATA / "bert_classifier", "--input", "-", "--batch", size, stdin=text.encode()) for size in (1, 2, 3, 50)}
        self.assertEqual(len(outputs), 1)
        rows = list(csv.reader(io.StringIO(outputs.pop())))
        labels = vectors["logits", "shape"][1]
        self.assertEqual(rows[0], [f"logits_{i}" for i in range(labels)])
        got = [float(value) for row in rows[1:] for value in row]
        self.assertEqual(len(got), len(vectors["logits"]))
        for value, expected in zip(got, vectors["logits"]):
            self.assertAlmostEqual(value, expected, delta=1e-4)
        for text, problem in (("input_ids\n1 x\n", "'x'"), ("input_ids\n1 -1\n", "-1"), ('input_ids\n""\n', "no tokens"),
                              ("input_ids\n" + "1 " * 10000 + "\n", "at most"), ("input_ids,token_type_ids\n1 2,0\n", "1 types")):
            message = self.refused_rows("bert_classifier", text.encode())
            self.assertIn("standard input:2: column ", message)
            self.assertIn(problem, message)

    def refused_rows(self, model, text, *more):
        result = ss1("run", DATA / model, "--input", "-", *more, stdin=text)
        self.assertEqual(result.returncode, 2, result.stderr.decode())
        return result.stderr.decode()

    def test_files_streams_and_batches_give_the_same_bytes(self):
        rows, _ = dlrm_csv(DATA / "dlrm_odd")
        rows = [rows[0]] + rows[1:] * 60
        path, out = self.directory / "rows.csv", self.directory / "scores.csv"
        path.write_bytes(to_text(rows))
        self.assertEqual(self.ok("run", DATA / "dlrm_odd", "--input", path, "--output", out), "")
        expected = out.read_text()
        self.assertEqual(len(expected.splitlines()), len(rows))
        for batch in (1, 7, 256, 5000):
            for threads in (1, 2):
                self.assertEqual(self.ok("run", DATA / "dlrm_odd", "--input", "-", "--batch", batch, "--threads", threads,
                                         stdin=to_text(rows)), expected)

    def test_a_row_is_scored_before_the_next(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        rows = [row + [note] for row, note in zip(rows[:4], ["note", "a", '"b\nb"', '"c ""\n"""'])]
        expected = self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text(rows)).encode().splitlines(True)
        answers, code = exchange(["run", DATA / "dlrm_cat", "--input", "-"], [(to_text([row]), 1) for row in rows])
        self.assertEqual((answers, code), (expected + [b""], 0))
        # A line end in quotes does not end a row.
        text = to_text(rows)
        for cut in (text.index(b"b\nb") + 2, text.index(b'"\n"""') + 2):
            lines = to_text(rows)[:cut].count(b"\n") - (1 if b"c " not in text[:cut] else 2)
            answers, code = exchange(["run", DATA / "dlrm_cat", "--input", "-"], [(text[:cut], lines), (text[cut:], 4 - lines)])
            self.assertEqual((b"".join(answers), code), (b"".join(expected), 0))
            self.assertEqual(answers[0].count(b"\n"), lines)

    def test_blank_lines_in_a_pipe(self):
        """A blank line, after which no row may come, does not hold back the rows before it."""
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        first, second = to_text(rows[:2]), to_text(rows[2:3])
        expected = self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=first + second).encode().splitlines(True)
        for blank in (b"\n", b"\r\n", b" \t\n", b"\n \r\n\n"):
            with self.subTest(blank=blank):
                answers, code = exchange(["run", DATA / "dlrm_cat", "--input", "-"], [(first, 2), (second + blank, 1), (blank, 0)])
                self.assertEqual((answers, code), ([b"".join(expected[:2]), expected[2], b"", b""], 0))
        result = ss1("run", DATA / "dlrm_cat", "--input", "-", stdin=first + b"\n \n" + second)
        self.assertEqual((result.returncode, result.stdout), (2, b"".join(expected[:2])))
        self.assertIn("standard input:3: the line is blank", result.stderr.decode())

    def test_long_rows_in_a_pipe(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        long = [rows[0] + ["note"]] + [row + ["x" * (1 + 40_001 * i % 150_000)] for i, row in enumerate(rows[1:] * 3)]
        path = self.directory / "rows.csv"
        path.write_bytes(to_text(long))
        self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text(long)),
                         self.ok("run", DATA / "dlrm_cat", "--input", path))

    def test_good_rows_are_scored_before_a_bad_one(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        header, good = rows[0] + ["y"], [row + ["1"] for row in rows[1:3]]
        expected = self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text([header] + good)).encode()
        for column in range(len(header)):
            bad = [*good[0][:column], "?", *good[0][column + 1:]]
            for batch in ([], ["--batch", 1], ["--batch", 2], ["--batch", 3]):
                with self.subTest(column=column, batch=batch):
                    result = ss1("run", DATA / "dlrm_cat", "--input", "-", "--label", "y", *batch, stdin=to_text([header] + good + [bad]))
                    self.assertEqual((result.returncode, result.stdout), (2, expected))
                    self.assertIn(f"standard input:4: column {header[column]}", result.stderr.decode())
        expected = self.ok("run", DATA / "bert_classifier", "--input", "-", stdin=b"input_ids\n5 6\n7\n").encode()
        result = ss1("run", DATA / "bert_classifier", "--input", "-", stdin=b"input_ids\n5 6\n7\nx\n8\n")
        self.assertEqual((result.returncode, result.stdout), (2, expected))

    def test_types_of_a_model_without(self):
        message = self.refused("run", DATA / "bert_distil_classifier", "--input", "-", stdin=b"input_ids,token_type_ids\n5 6,0 0\n")
        self.assertIn("standard input:1: column token_type_ids (2): this model takes no token_type_ids", message)

    def test_dialects_of_csv(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        expected = self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text(rows))
        quoted = [[f'"{field}"' for field in row] for row in rows]
        def plus(field):
            return "|".join(item if not item or item.startswith("-") else f" +{item} " for item in field.split("|"))

        extra = [["note"] + rows[0]] + [['"a ""quote"", a comma\r\nand a line"'] + row for row in rows[1:]]
        variants = {
            "CRLF": to_text(rows, "\r\n"), "no last line end": to_text(rows)[:-1], "CRLF, no last": to_text(rows, "\r\n")[:-2],
            "byte order mark": b"\xef\xbb\xbf" + to_text(rows), "quotes": to_text(quoted), "quotes, CRLF": to_text(quoted, "\r\n"),
            "quotes, no last line end": to_text(quoted)[:-1],
            "a blank last line": to_text(rows) + b"\n", "blank last lines": to_text(rows, "\r\n") + b" \t\r\n\r\n \n ",
            "blanks round names": to_text([[f" {name}\t" for name in rows[0]]] + rows[1:]),
            "blanks round quoted names": to_text([[f'" {name} "' for name in rows[0]]] + rows[1:]),
            "plus signs": to_text([rows[0]] + [[plus(field) for field in row] for row in rows[1:]]),
            "ids as pandas writes them beside missing ones": to_text([rows[0]] + [row[:3] + ["|".join(item + ".00" for item in field.split("|") if item)
                                                                                            for field in row[3:]] for row in rows[1:]]),
            "columns in another order": to_text([row[::-1] for row in rows]), "a further column": to_text(extra),
        }
        for name, text in variants.items():
            with self.subTest(variant=name):
                self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=text), expected)

    def test_empty_bags_everywhere(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        row = rows[1][:3] + ["", ""]
        lines = self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text([rows[0], row])).splitlines()
        self.assertTrue(0 < float(lines[1]) < 1)
        for blank in (" ", "\t ", '""', '" "'):
            self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text([rows[0], row[:3] + [blank] * 2])).splitlines(), lines)
        self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text(rows[:1])), "probability\n")

    def test_bad_lines_are_named(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        header, good = rows[0], rows[1]
        column = {name: i for i, name in enumerate(header)}

        def line(**fields):
            return [fields.get(name, good[i]) for name, i in column.items()]

        limit = json.loads((DATA / "dlrm_cat/config.json").read_text())["tables"][1]["rows"]
        cases = [
            (to_text([header, good, line(dense1="abc")]), ":3: column dense1 (2): 'abc'"),
            (to_text([header, good, line(dense1="")]), ":3: column dense1 (2): ''"),
            (to_text([header, line(dense0="nan")]), ":2: column dense0 (1): 'nan'"),
            (to_text([header, line(dense0="1e99")]), ":2: column dense0 (1): '1e99'"),
            (to_text([header, line(table1=str(limit))]), f":2: column table1 (5): index {limit} is out of range"),
            (to_text([header, line(table1="-1")]), ":2: column table1 (5): index -1"),
            (to_text([header, line(dense0="", dense1="x")]), ":2: column dense0 (1): '' is a missing value, which --missing error refuses"),
            (to_text([header, line(table0="NA")]), ":2: column table0 (4): 'NA' stands for a missing value"),
            (to_text([header, line(table0="1.")]), ":2: column table0 (4): '1.' is not a whole number"),
            (to_text([header, line(table0="1 .0")]), ":2: column table0 (4): '1 .0' is not a whole number"),
            (to_text([header, line(table0=".0")]), ":2: column table0 (4): '.0' is not a whole number"),
            (to_text([header, line(table0="1.0|2.05")]), ":2: column table0 (4): '2.05' is not a whole number"),
            (to_text([header, line(table0="1|")]), ":2: column table0 (4): ''"),
            (to_text([header, line(table0="1.5")]), ":2: column table0 (4): '1.5'"),
            (to_text([header, line(table0="99999999999999999999")]), ":2: column table0 (4): "),
            (to_text([header, good, good[:-1]]), ":3: the line has 4 columns, the header has 5"),
            (to_text([header, good]) + b"\n \n" + to_text([good]), ":3: the line is blank: only the last lines may be"),
            (to_text([header[:-1], good[:-1]]), ":1: column table1 is missing"),
            (to_text([header + ["dense0"], good + ["1"]]), ":1: column dense0 stands in the header twice"),
            (to_text([header, good], "\r"), ":1: column 5: a carriage return without a line feed: lines must end in LF or CRLF"),
            (to_text([header]) + b'1,2\r3,4,5\n', ":2: column 2: a carriage return without a line feed"),
            (to_text([header]) + b'1,2,"3"\r4,5\n', ":2: column 3: text follows the closing quote"),
            (to_text([header, line(dense0="+-1")]), ":2: column dense0 (1): '+-1'"),
            (to_text([header, line(dense0="+")]), ":2: column dense0 (1): '+'"),
            (to_text([header, line(dense0="1e400")]), ":2: column dense0 (1): '1e400'"),
            (to_text([header, line(dense0="-inf")]), ":2: column dense0 (1): '-inf'"),
            (to_text([header, line(table0="1| |2")]), ":2: column table0 (4): ' '"),
            (to_text([header]) + b'1,2,"3', ":2: column 3: a quote is left open"),
            (to_text([header]) + b'1,2,"3"x,4,5\n', ":2: column 3: text follows"),
            (to_text([header]) + b'1,2,3"x,4,5\n', ":2: column 3: a quote inside"),
            (b"", ":1: the file is empty"),
            (b"," * (1 << 21), ":1: the record has more than"),
        ]
        for text, message in cases:
            with self.subTest(message=message):
                self.assertIn("standard input" + message, self.refused_rows("dlrm_cat", text))
        # In a long file the line is still the right one, whatever the batch size.
        text = to_text([header] + [good] * 1000 + [line(dense0="?")] + [good] * 10)
        self.assertIn("standard input:1002: column dense0", self.refused_rows("dlrm_cat", text, "--batch", "64"))
        message = self.refused_rows("dlrm_cat", to_text([header, line(dense0="\x1b[31m" + "x" * 5000)]))
        self.assertIn(r"'\x1b[31mxxx", message)  # no control character reaches the terminal
        self.assertLess(len(message), 500)
        self.assertIn("/no/such/rows.csv", self.refused("run", DATA / "dlrm_cat", "--input", "/no/such/rows.csv"))
        self.assertIn("/no/such/dir/out.csv", self.refused("run", DATA / "dlrm_cat", "--input", "-", "--output", "/no/such/dir/out.csv",
                                                           stdin=to_text(rows)))

    def test_input_is_never_overwritten(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        path, out = self.directory / "rows.csv", self.directory / "out"
        path.write_bytes(to_text(rows))
        for option in ("--output", "--summary"):
            self.assertIn(f"{option} {path} is", self.refused("run", DATA / "dlrm_cat", "--input", path, option, path))
            self.assertEqual(path.read_bytes(), to_text(rows))
        out.write_text("old")
        self.assertIn(f"--summary {out} is", self.refused("run", DATA / "dlrm_cat", "--input", path, "--output", out, "--summary", out))

    def test_scores_come_while_the_input_is_open(self):
        rows, expected = dlrm_csv(DATA / "dlrm_cat")
        with subprocess.Popen([EXE, "run", DATA / "dlrm_cat", "--input", "-", "--batch", "1"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, bufsize=0) as process:
            process.stdin.write(b"\xef\xbb\xbf" + to_text(rows[:2]))
            came, text = True, b""
            while came and text.count(b"\n") < 2:
                came = select.select([process.stdout], [], [], 30)[0]
                text += os.read(process.stdout.fileno(), 1000) if came else b""
            process.stdin.close()
        self.assertEqual(process.returncode, 0)
        self.assertTrue(came, "no score before the end of the input")
        self.assertAlmostEqual(float(text.splitlines()[1]), expected[0], delta=1e-5)

    def test_tiny_numbers_are_finite(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        def scored(value):
            return self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text([rows[0], [value, "-" + value] + rows[1][2:]]))

        for tiny in ("1e-60", "1e-400", "1e-99999", "0." + "0" * 400 + "1"):  # as Python's float()
            self.assertEqual(struct.pack("f", float(tiny)), bytes(4))
            self.assertEqual(scored(tiny), scored("0"))

    def test_scores_that_overflow(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        rows = [rows[0] + ["y"], rows[1] + ["1"], ["3e38", "3e38", "3e38"] + rows[1][3:] + ["0"]]
        self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", stdin=to_text(rows)).splitlines()[2], "nan")
        self.assertIn("score 2 is nan: the numbers of its row are too large", self.refused_rows("dlrm_cat", to_text(rows), "--label", "y"))

    def test_absent_and_null_sizes_of_bert(self):
        config = json.loads((DATA / "bert_classifier/config.json").read_text())
        self.assertEqual(config.pop("type_vocab_size"), 2)
        outputs = set()
        for more in ({}, {"type_vocab_size": None}):
            (self.directory / "config.json").write_text(json.dumps({**config, **more}))
            outputs.add(self.ok("run", self.directory, "--random-weights", 1, "--input", "-", stdin=b"input_ids\n5 6 7\n"))
        self.assertEqual(len(outputs), 1)

    def run_rows(self, model, rows, *arguments):
        """The lines of scores for rows of a CSV file, header first."""
        return self.ok("run", model, "--input", "-", *arguments, stdin=to_text(rows)).splitlines()

    def model(self, *tables, **config):
        """dlrm_cat with more keys in config.json and in the entries of its tables."""
        model = self.directory / "model"
        shutil.copytree(DATA / "dlrm_cat", model, dirs_exist_ok=True)
        config = {**json.loads((DATA / "dlrm_cat/config.json").read_text()), **config}
        for table, keys in zip(config["tables"], tables):
            table.update(keys)
        (model / "config.json").write_text(json.dumps(config))
        return model

    def test_delimiters(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        expected = self.run_rows(DATA / "dlrm_cat", rows)
        hints = {";": "';' between its names: give --delimiter ';'\n", "\t": "a tab between its names: give --delimiter tab\n"}
        for delimiter, option in ((";", ";"), ("\t", "tab"), ("\t", "\t"), (":", ":"), (",", ",")):
            text = "".join(delimiter.join(row) + "\n" for row in rows).encode()
            quoted = "".join(delimiter.join(f'"{field}"' for field in row) + "\r\n" for row in rows).encode()
            for each in (text, quoted):
                with self.subTest(delimiter=delimiter, quoted=each == quoted):
                    self.assertEqual(self.ok("run", DATA / "dlrm_cat", "--input", "-", "--delimiter", option, stdin=each).splitlines(), expected)
                    if delimiter in hints:
                        self.assertIn("the header has " + hints[delimiter], self.refused("run", DATA / "dlrm_cat", "--input", "-", stdin=each))
        kept = self.ok("run", DATA / "dlrm_cat", "--input", "-", "--delimiter", ";", "--keep", "note",
                       stdin="".join(";".join(row) + "\n" for row in [rows[0] + ["note"]] + [row + ["a,b"] for row in rows[1:3]]).encode())
        self.assertEqual(kept.splitlines(), ["note,probability"] + [f'"a,b",{line}' for line in expected[1:3]])
        for wrong in ("", ";;", " ", '"', "\\t", "\n", "\u20ac", "tabs"):
            self.assertIn("must be one printable ASCII character other than a blank and a quote, or the word tab",
                          self.refused("run", DATA / "dlrm_cat", "--input", "-", "--delimiter", wrong))
        self.assertNotIn("--delimiter", self.refused("run", DATA / "dlrm_cat", "--input", "-", stdin=b"a,b\n1,2\n"))
        self.assertNotIn("--delimiter", self.refused("run", DATA / "dlrm_cat", "--input", "-", stdin=b'a,"b; c"\n1,2\n'))
        self.assertIn("give --delimiter ';'", self.refused("run", DATA / "dlrm_cat", "--input", "-", stdin=b'dense0;"dense1"\n1;2\n'))
        self.assertIn("give --delimiter ','", self.refused("run", DATA / "dlrm_cat", "--input", "-", "--delimiter", "tab", stdin=b"a,b\n1,2\n"))
        line = ";".join(["1,5"] + rows[1][1:]) + "\n"
        self.assertIn("numbers have a decimal point, not a comma",
                      self.refused_rows("dlrm_cat", (";".join(rows[0]) + "\n" + line).encode(), "--delimiter", ";"))
        text = to_text(rows)
        for content, message in {text.decode().encode("utf-16"): "is UTF-16", b"\x1f\x8b\x08\0": "is compressed by gzip", b"PK\x03\x04x": "is a ZIP"}.items():
            self.assertIn(f"standard input: {message}", self.refused("run", DATA / "dlrm_cat", "--input", "-", stdin=content))

    def test_outputs_do_not_replace_sources(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        path, new, model = self.directory / "rows.csv", self.directory / "new", self.directory / "model"
        shutil.copytree(DATA / "dlrm_cat", model)
        before = to_text(rows)
        path.write_bytes(before)
        with open(path, "rb") as stdin:
            result = subprocess.run([EXE, "run", model, "--input", "-", "--output", path], stdin=stdin, capture_output=True, text=True)
        self.assertIn("is the input file", result.stderr)
        self.assertIn("is the file of --output", self.refused("run", model, "--input", path, "--output", new, "--summary", f"{self.directory}/./new"))
        for name in ("config.json", "model.safetensors"):
            for option in ("--output", "--summary"):
                self.assertIn("is a file of the model", self.refused("run", model, "--input", path, option, model / name))
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual((model / "config.json").read_bytes(), (DATA / "dlrm_cat/config.json").read_bytes())

    def test_rows_of_tabs_alone_are_no_blank_lines(self):
        model, header = self.model(), "dense0\tdense1\tdense2\ttable0\ttable1\n"
        arguments = ["run", model, "--input", "-", "--delimiter", "tab", "--missing", "zero"]
        expected = self.run_rows(model, [header.split(), ["0"] * 3 + [""] * 2])
        row = b"\t" * 4 + b"\n"
        answers, code = exchange(arguments, [(header.encode() + row, 2), (row, 1), (b" \n", 0)])
        self.assertEqual((b"".join(answers).decode().splitlines(), code), (expected + expected[1:], 0))

    def test_missing_values(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        header, model = rows[0], self.model(dense_means=[0.5, -2, 7])
        for word in ("", " ", '""', "NA", " NA ", "N/A", "NaN", "nan", "null", "NULL", "None", "\\N"):
            with self.subTest(word=word):
                gap = [word] + rows[1][1:2] + [word] + rows[1][3:]
                self.assertEqual(self.run_rows(model, [header, gap], "--missing", "zero"),
                                 self.run_rows(model, [header, ["0", gap[1], "0"] + gap[3:]]))
                self.assertEqual(self.run_rows(model, [header, gap], "--missing", "mean"),
                                 self.run_rows(model, [header, ["0.5", gap[1], "7"] + gap[3:]]))
                for more in ([], ["--missing", "error"]):
                    told = self.refused_rows("dlrm_cat", to_text([header, gap]), *more)
                    self.assertIn("column dense0 (1): ", told)
                    self.assertIn("--missing zero, mean or skip says", told)
                bag = rows[1][:3] + [word] + rows[1][4:]
                for rule in ("zero", "mean", "skip"):
                    self.assertEqual(self.run_rows(model, [header, bag], "--missing", rule),
                                     self.run_rows(model, [header, bag[:3] + [""] + bag[4:]]))
        for word in ("NAN", "Null", "na", "inf", "-", "?"):
            for rule in ("zero", "mean", "skip"):
                self.assertIn(f"column dense0 (1): '{word}' is not a finite number",
                              self.refused_rows(model, to_text([header, [word] + rows[1][1:]]), "--missing", rule))
        self.assertIn(f"--missing mean: {DATA / 'dlrm_cat'}/config.json lacks dense_means",
                      self.refused("run", DATA / "dlrm_cat", "--input", "-", "--missing", "mean", stdin=to_text(rows)))
        self.assertIn("--missing", self.refused("run", model, "--input", "-", "--missing", "median", stdin=to_text(rows)))
        self.assertIn("--missing is for a DLRM", self.refused("run", DATA / "bert_classifier", "--input", "-", "--missing", "zero",
                                                              stdin=b"input_ids\n5\n"))

    def test_rows_left_out(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        chance, summary = random.Random(3), self.directory / "summary.json"
        whole = [row + [str(i), str(i % 2)] for i, row in enumerate(rows[1:] * 5)]
        gaps = [chance.random() < 0.4 for _ in whole]
        gaps[0] = gaps[-1] = True
        header = rows[0] + ["number", "y"]
        all_rows = [header] + [["null" if gap else row[0]] + row[1:] for row, gap in zip(whole, gaps)]
        kept = [header] + [row for row, gap in zip(whole, gaps) if not gap]
        for batch in (1, 3, 1000):
            arguments = ["run", DATA / "dlrm_cat", "--input", "-", "--label", "y", "--keep", "number", "--summary", summary, "--batch", batch]
            expected = self.ok(*arguments, stdin=to_text(kept))
            plain = json.loads(summary.read_text())
            result = ss1(*arguments, "--missing", "skip", stdin=to_text(all_rows))
            self.assertEqual((result.returncode, result.stdout.decode()), (0, expected), result.stderr)
            self.assertIn(f"{len(kept) - 1} rows, {sum(gaps)} left out by --missing skip, AUC", result.stderr.decode())
            told = json.loads(summary.read_text())
            self.assertEqual(list(told), ["n", "left_out", "auc", "log_loss", "rows_per_s"])
            self.assertEqual((told["n"], told["left_out"]), (len(kept) - 1, sum(gaps)))
            self.assertEqual((told["auc"], told["log_loss"]), (plain["auc"], plain["log_loss"]))
        none = [header, ["NA"] + whole[0][1:]]
        result = ss1("run", DATA / "dlrm_cat", "--input", "-", "--missing", "skip", stdin=to_text(none))
        self.assertEqual((result.returncode, result.stdout), (0, b"probability\n"))
        self.assertIn("0 rows, 1 left out by --missing skip", result.stderr.decode())
        self.assertIn("0 left out", ss1("run", DATA / "dlrm_cat", "--input", "-", "--missing", "skip", stdin=to_text(kept)).stderr.decode())
        # What else is wrong in a row that is left out is told.
        for column, name in ((1, "dense1"), (3, "table0"), (6, "y")):
            bad = ["NA"] + [("?" if i == column else field) for i, field in enumerate(whole[0])][1:]
            self.assertIn(f":2: column {name} ", self.refused_rows("dlrm_cat", to_text([header, bad]), "--missing", "skip", "--label", "y"))
        # A row that is left out does not hold back those before it.
        first, gap = to_text(kept[:2]), to_text(none[1:])
        answers, code = exchange(["run", DATA / "dlrm_cat", "--input", "-", "--missing", "skip"], [(first + gap, 2), (gap, 0), (to_text(kept[2:3]), 1)])
        self.assertEqual((b"".join(answers).count(b"\n"), answers[0].count(b"\n"), code), (3, 2, 0))

    def test_ids_of_a_vocabulary(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        words = [f"brand {i}" for i in range(9)] + ["\u00e9t\u00e9", "NA"]
        model = self.model({"vocabulary": "brands.txt"}, {"vocabulary": "shops.txt", "unknown": 21})
        shops = [f"{i:x}" for i in range(20)]
        named = [rows[0]] + [row[:3] + ["|".join(f" {words[int(i)]} " for i in row[3].split("|") if i)] +
                             ["|".join(shops[int(i)] if int(i) < 20 else f"new{i}" for i in row[4].split("|") if i)] for row in rows[1:]]
        given = [rows[0]] + [row[:4] + ["|".join(i if int(i) < 20 else "21" for i in row[4].split("|") if i)] for row in rows[1:]]
        expected = self.run_rows(DATA / "dlrm_cat", given)
        for end, last in (("\n", "\n"), ("\r\n", "\r\n"), ("\n", ""), ("\r\n", "")):
            (model / "brands.txt").write_bytes((end.join(words) + last).encode())
            (model / "shops.txt").write_bytes((end.join(shops) + last).encode())
            self.assertEqual(self.run_rows(model, named), expected)
        self.assertEqual(self.run_rows(model, [rows[0], rows[1][:3] + ["NA", ""]]),  # an id of the vocabulary is no missing value
                         self.run_rows(DATA / "dlrm_cat", [rows[0], rows[1][:3] + ["10", ""]]))
        for field, message in (("brand 9", "'brand 9' is not an id of brands.txt"), ("brand 1||NA", "'' is not an id"),
                               ("1.0", "'1.0' is not an id of brands.txt"), ("null", "'null' stands for a missing value")):
            self.assertIn(f":2: column table0 (4): {message}", self.refused_rows(model, to_text([rows[0], rows[1][:3] + [field, ""]])))
        self.assertIn("'M\\xfc' is not UTF-8, which brands.txt is",
                      self.refused_rows(model, to_text([rows[0], rows[1][:3] + ["M?", ""]]).replace(b"?", b"\xfc")))
        contents = {b"": ": the file is empty", b"a\n\nb\n": ":2: the line is empty", b"a\nb\na\n": ":3: 'a' stands in line 1, too",
                    b"a\n b\n": ":2: blanks stand around ' b'", b"a|b\n": ":1: 'a|b' has a |, which separates ids",
                    b"a\rb\n": ":1: 'a\\x0db' has a carriage return", b"a\n\xff\n": ":2: '\\xff' is not UTF-8",
                    "".join(f"{i}\n" for i in range(12)).encode(): ":12: the vocabulary has more lines than the table has rows, 11",
                    b"version https://git-lfs.github.com/spec/v1\n": ": is a pointer of Git LFS"}
        for content, message in contents.items():
            (model / "brands.txt").write_bytes(content)
            result = ss1("run", model, "--input", "-", stdin=to_text(named))
            self.assertEqual((result.returncode, result.stdout), (2, b""))
            self.assertIn(f"{model}/brands.txt{message}", result.stderr.decode())
        (model / "brands.txt").unlink()
        self.assertIn(f"cannot read {model}/brands.txt: No such file", self.refused("run", model, "--input", "-", stdin=to_text(named)))

    def test_ids_of_hashes(self):
        n = 100_003  # rows: more ids than tests have
        known = {"murmur3": {"test": 0xba6bd213, "Hello, world!": 0xc0363e43, "The quick brown fox jumps over the lazy dog": 0x2e4ff723},
                 "hex": {"0": 0, "68fd1e64": 0x68fd1e64, "FFffFFffFFffFFffFFffFF": 0xFFFFFFFFFFFFFFFFFFFFFF},
                 "modulo": {"5": 5, "-1": -1, "+7": 7, "100003.0": 0, str(-n): 0, "123456789012345678901234567890": 123456789012345678901234567890}}
        row = ["0.1", "0.2", "0.3"]
        for hash, ids in known.items():
            config = json.loads((DATA / "dlrm_cat/config.json").read_text())
            config["tables"][0]["rows"] = n
            folders = {}
            for name, more in (("indices", {}), ("hashed", {"hash": hash})):
                folders[name] = self.directory / name
                folders[name].mkdir(exist_ok=True)
                (folders[name] / "config.json").write_text(json.dumps({**config, "tables": [{**config["tables"][0], **more}, config["tables"][1]]}))
            header, scores = ["dense0", "dense1", "dense2", "table0", "table1"], set()
            def of(name, field):
                return self.run_rows(folders[name], [header, row + [f'"{field}"', ""]], "--random-weights", 5)[1]
            for text, number in ids.items():
                with self.subTest(hash=hash, id=text):
                    self.assertEqual(of("hashed", f" {text} "), of("indices", number % n))
                    scores.add(of("hashed", text))
            self.assertGreater(len(scores), 2)
            if hash != "murmur3":
                bag = "|".join(ids)
                self.assertEqual(of("hashed", bag), of("indices", "|".join(str(number % n) for number in ids.values())))
            for field, message in {"murmur3": {"a||b": "'' is not an id", "a|NA": "'NA' stands for a missing value", "NA": "'NA' stands"},
                                   "hex": {"0x5": "'0x5' is not a hexadecimal number", "-1": "'-1' is not a hex", "1||2": "'' is not a hex", "nan": "'nan' stands"},
                                   "modulo": {"1.5": "'1.5' is not a whole number", "a": "'a' is not a whole", "-": "'-' is not a whole", "1e3": "'1e3'"}}[hash].items():
                self.assertIn(f"standard input:2: column table0 (4): {message}",
                              self.refused_rows(folders["hashed"], to_text([header, row + [field, ""]]), "--random-weights", 5))
            self.assertEqual(of("hashed", ""), of("indices", ""))
            word, number = next(iter(ids.items()))
            with_missing = to_text([header, row + [f'"NA|{word}|null"', ""]]), to_text([header, row + [str(number % n), ""]])
            self.assertEqual(*[self.ok("run", folders[name], "--input", "-", "--missing", "zero", "--random-weights", 5, stdin=text)
                               for name, text in zip(("hashed", "indices"), with_missing)])

    def test_kept_columns(self):
        rows, _ = dlrm_csv(DATA / "dlrm_cat")
        header = rows[0] + [" id ", "the note", '"a;b, c"']
        given = [header] + [row + [f" {i} ", '"x, ""y""\nz"', ""] for i, row in enumerate(rows[1:])]
        scores = self.run_rows(DATA / "dlrm_cat", rows)[1:]
        for keep in (["--keep", "the note,id"], ["--keep", "the note", "--keep", "id"]):
            for batch in (1, 2, 100):
                text = self.ok("run", DATA / "dlrm_cat", "--input", "-", *keep, "--batch", batch, stdin=to_text(given))
                read = list(csv.reader(io.StringIO(text)))
                self.assertEqual(read[0], ["the note", "id", "probability"])
                self.assertEqual(read[1:], [['x, "y"\nz', f" {i} ", score] for i, score in enumerate(scores)])
        self.assertEqual(self.run_rows(DATA / "dlrm_cat", given[:1], "--keep", "dense0", "--keep", "a;b, c"), ['dense0,"a;b, c",probability'])
        bert = self.ok("run", DATA / "bert_classifier", "--input", "-", "--keep", "id", stdin=b"id,input_ids\nx,5 6\n")
        self.assertRegex(bert, r"^id,logits_0,logits_1,logits_2\nx,[-.0-9]+,[-.0-9]+,[-.0-9]+\n$")
        for keep, message in {"other": "--keep other: standard input has no such column", "id,id": "--keep id: the column is named twice",
                              "id,,id": "has an empty value", "": "--keep: the column is empty"}.items():
            self.assertIn(message, self.refused("run", DATA / "dlrm_cat", "--input", "-", "--keep", keep, stdin=to_text(given)))
        again = [rows[0] + ["probability"], rows[1] + ["1"]]
        self.assertIn("--keep probability: the output has scores of this name",
                      self.refused("run", DATA / "dlrm_cat", "--input", "-", "--keep", "probability", stdin=to_text(again)))

    def test_logits(self):
        rows, _ = dlrm_csv(DATA / "dlrm_odd")
        plain = self.run_rows(DATA / "dlrm_odd", rows)
        for batch in (1, 3, 100):
            lines = self.run_rows(DATA / "dlrm_odd", rows, "--logits", "--batch", batch)
            self.assertEqual(lines[0], "probability,logit")
            self.assertEqual([line.split(",")[0] for line in lines], plain)
            for line in lines[1:]:
                probability, logit = map(float, line.split(","))
                self.assertAlmostEqual(logit, math.log(probability / (1 - probability)), delta=1e-4)
        self.assertIn("--logits is for a DLRM", self.refused("run", DATA / "bert_classifier", "--input", "-", "--logits", stdin=b"input_ids\n5\n"))

    def test_options_of_rows_need_rows(self):
        for option in (["--delimiter", ";"], ["--missing", "zero"], ["--keep", "a"], ["--logits"]):
            self.assertIn("--delimiter, --missing, --keep and --logits need --input",
                          self.refused("run", DATA / "bert_classifier", "--text", "-", *option, stdin=b"a\n"))
        for option in (["--delimiter", ";"], ["--missing", "skip"]):
            self.assertIn("--delimiter and --missing need --calibrate",
                          self.refused("convert", DATA / "dlrm_cat", self.directory / "out", "--dtype", "int8", *option))
            self.assertIn("--delimiter and --missing are for CSV; - is a text",
                          self.refused("convert", DATA / "bert_classifier", self.directory / "out", "-c", 2, "--block-k", 16,
                                       "--calibrate", "-", *option, stdin=b"a\n"))

    def test_labels(self):
        rows, _ = dlrm_csv(DATA / "dlrm_odd")
        rows = [rows[0] + ["clicked"]] + [row + [str(int(random.Random(i).random() < 0.5))] for i, row in enumerate(rows[1:] * 2)]
        summary = self.directory / "summary.json"
        arguments = ["run", DATA / "dlrm_odd", "--input", "-", "--label", "clicked", "--summary", summary, "--batch", 5]
        result = ss1(*arguments, stdin=to_text(rows))
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        scores = [float(line) for line in result.stdout.decode().splitlines()[1:]]
        labels = [int(row[-1]) for row in rows[1:]]
        positives = [score for score, label in zip(scores, labels) if label]
        negatives = [score for score, label in zip(scores, labels) if not label]
        wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
        loss = -sum(math.log(score if label else 1 - score) for score, label in zip(scores, labels)) / len(scores)
        told = json.loads(summary.read_text())
        self.assertEqual(list(told), ["n", "auc", "log_loss", "rows_per_s"])
        self.assertEqual(told["n"], len(scores))
        self.assertAlmostEqual(told["auc"], wins / (len(positives) * len(negatives)), delta=1e-12)
        self.assertAlmostEqual(told["log_loss"], loss, delta=1e-6)
        self.assertIn(f"AUC {told['auc']:.6f}", result.stderr.decode())

        one_label = to_text([rows[0]] + [row[:-1] + ["1"] for row in rows[1:]])
        self.assertIn("undefined", ss1(*arguments, stdin=one_label).stderr.decode())
        self.assertIsNone(json.loads(summary.read_text())["auc"])
        bad = to_text(rows[:2] + [rows[2][:-1] + ["2"]])
        self.assertIn("standard input:3: column clicked (19): '2'", ss1(*arguments, stdin=bad).stderr.decode())
        self.assertIn("column other is missing", self.refused_rows("dlrm_odd", to_text(rows), "--label", "other"))

    def test_labels_of_a_classifier(self):
        names, header = ["no", "maybe", "yes"], ["input_ids", "verdict"]
        given = [random.Random(i).choice(names + ["0", "1", " 2 "]) for i in range(40)]
        rows = [[" ".join(str(random.Random(100 * i + k).randrange(5, 100)) for k in range(8)), label] for i, label in enumerate(given)]
        summary = self.directory / "summary.json"
        arguments = ["run", DATA / "bert_classifier", "--input", "-", "--label", "verdict", "--summary", summary, "--batch", 7]
        result = ss1(*arguments, stdin=to_text([header] + rows))
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        scores = [list(map(float, line.split(","))) for line in result.stdout.decode().splitlines()[1:]]
        predicted = [row.index(max(row)) for row in scores]
        labels = [names.index(label) if label in names else int(label) for label in given]
        f1 = []
        for k in {*predicted, *labels}:
            both = sum(p == l == k for p, l in zip(predicted, labels))
            f1.append(2 * both / (predicted.count(k) + labels.count(k)))
        told = json.loads(summary.read_text())
        self.assertEqual(list(told), ["n", "accuracy", "f1", "rows_per_s"])
        self.assertAlmostEqual(told["accuracy"], sum(p == l for p, l in zip(predicted, labels)) / len(labels), delta=1e-12)
        self.assertAlmostEqual(told["f1"], sum(f1) / len(f1), delta=1e-12)
        self.assertIn(f"accuracy {told['accuracy']:.6f}, F1 {told['f1']:.6f} (mean over the labels)", result.stderr.decode())
        for bad in ("3", "-1", "0.5", "Yes", ""):
            message = ss1(*arguments, stdin=to_text([header, ["7 8", bad]])).stderr.decode()
            self.assertIn(f"standard input:2: column verdict (2): '{bad}' is not a label: a number below 3, or one of no, maybe, yes", message)
        for model, message in {"bert_gelu_new": "--label needs a model that gives", "bert_tokens": "no output for a whole row"}.items():
            self.assertIn(message, self.refused_rows(model, b"input_ids,clicked\n1,1\n", "--label", "clicked"))

    def test_labels_of_texts(self):
        model, texts = EXAMPLES / "models/spam-bert-ss1", EXAMPLES / "data/spam-test.txt"
        labels, summary = EXAMPLES / "data/spam-test.labels", self.directory / "summary.json"
        arguments = ["run", model, "--text", texts, "--summary", summary, "--batch", 3, "--label"]
        result = ss1(*arguments, labels)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        answers, true = [json.loads(line)["label"] for line in result.stdout.splitlines()], labels.read_text().split()
        told = json.loads(summary.read_text())
        self.assertAlmostEqual(told["accuracy"], sum(a == t for a, t in zip(answers, true)) / len(true), delta=1e-12)
        both = sum(a == t == "spam" for a, t in zip(answers, true))
        self.assertAlmostEqual(told["f1"], 2 * both / (answers.count("spam") + true.count("spam")), delta=1e-12)
        self.assertIn("of spam", result.stderr.decode())
        changed = self.directory / "labels"
        for content, message in {"\n".join(true[:-1]) + "\n": "labels:20: the file of --label ends before the texts",
                                 "\n".join(true + ["ham"]): "has more lines than texts",
                                 "\n".join(["eggs"] + true[1:]): "labels:1: 'eggs' is not a label: a number below 2, or one of ham, spam"}.items():
            changed.write_text(content)
            result = ss1(*arguments, changed)
            self.assertEqual(result.returncode, 2, message)
            self.assertIn(message, result.stderr.decode())
        changed.write_text("\n".join(true + ["ham"]))
        out = self.directory / "answers"
        self.assertIn("labels:21: the file", ss1(*arguments, changed, "--output", out).stderr.decode())
        self.assertEqual(len(out.read_text().splitlines()), 20)  # the answers were all right

    def test_quiet_and_verbose(self):
        model, texts = EXAMPLES / "models/spam-bert-ss1", EXAMPLES / "data/spam-test.txt"
        arguments = ["run", model, "--text", texts, "--label", EXAMPLES / "data/spam-test.labels"]
        self.assertEqual(ss1(*arguments, "-q").stderr, b"")
        self.assertIn(b"threads", ss1(*arguments, "-v").stderr)
        self.assertIn(b"cannot open", ss1("run", "nowhere", "--input", "-", "--quiet").stderr)


class Choice(Case):
    """ss1 convert --budget and --quality, on a small BERT of random weights."""

    def setUp(self):
        super().setUp()
        self.model, self.rows = self.directory / "model", self.directory / "rows.csv"
        self.model.mkdir()
        config = json.loads((DATA / "bert_classifier/config.json").read_text())
        config.update(num_hidden_layers=2, hidden_size=64, num_attention_heads=4, intermediate_size=192)
        (self.model / "config.json").write_text(json.dumps(config))
        self.vocabulary, self.classes = config["vocab_size"], len(config["id2label"])
        self.write_rows()

    def write_rows(self, held_out_seed=0, n=120):
        """Rows of token ids with labels; `held_out_seed` changes every fifth."""
        lines = ["input_ids,answer"]
        for i in range(n):
            chance = random.Random(f"{held_out_seed if i % 5 == 4 else 0} {i}")
            ids = " ".join(str(chance.randrange(5, self.vocabulary)) for _ in range(chance.randrange(4, 15)))
            lines.append(f"{ids},{i % self.classes}")
        self.rows.write_text("\n".join(lines) + "\n")

    def arguments(self, name, *more):
        return ["convert", self.model, self.directory / name, "--random-weights", 3, "--calibrate", self.rows, "--rows", 32, *more]

    def report(self, name, *more):
        text = self.ok(*self.arguments(name, *more))
        return json.loads((self.directory / name / "ss1-report.json").read_text()), text

    def left(self, name):
        return [path.name for path in self.directory.iterdir() if path.name.startswith(name)]

    def test_budget(self):
        report, text = self.report("out", "--budget", 0.6, "--label", "answer")
        self.assertLessEqual(report["share_of_time"], 0.6)
        self.assertAlmostEqual(report["us_after"] / report["us_before"], report["share_of_time"], places=4)
        for when in ("before", "after"):
            self.assertAlmostEqual(sum(layer[f"us_{when}"] for layer in report["layers"]) / report[f"us_{when}"], 1, places=4)
        self.assertEqual((report["calibrated_rows"], report["quality"]["rows"]), (96, 24))
        forms = {layer["name"]: layer for layer in json.loads(self.ok("inspect", self.directory / "out", "-o", "json"))["layers"]}
        for layer in report["layers"]:
            chosen = [candidate for candidate in layer["candidates"] if candidate["chosen"]]
            self.assertEqual([candidate["form"] for candidate in chosen], [layer["chosen"]])
            self.assertEqual(chosen[0]["us"], layer["us_after"])
            # What the fit of the conversion loses is what the candidate said.
            self.assertAlmostEqual(layer["error"], chosen[0]["error"], delta=1e-3 * chosen[0]["error"] + 1e-6)
            for name in layer["layers"]:
                self.assertEqual((forms[name]["rank"], forms[name]["c"] > 1), (chosen[0]["rank"], chosen[0]["c"] > 1))
        reasons = {name: layer.get("reason", "") for layer in report["layers"] for name in layer["layers"]}
        self.assertEqual(reasons["classifier"], "runs once a sequence, not once a token")
        self.assertIn("attention.self.{query,key,value}", text)
        self.assertIn("classifier", text)
        self.assertRegex(text, r"24 held-out rows: \S+ % of 24 answers agree, KL ")
        self.assertRegex(text, r"right 0\.\d+ -> 0\.\d+")
        plot = xml.etree.ElementTree.parse(self.directory / "out/ss1-report.svg").getroot()
        self.assertTrue(plot.tag.endswith("svg"))
        timed = [layer for layer in report["layers"] if layer["us_before"] > 0]
        points = [point for point in plot.iter() if point.tag.endswith("title")]
        self.assertEqual(len(points), sum(candidate["us"] is not None for layer in timed for candidate in layer["candidates"]))
        self.assertEqual(sorted(self.left("out")), ["out"])
        self.ok("run", self.directory / "out", "--input", self.rows)

    def test_the_report_stays_with_its_model(self):
        source, out, again = (self.directory / name for name in ("source", "out", "again"))
        shutil.copytree(DATA / "bert_classifier", source)
        (source / "report.json").write_text("mine")
        self.ok("convert", source, out, "--budget", 1, "--calibrate", self.rows, "--min-rows", 1)
        self.assertEqual((out / "report.json").read_text(), "mine")
        self.assertEqual(json.loads((out / "ss1-report.json").read_text())["budget"], 1)
        self.ok("convert", out, again, "--dtype", "int8")
        self.assertEqual({path.name for path in out.iterdir()} - {path.name for path in again.iterdir()},
                         {"ss1-report.json", "ss1-report.svg"})

    def test_a_path_that_is_not_utf8(self):
        self.model = self.model.rename(self.directory / os.fsdecode(b"model-\xff"))
        report, _ = self.report("out", "--budget", 1)
        self.assertTrue(report["model"].endswith("model-\ufffd"), report["model"])
        self.assertIn("model-\ufffd", (self.directory / "out/ss1-report.svg").read_text(encoding="utf-8"))

    def test_an_output_that_exists_is_refused_at_once(self):
        self.report("out", "--budget", 1)
        for path in self.directory.glob("out/ss1-report.*"):
            path.unlink()
        error = self.refused(*self.arguments("out", "--budget", 1, "--min-rows", 10**6))
        self.assertIn("already holds a model: config.json exists", error)
        error = self.refused("convert", self.model, "", "--random-weights", 3, "--calibrate", self.rows, "--budget", 1)
        self.assertIn("output is an empty path", error)

    def test_all_of_the_time_changes_nothing(self):
        report, _ = self.report("out", "--budget", 1)
        self.assertEqual({layer["chosen"] for layer in report["layers"]}, {"dense"})
        reasons = {layer["reason"].split(":")[0] for layer in report["layers"]}
        self.assertIn("the budget allows it", reasons)
        self.assertLessEqual(reasons, {"the budget allows it", "no form is faster", "has no other form",
                                       "runs once a sequence, not once a token"})
        self.assertEqual((report["quality"]["kl"], report["quality"]["agreement"]), (0, 1))

    def test_held_out_rows_fit_nothing(self):
        def errors(report):
            return [[candidate["error"] for candidate in layer["candidates"]] for layer in report["layers"]]

        first, _ = self.report("first", "--budget", 0.6)
        self.write_rows(held_out_seed=1)
        second, _ = self.report("second", "--budget", 0.6)
        self.assertEqual(errors(first), errors(second))
        self.assertNotEqual(first["quality"], second["quality"])

    def test_types_are_candidates_if_they_are_named(self):
        report, _ = self.report("out", "--budget", 0.9, "--dtype", "f32,bf16,int8")
        layer = next(layer for layer in report["layers"] if len(layer["candidates"]) > 1)
        errors = {candidate["form"]: candidate["error"] for candidate in layer["candidates"]}
        self.assertEqual(errors["dense"], 0)
        self.assertTrue(0 < errors["dense bf16"] < 1e-4, errors)
        self.assertTrue(errors["dense bf16"] < errors["dense int8"] < 0.02, errors)
        for rank in (form for form in errors if form.startswith("rank") and "int8" not in form and "bf16" not in form):
            self.assertLess(errors[rank], errors[rank + " int8"])

    def test_quality(self):
        report, text = self.report("out", "--quality", "kl=0.05")
        self.assertLessEqual(report["quality"]["kl"], 0.05)
        self.assertEqual(report["quality"], next(trial["quality"] for trial in report["trials"]
                                                 if trial["share_of_time"] == report["share_of_time"]))
        for trial in report["trials"]:  # nothing faster that was measured holds
            if trial["quality"]["kl"] <= 0.05:
                self.assertGreaterEqual(trial["share_of_time"], report["share_of_time"])
        error = self.refused(*self.arguments("none", "--quality", "kl=1e-30"))
        self.assertRegex(error, r"none of [2-9] choices that were measured reaches it; the best is kl=\S+ at 0\.\d+")
        self.assertEqual(self.left("none"), [])

    def test_effects(self):
        report, _ = self.report("out", "--budget", 0.5, "--effects")
        weights = [layer["weight"] for layer in report["layers"] if len(layer["candidates"]) > 1]
        self.assertEqual(max(layer["weight"] for layer in report["layers"]), 1)
        self.assertTrue(0 < min(weights) < 1, weights)
        self.assertLessEqual(report["share_of_time"], 0.5)
        self.assertEqual(self.left("out"), ["out"])

    def test_sequential(self):
        report, _ = self.report("out", "--budget", 0.5, "--sequential")
        self.assertTrue(report["sequential"])
        self.assertLessEqual(report["share_of_time"], 0.5)
        self.assertEqual(self.left("out"), ["out"])

    def test_refused(self):
        for more, error in (
                (["--budget", 0], "--budget 0 is not in (0, 1]"), (["--budget", 1.5], "--budget 1.5 is not in (0, 1]"),
                (["--budget", "nan"], "is not in (0, 1]"), (["--budget", 0.001], "the fastest forms of all layers take"),
                (["--quality", "size=3"], "'size' is not a measure of quality"), (["--quality", "kl"], "the limit is not a number"),
                (["--quality", "kl=-1"], "a divergence of 0 or less"),
                (["--quality", "kl=1e-320"], "a divergence of 0 or less"), (["--quality", "kl=1e-3000"], "a divergence of 0 or less"), (["--quality", "agree=2"], "a share is in (0, 1]"),
                (["--quality", "auc=0.1"], "at most 0"), (["--quality", "auc=-0.1"], "--quality auc needs --label"),
                (["--quality", "auc=-0.1", "--label", "answer"], "the model gives no probability"),
                (["--budget", 0.5, "--label", "none"], "none"), (["--budget", 0.5, "--quality", "kl=1"], "exclude each other"),
                (["--budget", 0.5, "-c", 4], "-c excludes --budget"), (["--budget", 0.5, "--rank", "25%"], "--rank excludes --budget"),
                (["--budget", 0.5, "--dtype", "f32,f8"], "'f8' is none of"),
                (["--quality", ""], "--quality: the goal is empty"), (["--budget", 0.5, "--label", ""], "--label: the column is empty"),
                (["--budget", 0.5, "--min-rows", 10**6], "it needs 1000000")):
            with self.subTest(more):
                self.assertIn(error, self.refused(*self.arguments("out", *more)))
                self.assertEqual(self.left("out"), [])
        for option in (["--label", "answer"], ["--rows", 128], ["--sequential"], ["--effects"]):
            self.assertIn(f"{option[0]} needs --budget or --quality", self.refused("convert", self.model, self.directory / "out", "-c", 2, *option))
        self.assertIn("need --calibrate", self.refused("convert", self.model, self.directory / "out", "--budget", 0.5))
        self.assertIn("read several times", self.refused("convert", self.model, self.directory / "out", "--budget", 0.5, "--calibrate", "-"))
        self.write_rows(n=10)
        self.assertRegex(self.refused(*self.arguments("out", "--budget", 0.5)), r"has read \d+ rows beside those held out, it needs \d+")
        (self.directory / "out").mkdir()
        (self.directory / "out/ss1-report.json").write_text("mine")
        self.assertIn("ss1-report.json: already exists", self.refused(*self.arguments("out", "--budget", 0.5)))

    def test_refused_before_the_work(self):
        """What the model and the rows cannot give is refused before the calibration, which would refuse --min-rows."""
        late, out = ["--min-rows", 10**6], self.directory / "out"
        for more, error in ((["--budget", 0.5], "it needs 1000000"), (["--budget", 0.5, "--label", "nosuch"], "column nosuch is missing"),
                            (["--quality", "auc=-0.1", "--label", "answer"], "--quality auc: the model gives no probability")):
            with self.subTest(more):
                self.assertIn(error, self.refused(*self.arguments("out", *late, *more)))
        common = ["--calibrate", self.rows, *late]
        self.assertIn("the model gives no probabilities", self.refused("convert", DATA / "bert_gelu_new", out, "--quality", "kl=0.01", *common))
        self.assertIn("--label needs a model that gives", self.refused("convert", DATA / "bert_gelu_new", out, "--budget", 0.5, "--label", "answer", *common))
        texts = self.directory / "rows.txt"
        texts.write_text("a text\n" * 40)
        self.assertIn("is a text, which has no columns", self.refused("convert", DATA / "bert_classifier", out, "--budget", 0.5,
                                                                     "--label", "answer", "--calibrate", texts, *late))
        self.assertEqual(self.left("out"), [])

    def test_labels_of_a_probability(self):
        rows, _ = dlrm_csv(DATA / "dlrm_odd")
        lines = [rows[0] + ["clicked", "always"]] + [row + [str(i // 5 % 2), "1"] for i, row in enumerate(rows[1:] * 10)]
        self.rows.write_bytes(to_text(lines))
        common = ["--calibrate", self.rows, "--min-rows", 1, "--label"]
        self.ok("convert", DATA / "dlrm_odd", self.directory / "out", "--budget", 1, *common, "clicked")
        quality = json.loads((self.directory / "out/ss1-report.json").read_text())["quality"]
        held_out = [lines[0]] + [row for i, row in enumerate(lines[1:]) if i % 5 == 4]
        summary = self.directory / "summary.json"
        self.ok("run", DATA / "dlrm_odd", "--input", "-", "--label", "clicked", "--summary", summary, stdin=to_text(held_out))
        told = json.loads(summary.read_text())
        self.assertEqual(set(quality["before"]), {"auc", "log_loss", "accuracy"})
        for name in ("auc", "log_loss"):
            self.assertAlmostEqual(quality["before"][name], told[name], delta=1e-5)
        self.assertIsNone(quality["before"]["accuracy"])
        self.assertIn("the held-out rows have one label only",
                      self.refused("convert", DATA / "dlrm_odd", self.directory / "none", "--quality", "auc=-0.1", *common, "always"))

    def test_labels_by_name(self):
        names = json.loads((DATA / "bert_classifier/config.json").read_text())["id2label"]
        by_number, _ = self.report("number", "--budget", 1, "--label", "answer")
        lines = self.rows.read_text().splitlines()
        self.rows.write_text("\n".join(lines[:1] + [f"{ids},{names[label]}" for ids, label in (line.split(",") for line in lines[1:])]) + "\n")
        by_name, _ = self.report("name", "--budget", 1, "--label", "answer")
        self.assertEqual(by_name["quality"]["before"], by_number["quality"]["before"])
        self.assertGreater(by_name["quality"]["before"]["accuracy"], 0)
        self.rows.write_text(self.rows.read_text().replace(names["1"], "nobody"))
        self.assertIn("'nobody' is not a label: a number below", self.refused(*self.arguments("bad", "--budget", 1, "--label", "answer")))

    def test_interrupted(self):
        arguments = list(map(str, [EXE, *self.arguments("out", "--budget", 0.5)]))
        for sent, at in ((signal.SIGINT, "out.tmp-*"), (signal.SIGTERM, "out.tmp-*/0"), (signal.SIGKILL, "out.tmp-*/0")):
            with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  preexec_fn=lambda: sent != signal.SIGKILL and signal.signal(sent, signal.SIG_DFL)) as process:
                while not list(self.directory.glob(at)):
                    self.assertIsNone(process.poll(), "ended too soon")
                    time.sleep(0.001)
                process.send_signal(sent)
                message = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, -sent, message)
            self.assertFalse((self.directory / "out").exists())
            if sent != signal.SIGKILL:
                self.assertEqual((message, self.left("out")), ("interrupted: nothing written\n", []))
        self.assertRegex(self.left("out")[0], r"^out\.tmp-\d+$")
        self.report("out", "--budget", 0.5)
        self.assertEqual(self.left("out"), ["out"])  # what the killed one left is gone


class Files(Case):
    """A file appears under its name when it is complete, or not at all."""
    MODEL = DATA / "dlrm_cat"

    def setUp(self):
        super().setUp()
        self.rows, _ = dlrm_csv(self.MODEL)
        self.out = self.directory / "out"
        self.out.mkdir()
        self.scores = self.out / "scores.csv"
        self.expected = self.ok("run", self.MODEL, "--input", "-", stdin=to_text(self.rows))

    def score(self, path, **options):
        return self.ok("run", self.MODEL, "--input", "-", "--output", path, stdin=to_text(self.rows), **options)

    def names(self, folder=None):
        return sorted(path.name for path in (folder or self.out).iterdir())

    def wait_for(self, pattern, process):
        for _ in range(3000):
            if list(self.out.glob(pattern)):
                return
            self.assertIsNone(process.poll(), "ended too soon")
            time.sleep(0.01)
        self.fail(f"no {pattern} in 30 s")

    def ended_by(self, sent, pattern, *arguments, stdin=b"", again=False):
        """stderr of a command that gets a signal when there is a file of this pattern, and ends by it. `again`: it gets the
        signal until it ends."""
        # A shell starts what it runs in the background with SIGINT ignored; that would be inherited.
        with subprocess.Popen([EXE, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              preexec_fn=lambda: sent != signal.SIGKILL and signal.signal(sent, signal.SIG_DFL)) as process:
            process.stdin.write(stdin)
            process.stdin.flush()
            self.wait_for(pattern, process)
            process.send_signal(sent)
            while again and process.poll() is None:
                process.send_signal(sent)
            message = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, -sent, message)
        return message

    def test_interrupted_scores(self):
        arguments = ["run", self.MODEL, "--input", "-", "--output", self.scores]
        for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.assertEqual(self.ended_by(sent, "scores.csv.tmp-*", *arguments, stdin=to_text(self.rows)),
                             "interrupted: nothing written\n")
            self.assertEqual(self.names(), [])
        self.scores.write_text("old")
        self.ended_by(signal.SIGINT, "scores.csv.tmp-*", *arguments, stdin=to_text(self.rows))
        self.assertEqual((self.names(), self.scores.read_text()), (["scores.csv"], "old"))
        self.assertEqual(self.ended_by(signal.SIGKILL, "scores.csv.tmp-*", *arguments, stdin=to_text(self.rows)), "")
        self.assertEqual(len(self.names()), 2)
        self.score(self.scores)  # what was left is not in the way
        self.assertEqual(self.scores.read_text(), self.expected)

    def test_signals_that_the_parent_ignores(self):
        with subprocess.Popen([EXE, "run", self.MODEL, "--input", "-", "--output", self.scores], stdin=subprocess.PIPE,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as process:
            process.stdin.write(to_text(self.rows[:2]))
            process.stdin.flush()
            self.wait_for("scores.csv.tmp-*", process)
            process.send_signal(signal.SIGINT)
            process.communicate(to_text(self.rows[2:]), timeout=60)
        self.assertEqual((process.returncode, self.scores.read_text()), (0, self.expected))

    def test_an_error_leaves_the_older_file(self):
        bad = to_text(self.rows + [["?"] * len(self.rows[0])])
        for _ in range(2):
            self.assertIn("'?'", self.refused("run", self.MODEL, "--input", "-", "--output", self.scores, stdin=bad))
            self.assertEqual(self.names(), ["old"] if (self.out / "old").exists() else [])
            (self.out / "old").write_text("old")
            self.scores = self.out / "old"
        self.assertEqual(self.scores.read_text(), "old")

    def test_what_is_replaced(self):
        self.scores.write_text("old")
        self.scores.chmod(0o640)
        link = self.directory / "link"
        link.symlink_to(self.scores)
        self.score(link)
        self.assertEqual((self.scores.read_text(), self.names(), link.is_symlink()), (self.expected, ["scores.csv"], True))
        self.assertEqual(self.scores.stat().st_mode & 0o777, 0o640)
        for target in (self.out / "new.csv", pathlib.Path("out/new.csv")):  # links that dangle, and one to another link
            link.unlink()
            link.symlink_to(target)
            other = self.out / "other"
            other.symlink_to("../link")
            self.score(other)
            self.assertEqual(((self.out / "new.csv").read_text(), self.names()), (self.expected, ["new.csv", "other", "scores.csv"]))
            self.assertTrue(link.is_symlink() and other.is_symlink())
            (self.out / "new.csv").unlink()
            other.unlink()
        link.unlink()
        link.symlink_to(link)
        self.assertIn(f"cannot write to {link}: ", self.refused("run", self.MODEL, "--input", "-", "--output", link,
                                                                stdin=to_text(self.rows)))
        self.assertTrue(link.is_symlink())
        self.assertIn(f"cannot write to {self.out}: ", self.refused("run", self.MODEL, "--input", "-", "--output", self.out,
                                                                    stdin=to_text(self.rows)))

    def test_pipes_and_devices_get_the_scores_at_once(self):
        self.score("/dev/null")
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())
        self.assertEqual(self.score("/dev/stdout"), self.expected)
        os.mkfifo(self.scores)
        with subprocess.Popen(["cat", self.scores], stdout=subprocess.PIPE) as reader:
            self.score(self.scores)
            self.assertEqual(reader.communicate(timeout=60)[0].decode(), self.expected)
        self.assertTrue(self.scores.is_fifo())
        whole = self.out / "whole"
        with open(whole, "wb") as file:  # stdout as a file, which the path names
            file.write(b"before\n")
            file.flush()
            subprocess.run([EXE, "run", self.MODEL, "--input", "-", "--output", "/dev/stderr"], input=to_text(self.rows),
                           stdout=subprocess.PIPE, stderr=file, check=True, timeout=60)
        self.assertIn(self.expected, whole.read_text())

    def long_conversion(self):
        """Arguments of a conversion that takes far longer than its test, of random weights."""
        source = self.directory / "source"
        source.mkdir()
        config = json.loads((DATA / "bert_classifier/config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 100, "hidden_size": 1024,
                                                        "num_attention_heads": 16, "intermediate_size": 1024}))
        (source / "vocab.txt").write_bytes((DATA / "bert_classifier/vocab.txt").read_bytes())
        return ["convert", source, self.out / "model", "--random-weights", 1, "--dtype", "bf16"]

    def test_interrupted_conversion(self):
        arguments = self.long_conversion()
        for sent in (signal.SIGINT, signal.SIGTERM):
            self.assertEqual(self.ended_by(sent, "model/model.safetensors.tmp-*", *arguments), "interrupted: nothing written\n")
            self.assertEqual(self.names(), [])

    def test_more_signals_leave_no_more_files(self):
        conversion = self.long_conversion()
        for _ in range(10):
            message = self.ended_by(signal.SIGINT, "model/model.safetensors.tmp-*", *conversion, again=True)
            self.assertEqual((message, self.names()), ("interrupted: nothing written\n", []))
            message = self.ended_by(signal.SIGTERM, "scores.csv.tmp-*", "run", self.MODEL, "--input", "-", "--output", self.scores,
                                    stdin=to_text(self.rows), again=True)
            self.assertEqual((message, self.names()), ("interrupted: nothing written\n", []))

    def test_killed_conversion_is_repeated(self):
        model, small = self.out / "model", ["convert", DATA / "bert_classifier", self.out / "model", "--dtype", "bf16"]
        self.ended_by(signal.SIGKILL, "model/model.safetensors.tmp-*", *self.long_conversion())
        self.assertEqual({name.rpartition(".tmp-")[0] for name in self.names(model)}, {"config.json", "model.safetensors", "vocab.txt"})
        self.ok(*small)
        whole = {name: (model / name).read_bytes() for name in self.names(model)}
        self.assertEqual(list(whole), ["config.json", "model.safetensors", "vocab.txt"])
        # The last moments of a conversion: all but config.json have their names.
        (model / "config.json").rename(model / "config.json.tmp-1-0")
        (model / "model.safetensors").write_text("from another model")
        self.assertIn("config.json: cannot open", self.refused("inspect", model))
        self.ok(*small)
        self.assertEqual({name: (model / name).read_bytes() for name in self.names(model)}, whole)
        # Weights without a sign that ss1 wrote them are not overwritten.
        (model / "config.json").unlink()
        self.assertIn("already holds a model: model.safetensors exists", self.refused(*small))
        (model / "config.json.tmp-mine").write_text("{}")
        self.assertIn("already holds a model: model.safetensors exists", self.refused(*small))

    def test_weights_of_others_in_the_folder_of_a_module_stay(self):
        folder = self.out / "model/0_Transformer"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text("mine")
        error = self.refused("convert", EXAMPLES / "models/mail-embed", self.out / "model", "--dtype", "bf16")
        self.assertIn(f"{folder}: already holds a model: model.safetensors exists", error)
        self.assertEqual((folder / "model.safetensors").read_text(), "mine")

    def test_two_conversions_into_one_folder(self):
        """The second is refused, at once, and what the first one has written stays."""
        model, arguments = self.out / "model", ["convert", DATA / "bert_classifier", self.out / "model", "--dtype", "bf16"]
        model.mkdir()
        (model / "config.json.tmp-1-0").write_text("of the first")
        lock = os.open(model, os.O_RDONLY | os.O_DIRECTORY)  # as the first conversion has
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.assertIn(f"{model}: another conversion writes a model there", self.refused(*arguments))
        self.assertEqual(self.names(model), ["config.json.tmp-1-0"])
        os.close(lock)
        self.ok(*arguments)
        self.assertEqual(self.names(model), ["config.json", "model.safetensors", "vocab.txt"])
        # A whole conversion holds that lock.
        shutil.rmtree(model)
        with subprocess.Popen([EXE, *map(str, self.long_conversion())], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
            self.wait_for("model/model.safetensors.tmp-*", first)
            self.assertIn("another conversion writes a model there", self.refused(*arguments))
            self.assertIsNone(first.poll())
            self.assertTrue(list(model.glob("model.safetensors.tmp-*")))
            first.terminate()
            first.communicate(timeout=60)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_a_model_without_its_summary_is_a_success(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([EXE, "convert", self.MODEL, self.out / "model", "--tables", "int8"], stdout=full,
                                    stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"ss1: {self.out / 'model'} is written, but not summarised: ", result.stderr.decode())
        self.ok("inspect", self.out / "model")


EXAMPLE = os.environ.get("SS1_CLASSIFY_MAIL")


@unittest.skipUnless(EXAMPLE, "SS1_CLASSIFY_MAIL names no example: it is not built")
class ClassifyMail(Case):
    """The example in C beside ss1 run."""
    MODEL = DATA / "bert_classifier"

    def classify(self, *arguments, stdin=b""):
        return subprocess.run([EXAMPLE, *map(str, arguments)], input=stdin, capture_output=True, timeout=60)

    def test_long_texts_are_cut_as_by_run(self):
        words = ["you", "win", "money", "lunch", "please", "a", "!"]
        text = " ".join(random.Random(3).choices(words, k=40)).encode()
        for limit in (8, 40):  # below and above the model's 16
            for name in ("config.json", "model.safetensors", "vocab.txt"):
                (self.directory / name).write_bytes((self.MODEL / name).read_bytes())
            (self.directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
            expected = json.loads(self.ok("run", self.directory, "--text", "-", stdin=text))
            label, score = self.classify(self.directory, stdin=text).stdout.decode().split()
            self.assertEqual(label, expected["label"])
            self.assertAlmostEqual(float(score), expected["score"], delta=1e-4)

    def test_texts_that_cannot_be_read(self):
        for path, error in ((self.directory, errno.EISDIR), (self.directory / "none", errno.ENOENT)):
            result = self.classify(self.MODEL, path)
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertEqual(result.stderr.decode(), f"{path}: {os.strerror(error)}\n")
        (self.directory / "empty").write_bytes(b"")
        self.assertEqual(self.classify(self.MODEL, self.directory / "empty").returncode, 0)


if __name__ == "__main__":
    unittest.main()
