#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Describes the C ABI as JSON and compares it with tests/abi.json.

    tests/make_abi.py             compare; exit 1 and say why if something differs or breaks a rule
    tests/make_abi.py --update    write tests/abi.json; refuses a break of the ABI under the same SS1_ABI_VERSION

The headers give names, types and "@since"; a C program compiled by $CC (default: cc) gives sizes, offsets and values and
proves with the compiler that the types were read rightly. The file holds for 64-bit Linux.

Rules: every function, struct, enum and callback has "@since"; a struct that a caller makes begins with struct_size; its first
size (in the version of SS1_ABI_VERSION, or its own) never changes; from there on it has no padding, because a newer caller
cannot promise that padding is 0; it has an SS1_..._INIT macro.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
HEADERS = ("ss1.h", "bags.h", "calibrate.h", "convert.h", "memory.h", "text.h", "backend.h")
GOLDEN = ROOT / "tests" / "abi.json"
ABI_SINCE = (0, 2)  # the version of ss1 in which this SS1_ABI_VERSION began
MADE_BY_LIBRARY = {"ss1_info_item"}  # has no struct_size and never grows
BACKEND = "backend.h"  # core and plugin have the same SS1_BACKEND_ABI: nothing of it grows


def since_of(comment):
    found = re.search(r"@since\s+(\d+\.\d+)", comment)
    return found and found[1]


def version(text):
    return tuple(int(part) for part in text.split("."))


def tidy(text):
    """A type in one spelling: 'const char *', 'void (*)(void *, size_t)'."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*\*\s*", "*", text)
    text = re.sub(r"(?<=[\w)])\*", " *", text)
    return re.sub(r"\*(?=\w)", "* ", text).replace("( *", "(*")


def split_arguments(text):
    """Splits at the commas outside of brackets."""
    parts, depth, part = [], 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += character
    return [part.strip() for part in [*parts, part] if part.strip() not in ("", "void")]


def argument_type(text):
    """The type of one parameter declaration, which may be a function pointer."""
    pointer = re.fullmatch(r"(.+?)\(\s*\*\s*\w*\s*\)\s*\((.*)\)", text, re.S)
    if pointer:
        return function_pointer(pointer[1], pointer[2])
    found = re.fullmatch(r"(.*?[\s*])(\w+)", text, re.S)
    return tidy(found[1] if found and found[2] not in ("int", "char", "double", "float") else text)


def function_pointer(returns, arguments):
    return f"{tidy(returns)} (*)({', '.join(map(argument_type, split_arguments(arguments))) or 'void'})"


def declarators(text):
    """[(name, type)] of one field declaration."""
    pointer = re.fullmatch(r"(.+?)\(\s*\*\s*(\w+)\s*\)\s*\((.*)\)", text, re.S)
    if pointer:
        return [(pointer[2], function_pointer(pointer[1], pointer[3]))]
    base, rest = re.fullmatch(r"((?:const\s+)?(?:struct\s+)?\w+)\b(.*)", text, re.S).groups()
    result = []
    for part in rest.split(","):
        stars, name, array = re.fullmatch(r"\s*((?:\*\s*(?:const\s+|const\b(?=\s*\*))?)*)(\w+)((?:\[\w+\])?)\s*", part).groups()
        result.append((name, tidy(f"{base} {stars}".strip()) + array))
    return result


class Header:
    """Structs, enums, functions and callbacks of one header, in its order."""

    def __init__(self, name):
        self.structs, self.enums, self.functions, self.callbacks, self.handles, self.undated = {}, {}, {}, {}, {}, []
        text = (INCLUDE / "ss1" / name).read_text()
        comments = []

        def hide(match):  # a comment becomes a mark, so that the code can be parsed and the comment still be found
            comments.append(match[0])
            return f"@{len(comments) - 1}@"

        text = re.sub(r"/\*.*?\*/", hide, text, flags=re.S)
        text = re.sub(r"^[ \t]*#(?:\\\n|.)*$", "", text, flags=re.M)

        def shown(marks):
            return "".join(comments[int(number)] for number in re.findall(r"@(\d+)@", marks))

        def plain(code):
            return re.sub(r"@\d+@", "", code)

        def date(what, marks):
            since = since_of(comments[int(re.findall(r"@(\d+)@", marks)[-1])]) if "@" in marks else None
            if since is None:
                self.undated.append(f"{name}: {what} has no @since")
            return since

        marks = r"((?:@\d+@\s*)*)"
        for match in re.finditer(marks + r"typedef\s+struct\s+(\w+)\s*\{(.*?)\}\s*\w+\s*;", text, re.S):
            fields = []
            for field in re.finditer(r"((?:\s|@\d+@)*)([^;@]+);\s*((?:@\d+@)?)", match[3]):
                since = since_of(shown(field[3]) or shown(field[1]))
                fields += [{"name": n, "type": t, **({"since": since} if since else {})} for n, t in declarators(field[2].strip())]
            self.structs[match[2]] = {"header": name, "since": date(match[2], match[1]), "fields": fields}
        for match in re.finditer(marks + r"typedef\s+enum\s+(\w+)\s+SS1_ENUM_INT\s*\{(.*?)\}\s*\w+\s*;", text, re.S):
            names = re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", plain(match[3]).strip())
            self.enums[match[2]] = {"since": date(match[2], match[1]), "values": names}
        for match in re.finditer(marks + r"SS1_API\s+([^;@]*?)\b(\w+)\s*\(([^;]*)\)\s*;", text, re.S):
            self.functions[match[3]] = {"since": date(match[3], match[1]), "returns": tidy(match[2]),
                                        "arguments": [argument_type(a) for a in split_arguments(plain(match[4]))]}
        for match in re.finditer(marks + r"typedef\s+([^;@{}]*?)\(\s*\*\s*(\w+)\s*\)\s*\(([^;]*)\)\s*;", text, re.S):
            self.callbacks[match[3]] = {"since": date(match[3], match[1]), "type": function_pointer(match[2], match[4])}
        for match in re.finditer(marks + r"typedef\s+struct\s+(\w+)\s+\w+\s*;", text):
            self.handles[match[2]] = {"since": date(match[2], match[1])}


def declare(type_name, name):
    """A declaration of `name` with a type of this file's spelling."""
    if "(*)" in type_name:
        return type_name.replace("(*)", f"(*{name})", 1)
    array = re.search(r"(\[\w+\])$", type_name)
    return f"{type_name[:array.start()]} {name}{array[1]}" if array else f"{type_name} {name}"


