"""models.yaml, read and checked: what models and variants there are. Loads no weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
)

from playground.errors import UserError, shown
from playground.policy import Policy
from playground.tasks import TASKS

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
RESERVED = ("id", "text", "p", "mixed")
"""Names that mean something else beside those of variants in the record of a token."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["int4", "bf16", "fp32"]
PRECISIONS: tuple[str, ...] = ("int4", "bf16", "fp32")
EMBEDDER = "embedder"
"""The name under which the engine's tasks ask for embeddings; those of classifiers are their own."""
JUDGE = "harmless_judge"
"""The name under which they ask the judge of harmlessness."""
KINDS = {
    "adapter": "adapter_config.json",
    "soft_prompt": "soft_prompt.safetensors",
    "value_head": "value_head.safetensors",
    "self_evaluation": "self_evaluation/vectors.safetensors",
}
"""What a variant may have learned, by the file in its folder that tells the kind."""
KINDS_THAT_WRITE = {"adapter", "soft_prompt"}


def kinds_in(folder: Path) -> dict[str, str]:
    """The kinds that a folder holds, with the file that each is known by."""
    return {kind: name for kind, name in KINDS.items() if (folder / name).is_file()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubFile(_Strict):
    """A file of a repository on the Hugging Face Hub, pinned by commit."""

    hub: str
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    file: str


class PackageSource(_Strict):
    """A GGUF file inside a wheel of the Python package registry, pinned by version and digests."""

    package: Name
    version: str
    sha256: Sha256
    file: str
    file_sha256: Sha256
    more: dict[str, Sha256] = {}
    """Other files of the wheel that are needed beside the first."""
    preloaded: HubFile | None = None
    """The same file on the Hub: a Space's build brings it into the Hub's cache (`preload_from_hub`)."""


class HubSource(_Strict):
    """A repository on the Hugging Face Hub."""

    hub: str
    revision: str = "main"

    @property
    def place(self) -> tuple[str, dict[str, object]]:
        """Name and arguments as transformers' `from_pretrained` takes them."""
        return self.hub, {"revision": self.revision}


class FolderSource(_Strict):
    """A folder as `save_pretrained` writes it, relative to models.yaml."""

    folder: Path

    @property
    def place(self) -> tuple[str, dict[str, object]]:
        """Name and arguments as transformers' `from_pretrained` takes them."""
        return str(self.folder), {"local_files_only": True}


class PrecisionByDevice(_Strict):
    cpu: Precision = "bf16"
    cuda: Literal["bf16", "fp32"] = "bf16"


class ModelSpec(_Strict):
    title: str
    licence: str
    source: PackageSource | HubSource | FolderSource
    context: int | None = Field(default=None, ge=16)
    precision: PrecisionByDevice = PrecisionByDevice()


class EmbedderSpec(_Strict):
    """The model that says how much alike two texts are."""

    title: str
    licence: str
    source: PackageSource | FolderSource


class JudgeSpec(_Strict):
    """A judge of harmlessness: a layer on the embedder."""

    title: str
    licence: str
    source: FolderSource


class ClassifierSpec(_Strict):
    """A transformers model that gives an answer one number: a reward model, or a classifier and one of its labels."""

    title: str
    licence: str
    source: HubSource | FolderSource
    label: str | int | None = None


def label_index(labels: list[str], label: str | int | None) -> int | None:
    """Which of a classifier's logits is meant; None for the only one of a reward model. Raises ValueError with the
    end of a sentence."""
    if len(labels) == 1 and label in (None, 0, labels[0]):
        return None
    if label in labels:
        return labels.index(label)
    if isinstance(label, int) and 0 <= label < len(labels):
        return label
    wrong = "needs a label" if label is None else f"has no label {shown(label)}"
    raise ValueError(f"{wrong}; its labels are: {', '.join(labels)}.")


class PoolPrompt(_Strict):
    """A prompt of the arena's pool."""

    text: str = Field(min_length=1)
    category: str = "general"


class ArenaSpec(_Strict):
    """Who meets whom in the arena, on what."""

    lanes: tuple[str, ...] = Field(min_length=2)
    """Lanes as on the command line, METHOD:OPTION=VALUE,…"""
    newcomers: tuple[str, ...] = ()
    """Lanes that every adapter found in adapters/ takes part with; {name} stands for its variant."""
    prompts: tuple[PoolPrompt, ...] = Field(min_length=1)
    max_new_tokens: int = Field(96, ge=1, le=2048)
    battles_an_hour: int = Field(120, ge=1)
    battles_an_hour_in_all: int = Field(2000, ge=1)


class VariantSpec(_Strict):
    """What a lane decodes with: base weights, and what is the variant's own."""

    title: str
    model: Name
    adapter: Path | None = None
    learned: tuple[Path, ...] = ()
    """More folders of what it has learned; what each holds is told by its files (`KINDS`)."""
    prefix: str | None = None
    called: str = ""
    """What the arena calls it in plain words, before "model"; else its name."""
    writes: bool = True
    """Whether lanes may write with it; else it is there to judge."""

    @field_validator("learned", mode="before")
    @classmethod
    def _one_or_more(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders of what it has learned."""
        return (*((self.adapter,) if self.adapter else ()), *self.learned)

    def folder_of(self, kind: str) -> Path | None:
        """The folder that holds what it has learned of this kind; None if it has not."""
        return next((folder for folder in self.folders if kind in kinds_in(folder)), None)


class MixSpec(_Strict):
    """A named mixture: a weighted sum of variants' log-probabilities, or of other mixtures."""

    title: str
    mix: dict[str, float] = Field(min_length=1)
    writes: bool = True

    @field_validator("mix", mode="before")
    @classmethod
    def _written(cls, given: object) -> object:
        """A mixture may be written as where a lane takes one: 0.5*reference+0.5*aligned."""
        try:
            return dict(Policy(given).terms) if isinstance(given, str) else given
        except UserError:
            return given  # which is then refused with the file's line


def _kind(content: object) -> str:
    mixed = isinstance(content, MixSpec) or (isinstance(content, dict) and "mix" in content)
    return "a mixture" if mixed else "a variant"


def _can_be_called(name: str) -> bool:
    """Whether a variant or mixture may have this name: it must be one where a policy is written."""
    try:
        return name not in RESERVED and Policy(name).names == (name,)
    except UserError:
        return False


AnyVariant = Annotated[
    Annotated[VariantSpec, Tag("a variant")] | Annotated[MixSpec, Tag("a mixture")], Discriminator(_kind)
]


class PageSpec(_Strict):
    """What the page opens with."""

    lanes: tuple[str, ...] = Field(min_length=1, max_length=6)
    """Lanes as on the command line, METHOD:OPTION=VALUE,…"""
    tasks: dict[str, tuple[str, ...]] = {}
    """The lanes that an example of a task brings."""

    @field_validator("tasks")
    @classmethod
    def _known(cls, tasks: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if unknown := set(tasks) - set(TASKS):
            raise ValueError(f"there is no task {shown(unknown.pop())}; choose one of: {', '.join(TASKS)}")
        return tasks


class Catalogue(_Strict):
    """The whole of models.yaml. Paths in it are absolute after `read_catalogue`, and mixtures stand apart."""

    models: dict[Name, ModelSpec]
    variants: dict[Name, AnyVariant]
    page: PageSpec | None = None
    embedder: EmbedderSpec | None = None
    judge: JudgeSpec | None = None
    classifiers: dict[Name, ClassifierSpec] = {}
    arena: ArenaSpec | None = None
    _found: list[str] = PrivateAttr(default_factory=list)
    _mixtures: dict[str, MixSpec] = PrivateAttr(default_factory=dict)

    @property
    def mixtures(self) -> dict[str, MixSpec]:
        """The named mixtures, none of which holds itself."""
        return self._mixtures

    @property
    def writers(self) -> dict[str, VariantSpec | MixSpec]:
        """The variants and named mixtures that lanes may write with."""
        return {name: spec for name, spec in (self.variants | self.mixtures).items() if spec.writes}

    def resolve(self, policy: Policy) -> Policy:
        """The same policy over variants only: named mixtures are written out. Raises UserError for an unknown name."""
        while mixed := [name for name in policy.names if name in self.mixtures]:
            inside = Policy.of(self.mixtures[mixed[0]].mix.items())
            policy = Policy.mix(
                *((w, inside if name == mixed[0] else Policy.of([(name, 1.0)])) for name, w in policy.terms)
            )
        for name in policy.names:
            self.variant(name)
        return policy

    @property
    def arena_lanes(self) -> tuple[str, ...]:
        """The lanes that meet in the arena."""
        newcomers = [lane.format(name=name) for name in self._found for lane in self.arena.newcomers]
        return (*self.arena.lanes, *newcomers)

    def variant(self, name: str) -> VariantSpec:
        """The variant of that name. Raises UserError that lists the names there are."""
        if name not in self.variants:
            hint = _mixture_hint(name, self.variants | self.mixtures)
            raise UserError(f"There is no variant {shown(name)}; choose one of: {', '.join(self.writers)}.{hint}")
        return self.variants[name]


def _mixture_hint(name: str, known: Iterable[str]) -> str:
    """What to do about a mixture that was read as one name; nothing where it is none."""
    part = f"(?:{'|'.join(map(re.escape, known))})"
    numbered = rf"[\d.]*{part}"
    if not re.fullmatch(rf"{numbered}(?:-{numbered})*", name):
        return ""
    minus = "" if re.fullmatch(numbered, name) else " Put spaces around a minus."
    star = "" if re.fullmatch(rf"{part}(?:-{part})*", name) else " Put * between weight and name."
    return f"{minus}{star}"


def _lines(node: yaml.Node, path: tuple = ()) -> dict[tuple, int]:
    """Map each key path of a YAML tree to its line, counted from 1."""
    found = {path: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found |= _lines(value, (*path, key.value))
            found[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found |= _lines(value, (*path, index))
    return found


def _repeated_key(node: yaml.Node) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                return key
            seen.add(key.value)
            if (deeper := _repeated_key(value)) is not None:
                return deeper
    return None


def read_catalogue(path: Path) -> Catalogue:
    """Read and check models.yaml.

    Raises UserError with file and line for text that is not YAML, an unknown or repeated key, a value of the wrong
    kind, a variant of an undefined model, a folder that is not there, and a label that a classifier does not have.
    """

    def fail(line: int, message: str) -> UserError:
        return UserError(f"{path}, line {line}: {message}")

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); set PLAYGROUND_MODELS to a models.yaml.") from None
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
        if tree is None:
            raise fail(1, "the file is empty; it needs the keys 'models' and 'variants'.")
        repeated, lines = _repeated_key(tree), _lines(tree)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise fail(mark.line + 1 if mark else 1, f"not valid YAML: {getattr(error, 'problem', error)}.") from None
    except (ValueError, RecursionError) as error:  # a date that is none, an alias that holds itself
        raise fail(1, f"somewhere below stands a value that cannot be read ({error}).") from None
    if repeated is not None:
        raise fail(repeated.start_mark.line + 1, f"the key {shown(repeated.value)} stands twice; remove one.")

    def line_of(location: tuple) -> int:
        while location not in lines:
            location = location[:-1]
        return lines[location]

    try:
        catalogue = Catalogue.model_validate(content)
    except ValidationError as error:
        raise fail(*_first_problem(error, content, line_of)) from None

    _part_mixtures(catalogue, lambda name, message: fail(line_of(("variants", name)), message))
    for name in ("reference", "aligned"):
        if name not in catalogue.variants:
            raise fail(line_of(("variants",)), f"the variant {shown(name)} is missing; methods use it by default.")
    folder = path.resolve().parent
    for name, model in catalogue.models.items():
        if isinstance(model.source, FolderSource):
            there = (folder / model.source.folder).resolve()
            if not (there / "config.json").is_file():
                raise fail(
                    line_of(("models", name, "source", "folder")),
                    f"model {shown(name)} needs the folder {there} with a config.json, which is not there.",
                )
            catalogue.models[name] = model.model_copy(update={"source": FolderSource(folder=there)})
    if catalogue.embedder and isinstance(catalogue.embedder.source, FolderSource):
        there = (folder / catalogue.embedder.source.folder).resolve()
        if not (there / "config.json").is_file():
            raise fail(line_of(("embedder", "source", "folder")), f"the embedder's folder {there} has no config.json.")
        source = FolderSource(folder=there)
        catalogue = catalogue.model_copy(update={"embedder": catalogue.embedder.model_copy(update={"source": source})})
    if catalogue.judge:
        source = FolderSource(folder=(folder / catalogue.judge.source.folder).resolve())
        catalogue = catalogue.model_copy(update={"judge": catalogue.judge.model_copy(update={"source": source})})
    for name, classifier in catalogue.classifiers.items():
        place = ("classifiers", name)
        if name in (EMBEDDER, JUDGE):
            raise fail(
                line_of(place), f"{shown(name)} is a name with a meaning of its own; give the classifier another one."
            )
        if isinstance(classifier.source, FolderSource):
            there = (folder / classifier.source.folder).resolve()
            try:
                config = json.loads((there / "config.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                raise fail(
                    line_of((*place, "source", "folder")),
                    f"classifier {shown(name)} needs the folder {there} with a config.json, which is not there.",
                ) from None
            labels = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # two is what transformers leaves out
            try:
                label_index(list(labels.values()), classifier.label)
            except ValueError as error:
                raise fail(line_of((*place, "label")), f"classifier {shown(name)} {error}") from None
            source = FolderSource(folder=there)
            catalogue.classifiers[name] = classifier.model_copy(update={"source": source})
    for name, variant in catalogue.variants.items():
        if variant.model not in catalogue.models:
            raise fail(
                line_of(("variants", name, "model")),
                f"variant {shown(name)} names the model {shown(variant.model)}, which is not defined; "
                f"defined are: {', '.join(catalogue.models)}.",
            )
        if variant.adapter is not None:
            there = (folder / variant.adapter).resolve()
            if not (there / "adapter_config.json").is_file():
                raise fail(
                    line_of(("variants", name, "adapter")),
                    f"variant {shown(name)} needs the adapter folder {there} with an adapter_config.json, "
                    "which is not there; paths are relative to this file, so keep it beside adapters/.",
                )
            catalogue.variants[name] = variant = variant.model_copy(update={"adapter": there})
        if variant.learned:
            places = tuple((folder / place).resolve() for place in variant.learned)
            for there in places:
                if not kinds_in(there):
                    raise fail(
                        line_of(("variants", name, "learned")),
                        f"variant {shown(name)} needs the folder {there} with one of {', '.join(KINDS.values())}, "
                        "which is not there.",
                    )
            catalogue.variants[name] = variant.model_copy(update={"learned": places})
    add_found_adapters(catalogue, folder / "adapters")
    return catalogue


def _part_mixtures(catalogue: Catalogue, fail: Callable[[str, str], UserError]) -> None:
    """Let the named mixtures stand apart from the variants. Raises what `fail` makes of a name that cannot be used, an
    unknown part, a weight out of range, and a mixture that holds itself."""
    for name, spec in list(catalogue.variants.items()):
        if not _can_be_called(name):
            raise fail(name, f"the name {shown(name)} cannot be used for a variant; choose another.")
        if isinstance(spec, MixSpec):
            catalogue.mixtures[name] = catalogue.variants.pop(name)

    def check(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise fail(above[0], f"the mixture {shown(above[0])} holds itself ({' → '.join((*above, name))}).")
        for part in catalogue.mixtures[name].mix:
            if part in catalogue.mixtures:
                check(part, (*above, name))
            elif part not in catalogue.variants:
                raise fail(name, f"the mixture {shown(name)} names {shown(part)}, which is not defined.")

    for name, spec in catalogue.mixtures.items():
        check(name, ())
        try:
            catalogue.resolve(Policy.of(spec.mix.items()))
        except UserError as error:
            raise fail(name, str(error)) from None


def told_by_training(folder: Path) -> tuple[str | None, bool]:
    """What the training.json in a folder says: the model that was trained (None: nothing), and whether lanes may write
    with the result."""
    try:
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return str(training["base"]), training.get("writes") is not False
    except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None, True


def add_found_adapters(catalogue: Catalogue, folder: Path) -> None:
    """Take in every folder below `folder` that holds something learned and that no variant names, as a variant of its
    own name: so a new one is in the list the moment it is written. Its base is told by its training.json, else it is
    that of `reference`. Lanes write with it if it holds something that writes and training.json does not say no."""
    named = {there for variant in catalogue.variants.values() for there in variant.folders}
    for there in sorted(place.resolve() for place in folder.glob("*/")):
        kinds, taken = kinds_in(there), there.name in catalogue.variants or there.name in catalogue.mixtures
        if not kinds or there in named or taken or not _can_be_called(there.name):
            continue
        base, writes = told_by_training(there)
        model = base or catalogue.variants["reference"].model
        if model not in catalogue.models:
            continue
        writes = writes and not KINDS_THAT_WRITE.isdisjoint(kinds)
        place = {"adapter": there} if "adapter" in kinds else {"learned": (there,)}
        catalogue.variants[there.name] = VariantSpec(title=there.name, model=model, writes=writes, **place)
        if writes:
            catalogue._found.append(there.name)


def _first_problem(error: ValidationError, content: object, line_of) -> tuple[int, str]:
    """The most telling of pydantic's complaints, as (line, sentence)."""

    def readable(location: tuple) -> tuple:
        """The location without the union branches that pydantic adds, as far as the file has it."""
        place, at = [], content
        for part in location:
            if isinstance(at, dict) and part in at:
                at = at[part]
                place.append(part)
        return tuple(place)

    problems = error.errors()
    known = {"PackageSource": "package", "HubSource": "hub", "FolderSource": "folder"}

    def fits(problem: dict) -> bool:
        """Of a source's branches, the one whose first key is written in the file."""
        branch = next((part for part in problem["loc"] if part in known), None)
        if branch is None:
            return True
        source = content
        for part in problem["loc"][: problem["loc"].index(branch)]:
            source = source[part]
        return isinstance(source, dict) and known[branch] in source

    fitting = [p for p in problems if fits(p)] or problems
    problem = next((p for p in fitting if p["type"] == "extra_forbidden"), fitting[0])
    place = readable(problem["loc"])
    last = problem["loc"][-1] if problem["loc"] else ""
    where = " → ".join(map(str, place)) or "the top level"
    if problem["type"] == "extra_forbidden":
        return line_of(place), f"unknown key {shown(str(last))} in {where}; remove it or mend its spelling."
    if problem["type"] == "missing":
        return line_of(place), f"{where} lacks the key {shown(str(last))}."
    if place[-1:] == ("mix",):
        form = "{name: weight, …}, or a text such as 0.5*reference+0.5*aligned"
        return line_of(place), f"{where} is {shown(problem['input'])}; write {form}."
    return line_of(place), f"{where} is {shown(problem['input'])}: {problem['msg'].lower()}."
