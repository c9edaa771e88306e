"""Several generators of requests as one: what they ask for in a round goes to the engine as one list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from playground.engine.engine import Asking


def together(generators: Iterable[Asking]) -> Asking:
    """Run generators side by side, like asyncio.gather; returns their results in order. Each round merges the requests
    of all that still run and hands each its own answers.

    What is thrown in (Stop, a full store) is thrown into each of them before it goes on; an error of one closes the
    others.
    """
    running = dict(enumerate(generators))
    results: list[Any] = [None] * len(running)
    answers: dict[int, list[Any] | None] = dict.fromkeys(running)
    try:
        while running:
            asked: dict[int, list[Any]] = {}
            for number, generator in list(running.items()):
                try:
                    asked[number] = generator.send(answers[number])
                except StopIteration as end:
                    results[number] = end.value
                    del running[number]
            if not running:
                break
            try:
                given = iter((yield [request for requests in asked.values() for request in requests]))
            except Exception as error:
                _throw(running, error)
                raise
            answers = {number: [next(given) for _ in requests] for number, requests in asked.items()}
    finally:
        for generator in running.values():
            generator.close()
    return results


def _throw(running: dict[int, Asking], error: Exception) -> None:
    for generator in running.values():
        try:
            generator.throw(error)
        except (StopIteration, type(error)):
            continue
