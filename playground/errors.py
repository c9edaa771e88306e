"""The one error that people see: a sentence with the bad value, what was expected and the way out."""

from __future__ import annotations


class UserError(Exception):
    """Something the person can mend. Its text is shown as it is, on the page and on the command line."""


def shown(value: object, limit: int = 60) -> str:
    """A value as it may stand inside an error sentence: one line, quoted where it is text, cut where it is long."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
