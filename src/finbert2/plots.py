"""Numbers in, matplotlib `Figure` out; nothing is shown, and saving is the caller's."""

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#2a6fbb", "#c0392b", "#9aa5b1"
LINES = (BLUE, RED, GREY, "#2e8b57", "#8e44ad")
STACK = (BLUE, RED, "#e59866", "#f4d03f", "#8e44ad", "#2e8b57", "#16a085", "#7f8c8d", "#c39bd3", "#9aa5b1")
# The viewer's own fonts draw the text of an SVG: Chinese then shows wherever a browser has a Chinese font.
FONTS = ["PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", "sans-serif"]


def figure(width: float = 6.4, height: float = 3.2) -> "Figure":
    """Return an empty figure of the house's look, sizes in inches."""
    import logging
    import warnings

    import matplotlib
    from matplotlib.figure import Figure

    # A text takes its family when it is made. matplotlib, which may have none of these fonts, only measures here.
    matplotlib.rcParams["font.family"] = FONTS
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "finbert2"  # the same figure is the same file
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    return Figure(figsize=(width, height), layout="constrained")


def lines(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> "Figure":
    """Plot named curves, each a pair (xs, ys)."""
    fig = figure()
    axes = fig.add_subplot()
    for (name, (xs, ys)), colour in zip(curves.items(), itertools.cycle(LINES), strict=False):
        axes.plot(xs, ys, label=name, color=colour, linewidth=1.6)
    finish(axes, x, y, legend=len(curves) > 1)
    return fig


def bars(groups: Mapping[str, Mapping[str, float]], x: str = "") -> "Figure":
    """Plot horizontal bars: for each group a bar per series; a group may lack a series."""
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    fig = figure(height=0.7 + 0.2 * len(groups) * max(1, len(series)))
    axes = fig.add_subplot()
    thickness = 0.8 / max(1, len(series))
    palette = (GREY, "#c9d1d9", BLUE, RED, "#2e8b57")
    for rank, name in enumerate(series):
        rows = [row for row, values in enumerate(groups.values()) if name in values]
        values = [list(groups.values())[row][name] for row in rows]
        places = [row + (rank - (len(series) - 1) / 2) * thickness for row in rows]
        drawn = axes.barh(places, values, height=thickness * 0.92, label=name, color=palette[rank % len(palette)])
        axes.bar_label(drawn, fmt=short, padding=2, fontsize=7)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    finish(axes, x, "", legend=len(series) > 1)
    return fig


def short(value: float) -> str:
    """Return a number as a label: three digits, from a thousand on the whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def stacked(groups: Mapping[str, Mapping[str, float]], x: str = "") -> "Figure":
    """Plot a horizontal bar a group, all of one length, divided by the shares of its series; its total stands beside.

    The first series is drawn in blue, the others in a palette of their own.
    """
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    fig = figure(height=0.9 + 0.28 * len(groups))
    axes = fig.add_subplot()
    totals = [sum(values.values()) or 1 for values in groups.values()]
    left = [0.0] * len(groups)
    for rank, name in enumerate(series):
        shares = [values.get(name, 0) / total for values, total in zip(groups.values(), totals, strict=True)]
        axes.barh(range(len(groups)), shares, left=left, height=0.7, label=name, color=STACK[rank % len(STACK)])
        left = [start + share for start, share in zip(left, shares, strict=True)]
    for row, values in enumerate(groups.values()):
        axes.text(1.01, row, f"{sum(values.values()):,}", va="center", fontsize=7)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    finish(axes, x, "", legend=True)
    return fig


def finish(axes: "Axes", x: str, y: str, legend: bool) -> None:
    """Label the axes, drop the frame, put the legend outside the data."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if legend:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def svg(fig: "Figure") -> str:
    """Return a figure as SVG text whose labels stay text, to be put into a page."""
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
