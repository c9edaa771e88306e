"""Products for decoding: 4-bit and 8-bit weights, and LoRA adapters that differ from row to row of one batch.

A forward pass is either *packed* (many sequences, a few tokens each) or *dense* (whole texts, or a tile of TILE rows).
Each has its own kernel, chosen by what a sequence asks and never by who else shares the batch: two kernels round
differently, and a row must not depend on its neighbours. Of a pass over long texts every text is multiplied by itself,
since how a dense product rounds depends on how many rows it has; what texts share there is reading the weights, and all
the rest of a pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Pass:
    """What products must know of the pass under way."""

    dense: bool = False
    """Whether weights that have a 4-bit form are multiplied in their dense one."""
    texts: list[slice] = field(default_factory=list)
    """The rows of each text that is multiplied by itself; none if all rows are one product."""
    adapter_rows: list[tuple[str, slice]] = field(default_factory=list)


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


class Int4Weight(nn.Module):
    """Stands in the place of a linear layer of a model until its forward pass is made: weights on the Q4_1 grid."""

    def __init__(self, levels: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor, bias: torch.Tensor | None):
        super().__init__()
        self.out_features, self.in_features = levels.shape
        for name, tensor in (("levels", levels), ("scale", scale), ("minimum", minimum), ("bias", bias)):
            self.register_buffer(name, tensor, persistent=False)

    @staticmethod
    def takes(linear: nn.Linear) -> bool:
        """Whether the kernel has a form for this layer's shape."""
        return linear.in_features % GROUP == 0 and linear.out_features % 32 == 0


class Int8Weight(nn.Module):
    """Stands in the place of a model's head: its `weight` [out, in], and the same rounded to the Q8_0 grid of groups of
    32, weight = scale · level; levels [out, in] in -127..127, scale [out, in / 32]."""

    def __init__(self, weight: torch.Tensor, exact: torch.Tensor, bias: torch.Tensor | None):
        """exact: the weight before it was rounded to another type."""
        super().__init__()
        groups = exact.float().view(exact.shape[0], -1, GROUP)
        scale = (groups.abs().amax(-1) / 127).clamp_min(1e-10)
        levels = (groups / scale[..., None]).round().view(exact.shape).to(torch.int8)
        for name, tensor in (("weight", weight), ("levels", levels), ("scale", scale), ("bias", bias)):
            self.register_buffer(name, tensor, persistent=False)


def _packed(levels: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights in the form of the 4-bit kernel, which computes (level - 8) * scale + zero."""
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels.to(torch.int32), 2)
    zero = minimum.float() + 8 * scale.float()
    return packed, torch.stack([scale.float().T, zero.T], dim=-1).to(torch.bfloat16).contiguous()


class Dense:
    """x [rows, in] times a weight [out, in], plus a bias. `reordered`: nobody else needs the weight, so a CPU may hold
    it in oneDNN's own order: else every product makes that order anew, or is MKL's, which are slow on AMD."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, reordered: bool = False):
        self.weight, self.bias = weight, None if bias is None else bias.to(weight.dtype)
        self._reordered = reordered and weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if self._reordered:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, TILE)

    def __call__(self, x: torch.Tensor, now: Pass) -> torch.Tensor:
        if len(now.texts) < 2:
            return self.product(x).to(x.dtype)
        return torch.cat([self.product(x[rows]) for rows in now.texts]).to(x.dtype)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Of all rows at once, in the weight's type."""
        wide = x.to(self.weight.dtype)
        if self._reordered:
            return torch.ops.mkldnn._linear_pointwise(wide, self.weight, self.bias, "none", [], "")
        return F.linear(wide, self.weight, self.bias)


class Int4:
    """The same with 4-bit weights in a packed pass (row-invariant at any batch) and dense ones in a dense one. Both
    hold the same numbers; from about 8 rows of one sequence on, the dense product is the faster one."""

    def __init__(self, levels: torch.Tensor, scale: torch.Tensor, minimum: torch.Tensor, bias: torch.Tensor | None):
        self.packed = _packed(levels, scale, minimum)
        self.dense = Dense(
            dequantise(levels, scale, minimum).to(torch.bfloat16).to(product_type()), bias, reordered=True
        )
        self.bias = bias

    def __call__(self, x: torch.Tensor, now: Pass) -> torch.Tensor:
        if now.dense:
            return self.dense(x, now)
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(x, self.packed[0], GROUP, self.packed[1])
        return y if self.bias is None else y + self.bias


