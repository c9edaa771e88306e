"""Classifiers and reward models: one number for an answer to a prompt."""

from __future__ import annotations

import torch
import transformers

from playground.errors import UserError
from playground.models.embed import by_length
from playground.models.fetch import Progress, no_progress
from playground.models.specs import ClassifierSpec, label_index


class Classifier:
    """(prompt, answer) pairs, or single texts → one number each.

    That is a reward model's only logit, or how much the logit of one label is above those of all others:
    logit(label) - logsumexp(the others), the log odds of the label.
    """

    def __init__(self, model, tokenizer, label: int | None):
        self._model, self._tokenizer, self._label = model, tokenizer, label
        # Of what is too long, the longer of prompt and answer loses its beginning: the end of the answer stays.
        tokenizer.truncation_side = "left"
        limits = (getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length)
        self._longest = min(limit for limit in limits if limit)

    @torch.inference_mode()
    def __call__(self, texts: list[str | tuple[str, str]]) -> torch.Tensor:
        """Numbers [n, 1] in fp32. `texts` are all pairs or all single."""
        columns = [list(texts)] if isinstance(texts[0], str) else [list(column) for column in zip(*texts, strict=True)]
        encoded = self._tokenizer(*columns, truncation=True, max_length=self._longest, split_special_tokens=True)

        def run(which: list[int]) -> torch.Tensor:
            inputs = {
                k: torch.tensor([rows[i] for i in which], device=self._model.device) for k, rows in encoded.items()
            }
            return self._numbers(self._model(**inputs).logits.float())

        if self._model.config.pad_token_id is None:  # decoders find the end of a text by it, if there are several
            return torch.cat([run([i]) for i in range(len(texts))])
        return by_length([len(ids) for ids in encoded["input_ids"]], run)

    def _numbers(self, logits: torch.Tensor) -> torch.Tensor:
        if self._label is None:
            return logits[:, :1]
        others = [i for i in range(logits.shape[1]) if i != self._label]
        return logits[:, [self._label]] - logits[:, others].logsumexp(1, keepdim=True)


def load_classifier(
    name: str, spec: ClassifierSpec, device: torch.device, progress: Progress = no_progress
) -> Classifier:
    """The classifier of that name in models.yaml. Raises UserError if it cannot be had or lacks the label."""
    place, kwargs = spec.source.place
    progress(0.1, f"loading {spec.title}")
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **kwargs)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(place, dtype=dtype, **kwargs).eval()
    except (OSError, ValueError) as error:
        raise UserError(
            f"The classifier {name} ({place}) could not be loaded: {str(error).splitlines()[0]} "
            "Check the name and the network, or choose another scorer."
        ) from None
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    try:
        label = label_index(labels, spec.label)
    except ValueError as error:
        raise UserError(f"The classifier {name} {error}") from None
    progress(1.0, f"{spec.title} is ready")
    return Classifier(model.requires_grad_(False).to(device), tokenizer, label)
