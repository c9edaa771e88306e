"""Sentence embeddings: unit vectors, the same alone and in company, and sense on the real model."""

import torch

from playground.models.embed import load_embedder
from playground.models.specs import read_catalogue


def test_embeddings_are_unit_vectors_and_do_not_depend_on_company(tiny_catalogue):
    embed = load_embedder(read_catalogue(tiny_catalogue).embedder, tiny_catalogue.parent)
    texts = ["the fox", "a dog i fox the time cake", "dog"]
    together = embed(texts)
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    for text, row in zip(texts, together, strict=True):
        assert torch.allclose(embed([text])[0], row, atol=1e-5)


def test_the_real_embedder_knows_what_is_alike(embedded):
    embed = load_embedder(embedded.catalogue.embedder, embedded.settings.cache)
    cat, kitten, tax = embed(["A cat sits on the mat.", "A kitten is sitting on a rug.", "Income tax is due in May."])
    assert cat @ kitten > 0.5 > cat @ tax