class Int8:
    """The same with 8-bit weights, of which the 4-bit kernel multiplies the upper and the lower halves. Row-invariant
    at any batch; returns fp32."""

    def __init__(self, levels: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None):
        shifted = levels.int() + 128
        self.halves = [
            _packed(shifted >> 4, 16 * scale, -128 * scale),
            _packed(shifted & 15, scale, torch.zeros_like(scale)),
        ]
        self.bias = None if bias is None else bias.float()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        upper, lower = (torch.ops.aten._weight_int4pack_mm_for_cpu(x, half, GROUP, grid) for half, grid in self.halves)
        y = upper.float().add_(lower)
        return y if self.bias is None else y + self.bias


class Joined:
    """Linear layers that read the same input as one product, their outputs side by side, plus low-rank updates: rows of
    one batch may carry different adapters, or none.

    LoRA: y = W x + scale · B A x for the rows of that adapter (arXiv 2106.09685, eq. 3).
    """

    def __init__(self, layers: Sequence[nn.Linear | Int4Weight]):
        self.in_features, self.widths = layers[0].in_features, [layer.out_features for layer in layers]
        biases = [layer.bias for layer in layers]
        bias = None if any(each is None for each in biases) else torch.cat(biases)
        if all(isinstance(layer, Int4Weight) for layer in layers):
            self.product: Dense | Int4 = Int4(
                *(torch.cat([getattr(layer, name) for layer in layers]) for name in ("levels", "scale", "minimum")),
                bias,
            )
            for layer in layers:
                del layer.levels
        else:
            weight = torch.cat([layer.weight for layer in layers])
            self.product = Dense(weight, bias)
            # The model's own layers stay of use, and hold nothing twice.
            for layer, part in zip(layers, weight.split(self.widths), strict=True):
                layer.weight.data = part
        self.updates: dict[str, _Update] = {}

    def add(self, name: str, which: int, down: torch.Tensor, up: torch.Tensor) -> None:
        """Register the part of an adapter for the layer of that number: down [rank, in], up [out, rank] with its scale
        already in it."""
        starts = [0, *itertools.accumulate(self.widths)]
        new = _Update(down.float().T.contiguous(), up.float().T.contiguous(), slice(starts[which], starts[which + 1]))
        self.updates[name] = self.updates[name].with_another(new) if name in self.updates else new

    def __call__(self, x: torch.Tensor, now: Pass) -> torch.Tensor:
        y = self.product(x, now)
        for name, rows in now.adapter_rows:
            if update := self.updates.get(name):
                update.add_to(y[rows, update.columns], x[rows], whole=bool(now.texts))
        return y


@dataclass(frozen=True)
class _Update:
    """What one adapter adds to some columns of an output: x · down · up; down [in, rank], up [rank, columns]. In fp32:
    for matrices this thin a bf16 product costs several times as much in set-up alone."""

    down: torch.Tensor
    up: torch.Tensor
    columns: slice

    def with_another(self, other: _Update) -> _Update:
        """Both in one, over all columns from the first of either to the last."""
        columns = slice(min(self.columns.start, other.columns.start), max(self.columns.stop, other.columns.stop))
        ups = [
            F.pad(one.up, (one.columns.start - columns.start, columns.stop - one.columns.stop)) for one in (self, other)
        ]
        return _Update(torch.cat([self.down, other.down], dim=1), torch.cat(ups), columns)

    def add_to(self, y: torch.Tensor, x: torch.Tensor, whole: bool) -> None:
        """`whole`: the rows are a text that is multiplied by itself. Else every row is a product of its own, which
        depends on no other row, and for a few rows is faster than a tile."""
        rows, down, up = x.float(), self.down, self.up
        if whole:
            y += torch.mm(torch.mm(rows, down), up)
        else:
            n = len(rows)
            y += torch.bmm(torch.bmm(rows[:, None], down.expand(n, -1, -1)), up.expand(n, -1, -1))[:, 0]


def replace_linears(module: nn.Module, make) -> None:
    """Swap every nn.Linear below `module` for `make(linear)`; None leaves it."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            if (new := make(child)) is not None:
                setattr(module, name, new)
        else:
            replace_linears(child, make)
