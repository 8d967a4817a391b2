"""Synthetic pages: what is on them is what they say."""

import numpy as np
import pytest

from digit_recognizer.data import pages, paper, writing
from digit_recognizer.data.digits import Split
from digit_recognizer.recipes.page_reader import OTHER


@pytest.fixture(scope="module")
def source(optdigits) -> Split:
    return optdigits.train


def test_a_page_follows_from_its_seed_and_index(source):
    first, second = (pages.make_page(source, 3, 5) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert not np.array_equal(first.image, pages.make_page(source, 3, 6).image)
    assert not np.array_equal(first.image, pages.make_page(source, 4, 5).image)


def test_pages_hold_all_digits_other_glyphs_and_sometimes_nothing(source):
    made = [pages.make_page(source, 0, index) for index in range(150)]
    assert all(page.image.shape == (pages.SIDE, pages.SIDE) and page.image.dtype == np.uint8 for page in made)
    labels = np.concatenate([page.labels for page in made])
    assert set(labels.tolist()) == {*range(10), OTHER}
    assert 10 < sum(len(page.labels) == 0 for page in made) < 60
    assert 0.05 < np.mean([np.median(page.image) < 100 for page in made]) < 0.6  # light on dark, or in shadow
    for page in made:
        assert len(page.boxes) == len(page.labels) == len(page.rows) == len(page.visible)
        assert (
            (page.boxes[:, 2:] > page.boxes[:, :2]).all()
            and (page.boxes >= 0).all()
            and (page.boxes <= pages.SIDE).all()
        )
        assert (np.diff(page.rows) >= 0).all()


def test_in_the_box_of_a_visible_digit_there_is_ink(source):
    contrasts = []
    for index in range(80):
        page = pages.make_page(source, 1, index)
        for (left, top, right, bottom), visible in zip(page.boxes.astype(int), page.visible, strict=True):
            if visible:
                contrasts.append(np.ptp(page.image[top:bottom, left:right].astype(int)))
    assert len(contrasts) > 200 and np.percentile(contrasts, 2) > 12


def test_an_empty_page_has_no_glyph_and_any_size(source):
    page = pages.make_page(source, 0, 1, side=256, empty=True)
    assert page.image.shape == (256, 256) and len(page.labels) == 0


def test_a_pair_stands_as_close_as_its_gap_says():
    square = writing.Glyph(np.ones((20, 10), np.float32), 0)
    for gap in (-3, 0, 7):
        assert writing._beside((50, 0, square), square, 0, gap) == 60 + gap


def test_lines_boxes_and_discs_are_where_they_were_put():
    box = paper.draw_box((60, 80), (10, 20, 50, 40), 2)
    assert box[20, 30] == box[30, 10] == 1 and box[30, 30] == box[5, 5] == 0
    disc, ring = (paper.draw_ellipse((60, 60), (30, 30), (20, 20), width) for width in (None, 2))
    assert disc[30, 30] == 1 and ring[30, 30] == 0 and ring[30, 10] == 1 and disc[5, 5] == 0
    stroke = paper.draw_segment((20, 60), (10, 10), (50, 10), 3)
    assert stroke[10, 30] == 1 and stroke[10, 5] == 0 and stroke[15, 30] == 0
    lines = paper.draw_lines((100, 100), 20, 0, np.random.default_rng(0))
    assert 0 < lines.mean() < 0.5 and lines.max() > 0.5
