"""Rotation curves from CSV files: radius (kpc), velocity and its one-sigma error (km/s)."""

import csv
import os
from math import isfinite
from typing import NamedTuple, Tuple

HEADER = ["radius_kpc", "velocity_km_s", "error_km_s"]
GALAXIES = 6
MIN_POINTS = 5  # two parameters, and resamples that leave some points out


class DataError(Exception):
    """The data can't be used; the message names the file and the line."""


class Galaxy(NamedTuple):
    name: str
    points: Tuple[Tuple[float, float, float], ...]  # (radius, velocity, error), sorted by radius


def load(directory):
    """The six galaxies of `directory`, one CSV file each, in the order of their names."""
    try:
        files = sorted(f for f in os.listdir(directory) if f.endswith(".csv"))
    except OSError as error:
        raise DataError(f"cannot read the data directory '{directory}': {error.strerror}") from None
    if len(files) != GALAXIES:
        found = ", ".join(files) or "none"
        raise DataError(f"{GALAXIES} CSV files needed in '{directory}', found {len(files)} ({found})")
    return [read(os.path.join(directory, f)) for f in files]


def read(path):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            if next(rows, None) != HEADER:
                raise DataError(f"{path}:1: the header must be {','.join(HEADER)}")
            points = tuple(sorted(point(path, rows.line_num, row) for row in rows if row))
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from None
    if len({r for r, _, _ in points}) < MIN_POINTS:
        raise DataError(f"{path}: at least {MIN_POINTS} different radii needed")
    # A file name may hold bytes that aren't UTF-8; the report is.
    stem = os.path.splitext(os.path.basename(path))[0]
    return Galaxy(os.fsencode(stem).decode("utf-8", "replace"), points)


def point(path, line, row):
    if len(row) != len(HEADER):
        raise DataError(f"{path}:{line}: {len(HEADER)} columns needed, found {len(row)}")
    values = []
    for column, text in zip(HEADER, row):
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        # A velocity near the centre may be scattered below zero by its noise; the other two can't be.
        if not isfinite(value) or (value <= 0 and column != "velocity_km_s"):
            kind = "a number" if column == "velocity_km_s" else "a number above zero"
            raise DataError(f"{path}:{line}: {column} must be {kind}, not {text!r}")
        values.append(value)
    return tuple(values)
