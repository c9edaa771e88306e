"""Snapshots: what must survive the loss of the database, written elsewhere as parts that are only ever added.

A part is a text: a line with FORMAT and the checksum of what follows, then one record a line. A record is a vote (as a
flat row), a judgement, an act of the owner, or a deletion. Parts may be taken in any order and any number of times:
votes are known by their battle (reasons may follow), of judgements and acts the newest one holds, and a deletion holds
for all that is older than it. Triggers of the database keep an outbox of what no part has yet.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from playground.errors import UserError
from playground.jsonl import as_lines
from playground.store.ballots import checked
from playground.store.connection import Connection
from playground.store.judgements import FIELDS, KEY, deletion_key
from playground.store.votes import VoteStore

FORMAT = "realign-playground snapshot 1"
LARGEST = 16 << 20
"""Bytes of a part that is read."""
_FULL = 4 << 20
"""Bytes at which a part is full; the last record may go over it."""
_MOST = 1000
"""Records of a part."""


def _as_stored(time: str) -> str:
    """The time, if it is written as the store writes it: only then the order of texts is the order of times."""
    if datetime.fromisoformat(time).isoformat(timespec="milliseconds") != time or not time.endswith("+00:00"):
        raise ValueError("not a time in UTC with milliseconds")
    return time


Time = Annotated[str, AfterValidator(_as_stored)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class VoteRecord(_Record):
    """A vote; `imported` tells that it came from a file."""

    kind: Literal["vote"]
    imported: bool
    vote: dict[str, Any]


class JudgementRecord(_Record):
    """A mark as `store.judgements` keeps it."""

    kind: Literal["judgement"]
    voter: str
    question: str
    context: str
    answer: str
    fingerprint: str
    variant: str
    log_likelihood: float
    p_correct: float
    score: float
    right: bool
    run: str
    created: Time


class ActRecord(_Record):
    """What an owner did to votes; the newest `hide` or `show` of a battle holds."""

    kind: Literal["act"]
    act: str
    target: str
    reason: str
    created: Time


class DeletionRecord(_Record):
    """All of a voter, or a judgement (`deletion_key`), is deleted that was given until then."""

    kind: Literal["deletion"]
    what: Literal["voter", "judgement"]
    key: str
    created: Time


Record = VoteRecord | JudgementRecord | ActRecord | DeletionRecord
_RECORD = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


class Damaged(UserError):
    """A part that is none, or not whole."""


class Part(NamedTuple):
    """A part to be written: its content (none if all was deleted since), and the last entry of the outbox in it."""

    content: bytes
    until: int


def pack(records: list[dict[str, Any]]) -> bytes:
    """Records as the content of a part."""
    lines = as_lines(records)
    return as_lines([{"format": FORMAT, "sha256": hashlib.sha256(lines).hexdigest()}]) + lines


def unpack(content: bytes) -> list[Record]:
    """The records of a part, every one checked. Raises Damaged."""
    head, _, lines = content.partition(b"\n")
    try:
        told = json.loads(head)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError
    except ValueError:  # also what is not UTF-8
        raise Damaged("it is no snapshot of this version") from None
    if told.get("sha256") != hashlib.sha256(lines).hexdigest():
        raise Damaged("it is damaged or not whole: its checksum is another one")
    found = []
    for number, line in enumerate(lines.split(b"\n")[:-1], 1):
        try:
            record = _RECORD.validate_json(line)
            if isinstance(record, VoteRecord):
                record.vote = checked(record.vote, number)
        except (ValidationError, UserError):
            raise Damaged(f"record {number} is not one of this version, or damaged") from None
        found.append(record)
    return found


class SnapshotStore:
    """What of a database is in parts and what is not."""

    def __init__(self, connection: Connection):
        self._db, self._reading, self._writing = connection.db, connection.reading, connection.writing
        self._votes = VoteStore(connection)

    def begin(self, place: str) -> None:
        """Parts lie at this place. If they lay elsewhere before, all is to be saved anew."""
        with self._writing():
            known = [row["value"] for row in self._db.query("select value from server where name = 'snapshots'")]
            if known != [place]:
                self._db["server"].insert({"name": "snapshots", "value": place}, pk="name", replace=True)
                self._db.execute("delete from parts")
                self._refill()

    def refill(self) -> None:
        """Everything is to be saved anew."""
        with self._writing():
            self._refill()

    def _refill(self) -> None:
        self._db.execute("delete from outbox")
        for kind in _READERS:
            self._db.execute(f"insert into outbox (kind, row) select '{kind}', rowid from {kind}")

    def unsaved(self) -> dict[str, int]:
        """How many votes, judgements, acts and deletions no part has yet; those that have none are left out."""
        with self._reading():
            rows = self._db.query("select kind, count(distinct row) as n from outbox group by kind")
            return {row["kind"]: row["n"] for row in rows}

    def next_part(self, after: int = 0) -> Part | None:
        """The next part to be written, of what the outbox holds after an entry; None if there is nothing."""
        with self._reading():
            query = "select id, kind, row from outbox where id > ? order by id limit ?"
            entries = list(self._db.query(query, [after, _MOST]))
        if not entries:
            return None
        rows = {kind: [e["row"] for e in entries if e["kind"] == kind] for kind in _READERS}
        known = {kind: read(self, rows[kind]) for kind, read in _READERS.items() if rows[kind]}
        records, size, until = [], 0, after
        for entry in entries:
            # None there: it was deleted since. Later entries of the same row find nothing either.
            if record := known[entry["kind"]].pop(entry["row"], None):
                records.append(record)
                size += len(as_lines([record]))
            until = entry["id"]
            if size >= _FULL:
                break
        return Part(pack(records) if records else b"", until)

    def _vote_records(self, rows: list[int]) -> dict[int, dict[str, Any]]:
        battles = self._where(
            """select v.rowid, v.battle, r.origin = 'import' as imported
            from votes v join battles b on b.id = v.battle join runs r on r.id = b.run where v.rowid in {rows}""",
            rows,
        )
        flat = {row["battle"]: row for row in self._votes.rows(hidden=True, battles=[b["battle"] for b in battles])}
        return {
            b["rowid"]: {"kind": "vote", "imported": bool(b["imported"]), "vote": flat[b["battle"]]}
            for b in battles
            if b["battle"] in flat
        }

    def _judgement_records(self, rows: list[int]) -> dict[int, dict[str, Any]]:
        found = self._where("select rowid, * from judgements where rowid in {rows}", rows)
        return {
            row["rowid"]: {"kind": "judgement"} | {name: row[name] for name in FIELDS} | {"right": bool(row["right"])}
            for row in found
        }

    def _act_records(self, rows: list[int]) -> dict[int, dict[str, Any]]:
        found = self._where("select id as rowid, act, target, reason, created from acts where id in {rows}", rows)
        return {row.pop("rowid"): {"kind": "act"} | row for row in found}

    def _deletion_records(self, rows: list[int]) -> dict[int, dict[str, Any]]:
        found = self._where("select rowid, what, key, created from deletions where rowid in {rows}", rows)
        return {row.pop("rowid"): {"kind": "deletion"} | row for row in found}

    def _where(self, query: str, rows: list[int]) -> list[dict[str, Any]]:
        with self._reading():
            query = query.format(rows="(select value from json_each(:rows))")
            return list(self._db.query(query, {"rows": json.dumps(rows)}))

    def saved(self, names: list[str], until: int) -> None:
        """The outbox is in these parts up to an entry."""
        with self._writing():
            self._db.execute("delete from outbox where id <= ?", [until])
            self._db["parts"].insert_all(({"name": name} for name in names), ignore=True)

    def known(self) -> set[str]:
        """The names of the parts whose records are all here."""
        with self._reading():
            return {row["name"] for row in self._db["parts"].rows}

    def take(self, name: str, records: list[Record]) -> int:
        """Keep what is new of a part's records, all or nothing; returns how many votes are new. Raises Damaged."""
        try:
            with self._writing():
                last = next(self._db.query("select coalesce(max(id), 0) as id from outbox"))["id"]
                new = sum(self._take(record) for record in records)
                self._db.execute("delete from outbox where id > ?", [last])
                self._db["parts"].insert({"name": name}, ignore=True)
        except sqlite3.IntegrityError as error:
            raise Damaged(f"its records contradict what is here ({error})") from None
        return new

    def _take(self, record: Record) -> bool:
        """Inside a transaction: whether this is a vote that is new."""
        match record:
            case VoteRecord(vote=vote):
                if self._deleted("voter", vote["voter"], vote["created"]):
                    return False
                new = self._votes.insert(vote, "import" if record.imported else "arena")
                if not new and (vote["reasons"] or vote["note"]):  # they may follow a vote
                    self._db.execute(
                        "update votes set reasons = ?, note = ? where battle = ?",
                        [json.dumps(vote["reasons"]), vote["note"], vote["battle"]],
                    )
                self._hide(vote["battle"])
                return new
            case JudgementRecord():
                self._judge(record.model_dump(exclude={"kind"}))
            case ActRecord():
                row = record.model_dump(exclude={"kind"})
                same = " and ".join(f"{name} = :{name}" for name in row)
                if not list(self._db.query(f"select 1 from acts where {same}", row)):
                    self._db["acts"].insert(row)
                    self._hide(record.target)
            case DeletionRecord(what=what, key=key, created=created):
                if not self._deleted(what, key, created):
                    self._db["deletions"].insert(record.model_dump(exclude={"kind"}), replace=True)
                if what == "voter":
                    self._votes.erase(key, created)
                else:
                    self._unjudge(key, created)
        return False

    def _deleted(self, what: str, key: str, created: str) -> bool:
        query = "select 1 from deletions where what = ? and key = ? and created >= ?"
        return bool(list(self._db.query(query, [what, key, created])))

    def _hide(self, battle: str) -> None:
        """Hide or show a vote as the newest act on it says, if there is one."""
        self._db.execute(
            """update votes set hidden = newest.act = 'hide' from (
                   select act from acts where target = :battle and act in ('hide', 'show')
                   order by created desc, id desc limit 1) as newest
               where battle = :battle""",
            {"battle": battle},
        )

    def _judge(self, row: dict[str, Any]) -> None:
        deleted = self._deleted("voter", row["voter"], row["created"])
        if deleted or self._deleted("judgement", deletion_key(row), row["created"]):
            return
        same = " and ".join(f"{name} = :{name}" for name in KEY)
        if not list(self._db.query(f"select 1 from judgements where {same} and created >= :created", row)):
            self._db["judgements"].insert(row, pk=KEY, replace=True)

    def _unjudge(self, key: str, created: str) -> None:
        theirs = "select rowid, * from judgements where voter = ? and created <= ?"
        for row in list(self._db.query(theirs, [key.partition(" ")[0], created])):
            if deletion_key(row) == key:
                self._db.execute("delete from judgements where rowid = ?", [row["rowid"]])


_READERS: dict[str, Callable[[SnapshotStore, list[int]], dict[int, dict[str, Any]]]] = {
    "votes": SnapshotStore._vote_records,
    "judgements": SnapshotStore._judgement_records,
    "acts": SnapshotStore._act_records,
    "deletions": SnapshotStore._deletion_records,
}
