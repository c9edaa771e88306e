"""The service on the tiny model: runs are kept whole, found again, stopped, and refused in words."""

import hashlib

import pytest
import torch
import yaml
from safetensors.torch import save_file

from playground.decoders import DECODERS
from playground.decoders.base import Decoder, Sampling
from playground.errors import UserError
from playground.requests import LaneRequest, RunRequest
from playground.scorers import SCORERS
from playground.service import Continuation, Playground
from playground.service.methods import options_schema
from playground.settings import Settings
from tests.tiny import make_catalogue, make_model


def test_a_run_is_saved_as_it_was_returned(tiny, request_of):
    result = tiny.compare(request_of("greedy", "best_of_n:n=2", "dera:lambda_=0.3", seed=3, max_new_tokens=8))
    assert tiny.open_run(result["id"]) == result
    assert result["status"] == "done"
    assert [lane["status"] for lane in result["lanes"]] == ["done"] * 3


def test_adapted_variants_differ_from_the_reference(tiny, request_of):
    result = tiny.compare(
        request_of("greedy", "greedy:variant=adapted", "dera:aligned=adapted,lambda_=1", max_new_tokens=12)
    )
    plain, adapted, mixed = (lane["token_ids"] for lane in result["lanes"])
    assert plain != adapted
    assert mixed == adapted
    assert "adapter" in result["lanes"][1]["models"]["adapted"]


def test_costs_are_counted_as_if_alone(tiny, request_of):
    result = tiny.compare(request_of("greedy", "dera:lambda_=0", max_new_tokens=10))
    greedy, dera = (lane["cost"] for lane in result["lanes"])
    request = request_of("greedy")
    prompt = len(tiny.prepare(request, request.lanes[0]).lane.encode("reference"))
    written = greedy["generated_tokens"]
    assert greedy["forward_tokens"] == prompt + written - 1
    assert greedy["forward_passes"] == written
    assert dera["forward_tokens"] > 2 * prompt


def test_a_stopped_run_keeps_what_is_there_and_is_saved(tiny, request_of):
    run = tiny.start(request_of("sample", "best_of_n:n=4", "dera:lambda_=0.5", max_new_tokens=1500))
    for _ in run.watch(lambda: 0.01):
        if all((lane.answer and len(lane.answer.token_ids) >= 3) or lane.status == "done" for lane in run.lanes):
            break
    tiny.stop(run.id)
    run.wait(30)
    saved = tiny.open_run(run.id)
    for lane in saved["lanes"]:
        assert lane["finish_reason"] in ("stopped", "end")
        assert len(lane["detail"]["tokens"]) == len(lane["token_ids"]) >= 1
    assert saved["status"] in ("stopped", "done")


def test_a_run_stopped_before_it_began_is_empty_and_saved(tiny, request_of):
    blocker = tiny.start(request_of(*["sample"] * 6, max_new_tokens=300))
    run = tiny.start(request_of("greedy", max_new_tokens=20))
    run.stop()
    run.wait(60)
    blocker.stop()
    blocker.wait(60)
    lane = tiny.open_run(run.id)["lanes"][0]
    assert lane["status"] == "stopped" or lane["finish_reason"] in ("end", "length")


def test_memory_is_free_again_after_runs_however_they_ended(tiny, request_of):
    runs = [tiny.start(request_of("sample", "best_of_n:n=8", max_new_tokens=400), "test") for _ in range(3)]
    for run in runs:
        run.stop()
        run.wait(60)
    tiny.engine.forget_openings()
    assert tiny.engine.kv_bytes == 0


def test_a_prompt_over_the_context_is_refused_with_its_length(tiny, request_of):
    with pytest.raises(UserError, match=r"tokens long for reference.*2,048"):
        tiny.start(request_of("greedy", prompt="q!z?" * 1000))


def test_an_unknown_variant_is_refused_with_the_known_ones(tiny, request_of):
    with pytest.raises(UserError, match=r"no variant 'nobody'.*reference"):
        tiny.start(request_of("greedy:variant=nobody"))


