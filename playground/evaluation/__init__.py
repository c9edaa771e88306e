"""Measures over files of prompts and pairs: how a method or an adapter behaves, in numbers."""
