"""digits predict with many pictures: workers, the table, and runs that are interrupted and go on."""

import contextlib
import csv
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from drawings import STROKES, drawing
from PIL import Image, ImageOps

from digit_recognizer import checkpoints
from digit_recognizer.apps.web import reading
from digit_recognizer.cli import answers, labelled_files, predict
from digit_recognizer.recognition import table
from digit_recognizer.study import executors

PREDICT = [sys.executable, "-m", "digit_recognizer", "predict"]
HEADER = "file,read,confidence,warnings"
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals, terminals and limits as POSIX has them")


@pytest.fixture
def folder(tmp_path):
    """24 labelled pictures in a folder of their own; the drawing of 4 is labelled 9."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for count in range(24):
        digit = sorted(STROKES)[count % len(STROKES)]
        drawing(digit).rotate(count / 4, fillcolor=255).save(folder / f"{9 if digit == 4 else digit}_{count:02}.png")
    return folder


def add_odd_pictures(folder: Path) -> None:
    """A blank one, several digits, and a file that is no picture."""
    Image.new("L", (300, 90), 255).save(folder / "0_blank.png")
    sheet = Image.new("L", (400, 200), 255)
    sheet.paste(drawing(7), (0, 0))
    sheet.paste(drawing(0), (200, 0))
    sheet.save(folder / "1_several.png")
    (folder / "5_broken.png").write_bytes(b"no picture")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("flags", [[], ["--number", "--json"]], ids=str)
def test_workers_say_what_one_process_says(flags, folder, tmp_path, command):
    add_odd_pictures(folder)
    one = command("predict", folder, *flags, "--csv", tmp_path / "one.csv")
    assert command("predict", folder, *flags, "--csv", tmp_path / "two.csv", "--workers", 2) == one
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    status, out, error = one
    assert (status, error.count("\n")) == (1, 1)
    named = [json.loads(line)["file"] if flags else line.split("  ")[0] for line in out.splitlines()]
    assert named[:26] == [str(path) for path in sorted(folder.iterdir()) if path.name != "5_broken.png"]


def test_workers_draw_what_one_process_draws(folder, tmp_path, command):
    pictures = [folder / "7_03.png", folder / "1_01.png"]
    for show, workers in (("one", []), ("two", ["--workers", 2])):
        assert command("predict", *pictures, "--show", tmp_path / show, *workers)[0] == 0
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / show).iterdir()} for show in ("one", "two"))
    assert sorted(one) == ["0001_7_03.png", "0002_1_01.png"] and two == one


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_answers_come_in_order_and_as_soon_as_they_can(order):
    taken = []
    results = ((taken.append(number), (number, [number]))[1] for number in order)
    came = [(batch[0], len(taken)) for batch in predict._in_order(results)]
    assert [number for number, _ in came] == [0, 1, 2, 3]
    assert [count for _, count in came] == [max(order.index(n) for n in range(number + 1)) + 1 for number in range(4)]


def test_the_table_holds_what_was_read_and_why_nothing_was(folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    for path in folder.iterdir():
        path.unlink()
    add_odd_pictures(folder)
    drawing(4).save(folder / "=4, odd\n.png")
    ImageOps.invert(drawing(7)).save(folder / "7.png")
    command("predict", folder.relative_to(folder), "--csv", "new/table.csv")
    content = Path("new/table.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf" + HEADER.encode() + b"\r\n") and content.count(b"\n") == 6
    blank, several, broken, seven, four = rows_of(Path("new/table.csv"))
    assert blank == {"file": "0_blank.png", "read": "", "confidence": "", "warnings": "refused: blank"}
    assert several["warnings"].startswith("refused: several digits") and not several["read"]
    assert broken["warnings"].startswith("unreadable: 5_broken.png is not a picture") and not broken["confidence"]
    assert (four["file"], four["read"]) == ("'=4, odd .png", "4")
    assert seven["read"] == "7" and 0.9 < float(seven["confidence"]) <= 1
    command("predict", "1_several.png", "--number", "--csv", "number.csv")
    assert rows_of(Path("number.csv"))[0]["read"] == "70"


def test_the_page_has_the_same_rows(folder, network, command, monkeypatch):
    monkeypatch.chdir(folder)
    add_odd_pictures(folder)
    names = ["7_03.png", "0_blank.png", "5_broken.png"]
    command("predict", *names, "--csv", "table.csv")
    rows = [reading.table_row(network, name, Path(name)) for name in names]
    assert Path("table.csv").read_bytes() == table.to_csv(rows)


@pytest.fixture
def slow(folder):
    """The last eight pictures take a third of a second each: a run can be interrupted before it ends."""
    for path in sorted(folder.iterdir())[-8:]:
        large = Image.open(path).resize((6000, 6000))
        large.save(path, compress_level=1)


@pytest.fixture
def whole(folder, tmp_path, command):
    """(standard output, bytes of the table) of a run that nothing interrupts."""
    status, out, _ = command("predict", folder, "--csv", tmp_path / "whole.csv")
    assert status == 0 and "18 of 24 right" in out
    return out, (tmp_path / "whole.csv").read_bytes()


def interrupt(command: list[str], by: signal.Signals) -> tuple[int, str]:
    """Start a command and send it a signal after its third line. Returns its exit status and its error output."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        timer = threading.Timer(300, process.kill)
        timer.start()
        for _ in range(3):
            process.stdout.readline()
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, by)  # a terminal's Ctrl-C also reaches the workers
        _, error = process.communicate()
        timer.cancel()
    return process.returncode, error


