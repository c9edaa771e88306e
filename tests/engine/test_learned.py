"""Requests for what a variant has learned, and for whole texts: right numbers, and the same bits in company."""

import itertools
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from playground.branch.text import Text
from playground.engine.engine import TEXTS_READ, Engine
from playground.engine.requests import Extend, Next, Open, Read, SoftPrompt, Want
from playground.engine.runner import Runner
from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import KINDS, read_catalogue
from playground.policy import Policy
from playground.types import Cost
from tests.tiny import make_value

CPU = torch.device("cpu")
HIDDEN = 64
BEFORE, ASKED = 3, 2
PROMPT, TEXT = (5, 6, 7, 8), (30, 31, 32, 33, 34)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a soft prompt before the text, a value head and a self-evaluation prompt."""
    place = tmp_path_factory.mktemp("learned")
    torch.manual_seed(4)
    for name, rows in (("soft_prompt", BEFORE), ("self_evaluation", ASKED)):
        (place / KINDS[name]).parent.mkdir(exist_ok=True)
        save_file({"vectors": torch.randn(rows, HIDDEN)}, place / KINDS[name])
    save_file({"weight": torch.randn(2, HIDDEN), "bias": torch.randn(2)}, place / "value_head.safetensors")
    return place


@pytest.fixture(scope="module", params=["fp32", "bf16", "int4"])
def built(request, tiny_catalogue, folder):
    yield from build(tiny_catalogue, folder, request.param)


@pytest.fixture(scope="module")
def exact(tiny_catalogue, folder):
    yield from build(tiny_catalogue, folder, "fp32")


def build(tiny_catalogue, folder, precision):
    spec = read_catalogue(tiny_catalogue).models["tiny"]
    loaded = load_model("tiny", spec, tiny_catalogue.parent, CPU, precision)
    loaded.attach("learned", folder)
    engine, runner = Engine(), Runner(loaded, 32 << 20)
    engine.add_variant("plain", runner, loaded.adapter_of("plain"))
    engine.add_variant("learned", runner, loaded.adapter_of("learned"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def by_hand(tiny_catalogue, folder):
    """Parts, each token ids or the name of a learned prompt → (log-probabilities after each place, last hidden states)
    by transformers over concatenated input embeddings."""
    model = LlamaForCausalLM.from_pretrained(tiny_catalogue.parent / "tiny").eval()

    @torch.inference_mode()
    def run(*parts):
        vectors = [
            learned(folder, p) if isinstance(p, str) else model.get_input_embeddings()(torch.tensor(p)) for p in parts
        ]
        hidden = model.model(inputs_embeds=torch.cat(vectors)[None]).last_hidden_state[0]
        return model.lm_head(hidden).log_softmax(-1), hidden

    return run


def learned(folder, name, key="vectors"):
    return load_file(folder / KINDS[name])[key]


def run(engine, asking):
    cost = Cost()
    return engine.submit(asking, cost).wait(60), cost


def after(variant, prompt, *requests):
    """Open `prompt`, then one round for each of `requests`, (tokens, want); returns all answers."""

    def asking():
        [(sequence, first)] = yield [Open(variant, prompt)]
        answers = [first]
        for tokens, want in requests:
            answers += yield [Extend(sequence, tokens, want)]
        return answers

    return asking()


@pytest.mark.parametrize("prompt", [PROMPT, ()])
def test_the_soft_prompt_of_a_variant_stands_before_its_text(exact, by_hand, prompt):
    for _ in range(2):  # the second time the opening comes from the cache
        (opened, then), cost = run(exact, after("learned", prompt, (TEXT, Want.NEXT)))
        parts = ["soft_prompt", *([prompt] if prompt else [])]
        assert torch.allclose(opened, by_hand(*parts)[0][-1], atol=2e-4)
        assert torch.allclose(then, by_hand(*parts, TEXT)[0][-1], atol=2e-4)
        assert cost.forward_tokens == BEFORE + len(prompt) + len(TEXT)


def test_a_variant_without_one_has_none_before_its_text(exact, by_hand):
    (opened, _), cost = run(exact, after("plain", PROMPT, (TEXT, Want.NEXT)))
    assert torch.allclose(opened, by_hand(PROMPT)[0][-1], atol=2e-4)
    assert cost.forward_tokens == len(PROMPT) + len(TEXT)


@pytest.fixture(scope="module")
def deep(tiny_catalogue, tmp_path_factory, built):
    """The name of a variant in `built` whose value head has a hidden layer, and that head's weights."""
    place = make_value(tmp_path_factory.mktemp("deep"))
    runner, _ = built.variant("plain")
    runner.loaded.attach("deep", place)
    built.add_variant("deep", runner, runner.loaded.adapter_of("deep"))
    return "deep", load_file(place / KINDS["value_head"])


