"""Places for snapshots outside of this server: a folder (one that is mounted, say), or a data set of the Hub."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session
from huggingface_hub.errors import HFValidationError, RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from playground.errors import UserError, shown

_NAME = re.compile(r"part-[\w-]{1,80}\.jsonl")
"""Other files may lie there as well."""
_DATASET = re.compile(r"hf://datasets/([^/]+/[^/]+?)(?:/(.+?))?/?")
_SECONDS = 60.0
"""How long the Hub may be silent; its client would wait for ever."""
_NOISE = re.compile(r"hf_\w+|Bearer\s+\S+| for url '\S+'| For more information check: \S+")
"""In errors of the Hub's client: tokens, and addresses that help nobody."""


class Place(Protocol):
    """Holds parts by their names. Every method raises UserError when the place does not answer."""

    name: str

    def parts(self) -> dict[str, int]:
        """The size of every part that is there, in bytes."""

    def read(self, name: str) -> bytes:
        """The content of a part."""

    def write(self, parts: dict[str, bytes], instead_of: tuple[str, ...] = ()) -> None:
        """Add parts, and only then remove others. The same parts may be written again: an answer can get lost."""


def place_of(setting: str) -> Place:
    """The place that a setting names: a folder, or hf://datasets/OWNER/NAME. Raises UserError."""
    if "://" not in setting:
        return Folder(Path(setting).expanduser())
    found = _DATASET.fullmatch(setting)
    try:
        validate_repo_id(found[1] if found else "")
    except HFValidationError:
        raise UserError(
            f"PLAYGROUND_SNAPSHOTS is {shown(setting)}; name a folder, or a data set as hf://datasets/OWNER/NAME."
        ) from None
    return Dataset(found[1], found[2] or "")


class Folder:
    """Parts as files of a folder."""

    def __init__(self, path: Path):
        self.path, self.name = path, str(path.absolute())

    def parts(self) -> dict[str, int]:
        with self._told("read"):
            self.path.mkdir(parents=True, exist_ok=True)
            files = [entry for entry in os.scandir(self.path) if _NAME.fullmatch(entry.name)]
            return {entry.name: entry.stat().st_size for entry in files if entry.is_file(follow_symlinks=False)}

    def read(self, name: str) -> bytes:
        with self._told("read"):
            return (self.path / name).read_bytes()

    def write(self, parts: dict[str, bytes], instead_of: tuple[str, ...] = ()) -> None:
        with self._told("written"):
            for name, content in parts.items():
                begun = self.path / f"{name}.begun"
                with begun.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                begun.replace(self.path / name)
            for name in instead_of:
                (self.path / name).unlink(missing_ok=True)
            if instead_of:  # what was begun when a server was killed; one that writes just now will do it again
                for left in self.path.glob("part-*.begun"):
                    left.unlink(missing_ok=True)

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"The folder {self.name} cannot be {done} ({error.strerror or error}).") from None


class Dataset:
    """Parts as files of a data set of the Hub, which is made, private, if it is not there. The token is HF_TOKEN, or
    that of `hf auth login`."""

    def __init__(self, repository: str, folder: str = ""):
        self.folder, self._api, self._is_there = folder, HfApi(), False
        self._of = {"repo_id": repository, "repo_type": "dataset"}
        self.name = f"hf://datasets/{repository}" + (f"/{folder}" if folder else "")

    def parts(self) -> dict[str, int]:
        with self._told("read"):
            self._make()
            try:
                files = list(self._api.list_repo_tree(path_in_repo=self.folder or None, **self._of))
            except RemoteEntryNotFoundError:  # the folder comes with its first part
                return {}
            sizes = {Path(file.path).name: file.size for file in files if isinstance(file, RepoFile)}
            return {name: size for name, size in sizes.items() if _NAME.fullmatch(name)}

    def read(self, name: str) -> bytes:
        # Not into the cache: what is deleted in the data set would stay there.
        with self._told("read"), tempfile.TemporaryDirectory() as folder:
            return Path(self._api.hf_hub_download(filename=self._path(name), cache_dir=folder, **self._of)).read_bytes()

    def write(self, parts: dict[str, bytes], instead_of: tuple[str, ...] = ()) -> None:
        with self._told("written"):
            self._make()
            self._api.create_commit(
                operations=[
                    *(CommitOperationAdd(self._path(name), content) for name, content in parts.items()),
                    *(CommitOperationDelete(self._path(name)) for name in instead_of),
                ],
                commit_message="Snapshot",
                **self._of,
            )
            if instead_of:  # what was removed would still be in the history
                self._api.super_squash_history(**self._of)

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name

    def _make(self) -> None:
        if not self._is_there:
            self._api.create_repo(self._of["repo_id"], repo_type="dataset", private=True, exist_ok=True)
            self._is_there = True

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        get_session().timeout = _SECONDS
        try:
            yield
        except Exception as error:  # the Hub's own, its transport's (httpx, xet), the disk's
            reason = _NOISE.sub("", " ".join(str(error).split()))[:300] or type(error).__name__
            raise UserError(
                f"The data set {self.name} cannot be {done} ({reason}). Check that HF_TOKEN may write to it."
            ) from None
