"""Sentence embeddings: how much alike two texts are (all-MiniLM-L6-v2, which RAIN's authors use)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer

from playground.models.fetch import Progress, cached_file, no_progress
from playground.models.specs import EmbedderSpec, FolderSource

LONGEST = 256
"""Tokens that are read of a text; the model was trained on no more."""


class Embedder:
    """Texts → unit vectors."""

    def __init__(self, folder: Path):
        self._model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()

    @torch.inference_mode()
    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Embeddings [n, size], each of length 1: the mean of the last hidden states over a text's tokens."""
        # A tokenizer without marks makes nothing of a space.
        ids = [encoded.ids or [0] for encoded in self._tokenizer.encode_batch([text or " " for text in texts])]

        def run(which: list[int]) -> torch.Tensor:
            hidden = self._model(input_ids=torch.tensor([ids[i] for i in which])).last_hidden_state
            return torch.nn.functional.normalize(hidden.mean(1), dim=-1)

        return by_length([len(i) for i in ids], run)


def by_length(lengths: list[int], run: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
    """What `run` makes of texts [n, size], called with the indices of texts of one length at a time: without padding,
    which costs time and changes bits."""
    found: dict[int, torch.Tensor] = {}
    for length in sorted(set(lengths)):
        which = [i for i, other in enumerate(lengths) if other == length]
        found |= zip(which, run(which), strict=True)
    return torch.stack([found[i] for i in range(len(lengths))])


def load_embedder(spec: EmbedderSpec, cache: Path, progress: Progress = no_progress) -> Embedder:
    """The embedder that models.yaml names, fetched if need be. Raises UserError if it cannot be had."""
    source = spec.source
    folder = source.folder if isinstance(source, FolderSource) else cached_file(source, cache, progress).parent
    return Embedder(folder)
