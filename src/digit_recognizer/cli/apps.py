"""digits predict, draw and serve: the commands that read images with a trained network."""

import argparse

from digit_recognizer.cli.parser import add_data_dir, add_normalisation, positive


def add_predict_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `predict`."""
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+", help="an image, a folder of images, or a pattern such as '*.jpg'")
    _add_model(parser)
    add_normalisation(parser)
    add("--number", action="store_true", help="read rows of several digits")
    add("--json", action="store_true", help="print one JSON object a line")
    add("--show", metavar="DIR", help="save there, as a figure, how each image was read")
    add("--csv", metavar="FILE", help="also write a table: file, what was read, confidence, warnings")
    add("--resume", action="store_true", help="with --csv: go on after a run that was interrupted")
    add("--workers", metavar="N", type=positive, help="images read at a time (default: 1, in this process)")
    add("--backend", metavar="NAME", help="local or dask (default: local)")
    add("--scheduler", metavar="ADDRESS", help="address of a Dask cluster")


def predict(options: argparse.Namespace) -> int:
    """Read the digits in images: files, folders and patterns, one line each."""
    from digit_recognizer.cli import answers, predict

    request = answers.Request(options.model, options.mean, options.std, options.number, options.json, options.show)
    executor = {"workers": options.workers, "backend": options.backend, "scheduler": options.scheduler}
    return predict.run(options.files, request, options.csv, options.resume, **executor)


def add_draw_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `draw`."""
    _add_model(parser)
    add_data_dir(parser)


def draw(options: argparse.Namespace) -> None:
    """Open a window to draw digits in, and read them while they are drawn."""
    from digit_recognizer.apps import window

    window.run(options.model, options.data_dir)


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `serve`."""
    parser.add_argument("--port", metavar="N", type=positive, help="port on this machine (default: 8501)")
    parser.add_argument("--models", metavar="DIR", help="folder of saved models (default: the current one)")


def serve(options: argparse.Namespace) -> None:
    """Open a page in the browser that reads uploaded, photographed and drawn digits."""
    from digit_recognizer.apps.web import server

    server.run(options.port, options.models)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="a saved model (default: the network in the package)")
