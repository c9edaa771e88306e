"""A reward or classification model from models.yaml (`classifiers`) as a scorer: it reads prompt and answer as text."""

from __future__ import annotations

from pydantic import Field, field_validator

from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.engine.requests import Read
from playground.errors import UserError
from playground.models.specs import EMBEDDER
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer


class ClassifierOptions(Options):
    model: str = Field("reward", title="Classifier", description="Its name in models.yaml, below classifiers")

    @field_validator("model")
    @classmethod
    def _classifies(cls, model: str) -> str:
        if model == EMBEDDER:
            raise UserError(f"{EMBEDDER} classifies nothing; name one of the classifiers in models.yaml.")
        return model

    @property
    def readers(self) -> tuple[str, ...]:
        return (self.model,)


def run(lane: Lane, writer: Policy, answers: list[Answer], options: ClassifierOptions) -> Asking:
    """What the model gives each answer to the lane's prompt, in one batch."""
    [values] = yield [Read(options.model, tuple((lane.prompt, answer.text) for answer in answers))]
    return values[:, 0].tolist()


SCORERS = (Scorer(name="classifier", title="Classifier of models.yaml", run=run, options=ClassifierOptions),)
