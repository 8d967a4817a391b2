"""Time an epoch of our loop beside the usual DataLoader loop, or what another benchmark does."""

import argparse
import importlib
import os
from pathlib import Path

from digit_recognizer.cli.parser import Parser, add_data_dir, positive, refuse_together, run_main
from digit_recognizer.runtime.errors import UserError

# Each benchmark: its module, the flags that it alone takes, and what it does.
BENCHMARKS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "epoch": ("epoch", (), "time an epoch of our loop beside the usual DataLoader loop (default)"),
    "training_time": ("training_time", (), "time trainings of most recipes with all cores, and predictions"),
    "contention": ("contention", ("quick",), "time an epoch with several thread settings, beside a busy process"),
    "scaling": ("scaling", (), "measure time and memory by digits, time by width, and start-up times"),
    "frameworks": (
        "compare_frameworks", ("quick", "threads"), "time whole trainings by scikit-learn, Keras, JAX and others",
    ),
    "reading_time": ("reading_time", (), "time the reading of a digit, of a large page, and of many pictures"),
    "gpu": ("gpu", ("quick", "device"), "time trainings, an epoch and predictions on a graphics card"),
}  # fmt: skip


def main() -> None:
    """Read the command line and call the benchmark."""
    options = _parse()
    if options.figure is not None:
        ignored = {f"--{flag}": getattr(options, flag) or None for flag in ("rounds", "quick", "threads", "device")}
        refuse_together("--figure", True, ignored)
        _draw(options.out, options.figure)
        return
    module, own, _ = BENCHMARKS[options.benchmark]
    for flag in ("quick", "threads", "device"):
        if flag not in own and getattr(options, flag):
            takers = ", ".join(name for name, (_, flags, _) in BENCHMARKS.items() if flag in flags)
            raise UserError(f"--{flag} goes with {takers} only, not with {options.benchmark}")
    if options.benchmark in ("epoch", "frameworks"):
        # libgomp's default, the fastest on a quiet machine, for all alike. Must be set before torch is imported.
        os.environ["GOMP_SPINCOUNT"] = "300000"
    arguments = {flag: getattr(options, flag) for flag in (*own, "rounds") if getattr(options, flag)}
    importlib.import_module(f"benchmarks.{module}").run(options.out, options.data_dir, **arguments)


def _parse() -> argparse.Namespace:
    names = "\n".join(f"  {name:15} {text}" for name, (_, _, text) in BENCHMARKS.items())
    parser = Parser(prog="python -m benchmarks", description=f"{__doc__}\n\n{names}")
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "benchmark", metavar="BENCHMARK", nargs="?", choices=BENCHMARKS, default="epoch", help=", ".join(BENCHMARKS)
    )
    which.add_argument("--figure", metavar="FILE", help="time nothing; draw the results, such as to figures/speed.png")
    add(
        "--rounds",
        metavar="N",
        type=positive,
        help="repetitions, in turn (default: 5; of training_time 3, but ten of what takes less than ten seconds)",
    )
    add(
        "--quick",
        action="store_true",
        help="check that contention, frameworks or gpu work: few digits, nothing is written",
    )
    add("--threads", metavar="N", type=positive, help="threads of frameworks, which also run with 1 (default: all)")
    add("--device", metavar="NAME", help="of gpu: cuda, mps, auto or, to try it, cpu (default: cuda)")
    add("--out", metavar="DIR", default="results", help="folder of the results (default: results)")
    add_data_dir(parser)
    return parser.parse_args()


def _draw(out: str, path: str) -> None:
    from benchmarks import harness, plots
    from digit_recognizer.plots import save

    results = harness.load_results(out)
    if missing := {"seconds", "contention", "scaling", "frameworks"} - set(results):
        raise UserError(
            f"{Path(out) / 'benchmark.json'} lacks {', '.join(sorted(missing))}; run those benchmarks first"
        )
    save(plots.draw_results(results, "Speed of the default recipe, 784-512-256-10, on MNIST"), path)


if __name__ == "__main__":
    run_main(main)
