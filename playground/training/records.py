"""What a training is told, as plain records.

A job says what to train, on which rows, with which settings, and where the result goes. The command line and the page
build the same job; a process reads it from a file.

Loads no torch: the arguments of the command line are made from these records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from playground.errors import UserError
from playground.explain import explain

JOB = "job.json"
"""The file of a job, in its folder."""
CHECKPOINT = "checkpoint.pt"
"""The file from which a training goes on, in the same folder."""
SAMPLER = "diverse_beams"
"""The method that samples responses where no other is named: RRHF's own."""
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
"""A job may be read by a process that works in another folder."""


class Record(BaseModel):
    """A record that cannot change and knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Config(Record):
    """The settings of every training: how long, how fast, what is held out and saved."""

    steps: int = Field(300, ge=1, description="optimiser steps")
    rows_per_step: int = Field(8, ge=1, description="rows that share one optimiser step")
    learning_rate: float = Field(2e-4, gt=0, description="step size of the optimiser after the warm-up")
    warmup: int = Field(10, ge=0, description="steps over which the learning rate rises")
    decay: int = Field(0, ge=0, description="step at which it has fallen to a tenth; 0: the last one")
    held_out: float = Field(0.05, ge=0, lt=1, description="share of the rows that is kept apart for measuring")
    evaluate_every: int = Field(50, ge=1, description="steps between two measurements on the held-out rows")
    save_every: int = Field(25, ge=1, description="steps between two checkpoints")
    seed: int = Field(0, ge=0, description="of all random numbers")


class LoraSettings(Config):
    """The settings of a training that may change a LoRA adapter."""

    rank: int = Field(8, ge=1, description="rank of the LoRA adapter")
    alpha: int = Field(16, ge=1, description="LoRA's alpha; alpha / rank multiplies the adapter")
    targets: str = Field("all-linear", description="layers that are adapted, with commas between them")


class RrhfConfig(LoraSettings):
    """The settings of RRHF with LoRA. Lengths in tokens."""

    scale: float = Field(
        1.0, gt=0, description="the finished adapter is multiplied by this; below 1 leaves DeRa room beyond λ = 1"
    )
    rank_weight: float = Field(1.0, ge=0, description="weight of the ranking loss")
    tune_weight: float = Field(1.0, ge=0, description="weight of the fine-tuning loss on the best response")
    max_prompt: int = Field(160, ge=1, description="rows with a longer query are left out (tokens)")
    max_response: int = Field(64, ge=1, description="responses are cut here (tokens)")


class TaskConfig(LoraSettings):
    """The settings of ASPIRE's first stage: learn to answer. Lengths in tokens."""

    steps: int = Field(600, ge=1, description="optimiser steps")
    learning_rate: float = Field(5e-4, gt=0, description="step size of the optimiser after the warm-up")
    form: Literal["lora", "soft_prompt"] = Field(
        "lora", description="what is learned: a LoRA adapter, or vectors before the question (soft_prompt)"
    )
    vectors: int = Field(50, ge=1, le=256, description="length of the soft prompt")
    max_prompt: int = Field(320, ge=1, description="questions that are longer with their passage are left out (tokens)")
    max_response: int = Field(32, ge=1, description="answers are cut here (tokens)")


class LabelConfig(Record):
    """The settings of ASPIRE's second stage: label answers."""

    questions: int = Field(3000, ge=1, description="questions whose answers are labelled")
    beams: int = Field(10, ge=1, le=32, description="answers to each question")
    seed: int = Field(0, ge=0, description="of all random numbers")


class EvaluateConfig(LoraSettings):
    """The settings of ASPIRE's third stage: learn to evaluate answers. Lengths in tokens."""

    steps: int = Field(500, ge=1, description="optimiser steps")
    learning_rate: float = Field(5e-4, gt=0, description="step size of the optimiser after the warm-up")
    form: Literal["lora", "soft_prompt"] = Field(
        "lora",
        description="what is learned: vectors behind the answer with a LoRA adapter for their places, or vectors alone "
        "(soft_prompt)",
    )
    vectors: int = Field(4, ge=1, le=256, description="length of the self-evaluation prompt")
    pair_weight: float = Field(0.5, ge=0, description="weight of comparing right and wrong answers to one question")
    max_prompt: int = Field(320, ge=1, description="questions that are longer with their passage are left out (tokens)")


