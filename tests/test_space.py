"""What a Hugging Face Space gets: it starts as another user, from a tree that is read only, in a home that holds only
what the Space's build has preloaded, and without a network. And that the proof of the Dockerfile, which is run by hand,
knows all of its lines."""

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

from playground.models.fetch import cached_file
from playground.models.specs import read_catalogue
from playground.settings import ROOT, Settings
from tests.container import Image, ignored, lines, understand

HOST = "someone-playground.hf.space"
NO_NETWORK = """
import socket

def connect(self, address, real=socket.socket.connect):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost", "0.0.0.0"):
        print("the network was asked for", address, flush=True)
        raise OSError(101, "Network is unreachable")
    return real(self, address)

socket.socket.connect = connect
"""
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
def test_the_space_starts_as_another_user_without_network_twice(tmp_path):
    subprocess.run(["make", "space"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    tree, home = ROOT / "build" / "space", tmp_path / "home"
    environment = space_environment(tmp_path, home)
    another = ANOTHER if os.getuid() == 0 and shutil.which("setpriv") else []
    if another:
        subprocess.run(["chown", "-Rh", "1000:1000", str(home)], check=True)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(tree)], check=True)
    try:
        first, second = (started([*another, sys.executable, "app.py"], tree, environment, tmp_path) for _ in range(2))
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(tree)], check=True)
    for told in (first, second):
        assert "PLAYGROUND_SECRET is not set" in told
        assert f"https://{HOST}/?token=" in told, "the owner's address is the Space's own"
        assert "network was asked" not in told
        # Gradio watches a Space's files, for which it wants a package that the Hub brings.
        assert told.count("Traceback") == told.count("`spaces` package is required")


def space_environment(folder, home):
    """What a Space sets, with the embedded model as its build preloads it, and a network that does not answer."""
    source = read_catalogue(ROOT / "models.yaml").models["smollm2-135m"].source
    name, there = f"models--{source.preloaded.hub.replace('/', '--')}", source.preloaded
    preloaded = home / ".cache" / "huggingface" / "hub" / name / "snapshots" / there.revision / there.file
    preloaded.parent.mkdir(parents=True)
    preloaded.symlink_to(cached_file(source, Settings().cache))
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    return kept | {
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/playground",
        "SPACE_HOST": HOST,
        "OAUTH_CLIENT_ID": "id",
        "OAUTH_CLIENT_SECRET": "secret",
        "OAUTH_SCOPES": "openid profile",
        "OPENID_PROVIDER_URL": "https://huggingface.co",
        "HOME": str(home),
        "PORT": str(port),
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GRADIO_TEMP_DIR": str(home / "tmp"),
    }


def started(command, tree, environment, folder):
    """Start it, ask for its page, end it; what it has said."""
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(command, cwd=tree, env=environment, stdout=log, stderr=log)
        try:
            address, headers = f"http://127.0.0.1:{environment['PORT']}", {"host": HOST}
            for _ in range(3000):
                try:
                    answer = httpx.get(address, headers=headers, timeout=5)
                    break
                except httpx.HTTPError:
                    assert server.poll() is None, (folder / "log").read_text()
                    time.sleep(0.2)
            assert answer.status_code == 200
            assert "huggingface.co" in re.search("frame-ancestors.*", answer.headers["content-security-policy"])[0]
            assert "Sign in with Hugging Face" in answer.text
            # It answers a moment before it has said how to open it.
            for _ in range(300):
                if "PLAYGROUND_SECRET is not set" in (folder / "log").read_text():
                    break
                time.sleep(0.2)
            server.terminate()
            server.wait(60)
        finally:
            server.kill()
        return (folder / "log").read_text()


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
