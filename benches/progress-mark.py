#!/usr/bin/env python3
"""progress-mark beside what is installed of duckdb, sqlite3, gawk, grep, comm and Python.

    benches/progress-mark.py [--candidates N] [--rounds R] [--dir DIR]

All contenders of a table run in turn within each round, so that a slow moment meets all of them; medians are printed with
the ratio to progress-mark. A contender that isn't installed is left out and named. Run it on the disk that matters: --dir.
"""

import argparse
import importlib.util
import io
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BIN = pathlib.Path(os.environ.get("BGTOOLS_BIN", TARGET / "release"))
PM = str(BIN / "progress-mark")

DUCKDB = """
import sys, duckdb
candidates, done, out = sys.argv[1:]
con = duckdb.connect()
con.execute("set threads=2")
con.execute("set preserve_insertion_order=false")
read = "read_csv('%s', header=false, delim='\\x01', quote='', escape='', columns={'l': 'varchar'})"
con.execute(f"copy (select a.l from {read % candidates} a anti join {read % done} b on a.l = b.l) to '{out}' "
            "(header false, quote '', escape '', delimiter '\\x01')")
"""
PYTHON = """
import sys
candidates, done, out = sys.argv[1:]
known = set(open(done, 'rb'))
with open(out, 'wb') as f:
    f.writelines(line for line in open(candidates, 'rb') if line not in known)
"""


def run(command, stdin=None, stdout=None, cwd=None, env=None):
    """Seconds of wall clock, and the peak resident set in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout or subprocess.DEVNULL, cwd=cwd, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command}: {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def table(title, results, unit="s", lower_is_better=True):
    print(f"\n{title}")
    own = statistics.median(next(iter(results.values()))[0])
    for name, (values, memory) in results.items():
        value = statistics.median(values)
        spread = f"{min(values):.3g}..{max(values):.3g}"
        peak = f"{statistics.median(memory):8.0f} MB" if memory else " " * 11
        print(f"  {name:34} {value:10.4g} {unit:4} {spread:>20} {peak}  {value / own:7.2f} x")


def interleaved(rounds, contenders):
    results = {name: ([], []) for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            value, memory = contender()
            results[name][0].append(value)
            if memory is not None:
                results[name][1].append(memory)
    return results


def make_data(directory, count, tuples):
    """In a process of its own: a child's peak memory counts from what its parent holds when it is started."""
    child = os.fork()
    if child == 0:
        write_data(directory, count, tuples)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("cannot make the data")
    everything = count // 80 * 80 if tuples else count
    return everything, everything // 2


