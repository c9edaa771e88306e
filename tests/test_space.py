"""What a Hugging Face Space gets: it starts as another user, with an empty home, from a tree that is read only."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

import httpx
import pytest
import yaml

from playground.models.specs import read_catalogue
from playground.settings import ROOT
from tests.tiny import make_catalogue

FIELDS = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "python_version"}
FIELDS |= {"license", "tags", "hf_oauth", "preload_from_hub"}
# The interpreter may lie in root's home: it may be read, but nothing may be written.
ANOTHER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
ANOTHER += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]


def test_the_front_matter_is_what_the_hub_takes():
    matter = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    assert set(matter) - {"short_description"} == FIELDS
    assert len(matter["short_description"]) <= 60
    assert f"gradio=={matter['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / matter["app_file"]).is_file()
    there = read_catalogue(ROOT / "models.yaml").models["smollm2-135m"].source.preloaded
    assert matter["preload_from_hub"] == [f"{there.hub} {there.file} {there.revision}"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_space_starts_as_another_user_with_an_empty_home(tmp_path):
    subprocess.run(["make", "space"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    tree, home, models = ROOT / "build" / "space", tmp_path / "home", tmp_path / "models"
    home.mkdir(), models.mkdir()
    catalogue = make_catalogue(models)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = kept | {"SPACE_ID": "someone/playground", "SPACE_HOST": "someone-playground.hf.space"}
    environment |= {"HOME": str(home), "PORT": str(port), "PLAYGROUND_MODELS": str(catalogue), "HF_HUB_OFFLINE": "1"}
    environment |= {
        "PLAYGROUND_PRECISION": "fp32",
        "GRADIO_TEMP_DIR": str(home / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    another = ANOTHER if os.getuid() == 0 and shutil.which("setpriv") else []
    if another:
        os.chown(home, 1000, 1000)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(tree)], check=True)
    with (tmp_path / "log").open("w+") as log:
        started = [*another, sys.executable, "app.py"]
        server = subprocess.Popen(started, cwd=tree, env=environment, stdout=log, stderr=log)
        try:
            address, headers = f"http://127.0.0.1:{port}", {"host": "someone-playground.hf.space"}
            for _ in range(3000):
                try:
                    answer = httpx.get(address, headers=headers, timeout=5)
                    break
                except httpx.HTTPError:
                    assert server.poll() is None, (tmp_path / "log").read_text()
                    time.sleep(0.2)
            assert answer.status_code == 200
            assert "huggingface.co" in re.search("frame-ancestors.*", answer.headers["content-security-policy"])[0]
            # It answers a moment before it has said how to open it.
            for _ in range(300):
                if "PLAYGROUND_SECRET is not set" in (tmp_path / "log").read_text():
                    break
                time.sleep(0.2)
            server.terminate()
            server.wait(60)
        finally:
            server.kill()
            subprocess.run(["chmod", "-R", "u+w", str(tree)], check=True)
        told = (tmp_path / "log").read_text()
    assert "PLAYGROUND_SECRET is not set" in told
    assert "Traceback" not in told
