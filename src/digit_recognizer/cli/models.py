"""digits evaluate and digits export: a saved model scored again, and written for other programs."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digit_recognizer.cli.parser import add_dataset, add_model, refuse_together
from digit_recognizer.runtime.errors import UserError

if TYPE_CHECKING:
    from digit_recognizer.checkpoints import Checkpoint
    from digit_recognizer.data import Split

TEST_SETS = ("mnist-undisputed", "hwd-1000", "optdigits-original", "mnist-c")  # without importing what loads them


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `evaluate`."""
    add_model(parser)
    add_dataset(parser, "the one that the model was trained on", TEST_SETS)
    parser.add_argument("--json", metavar="FILE", help="also write the scores to this file")


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model on the test set of a data set."""
    from digit_recognizer import checkpoints
    from digit_recognizer.data import test_sets
    from digit_recognizer.runtime import files, provenance

    if options.json is not None and Path(options.json).is_dir():
        raise UserError(f"{options.json} is a folder; give --json the name of a file")
    checkpoint = checkpoints.load(options.model, options.mean, options.std)
    name = options.dataset or (checkpoint.record or {}).get("dataset") or "mnist"
    try:  # no other data set in its place: the scores would not be what was asked for
        test, md5 = test_sets.load_test(name, options.data_dir)
    except UserError as error:
        raise UserError(f"{error}; or give --dataset optdigits, which is always there") from error
    scores = _score_damaged(checkpoint, test) if name == "mnist-c" else _score(checkpoint, name, test, options.model)
    if options.json is not None:
        result = {
            "model": str(options.model),
            "recipe": checkpoint.recipe and checkpoint.recipe.name,
            "dataset": name,
            "md5": dict(md5),
            **scores,
            "weights": provenance.weights_hash(checkpoint.model),
            "made_with": provenance.collect(checkpoint.model),
        }
        files.write_atomically(options.json, (json.dumps(result, indent=1) + "\n").encode())


def _score(checkpoint: "Checkpoint", name: str, test: "Split", path: str) -> dict[str, Any]:
    """Print how good the network is on a test set, and how well it knows; return it for a record."""
    from digit_recognizer import calibrated, evaluation, records
    from digit_recognizer.recognition.calibration import calibration_error

    logits, record = evaluation.predict(checkpoint.model, test.images), checkpoint.record or {}
    scores = evaluation.score(logits, test.labels)
    result = records.scores_as_dict(scores)
    result["calibration_error"] = calibration_error(logits.softmax(1), test.labels)
    print(records.comparison(checkpoint.recipe if record.get("dataset") == name else None, name, scores))
    print(f"calibration error: {result['calibration_error']:.2%}")
    if calibration := calibrated.usable(path, record.get("calibration")):
        scaled = logits / calibration["temperature"]
        loss = evaluation.score(scaled, test.labels).mean_loss
        error = calibration_error(scaled.softmax(1), test.labels)
        print(f"with the file's temperature: test loss {loss:.4f}, calibration error {error:.2%}")
        result["calibrated"] = {"temperature": calibration["temperature"], "loss": loss, "calibration_error": error}
    print(evaluation.per_digit_table(evaluation.confusion_matrix(logits, test.labels)))
    return result


def _score_damaged(checkpoint: "Checkpoint", test: "Split") -> dict[str, Any]:
    """Print how much the network errs where the test digits are damaged, in each way; return it for a record."""
    from digit_recognizer import data, evaluation
    from digit_recognizer.data import corruptions

    errors = {}
    print(f"{data.TEST_SETS['mnist-c']}, n = {len(test.labels):,} test digits of each kind: error")
    for kind in corruptions.KINDS:
        logits = evaluation.predict(checkpoint.model, corruptions.corrupt(test.images, kind))
        scores = evaluation.score(logits, test.labels)
        errors[kind] = (scores.count - scores.correct) / scores.count
        print(f"{kind.replace('_', ' '):13}  {errors[kind]:7.2%}", flush=True)
    mean = sum(errors.values()) / len(errors)
    print(f"{'mean':13}  {mean:7.2%}")
    return {"count": len(test.labels), "errors": errors, "mean_error": mean}


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
