"""ASPIRE's first stage (Chen et al., EMNLP Findings 2023, arXiv 2310.11689, §4.1): learn to answer.

The model stays as it is; a soft prompt θp, or a LoRA adapter in its place, learns to give the gold answers: the loss is
the mean cross-entropy of their tokens (eq. 3).
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from playground.errors import UserError
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids
from playground.questions import Question, read_questions
from playground.training.data import Rows
from playground.training.likelihood import Pair, mean_log_probs_of_all
from playground.training.parts import Lora, SoftPrompt
from playground.training.records import TaskConfig, TaskJob


class AnswerTask:
    """Learning to answer, as an objective."""

    name = "ASPIRE (task)"
    writes = True

    def __init__(self, loaded: LoadedModel, job: TaskJob):
        if loaded.precision == "int4":
            raise UserError("int4 weights cannot be trained on; load the model as bf16 or fp32.")
        self.loaded, self.config, self.start = loaded, job.config, job.start
        self.makes = "LoRA adapter" if job.config.form == "lora" else "soft prompt"

    @staticmethod
    def read(path: Path) -> Rows[Question]:
        """Unanswerable questions are no rows of this stage: there is nothing to answer."""
        return Rows(*read_questions(path))

    def misfit(self, row: Question) -> str | None:
        if not row.answers:
            return "there is no answer to learn"
        if not fits(self.loaded.tokenizer, row, self.config):
            return f"question and passage are over {self.config.max_prompt} tokens long; raise --max-prompt"
        return None

    def build(self, rows: list[Question]) -> dict[str, torch.nn.Parameter]:
        """Add what is learned to the model."""
        model, config = self.loaded.model, self.config
        if config.form == "lora":
            self.part = Lora(model, config, self.start)
        else:
            self.part = SoftPrompt(model, "soft_prompt", config.vectors, self.start)
        return self.part.parameters

    def loss(self, rows: list[Question]) -> torch.Tensor:
        """Mean cross-entropy [] of an answer's tokens, in nats."""
        self.loaded.model.train()
        return -self._means(rows).mean()

    def measure(self, rows: list[Question]) -> dict[str, float]:
        """The same on held-out rows."""
        self.loaded.model.eval()
        return {"cross-entropy": -float(self._means(rows).mean())}

    def save(self, out: Path) -> None:
        """Write the adapter or the soft prompt."""
        self.part.save(out)

    def _means(self, rows: list[Question]) -> torch.Tensor:
        return mean_log_probs_of_all(self.loaded.model, list(map(self._pair, rows)), self.part.before)

    def _pair(self, row: Question) -> Pair:
        tokenizer = self.loaded.tokenizer
        answer = [*plain_ids(tokenizer, row.answers[0]), tokenizer.eos_token_id]
        return encode_chat(tokenizer, row.prompt), answer[: self.config.max_response]


def fits(tokenizer: PreTrainedTokenizerBase, question: Question, config: TaskConfig) -> bool:
    """Whether a question with its passage is short enough to be trained on."""
    return len(encode_chat(tokenizer, question.prompt)) <= config.max_prompt
