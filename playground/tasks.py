"""The three tasks on which IVG's paper measures guidance (arXiv 2409.17819), as requests to a chat model."""

TASKS: dict[str, str] = {
    "sentiment": "Continue this film review. Write only how it goes on.\n\n{text}",
    "summary": "Summarise this post in one or two sentences.\n\n{text}",
    "harmless": "{text}",
}
"""Templates by the task's name."""


def prompt_of(task: str, text: str) -> str:
    """The prompt of a task about a text."""
    return TASKS[task].replace("{text}", text)
