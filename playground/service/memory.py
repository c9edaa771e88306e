"""What is in memory: models, their variants and the encoder models beside them, each loaded when first needed."""

from __future__ import annotations

import hashlib
import threading
from functools import partial

from playground.engine.engine import Engine
from playground.engine.runner import Runner
from playground.errors import UserError
from playground.models.fetch import Progress
from playground.models.learned import Learned
from playground.models.loading import LoadedModel, in_a_thread_that_ends, load_model, pick_device
from playground.models.prompts import encode_chat
from playground.models.readers import load_reader
from playground.models.specs import Catalogue, add_found_adapters
from playground.policy import Policy
from playground.settings import Settings


class Memory:
    """Loads what is asked for, once, and hands it to the engine."""

    def __init__(self, settings: Settings, catalogue: Catalogue, engine: Engine, progress: Progress):
        self.settings, self.catalogue, self.engine, self.progress = settings, catalogue, engine, progress
        self.loading: tuple[float, str] = (0.0, "waiting")
        """What was loaded last, or is being loaded, for all who wait for it: (share, words)."""
        self._runners: dict[str, Runner] = {}
        self._ready: set[str] = set()
        self._loading = threading.Lock()

    def discover(self) -> None:
        """Take adapters that have been trained since into the catalogue."""
        add_found_adapters(self.catalogue, self.settings.adapters)

    @property
    def is_loading(self) -> bool:
        """Whether a model is being read now."""
        return self._loading.locked()

    def are_ready(self, *variants: str) -> bool:
        """Whether these variants are in memory."""
        return set(variants) <= self._ready

    def are_readers_ready(self, *names: str) -> bool:
        """Whether these models that read whole texts are in memory."""
        return self.engine.readers.keys() >= set(names)

    def variants_of(self, *policies: Policy) -> tuple[str, ...]:
        """The variants behind policies, each once. Raises UserError for an unknown name."""
        known = self.catalogue.variants.keys() | self.catalogue.mixtures.keys()
        if any(name not in known for policy in policies for name in policy.names):
            self.discover()
        return tuple(dict.fromkeys(name for policy in policies for name in self.catalogue.resolve(policy).names))

    def ensure(self, *variants: str, progress: Progress | None = None) -> None:
        """Make variants ready: load their models and what they have learned. Raises UserError."""
        for name in variants:
            if name not in self.catalogue.variants:
                self.discover()
            if name in self._ready:  # without the lock: a model that loads for minutes holds up nobody else
                continue
            spec = self.catalogue.variant(name)
            with self._loading:
                if name in self._ready:
                    continue
                if spec.model not in self._runners:
                    self._runners[spec.model] = self._load(spec.model, self._told(progress))
                runner = self._runners[spec.model]
                if spec.folders:
                    in_a_thread_that_ends(partial(runner.loaded.attach, name, *spec.folders))
                self.engine.add_variant(name, runner, runner.loaded.adapter_of(name))
                self._ready.add(name)

    def ensure_readers(self, *names: str, progress: Progress | None = None) -> None:
        """Make models ready that read whole texts, the embedder or classifiers. Raises UserError."""
        for name in names:
            if self.are_readers_ready(name):
                continue
            with self._loading:
                if not self.are_readers_ready(name):
                    device = pick_device(self.settings.device)
                    load = partial(load_reader, name, self.catalogue, self.settings.cache, device, self._told(progress))
                    self.engine.add_reader(name, in_a_thread_that_ends(load))

    def _told(self, progress: Progress | None) -> Progress:
        """A progress that is noted for everybody, too."""

        def tell(share: float, what: str) -> None:
            self.loading = share, what
            (progress or self.progress)(share, what)

        return tell

    def _load(self, model: str, progress: Progress) -> Runner:
        def load() -> Runner:
            loaded = load_model(
                model,
                self.catalogue.models[model],
                self.settings.cache,
                pick_device(self.settings.device),
                self.settings.precision,
                progress,
            )
            return Runner(loaded, self.settings.kv_megabytes << 20)

        return in_a_thread_that_ends(load)

    def model_of(self, variant: str) -> LoadedModel:
        """The loaded model of a variant that is ready."""
        return self._runners[self.catalogue.variant(variant).model].loaded

    def check_one_tokenizer(self, subject: str, variants: tuple[str, ...]) -> None:
        """Raise UserError where variants have different tokenizers."""
        models = [self.model_of(variant) for variant in variants]
        for other in models[1:]:
            if other is not models[0] and other.tokenizer.get_vocab() != models[0].tokenizer.get_vocab():
                raise UserError(
                    f"{subject}: {models[0].name} and {other.name} have different tokenizers, so their "
                    "probabilities cannot be mixed; choose variants of models with one tokenizer."
                )

    def encode(self, variant: str, prompt: str, room: int, what: str, system: str = "", earlier=()) -> list[int]:
        """A prompt's ids for a variant. Raises UserError if an answer of `room` tokens is over the context; `what`
        names the prompt."""
        loaded, prefix = self.model_of(variant), self.catalogue.variant(variant).prefix
        ids = encode_chat(loaded.tokenizer, prompt, system, prefix, earlier)
        length = len(ids) + loaded.places_before(variant)
        if length + room > loaded.context:
            raise UserError(
                f"{what} is {length:,} tokens long for {variant}, and with {room:,} new ones "
                f"that is over the context of {loaded.context:,}; shorten the prompt or ask for fewer tokens."
            )
        return ids

    def weights_of(self, variant: str) -> tuple[str, str | None]:
        """What variants that compute the same hidden states share: the model, and the variant that adds an adapter or a
        soft prompt to it. A value head changes none."""
        loaded = self.model_of(variant)
        changed = loaded.adapter_of(variant) or "soft_prompt" in loaded.learned.get(variant, Learned()).prompts
        return self.catalogue.variant(variant).model, variant if changed else None

    def fingerprint(self, variant: str) -> str:
        """What exactly a variant was: model, precision, what it has learned, and prefix."""
        spec, loaded = self.catalogue.variant(variant), self.model_of(variant)
        parts = [spec.model, loaded.precision]
        if variant in loaded.learned:
            parts += [f"{kind} {digest[:12]}" for kind, digest in loaded.learned[variant].digests.items()]
        if spec.prefix:
            parts.append(f"prefix {hashlib.sha256(spec.prefix.encode()).hexdigest()[:12]}")
        return " · ".join(parts)