class ValueConfig(LoraSettings):
    """The settings of prefix values. Lengths in tokens."""

    form: Literal["lora", "head"] = Field(
        "lora", description="what is learned: the head with a LoRA adapter below it, or the head alone"
    )
    hidden: int = Field(64, ge=0, le=4096, description="units of the head's hidden layer; 0: a linear head")
    max_prompt: int = Field(320, ge=1, description="rows with a longer query are left out (tokens)")
    max_response: int = Field(64, ge=1, description="responses are cut here (tokens)")


class RowsFile(Record):
    """Rows from a file."""

    kind: Literal["file"] = "file"
    path: AbsolutePath


class Rewarded(Record):
    """Responses from a file, scored by a scorer."""

    kind: Literal["rewarded"] = "rewarded"
    path: AbsolutePath
    reward: str = Field(description="the scorer whose score of the whole response is its reward")


class Votes(Record):
    """Rows made of the arena's votes."""

    kind: Literal["votes"] = "votes"


class Sampling(Record):
    """Rows made by sampling responses to prompts and scoring them."""

    kind: Literal["sampling"] = "sampling"
    prompts: AbsolutePath = Field(description='JSON Lines with "prompt": sample, score, rank and train')
    samples: int = Field(4, ge=1, description="responses of each lane to a prompt")
    score_with: str = Field("mean_log_prob", description="the scorer that ranks the responses")
    lanes: tuple[str, ...] = Field((SAMPLER,), min_length=1, description="what samples; may be given again")
    answers: AbsolutePath | None = Field(
        None, description='responses of other models, JSON Lines with "prompt" and "responses"'
    )
    limit: int = Field(0, ge=0, description="only so many of the prompts, the first ones; 0 takes all")


class Job(Record):
    """One training. Each kind says in `result` which file only a finished training leaves in `out`."""

    result: ClassVar[str]
    kind: str
    out: AbsolutePath = Field(description="the folder of the result")
    base: str | None = Field(None, description="the model; by default that of the variant reference")
    start: AbsolutePath | None = Field(None, description="the folder of an earlier result to continue from")
    source: RowsFile
    config: Config


class RrhfJob(Job):
    """Train a LoRA adapter on ranked responses."""

    result = "adapter_config.json"
    kind: Literal["rrhf"] = "rrhf"
    source: RowsFile | Votes | Sampling = Field(discriminator="kind")
    config: RrhfConfig = RrhfConfig()


class TaskJob(Job):
    """Learn to answer questions: ASPIRE's first stage."""

    result = "training.json"
    kind: Literal["aspire_task"] = "aspire_task"
    config: TaskConfig = TaskConfig()


class EvaluateJob(Job):
    """Learn to evaluate one's own answers: ASPIRE's third stage."""

    result = "vectors.safetensors"
    kind: Literal["aspire_evaluate"] = "aspire_evaluate"
    task: AbsolutePath = Field(description="the folder of what the first stage learned")
    config: EvaluateConfig = EvaluateConfig()


class ValueJob(Job):
    """Learn the values of unfinished responses."""

    result = "value_head.safetensors"
    kind: Literal["value"] = "value"
    source: RowsFile | Rewarded | Sampling = Field(discriminator="kind")
    config: ValueConfig = ValueConfig()


JOBS: dict[str, type[Job]] = {
    "rrhf": RrhfJob,
    "aspire_task": TaskJob,
    "aspire_evaluate": EvaluateJob,
    "value": ValueJob,
}
"""Every kind of training."""
R = TypeVar("R", bound=Record)


def checked(kind: type[R], **fields: Any) -> R:
    """A record of these fields. Raises UserError with one sentence for the first thing that is wrong."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise UserError(explain(error, "the training", kind)) from None


def read_job(path: Path) -> Job:
    """The job in a file that `write_job` wrote. Raises UserError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return JOBS[content["kind"]].model_validate(content)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} holds no training that can be read; start the training again.") from None


def write_job(job: Job, path: Path) -> None:
    """Write a job as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(job.model_dump_json(indent=1), encoding="utf-8")