def test_a_head_may_have_a_hidden_layer(built, deep):
    name, weights = deep
    (_, hidden), _ = run(built, after(name, PROMPT, (TEXT, Want.HIDDEN)))
    (_, values), _ = run(built, after(name, PROMPT, (TEXT, Want.VALUES)))
    inner = torch.nn.functional.gelu(hidden.float() @ weights["hidden.weight"].T + weights["hidden.bias"])
    assert torch.allclose(values, inner @ weights["weight"].T + weights["bias"], atol=1e-4)


@given(text=st.lists(st.integers(3, 300), min_size=1, max_size=40), cuts=st.sets(st.integers(1, 39), max_size=6))
@settings(max_examples=8)
def test_values_are_the_same_bits_at_once_and_piece_by_piece(built, deep, text, cuts):
    """As a search reads them: the whole answer at once, token by token, and chunk by chunk from forks."""
    name, _ = deep
    text = tuple(text)

    def read(*pieces):
        def asking():
            [(sequence, _)] = yield [Open(name, PROMPT)]
            opened = Text(Policy(name), {name: sequence}, {})
            found = []
            for piece in pieces:
                opened = opened.fork()
                found.append((yield from opened.value(piece)))
            return torch.cat(found)

        return run(built, asking())[0]

    at_once = read(text)
    assert at_once.shape == (len(text),)
    assert torch.equal(at_once, read(*((token,) for token in text)))
    ends = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    assert torch.equal(at_once, read(*(text[a:b] for a, b in itertools.pairwise(ends))))


@pytest.mark.parametrize("text", [TEXT, tuple(range(40, 75))])
def test_a_learned_prompt_may_stand_after_an_answer(exact, by_hand, text):
    (*_, asked), cost = run(
        exact, after("learned", PROMPT, (text, Want.NOTHING), (SoftPrompt("self_evaluation"), Want.NEXT))
    )
    assert torch.allclose(asked, by_hand("soft_prompt", PROMPT, text, "self_evaluation")[0][-1], atol=2e-4)
    assert cost.forward_tokens == BEFORE + len(PROMPT) + len(text) + ASKED


@pytest.mark.parametrize("text", [(9,), TEXT, tuple(range(40, 75))])
def test_values_are_those_of_the_head_at_each_token(exact, by_hand, folder, text):
    (_, values), _ = run(exact, after("learned", PROMPT, (text, Want.VALUES)))
    hidden = by_hand("soft_prompt", PROMPT, text)[1][-len(text) :]
    expected = hidden @ learned(folder, "value_head", "weight").T + learned(folder, "value_head", "bias")
    assert values.shape == (len(text), 2) and values.dtype == torch.float32
    assert torch.allclose(values, expected, atol=1e-3)


@pytest.mark.parametrize("text", [(9,), TEXT, tuple(range(40, 75))])
def test_all_log_probabilities_are_those_at_the_place_of_each_token(exact, by_hand, text):
    (_, found), _ = run(exact, after("plain", PROMPT, (text, Want.ALL)))
    assert torch.allclose(found, by_hand(PROMPT, text)[0][len(PROMPT) - 1 : -1], atol=2e-4)


def test_all_and_scores_agree(built):
    (_, found), _ = run(built, after("plain", PROMPT, (TEXT, Want.ALL)))
    (_, scores), _ = run(built, after("plain", PROMPT, (TEXT, Want.SCORES)))
    assert torch.equal(found.gather(1, torch.tensor(TEXT)[:, None])[:, 0], scores)


@pytest.mark.parametrize("length", [3, 20])
def test_all_of_it_is_the_same_bits_in_company(built, length):
    def mine():
        text = tuple(range(20, 20 + length))
        return after(
            "learned", PROMPT, (text, Want.VALUES), (text, Want.ALL), (SoftPrompt("self_evaluation"), Want.NEXT)
        )

    alone, _ = run(built, mine())
    others = [
        built.submit(
            after(
                v, tuple(range(2, 3 + 11 * n)), *[((7 + n,) * (1 + n), Want.VALUES if v == "learned" else Want.ALL)] * 6
            )
        )
        for n, v in enumerate(("plain", "learned") * 4)
    ]
    beside, _ = run(built, mine())
    for other in others:
        other.wait(60)
    assert all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True))


