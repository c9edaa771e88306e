"""Who writes lanes: the one protocol between a run and what computes it, in this process or on other machines.

A lane is the unit. What its text depends on goes out as plain data (`LaneOrder`); what comes back is its record. The
same order gives the same tokens from every backend (docs/scaling.md says where that ends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from playground.engine.engine import Owner
from playground.models.fetch import Progress
from playground.record import Fork, LaneRecord
from playground.requests import LaneRequest, PromptRequest


@dataclass(frozen=True)
class LaneOrder:
    """One lane to be written: the prompt with seed and limits, the method with its options, whose it is. `known`: the
    records of the tokens that another lane has written, `fork` says which."""

    request: PromptRequest
    lane: LaneRequest
    owner: Owner = ()
    known: tuple[dict[str, Any], ...] = ()
    fork: Fork | None = None


class LaneAtWork(Protocol):
    """A lane under way, or ended."""

    failure: BaseException | None
    """What went wrong; a UserError is something that the person can mend."""
    prompt_tokens: int
    """How long the prompt is for the first of its models."""

    def begin(self, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        """Write it, and return at once. `changed` is called whenever it has grown, `ended` once."""

    def stop(self) -> None:
        """End it soon; what it has written stays."""

    @property
    def error(self) -> str | None:
        """The failure as a sentence for people."""

    @property
    def status(self) -> str:
        """waiting, writing, done, stopped or failed."""

    def result(self) -> LaneRecord:
        """The lane as it is now."""


class Backend(Protocol):
    """What writes lanes."""

    def load(self, *variants: str) -> None:
        """Make variants ready before anybody asks for them. Raises UserError."""

    def is_ready_for(self, lanes: Iterable[LaneRequest]) -> bool:
        """Whether these lanes would begin at once. Raises UserError for a model that is unknown."""

    def load_for(self, lanes: Iterable[LaneRequest], progress: Progress) -> None:
        """Make ready all that these lanes ask. Raises UserError."""

    def prepare(self, order: LaneOrder, progress: Progress | None = None) -> LaneAtWork:
        """A lane that can begin. Raises UserError if it cannot be written."""

    def close(self) -> None:
        """Stop all lanes and give everything back."""
