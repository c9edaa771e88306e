"""Battles and votes: two answers of one run, shown without their methods, and what a person said of them.

A flat row of a vote holds all of it: the battle, the vote, the prompt, and each side's method, options, models, answer
and price; side a is the one that was shown first. An abstention is told by its finish_reason, "abstained", and by the
answer that was withheld.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playground.errors import UserError, shown
from playground.store.connection import Connection

CHOICES = ("a", "b", "tie", "both_bad")
WAYS = ("page", "login", "api", "import")
"""How a vote came: on the page, there from somebody who is signed in, by the API, or from a file of another server."""
REASONS = ("safer", "more helpful", "more truthful", "better written")
_SIDE = ("method", "options", "models", "text", "finish_reason", "seconds", "forward_tokens")
FIELDS = (
    *("battle", "created", "voter", "choice", "reasons", "note", "category", "hidden", "way"),
    *("prompt", "system", "earlier", "seed", "max_new_tokens", "software"),
    *(f"{name}_{side}" for side in "ab" for name in (*_SIDE, "withheld")),
)
"""The columns of a flat row."""
JSON_FIELDS = ("reasons", "earlier", "options_a", "options_b", "models_a", "models_b")


_JOINED = """votes v join battles b on b.id = v.battle
                 join lanes la on la.run = b.run and la.position = b.first
                 join lanes lb on lb.run = b.run and lb.position = 1 - b.first"""


def _columns(*names: str) -> str:
    """Columns of both lanes of a battle."""
    return ", ".join(f"l{side}.{name} as {name}_{side}" for side in "ab" for name in names)


_WITHHELD = ", ".join(
    f"""case when l{side}.finish_reason = 'abstained' then coalesce(json_extract(l{side}.detail, '$.withheld'), '')
        else '' end as withheld_{side}"""
    for side in "ab"
)


def now() -> str:
    """The time as it is stored: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class VoteStore:
    """Battles and votes of a database. A vote is on the disk when `vote` returns."""

    def __init__(self, connection: Connection):
        self._db, self._reading, self._writing = connection.db, connection.reading, connection.writing

    def add_battle(self, battle: str, run: str, voter: str, first: int, category: str = "") -> None:
        """Note a battle between the two lanes of a saved run; lane `first` (0 or 1) is shown as A."""
        row = {"id": battle, "run": run, "voter": voter, "created": now(), "first": first, "category": category}
        with self._writing():
            self._db["battles"].insert(row)

    def prepare(self, run: str, category: str = "") -> None:
        """Keep a saved run as a battle for whoever asks next."""
        with self._writing():
            self._db["prepared"].insert({"run": run, "category": category, "created": now()})

    def prepared(self) -> int:
        """How many battles are ready."""
        with self._reading():
            return self._db["prepared"].count

    def hand_out(self, battle: str, voter: str, first: int) -> str | None:
        """Give the oldest battle that is ready to this voter, as `add_battle` would, and to nobody else: other
        processes wait for the transaction. Returns its run; None where none is ready."""
        with self._writing():
            oldest = "delete from prepared where run = (select run from prepared order by created limit 1)"
            for run, category in self._db.execute(f"{oldest} returning run, category").fetchall():
                row = {"id": battle, "run": run, "voter": voter, "created": now(), "first": first, "category": category}
                self._db["battles"].insert(row)
                return run
        return None

    def battle(self, battle: str) -> dict[str, Any]:
        """A battle's row. Raises UserError if there is none."""
        with self._reading():
            rows = list(self._db.query("select * from battles where id = ?", [battle]))
        if not rows:
            raise UserError(f"There is no battle {shown(battle)} here; ask for a new one.")
        return rows[0]

    def vote(self, battle: str, choice: str, reasons: list[str], note: str, way: str) -> None:
        """Keep a vote. Raises UserError if the battle has one already."""
        row = {
            "battle": battle,
            "choice": choice,
            "reasons": json.dumps(reasons),
            "note": note,
            "created": now(),
            "way": way,
        }
        try:
            with self._writing():
                self._db["votes"].insert(row)
        except sqlite3.IntegrityError:
            raise UserError("This battle has been voted on; a vote counts once. Ask for the next one.") from None

    def explain(self, battle: str, reasons: list[str], note: str) -> None:
        """Keep why a vote was given, in place of what was said before. Raises UserError if there is no vote."""
        with self._writing():
            changed = self._db.execute(
                "update votes set reasons = ?, note = ? where battle = ?", [json.dumps(reasons), note, battle]
            ).rowcount
        if not changed:
            raise UserError("This battle has no vote yet; reasons are given with a vote or after it.")

    def counts_since(self, when: str, voter: str | None = None) -> int:
        """Battles begun since a time, by one voter or by all."""
        where, values = "created >= ?", [when]
        if voter is not None:
            where, values = f"{where} and voter = ?", [when, voter]
        with self._reading():
            return next(self._db.query(f"select count(*) as n from battles where {where}", values))["n"]

    def count(self) -> int:
        """How many votes there are that are not hidden."""
        with self._reading():
            return self._db["votes"].count_where("not hidden")

    def compared(self) -> list[dict[str, Any]]:
        """How often which lanes met and how it ended: {"method_a", "options_a", "method_b", "options_b", "choice",
        "votes"}, hidden votes left out."""
        return self._read(f"""
            select {_columns("method", "options")}, v.choice, count(*) as votes
            from {_JOINED} where not v.hidden group by 1, 2, 3, 4, 5""")

    def judgments(self, category: str = "", reason: str = "", ways: tuple[str, ...] = WAYS) -> list[dict[str, Any]]:
        """What a ranking needs of every vote that is not hidden and came in one of these ways, or of those on one
        category of prompts, or given for one reason: {"voter", "choice", and for each side method, options, seconds,
        forward_tokens, length (of the answer, in characters)}. Options are JSON texts."""
        query = f"""
            select b.voter, v.choice, {_columns("method", "options", "seconds", "forward_tokens")},
                   length(la.text) as length_a, length(lb.text) as length_b
            from {_JOINED} join runs r on r.id = b.run
            where not v.hidden and case when r.origin = 'import' then 'import' else v.way end in
                      (select value from json_each(:ways)) and (:category = '' or b.category = :category)
                  and (:reason = '' or exists (select 1 from json_each(v.reasons) where value = :reason))"""
        return self._read(query, category=category, reason=reason, ways=json.dumps(ways))

    def latest(self, count: int) -> list[dict[str, Any]]:
        """The newest votes, hidden ones too, in short: {"battle", "created", "voter", "method_a", "options_a" (a JSON
        text), "method_b", "options_b", "choice", "reasons" (a JSON text), "prompt", "note", "hidden"}."""
        return self._read(
            f"""select b.id as battle, v.created, b.voter, {_columns("method", "options")}, v.choice, v.reasons,
                   r.prompt, v.note, v.hidden
            from {_JOINED} join runs r on r.id = b.run order by v.created desc, v.rowid desc limit :count""",
            count=count,
        )

    def voters(self, count: int) -> list[dict[str, Any]]:
        """Who voted most: {"voter", "votes", "share" (of all votes), "last"}; hidden votes left out."""
        return self._read(
            f"""select b.voter, count(*) as votes, 1.0 * count(*) / sum(count(*)) over () as share,
                   max(v.created) as last
            from {_JOINED} where not v.hidden group by b.voter order by votes desc, b.voter limit :count""",
            count=count,
        )

    def new_voters(self, hour: str, week: str) -> dict[str, Any]:
        """How many voters gave their first vote since `hour` ("now"), how many between `week` and that ("before"), and
        in how many hours, since there are votes ("hours"); hidden votes too."""
        [found] = self._read(
            """select coalesce(sum(first >= :hour), 0) as now,
                   coalesce(sum(first >= :week and first < :hour), 0) as before,
                   24 * (julianday(:hour) - julianday(max(:week, min(first)))) as hours
            from (select min(v.created) as first from votes v join battles b on b.id = v.battle group by b.voter)""",
            hour=hour,
            week=week,
        )
        return found

    def _read(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with self._reading():
            return list(self._db.query(query, values))

    def rows(
        self,
        method: str | None = None,
        since: str | None = None,
        hidden: bool = False,
        voter: str | None = None,
        battles: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Flat rows, the oldest first: those in which `method` took part, made since a time, of one voter, of these
        battles; hidden ones only if asked for."""
        query = f"""
            select b.id as battle, v.created, b.voter, v.choice, v.reasons, v.note, b.category, v.hidden, v.way,
                   r.prompt, r.system, r.earlier, r.seed, r.max_new_tokens, r.software, {_columns(*_SIDE)}, {_WITHHELD}
            from {_JOINED} join runs r on r.id = b.run
            where (:hidden or not v.hidden) and (:since is null or v.created >= :since)
                  and (:method is null or :method in (la.method, lb.method)) and (:voter is null or b.voter = :voter)
                  and (:battles is null or b.id in (select value from json_each(:battles)))
            order by v.created, v.rowid"""
        named = None if battles is None else json.dumps(battles)
        found = self._read(query, hidden=hidden, since=since, method=method, voter=voter, battles=named)
        return [{k: json.loads(v) if k in JSON_FIELDS else v for k, v in row.items()} for row in found]

    def take(self, rows: list[dict[str, Any]]) -> int:
        """Keep flat rows that came from elsewhere; those whose battle is known are passed over. Returns how many are
        new. All or nothing."""
        with self._writing():
            return sum(self.insert(row, "import") for row in rows)

    def insert(self, row: dict[str, Any], origin: str) -> bool:
        """Inside a transaction: keep a flat row with a run of this origin, unless its battle is known. Returns whether
        it is new."""
        if list(self._db.query("select 1 from battles where id = ?", [row["battle"]])):
            return False
        run = f"battle-{row['battle']}"
        kept = ("prompt", "system", "seed", "max_new_tokens", "software", "created")
        self._db["runs"].insert(
            {k: row[k] for k in kept}
            | {"id": run, "origin": origin, "stop": "[]", "status": "done"}
            | {"earlier": json.dumps(row["earlier"])}
        )
        for position, side in enumerate("ab"):
            self._db["lanes"].insert(
                {
                    "run": run,
                    "position": position,
                    "status": "done",
                    "token_ids": "[]",
                    "detail": json.dumps({"tokens": []} | _decision(row, side)),
                }
                | {name: row[f"{name}_{side}"] for name in _SIDE if f"{name}_{side}" not in JSON_FIELDS}
                | {name: json.dumps(row[f"{name}_{side}"]) for name in ("options", "models")}
                | {"generated_tokens": 0, "forward_passes": 0, "error": None}
            )
        battle = {k: row[k] for k in ("voter", "created", "category")}
        self._db["battles"].insert(battle | {"id": row["battle"], "run": run, "first": 0})
        vote = {k: row[k] for k in ("battle", "choice", "note", "created", "hidden", "way")}
        self._db["votes"].insert(vote | {"reasons": json.dumps(row["reasons"])})
        return True

    def hide(self, battle: str, hidden: bool, reason: str) -> None:
        """Hide a vote from counts and exports, or show it again; nothing is deleted, and the act is logged."""
        self.battle(battle)
        with self._writing():
            self._db.execute("update votes set hidden = ? where battle = ?", [int(hidden), battle])
            self._note("hide" if hidden else "show", battle, reason)

    def forget(self, voter: str) -> int:
        """Delete all votes, battles and judgements of a voter with their prompts and answers, as the law lets people
        ask; returns how many votes. Logged without the voter's id; the deletion itself is kept with it, for snapshots
        that hold the votes."""
        with self._writing():
            # A clock that was set back must not spare what was given before.
            last = self._db.query(
                """select max(created) as last from (select created from battles where voter = :voter union all
                   select v.created from votes v join battles b on b.id = v.battle where b.voter = :voter union all
                   select created from judgements where voter = :voter)""",
                {"voter": voter},
            )
            until = max(now(), next(last)["last"] or "")
            count = self.erase(voter, until)
            self._db["deletions"].insert({"what": "voter", "key": voter, "created": until}, replace=True)
            self._note("forget", "a voter", f"{count} votes, on request")
        return count

    def erase(self, voter: str, until: str) -> int:
        """Inside a transaction: delete what a voter gave until a time, and return how many votes that was."""
        values = {"voter": voter, "until": until}
        of = "from battles where voter = :voter and created <= :until"
        runs = [row["run"] for row in self._db.query(f"select run {of}", values)]
        count = self._db.execute(f"delete from votes where battle in (select id {of})", values).rowcount
        self._db.execute(f"delete {of}", values)
        for run in runs:
            self._db.execute("delete from lanes where run = ?", [run])
            self._db.execute("delete from runs where id = ?", [run])
        self._db.execute("delete from judgements where voter = :voter and created <= :until", values)
        return count

    def acts(self) -> list[dict[str, Any]]:
        """The log of what owners did to votes, the newest first."""
        with self._reading():
            return list(self._db.query("select * from acts order by id desc"))

    def _note(self, act: str, target: str, reason: str) -> None:
        self._db["acts"].insert({"created": now(), "act": act, "target": target, "reason": reason})


def _decision(row: dict[str, Any], side: str) -> dict[str, Any]:
    """What a lane's detail says of an abstention."""
    abstained = row[f"finish_reason_{side}"] == "abstained"
    return {"abstained": True, "withheld": row[f"withheld_{side}"]} if abstained else {}


@contextmanager
def open_votes(database: Path) -> Iterator[VoteStore]:
    """The votes of a database file, which is closed at the end."""
    connection = Connection(database)
    try:
        yield VoteStore(connection)
    finally:
        connection.close()
