#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the documentation as a site: docs/make_site.py [FOLDER]; default: build/site, open build/site/html/index.html.

The pages are those of the repository, at their own places, and a reference made of the docstrings. A public function, struct, class or
method without documentation is an error, and so is a link that leads nowhere. Needs mkdocs (Debian: mkdocs), whose theme it uses.
"""
import argparse
import ast
import html.parser
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ("ss1.h", "text.h", "bags.h", "convert.h", "calibrate.h", "memory.h", "backend.h")
NAVIGATION = {
    "Start": {"ss1": "README.md", "Getting started": "docs/getting-started.md", "Building": "docs/building.md",
              "Command line": "docs/command-line.md"},
    "Use": {"Serve a DLRM": "docs/serve-dlrm.md", "Serve a BERT": "docs/serve-bert.md",
            "Other recommenders": "docs/recommenders.md", "Embeddings": "docs/embeddings.md",
            "Convert": "docs/convert.md", "PyTorch": "docs/pytorch.md", "Python": "bindings/python/README.md", "GPU": "docs/gpu.md",
            "Threads and cores": "docs/threads.md", "Running": "docs/running.md", "Troubleshooting": "docs/troubleshooting.md"},
    "Understand": {"Layers": "docs/layers.md", "Models": "docs/models.md", "Model directory": "docs/format.md",
                   "Quality of DLRMs": "docs/quality.md", "Quality of BERTs": "docs/spam.md", "Quality of a GPT": "docs/quality-gpt.md",
                   "Quality of conversions": "docs/quality-convert.md", "Quality after fine-tuning": "docs/quality-finetune.md",
                   "Benchmarks": "bench/RESULTS.md", "Speed of embedders": "docs/encoders.md",
                   "Serving benchmarks": "bench/SERVING.md", "Testing": "docs/testing.md", "Design": "docs/design.md"},
    "Reference": {"C": "reference/c.md", "C++": "reference/cpp.md", "Python": "reference/python.md",
                  "Versions and ABI": "docs/versions.md", "News": "NEWS.md", "Security": "SECURITY.md", "Contributing": "CONTRIBUTING.md"}}


def fail(message):
    sys.exit(f"make_site.py: {message}")


def comment_text(comment):
    """The text of a C comment; lines that begin with a dot or @ keep their line."""
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in comment.strip().split("\n")]
    text = "\n".join(lines).strip()
    text = re.sub(r"@param\s+", "\n- *param* ", text)
    text = re.sub(r"@return", "\n- *returns*", text)
    text = re.sub(r"@note", "\n- *note*", text)
    text = re.sub(r"@since (\S+)", r"\n\n*Since \1*", text)
    return re.sub(r"(?m)^ *(\.\w[\w., ]*?)  +", r"\n- `\1` ", text).replace("<", "&lt;").replace("[N", "\\[N")


def c_reference():
    parts = ["# C reference\n\nMade of the headers in `include/ss1`. `ss1.h` has the rules that hold for every function.\n"]
    pattern = re.compile(r"/\*\*(?!<)((?:(?!\*/).)*)\*/\s*((?:typedef\s+(?:enum|struct)\s+\w+[^;{]*\{.*?\}\s*\w+;)|(?:[^;{/#]+;))", re.S)
    for header in HEADERS:
        source = (ROOT / "include/ss1" / header).read_text()
        documented = set()
        about = re.search(r"@file\s+\S+\s+(.*?)\*/", source, re.S)
        parts.append(f"## {header}\n\n{comment_text(about[1])}\n")
        for comment, declaration in pattern.findall(source):
            bare = re.sub(r"/\*.*?\*/", "", declaration, flags=re.S)  # comments name other functions
            name = (re.search(r"\}\s*(ss1_\w+)\s*;\s*$", bare) or
                    re.search(r"\(\s*\*\s*(ss1_\w+)\s*\)|\b(ss1_\w+)\s*\(|(ss1_\w+)\s*;", bare))
            if "@file" in comment or not name:
                continue
            name = next(part for part in name.groups() if part)
            documented.add(name)
            tidy = re.sub(r"\bSS1_API\s+", "", declaration.strip())
            parts.append(f"### {name}\n\n```c\n{tidy}\n```\n\n{comment_text(comment)}\n")
        bare = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
        for name in re.findall(r"SS1_API[^;]*?\b(ss1_\w+)\s*\(|^\}\s*(ss1_\w+)\s*;", bare, re.M):
            name = name[0] or name[1]
            if name not in documented:
                fail(f"include/ss1/{header}: {name} has no documentation")
    return "\n".join(parts)


def cpp_reference():
    source = (ROOT / "include/ss1/ss1.hpp").read_text()
    parts = ["# C++ reference\n\nMade of `include/ss1/ss1.hpp`.\n"]
    for comment, declaration in re.findall(r"((?:^//[^\n]*\n)*)^((?:template <[^\n]*>\n)?(?:inline|class|using|ss1_tensor|void)\b.*?(?:\{|;)$)",
                                           source, re.S | re.M):
        name = re.search(r"(?:class|using)\s+(\w+)|(\w+)\(", declaration)
        name = name[1] or name[2]
        text = " ".join(line[2:].strip() for line in comment.splitlines() if "SPDX" not in line)
        parts.append(f"### {name}\n\n```cpp\n{declaration.rstrip(' {')}\n```\n\n{text}\n")
    return "\n".join(parts)


def signature(node):
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def python_members(node, where, prefix="", only=None):
    for child in node.body:
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef)) or (only and child.name not in only):
            continue
        if child.name in ("forward", "extra_repr") or (child.name.startswith("_") and child.name != "__call__"):  # of PyTorch, or private
            continue
        text = ast.get_docstring(child)
        if not text and child.name != "close":
            fail(f"{where}: {prefix}{child.name} has no docstring")
        constructor = next((c for c in child.body if isinstance(c, ast.FunctionDef) and c.name == "__init__"), None)
        head = f"class {child.name}" if isinstance(child, ast.ClassDef) else f"def {signature(child)}"
        if isinstance(child, ast.ClassDef) and constructor:
            head = f"class {child.name}({ast.unparse(constructor.args).removeprefix('self, ').removeprefix('self')})"
        yield f"### {prefix}{child.name}\n\n```python\n{head}\n```\n\n```text\n{text or 'Close it.'}\n```\n"
        if isinstance(child, ast.ClassDef):
            yield from python_members(child, where, f"{child.name}.")


def python_reference():
    parts = ["# Python reference\n\nMade of the docstrings.\n"]
    for module, path, only in (("ss1", "__init__.py", None), ("ss1.torch", "torch/__init__.py", None),
                               ("ss1.torch.Linear", "torch/linear.py", ["Linear", "resolve", "stored_columns"]),
                               ("ss1.torch.convert", "torch/convert.py", ["convert"]),
                               ("ss1.torch.finetune", "torch/finetune.py", ["finetune"]),
                               ("ss1.torch.export", "torch/export.py", ["export"]), ("ss1.torch.fit", "torch/fit.py", ["Moments", "fit"]),
                               ("ss1.torch.import_ssl", "torch/ssl.py", ["import_ssl", "ssl_spec"]), ("ss1.model_dir", "model_dir.py", None),
                               ("ss1.safetensors_io", "safetensors_io.py", None)):
        tree = ast.parse((ROOT / "bindings/python/ss1" / path).read_text())
        text = ast.get_docstring(tree)
        parts += [f"## {module}\n", *([f"```text\n{text}\n```\n"] if text else []), *python_members(tree, path, only=only)]
    return "\n".join(parts)


def stage(pages):
    """Copies the repository's pages and what they show, and writes the reference."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"], check=True,
                            stdout=subprocess.PIPE, text=True).stdout.split("\n")
    for name in listed:
        if name and (ROOT / name).is_file() and not name.startswith(("tests/data/", "examples/models/")) and name != "docs/mkdocs.yml":
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, pages / name)
    (pages / "reference").mkdir()
    for name, make in {"c": c_reference, "cpp": cpp_reference, "python": python_reference}.items():
        (pages / "reference" / f"{name}.md").write_text(make())


