"""ASPIRE's third stage (arXiv 2310.11689, §4.3): learn to evaluate one's own answers.

The model and what it learned of the task stay as they are. A second soft prompt θs stands behind the answer, with or
without a LoRA adapter that holds for its own places alone; after it the model is to say "correct" for right answers and
"wrong" for wrong ones (eq. 5). Nothing before θs depends on it, so what the model answers does not change, and question
and answer need not be read again.

Beside their cross-entropy, right and wrong answers to the same question are compared:
loss = CE + pair_weight · mean over pairs of log(1 + exp(z_wrong − z_right)), z = log p("correct") − log p("wrong").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from transformers import DynamicCache

from playground.errors import UserError
from playground.jsonl import read_rows_as
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids
from playground.models.specs import KINDS
from playground.questions import Question, question_of
from playground.scorers.p_correct import PROMPT, WORDS
from playground.training.data import Rows
from playground.training.likelihood import in_batches
from playground.training.parts import Adapters, SoftPrompt
from playground.training.records import EvaluateJob

TASK, EVALUATION = "task", "evaluation"
"""The adapters, by what they are for."""
Answers = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LabelledRow:
    """A question with answers to it as token ids, likeliest first, and whether each is right."""

    question: Question
    answers: Answers
    correct: tuple[bool, ...]


class SelfEvaluation:
    """Learning to tell right answers from wrong ones, as an objective."""

    name = "ASPIRE (self-evaluation)"
    makes = "self-evaluation"
    writes = False

    def __init__(self, loaded: LoadedModel, job: EvaluateJob):
        if loaded.precision == "int4":
            raise UserError("int4 weights cannot be trained on; load the model as bf16 or fp32.")
        self.loaded, self.config, self.task = loaded, job.config, job.task
        self.words = [plain_ids(loaded.tokenizer, word)[0] for word in WORDS]

    @staticmethod
    def read(path: Path) -> Rows[LabelledRow]:
        """The rows that the second stage wrote. Raises UserError if there is none."""
        return Rows(*read_rows_as(path, _row, "holds no labelled answers; run the stage label first"))

    def misfit(self, row: LabelledRow) -> str | None:
        if len(encode_chat(self.loaded.tokenizer, row.question.prompt)) > self.config.max_prompt:
            return f"question and passage are over {self.config.max_prompt} tokens long; raise --max-prompt"
        return None

    def build(self, rows: list[LabelledRow]) -> dict[str, torch.nn.Parameter]:
        """Put what was learned of the task into the model, frozen, and beside it what is to be learned."""
        config, model = self.config, self.loaded.model
        self.before = None
        if (self.task / KINDS["soft_prompt"]).is_file():
            self.before = SoftPrompt(model, "soft_prompt", 0, self.task).vectors.detach()
        self.vectors = SoftPrompt(model, PROMPT, config.vectors)
        self.adapters: Adapters = Adapters(model)
        if (self.task / KINDS["adapter"]).is_file():
            self.adapters.load(TASK, self.task)
        learned = self.vectors.parameters
        if config.form == "lora":
            learned |= self.adapters.add(EVALUATION, config)
        return learned

    def loss(self, rows: list[LabelledRow]) -> torch.Tensor:
        """The mean of the rows' losses []."""
        self.loaded.model.train()
        margins = self.margins(rows)
        return torch.stack([self._loss(of_row, row.correct) for of_row, row in zip(margins, rows, strict=True)]).mean()

    def _loss(self, margins: torch.Tensor, labels: tuple[bool, ...]) -> torch.Tensor:
        correct = torch.tensor(labels, device=margins.device)
        # The likeliest answer is the one that people see: it counts as much as all others together.
        each = F.binary_cross_entropy_with_logits(margins, correct.float(), reduction="none")
        loss = (each[0] + each[1:].mean()) / 2 if len(each) > 1 else each[0]
        right, wrong = margins[correct], margins[~correct]
        if self.config.pair_weight and len(right) and len(wrong):
            loss = loss + self.config.pair_weight * F.softplus(wrong[None, :] - right[:, None]).mean()
        return loss

    def measure(self, rows: list[LabelledRow]) -> dict[str, float]:
        """How well P(correct) parts right first answers from wrong ones, of all held-out questions (AUROC); nothing
        where they are all right or all wrong."""
        right = [row.correct[0] for row in rows]
        if len(set(right)) < 2:
            return {}
        self.loaded.model.eval()
        return {"AUROC": float(roc_auc_score(right, [float(margins[0]) for margins in self.margins(rows)]))}

    def margins(self, rows: list[LabelledRow]) -> list[torch.Tensor]:
        """z [answers] of each row: log p("correct") − log p("wrong") after each answer to its question."""
        prompts = [encode_chat(self.loaded.tokenizer, row.question.prompt) for row in rows]
        items = [(prompt, row.answers) for prompt, row in zip(prompts, rows, strict=True)]
        return in_batches(self._margins, items, lambda item: len(item[0]))

    def _margins(self, items: list[tuple[list[int], Answers]]) -> list[torch.Tensor]:
        model, device = self.loaded.model, self.loaded.device
        embed, count = model.get_input_embeddings(), len(self.vectors.vectors)
        counts = torch.tensor([len(answers) for _, answers in items], device=device)
        with torch.no_grad(), self.adapters.active(TASK):
            cache = DynamicCache(config=model.config)
            ids, seen = self._padded([prompt for prompt, _ in items])
            questions = embed(ids)
            if self.before is not None:
                before = self.before.to(questions).expand(len(items), -1, -1)
                questions = torch.cat([before, questions], 1)
                seen = torch.cat([seen.new_ones(len(items), before.shape[1]), seen], 1)
            model.model(inputs_embeds=questions, attention_mask=seen, past_key_values=cache, use_cache=True)
            cache.batch_select_indices(torch.arange(len(items), device=device).repeat_interleave(counts))
            seen = seen.repeat_interleave(counts, 0)
            ids, answered = self._padded([answer for _, answers in items for answer in answers])
            places = seen.sum(1, keepdim=True) + torch.arange(ids.shape[1], device=device)
            seen = torch.cat([seen, answered], 1)
            if ids.shape[1]:
                model.model(
                    inputs_embeds=embed(ids),
                    attention_mask=seen,
                    position_ids=places,
                    past_key_values=cache,
                    use_cache=True,
                )
        # Without an adapter of its own the prompt is read with that of the task, as the engine does.
        with self.adapters.active(EVALUATION if self.config.form == "lora" else TASK):
            hidden = model.model(
                inputs_embeds=self.vectors.vectors.to(questions.dtype).expand(len(seen), -1, -1),
                attention_mask=torch.cat([seen, seen.new_ones(len(seen), count)], 1),
                position_ids=seen.sum(1, keepdim=True) + torch.arange(count, device=device),
                past_key_values=cache,
                use_cache=True,
            )[0][:, -1]
        logits = F.linear(hidden, model.get_output_embeddings().weight[self.words]).float()
        return list((logits[:, 0] - logits[:, 1]).split(counts.tolist()))

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids of texts filled up at their ends, and a mask of what is theirs: [texts, longest] both."""
        pad, longest = self.loaded.tokenizer.eos_token_id, max(map(len, texts))
        filled = [[*text, *[pad] * (longest - len(text))] for text in texts]
        ids = torch.tensor(filled, dtype=torch.long, device=self.loaded.device)
        lengths = torch.tensor([len(text) for text in texts], device=ids.device)
        return ids, (torch.arange(longest, device=ids.device) < lengths[:, None]).long()

    def save(self, out: Path) -> None:
        """Write the vectors and the adapter of their places."""
        self.vectors.save(out)
        if self.config.form == "lora":
            self.adapters.save(EVALUATION, out)


def _row(content: Any) -> LabelledRow:
    question = question_of(content)
    try:
        answers = [tuple(each["token_ids"]) for each in content["candidates"]]
        return LabelledRow(question, tuple(answers), tuple(bool(each["correct"]) for each in content["candidates"]))
    except (KeyError, TypeError):
        raise ValueError("the question has no labelled answers") from None
