"""python3 -m unittest discover -s examples/rep6, some seconds. Waits for lines and ends of file, never for a time.

Not tested: the full mode to its end, SIGHUP, how the page looks, and the guard in shells this machine lacks.
"""

import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from math import exp, isclose, log

HERE = pathlib.Path(__file__).resolve().parent
CONTRIB = HERE.parents[1] / "contrib"
sys.path.insert(0, str(HERE))

import make_data  # noqa: E402
import page  # noqa: E402
import report  # noqa: E402
from bootstrap import WorkerLost, batches  # noqa: E402
from curves import DataError, Galaxy, load, read  # noqa: E402
from fit import fit_galaxy, minimise  # noqa: E402
from models import MODELS, PHI_ETA, WS, velocity  # noqa: E402
from tally import Tally  # noqa: E402

ESCAPE = "\x1b]0;x\x07"  # sets a terminal's title
GRACE = 10  # seconds between bgcancel's TERM and its KILL


def command(*arguments):
    return [sys.executable, str(HERE / "run_rep6.py"), *map(str, arguments)]


def environment(marked=True):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GRAV_BG_", "BG_"))}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **({"GRAV_BG_JOB": "1"} if marked else {})}


class Case(unittest.TestCase):
    def setUp(self):
        self.tmp = pathlib.Path(self.enterContext_(tempfile.TemporaryDirectory(prefix="rep6-")))

    def enterContext_(self, manager):  # unittest has it from 3.11 on
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def job(self, *arguments, code=0, error="", marked=True):
        """Runs the job and insists on its exit code and its whole stderr; returns stdout."""
        done = subprocess.run(
            command(*arguments), env=environment(marked), cwd=self.tmp, capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (code, error))
        return done.stdout

    def start_full(self):
        """A full run that has its first resamples; it is a session of its own, so that the group can be signalled."""
        running = self.enterContext_(
            subprocess.Popen(
                command("--mode", "full", "--processes", 2, "--out", self.tmp),
                env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            )
        )
        self.addCleanup(lambda: running.poll() is None and running.kill())
        for line in running.stdout:
            if " resamples, " in line:
                return running
        self.fail(f"no progress line: {running.stderr.read()}")


class Laws(unittest.TestCase):
    def test_slopes_are_the_derivatives_of_the_shapes(self):
        for model in MODELS:
            for x in (1e-5, 9e-5, 1.1e-4, 9e-3, 1.1e-2, 0.3, 1, 10, 500):
                h = 1e-4
                up, down = model.shape(x * exp(h))[0], model.shape(x * exp(-h))[0]
                with self.subTest(model=model.name, x=x):
                    self.assertAlmostEqual(model.shape(x)[1], (log(up) - log(down)) / (2 * h), delta=1e-4)

    def test_known_points_of_the_curves(self):
        self.assertAlmostEqual(velocity(WS, 100, 1, 1e6), 100, delta=1e-3)  # flat outside
        self.assertAlmostEqual(velocity(WS, 100, 1, 1), 100 * (1 - 0.785398) ** 0.5, delta=1e-3)
        self.assertAlmostEqual(velocity(PHI_ETA, 100, 1, 2.1626), 46.50, delta=0.01)  # NFW's maximum


