# SPDX-License-Identifier: Apache-2.0
"""Tests which text of documentation files collect_text.py accepts as prose.

    python3 bindings/python/tests/test_collect_text.py
"""
import gzip
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "train"))
import collect_text

PROSE = ("The package manager keeps a list of all the files that it has installed, so that it can remove them again when "
         "you do not need them any more.")


class Prose(unittest.TestCase):
    def test_what_is_prose(self):
        self.assertTrue(collect_text.is_prose(PROSE))
        for text in (PROSE[:60], PROSE * 40,
                     "for (int i = 0; i < 10; ++i) { printf(\"%d\\n\", values[i]); total += values[i] * scale[i]; } return 0;",
                     "Die Paketverwaltung kennt alle Dateien, die von ihr installiert wurden, und kann diese wieder entfernen.",
                     "libfoo1 libfoo-dev libbar2 libbar-dev python3-foo python3-bar golang-foo golang-bar rust-foo rust-bar foo"):
            self.assertFalse(collect_text.is_prose(text), text)

    def test_formats(self):
        for name, text in (
                ("usr/share/doc/p/a.html", f"<html><style>p {{ }}</style><h1>Files</h1><p>{PROSE.replace('list', '<b>list</b>')}</p>"),
                ("usr/share/doc/p/a.md", f"# Files\n\n{PROSE}\n"),
                ("usr/share/man/man1/a.1.gz", f'.TH A 1\n.SH FILES\n{PROSE.replace("list", chr(92) + "fBlist" + chr(92) + "fR")}\n.PP\n'),
                ("usr/share/perl/5.36/pod/a.pod", f"=head1 FILES\n\n{PROSE.replace('list', 'B<list>')}\n\n=cut\n"),
                ("usr/share/wordnet/data.noun", f"00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | {PROSE}\n"),
                ("usr/share/games/fortunes/a", f"short\n%\n{PROSE}\n%\nshort\n")):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / name
                path.parent.mkdir(parents=True)
                path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
                seen = set()
                self.assertEqual(collect_text.collect(pathlib.Path(folder), seen, 10**6), [PROSE], name)
                self.assertEqual(collect_text.collect(pathlib.Path(folder), seen, 10**6), [], name)
                kept = collect_text.collect(pathlib.Path(folder), set(), 10, raw=True)
                self.assertEqual([len(text) for text in kept], [10], name)


if __name__ == "__main__":
    unittest.main()
