"""The one exception that stands for a mistake the user can mend."""


class UserError(Exception):
    """A problem with the user's input: the message says what, where and what to do.

    The command lines print it without a traceback and exit with status 1; everything else
    that is raised is a bug of ours and keeps its traceback.
    """


class StoreNotWritten(UserError):
    """The place that is written to gave way (a full disk, a quota): the fault of no source."""


class DamagedStore(UserError, OSError):
    """A part of a store is not as it was written: copy or build it again."""
