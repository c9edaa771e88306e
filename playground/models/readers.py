"""Models that read whole texts, by the name under which the engine knows them: the embedder, the judge and the
classifiers."""

from __future__ import annotations

from pathlib import Path

import torch

from playground.errors import UserError, shown
from playground.models.classifier import Classifier, load_classifier
from playground.models.embed import Embedder, load_embedder
from playground.models.fetch import Progress, no_progress
from playground.models.judge import Judge
from playground.models.specs import EMBEDDER, JUDGE, Catalogue


def load_reader(
    name: str, catalogue: Catalogue, cache: Path, device: torch.device, progress: Progress = no_progress
) -> Embedder | Judge | Classifier:
    """The reader `name` of models.yaml, for `Engine.add_reader`. Raises UserError for one that is not there."""
    if name == EMBEDDER and catalogue.embedder:
        return load_embedder(catalogue.embedder, cache, progress)
    if name == JUDGE and catalogue.judge and catalogue.embedder:
        return Judge(load_embedder(catalogue.embedder, cache, progress), catalogue.judge.source.folder)
    if name in catalogue.classifiers:
        return load_classifier(name, catalogue.classifiers[name], device, progress)
    if name == EMBEDDER:
        raise UserError("No embedder is set up; add one as `embedder` in models.yaml.")
    if name == JUDGE:
        raise UserError("No judge of harmlessness is set up; add `embedder` and `judge` in models.yaml.")
    if not catalogue.classifiers:
        raise UserError("No classifier is set up; add one below `classifiers` in models.yaml.")
    raise UserError(f"There is no classifier {shown(name)}; choose one of: {', '.join(catalogue.classifiers)}.")
