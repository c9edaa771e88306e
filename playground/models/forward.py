"""The forward pass of the known model types, as one function over joined weights.

transformers makes the model and stays the oracle of the tests; here are its layers without modules, in the shape of a
batch of rows. Knows nothing of sequences: what a row attends to is the caller's `attend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers

from playground.errors import UserError
from playground.models.layers import Joined, Pass

KNOWN = ("llama", "mistral", "qwen2", "qwen3")
"""Model types that are nothing but what is computed here (tests/engine compares them). Others cap or scale their
logits, or keep windows, and would be silently wrong."""
_JOINED = {
    "attention": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
Attend = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, query [rows, heads, dim], key and value [rows, 2, kv_heads, dim]) → [rows, heads, dim]."""


@dataclass(frozen=True)
class _Layer:
    attention: Joined
    out: Joined
    gate_up: Joined
    down: Joined
    norms: tuple[torch.Tensor, torch.Tensor]
    """Before attention, and before the feed-forward part."""
    head_norms: tuple[torch.Tensor, torch.Tensor] | None
    """Of query and key, where the type has them (qwen3)."""


class Body:
    """All layers of a model; the weights are joined once, here. Raises UserError for a type that is not known."""

    def __init__(self, name: str, model: transformers.PreTrainedModel):
        config = model.config
        if config.model_type not in KNOWN:
            raise UserError(f"{name} is of type {config.model_type!r}; these types can be run: {', '.join(KNOWN)}.")
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self._eps, self._activation = config.rms_norm_eps, transformers.activations.ACT2FN[config.hidden_act]
        self._rotary, self._last_norm = model.model.rotary_emb, model.model.norm.weight
        self.layers = [self._layer(layer) for layer in model.model.layers]

    @staticmethod
    def _layer(layer: torch.nn.Module) -> _Layer:
        joined = {name: Joined([layer.get_submodule(path) for path in paths]) for name, paths in _JOINED.items()}
        own = layer.self_attn
        head_norms = (own.q_norm.weight, own.k_norm.weight) if hasattr(own, "q_norm") else None
        norms = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
        return _Layer(**joined, norms=norms, head_norms=head_norms)

    def place(self, path: str) -> tuple[Joined, int] | None:
        """Where the linear layer of that path in the model ("model.layers.0.mlp.up_proj") is, and which one of the
        joined it is."""
        start, _, rest = path.removeprefix("model.layers.").partition(".")
        if path.startswith("model.layers.") and start.isdigit() and int(start) < len(self.layers):
            for name, paths in _JOINED.items():
                if rest in paths:
                    return getattr(self.layers[int(start)], name), paths.index(rest)
        return None

    def __call__(self, x: torch.Tensor, positions: torch.Tensor, attend: Attend, now: Pass) -> torch.Tensor:
        """Input embeddings [rows, hidden_size] at `positions` [rows] → final hidden states [rows, hidden_size]."""
        rows, heads, kv_heads = len(x), self.heads, self.kv_heads
        cos, sin = self._turns(x, positions)
        for number, layer in enumerate(self.layers):
            made = layer.attention(self._norm(x, layer.norms[0]), now).view(rows, heads + 2 * kv_heads, self.dim)
            turned, value = made.split([heads + kv_heads, kv_heads], dim=1)
            if layer.head_norms:
                query, key = turned.split([heads, kv_heads], dim=1)
                turned = torch.cat([self._norm(query, layer.head_norms[0]), self._norm(key, layer.head_norms[1])], 1)
            turned = turned * cos + turned.roll(self.dim // 2, -1) * sin
            stored = torch.stack([turned[:, heads:], value], dim=1)
            seen = attend(number, turned[:, :heads], stored).reshape(rows, heads * self.dim)
            x = x + layer.out(seen, now)
            gate, up = layer.gate_up(self._norm(x, layer.norms[1]), now).chunk(2, dim=1)
            x = x + layer.down(self._activation(gate) * up, now)
        return self._norm(x, self._last_norm)

    def _turns(self, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotary embedding's cosine and sine [rows, 1, dim]; the sine with the sign that its half needs, so that
        turning is a product with the two halves exchanged (RoFormer, arXiv 2104.09864, eq. 34)."""
        cos, sin = self._rotary(x, positions[None])
        low, high = sin[0, :, None].chunk(2, dim=-1)
        return cos[0, :, None], torch.cat([-low, high], dim=-1)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm over the last dimension (arXiv 1910.07467), computed in fp32."""
        wide = x.float()
        return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._eps)).to(x.dtype)
