"""Laws of EFT, CBS and IVG on a scripted model: what each is a special case of, and what ends or breaks a search."""

import math
import zlib
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from playground.bench import by_our_kernels, plainly
from playground.branch import reading
from playground.decoders import DECODERS
from playground.decoders.base import decode
from playground.errors import UserError
from playground.policy import Policy
from playground.record import Detail
from playground.requests import LaneRequest
from playground.scorers import SCORERS
from playground.scorers.base import Scorer
from playground.service import Playground
from playground.settings import Settings
from tests.fakes import END, VOCABULARY, drive, make_lane, put_through, random_script, run

seeds = st.integers(0, 10_000)
weights = st.integers(-20, 60).map(lambda twentieths: twentieths / 20)
temperatures = st.sampled_from([0.0, 0.7, 1.0])
SUM = "implicit(reduce=sum)"


def few_values(ids) -> float:
    """A score of token ids with many ties."""
    return float(zlib.crc32(repr(list(ids)).encode()) % 5)


def scripted(score):
    """A scorer that says `score(token ids)`."""

    def run(lane, writer, answers, options):
        return [score(answer.token_ids) for answer in answers]
        yield  # a generator that asks for nothing

    return Scorer("scripted", "Scripted", run)


@pytest.fixture(autouse=True)
def scripted_scorer(monkeypatch):
    monkeypatch.setitem(SCORERS, "scripted", scripted(few_values))


def restless(salt: int, push: float = 2.0):
    """A random script whose answers end early."""
    script = random_script(salt)

    def ending(variant, ids):
        logits = script(variant, ids).clone()
        logits[END] += push
        return logits.log_softmax(-1)

    return ending


def by_chance(**shares):
    """A model that draws among these tokens, by their letters (`end` for the end), whatever stands before."""
    logits = torch.full((len(VOCABULARY),), -30.0)
    for letter, share in shares.items():
        logits[END if letter == "end" else VOCABULARY.index(letter)] = math.log(share)
    return lambda variant, ids: logits.log_softmax(-1)


def steps_of(lane, kind):
    return [step for step in lane.detail["tree"]["steps"] if step["kind"] == kind]


def ids_of_nodes(lane):
    """Node of the picture → all token ids from the beginning to its end."""
    found = {0: ()}
    for step in steps_of(lane, "expand"):
        for child in step["children"]:
            found[child["id"]] = (*found[step["node"]], *child["tokens"])
    return found


