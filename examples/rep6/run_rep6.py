#!/usr/bin/env python3
"""Fits the laws WS and phi-eta to six rotation curves and says which one wins, and how surely.

A heavy job: start it through bgrun. SIGTERM, SIGINT and SIGHUP make it write what it has and then end it.
"""

import signal

# Until there is something to write, Ctrl-C may end this at once, and without a traceback from the imports.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os  # noqa: E402
import sys  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "contrib"))
import guard  # noqa: E402  refuses to go on when bgrun didn't start this

import argparse  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

import page  # noqa: E402
import report as numbers  # noqa: E402
from bootstrap import WorkerLost, batches  # noqa: E402
from curves import DataError, load  # noqa: E402
from fit import fit_galaxy  # noqa: E402
from models import MODELS  # noqa: E402
from stop import StopSignal  # noqa: E402
from tally import Tally  # noqa: E402

RESAMPLES = {"fast": 1000, "full": 60000}  # a galaxy
STEP = {"fast": 10, "full": 2}  # percent between two progress lines


def main():
    options = arguments()
    stop = StopSignal()
    try:
        failure = compare(options, stop)
    except (DataError, numbers.ReportError) as error:
        failure = str(error)
    if failure:
        print(f"run_rep6.py: {guard.printable(failure)}", file=sys.stderr, flush=True)
    if stop.number is not None:
        stop.die()
    return 1 if failure else 0


def compare(options, stop):
    """Loads, fits, resamples, writes. Returns what went wrong with a worker, or None."""
    galaxies = load(options.data)
    numbers.make_writable(options.out)
    best = [tuple(fit_galaxy(model, galaxy) for model in MODELS) for galaxy in galaxies]
    tallies = [Tally(options.resamples) for _ in galaxies]
    progress = Progress(len(galaxies) * options.resamples, STEP[options.mode])
    say(f"rep6: {len(galaxies)} galaxies, {options.resamples} resamples each, seed {options.seed}, "
        f"{options.processes} processes")
    failure = None
    try:
        for position, first, done in batches(
            galaxies, best, options.seed, options.resamples, options.processes, stop.fd
        ):
            tallies[position].add(first, done)
            progress.add(len(done))
    except WorkerLost as error:
        failure = str(error)
    report = numbers.build(
        galaxies, best, tallies, mode=options.mode, seed=options.seed, stopped_by=stop.name
    )
    numbers.write(options.out, "report.json", numbers.as_json(report))
    numbers.write(options.out, "report.html", page.render(report, galaxies, best, tallies))
    if not report["complete"]:
        say(f"rep6: not complete ({stop.name or failure}), {progress.done} of {progress.total} resamples done")
    say(f"rep6: {numbers.sentence(report)}")
    say(f"rep6: wrote {os.path.join(options.out, 'report.json')} and report.html")
    return failure


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=RESAMPLES, default="fast",
                        help="fast: seconds, full: minutes (default: fast)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same numbers (default: 1)")
    parser.add_argument("--processes", type=positive, default=len(os.sched_getaffinity(0)), metavar="N",
                        help="worker processes (default: the CPUs this process may use)")
    parser.add_argument("--resamples", type=positive, metavar="N",
                        help=f"for each galaxy (default: fast {RESAMPLES['fast']}, full {RESAMPLES['full']})")
    parser.add_argument("--data", default=os.path.join(HERE, "data"), metavar="DIR",
                        help="where the six CSV files are (default: data/ beside this script)")
    parser.add_argument("--out", metavar="DIR", help="where the report goes (default: out/rep6-MODE)")
    options = parser.parse_args()
    options.resamples = options.resamples or RESAMPLES[options.mode]
    options.out = options.out or os.path.join("out", f"rep6-{options.mode}")
    return options


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


class Progress:
    """A line every `step` percent, the first one after the first batch; bgstatus is told too where it can be."""

    def __init__(self, total, step):
        self.total, self.step, self.done, self.next = total, step, 0, 0
        self.started = time.monotonic()
        self.marker = shutil.which("progress-mark") if os.environ.get("BG_JOB_ID") else None

    def add(self, count):
        self.done += count
        percent = 100 * self.done // self.total
        if percent < self.next:
            return
        self.next = percent - percent % self.step + self.step
        spent = time.monotonic() - self.started
        left = spent / self.done * (self.total - self.done)
        note = f"{self.done} of {self.total} resamples, {left:.0f} s left"
        say(f"rep6: {percent} %, {note}")
        if self.marker:
            self.mark(percent, note)

    def mark(self, percent, note):
        try:
            subprocess.run([self.marker, "set", str(percent), "--note", note], check=True, timeout=2,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            say(f"rep6: progress-mark failed and won't be called again: {error}")
            self.marker = None


def say(line):
    """Progress is a courtesy: a full disk under the log, or a reader that left, must not cost the fit."""
    try:
        print(guard.printable(line), flush=True)
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")


if __name__ == "__main__":
    sys.exit(main())
