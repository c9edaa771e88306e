"""Sentence embeddings: how much alike two texts are (all-MiniLM-L6-v2, which RAIN's authors use)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from playground.models.fetch import Progress, cached_file, no_progress
from playground.models.specs import EmbedderSpec, FolderSource

LONGEST = 256
"""Tokens that are read of a text; the model was trained on no more."""


class Embedder:
    """Texts → unit vectors."""

    def __init__(self, folder: Path):
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.enable_padding(length=None)

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> np.ndarray:
        """Embeddings [n, size], each of length 1: the mean of the last hidden states over a text's tokens."""
        encoded = self._tokenizer.encode_batch([text or " " for text in texts])
        width = max(1, len(encoded[0].ids))  # a tokenizer without marks makes nothing of a space
        ids = torch.tensor([[*e.ids, *[0] * (width - len(e.ids))] for e in encoded])
        mask = torch.tensor([[*e.attention_mask, *[0] * (width - len(e.ids))] for e in encoded])
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].float()
        means = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)
        return torch.nn.functional.normalize(means, dim=-1).numpy()


def load_embedder(spec: EmbedderSpec, cache: Path, progress: Progress = no_progress) -> Embedder:
    """The embedder that models.yaml names, fetched if need be. Raises UserError if it cannot be had."""
    source = spec.source
    folder = source.folder if isinstance(source, FolderSource) else cached_file(source, cache, progress).parent
    return Embedder(folder)
