"""Rows and numbers of boxes whose places are known."""

import numpy as np
import pytest

from digit_recognizer.page_reader.rows import find_rows, find_slope, split_numbers


def boxes_at(places: list[tuple[float, float]], width: float = 20, height: float = 30) -> np.ndarray:
    """Boxes around these centres, x and y."""
    return np.array([(x - width / 2, y - height / 2, x + width / 2, y + height / 2) for x, y in places])


def turned(places: list[tuple[float, float]], degrees: float) -> list[tuple[float, float]]:
    """The places on a page that was turned clockwise."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [(500 + (x - 500) * cos - (y - 300) * sin, 300 + (x - 500) * sin + (y - 300) * cos) for x, y in places]


@pytest.mark.parametrize("degrees", [-15, -10, -5, 0, 5, 10, 15])
@pytest.mark.parametrize("spacing", [22, 40, 90])
def test_rows_are_found_on_pages_that_are_askew(degrees, spacing):
    page = [(200 + spacing * column, 200 + 60 * row) for row in range(3) for column in range(6)]
    order = np.random.default_rng(0).permutation(len(page))
    rows = find_rows(boxes_at([turned(page, degrees)[index] for index in order]))
    assert [[int(order[index]) for index in row] for row in rows] == [
        [6 * row + place for place in range(6)] for row in range(3)
    ]


def test_the_slope_that_was_put_in_is_found():
    page = turned([(200 + 40 * column, 200 + 70 * row) for row in range(2) for column in range(8)], 7)
    assert find_slope(boxes_at(page)) == pytest.approx(7, abs=1)


def test_a_row_may_bend_and_its_digits_may_dance():
    rise = [0, 3, -4, 8, 2, -5, 4]
    bent = [(100 + 35 * place, 100 + 0.4 * place**2 + offset) for place, offset in enumerate(rise)]
    assert find_rows(boxes_at(bent)) == [list(range(7))]


def test_small_and_large_digits_stand_in_one_row():
    boxes = np.concatenate([boxes_at([(100, 100), (140, 100)], 30, 50), boxes_at([(180, 108), (205, 110)], 16, 25)])
    assert find_rows(boxes) == [[0, 1, 2, 3]]


def test_nothing_and_one_glyph():
    assert find_rows(np.zeros((0, 4))) == []
    assert find_rows(boxes_at([(5, 5)])) == [[0]]


@pytest.mark.parametrize(
    ("gaps", "numbers"),
    [
        ([], [1]),
        ([5], [2]),
        ([60], [1, 1]),
        ([5, 5, 70, 5], [3, 2]),
        ([60, 60, 60, 60], [5]),  # wide, but all alike
        ([2, 3, 25, 2, 3], [6]),  # wider than the others, but no digit would fit in twice
        ([5, 80, 5, 5, 80, 5, 5], [2, 3, 3]),
    ],
)
def test_numbers_are_split_at_wide_gaps(gaps, numbers):
    lefts = np.cumsum([0, *(gap + 20 for gap in gaps)])
    boxes = np.array([(left, 0, left + 20, 30) for left in lefts])
    assert [len(number) for number in split_numbers(boxes)] == numbers
