"""From a spec to a model in memory: source, device, precision, adapters. Knows nothing of sequences or batches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from playground.errors import UserError, shown
from playground.models.fetch import Progress, cached_file, no_progress
from playground.models.gguf import read_gguf
from playground.models.layers import AdaptedLinear, DenseLinear, Int4Linear, Pass, quantise, replace_linears
from playground.models.learned import WEIGHTS, Learned, digest_of, read_learned
from playground.models.specs import KINDS, PRECISIONS, ModelSpec, PackageSource

T = TypeVar("T")


@dataclass
class LoadedModel:
    """Weights ready to run. `current` tells the layers of the pass under way; `learned` holds by variant what it has
    learned and is attached."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    precision: str
    device: torch.device
    context: int
    current: Pass
    learned: dict[str, Learned] = field(default_factory=dict)

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
        the variant's name in `current`. Raises UserError for what does not fit this model."""
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
        """The name of a variant's adapter in `current`, if it has one."""
        return variant if variant in self.learned and "adapter" in self.learned[variant].digests else None

    def places_before(self, variant: str) -> int:
        """How much of the context a variant's soft prompt takes before the text."""
        return len(self.learned[variant].prompts.get("soft_prompt", ())) if variant in self.learned else 0

    def _attach_adapter(self, name: str, folder: Path) -> None:
        for path, down, up in _read_lora(folder, self.dtype, self.device):
            parent_path, _, last = path.rpartition(".")
            try:
                parent = self.model.get_submodule(parent_path)
                layer = getattr(parent, last)
            except AttributeError:
                raise UserError(f"The adapter {folder} changes {path}, which {self.name} does not have.") from None
            base = layer.base if isinstance(layer, AdaptedLinear) else layer
            if (down.shape[1], up.shape[0]) != (base.in_features, base.out_features):
                raise UserError(f"The adapter {folder} was made for another model than {self.name}: {path} differs.")
            if not isinstance(layer, AdaptedLinear):
                layer = AdaptedLinear(base, self.current)
                setattr(parent, last, layer)
            layer.add(name, down, up)


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
    current = Pass()
    source = spec.source
    if isinstance(source, PackageSource):
        path = cached_file(source, cache, progress)
        progress(0.5, f"reading {spec.title}")
        model, tokenizer = read_gguf(path, precision, current)
    else:
        place, kwargs = source.place
        progress(0.1, f"loading {spec.title}")
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, **kwargs)
            model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, **kwargs).eval()
        except (OSError, ValueError) as error:
            raise UserError(
                f"The model {name} ({place}) could not be loaded: {str(error).splitlines()[0]} "
                "Check the name and the network, or choose the embedded model."
            ) from None
    _prepare_linears(model, precision, current)
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
        current=current,
    )


def in_a_thread_that_ends(work: Callable[[], T]) -> T:
    """Do heavy tensor work outside the engine's thread without slowing the engine down for good.

    OpenMP keeps a pool for each living thread that ever ran a parallel loop. With more such threads than cores its
    pools stop spinning, and every decoding step takes about twice as long (measured; docs/design.md).
    """
    with ThreadPoolExecutor(1) as one:
        return one.submit(work).result()


def _prepare_linears(model: PreTrainedModel, precision: str, current: Pass) -> None:
    """Make all linear layers but the head ones that know of passes; in int4 as many of them 4-bit as can be."""
    head = model.get_output_embeddings()

    def make(linear):
        if linear is head:
            return None
        if precision == "int4" and Int4Linear.takes(linear):
            return Int4Linear(*quantise(linear.weight), linear.bias, current)
        return DenseLinear(linear, current)

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
