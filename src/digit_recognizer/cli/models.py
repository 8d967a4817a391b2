"""digits evaluate and digits export: a saved model scored again, and written for other programs."""

import argparse
import json
from pathlib import Path

from digit_recognizer.cli.parser import add_dataset, add_model, refuse_together
from digit_recognizer.runtime.errors import UserError


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `evaluate`."""
    add_model(parser)
    add_dataset(parser, "the one that the model was trained on")
    parser.add_argument("--json", metavar="FILE", help="also write the scores to this file")


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model on the test set of a data set."""
    from digit_recognizer import checkpoints, data, evaluation, records
    from digit_recognizer.runtime import files, provenance

    if options.json is not None and Path(options.json).is_dir():
        raise UserError(f"{options.json} is a folder; give --json the name of a file")
    checkpoint = checkpoints.load(options.model, options.mean, options.std)
    recipe = checkpoint.recipe
    trained_on = (checkpoint.record or {}).get("dataset")
    try:  # no other data set in its place: the scores would not be what was asked for
        digits = data.load(options.dataset or trained_on or "mnist", options.data_dir)
    except UserError as error:
        raise UserError(f"{error}; or give --dataset optdigits, which is always there") from error
    logits = evaluation.predict(checkpoint.model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    print(records.comparison(recipe if trained_on == digits.name else None, digits.name, scores))
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


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `export`."""
    add_model(parser)
    parser.add_argument("--format", metavar="NAME", required=True, help="onnx, safetensors or html")
    parser.add_argument("--out", metavar="FILE", required=True, help="the file to write")


def export(options: argparse.Namespace) -> None:
    """Write a saved model for other programs, as ONNX or safetensors, or as a page to draw digits in."""
    from digit_recognizer import export
    from digit_recognizer.page_reader import checkpoints
    from digit_recognizer.page_reader import export as page_reader_export

    if options.format == "onnx" and checkpoints.holds_page_reader(options.model):
        refuse_together("a page reader", True, {"--mean": options.mean, "--std": options.std})
        page_reader_export.run(options.model, options.out)
        return
    export.run(options.model, options.format, options.out, options.mean, options.std)
