#!/usr/bin/env python3
"""ckpt-rotate beside rm -rf, shutil and ls: medians of interleaved runs, and the ratios that count.

    benches/ckpt-rotate.py [RUNS] [TOOL]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
ROOT = Path(__file__).resolve().parent.parent
TOOL = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "target/release/ckpt-rotate")
HEAD = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'


def tensors(path, size):
    head = HEAD % (size, size)
    with open(path, "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head + os.urandom(min(size, 1 << 20)))
        for _ in range((size - 1) >> 20):
            f.write(os.urandom(1 << 20))


def stock(base, units=20, files=500, size=12_000):
    """Directories of small files, an hour old and older; the first two are what a rotation keeps."""
    base.mkdir()
    now = time.time()
    for n in range(1, units + 1):
        unit = base / f"checkpoint-{n}"
        unit.mkdir()
        for k in range(files):
            path = unit / f"part{k:03}.safetensors"
            head = HEAD % (size, size)
            path.write_bytes(len(head).to_bytes(8, "little") + head + bytes([n, k % 256]) * (size // 2))
            os.utime(path, (now - 3600 * (units - n + 1),) * 2)
    os.sync()


def timed(command, **options):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - start


def usage(command):
    """Wall time, the largest resident set in MB, and processor time."""
    start = time.perf_counter()
    pid = os.posix_spawnp("env", ["env", *command], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, used = os.wait4(pid, 0)
    assert status == 0, command
    return time.perf_counter() - start, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime


class Writer:
    """A save that goes on meanwhile: 8 MiB at a time, synced."""

    def __init__(self, base):
        code = "import os,sys\nf=os.open(sys.argv[1],os.O_CREAT|os.O_WRONLY)\nb=os.urandom(8<<20)\nprint(flush=True)\nwhile True:\n os.pwrite(f,b,0)\n os.fsync(f)"
        self.child = subprocess.Popen([sys.executable, "-c", code, str(base / "save")], stdout=subprocess.PIPE)
        self.child.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


def main():
    def row(name, seconds, ratio):
        print(f"{name:<52}  {seconds * 1000:10.1f} ms" + (f"  {ratio:6.3f}x" if ratio is not None else ""), flush=True)

    with tempfile.TemporaryDirectory(prefix="bgtools-bench.", dir="/var/tmp") as tmp:
        tmp = Path(tmp)
        rotate = [TOOL, "--keep", "2", "--min-age", "0"]
        ways = {
            "rm -rf": lambda base: timed(["rm", "-rf", *(str(base / f"checkpoint-{n}") for n in range(1, 19))]),
            "shutil": lambda base: timed(
                [sys.executable, "-c", "import shutil,sys\nfor p in sys.argv[1:]: shutil.rmtree(p)", *(str(base / f"checkpoint-{n}") for n in range(1, 19))]
            ),
            "ckpt-rotate": lambda base: timed([*rotate, str(base)]),
            "ckpt-rotate --defer": lambda base: timed([*rotate, "--defer", str(base)]),
        }
        for label, busy in (("beside a save", True), ("alone", False)):
            times = {name: [] for name in ways}
            for run in range(RUNS):
                names = list(ways)
                for name in names[run % 4 :] + names[: run % 4]:
                    base = tmp / "stock"
                    stock(base)
                    if busy:
                        with Writer(tmp):
                            times[name].append(ways[name](base))
                    else:
                        times[name].append(ways[name](base))
                    assert len(list(base.glob("checkpoint-*"))) == 2
                    shutil.rmtree(base)
            medians = {name: statistics.median(values) for name, values in times.items()}
            for name, median in medians.items():
                row(f"18 of 20 x 500 files, {label}: {name}", median, median / medians["rm -rf"])

        flat = tmp / "flat"
        flat.mkdir()
        for n in range(10_000):
            (flat / f"model_{n}.pt").write_bytes(b"x")
        lists = {
            "ls -1t": ["ls", "-1t", str(flat)],
            "plan": [TOOL, "--keep", "5", "--level", "off", "--dry-run", "--order", "number", "--min-age", "0", str(flat)],
        }
        # A large directory is read with several threads: what that takes together, and what is left of it without them.
        lists["plan, one processor"] = ["taskset", "-c", "0", *lists["plan"]]
        used = {name: [] for name in lists}
        for run in range(max(RUNS, 21)):
            for name in sorted(lists, reverse=run % 2 == 1):
                used[name].append(usage(lists[name]))
        for what, field in (("wall", 0), ("processor", 2)):
            medians = {name: statistics.median(times[field] for times in used[name]) for name in lists}
            for name, median in medians.items():
                row(f"10,000 entries, {what}: {name}", median, median / medians["ls -1t"])

        big = tmp / "big"
        big.mkdir()
        tensors(big / "model_1.safetensors", 2 << 30)
        with open(big / "model_1.safetensors", "rb") as f:
            while f.read(1 << 22):
                pass
        quick = [usage([TOOL, "--verify", str(big)]) for _ in range(max(RUNS, 9))]
        row("2 GiB: quick verification, warm", statistics.median(t for t, *_ in quick), None)
        save = [usage([TOOL, "--save", str(big / "model_1.safetensors"), str(big)])]
        deep = [usage([TOOL, "--verify", "--level", "deep", "--pattern", "ckpt_*", str(big)]) for _ in range(3)]
        sha = [usage(["sha256sum", str(big / "model_1.safetensors")]) for _ in range(3)]
        best, peer = (statistics.median(cpu for *_, cpu in runs) for runs in (deep, sha))
        row(f"2 GiB: manifest checked, {2 / best:.2f} GiB/s a core", best, best / peer)
        row(f"2 GiB: sha256sum, {2 / peer:.2f} GiB/s a core", peer, 1.0)
        row("2 GiB: --save, copied, digested, synced", save[0][0], None)
        row(f"largest resident set: {max(m for _, m, _ in quick + save + deep):.1f} MB", 0, None)


if __name__ == "__main__":
    main()
