"""The one exception class of the package: a mistake that the user can mend."""


class UsageError(ValueError):
    """A user's mistake: says what was expected, what was given and what to do; the command line exits with 2."""