@posix_only
@pytest.mark.parametrize(("flags", "by"), [([], signal.SIGKILL), (["--workers", "2"], signal.SIGINT)], ids=str)
def test_an_interrupted_run_goes_on_where_it_stopped(flags, by, folder, slow, whole, tmp_path, command):
    path = tmp_path / "table.csv"
    for _ in range(6):  # on a busy machine the run may end before the signal comes
        path.unlink(missing_ok=True)
        status, error = interrupt([*PREDICT, str(folder), "--csv", str(path), *flags], by)
        if status and path.read_bytes().count(b"\n") - 1 < 24:
            break
    left = path.read_bytes()
    done = left.count(b"\n") - 1
    assert 3 <= done < 24 and whole[1].startswith(left)
    if by == signal.SIGINT:
        assert (status, error) == (130, "\nstopped by Ctrl-C; no file is left half-written\n")
    path.write_bytes(whole[1][: len(left) + 9])  # a line that was cut off
    status, out, error = command("predict", folder, "--csv", path, "--resume", *flags)
    assert (status, error) == (0, f"{done} of 24 pictures are in {path} already\n")
    lines, all_lines = out.splitlines(), whole[0].splitlines()
    assert lines == all_lines[done:]  # with the score of all pictures
    assert path.read_bytes() == whole[1]
    assert command("predict", folder, "--csv", path, "--resume")[1].splitlines() == all_lines[24:]


def test_what_is_unreadable_stays_so_when_a_run_goes_on(folder, tmp_path, command):
    add_odd_pictures(folder)
    first, again = (command("predict", folder, "--csv", tmp_path / "a.csv", "--resume") for _ in range(2))
    assert first[0] == again[0] == 1
    assert first[1].splitlines()[26:] == again[1].splitlines()
    assert "2 rejected" in again[1] and "1 could not be read: 5_broken.png" in again[1]


def test_a_folder_that_changes_costs_a_line_each_and_what_appears_is_read_next_time(folder, tmp_path, command):
    seen = labelled_files.collect([folder])
    (folder / "0_00.png").unlink()
    path = tmp_path / "table.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled_files, "collect", lambda _: seen)
        status, out, error = command("predict", folder, "--csv", path, "--workers", 2)
    assert (status, error) == (1, f"error: cannot read {folder}/0_00.png: No such file or directory\n")
    assert "17 of 24 right" in out and len(rows_of(path)) == 24
    drawing(0).save(folder / "0_new.png")
    status, out, _ = command("predict", folder, "--csv", path, "--resume", "--workers", 2)
    assert (status, out.splitlines()[0].split()[:2]) == (0, [f"{folder}/0_new.png", "0"])
    assert "18 of 24 right" in out and len(rows_of(path)) == 25


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("workers", [[], ["--workers", 2]], ids=str)
def test_a_full_disk_is_one_line(workers, folder, command):
    status, out, error = command("predict", folder, "--csv", "/dev/full", *workers)
    assert (status, out) == (2, "")
    assert error == "error: cannot write /dev/full: No space left on device; what was written before is in it\n"


