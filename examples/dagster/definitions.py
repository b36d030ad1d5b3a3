"""The pipeline of ../pipeline as assets of Dagster: its steps, its commands, each a job of bgrun.

    DAGSTER_HOME=~/dagster dagster dev -f definitions.py                     # the pages, the schedule and the sensor
    DAGSTER_HOME=~/dagster dagster job execute -f definitions.py -j hires    # once

Dagster knows what depends on what, when to run and how often to try again; bgrun keeps the command apart from it: a log, a
record and a verdict that outlive a restart of Dagster.
"""

import os
import pathlib
import subprocess
import sys

import dagster as dg

PIPELINE = pathlib.Path(__file__).resolve().parent.parent / "pipeline"
SOURCE = pathlib.Path(os.environ.get("HIRES_SOURCE", PIPELINE / "data"))
OUT = pathlib.Path(os.environ.get("HIRES_OUT", "out")).resolve()
PYTHON = os.environ.get("HIRES_PYTHON", sys.executable)
MODELS = ["linear", "neighbours"]

# What passes by itself is tried again; `delay` seconds, then twice as long.
POLICY = dg.RetryPolicy(max_retries=2, delay=float(os.environ.get("HIRES_DELAY", 60)), backoff=dg.Backoff.EXPONENTIAL)
# The data or the call are wrong, and will be the next time: steps.py says so with 1 and 2, a shell with 126 and 127.
FINAL = {1, 2, 126, 127}


def output_of(process):
    """Not in one read: Python would see an interrupt that came just before it only after it."""
    while True:
        try:
            return process.communicate(timeout=0.5)[0]
        except subprocess.TimeoutExpired:
            pass


def step(context, name, *args):
    """Runs a step as a job and waits for it; its exit code decides, its log is the reason."""
    command = ["bgrun", "--wait", "--name", name, "--", PYTHON, str(PIPELINE / "steps.py"), *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bgrun:
        try:
            job = output_of(bgrun).strip()
        except BaseException:
            # A run that is ended in Dagster: told so, bgrun cancels its job.
            bgrun.terminate()
            raise
    code = bgrun.returncode
    context.log.info(f"{job or name} ended with {code}")
    if code:
        log = subprocess.run(["bgstatus", "--log", job], stdout=subprocess.PIPE, text=True).stdout if job else ""
        raise dg.Failure(
            f"{name} ended with {code}: {log.strip()[-500:]}",
            metadata={"exit": code, "job": job},
            allow_retries=code not in FINAL,
        )
    context.add_output_metadata({name: job})


def weeks():
    """The weeks to learn from, and the last, which is the one to guess."""
    names = sorted(path.stem for path in SOURCE.glob("*.csv"))
    if len(names) < 2:
        raise dg.Failure(f"{SOURCE}: fewer than two weeks", allow_retries=False)
    return names[:-1], names[-1]


@dg.asset(retry_policy=POLICY)
def raw(context):
    seen, unseen = weeks()
    for week in [*seen, unseen]:
        step(context, f"fetch-{week}", "fetch", SOURCE / f"{week}.csv", OUT / "raw" / f"{week}.csv")


@dg.asset(deps=[raw], retry_policy=POLICY)
def features(context):
    seen, unseen = weeks()
    for week in [*seen, unseen]:
        step(context, f"features-{week}", "features", OUT / "raw" / f"{week}.csv", OUT / "features" / f"{week}.json")


def trained(model):
    @dg.asset(name=f"model_{model}", deps=[features], retry_policy=POLICY)
    def train(context):
        learnt_from = [OUT / "features" / f"{week}.json" for week in weeks()[0]]
        step(context, f"train-{model}", "train", model, OUT / "models" / f"{model}.json", *learnt_from)

    return train


def evaluated(model):
    @dg.asset(name=f"score_{model}", deps=[f"model_{model}", features], retry_policy=POLICY)
    def evaluate(context):
        unseen = OUT / "features" / f"{weeks()[1]}.json"
        step(context, f"evaluate-{model}", "evaluate", OUT / "models" / f"{model}.json", unseen, OUT / "scores" / f"{model}.json")

    return evaluate


@dg.asset(deps=[f"score_{model}" for model in MODELS], retry_policy=POLICY)
def report(context):
    step(context, "report", "report", OUT / "report.md", *[OUT / "scores" / f"{model}.json" for model in MODELS])


hires = dg.define_asset_job("hires", selection="*")

# Two in the morning in Tokyo, whatever the machine's own zone.
nightly = dg.ScheduleDefinition(name="nightly", job=hires, cron_schedule="0 2 * * *", execution_timezone="Asia/Tokyo")


@dg.sensor(job=hires, minimum_interval_seconds=60)
def new_data(context):
    """A week that is new or was written again starts a run; the cursor is what was there the last time."""
    there = {path.name: path.stat().st_mtime_ns for path in sorted(SOURCE.glob("*.csv"))}
    state = " ".join(f"{name}:{written}" for name, written in there.items())
    if not there:
        return dg.SkipReason(f"no weeks in {SOURCE}")
    if state == context.cursor:
        return dg.SkipReason("no new week")
    context.update_cursor(state)
    return dg.RunRequest(run_key=state)


defs = dg.Definitions(
    assets=[raw, features, *map(trained, MODELS), *map(evaluated, MODELS), report],
    jobs=[hires],
    schedules=[nightly],
    sensors=[new_data],
)
