"""The report as one HTML page: no scripts, nothing fetched from anywhere. It is well-formed XML as well."""

from functools import partial
from html import escape

import report as numbers
from models import MODELS, velocity
from svg import COLOURS, bar, plot, radii
from tally import finite, quantile

BAND_RESAMPLES = 400  # enough for a 95 % band by eye, and drawn in well under a second after a SIGTERM

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Noto Sans", sans-serif; color: #1c1c1c; background: #fff; }
body { margin: 2rem auto; max-width: 1240px; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 0 0 .2rem; }
p { margin: .3rem 0; } .quiet { color: #5a5a5a; }
.verdict { border-left: 4px solid #444; background: #f6f6f4; padding: .6rem 1rem; margin: 1rem 0; }
.partial { border-left: 4px solid #b3261e; background: #fdf1f0; padding: .6rem 1rem; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e2e2e2; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #888; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; margin: 1rem 0 2rem; }
tr.total td { font-weight: 600; border-top: 1px solid #888; }
section { min-width: 0; overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 2rem 2.4rem; }
.grid svg { width: 100%; height: auto; } .bar { width: 120px; height: 13px; vertical-align: middle; }
.grid table { font-size: .82rem; } .grid td, .grid th { padding: .25rem .35rem; }
svg text { font-family: system-ui, "Noto Sans", sans-serif; fill: #333; }
.tick { font-size: 12px; } .label { font-size: 13px; }
footer { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: .6rem; font-size: .88rem; }
@media print { body { margin: 0; } section { break-inside: avoid; } }
"""


def render(report, galaxies, best, tallies):
    names = [escape(m.name) for m in MODELS]
    title = f"rep6: {' against '.join(names)}"
    cards = [card(*four) for four in zip(report["galaxies"], galaxies, best, tallies)]
    return f"""<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="quiet">Six rotation curves, two laws with two parameters each;
mode {escape(report["mode"])}, seed {report["seed"]}.</p>
{not_complete(report)}<p class="verdict">{escape(numbers.sentence(report))}</p>
<div class="wide">
{summary(report)}
</div>
<div class="grid">
{"".join(cards)}</div>
<footer>
{"".join(f"<p>{escape(m.name)}: {escape(m.formula)}</p>" for m in MODELS)}
<p>χ² is Σ ((V − law)/error)² at the best fit. A resample draws the points of a curve again with replacement and fits
both laws; the law with the smaller χ² wins it. Confidence is the share of resamples won by the law that wins on the
data; decided means {numbers.percent(numbers.DECIDED)} or more. Intervals and shaded bands hold 95 % of the
resamples.</p>
</footer>
</body>
</html>
"""


def not_complete(report):
    if report["complete"]:
        return ""
    total = sum(g["resamples"]["planned"] for g in report["galaxies"])
    done = sum(g["resamples"]["done"] for g in report["galaxies"])
    cause = f"stopped by {report['stopped_by']}" if report["stopped_by"] else "ended early"
    return f'<p class="partial">Not complete: {escape(cause)} with {done} of {total} resamples done.</p>\n'


def summary(report):
    first, second = (escape(m.name) for m in MODELS)
    head = (
        f"<tr><th>Galaxy</th><th>Points</th><th>{first}<br/>χ²</th><th>{first}<br/>χ²/dof</th>"
        f"<th>{second}<br/>χ²</th><th>{second}<br/>χ²/dof</th><th>Winner</th><th>Confidence</th>"
        f'<th>Resamples won<br/><span style="color:{COLOURS[0]}">{first}</span> | '
        f'<span style="color:{COLOURS[1]}">{second}</span></th><th>Resamples<br/>done</th></tr>'
    )
    rows = [row(g["name"], g, "") for g in report["galaxies"]]
    rows.append(row("all six", report["overall"], ' class="total"'))
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"


def row(name, entry, attributes):
    chi2 = "".join(f"<td>{m['chi2']:.1f}</td><td>{m['reduced_chi2']:.2f}</td>" for m in entry["models"].values())
    winner = escape(entry["winner"]) + ("" if entry["decided"] else " (undecided)")
    done = entry["resamples"]
    return (
        f"<tr{attributes}><td>{escape(name)}</td><td>{entry['points']}</td>{chi2}<td>{winner}</td>"
        f"<td>{numbers.percent(entry['confidence'])}</td><td>{bar(entry['win_fractions'].values())}</td>"
        f"<td>{done['done']} / {done['planned']}</td></tr>"
    )


def card(entry, galaxy, best, tally):
    curves = []
    for m, (model, fit) in enumerate(zip(MODELS, best)):
        curves.append((model.name, partial(velocity, model, fit.v0, fit.s), band(m, galaxy, tally)))
    lines = []
    for name, fitted in entry["models"].items():
        cells = "".join(interval(p) for p in fitted["parameters"].values())
        lines.append(f"<tr><td>{escape(name)}</td><td>{fitted['reduced_chi2']:.2f}</td>{cells}</tr>")
    ending = "" if entry["decided"] else ", undecided"
    return f"""<section>
<h2>{escape(galaxy.name)}</h2>
<p class="quiet">{escape(entry["winner"])} wins, confidence {numbers.percent(entry["confidence"])}{ending}</p>
{plot(f"Rotation curve of {galaxy.name} with both fits", galaxy.points, curves)}
<table>
<thead><tr><th>Law</th><th>χ²/dof</th>{PARAMETER_HEAD}</tr></thead>
<tbody>{"".join(lines)}</tbody>
</table>
{limits(entry)}
</section>
"""


PARAMETER_HEAD = "".join(
    f"<th>{name}<br/>{column}</th>"
    for name in ("Velocity (km/s)", "Length (kpc)")
    for column in ("best fit", "mean (95 %)")
)


def interval(p):
    if p["mean"] is None:
        return f"<td>{digits(p['best'])}</td><td>–</td>"
    return f"<td>{digits(p['best'])}</td><td>{digits(p['mean'])} ({digits(p['low95'])}–{digits(p['high95'])})</td>"


def digits(value):
    """Three significant digits, trailing zeros kept, no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def limits(entry):
    """Resamples whose fit ran into the box: their length is a limit and no measurement."""
    done = entry["resamples"]["done"]
    lines = [
        f'<p class="quiet">{escape(name)}: {fitted["at_bound"]} of {done} resamples ended at a limit of the search.</p>'
        for name, fitted in entry["models"].items()
        if fitted["at_bound"]
    ]
    return "\n".join(lines)


def band(m, galaxy, tally):
    """The middle 95 % of the law's curves over the first resamples done."""
    v0s, ss = finite(tally.v0[m])[:BAND_RESAMPLES], finite(tally.s[m])[:BAND_RESAMPLES]
    if len(v0s) < 20:
        return []
    out = []
    for r in radii(galaxy.points[-1][0] * 1.04):
        values = sorted(velocity(MODELS[m], v0, s, r) for v0, s in zip(v0s, ss))
        out.append((r, quantile(values, 0.025), quantile(values, 0.975)))
    return out
