"""RRHF: rank responses to align (Yuan et al., NeurIPS 2023, arXiv 2304.05302), with LoRA.

For one query with k responses: p_i is the mean token log-probability of response i (eq. 1);
loss = rank_weight · Σ_{r_i<r_j} max(0, p_i − p_j) + tune_weight · (−p of the best response) (eqs. 2 to 4).
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.utils.rnn import pad_sequence

from playground.errors import UserError, shown
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids
from playground.training.data import RankedRow

IGNORED = -100
TOGETHER = 6
"""Responses that are padded to one length."""


@dataclass(frozen=True)
class RrhfConfig:
    """How to train. Lengths in tokens; rows_per_step rows share one optimiser step; targets names the layers that
    are adapted, with commas between them; the finished adapter is multiplied by scale, which below 1 leaves DeRa room
    beyond λ = 1."""

    steps: int = 300
    rows_per_step: int = 8
    learning_rate: float = 2e-4
    warmup: int = 10
    rank: int = 8
    alpha: int = 16
    targets: str = "all-linear"
    scale: float = 1.0
    rank_weight: float = 1.0
    tune_weight: float = 1.0
    max_prompt: int = 160
    max_response: int = 64
    held_out: float = 0.05
    evaluate_every: int = 50
    save_every: int = 25
    seed: int = 0


@dataclass
class Progress:
    """Where a training stands: per-step losses and held-out ranking accuracies as (step, value)."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    accuracies: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


def rrhf_loss(
    means: torch.Tensor, scores: torch.Tensor, rank_weight: float = 1.0, tune_weight: float = 1.0
) -> torch.Tensor:
    """The loss of one query. means [k]: mean token log-probabilities; scores [k]. Equal scores make no pair; one
    response alone is supervised fine-tuning."""
    worse_better = scores[:, None] < scores[None, :]
    hinge = (means[:, None] - means[None, :]).clamp_min(0)
    rank = (hinge * worse_better).sum()
    return rank_weight * rank - tune_weight * means[scores.argmax()]


def encode(loaded: LoadedModel, row: RankedRow, config: RrhfConfig) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, response ids) of each response; an end token closes every response that is not cut, be it in the row
    or here."""
    tokenizer = loaded.tokenizer
    prompt = encode_chat(tokenizer, row.query)
    if len(prompt) > config.max_prompt:
        raise UserError(
            f"A query is {len(prompt)} tokens long, over the limit of {config.max_prompt}; raise the limit or drop it."
        )
    pairs = []
    for number, response in enumerate(row.responses):
        ids = [*plain_ids(tokenizer, response), *([] if number in row.cut else [tokenizer.eos_token_id])]
        pairs.append((prompt, ids[: config.max_response]))
    return pairs


def mean_log_probs(model, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Mean token log-probability [n] of each response after its prompt. The head sees response positions only."""
    device = next(model.parameters()).device
    ids = [torch.tensor(p + r, device=device) for p, r in pairs]
    labels = [torch.tensor([IGNORED] * len(p) + r, device=device) for p, r in pairs]
    mask = pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
    hidden = model.model(input_ids=pad_sequence(ids, batch_first=True), attention_mask=mask, use_cache=False)[0]
    target = pad_sequence(labels, batch_first=True, padding_value=IGNORED)[:, 1:]
    wanted = target != IGNORED
    logits = model.lm_head(hidden[:, :-1][wanted]).float()
    token = logits.log_softmax(-1).gather(-1, target[wanted][:, None])[:, 0]
    row_of = wanted.nonzero()[:, 0]
    totals = torch.zeros(len(pairs), device=device).index_add(0, row_of, token)
    return totals / wanted.sum(1)


