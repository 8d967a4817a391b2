"""Time our loop beside the usual one; or whole trainings, by other libraries in turn or of each recipe."""

import argparse
import importlib
import os
from pathlib import Path

from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.runtime.errors import UserError

MODULES = {
    "--ladder": ("training_time", "each recipe's training with all cores, and predictions"),
    "--busy": ("contention", "an epoch with several settings of threads, beside a busy process"),
    "--scaling": ("scaling", "cost by digits and width, and start-up times"),
    "--peers": ("compare_frameworks", "whole trainings by scikit-learn, Keras, JAX and others"),
}


def main() -> None:
    """Read the command line and call the benchmark."""
    options = _options()
    if options.figure is not None:
        _draw(options.out, options.figure)
        return
    of_peers = {"threads": options.threads, "quick": options.quick}
    if options.module != "compare_frameworks" and any(of_peers.values()):
        raise UserError("--quick and --threads go with --peers only")
    if options.module in ("epoch", "compare_frameworks"):
        # libgomp's own default, the best on a quiet machine, for all alike; it must stand before torch is imported.
        os.environ["GOMP_SPINCOUNT"] = "300000"
    module = importlib.import_module(f"benchmarks.{options.module}")
    more = of_peers if options.module == "compare_frameworks" else {}
    module.run(options.out, options.data_dir, options.rounds, **more)


def _options() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rounds", metavar="N", type=positive, default=5, help="of all loops in turn; by default 5")
    kinds = parser.add_mutually_exclusive_group()
    for flag, (module, what) in MODULES.items():
        kinds.add_argument(flag, dest="module", action="store_const", const=module, default="epoch", help=what)
    kinds.add_argument("--figure", metavar="FILE", help="time nothing; draw what was kept, such as figures/speed.png")
    add("--quick", action="store_true", help="see that all peers work: 6,000 digits, nothing is written")
    add("--threads", metavar="N", type=positive, help="of peers, which also run with 1; by default all")
    add("--out", metavar="DIR", default="results", help="of benchmark.json; by default results")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies")
    return parser.parse_args()


def _draw(out: str, path: str) -> None:
    from benchmarks import harness, plots
    from digit_recognizer.plots import save

    result = harness.kept(out)
    if missing := {"seconds", "crowd", "scaling", "peers"} - set(result):
        raise UserError(
            f"{Path(out) / 'benchmark.json'} lacks {', '.join(sorted(missing))}; run those benchmarks first"
        )
    save(plots.chart(result, "Speed of the default recipe, 784-512-256-10, on MNIST"), path)


if __name__ == "__main__":
    run_main(main)
