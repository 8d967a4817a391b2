"""The exception for mistakes that the user can correct."""


class UserError(ValueError):
    """One line that says what is wrong and what to do next.

    Commands print it and end with status 2. In a notebook it is an ordinary ValueError.
    """
