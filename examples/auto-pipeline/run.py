"""One run of the pipeline: goes on from the newest good checkpoint, trains, keeps the result, rotates.

    python3 run.py DIR [--steps 300] [--keep 5] [--until STEP]

DIR/ckpts/ckpt_YYYYmmdd_HHMMSS_iterN            the rolling stock, kept by ckpt-rotate
DIR/iteration_000N_YYYYmmdd_HHMMSS/             what run N printed of itself: state.safetensors, report.json
DIR/curve.tsv                                   step and loss after each run

With --until it ends with 75, "again, please", until that step is reached: bgrun --restart does the rest.
SIGTERM and SIGINT end a run after the step at hand; what it has learnt is kept. A SIGKILL loses this run and nothing else.
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys

# Installed, the folder is the package's: nothing is written beside the scripts.
sys.dont_write_bytecode = True
import model  # noqa: E402

CKPT_ROTATE = os.environ.get("CKPT_ROTATE", "ckpt-rotate")
PROGRESS_MARK = os.environ.get("PROGRESS_MARK", "progress-mark")


def newest(stock):
    """The newest good checkpoint; none where there never was one. A stock of broken ones is no reason to start anew."""
    if all(name.name.startswith(".") for name in stock.iterdir()):
        return None
    latest = subprocess.run([CKPT_ROTATE, "--latest", stock], stdout=subprocess.PIPE, text=True, check=False)
    if latest.returncode != 0:
        sys.exit(f"run.py: no good checkpoint in '{stock}', and it isn't empty: see ckpt-rotate --verify")
    return pathlib.Path(latest.stdout.rstrip("\n"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--until", type=int)
    parser.add_argument("--keep", default="5")
    parser.add_argument("--min-age", default="2m", help="ckpt-rotate leaves younger ones alone")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))

    stock = options.dir / "ckpts"
    stock.mkdir(parents=True, exist_ok=True)
    found = newest(stock)
    state = model.load(found / "state.safetensors") if found else model.fresh(options.seed)
    state["iteration"] += 1
    first = state["step"]
    print(f"run {state['iteration']}: from step {first}, {found.name if found else 'a fresh start'}", flush=True)

    for done in range(options.steps):
        if stopped or state["step"] == options.until:
            break
        model.step(state)
        if done % 50 == 0 and "BG_JOB_ID" in os.environ:
            subprocess.run([PROGRESS_MARK, "set", "--done", str(done), "--total", str(options.steps)], check=False)

    loss = model.loss(state)
    stamp = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
    out = options.dir / f"iteration_{state['iteration']:04}_{stamp}"
    out.mkdir()
    model.save(state, out / "state.safetensors")
    report = {"iteration": state["iteration"], "from": found and found.name, "step": state["step"], "loss": loss}
    (out / "report.json").write_text(json.dumps(report) + "\n")
    # Durable and checked before any older one goes.
    save = ["--keep", options.keep, "--min-age", options.min_age, "--save", out / "state.safetensors"]
    tag = f"iter{state['iteration']}"
    saved = subprocess.run([CKPT_ROTATE, *save, "--tag", tag, stock], stdout=subprocess.PIPE, text=True, check=True)
    with open(options.dir / "curve.tsv", "a", encoding="utf-8") as curve:
        curve.write(f"{state['step']}\t{loss:.6f}\n")
    print(f"run {state['iteration']}: step {state['step']}, loss {loss:.4f}, {saved.stdout.strip()}", flush=True)
    if stopped:
        sys.exit(128 + stopped[0])
    if options.until and state["step"] < options.until:
        sys.exit(75)


if __name__ == "__main__":
    main()
