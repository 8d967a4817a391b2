"""Which optional packages a missing module belongs to, in one line."""

import importlib.util

from digit_recognizer.runtime.errors import UserError

# Of pyproject.toml, by the module that is imported.
EXTRAS = {
    "train": ("torch", "torchvision", "sklearn", "pooch", "filelock", "matplotlib"),
    "apps": ("streamlit", "streamlit_drawable_canvas"),
    "export": ("onnx", "onnxscript", "safetensors"),
    "cluster": ("dask", "distributed"),
}


def require(*modules: str) -> None:
    """Raise UserError where one of these modules is not installed; nothing is imported."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise missing_package(ModuleNotFoundError(name=name))


def missing_package(error: ImportError) -> UserError:
    """The message for a module that is not installed; raise it from the error."""
    name = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    what = f"'.[{extra}]'" if extra else "."
    return UserError(f"{name or error} is not installed; in the folder of this project, run: pip install {what}")