class Fits(unittest.TestCase):
    def test_known_parameters_are_recovered(self):
        for model in MODELS:
            for v0, s in ((60, 1.2), (200, 5), (340, 30)):
                radii = [0.3 + 0.8 * i for i in range(30)]
                galaxy = Galaxy("made", tuple((r, velocity(model, v0, s, r), 2.0) for r in radii))
                fit = fit_galaxy(model, galaxy)
                with self.subTest(model=model.name, v0=v0, s=s):
                    self.assertLess(fit.chi2, 1e-9)
                    self.assertTrue(isclose(fit.v0, v0, rel_tol=1e-5) and isclose(fit.s, s, rel_tol=1e-5), fit)
                    self.assertFalse(fit.at_bound)

    @staticmethod
    def rosenbrock(p):
        x, y = p
        u, v = 10 * (y - x * x), 1 - x  # residuals to bring to 0
        jacobian = ((20 * x, -10.0), (1.0, 0.0))  # of what is subtracted: -du, -dv
        b = tuple(jacobian[0][k] * u + jacobian[1][k] * v for k in (0, 1))
        a = [sum(row[i] * row[j] for row in jacobian) for i, j in ((0, 0), (0, 1), (1, 1))]
        return u * u + v * v, b, tuple(a)

    def test_a_curved_valley_is_followed_to_its_end(self):
        p, chi2 = minimise(self.rosenbrock, (-1.2, 1.0), (-5, -5), (5, 5))
        self.assertLess(chi2, 1e-12)
        self.assertTrue(isclose(p[0], 1, rel_tol=1e-5) and isclose(p[1], 1, rel_tol=1e-5), p)

    def test_a_bound_holds_one_parameter_and_frees_the_other(self):
        p, _ = minimise(self.rosenbrock, (-1.2, 1.0), (-5, -5), (0.5, 5))
        self.assertEqual(p[0], 0.5)
        self.assertAlmostEqual(p[1], 0.25, delta=1e-6)


class Data(Case):
    def test_committed_files_are_what_the_generator_makes(self):
        subprocess.run([sys.executable, str(HERE / "make_data.py"), "--check"], check=True, env=environment())

    def test_every_bad_row_is_named(self):
        good = "radius_kpc,velocity_km_s,error_km_s\n" + "".join(f"{i},{50 + i},2\n" for i in range(1, 8))
        for text, words in (
            ("", ":1: the header must be"),
            (good.replace("radius_kpc", "r"), ":1: the header must be"),
            (good + "9,60\n", ":9: 3 columns needed, found 2"),
            (good + "9,x,2\n", ":9: velocity_km_s must be a number, not 'x'"),
            (good + "9,60,0\n", ":9: error_km_s must be a number above zero, not '0'"),
            (good + "nan,60,2\n", ":9: radius_kpc must be a number above zero, not 'nan'"),
            ("\n".join(good.split("\n")[:4]), "at least 5 different radii needed"),
            (good + "\xff", "not a CSV file in UTF-8"),
        ):
            path = self.tmp / "bad.csv"
            path.write_bytes(text.encode("latin-1"))
            with self.subTest(words=words), self.assertRaises(DataError) as raised:
                read(str(path))
            self.assertIn(words, str(raised.exception))

    def test_bad_input_costs_one_line_and_no_report(self):
        out = self.tmp / "out"
        self.job("--data", self.tmp / "none", "--out", out, code=1, error=(
            f"run_rep6.py: cannot read the data directory '{self.tmp / 'none'}': No such file or directory\n"))
        shutil.copytree(HERE / "data", self.tmp / "data")
        (self.tmp / "data/r6-c.csv").unlink()
        self.job("--data", "data", "--out", out, code=1, error=(
            "run_rep6.py: 6 CSV files needed in 'data', found 5 (r6-a.csv, r6-b.csv, r6-d.csv, r6-e.csv, r6-f.csv)\n"))
        (self.tmp / "data/r6-c.csv").write_text(f"{ESCAPE}\n")
        self.job("--data", "data", "--out", out, code=1, error=(
            "run_rep6.py: data/r6-c.csv:1: the header must be radius_kpc,velocity_km_s,error_km_s\n"))
        self.assertFalse(out.exists())

    def test_an_output_that_cannot_be_written_is_refused_before_the_fit(self):
        (self.tmp / "file").touch()
        stdout = self.job("--out", "file", code=1, error="run_rep6.py: cannot write into 'file': File exists\n")
        self.assertEqual(stdout, "")


