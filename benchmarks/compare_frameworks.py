"""Framework comparison: the trainings of frameworks.py in turn, each in a process of its own, and a table.

`python -m benchmarks.compare_frameworks NAME` is such a process. It sets its cores and threads before it imports
anything that computes, and prints a line of JSON.
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

# The packages whose versions matter for each; all must be installed.
PACKAGES = {
    "ours": ("torch",),
    "dataloader": ("torch", "torchvision"),
    "scikit-learn": ("scikit-learn", "numpy"),
    "skorch": ("skorch", "torch"),
    "lightning": ("lightning", "torch"),
    "keras": ("keras", "jax"),
    "jax": ("jax", "jaxlib"),
    "lower_bound": ("torch",),
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run(
    out: str | Path, data_dir: str | None = None, rounds: int = 5, threads: int | None = None, quick: bool = False
) -> None:
    """Train with every installed framework in turn, with one thread and with that many; print a table.

    threads: by default one per core. Saved in out/benchmark.json under "frameworks"; quick, one epoch of 6,000 digits
    in one round, is not saved. Raises UserError for more threads than cores.
    """
    threads = validate_threads(threads)
    present, missing = installed()
    if missing:
        print(
            f"not installed, and left out: {', '.join(missing)}; install them: pip install -e .[frameworks]", flush=True
        )
    if not quick:
        harness.check_writable(out)
    from digit_recognizer import models, recipes
    from digit_recognizer.data import sources
    from digit_recognizer.runtime import provenance

    recipe = recipes.get(epochs=1 if quick else None)
    count = 6_000 if quick else 60_000
    settings = [threads] if quick else sorted({1, threads})
    runs = train_in_turn(present, settings, 1 if quick else rounds, recipe.epochs, count, data_dir)
    what = f"seconds from the call to the trained network: {recipe.name}, {recipe.epochs} x {count:,} digits of MNIST"
    result = {"what": what, **summary(runs), "missing": missing, "versions": {name: versions(name) for name in present}}
    result["md5"] = dict(sources.MNIST_MD5)  # each process loads these files
    result["spin_count"] = os.environ.get("GOMP_SPINCOUNT")
    result["made_with"] = provenance.collect(models.build(recipe)) | {"threads": settings}
    if not quick:
        harness.save_results(out, {"frameworks": result})
    print(table(result))


def validate_threads(threads: int | None) -> int:
    """That many threads, by default one per core. Raises UserError for more threads than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= cores:
        raise UserError(f"--threads must be from 1 to the number of cores, {cores}, not {threads}")
    return threads or cores


def installed() -> tuple[list[str], list[str]]:
    """Names of the installed frameworks and of the others. Imports none of them."""
    present = [name for name, packages in PACKAGES.items() if all(map(_version, packages))]
    return present, [name for name in PACKAGES if name not in present]


def versions(name: str) -> dict[str, str | None]:
    """Versions of a framework's packages."""
    return {package: _version(package) for package in PACKAGES[name]}


def train_in_turn(
    names: list[str], settings: list[int], rounds: int, epochs: int, count: int, data_dir: str | None = None
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Results of each framework at each number of threads, by rounds; no warm-up, since compilation counts."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {str(n): [] for n in settings} for name in names}
    for number in range(1, rounds + 1):
        for name in names:
            for threads in settings:
                result = train_in_process(name, threads, epochs, count, data_dir)
                runs[name][str(threads)].append(result)
                took = f"{harness.format_threads(threads)}: {result['seconds']:.2f} s"
                print(f"round {number}: {name}, {took}", flush=True)
    return runs


def train_in_process(
    name: str, threads: int, epochs: int, count: int, data_dir: str | Path | None = None
) -> dict[str, Any]:
    """One training by one framework: what main prints."""
    arguments = (name, "--threads", threads, "--epochs", epochs, "--count", count)
    return harness.run_in_process(name, "compare_frameworks", *arguments, data_dir=data_dir)


def summary(runs: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """The numbers of the table, each framework at its faster number of threads.

    ratios: seconds divided by ours, by rounds. steady_epoch: median of the epochs after the first.
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
    """The number of threads with the lowest median."""
    return min(seconds, key=lambda setting: statistics.median(seconds[setting]))


def table(result: dict[str, Any]) -> str:
    """A result as text, one line per framework."""
    rows = [("", "threads", "seconds", "steady epoch", "times ours", "test accuracy", "version")]
    noisy = []
    for name, threads in result["fastest_threads"].items():
        seconds = {n: [run["seconds"] for run in runs] for n, runs in result["runs"][name].items()}
        noisy += [
            f"{name} with {harness.format_threads(int(n))}" for n, times in seconds.items() if harness.is_noisy(times)
        ]
        steady, accuracy = result["steady_epoch"][name], result["accuracy"][name]
        its = ", ".join(f"{package} {version}" for package, version in result["versions"][name].items())
        rows.append((
            name, str(threads), harness.format_spread(seconds[str(threads)]),
            "" if steady is None else f"{steady:.2f}", harness.format_spread(result["ratios"][name]),
            "" if accuracy is None else f"{accuracy:.2%}", its,
        ))  # fmt: skip
    lines = [f"{result['what']}, median of {result['rounds']} rounds (lowest to highest)", columns(rows)]
    lines += [f"left out: {', '.join(result['missing'])}"] if result["missing"] else []
    return "\n".join(lines + harness.noise_warning(noisy))


def main() -> None:
    """Train once with one framework in this process, which first sets its cores and threads."""
    parser = Parser(prog="python -m benchmarks.compare_frameworks", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", choices=PACKAGES, help=", ".join(PACKAGES))
    parser.add_argument("--threads", metavar="N", type=int, help="and cores (default: all)")
    parser.add_argument("--epochs", metavar="N", type=int, help="instead of the recipe's")
    parser.add_argument("--count", metavar="N", type=int, default=60_000, help="number of digits (default: 60,000)")
    options = parser.parse_args()
    if not 64 <= options.count <= 60_000:
        raise UserError(f"--count must be from 64, a batch, to 60,000, not {options.count}")
    threads = validate_threads(options.threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # JAX takes its threads from these
    elif threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ |= dict.fromkeys(THREADS, str(threads)) | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    from benchmarks import frameworks
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    if options.name in ("ours", "lower_bound"):
        # Loading the digits starts threads, which do not follow later changes.
        choose_device("cpu", threads)
    digits = data.load("mnist")
    part = data.Split(digits.train.images[: options.count], digits.train.labels[: options.count])
    digits = data.Digits(digits.name, part, None, digits.test, digits.md5)
    print(json.dumps(frameworks.train(options.name, digits, recipes.get(epochs=options.epochs))))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    run_main(main)
