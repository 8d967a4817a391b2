"""Train a network that reads handwritten digits, and see how good it is.

    python mnist_recognition.py                        the published 784-512-256-10 network on MNIST
    python mnist_recognition.py --list                 all recipes
    python mnist_recognition.py --recipe mlp_128_adam  another of them

The notebook MNIST_Recognition_machine.ipynb makes the same calls in the same order.
"""

import argparse
import functools

from digit_recognizer.cli import parser, train
from digit_recognizer.runtime.threads import choose_threads


def main(options: argparse.Namespace | None = None) -> None:
    """Look at the digits, train, score, look at the mistakes, save."""
    options = options or train.parse_flags(__doc__)  # before torch is imported: --help is immediate
    threads = choose_threads(options.threads)  # before it, too: OpenMP reads its settings only once

    from digit_recognizer import checkpoints, data, evaluation, models, plots, recipes, records, training
    from digit_recognizer.recognition import calibration
    from digit_recognizer.runtime.device import choose_device, training_precision
    from digit_recognizer.runtime.distributed import init_process_group

    init_process_group()  # does nothing unless torchrun started several of these
    changes = {"epochs": options.epochs, "batch_size": options.batch_size, "learning_rate": options.learning_rate}
    recipe = recipes.get(options.recipe, **changes)
    device = choose_device(options.device, threads)

    # the digits
    automatic = options.dataset is None
    name = recipe.dataset if automatic else options.dataset
    digits = data.load(name, options.data_dir, validation=recipe.validation, fall_back=automatic)
    out = records.outputs(options.out, recipe, digits.name, options.seed)
    plots.save(plots.digits_overview(*digits.train, f"{digits.title} training set"), out.figures / "digits.png")

    # the network
    model = models.build(recipe, options.seed).to(device)
    precision = training_precision(recipe.precision, device)
    print(f"{recipe.name}: {models.parameter_count(model):,} parameters, on {device}, in {precision}")

    # training
    run = (recipe, digits.name, options.seed)
    start = checkpoints.load_progress(out.progress, *run) if options.resume else None
    keep = functools.partial(checkpoints.save_progress, out.progress, *run)
    model, history = training.fit(model, digits, recipe, options.seed, quiet=options.quiet, resume=start, on_epoch=keep)

    # how good is it
    logits = evaluation.predict(model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    confusion = evaluation.confusion_matrix(logits, digits.test.labels)
    print(records.comparison(recipe, digits.name, scores, history[-1]))
    title = f"{digits.title} test set"
    plots.save(plots.training_curves(history, f"{recipe.name} on {digits.title}"), out.figures / "training_curves.png")
    plots.save(plots.confusion_matrix(confusion, title), out.figures / "confusion_matrix.png")

    # look at the predictions
    plots.save(plots.prediction_grid(*digits.test, logits.argmax(1), title), out.figures / "prediction_grid.png")

    # its worst mistakes, and what it looks for
    plots.save(plots.mistakes(*digits.test, logits, title), out.figures / "mistakes.png")
    plots.save(plots.first_layer(models.first_layer_weights(model), recipe.name), out.figures / "first_layer.png")

    # save
    calibrated = calibration.calibrate(model, digits, recipe.augmentation)
    record = records.describe(recipe, digits, options.seed, model, history, scores, calibrated)
    checkpoints.save(out.model, model, recipe, record)
    records.save(out.record, record)
    out.progress.unlink(missing_ok=True)
    print(f"saved {out.model}, {out.record} and the figures in {out.figures}")


if __name__ == "__main__":
    parser.run_main(main)
