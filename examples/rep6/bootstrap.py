"""Bootstrap over worker processes: which law fits better when the measured points are drawn again?

A resample draws as many points as the curve has, with replacement, and fits both laws to them. Its random numbers
come from (seed, galaxy, resample index) alone, so who computes it and when makes no difference.
"""

import multiprocessing
import signal
from itertools import islice
from math import log
from multiprocessing import connection
from random import Random
from typing import NamedTuple, Tuple

from curves import MIN_POINTS
from fit import Fit, box, fit
from models import MODELS
from stop import held

BATCH = 50  # resamples; some hundredths of a second, so that stopping and progress are prompt


class WorkerLost(Exception):
    """A worker couldn't start or ended before its work did; the message says how."""


class Resample(NamedTuple):
    """The fits of both laws, in the order of MODELS, to one resample."""

    fits: Tuple[Fit, Fit]

    @property
    def chi2_difference(self):
        """chi2 of the first law less that of the second: below zero the first wins."""
        return self.fits[0].chi2 - self.fits[1].chi2


def draw(galaxy, seed, index):
    """How often each point of the curve is in resample `index`."""
    rng = Random(f"{seed}/{galaxy.name}/{index}")
    n = len(galaxy.points)
    while True:
        counts = [0] * n
        for _ in range(n):
            # Of the random module only random() is promised to give the same numbers in every version.
            counts[int(rng.random() * n)] += 1
        # Fewer different radii than this determine two parameters badly or not at all: draw again.
        if len({galaxy.points[i][0] for i in range(n) if counts[i]}) >= MIN_POINTS - 1:
            return counts


def resample(galaxy, best, seed, index):
    """Draws and fits resample `index`. `best` are the fits to all points, one start among three."""
    counts = draw(galaxy, seed, index)
    points = [(r, v, count / (e * e)) for (r, v, e), count in zip(galaxy.points, counts) if count]
    bounds = box(galaxy.points)
    first, last = log(galaxy.points[0][0]), log(galaxy.points[-1][0])  # sorted by radius
    fits = []
    for model, whole in zip(MODELS, best):
        v0 = log(whole.v0)
        # A resample may have its minimum elsewhere than the whole curve has.
        starts = [(v0, log(whole.s)), (v0, first + (last - first) * 0.2), (v0, first + (last - first) * 0.8)]
        fits.append(fit(model, points, starts, bounds))
    return Resample(tuple(fits))


def tasks(galaxies, resamples):
    """(galaxy position, first index, count), round by round over the galaxies, so that all get on alike."""
    for first in range(0, resamples, BATCH):
        for position in range(galaxies):
            yield position, first, min(BATCH, resamples - first)


def batches(galaxies, best, seed, resamples, processes, stop_fd=None):
    """Yields (galaxy position, first index, [Resample, ...]) as workers finish them, in no fixed order.

    Ends early once `stop_fd` is readable. However it ends, no worker is left.
    """
    todo = tasks(len(galaxies), resamples)
    context = multiprocessing.get_context("fork")
    workers = {}  # our end of the pipe -> the process
    try:
        # Stopping is the parent's business, even when the whole group is signalled: it kills the workers.
        with held():
            for task in list(islice(todo, processes)):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=work, args=(theirs, [*workers, ours], galaxies, best, seed), daemon=True
                )
                try:
                    process.start()
                except OSError as error:
                    raise WorkerLost(f"cannot start a worker process: {error.strerror}") from None
                theirs.close()
                workers[ours] = process
                send(ours, process, task)
        while workers:
            ready = connection.wait([*workers, *([] if stop_fd is None else [stop_fd])])
            if stop_fd in ready:
                return
            for ours in ready:
                done = receive(ours, workers[ours])
                task = next(todo, None)
                if task is None:
                    ours.close()
                    workers.pop(ours).join()
                else:
                    send(ours, workers[ours], task)
                yield done
    finally:
        for process in workers.values():
            process.kill()
        for process in workers.values():
            process.join()


def send(ours, process, task):
    try:
        ours.send(task)
    except OSError:
        raise lost(process) from None


def receive(ours, process):
    try:
        return ours.recv()
    except (EOFError, OSError):
        raise lost(process) from None


def lost(process):
    process.join()
    code = process.exitcode
    how = f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    return WorkerLost(f"worker process {process.pid} {how}")


def work(theirs, parents_ends, galaxies, best, seed):
    """A worker: batches in, resamples out, until the parent closes its end, by design or by dying."""
    # Inherited copies of the parent's ends would hide its death from the workers.
    for end in parents_ends:
        end.close()
    try:
        while True:
            position, first, count = theirs.recv()
            galaxy = galaxies[position]
            done = [resample(galaxy, best[position], seed, index) for index in range(first, first + count)]
            theirs.send((position, first, done))
    except (EOFError, OSError):
        pass
