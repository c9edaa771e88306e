"""The leaderboard: strengths of methods from pairwise votes (Bradley and Terry, 1952, with ties as in Newman, 2023).

Regularised by half a win and half a loss of every method against an average one, so that an unbeaten one has a finite
strength.
Intervals are bootstrapped by voter: one who votes much counts as one who votes much, not as many people. They are never
narrower than independent votes of that number would make them, so that one voter alone is not taken for certainty.

Adjusted for length or time, strengths are those of a logistic regression in which such a difference between the two
answers has an effect of its own, as in length-controlled AlpacaEval (Dubois et al., 2024, arXiv 2404.04475).
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from typing import Any

import evalica
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from playground.errors import UserError, shown

PRIOR = 0.5
"""Weight of the win and of the loss against the average method."""
ROUNDS = 400
SCALE = 400 / math.log(10)
"""Strengths are read as Elo ratings are: 400 more is ten to one."""
FEW = 30
"""Votes below which a warning says that there are few."""
LARGE_SHARE = 0.3
COVARIATES = {"length": "length", "time": "seconds"}
"""What strengths can be adjusted for, and the field of a row that holds it."""
_WEAK = 1e-3
"""Weight of the pull of effects towards 0, without which none is found where all answers are of one length."""
_AVERAGE = "\0average"


def lane_label(method: str, options: dict[str, Any], defaults: dict[str, Any]) -> str:
    """A lane's name in the leaderboard: its method with the options that are not the default."""
    changed = ",".join(f"{k}={v}" for k, v in options.items() if defaults.get(k) != v)
    return f"{method}:{changed}" if changed else method


def leaderboard(
    rows: list[dict[str, Any]], adjust: tuple[str, ...] = (), rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Any]:
    """rows: {"voter", "choice", "label_a", "label_b", "seconds_a", "forward_tokens_a", "length_a", …}.

    Returns {"votes", "connected", "warnings", "methods": [{"method", "strength", "low", "high", "rank", "wins",
    "losses", "ties", "both_bad", "mean_seconds", "mean_forward_tokens"}]}, the strongest first. low and high bound 95 %
    of the bootstrap; the rank counts the methods that are surely better. "Both bad" tells of no order: it is counted
    apart.

    adjust: some of COVARIATES; there is then also "effects": {covariate: {"points", "low", "high"}}, the points of
    strength that twice as much of it is worth. Raises UserError for another.
    """
    if unknown := [name for name in adjust if name not in COVARIATES]:
        raise UserError(f"Strengths cannot be adjusted for {shown(unknown[0])}, only for: {', '.join(COVARIATES)}.")
    names = sorted({row[side] for row in rows for side in ("label_a", "label_b")})
    counts = {name: Counter() for name in names}
    seconds, forward = defaultdict(list), defaultdict(list)
    tallies: Counter[tuple[str, str, str, str]] = Counter()
    for row in rows:
        a, b, choice = row["label_a"], row["label_b"], row["choice"]
        for name, side in ((a, "a"), (b, "b")):
            seconds[name].append(row[f"seconds_{side}"])
            forward[name].append(row[f"forward_tokens_{side}"])
            kind = {"tie": "ties", "both_bad": "both_bad"}.get(choice) or ("wins" if choice == side else "losses")
            counts[name][kind] += 1
        if choice != "both_bad" and a != b:
            tallies[(row["voter"], a, b, choice)] += 1
    warnings, connected = [], _connected(names, {(a, b) for _, a, b, _ in tallies})
    if not connected:
        warnings.append("Some methods were never compared, not even by way of others; their order means nothing.")
    if len(rows) < FEW:
        warnings.append(f"Below {FEW} votes the ranking says little.")
    voters = Counter(row["voter"] for row in rows)
    if rows and len(rows) >= FEW and (most := max(voters.values()) / len(rows)) > LARGE_SHARE:
        warnings.append(f"One voter gave {most:.0%} of the votes.")
    if not names:
        return {"votes": 0, "connected": True, "warnings": ["There are no votes yet."], "methods": []}
    effects: dict[str, Any] = {}
    if adjust:
        strengths, low, high, effects["effects"] = _adjusted(names, rows, adjust)
    else:
        strengths, draws = _strengths(names, tallies, rounds, seed)
        low, high = np.percentile(draws, [2.5, 97.5], axis=0)
        error = _error_of_independent_votes(names, tallies, strengths)
        low, high = np.minimum(low, strengths - error), np.maximum(high, strengths + error)
    methods = [
        {
            "method": name,
            "strength": round(float(strengths[i]), 1),
            "low": round(float(low[i]), 1),
            "high": round(float(high[i]), 1),
            "rank": 1 + int((low > high[i]).sum()),
            **{kind: counts[name][kind] for kind in ("wins", "losses", "ties", "both_bad")},
            "mean_seconds": statistics.fmean(seconds[name]),
            "mean_forward_tokens": statistics.fmean(forward[name]),
        }
        for i, name in enumerate(names)
    ]
    methods.sort(key=lambda m: -m["strength"])
    return {"votes": len(rows), "connected": connected, "warnings": warnings, "methods": methods, **effects}


