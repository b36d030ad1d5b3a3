#!/usr/bin/env python3
"""Launch, memory and status, measured against what is installed of setsid nohup, nq and task-spooler.

Every figure comes from one run on one machine: the candidates take turns in an order that is drawn anew each round, each
begins when nothing of the one before runs any more, the medians are compared, and the ratios are what counts. Run it on a
quiet machine: benches/launch.py [--rounds N] [--bin target/release]
"""

import argparse
import glob
import json
import os
import random
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def spawn(argv, env):
    devnull = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, devnull, fd) for fd in (0, 1, 2)]
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    os.close(devnull)
    return pid


class Candidate:
    """One way to start a command in the background."""

    def __init__(self, name, words, env, ready=lambda: None):
        self.name, self.words, self.env, self.ready = name, words, env, ready
        self.returned, self.running = [], []

    def once(self, fifo):
        fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        argv = self.words(f"echo > {fifo}")
        began = time.perf_counter()
        pid = spawn(argv, self.env)
        os.waitpid(pid, 0)
        returned = time.perf_counter()
        self.wait_for_word(fd)
        running = time.perf_counter()
        os.close(fd)
        self.returned.append(returned - began)
        self.running.append(max(running, returned) - began)
        self.ready()

    def wait_for_word(self, fd):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        until = time.perf_counter() + 10
        while time.perf_counter() < until:
            poll.poll(1000)
            try:
                if os.read(fd, 1):
                    return
            except BlockingIOError:
                pass
        sys.exit(f"{self.name}: the command never ran")


def shell(command):
    return ["/bin/sh", "-c", f"setsid nohup /bin/sh -c '{command}' >/dev/null 2>&1 &"]


def candidates(base, bin_dir):
    env = dict(os.environ, HOME=base)
    found = [Candidate("setsid nohup sh -c … &", shell, env)]
    bgrun = os.path.join(bin_dir, "bgrun")
    jobs = dict(env, BGTOOLS_DIR=os.path.join(base, "jobs"))
    found.append(Candidate("bgrun", lambda c: [bgrun, "-n", "b", "--", "/bin/sh", "-c", c], jobs))
    if nq := shutil.which("nq"):
        queue = os.path.join(base, "nq")
        os.makedirs(queue, exist_ok=True)
        # nq runs a queue one by one; -w would wait. An empty queue is the fair case: wait for the last job each time.
        found.append(Candidate("nq", lambda c: [nq, "/bin/sh", "-c", c], dict(env, NQDIR=queue),
                               lambda: subprocess.run([nq, "-w"], env=dict(env, NQDIR=queue), check=False)))
    if tsp := shutil.which("tsp"):
        socket = os.path.join(base, "tsp.socket")
        spool = dict(env, TS_SOCKET=socket, TMPDIR=base)
        subprocess.run([tsp, "true"], env=spool, check=True, stdout=subprocess.DEVNULL)
        found.append(Candidate("task-spooler", lambda c: [tsp, "/bin/sh", "-c", c], spool,
                               lambda: subprocess.run([tsp, "-w"], env=spool, check=False, stdout=subprocess.DEVNULL)))
    return found


def started_from(base):
    """What lives of all that was started with this home."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if f"HOME={base}\0".encode() in environ.read():
                    found.add(pid)
        except OSError:
            pass
    return found


def rest(base, residents):
    """A supervisor that is about to execute itself shows no home, and has its lock."""
    while glob.glob(os.path.join(base, "jobs", "*.lock")) or started_from(base) - residents:
        time.sleep(0.001)


def launch_table(place, base, bin_dir, rounds):
    fifo = os.path.join(base, "fifo")
    os.mkfifo(fifo)
    runners = candidates(base, bin_dir)
    residents = started_from(base)
    for _ in range(rounds):
        for runner in random.sample(runners, len(runners)):
            runner.once(fifo)
            rest(base, residents)
    reference = runners[0]
    print(f"\nlaunch, {place}, median of {rounds} (ratio to setsid nohup)")
    for runner in runners:
        returned, running = statistics.median(runner.returned), statistics.median(runner.running)
        r1, r2 = returned / statistics.median(reference.returned), running / statistics.median(reference.running)
        print(f"  {runner.name:24} returns {returned * 1e3:6.2f} ms ({r1:4.2f})   command runs {running * 1e3:6.2f} ms ({r2:4.2f})")
    if tsp := shutil.which("tsp"):
        subprocess.run([tsp, "-K"], env=dict(os.environ, TS_SOCKET=os.path.join(base, "tsp.socket")), check=False)


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def memory_table(base, bin_dir):
    env = dict(os.environ, BGTOOLS_DIR=os.path.join(base, "memory"))
    bgrun, bgcancel = os.path.join(bin_dir, "bgrun"), os.path.join(bin_dir, "bgcancel")
    ours = []
    for _ in range(10):
        said = subprocess.run([bgrun, "--json", "-n", "m", "sleep", "600"], env=env, check=True, capture_output=True)
        ours.append(json.loads(said.stdout)["supervisor"]["pid"])
    time.sleep(0.3)
    print("\nproportional memory (PSS) of a supervisor, ten running jobs")
    print(f"  bgrun {sum(map(pss, ours)) / 10:8.1f} kB")
    orphans_table(base, bin_dir, env)
    subprocess.run([bgcancel, "-q", "--all"], env=env, check=True)
    if nq := shutil.which("nq"):
        theirs = []
        for i in range(10):
            queue = os.path.join(base, f"nq{i}")
            os.makedirs(queue)
            subprocess.run([nq, "sleep", "600"], env=dict(os.environ, NQDIR=queue), check=True, stdout=subprocess.DEVNULL)
            theirs.append(queue)
        time.sleep(0.3)
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and is_nq_of(p, base)]
        print(f"  nq    {sum(map(pss, pids)) / max(len(pids), 1):8.1f} kB ({len(pids)} found)")
        for pid in pids:
            for child in children(pid):
                os.kill(child, 15)


def orphans_table(base, bin_dir, env):
    """A supervisor reaps what its job's processes leave behind: its memory must not grow with their number."""
    gate, done = os.path.join(base, "orphans-gate"), os.path.join(base, "orphans-done")
    os.mkfifo(gate)
    os.mkfifo(done)
    script = f"read _ < {gate}; i=0; while [ $i -lt 5000 ]; do (/bin/true &); i=$((i+1)); done; echo > {done}; read _ < {gate}"
    said = subprocess.run([os.path.join(bin_dir, "bgrun"), "--json", "-n", "orphans", "--", "/bin/sh", "-c", script],
                          env=env, check=True, capture_output=True)
    supervisor = json.loads(said.stdout)["supervisor"]["pid"]
    # Settled: a moment after its launch a supervisor executes itself.
    time.sleep(0.3)
    before = pss(supervisor)
    with open(gate, "w", encoding="ascii") as word:
        word.write("\n")
    with open(done, encoding="ascii") as word:
        word.read()
    at_once = pss(supervisor)
    time.sleep(2)
    print(f"  bgrun before and after 5,000 orphans: {before} kB, {at_once} kB, two seconds later {pss(supervisor)} kB")
    runs_table(bin_dir, env)


