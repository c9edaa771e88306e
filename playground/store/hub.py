"""Votes as snapshots in a data set of the Hugging Face Hub."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from playground.errors import UserError, shown
from playground.store.ballots import write_votes


def push_votes(votes: list[dict[str, Any]], repository: str, public: bool = False) -> str:
    """Add a snapshot of votes, as RRHF rows with the votes in them, to the data set `repository` (OWNER/NAME), which is
    made, private unless `public`, if it is not there. Returns the snapshot's address.

    Uses the token of HF_TOKEN or of `hf auth login`. Raises UserError with the Hub's reason.
    """
    name = f"votes-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
    try:
        hub = HfApi()
        hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        done = hub.upload_file(
            path_or_fileobj=write_votes(votes, "rrhf"),
            path_in_repo=name,
            repo_id=repository,
            repo_type="dataset",
            commit_message=f"{len(votes)} votes",
        )
    except (HTTPError, HFValidationError, OSError, ValueError) as error:
        raise UserError(
            f"The votes could not be pushed to {shown(repository)} ({str(error).strip()}); name a data set as "
            "OWNER/NAME and set HF_TOKEN to a token that may write to it."
        ) from None
    return str(done)
