"""The database's shape, as steps that are only ever appended."""

from __future__ import annotations

import secrets

from sqlite_utils import Database, Migrations

migrations = Migrations("playground")


@migrations()
def m001_runs_and_lanes(db: Database) -> None:
    db["runs"].create(
        {
            "id": str,
            "created": str,
            "origin": str,
            "prompt": str,
            "system": str,
            "seed": int,
            "max_new_tokens": int,
            "stop": str,
            "status": str,
            "software": str,
        },
        pk="id",
        not_null={"created", "prompt", "status"},
    )
    db["runs"].create_index(["origin", "created"])
    db["lanes"].create(
        {
            "run": str,
            "position": int,
            "method": str,
            "status": str,
            "options": str,
            "models": str,
            "text": str,
            "token_ids": str,
            "finish_reason": str,
            "error": str,
            "generated_tokens": int,
            "forward_tokens": int,
            "forward_passes": int,
            "seconds": float,
            "detail": str,
        },
        pk=("run", "position"),
        foreign_keys=[("run", "runs", "id")],
        not_null={"method", "options"},
    )


@migrations()
def m002_earlier_turns(db: Database) -> None:
    db["runs"].add_column("earlier", str, not_null_default="[]")


@migrations()
def m003_battles_and_votes(db: Database) -> None:
    db["battles"].create(
        {"id": str, "run": str, "voter": str, "created": str, "first": int, "category": str},
        pk="id",
        foreign_keys=[("run", "runs", "id")],
        not_null={"run", "voter", "created", "first"},
    )
    db.execute("""
        create table votes (
            battle text primary key references battles(id),
            choice text not null check (choice in ('a', 'b', 'tie', 'both_bad')),
            reasons text not null,
            note text not null,
            created text not null,
            hidden integer not null default 0)""")
    db["acts"].create(
        {"id": int, "created": str, "act": str, "target": str, "reason": str}, pk="id", not_null={"created", "act"}
    )


@migrations()
def m004_secret(db: Database) -> None:
    db["server"].create({"name": str, "value": str}, pk="name", not_null={"value"})
    db["server"].insert({"name": "secret", "value": secrets.token_hex(32)})


@migrations()
def m005_beginning_of_a_lane(db: Database) -> None:
    db["lanes"].add_column("begin", str)


@migrations()
def m006_new_secret(db: Database) -> None:
    """The one before was sent to every browser."""
    db["server"].upsert({"name": "secret", "value": secrets.token_hex(32)}, pk="name")


@migrations()
def m007_judgements(db: Database) -> None:
    db.execute("""
        create table judgements (
            voter text not null,
            question text not null,
            context text not null,
            answer text not null,
            fingerprint text not null,
            variant text not null,
            log_likelihood real not null,
            p_correct real not null,
            score real not null,
            "right" integer not null check ("right" in (0, 1)),
            run text not null,
            created text not null,
            primary key (voter, question, context, answer, fingerprint))""")


@migrations()
def m008_way_of_a_vote(db: Database) -> None:
    """Votes from before were given on the page, as far as anybody knows."""
    db["votes"].add_column("way", str, not_null_default="page")


@migrations()
def m009_outbox(db: Database) -> None:
    """What is to be written to a snapshot. Triggers note it, so that no writer, of another process either, forgets."""
    db["parts"].create({"name": str}, pk="name")
    db["deletions"].create({"what": str, "key": str, "created": str}, pk=("what", "key"), not_null={"created"})
    db.execute("create table outbox (id integer primary key autoincrement, kind text not null, row integer not null)")
    for kind in ("votes", "judgements", "acts", "deletions"):
        db.execute(f"insert into outbox (kind, row) select '{kind}', rowid from {kind}")
        db.execute(f"""
            create trigger outbox_{kind} after insert on {kind}
            begin insert into outbox (kind, row) values ('{kind}', new.rowid); end""")


@migrations()
def m010_prepared_battles(db: Database) -> None:
    """Runs that were written while nobody waited, each for one battle."""
    db["prepared"].create(
        {"run": str, "category": str, "created": str},
        pk="run",
        foreign_keys=[("run", "runs", "id")],
        not_null={"category", "created"},
    )


@migrations()
def m011_reasons_reach_snapshots(db: Database) -> None:
    """Reasons that follow a vote are written to a snapshot, too."""
    db.execute("""
        create trigger if not exists outbox_explained after update of reasons, note on votes
        begin insert into outbox (kind, row) values ('votes', new.rowid); end""")