class TestEft:
    @given(seed=seeds, salt=seeds, weight=weights, temperature=temperatures)
    def test_over_its_untuned_model_it_is_dera(self, seed, salt, weight, temperature):
        script = random_script(salt)
        pair = {"variant": "reference", "tuned": "aligned", "untuned": "reference"}
        eft = run(DECODERS["eft"], {"weight": weight, "temperature": temperature, **pair}, script, seed=seed)
        dera = run(DECODERS["dera"], {"lambda_": weight, "temperature": temperature}, script, seed=seed)
        assert eft.answer.token_ids == dera.answer.token_ids
        assert eft.answer.log_probs == dera.answer.log_probs

    @given(seed=seeds, salt=seeds, temperature=temperatures)
    def test_without_weight_it_is_sampling_from_its_base(self, seed, salt, temperature):
        script = random_script(salt)
        options = {"variant": "large", "temperature": temperature}
        eft = run(DECODERS["eft"], {"weight": 0, **options}, script, seed=seed)
        plain = run(DECODERS["sample"], options, script, seed=seed)
        assert eft.answer.token_ids == plain.answer.token_ids
        assert eft.answer.log_probs == plain.answer.log_probs

    @given(seed=seeds, salt=seeds, weight=weights)
    def test_over_several_tuned_models_it_is_the_mixture_written_out(self, seed, salt, weight):
        """base + w·(aligned − untuned) + w/2·(kind − untuned) − w/4·(rude − untuned)"""
        script, w = random_script(salt), weight
        eft = run(
            DECODERS["eft"],
            {"variant": "large", "tuned": "aligned+0.5*kind-0.25*rude", "weight": w},
            script,
            seed=seed,
        )
        mixture = f"large + {w:g}*aligned + {w / 2:g}*kind + {-w / 4:g}*rude + {-1.25 * w:g}*reference"
        mixture = mixture.replace("+ -", "- ")
        plain = run(DECODERS["sample"], {"variant": mixture, "temperature": 0.7}, script, seed=seed)
        assert eft.answer.token_ids == plain.answer.token_ids
        assert eft.answer.log_probs == pytest.approx(plain.answer.log_probs, abs=1e-4)

    @given(seed=seeds, salt=seeds, weight=weights)
    @pytest.mark.parametrize("tuned", ["aligned", "0.5*aligned", "aligned+0.5*kind"])
    def test_it_records_the_implicit_value_that_guides_and_its_sum(self, tuned, seed, salt, weight):
        script = random_script(salt)
        lane = run(DECODERS["eft"], {"weight": weight, "variant": "large", "tuned": tuned}, script, seed=seed)
        so_far = 0.0
        for at, (token, record) in enumerate(zip(lane.answer.token_ids, lane.detail["tokens"], strict=True)):
            ids = tuple(lane.answer.token_ids[:at])
            untuned = script("reference", ids)[token]
            value = sum(share * float(script(name, ids)[token] - untuned) for name, share in Policy(tuned).terms)
            so_far += value
            assert record["implicit_value"] == pytest.approx(value, abs=1e-4)
            assert record["implicit_sum"] == pytest.approx(so_far, abs=1e-3)
        [curve] = lane.detail["curves"]
        assert curve["points"] == [(n, r["implicit_sum"]) for n, r in enumerate(lane.detail["tokens"], 1)]

    def test_a_weight_below_zero_warns(self):
        assert "warning" in run(DECODERS["eft"], {"weight": -0.5}, random_script()).detail
        assert "warning" not in run(DECODERS["eft"], {"weight": 0.5}, random_script()).detail


def naive_cbs(script, score, options, seed, limit):
    """Chunk-level beam search over plain lists, everything computed anew. Returns the kept beams after every chunk,
    best first: (token ids, score) each."""

    def rng(*path):
        return np.random.default_rng([seed, *path, len(path) - 1])

    def ended(ids):
        return bool(ids) and (ids[-1] == END or len(ids) == limit)

    kept, found = [([], rng(0), -math.inf)], []
    while not all(ended(ids) for ids, _, _ in kept):
        candidates = [beam for beam in kept if ended(beam[0])]
        for rank, (ids, own, _) in enumerate(kept):
            if ended(ids):
                continue
            count = options.successors if found else options.successors * options.width
            for number in range(count):
                path = (rank * count + number, len(found)) if found else (number,)
                draws, new = (rng(*path) if number else own), list(ids)
                while len(new) < len(ids) + options.chunk and not ended(new):
                    new.append(options.choose(script("reference", tuple(new)), new, draws))
                candidates.append((new, draws, score(new)))
        kept = []
        for beam in sorted(candidates, key=lambda beam: -beam[2]):
            if len(kept) < options.width and all(beam[0] != other for other, _, _ in kept):
                kept.append(beam)
        found.append([(ids, value) for ids, _, value in kept])
    return found