def configuration(pages, site):
    lines = ["site_name: ss1", f"docs_dir: {pages}", f"site_dir: {site}", "theme: {name: mkdocs, nav_style: light, highlightjs: false}",
             "use_directory_urls: false", "markdown_extensions: [tables, fenced_code, {toc: {permalink: false}}]", "plugins: []", "nav:"]
    for section, entries in NAVIGATION.items():
        lines += [f"  - {section}:"] + [f"      - {title}: {path}" for title, path in entries.items()]
    return "\n".join(lines) + "\n"


class Links(html.parser.HTMLParser):
    """The links of a page, and the names that links can lead to."""

    def __init__(self):
        super().__init__()
        self.links, self.names = [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names.update(filter(None, (attributes.get("id"), attributes.get("name"))))
        self.links += filter(None, (attributes.get("href"), attributes.get("src")))


def check_links(site):
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Links()
        pages[path].feed(path.read_text())
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            source = ROOT / target.relative_to(site) if target.is_relative_to(site) else target
            if not target.exists() and not source.exists():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif url.fragment and target in pages and url.fragment not in pages[target].names:
                broken.append(f"{path.relative_to(site)}: {link} has no such heading")
    if broken:
        fail("links that lead nowhere:\n  " + "\n  ".join(sorted(set(broken))))
    return len(pages)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example:\n  python3 docs/make_site.py build/site")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "build/site",
                        help="where to make the site; its folder pages is made anew (default: build/site)")
    folder = parser.parse_args().folder.resolve()
    pages, site = folder / "pages", folder / "html"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    stage(pages)
    (folder / "mkdocs.yml").write_text(configuration(pages, site))
    subprocess.run([shutil.which("mkdocs") or fail("mkdocs is missing: apt-get install mkdocs"), "build", "--quiet", "--clean", "-f",
                    folder / "mkdocs.yml"], check=True)
    print(f"{check_links(site)} pages, all links lead somewhere: {site / 'index.html'}")


main()
