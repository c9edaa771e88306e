"""The runner: one forward pass of one model over rows of many sequences, and the head on top.

The arithmetic of a row depends on its own sequence alone:
- a *short* extension (up to SHORT tokens) runs packed with those of other sequences, through kernels that are
  row-invariant, or in tiles of a fixed shape where a kernel is not;
- a *long* one runs by itself, in chunks counted from its own beginning;
- attention pads keys to a grid on which the fused kernel gives the same bits for any padding;
- the head always sees TILE rows.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from playground.engine.kv import BLOCK, BlockPool, Sequence
from playground.errors import UserError
from playground.models.layers import TILE
from playground.models.loading import LoadedModel

SHORT = 8
"""Most tokens of an extension that still runs packed."""
CHUNK = 256
"""Tokens of a long extension that run in one pass; bounds the time until Stop is heard."""
ROWS = 32
"""Most rows of a packed pass."""


@dataclass(frozen=True)
class _Layout:
    """Where the rows of a pass write their keys and values, and which blocks they read."""

    pool: BlockPool
    write_blocks: torch.Tensor  # [rows]
    write_offsets: torch.Tensor  # [rows]
    tables: torch.Tensor  # [texts, blocks], padded with block 0


def _paged_attention(module, query, key, value, attention_mask, scaling, layout: _Layout = None, **_):
    """Attention of transformers' AttentionInterface over the block pool.

    query [1, heads, rows, dim]; key, value [1, kv_heads, rows, dim]; attention_mask [texts, 1, groups * rows of a
    text, keys]. In a short pass every row is a text of its own, in a long pass all rows are one text.
    Returns [1, rows, heads, dim].
    """
    pool, rows = layout.pool, query.shape[2]
    for which, new in enumerate((key, value)):
        store = pool.data[:, module.layer_idx, which]
        store[layout.write_blocks, layout.write_offsets] = new[0].transpose(0, 1).reshape(rows, -1)
    texts, blocks = layout.tables.shape

    def read(which: int) -> torch.Tensor:
        store = pool.data[:, module.layer_idx, which].flatten(1)
        chosen = store.index_select(0, layout.tables.view(-1))
        return chosen.view(texts, blocks * BLOCK, pool.kv_heads, pool.head_dim).transpose(1, 2)

    # The query heads of one kv head stand as further rows, so grouped attention needs no copies of the keys.
    each = rows // texts
    groups = query.shape[1] // pool.kv_heads
    q = query[0].transpose(0, 1).reshape(texts, each, pool.kv_heads, groups, pool.head_dim)
    q = q.permute(0, 2, 3, 1, 4).reshape(texts, pool.kv_heads, groups * each, pool.head_dim)
    out = F.scaled_dot_product_attention(q, read(0), read(1), attn_mask=attention_mask, scale=scaling)
    out = out.view(texts, pool.kv_heads, groups, each, pool.head_dim).permute(0, 3, 1, 2, 4)
    return out.reshape(1, rows, query.shape[1], pool.head_dim), None


KNOWN = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose attention and head are nothing but what is computed here (tests/engine compares them). Others cap
or scale their logits, or keep windows, and would be silently wrong."""

AttentionInterface.register("playground_paged", _paged_attention)


