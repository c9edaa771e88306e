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
    """The reader `name` of models.yaml, for `Engine.add_reader`. Raises UserError for one that is not there."""
    if name == EMBEDDER and catalogue.embedder:
        return load_embedder(catalogue.embedder, cache, progress)
    if name in catalogue.classifiers:
        return load_classifier(name, catalogue.classifiers[name], device, progress)
    if name == EMBEDDER:
        raise UserError("No embedder is set up; add one as `embedder` in models.yaml.")
    if not catalogue.classifiers:
        raise UserError("No classifier is set up; add one below `classifiers` in models.yaml.")
    raise UserError(f"There is no classifier {shown(name)}; choose one of: {', '.join(catalogue.classifiers)}.")
