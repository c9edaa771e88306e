"""Starts the page; Hugging Face Spaces runs this file. PORT and HOST may be set from outside."""

import os

from playground.ui.page import serve

if __name__ == "__main__":
    on_a_space = bool(os.environ.get("SPACE_ID"))
    serve(
        host=os.environ.get("HOST", "0.0.0.0" if on_a_space else "127.0.0.1"),
        port=int(os.environ.get("PORT", "7860")),
    )
