"""The methods. A decoder is one file here and one line in this registry; it knows nothing of batches or the page."""

from collections.abc import Iterable

from playground.decoders import aspire, beam, best_of_n, cbs, dera, diverse_beams, eft, greedy, ivg, rain, sample
from playground.decoders.base import Decoder
from playground.errors import UserError, shown
from playground.plugins import add_plugins
from playground.scorers import SCORERS
from playground.scorers.base import Scorer

DECODERS: dict[str, Decoder] = {
    module.DECODER.name: module.DECODER
    for module in (greedy, sample, beam, best_of_n, diverse_beams, dera, eft, cbs, ivg, rain, aspire)
}

_COLOURS = (
    *("#64748b", "#0072b2", "#0891b2", "#009e73", "#4d7c0f", "#8b5cf6"),
    *("#db2777", "#b45309", "#a16207", "#d55e00", "#dc2626"),
)
"""Of the methods, in their order; each has a contrast of 3 on light and on dark. Those of plug-ins begin anew."""


def colour_of(method: str) -> str:
    """The one colour that a method has in all lanes and figures; grey where there is no such method here."""
    known = list(DECODERS)
    return _COLOURS[known.index(method) % len(_COLOURS)] if method in known else "#7a8699"


def decoder(name: str) -> Decoder:
    """The decoder of that name. Raises UserError that lists the names there are."""
    if name not in DECODERS:
        raise UserError(f"There is no method {shown(name)}; choose one of: {', '.join(DECODERS)}.")
    return DECODERS[name]


def writer_for(options: Iterable[str]) -> Decoder:
    """The simplest method with which one model writes: greedy, or draws where these options ask how to draw."""
    return greedy.DECODER if greedy.DECODER.options.model_fields.keys() >= set(options) else sample.DECODER


# Scorers' plug-ins, too, come in here: one package may bring both, and then needs both folders.
add_plugins("realign_playground.scorers", Scorer, SCORERS)
add_plugins("realign_playground.decoders", Decoder, DECODERS)
