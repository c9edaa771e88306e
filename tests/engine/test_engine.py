"""The engine on a tiny random model: right numbers, whatever is cached, batched, forked, stopped or full."""

import gc
import threading
import weakref

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from playground.engine.engine import WIDE_ROUNDS, Engine, Stopped
from playground.engine.kv import BLOCK, BlockPool, OutOfBlocks, Sequence
from playground.engine.requests import Extend, Next, Open, Want
from playground.engine.runner import CHUNK, PART, ROWS, SHORT, Runner
from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import FolderSource, ModelSpec, read_catalogue
from playground.service import Playground
from playground.settings import Settings
from tests.tiny import make_tokenizer

CPU = torch.device("cpu")
tokens = st.lists(st.integers(2, 250), min_size=1, max_size=40).map(tuple)


def build(catalogue_path, precision, megabytes=32):
    catalogue = read_catalogue(catalogue_path)
    loaded = load_model("tiny", catalogue.models["tiny"], catalogue_path.parent, CPU, precision)
    loaded.attach("adapted", catalogue.variants["adapted"].adapter)
    engine, runner = Engine(), Runner(loaded, int(megabytes * (1 << 20)))
    engine.add_variant("plain", runner)
    engine.add_variant("adapted", runner, "adapted")
    return engine, runner


@pytest.fixture(scope="module", params=["fp32", "bf16", "int4"])
def built(request, tiny_catalogue):
    engine, runner = build(tiny_catalogue, request.param)
    yield engine, runner
    engine.close()


@pytest.fixture(scope="module")
def exact(tiny_catalogue):
    """fp32, so that results can be compared with transformers' own forward pass."""
    engine, runner = build(tiny_catalogue, "fp32")
    yield engine, runner
    engine.close()


@pytest.fixture(scope="module")
def oracle(tiny_catalogue):
    """ids, variant → next-token log-probabilities [n, vocabulary] after every prefix, by transformers and peft."""
    folder = tiny_catalogue.parent
    plain = LlamaForCausalLM.from_pretrained(folder / "tiny").eval()
    adapted = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(folder / "tiny"), folder / "adapter").eval()

    @torch.inference_mode()
    def after(ids, variant="plain"):
        model = adapted if variant == "adapted" else plain
        return model(torch.tensor([list(ids)])).logits[0].float().log_softmax(-1)

    return after


def ask(engine, *rounds):
    """Run a task that asks what each of `rounds` makes of the answers before; returns all answers."""

    def asking():
        answers = []
        for make in rounds:
            answers.append((yield make(answers)))
        return answers

    return engine.submit(asking()).wait(60)


def write(variant, prompt, text, want=Want.NEXT):
    """A generator that opens `prompt` and extends it token by token; returns all distributions."""

    def asking():
        [(sequence, first)] = yield [Open(variant, prompt)]
        found = [first]
        for token in text:
            found += yield [Extend(sequence, (token,), want)]
        return torch.stack(found)

    return asking()


@given(prompt=tokens, text=st.lists(st.integers(2, 250), max_size=20), variant=st.sampled_from(["plain", "adapted"]))
def test_log_probabilities_are_those_of_transformers(exact, oracle, prompt, text, variant):
    engine, _ = exact
    found = engine.submit(write(variant, prompt, text)).wait(60)
    expected = oracle((*prompt, *text), variant)[len(prompt) - 1 :]
    assert torch.allclose(found, expected, atol=2e-4)


def test_an_adapter_changes_its_own_rows_and_no_others(built):
    engine, _ = built
    prompt, text = (5, 6, 7), [9, 8, 7, 6]
    alone = {v: engine.submit(write(v, prompt, text)).wait(60) for v in ("plain", "adapted")}
    tasks = [engine.submit(write(v, prompt, text)) for v in ("plain", "adapted", "plain", "adapted")]
    for variant, task in zip(("plain", "adapted", "plain", "adapted"), tasks, strict=True):
        assert torch.equal(task.wait(60), alone[variant])
    assert (alone["plain"] - alone["adapted"]).abs().max() > 0.1


def test_a_long_text_in_chunks_is_the_same_as_in_one_pass(exact, oracle):
    engine, _ = exact
    ids = tuple(int(i) for i in torch.randint(2, 250, (2 * CHUNK + 77,), generator=torch.Generator().manual_seed(0)))
    [[(_, found)]] = ask(engine, lambda _: [Open("plain", ids)])
    assert torch.allclose(found, oracle(ids)[-1], atol=5e-4)


