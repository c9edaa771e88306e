"""What can be trained while the weights of a model stay as they are: LoRA adapters, soft prompts, value heads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from playground.errors import UserError, shown
from playground.models.specs import KINDS
from playground.training.records import LoraSettings

Parameters = dict[str, torch.nn.Parameter]


class Lora:
    """A LoRA adapter in the layers of a model (arXiv 2106.09685), a fresh one or that of the folder `start`, which then
    sets the rank. Raises UserError if the model has no such layers."""

    def __init__(self, model: PreTrainedModel, settings: LoraSettings, start: Path | None = None):
        if start:
            self.model = PeftModel.from_pretrained(model, start, is_trainable=True)
            return
        try:
            self.model = get_peft_model(model, lora_config(settings))
        except ValueError:
            raise _no_layers(settings) from None

    @property
    def parameters(self) -> Parameters:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def before(self) -> torch.Tensor | None:
        """Vectors [n, hidden_size] that stand before a text: none."""
        return None

    def save(self, out: Path, scale: float = 1.0) -> None:
        """Write the adapter, its effect multiplied by `scale`, in bf16."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(scale)
        self.model.to(torch.bfloat16).save_pretrained(out)


def lora_config(settings: LoraSettings) -> LoraConfig:
    """The settings as PEFT takes them."""
    targets = settings.targets if settings.targets == "all-linear" else settings.targets.split(",")
    return LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=targets, task_type="CAUSAL_LM")


def _no_layers(settings: LoraSettings) -> UserError:
    return UserError(f"The model has no layers named {shown(settings.targets)}; name them as v_proj,o_proj.")


class SoftPrompt:
    """Vectors that stand in the place of tokens (arXiv 2104.08691), at first those of tokens drawn at random; or those
    of the folder `start`. `kind` says which of a variant's prompts it is."""

    def __init__(self, model: PreTrainedModel, kind: str, count: int, start: Path | None = None):
        self.kind = kind
        table = model.get_input_embeddings().weight
        first = load_file(start / KINDS[kind])["vectors"] if start else table[torch.randint(len(table), (count,))]
        self.vectors = torch.nn.Parameter(first.detach().to(table.device, torch.float32, copy=True))

    @property
    def parameters(self) -> Parameters:
        return {"vectors": self.vectors}

    @property
    def before(self) -> torch.Tensor | None:
        """Vectors [n, hidden_size] that stand before a text."""
        return self.vectors

    def save(self, out: Path) -> None:
        """Write the vectors in bf16."""
        out.mkdir(parents=True, exist_ok=True)
        save_file({"vectors": self.vectors.detach().to(torch.bfloat16).contiguous()}, out / Path(KINDS[self.kind]).name)


class ValueHead:
    """A number from the hidden state at each token: a linear layer behind a hidden one of `width` units (0: none)."""

    def __init__(self, model: PreTrainedModel, width: int):
        size, device = model.config.hidden_size, model.device
        self.hidden = torch.nn.Linear(size, width, device=device) if width else None
        self.last = torch.nn.Linear(width or size, 1, device=device)

    @property
    def parameters(self) -> Parameters:
        layers = {"hidden.": self.hidden, "": self.last} if self.hidden else {"": self.last}
        return {f"{prefix}{name}": p for prefix, layer in layers.items() for name, p in layer.named_parameters()}

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """Values [n] of hidden states [n, hidden_size]."""
        states = states.float()
        return self.last(F.gelu(self.hidden(states)) if self.hidden else states)[:, 0]

    def save(self, out: Path, scale: float, offset: float) -> None:
        """Write the head, in fp32, with its values multiplied by `scale` and moved by `offset`."""
        out.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().cpu().contiguous() for name, p in self.parameters.items()}
        weights |= {"weight": weights["weight"] * scale, "bias": weights["bias"] * scale + offset}
        save_file(weights, out / KINDS["value_head"])


class Adapters:
    """Several LoRA adapters in one model, of which one holds at a time and one may be learned."""

    def __init__(self, model: PreTrainedModel):
        self._model, self._peft = model, None
        self._learning: str | None = None

    def load(self, name: str, folder: Path) -> None:
        """Take in the adapter of a folder, frozen."""
        if self._peft is None:
            self._peft = PeftModel.from_pretrained(self._model, folder, adapter_name=name)
        else:
            self._peft.load_adapter(folder, name)

    def add(self, name: str, settings: LoraSettings) -> Parameters:
        """A fresh adapter; returns what it learns. Raises UserError if the model has no such layers."""
        lora, self._learning = lora_config(settings), name
        try:
            if self._peft is None:
                self._peft = PeftModel(self._model, lora, adapter_name=name)
            else:
                self._peft.add_adapter(name, lora)
        except ValueError:
            raise _no_layers(settings) from None
        return {key: p for key, p in self._peft.named_parameters() if f".{name}." in key}

    @contextmanager
    def active(self, name: str) -> Iterator[None]:
        """The passes inside run with the adapter of that name; with none, where there is no such one."""
        if self._peft is None:
            yield
        elif name in self._peft.peft_config:
            self._peft.set_adapter(name, inference_mode=name != self._learning)
            yield
        else:
            with self._peft.disable_adapter():
                yield

    def save(self, name: str, out: Path) -> None:
        """Write one adapter in bf16, as its own folder."""
        self._peft.to(torch.bfloat16).save_pretrained(out, selected_adapters=[name])
        for file in (out / name).iterdir():
            file.replace(out / file.name)
        (out / name).rmdir()
