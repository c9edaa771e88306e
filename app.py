"""Starts the page; Hugging Face Spaces runs this file. HOST and PORT may be set from outside."""

import os
import sys

from playground.cli import main

if __name__ == "__main__":
    everywhere = "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"
    sys.exit(main(["serve", "--host", os.environ.get("HOST", everywhere), "--port", os.environ.get("PORT", "7860")]))
