"""The one exception for what a user can mend."""


class UserError(ValueError):
    """One line that says what is wrong and what to do next.

    Commands print it and end with status 2; in a notebook it is an ordinary ValueError.
    """
