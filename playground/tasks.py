"""The tasks that value guidance is shown and measured on: by name, the prompt around a text. Plain data."""

TASKS: dict[str, str] = {
    "sentiment": "Continue this film review. Write only how it goes on.\n\n{text}",
    "summary": "Summarise this post in one or two sentences.\n\n{text}",
    "harmless": "{text}",
}


def prompt_of(task: str, text: str) -> str:
    """The prompt of a task about a text."""
    return TASKS[task].replace("{text}", text)
