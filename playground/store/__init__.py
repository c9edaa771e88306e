"""What is kept: runs, in SQLite. Knows nothing of models, methods or the page."""
