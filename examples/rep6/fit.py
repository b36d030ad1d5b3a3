"""Weighted least squares for two parameters: Levenberg-Marquardt inside a box.

The parameters are (ln V0, ln s): both scales are positive, and a relative step is the natural one.
"""

from math import exp, log
from typing import NamedTuple, Tuple

from models import Model

MAX_EVALUATIONS = 200
TOLERANCE = 1e-9  # relative fall of chi2, and step in ln V0 and ln s, below which the fit has arrived


class Fit(NamedTuple):
    chi2: float
    v0: float  # km/s
    s: float  # kpc
    at_bound: bool  # the data prefer a value outside the box


def normal_equations(model: Model, points, p):
    """chi2 at p, its half gradient (downhill) and the Gauss-Newton matrix, as (chi2, (b0, b1), (a00, a01, a11)).

    `points` holds (radius, velocity, weight); a weight is 1/error^2 times how often the point was drawn.
    """
    v0, s = exp(p[0]), exp(p[1])
    shape = model.shape
    chi2 = b0 = b1 = a00 = a01 = a11 = 0.0
    for r, observed, weight in points:
        f, slope = shape(r / s)
        v = v0 * f
        d1 = -v * slope  # dV/d ln s; dV/d ln V0 is V itself
        residual = observed - v
        wv = weight * v
        chi2 += weight * residual * residual
        b0 += wv * residual
        b1 += weight * d1 * residual
        a00 += wv * v
        a01 += wv * d1
        a11 += weight * d1 * d1
    return chi2, (b0, b1), (a00, a01, a11)


def minimise(equations, start: Tuple[float, float], lower, upper):
    """Levenberg-Marquardt from `start`; `equations(p)` as normal_equations. Returns (p, chi2).

    A parameter that sits on a bound and would leave the box is left out of the step, so that the other one still
    gets its full Gauss-Newton step.
    """
    p = tuple(min(max(x, lo), hi) for x, lo, hi in zip(start, lower, upper))
    chi2, b, a = equations(p)
    damping = 1e-3
    for _ in range(MAX_EVALUATIONS):
        held = [x <= lo and g < 0 or x >= hi and g > 0 for x, g, lo, hi in zip(p, b, lower, upper)]
        step = damped_step(a, b, damping, held)
        trial = tuple(min(max(x + d, lo), hi) for x, d, lo, hi in zip(p, step, lower, upper))
        moved = max(abs(trial[0] - p[0]), abs(trial[1] - p[1]))
        if moved == 0:
            return p, chi2
        trial_chi2, trial_b, trial_a = equations(trial)
        if trial_chi2 <= chi2:
            arrived = moved < TOLERANCE or (chi2 - trial_chi2 <= TOLERANCE * chi2 and damping < 1)
            p, chi2, b, a = trial, trial_chi2, trial_b, trial_a
            if arrived:
                return p, chi2
            damping = max(damping / 10, 1e-12)
        else:
            if moved < TOLERANCE:  # rounding is all that is left
                return p, chi2
            damping *= 10
    return p, chi2


def damped_step(a, b, damping, held):
    """Solves (A + damping diag A) step = b over the parameters that aren't held."""
    a00, a01, a11 = a
    a00, a11 = a00 * (1 + damping), a11 * (1 + damping)
    if held[0] or held[1]:
        return (0.0 if held[0] or a00 == 0 else b[0] / a00, 0.0 if held[1] or a11 == 0 else b[1] / a11)
    determinant = a00 * a11 - a01 * a01
    if determinant <= 0:  # flat to rounding: steepest descent, scaled by the diagonal
        return (b[0] / a00 if a00 else 0.0, b[1] / a11 if a11 else 0.0)
    return ((a11 * b[0] - a01 * b[1]) / determinant, (a00 * b[1] - a01 * b[0]) / determinant)


def box(points):
    """Bounds of (ln V0, ln s) for points sorted by radius.

    A length far outside the measured radii can't be told from its neighbours.
    """
    fastest = max(abs(v) for _, v, _ in points) or 1.0
    return (
        (log(fastest / 100), log(points[0][0] / 20)),
        (log(fastest * 100), log(points[-1][0] * 20)),
    )


def fit(model, points, starts, bounds):
    """The best fit of `model` over several starts (ln V0, ln s)."""
    lower, upper = bounds
    tried = (minimise(lambda p: normal_equations(model, points, p), start, lower, upper) for start in starts)
    p, chi2 = min(tried, key=lambda result: result[1])
    return Fit(chi2, exp(p[0]), exp(p[1]), any(x in (lo, hi) for x, lo, hi in zip(p, lower, upper)))


def fit_galaxy(model, galaxy):
    """The fit to the data as they are, from three lengths across the measured radii."""
    points = [(r, v, 1 / (e * e)) for r, v, e in galaxy.points]
    fastest = log(max(abs(v) for _, v, _ in points) or 1.0)
    first, last = log(points[0][0]), log(points[-1][0])
    starts = [(fastest, first + (last - first) * part) for part in (0.1, 0.5, 0.9)]
    return fit(model, points, starts, box(points))
