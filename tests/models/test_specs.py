"""models.yaml: what is wrong in it is said in one sentence with file and line."""

from pathlib import Path

import pytest

from playground.errors import UserError
from playground.models.specs import read_catalogue

GOOD = """\
models:
  small:
    title: Small
    licence: MIT
    source: {hub: someone/small}
variants:
  reference:
    title: Small
    model: small
  aligned: {title: A, model: small}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path):
    catalogue = read_catalogue(write(tmp_path, GOOD))
    assert catalogue.variants["reference"].model == "small"


def test_the_shipped_file_is_good():
    catalogue = read_catalogue(Path(__file__).parents[2] / "models.yaml")
    assert {"reference", "aligned"} <= catalogue.variants.keys()


@pytest.mark.parametrize(
    "old, new, line, words",
    [
        ("licence: MIT", "licence: MIT\n    colour: red", 5, ["unknown key", "colour"]),
        ("    licence: MIT\n", "", 2, ["lacks the key", "licence"]),
        ("model: small", "model: large", 9, ["'large'", "not defined", "small"]),
        ("model: small", "model: small\n    adapter: nowhere", 10, ["adapter folder", "nowhere"]),
        ("model: small", "model: small\n    learned: nowhere", 10, ["folder", "nowhere", "soft_prompt.safetensors"]),
        ("model: small", "model: small\n    learned: [nowhere]", 10, ["folder", "nowhere", "value_head.safetensors"]),
        ("{hub: someone/small}", "{folder: nowhere}", 5, ["folder", "nowhere", "config.json"]),
        ("{hub: someone/small}", "{hub: someone/small, revison: x}", 5, ["unknown key", "revison"]),
        (
            "{hub: someone/small}",
            "{package: x, version: '1', sha256: abc, file: f, file_sha256: abc}",
            5,
            ["sha256", "abc"],
        ),
        ("licence: MIT", "licence: MIT\n    precision: {cpu: int3}", 5, ["precision", "int3"]),
        ("  reference:", "  reference: {title: A, model: small}\n  reference:", 8, ["stands twice", "reference"]),
        ("title: Small\n    licence", "title: [Small\n    licence", 4, ["not valid YAML"]),
        ("variants:", "variant:", 6, ["unknown key", "variant"]),
        ("  aligned: {title: A, model: small}", "", 6, ["'aligned' is missing"]),
        ("licence: MIT", "licence: 2024-13-45", 1, ["cannot be read"]),
        ("{hub: someone/small}", "&a {x: *a}", 1, ["cannot be read"]),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, old, new, line, words):
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_catalogue(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}:"), message
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "just a text", "- a\n- list", "models: 3"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    with pytest.raises(UserError, match="line 1"):
        read_catalogue(write(tmp_path, text))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_catalogue(tmp_path / "models.yaml")


FILES = {
    "lora": ["adapter_config.json"],
    "soft": ["soft_prompt.safetensors"],
    "value": ["value_head.safetensors"],
    "asked": ["self_evaluation/vectors.safetensors"],
    "aspire": ["adapter_config.json", "self_evaluation/vectors.safetensors"],
    "judge": ["adapter_config.json", "training.json"],
    "notes": ["README.md"],
}
ARENA = """\
arena:
  lanes: [greedy, sample]
  newcomers: ["greedy:variant={name}"]
  prompts: [{text: Hi}]
"""


def make_folders(place):
    """A folder for each of FILES; those files are told by their names alone."""
    for name, files in FILES.items():
        (place / name).mkdir(parents=True)
        for file in files:
            (place / name / file).parent.mkdir(exist_ok=True)
            (place / name / file).write_text('{"base": "small", "writes": false}')


def test_found_folders_are_variants_and_only_what_can_write_does(tmp_path):
    make_folders(tmp_path / "adapters")
    catalogue = read_catalogue(write(tmp_path, GOOD + ARENA))
    assert catalogue.variants.keys() == FILES.keys() - {"notes"} | {"reference", "aligned"}
    assert catalogue.writers.keys() == {"reference", "aligned", "lora", "soft", "aspire"}
    assert catalogue.arena_lanes[2:] == tuple(f"greedy:variant={name}" for name in ("aspire", "lora", "soft"))
    assert catalogue.variants["aspire"].adapter == (tmp_path / "adapters" / "aspire").resolve()
    assert catalogue.variants["value"].folders == ((tmp_path / "adapters" / "value").resolve(),)


def test_a_variant_may_be_built_of_several_folders_which_are_then_no_variants_of_their_own(tmp_path):
    make_folders(tmp_path / "adapters")
    place = tmp_path / "adapters"
    text = GOOD.replace("title: A", "title: A, adapter: adapters/lora, learned: [adapters/value, adapters/asked]")
    catalogue = read_catalogue(write(tmp_path, text))
    wanted = tuple((place / name).resolve() for name in ("lora", "value", "asked"))
    assert catalogue.variants["aligned"].folders == wanted
    assert not {"lora", "value", "asked"} & catalogue.variants.keys()
    text = GOOD.replace("title: A", "title: A, learned: adapters/soft")
    assert read_catalogue(write(tmp_path, text)).variants["aligned"].folders == ((place / "soft").resolve(),)


def test_lanes_for_a_task_that_is_none_are_refused_with_the_line_and_the_tasks_there_are(tmp_path):
    path = write(tmp_path, GOOD + "page:\n  lanes: [greedy]\n  tasks:\n    poems: [greedy]\n")
    with pytest.raises(UserError, match=r"line \d+: .*'poems'; choose one of: sentiment, summary, harmless"):
        read_catalogue(path)