class Numbers(Case):
    # 40 resamples, seed 1: winner, chi2 of WS, of phi-eta, share of resamples won by WS
    EXPECTED = {
        "r6-a": ("WS", 27.49, 51.54, 0.95),
        "r6-b": ("WS", 13.39, 49.57, 1.00),
        "r6-c": ("WS", 30.19, 63.76, 0.93),
        "r6-d": ("phi-eta", 60.71, 40.86, 0.03),
        "r6-e": ("phi-eta", 35.92, 31.79, 0.30),
        "r6-f": ("WS", 32.49, 35.22, 0.65),
        "overall": ("WS", 200.18, 272.75, 1.00),
    }

    def test_a_tiny_run_gives_the_numbers_committed_here(self):
        self.job("--resamples", 40, "--out", self.tmp)
        got = json.loads((self.tmp / "report.json").read_text())
        self.assertTrue(got["complete"])
        for entry in [*got["galaxies"], {**got["overall"], "name": "overall"}]:
            winner, ws, phi_eta, share = self.EXPECTED[entry["name"]]
            with self.subTest(galaxy=entry["name"]):
                self.assertEqual(entry["winner"], winner)
                self.assertAlmostEqual(entry["models"]["WS"]["chi2"], ws, delta=0.01 * ws)
                self.assertAlmostEqual(entry["models"]["phi-eta"]["chi2"], phi_eta, delta=0.01 * phi_eta)
                self.assertAlmostEqual(entry["win_fractions"]["WS"], share, delta=0.11)
                self.assertEqual(entry["resamples"], {"done": 40, "planned": 40})

    def test_each_galaxy_made_by_one_law_is_won_by_it(self):
        for galaxy in load(str(HERE / "data")):
            parts = make_data.GALAXIES[galaxy.name][4]
            if len(parts) == 1:
                better = min(MODELS, key=lambda model: fit_galaxy(model, galaxy).chi2)
                self.assertEqual(better.name, parts[0][1].name, galaxy.name)

    def test_same_seed_same_bytes_whatever_the_number_of_processes(self):
        for name, seed, processes in (("one", 7, 1), ("three", 7, 3), ("other", 8, 2)):
            self.job("--resamples", 110, "--seed", seed, "--processes", processes, "--out", self.tmp / name)
        for file in ("report.json", "report.html"):
            one, three, other = ((self.tmp / n / file).read_bytes() for n in ("one", "three", "other"))
            self.assertEqual(one, three)
            self.assertNotEqual(one, other)


class Page(Case):
    def rendered(self, done, name="r6-x"):
        galaxies = [g._replace(name=name) for g in load(str(HERE / "data"))]
        best = [tuple(fit_galaxy(m, g) for m in MODELS) for g in galaxies]
        tallies = [Tally(50) for _ in galaxies]
        for position, first, found in batches(galaxies, best, 1, done, 2):
            tallies[position].add(first, found)
        built = report.build(galaxies, best, tallies, mode="fast", seed=1, stopped_by=None if done == 50 else "SIGTERM")
        return page.render(built, galaxies, best, tallies)

    def test_it_is_well_formed_and_self_contained(self):
        root = ElementTree.fromstring(self.rendered(50))
        tags = [element.tag.rpartition("}")[2] for element in root.iter()]
        self.assertEqual(tags.count("svg"), 6 + 7)  # curves, and the bars of the table
        self.assertFalse({"script", "link", "img", "iframe", "object", "image", "use"} & set(tags))
        for element in root.iter():
            self.assertFalse({"src", "href"} & {key.rpartition("}")[2] for key in element.attrib}, element.tag)
        self.assertNotIn("Not complete", self.rendered(50))

    def test_it_renders_with_few_resamples_and_with_none(self):
        for done in (0, 10):
            text = self.rendered(done)
            ElementTree.fromstring(text)
            self.assertIn(f"stopped by SIGTERM with {6 * done} of 300 resamples done", text)

    def test_names_are_text(self):
        name = "<script>alert(1)</script>&\"'"
        text = self.rendered(10, name)
        self.assertNotIn("<script", text)
        self.assertIn(name, "".join(ElementTree.fromstring(text).itertext()))


