"""The figure of the benchmarks: how fast the default recipe trains, and compared with what."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import contention, harness
from digit_recognizer.plots import QUIET, RIGHT, WRONG

TITLES = {"dataloader": "DataLoader loop", "lower_bound": "lower bound"}


def draw_results(results: Mapping[str, Any], title: str) -> Figure:
    """An epoch by each loop, beside a busy process, against digits and width; and whole trainings by framework.

    results: the content of benchmark.json, with "seconds", "contention", "frameworks" and "scaling".
    """
    figure = Figure(figsize=(9, 10), layout="constrained")
    mosaic: Any = [["loops", "contention"], ["frameworks", "frameworks"], ["digits", "widths"]]
    axes = figure.subplot_mosaic(mosaic)
    _bars(axes["loops"], "an epoch of 60,000 digits, float32", {
        _label(name, threads): {"": times}
        for name, each in results["seconds"].items() for threads, times in each.items()
    })  # fmt: skip
    _bars(axes["contention"], "beside a busy process", {
        name.replace(", ", ",\n"): states for name, states in results["contention"]["seconds"].items()
    })  # fmt: skip
    runs, fastest = results["frameworks"]["runs"], results["frameworks"]["fastest_threads"]
    _bars(axes["frameworks"], "five epochs, compilation included (lower bound: matrix products and Adam alone)", {
        _label(name, threads): {"": [run["seconds"] for run in runs[name][str(threads)]]}
        for name, threads in fastest.items()
    })  # fmt: skip
    rows, digits, widths = results["scaling"]["images"], axes["digits"], axes["widths"]
    each = [1e6 * row["seconds"] / row["digits"] for row in rows]
    _line(digits, "time per digit", "number of digits", "µs per digit", [row["digits"] for row in rows], each)
    digits.set(ylim=(0, 1.25 * max(each)))
    digits.set_xticks([row["digits"] for row in rows], [f"{row['digits']:,}" for row in rows])
    sizes = {int(width): statistics.median(each["seconds"]) for width, each in results["scaling"]["widths"].items()}
    _line(widths, "an epoch against the width", "width of the first layer", "seconds", [*sizes], [*sizes.values()])
    widths.set(yscale="log", yticks=[1, 2, 4, 8], yticklabels=["1", "2", "4", "8"])
    widths.set_xticks([*sizes], [str(width) for width in sizes])
    widths.minorticks_off()
    figure.suptitle(title, fontsize=13)
    return figure


def _label(name: str, threads: int | str) -> str:
    return f"{TITLES.get(name, name)}, {harness.format_threads(int(threads))}"


def _bars(axes: Axes, title: str, rows: Mapping[str, Mapping[str, Sequence[float | None]]]) -> None:
    """Medians as bars, ranges as whiskers; the states of a row in two colours. None: longer than the time limit."""
    states = list(next(iter(rows.values())))
    height = 0.8 / len(states)
    for row, of_row in enumerate(rows.values()):
        for number, (state, times) in enumerate(of_row.items()):
            known = sorted(contention.TIMEOUT if second is None else second for second in times)
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
    """Measured points, joined by lines, on a logarithmic horizontal axis."""
    axes.plot(x, y, color=RIGHT, marker="o")
    for place, value in zip(x, y, strict=True):
        axes.annotate(f"{value:.2g}", (place, value), (5, -12), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.margins(0.2, 0.15)
    axes.minorticks_off()
    axes.set_title(title, fontsize=11)
    axes.set(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
