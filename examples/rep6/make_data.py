#!/usr/bin/env python3
"""Makes the six synthetic rotation curves in data/, always the same ones; --check verifies the committed files."""

import argparse
import pathlib
import sys
from math import cos, log, pi, sqrt
from random import Random

from curves import HEADER
from models import PHI_ETA, WS, velocity

DATA = pathlib.Path(__file__).resolve().parent / "data"
SEED = 20250927

# name: first and last radius (kpc), points, typical error (km/s), and what the curve really is:
# parts of V^2, each (share, law, V0, s).
GALAXIES = {
    "r6-a": (0.3, 7.0, 24, 2.5, [(1.0, WS, 68.0, 1.3)]),
    "r6-b": (0.8, 24.0, 22, 4.5, [(1.0, WS, 118.0, 3.4)]),
    "r6-c": (0.9, 30.0, 30, 5.0, [(1.0, WS, 192.0, 1.9)]),
    "r6-d": (0.9, 34.0, 32, 4.5, [(1.0, PHI_ETA, 345.0, 9.0)]),
    "r6-e": (0.5, 15.0, 24, 4.0, [(1.0, PHI_ETA, 205.0, 3.2)]),
    "r6-f": (0.6, 20.0, 26, 4.0, [(0.5, WS, 128.0, 1.6), (0.5, PHI_ETA, 290.0, 6.0)]),
}


def gauss(rng):
    """Box-Muller on random(): of the random module only random() is promised to stay the same."""
    return sqrt(-2 * log(1 - rng.random())) * cos(2 * pi * rng.random())


def curve(name):
    first, last, count, error, parts = GALAXIES[name]
    rng = Random(f"{SEED}/{name}")
    lines = [",".join(HEADER)]
    for i in range(count):
        # Radii crowd inwards, as beams and tilted rings do, where the two laws differ most.
        r = round(first + (last - first) * (i / (count - 1)) ** 1.3, 2)
        true = sqrt(sum(share * velocity(law, v0, s, r) ** 2 for share, law, v0, s in parts))
        sigma = round(error * (0.7 + 0.6 * rng.random()), 2)
        lines.append(f"{r:.2f},{true + sigma * gauss(rng):.2f},{sigma:.2f}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where data/ differs")
    check = parser.parse_args().check
    wrong = 0
    for name in GALAXIES:
        path, text = DATA / f"{name}.csv", curve(name)
        if not check:
            DATA.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"make_data.py: data/{name}.csv is not what the generator makes", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
