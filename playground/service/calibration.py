"""A calibration: which threshold of a confidence gives which accuracy and coverage, found on questions kept apart."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

FILE = "calibration.json"


class Calibration(BaseModel):
    """For one variant with one setting of the method. `curves`: measure → points {"coverage", "accuracy", "threshold"}
    by rising coverage."""

    variant: str
    alpha: float
    beams: int
    n: int
    threshold: float
    wanted: dict[str, float]
    curves: dict[str, list[dict[str, float]]]


def read_calibration(folders: tuple[Path, ...]) -> Calibration | None:
    """The calibration in the first of these folders that holds one."""
    found = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    return Calibration.model_validate_json(found.read_bytes()) if found else None
