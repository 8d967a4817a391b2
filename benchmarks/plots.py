"""The figure of the benchmarks: how fast the default recipe trains, and beside what."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks import harness
from digit_recognizer.plots import QUIET, RIGHT, WRONG


def chart(result: Mapping[str, Any], title: str) -> Figure:
    """What results/benchmark.json says of an epoch: each loop, beside a busy process, and against digits and width;
    and of the whole training by other libraries.

    result: with the parts "seconds", "crowd", "peers" and "scaling" of the four benchmarks.
    """
    figure = Figure(figsize=(9, 10), layout="constrained")
    places: Any = [["loops", "crowd"], ["peers", "peers"], ["digits", "widths"]]
    loops, crowd, peers, digits, widths = figure.subplot_mosaic(places).values()
    labels = {"usual": "DataLoader loop"}
    _bars(loops, "an epoch of 60,000 digits, float32", {
        f"{labels.get(name, name)}, {harness.threads(int(threads))}": {"": times}
        for name, of in result["seconds"].items() for threads, times in of.items()
    })  # fmt: skip
    _bars(crowd, "beside a busy process", {
        name.replace(", ", ",\n"): of for name, of in result["crowd"]["seconds"].items()
    })  # fmt: skip
    rounds, fastest = result["peers"]["runs"], result["peers"]["fastest_threads"]
    _bars(peers, "five epochs, compilation included (limit: the products and Adam alone)", {
        f"{labels.get(name, name)}, {harness.threads(threads)}":
            {"": [run["seconds"] for run in rounds[name][str(threads)]]}
        for name, threads in fastest.items()
    })  # fmt: skip
    images = result["scaling"]["images"]
    each = [1e6 * row["seconds"] / row["digits"] for row in images]
    _line(digits, "cost of a digit", "digits in the set", "µs for each digit", [row["digits"] for row in images], each)
    digits.set_ylim(0, 1.25 * max(each))
    digits.set_xticks([row["digits"] for row in images], [f"{row['digits']:,}" for row in images])
    sizes = {int(width): statistics.median(of["seconds"]) for width, of in result["scaling"]["widths"].items()}
    _line(widths, "an epoch against the width", "width of the first layer", "seconds", [*sizes], [*sizes.values()])
    widths.set_yscale("log")
    widths.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    widths.yaxis.set_minor_locator(NullLocator())
    widths.set_xticks([*sizes], [str(width) for width in sizes])
    figure.suptitle(title, fontsize=13)
    return figure


def _bars(axes: Axes, title: str, rows: Mapping[str, Mapping[str, Sequence[float | None]]]) -> None:
    """Medians as bars, lowest to highest as whiskers; several states of a row in two colours. None: given up."""
    states = list(next(iter(rows.values())))
    height = 0.8 / len(states)
    for row, of in enumerate(rows.values()):
        for number, (state, times) in enumerate(of.items()):
            known = sorted(90.0 if second is None else second for second in times)  # after which crowd gives up
            middle = statistics.median(known)
            place, spread = row + (number - (len(states) - 1) / 2) * height, [[middle - known[0]], [known[-1] - middle]]
            colour, label = (RIGHT, WRONG)[number], None if row else state
            axes.barh(place, middle, height, xerr=spread, color=colour, ecolor=QUIET, label=label)
            axes.text(known[-1], place, f" {middle:.2f} s", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    if len(states) > 1:
        axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(-0.75, -0.22), ncols=2)


def _line(axes: Axes, title: str, across: str, up: str, x: Sequence[float], y: Sequence[float]) -> None:
    """Measured points, joined, against a logarithmic axis."""
    axes.plot(x, y, color=RIGHT, marker="o")
    for place, value in zip(x, y, strict=True):
        axes.annotate(f"{value:.2g}", (place, value), (5, -12), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.margins(0.2, 0.15)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