class TestCbs:
    @given(
        seed=seeds,
        salt=seeds,
        width=st.integers(1, 4),
        successors=st.integers(1, 4),
        chunk=st.integers(1, 14),
        scorer=st.sampled_from(["scripted", SUM]),
    )
    def test_it_is_what_plain_loops_over_token_lists_find(self, seed, salt, width, successors, chunk, scorer):
        script = restless(salt)

        def implicit(ids):
            places = [(token, tuple(ids[:at])) for at, token in enumerate(ids)]
            return sum(
                float(script("aligned", past)[token] - script("reference", past)[token]) for token, past in places
            )

        chosen = {"width": width, "successors": successors, "chunk": chunk, "scorer": scorer}
        lane = run(DECODERS["cbs"], chosen, script, seed=seed)
        options = DECODERS["cbs"].options(**chosen)
        found = naive_cbs(script, few_values if scorer == "scripted" else implicit, options, seed, 12)
        assert lane.answer.token_ids == found[-1][0][0]
        assert [c["token_ids"] for c in lane.detail["candidates"]] == [ids for ids, _ in found[-1]]
        scores = [c["score"] for c in lane.detail["candidates"]]
        assert scores == pytest.approx([value for _, value in found[-1]], abs=1e-3)
        texts = ids_of_nodes(lane)
        kept = [[list(texts[node]) for node in step["nodes"]] for step in steps_of(lane, "keep")]
        assert kept == [[ids for ids, _ in beams] for beams in found]
        assert [length for length, _ in lane.detail["curves"][0]["points"]] == [len(beams[0][0]) for beams in found]
        assert all(len(child["tokens"]) <= chunk for step in steps_of(lane, "expand") for child in step["children"])

    @given(seed=seeds, salt=seeds, n=st.integers(1, 6), scorer=st.sampled_from(["mean_log_prob", "scripted", SUM]))
    def test_one_beam_and_one_chunk_are_best_of_n(self, seed, salt, n, scorer):
        script = restless(salt)
        same = {"scorer": scorer, "temperature": 1.0}
        cbs = run(DECODERS["cbs"], {"width": 1, "successors": n, "chunk": 12, **same}, script, seed=seed)
        best = run(DECODERS["best_of_n"], {"n": n, **same}, script, seed=seed)
        assert cbs.answer.token_ids == best.answer.token_ids
        assert cbs.detail["candidates"][0]["score"] == max(c["score"] for c in best.detail["candidates"])
        drawn = [c["tokens"] for step in steps_of(cbs, "expand") for c in step["children"]]
        assert drawn == [c["token_ids"] for c in best.detail["candidates"]]
        assert cbs.cost.generated_tokens == best.cost.generated_tokens

    @given(seed=seeds, salt=seeds, chunk=st.integers(1, 12), temperature=temperatures)
    def test_one_beam_and_one_successor_are_sampling(self, seed, salt, chunk, temperature):
        script = random_script(salt)
        options = {"width": 1, "successors": 1, "chunk": chunk, "scorer": "scripted"}
        cbs = run(DECODERS["cbs"], {**options, "temperature": temperature}, script, seed=seed)
        plain = run(DECODERS["sample"], {"temperature": temperature}, script, seed=seed)
        assert cbs.answer.token_ids == plain.answer.token_ids
        assert cbs.cost.generated_tokens == plain.cost.generated_tokens

    def test_an_ended_beam_keeps_its_score_and_one_place(self, monkeypatch):
        """The empty answer is best, and drawn again and again; the other place goes to the best of the others."""
        monkeypatch.setitem(SCORERS, "scripted", scripted(lambda ids: 1.0 if ids == [END] else -len(ids)))
        options = {"width": 2, "successors": 4, "chunk": 1, "scorer": "scripted"}
        lane = run(DECODERS["cbs"], options, by_chance(a=0.5, end=0.5), max_new_tokens=6)
        texts = ids_of_nodes(lane)
        first, *later = ([texts[node] for node in step["nodes"]] for step in steps_of(lane, "keep"))
        assert first == [(END,), (0,)]
        assert later and all(beams[0] == (END,) and len(beams) == len(set(beams)) == 2 for beams in later)
        assert len({step["nodes"][0] for step in steps_of(lane, "keep")}) == 1, "it is the same beam throughout"
        judged = [step["node"] for step in steps_of(lane, "evaluate")]
        assert len(judged) == len(set(judged)), "a beam that has ended is not scored again"
        assert (lane.answer.token_ids, lane.detail["candidates"][0]["score"]) == ([END], 1.0)

    def test_an_ended_beam_makes_room_for_better_ones(self, monkeypatch):
        monkeypatch.setitem(SCORERS, "scripted", scripted(lambda ids: ids.count(0)))
        options = {"width": 2, "successors": 4, "chunk": 1, "scorer": "scripted"}
        lane = run(DECODERS["cbs"], options, by_chance(a=0.5, end=0.5), max_new_tokens=6)
        texts = ids_of_nodes(lane)
        first, second, *_ = ([texts[node] for node in step["nodes"]] for step in steps_of(lane, "keep"))
        assert first == [(0,), (END,)]
        assert second == [(0, 0), (0, END)]

    def test_beams_that_read_the_same_are_kept_once(self):
        options = {"width": 3, "successors": 2, "chunk": 2, "scorer": "scripted"}
        lane = run(DECODERS["cbs"], options, by_chance(a=1.0), max_new_tokens=6)
        assert [len(step["nodes"]) for step in steps_of(lane, "keep")] == [1, 1, 1]
        assert [c["token_ids"] for c in lane.detail["candidates"]] == [[0] * 6]
        expanded = [len(step["children"]) for step in steps_of(lane, "expand")]
        assert expanded == [6, 2, 2], "width · successors at first, then so many for each beam"

    def test_all_beams_may_end_at_once(self):
        options = {"width": 3, "successors": 2, "chunk": 4, "scorer": "scripted"}
        lane = run(DECODERS["cbs"], options, by_chance(end=1.0))
        assert (lane.answer.token_ids, lane.answer.text, lane.answer.finish_reason) == ([END], "", "end")
        assert len(steps_of(lane, "keep")) == 1
        assert steps_of(lane, "take") == [{"kind": "take", "path": [1]}]

    @pytest.mark.parametrize("method", ["cbs", "ivg"])
    def test_a_scorer_that_gives_no_number_in_the_middle_ends_it_and_what_was_written_stays(self, method, monkeypatch):
        monkeypatch.setitem(SCORERS, "scripted", scripted(lambda ids: math.nan if len(ids) > 6 else few_values(ids)))
        lane = make_lane()
        options = DECODERS[method].options(width=2, successors=2, chunk=3, scorer="scripted")
        with pytest.raises(UserError, match=r"scorer scripted gave .*nan.*one finite number"):
            drive(decode(DECODERS[method], lane, options), by_chance(a=0.5, b=0.5))
        assert len(lane.answer.token_ids) == 9
        assert lane.detail["tokens"] == lane.answer.records and len(lane.detail["tokens"]) == 9
        assert len(steps_of(lane, "keep")) == 2
        assert lane.detail["candidates"][0]["token_ids"] == lane.answer.token_ids
        TypeAdapter(Detail).validate_python(lane.detail)

    @given(seed=seeds, salt=seeds, rounds=st.integers(6, 8))
    @pytest.mark.parametrize("method", ["cbs", "ivg"])
    def test_stopped_in_the_middle_of_a_chunk_it_keeps_the_best_beam(self, method, seed, salt, rounds):
        """A token takes a round, noted log-probabilities none: in rounds 6 to 8 the second chunk of four is open."""
        script = random_script(salt)
        options = {"width": 2, "successors": 2, "chunk": 4, "scorer": "mean_log_prob", "temperature": 1.0}
        whole = run(DECODERS[method], options, script, seed=seed)
        part = run(DECODERS[method], options, script, seed=seed, stop_after=rounds)
        texts = ids_of_nodes(whole)
        first = texts[steps_of(whole, "keep")[0]["nodes"][0]]
        assert tuple(part.answer.token_ids[: len(first)]) == first
        assert part.detail["candidates"][0]["token_ids"] == part.answer.token_ids
        assert part.detail["tree"]["steps"] == whole.detail["tree"]["steps"][: len(part.detail["tree"]["steps"])]
        if END not in first:
            assert part.answer.token_ids[-1] == END or len(part.answer.token_ids) == rounds - 1
        TypeAdapter(Detail).validate_python(part.detail)

    @pytest.mark.parametrize("chunk, warned", [(12, False), (13, True), (2000, True)])
    @pytest.mark.parametrize("method", ["cbs", "ivg"])
    def test_a_chunk_longer_than_the_answer_may_be_warns(self, method, chunk, warned):
        lane = run(DECODERS[method], {"chunk": chunk, "scorer": "scripted"}, random_script(1))
        assert ("warning" in lane.detail) == warned
        assert not warned or f"A chunk of {chunk} tokens is longer" in lane.detail["warning"]
        assert len(steps_of(lane, "keep")) == 1 or not warned

    @pytest.mark.parametrize("method", ["cbs", "ivg"])
    @pytest.mark.parametrize("option", ["chunk", "width", "successors"])
    def test_nothing_of_anything_is_refused(self, method, option):
        with pytest.raises(UserError, match=rf"{option}.*0.*1") as told:
            LaneRequest.checked(method=method, options={option: 0})
        assert str(told.value).endswith(".")

    def test_a_mixture_has_no_learned_value(self):
        lane = make_lane()
        options = DECODERS["cbs"].options(scorer="value_sentiment(model=0.5*reference+0.5*aligned)")
        with pytest.raises(UserError, match=r"mixture 0.5\*reference\+0.5\*aligned has no value head"):
            drive(decode(DECODERS["cbs"], lane, options), random_script())
        assert lane.answer.token_ids, "what was written stays"