def _strengths(names: list[str], tallies: Counter, rounds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(strengths [n], bootstrapped strengths [rounds, n]), centred at 0."""
    kinds = sorted({(a, b, choice) for _, a, b, choice in tallies})
    voters = sorted({voter for voter, *_ in tallies})
    at, who = {kind: i for i, kind in enumerate(kinds)}, {voter: i for i, voter in enumerate(voters)}
    table = np.zeros((len(voters), len(kinds)))
    for (voter, *kind), count in tallies.items():
        table[who[voter], at[tuple(kind)]] += count
    winner = {"a": evalica.Winner.X, "b": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    xs = [a for a, _, _ in kinds] + names * 2
    ys = [b for _, b, _ in kinds] + [_AVERAGE] * 2 * len(names)
    winners = [winner[choice] for _, _, choice in kinds]
    winners += [evalica.Winner.X] * len(names) + [evalica.Winner.Y] * len(names)
    prior = [PRIOR] * 2 * len(names)

    def fit(weights: np.ndarray) -> np.ndarray:
        found = evalica.newman(xs, ys, winners, weights=[*weights, *prior], tolerance=1e-6, limit=1000)
        logs = np.log([found.scores[name] for name in names])
        return SCALE * (logs - logs.mean())

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(voters), np.full(len(voters), 1 / max(1, len(voters))), size=rounds) if voters else []
    draws = [fit(times @ table) for times in drawn] or [np.zeros(len(names))]
    return fit(table.sum(0)), np.array(draws)


def _error_of_independent_votes(names: list[str], tallies: Counter, strengths: np.ndarray) -> np.ndarray:
    """Half the width [n] of 95 % intervals if every vote were another person's: from the curvature of the likelihood,
    the prior's votes included."""
    at, logs = {name: i for i, name in enumerate(names)}, strengths / SCALE
    n = len(names)
    share = expit(logs[:, None] - logs[None, :])
    met = np.zeros((n, n))
    for (_, a, b, _), count in tallies.items():
        met[at[a], at[b]] += count
        met[at[b], at[a]] += count
    weight = met * share * (1 - share)
    chance = expit(logs)
    curvature = np.diag(weight.sum(1) + 2 * PRIOR * chance * (1 - chance)) - weight
    centre = np.eye(n) - 1 / n
    return 1.96 * SCALE * np.sqrt(np.diag(centre @ np.linalg.inv(curvature) @ centre))


def _adjusted(names: list[str], rows: list[dict[str, Any]], adjust: tuple[str, ...]) -> tuple:
    """(strengths [n], low [n], high [n], effects): the likeliest, with 95 % intervals of the sandwich estimator, which
    takes each voter's votes for one observation, or of independent votes where those are wider."""
    rows = [row for row in rows if row["choice"] != "both_bad"]
    n, at = len(names), {name: i for i, name in enumerate(names)}
    x = np.zeros((len(rows), n + len(adjust)))
    for i, row in enumerate(rows):
        x[i, at[row["label_a"]]] += 1
        x[i, at[row["label_b"]]] -= 1
        for k, name in enumerate(adjust, n):
            more, less = (max(row[f"{COVARIATES[name]}_{side}"], 1e-3) for side in "ab")
            x[i, k] = math.log2(more / less)
    y = np.array([{"a": 1.0, "b": 0.0, "tie": 0.5}[row["choice"]] for row in rows])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin, strengths = x @ w, w[:n]
        both = np.logaddexp(0, strengths) + np.logaddexp(0, -strengths)  # a win and a loss against the average
        value = (np.logaddexp(0, margin) - y * margin).sum() + PRIOR * both.sum() + _WEAK / 2 * (w[n:] ** 2).sum()
        slope = (expit(margin) - y) @ x
        slope[:n] += PRIOR * (2 * expit(strengths) - 1)
        slope[n:] += _WEAK * w[n:]
        return value, slope

    w = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    p, q = expit(x @ w), expit(w[:n])
    curvature = (x * (p * (1 - p))[:, None]).T @ x
    curvature += np.diag([*(2 * PRIOR * q * (1 - q)), *[_WEAK] * len(adjust)])
    number = {voter: i for i, voter in enumerate(sorted({row["voter"] for row in rows}))}
    pull = np.zeros((len(number), x.shape[1]))
    np.add.at(pull, [number[row["voter"]] for row in rows], (p - y)[:, None] * x)
    centre = np.eye(x.shape[1])
    centre[:n, :n] -= 1 / n
    inverse = np.linalg.inv(curvature)
    by_voter = np.diag(centre @ inverse @ (pull.T @ pull) @ inverse @ centre.T)
    error = 1.96 * SCALE * np.sqrt(np.maximum(by_voter, np.diag(centre @ inverse @ centre.T)))
    w = SCALE * (centre @ w)
    low, high = w - error, w + error
    effects = {
        name: {"points": round(float(w[k]), 1), "low": round(float(low[k]), 1), "high": round(float(high[k]), 1)}
        for k, name in enumerate(adjust, n)
    }
    return w[:n], low[:n], high[:n], effects


def effects_in_words(found: dict[str, Any]) -> list[str]:
    """What the covariates of a leaderboard are worth, a sentence each."""
    return [
        f"Twice the {name} is worth {e['points']:+.0f} points ({e['low']:.0f} to {e['high']:.0f})."
        for name, e in found.get("effects", {}).items()
    ]


def _connected(names: list[str], pairs: set[tuple[str, str]]) -> bool:
    """Whether every method can be reached from every other over comparisons."""
    reached, edge = set(names[:1]), set(names[:1])
    while edge:
        edge = {b if a in edge else a for a, b in pairs if (a in edge) != (b in edge)} - reached
        reached |= edge
    return len(reached) == len(names)
