"""`digits train --recipe page_reader`: train the network that finds digits on pages."""

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from digit_recognizer.cli.parser import refuse_together

if TYPE_CHECKING:
    from digit_recognizer.data.digits import Digits
    from digit_recognizer.page_reader.reader import PageReader

CALIBRATION_SEED = 3_000_000  # of pages that are neither trained nor measured on
CALIBRATION_PAGES = 6000


def run(options: argparse.Namespace) -> None:
    """Train on synthetic pages, measure on others, save the network and its record. Raises UserError."""
    from digit_recognizer import data, records
    from digit_recognizer.page_reader import checkpoints, measurement, training
    from digit_recognizer.page_reader.reader import of_network
    from digit_recognizer.recipes import page_reader
    from digit_recognizer.runtime import device, files

    refuse_together(
        "--recipe page_reader", True, {"--device other than cpu": options.device not in ("auto", "cpu") or None}
    )
    changes = {"epochs": options.epochs, "batch_size": options.batch_size, "learning_rate": options.learning_rate}
    recipe = page_reader.get(**changes)
    device.choose_device("cpu", options.threads)
    device.keep_memory()
    digits = data.load(options.dataset or recipe.dataset, options.data_dir, validation=True)
    out = Path(options.out)
    files.check_writable(out)
    run = out / "runs" / recipe.name / f"{digits.name}-seed{options.seed}"
    progress, record_path = run.with_suffix(".progress.pth"), run.with_suffix(".json")
    resume = checkpoints.load_progress(progress, recipe, options.seed) if options.resume else None
    keep = functools.partial(checkpoints.save_progress, progress, recipe, options.seed)
    model, history = training.fit(recipe, digits.train, options.seed, quiet=options.quiet, resume=resume, on_epoch=keep)
    model = checkpoints.round_weights(model)
    record = measurement.describe(recipe, digits, options.seed, model, history)
    record["calibration"] = _calibrate(of_network(model), digits)
    print(measurement.summary(record))
    path = out / f"{digits.name}_page_reader.pth"
    checkpoints.save(path, model, recipe, record)
    records.save(record_path, record)
    progress.unlink(missing_ok=True)
    print(f"saved {path} and {record_path}")


def _calibrate(reader: "PageReader", digits: "Digits") -> list[float]:
    """Fit the confidence in numbers on synthetic pages of held-out digits, read as people's pages are."""
    import numpy as np

    from digit_recognizer.page_reader import measurement
    from digit_recognizer.recognition import calibration
    from digit_recognizer.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(page_reader=reader)
    features, are_right = [], []
    source = digits.validation or digits.test
    for image, rows in measurement.readable_pages(source, CALIBRATION_SEED, CALIBRATION_PAGES):
        number = recognizer.read_number(image)
        if number.rows:
            features.append(number.features)
            are_right.append(list(number.rows) == rows)
    return calibration.calibrate_numbers(np.array(features), np.array(are_right))
