"""The service: what is in memory, runs under way, the archive, and what methods there are."""

from playground.service.crowd import NOBODY, Crowded, Person, Ticket, size_of
from playground.service.methods import list_methods, list_scorers
from playground.service.playground import Playground
from playground.service.running import Continuation, LaneRun, Run

__all__ = [
    "NOBODY",
    "Continuation",
    "Crowded",
    "LaneRun",
    "Person",
    "Playground",
    "Run",
    "Ticket",
    "list_methods",
    "list_scorers",
    "size_of",
]
