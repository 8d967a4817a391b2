"""Many visitors at once: every answer equals the command line's, none is another visitor's, and memory stays flat."""

import asyncio
import io
import statistics
import sys
import time
from collections.abc import Iterable

import numpy as np
import pytest
import stress
from page_client import Server, Visitor, encoded, served
from PIL import Image

from digit_recognizer import data
from digit_recognizer.apps.web import page
from digit_recognizer.recognition.prediction import UNLIKE, Prediction
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.text import percent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")
VISITORS, READS = stress.count(5, 50), stress.count(3, 20)  # READS: pictures of each visitor
ROUNDS = stress.count(1, 2)  # of all visitors
SETTLED, LATE = 500, 2000  # predictions between which the server's memory is compared
MAX_GROWTH = 0.05
TOLERANCE = 1.0  # mean absolute difference in grey levels: JPEG changes at most 0.5, another digit's image 2 or more


@pytest.fixture(scope="module")
def digits(request) -> data.Split:
    """MNIST's test digits; where MNIST is absent, the embedded set's."""
    try:
        return request.getfixturevalue("mnist").test
    except pytest.skip.Exception:
        return request.getfixturevalue("optdigits").train


def as_uploaded(digit: np.ndarray, place: int) -> bytes:
    """Return a digit, uint8 (28, 28), as a PNG or a JPEG file, dark on light and enlarged."""
    picture = Image.fromarray(235 - digit // 4 * 3).resize([28 * (5 + place % 7)] * 2, Image.Resampling.BICUBIC)
    return encoded(picture, ("PNG", "JPEG")[place % 2])


def as_drawn(digit: np.ndarray, place: int) -> bytes:
    """Return a digit, uint8 (28, 28), as the canvas's PNG file, black on white, somewhere on it."""
    side = 140 + 10 * (place % 8)
    canvas = Image.new("RGBA", (page.CANVAS_WIDTH, page.CANVAS_HEIGHT), "white")
    where = (place * 7 % (page.CANVAS_WIDTH - side), place * 5 % (page.CANVAS_HEIGHT - side))
    canvas.paste(Image.fromarray(255 - digit).resize((side, side), Image.Resampling.BICUBIC), where)
    return encoded(canvas)


class Reading:
    """A picture, to be drawn or uploaded under a name, and the command line's prediction."""

    def __init__(self, recognizer: Recognizer, digit: np.ndarray, place: int, drawn: bool) -> None:
        self.name, self.drawn = f"{place}.png", drawn
        self.content = (as_drawn if drawn else as_uploaded)(digit, place)
        self.expected = recognizer.predict(self.content)

    async def ask(self, visitor: Visitor) -> float:
        """Have the page read it, and check the answer. Returns the seconds that it took."""
        await visitor.press("Clear") if self.drawn else await visitor.remove_files()
        started = time.perf_counter()
        await (visitor.draw(self.content) if self.drawn else visitor.upload((self.name, self.content)))
        seconds = time.perf_counter() - started
        said = visitor.said
        assert expected_text(self.expected) in said, f"{self.name}: {said}"
        *_, seen = await visitor.pictures()  # the last shows what the network saw
        seen = np.asarray(Image.open(io.BytesIO(seen)).convert("L"), np.float32)
        expected = page.magnify(self.expected.image).resize(seen.shape, Image.Resampling.BILINEAR)
        away = float(np.abs(seen - np.asarray(expected)).mean())
        assert away < TOLERANCE, f"{self.name} was taken for another picture: {away:.1f} shades of grey away"
        return seconds


def expected_text(prediction: Prediction) -> str:
    """Return the beginning of the page's answer."""
    if prediction.reason == UNLIKE:
        return page.UNLIKE_A_DIGIT
    others = "".join(f" , or {digit}" for digit in prediction.alternatives)  # an element of its own
    return f"Read as the digit {prediction.digit}{others} {percent(prediction.confidence)} sure"


def make_readings(recognizer: Recognizer, digits: data.Split, count: int) -> list[list[Reading]]:
    """Return READS different pictures for each visitor: the first half uploaded, the others drawn."""
    chosen, place = [], 0
    while len(chosen) < count * READS:
        drawn = len(chosen) % READS >= READS / 2
        one = Reading(recognizer, digits.images[place].numpy(), place, drawn)
        if one.expected.reason in (None, UNLIKE):  # the page answers blank paper and several digits otherwise
            chosen.append(one)
        place += 1
    assert place < 1.1 * len(chosen) + 5
    return [chosen[start : start + READS] for start in range(0, len(chosen), READS)]


class ConcurrentVisitors:
    """Many visitors at once. seconds: of each answer; memory: of the server after each answer, in megabytes."""

    def __init__(self, server: Server) -> None:
        self.server, self.seconds, self.memory, self.requests = server, [], [], 0

    async def visit(self, readings_of_visitors: Iterable[list[Reading]]) -> None:
        """Each list of readings is one visitor's; all come at once and leave at the end."""
        await asyncio.gather(*map(self._visit_once, readings_of_visitors))

    async def _visit_once(self, readings: list[Reading]) -> None:
        drawing = False
        async with Visitor(self.server.port) as visitor:
            for reading in readings:
                if reading.drawn and not drawing:
                    await visitor.choose("Where does the picture come from?", "Draw")
                    drawing = True
                self.seconds.append(await reading.ask(visitor))
                self.memory.append(self.server.memory())
            self.requests += visitor.requests

    def memory_after(self, answers: int) -> float:
        """Megabytes after so many answers: the median of a hundred, as it depends on who is being served."""
        return round(statistics.median(self.memory[max(0, answers - 50) : answers + 50]), 1)


def test_visitors_at_once_get_the_command_lines_answers(digits, tmp_path):
    readings = make_readings(Recognizer.load(), digits, VISITORS)
    (tmp_path / "models").mkdir()
    with served(tmp_path / "server", tmp_path / "models") as server:
        visitors = ConcurrentVisitors(server)
        started = time.perf_counter()
        for _ in range(ROUNDS):
            asyncio.run(visitors.visit(readings))
        seconds = time.perf_counter() - started
    assert len(visitors.seconds) == ROUNDS * VISITORS * READS
    stress.keep(
        "page",
        {
            "visitors_at_once": VISITORS, "predictions": len(visitors.seconds), "errors": 0, "mixed_up": 0,
            "predictions_a_second": round(len(visitors.seconds) / seconds, 1),
            "requests_a_second": round(visitors.requests / seconds, 1),
            "median_seconds": round(statistics.median(visitors.seconds), 2),
            "95th_percentile_seconds": round(float(np.percentile(visitors.seconds, 95)), 2),
            "megabytes_by_predictions": {
                count: visitors.memory_after(count) for count in range(250, len(visitors.memory) + 1, 250)
            },
        },
    )  # fmt: skip
    if stress.LONG:
        assert visitors.memory_after(LATE) < (1 + MAX_GROWTH) * visitors.memory_after(SETTLED)
