"""What the resamples of one galaxy gave, in columns: hundreds of thousands of fits stay small in memory."""

from array import array
from math import floor, isnan

from models import MODELS


class Tally:
    """`chi2[m]`, `v0[m]`, `s[m]` for model position m, by resample index; NaN where a resample isn't done."""

    def __init__(self, planned):
        def column():
            return array("d", [float("nan")]) * planned

        self.planned = planned
        self.done = 0
        self.chi2, self.v0, self.s = ([column() for _ in MODELS] for _ in range(3))
        self.at_bound = [0 for _ in MODELS]

    def add(self, first, resamples):
        for index, resample in enumerate(resamples, first):
            for m, fit in enumerate(resample.fits):
                self.chi2[m][index], self.v0[m][index], self.s[m][index] = fit.chi2, fit.v0, fit.s
                self.at_bound[m] += fit.at_bound
        self.done += len(resamples)

    def differences(self):
        """chi2 of the first model less that of the second, by index, NaN where not done."""
        return [a - b for a, b in zip(*self.chi2)]


def finite(column):
    """The values that are there. They come in index order, so sums over them don't depend on who was first."""
    return [value for value in column if not isnan(value)]


def quantile(ordered, part):
    """Linear between the two nearest order statistics."""
    at = (len(ordered) - 1) * part
    low = floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
