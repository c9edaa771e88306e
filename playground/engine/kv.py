"""The KV store: fixed blocks of keys and values, shared by reference count, and the sequences that hold them.

Forking a sequence costs a few counters; a block is copied only when two sequences want to write into it.
"""

from __future__ import annotations

import math
import mmap

import torch

from playground.errors import UserError

BLOCK = 16
"""Tokens in a block."""


class BlockPool:
    """All keys and values of one model: `data[block, layer, key-or-value, offset, kv_heads * head_dim]`.

    The byte budget is fixed at the start. The memory is reserved, not touched: the system hands out pages as
    blocks are first written, and freed blocks are used again before new ones.
    """

    def __init__(
        self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device, budget: int
    ):
        self.kv_heads, self.head_dim = kv_heads, head_dim
        block_bytes = layers * 2 * BLOCK * kv_heads * head_dim * dtype.itemsize
        self.count = max(budget // block_bytes, 2)
        self.block_bytes = block_bytes
        shape = (self.count, layers, 2, BLOCK, kv_heads * head_dim)
        # Zeros, because a masked position must not hold a NaN: 0 · NaN is NaN.
        self.data = _zeros(shape, dtype, device)
        self._references = [0] * self.count
        # Block 0 is never written: it stands where a row is padded to more keys than it has.
        self._free = list(range(self.count - 1, 0, -1))

    @property
    def free(self) -> int:
        """Blocks nobody holds."""
        return len(self._free)

    @property
    def used_bytes(self) -> int:
        return (self.count - 1 - self.free) * self.block_bytes

    def take(self) -> int:
        """A free block, held once. Raises OutOfBlocks."""
        if not self._free:
            raise OutOfBlocks
        block = self._free.pop()
        self._references[block] = 1
        return block

    def hold(self, block: int) -> None:
        self._references[block] += 1

    def drop(self, block: int) -> None:
        self._references[block] -= 1
        if self._references[block] == 0:
            self._free.append(block)

    def close(self) -> None:
        """Give the memory back; nothing can be read or written after."""
        self.data = self.data.new_empty(0)

    def shared(self, block: int) -> bool:
        return self._references[block] > 1

    def copy(self, block: int) -> int:
        """A private copy of a shared block; the shared one is dropped once."""
        new = self.take()
        self.data[new].copy_(self.data[block])
        self.drop(block)
        return new


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros that take no memory before something is written; torch's own are written at once."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.frombuffer(mmap.mmap(-1, math.prod(shape) * dtype.itemsize), dtype=dtype).view(shape)


class OutOfBlocks(UserError):
    """The KV store is full."""

    def __init__(self):
        super().__init__(
            "The memory for running texts is full; use fewer lanes, branches or tokens, wait for other runs to end, "
            "or raise PLAYGROUND_KV_MB."
        )


class Sequence:
    """A text of one variant inside the engine: how long it is and where its keys and values lie.

    `hidden` [hidden_size] is the final hidden state of its last token, from which the next-token distribution follows.
    `owner` is the set in which every sequence of one task stands until it is released, so that nothing is left behind.
    """

    def __init__(self, pool: BlockPool, variant: str, owner: set[Sequence]):
        self.pool, self.variant, self.owner = pool, variant, owner
        self.length = 0
        self.blocks: list[int] = []
        self.hidden: torch.Tensor | None = None
        owner.add(self)

    def fork(self, owner: set[Sequence] | None = None, variant: str | None = None) -> Sequence:
        """A second sequence with the same past; both may go on differently. `variant`: another one that would have read
        this past with the same weights. O(length / BLOCK)."""
        twin = self.beginning(self.length, self.owner if owner is None else owner)
        twin.variant, twin.hidden = variant or self.variant, self.hidden
        return twin

    def beginning(self, length: int, owner: set[Sequence]) -> Sequence:
        """A sequence of the first `length` tokens, whose last hidden state nobody knows any more."""
        twin = Sequence(self.pool, self.variant, owner)
        twin.length, twin.blocks = length, self.blocks[: -(-length // BLOCK)]
        for block in twin.blocks:
            self.pool.hold(block)
        return twin

    def blocks_needed(self, tokens: int) -> int:
        """Free blocks that appending `tokens` would take."""
        new = -(-(self.length + tokens) // BLOCK) - len(self.blocks)
        copied = self.length % BLOCK != 0 and self.pool.shared(self.blocks[-1])
        return new + copied

    def grow(self, tokens: int) -> None:
        """Make room for `tokens` more, which the next pass writes. Leaves the sequence as it was on OutOfBlocks."""
        if self.blocks_needed(tokens) > self.pool.free:
            raise OutOfBlocks
        if self.length % BLOCK and self.pool.shared(self.blocks[-1]):
            self.blocks[-1] = self.pool.copy(self.blocks[-1])
        while len(self.blocks) * BLOCK < self.length + tokens:
            self.blocks.append(self.pool.take())
        self.length += tokens

    def clear(self) -> None:
        """Overwrite what only this sequence holds with zeros."""
        mine = [block for block in self.blocks if not self.pool.shared(block)]
        self.pool.data[mine] = 0

    def release(self) -> None:
        """Give the blocks back. Doing so twice does no harm."""
        for block in self.blocks:
            self.pool.drop(block)
        self.blocks, self.length, self.hidden = [], 0, None
        self.owner.discard(self)
