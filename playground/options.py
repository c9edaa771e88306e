"""What the options of methods and scorers have in common: typed records, from which the page builds its controls."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of every method's and scorer's options. Raises pydantic's ValidationError for what does not fit."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, validate_default=True)

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of the encoder models that are asked with these options."""
        return ()

    @property
    def branches(self) -> int:
        """How many answers grow at once with these options."""
        return 1
