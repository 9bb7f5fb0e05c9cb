#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a man page or a shell completion of what a program says about itself.

    make_help.py man|bash|zsh|fish PROGRAM          e.g. make_help.py man build/test/src/cli/ss1 >ss1.1
"""
import argparse
import json
import re
import subprocess
import sys

STATUS = "0 for success, 2 for every error, whose message is on stderr; 128 and the signal's number after a signal."


def options_of(command):
    return [option for option in command["options"] if not option["positional"]]


def choices_of(option):
    """The values that an option can have, if its type lists them: TEXT:{text,json}."""
    found = re.search(r"\{([^{}]*)\}", option["type"])
    return found[1].split(",") if found else []


def takes_value(option):
    return option["type"] != ""


def first_line(text):
    return text.split(". ")[0].split("\n")[0]


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in text.split("\n"))


def value_of(option):
    if not takes_value(option):
        return ""
    return " \\fI" + roff("|".join(choices_of(option)) or option["type"].split(":")[0].split(" ")[0]) + "\\fR"


def man_options(command):
    for option in command["options"]:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option["names"])
        yield f".TP\n{names}{'' if option['positional'] else value_of(option)}\n{roff(option['description'].rstrip('.'))}."
        if option["default"]:
            yield f"Default: {roff(option['default'])}."
        if option["required"] and not option["positional"]:
            yield "Required."


def man_footer(command):
    if command["footer"]:
        yield f".PP\n.nf\n{roff(command['footer'])}\n.fi"


def man(program, version):
    name = program["name"]
    yield f".TH {name.upper()} 1 \"\" \"{version}\" \"{roff(program['description'])}\""
    yield f".SH NAME\n{roff(name)} \\- {roff(program['description'])}"
    yield f".SH SYNOPSIS\n.B {roff(name)}\n\\fICOMMAND\\fR [\\fIOPTION\\fR]... \\fIARGUMENT\\fR..."
    yield ".SH DESCRIPTION"
    for command in program["commands"]:
        yield f".TP\n\\fB{roff(name)} {roff(command['name'])}\\fR\n{roff(command['description'])}"
    yield from man_footer(program)
    for command in program["commands"]:
        yield f".SH {command['name'].upper()}\n{roff(command['description'])}."
        yield from man_options(command)
        yield from man_footer(command)
    yield f".SH EXIT STATUS\n{roff(STATUS)}"


def bash(program, version):
    name, function = program["name"], "_" + program["name"].replace("-", "_")
    yield f"# {version}\n{function}() {{"
    yield "    local word=$2 before=$3 command=${COMP_WORDS[1]}\n    COMPREPLY=()"
    yield "    if [ \"$COMP_CWORD\" -eq 1 ]; then"
    words = [command["name"] for command in program["commands"]] + [n for option in options_of(program) for n in option["names"]]
    yield f"        mapfile -t COMPREPLY < <(compgen -W '{' '.join(words)}' -- \"$word\")\n        return\n    fi"
    yield "    case $command:$before in"
    for command in program["commands"]:
        for option in options_of(command):
            if choices_of(option):
                patterns = "|".join(f"{command['name']}:{n}" for n in option["names"])
                yield (f"        {patterns}) mapfile -t COMPREPLY < <(compgen -W '{' '.join(choices_of(option))}' -- \"$word\"); return;;")
    yield "    esac\n    case $command:$word in"
    for command in program["commands"]:
        names = " ".join(n for option in options_of(command) for n in option["names"])
        yield f"        {command['name']}:-*) mapfile -t COMPREPLY < <(compgen -W '{names}' -- \"$word\");;"
    yield f"    esac\n}}\ncomplete -o default -F {function} {name}"


def zsh_quoted(text):
    return re.sub(r"[\[\]:'\\]", lambda found: "\\" + found[0] if found[0] != "'" else "'\\''", text)


def zsh(program, version):
    name, function = program["name"], "_" + program["name"].replace("-", "_")
    yield f"#compdef {name}\n# {version}\n{function}() {{\n    local -a commands=("
    for command in program["commands"]:
        yield f"        '{command['name']}:{zsh_quoted(first_line(command['description']))}'"
    yield "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n    case $words[2] in"
    for command in program["commands"]:
        yield f"        {command['name']}) _arguments -s \\"
        for option in options_of(command):
            value = ""
            if takes_value(option):
                value = f":value:({' '.join(choices_of(option))})" if choices_of(option) else ":value:_files"
            for n in option["names"]:
                yield f"            '{n}[{zsh_quoted(first_line(option['description']))}]{value}' \\"
        yield "            '*:file:_files' ;;"
    yield f"    esac\n}}\n{function} \"$@\""


def fish(program, version):
    name = program["name"]
    quoted = lambda text: text.replace("\\", "\\\\").replace("'", "\\'")
    yield f"# {version}"
    for command in program["commands"]:
        yield f"complete -c {name} -n __fish_use_subcommand -f -a {command['name']} -d '{quoted(first_line(command['description']))}'"
    for command in program["commands"]:
        for option in options_of(command):
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option["names"])
            value = f" -x -a '{' '.join(choices_of(option))}'" if choices_of(option) else " -r" if takes_value(option) else ""
            yield (f"complete -c {name} -n '__fish_seen_subcommand_from {command['name']}' {names}{value} "
                   f"-d '{quoted(first_line(option['description']))}'")


def main():
    forms = {"man": man, "bash": bash, "zsh": zsh, "fish": fish}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example:\n  python3 docs/make_help.py man build/test/src/cli/ss1 > ss1.1")
    parser.add_argument("form", choices=forms, help="a man page, or a shell's completion")
    parser.add_argument("program", help="path of ss1 or ss1-bench")
    form, path = vars(parser.parse_args()).values()
    program = json.loads(subprocess.run([path, "describe"], check=True, stdout=subprocess.PIPE).stdout)
    version = subprocess.run([path, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    print("\n".join(forms[form](program, version)))


main()
