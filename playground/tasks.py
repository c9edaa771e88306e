"""The three tasks on which the papers compare guided decoding, as prompts around a text (IVG, arXiv 2409.17819)."""

from __future__ import annotations

TASKS: dict[str, str] = {
    "sentiment": "Continue this film review. Write only how it goes on.\n\n{text}",
    "summary": "Summarise this post in one or two sentences.\n\n{text}",
    "harmless": "{text}",
}
"""Templates by the task's name."""