class Stopping(Case):
    def partial_report(self, running, number):
        """What a stopped run left: it died of the signal, silently, and nobody holds its pipes any more."""
        stdout, stderr = running.communicate(timeout=GRACE)
        self.assertEqual((running.returncode, stderr), (-number, ""))
        self.assertIn("not complete", stdout)
        self.assertEqual(sorted(p.name for p in self.tmp.iterdir()), ["report.html", "report.json"])
        ElementTree.parse(self.tmp / "report.html")
        got = json.loads((self.tmp / "report.json").read_text())
        self.assertEqual((got["complete"], got["stopped_by"]), (False, signal.Signals(number).name))
        self.assertGreater(sum(g["resamples"]["done"] for g in got["galaxies"]), 0)
        for galaxy in got["galaxies"]:
            self.assertLess(galaxy["resamples"]["done"], galaxy["resamples"]["planned"])

    def test_sigterm_leaves_a_partial_report(self):
        running = self.start_full()
        os.kill(running.pid, signal.SIGTERM)
        self.partial_report(running, signal.SIGTERM)

    def test_so_does_ctrl_c_to_the_whole_group_twice(self):
        running = self.start_full()
        os.killpg(running.pid, signal.SIGINT)
        os.killpg(running.pid, signal.SIGINT)
        self.partial_report(running, signal.SIGINT)

    def test_workers_follow_a_killed_parent(self):
        running = self.start_full()
        running.kill()
        running.communicate(timeout=GRACE)  # ends when the last worker has let go of the pipes

    def test_a_killed_worker_is_named_and_the_others_leave(self):
        galaxies = load(str(HERE / "data"))
        best = [tuple(fit_galaxy(m, g) for m in MODELS) for g in galaxies]
        with contextlib.closing(batches(galaxies, best, 1, 60000, 2)) as running:
            next(running)
            victim = multiprocessing.active_children()[0]
            os.kill(victim.pid, signal.SIGKILL)
            with self.assertRaises(WorkerLost) as raised:
                for _ in running:
                    pass
        self.assertEqual(str(raised.exception), f"worker process {victim.pid} died of SIGKILL")
        self.assertEqual(multiprocessing.active_children(), [])


class Guard(Case):
    LINE = "{0}: start me through the dispatcher: bgrun --name {1} -- … / dispatcher経由で実行してください (bgrun)\n"
    SHELLS = [[s] for s in ("sh", "dash", "bash", "zsh") if shutil.which(s)]
    SHELLS += [["busybox", "sh"]] if shutil.which("busybox") else []
    NAMES = (
        ("heavy.sh", "heavy.sh", "heavy"),
        ("重い仕事.sh", "重い仕事.sh", "重い仕事"),
        (f"a{ESCAPE}\u009b1mb\n.sh", "a?]0;x??1mb?.sh", "a__0_x__1mb_"),
        ("-n %s $(x) 'y'.sh", "-n %s $(x) 'y'.sh", "n__s___x___y_"),
    )

    def test_the_job_refuses_without_the_mark(self):
        self.job("--out", "out", code=1, marked=False, error=self.LINE.format("run_rep6.py", "run_rep6"))
        self.assertEqual(list(self.tmp.iterdir()), [])

    def guarded(self, interpreter, name, body):
        """Runs a script of that name and contents, without the mark and with it."""
        script = self.tmp / name
        script.write_text(body, encoding="utf-8")
        return [
            subprocess.run([*interpreter, str(script)], env=environment(marked), capture_output=True)
            for marked in (False, True)
        ]

    def check(self, runs, shown, job):
        refused, admitted = runs
        expected = self.LINE.format(shown, job).encode()
        self.assertEqual((refused.returncode, refused.stdout, refused.stderr), (1, b"", expected))
        self.assertEqual((admitted.returncode, admitted.stdout, admitted.stderr), (0, b"worked\n", b""))

    def test_shell_scripts(self):
        for shell in self.SHELLS:
            for name, shown, job in self.NAMES:
                with self.subTest(shell=shell, name=name):
                    body = f"set -eu\nname=kept\n. '{CONTRIB}/guard.sh'\n[ $name = kept ]\necho worked\n"
                    self.check(self.guarded(shell, name, body), shown, job)

    def test_python_scripts(self):
        for name, shown, job in self.NAMES:
            with self.subTest(name=name):
                body = f"import sys\nsys.path.insert(0, {str(CONTRIB)!r})\nimport guard\nprint('worked')\n"
                self.check(self.guarded([sys.executable], name, body), shown, job)


if __name__ == "__main__":
    unittest.main()