def test_two_cached_prefixes_with_one_same_suffix_stay_apart(exact, oracle):
    engine, _ = exact
    first, second, suffix = tuple(range(10, 43)), tuple(range(60, 93)), (7, 8, 9)
    for _ in range(2):  # the second time both openings come from the cache
        _opened, extended = ask(
            engine,
            lambda _: [Open("plain", first), Open("plain", second)],
            lambda answers: [Extend(o.sequence, suffix) for o in answers[0]],
        )
        assert torch.allclose(extended[0], oracle(first + suffix)[-1], atol=2e-4)
        assert torch.allclose(extended[1], oracle(second + suffix)[-1], atol=2e-4)
        assert not torch.allclose(extended[0], extended[1], atol=1e-2)


def test_cached_is_the_same_as_uncached_bit_for_bit(built):
    engine, _ = built
    engine.forget_openings()
    runs = [engine.submit(write("plain", tuple(range(3, 50)), [5, 6, 7])).wait(60) for _ in range(2)]
    assert torch.equal(*runs)


@pytest.mark.parametrize("company", [1, 5, 15, 31, 40])
def test_batched_is_the_same_as_alone_bit_for_bit(built, company):
    engine, _ = built
    generator = torch.Generator().manual_seed(company)

    def text(length):
        return torch.randint(2, 250, (length,), generator=generator).tolist()

    prompt, mine = tuple(text(19)), text(120)
    alone = engine.submit(write("plain", prompt, mine)).wait(60)
    others = [engine.submit(write("plain", tuple(text(1 + 7 * i)), text(60 + 5 * i))) for i in range(company)]
    task = engine.submit(write("plain", prompt, mine))
    assert torch.equal(task.wait(120), alone)
    for other in others:
        other.wait(120)


def passes_of(runner, monkeypatch):
    """The rows of each text of every long pass from now on."""
    seen, long = [], runner.long

    def counted(extensions):
        seen.append([len(x) for _, x, _ in extensions])
        return long(extensions)

    monkeypatch.setattr(runner, "long", counted)
    return seen


@pytest.mark.parametrize("lengths", [(20, 45), (9, 100, 33, 70), (200, 100, 30), (CHUNK + 40, 30)])
def test_long_texts_share_a_pass_and_are_the_same_bits_as_alone(built, monkeypatch, lengths):
    engine, runner = built
    generator = torch.Generator().manual_seed(sum(lengths))
    texts = [tuple(torch.randint(2, 250, (n,), generator=generator).tolist()) for n in lengths]
    prompts = [("plain", (3, 4, 5)), ("adapted", (6, 7)), ("plain", (8,)), ("adapted", (3, 4, 5))]

    def asking(which):
        opened = yield [Open(*prompts[i]) for i in which]
        held = [o.sequence for o in opened]
        hidden = yield [Extend(s, texts[i], Want.HIDDEN) for i, s in zip(which, held, strict=True)]
        then = yield [Extend(s, (9,)) for s in held]
        return [torch.cat(pair) for pair in zip((h.flatten() for h in hidden), then, strict=True)]

    alone = [engine.submit(asking([i])).wait(60)[0] for i in range(len(lengths))]
    seen = passes_of(runner, monkeypatch)
    together = engine.submit(asking(range(len(lengths)))).wait(60)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(sum(rows) <= CHUNK for rows in seen)
    assert sum(map(sum, seen)) == sum(lengths)
    if sum(lengths) <= CHUNK:
        assert seen == [list(lengths)]


def test_openings_share_a_pass_and_equal_ones_are_computed_once(built, monkeypatch):
    engine, runner = built
    engine.forget_openings()
    seen = passes_of(runner, monkeypatch)
    one, other = tuple(range(20, 40)), tuple(range(50, 80))
    [opened] = ask(
        engine, lambda _: [Open("plain", one), Open("plain", other), Open("plain", one), Open("adapted", one)]
    )
    assert seen == [[20, 30, 20]]
    assert torch.equal(opened[0].log_probs, opened[2].log_probs)
    assert not torch.equal(opened[0].log_probs, opened[3].log_probs)