class Runner:
    """One loaded model with its KV pool. Not thread-safe: the engine's worker alone calls it."""

    def __init__(self, loaded: LoadedModel, kv_budget: int):
        self.loaded = loaded
        self.device = loaded.device
        model = loaded.model
        if model.config.model_type not in KNOWN:
            raise UserError(
                f"{loaded.name} is of type {model.config.model_type!r}; these types can be run: {', '.join(KNOWN)}."
            )
        model.config._attn_implementation = "playground_paged"
        self._body, self._head, self._embed = model.model, model.get_output_embeddings(), model.get_input_embeddings()
        config = model.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.pool = BlockPool(
            config.num_hidden_layers, config.num_key_value_heads, head_dim, loaded.dtype, self.device, kv_budget
        )
        # On this grid the fused attention gives a row the same bits however far its keys are padded (tests/engine).
        self._grid = 1 if loaded.dtype == torch.bfloat16 else 512 // BLOCK
        self._groups = config.num_attention_heads // config.num_key_value_heads
        self._pad_rows = loaded.precision != "int4"

    @torch.inference_mode()
    def embed(self, tokens: Many[int]) -> torch.Tensor:
        """Input embeddings [tokens, hidden_size]."""
        return self._embed(torch.tensor(tokens, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def short(self, extensions: Many[tuple[Sequence, torch.Tensor, str | None]]) -> list[torch.Tensor]:
        """Extend sequences by a few tokens each, all together. The sequences must differ and have grown already.

        extensions: (sequence, input embeddings [n, hidden_size], adapter name or None), at most ROWS rows in all,
        those of one adapter side by side. Returns each one's final hidden states [n, hidden_size].
        """
        starts = [s.length - len(x) for s, x, _ in extensions]
        positions = [start + i for start, (_, x, _) in zip(starts, extensions, strict=True) for i in range(len(x))]
        owners = [s for s, x, _ in extensions for _ in range(len(x))]
        padding = -len(positions) % TILE if self._pad_rows else 0
        longest = max(positions) + 1
        blocks = self._blocks(longest)
        tables = torch.zeros(len(positions) + padding, blocks, dtype=torch.long)
        for row, (owner, position) in enumerate(zip(owners, positions, strict=True)):
            mine = owner.blocks[: position // BLOCK + 1]
            tables[row, : len(mine)] = torch.tensor(mine)
        limit = torch.tensor(positions + [0] * padding)
        mask = self._mask(torch.arange(blocks * BLOCK)[None] <= limit[:, None])[:, None, None]
        embedded = torch.cat([*(x for _, x, _ in extensions), self.embed([0] * padding)])
        write_blocks = [s.blocks[p // BLOCK] for s, p in zip(owners, positions, strict=True)] + [0] * padding
        hidden = self._pass(
            embedded, positions + [0] * padding, write_blocks, tables, mask, long=False, adapters=_runs(extensions)
        )
        return list(hidden[: len(positions)].split([len(x) for _, x, _ in extensions]))

    @torch.inference_mode()
    def long(self, sequence: Sequence, embedded: torch.Tensor, adapter: str | None) -> torch.Tensor:
        """Extend one sequence, which has grown already, by at most CHUNK tokens; hidden states [n, hidden_size]."""
        start = sequence.length - len(embedded)
        positions = list(range(start, sequence.length))
        blocks = self._blocks(sequence.length)
        tables = torch.zeros(1, blocks, dtype=torch.long)
        tables[0, : len(sequence.blocks)] = torch.tensor(sequence.blocks)[:blocks]
        mask = self._mask(torch.arange(blocks * BLOCK)[None] <= torch.tensor(positions)[:, None])[None, None]
        write_blocks = [sequence.blocks[p // BLOCK] for p in positions]
        adapters = [(adapter, slice(None))] if adapter else []
        return self._pass(embedded, positions, write_blocks, tables, mask, long=True, adapters=adapters)

    @torch.inference_mode()
    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token log-probabilities [rows, vocabulary] in fp32 from final hidden states [rows, hidden_size]."""
        rows = []
        for part in hidden.split(TILE):
            padded = F.pad(part, (0, 0, 0, TILE - len(part)))
            rows.append(self._head(padded)[: len(part)].float().log_softmax(-1))
        return torch.cat(rows)

    @torch.inference_mode()
    def scores(self, hidden: torch.Tensor, tokens: Many[int]) -> torch.Tensor:
        """Log-probability [n] of tokens[i] after the text whose final hidden state is hidden[i]; never holds more
        than TILE distributions at a time."""
        wanted = torch.tensor(tokens, device=self.device)
        parts = zip(hidden.split(TILE), wanted.split(TILE), strict=True)
        return torch.cat([self.log_probs(h).gather(1, t[:, None])[:, 0] for h, t in parts]).cpu()

    def _blocks(self, tokens: int) -> int:
        blocks = -(-tokens // BLOCK)
        return -(-blocks // self._grid) * self._grid

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        """Additive mask in the model's type: 0 where seen, -inf elsewhere."""
        mask = torch.zeros(seen.shape, dtype=self.loaded.dtype)
        return mask.masked_fill_(~seen, float("-inf")).to(self.device)

    def _pass(self, embedded, positions, write_blocks, tables, mask, *, long: bool, adapters) -> torch.Tensor:
        layout = _Layout(
            pool=self.pool,
            write_blocks=torch.tensor(write_blocks, device=self.device),
            write_offsets=torch.tensor([p % BLOCK for p in positions], device=self.device),
            tables=tables.to(self.device),
        )
        self.loaded.current.long, self.loaded.current.adapter_rows = long, adapters
        output = self._body(
            inputs_embeds=embedded[None],
            attention_mask=mask.repeat(1, 1, self._groups, 1),
            position_ids=torch.tensor(positions, device=self.device)[None],
            use_cache=False,
            layout=layout,
        )
        return output.last_hidden_state[0]


def _runs(extensions) -> list[tuple[str, slice]]:
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
