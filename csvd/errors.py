"""What went wrong, and what the user can do about it.

Every message is one sentence or two for a person: what is wrong, then what to do. The command line
prints it after ``csvd: `` and leaves with ``exit_status``; the panel shows it as it is.
"""


class CsvdError(Exception):
    """Base of everything that ``csvd`` raises on purpose."""

    exit_status = 1


class InputError(CsvdError):
    """The input image, file, folder or call is wrong (exit status 2)."""

    exit_status = 2


class ModelError(CsvdError):
    """A model bundle is damaged, absent or not one of ours (exit status 3)."""

    exit_status = 3


class Cancelled(CsvdError):
    """The user cancelled; nothing was written (exit status 130)."""

    exit_status = 130
