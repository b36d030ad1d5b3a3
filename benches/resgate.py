#!/usr/bin/env python3
"""What a look costs, what a waiting call holds, and how many claims a second there can be.

Every figure comes from one run on one machine: the candidates take turns, the medians are compared, and the ratios are
what counts. Run it on a quiet machine: benches/resgate.py [--rounds N] [--bin target/release]
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

DEVNULL = os.open(os.devnull, os.O_RDWR)


def run(argv, env):
    """Starts argv, waits for it, gives the seconds."""
    began = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=[(os.POSIX_SPAWN_DUP2, DEVNULL, fd) for fd in (0, 1, 2)])
    os.waitpid(pid, 0)
    return time.perf_counter() - began


def table(head, rows):
    cells = [head] + rows
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print()


def looks(resgate, env, rounds):
    true = shutil.which("true")
    free = shutil.which("free")
    candidates = {
        "true": [true],
        "resgate --min-mem": [resgate, "--min-mem", "1M"],
        "resgate --min-disk": [resgate, "--min-disk", "1M"],
        "resgate, all but CPU and GPU": [resgate, *"--min-mem 1 --max-mem 100 --min-disk 1 --max-load 999 --max-swap 100".split()],
        "resgate --claim-mem -- true": [resgate, "--claim-mem", "1M", "--", true],
        "resgate (the defaults)": [resgate],
    }
    if free:
        candidates["free"] = [free]
    if shutil.which("python3"):
        candidates["python3 -c pass"] = [shutil.which("python3"), "-c", "pass"]
    times = {name: [] for name in candidates}
    for turn in range(rounds + 2):
        for name, argv in candidates.items():
            took = run(argv, env)
            if turn >= 2:
                times[name].append(took)
    base = statistics.median(times["true"])
    rows = []
    for name, took in times.items():
        median = statistics.median(took)
        rows.append([name, f"{median * 1000:.2f}", f"{(median - base) * 1000:+.2f}", f"{median / base:.1f}"])
    print("a look, whole process, milliseconds")
    table(["", "median", "beside true", "times true"], rows)


def held(argv, env):
    """Pss, private and anonymous memory in kB, and wakeups within two seconds."""
    child = subprocess.Popen(argv, env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    try:
        time.sleep(1)
        fields = {}
        for line in open(f"/proc/{child.pid}/smaps_rollup"):
            words = line.split()
            if len(words) == 3 and words[2] == "kB":
                fields[words[0].rstrip(":")] = int(words[1])

        def switches():
            text = open(f"/proc/{child.pid}/status").read()
            return int(text.split("voluntary_ctxt_switches:")[1].split()[0])

        before = switches()
        time.sleep(2)
        woke = switches() - before
        return [fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"], fields["Pss_Anon"], fields["Rss"], woke]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def waiting(resgate, env):
    rows = []
    candidates = {
        "resgate --wait": [resgate, "--min-mem", "1000T", "--wait", "--interval", "1h"],
        "sleep": [shutil.which("sleep"), "100"],
        "sh -c 'while sleep'": ["/bin/sh", "-c", "while sleep 100; do :; done"],
    }
    for name, argv in candidates.items():
        rows.append([name] + [str(value) for value in held(argv, env)])
    print("a waiting call, kB, and how often it wakes in two seconds")
    table(["", "Pss", "private", "anonymous", "Rss", "wakeups"], rows)


def claims(resgate, env, calls):
    true = shutil.which("true")
    rows = []
    for name, argv in {
        "resgate --claim-mem 1 -- true": [resgate, "--claim-mem", "1", "--", true],
        "flock FILE true": [shutil.which("flock"), os.path.join(env["BGTOOLS_CLAIM_DIR"], "lock"), true],
    }.items():
        began = time.perf_counter()
        children = [subprocess.Popen(argv, env=env, stdout=DEVNULL, stderr=DEVNULL) for _ in range(calls)]
        codes = [child.wait() for child in children]
        took = time.perf_counter() - began
        rows.append([name, f"{calls / took:.0f}", str(codes.count(0)), str(calls - codes.count(0))])
    print(f"{calls} calls at once")
    table(["", "calls/s", "admitted", "refused"], rows)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--bin", default=os.path.join(here, "target", "release"))
    options = parser.parse_args()
    resgate = os.path.join(options.bin, "resgate")
    with tempfile.TemporaryDirectory() as scratch:
        env = dict(os.environ, BGTOOLS_CLAIM_DIR=os.path.join(scratch, "claims"))
        os.mkdir(env["BGTOOLS_CLAIM_DIR"])
        looks(resgate, env, options.rounds)
        waiting(resgate, env)
        claims(resgate, env, 64)


if __name__ == "__main__":
    main()
