"""Benchmarks of epochs, contention, growth and training times: what they time, their tables, the committed results."""

import json
import statistics
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import contention, epoch, harness, plots, scaling, training_time
from digit_recognizer import data, models, recipes
from digit_recognizer.study import run as study_run

ROOT = Path(__file__).parents[2]
COMMITTED = json.loads((ROOT / "results/benchmark.json").read_text())


@pytest.fixture
def in_this_process(monkeypatch, capsys, optdigits):
    """Timed processes are calls here, on the embedded set instead of MNIST."""

    def call(name, module, *arguments, **options):
        monkeypatch.setattr("sys.argv", [module, *map(str, arguments)])
        import_module(f"benchmarks.{module}").main()
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(harness, "run_in_process", call)
    monkeypatch.setattr(data, "load", lambda name: optdigits)


def test_a_busy_process_runs_beside_a_timed_epoch_and_ends(in_this_process, monkeypatch):
    started, popen, call = [], contention.subprocess.Popen, harness.run_in_process
    monkeypatch.setattr(contention.subprocess, "Popen", lambda *given: started.append(popen(*given)) or started[-1])

    def epoch_beside(*arguments, **options):
        assert [process.poll() for process in started] == [None]
        return call(*arguments)

    monkeypatch.setattr(harness, "run_in_process", epoch_beside)
    seconds, taken = contention.time_epoch(1, {}, busy=True, count=640)
    assert seconds > 0 and taken == 1
    assert len(started) == 1 and started[0].poll() is not None


def test_an_epoch_on_copies_is_measured(in_this_process):
    row = scaling.measure_copies(2)
    assert row["digits"] == 2 * 1437 and row["seconds"] > 0
    assert row["peak_mb"] > row["digits"] * 784 / 1e6  # the pixels alone


def test_loops_and_settings_are_timed_in_turn():
    order = []
    loops = {"a": lambda: order.append(("a", torch.get_num_threads())) or 1.0, "b": lambda: order.append("b") or 2.0}
    assert epoch.time_in_turn(loops, [1], 2) == {"a": {1: [1.0, 1.0]}, "b": {1: [2.0, 2.0]}}
    assert order == [("a", 1), "b"] * 3  # a warm-up round, then two


def test_what_is_timed_takes_time(optdigits, small_recipe):
    assert epoch.our_epoch(optdigits.train, small_recipe) > 0
    parts = epoch.parts(optdigits.train, small_recipe)
    assert list(parts) == ["batch", "gradients", "step"] and min(parts.values()) > 0
    assert min(training_time.time_predictions(small_recipe, optdigits, times=20).values()) > 0
    result = scaling.time_width(16, optdigits.train, 2)
    assert result["parameters"] == models.parameter_count(models.build(recipes.get(widths=(784, 16, 8, 10))))
    assert len(result["seconds"]) == 2 and min(result["seconds"]) > 0


def test_every_command_starts():
    for name, arguments in scaling.COMMANDS.items():
        assert scaling.time_command(arguments) > 0, name


def test_the_timed_training_is_the_recipes(optdigits, small_recipe):
    run = training_time.time_training(small_recipe, optdigits, 1, threads=1)
    record, _ = study_run.train(small_recipe, optdigits, 1)
    assert run["seconds"] > 0
    assert (run["seed"], run["accuracy"], run["weights"]) == (1, record["scores"]["accuracy"], record["weights"])


def test_the_dataloader_loop_takes_mnist_with_the_usual_transforms(mnist):
    recipe = recipes.get("mlp_128_adam")
    dataset = torch.utils.data.Subset(epoch.dataloader_dataset(None, recipe), range(640))
    pixels, label = dataset[0]
    expected = (mnist.train.images[0] / 255 - recipe.mean) / recipe.std
    torch.testing.assert_close(pixels[0], expected)
    assert label == int(mnist.train.labels[0]) and epoch.dataloader_epoch(dataset, recipe) > 0


# Tables and the figure


def test_an_epoch_that_takes_too_long_is_shown():
    seconds = {"one thread": {"quiet": [1.0, 1.2, 1.1], "busy": [2.0, None, 3.0]}}
    text = contention.table({"seconds": seconds})
    assert text.endswith("|\n| one thread | 1.10 (1.00 to 1.20) | 3.00 (2.00 to over 90) |")


def test_auto_is_compared_with_the_best_of_the_other_settings():
    one, all_cores = {"quiet": [1.0, 1.2, 1.1], "busy": [1.1]}, {"quiet": [0.8], "busy": [None]}
    seconds = {"one": one, "all": all_cores, contention.AUTO: {"quiet": [0.7, 0.88, 0.9], "busy": [1.65]}}
    text = contention.table({"seconds": seconds})
    assert text.endswith(
        "an epoch takes 1.10 times as long as the best of the others, beside a busy process 1.50 times."
    )


def test_quick_contention_times_every_corner_and_keeps_nothing(in_this_process, monkeypatch, capsys, tmp_path):
    asked = []

    def time_epoch(threads, variables, busy, data_dir, count):
        asked.append((threads, variables.get("GOMP_SPINCOUNT"), busy))
        return count / 1e4, 2 if threads == "auto" and not busy else 1

    monkeypatch.setattr(contention, "time_epoch", time_epoch)
    monkeypatch.setattr(contention.os, "cpu_count", lambda: 2)
    contention.run(tmp_path, quick=True)
    settings = [(1, None), (2, "300000"), (2, "1000"), ("auto", None)]
    assert asked == [(*setting, busy) for setting in settings for busy in (False, True)]
    assert "| --threads auto | 0.60 (0.60 to 0.60) |" in capsys.readouterr().out and not list(tmp_path.iterdir())
    contention.run(tmp_path, rounds=2)
    result = json.loads((tmp_path / "benchmark.json").read_text())["contention"]
    assert (
        result["auto_threads"] == {"quiet": [2, 2], "busy": [1, 1]}
        and contention.table(result) in capsys.readouterr().out
    )


