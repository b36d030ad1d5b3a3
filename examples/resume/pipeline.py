"""A pass over many items that can be killed at any moment and goes on where it was.

It reads the items from a file, asks progress-mark which are still to do, works on each, and marks it. The result of an
item is a line in results.txt, appended before the item is marked: killed between the two, the item is worked on again,
and the reader of the results takes one line an item. What is marked is never done twice.

    python3 pipeline.py items.tsv              one process, progress-mark as a coprocess
"""

import os
import subprocess
import sys

PROGRESS_MARK = os.environ.get("PROGRESS_MARK", "progress-mark")


class Marks:
    """`progress-mark add -`: an item goes in, and comes back when it is on disk."""

    def __init__(self):
        self.process = subprocess.Popen(
            [PROGRESS_MARK, "add", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def mark(self, item):
        self.process.stdin.write(item + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != item + "\n":
            raise RuntimeError(f"progress-mark didn't acknowledge {item!r}")

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise RuntimeError("progress-mark failed")


def work(item):
    task, round_index, kind = item.split("\t")
    return f"{item}\t{sum(map(ord, task)) * (int(round_index) + 1) % 9973}-{kind[0]}"


def main(path):
    marks = Marks()
    with open(path, encoding="utf-8") as candidates, open("results.txt", "a", encoding="utf-8", buffering=1) as results:
        todo = subprocess.Popen([PROGRESS_MARK, "todo"], stdin=candidates, stdout=subprocess.PIPE, text=True)
        for line in todo.stdout:
            item = line.rstrip("\n")
            results.write(work(item) + "\n")
            marks.mark(item)
        if todo.wait() != 0:
            raise RuntimeError("progress-mark todo failed")
    marks.close()


if __name__ == "__main__":
    main(sys.argv[1])