def write_data(directory, count, tuples):
    chance = random.Random(7)
    if tuples:
        tasks = [f"{n * 2654435761 % 2**32:08x}" for n in range(count // 80)]
        rows = [f"{t}\t{r}\t{k}" for t in tasks for r in range(20) for k in ("original", "flipped", "rotated", "noise")]
    else:
        rows = [f"sample_{n * 7919 % 100000007:012d}" for n in range(count)]
        chance.shuffle(rows)
    done = chance.sample(rows, len(rows) // 2)
    (directory / "all").write_text("".join(row + "\n" for row in rows))
    (directory / "done").write_text("".join(row + "\n" for row in done))
    with open(directory / "progress.jsonl", "w") as journal:
        for row in done:
            journal.write('["' + row.replace("\t", '","') + '"]\n')


def filters(directory, options, title):
    left = []

    def own(cache):
        def contender():
            if not cache:
                (directory / "progress.jsonl.idx").unlink(missing_ok=True)
            with open(directory / "all") as candidates, open(directory / "out.own", "w") as out:
                return run([PM, "todo"], candidates, out, directory)
        return contender

    contenders = {"progress-mark, cache warm": own(True), "progress-mark, no cache": own(False)}
    own(False)()
    files = ["all", "done", "out"]
    if importlib.util.find_spec("duckdb"):
        contenders["duckdb anti join, 2 threads"] = lambda: run([sys.executable, "-c", DUCKDB, *files], cwd=directory)
    else:
        left.append("duckdb")
    contenders["python set of lines"] = lambda: run([sys.executable, "-c", PYTHON, *files], cwd=directory)
    if shutil.which("gawk"):
        def gawk():
            with open(directory / "out", "w") as out:
                return run(["gawk", "NR==FNR{d[$0];next} !($0 in d)", "done", "all"], None, out, directory)
        contenders["gawk"] = gawk
    else:
        left.append("gawk")
    if shutil.which("sqlite3"):
        subprocess.run(["sqlite3", "d.db", "drop table if exists d; create table d(l text primary key) without rowid;", ".mode tabs", ".separator \x01", ".import done d"], cwd=directory, check=True)
        query = ["sqlite3", "d.db", "create temp table c(l text);", ".mode list", ".separator \x01", ".import all c", "select l from c where l not in d;"]
        def sqlite():
            with open(directory / "out", "w") as out:
                return run(query, None, out, directory)
        contenders["sqlite3, database built before"] = sqlite
    else:
        left.append("sqlite3")
    results = interleaved(options.rounds, contenders)
    if options.slow:
        def grep():
            with open(directory / "out", "w") as out:
                return run(["grep", "-vxFf", "done", "all"], None, out, directory, {**os.environ, "LC_ALL": "C"})
        results.update(interleaved(1, {"grep -vxFf": grep}))
    table(title, results)
    if left:
        print("  not installed: " + ", ".join(left))


def sorted_filter(directory, options):
    env = {**os.environ, "LC_ALL": "C"}
    for name in ("all", "done"):
        run(["sort", "-t", "\t", "-k1,1", "-k2,2", "-k3,3", "-o", f"{name}.sorted", name], cwd=directory, env=env)
    run([PM, "compact"], cwd=directory)

    def own():
        with open(directory / "all.sorted") as candidates, open(directory / "out.own", "w") as out:
            return run([PM, "todo", "--sorted"], candidates, out, directory)

    def comm():
        with open(directory / "out", "w") as out:
            return run(["comm", "-23", "all.sorted", "done.sorted"], None, out, directory, env)

    table("sorted inputs", interleaved(options.rounds + 2, {"progress-mark --sorted": own, "comm -23": comm}))


def single_adds(directory, options):
    count = 100
    database = directory / "adds.db"
    contenders = {}

    def each(command):
        def contender():
            started = time.perf_counter()
            for n in range(count):
                subprocess.run(command(n), cwd=directory, check=True, stdout=subprocess.DEVNULL)
            return (time.perf_counter() - started) / count * 1000, None
        return contender

    contenders["progress-mark add"] = each(lambda n: [PM, "-f", "adds.jsonl", "add", f"item_{n}"])
    contenders["/bin/true (the cost of a process)"] = each(lambda n: ["/bin/true"])
    if shutil.which("sqlite3"):
        subprocess.run(["sqlite3", database, "pragma journal_mode=wal; create table d(l text primary key) without rowid"], check=True, stdout=subprocess.DEVNULL)
        contenders["sqlite3 program, WAL, full"] = each(lambda n: ["sqlite3", str(database), f"pragma synchronous=full; insert or replace into d values('item_{n}')"])
    table("one add, a process each", interleaved(options.rounds, contenders), "ms")


def coprocesses(directory, options):
    program = directory / "coprocess"
    compiled = shutil.which("cc") and subprocess.run(["cc", "-O2", "-o", program, ROOT / "benches" / "coprocess.c"]).returncode == 0

    def feed(command, count, batch):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory, bufsize=0)
        echo = io.BufferedReader(process.stdout, 1 << 16)
        started = time.perf_counter()
        for first in range(0, count, batch):
            os.write(process.stdin.fileno(), b"".join(b"item_%012d\n" % n for n in range(first, first + batch)))
            for _ in range(batch):
                echo.readline()
        seconds = time.perf_counter() - started
        process.stdin.close()
        if process.wait() != 0:
            sys.exit(f"{command} failed")
        return count / seconds, None

    own = [PM, "-f", "stream.jsonl", "add", "-"]
    contenders = {"progress-mark add -": lambda: feed(own, 3000, 1)}
    if compiled:
        contenders["C: append, fdatasync, echo"] = lambda: feed([program, "stream.txt"], 3000, 1)
    table("a coprocess fed one item at a time", interleaved(options.rounds * 2, contenders), "/s")
    contenders = {"progress-mark add -, 100 a flush": lambda: feed(own, 200_000, 100)}
    table("batches", interleaved(options.rounds, contenders), "/s")


def growth(directory, options):
    """The cost of an add on an empty journal, and on one of many items."""
    big = directory / "big.jsonl"
    with open(big, "w") as journal:
        for n in range(options.candidates):
            journal.write(f'["item_{n:012d}"]\n')
    subprocess.run([PM, "-f", big, "add", "first"], check=True)

    def adds(name):
        def contender():
            if name == "small.jsonl":
                (directory / name).unlink(missing_ok=True)
                subprocess.run([PM, "-q", "-f", name, "add", "first"], cwd=directory, check=True)
            started = time.perf_counter()
            for n in range(100):
                subprocess.run([PM, "-f", name, "add", f"new_{n}"], cwd=directory, check=True)
            return (time.perf_counter() - started) * 10, None
        return contender

    contenders = {"journal of 1": adds("small.jsonl"), f"journal of {options.candidates}": adds("big.jsonl")}
    table("an add as the journal grows", interleaved(options.rounds, contenders), "ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow", action="store_true", help="grep too: half a minute and 3 GB")
    parser.add_argument("--dir", help="where the files go")
    options = parser.parse_args()
    if not pathlib.Path(PM).exists():
        sys.exit(f"{PM} isn't there: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="bench.", dir=options.dir) as directory:
        directory = pathlib.Path(directory)
        for tuples, what in [(True, "tuples of task, round, kind"), (False, "single keys, all distinct")]:
            everything, done = make_data(directory, options.candidates, tuples)
            filters(directory, options, f"{everything} candidates, {done} done: {what}")
            if tuples:
                sorted_filter(directory, options)
            for path in directory.iterdir():
                path.unlink()
        single_adds(directory, options)
        coprocesses(directory, options)
        growth(directory, options)
    print(f"\n{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, peak of this script {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
