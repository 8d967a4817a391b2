"""python -m digit_recognizer COMMAND: what can be done beside training; --help of each says how."""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

from digit_recognizer import command_line, flags, recipes
from digit_recognizer.errors import UserError


def main() -> None:
    """Read the command line and call the command."""
    options = flags.of_a_command("python -m digit_recognizer", __doc__, COMMANDS)
    if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1":  # torchrun's
        raise UserError("only training is done by several processes; start this command without torchrun")
    if status := options.command(options):
        sys.exit(status)


def predict(options: argparse.Namespace) -> int:
    """Read the digits in pictures: files, folders and patterns, a line for each picture."""
    from digit_recognizer import devices, predict
    from digit_recognizer.recognizer import Recognizer

    devices.choose("cpu", threads=1)
    recognizer = Recognizer.load(options.model, options.mean, options.std)
    return predict.run(options.files, recognizer, number=options.number, as_json=options.json, show=options.show)


def draw(options: argparse.Namespace) -> None:
    """Open a window to draw digits in, and read them while they are drawn."""
    from digit_recognizer.apps import draw_window

    draw_window.run(options.model, options.data_dir)


def serve(options: argparse.Namespace) -> None:
    """Open a page in the browser that reads uploaded, photographed and drawn digits."""
    from digit_recognizer.apps import page_server

    page_server.run(options.port, options.models)


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
        result = {
            "model": str(options.model),
            "recipe": recipe and recipe.name,
            "dataset": digits.name,
            "md5": dict(digits.md5),
            **records.scores_as_dict(scores),
            "weights": records.weights_hash(checkpoint.model),
            "made_with": records.provenance(checkpoint.model),
        }
        files.write_atomically(options.json, (json.dumps(result, indent=1) + "\n").encode())


def export(options: argparse.Namespace) -> None:
    """Write a saved model for other programs, as ONNX or safetensors."""
    from digit_recognizer import export

    export.run(options.model, options.format, options.out, options.mean, options.std)


def study(options: argparse.Namespace) -> None:
    """Train every recipe for every seed, one record each, and print what they say; what is there is skipped."""
    from digit_recognizer import departures, report, study

    asked = {"--recipes": options.recipes, "--seeds": options.seeds, "--workers": options.workers}
    flags.refuse("--report", options.report, asked | {"--backend": options.backend, "--scheduler": options.scheduler})
    flags.refuse("--quick", options.quick, {"--seeds": options.seeds, "--out": options.out})
    out = options.out or "results"
    named = options.recipes or [recipe.name for recipe in study.STUDIED]
    chosen = [recipes.get(name) for name in (recipes.RECIPES if named == ["all"] else named)]
    chosen = study.with_data(chosen, options.data_dir)
    engine = {"workers": options.workers, "backend": options.backend or "local", "scheduler": options.scheduler}
    if options.quick:
        study.quick(chosen, options.data_dir, **engine)
        return
    if options.report and not Path(out).is_dir():
        raise UserError(f"there is no folder {out} with records; make them by: python -m digit_recognizer study")
    if not options.report:
        study.run(chosen, options.seeds, out, options.data_dir, **engine)
    tables = (report.published, departures.page, report.ladder, report.ensembles)
    print("\n\n".join(text for table in tables if (text := table(out))))


def compare(options: argparse.Namespace) -> None:
    """Say which recipes read more of training digits that were held out; for choosing between them."""
    from digit_recognizer import folds

    folds.run(options.recipes, options.out, options.data_dir, options.workers)


def verify(options: argparse.Namespace) -> int:
    """Train the run of a record again, and say whether the same comes of it."""
    from digit_recognizer import verify

    return verify.run(options.record, options.data_dir, options.threads)


def figures(options: argparse.Namespace) -> None:
    """Draw what the records under a folder say, and what augmentation does to a digit."""
    import torch

    from digit_recognizer import (
        answers,
        augmentation,
        charts,
        data,
        departures,
        files,
        measurements,
        plots,
        report,
        speed,
    )

    if not (rows := report.costs(options.results)):
        raise UserError(f"{options.results} holds no records of a study; --results says where they are")
    files.check_writable(options.out)
    out = Path(options.out)
    digits = data.load("mnist", options.data_dir)
    seven = int((digits.train.labels == 7).nonzero()[0])  # styles change 1s and 7s only
    pixels = data.to_pixels(digits.train.images[seven : seven + 1])[0, 0]
    shown = augmentation.examples(pixels, 7, 10, torch.Generator().manual_seed(0))
    title = f"The first 7 of {digits.title}, changed in each way alone, more strongly than in training"
    plots.save(charts.augmentations(shown, title), out / "augmentation.png")
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
        title = "Speed of the default recipe, 784-512-256-10, on MNIST"
        plots.save(speed.chart(result, title), out / "speed.png")


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


COMMANDS = (predict, draw, serve, evaluate, export, study, compare, verify, figures, bench)


if __name__ == "__main__":
    command_line.run(main)
