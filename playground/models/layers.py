"""Linear layers for decoding: 4-bit weights, and LoRA adapters that differ from row to row of one batch.

A forward pass is either *short* (many sequences, a few tokens each) or *long* (a few sequences, many tokens each). Each
has its own kernel, chosen by what a sequence asks and never by who else shares the batch: two kernels round
differently, and a row must not depend on its neighbours. In a long pass every text is multiplied by itself, since how a
dense product rounds depends on how many rows it has; what texts share there is reading the weights, and all the rest
of a pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

GROUP = 32
"""Input columns that share one scale and one minimum in a 4-bit weight."""
TILE = 32
"""Rows of the fixed batch shape in which kernels run that are not row-invariant by themselves."""


@cache
def product_type(device: str = "cpu") -> torch.dtype:
    """In which type matrices whose numbers fit into bf16 are multiplied. A CPU without AVX-512 has no bf16 products;
    there fp32 is eight times faster (docs/design.md, "Findings")."""
    slow = device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.float32 if slow else torch.bfloat16


def dense_precision(device: str) -> str:
    """The faster of the dense precisions there, "bf16" or "fp32"."""
    return "bf16" if product_type(device) is torch.bfloat16 else "fp32"


@dataclass
class Pass:
    """What the layers must know of the pass under way; one object shared by all layers of a model."""

    texts: list[slice] = field(default_factory=list)
    """The rows of each text of a long pass; none in a short one."""
    adapter_rows: list[tuple[str, slice]] = field(default_factory=list)

    def dense(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The product of x [1, rows, in] with a dense weight [out, in], each text of a long pass by itself."""
        wide = x.to(weight.dtype)
        if len(self.texts) < 2:
            return F.linear(wide, weight, bias).to(x.dtype)
        return torch.cat([F.linear(wide[0, rows], weight, bias) for rows in self.texts])[None].to(x.dtype)


def dequantise(levels: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor) -> torch.Tensor:
    """Q4_1: weight = scale · level + minimum. levels [out, in] in 0..15; scale, minimum [out, in / 32]; fp32 out."""
    groups = levels.float().view(levels.shape[0], -1, GROUP)
    return (groups * scale.float()[..., None] + minimum.float()[..., None]).view(levels.shape)


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Round a dense weight [out, in] to the Q4_1 grid; returns (levels, scale, minimum)."""
    groups = weight.float().view(weight.shape[0], -1, GROUP)
    minimum = groups.amin(-1)
    scale = ((groups.amax(-1) - minimum) / 15).clamp_min(1e-10)
    levels = ((groups - minimum[..., None]) / scale[..., None]).round().clamp(0, 15)
    return levels.view(weight.shape).to(torch.uint8), scale, minimum


class Int4Linear(nn.Module):
    """A linear layer with 4-bit weights for short passes (row-invariant at any batch) and dense ones for long passes.

    Both hold the same numbers; from about 8 rows of one sequence on, the dense product is the faster one.
    """

    def __init__(self, levels, scale, minimum, bias: torch.Tensor | None, current: Pass):
        super().__init__()
        self.current = current
        self.in_features, self.out_features = levels.shape[1], levels.shape[0]
        # The kernel computes (level - 8) * scale + zero.
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.to(torch.int32), 2)
        zero = minimum.float() + 8 * scale.float()
        self.register_buffer("packed", packed, persistent=False)
        scales_zeros = torch.stack([scale.float().T, zero.T], dim=-1).to(torch.bfloat16).contiguous()
        self.register_buffer("scales_zeros", scales_zeros, persistent=False)
        dense = dequantise(levels, scale, minimum).to(torch.bfloat16).to(product_type())
        self.register_buffer("dense", dense, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    @staticmethod
    def takes(linear: nn.Linear) -> bool:
        """Whether the kernel has a form for this layer's shape."""
        return linear.in_features % GROUP == 0 and linear.out_features % 32 == 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.current.texts:
            return self.current.dense(x, self.dense, None if self.bias is None else self.bias.to(self.dense.dtype))
        rows = x.reshape(-1, self.in_features)
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, GROUP, self.scales_zeros)
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


class DenseLinear(nn.Linear):
    """A linear layer of whole precision that multiplies each text of a long pass by itself."""

    def __init__(self, linear: nn.Linear, current: Pass):
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias, self.current = linear.weight, linear.bias, current

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.current.dense(x, self.weight, self.bias)


class AdaptedLinear(nn.Module):
    """A linear layer plus low-rank updates: rows of one batch may carry different adapters, or none.

    LoRA: y = W x + scale · B A x for the rows of that adapter (arXiv 2106.09685, eq. 3).
    """

    def __init__(self, base: nn.Module, current: Pass):
        super().__init__()
        self.base, self.current = base, current
        self.updates: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def add(self, name: str, down: torch.Tensor, up: torch.Tensor) -> None:
        """Register an adapter: down [rank, in], up [out, rank] with its scale already in it."""
        self.updates[name] = (down.float().T.contiguous(), up.float().T.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.base(x)
        for name, rows in self.current.adapter_rows:
            if name in self.updates:
                down, up = self.updates[name]
                y[:, rows] += self._update(x[0, rows], down, up)
        return y

    def _update(self, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        # In fp32: for matrices this thin a bf16 product costs several times as much in set-up alone.
        rows = x.float() if self.current.texts else F.pad(x.float(), (0, 0, 0, -x.shape[0] % TILE))
        return torch.mm(torch.mm(rows, down), up)[: x.shape[0]].to(x.dtype)


def replace_linears(module: nn.Module, make) -> None:
    """Swap every nn.Linear below `module` for `make(linear)`; None leaves it."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            if (new := make(child)) is not None:
                setattr(module, name, new)
        else:
            replace_linears(child, make)
