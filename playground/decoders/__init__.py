"""The methods. A decoder is one file here and one line in this registry; it knows nothing of batches or the page."""

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


def decoder(name: str) -> Decoder:
    """The decoder of that name. Raises UserError that lists the names there are."""
    if name not in DECODERS:
        raise UserError(f"There is no method {shown(name)}; choose one of: {', '.join(DECODERS)}.")
    return DECODERS[name]


# Scorers' plug-ins, too, come in here: one package may bring both, and then needs both folders.
add_plugins("realign_playground.scorers", Scorer, SCORERS)
add_plugins("realign_playground.decoders", Decoder, DECODERS)
