"""Checks of a dataclass's fields, whose values may come from a file or a command line."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from digit_recognizer.runtime.errors import UserError

# For each declared type: the accepted types, and its name in a message, singular and plural.
TYPES: dict[Any, tuple[tuple[type, ...], str, str]] = {
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
    bool: ((bool,), "true or false", "true or false"),
    str: ((str,), "text", "texts"),
}


def validate_types(record: Any) -> None:
    """Raise UserError, naming the field, where a plain field, or a tuple of plain values, is of another type."""
    for each in dataclasses.fields(record):
        value, name = getattr(record, each.name), each.name.replace("_", " ")
        several = typing.get_origin(each.type) is tuple
        declared = typing.get_args(each.type)[0] if several else each.type
        if declared in TYPES and not all(_is_of_type(declared, part) for part in (value if several else [value])):
            raise UserError(f"{name} must be {TYPES[declared][2 if several else 1]}, not {value}")


def _is_of_type(declared: Any, value: Any) -> bool:
    return isinstance(value, TYPES[declared][0]) and (declared is bool or not isinstance(value, bool))


def validate_choices(record: Any, choices_of: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError where a field has a value that is not among its choices."""
    for name, choices in choices_of.items():
        if (value := getattr(record, name, choices[0])) not in choices:
            raise UserError(f"unknown {name} '{value}'; there are {' and '.join(choices)}")