def runs_table(bin_dir, env):
    """A supervisor of many runs: a day's worth at one in three minutes is 480."""
    script = "case $BG_JOB_RUN in 2|481) sleep 3;; esac"
    words = ["-n", "runs", "--restart", "always", "--backoff", "0s", "--max-runs", "482", "--json", "--", "/bin/sh", "-c", script]
    said = subprocess.run([os.path.join(bin_dir, "bgrun"), *words], env=env, check=True, capture_output=True)
    record = json.loads(said.stdout)
    file = os.path.join(env["BGTOOLS_DIR"], record["id"] + ".json")
    seen = []
    for run in (2, 481):
        while True:
            with open(file, "rb") as now:
                if json.load(now)["run"] == run:
                    break
            time.sleep(0.01)
        time.sleep(1)
        seen.append(pss(record["supervisor"]["pid"]))
    print(f"  bgrun in the 2nd and in the 481st run: {seen[0]} kB, {seen[1]} kB")


def is_nq_of(pid, base):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as comm, open(f"/proc/{pid}/environ", "rb") as environ:
            return comm.read().strip() == "nq" and base.encode() in environ.read()
    except OSError:
        return False


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(child) for child in listed.read().split()]


def timed(argv, env, rounds):
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        os.waitpid(spawn(argv, env), 0)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def status_table(base, bin_dir, rounds):
    jobs = os.path.join(base, "many")
    env = dict(os.environ, BGTOOLS_DIR=jobs)
    bgrun, bgstatus = os.path.join(bin_dir, "bgrun"), os.path.join(bin_dir, "bgstatus")
    said = subprocess.run([bgrun, "-w", "-n", "model", "--", "/bin/sh", "-c", "exit 3"], env=env, capture_output=True, text=True, check=False)
    model = said.stdout.strip()
    with open(os.path.join(jobs, f"{model}.json"), encoding="utf-8") as record:
        text = record.read()
    for i in range(10_000):
        name = f"old_2025{i // 1000 + 1:02}01_{i // 3600 % 24:02}{i // 60 % 60:02}{i % 60:02}_{i + 2}"
        with open(os.path.join(jobs, f"{name}.json"), "w", encoding="utf-8") as record:
            record.write(text.replace(model, name))
    for i in range(3):
        subprocess.run([bgrun, "-q", "-n", f"live{i}", "sleep", "600"], env=env, check=True)
    listing, short, every = [], [], []
    for _ in range(rounds):
        listing.append(timed(["/bin/ls", jobs], env, 1))
        short.append(timed([bgstatus], env, 1))
        every.append(timed([bgstatus, "-a", "--json"], env, 1))
    ls, table, whole = map(statistics.median, (listing, short, every))
    print(f"\nstatus, 10,000 ended jobs and 3 live ones, median of {rounds}")
    print(f"  ls                 {ls * 1e3:7.2f} ms")
    print(f"  bgstatus           {table * 1e3:7.2f} ms (ratio to ls {table / ls:.2f})")
    print(f"  bgstatus -a --json {whole * 1e3:7.2f} ms")
    subprocess.run([os.path.join(bin_dir, "bgcancel"), "-q", "--all"], env=env, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--bin", default=os.environ.get("BGTOOLS_BIN", "target/release"))
    args = parser.parse_args()
    bin_dir = os.path.abspath(args.bin)
    for place, parent in (("on tmpfs", "/dev/shm"), ("on disk", os.getcwd())):
        with tempfile.TemporaryDirectory(prefix="bgtools-bench.", dir=parent) as base:
            launch_table(place, base, bin_dir, args.rounds)
            if place == "on tmpfs":
                memory_table(base, bin_dir)
                status_table(base, bin_dir, max(args.rounds // 5, 5))


if __name__ == "__main__":
    main()
