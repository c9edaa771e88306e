"""The runner: one forward pass of one model over rows of many sequences, and the head on top.

The arithmetic of a row depends on its own sequence alone:
- a *short* extension (up to SHORT tokens) runs packed with those of other sequences, through kernels that are
  row-invariant, or in tiles of a fixed shape where a kernel is not;
- a *long* one runs in parts of PART tokens counted from its own beginning; others may share its pass, but not its
  products, so that a text whose first parts are known goes on behind them with the same bits;
- attention runs in shapes that follow from a row's own length: its keys are padded in steps of KEYS, its queries to
  whole multiples of QUERIES, and only rows of one shape share a call;
- the head and value heads always see TILE rows, but for the 8-bit head, which is row-invariant.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from playground.engine.kv import BLOCK, BlockPool, Sequence
from playground.models.layers import TILE, Dense, Int8, Int8Weight, Pass, product_type
from playground.models.learned import ValueHead
from playground.models.loading import LoadedModel

SHORT = 8
"""Most tokens of an extension that still runs packed."""
PART = 128
"""Tokens of a long extension that are multiplied together; whole blocks of the KV store."""
CHUNK = 2 * PART
"""Tokens of long extensions that run in one pass; bounds the time until Stop is heard."""
ROWS = 32
"""Most rows of a packed pass."""
WIDE = 24
"""Rows of one task from which dense products of TILE rows cost less than as many 4-bit ones."""
KEYS = 128
"""Keys of a row are padded to a multiple of this: how the fused attention adds up depends on how many there are."""
QUERIES = 8
"""Queries are padded to a multiple of this: else the scratch memory of the fused attention's second thread is not
aligned as that of the first, and the same row has other bits there."""


@dataclass(frozen=True)
class _Read:
    """Texts of equally many rows, whose keys and values are read together."""

    rows: slice | torch.Tensor
    tables: torch.Tensor  # blocks [texts, blocks], padded with block 0
    mask: torch.Tensor  # additive [texts, 1, queries, keys]; queries are groups * rows of a text, padded


@dataclass(frozen=True)
class _Layout:
    """Where the rows of a pass write their keys and values, and what they read; padding rows do neither."""

    pool: BlockPool
    write_blocks: torch.Tensor  # [rows but padding]
    write_offsets: torch.Tensor  # [rows but padding]
    reads: list[_Read]

    def attend(self, layer: int, query: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
        """As `models.forward.Attend` says, over the block pool."""
        written = len(self.write_blocks)
        new = stored[:written].reshape(written, 2, -1)
        self.pool.data[:, layer][self.write_blocks, :, self.write_offsets] = new
        parts = [_attend(layer, query[read.rows], read, self.pool) for read in self.reads]
        if len(parts) == 1 and len(parts[0]) == len(query):
            return parts[0]
        out = torch.zeros_like(query)
        for read, part in zip(self.reads, parts, strict=True):
            out[read.rows] = part
        return out


def _attend(layer: int, query: torch.Tensor, read: _Read, pool: BlockPool) -> torch.Tensor:
    """query [rows, heads, dim] → the same; in a packed pass every row is a text of its own."""
    rows, heads, dim = query.shape
    texts, blocks = read.tables.shape

    def stored(which: int) -> torch.Tensor:
        chosen = pool.data[:, layer, which].flatten(1).index_select(0, read.tables.view(-1))
        return chosen.view(texts, blocks * BLOCK, pool.kv_heads, dim).transpose(1, 2)

    # The query heads of one kv head stand as further rows, so grouped attention needs no copies of the keys.
    each, groups = rows // texts, heads // pool.kv_heads
    q = query.view(texts, each, pool.kv_heads, groups, dim).permute(0, 2, 3, 1, 4)
    q = q.reshape(texts, pool.kv_heads, groups * each, dim)
    q = F.pad(q, (0, 0, 0, read.mask.shape[2] - groups * each))
    out = F.scaled_dot_product_attention(q, stored(0), stored(1), attn_mask=read.mask)
    out = out[:, :, : groups * each].view(texts, pool.kv_heads, groups, each, dim).permute(0, 3, 1, 2, 4)
    return out.reshape(rows, heads, dim)


Extension = tuple[Sequence, torch.Tensor, str | None]
"""A sequence, the input embeddings [n, hidden_size] that extend it, the adapter's name or None."""


