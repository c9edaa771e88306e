"""Settings that come from outside: environment variables, read once, with defaults that suit a laptop."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from playground.errors import UserError, shown

ROOT = Path(__file__).resolve().parent.parent
_TOKEN_LETTERS = 16
_CONSENT = (
    "By voting you agree that your vote, note and prompt are kept without your name or address, and may be published "
    "for research under {licence}. Write nothing private. The owner of this server deletes your votes if you ask."
)


def _path(name: str, default: Path) -> Path:
    return Path(os.environ.get(name) or default).expanduser()


def _number(name: str, default: int, least: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit() or int(text) < least:
        raise UserError(f"{name} is {shown(text)}; it must be a whole number of at least {least}.")
    return int(text)


def _one_of(name: str, *choices: str) -> str:
    """One of these, the first by default."""
    text = os.environ.get(name) or choices[0]
    if text not in choices:
        raise UserError(f"{name} is {shown(text)}; it must be one of: {', '.join(choices)}.")
    return text


def _range(name: str, default: str) -> tuple[int, int]:
    """From 1 on; one number is both."""
    text = os.environ.get(name) or default
    least, dash, most = text.partition("-")
    numbers = [int(part) for part in (least, most if dash else least) if part.isdecimal()]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise UserError(f"{name} is {shown(text)}; it must be a number of at least 1, or a range such as 1-8.")
    return numbers[0], numbers[1]


def _token(name: str) -> str | None:
    """A token that nobody guesses: nothing counts the tries."""
    text = os.environ.get(name) or None
    if text and len(text) < _TOKEN_LETTERS:
        raise UserError(
            f"{name} has {len(text)} characters and could be guessed; give it at least {_TOKEN_LETTERS}, for example "
            "what python -c 'import secrets; print(secrets.token_urlsafe())' prints."
        )
    return text


def _public() -> bool:
    return os.environ.get("PLAYGROUND_PUBLIC", "1" if os.environ.get("SPACE_ID") else "0") == "1"


def _login() -> bool:
    """Whether this is a Space that offers people to sign in; without the Hub's secret, cookies could be forged."""
    wanted = os.environ.get("PLAYGROUND_LOGIN", "1") == "1" and os.environ.get("SYSTEM") == "spaces"
    given = ("SPACE_ID", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
    return wanted and all(os.environ.get(name) for name in given)


def _words(name: str, default: str = "") -> tuple[str, ...]:
    return tuple(word.strip() for word in os.environ.get(name, default).split(",") if word.strip())


@dataclass(frozen=True)
class Settings:
    """Every knob of the server. Each field names the environment variable that sets it."""

    catalogue: Path = field(default_factory=lambda: _path("PLAYGROUND_MODELS", ROOT / "models.yaml"))
    cache: Path = field(
        default_factory=lambda: _path("PLAYGROUND_CACHE", Path(platformdirs.user_cache_dir("realign-playground")))
    )
    database: Path = field(
        default_factory=lambda: _path(
            "PLAYGROUND_DATABASE", Path(platformdirs.user_data_dir("realign-playground")) / "playground.db"
        )
    )
    precision: str | None = field(default_factory=lambda: os.environ.get("PLAYGROUND_PRECISION") or None)
    device: str | None = field(default_factory=lambda: os.environ.get("PLAYGROUND_DEVICE") or None)
    kv_megabytes: int = field(default_factory=lambda: _number("PLAYGROUND_KV_MB", 768, 16))
    public: bool = field(default_factory=_public)
    """On a public server people see only the runs of their own browser in the History tab."""
    training: bool = field(default_factory=lambda: os.environ.get("PLAYGROUND_TRAIN", "0" if _public() else "1") == "1")
    """Whether the page has a Train tab: anybody who sees it can use the machine."""
    secret: str | None = field(default_factory=lambda: os.environ.get("PLAYGROUND_SECRET") or None)
    """Seals battles and the random id that a browser keeps; else the database's own does."""
    owner_token: str | None = field(default_factory=lambda: _token("PLAYGROUND_OWNER_TOKEN"))
    """Opens the Owner tab and lets people train. Without one a new one is made and printed at every start."""
    api_key: str | None = field(default_factory=lambda: _token("PLAYGROUND_API_KEY"))
    """What clients of /v1 must send as their key; without one a public server does not serve them."""
    mcp: bool = field(default_factory=lambda: os.environ.get("PLAYGROUND_MCP", "0") == "1")
    """Whether agents find methods and comparisons as tools (MCP)."""
    votes_repository: str | None = field(default_factory=lambda: os.environ.get("PLAYGROUND_VOTES_REPO") or None)
    """The Hub data set, OWNER/NAME, that the Owner tab pushes votes to."""
    snapshots: str | None = field(default_factory=lambda: os.environ.get("PLAYGROUND_SNAPSHOTS") or None)
    """Where votes are saved that must outlive the disk: a folder, or hf://datasets/OWNER/NAME."""
    snapshot_seconds: int = field(default_factory=lambda: _number("PLAYGROUND_SNAPSHOT_SECONDS", 180, 1))
    """How often they are saved."""
    hosts: tuple[str, ...] = field(default_factory=lambda: _words("PLAYGROUND_HOSTS"))
    """Names under which the page may be asked for, beside this machine's own and the Space's; * stands for all."""
    space_hosts: tuple[str, ...] = field(default_factory=lambda: _words("SPACE_HOST"))
    """The names of a Space, which the Hub tells; its own domain may be among them."""
    frames: tuple[str, ...] = field(
        default_factory=lambda: _words(
            "PLAYGROUND_FRAMES", "https://huggingface.co" if os.environ.get("SPACE_ID") else ""
        )
    )
    """Sites that may show the page in a frame."""
    proxies: int = field(
        default_factory=lambda: _number("PLAYGROUND_PROXIES", 1 if os.environ.get("SPACE_ID") else 0, 0)
    )
    """Proxies before this server: so many addresses from the right in X-Forwarded-For stands the visitor's."""
    login: bool = field(default_factory=_login)
    """Whether people may sign in with their account of the Hub, which makes one person one voter."""
    count_votes: tuple[str, ...] = field(
        default_factory=lambda: _words("PLAYGROUND_COUNT", "page,login" if _public() else "page,login,api,import")
    )
    """Which votes the ranking counts, by how they came: page, login, api, import."""
    votes_licence: str = field(default_factory=lambda: os.environ.get("PLAYGROUND_LICENCE") or "CC-BY-4.0")
    """The licence under which votes are given and exported."""
    consent: str = field(default_factory=lambda: os.environ.get("PLAYGROUND_CONSENT") or _CONSENT)
    """What voters agree to; {licence} stands for the licence."""
    prepared_battles: int = field(default_factory=lambda: _number("PLAYGROUND_PREPARED", 3, 0))
    """How many battles of the arena are kept ready for those who come next; 0: each is written when it is asked for."""
    engine: str = field(default_factory=lambda: _one_of("PLAYGROUND_ENGINE", "local", "ray"))
    """What writes the lanes of the page: this process, or replicas that Ray Serve runs."""
    replicas: tuple[int, int] = field(default_factory=lambda: _range("PLAYGROUND_REPLICAS", "2"))
    """How many replicas there are, at least and at most."""
    replica_cpus: int = field(default_factory=lambda: _number("PLAYGROUND_REPLICA_CPUS", 1, 1))
    replica_gpus: int = field(default_factory=lambda: _number("PLAYGROUND_REPLICA_GPUS", 0, 0))
    """What each replica has of the machines."""
    max_lanes_at_once: int = field(default_factory=lambda: _number("PLAYGROUND_MAX_LANES", 24, 1))

    @property
    def address(self) -> str:
        """Where people find this server, if it knows: that of a Space, since another site's stands above its frame."""
        return f"https://{self.space_hosts[0]}/" if self.space_hosts else ""

    @property
    def adapters(self) -> Path:
        """The folder in which trained adapters lie: beside models.yaml."""
        return self.catalogue.resolve().parent / "adapters"

    def as_environment(self) -> dict[str, str]:
        """What another process needs in its environment to find the same files."""
        named = {
            "PLAYGROUND_MODELS": self.catalogue,
            "PLAYGROUND_CACHE": self.cache,
            "PLAYGROUND_DATABASE": self.database,
            "PLAYGROUND_PRECISION": self.precision,
            "PLAYGROUND_DEVICE": self.device,
        }
        return {name: str(value) for name, value in named.items() if value}