def measure(headers):
    """Runs a C program: {"size S": n, "align S": n, "S.f": [offset, size], "value V": n}. Its compilation checks the types."""
    lines = ["#include <stdio.h>", "#include <stddef.h>", *(f'#include "ss1/{name}"' for name in HEADERS)]
    main = []
    for header in headers:
        for name, function in header.functions.items():
            arguments = ", ".join(function["arguments"]) or "void"
            lines.append(f"extern __typeof__({name}) {name}; "
                         f"extern {declare(function['returns'] + ' (*)(' + arguments + ')', 'check_' + name)};"
                         f"extern __typeof__(&{name}) check_{name};")
        for name, callback in header.callbacks.items():
            lines.append(f"extern {declare(callback['type'], 'check_' + name)}; extern {name} check_{name};")
        for struct, entry in header.structs.items():
            main.append(f'printf("size {struct} %zu\\nalign {struct} %zu\\n", sizeof({struct}), _Alignof({struct}));')
            for field in entry["fields"]:
                check, place = f"check_{struct}_{field['name']}", f"(({struct} *)0)->{field['name']}"
                lines.append(f"extern {declare(field['type'], check)}; extern __typeof__({place}) {check};")
                main.append(f'printf("field {struct}.{field["name"]} %zu %zu\\n", '
                            f'offsetof({struct}, {field["name"]}), sizeof {place});')
            if init_of(struct, entry):
                main.append(f"{{ {struct} made = {init_of(struct, entry)}; if (made.struct_size != sizeof made) return 1; }}")
        for entry in header.enums.values():
            main += [f'printf("value {value} %d\\n", (int){value});' for value in entry["values"]]
    main += [f'printf("value {name} %d\\n", {name});' for name in ("SS1_ABI_VERSION", "SS1_BACKEND_ABI")]
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "abi.c"), pathlib.Path(folder, "abi")
        source.write_text("\n".join([*lines, "int main(void) {", *main, "return 0; }", ""]))
        subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-Werror", f"-I{INCLUDE}", source, "-o", program],
                       check=True)
        output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {tuple(words[:2]): [int(word) for word in words[2:]] for words in map(str.split, output.splitlines())}


def is_sized(entry):
    """Whether callers make the struct and it may grow."""
    return entry["header"] != BACKEND and entry["fields"][0]["name"] == "struct_size"


def init_of(name, entry):
    return f"{name.upper()}_INIT" if is_sized(entry) else None


def first_fields(entry):
    """The fields that the struct had in its first version under this ABI."""
    first = max(ABI_SINCE, version(entry["since"] or "0.1"))
    return [field for field in entry["fields"] if version(field.get("since", "0.0")) <= first]


