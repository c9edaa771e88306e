"""Models: what they are (specs), where they come from (fetch), how they are held (loading, layers).

Knows nothing of sequences, decoding or the page.
"""
