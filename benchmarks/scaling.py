"""How cost grows: with the number of digits, with the width of the network; and how long each command takes to start.

`python -m digit_recognizer.scaling COPIES` is an epoch on that many copies of MNIST, in a process of its own, for the
memory of a process never shrinks.
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
from digit_recognizer.runtime.errors import UserError

COPIES = (1, 10, 100)  # of MNIST's 60,000 training digits
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
    """Measure all three with one thread, print them, and write them into out/benchmark.json under "scaling"."""
    harness.check_can_keep(out)
    from digit_recognizer import data, models, recipes
    from digit_recognizer.runtime import provenance
    from digit_recognizer.runtime.device import choose_device

    digits = data.load("mnist", data_dir)
    choose_device("cpu", 1)
    result: dict[str, Any] = {
        "images": [in_a_process(copies, data_dir) for copies in COPIES],
        "widths": {str(width): width_epochs(width, digits.train, rounds) for width in WIDTHS},
        "commands": {name: [start(command) for _ in range(rounds)] for name, command in COMMANDS.items()},
        "md5": dict(digits.md5),
        "made_with": provenance.collect(models.build(recipes.get())),
    }
    harness.keep(out, {"scaling": result})
    print(table(result))


def in_a_process(copies: int, data_dir: str | Path | None = None) -> dict[str, Any]:
    """What main prints of an epoch on that many copies: digits, seconds, and megabytes at the peak and before."""
    return harness.in_a_process(f"an epoch on {copies} copies of MNIST", "scaling", copies, data_dir=data_dir)


def width_epochs(width: int, train: Any, rounds: int) -> dict[str, Any]:
    """Seconds of epochs of 784-width-width/2-10, on MNIST's first 6,000 digits, times ten; and its weights."""
    from benchmarks import epoch
    from digit_recognizer import data, recipes

    recipe = recipes.get(widths=(784, width, width // 2, 10))
    part = data.Split(train.images[:6000], train.labels[:6000])
    epoch.our_epoch(part, recipe)  # warm
    seconds = [10 * epoch.our_epoch(part, recipe) for _ in range(rounds)]
    return {"parameters": recipe.parameter_count, "seconds": seconds}


def start(arguments: list[str]) -> float:
    """Seconds from the call of a command to its end, as its user waits for it."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    first = result["images"][0]
    lines = ["an epoch of the default recipe, one thread"]
    for row in result["images"]:
        line = (
            f"{row['digits']:>10,} digits: {row['seconds']:7.2f} s, {1e6 * row['seconds'] / row['digits']:.1f} µs each"
        )
        if row is not first:
            grown = 1e6 * (row["peak_mb"] - first["peak_mb"]) / (row["digits"] - first["digits"])
            line += f", {grown:,.0f} bytes of memory for each digit more"
        lines.append(line)
    for width, of in result["widths"].items():
        network = f"784-{width}-{int(width) // 2}-10"
        lines.append(f"{network:>17}: {statistics.median(of['seconds']):7.2f} s, {of['parameters']:,} weights")
    lines.append("from the call of a command to its end")
    lines += [f"{statistics.median(seconds):6.2f} s  {name}" for name, seconds in result["commands"].items()]
    return "\n".join(lines)


def main() -> None:
    """One epoch of the default recipe on that many copies of MNIST's training digits; prints what it took as JSON."""
    parser = Parser(prog="python -m digit_recognizer.scaling", description=main.__doc__)
    parser.add_argument("copies", metavar="COPIES", type=int)
    copies = parser.parse_args().copies
    if copies < 1:
        parser.error("there must be at least one copy")
    from benchmarks import epoch
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", 1)
    train = data.load("mnist").train
    many = data.Split(train.images.repeat(copies, 1, 1), train.labels.repeat(copies))
    seconds = epoch.our_epoch(many, recipes.get())
    print(json.dumps({"digits": len(many.labels), "seconds": seconds, "peak_mb": _peak()}))


def _peak() -> float:
    """The most memory, in MB, that this process ever held. Raises UserError where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        raise UserError("the memory of a process can be measured on Linux only") from error
    return int(status.split("VmHWM:")[1].split()[0]) / 1000  # not getrusage's, which begins with the parent's


if __name__ == "__main__":
    run_main(main)
