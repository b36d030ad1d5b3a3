"""The comparison in numbers: chi2 and winner a galaxy, confidence and parameters from the bootstrap, the verdict."""

import json
import os
import tempfile
from contextlib import suppress
from math import fsum

from models import MODELS
from tally import finite, quantile

VERSION = 1
DECIDED = 0.95  # confidence from which a winner is more than the better of two


class ReportError(Exception):
    """The report can't be written; the message names the file."""


def build(galaxies, best, tallies, *, mode, seed, stopped_by):
    """The report, ready for JSON. It holds no times, paths or process counts: the same seed, the same bytes."""
    return {
        "version": VERSION,
        "complete": all(t.done == t.planned for t in tallies),
        "stopped_by": stopped_by,
        "mode": mode,
        "seed": seed,
        "models": {
            m.name: {"formula": m.formula, "parameters": {m.velocity: "km/s", m.length: "kpc"}} for m in MODELS
        },
        "galaxies": [one(g, b, t) for g, b, t in zip(galaxies, best, tallies)],
        "overall": overall(galaxies, best, tallies),
    }


def one(galaxy, best, tally):
    dof = len(galaxy.points) - 2
    models = {}
    for m, (model, fit) in enumerate(zip(MODELS, best)):
        models[model.name] = {
            **chi2_of(fit.chi2, dof),
            "parameters": {
                model.velocity: parameter(fit.v0, finite(tally.v0[m])),
                model.length: parameter(fit.s, finite(tally.s[m])),
            },
            "at_bound": tally.at_bound[m],
        }
    return {
        "name": galaxy.name,
        "points": len(galaxy.points),
        "resamples": {"done": tally.done, "planned": tally.planned},
        "models": models,
        **verdict([fit.chi2 for fit in best], finite(tally.differences())),
    }


def overall(galaxies, best, tallies):
    """Both laws over all galaxies: chi2 summed, for the data and for each resample index done in every galaxy."""
    dof = sum(len(g.points) - 2 for g in galaxies)
    sums = [fsum(fits[m].chi2 for fits in best) for m in range(len(MODELS))]
    # NaN, a resample not done, carries through the sum and is dropped after it.
    differences = finite([sum(column) for column in zip(*(t.differences() for t in tallies))])
    won = [sum(min(fits, key=lambda f: f.chi2) is fits[m] for fits in best) for m in range(len(MODELS))]
    return {
        "points": sum(len(g.points) for g in galaxies),
        "resamples": {"done": len(differences), "planned": min(t.planned for t in tallies)},
        "models": {
            model.name: {**chi2_of(chi2, dof), "galaxies_won": count}
            for model, chi2, count in zip(MODELS, sums, won)
        },
        **verdict(sums, differences),
    }


def chi2_of(chi2, dof):
    return {"chi2": rounded(chi2), "dof": dof, "reduced_chi2": rounded(chi2 / dof)}


def parameter(best, values):
    """Best fit, and mean and 95 % interval over the resamples."""
    mean = low = high = None
    if values:
        ordered = sorted(values)
        mean = rounded(fsum(values) / len(values))
        low, high = rounded(quantile(ordered, 0.025)), rounded(quantile(ordered, 0.975))
    return {"best": rounded(best), "mean": mean, "low95": low, "high95": high}


def verdict(chi2, differences):
    """The law with the smaller chi2; its confidence is the fraction of resamples in which it wins as well."""
    winner = MODELS[0 if chi2[0] <= chi2[1] else 1].name
    fractions = dict.fromkeys((m.name for m in MODELS))
    if differences:
        fractions[MODELS[0].name] = rounded(sum(d < 0 for d in differences) / len(differences))
        fractions[MODELS[1].name] = rounded(sum(d > 0 for d in differences) / len(differences))
    confidence = fractions[winner]
    return {
        "winner": winner,
        "confidence": confidence,
        "decided": confidence is not None and confidence >= DECIDED,
        "win_fractions": fractions,
    }


def rounded(value):
    """Six significant digits: below that, two versions of libm or of the interpreter may differ."""
    return float(f"{value:.6g}")


def sentence(report):
    """The overall verdict in words."""
    total = report["overall"]
    winner = total["winner"]
    loser = next(name for name in total["models"] if name != winner)
    first, second = total["models"][winner], total["models"][loser]
    text = (
        f"{winner} has the smaller χ² over the {len(report['galaxies'])} galaxies together "
        f"({first['chi2']:.1f} against {second['chi2']:.1f}) and wins {first['galaxies_won']} of them"
    )
    if total["confidence"] is None:
        return f"{text}; no resample was done for all of them, so nothing is decided."
    text += f"; it wins in {percent(total['confidence'])} of {total['resamples']['done']} resamples"
    return text + (": decided." if total["decided"] else f", below {percent(DECIDED)}: undecided.")


def percent(fraction):
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def as_json(report):
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def write(directory, name, text):
    """Replaces DIR/NAME whole: a reader, or a death in the middle, sees the old file or the new one."""
    path = os.path.join(directory, name)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise ReportError(f"cannot write '{path}': {error.strerror}") from None


def make_writable(directory):
    """Minutes of fitting shouldn't end at a directory that could have been refused before them."""
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ReportError(f"cannot write into '{directory}': {error.strerror}") from None
