"""The engine: token ids in, log-probabilities out. Joins what all lanes ask for into shared batches over one KV store.

Knows nothing of text, prompts, methods or the page.
"""