def describe():
    """(abi, problems)"""
    headers = [Header(name) for name in HEADERS]
    numbers = measure(headers)
    problems = [problem for header in headers for problem in header.undated]
    abi = {"abi_version": numbers["value", "SS1_ABI_VERSION"][0], "backend_abi": numbers["value", "SS1_BACKEND_ABI"][0],
           "structs": {}, "enums": {}, "functions": {}, "callbacks": {}, "handles": {}}
    for header in headers:
        for name, entry in header.structs.items():
            for field in entry["fields"]:
                field["offset"], field["size"] = numbers["field", f"{name}.{field['name']}"]
            size, align = numbers["size", name][0], numbers["align", name][0]
            described = {"header": entry["header"], "since": entry["since"], "size": size, "align": align}
            if is_sized(entry):
                last = first_fields(entry)[-1]
                nested = abi["structs"].get(last["type"], {})  # it may grow at its own end
                described |= {"first_size": last["offset"] + nested.get("first_size", last["size"]),
                              "init": init_of(name, entry)}
                problems += check_growth(name, entry, described)
            elif entry["header"] != BACKEND and name not in MADE_BY_LIBRARY:
                problems.append(f"{name} does not begin with struct_size")
            abi["structs"][name] = described | {"fields": entry["fields"]}
        for name, entry in header.enums.items():
            abi["enums"][name] = {"since": entry["since"], "values": {v: numbers["value", v][0] for v in entry["values"]}}
        abi["functions"] |= header.functions
        abi["callbacks"] |= header.callbacks
        abi["handles"] |= header.handles
    return abi, problems


def check_growth(name, entry, described):
    """New fields lie at the end, and nothing behind the first version is padding."""
    problems, first = [], first_fields(entry)
    end = first[-1]["offset"] + first[-1]["size"]
    if entry["fields"][:len(first)] != first:
        problems.append(f"{name}: a field with a later @since lies before the fields of the first version")
    for field in entry["fields"][len(first):]:
        if field["offset"] != end:
            problems.append(f"{name}.{field['name']}: padding before it; fill it with a reserved field")
        end = field["offset"] + field["size"]
    if end != described["size"]:
        problems.append(f"{name}: ends with padding; move a field or add a reserved one")
    return problems


def breaks(old, new):
    """What a program that was built with the old headers would find changed."""
    problems = []
    for name, entry in old["structs"].items():
        if entry["header"] == BACKEND:
            continue
        now = new["structs"].get(name)
        if now is None or now.get("first_size") != entry.get("first_size") or now["align"] != entry["align"]:
            problems.append(f"{name}: the size of its first version changed")
        elif [layout(field, new["structs"]) for field in now["fields"][:len(entry["fields"])]] != \
                [layout(field, new["structs"]) for field in entry["fields"]]:
            problems.append(f"{name}: fields changed or moved")
    for name, entry in old["enums"].items():
        kept = new["enums"].get(name, {"values": {}})["values"]
        problems += [f"{value} changed" for value, number in entry["values"].items() if kept.get(value) != number]
    for kind in ("functions", "callbacks"):
        for name, entry in old[kind].items():
            now = new[kind].get(name)
            if now is None or {**now, "since": 0} != {**entry, "since": 0}:
                problems.append(f"{name}: removed, or another signature")
    return problems


def plugin_breaks(old, new):
    """Structs that a plugin indexes or embeds by the size that it was built with, under the same SS1_BACKEND_ABI."""
    if old["backend_abi"] != new["backend_abi"]:
        return []
    strides = [name for name, entry in old["structs"].items() if entry["header"] == BACKEND]
    return [f"{name}: another size" for name in strides + ["ss1_linear_desc", "ss1_tensor"]
            if new["structs"].get(name, {}).get("size") != old["structs"][name]["size"]]


def layout(field, structs):
    """A struct that lies last in another one may grow, too."""
    size = field["size"] if "first_size" not in structs.get(field["type"], {}) else None
    return field["name"], field["type"], field["offset"], size


def differences(old, new, path=""):
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for key in {**old, **new} for line in differences(old.get(key), new.get(key), f"{path}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, pair in enumerate(zip(old, new)) for line in differences(*pair, f"{path}/{i}")]
    return [] if old == new else [f"{path}: abi.json has {json.dumps(old)}, the headers {json.dumps(new)}"]


def to_text(abi):
    """JSON with one field or function a line."""
    text = json.dumps(abi, indent=1)
    for opening, closing in (("{", "}"), ("[", "]")):  # innermost objects and lists on one line
        text = re.sub(rf"\{opening}\n[^{{}}\[\]]*?\{closing}", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text)
    return text + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write tests/abi.json")
    update = parser.parse_args().update
    abi, problems = describe()
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else None
    if golden and golden["abi_version"] == abi["abi_version"]:
        problems += [f"{problem}: raise SS1_ABI_VERSION (before a release: remove tests/abi.json first)"
                     for problem in breaks(golden, abi)]
        problems += [f"{problem}: raise SS1_BACKEND_ABI" for problem in plugin_breaks(golden, abi)]
    if not update:
        problems += differences(golden, abi)
    elif not problems:
        GOLDEN.write_text(to_text(abi))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems and not update:
        print("If this is meant: tests/make_abi.py --update", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
