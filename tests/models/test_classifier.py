"""Classifiers: transformers' own logits, of pairs, whatever the company; and sentences for what does not fit."""

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from playground.errors import UserError
from playground.models.classifier import load_classifier
from playground.models.readers import load_reader
from playground.models.specs import ClassifierSpec, FolderSource, read_catalogue

CPU = torch.device("cpu")
LONGEST = 16
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "fox", "dog", "cake", "time", "a", "i"]
PAIRS = [("the fox", "a dog"), ("the fox", "a cake i time"), ("dog", "a dog"), ("a cake", "the time"), ("", "")]


def make_classifier(folder, labels):
    """Save a random BERT classifier with these labels and a word tokenizer that knows pairs."""
    torch.manual_seed(3)
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's own tokenizer has them
    PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=inputs, **marks).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LONGEST,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)},
        pad_token_id=0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def load(folder, label=None):
    return load_classifier(
        "judge", ClassifierSpec(title="J", licence="none", source=FolderSource(folder=folder), label=label), CPU
    )


def by_hand(folder, pair):
    """The logits of one pair, by transformers."""
    first, second = ([WORDS.index(w) for w in text.split()] for text in pair)
    ids, types = [2, *first, 3, *second, 3], [0] * (len(first) + 2) + [1] * (len(second) + 1)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0]


def test_a_reward_model_answers_with_its_only_logit(tmp_path):
    folder = make_classifier(tmp_path / "c", ["reward"])
    found = load(folder)(PAIRS)
    expected = torch.stack([by_hand(folder, pair) for pair in PAIRS])
    assert found.shape == (len(PAIRS), 1) and found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("label", ["good", 2])
def test_a_label_is_scored_by_its_log_odds(tmp_path, label):
    folder = make_classifier(tmp_path / "c", ["bad", "dull", "good"])
    for pair, number in zip(PAIRS, load(folder, label)(PAIRS), strict=True):
        chance = by_hand(folder, pair).softmax(-1)[2]
        assert float(number) == pytest.approx(float((chance / (1 - chance)).log()), abs=1e-4)


def test_single_texts_are_read_too(tmp_path):
    found = load(make_classifier(tmp_path / "c", ["reward"]))(["the fox", "a dog i"])
    assert found.shape == (2, 1)


def test_of_what_is_too_long_the_end_of_the_answer_stays(tmp_path):
    read = load(make_classifier(tmp_path / "c", ["reward"]))
    long = "the fox dog cake time a i " * 20
    [one, other, same] = read([("dog", long + "fox"), ("dog", long + "cake"), ("dog", "cake " + long + "cake")])
    assert not torch.equal(one, other)
    assert torch.allclose(other, same, atol=1e-6)


def test_special_tokens_in_a_text_are_text(tmp_path):
    read = load(make_classifier(tmp_path / "c", ["reward"]))
    assert not torch.allclose(read([("the fox", "[SEP] a dog")]), read([("the fox [SEP]", "a dog")]), atol=1e-6)
    assert torch.allclose(read([("dog", "[SEP]")]), read([("dog", "[ SEP ]")]), atol=1e-6)


def with_classifier(tmp_path, **changes):
    """A models.yaml that names the classifier of this folder."""
    classifier = {"title": "J", "licence": "none", "source": {"folder": "c"}} | changes
    content = {
        "models": {"small": {"title": "S", "licence": "MIT", "source": {"hub": "someone/small"}}},
        "variants": {n: {"title": n, "model": "small"} for n in ("reference", "aligned")},
        "classifiers": {"judge": classifier},
    }
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_classifier_of_models_yaml_is_a_reader(tmp_path):
    folder = make_classifier(tmp_path / "c", ["bad", "good"])
    catalogue = read_catalogue(with_classifier(tmp_path, label="good"))
    found = load_reader("judge", catalogue, tmp_path, CPU)(PAIRS)
    assert torch.equal(found, load(folder, "good")(PAIRS))
    with pytest.raises(UserError, match=r"no classifier 'jury'.*judge"):
        load_reader("jury", catalogue, tmp_path, CPU)
    for name, words in (("jury", "No classifier is set up"), ("embedder", "No embedder is set up")):
        with pytest.raises(UserError, match=words):
            load_reader(name, catalogue.model_copy(update={"classifiers": {}}), tmp_path, CPU)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"label": "nice"}, ["no label 'nice'", "bad, good"]),
        ({"label": 2}, ["no label 2", "bad, good"]),
        ({}, ["needs a label", "bad, good"]),
        ({"source": {"folder": "nowhere"}, "label": "good"}, ["nowhere", "config.json"]),
        ({"label": "good", "colour": "red"}, ["unknown key", "colour"]),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, changes, words):
    make_classifier(tmp_path / "c", ["bad", "good"])
    path = with_classifier(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        read_catalogue(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line "), message
    line = path.read_text().splitlines()[int(message.split("line ")[1].split(":")[0]) - 1]
    assert any(key in line for key in ("judge", *changes)) or "folder" in line, line
    assert all(word in message for word in words), message
    assert "\n" not in message
