"""The trial of refused glyphs: what is on a page where one was found, and which pages are read."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.trials import refused_glyphs
from digit_recognizer.recipes.page_reader import OTHER

RECORD = json.loads((Path(__file__).parents[2] / "results/trials/refused_glyphs.json").read_text())


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 10, 20), "a digit, right"),
        ((21, 0, 31, 20), "a digit, wrong"),
        ((40, 0, 50, 20), "another sign"),
        ((4, 0, 24, 20), "nothing, or a part"),
    ],
)
def test_a_refused_glyph_is_what_stands_in_its_box(box, kind):
    boxes = np.array([(0, 0, 10, 20), (20, 0, 30, 20), (40, 0, 50, 20)], np.float32)
    page = SimpleNamespace(boxes=boxes, labels=np.array([3, 4, OTHER]))
    probabilities = (0.05,) * 3 + (0.55,) + (0.05,) * 6  # a 3
    reading = SimpleNamespace(glyph=SimpleNamespace(box=box), prediction=SimpleNamespace(probabilities=probabilities))
    assert refused_glyphs._kind(page, reading) == kind


def test_no_row_has_more_signs_than_digits(mnist):
    pages = list(refused_glyphs.pages_with_rows(mnist.test, range(60)))
    assert len(pages) >= 3 and all(page.visible.all() for page in pages)
    for page in pages:
        for row in set(page.rows.tolist()):
            assert (page.labels[page.rows == row] == OTHER).mean() <= 0.5


def test_most_refused_glyphs_are_no_digits():
    """The reason why they are not read."""
    counts = RECORD["refused"]["at most 0.85"]
    assert counts["a digit, right"] < 0.25 * sum(counts.values())
