"""One number with everything a reader needs to judge it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """A measured value.

    ``name`` is the machine name (``total_volume``), ``title`` the words for a table, ``unit`` is empty for
    grades, counts and flags. ``value`` is a plain Python number, bool or text; ``None`` says that it could not
    be measured, which is not the same as 0. ``source`` tells how the value came about: the rule and, where
    there is one, the paper its constants come from.
    """

    name: str
    title: str
    value: float | int | str | None
    unit: str
    source: str
