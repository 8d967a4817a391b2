"""How long the tests of trust run: a short seeded slice as a rule; all of it by `make stress`, which keeps figures."""

import json
import multiprocessing
import os
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from digit_recognizer import models, recipes
from digit_recognizer.runtime import files, provenance

LONG = os.environ.get("DIGITS_STRESS") == "1"
RESULTS = Path(__file__).parents[2] / "results" / "stress.json"  # docs/testing.md quotes it
PRELOADED = [
    "pytest", "pooch", "requests", "sklearn.datasets", "torch._dynamo", "torchvision.datasets",
    "digit_recognizer.apps.web.reading", "digit_recognizer.data.sources", "digit_recognizer.plots",
    "digit_recognizer.records", "digit_recognizer.training",
]  # fmt: skip


def count(short: int, long: int) -> int:
    """How many times something is tried: in `make test`, and in `make stress`."""
    return long if LONG else short


def forkserver() -> BaseContext:
    """Starts processes that have imported what they need and hold no threads of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def keep(name: str, figures: dict[str, Any]) -> None:
    """After a long run, what was measured, with what it was measured; a short one keeps nothing."""
    print(f"\n{name}: {json.dumps(figures)}")
    if LONG:
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        made_with = provenance.collect(models.build(recipes.get()))
        content = {**kept, name: {**figures, "made_with": made_with}}
        files.write_atomically(RESULTS, (json.dumps(content, indent=1) + "\n").encode())


def table() -> str:
    """The figures that were kept, as docs/testing.md has them."""
    lines = ["| test | figure | measured |", "|---|---|---|"]
    for name, figures in sorted(json.loads(RESULTS.read_text()).items()):
        for what, value in figures.items():
            if what != "made_with":
                lines.append(f"| {name} | {what.replace('_', ' ')} | {_in_words(value)} |")
    return "\n".join(lines)


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value) if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    print(table())
