"""The peers of `peers.py` in turn, each training in a process of its own, and what came of it as a table.

`python -m benchmarks.compare_frameworks NAME` is such a process: it takes its cores and threads before it imports what
computes, and prints one line of JSON.
"""

import importlib.metadata
import json
import os
import statistics
from pathlib import Path
from typing import Any

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns

# Whose versions count for whom; the first is also what has to be installed.
PACKAGES = {
    "ours": ("torch",),
    "usual": ("torch", "torchvision"),
    "scikit-learn": ("scikit-learn", "numpy"),
    "skorch": ("skorch", "torch"),
    "lightning": ("lightning", "torch"),
    "keras": ("keras", "jax"),
    "jax": ("jax", "jaxlib"),
    "limit": ("torch",),
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run(
    out: str | Path, data_dir: str | None = None, rounds: int = 5, threads: int | None = None, quick: bool = False
) -> None:
    """Let every installed peer train in turn, with one thread and with that many, and print the table.

    threads: by default as many as there are cores. Written into out/benchmark.json beside what else is there; quick,
    one epoch of 6,000 digits in one round, writes nothing. Raises UserError for threads that there are no cores for.
    """
    threads = check_threads(threads)
    there, missing = installed()
    if missing:
        print(f"not installed, and left out: {', '.join(missing)}; to have them: pip install -e .[peers]", flush=True)
    if not quick:
        harness.check_can_keep(out)
    from digit_recognizer import models, recipes
    from digit_recognizer.data import sources
    from digit_recognizer.runtime import provenance

    recipe = recipes.get(epochs=1 if quick else None)
    count = 6_000 if quick else 60_000
    settings = [threads] if quick else sorted({1, threads})
    runs = in_turn(there, settings, 1 if quick else rounds, recipe.epochs, count, data_dir)
    what = f"seconds from the call to the trained network: {recipe.name}, {recipe.epochs} x {count:,} digits of MNIST"
    result = {"what": what, **summary(runs), "missing": missing, "versions": {name: versions(name) for name in there}}
    result["md5"] = dict(sources.MNIST_MD5)  # each process loads no other files
    result["spin_count"] = os.environ.get("GOMP_SPINCOUNT")
    result["made_with"] = provenance.collect(models.build(recipe)) | {"threads": settings}
    if not quick:
        harness.keep(out, {"peers": result})
    print(table(result))


def check_threads(threads: int | None) -> int:
    """That many threads, by default one for each core. Raises UserError where there are fewer cores."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= there:
        raise UserError(f"--threads must be from 1 to the number of cores here, {there}, not {threads}")
    return threads or there


def installed() -> tuple[list[str], list[str]]:
    """The names of the peers that are installed, and of those that are not. Imports none of them."""
    there = [name for name, packages in PACKAGES.items() if all(map(_version, packages))]
    return there, [name for name in PACKAGES if name not in there]


def versions(name: str) -> dict[str, str | None]:
    """With which versions a peer trains."""
    return {package: _version(package) for package in PACKAGES[name]}


def in_turn(
    names: list[str], settings: list[int], rounds: int, epochs: int, count: int, data_dir: str | None = None
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What each peer's processes said at each thread setting, by rounds; none goes unmeasured: compiling counts."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {str(n): [] for n in settings} for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            for threads in settings:
                said = in_a_process(name, threads, epochs, count, data_dir)
                runs[name][str(threads)].append(said)
                print(
                    f"round {number}: {name}, {harness.threads(threads)}: {said['seconds']:.2f} s",
                    flush=True,
                )
    return runs


def in_a_process(
    name: str, threads: int, epochs: int, count: int, data_dir: str | Path | None = None
) -> dict[str, Any]:
    """What main prints of one training by one peer."""
    arguments = (name, "--threads", threads, "--epochs", epochs, "--count", count)
    return harness.in_a_process(name, "compare_frameworks", *arguments, data_dir=data_dir)


def summary(runs: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """The numbers of the table, each peer's at the setting at which it is faster.

    ratios: seconds divided by ours, by rounds; steady_epoch: the median of the epochs after the first.
    """
    seconds = {name: {n: [run["seconds"] for run in of[n]] for n in of} for name, of in runs.items()}
    fastest = {name: _fastest(of) for name, of in seconds.items()}
    best = {name: runs[name][threads] for name, threads in fastest.items()}
    steady = {name: [second for run in of for second in run["epochs"][1:]] for name, of in best.items()}
    ours = seconds["ours"][fastest["ours"]]
    return {
        "rounds": len(ours),
        "runs": runs,
        "fastest_threads": {name: int(threads) for name, threads in fastest.items()},
        "median": {name: statistics.median(of[fastest[name]]) for name, of in seconds.items()},
        "steady_epoch": {name: statistics.median(of) if of else None for name, of in steady.items()},
        "ratios": {
            name: [its / our for its, our in zip(of[fastest[name]], ours, strict=True)] for name, of in seconds.items()
        },
        "accuracy": {
            name: None if of[0]["accuracy"] is None else statistics.median(run["accuracy"] for run in of)
            for name, of in best.items()
        },
    }


def _fastest(seconds: dict[str, list[float]]) -> str:
    """At which setting the median is lowest."""
    return min(seconds, key=lambda setting: statistics.median(seconds[setting]))


def table(result: dict[str, Any]) -> str:
    """A race's result as text, one line a peer."""
    rows = [("", "threads", "seconds", "steady epoch", "times ours", "test accuracy", "version")]
    busy = []
    for name, threads in result["fastest_threads"].items():
        seconds = {n: [run["seconds"] for run in runs] for n, runs in result["runs"][name].items()}
        busy += [f"{name} with {harness.threads(int(n))}" for n, times in seconds.items() if harness.differ(times)]
        steady, accuracy = result["steady_epoch"][name], result["accuracy"][name]
        its = ", ".join(f"{package} {version}" for package, version in result["versions"][name].items())
        rows.append((
            name, str(threads), harness.spread(seconds[str(threads)]),
            "" if steady is None else f"{steady:.2f}", harness.spread(result["ratios"][name]),
            "" if accuracy is None else f"{accuracy:.2%}", its,
        ))  # fmt: skip
    lines = [f"{result['what']}, median of {result['rounds']} rounds (lowest to highest)", columns(rows)]
    lines += [f"left out: {', '.join(result['missing'])}"] if result["missing"] else []
    return "\n".join(lines + harness.too_busy(busy))


def main() -> None:
    """One training by one peer, in this process: its cores and threads first, then its imports."""
    parser = Parser(prog="python -m benchmarks.compare_frameworks", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", choices=PACKAGES, help=", ".join(PACKAGES))
    parser.add_argument("--threads", metavar="N", type=int, help="and cores; by default all")
    parser.add_argument("--epochs", metavar="N", type=int, help="instead of the recipe's")
    parser.add_argument("--count", metavar="N", type=int, default=60_000, help="of digits; by default all 60,000")
    options = parser.parse_args()
    if not 64 <= options.count <= 60_000:
        raise UserError(f"--count must be from 64, a batch, to 60,000, not {options.count}")
    threads = check_threads(options.threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # which is what JAX goes by
    elif threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ |= dict.fromkeys(THREADS, str(threads)) | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    from benchmarks import frameworks
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    if options.name in ("ours", "limit"):
        # They do so again while they are timed; by then loading the digits has started threads, which would not follow.
        choose_device("cpu", threads)
    digits = data.load("mnist")
    few = data.Split(digits.train.images[: options.count], digits.train.labels[: options.count])
    digits = data.Digits(digits.name, few, None, digits.test, digits.md5)
    print(json.dumps(frameworks.train(options.name, digits, recipes.get(epochs=options.epochs))))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    run_main(main)
