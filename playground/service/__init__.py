"""The service: what is in memory, runs under way, the archive, and what methods there are."""

from playground.service.methods import list_methods, list_scorers
from playground.service.playground import Playground
from playground.service.running import LaneRun, Run

__all__ = ["LaneRun", "Playground", "Run", "list_methods", "list_scorers"]
