"""What a Hugging Face Space gets: it starts as another user, with an empty home, from a tree that is read only. And
that the proof of the Dockerfile, which is run by hand, knows all of its lines."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from playground.settings import ROOT
from tests.container import Image, ignored, lines, understand
from tests.tiny import make_catalogue

FIELDS = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "python_version"}
FIELDS |= {"license", "tags"}
# The interpreter may lie in root's home: it may be read, but nothing may be written.
ANOTHER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
ANOTHER += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]


def test_the_front_matter_is_what_the_hub_takes():
    matter = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    assert set(matter) - {"short_description"} == FIELDS
    assert len(matter["short_description"]) <= 60
    assert f"gradio=={matter['sdk_version']}" in (ROOT / "requirements.txt").read_text()
    assert (ROOT / matter["app_file"]).is_file()


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


def test_the_proof_of_the_dockerfile_understands_every_line(tmp_path):
    image = Image(tmp_path, ROOT, {"TORCH": "cu130"})
    for name, argument in lines((ROOT / "Dockerfile").read_text()):
        understand(image, name, argument)
    assert image.user == "1000" and image.volumes == ["/data"]
    assert image.environment["PLAYGROUND_DATABASE"].startswith("/data/")
    assert image.command == ["python", "app.py"] and image.health[0] == "python"
    assert image.arguments == {"TORCH": "cu130"}
    with pytest.raises(ValueError, match="ONBUILD"):
        understand(image, "ONBUILD", "RUN x")


def test_what_is_only_for_developers_stays_out_of_the_image():
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    needed = [
        "app.py",
        "models.yaml",
        "requirements.txt",
        "playground/ui/page.py",
        "adapters/careful/README.md",
        "LICENSE",
    ]
    for path in needed:
        assert (ROOT / path).exists() and not ignored(Path(path), patterns), path
    for path in (
        ".git/HEAD",
        "tests/tiny.py",
        "x.db",
        "playground/ui/__pycache__/page.pyc",
        "adapters/a/checkpoint-3/w",
    ):
        assert ignored(Path(path), patterns), path
