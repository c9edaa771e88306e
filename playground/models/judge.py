"""The judge of harmlessness: a linear layer on the embeddings of a request and of the answer to it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from playground.errors import UserError
from playground.models.embed import Embedder

WEIGHTS = "judge.safetensors"
"""The file in its folder: weight [2 · size of an embedding], first that of the request, and bias []."""


class Judge:
    """(request, answer) pairs → log odds that the answer is harmless."""

    def __init__(self, embedder: Embedder, folder: Path):
        """Raises UserError if the weights cannot be read or were made for another embedder."""
        self._embedder = embedder
        try:
            weights = load_file(folder / WEIGHTS)
            self._weight, self._bias = weights["weight"].double(), weights["bias"].double()
        except Exception as error:
            raise UserError(f"The judge in {folder} cannot be read ({error}); train it again.") from None
        size = embedder(["a"]).shape[1]
        if self._weight.shape != (2 * size,):
            raise UserError(
                f"The judge in {folder} has {self._weight.numel()} weights, and the embedder needs {2 * size}; "
                "train it again with this embedder."
            )

    @torch.inference_mode()
    def __call__(self, texts: list[tuple[str, str]]) -> torch.Tensor:
        """Log odds [n, 1]."""
        return (features(self._embedder, texts) @ self._weight + self._bias)[:, None].float()


def features(embedder: Embedder, texts: list[tuple[str, str]]) -> torch.Tensor:
    """What the judge sees [n, 2 · size]: the embeddings of request and answer side by side, in fp64, so that a sum does
    not depend on how many rows there are."""
    requests = list(dict.fromkeys(request for request, _ in texts))
    of_request = dict(zip(requests, embedder(requests), strict=True))
    answers = embedder([answer for _, answer in texts])
    return torch.cat([torch.stack([of_request[request] for request, _ in texts]), answers], 1).double()


def save_judge(folder: Path, weight: torch.Tensor, bias: float) -> None:
    """Write the weights [2 · size] in fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": weight.float().contiguous(), "bias": torch.tensor(bias).float()}, folder / WEIGHTS)
