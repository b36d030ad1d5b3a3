#!/usr/bin/env python3
"""The five steps of the pipeline, each a command: files in, one file out, written whole or not at all.

    steps.py fetch SOURCE OUT                  a week's hires, checked line by line
    steps.py features WEEK OUT                 what a model learns from
    steps.py train linear|neighbours OUT FEATURES...
    steps.py evaluate MODEL FEATURES OUT       how far off it is on a week that it hasn't seen
    steps.py report OUT SCORES...

Exit 1 with one line where the data are no good. Python 3.8 or later, standard library only.
"""

import csv
import json
import os
import pathlib
import sys
from math import cos, pi, sin, sqrt

HEADER = ["day", "hour", "celsius", "hires"]


class BadData(Exception):
    pass


def write(path, text):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def read_week(path):
    with open(path, encoding="ascii", errors="replace", newline="") as file:
        rows = list(csv.reader(file))
    if not rows or rows[0] != HEADER:
        raise BadData(f"{path}: the first line isn't {','.join(HEADER)}")
    hours = []
    for number, row in enumerate(rows[1:], 2):
        try:
            day, hour, celsius, hires = int(row[0]), int(row[1]), float(row[2]), int(row[3])
        except (ValueError, IndexError):
            raise BadData(f"{path}:{number}: no hour of a week") from None
        if len(row) != 4 or (day, hour) != divmod(number - 2, 24) or not -60 < celsius < 60 or hires < 0:
            raise BadData(f"{path}:{number}: not the hour that belongs here, or out of range")
        hours.append((day, hour, celsius, hires))
    if len(hours) != 7 * 24:
        raise BadData(f"{path}: {len(hours)} hours, a week has {7 * 24}")
    return hours


def fetch(source, out):
    read_week(source)
    write(out, pathlib.Path(source).read_text(encoding="ascii"))


def features(week, out):
    """Waves of a day, apart for weekdays and weekends, and the warmth; the last number of a line is the hires."""
    rows = []
    for day, hour, celsius, hires in read_week(week):
        waves = [f(2 * pi * n * hour / 24) for n in (1, 2, 3) for f in (sin, cos)]
        rest = [0.0] * len(waves)
        weekend = day >= 5
        rows.append([1.0, float(weekend), celsius / 10] + (rest + waves if weekend else waves + rest) + [hires])
    write(out, json.dumps(rows))


def solve(matrix, right):
    """Gaussian elimination with the largest pivot."""
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    size = len(rows)
    for at in range(size):
        best = max(range(at, size), key=lambda n: abs(rows[n][at]))
        rows[at], rows[best] = rows[best], rows[at]
        for below in range(at + 1, size):
            share = rows[below][at] / rows[at][at]
            rows[below] = [b - share * a for a, b in zip(rows[at], rows[below])]
    answer = [0.0] * size
    for at in reversed(range(size)):
        known = sum(a * x for a, x in zip(rows[at][at + 1 : size], answer[at + 1 :]))
        answer[at] = (rows[at][size] - known) / rows[at][at]
    return answer


def linear(rows):
    """Least squares, with a little ridge so that it always has an answer."""
    inputs, hires = [row[:-1] for row in rows], [row[-1] for row in rows]
    columns = list(zip(*inputs))
    normal = [[sum(a * b for a, b in zip(one, other)) + 1e-6 * (one is other) for other in columns] for one in columns]
    return {"weights": solve(normal, [sum(a * y for a, y in zip(column, hires)) for column in columns])}


def nearest(rows, at, count, leave=None):
    ranked = sorted((sum((a - b) ** 2 for a, b in zip(row, at)), n) for n, row in enumerate(rows) if n != leave)
    return [rows[n][-1] for _, n in ranked[:count]]


def neighbours(rows):
    """How many neighbours to ask is learnt: each hour is guessed from all the others."""
    most = 15
    errors = [0.0] * most
    for n, row in enumerate(rows):
        around = nearest(rows, row[:-1], most, leave=n)
        for count in range(1, most + 1):
            errors[count - 1] += (sum(around[:count]) / count - row[-1]) ** 2
    return {"count": errors.index(min(errors)) + 1, "rows": rows}


def guess(model, at):
    if model["kind"] == "linear":
        return sum(weight * value for weight, value in zip(model["weights"], at))
    return sum(nearest(model["rows"], at, model["count"])) / model["count"]


def load(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def train(kind, out, *weeks):
    rows = [row for week in weeks for row in load(week)]
    learnt = {"linear": linear, "neighbours": neighbours}[kind](rows)
    write(out, json.dumps({"kind": kind, "hours": len(rows), **learnt}))


def evaluate(model, week, out):
    model, rows = load(model), load(week)
    off = [guess(model, row[:-1]) - row[-1] for row in rows]
    rmse = sqrt(sum(e * e for e in off) / len(off))
    score = {"model": model["kind"], "learnt from": model["hours"], "hours": len(off), "rmse": round(rmse, 2)}
    write(out, json.dumps({**score, "bias": round(sum(off) / len(off), 2)}))


def report(out, *scores):
    scores = sorted((load(score) for score in scores), key=lambda score: score["rmse"])
    lines = ["# Hires an hour, guessed for a week that no model has seen", "", "| model | off by (RMSE) | bias |", "| --- | --- | --- |"]
    lines += [f"| {score['model']} | {score['rmse']:.2f} | {score['bias']:+.2f} |" for score in scores]
    best = scores[0]
    lines += ["", f"Best: {best['model']}, learnt from {best['learnt from']} hours, tried on {best['hours']}."]
    write(out, "\n".join(lines) + "\n")


STEPS = {"fetch": fetch, "features": features, "train": train, "evaluate": evaluate, "report": report}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in STEPS:
        sys.stderr.write(__doc__)
        sys.exit(2)
    try:
        STEPS[sys.argv[1]](*sys.argv[2:])
    except (BadData, OSError) as error:
        sys.exit(f"steps.py: {error}")


if __name__ == "__main__":
    main()
