"""Methods and scorers from elsewhere: packages that name them as Python entry points.

Nothing that a plug-in does wrong keeps the playground from starting: it is left out, and `PROBLEMS` says why.
"""

from __future__ import annotations

import logging
import re
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

T = TypeVar("T")
PROBLEMS: list[str] = []
"""A sentence for each plug-in that was left out."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
log = logging.getLogger(__name__)


def add_plugins(group: str, kind: type[T], known: dict[str, T]) -> None:
    """Add to `known` every `kind` that an entry point of `group` names, by its own name."""
    for point in entry_points(group=group):
        try:
            _add(point, kind, known)
        except (Exception, SystemExit) as error:  # whatever foreign code raises on import
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            PROBLEMS.append(f"The plug-in {point.value} was left out ({reason}); mend or uninstall it.")
            log.warning(PROBLEMS[-1])


def _add(point: EntryPoint, kind: type[T], known: dict[str, T]) -> None:
    found = point.load()
    if not isinstance(found, kind):
        raise TypeError(f"it is a {type(found).__name__}, not a {kind.__name__}")
    if not _NAME.fullmatch(found.name):
        raise ValueError(f"its name {found.name!r} is not made of small letters, digits and _")
    if found.name in known:
        raise ValueError(f"the name {found.name!r} is taken")
    known[found.name] = found
