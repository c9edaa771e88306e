"""Proves the Dockerfile where no container engine is at hand: runs its own lines in a clean chroot, then the image.

By hand, as root, with debootstrap; some minutes: make container. The base is Debian's release of the image's name, with
Debian's own Python 3.11 where the image has one that was built for it; the layers of an image and its limits are not
proved. The command runs as process 1, as in a container, and without any network.
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from playground.settings import ROOT

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000
"""Flags of unshare(2)."""
GRACE = 10.0
"""Seconds that `docker stop` gives."""
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Image:
    """What the lines have made so far: a folder, and how commands run in it. `arguments`: those of the build."""

    root: Path
    context: Path
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0"
    folder: str = "/"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    base: str = ""
    volumes: list[str] = field(default_factory=list)
    lent: list[Path] = field(default_factory=list)
    """Folders of this machine that are mounted into it for the build."""

    def inside(self, command: list[str]) -> list[str]:
        """A command as it must be called from outside."""
        return [
            "chroot",
            f"--userspec={self.user}:{self.user}",
            str(self.root),
            "env",
            f"--chdir={self.folder}",
            *command,
        ]

    def known(self) -> dict[str, str]:
        """The environment of a command: HOME is the user's, as an engine sets it."""
        users = (self.root / "etc/passwd").read_text().splitlines()
        home = next(line.split(":")[5] for line in users if line.split(":")[2] == self.user)
        return self.environment | {"HOME": home}


def lines(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, argument) of each, comments left out and continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            name, _, argument = line.strip().partition(" ")
            yield name, argument.strip()


def understand(image: Image, name: str, argument: str) -> list[str] | None:
    """Take one line into the image; the command to run for it, or None. Raises ValueError for what is not known."""
    if name == "FROM":
        image.base = argument
    elif name == "ARG":
        key, _, value = argument.partition("=")
        image.arguments.setdefault(key, value)
    elif name == "ENV":
        image.environment |= dict(pair.split("=", 1) for pair in shlex.split(argument))
    elif name == "WORKDIR":
        image.folder = argument
    elif name == "USER":
        image.user = argument
    elif name == "CMD":
        image.command = json.loads(argument)
    elif name == "HEALTHCHECK":
        options, _, command = argument.partition("CMD ")
        if not re.fullmatch(r"(--(interval|timeout|start-period)=\d+s\s+)*", options):
            raise ValueError(f"{options} of HEALTHCHECK is not known here")
        image.health = json.loads(command)
    elif name == "STOPSIGNAL":
        image.stop_signal = argument
    elif name == "VOLUME":
        image.volumes.append(argument)
    elif name == "RUN":
        return ["/bin/sh", "-c", argument]
    elif name not in ("COPY", "EXPOSE"):
        raise ValueError(f"{name} is not known here")
    return None


