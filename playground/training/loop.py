"""The loop of every training: steps, checkpoints, exact resume, curves. It knows nothing of what is learned.

What is learned, and from which rows, is an `Objective`: a dataset and a loss.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol

import torch

from playground.errors import UserError
from playground.training.data import Row, Rows
from playground.training.records import CHECKPOINT, Config


class Objective(Protocol[Row]):
    """What a paper's training consists of. A session makes one as kind(loaded model, job)."""

    name: str
    """As in "trained with RRHF"."""
    makes: str
    """What comes out, as in "LoRA adapter"."""
    writes: bool
    """Whether lanes can write with it; else it is there to judge."""

    @staticmethod
    def read(path: Path) -> Rows[Row]:
        """The rows of a file. Raises UserError if there is none to train on."""

    def misfit(self, row: Row) -> str | None:
        """Why a row cannot be trained on, in words that fit many rows; None if it can."""

    def build(self, rows: list[Row]) -> dict[str, torch.nn.Parameter]:
        """Make what is trained and return it by name. `rows` are those to train on. Random numbers are seeded
        before."""

    def loss(self, rows: list[Row]) -> torch.Tensor:
        """The mean loss [] of the rows of one step, with gradients."""

    def measure(self, rows: list[Row]) -> dict[str, float]:
        """Named numbers on held-out rows."""

    def save(self, out: Path) -> None:
        """Write the result, once, after the last step."""


@dataclass
class Progress:
    """Where a training stands: the loss of each step, and what was measured on held-out rows, by name, as
    (step, value)."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0


def order_of(count: int, seed: int) -> Iterator[int]:
    """Row numbers, epoch after epoch, each epoch in its own order. The same for the same seed, so that a resumed
    training sees what it would have seen."""
    epoch = 0
    while True:
        numbers = list(range(count))
        random.Random(f"{seed}-{epoch}").shuffle(numbers)
        yield from numbers
        epoch += 1


def split(rows: list[Row], config: Config) -> tuple[list[Row], list[Row]]:
    """Rows that are held out, and rows to train on."""
    shuffled = random.Random(config.seed).sample(rows, len(rows))
    keep = min(len(rows) - 1, round(len(rows) * config.held_out))
    return shuffled[:keep], shuffled[keep:]


def seen(rows: list[Row], config: Config) -> list[Row]:
    """Those of the rows to train on that a finished training has seen at least once."""
    order = order_of(len(rows), config.seed)
    numbers = dict.fromkeys(next(order) for _ in range(config.steps * config.rows_per_step))
    return [rows[number] for number in numbers]


class Training(Generic[Row]):
    """A training that can be watched, stopped and resumed. Its checkpoint is a file in `out`."""

    def __init__(self, objective: Objective[Row], rows: list[Row], config: Config, out: Path):
        self.objective, self.config, self.out = objective, config, out
        self.progress = Progress()
        self.held_out, self.rows = split(rows, config)
        torch.manual_seed(config.seed)
        self.parameters = objective.build(self.rows)
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=config.learning_rate, weight_decay=0.0)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to a tenth."""
        warmup, last = self.config.warmup, self.config.decay or self.config.steps
        if step < warmup:
            return (step + 1) / warmup
        return max(0.1, 1 - 0.9 * (step - warmup) / max(1, last - warmup))

    def run(
        self,
        watch: Callable[[Progress], None] = lambda progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Progress:
        """Train to the last step, or until `stopped`; a checkpoint is left in either case."""
        progress, config = self.progress, self.config
        order = order_of(len(self.rows), config.seed)
        for _ in range(progress.step * config.rows_per_step):
            next(order)
        if not progress.curves:
            self._measure()
        while progress.step < config.steps and not stopped():
            began = time.perf_counter()
            progress.losses.append(self._step([self.rows[next(order)] for _ in range(config.rows_per_step)]))
            progress.step += 1
            last = progress.step == config.steps
            if last or progress.step % config.evaluate_every == 0:
                self._measure()
            progress.seconds += time.perf_counter() - began
            if last or progress.step % config.save_every == 0:
                self.save_checkpoint()
            watch(progress)
        self.save_checkpoint()
        return progress

    def _step(self, rows: list[Row]) -> float:
        loss = self.objective.loss(rows)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def _measure(self) -> None:
        for name, value in self.objective.measure(self.held_out).items() if self.held_out else ():
            self.progress.curves.setdefault(name, []).append((self.progress.step, value))

    def save_checkpoint(self) -> None:
        """Write everything that resuming needs; a kill at any moment leaves the old file or the new one."""
        state = {
            "objective": self.objective.name,
            "config": self.config.model_dump(),
            "parameters": self.parameters,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "progress": asdict(self.progress),
        }
        file = self.out / CHECKPOINT
        scratch = file.with_suffix(".new")
        self.out.mkdir(parents=True, exist_ok=True)
        torch.save(state, scratch)
        scratch.replace(file)

    def resume(self) -> None:
        """Take up the checkpoint in `out`. Raises UserError if there is none or it was made otherwise."""
        state = self._checkpoint()
        with torch.no_grad():
            for name, value in state["parameters"].items():
                self.parameters[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.progress = Progress(**state["progress"])

    def _checkpoint(self) -> dict[str, Any]:
        file = self.out / CHECKPOINT
        if not file.exists():
            raise UserError(f"There is no checkpoint in {self.out}; start without --resume.")
        state = torch.load(file, weights_only=True)
        if state.get("objective") != self.objective.name:
            raise UserError(f"The checkpoint in {self.out} is not of {self.objective.name}; choose another folder.")
        mine = self.config.model_dump()
        if changed := [name for name, value in mine.items() if state["config"].get(name) != value]:
            raise UserError(f"The checkpoint in {self.out} was made with other settings ({', '.join(changed)}).")
        return state

    def finish(self, card: str, base: str) -> None:
        """Write the result with its card and its numbers, and remove the checkpoint. `base` names the model."""
        self.objective.save(self.out)
        (self.out / "README.md").write_text(card, encoding="utf-8")
        numbers = {
            "base": base,
            "writes": self.objective.writes,
            "config": self.config.model_dump(),
            **asdict(self.progress),
        }
        (self.out / "training.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
        (self.out / CHECKPOINT).unlink(missing_ok=True)
