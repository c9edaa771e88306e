"""Runs in SQLite: each is written once, whole, when it ends."""

from __future__ import annotations

import json
from typing import Any

from playground.errors import UserError, shown
from playground.record import LaneRecord, RunRecord, upgraded
from playground.store.connection import Connection

_COST = ("generated_tokens", "forward_tokens", "forward_passes", "seconds")
_LISTED = 300
"""Characters of a prompt in the list of runs."""
_OPEN = """(origin <> 'arena'
    or exists (select 1 from battles join votes on votes.battle = battles.id where battles.run = runs.id))"""
"""Not a battle's run that waits for its vote: it would tell who wrote what."""
_JSON = ("options", "begin", "models", "token_ids", "detail")


class RunStore:
    """Runs of a database."""

    def __init__(self, connection: Connection):
        self._db, self._reading, self._writing = connection.db, connection.reading, connection.writing

    def save(self, run: RunRecord) -> None:
        """Write a finished run: its own fields and `lanes`, all or nothing."""
        lanes = [
            {
                "run": run["id"],
                "position": position,
                **{k: v for k, v in lane.items() if k not in ("cost", *_JSON)},
                **{k: _in_pieces(lane[k]) for k in _JSON},
                **{k: lane["cost"][k] for k in _COST},
            }
            for position, lane in enumerate(run["lanes"])
        ]
        row = {k: v for k, v in run.items() if k != "lanes"} | {n: json.dumps(run[n]) for n in ("stop", "earlier")}
        with self._writing():
            self._db["runs"].insert(row)
            self._db["lanes"].insert_all(lanes)

    def delete(self, run_id: str) -> None:
        """Delete a run, if there is one of that id."""
        with self._writing():
            self._db.execute("delete from lanes where run = ?", [run_id])
            self._db.execute("delete from runs where id = ?", [run_id])

    def has(self, run_id: str) -> bool:
        """Whether there is a run of that id."""
        with self._reading():
            return bool(list(self._db.query("select 1 from runs where id = ?", [run_id])))

    def prompt_of(self, run_id: str) -> str | None:
        """The prompt of a run, or None if there is none of that id that may be opened."""
        with self._reading():
            rows = self._db.query(f"select prompt from runs where id = ? and {_OPEN}", [run_id])
            return next((row["prompt"] for row in rows), None)

    def load(self, run_id: str, unvoted: bool = False) -> RunRecord:
        """A run as it was saved. Raises UserError if there is none of that id; of a battle that waits for its vote
        there is none but for the arena itself (`unvoted`)."""
        with self._reading():
            rows = list(self._db.query(f"select * from runs where id = ? and (? or {_OPEN})", [run_id, unvoted]))
            lanes = list(self._db.query("select * from lanes where run = ? order by position", [run_id]))
        if not rows:
            raise UserError(f"There is no run {shown(run_id)} here; it may have been made on another server.")
        return {
            **rows[0],
            **{name: json.loads(rows[0][name]) for name in ("stop", "earlier")},
            "lanes": [_lane(lane) for lane in lanes],
        }

    def recent(self, origin: str | None = None, search: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """The newest runs, of one origin or all, whose prompt holds `search`: id, created, the
        beginning of the prompt, status, methods."""
        # The arena's runs stay out: before the vote they would tell who wrote what.
        where = "origin <> 'arena' and instr(lower(prompt), lower(:search)) > 0" + (
            " and origin = :origin" if origin is not None else ""
        )
        query = f"""
            select id, created, substr(prompt, 1, {_LISTED}) as prompt, status,
                   (select group_concat(method, ', ') from
                       (select method from lanes where run = runs.id order by position)) as methods
            from runs where {where} order by created desc, rowid desc limit :limit"""
        with self._reading():
            return list(self._db.query(query, {"search": search, "origin": origin, "limit": limit}))


def _in_pieces(value: Any) -> str:
    """JSON, written part by part: one call over a large tree would hold up all other threads as long as it takes."""
    if isinstance(value, dict):
        parts = (f"{json.dumps(str(key), ensure_ascii=False)}: {_in_pieces(part)}" for key, part in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list):
        return f"[{', '.join(json.dumps(part, ensure_ascii=False) for part in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _lane(row: dict[str, Any]) -> LaneRecord:
    plain = {k: v for k, v in row.items() if k not in ("run", "position", *_COST, *_JSON)}
    told = {k: json.loads(row[k]) for k in _JSON if row[k] is not None}  # older lanes say nothing of a beginning
    return upgraded({**plain, **told, "cost": {k: row[k] for k in _COST}})