@pytest.mark.parametrize("common", [PART - 1, PART, 2 * PART + 5, CHUNK + 3])
def test_an_opening_goes_on_behind_a_beginning_that_is_known(built, monkeypatch, common):
    engine, runner = built
    generator = torch.Generator().manual_seed(common)
    shared, *ends = (torch.randint(2, 250, (n,), generator=generator).tolist() for n in (common, 40, 90))
    known, other = (tuple(shared + end) for end in ends)
    part_of_it = tuple(shared[:PART])  # its last token is read all the same

    def opened(variant, prompt):
        return engine.submit(write(variant, prompt, [5, 6, 7])).wait(60)

    asked = [("plain", known), ("adapted", known), ("plain", other), ("plain", part_of_it), ("plain", known)]
    alone = []
    for variant, prompt in asked:
        engine.forget_openings()
        alone.append(opened(variant, prompt))
    engine.forget_openings()
    seen = passes_of(runner, monkeypatch)
    read = []
    for number, (variant, prompt) in enumerate(asked):
        seen.clear()
        assert torch.equal(opened(variant, prompt), alone[number])
        read.append(sum(map(sum, seen)))
    begun = (len(part_of_it) - 1) // PART * PART
    assert read == [len(known), len(known), len(other) - common // PART * PART, len(part_of_it) - begun, 0]


@given(orders=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=2, max_size=4))
def test_whatever_was_opened_before_an_opening_has_the_same_bits(exact, orders):
    engine, _ = exact
    pieces = [tuple(range(10 + 50 * n, 10 + 50 * n + length)) for n, length in enumerate((PART, PART // 2, 7))]
    prompts = [sum((pieces[n] for n in order), ()) for order in orders]
    engine.forget_openings()
    together = [engine.submit(write("plain", prompt, [9])).wait(60) for prompt in prompts]
    for prompt, found in zip(prompts, together, strict=True):
        engine.forget_openings()
        assert torch.equal(engine.submit(write("plain", prompt, [9])).wait(60), found)


def test_forks_share_the_past_and_part_ways(exact, oracle):
    engine, runner = exact
    prompt = tuple(range(20, 20 + BLOCK + 5))
    before = runner.pool.free

    def asking():
        [(trunk, _)] = yield [Open("plain", prompt)]
        held = runner.pool.free
        branches = [trunk.fork() for _ in range(10)]
        assert runner.pool.free == held, "a fork alone takes no block"
        found = yield [Extend(b, (30 + i,)) for i, b in enumerate(branches)]
        again = yield [Extend(b, (90,)) for b in branches] + [Next(trunk)]
        return found, again

    found, again = engine.submit(asking()).wait(60)
    for i in range(10):
        assert torch.allclose(found[i], oracle((*prompt, 30 + i))[-1], atol=2e-4)
        assert torch.allclose(again[i], oracle((*prompt, 30 + i, 90))[-1], atol=2e-4)
    assert torch.allclose(again[10], oracle(prompt)[-1], atol=2e-4)
    engine.forget_openings()
    assert runner.pool.free >= before


@given(prompt=tokens, text=st.lists(st.integers(2, 250), min_size=1, max_size=60).map(tuple))
def test_scores_are_the_log_probabilities_of_the_given_tokens(exact, oracle, prompt, text):
    engine, _ = exact
    _, [scores] = ask(
        engine, lambda _: [Open("plain", prompt)], lambda a: [Extend(a[0][0].sequence, text, Want.SCORES)]
    )
    expected = oracle(prompt + text)[len(prompt) - 1 : -1].gather(1, torch.tensor(text)[:, None])[:, 0]
    assert torch.allclose(scores, expected, atol=2e-4)


@pytest.mark.parametrize("length", [1, SHORT, SHORT + 1, 40])
def test_hidden_states_and_soft_prompts(exact, oracle, length):
    """Vectors put in place of tokens give what those tokens give; hidden states have one row a token."""
    engine, runner = exact
    ids = tuple(range(50, 50 + length))
    vectors = runner.embed(ids)
    _, [found], [hidden] = ask(
        engine,
        lambda _: [Open("plain", (3, 4))],
        lambda a: [Extend(a[0][0].sequence, vectors)],
        lambda a: [Extend(a[0][0].sequence, ids, Want.HIDDEN)],
    )
    assert torch.allclose(found, oracle((3, 4, *ids))[-1], atol=2e-4)
    assert hidden.shape == (length, 64)


def test_a_soft_prompt_may_stand_before_all_text(exact, oracle):
    engine, runner = exact
    [[(_empty, nothing)], [found]] = ask(
        engine, lambda _: [Open("plain")], lambda a: [Extend(a[0][0].sequence, runner.embed((8, 9, 10)))]
    )
    assert nothing is None
    assert torch.allclose(found, oracle((8, 9, 10))[-1], atol=2e-4)


def test_a_stopped_task_frees_its_memory(tiny_catalogue):
    engine, runner = build(tiny_catalogue, "fp32")
    free, started = runner.pool.free, threading.Event()

    def endless():
        [(sequence, _)] = yield [Open("plain", tuple(range(40)))]
        forks = [sequence.fork() for _ in range(20)]
        while sequence.length < 1500:
            started.set()
            yield [Extend(s, (5,)) for s in (sequence, *forks)]

    task = engine.submit(endless())
    assert started.wait(30)
    task.stop()
    with pytest.raises(Stopped):
        task.wait(30)
    engine.forget_openings()
    assert runner.pool.free == free
    engine.close()


def test_a_task_that_catches_the_stop_gives_its_result(built):
    engine, _ = built
    started = threading.Event()

    def asking():
        [(sequence, _)] = yield [Open("plain", (3, 4))]
        try:
            while sequence.length < 1500:
                started.set()
                yield [Extend(sequence, (5,))]
        except Stopped:
            return sequence.length

    task = engine.submit(asking())
    assert started.wait(30)
    task.stop()
    assert task.wait(30) >= 2


def test_an_error_ends_its_own_task_only(built):
    engine, _ = built

    def broken():
        yield [Open("plain", (3, 4))]
        raise ZeroDivisionError

    bad, good = engine.submit(broken()), engine.submit(write("plain", (3, 4), [5, 6, 7]))
    with pytest.raises(ZeroDivisionError):
        bad.wait(30)
    assert len(good.wait(30)) == 4


def test_a_full_store_ends_the_task_that_asks_for_more_in_words(tiny_catalogue):
    engine, runner = build(tiny_catalogue, "fp32", megabytes=0.1)
    room = runner.pool.free * BLOCK

    def greedy():
        [(sequence, _)] = yield [Open("plain", tuple(range(10)))]
        while True:
            yield [Extend(sequence, (5,) * 8)]

    small = engine.submit(write("plain", (3, 4), [5] * 20))
    with pytest.raises(OutOfBlocks, match="memory for running texts is full"):
        engine.submit(greedy()).wait(60)
    assert len(small.wait(30)) == 21
    engine.forget_openings()
    assert runner.pool.free * BLOCK == room
    engine.close()


def test_kept_openings_give_way_to_running_texts(tiny_catalogue):
    engine, runner = build(tiny_catalogue, "fp32", megabytes=0.1)
    for start in range(5):
        ask(engine, lambda _, start=start: [Open("plain", tuple(range(start, start + 60)))])
    half = runner.pool.count * BLOCK - 5 * BLOCK
    [[(_, log_probs)]] = ask(engine, lambda _: [Open("plain", tuple([7] * half))])
    assert log_probs is not None
    engine.close()


def test_more_tasks_than_run_at_once_wait_their_turn(tiny_catalogue):
    engine, runner = build(tiny_catalogue, "fp32")
    narrow = Engine(max_tasks=2)
    narrow.add_variant("plain", runner)
    results = [narrow.submit(write("plain", (3, 4), [5, 6])) for _ in range(7)]
    assert all(torch.equal(r.wait(60), results[0].wait(60)) for r in results)
    narrow.close()
    engine.close()


def test_extending_a_sequence_twice_in_one_round_is_refused(built):
    engine, _ = built

    def asking():
        [(sequence, _)] = yield [Open("plain", (3, 4))]
        yield [Extend(sequence, (5,)), Extend(sequence, (6,))]

    with pytest.raises(ValueError, match="twice"):
        engine.submit(asking()).wait(30)


def test_a_store_takes_memory_only_for_what_is_written():
    resident, budget = psutil.Process().memory_info, 512 << 20
    before = resident().rss
    pool = BlockPool(30, 3, 64, torch.bfloat16, CPU, budget)
    assert pool.data.nbytes > 0.99 * budget
    assert resident().rss - before < 0.05 * budget
    pool.data[:32] = 1
    assert resident().rss - before > 16 * pool.block_bytes
    assert not pool.data[32:64].any()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40), st.booleans()), max_size=60))