def known_as(model):
    """Which variants read alike: the writer and the value model, if these are of one model."""
    return lambda variant: model if variant in ("reference", "value_harmless") else variant


class TestValuesOfWhatTheWriterHasRead:
    @given(
        seed=seeds,
        salt=seeds,
        width=st.integers(1, 4),
        successors=st.integers(1, 4),
        chunk=st.integers(1, 6),
        method=st.sampled_from(["cbs", "ivg"]),
        begin=st.lists(st.integers(0, 5), max_size=4).map(tuple),
    )
    def test_nothing_but_the_price_tells_that_it_is_not_read_again(
        self, seed, salt, width, successors, chunk, method, begin
    ):
        script = restless(salt)
        decoder = DECODERS[method]
        options = decoder.options(width=width, successors=successors, chunk=chunk, scorer="value_harmless")
        apart, alike = (make_lane(seed=seed, begin=begin, alike=which) for which in (str, known_as("one")))
        (_, all_tokens), (_, fewer) = (put_through(decode(decoder, lane, options), script) for lane in (apart, alike))
        assert alike.answer.token_ids == apart.answer.token_ids
        assert alike.detail == apart.detail
        assert fewer <= all_tokens
        if chunk > 1 and len(steps_of(apart, "keep")) > 1:
            assert fewer < all_tokens

    @pytest.mark.parametrize("precision", ["fp32", "bf16", "int4"])
    @pytest.mark.parametrize("successors", [3, 20], ids=["packed", "wide"])
    def test_the_values_are_the_same_bits(self, tiny_catalogue, request_of, precision, successors, monkeypatch):
        settings = Settings(catalogue=tiny_catalogue, database=":memory:", precision=precision)
        search = f"width=2,successors={successors},chunk=4,scorer=value_harmless"
        lanes = [f"cbs:{search}", f"cbs:{search},variant=0.5*reference+0.5*adapted", f"ivg:{search},tuned=adapted"]
        others = [f"cbs:{search},variant={variant}" for variant in ("aligned", "adapted")]
        found = []
        for known in (True, False):
            with closing(Playground(settings)) as playground:
                if not known:
                    monkeypatch.setattr(reading, "_read_by_others", lambda lane, policy: {})
                asked = [request_of(lane, prompt="the fox", max_new_tokens=14) for lane in lanes + others]
                found.append([playground.compare(one)["lanes"][0] for one in asked])
        for number, (ours, again) in enumerate(zip(*found, strict=True)):
            assert (ours["error"], ours["text"]) == (None, again["text"])
            assert ours["detail"] == again["detail"]
            saved = again["cost"]["forward_tokens"] - ours["cost"]["forward_tokens"]
            assert saved > 0 if number < len(lanes) else saved == 0, "another prompt, and other weights, are read"