def mean_log_probs_of_all(model, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """`mean_log_probs` of many pairs, those of similar length in one batch: padding would cost as much as text."""
    by_length = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    parts = [by_length[i : i + TOGETHER] for i in range(0, len(pairs), TOGETHER)]
    means = torch.cat([mean_log_probs(model, [pairs[i] for i in part]) for part in parts])
    return means[torch.tensor(by_length, device=means.device).argsort()]


def order_of(count: int, seed: int) -> Iterator[int]:
    """Row numbers, epoch after epoch, each epoch in its own order. The same for the same seed, so that a resumed
    training sees what it would have seen."""
    epoch = 0
    while True:
        numbers = list(range(count))
        random.Random(f"{seed}-{epoch}").shuffle(numbers)
        yield from numbers
        epoch += 1


class RrhfTraining:
    """A training that can be watched, stopped and gone on with. Checkpoints lie in `out`/checkpoint."""

    def __init__(
        self, loaded: LoadedModel, rows: list[RankedRow], config: RrhfConfig, out: Path, start: Path | None = None
    ):
        """start: the folder of an adapter to go on from, which then sets the rank; else a fresh one."""
        if loaded.precision == "int4":
            raise UserError("int4 weights cannot be trained on; load the model as bf16 or fp32.")
        self.loaded, self.config, self.out = loaded, config, out
        self.progress = Progress()
        shuffled = random.Random(config.seed).sample(rows, len(rows))
        keep = min(len(rows) - 1, round(len(rows) * config.held_out))
        self.held_out, self.rows = shuffled[:keep], shuffled[keep:]
        torch.manual_seed(config.seed)
        self.model: PeftModel
        if start:
            self.model = PeftModel.from_pretrained(loaded.model, start, is_trainable=True)
        else:
            targets = config.targets if config.targets == "all-linear" else config.targets.split(",")
            lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=targets, task_type="CAUSAL_LM")
            try:
                self.model = get_peft_model(loaded.model, lora)
            except ValueError:
                raise UserError(
                    f"The model has no layers named {shown(config.targets)}; name them as v_proj,o_proj."
                ) from None
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=0.0)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then linear decay to a tenth."""
        if step < self.config.warmup:
            return (step + 1) / self.config.warmup
        return 1 - 0.9 * (step - self.config.warmup) / max(1, self.config.steps - self.config.warmup)

    def run(self, watch: Callable[[Progress], None], stopped: Callable[[], bool] = lambda: False) -> Progress:
        """Train to the last step, or until `stopped`; a checkpoint is left in either case."""
        order = order_of(len(self.rows), self.config.seed)
        for _ in range(self.progress.step * self.config.rows_per_step):
            next(order)
        while self.progress.step < self.config.steps and not stopped():
            began = time.perf_counter()
            self.progress.losses.append(self._step([self.rows[next(order)] for _ in range(self.config.rows_per_step)]))
            self.progress.step += 1
            last = self.progress.step == self.config.steps
            if self.held_out and (last or self.progress.step % self.config.evaluate_every == 0):
                self.progress.accuracies.append((self.progress.step, self.ranking_accuracy(self.held_out)))
            self.progress.seconds += time.perf_counter() - began
            if last or self.progress.step % self.config.save_every == 0:
                self.save_checkpoint()
            watch(self.progress)
        self.save_checkpoint()
        return self.progress

    def _step(self, rows: list[RankedRow]) -> float:
        self.model.train()
        encoded = [encode(self.loaded, row, self.config) for row in rows]
        means = mean_log_probs_of_all(self.model.get_base_model(), [pair for pairs in encoded for pair in pairs])
        losses = []
        for row, part in zip(rows, means.split([len(pairs) for pairs in encoded]), strict=True):
            scores = torch.tensor(row.scores, device=part.device)
            losses.append(rrhf_loss(part, scores, self.config.rank_weight, self.config.tune_weight))
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def ranking_accuracy(self, rows: list[RankedRow]) -> float:
        """Share of ordered pairs that the mean log-probability orders as the scores do."""
        self.model.eval()
        return ranking_accuracy(self.model.get_base_model(), self.loaded, rows, self.config)

    def save_checkpoint(self) -> None:
        """Write everything that going on needs, so that a kill at any moment leaves the old or the new one."""
        target, scratch = self.out / "checkpoint", self.out / "checkpoint.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        state = {
            "adapter": {n: p for n, p in self.model.named_parameters() if p.requires_grad},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "progress": asdict(self.progress),
            "config": asdict(self.config),
        }
        torch.save(state, scratch / "state.pt")
        shutil.rmtree(target, ignore_errors=True)
        scratch.replace(target)

    def resume(self) -> None:
        """Go on from the checkpoint in `out`. Raises UserError if there is none or it was made otherwise."""
        folder = next(
            (self.out / n for n in ("checkpoint", "checkpoint.new") if (self.out / n / "state.pt").exists()), None
        )
        if folder is None:
            raise UserError(f"There is no checkpoint in {self.out}; start without --resume.")
        state = torch.load(folder / "state.pt", weights_only=True)
        if state["config"] != asdict(self.config):
            changed = [k for k, v in asdict(self.config).items() if state["config"].get(k) != v]
            raise UserError(f"The checkpoint in {self.out} was made with other settings ({', '.join(changed)}).")
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in state["adapter"].items():
                parameters[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.progress = Progress(**state["progress"])

    def save_adapter(self, card: str) -> None:
        """Write the adapter in bf16 with its card, and remove the checkpoint."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(self.config.scale)
        self.model.to(torch.bfloat16).save_pretrained(self.out)
        (self.out / "README.md").write_text(card, encoding="utf-8")
        (self.out / "training.json").write_text(
            json.dumps({"base": self.loaded.name, "config": asdict(self.config), **asdict(self.progress)}, indent=1),
            encoding="utf-8",
        )
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)


def ranking_accuracy(model, loaded: LoadedModel, rows: list[RankedRow], config: RrhfConfig) -> float:
    """Share of ordered pairs in `rows` that mean token log-probability orders right; ties count a half."""
    right = total = 0.0
    for row in rows:
        means = mean_log_probs(model, encode(loaded, row, config)).tolist()
        for i, worse in enumerate(row.scores):
            for j, better in enumerate(row.scores):
                if worse < better:
                    right += 0.5 * (means[i] == means[j]) + (means[i] < means[j])
                    total += 1
    return right / total if total else float("nan")