def test_the_table_gives_the_memory_of_each_further_digit():
    rows = ((60_000, 500), (600_000, 1040), (1_140_000, 2660))
    images = [{"digits": digits, "seconds": digits / 5e4, "peak_mb": peak} for digits, peak in rows]
    widths = {"128": {"parameters": 1, "seconds": [1.0, 2.0, 3.0]}}
    text = scaling.table({"images": images, "widths": widths, "commands": {"it": [0.1, 0.2, 0.3]}})
    assert "60,000 digits:    1.20 s, 20.0 µs each\n" in text
    assert "600,000 digits:   12.00 s, 20.0 µs each, 1,000 bytes of memory for each further digit\n" in text
    assert "20.0 µs each, 2,000 bytes of memory for each further digit, more than 1,100\n" in text
    assert "784-128-64-10:    2.00 s, 1 parameters" in text and "  0.20 s  it" in text


def test_a_busy_machine_is_reported():
    noisy = json.loads(json.dumps(COMMITTED))
    noisy["seconds"]["ours"]["1"][0] *= 3
    noisy["training_time"]["runs"]["cnn_in_seconds"][0]["seconds"] *= 3
    assert "the machine was busy" in epoch.table(noisy) and "busy" not in epoch.table(COMMITTED)
    assert "machine was busy; run again: cnn_in_seconds" in training_time.table(noisy["training_time"], {})


def test_the_figure_shows_medians_and_epochs_that_took_too_long():
    contended = {"one": {"quiet": [1.0], "busy": [2.0]}, "all": {"quiet": [0.7], "busy": [None, None, 3.0]}}
    trained = {"ours": {"1": [{"seconds": 7.0}], "2": [{"seconds": 5.0}]}, "jax": {"1": [{"seconds": 6.0}]}}
    results = {
        "seconds": {"ours": {"1": [1.0, 1.5, 3.0], "2": [0.5]}, "dataloader": {"1": [6.0]}},
        "contention": {"seconds": contended},
        "frameworks": {"runs": trained, "fastest_threads": {"ours": 2, "jax": 1}},
        "scaling": {
            "images": [{"digits": 60_000, "seconds": 1.2}, {"digits": 600_000, "seconds": 18.0}],
            "widths": {"128": {"seconds": [0.1, 0.3, 0.2]}, "256": {"seconds": [0.4]}},
        },
    }
    *bars, digits, widths = plots.draw_results(results, "title").axes
    loops, beside, frameworks = ([bar.get_width() for bar in axes.patches] for axes in bars)
    assert (loops, beside, frameworks) == ([1.5, 0.5, 6.0], [1.0, 2.0, 0.7, 90.0], [5.0, 6.0])
    names, _, others = ([label.get_text() for label in axes.get_yticklabels()] for axes in bars)
    assert names == ["ours, 1 thread", "ours, 2 threads", "DataLoader loop, 1 thread"]
    assert others == ["ours, 2 threads", "jax, 1 thread"]
    assert digits.lines[0].get_xydata().tolist() == [[60_000, 20.0], [600_000, 30.0]]
    assert widths.lines[0].get_xydata().tolist() == [[128, 0.2], [256, 0.4]]
    committed = plots.draw_results(COMMITTED, "title").axes
    assert [len(axes.patches) for axes in committed[:3]] == [4, 8, len(COMMITTED["frameworks"]["runs"])]


# The committed results


def test_the_committed_epochs_add_up_and_the_page_on_speed_quotes_them():
    assert COMMITTED["rounds"] >= 5
    for name, threads in COMMITTED["fastest_threads"].items():
        medians = {number: statistics.median(times) for number, times in COMMITTED["seconds"][name].items()}
        assert COMMITTED["median"][name] == medians[str(threads)] == min(medians.values())
    text = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert f"{statistics.median(COMMITTED['ratios']):.1f} times as fast" in text


def test_in_the_committed_contention_our_default_does_not_collapse_and_the_page_on_speed_shows_it():
    assert contention.table(COMMITTED["contention"]) in (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    seconds = COMMITTED["contention"]["seconds"]
    assert set(seconds) == set(contention.SETTINGS)
    assert contention.auto_ratio(COMMITTED["contention"], "quiet") <= 1.05
    assert contention.auto_ratio(COMMITTED["contention"], "busy") <= 1.1
    assert all(len(times) >= 3 for states in seconds.values() for times in states.values())
    assert statistics.median(seconds["one thread"]["busy"]) < 3 * statistics.median(seconds["one thread"]["quiet"])


def test_the_page_on_speed_quotes_how_close_auto_comes_on_a_second_machine():
    record = json.loads((ROOT / "results/trials/second_machine.json").read_text())["contention"]
    quiet, busy = (contention.auto_ratio(record, state) for state in ("quiet", "busy"))
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert f"these are {quiet:.2f} and {busy:.2f} times" in page


def test_the_committed_training_times_have_every_recipe_and_are_of_a_quiet_machine():
    names = {recipe.name for recipe in training_time.RECIPES}
    assert set(COMMITTED["training_time"]["runs"]) == names
    text = training_time.table(COMMITTED["training_time"], COMMITTED["predictions"])
    assert "busy" not in text and all(name in text for name in names)
