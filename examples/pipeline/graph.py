#!/usr/bin/env python3
"""Prints the pipeline as a picture: every file that make knows a rule for, and what it is made of, as make itself says."""

import re
import subprocess
import sys
from html import escape

WIDE, HIGH, ACROSS, DOWN, EDGE = 148, 26, 56, 14, 12


def rules():
    """Target: its prerequisites, from make's own database; what stands behind | is no input."""
    make = ["make", "--no-print-directory", "-rpn", "all", "OUT=out", "SOURCE=data", "BGTOOLS_NEED="]
    said = subprocess.run(make, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, check=True).stdout
    found = {}
    for target, needs in re.findall(r"^(out/[^:\n]*): ([^|=\n]*)", said, re.MULTILINE):
        found[target] = sorted(needs.split())
    if not found:
        sys.exit("graph.py: make knows no rule")
    return found


def columns(found):
    """Each file stands right of all that it is made of."""
    depth = {}

    def of(file):
        if file not in depth:
            depth[file] = 1 + max(map(of, found[file])) if file in found else 0
        return depth[file]

    for file in found:
        of(file)
    return [sorted(file for file in depth if depth[file] == n) for n in range(max(depth.values()) + 1)]


def picture(found):
    stands = columns(found)
    tallest = max(map(len, stands))
    height = 2 * EDGE + tallest * HIGH + (tallest - 1) * DOWN
    width = 2 * EDGE + len(stands) * WIDE + (len(stands) - 1) * ACROSS
    place = {}
    for at, files in enumerate(stands):
        above = (height - len(files) * HIGH - (len(files) - 1) * DOWN) // 2
        for n, file in enumerate(files):
            place[file] = EDGE + at * (WIDE + ACROSS), above + n * (HIGH + DOWN)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="11">'
    yield "<title>What each file of the pipeline is made of</title>"
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    for file in sorted(found):
        for need in found[file]:
            (x, y), (left, middle) = place[file], place[need]
            left, middle, y = left + WIDE, middle + HIGH // 2, y + HIGH // 2
            bend = (x - left) // 2
            yield f'<path d="M{left} {middle}C{left + bend} {middle} {x - bend} {y} {x} {y}" fill="none" stroke="#8a8f98"/>'
    for file, (x, y) in sorted(place.items()):
        fill = "#e8f0fb" if file in found else "#f2f2ee"
        yield f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="4" fill="{fill}" stroke="#4a5568"/>'
        yield f'<text x="{x + WIDE // 2}" y="{y + HIGH // 2 + 4}" text-anchor="middle">{escape(file)}</text>'
    yield "</svg>"


if __name__ == "__main__":
    print("\n".join(picture(rules())))
