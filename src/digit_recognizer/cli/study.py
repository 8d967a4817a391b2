"""digits study, compare, verify and figures: many runs, and what their records say."""

import argparse
from pathlib import Path

from digit_recognizer import recipes
from digit_recognizer.cli.parser import add_data_dir, positive, refuse_together
from digit_recognizer.runtime.errors import UserError

VERDICTS = """\
bitwise           equal weights, by their hash, equal scores, and an equal history but for the seconds
within tolerance  the train loss of the first epoch differs by at most 0.5% and its errors by 1%, or by 1% and 2% for a
                  recipe that computes in bfloat16; and the test errors differ by at most 60%
different         anything else; the exit status is 1, that of the other two 0, and that of a usage error 2

The same versions on the same kind of machine give bitwise equal weights. Other kernels, another instruction set or
another number of threads may add in another order. From the first sum that rounds differently, the weights drift apart,
after some epochs as far as those of two seeds. So the first epoch decides. Measured on MNIST with other kernels of
PyTorch, with AVX2 instead of AVX-512, and with initial weights changed by 1e-7: at most 0.36% and 0.64% in float32
(n = 50, 7 recipes), 0.65% and 1.5% in bfloat16 (n = 14, 4 recipes). Two seeds of one recipe in results/ are as close in
191 of 1855 pairs in float32, but in 120 of 318 in bfloat16: there, rounding in one epoch is almost as far as another
seed, and only bitwise proves much.
"""


def add_study_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `study`."""
    add = parser.add_argument
    add("--recipes", metavar="NAME", nargs="+", help="some, or all (default: the published ones and their ablations)")
    add("--seeds", metavar="N", type=positive, help="0 to N - 1 (default: 10 to 30, as in the committed tables)")
    add("--out", metavar="DIR", help="folder of the records (default: results)")
    add("--workers", metavar="N", type=positive, help="runs at a time (default: one per core)")
    add("--device", metavar="NAME", help="cpu, cuda, mps or auto, which runs at a time share (default: cpu)")
    add("--backend", metavar="NAME", help="local or dask (default: local)")
    add("--scheduler", metavar="ADDRESS", help="address of a Dask cluster")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--report", action="store_true", help="train nothing; print what the records say")
    either.add_argument("--quick", action="store_true", help="check that all works: one epoch, two seeds, nothing kept")
    add_data_dir(parser)


def study(options: argparse.Namespace) -> None:
    """Train recipes for several seeds, skip the runs that are there, and print tables of the records."""
    from digit_recognizer.study import reproduction, sweep, tables

    asked = {"--recipes": options.recipes, "--seeds": options.seeds}
    machines = {
        "--workers": options.workers, "--device": options.device, "--backend": options.backend,
        "--scheduler": options.scheduler,
    }  # fmt: skip
    refuse_together("--report", options.report, asked | machines)
    refuse_together("--quick", options.quick, {"--seeds": options.seeds, "--out": options.out})
    out = options.out or "results"
    named = options.recipes or [recipe.name for recipe in sweep.STUDIED]
    chosen = [recipes.get(name) for name in (recipes.RECIPES if named == ["all"] else named)]
    chosen = sweep.resolve_datasets(chosen, options.data_dir)
    where = {
        "workers": options.workers, "device": options.device or "cpu", "backend": options.backend or "local",
        "scheduler": options.scheduler,
    }  # fmt: skip
    if options.quick:
        sweep.quick(chosen, options.data_dir, **where)
        return
    if options.report and not Path(out).is_dir():
        raise UserError(f"there is no folder {out} with records; make them by: digits study")
    if not options.report:
        sweep.run(chosen, options.seeds, out, options.data_dir, **where)
    published = tables.published(out)
    details = reproduction.unspecified_details(out) if published else ""  # of published projects
    ours = (table(out) for table in (tables.our_recipes, tables.ensembles, tables.public_hands))
    if not (found := [page for page in (published, details, *ours) if page]):
        raise UserError(f"{out} holds no records; make them by: digits study --out {out}")
    print("\n\n".join(found))


def add_compare_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `compare`."""
    add = parser.add_argument
    add("recipes", metavar="RECIPE", nargs="+", help='a name, or with changes: "cnn_best epochs=20"')
    add("--out", metavar="DIR", default="results", help="folder of folds.json (default: results)")
    add("--workers", metavar="N", type=positive, help="trainings at a time (default: one per core)")
    add_data_dir(parser)


def compare(options: argparse.Namespace) -> None:
    """Compare recipes by cross-validation on the training digits, to choose between them."""
    from digit_recognizer.study import cross_validation

    cross_validation.run(options.recipes, options.out, options.data_dir, options.workers)


def add_verify_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `verify`."""
    add = parser.add_argument
    add("record", metavar="RECORD", help="record of a run, such as results/mlp_128_adam/mnist-seed0.json")
    add_data_dir(parser)
    add("--threads", metavar="N", type=positive, help="CPU threads (default: as many as the record says)")
    parser.epilog = VERDICTS


def verify(options: argparse.Namespace) -> int:
    """Train the run of a record again, and say whether the result is the same."""
    from digit_recognizer.study import verify

    return verify.run(options.record, options.data_dir, options.threads)


def add_figures_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `figures`."""
    add = parser.add_argument
    add("--results", metavar="DIR", default="results", help="folder of the records (default: results)")
    add("--out", metavar="DIR", default="figures", help="folder of the figures (default: figures)")
    add_data_dir(parser)


def figures(options: argparse.Namespace) -> None:
    """Draw figures from the records, and of what augmentation and damage do to a digit."""
    import torch

    from digit_recognizer import data, plots
    from digit_recognizer.data import corruptions
    from digit_recognizer.runtime import files
    from digit_recognizer.study import plots as study_plots
    from digit_recognizer.study import reproduction, tables

    if not (rows := tables.costs(options.results)):
        raise UserError(f"{options.results} holds no records of a study; --results says where they are")
    files.check_writable(options.out)
    out = Path(options.out)
    digits = data.load("mnist", options.data_dir)
    seven = int((digits.train.labels == 7).nonzero()[0])  # styles change some digits only
    pixels = data.to_pixels(digits.train.images[seven : seven + 1])[0, 0]
    shown = study_plots.augmentation_examples(pixels, 7, 10, torch.Generator().manual_seed(0))
    title = f"The first 7 of {digits.title}, changed in each way alone, more strongly than in training"
    plots.save(study_plots.augmentations(shown, title), out / "augmentation.png")
    digit = digits.test.images[:1]  # a 7 too
    kinds = {kind.replace("_", " "): corruptions.corrupt(digit, kind)[0] for kind in corruptions.KINDS}
    title = "The first of MNIST's test digits, damaged in the fifteen ways of mnist-c"
    plots.save(study_plots.corruptions({"as it is": digit[0], **kinds}, title), out / "corruptions.png")
    title = "Accuracy on MNIST's 10,000 test digits against the cost of training"
    plots.save(study_plots.accuracy_against_cost(rows, title), out / "accuracy_against_cost.png")
    if rows := reproduction.accuracy_rows(options.results):
        title = "Published test accuracies against the spread of seeds"
        plots.save(study_plots.published_results(rows, title), out / "published_results.png")
    if epochs := reproduction.accuracies_by_epoch(options.results):
        published = recipes.get(reproduction.FEW_EPOCHS).published.test_accuracy
        title = "784-128-10 (one-hidden-layer) on MNIST's 10,000 test digits"
        plots.save(study_plots.accuracy_against_epochs(epochs, published, title), out / "accuracy_against_epochs.png")
    print(f"saved the figures in {out}")
