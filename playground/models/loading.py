"""From a spec to a model in memory: source, device, precision, adapters. Knows nothing of sequences or batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from safetensors.torch import load_file

from playground.errors import UserError, shown
from playground.models.fetch import Progress, cached_file, no_progress
from playground.models.forward import Body
from playground.models.gguf import read_gguf
from playground.models.layers import Int4Weight, Int8Weight, quantise, replace_linears
from playground.models.learned import WEIGHTS, Learned, digest_of, read_learned
from playground.models.specs import KINDS, PRECISIONS, ModelSpec, PackageSource

T = TypeVar("T")


@dataclass
class LoadedModel:
    """Weights ready to run: as transformers' model for training, as `body` for decoding. `learned` holds by variant
    what it has learned and is attached."""

    name: str
    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    precision: str
    device: torch.device
    context: int
    learned: dict[str, Learned] = field(default_factory=dict)

    @cached_property
    def body(self) -> Body:
        """The forward pass. Raises UserError for a type of model that is not known."""
        return Body(self.name, self.model)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.get_input_embeddings().weight.dtype

    @property
    def end_ids(self) -> frozenset[int]:
        """Ids that end a text: the tokenizer's end-of-sequence and those the model's configuration names."""
        ids = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
        return frozenset(i for i in (*ids, self.tokenizer.eos_token_id) if i is not None)

    def attach(self, variant: str, *folders: Path) -> None:
        """Load all that a variant has learned from its folders, whichever kinds they hold. Rows choose its adapter by
        the variant's name. Raises UserError for what does not fit this model."""
        if variant in self.learned:
            return
        learned = read_learned(folders, self.model.config.hidden_size, self.name, self.device)
        for folder in folders:
            if (folder / KINDS["adapter"]).is_file():
                self._attach_adapter(variant, folder)
            for prompt in learned.prompts:
                if (folder / prompt / KINDS["adapter"]).is_file():
                    learned.adapters[prompt] = f"{variant}/{prompt}"
                    learned.digests[f"{prompt} adapter"] = digest_of(folder / prompt / WEIGHTS["adapter"])
                    self._attach_adapter(learned.adapters[prompt], folder / prompt)
        self.learned[variant] = learned

    def adapter_of(self, variant: str) -> str | None:
        """The name of a variant's adapter, if it has one."""
        return variant if variant in self.learned and "adapter" in self.learned[variant].digests else None

    def places_before(self, variant: str) -> int:
        """How much of the context a variant's soft prompt takes before the text."""
        return len(self.learned[variant].prompts.get("soft_prompt", ())) if variant in self.learned else 0

    def _attach_adapter(self, name: str, folder: Path) -> None:
        for path, down, up in _read_lora(folder, self.dtype, self.device):
            if (place := self.body.place(path)) is None:
                raise UserError(f"The adapter {folder} changes {path}, which {self.name} does not have.")
            joined, which = place
            if (down.shape[1], up.shape[0]) != (joined.in_features, joined.widths[which]):
                raise UserError(f"The adapter {folder} was made for another model than {self.name}: {path} differs.")
            joined.add(name, which, down, up)


def pick_device(wish: str | None) -> torch.device:
    """The device by wish ("cpu", "cuda"), or CUDA where there is one."""
    if wish not in (None, "cpu", "cuda"):
        raise UserError(f"The device {shown(wish)} is not known; choose cpu or cuda.")
    if wish == "cuda" and not torch.cuda.is_available():
        raise UserError("The device 'cuda' was asked for, but this machine has none; choose cpu.")
    return torch.device(wish or ("cuda" if torch.cuda.is_available() else "cpu"))


def load_model(
    name: str,
    spec: ModelSpec,
    cache: Path,
    device: torch.device,
    precision: str | None = None,
    progress: Progress = no_progress,
) -> LoadedModel:
    """Load `spec` on `device`. `precision` overrides what the spec says for that device.

    Raises UserError where the source cannot be had or the precision does not fit the device.
    """
    precision = precision or getattr(spec.precision, device.type)
    if precision not in PRECISIONS:
        raise UserError(f"The precision {shown(precision)} is not known; choose one of: {', '.join(PRECISIONS)}.")
    if precision == "int4" and device.type != "cpu":
        raise UserError("The precision int4 runs on the CPU only; choose bf16 for CUDA.")
    source = spec.source
    if isinstance(source, PackageSource):
        path = cached_file(source, cache, progress)
        progress(0.5, f"reading {spec.title}")
        model, tokenizer = read_gguf(path, precision)
    else:
        place, kwargs = source.place
        progress(0.1, f"loading {spec.title}")
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **kwargs)
            model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **kwargs).eval()
        except (OSError, ValueError) as error:
            raise UserError(
                f"The model {name} ({place}) could not be loaded: {str(error).splitlines()[0]} "
                "Check the name and the network, or choose the embedded model."
            ) from None
    if precision == "int4":
        _round_linears(model)
    model.requires_grad_(False)
    limits = [model.config.max_position_embeddings, spec.context, getattr(model.config, "sliding_window", None)]
    progress(1.0, f"{spec.title} is ready")
    return LoadedModel(
        name=name,
        model=model.to(device),
        tokenizer=tokenizer,
        precision=precision,
        device=device,
        context=min(limit for limit in limits if limit),
    )


def in_a_thread_that_ends(work: Callable[[], T]) -> T:
    """Do heavy tensor work outside the engine's thread without slowing the engine down for good.

    OpenMP keeps a pool for each living thread that ever ran a parallel loop. With more such threads than cores its
    pools stop spinning, and every decoding step takes about twice as long (measured; docs/design.md).
    """
    with ThreadPoolExecutor(1) as one:
        return one.submit(work).result()


def _round_linears(model: transformers.PreTrainedModel) -> None:
    """Round all linear layers whose shape the kernel takes: the head to 8 bits, the others to 4."""
    head = model.get_output_embeddings()

    def make(linear):
        if not Int4Weight.takes(linear):
            return None
        if linear is head:
            return Int8Weight(linear.weight, linear.weight, linear.bias)
        return Int4Weight(*quantise(linear.weight), linear.bias)

    replace_linears(model, make)


def _read_lora(folder: Path, dtype: torch.dtype, device: torch.device):
    """(module path, down [rank, in], up [out, rank] times its scale) of each layer of a peft LoRA folder."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        weights = load_file(folder / "adapter_model.safetensors")
        if config["peft_type"] != "LORA" or config.get("use_dora"):
            raise UserError(f"The adapter {folder} is of type {config['peft_type']}; only plain LoRA can be used.")
        rank, alpha = config["r"], config["lora_alpha"]
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The adapter {folder} cannot be read ({error}); write it again with save_pretrained."
        ) from None
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    prefix, suffix = "base_model.model.", ".lora_A.weight"
    for key, down in weights.items():
        if key.endswith(suffix):
            up = weights[key.replace(".lora_A.", ".lora_B.")]
            path = key.removeprefix(prefix).removesuffix(suffix)
            if not (down.isfinite().all() and up.isfinite().all()):
                raise UserError(f"The adapter {folder} holds numbers that are none (NaN) at {path}; train it again.")
            yield path, down.to(device, dtype), (up.float() * scale).to(device, dtype)
