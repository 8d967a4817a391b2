"""How cost grows: each part measures what it says, and a failing part says so."""

import pytest

from benchmarks import scaling
from digit_recognizer import models, recipes
from digit_recognizer.runtime.errors import UserError


@pytest.mark.usefixtures("mnist")
def test_five_copies_are_five_times_the_digits_in_more_memory():
    one, five = scaling.in_a_process(1), scaling.in_a_process(5)  # so many that other work hardly turns them round
    assert (one["digits"], five["digits"]) == (60_000, 300_000)
    assert 0 < one["seconds"] < five["seconds"]
    assert 4 * 784 * 0.06 < five["peak_mb"] - one["peak_mb"] < 800  # 188 MB of pixels, and what is counted of each


def test_an_epoch_that_fails_says_why(no_network, tmp_path):
    with pytest.raises(UserError, match=r"an epoch on 1 copies of MNIST failed: .* put the missing files there"):
        scaling.in_a_process(1, tmp_path)


def test_widths_are_the_networks_they_say(optdigits):
    found = scaling.width_epochs(16, optdigits.train, 2)
    recipe = recipes.get(widths=(784, 16, 8, 10))
    assert found["parameters"] == models.parameter_count(models.build(recipe))
    assert len(found["seconds"]) == 2 and min(found["seconds"]) > 0


def test_every_command_starts():
    for name, arguments in scaling.COMMANDS.items():
        assert 0 < scaling.start(arguments) < 60, name


def test_the_table_gives_bytes_for_each_digit_more():
    images = [{"digits": 60_000, "seconds": 1.2, "peak_mb": 500}, {"digits": 600_000, "seconds": 12.0, "peak_mb": 1040}]
    widths = {"128": {"parameters": 1, "seconds": [1.0, 2.0, 3.0]}}
    text = scaling.table({"images": images, "widths": widths, "commands": {"it": [0.1, 0.2, 0.3]}})
    assert "60,000 digits:    1.20 s, 20.0 µs each\n" in text
    assert "600,000 digits:   12.00 s, 20.0 µs each, 1,000 bytes of memory for each digit more\n" in text
    assert "784-128-64-10:    2.00 s, 1 weights" in text and "  0.20 s  it" in text
