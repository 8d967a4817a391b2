"""The scaling benchmark: each part measures what it says, and the table says where memory is wasted."""

import pytest

from benchmarks import scaling
from digit_recognizer import models, recipes


@pytest.mark.usefixtures("mnist")
def test_an_epoch_on_copies_is_measured_in_a_process_of_its_own():
    row = scaling.measure_copies(2)
    assert row["digits"] == 120_000 and row["seconds"] > 0
    assert row["peak_mb"] > 120_000 * 784 / 1e6  # the pixels alone


def test_widths_are_those_of_the_network(optdigits):
    result = scaling.time_width(16, optdigits.train, 2)
    recipe = recipes.get(widths=(784, 16, 8, 10))
    assert result["parameters"] == models.parameter_count(models.build(recipe))
    assert len(result["seconds"]) == 2 and min(result["seconds"]) > 0


def test_every_command_starts():
    for name, arguments in scaling.COMMANDS.items():
        assert scaling.time_command(arguments) > 0, name


@pytest.mark.parametrize(("peak", "bytes_each"), [(1040, "1,000"), (1310, "1,500")])
def test_the_table_gives_the_memory_of_each_further_digit(peak, bytes_each):
    images = [{"digits": 60_000, "seconds": 1.2, "peak_mb": 500}, {"digits": 600_000, "seconds": 12.0, "peak_mb": peak}]
    widths = {"128": {"parameters": 1, "seconds": [1.0, 2.0, 3.0]}}
    text = scaling.table({"images": images, "widths": widths, "commands": {"it": [0.1, 0.2, 0.3]}})
    assert "60,000 digits:    1.20 s, 20.0 µs each\n" in text
    assert f"600,000 digits:   12.00 s, 20.0 µs each, {bytes_each} bytes of memory for each further digit" in text
    assert ("more than" in text) == (peak > 1100)
    assert "784-128-64-10:    2.00 s, 1 parameters" in text and "  0.20 s  it" in text
