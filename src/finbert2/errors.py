"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake the user can mend; its message says what is wrong, what was found and what to do.

    Every command ends on it with that message on standard error and exit code 2 (see `finbert2.args.command`).
    """