@pytest.mark.parametrize(
    "request_of, words",
    [
        (
            lambda s: Extend(s, SoftPrompt("confidence")),
            "'learned' has learned no prompt 'confidence'.*self_evaluation",
        ),
        (lambda s: Read("jury", ("a",)), "no reader 'jury'.*none"),
    ],
)
def test_what_is_not_there_is_said_and_ends_its_own_task(exact, request_of, words):
    def asking():
        [(sequence, _)] = yield [Open("learned", PROMPT)]
        yield [request_of(sequence)]

    good = exact.submit(after("plain", PROMPT, (TEXT, Want.NEXT)))
    with pytest.raises(UserError, match=words):
        exact.submit(asking()).wait(60)
    assert len(good.wait(60)) == 2


def test_values_without_a_head_are_refused(exact):
    with pytest.raises(UserError, match="'plain' has no value head"):
        run(exact, after("plain", PROMPT, (TEXT, Want.VALUES)))


@pytest.mark.parametrize("want", [Want.SCORES, Want.ALL])
def test_what_needs_a_token_before_the_first_ends_its_own_task_only(exact, want):
    good = exact.submit(after("plain", PROMPT, (TEXT, Want.NEXT), (TEXT, Want.NEXT)))
    with pytest.raises(ValueError, match="before the first one"):
        run(exact, after("plain", (), (TEXT, want)))
    assert len(good.wait(60)) == 3


def test_vectors_have_no_scores(exact):
    good = exact.submit(after("plain", PROMPT, (TEXT, Want.NEXT), (TEXT, Want.NEXT)))
    with pytest.raises(ValueError, match="only token ids"):
        run(exact, after("learned", PROMPT, (SoftPrompt("self_evaluation"), Want.SCORES)))
    assert len(good.wait(60)) == 3


class Lengths:
    """A reader that says how long texts are, and remembers how many it was given at a time and by which thread."""

    def __init__(self):
        self.calls, self.threads = [], set()

    def __call__(self, texts):
        self.calls.append(len(texts))
        self.threads.add(threading.current_thread().name)
        if "broken" in texts:
            raise ZeroDivisionError
        return torch.tensor([[len("".join(text)), 1] for text in texts])


@pytest.fixture
def reader(exact):
    exact.add_reader("lengths", Lengths())
    yield exact.readers["lengths"]
    del exact.readers["lengths"]


def read(*texts):
    def asking():
        [(sequence, first)] = yield [Open("plain", PROMPT)]
        found, again = yield [Read("lengths", texts), Next(sequence)]
        assert torch.equal(first, again)
        return found

    return asking()


def test_texts_are_read_on_the_worker_and_cost_no_tokens(exact, reader):
    found, cost = run(exact, read("fox", ("a", "dog"), ""))
    assert found.tolist() == [[3, 1], [4, 1], [0, 1]] and found.dtype == torch.float32
    assert reader.threads == {"engine"}
    assert (cost.forward_tokens, cost.forward_passes) == (len(PROMPT), 1)
    assert run(exact, read())[0].shape[0] == 0


def test_requests_of_several_tasks_are_never_read_together(exact, reader):
    tasks = [exact.submit(read(*["x"] * n)) for n in (3, 2, 3)]
    assert [len(task.wait(60)) for task in tasks] == [3, 2, 3]
    assert sorted(reader.calls) == [2, 3, 3]


def test_between_the_parts_of_a_long_list_others_get_their_tokens(exact, reader):
    """While one task waits for its list, another one takes a token in each round."""
    parts, done = 5, []

    def writes():
        [(sequence, _)] = yield [Open("plain", PROMPT)]
        while len(reader.calls) < parts:
            done.append(len(reader.calls))
            yield [Extend(sequence, (9,))]

    def reads():
        return (yield [Read("lengths", tuple("x" * n for n in range(parts * TEXTS_READ - 1)))])[0]

    other = exact.submit(writes())
    found, _ = run(exact, reads())
    other.wait(60)
    assert found[:, 0].tolist() == list(range(parts * TEXTS_READ - 1))
    assert reader.calls == [TEXTS_READ] * (parts - 1) + [TEXTS_READ - 1]
    assert set(range(1, parts)) <= set(done)


def test_a_reader_that_breaks_ends_its_own_task_only(exact, reader):
    good = exact.submit(after("plain", PROMPT, (TEXT, Want.NEXT), (TEXT, Want.NEXT)))
    with pytest.raises(ZeroDivisionError):
        run(exact, read("broken"))
    assert len(good.wait(60)) == 3
