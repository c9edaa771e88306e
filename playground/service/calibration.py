"""What was found on questions with known answers: how accurate a variant is at each threshold of its confidence, and
which threshold to use. It lies beside the weights and holds for these weights alone.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.errors import UserError

FILE = "calibration.json"
"""In the folder of the weights."""
MOST_POINTS = 200
"""Points of a curve that are kept."""
LEAST_ANSWERS = 20
"""An accuracy over fewer answers says little, and is never what a threshold is chosen by."""
ROUNDING = 1e-5
"""A threshold lies so far below the score that it lets through, since recorded scores are rounded."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Point(_Record):
    """With this threshold, a share `coverage` of all questions is answered, and `accuracy` of these answers are
    right."""

    coverage: float = Field(gt=0, le=1)
    accuracy: float = Field(ge=0, le=1)
    threshold: float


class Calibration(_Record):
    """`curves` holds by confidence measure at most 200 points, coverage rising to 1; `threshold` is one of `measure`,
    which gives `accuracy` and `coverage` on these `n` questions. `fingerprint` says for which weights it holds, `alpha`
    and `evaluation` for which options of the measure."""

    variant: str
    fingerprint: str
    measure: str
    alpha: float
    evaluation: str
    beams: int
    n: int
    wanted: dict[str, float]
    threshold: float
    accuracy: float
    coverage: float
    curves: dict[str, list[Point]]

    def point_for(self, accuracy: float | None = None, coverage: float | None = None) -> Point:
        """See `point_for`."""
        return point_for(self.curves[self.measure], self.n, accuracy, coverage)

    def threshold_for(self, accuracy: float | None = None, coverage: float | None = None) -> float:
        """The threshold that reaches a wanted accuracy, or a wanted coverage. Raises UserError if there is none."""
        return self.point_for(accuracy, coverage).threshold

    def write(self, folder: Path) -> Path:
        """Keep it in the folder of the weights; returns the file. Raises UserError."""
        file = folder / FILE
        try:
            file.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file} cannot be written ({error}); make its folder writable.") from None
        return file


def read(folder: Path) -> Calibration | None:
    """The calibration in a folder; None if there is none. Raises UserError if it cannot be read."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return Calibration.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise UserError(f"{file} is no calibration; write it again with the command calibrate.") from None


def curve(scores: list[float], right: list[bool]) -> list[Point]:
    """Accuracy over coverage, one point for each distinct score: the answers with at least that score are given.
    Coverage rises to 1. Equal scores are let through together, so their order does not count."""
    rows = sorted(zip(scores, right, strict=True), key=lambda row: -row[0])
    points, good = [], 0
    for place, (score, is_right) in enumerate(rows, 1):
        good += is_right
        if place == len(rows) or rows[place][0] != score:
            points.append(Point(coverage=place / len(rows), accuracy=good / place, threshold=score - ROUNDING))
    return points


def thinned(points: list[Point]) -> list[Point]:
    """At most MOST_POINTS of them, evenly spread, the last one among them."""
    step = -(-len(points) // MOST_POINTS) or 1
    return points[::-1][::step][::-1]


def point_for(points: list[Point], n: int, accuracy: float | None = None, coverage: float | None = None) -> Point:
    """Of a curve over n questions, the point that answers most with at least this accuracy, or the one that answers
    fewest with at least this coverage. Points with fewer than LEAST_ANSWERS answers count for no accuracy.

    Raises UserError if the accuracy cannot be met, with the best that can.
    """
    if coverage is not None:
        return next(point for point in points if point.coverage >= coverage - 1e-9)
    enough = [point for point in points if point.coverage * n >= min(LEAST_ANSWERS, n) - 1e-9]
    met = [point for point in enough if point.accuracy >= accuracy - 1e-9]
    if not met:
        best = max(enough, key=lambda point: (point.accuracy, point.coverage))
        raise UserError(
            f"An accuracy of {accuracy:.1%} cannot be met on these {n} questions; the best over at least "
            f"{LEAST_ANSWERS} answers is {best.accuracy:.1%}, at a coverage of {best.coverage:.1%}. Ask for less."
        )
    return met[-1]
