"""Whether the fields of a dataclass hold what it declares: they may come from a file or a command line."""

import dataclasses
import typing
from typing import Any

from digit_recognizer.runtime.errors import UserError

# Of each declared kind: what is taken for it, and in words, of one and of several.
KINDS: dict[Any, tuple[tuple[type, ...], str, str]] = {
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
    bool: ((bool,), "true or false", "true or false"),
    str: ((str,), "text", "texts"),
}


def check(record: Any) -> None:
    """Raise UserError, with the field's name, where one that is declared to be plain, or a tuple of such, is not."""
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name), field.name.replace("_", " ")
        several = typing.get_origin(field.type) is tuple
        kind = typing.get_args(field.type)[0] if several else field.type
        if kind in KINDS and not all(_is(kind, each) for each in (value if several else [value])):
            raise UserError(f"{name} must be {KINDS[kind][2 if several else 1]}, not {value}")


def _is(kind: Any, value: Any) -> bool:
    return isinstance(value, KINDS[kind][0]) and (kind is bool or not isinstance(value, bool))
