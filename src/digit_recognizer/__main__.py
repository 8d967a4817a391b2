"""python -m digit_recognizer COMMAND: what can be done beside training; --help of each says how."""

import argparse
import json
import os
import sys
from pathlib import Path

from digit_recognizer import recipes
from digit_recognizer.cli import command_line, parser
from digit_recognizer.runtime.errors import UserError


def main() -> None:
    """Read the command line and call the command."""
    options = parser.of_a_command("python -m digit_recognizer", __doc__, COMMANDS)
    if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1":  # torchrun's
        raise UserError("only training is done by several processes; start this command without torchrun")
    if status := options.command(options):
        sys.exit(status)


def predict(options: argparse.Namespace) -> int:
    """Read the digits in pictures: files, folders and patterns, a line for each picture."""
    from digit_recognizer.cli import predict
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", threads=1)
    recognizer = Recognizer.load(options.model, options.mean, options.std)
    return predict.run(options.files, recognizer, number=options.number, as_json=options.json, show=options.show)


def draw(options: argparse.Namespace) -> None:
    """Open a window to draw digits in, and read them while they are drawn."""
    from digit_recognizer.apps.window import draw_window

    draw_window.run(options.model, options.data_dir)


def serve(options: argparse.Namespace) -> None:
    """Open a page in the browser that reads uploaded, photographed and drawn digits."""
    from digit_recognizer.apps.web import server

    server.run(options.port, options.models)


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model on the test part of a data set."""
    from digit_recognizer import checkpoints, data, evaluation, records
    from digit_recognizer.runtime import files, provenance

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
            "weights": provenance.weights_hash(checkpoint.model),
            "made_with": provenance.collect(checkpoint.model),
        }
        files.write_atomically(options.json, (json.dumps(result, indent=1) + "\n").encode())


def export(options: argparse.Namespace) -> None:
    """Write a saved model for other programs, as ONNX or safetensors."""
    from digit_recognizer import export

    export.run(options.model, options.format, options.out, options.mean, options.std)


def study(options: argparse.Namespace) -> None:
    """Train every recipe for every seed, one record each, and print what they say; what is there is skipped."""
    from digit_recognizer.study import departures, sweep
    from digit_recognizer.study import tables as study_tables

    asked = {"--recipes": options.recipes, "--seeds": options.seeds, "--workers": options.workers}
    parser.refuse("--report", options.report, asked | {"--backend": options.backend, "--scheduler": options.scheduler})
    parser.refuse("--quick", options.quick, {"--seeds": options.seeds, "--out": options.out})
    out = options.out or "results"
    named = options.recipes or [recipe.name for recipe in sweep.STUDIED]
    chosen = [recipes.get(name) for name in (recipes.RECIPES if named == ["all"] else named)]
    chosen = sweep.with_data(chosen, options.data_dir)
    engine = {"workers": options.workers, "backend": options.backend or "local", "scheduler": options.scheduler}
    if options.quick:
        sweep.quick(chosen, options.data_dir, **engine)
        return
    if options.report and not Path(out).is_dir():
        raise UserError(f"there is no folder {out} with records; make them by: python -m digit_recognizer study")
    if not options.report:
        sweep.run(chosen, options.seeds, out, options.data_dir, **engine)
    tables = (study_tables.published, departures.page, study_tables.ladder, study_tables.ensembles)
    print("\n\n".join(text for table in tables if (text := table(out))))


def compare(options: argparse.Namespace) -> None:
    """Say which recipes read more of training digits that were held out; for choosing between them."""
    from digit_recognizer.study import cross_validation

    cross_validation.run(options.recipes, options.out, options.data_dir, options.workers)


def verify(options: argparse.Namespace) -> int:
    """Train the run of a record again, and say whether the same comes of it."""
    from digit_recognizer.study import verify

    return verify.run(options.record, options.data_dir, options.threads)


def figures(options: argparse.Namespace) -> None:
    """Draw what the records under a folder say, and what augmentation does to a digit."""
    import torch

    from digit_recognizer import data, plots
    from digit_recognizer.data import augmentation
    from digit_recognizer.runtime import files
    from digit_recognizer.study import departures, reproduction
    from digit_recognizer.study import plots as study_plots
    from digit_recognizer.study import tables as study_tables

    if not (rows := study_tables.costs(options.results)):
        raise UserError(f"{options.results} holds no records of a study; --results says where they are")
    files.check_writable(options.out)
    out = Path(options.out)
    digits = data.load("mnist", options.data_dir)
    seven = int((digits.train.labels == 7).nonzero()[0])  # styles change 1s and 7s only
    pixels = data.to_pixels(digits.train.images[seven : seven + 1])[0, 0]
    shown = augmentation.examples(pixels, 7, 10, torch.Generator().manual_seed(0))
    title = f"The first 7 of {digits.title}, changed in each way alone, more strongly than in training"
    plots.save(study_plots.augmentations(shown, title), out / "augmentation.png")
    title = "Accuracy on MNIST's 10,000 test digits against the cost of training"
    plots.save(study_plots.accuracy_against_cost(rows, title), out / "accuracy_against_cost.png")
    if strips := reproduction.strips(options.results):
        title = "Published test accuracies beside ours"
        plots.save(study_plots.published_results(strips, title), out / "published_results.png")
    if epochs := departures.curve(options.results):
        published = recipes.get(departures.CURVE_OF).published.test_accuracy
        title = "784-128-10 (project 004) on MNIST's 10,000 test digits"
        plots.save(study_plots.accuracy_against_epochs(epochs, published, title), out / "accuracy_against_epochs.png")


COMMANDS = (predict, draw, serve, evaluate, export, study, compare, verify, figures)


if __name__ == "__main__":
    command_line.run(main)
