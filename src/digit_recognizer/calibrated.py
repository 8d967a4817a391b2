"""The calibration that a record holds, which recognition.calibration has fitted: checked wherever it is used."""

from typing import Any

from digit_recognizer.runtime.errors import UserError


def usable(name: object, calibration: Any) -> dict[str, float]:
    """Temperature and rejection threshold of a record's calibration, {} without one.

    name: of the file. Raises UserError where they cannot be used.
    """
    match calibration:
        case None:
            return {}
        case {"temperature": int() | float() as temperature, "rejection_threshold": int() | float() as threshold}:
            is_number = not isinstance(temperature, bool) and not isinstance(threshold, bool)
            if is_number and 0.001 <= temperature <= 1000 and 0 <= threshold < float("inf"):
                return {"temperature": float(temperature), "rejection_threshold": float(threshold)}
    raise UserError(f"{name} has no usable calibration of its confidence; take another copy of it, or train it again")
