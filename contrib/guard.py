"""Importing this refuses to go on unless bgrun started the script (GRAV_BG_JOB=1): one line on stderr, exit 1.

At the head of a heavy script, before its slow imports, with the path from the script to contrib/:

    import pathlib, sys
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "contrib"))
    import guard

or copy this file beside the script. Python 3.8 or later, standard library only.
"""

import os
import sys


def printable(text):
    """`text` with every character that could drive a terminal, surrogates included, replaced by `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def job_name(script):
    """A name bgrun accepts: letters of any script, digits and . _ -, but no . or - in front."""
    stem = os.path.splitext(script)[0]
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in stem).lstrip(".-") or "job"


def _check():
    if os.environ.get("GRAV_BG_JOB") == "1":
        return
    script = printable(os.path.basename(sys.argv[0] if sys.argv else "")) or "script"
    line = (
        f"{script}: start me through the dispatcher: bgrun --name {job_name(script)} -- … "
        "/ dispatcher経由で実行してください (bgrun)\n"
    )
    # Bytes and not print: the locale may not be UTF-8, and stderr may be closed.
    try:
        os.write(2, line.encode("utf-8"))
    except OSError:
        pass
    sys.exit(1)


_check()
