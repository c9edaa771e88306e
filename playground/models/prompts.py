"""The one function through which every prompt passes on its way to token ids."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

_ENCODING = threading.RLock()
"""A fast tokenizer keeps whether special tokens are split as state of its own: of two threads that encode at the same
time, one could have its special tokens read as text, or text as special tokens."""


def encode_chat(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    system: str = "",
    prefix: str | None = None,
    earlier: Sequence[tuple[str, str]] = (),
) -> list[int]:
    """Token ids of a chat, up to where the answer starts.

    `prefix` is the variant's own system prompt and stands before the person's; `earlier` holds the turns before the
    prompt, (the person's words, the model's) each. Text that looks like one of the
    tokenizer's special tokens stays text: nobody can close the user's turn from inside a prompt.
    """
    instructions = "\n\n".join(part for part in (prefix, system.strip()) if part)
    messages = [{"role": "system", "content": instructions}] if instructions else []
    for person, model in earlier:
        messages += [{"role": "user", "content": person}, {"role": "assistant", "content": model}]
    messages.append({"role": "user", "content": prompt})
    if tokenizer.chat_template is None:
        return plain_ids(tokenizer, "\n\n".join(m["content"] for m in messages) + "\n\n")
    if instructions and not _takes_system(tokenizer):
        first, *rest = messages[1:]
        messages = [{"role": "user", "content": f"{instructions}\n\n{first['content']}"}, *rest]
    if not any(token in m["content"] for token in tokenizer.all_special_tokens for m in messages):
        with _ENCODING:
            return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
    # Render with marks in place of the contents, then encode template and contents apart.
    marks = [f"\ue000{index}\ue001" for index in range(len(messages))]
    marked = [{**m, "content": mark} for m, mark in zip(messages, marks, strict=True)]
    rest = tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False)
    ids: list[int] = []
    with _ENCODING:
        for mark, message in zip(marks, messages, strict=True):
            before, rest = rest.split(mark, 1)
            ids += tokenizer(before, add_special_tokens=False).input_ids
            ids += plain_ids(tokenizer, message["content"])
        return ids + tokenizer(rest, add_special_tokens=False).input_ids


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of text in which nothing is special: an answer cannot end itself, nor a prompt its turn."""
    with _ENCODING:
        return tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids


def _takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template has a place for a system prompt; some raise an error for one."""
    try:
        tokenizer.apply_chat_template(
            [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}], tokenize=False
        )
    except TemplateError:
        return False
    return True
