"""Laws of the methods, for every registered decoder: on a scripted model, and on the tiny and the embedded one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playground.branch import logits
from playground.decoders import DECODERS
from playground.errors import UserError
from playground.policy import Policy
from playground.requests import LaneRequest
from tests.fakes import END, VOCABULARY, random_script, run, spell

SMALL_RAIN = {"scorer": "vader", "max_inner": 5, "min_visits": 2, "candidates": 4, "simulate": 3, "lengths": "1 2"}
BRANCHING = {
    "best_of_n": {"n": 3},
    "diverse_beams": {"beams": 3},
    "beam": {"beams": 3},
    "aspire": {"beams": 3},
    "cbs": {"width": 2, "successors": 2, "chunk": 3},
    "ivg": {"width": 2, "successors": 2, "chunk": 3},
    "rain": SMALL_RAIN,
}
DROPPING = {"beam", "aspire", "cbs", "ivg"}
"""Methods whose answers share beginnings, and that drop some on the way."""
seeds = st.integers(0, 10_000)


MIXTURE = "0.3*reference+0.9*aligned-0.2*told"


def options(name: str, policy: str = "", **more):
    kind = DECODERS[name].options.model_fields
    written_by = {field: policy for field in ("variant", "reference") if policy and field in kind}
    return {**BRANCHING.get(name, {}), **written_by, **more}


@pytest.mark.parametrize("policy", ["reference", MIXTURE], ids=["variant", "mixture"])
@pytest.mark.parametrize("name", DECODERS)
class TestEveryDecoder:
    @given(seed=seeds, salt=seeds)
    def test_repeats_itself_under_the_same_seed(self, name, policy, seed, salt):
        first, second = (run(DECODERS[name], options(name, policy), random_script(salt), seed=seed) for _ in range(2))
        assert first.answer.token_ids == second.answer.token_ids
        assert first.detail == second.detail

    @given(seed=seeds, salt=seeds, limit=st.integers(1, 9))
    def test_keeps_to_the_limit_and_says_why_it_ended(self, name, policy, seed, salt, limit):
        lane = run(DECODERS[name], options(name, policy), random_script(salt), seed=seed, max_new_tokens=limit)
        ids = lane.answer.token_ids
        assert 1 <= len(ids) <= limit
        assert END not in ids[:-1]
        assert lane.answer.finish_reason == ("end" if ids[-1] == END else "length")

    @given(seed=seeds, salt=seeds)
    def test_text_is_that_of_its_tokens_without_the_end(self, name, policy, seed, salt):
        lane = run(DECODERS[name], options(name, policy), random_script(salt), seed=seed)
        assert lane.answer.text == "".join(VOCABULARY[i] for i in lane.answer.token_ids if i != END)
        assert [r["id"] for r in lane.detail["tokens"]] == lane.answer.token_ids

    @given(seed=seeds, salt=seeds)
    def test_counts_every_generated_token_once(self, name, policy, seed, salt):
        lane = run(DECODERS[name], options(name, policy), random_script(salt), seed=seed)
        drawn = lane.detail.get("candidates", [{"token_ids": lane.answer.token_ids}])
        if name in DROPPING:
            assert lane.cost.generated_tokens >= max(len(c["token_ids"]) for c in drawn)
        elif "tree" in lane.detail:  # what it looked ahead stands in no node
            assert lane.cost.generated_tokens >= sum(len(node["tokens"]) for node in lane.detail["tree"]["nodes"])
        else:
            assert lane.cost.generated_tokens == sum(len(c["token_ids"]) for c in drawn)

    @given(seed=seeds, salt=seeds, rounds=st.integers(1, 8))
    def test_stopped_it_keeps_what_it_would_have_written_so_far(self, name, policy, seed, salt, rounds):
        script = random_script(salt)
        whole = run(DECODERS[name], options(name, policy), script, seed=seed)
        part = run(DECODERS[name], options(name, policy), script, stop_after=rounds, seed=seed)
        if part.answer.finish_reason == "stopped" and "committed" in part.detail.get("tree", {}):
            texts = [node["text"] for node in part.detail["tree"]["nodes"]]
            assert all(record["text"] in texts[record["node"]] for record in part.detail["tokens"])
            steps = [step for step in part.detail["tree"]["steps"] if step["kind"] != "take"]
            assert steps == whole.detail["tree"]["steps"][: len(steps)]
            assert [i for n in part.detail["tree"]["committed"] for i in part.detail["tree"]["nodes"][n]["tokens"]][
                : len(part.answer.token_ids)
            ] == part.answer.token_ids
        elif part.answer.finish_reason == "stopped" and name in DROPPING:
            found = part.detail.get("candidates", [{"token_ids": []}])  # none before the prompt has been read
            assert part.answer.token_ids in [c["token_ids"] for c in found]
            assert len(part.answer.token_ids) <= rounds
        elif part.answer.finish_reason == "stopped":
            drafts = [c["token_ids"] for c in whole.detail.get("candidates", [{"token_ids": whole.answer.token_ids}])]
            assert any(ids[: len(part.answer.token_ids)] == part.answer.token_ids for ids in drafts)
            assert len(part.answer.token_ids) <= rounds

    def test_ends_before_a_stop_string(self, name, policy):
        lane = run(
            DECODERS[name],
            options(
                name, policy, **({"temperature": 0.01} if "temperature" in DECODERS[name].options.model_fields else {})
            ),
            spell("one. two"),
            stop=(". t",),
        )
        assert (lane.answer.text, lane.answer.finish_reason) == ("one", "stop")

    def test_probabilities_of_candidates_are_probabilities(self, name, policy):
        lane = run(DECODERS[name], options(name, policy), random_script(3))
        for record in lane.detail["tokens"]:
            assert record["top"] or "node" in record
            for candidate in record["top"]:
                shares = [v for k, v in candidate.items() if k not in ("id", "text")]
                assert all(0 <= share <= 1 for share in shares)

    @given(seed=seeds, salt=seeds, begin=st.lists(st.integers(0, END - 1), max_size=5))
    def test_a_forced_beginning_opens_the_answer(self, name, policy, seed, salt, begin):
        lane = run(DECODERS[name], options(name, policy), random_script(salt), seed=seed, begin=tuple(begin))
        assert lane.answer.token_ids[: len(begin)] == begin
        assert len(lane.answer.token_ids) > len(begin) or lane.answer.ended
        for candidate in lane.detail.get("candidates", []):
            assert candidate["token_ids"][: len(begin)] == begin

    @given(seed=seeds, salt=seeds, cut=st.integers(0, 8))
    def test_taking_the_drawn_tokens_changes_nothing(self, name, policy, seed, salt, cut):
        if not DECODERS[name].by_token or DECODERS[name].many:
            return
        script = random_script(salt)
        whole = run(DECODERS[name], options(name, policy), script, seed=seed)
        begin = tuple(whole.answer.token_ids[:cut])
        again = run(DECODERS[name], options(name, policy), script, seed=seed, begin=begin)
        assert again.answer.token_ids == whole.answer.token_ids
        assert again.detail == whole.detail
        known = tuple(whole.answer.records[: min(cut, len(whole.answer.records) - 1)])
        begin = tuple(record["id"] for record in known)
        branch = run(DECODERS[name], options(name, policy), script, seed=seed, begin=begin, known=known)
        assert branch.answer.token_ids == whole.answer.token_ids
        assert branch.detail == whole.detail

    @given(seed=seeds, salt=seeds)
    def test_a_mixture_written_otherwise_writes_the_same(self, name, policy, seed, salt):
        if policy != MIXTURE:
            return
        script = random_script(salt)
        split = "0.5*aligned-0.2*told+0.1*reference+0.4*aligned+0.2*reference"
        one, other = (run(DECODERS[name], options(name, text), script, seed=seed) for text in (MIXTURE, split))
        assert one.answer.token_ids == other.answer.token_ids
        assert [r["log_prob"] for r in one.detail["tokens"]] == [r["log_prob"] for r in other.detail["tokens"]]

    @given(seed=seeds, salt=seeds)
    def test_a_mixture_of_one_and_a_named_mixture_are_what_they_stand_for(self, name, policy, seed, salt):
        script = random_script(salt)
        plain = run(DECODERS[name], options(name, policy), script, seed=seed)
        known = {"named": Policy(policy), "aligned": Policy("aligned")}
        named = run(
            DECODERS[name], options(name, "named"), script, seed=seed, resolve=lambda asked: known.get(asked, asked)
        )
        assert named.answer.token_ids == plain.answer.token_ids


@given(seed=seeds, salt=seeds, lambda_=st.sampled_from([0.0, 1.0]), temperature=st.sampled_from([0.0, 0.7, 1.0]))
def test_dera_at_0_is_the_reference_and_at_1_the_aligned(seed, salt, lambda_, temperature):
    script = random_script(salt)
    mixed = run(DECODERS["dera"], {"lambda_": lambda_, "temperature": temperature}, script, seed=seed)
    variant = "aligned" if lambda_ else "reference"
    plain = run(DECODERS["sample"], {"variant": variant, "temperature": temperature}, script, seed=seed)
    assert mixed.answer.token_ids == plain.answer.token_ids


@given(salt=seeds, lambda_=st.floats(-1, 5))
def test_dera_records_the_divergences_of_its_mixture(salt, lambda_):
    script = random_script(salt)
    lane = run(DECODERS["dera"], {"lambda_": lambda_}, script)
    ids = tuple(lane.answer.token_ids)
    for at, record in enumerate(lane.detail["tokens"]):
        reference, aligned = (script(v, ids[:at]).double() for v in ("reference", "aligned"))
        mixed = ((1 - lambda_) * reference + lambda_ * aligned).log_softmax(-1)
        assert record["kl_to_reference"] == pytest.approx(float((mixed.exp() * (mixed - reference)).sum()), abs=1e-3)
        assert record["kl_to_aligned"] == pytest.approx(float((mixed.exp() * (mixed - aligned)).sum()), abs=1e-3)
        for candidate in record["top"]:
            assert candidate["mixed"] == pytest.approx(float(mixed[candidate["id"]].exp()), abs=1e-3)


@given(salt=seeds, diversity=st.floats(0, 5))
def test_diverse_beams_choose_as_the_rule_says(salt, diversity):
    script = random_script(salt)
    lane = run(DECODERS["diverse_beams"], {"beams": 3, "diversity": diversity, "temperature": 0.5}, script)
    beams = [c["token_ids"] for c in lane.detail["candidates"]]
    for step in range(max(map(len, beams))):
        earlier = []
        for ids in (ids for ids in beams if len(ids) > step):
            scores = script("reference", tuple(ids[:step])) / 0.5
            for token in earlier:
                scores[token] -= diversity
            assert ids[step] == int(scores.argmax())
            earlier.append(ids[step])


def test_diverse_beams_part_and_without_diversity_are_one():
    apart = run(DECODERS["diverse_beams"], {"beams": 4, "diversity": 20.0}, random_script(2))
    firsts = [c["token_ids"][0] for c in apart.detail["candidates"]]
    assert len(set(firsts)) == 4
    together = run(DECODERS["diverse_beams"], {"beams": 4, "diversity": 0.0}, random_script(2))
    assert len({tuple(c["token_ids"]) for c in together.detail["candidates"]}) == 1
    assert together.answer.token_ids == run(DECODERS["greedy"], {}, random_script(2)).answer.token_ids


def test_dera_below_zero_warns():
    assert "warning" in run(DECODERS["dera"], {"lambda_": -0.5}, random_script()).detail
    assert "warning" not in run(DECODERS["dera"], {"lambda_": 0.5}, random_script()).detail


@given(seed=seeds, salt=seeds, lambdas=st.lists(st.integers(-10, 50), min_size=3, max_size=3), turn=st.integers(1, 6))
def test_a_schedule_gives_every_token_its_lambda(seed, salt, lambdas, turn):
    script = random_script(salt)
    inside, after, outside = (λ / 10 for λ in lambdas)
    schedule = f"2-{turn + 1}:{inside} {turn + 3}-:{after}"
    lane = run(DECODERS["dera"], {"lambda_": outside, "schedule": schedule, "temperature": 1.0}, script, seed=seed)
    expected = [outside, *[inside] * turn, outside, *[after] * 99]
    for at, record in enumerate(lane.detail["tokens"]):
        assert record["lambda"] == expected[at]
        ids = tuple(lane.answer.token_ids[:at])
        λ = expected[at]
        mixed = logits.mix([script("reference", ids), script("aligned", ids)], [1 - λ, λ])
        assert record["log_prob"] == pytest.approx(float(mixed[lane.answer.token_ids[at]]), abs=1e-4)


@given(seed=seeds, salt=seeds, lambda_=st.integers(-20, 100), temperature=st.sampled_from([0.0, 1.0]))
def test_dera_is_sampling_from_the_mixture_it_stands_for(seed, salt, lambda_, temperature):
    λ, script = lambda_ / 20, random_script(salt)
    mixture = f"{1 - λ:g}*reference+{λ:g}*aligned".replace("+-", "-")
    dera = run(DECODERS["dera"], {"lambda_": λ, "temperature": temperature}, script, seed=seed)
    mixed = run(DECODERS["sample"], {"variant": mixture, "temperature": temperature}, script, seed=seed)
    assert dera.answer.token_ids == mixed.answer.token_ids


def test_dera_over_mixtures_mixes_what_they_stand_for():
    script = random_script(4)
    inner = {"reference": "0.5*reference+0.5*told", "aligned": "aligned", "lambda_": 0.5}
    dera = run(DECODERS["dera"], inner, script)
    flat = run(DECODERS["greedy"], {"variant": "0.25*reference+0.25*told+0.5*aligned"}, script)
    assert dera.answer.token_ids == flat.answer.token_ids


def test_a_continuation_begins_as_asked_and_goes_on_at_its_own_lambda():
    lane = run(DECODERS["dera"], {"lambda_": 1.0}, random_script(5), begin=(3, 1, 2))
    assert lane.answer.token_ids[:3] == [3, 1, 2]
    assert lane.answer.token_ids[3] == int(random_script(5)("aligned", (3, 1, 2)).argmax())


def test_a_turned_dial_keeps_what_every_token_before_was_written_at():
    script, options = random_script(5), DECODERS["dera"].options(lambda_=0.2, schedule="2-3:1.5")
    first = run(DECODERS["dera"], options.model_dump(), script)
    turned = DECODERS["dera"].dial.turned(options, first.detail["tokens"], 4, 3.0)
    second = run(DECODERS["dera"], turned.model_dump(), script, begin=tuple(first.answer.token_ids[:4]))
    assert [r["lambda"] for r in second.detail["tokens"]][:4] == [0.2, 1.5, 1.5, 0.2]
    assert {r["lambda"] for r in second.detail["tokens"][4:]} <= {3.0}
    assert second.detail["tokens"][:4] == first.detail["tokens"][:4]


@pytest.mark.parametrize(
    "options, told",
    [
        ({"schedule": "1-8"}, "1-8"),
        ({"schedule": "8-1:0.5"}, "empty"),
        ({"schedule": "0-4:0.5"}, "count tokens from 1"),
        ({"schedule": "1-4:9"}, "from -1 to 5"),
        ({"schedule": "1-4:nan"}, "nan"),
    ],
)
def test_a_wrong_schedule_is_said(options, told):
    with pytest.raises(UserError, match=told):
        LaneRequest(method="dera", options=options)


@given(seed=seeds, salt=seeds)
def test_greedy_is_sampling_at_temperature_0(seed, salt):
    script = random_script(salt)
    greedy = run(DECODERS["greedy"], {}, script, seed=seed)
    assert (
        greedy.answer.token_ids == run(DECODERS["sample"], {"temperature": 0}, script, seed=seed + 1).answer.token_ids
    )
    ids = tuple(greedy.answer.token_ids)
    assert all(token == int(script("reference", ids[:at]).argmax()) for at, token in enumerate(ids))


@given(seed=seeds, salt=seeds, n=st.integers(1, 6))
def test_best_of_n_keeps_the_best_and_its_first_answer_is_plain_sampling(seed, salt, n):
    script = random_script(salt)
    lane = run(DECODERS["best_of_n"], {"n": n}, script, seed=seed)
    candidates = lane.detail["candidates"]
    assert len(candidates) == n
    assert candidates[0]["token_ids"] == run(DECODERS["sample"], {}, script, seed=seed).answer.token_ids
    best = candidates[lane.detail["chosen"]]
    assert best["score"] == max(c["score"] for c in candidates)
    assert lane.answer.token_ids == best["token_ids"]
    for candidate in candidates:
        ids = tuple(candidate["token_ids"])
        mean = sum(float(script("reference", ids[:i])[t]) for i, t in enumerate(ids)) / len(ids)
        assert candidate["score"] == pytest.approx(mean, abs=1e-4)


def test_a_stopped_best_of_n_keeps_the_likeliest_answer_so_far_and_says_so():
    for salt in range(30):
        lane = run(DECODERS["best_of_n"], {"n": 4}, random_script(salt), stop_after=4)
        assert lane.stopped
        means = [sum(d) / len(d) for d in _log_probs(lane, salt)]
        assert means[lane.detail["chosen"]] == max(means)
        assert lane.answer.token_ids == lane.detail["candidates"][lane.detail["chosen"]]["token_ids"]


def _log_probs(lane, salt):
    script = random_script(salt)
    for candidate in lane.detail["candidates"]:
        ids = tuple(candidate["token_ids"])
        yield [float(script("reference", ids[:i])[t]) for i, t in enumerate(ids)]


@given(seed=seeds, temperature=st.sampled_from([1e-5, 1e-42, 1e-300]))
def test_the_coldest_temperatures_are_greedy(seed, temperature):
    script = random_script(seed)
    cold = run(DECODERS["sample"], {"temperature": temperature}, script, seed=seed)
    assert cold.answer.token_ids == run(DECODERS["greedy"], {}, script).answer.token_ids


def test_sampling_follows_the_distribution():
    """Of 4,000 draws of a first token every share lies within 5 standard errors of its probability."""
    script = random_script(1)
    counts = torch.zeros(len(VOCABULARY))
    for seed in range(4000):
        counts[run(DECODERS["sample"], {}, script, seed=seed, max_new_tokens=1).answer.token_ids[0]] += 1
    p = script("reference", ()).exp()
    assert ((counts / 4000 - p).abs() <= 5 * (p * (1 - p) / 4000).sqrt() + 1e-4).all()


PLAIN = ("greedy", "sample:temperature=0.9", "best_of_n:n=3", "dera:lambda_=0.5", "sample:top_p=0.9", "eft")
SEARCHES = (
    "rain:scorer=self_eval,soft=true,max_inner=3,candidates=4,max_seconds=600",
    "cbs:width=2,successors=2,chunk=3",
    "ivg:width=2,successors=2,chunk=10,scorer=implicit(reduce=sum)",
)


class TestOnRealModels:
    """The same laws where the numbers come out of real arithmetic, in one batch with other lanes."""

    @pytest.mark.parametrize("service", ["tiny", "embedded"])
    @pytest.mark.parametrize("lambda_, variant", [(0, "reference"), (1, "aligned")])
    @pytest.mark.parametrize("temperature", [0, 1])
    def test_dera_at_the_ends_is_the_plain_model(self, service, lambda_, variant, temperature, request, request_of):
        playground = request.getfixturevalue(service)
        result = playground.compare(
            request_of(
                f"dera:lambda_={lambda_},temperature={temperature}",
                f"sample:variant={variant},temperature={temperature}",
                seed=5,
                max_new_tokens=24,
            )
        )
        dera, plain = result["lanes"]
        assert dera["token_ids"] == plain["token_ids"]

    @pytest.mark.parametrize("name", DECODERS)
    def test_every_methods_defaults_run(self, tiny, name, request_of):
        [lane] = tiny.compare(request_of(name, max_new_tokens=6))["lanes"]
        assert (lane["status"], lane["error"]) == ("done", None)
        assert lane["token_ids"]

    @pytest.mark.parametrize("service", ["tiny", "embedded"])
    @pytest.mark.parametrize("lanes", [PLAIN, SEARCHES], ids=["plain", "searches"])
    def test_every_method_answers_alike_alone_and_in_company(self, service, lanes, request, request_of):
        playground = request.getfixturevalue(service)
        together = playground.compare(request_of(*lanes, seed=11, max_new_tokens=32))
        for lane, beside in zip(lanes, together["lanes"], strict=True):
            alone = playground.compare(request_of(lane, seed=11, max_new_tokens=32))["lanes"][0]
            assert alone["token_ids"] == beside["token_ids"], lane
            same = ("generated_tokens", "forward_tokens", "forward_passes")
            assert {k: alone["cost"][k] for k in same} == {k: beside["cost"][k] for k in same}, lane
            assert alone["detail"] == beside["detail"], lane
