"""Time an epoch of our loop beside the usual DataLoader loop, or what the flags say."""

import argparse
import importlib
import os
from pathlib import Path

from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.runtime.errors import UserError

MODULES = {
    "--training-time": ("training_time", "time the training of each recipe with all cores, and predictions"),
    "--contention": ("contention", "time an epoch with several thread settings, beside a busy process"),
    "--scaling": ("scaling", "measure time and memory by digits, time by width, and start-up times"),
    "--frameworks": ("compare_frameworks", "time whole trainings by scikit-learn, Keras, JAX and others"),
}


def main() -> None:
    """Read the command line and call the benchmark."""
    options = _parse()
    if options.figure is not None:
        _draw(options.out, options.figure)
        return
    extra = {"threads": options.threads, "quick": options.quick}
    if options.module != "compare_frameworks" and any(extra.values()):
        raise UserError("--quick and --threads go with --frameworks only")
    if options.module in ("epoch", "compare_frameworks"):
        # libgomp's default, the fastest on a quiet machine, for all alike. Must be set before torch is imported.
        os.environ["GOMP_SPINCOUNT"] = "300000"
    module = importlib.import_module(f"benchmarks.{options.module}")
    arguments = extra if options.module == "compare_frameworks" else {}
    module.run(options.out, options.data_dir, options.rounds, **arguments)


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rounds", metavar="N", type=positive, default=5, help="repetitions, all loops in turn (default: 5)")
    which = parser.add_mutually_exclusive_group()
    for flag, (module, text) in MODULES.items():
        which.add_argument(flag, dest="module", action="store_const", const=module, default="epoch", help=text)
    which.add_argument("--figure", metavar="FILE", help="time nothing; draw the results, such as to figures/speed.png")
    add("--quick", action="store_true", help="check that all frameworks work: 6,000 digits, nothing is written")
    add("--threads", metavar="N", type=positive, help="threads of the frameworks, which also run with 1 (default: all)")
    add("--out", metavar="DIR", default="results", help="folder of benchmark.json (default: results)")
    add("--data-dir", metavar="DIR", help="folder of MNIST/raw")
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
