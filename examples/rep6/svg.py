"""Rotation curves as SVG: data with error bars, two fitted curves with their bands, residuals below."""

from html import escape
from math import floor, log10

WIDTH, HEIGHT = 560, 430
LEFT, RIGHT, TOP = 62, 14, 16
PLOT_BOTTOM = 288  # of the upper panel
STRIP_TOP, STRIP_BOTTOM = 306, 380  # residuals
COLOURS = ("#1f5fa8", "#c2500f")
DASHES = ("", "7 4")  # the laws can be told apart without colour
STEPS = 80


def plot(label, points, curves):
    """`curves`: one (name, velocity function, band) a law; a band is [(radius, low, high), ...], perhaps empty."""
    r_max = points[-1][0] * 1.04
    top = max(max(v + e for _, v, e in points), max(f(r_max) for _, f, _ in curves)) * 1.08
    x = scale(0, r_max, LEFT, WIDTH - RIGHT)
    y = scale(0, top, PLOT_BOTTOM, TOP)
    parts = [axes(x, y, r_max, top)]
    for colour, (_, _, band) in zip(COLOURS, curves):
        if band:
            edge = [(x(r), y(high)) for r, _, high in band] + [(x(r), y(low)) for r, low, _ in reversed(band)]
            parts.append(f'<polygon points="{joined(edge)}" fill="{colour}" fill-opacity="0.13"/>')
    for colour, dash, (_, velocity, _) in zip(COLOURS, DASHES, curves):
        line = [(x(r), y(velocity(r))) for r in radii(r_max)]
        parts.append(stroke(joined(line), colour, dash))
    parts += [error_bar(x(r), y(v), y(v - e), y(v + e)) for r, v, e in points]
    parts.append(legend([name for name, _, _ in curves]))
    parts.append(residuals(x, points, curves))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">\n' + "\n".join(parts) + "\n</svg>"
    )


def radii(r_max):
    """Radii for a smooth curve, denser inwards where it bends."""
    return [r_max * (i / STEPS) ** 2 for i in range(1, STEPS + 1)]


def axes(x, y, r_max, top):
    out = []
    for value in ticks(0, top, 6):
        out.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>')
        out.append(text(LEFT - 7, y(value) + 4, number(value), "end"))
    for value in ticks(0, r_max, 8):
        at = f"{x(value):.1f}"
        out.append(f'<path d="M{at} {TOP}V{PLOT_BOTTOM}M{at} {STRIP_TOP}V{STRIP_BOTTOM}" stroke="#e4e4e4"/>')
        out.append(text(x(value), STRIP_BOTTOM + 17, number(value), "middle"))
    for above, below in ((TOP, PLOT_BOTTOM), (STRIP_TOP, STRIP_BOTTOM)):
        out.append(f'<path d="M{LEFT} {above}H{WIDTH - RIGHT}V{below}H{LEFT}Z" fill="none" stroke="#888"/>')
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "Radius r (kpc)", "middle", "label"))
    out.append(upright((TOP + PLOT_BOTTOM) / 2, "Circular velocity V (km/s)"))
    out.append(upright((STRIP_TOP + STRIP_BOTTOM) / 2, "Residual (σ)"))
    return "\n".join(out)


def residuals(x, points, curves):
    """(V - law)/error for both laws."""
    sigma = [[(v - velocity(r)) / e for r, v, e in points] for _, velocity, _ in curves]
    reach = max(3.0, max(abs(s) for column in sigma for s in column) * 1.1)
    y = scale(-reach, reach, STRIP_BOTTOM, STRIP_TOP)
    out = [f'<path d="M{LEFT} {y(0):.1f}H{WIDTH - RIGHT}" stroke="#888"/>']
    for value in ticks(-reach, reach, 4):
        out.append(text(LEFT - 7, y(value) + 4, number(value), "end"))
    for m, column in enumerate(sigma):
        for (r, _, _), s in zip(points, column):
            out.append(MARKS[m](x(r), y(s)))
    return "\n".join(out)


def legend(names):
    left, top = WIDTH - RIGHT - 146, PLOT_BOTTOM - 22 * (len(names) + 1) - 16
    height = 22 * (len(names) + 1) + 8
    frame = f'x="{left}" y="{top}" width="138" height="{height}" rx="3"'
    out = [f'<rect {frame} fill="#fff" fill-opacity="0.9" stroke="#bbb"/>']
    for row, name in enumerate(names):
        at = top + 16 + 22 * row
        out.append(stroke(f"{left + 10},{at} {left + 42},{at}", COLOURS[row], DASHES[row]))
        out.append(MARKS[row](left + 52, at))
        out.append(text(left + 64, at + 4, name, "start"))
    at = top + 16 + 22 * len(names)
    out.append(error_bar(left + 26, at, at - 7, at + 7) + text(left + 64, at + 4, "data, 1σ", "start"))
    return "\n".join(out)


def error_bar(x, y, low, high):
    caps = f"M{x - 2.5:.1f} {low:.1f}h5M{x - 2.5:.1f} {high:.1f}h5"
    return (
        f'<path d="M{x:.1f} {low:.1f}V{high:.1f}{caps}" stroke="#222"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="#222"/>'
    )


def dot(x, y):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{COLOURS[0]}"/>'


def cross(x, y):
    arms = f"M{x - 2.6:.1f} {y - 2.6:.1f}l5.2 5.2m0 -5.2l-5.2 5.2"
    return f'<path d="{arms}" stroke="{COLOURS[1]}" stroke-width="1.4"/>'


MARKS = (dot, cross)


def stroke(points, colour, dash):
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'


def text(x, y, content, anchor, style="tick"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(content)}</text>'


def upright(y, content):
    place = f'transform="translate(16 {y:.1f}) rotate(-90)" text-anchor="middle"'
    return f'<text {place} class="label">{escape(content)}</text>'


def joined(points):
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in points)


def scale(low, high, at_low, at_high):
    return lambda value: at_low + (value - low) / (high - low) * (at_high - at_low)


def ticks(low, high, about):
    """Multiples of 1, 2 or 5 times a power of ten inside [low, high], about so many."""
    rough = (high - low) / about
    power = 10 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = -floor(-low / step)  # ceiling
    return [i * step for i in range(first, floor(high / step) + 1)]


def number(value):
    return f"{value:.6g}".replace("-", "−")


def bar(fractions):
    """A row's share of wins, law by law, or an empty frame where nothing was drawn."""
    out, left = [], 0.0
    for colour, fraction in zip(COLOURS, fractions):
        width = 120 * (fraction or 0)
        out.append(f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="12" fill="{colour}"/>')
        left += width
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="bar" viewBox="-0.5 -0.5 121 13" role="img" '
        'aria-label="share of resamples won">' + "".join(out)
        + '<rect x="0" y="0" width="120" height="12" fill="none" stroke="#888"/></svg>'
    )
