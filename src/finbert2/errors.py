"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend; its message says what is wrong, what was found and what to do.

    Every command ends on it with that message on standard error and exit code 2 (see `finbert2.args.command`).
    """


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, its name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