def test_an_unknown_run_is_said(tiny):
    with pytest.raises(UserError, match="no run 'nothing'"):
        tiny.open_run("nothing")


def test_a_refused_run_leaves_nothing_behind(tiny, request_of):
    before = len(tiny.archive.recent(None))
    with pytest.raises(UserError):
        tiny.start(request_of("greedy", "greedy:variant=nobody"))
    assert len(tiny.archive.recent(None)) == before
    assert not tiny._running


def test_models_with_different_tokenizers_are_not_mixed(tmp_path, request_of):
    path = make_catalogue(tmp_path)
    make_model(tmp_path / "other", vocab=300)
    content = yaml.safe_load(path.read_text())
    content["models"]["other"] = {"title": "O", "licence": "none", "source": {"folder": "other"}}
    content["variants"]["strange"] = {"title": "S", "model": "other"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    playground = Playground(Settings(catalogue=path, database=":memory:"))
    with pytest.raises(UserError, match="tiny and other have different tokenizers"):
        playground.start(request_of("dera:aligned=strange"))
    playground.close()


def test_a_pair_of_full_models_is_mixed(tmp_path, request_of):
    """As the Zephyr pair would be: two folders with one tokenizer, each its own passes."""
    path = make_catalogue(tmp_path)
    make_model(tmp_path / "second", seed=7)
    content = yaml.safe_load(path.read_text())
    content["models"]["second"] = {"title": "2", "licence": "none", "source": {"folder": "second"}}
    content["variants"]["tuned"] = {"title": "T", "model": "second"}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    playground = Playground(Settings(catalogue=path, database=":memory:"))
    lanes = ["dera:aligned=tuned,lambda_=1", "greedy:variant=tuned", "dera:aligned=tuned,lambda_=0", "greedy"]
    a, b, c, d = (lane["token_ids"] for lane in playground.compare(request_of(*lanes, max_new_tokens=16))["lanes"])
    assert a == b and c == d and a != c
    playground.close()


def test_a_mixture_of_models_with_different_tokenizers_is_refused_wherever_it_stands(tmp_path, request_of):
    path = make_catalogue(tmp_path)
    make_model(tmp_path / "other", vocab=300)
    content = yaml.safe_load(path.read_text())
    content["models"]["other"] = {"title": "O", "licence": "none", "source": {"folder": "other"}}
    content["variants"]["strange"] = {"title": "S", "model": "other"}
    content["variants"]["odd"] = {"title": "S", "mix": {"strange": 0.5, "reference": 0.5}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    playground = Playground(Settings(catalogue=path, database=":memory:"))
    for lane in ("greedy:variant=0.5*reference+0.5*strange", "sample:variant=odd", "best_of_n:scorer=rrhf(under=odd)"):
        with pytest.raises(UserError, match="different tokenizers"):
            playground.start(request_of(lane))
    playground.close()


def test_greedy_over_a_mixture_is_dera_and_a_named_mixture_is_what_it_names(tiny, request_of):
    lanes = [
        "dera:lambda_=0.25,aligned=adapted",
        "greedy:variant=0.75*reference+0.25*adapted",
        "greedy:variant=0.25*adapted+0.5*reference+0.25*reference",
        "greedy:variant=quarter",
        "sample:variant=quarter,temperature=0",
        "best_of_n:n=3,temperature=0,variant=quarter",
    ]
    result = tiny.compare(request_of(*lanes, max_new_tokens=24))
    dera, *others = result["lanes"]
    assert all(lane["status"] == "done" for lane in result["lanes"])
    for lane in others:
        assert lane["token_ids"] == dera["token_ids"]
    assert dera["token_ids"] != tiny.compare(request_of("greedy", max_new_tokens=24))["lanes"][0]["token_ids"]
    assert set(others[2]["models"]) == {"reference", "adapted"}
    assert others[0]["detail"]["colour"]["number"] == "kl_to_reference"
    top = others[0]["detail"]["tokens"][0]["top"][0]
    assert set(top) == {"id", "text", "reference", "adapted", "mixed"}


def test_a_scorer_reads_a_finished_answer_under_a_mixture(tiny):
    texts = [("the fox", "jumps over the dog"), ("a cake", "once upon a time")]
    plain = tiny.scores("mean_log_prob", texts)
    assert tiny.scores("mean_log_prob(under=0.5*reference+0.5*reference)", texts) == pytest.approx(plain, abs=1e-3)
    mixed = tiny.scores("mean_log_prob(under=quarter)", texts)
    assert mixed == pytest.approx(tiny.scores("mean_log_prob", texts, "0.75*reference+0.25*adapted"), abs=1e-3)
    assert mixed != pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize(
    "method",
    ["greedy", "sample:temperature=0.9", "dera:lambda_=0.5", "sample:variant=quarter", "best_of_n:n=3"],
)
def test_an_answer_goes_on_from_any_of_its_tokens_as_if_nothing_had_happened(tiny, request_of, method):
    run = tiny.compare(request_of(method, seed=4, max_new_tokens=16))
    [whole] = run["lanes"]
    cut = min(11, len(whole["token_ids"]) - 1)
    lane = LaneRequest.checked(method=whole["method"], options=whole["options"], begin=whole["token_ids"][:cut])
    request = RunRequest.checked(prompt="the quick brown fox", lanes=[lane], seed=4, max_new_tokens=16)
    forced = tiny.compare(request)["lanes"][0]
    branch = tiny.start(request, continuation=Continuation(((whole, run["id"]),), 0, cut))
    branch.wait()
    for again in (forced, branch.result()["lanes"][1]):
        if whole["method"] != "best_of_n":  # all of its samples begin so; another one may then be the best
            assert again["token_ids"] == whole["token_ids"]
            assert again["detail"]["tokens"] == whole["detail"]["tokens"]
        assert again["begin"] == whole["token_ids"][:cut]
    assert branch.result()["lanes"][1]["token_ids"] == forced["token_ids"], "bit for bit as if it had been forced"


def test_another_token_turns_the_answer_and_a_text_may_open_it(tiny, request_of):
    [whole] = tiny.compare(request_of("greedy", max_new_tokens=12))["lanes"]
    other = next(c["id"] for c in whole["detail"]["tokens"][3]["top"] if c["id"] != whole["token_ids"][3])
    begin = [*whole["token_ids"][:3], other]
    lane = LaneRequest.checked(method="greedy", begin=begin)
    ask = {"prompt": "the quick brown fox", "max_new_tokens": 12}
    [turned] = tiny.compare(RunRequest.checked(**ask, lanes=[lane]))["lanes"]
    assert turned["token_ids"][:4] == begin
    assert turned["detail"]["tokens"][:3] == whole["detail"]["tokens"][:3]
    [opened] = tiny.compare(RunRequest.checked(**ask, lanes=[LaneRequest.parse("greedy:begin=the lazy dog")]))["lanes"]
    assert opened["text"].startswith("the lazy dog")


@pytest.mark.parametrize(
    "begin, words",
    [
        ((999,), "token 999, but the model knows 3"),
        ((5,) * 9, "9 tokens, over its limit of 8"),
        ("the fox " * 9, "over its limit"),
    ],
)
def test_a_beginning_that_cannot_be_is_refused(tiny, begin, words):
    lane = LaneRequest.checked(method="greedy", begin=begin)
    with pytest.raises(UserError, match=words):
        tiny.start(RunRequest.checked(prompt="Hi", lanes=[lane], max_new_tokens=8))


def test_an_unknown_name_in_a_mixture_is_refused_with_the_known_ones(tiny, request_of):
    with pytest.raises(UserError, match=r"no variant 'nobody'.*reference"):
        tiny.start(request_of("greedy:variant=0.5*reference+0.5*nobody"))


def test_stop_strings_end_answers(tiny, request_of):
    free = tiny.compare(request_of("greedy", max_new_tokens=12))["lanes"][0]
    mark = next(c for c in free["text"][2:] if c.isprintable() and c != "\ufffd")
    cut = tiny.compare(request_of("greedy", max_new_tokens=12, stop=[mark]))["lanes"][0]
    assert cut["finish_reason"] == "stop"
    assert cut["text"] == free["text"][: free["text"].index(mark)]


def test_methods_list_their_options_as_json_schema(tiny):
    methods = {m["name"]: m for m in tiny.methods()}
    assert {"greedy", "sample", "best_of_n", "dera"} <= methods.keys()
    aligned = methods["dera"]["options"]["properties"]["aligned"]
    assert aligned["examples"] == [
        "reference",
        "aligned",
        "adapted",
        "answers",
        "quarter",
    ]
    assert aligned["labels"]["quarter"] == "quarter: Tiny, a quarter adapted"
    assert methods["dera"]["options"]["additionalProperties"] is False


def test_scorers_are_listed_with_their_names_and_that_of_classifiers_only_if_there_is_one(tiny):
    def listed(**changes):
        catalogue = tiny.catalogue.model_copy(update=changes)
        return options_schema(catalogue, "best_of_n")["properties"]["scorer"]

    assert listed()["labels"]["vader"].startswith("vader: ")
    assert (listed()["labels"]["vader"], "vader") in tiny.scorers()
    assert set(listed()["examples"]) == SCORERS.keys() - {"classifier"}
    assert set(listed(classifiers={"reward": None})["examples"]) == SCORERS.keys()


def test_a_method_without_a_model_is_refused_in_words(tiny, request_of, monkeypatch):
    monkeypatch.setitem(DECODERS, "odd", Decoder("odd", "Odd", "Odd.", Sampling, None, in_front=()))
    with pytest.raises(UserError, match="odd names no model"):
        tiny.start(request_of("odd"))


def test_a_database_that_cannot_be_opened_is_said(tiny_catalogue, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="PLAYGROUND_DATABASE"):
        Playground(Settings(catalogue=tiny_catalogue, database=tmp_path / "file" / "x.db"))


def test_a_run_that_cannot_be_saved_says_so_and_keeps_its_answers(tiny, request_of, monkeypatch):
    def full(run):
        raise OSError("disk full")

    monkeypatch.setattr(tiny.archive.store, "save", full)
    run = tiny.start(request_of("greedy", max_new_tokens=4))
    run.wait(30)
    assert "disk full" in run.notice
    assert run.result()["lanes"][0]["token_ids"]
    assert not tiny._running


def test_what_a_variant_has_learned_writes_and_stands_in_the_run(tmp_path, request_of):
    catalogue = make_catalogue(tmp_path)
    soft = tmp_path / "adapters" / "soft"
    soft.mkdir(parents=True)
    torch.manual_seed(5)
    save_file({"vectors": torch.randn(3, 64)}, soft / "soft_prompt.safetensors")
    digest = hashlib.sha256((soft / "soft_prompt.safetensors").read_bytes()).hexdigest()
    playground = Playground(Settings(catalogue=catalogue, database=":memory:", kv_megabytes=64))
    plain, soft = playground.compare(request_of("greedy", "greedy:variant=soft", max_new_tokens=12))["lanes"]
    assert plain["token_ids"] != soft["token_ids"]
    assert f"soft_prompt {digest[:12]}" in soft["models"]["soft"]
    prompt = len(playground.prepare(request_of("greedy"), request_of("greedy").lanes[0]).lane.encode("soft"))
    assert soft["cost"]["forward_tokens"] == prompt + 3 + soft["cost"]["generated_tokens"] - 1
    context = playground.memory.model_of("soft").context
    with pytest.raises(UserError, match=f"{prompt + 3:,} tokens long for soft"):
        playground.start(request_of("greedy:variant=soft", max_new_tokens=context - prompt - 2))
    playground.close()
