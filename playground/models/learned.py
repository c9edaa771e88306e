"""What a variant has learned beside a LoRA adapter: soft prompts and a value head, read from its folders."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from playground.errors import UserError
from playground.models.specs import kinds_in

WEIGHTS = {"adapter": "adapter_model.safetensors"}
"""Where a kind's weights lie, if not in the file that it is known by."""


ValueHead = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""One linear layer or more, with GELU between them."""


@dataclass
class Learned:
    """`prompts` holds vectors [n, hidden_size] by name: `soft_prompt` stands before the text by itself,
    `self_evaluation` is asked for after an answer. `adapters`: such a prompt → the adapter that holds for its places
    alone; nothing before them depends on it. `value_head`: its layers, (weight [out, in], bias [out]) each, in fp32.
    `digests` are the SHA-256 of the weights by kind, the adapter's among them, so that a run says what it used."""

    prompts: dict[str, torch.Tensor] = field(default_factory=dict)
    adapters: dict[str, str] = field(default_factory=dict)
    value_head: ValueHead | None = None
    digests: dict[str, str] = field(default_factory=dict)


def read_learned(folders: tuple[Path, ...], hidden_size: int, model: str, device: torch.device) -> Learned:
    """All that `folders` hold for the model of that name, but for the adapter, of which only the digest is taken.

    Raises UserError for a file that cannot be read, weights of another size, and two of one kind.
    """
    learned = Learned()
    for folder in folders:
        for kind, known_by in kinds_in(folder).items():
            if kind in learned.digests:
                raise UserError(f"{folder} holds a second {_words(kind)} for one variant; keep one of them.")
            path = folder / WEIGHTS.get(kind, known_by)
            try:
                learned.digests[kind] = digest_of(path)
                if kind == "adapter":
                    continue
                weights = {name: w.to(device, torch.float32) for name, w in load_file(path).items()}
                layers = _layers(weights) if kind == "value_head" else ()
                sized = layers[0][0] if layers else weights["vectors"]
            except Exception as error:
                raise UserError(f"The {_words(kind)} {path} cannot be read ({error}); train it again.") from None
            if sized.dim() != 2 or sized.shape[1] != hidden_size:
                raise UserError(
                    f"The {_words(kind)} {path} was made for another model than {model}: its weights are "
                    f"{' x '.join(map(str, sized.shape))}, and {model} has a hidden size of {hidden_size}."
                )
            if not all(part.isfinite().all() for part in weights.values()):
                raise UserError(f"The {_words(kind)} {path} holds numbers that are none (NaN); train it again.")
            if not layers:
                learned.prompts[kind] = sized
                continue
            for (weight, bias), size in zip(
                layers, (hidden_size, *(len(weight) for weight, _ in layers)), strict=False
            ):
                if weight.shape != (len(weight), size) or bias.shape != weight.shape[:1]:
                    raise UserError(
                        f"The {_words(kind)} {path} cannot be used: a layer has {len(weight)} outputs, a bias for "
                        f"{bias.numel()}, and inputs that do not fit; train it again."
                    )
            learned.value_head = layers
    return learned


def _layers(weights: dict[str, torch.Tensor]) -> ValueHead:
    """The layers of a value head: `hidden.weight` and `hidden.bias`, if there are any, then `weight` and `bias`."""
    names = [prefix for prefix in ("hidden.", "") if f"{prefix}weight" in weights]
    return tuple((weights[f"{prefix}weight"], weights[f"{prefix}bias"]) for prefix in names)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _words(kind: str) -> str:
    return {"self_evaluation": "self-evaluation prompt"}.get(kind, kind.replace("_", " "))
