# SPDX-License-Identifier: Apache-2.0
"""Collect English prose from the documentation in Debian packages: one paragraph per line, without duplicates.

`apt-get download` fetches the packages, which are unpacked but not installed. Of each the HTML, text, Markdown, manual
and POD files, dictionaries and fortunes are read. A paragraph is kept if it has at least 80 characters, 70 % of them
letters, and if a fifth of its words are English function words: code, tables, lists and other languages fail that test.
The command also writes the list of packages with their versions: the same versions give the same text.
"""
import argparse
import gzip
import hashlib
import html
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from ss1._output import output

PLACES = ("usr/share/doc", "usr/share/man", "usr/share/games/fortunes", "usr/share/dictd", "usr/share/wordnet",
          "usr/share/help/C", "usr/share/perl", "usr/share/vim")
KINDS = re.compile(r"(\.(html|page|txt|md|rst|pod|dz|[1-8])|/(games/fortunes|wordnet)/[^/.]+|/wordnet/data\.\w+|\.[1-8]\w+)$")
FUNCTION_WORDS = set("""a about all also an and any are as at be because been but by can could did do does each for from
had has have he her him his how i if in into is it its may more most must my no not of on one only or other our should so
some such than that the their them then there these they this those to was we were what when which while who will with
would you your""".split())
MIN_CHARACTERS, MAX_CHARACTERS = 80, 4000


def plain_html(text):
    text = re.sub(r"(?is)<(script|style|pre|nav)\b.*?</\1>|<!--.*?-->", " ", text)
    text = re.sub(r"(?i)</?(p|div|h\d|li|td|th|tr|dt|dd|br|section|title|item|note|blockquote)\b[^>]*>", "\n\n", text)
    return html.unescape(re.sub(r"<[^<>]*>", "", text))


def plain_roff(text):
    """Returns the running text of a manual page: drops headings and tables, keeps words that a request sets in a font."""
    text = re.sub(r"(?m)^[.'](SH|SS|PP|LP|P|TP|IP|HP|sp|Pp|Sh|Ss|It)\b.*$", "\n", text)
    text = re.sub(r"(?m)^[.'](B|I|BR|RB|IR|RI|BI|IB)\s+", "", text)
    text = re.sub(r"(?m)^[.'].*$", "", text)
    text = re.sub(r"\\f(\[\w*\]|\(..|.)|\\[&|%]|\\s[-+]?\d", "", text)
    return re.sub(r"\\\(?(aq|lq|rq|em|en|bu)", " ", text).replace("\\-", "-").replace("\\", "")


def plain_pod(text):
    return re.sub(r"[A-Z]<+\s*([^<>]*?)\s*>+", r"\1", re.sub(r"(?m)^=\w+.*$", "\n", text))


def plain_text(name, text):
    if re.search(r"\.(html|page)$", name):
        return plain_html(text)
    if "/man/" in name:
        return plain_roff(text)
    if name.endswith(".pod"):
        return plain_pod(text)
    if "/wordnet/data." in name:
        return "\n\n".join(line.partition(" | ")[2] for line in text.splitlines())
    if "/fortunes/" in name:
        return re.sub(r"(?m)^%$", "\n", text)
    return text


def is_prose(paragraph):
    words = re.findall(r"[a-z']+", paragraph.lower())
    letters = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
    return (MIN_CHARACTERS <= len(paragraph) <= MAX_CHARACTERS and letters >= 0.7 * len(paragraph) and
            sum(word in FUNCTION_WORDS for word in words) >= 0.2 * len(words))


def paragraphs(text):
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = re.sub(r"\s+", " ", paragraph).strip()
        if is_prose(paragraph):
            yield paragraph


def texts(root, raw):
    """Yields the documentation files of an unpacked package as plain text, or with all of their markup, in a fixed order."""
    for place in PLACES:
        for path in sorted((root / place).rglob("*")):
            name = str(path).removesuffix(".gz")
            if not KINDS.search(name) or not path.is_file() or path.is_symlink():
                continue
            data = path.read_bytes()
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            text = data.decode("utf-8", "replace")
            yield text if raw else plain_text(name, text)


def collect(root, seen, limit, raw=False):
    """Returns new paragraphs, or files, of an unpacked package, up to about `limit` characters; `seen` has hashes of their letters."""
    kept, total = [], 0
    for text in texts(root, raw):
        for paragraph in [text[:limit - total]] if raw else paragraphs(text):
            key = hashlib.sha1(re.sub(r"[^a-z]", "", paragraph.lower()).encode()).digest()[:10]
            if key not in seen:
                seen.add(key)
                kept.append(paragraph)
                total += len(paragraph)
                if total >= limit:
                    return kept
    return kept


def fetch(package, folder):
    """Returns the file of the package; downloads it if it does not exist."""
    name = package.replace("=", "_").replace(":", "%3a")
    if not list(folder.glob(f"{name}_*.deb")):
        subprocess.run(["apt-get", "-q", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob(f"{name}_*.deb"))


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], check=True, capture_output=True, text=True).stdout.strip()


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 collect_text.py --packages debian_text.tsv --debs /tmp/debs --out corpus.txt")
    parser.add_argument("--packages", type=pathlib.Path, default=HERE / "debian_text.tsv",
                        help="the list: package, version and characters kept, by tabs; of a new line only the first is "
                             "needed; rewritten with what was found, but for --raw (default: debian_text.tsv beside this script)")
    parser.add_argument("--debs", type=pathlib.Path, required=True, help="folder for the downloaded packages")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="text file to write")
    parser.add_argument("--limit", type=int, default=5_000_000,
                        help="characters from one package at most, so that none dominates (default: %(default)s)")
    parser.add_argument("--raw", action="store_true", help="keep whole files with their markup instead of paragraphs of prose")
    return parser.parse_args()


def main():
    options = arguments()
    options.debs.mkdir(parents=True, exist_ok=True)
    lines = options.packages.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    rows, seen = [], set()
    with output(options.out) as out:
        for line in lines:
            if not line or line.startswith("#"):
                continue
            deb = fetch("=".join(line.split("\t")[:2]), options.debs)
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
                kept = collect(pathlib.Path(folder), seen, options.limit, options.raw)
            out.writelines(f"{paragraph}\n".encode() for paragraph in kept)
            rows.append(f"{field(deb, 'Package')}\t{field(deb, 'Version')}\t{sum(map(len, kept))}")
            print(rows[-1], file=sys.stderr, flush=True)
    if not options.raw:
        with output(options.packages) as file:
            file.write(("\n".join(header + rows) + "\n").encode())


if __name__ == "__main__":
    main()
