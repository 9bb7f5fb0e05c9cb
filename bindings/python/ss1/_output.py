# SPDX-License-Identifier: Apache-2.0
"""Writes files that appear under their names once they are complete, as the library's own do (src/io/file.hpp, src/apps/output.hpp)."""
import contextlib
import os
import secrets
import stat


def sync(file):
    """Returns when the data written so far is on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def output(path):
    """A binary file that gets its name at the end of the block, when its data is on the disk; an exception removes it.

        with output("vocab.txt") as file:
            file.write(b"[PAD]\\n")

    Until then it has a temporary name beside the other, and an older file stays. Symbolic links and the older file's mode stay, too.
    Pipes and devices get the data as it comes.
    """
    target = os.path.realpath(os.fsdecode(path))
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            yield file
        return
    # Of digits, so that `ss1 convert` knows what a killed process has left.
    temporary = f"{target}.tmp-{os.getpid()}-{secrets.randbits(63)}"
    try:
        with open(temporary, "xb") as file:
            # An error if the older file may not be written: a rename would not ask.
            with contextlib.suppress(FileNotFoundError), open(target, "r+b") as old:
                os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(old.fileno()).st_mode))
            yield file
            sync(file)
        os.replace(temporary, target)
    except BaseException as error:  # KeyboardInterrupt, too
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):  # a full disk names no file
            error.filename = target
        raise
