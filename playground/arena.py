"""The arena: blind battles between two lanes, votes that count once, and the way from votes to training rows."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import random
import secrets
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from playground.decoders import decoder
from playground.errors import UserError, shown
from playground.ranking import lane_label, leaderboard
from playground.record import RunRecord
from playground.requests import LaneRequest, RunRequest
from playground.service import NOBODY, Person, Playground, size_of
from playground.store.votes import CHOICES, REASONS, WAYS, VoteStore

VALID = timedelta(hours=24)
"""How long a battle can be voted on."""
MAX_NOTE = 2000
TRIES = 4
"""How often two methods may give equal answers before a battle is given up."""
SHARE = 4
"""One address may begin this part of an hour's battles."""

BURST, TIMES_AS_MANY = 10, 5
"""New voters are a burst if there are so many within an hour, and so many times as many as usual."""


class Arena:
    """Battles over a service. Voters are told apart by salted hashes; no address is stored."""

    def __init__(self, playground: Playground):
        self.playground = playground
        self.votes = VoteStore(playground.database)
        self.spec = playground.catalogue.arena
        self.voter = playground.voter
        self._secret = playground.secret
        self._chance = random.SystemRandom()
        if unknown := set(playground.settings.count_votes) - set(WAYS):
            raise UserError(f"PLAYGROUND_COUNT names {shown(min(unknown))}; it may name: {', '.join(WAYS)}.")

    def fresh_prompt(self) -> str:
        """A prompt from the pool."""
        return self._chance.choice(self.spec.prompts).text

    def pair(self) -> tuple[LaneRequest, LaneRequest]:
        """Two different lanes in random order; pairs of which the votes leave most open come up most often.

        What is open of a pair is the variance of its rate of wins, as a Beta distribution over it tells: great for
        pairs that seldom met, and for those that are even; never 0, so that all come up.
        """
        self.playground.memory.discover()
        requests = [LaneRequest.parse(lane) for lane in self.playground.catalogue.arena_lanes]
        lanes = {self.label(r.method, r.options.model_dump()): r for r in requests}
        points: Counter[tuple[str, str]] = Counter()
        for row in self.votes.compared():
            a, b = (self.label(row[f"method_{s}"], json.loads(row[f"options_{s}"])) for s in "ab")
            won = {"a": 1.0, "b": 0.0}.get(row["choice"], 0.5)
            points[a, b] += won * row["votes"]
            points[b, a] += (1 - won) * row["votes"]
        pairs = list(itertools.combinations(lanes, 2))
        weights = [_variance(1 + points[a, b], 1 + points[b, a]) for a, b in pairs]
        chosen = list(self._chance.choices(pairs, weights)[0])
        self._chance.shuffle(chosen)
        return lanes[chosen[0]], lanes[chosen[1]]

    def battle(self, visitor: str, prompt: str | None = "", person: Person = NOBODY) -> dict[str, Any]:
        """Hand out a battle: {"battle", "prompt", "a", "b"}: a signed id and two answers, and nothing that tells which
        method wrote which; one that was prepared where no prompt is given, else one that is run to its end; `person` is
        who waits. Raises UserError, also when a lane failed: an outage is no battle. Two equal answers are none
        either."""
        *_, battle = self.begin(visitor, prompt, person)
        return battle

    def begin(
        self, visitor: str, prompt: str | None = "", person: Person = NOBODY
    ) -> Iterator[int | dict[str, Any] | None]:
        """The same, which yields before the battle how many runs are before its own, and None when that begins."""
        if not isinstance(prompt, str | None):
            raise UserError(f"The prompt is {shown(prompt)}; it must be a text, or empty for one from the pool.")
        voter = self.voter(visitor)
        hour = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds")
        if self.votes.counts_since(hour, voter) >= self.spec.battles_an_hour:
            raise UserError(f"You have begun {self.spec.battles_an_hour} battles within an hour; come back later.")
        if self.votes.counts_since(hour) >= self.spec.battles_an_hour_in_all:
            raise UserError("The arena is full for this hour; come back later.")
        # What one address may take of the hour: invented visitors leave the rest to others.
        self.playground.crowd.count(person, "battles", max(1, self.spec.battles_an_hour_in_all // SHARE))
        battle, first, own = secrets.token_hex(8), secrets.randbelow(2), (prompt or "").strip()
        ready = None if own else self.votes.hand_out(battle, voter, first)
        run = self.playground.open_run(ready, unvoted=True) if ready else (yield from self._fresh(own, person))
        if not ready:
            self.votes.add_battle(battle, run["id"], voter, first, self.category(run["prompt"]))
        a, b = (run["lanes"][position]["text"] for position in (first, 1 - first))
        yield {"battle": f"{battle}.{self._signature(battle, voter)}", "prompt": run["prompt"], "a": a, "b": b}

    def category(self, prompt: str) -> str:
        """That of a prompt from the pool; "own" for any other."""
        return next((p.category for p in self.spec.prompts if p.text == prompt), "own")

    def request(self, prompt: str) -> RunRequest:
        """Two lanes on a prompt."""
        return RunRequest.checked(
            prompt=prompt, lanes=self.pair(), seed=secrets.randbelow(2**31), max_new_tokens=self.spec.max_new_tokens
        )

    def is_battle(self, run: RunRecord) -> bool:
        """Whether there is something to vote on: two whole answers that differ."""
        return all(lane["status"] == "done" for lane in run["lanes"]) and _differ(run)

    def _fresh(self, own: str, person: Person) -> Generator[int | None, None, RunRecord]:
        """Two different answers, to this prompt or, if it is empty, to one from the pool. Raises UserError."""
        for _ in range(TRIES):
            request = self.request(own or self.fresh_prompt())
            with self.playground.crowd.enter(person, *size_of(request)) as ticket:
                yield from ticket.places()
                yield None
                run = self.playground.compare(request, "arena", person, ticket.hold)
            if any(lane["status"] != "done" for lane in run["lanes"]):
                raise UserError(
                    "One of the two answers could not be written; nothing was counted. Ask for a new battle."
                )
            if _differ(run):
                return run
        raise UserError("The methods gave equal answers; there is nothing to vote on. Try another prompt.")

    def vote(
        self,
        visitor: str,
        signed: str,
        choice: str,
        reasons: list[str] | None = None,
        note: str | None = "",
        way: str = "api",
    ) -> dict[str, Any]:
        """Count a vote that came by `way` (see the store's WAYS) and reveal who wrote what: {"choice", "run",
        "a": {"method", "options", "cost", "label"}, "b"}; a side that abstained has {"withheld"} as well, the answer
        that it did not give.

        Raises UserError for a battle that is unknown, another's, too old, or voted on, and for an unknown choice.
        """
        if choice not in CHOICES:
            raise UserError(f"The vote is {shown(choice)}; it must be one of: {', '.join(CHOICES)}.")
        row, (reasons, note) = self._theirs(visitor, signed), _checked(reasons, note)
        self.votes.vote(row["id"], choice, reasons, note, way)
        run = self.playground.open_run(row["run"])
        sides = [run["lanes"][position] for position in (row["first"], 1 - row["first"])]
        return {"choice": choice, "run": run["id"]} | {
            side: {k: lane[k] for k in ("method", "options", "cost")}
            | {"label": self.label(lane["method"], lane["options"])}
            | ({"withheld": lane["detail"].get("withheld") or ""} if lane["detail"].get("abstained") else {})
            for side, lane in zip("ab", sides, strict=True)
        }

    def explain(self, visitor: str, signed: str, reasons: list[str] | None, note: str | None) -> None:
        """Keep the reasons and the note of a vote that this visitor has given; they take the place of those before.
        Raises UserError."""
        battle = self._theirs(visitor, signed)
        self.votes.explain(battle["id"], *_checked(reasons, note))

    def label(self, method: str, options: dict[str, Any]) -> str:
        """A lane's name in the leaderboard."""
        try:
            fields = decoder(method).options.model_fields
        except UserError:  # a method of another version
            fields = {}
        known = {name: value for name, value in options.items() if name in fields}
        return lane_label(method, known, {name: field.default for name, field in fields.items()})

    def _theirs(self, visitor: str, signed: str) -> dict[str, Any]:
        """The row of a battle that was given to this visitor within a day. Raises UserError."""
        voter = self.voter(visitor)
        battle, _, signature = str(signed).partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(battle, voter).encode()):
            raise UserError("This battle is not yours, or its id was changed; ask for a new one.")
        row = self.votes.battle(battle)
        if row["voter"] != voter:
            raise UserError("This battle is not yours; ask for a new one.")
        if datetime.now(UTC) - datetime.fromisoformat(row["created"]) > VALID:
            raise UserError("This battle is more than a day old; ask for a new one.")
        return row

    def leaderboard(self, category: str = "", reason: str = "", adjust: tuple[str, ...] = ()) -> dict[str, Any]:
        """Strengths from all votes that the settings count, or those on one category of prompts, or those given for one
        reason; `adjust` as in `ranking.leaderboard`."""
        label = cache(lambda method, options: self.label(method, json.loads(options)))
        rows = self.votes.judgments(category, reason, self.playground.settings.count_votes)
        for row in rows:
            for side in "ab":
                row[f"label_{side}"] = label(row[f"method_{side}"], row[f"options_{side}"])
        return leaderboard(rows, adjust)

    def burst(self) -> str:
        """A sentence if the last hour brought far more new voters than the hours of the week before, else nothing."""
        hour, week = (datetime.now(UTC) - timedelta(hours=hours) for hours in (1, 1 + 7 * 24))
        found = self.votes.new_voters(*(when.isoformat(timespec="milliseconds") for when in (hour, week)))
        if found["now"] < BURST:
            return ""
        usual = found["before"] / max(found["hours"] or 0, 1)
        if found["now"] < TIMES_AS_MANY * usual:
            return ""
        usually = "less than 1" if 0 < usual < 1 else f"{usual:.0f}"
        return (
            f"**{found['now']:,} voters of the last hour had never voted before (usually {usually} an hour).** Look at "
            "their votes before you trust the ranking."
        )

    def _signature(self, battle: str, voter: str) -> str:
        return hmac.new(self._secret.encode(), f"{battle} {voter}".encode(), hashlib.sha256).hexdigest()[:32]


def _differ(run: RunRecord) -> bool:
    return len({lane["text"] for lane in run["lanes"]}) > 1


def _checked(reasons: list[str] | None, note: str | None) -> tuple[list[str], str]:
    """What a vote is explained with. Raises UserError."""
    reasons, note = reasons or [], note or ""
    if not isinstance(reasons, list) or not isinstance(note, str):
        raise UserError("The reasons must be a list of texts, and the note a text.")
    if bad := [reason for reason in reasons if reason not in REASONS]:
        raise UserError(f"The reason {shown(bad[0])} is not known; choose from: {', '.join(REASONS)}.")
    if len(note) > MAX_NOTE:
        raise UserError(f"The note is {len(note):,} characters long; at most {MAX_NOTE:,} are kept.")
    return reasons, note


def _variance(wins: float, losses: float) -> float:
    """Of a Beta distribution."""
    both = wins + losses
    return wins * losses / (both**2 * (both + 1))