def ignored(path: Path, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves out this path of the context, or a folder above it."""
    heads = [path.parts[:n] for n in range(1, len(path.parts) + 1)]

    def matches(head: tuple[str, ...], pattern: str) -> bool:
        wanted = pattern.removeprefix("**/").split("/")
        found = head[-len(wanted) :] if pattern.startswith("**/") else head
        return len(found) == len(wanted) and all(map(fnmatch.fnmatchcase, found, wanted))

    return any(matches(head, pattern) for head in heads for pattern in patterns)


def copy(image: Image, argument: str) -> None:
    """COPY SOURCE TARGET of files of the context."""
    source, target = argument.split()
    text = (image.context / ".dockerignore").read_text().splitlines()
    patterns = [line for line in text if line and not line.startswith("#")]
    place = image.root / (image.folder + "/" + target).lstrip("/")

    def left_out(folder: str, names: list[str]) -> list[str]:
        inner = Path(folder).relative_to(image.context)
        return [name for name in names if ignored(inner / name, patterns)]

    if (image.context / source).is_dir():
        shutil.copytree(image.context / source, place, ignore=left_out, dirs_exist_ok=True)
    else:
        shutil.copy(image.context / source, place)


def make_base(image: Image) -> None:
    """Debian with a Python in /usr/local, as the base image has it; made once and kept beside the image."""
    base = image.root.with_name(f"{image.root.name}.base")
    if not base.exists():
        fill_base(replace(image, root=base))
    subprocess.run(["cp", "-a", str(base), str(image.root)], check=True)


def fill_base(image: Image) -> None:
    """Make it."""
    found = re.fullmatch(r"python:(3\.\d+)-slim-(\w+)", image.base)
    if not found:
        raise ValueError(f"there is no stand-in for {image.base}")
    with_python = "--include=python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", with_python, found[2], str(image.root)], check=True)
    subprocess.run(image.inside(["python3", "-m", "venv", "/usr/local"]), check=True)
    version = subprocess.run(image.inside(["python", "-V"]), env={"PATH": PATH}, capture_output=True, text=True).stdout
    if found[1] not in version:
        raise ValueError(f"{found[2]} has {version}, the image has {found[1]}")
    shutil.rmtree(image.root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(image.root / "var/lib/apt/lists", ignore_errors=True)


def registry(image: Image) -> dict[str, str]:
    """This machine's way to the package registry, for the build alone: the settings of pip, also under the names that
    uv has for them, with the files that they name put into the image's folder for as long as this process lives."""
    told = subprocess.run(["pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    pip = {name.rpartition(".")[2]: value for name, value in re.findall(r"^(\S+?)='(.*)'$", told, re.MULTILINE)}
    names = {"cert": "SSL_CERT_FILE", "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}
    names |= {"find-links": "UV_FIND_LINKS"}
    found = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in pip.items()}
    found |= {names[name]: value for name, value in pip.items() if name in names}
    found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # several indexes are one, as they are for pip
    for path in {Path(p) for value in pip.values() for p in re.findall(r"(?:^|\s|://)(/\S+)", value)}:
        path = path.parent if path.name == "simple" else path  # the files of an index lie beside it
        if path.exists():
            place = image.root / str(path).lstrip("/")
            (place if path.is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
            if path.is_file():
                place.touch()
            subprocess.run(["mount", "--bind", str(path), str(place)], check=True)
            image.lent.append(place)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", image.root / "etc" / name)
    return found


def build(image: Image, dockerfile: str, built: bool) -> None:
    """Run the lines, one after another, and say what each takes and adds; of one that is `built`, only read them."""
    size, given = 0.0, {}
    for name, argument in lines(dockerfile):
        began = time.monotonic()
        command = understand(image, name, argument)
        if name == "FROM":
            if not built:
                make_base(image)
            for kind, folder in (("proc", "proc"), ("devtmpfs", "dev"), ("tmpfs", "dev/shm"), ("tmpfs", "tmp")):
                (image.root / folder).mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", kind, kind, str(image.root / folder)], check=True)
        if built:
            continue
        if name == "FROM":
            given = registry(image)
        if name == "WORKDIR":
            (image.root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
        if name == "COPY":
            copy(image, argument)
        if command:
            known = image.known() | image.arguments | (given if name == "RUN" else {})
            subprocess.run(image.inside(command), env=known, check=True)
        if command or name in ("FROM", "COPY"):
            now = disk(image)
            print(f"{now - size:+8.0f} MiB {time.monotonic() - began:5.0f} s  {name} {argument[:80]}", flush=True)
            size = now
    print(f"{disk(image):8.0f} MiB in all")


def disk(image: Image) -> float:
    """MiB of the files in an image's folder, without other file systems and what is lent."""
    without = [f"--exclude={path}" for path in image.lent]
    found = subprocess.run(["du", "-sxk", *without, str(image.root)], check=True, capture_output=True)
    return int(found.stdout.split()[0]) / 1024


class Container:
    """The image's command at work, as process 1 of its own."""

    def __init__(self, image: Image, log: Path):
        self.image = image
        self.address = f"http://127.0.0.1:{image.environment['PORT']}"
        alone = ["unshare", "--pid", "--fork", f"--mount-proc={image.root / 'proc'}"]
        with log.open("w") as out:
            self.outer = subprocess.Popen(
                [*alone, *image.inside(image.command)], env=image.known(), stdout=out, stderr=subprocess.STDOUT
            )

    def healthy(self) -> bool:
        """Whether the image's own check says so."""
        found = subprocess.run(self.image.inside(self.image.health), env=self.image.known(), capture_output=True)
        return found.returncode == 0

    def wait_until_healthy(self) -> float:
        """Seconds until it is."""
        began = time.monotonic()
        while not self.healthy():
            if self.outer.poll() is not None or time.monotonic() - began > 300:
                raise RuntimeError("the container does not become healthy")
            time.sleep(1)
        return time.monotonic() - began

    def stop(self) -> tuple[float, int]:
        """(seconds, exit code) after the stop signal, as `docker stop` sends it."""
        [first] = psutil.Process(self.outer.pid).children()
        began = time.monotonic()
        first.send_signal(signal.Signals[self.image.stop_signal])
        code = self.outer.wait(10 * GRACE)
        return time.monotonic() - began, code

    def ask(self, prompt: str, tokens: int) -> Iterator[bytes]:
        """Begin a run; what is read of it as it goes on."""
        data = {"data": [prompt, ["greedy", "best_of_n:n=4"], 0, tokens]}
        asked = urllib.request.Request(
            f"{self.address}/gradio_api/call/compare", json.dumps(data).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            event = json.load(answer)["event_id"]
        # The container may be stopped under it.
        with suppress(OSError, HTTPException), urllib.request.urlopen(f"{asked.full_url}/{event}") as stream:
            yield from stream


def saved(database: Path) -> list[dict[str, Any]]:
    """The runs in a database."""
    with sqlite3.connect(database) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("select * from runs")]


def check(what: str, holds: bool, more: str = "") -> None:
    print(f"{'yes' if holds else 'NO '}  {what} {more}", flush=True)
    if not holds:
        raise SystemExit(1)


def prove(image: Image, log: Path) -> None:
    """Run the image, stop it under way, and run it again over the same volume. No network is there."""
    ctypes.CDLL(None).unshare(NEW_NETWORK)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    database = image.root / image.environment["PLAYGROUND_DATABASE"].lstrip("/")
    for turn in (0, 1, 2):  # at first while it still reads the model
        container = Container(image, log)
        try:
            check("it becomes healthy without a network", True, f"after {container.wait_until_healthy():.0f} s")
            [first] = psutil.Process(container.outer.pid).children()
            check("it runs as the image's user", str(first.uids().real) == image.user != "0")
            if turn:
                deque(container.ask("Hello!", 1))
                story = container.ask(f"Write a very long story about number {turn}.", 2000)
                threading.Thread(target=deque, args=(story,), daemon=True).start()
                time.sleep(8)
            seconds, code = container.stop()
            check("it ends by itself in time after the stop signal", seconds < GRACE, f"{seconds:.1f} s, code {code}")
        finally:
            container.outer.kill()
        runs = saved(database)
        mine = [run for run in runs if run["prompt"].startswith("Write a very long story about number")]
        check("the run under way was saved", [run["status"] for run in mine] == ["stopped"] * turn)
        check("no traceback was printed", "Traceback" not in log.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="the folder to be made, which the image will fill")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as of docker build")
    parser.add_argument("--built", action="store_true", help="the folder was filled before: only run it")
    given = parser.parse_args()
    if os.geteuid() or not shutil.which("debootstrap"):
        raise SystemExit("This must be run as root, with debootstrap.")
    root = given.root.resolve()
    if root.exists() != given.built:
        raise SystemExit(f"{root} is {'not there' if given.built else 'there already'}; name another folder.")
    ctypes.CDLL(None).unshare(NEW_MOUNTS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    image = Image(root, ROOT, dict(pair.split("=", 1) for pair in given.build_arg))
    build(image, (ROOT / "Dockerfile").read_text(encoding="utf-8"), given.built)
    prove(image, root.parent / f"{root.name}.log")


if __name__ == "__main__":
    main()
