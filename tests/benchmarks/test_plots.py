"""The figure of the benchmarks shows every number where it belongs."""

import json
from pathlib import Path

from benchmarks import plots

ROOT = Path(__file__).parents[2]


def test_it_shows_medians_and_epochs_that_took_too_long():
    results = {
        "seconds": {"ours": {"1": [1.0, 1.5, 3.0], "2": [0.5]}, "dataloader": {"1": [6.0]}},
        "contention": {
            "seconds": {"one": {"quiet": [1.0], "busy": [2.0]}, "all": {"quiet": [0.7], "busy": [None, None, 3.0]}}
        },
        "frameworks": {
            "runs": {"ours": {"1": [{"seconds": 7.0}], "2": [{"seconds": 5.0}]}, "jax": {"1": [{"seconds": 6.0}]}},
            "fastest_threads": {"ours": 2, "jax": 1},
        },
        "scaling": {
            "images": [{"digits": 60_000, "seconds": 1.2}, {"digits": 600_000, "seconds": 18.0}],
            "widths": {"128": {"seconds": [0.1, 0.3, 0.2]}, "256": {"seconds": [0.4]}},
        },
    }
    loops, contention, frameworks, digits, widths = plots.draw_results(results, "title").axes
    assert [bar.get_width() for bar in loops.patches] == [1.5, 0.5, 6.0]
    assert [label.get_text() for label in loops.get_yticklabels()] == [
        "ours, 1 thread", "ours, 2 threads", "DataLoader loop, 1 thread",
    ]  # fmt: skip
    assert [bar.get_width() for bar in contention.patches] == [1.0, 2.0, 0.7, 90.0]
    assert [bar.get_width() for bar in frameworks.patches] == [5.0, 6.0]
    assert [label.get_text() for label in frameworks.get_yticklabels()] == ["ours, 2 threads", "jax, 1 thread"]
    assert digits.lines[0].get_xydata().tolist() == [[60_000, 20.0], [600_000, 30.0]]
    assert widths.lines[0].get_xydata().tolist() == [[128, 0.2], [256, 0.4]]


def test_it_draws_the_committed_results():
    results = json.loads((ROOT / "results/benchmark.json").read_text())
    axes = plots.draw_results(results, "title").axes
    assert [len(each.patches) for each in axes[:3]] == [4, 8, len(results["frameworks"]["runs"])]
