"""python -m digit_recognizer COMMAND: what can be done beside training; --help of each says how."""

import argparse
import importlib
import json
import os
from pathlib import Path

from digit_recognizer import command_line, recipes
from digit_recognizer.errors import UserError


def main() -> None:
    """Read the command line and call the command."""
    options = _parser().parse_args()
    if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1":  # torchrun's
        raise UserError("only training is done by several processes; start this command without torchrun")
    options.command(options)


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model on the test part of a data set."""
    from digit_recognizer import checkpoints, data, evaluation, files, records

    if options.json is not None and Path(options.json).is_dir():
        raise UserError(f"{options.json} is a folder; give --json the name of a file")
    checkpoint = checkpoints.load(options.model, options.mean, options.std)
    recipe = checkpoint.recipe
    automatic = options.dataset is None
    name = options.dataset or (checkpoint.record or {}).get("dataset", "mnist")
    digits = data.load(name, options.data_dir, fall_back=automatic)
    logits = evaluation.predict(checkpoint.model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    trained_here = checkpoint.record is not None and checkpoint.record.get("dataset") == digits.name
    published = records.published_for(recipe, digits.name) if trained_here else None
    print(evaluation.comparison(published, digits.name, scores))
    print(evaluation.per_digit_table(evaluation.confusion_matrix(logits, digits.test.labels)))
    if options.json is not None:
        result = {"model": str(options.model), "recipe": recipe and recipe.name, "dataset": digits.name}
        result |= records.scores_as_dict(scores)
        files.write_atomically(options.json, (json.dumps(result, indent=1) + "\n").encode())


def export(options: argparse.Namespace) -> None:
    """Write a saved model for other programs, as ONNX or safetensors."""
    from digit_recognizer import export

    export.run(options.model, options.format, options.out, options.mean, options.std)


def study(options: argparse.Namespace) -> None:
    """Train every recipe for every seed, one record each, and print what they say; what is there is skipped."""
    from digit_recognizer import departures, report, study

    named = options.recipes or [recipe.name for recipe in study.STUDIED]
    chosen = [recipes.get(name) for name in (recipes.RECIPES if named == ["all"] else named)]
    chosen = study.with_data(chosen, options.data_dir)
    engine = {"workers": options.workers, "backend": options.backend, "scheduler": options.scheduler}
    if options.quick:
        study.quick(chosen, options.data_dir, **engine)
        return
    if not options.report:
        study.run(chosen, options.seeds, options.out, options.data_dir, **engine)
    print("\n\n".join((report.published(options.out), departures.page(options.out), report.ladder(options.out),
                       report.ensembles(options.out))))  # fmt: skip


def figures(options: argparse.Namespace) -> None:
    """Draw what the records under a folder say, and what augmentation does to a digit."""
    import torch

    from digit_recognizer import answers, augmentation, charts, data, departures, files, measurements, plots, report

    files.check_writable(options.out)
    out = Path(options.out)
    digits = data.load("mnist", options.data_dir)
    digit = data.to_pixels(digits.train.images[:1])[0, 0]
    shown = augmentation.examples(digit, 10, torch.Generator().manual_seed(0))
    title = f"The first digit of {digits.title}, a {int(digits.train.labels[0])}, changed in each way alone"
    plots.save(charts.augmentations(shown, title), out / "augmentation.png")
    rows = report.costs(options.results)
    title = "Accuracy on MNIST's 10,000 test digits against the cost of training"
    plots.save(charts.accuracy_against_cost(rows, title), out / "accuracy_against_cost.png")
    if strips := answers.strips(options.results):
        title = "Published test accuracies beside ours"
        plots.save(charts.published_results(strips, title), out / "published_results.png")
    if epochs := departures.curve(options.results):
        published = recipes.get(departures.CURVE_OF).published.test_accuracy
        title = "784-128-10 (project 004) on MNIST's 10,000 test digits"
        plots.save(charts.accuracy_against_epochs(epochs, published, title), out / "accuracy_against_epochs.png")
    result = measurements.kept(options.results)
    if {"seconds", "crowd", "scaling", "peers"} <= set(result):
        title = "Speed of the default recipe, 784-512-256-10 on MNIST's 60,000 training digits"
        plots.save(charts.speed(result, title), out / "speed.png")


def bench(options: argparse.Namespace) -> None:
    """Time our loop beside the usual one; or whole trainings, by other libraries in turn or of each recipe."""
    of_peers = {"threads": options.threads, "quick": options.quick}
    if options.module != "race" and any(of_peers.values()):
        raise UserError("--quick and --threads go with --peers only")
    if options.module in ("benchmark", "race"):
        # libgomp's own default, the best on a quiet machine, for all alike; it must stand before torch is imported.
        os.environ["GOMP_SPINCOUNT"] = "300000"
    module = importlib.import_module(f"digit_recognizer.{options.module}")
    module.run(options.out, options.data_dir, options.rounds, **(of_peers if options.module == "race" else {}))


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(prog="python -m digit_recognizer", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    one = _command(commands, "evaluate", evaluate)
    _add_model(one)
    command_line.add_dataset(one, "by default the one that the model was trained on")
    one.add_argument("--json", metavar="FILE", help="write the scores there too")

    one = _command(commands, "export", export)
    _add_model(one)
    one.add_argument("--format", metavar="NAME", required=True, help="onnx or safetensors")
    one.add_argument("--out", metavar="FILE", required=True, help="what to write")

    one = _command(commands, "study", study)
    one.add_argument(
        "--recipes", metavar="NAME", nargs="+", help="some, or: all; by default the published ones and their variants"
    )
    one.add_argument("--seeds", metavar="N", type=_positive, help="0 to N - 1; by default 10 to 30, as README's tables")
    one.add_argument("--out", metavar="DIR", default="results", help="of the records; by default results")
    one.add_argument("--workers", metavar="N", type=_positive, help="runs at a time; by default one for each core")
    one.add_argument("--backend", metavar="NAME", default="local", help="local, dask or ray; by default local")
    one.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask or Ray cluster")
    either = one.add_mutually_exclusive_group()
    either.add_argument("--report", action="store_true", help="train nothing; print what the records say")
    either.add_argument("--quick", action="store_true", help="see that all works: one epoch, two seeds, nothing kept")
    one.add_argument("--data-dir", metavar="DIR", help="where MNIST/raw lies")

    one = _command(commands, "figures", figures)
    one.add_argument("--results", metavar="DIR", default="results", help="of the records; by default results")
    one.add_argument("--out", metavar="DIR", default="figures", help="of the pictures; by default figures")
    one.add_argument("--data-dir", metavar="DIR", help="where MNIST/raw lies")

    one = _command(commands, "bench", bench)
    one.add_argument("--rounds", metavar="N", type=_positive, default=5, help="of all loops in turn; by default 5")
    kinds = one.add_mutually_exclusive_group()
    for flag, module, what in (
        ("--ladder", "stopwatch", "each recipe's training with all cores, and predictions"),
        ("--busy", "crowd", "an epoch with several settings of threads, beside a busy process"),
        ("--scaling", "scaling", "cost by digits and width, and start-up times"),
        ("--peers", "race", "whole trainings by scikit-learn, Keras, JAX and others"),
    ):
        kinds.add_argument(flag, dest="module", action="store_const", const=module, default="benchmark", help=what)
    one.add_argument("--quick", action="store_true", help="see that all peers work: 6,000 digits, nothing is written")
    one.add_argument("--threads", metavar="N", type=_positive, help="of peers, which also run with 1; by default all")
    one.add_argument("--out", metavar="DIR", default="results", help="of benchmark.json; by default results")
    one.add_argument("--data-dir", metavar="DIR", help="where MNIST/raw lies")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, function) -> argparse.ArgumentParser:
    """A command named and described after its function."""
    command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
    command.set_defaults(command=function)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    """The model to read, and how its pixels were normalised where it does not say so itself."""
    command.add_argument("model", metavar="MODEL", help="a saved model, or a bare state dict of linear layers")
    command.add_argument("--mean", metavar="X", type=float, help="of the pixels in [0, 1], for a bare state dict")
    command.add_argument("--std", metavar="X", type=float, help="of the pixels in [0, 1], for a bare state dict")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not '{text}'")
    return int(text)


if __name__ == "__main__":
    command_line.run(main)