class TestIvg:
    @given(seed=seeds, salt=seeds, width=st.integers(1, 3), successors=st.integers(1, 3), chunk=st.integers(1, 6))
    def test_without_weight_it_is_cbs(self, seed, salt, width, successors, chunk):
        script = restless(salt)
        options = {"width": width, "successors": successors, "chunk": chunk, "scorer": "value_harmless"}
        ivg = run(DECODERS["ivg"], {"weight": 0, **options}, script, seed=seed)
        cbs = run(DECODERS["cbs"], options, script, seed=seed)
        assert ivg.answer.token_ids == cbs.answer.token_ids
        assert ivg.detail["candidates"] == cbs.detail["candidates"]
        assert ivg.detail["tree"] == cbs.detail["tree"]
        assert ivg.detail["curves"][0] == cbs.detail["curves"][0]

    @given(seed=seeds, salt=seeds, weight=weights, chunk=st.integers(1, 12))
    def test_with_one_beam_and_one_successor_it_is_eft(self, seed, salt, weight, chunk):
        script = random_script(salt)
        search = {"width": 1, "successors": 1, "chunk": chunk, "scorer": "scripted"}
        ivg = run(DECODERS["ivg"], {"weight": weight, **search}, script, seed=seed)
        eft = run(DECODERS["eft"], {"weight": weight}, script, seed=seed)
        assert ivg.answer.token_ids == eft.answer.token_ids
        records = [{name: value for name, value in r.items() if name != "node"} for r in ivg.detail["tokens"]]
        assert records == eft.detail["tokens"]
        assert ivg.detail["curves"][-1] == eft.detail["curves"][0]

    @given(seed=seeds, salt=seeds, weight=weights)
    def test_it_is_cbs_over_the_guided_mixture(self, seed, salt, weight):
        script, w = restless(salt), weight
        options = {"width": 2, "successors": 2, "chunk": 3, "scorer": SUM}
        ivg = run(DECODERS["ivg"], {"weight": w, "variant": "large", **options}, script, seed=seed)
        mixture = f"large + {w:g}*aligned + {-w:g}*reference".replace("+ -", "- ")
        cbs = run(DECODERS["cbs"], {"variant": mixture, **options}, script, seed=seed)
        assert ivg.answer.token_ids == cbs.answer.token_ids
        assert steps_of(ivg, "keep") == steps_of(cbs, "keep")


@pytest.mark.parametrize("precision", ["bf16", "int4"])
def test_the_authors_order_of_work_gives_the_same_tokens(tiny_catalogue, request_of, precision):
    """Row after row, every prefix read again for its next chunk and for its score; far more goes through the model."""
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision=precision))
    lane = f"cbs:width=2,successors=3,chunk=4,scorer={SUM}"
    request = request_of(lane, prompt="the fox", max_new_tokens=14, seed=3)
    [ours] = playground.compare(request)["lanes"]
    work = playground.prepare(request, request.lanes[0])
    tokens = plainly(work.asking(), by_our_kernels(playground.engine, hold=True), playground.engine.readers)
    playground.close()
    assert work.lane.answer.token_ids == ours["token_ids"]
    assert work.lane.detail["tree"]["steps"] == ours["detail"]["tree"]["steps"]
    assert tokens > 2 * ours["cost"]["forward_tokens"]