class Runner:
    """One loaded model with its KV pool. Not thread-safe: the engine's worker alone calls it."""

    def __init__(self, loaded: LoadedModel, kv_budget: int):
        self.loaded = loaded
        self.device = loaded.device
        model = loaded.model
        self._body, self._embed, head = loaded.body, model.get_input_embeddings(), model.get_output_embeddings()
        wide = torch.promote_types(head.weight.dtype, product_type(self.device.type))
        self._head = Dense(head.weight.to(wide), head.bias, reordered=head.weight.dtype is not wide)
        self._few = Int8(head.levels, head.scale, head.bias) if isinstance(head, Int8Weight) else None
        body = self._body
        self.pool = BlockPool(len(body.layers), body.kv_heads, body.dim, loaded.dtype, self.device, kv_budget)
        self._groups = body.heads // body.kv_heads
        self._pad_rows = loaded.precision != "int4"

    @torch.inference_mode()
    def embed(self, tokens: Many[int]) -> torch.Tensor:
        """Input embeddings [tokens, hidden_size]."""
        return self._embed(torch.tensor(tokens, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def short(self, extensions: Many[Extension], wide: bool = False) -> list[torch.Tensor]:
        """Extend sequences by a few tokens each, all together. The sequences must differ and have grown already; at
        most ROWS rows in all, those of one adapter side by side. `wide`: they are multiplied as a tile of dense rows.
        Returns final hidden states [n, hidden_size] each."""
        positions = [p for s, x, _ in extensions for p in range(s.length - len(x), s.length)]
        owners = [s for s, x, _ in extensions for _ in range(len(x))]
        padding = -len(positions) % TILE if wide or self._pad_rows else 0
        by_shape: dict[int, list[int]] = {}
        for row, position in enumerate(positions):
            by_shape.setdefault(_blocks(position + 1), []).append(row)
        reads = []
        for blocks, rows in by_shape.items():
            tables = torch.tensor([_table(owners[row], positions[row] + 1) for row in rows])
            seen = torch.arange(blocks * BLOCK) <= torch.tensor([positions[row] for row in rows])[:, None, None]
            side_by_side = rows[-1] - rows[0] < len(rows)
            which = slice(rows[0], rows[-1] + 1) if side_by_side else torch.tensor(rows, device=self.device)
            reads.append(self._read(which, tables, seen))
        return self._pass(extensions, positions, owners, reads, padding, Pass(wide, [], _runs(extensions)))

    @torch.inference_mode()
    def long(self, extensions: Many[Extension]) -> list[torch.Tensor]:
        """Extend different sequences, which have grown already, by at most CHUNK tokens in all. Only what does not
        mix rows is done for all parts together. Returns final hidden states [n, hidden_size] each."""
        positions = [p for s, x, _ in extensions for p in range(s.length - len(x), s.length)]
        owners = [s for s, x, _ in extensions for _ in range(len(x))]
        texts, reads, adapters, row = [], [], [], 0
        for sequence, x, adapter in extensions:
            for at in range(row, row + len(x), PART):
                rows = slice(at, min(at + PART, row + len(x)))
                table = _table(sequence, positions[rows.stop - 1] + 1)
                seen = torch.arange(len(table) * BLOCK) <= torch.tensor(positions[rows])[:, None]
                texts.append(rows)
                reads.append(self._read(rows, torch.tensor([table]), seen[None]))
                adapters += [(adapter, rows)] if adapter else []
            row += len(x)
        return self._pass(extensions, positions, owners, reads, 0, Pass(True, texts, adapters))

    @torch.inference_mode()
    def log_probs(self, hidden: torch.Tensor, many: bool = False) -> torch.Tensor:
        """Next-token log-probabilities [rows, vocabulary] in fp32 from final hidden states [rows, hidden_size]. `many`:
        by the kernel that is the faster one for whole texts."""
        if self._few and not many:
            return self._few(hidden).log_softmax(-1)
        return _in_tiles(self._head.product, hidden).float().log_softmax(-1)

    @torch.inference_mode()
    def values(self, hidden: torch.Tensor, head: ValueHead) -> torch.Tensor:
        """Values [rows, out] in fp32 of a value head at final hidden states [rows, hidden_size]."""

        def apply(tile: torch.Tensor) -> torch.Tensor:
            *hidden_layers, last = head
            rows = tile.float()
            for layer in hidden_layers:
                rows = F.gelu(F.linear(rows, *layer))
            return F.linear(rows, *last)

        return _in_tiles(apply, hidden).cpu()

    @torch.inference_mode()
    def scores(self, hidden: torch.Tensor, tokens: Many[int]) -> torch.Tensor:
        """Log-probability [n] of tokens[i] after the text whose final hidden state is hidden[i]; never holds more
        than TILE distributions at a time."""
        wanted = torch.tensor(tokens, device=self.device)
        parts = zip(hidden.split(TILE), wanted.split(TILE), strict=True)
        many = len(wanted) > SHORT
        return torch.cat([self.log_probs(h, many).gather(1, t[:, None])[:, 0] for h, t in parts]).cpu()

    def _read(self, rows: slice | torch.Tensor, tables: torch.Tensor, seen: torch.Tensor) -> _Read:
        """seen [texts, rows of a text, keys] becomes a mask in the model's type: 0 where seen, -inf elsewhere."""
        mask = torch.zeros(seen.shape, dtype=self.loaded.dtype).masked_fill_(~seen, float("-inf"))
        mask = mask.repeat(1, self._groups, 1)
        mask = F.pad(mask, (0, 0, 0, -mask.shape[1] % QUERIES))
        return _Read(rows, tables.to(self.device), mask.to(self.device)[:, None])

    def _pass(self, extensions, positions, owners, reads, padding, now: Pass) -> list[torch.Tensor]:
        layout = _Layout(
            pool=self.pool,
            write_blocks=torch.tensor(
                [s.blocks[p // BLOCK] for s, p in zip(owners, positions, strict=True)], device=self.device
            ),
            write_offsets=torch.tensor([p % BLOCK for p in positions], device=self.device),
            reads=reads,
        )
        x = torch.cat([x for _, x, _ in extensions])
        x = F.pad(x, (0, 0, 0, padding))
        places = torch.tensor(positions + [0] * padding, device=self.device)
        hidden = self._body(x, places, layout.attend, now)
        return list(hidden[: len(positions)].split([len(x) for _, x, _ in extensions]))


def _in_tiles(function, hidden: torch.Tensor) -> torch.Tensor:
    """`function` of rows, which always sees TILE of them."""
    parts = hidden.split(TILE)
    return torch.cat([function(F.pad(part, (0, 0, 0, TILE - len(part))))[: len(part)] for part in parts])


def _blocks(tokens: int) -> int:
    """Blocks that are read for a row that sees so many tokens, padding included."""
    return -(-tokens // KEYS) * KEYS // BLOCK


def _table(sequence: Sequence, tokens: int) -> list[int]:
    """The blocks of a sequence's first tokens, padded with block 0 to what is read for them."""
    held = sequence.blocks[: -(-tokens // BLOCK)]
    return held + [0] * (_blocks(tokens) - len(held))


def _runs(extensions: Many[Extension]) -> list[tuple[str, slice]]:
    """Contiguous rows of each adapter: [(adapter, rows)]."""
    runs: list[tuple[str, slice]] = []
    row = 0
    for _, x, adapter in extensions:
        if adapter and runs and runs[-1][0] == adapter and runs[-1][1].stop == row:
            runs[-1] = (adapter, slice(runs[-1][1].start, row + len(x)))
        elif adapter:
            runs.append((adapter, slice(row, row + len(x))))
        row += len(x)
    return runs
