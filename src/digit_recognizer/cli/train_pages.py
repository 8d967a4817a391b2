"""`digits train --recipe page_reader`: train the network that finds digits on pages."""

import argparse
import functools
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from digit_recognizer.runtime.threads import choose_threads

if TYPE_CHECKING:
    from digit_recognizer.data.digits import Digits, Split
    from digit_recognizer.page_reader.reader import PageReader

CALIBRATION_SEED = 3_000_000  # of pages that are neither trained nor measured on
CALIBRATION_PAGES = 12_000


def run(options: argparse.Namespace) -> None:
    """Train on synthetic pages, measure on others, save the network and its record. Raises UserError."""
    threads = choose_threads(options.threads, processes=2)  # another one makes pages

    from digit_recognizer import data, records
    from digit_recognizer.page_reader import checkpoints, measurement, training
    from digit_recognizer.page_reader.reader import of_network
    from digit_recognizer.recipes import page_reader
    from digit_recognizer.runtime import device, files

    changes = {"epochs": options.epochs, "batch_size": options.batch_size, "learning_rate": options.learning_rate}
    recipe = page_reader.get(**changes)
    chosen = device.choose_device(options.device, threads)
    device.keep_memory()
    workers = 1 if chosen.type == "cpu" else max(1, (os.cpu_count() or 1) - 1)  # that make pages beside the training
    digits = data.load(options.dataset or recipe.dataset, options.data_dir, validation=True)
    out = Path(options.out)
    files.check_writable(out)
    run = out / "runs" / recipe.name / f"{digits.name}-seed{options.seed}"
    progress, record_path = run.with_suffix(".progress.pth"), run.with_suffix(".json")
    resume = checkpoints.load_progress(progress, recipe, options.seed) if options.resume else None
    keep = functools.partial(checkpoints.save_progress, progress, recipe, options.seed)
    model, history = training.fit(
        recipe, digits.train, options.seed, device=chosen, workers=workers, quiet=options.quiet, resume=resume,
        on_epoch=keep,
    )  # fmt: skip
    model = checkpoints.round_weights(model)
    record = measurement.describe(recipe, digits, options.seed, model, history, workers + 1)
    record["calibration"] = _calibrate(of_network(model), digits, workers + 1)
    print(measurement.summary(record))
    path = out / f"{digits.name}_page_reader.pth"
    checkpoints.save(path, model, recipe, record)
    records.save(record_path, record)
    progress.unlink(missing_ok=True)
    print(f"saved {path} and {record_path}")


def _calibrate(reader: "PageReader", digits: "Digits", workers: int) -> list[float]:
    """Fit the confidence in numbers on synthetic pages of held-out digits, read as people's pages are."""
    import numpy as np

    from digit_recognizer.page_reader import measurement
    from digit_recognizer.recognition import calibration

    source = digits.validation or digits.test
    parts = measurement.in_parts(_read_pages, reader, source, CALIBRATION_PAGES, workers)
    read = list(itertools.chain.from_iterable(parts))
    features, are_right = (np.array([number[place] for number in read]) for place in (0, 1))
    return calibration.calibrate_numbers(features, are_right)


def _read_pages(reader: "PageReader", source: "Split", indices: range) -> list[tuple[tuple[float, ...], bool]]:
    """For each page on which there is a number: the features of its confidence, and whether it is right."""
    from digit_recognizer.page_reader import measurement
    from digit_recognizer.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(page_reader=reader)
    found = (
        (recognizer.read_number(image), rows)
        for image, rows in measurement.readable_pages(source, CALIBRATION_SEED, indices)
    )
    return [(number.features, list(number.rows) == rows) for number, rows in found if number.rows]
