"""Who asks, and which runs each page (or API client) has under way."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gradio as gr

from playground.errors import UserError
from playground.service import Person, Playground, Ticket

AGENT = "x-playground-agent"
"""The header in which the guard names the call of an agent, and its address: Gradio makes the call once more from
within, in one session for all agents."""
VISITORS_AN_HOUR = 200
"""New visitors from one address."""
UPLOADED_MIB_AN_HOUR = 256
"""Of files from one address, which lie on the disk for an hour if nothing takes them."""
_SALT = secrets.token_bytes(16)
"""Addresses are kept in memory only, and only as hashes that end with this process."""


def person_of(playground: Playground, request: gr.Request) -> Person:
    """Who sent a request: people behind one address are one group."""
    address, session = request.client.host if request.client else "", str(request.session_hash)
    if agent := request.headers.get(AGENT):
        session, _, address = agent.partition(" ")
    proxies = playground.settings.proxies
    lines = request.headers.getlist("x-forwarded-for")  # some proxies add one to that of the visitor
    passed = [part.strip() for part in ",".join(lines).split(",")]
    if proxies and len(passed) >= proxies and passed[-proxies]:
        address = passed[-proxies]
    return Person(hashlib.sha256(_SALT + _network(address).encode()).hexdigest()[:16], session)


def _network(address: str) -> str:
    """What one household has: an IPv4 address, or the 64 bits in front of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def check_upload(playground: Playground, request: gr.Request, size: int) -> None:
    """Raise UserError if this address has uploaded too much within an hour."""
    person = person_of(playground, request)
    playground.crowd.count(person, "MiB of files", UPLOADED_MIB_AN_HOUR, 1 + (size >> 20))


def new_visitor(playground: Playground, request: gr.Request) -> str:
    """A signed id. Raises UserError for the many-th within an hour."""
    playground.crowd.count(person_of(playground, request), "visitor ids", VISITORS_AN_HOUR)
    return playground.new_visitor()


def known_visitor(playground: Playground, visitor: object) -> str:
    """The id, if this server gave it. Raises UserError."""
    if not playground.is_visitor(visitor):
        raise UserError("This visitor id is not of this server; reload the page, or ask the API's /visitor for one.")
    return visitor


def voter_of(playground: Playground, visitor: object, account: gr.OAuthProfile | None) -> tuple[str, str]:
    """(who votes, by which way) on the page: a person of the Hub is one voter in every browser, known by the number of
    the account, of which only a keyed hash is stored; else it is this browser's visitor. Raises UserError."""
    if account and playground.settings.login:
        return f"account {account['sub']}", "login"
    return known_visitor(playground, visitor), "page"


def place_in_words(before: int) -> str:
    """What a page says while its run waits."""
    if before == 0:
        return "Your run is the next one; it begins by itself."
    return f"{before} {'run is' if before == 1 else 'runs are'} before yours; it begins by itself."


@dataclass
class Watch:
    """A page that follows a run which it did not begin."""

    over: threading.Event = field(default_factory=threading.Event)
    by_hand: bool = False
    """Whether the person ended it; else something else has taken its place."""


class Sessions:
    """Which runs each page has under way in one tab, and which it follows."""

    def __init__(self, playground: Playground):
        self.playground = playground
        self._tickets: dict[str, set[Ticket]] = {}
        self._watches: dict[str, Watch] = {}

    @contextmanager
    def begin(self, request: gr.Request, lanes: int, tokens: int) -> Iterator[Ticket]:
        """A run of this session with so many lanes, and tokens in all branches; left in whatever way, it is stopped.
        Raises UserError if that is too much for one person now."""
        session = request.session_hash
        with self.playground.crowd.enter(person_of(self.playground, request), lanes, tokens) as ticket:
            self._tickets.setdefault(session, set()).add(ticket)
            try:
                yield ticket
            finally:
                mine = self._tickets.get(session, set())
                mine.discard(ticket)
                if not mine:
                    self._tickets.pop(session, None)

    def is_last(self, ticket: Ticket) -> bool:
        """Whether nothing has taken the place of this one."""
        return self._tickets.get(ticket.person.session, set()) <= {ticket}

    @contextmanager
    def watch(self, session: str) -> Iterator[Watch]:
        """Follow a run that goes on without this session, until `stop`."""
        watch = self._watches[session] = Watch()
        try:
            yield watch
        finally:
            if self._watches.get(session) is watch:
                del self._watches[session]

    def stop(self, session: str, by_hand: bool = False) -> None:
        """Stop all that this session runs, and let it follow nothing."""
        for ticket in list(self._tickets.get(session, ())):
            ticket.stop()
        if watch := self._watches.get(session):
            watch.by_hand = by_hand
            watch.over.set()
