"""Models that read whole texts, by the name under which the engine knows them: the embedder and the classifiers."""

from __future__ import annotations

from pathlib import Path

import torch

from playground.errors import UserError, shown
from playground.models.classifier import Classifier, load_classifier
from playground.models.embed import Embedder, load_embedder
from playground.models.fetch import Progress, no_progress
from playground.models.specs import EMBEDDER, Catalogue


def load_reader(
    name: str, catalogue: Catalogue, cache: Path, device: torch.device, progress: Progress = no_progress
) -> Embedder | Classifier:
    """The reader `name` of models.yaml, for `Engine.add_reader`. Raises UserError that lists the names there are."""
    if name == EMBEDDER and catalogue.embedder:
        return load_embedder(catalogue.embedder, cache, progress)
    if name in catalogue.classifiers:
        return load_classifier(name, catalogue.classifiers[name], device, progress)
    known = [*([EMBEDDER] if catalogue.embedder else []), *catalogue.classifiers]
    raise UserError(
        f"models.yaml names no reader of texts {shown(name)}; it names: {', '.join(known) or 'none'}. "
        "Add an 'embedder' or one of the 'classifiers' there."
    )