@posix_only
def test_a_disk_that_fills_up_loses_nothing(folder, whole, tmp_path, command):
    path, limit = tmp_path / "table.csv", len(whole[1]) // 2
    program = f"""
import resource, sys
from digit_recognizer.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = {["digits", "predict", str(folder), "--csv", str(path)]}
main.start()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert ran.stderr == f"error: cannot write {path}: File too large; what was written before is in it\n"
    assert path.read_bytes() == whole[1][:limit]
    assert ran.stdout.count("\n") == whole[1][:limit].count(b"\n") - 1
    assert command("predict", folder, "--csv", path, "--resume")[0] == 0
    assert path.read_bytes() == whole[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "--resume goes on with the table of --csv FILE; name that file"),
        (["--csv", "done.csv"], "done.csv exists; add --resume to go on, or name another file"),
        (["--csv", "other.csv"], "other.csv is not a table with the columns file, read, confidence, warnings; name"),
        (["--csv", "other.csv", "--resume"], "other.csv is not a table with the columns"),
        (["--csv", "damaged.csv", "--resume"], "damaged.csv is not a table with the columns"),
        (["--csv", "binary.csv", "--resume"], "binary.csv is not a table with the columns"),
        (["--csv", "."], "cannot write .: Is a directory; choose another"),
        (["--csv", "other.csv/table.csv"], "cannot write other.csv/table.csv: "),
        (["--backend", "slurm"], "unknown backend 'slurm'"),
        (["--backend", "dask"], "--backend dask needs --scheduler ADDRESS"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--backend local takes none"),
        (["--workers", "0"], "must be a whole number of at least 1"),
        (["--workers", "2", "--mean", "0.5", "--std", "0.5"], "leave out --mean and --std"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_used_is_one_line_and_changes_nothing(
    arguments, words, folder, tmp_path, command, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    contents = {
        "done.csv": f"{HEADER}\r\na.png,1,0.9,\r\n".encode(),
        "other.csv": b"file,label\n7.png,7\n",
        "damaged.csv": f"{HEADER}\r\na.png,1,0.9,\r\nb.png,2\r\n".encode(),
        "binary.csv": bytes(range(256)) + b"\n",
    }
    for name, content in contents.items():
        Path(name).write_bytes(content)
    status, out, error = command("predict", folder, *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1) and words in error
    assert {name: Path(name).read_bytes() for name in contents} == contents


def test_a_table_without_rows_is_begun_anew(folder, whole, tmp_path, command):
    path = tmp_path / "table.csv"
    for content in (b"", whole[1][:10], whole[1][: whole[1].index(b"\n") + 5]):
        path.write_bytes(content)
        assert command("predict", folder, "--csv", path)[0] == 0
        assert path.read_bytes() == whole[1]


def test_a_scheduler_that_does_not_answer_is_one_line(folder, tmp_path, command, monkeypatch):
    pytest.importorskip("distributed", reason="optional: pip install -e .[cluster]")
    monkeypatch.setattr(executors, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        status, out, error = command("predict", folder, "--backend", "dask", "--scheduler", address)
    assert (status, out, error) == (2, "", f"error: no Dask scheduler answered at {address} within 1 s\n")


def test_a_cluster_says_what_one_process_says(cluster, folder, whole, tmp_path, command, monkeypatch):
    monkeypatch.setattr(executors, "TIMEOUT", 120)  # a busy machine starts the cluster slowly
    monkeypatch.chdir(folder)  # the workers stand elsewhere
    local = command("predict", "*.png", "--csv", "local.csv")
    on_cluster = ["--backend", "dask", "--scheduler", cluster[0]]
    assert command("predict", "*.png", "--csv", "cluster.csv", *on_cluster) == local
    assert Path("cluster.csv").read_bytes() == Path("local.csv").read_bytes()


@posix_only
def test_a_killed_worker_is_one_line(folder, tmp_path, command, monkeypatch):
    monkeypatch.setattr(answers, "read_batch", _kill_itself)
    status, _, error = command("predict", folder, "--workers", 2)
    assert status == 2 and error.count("\n") == 1 and "a worker was killed" in error


def _kill_itself(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@posix_only
def test_a_terminal_shows_progress_that_leaves_the_lines_whole(folder, whole):
    import termios  # which Windows lacks

    terminal, its_end = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    with subprocess.Popen([*PREDICT, str(folder)], stdout=subprocess.PIPE, stderr=its_end, text=True) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout))
        reader.start()
        shown = b""
        while reader.is_alive() or select.select([terminal], [], [], 0)[0]:  # a full terminal would stop the command
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 10_000)
    os.close(its_end)
    os.close(terminal)
    assert "".join(lines) == whole[0]
    assert b"/24 [" in shown and b"picture" in shown


def test_a_model_that_is_written_again_is_loaded_again(folder, tmp_path):
    """A cluster's worker outlives a command."""
    model = tmp_path / "model.pth"
    request = answers.Request(str(model), None, None, number=False, as_json=True, show=None)
    lines = []
    for name in ("cnn_best", "mlp_512_256_adam_5ep", "mlp_512_256_adam_5ep"):
        shutil.copy(checkpoints.PRETRAINED / f"{name}.pth", model)
        lines.append(answers.read_batch(0, [(1, folder / "7_03.png")], request)[1][0].line)
    assert lines[0] != lines[1] == lines[2]


def test_a_process_that_only_prints_does_not_import_torch():
    program = "import sys, digit_recognizer.cli.predict; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "False\n"
