"""Realign Playground: see what inference-time alignment does."""

__version__ = "0.1.0"
