"""Fixtures: a service on a tiny random model, one on the embedded model, and a browser."""

from __future__ import annotations

import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("PLAYGROUND_PREPARED", "0")  # tests of the page wait for their own runs alone
if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core; more threads would only wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from playground.requests import LaneRequest, RunRequest
from playground.service import Playground
from playground.settings import ROOT, Settings
from tests.tiny import make_catalogue

# No test depends on timing: no deadlines; and the same examples every time.
settings.register_profile(
    "suite", deadline=None, derandomize=True, max_examples=40, suppress_health_check=list(HealthCheck)
)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def tiny_catalogue(tmp_path_factory):
    return make_catalogue(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny(tiny_catalogue):
    """A service on the tiny model, in memory. Shared: tests leave no runs behind."""
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision=None, kv_megabytes=64))
    playground.memory.ensure("reference", "aligned", "adapted")
    yield playground
    playground.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    """A service on the embedded model, fetched once to the cache folder. Its models.yaml and adapters are copies, so
    that tests may train."""
    folder = tmp_path_factory.mktemp("embedded")
    shutil.copy(ROOT / "models.yaml", folder)
    shutil.copytree(ROOT / "adapters", folder / "adapters")
    playground = Playground(Settings(catalogue=folder / "models.yaml", database=":memory:"))
    playground.memory.ensure("reference", "aligned")
    yield playground
    playground.close()


@pytest.fixture(scope="session")
def chromium():
    """A Chromium to drive."""
    from tests import browser  # only tests of the page need Playwright

    with browser.chromium() as found:
        yield found


def request(*lanes: str, prompt: str = "the quick brown fox", **fields) -> RunRequest:
    """A checked request from lanes in command-line form."""
    return RunRequest.checked(prompt=prompt, lanes=[LaneRequest.parse(lane) for lane in lanes], **fields)


@pytest.fixture(name="request_of", scope="session")
def _request_of():
    return request
