"""Files of JSON Lines: read line by line, so that what is wrong can be told by its line."""

from __future__ import annotations

from pathlib import Path

from playground.errors import UserError


def numbered_lines(path: Path, what: str = "data") -> list[tuple[int, str]]:
    """(number from 1, line) of every line that is not blank. A line ends at a line feed alone: other separators may
    stand inside a text. Raises UserError, which calls the file `what`, if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The {what} {str(path)!r} cannot be read ({error}); name a JSON Lines file in UTF-8."
        ) from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
