"""How cost grows: time and memory with the number of digits, time with the width; and start-up times of commands.

`python -m benchmarks.scaling COPIES` runs one epoch on that many copies of MNIST, in a process of its own, since the
memory of a process does not shrink.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, run_main

COPIES = (1, 10, 100)  # of MNIST's 60,000 training digits
MAX_BYTES = 1100  # per digit: 784 of pixels, 192 of label, order and running scores, and some for the allocator
WIDTHS = (128, 256, 512, 1024, 2048)  # of the first hidden layer; the second has half of it
SCRIPT = str(Path(__file__).parents[1] / "mnist_recognition.py")
COMMANDS = {
    "python mnist_recognition.py --help": [SCRIPT, "--help"],
    "python mnist_recognition.py --list": [SCRIPT, "--list"],
    "python -m digit_recognizer --help": ["-m", "digit_recognizer", "--help"],
    "import digit_recognizer": ["-c", "import digit_recognizer"],
    "import digit_recognizer.training": ["-c", "import digit_recognizer.training"],
}


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Measure all three with one thread, print them, and save them in out/benchmark.json under "scaling"."""
    harness.check_writable(out)
    from digit_recognizer import data, models, recipes
    from digit_recognizer.runtime import provenance
    from digit_recognizer.runtime.device import choose_device

    digits = data.load("mnist", data_dir)
    choose_device("cpu", 1)
    result: dict[str, Any] = {
        "images": [measure_copies(copies, data_dir) for copies in COPIES],
        "widths": {str(width): time_width(width, digits.train, rounds) for width in WIDTHS},
        "commands": {name: [time_command(command) for _ in range(rounds)] for name, command in COMMANDS.items()},
        "md5": dict(digits.md5),
        "made_with": provenance.collect(models.build(recipes.get())),
    }
    harness.save_results(out, {"scaling": result})
    print(table(result))


def measure_copies(copies: int, data_dir: str | Path | None = None) -> dict[str, Any]:
    """An epoch on that many copies of MNIST: number of digits, seconds, and peak memory of the process in MB."""
    return harness.run_in_process(f"an epoch on {copies} copies of MNIST", "scaling", copies, data_dir=data_dir)


def time_width(width: int, train: Any, rounds: int) -> dict[str, Any]:
    """Parameters of 784-width-width/2-10, and seconds of its epochs: those on 6,000 digits, times ten."""
    from benchmarks.epoch import our_epoch
    from digit_recognizer import data, recipes

    recipe = recipes.get(widths=(784, width, width // 2, 10))
    part = data.Split(train.images[:6000], train.labels[:6000])
    our_epoch(part, recipe)  # warm-up
    seconds = [10 * our_epoch(part, recipe) for _ in range(rounds)]
    return {"parameters": recipe.parameter_count, "seconds": seconds}


def time_command(arguments: list[str]) -> float:
    """Seconds from the call of a command to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    first = result["images"][0]
    lines = ["an epoch of the default recipe, one thread"]
    for row in result["images"]:
        microseconds = 1e6 * row["seconds"] / row["digits"]
        line = f"{row['digits']:>10,} digits: {row['seconds']:7.2f} s, {microseconds:.1f} µs each"
        if row is not first:
            bytes_each = 1e6 * (row["peak_mb"] - first["peak_mb"]) / (row["digits"] - first["digits"])
            line += f", {bytes_each:,.0f} bytes of memory for each further digit"
            line += f", more than {MAX_BYTES:,}" if bytes_each > MAX_BYTES else ""
        lines.append(line)
    for width, each in result["widths"].items():
        network = f"784-{width}-{int(width) // 2}-10"
        lines.append(f"{network:>17}: {statistics.median(each['seconds']):7.2f} s, {each['parameters']:,} parameters")
    lines.append("from the call of a command to its end")
    lines += [f"{statistics.median(seconds):6.2f} s  {name}" for name, seconds in result["commands"].items()]
    return "\n".join(lines)


def main() -> None:
    """Run one epoch of the default recipe on that many copies of MNIST's training digits; print the result as JSON."""
    parser = Parser(prog="python -m benchmarks.scaling", description=main.__doc__)
    parser.add_argument("copies", metavar="COPIES", type=int)
    copies = parser.parse_args().copies
    if copies < 1:
        parser.error("there must be at least one copy")
    from benchmarks.epoch import our_epoch
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", 1)
    train = data.load("mnist").train
    train = data.Split(train.images.repeat(copies, 1, 1), train.labels.repeat(copies))  # the original is freed
    seconds = our_epoch(train, recipes.get())
    print(json.dumps({"digits": len(train.labels), "seconds": seconds, "peak_mb": harness.peak_mb()}))


if __name__ == "__main__":
    run_main(main)
