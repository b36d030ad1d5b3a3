"""Kills a pipeline at random moments until it is through, then looks that nothing is missing and nothing was redone.

    python3 killed_at_random.py                          100,000 items, ten kills, a coprocess
    python3 killed_at_random.py --way xargs --items 4000 todo | xargs -P

Works in a directory of its own, which it removes.
"""

import argparse
import collections
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PROGRESS_MARK = os.environ.get("PROGRESS_MARK", "progress-mark")
KINDS = ["original", "flipped", "rotated", "途中"]

# Each batch of items is one short process, as a real worker's would be, four at a time. It appends the results, then
# marks the items at once: what a kill leaves unmarked is done again.
XARGS = r"""
"$PROGRESS_MARK" todo < items.tsv | xargs -r -d '\n' -P 4 -n 100 sh -c '
    printf "%s\tdone\n" "$@" >> results.txt && exec "$PROGRESS_MARK" add "$@"' worker
"""


def items(count):
    return [f"{n // 40:08x}\t{n // len(KINDS) % 10}\t{KINDS[n % len(KINDS)]}" for n in range(count)]


def start(way, directory):
    command = ["sh", "-c", XARGS] if way == "xargs" else [sys.executable, HERE / "pipeline.py", "items.tsv"]
    # A session of its own: a kill takes all of it, as the OOM killer or a power cut would.
    return subprocess.Popen(command, cwd=directory, start_new_session=True, stderr=subprocess.DEVNULL)


def list_done(directory):
    done = subprocess.run([PROGRESS_MARK, "list"], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def wait_for(condition, process):
    """Until there is more to lose, or the pipeline is through."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=["coprocess", "xargs"], default="coprocess")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    os.environ["PROGRESS_MARK"] = PROGRESS_MARK

    with tempfile.TemporaryDirectory(prefix="resume.") as directory:
        directory = pathlib.Path(directory)
        everything = items(options.items)
        (directory / "items.tsv").write_text("".join(item + "\n" for item in everything), encoding="utf-8")
        journal, results = directory / "progress.jsonl", directory / "results.txt"

        def size():
            return journal.stat().st_size if journal.exists() else 0

        kills, marked, redone_at_most = 0, set(), collections.Counter()
        a_share = sum(len(item.encode()) + 10 for item in everything) / (options.kills + 1)
        while kills < options.kills:
            before = size()
            process = start(options.way, directory)
            target = before + a_share * chance.uniform(0.2, 0.95)
            wait_for(lambda: size() >= target, process)
            if process.poll() is not None:
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            now = list_done(directory)
            if len(now) != len(set(now)) or not marked <= set(now):
                sys.exit(f"after kill {kills}: what was done is not done any more")
            marked = set(now)
            # What has a result and no mark is all that may be worked on again.
            for line in results.read_text(encoding="utf-8").splitlines():
                item = line.rsplit("\t", 1)[0]
                if item not in marked:
                    redone_at_most[item] += 1
        if start(options.way, directory).wait() != 0:
            sys.exit("the last pass failed")

        done = list_done(directory)
        left = subprocess.run(
            [PROGRESS_MARK, "todo", "-c"], cwd=directory, stdin=open(directory / "items.tsv"), capture_output=True, text=True
        ).stdout.strip()
        worked = collections.Counter(line.rsplit("\t", 1)[0] for line in results.read_text(encoding="utf-8").splitlines())
        if sorted(done) != sorted(everything) or left != "0":
            sys.exit(f"{len(done)} items done, {left} left")
        missing = [item for item in everything if worked[item] == 0]
        again = [item for item in everything if worked[item] > 1 + redone_at_most[item]]
        if missing or again:
            sys.exit(f"without a result: {missing[:3]}; done again after they were marked: {again[:3]}")
        twice = sum(count - 1 for count in worked.values())
        print(f"{len(done)} items done, none left, none reported twice; {kills} kills, {twice} items worked on again")


if __name__ == "__main__":
    main()