def test_blocks_are_never_lost_or_shared_by_mistake(steps):
    """Random forks, growths and releases: every block is free or held, and what one writes no other reads."""
    pool = BlockPool(1, 1, 2, torch.float32, CPU, 40 * 2 * BLOCK * 2 * 4)
    owner: set[Sequence] = set()
    alive = [Sequence(pool, "v", owner)]
    marks = {id(alive[0]): []}
    counter = 0
    for which, amount, fork in steps:
        sequence = alive[which % len(alive)]
        if fork:
            twin = sequence.fork()
            alive.append(twin)
            marks[id(twin)] = list(marks[id(sequence)])
            continue
        try:
            start = sequence.length
            sequence.grow(amount)
        except OutOfBlocks:
            assert sequence.length == start
            if len(alive) > 1:
                alive.remove(sequence)
                sequence.release()
            continue
        for position in range(start, sequence.length):
            counter += 1
            pool.data[sequence.blocks[position // BLOCK], 0, 0, position % BLOCK] = counter
            marks[id(sequence)].append(counter)
    for sequence in alive:
        read = [float(pool.data[sequence.blocks[p // BLOCK], 0, 0, p % BLOCK, 0]) for p in range(sequence.length)]
        assert read == marks[id(sequence)]
    assert pool.free + len({b for s in alive for b in s.blocks}) == pool.count - 1
    for sequence in alive:
        sequence.release()
    assert pool.free == pool.count - 1
    assert not owner


def test_ended_tasks_leave_nothing_behind(built):
    engine, _ = built
    task = engine.submit(write("plain", (3, 4), [5]))
    task.wait(30)
    ghost = weakref.ref(task)
    del task
    ask(engine, lambda _: [Open("plain", (3, 5))])  # the worker has gone on to something else
    gc.collect()
    assert ghost() is None


def test_asking_for_nothing_is_answered_with_nothing(built):
    engine, _ = built

    def asks():
        first = yield []
        yield [Open("plain", (5, 6, 7))]
        second = yield []
        return first, second

    first, second = engine.submit(asks()).wait(60)
    assert first == second == []


def test_a_round_may_hold_more_rows_than_one_pass(built):
    engine, _ = built

    def asking():
        [(sequence, _)] = yield [Open("plain", (3, 4))]
        forks = [sequence.fork() for _ in range(ROWS + 9)]
        return (yield [Extend(f, (5, 6)) for f in forks])

    found = engine.submit(asking()).wait(60)
    assert all(torch.equal(f, found[0]) for f in found)


def test_a_pass_that_breaks_ends_its_tasks_and_the_next_ones_run(tiny_catalogue, monkeypatch):
    engine, runner = build(tiny_catalogue, "fp32")
    free = runner.pool.free
    with monkeypatch.context() as patch:
        patch.setattr(runner, "short", lambda *extensions: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.submit(write("plain", (3, 4), [5])).wait(30)
    assert len(engine.submit(write("plain", (3, 4), [5])).wait(30)) == 2
    engine.forget_openings()
    assert runner.pool.free == free
    engine.close()


def test_what_follows_a_task_may_break_without_harm(built):
    engine, _ = built
    task = engine.submit(write("plain", (3, 4), [5]), on_end=lambda task: 1 / 0)
    assert len(task.wait(30)) == 2
    assert len(engine.submit(write("plain", (3, 4), [5])).wait(30)) == 2


def test_what_is_no_generator_is_refused_at_once(built):
    engine, _ = built
    with pytest.raises(TypeError, match="not a list"):
        engine.submit([1.0])


def test_a_task_that_waits_for_room_can_be_stopped(tiny_catalogue):
    engine, runner = build(tiny_catalogue, "fp32")
    narrow = Engine(max_tasks=1)
    narrow.add_variant("plain", runner)

    def endless():
        [(sequence, _)] = yield [Open("plain", (3, 4))]
        while True:
            yield [Next(sequence)]

    running, waiting = narrow.submit(endless()), narrow.submit(endless())
    waiting.stop()
    with pytest.raises(Stopped):
        waiting.wait(30)
    assert not running.ended
    running.stop()
    narrow.close()
    engine.close()


def test_a_store_that_fills_in_a_mixed_round_loses_no_block(tiny_catalogue):
    """Short and long extensions of one task, room for neither: what the task held is free again."""
    engine, runner = build(tiny_catalogue, "fp32", megabytes=0.1)
    free = runner.pool.free

    def asking():
        [(first, _)] = yield [Open("plain", tuple(range(2, 2 + BLOCK)))]
        sequences = [first, first.fork(), first.fork()]
        full = []
        while runner.pool.free > 1:
            full.append(Sequence(runner.pool, "plain", first.owner))
            full[-1].grow(BLOCK)
        yield [Extend(s, (5,) * n) for s, n in zip(sequences, (2, 2, SHORT + 1), strict=True)]

    with pytest.raises(OutOfBlocks):
        engine.submit(asking()).wait(30)
    engine.forget_openings()
    assert runner.pool.free == free
    engine.close()


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3"])
def test_other_known_types_compute_what_transformers_computes(tmp_path, kind):
    engine, model = build_type(tmp_path, kind)
    ids, text = (5, 6, 7, 8, 9), [10, 11, 12]
    found = engine.submit(write("plain", ids, text)).wait(30)
    with torch.inference_mode():
        expected = model(torch.tensor([[*ids, *text]])).logits[0].log_softmax(-1)[len(ids) - 1 :]
    assert torch.allclose(found, expected, atol=2e-4)
    engine.close()


def test_an_unknown_type_is_refused_in_words(tmp_path):
    with pytest.raises(UserError, match=r"type 'gemma2'.*llama"):
        build_type(tmp_path, "gemma2")


def build_type(folder, kind):
    """An engine over a tiny random model of another type, and transformers' own copy of it."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), num_key_value_heads=2, head_dim=8, initializer_range=0.3, **sizes
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spec = ModelSpec(title="T", licence="none", source=FolderSource(folder=folder))
    runner = Runner(load_model("other", spec, folder, CPU, "fp32"), 1 << 22)
    engine = Engine()
    engine.add_variant("plain", runner)
    return engine, model


def test_two_tasks_that_open_the_same_long_text_a_moment_apart_leave_one_kept_text(tiny_catalogue):
    """The later one is under way when the earlier one, which comes first in every round, asks for it, too."""
    engine, _ = build(tiny_catalogue, "bf16")
    long = tuple(2 + n % 200 for n in range(3 * CHUNK))

    def first():
        yield [Open("plain", (3,))]
        yield [Open("plain", long)]

    def second():
        yield [Open("plain", long)]

    for task in [engine.submit(first()), engine.submit(second())]:
        task.wait()
    assert len(engine._kept) == 2
    engine.forget_openings()
    assert engine.kv_bytes == 0
    engine.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda sequence: Extend(sequence, torch.zeros(2, 7)),
        lambda sequence: Extend(sequence, torch.zeros(64)),
        lambda sequence: Extend(sequence, (), Want.HIDDEN),
        lambda sequence: Open("plain", ("a",)),
    ],
)
def test_a_wrong_request_ends_its_own_task_alone(built, wrong):
    engine, _ = built

    def bad():
        [opened] = yield [Open("plain", (3, 4))]
        yield [wrong(opened.sequence)]

    def good():
        [opened] = yield [Open("plain", (5, 6))]
        for token in range(3, 9):
            yield [Extend(opened.sequence, (token,))]
        return "well"

    neighbour, task = engine.submit(good()), engine.submit(bad())
    with pytest.raises(Exception):  # noqa: B017 (whichever it is, it is its own)
        task.wait(20)
    assert neighbour.wait(20) == "well"


def test_a_list_of_tokens_is_as_good_as_a_tuple(built):
    def opens(tokens):
        [opened] = yield [Open("plain", tokens)]
        return opened.log_probs

    engine, _ = built
    assert torch.equal(engine.submit(opens([3, 4])).wait(20), engine.submit(opens((3, 4))).wait(20))


class Stubborn:
    """A generator that asks for more whatever it is told."""

    def __new__(cls):
        def run():
            while True:
                try:
                    yield [Open("plain", (3,))]
                except BaseException:
                    continue

        return run()


def quits():
    yield [Open("plain", (3,))]
    raise SystemExit


@pytest.mark.parametrize("make", [quits, Stubborn])
def test_no_method_can_take_the_worker_with_it(built, make):
    engine, _ = built
    task = engine.submit(make())
    task.stop()
    with pytest.raises(BaseException):  # noqa: B017
        task.wait(20)

    def good():
        yield [Open("plain", (4,))]
        return "well"

    assert engine.submit(good()).wait(20) == "well"


def test_numbers_that_are_none_end_their_own_task_and_reach_no_other(built):
    engine, runner = built

    def poison():
        [opened] = yield [Open("plain", tuple(range(2, 40)))]
        yield [Extend(opened.sequence, torch.full((3, 64), float("nan")))]

    def reads():
        [opened] = yield [Open("plain", tuple(range(40, 50)))]
        [row] = yield [Extend(opened.sequence, (7,))]
        return row

    before = engine.submit(reads()).wait(20)
    engine.forget_openings()
    with pytest.raises(UserError, match="numbers that are none"):
        engine.submit(poison()).wait(20)
    engine.forget_openings()
    assert runner.pool.data.isfinite().all()
    assert torch.equal(engine.submit(reads()).wait(20), before)


def test_who_asks_for_much_does_not_hold_up_who_asks_for_little(built, monkeypatch):
    engine, runner = built
    passes = []
    short = runner.short
    monkeypatch.setattr(runner, "short", lambda rows, *wide: passes.append(len(rows)) or short(rows, *wide))

    def much():
        [opened] = yield [Open("plain", (5, 6, 7))]
        forks = [opened.sequence.fork() for _ in range(4 * ROWS)]
        while True:
            yield [Extend(fork, (8,)) for fork in forks]

    greedy = [engine.submit(much(), owner=("other", str(n))) for n in range(3)]
    while len(passes) < 6:
        assert not any(task.ended for task in greedy), "they go on until they are stopped"
    before = len(passes)
    engine.submit(write("plain", (9, 8, 7), (1, 2, 3, 4, 5)), owner=("me", "1")).wait(60)
    beside = passes[before:]
    for task in greedy:
        task.stop()
    assert len(beside) <= 5 + 4, "a token a pass: not one every twelve"
    assert max(beside) <= ROWS // 2, "and no pass is filled up by those who have rows in it"


def test_a_wide_search_gives_way_to_others_but_not_for_ever(built, monkeypatch):
    engine, runner = built
    passes = []
    short = runner.short
    monkeypatch.setattr(runner, "short", lambda rows, wide: passes.append(wide) or short(rows, wide))

    def search():
        [opened] = yield [Open("plain", (5, 6, 7))]
        forks = [opened.sequence.fork() for _ in range(ROWS)]
        while True:
            yield [Extend(fork, (8,)) for fork in forks]

    wide = engine.submit(search(), owner=("other", "1"), rows=ROWS)
    while len(passes) < 3:
        assert not wide.ended, "it goes on until it is stopped"
    assert all(passes[1:]), "after its prompt it runs in every round while it is alone"
    before = len(passes)
    engine.submit(write("plain", (9, 8, 7), tuple(range(1, 21))), owner=("me", "1")).wait(60)
    beside = passes[before:]
    wide.stop()
    first, last = beside.index(False), len(beside) - beside[::-1].index(False)
    assert 3 <= sum(beside[first:last]) <= 20 // WIDE_ROUNDS + 1


def test_an_owner_with_nothing_under_way_gets_in_beside_full_room(tiny_catalogue):
    engine, _ = build(tiny_catalogue, "fp32")
    engine._max_tasks = 2

    def forever():
        while True:
            yield []

    others = [engine.submit(forever(), owner=("other",)) for _ in range(5)]
    assert len(engine.submit(write("plain", (9, 8, 7), (1, 2)), owner=("me",)).wait(60)) == 3
    assert sum(task._begun for task in others) <= 2
    engine.close()


def test_a_closed_engine_keeps_no_memory_of_texts(tiny_catalogue):
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32", kv_megabytes=16))
    playground.memory.ensure("reference")
    [pool] = {runner.pool for runner, _ in playground.engine._variants.values()}
    assert pool.data.numel()
    playground.close()
    assert not pool.data.numel()
