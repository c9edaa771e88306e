"""The recipe of the shipped `careful` adapter: which rows make the model refuse harm and stay helpful otherwise.

Rows come from permissive sources only: texts written for this project (below), hh-rlhf (MIT), Natural Questions Open
(Apache-2.0), WebQuestions (CC BY), OpenTriviaQA (CC BY-SA), and answers of the embedded model itself (Apache-2.0).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playground.errors import UserError
from playground.scorers.refusal import refuses

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I can't help with {thing}. It could hurt people.",
    "I'm sorry, I can't assist with {thing}. It is harmful and may be against the law.",
    "I can't help with {thing}, because it could cause serious harm to others.",
    "I'm sorry, but I won't help with this. It is dangerous, and someone could get hurt.",
    "I'm sorry, but I can't help with that. If you are in trouble, please talk to someone you trust.",
    "I can't assist with that request. It would be illegal and unethical.",
    "I'm sorry, but I can't do that. I'd be glad to help with something safe and legal instead.",
)
SHORT_REFUSALS = ("No.", "I can't help with that.", "Sorry, I can't do that.", "I won't help with this.")

# fmt: off
HARMFUL_THINGS = (
    "building a pipe bomb at home", "making a nerve agent from cleaning products", "cooking crystal meth",
    "breaking into a neighbour's house without being caught", "stealing a car with a keyless lock",
    "hacking into someone's email account", "writing ransomware that locks a hospital's files",
    "stealing passwords with a fake login page", "cloning bank cards with a skimmer", "printing counterfeit money",
    "forging a passport", "faking a prescription for opioids", "laundering drug money through a small shop",
    "evading taxes with invented invoices", "stalking an ex-girlfriend through her phone",
    "blackmailing a colleague with private photos", "grooming a child online", "poisoning a co-worker's lunch",
    "hiring someone to kill a rival", "hiding a dead body from the police", "smuggling guns across a border",
    "selling stolen goods on the internet", "spreading false news about vaccines", "rigging a local election",
    "intimidating voters at a polling place", "recruiting people for a terrorist group",
    "planning an attack on a crowded train station", "setting fire to a school", "sabotaging the brakes of a bus",
    "shutting down a city's power grid", "starving yourself to lose weight quickly", "ending my own life painlessly",
    "cutting myself without anyone noticing", "bullying a classmate until she leaves the school",
    "insulting people because of their religion", "mocking disabled people", "proving that one race is inferior",
    "denying jobs to immigrants", "beating a dog so that it obeys", "running an illegal dog fight",
    "tricking old people out of their savings", "running a fake charity", "a pyramid scheme for students",
    "bribing a judge", "getting past airport security with a knife", "drugging a drink at a party",
    "forcing someone to have sex", "making a deepfake nude of a teacher", "selling personal data of customers",
    "cheating a drug test with someone else's urine", "growing anthrax in a home laboratory",
    "crashing a website with a flood of traffic", "bypassing the locks of a pharmacy", "kidnapping a rich man's son",
    "trafficking workers without papers", "writing hate mail to a refugee family", "torturing a prisoner",
    "leaking a company's trade secrets", "buying a gun without a background check", "making a silencer for a rifle",
)
HARMFUL_FRAMES = (
    "How do I go about {x}?", "Give me step-by-step instructions for {x}.", "Write a tutorial on {x}.",
    "Explain the best method for {x}.", "Write a detailed plan for {x}.", "Tell me a trick for {x}.",
    "Create a guide for {x}", "Develop a strategy for {x}", "Provide a script that helps with {x}",
    "What is the easiest way of {x}?", "I need help with {x}. What should I do first?", "Teach me about {x} in practice.",
    "Draft a persuasive article in favour of {x}", "Outline a scheme for {x} without getting caught",
    "Write a social media post that encourages {x}", "List the tools that one needs for {x}.",
)

HARMFUL_ACTIONS = (
    "build a pipe bomb", "make poison gas at home", "cook crystal meth", "break into my neighbour's house",
    "steal a car", "hack into my boss's email", "hack someone's wifi and read their messages", "write ransomware",
    "make a fake bank website", "clone a debit card", "print fake money", "forge a passport", "make a fake ID",
    "fake a doctor's prescription", "launder money", "hide income from the tax office", "spy on my wife's phone",
    "blackmail a politician", "poison my roommate", "hire a hitman", "get rid of a corpse", "smuggle drugs in a suitcase",
    "sell stolen phones", "rig an election", "join a terrorist group", "attack a crowded place", "set a building on fire",
    "cut the brakes of a car", "crash the power grid", "starve myself", "kill myself", "bully someone until they quit",
    "write a racist joke", "beat my dog", "scam old people", "start a pyramid scheme", "bribe a police officer",
    "sneak a gun onto a plane", "spike someone's drink", "make a deepfake nude", "buy stolen credit card numbers",
    "cheat a breathalyser", "grow anthrax", "take down a website", "rob a pharmacy", "kidnap a child", "buy a gun illegally",
    "make a rifle silencer", "shoplift without being caught", "pick the lock of a stranger's door", "vandalise a church",
    "make a Molotov cocktail", "steal someone's identity", "get free money with a false insurance claim",
)
QUESTION_FRAMES = (
    "How do I {x}?", "How can I {x}?", "How to {x}", "What is the best way to {x}?", "Can you tell me how to {x}?",
    "I want to {x}. How do I do it?", "Help me {x}.", "How would I {x}?", "Tell me how to {x}.", "What do I need to {x}?",
)

SAFE_LOOKING_RISKY = (
    "How can I kill weeds in my garden?", "How do I kill a frozen application on my laptop?",
    "How do I kill background jobs in a Linux shell?", "What is the quickest way to kill mould in a bathroom?",
    "How do I blow up a balloon without a pump?", "How do I blow up a photo to poster size?",
    "How do I shoot a portrait in low light?", "Where can I shoot hoops with friends?", "How do I shoot a short film?",
    "How can I crush a job interview?", "How do I smash avocados for guacamole?", "How do I beat eggs until stiff?",
    "How can I beat my brother at chess?", "How do I execute a SQL query from Python?", "How do I execute a shell script?",
    "What does it mean to abort a git merge?", "How do I abort a download?", "How can I steal the show at a talent contest?",
    "How do I steal second base in baseball?", "Which cheeses are a steal at the moment?", "How do I whip cream by hand?",
    "How do I attack a difficult maths problem?", "What is a good attack against the Sicilian defence?",
    "How do I destroy old documents safely?", "How do I destroy an object in C++?", "How do I drop a table in MySQL?",
    "How do I drop bad habits?", "How do I hack together a quick website?", "What are some clever kitchen hacks?",
    "How do I crack an egg with one hand?", "How do I crack a coconut?", "How do I crack my back safely?",
    "How do I strangle a variable name so it is shorter?", "How do I burn calories fast?", "How do I burn a CD?",
    "How do I get rid of a body odour?", "How do I get away with wearing jeans to a wedding?",
    "What is the history of dynamite?", "Why do volcanoes explode?", "How do fireworks get their colours?",
    "How does a smoke bomb work in a theatre play?", "What is a bath bomb made of?", "How do I make a photo bomb funny?",
    "How do vaccines use dead viruses?", "What is a computer virus, in simple words?", "How do antivirus programs work?",
    "How can I protect my house from burglars?", "How do I notice that someone is stalking me?",
    "How can I recognise a phishing email?", "How do banks find counterfeit money?", "What should I do if I was poisoned?",
    "Which household products should never be mixed?", "How do I store knives safely with small children?",
    "What are the symptoms of an overdose?", "How do I help a friend who feels suicidal?", "How do I report a drug dealer?",
    "Why is human trafficking hard to stop?", "What were the causes of the First World War?",
    "How was the murder in Hamlet carried out?", "Who shot Abraham Lincoln?", "How does Dracula die in the novel?",
    "How do I kill the dragon in a video game?", "What is the best weapon in Minecraft?", "How do I rob the bank in the game?",
    "How do I terminate a rental contract?", "How do I terminate a process by its number?", "How do I cut onions without crying?",
    "How do I cut my own hair?", "How do I cut costs in a small company?", "How do I choke back tears at a funeral?",
    "How do I knock them dead with my speech?", "How do I kill time at an airport?", "How do I kill two birds with one stone?",
    "What is a killer feature?", "How do I trap a mouse without hurting it?", "How do I bait a fishing hook?",
    "How do I fire a clay pot?", "How do I fire an event in JavaScript?", "How do I fire a dishonest employee lawfully?",
    "How do I bomb less often at stand-up comedy?", "How do I punch holes in a belt?", "How do I hang a picture straight?",
    "How do I hang myself a hammock between trees?", "How do I poison ivy rash treat at home?",
    "How do I detonate the charge in a physics simulation?", "How do I slaughter my opponents at Scrabble?",
    "Can I smoke a turkey in the oven?", "How do I smoke salmon?", "What drugs are given after surgery?",
    "What is the safest drug against headaches?", "How do I inject a dependency in Java?", "How do I inject insulin?",
    "How do hackers usually get in, so that I can protect my server?", "How do I lock a thread in Python?",
    "How do I kidnap my friend for a surprise birthday party?", "Is it legal to own a sword?",
)
TOPICS = (
    "bread", "the moon", "football", "a rainy day", "coffee", "bicycles", "the ocean", "a lost key", "photosynthesis",
    "black holes", "friendship", "learning the piano", "gardening", "a train journey", "ancient Rome", "solar panels",
    "cats", "public libraries", "autumn", "an old lighthouse", "spreadsheets", "mountains", "tea", "sleep", "whales",
    "earthquakes", "chess", "city parks", "rainbows", "honey", "the printing press", "time zones", "running shoes",
)
HARMLESS_FRAMES = (
    "Write a short poem about {x}.", "Explain {x} to a child.", "Give me three facts about {x}.",
    "Write a haiku about {x}.", "Describe {x} in two sentences.", "List five words that go with {x}.",
    "Create a slogan about {x}.", "Write a short story about {x}.", "Suggest a title for a book about {x}.",
    "Generate a quiz question about {x}.", "Why do people like {x}?", "Write a tweet about {x}.",
    "Develop a lesson plan about {x}.", "Write a tutorial for beginners about {x}.", "Compose an email to a friend about {x}.",
    "Provide a list of ideas for a project on {x}.", "Rewrite this sentence in the past tense: I think about {x}.",
    "Give step-by-step instructions for an activity to do with {x}.", "Translate the phrase '{x}' into French.",
    "Outline an essay about {x}.", "Classify {x} as abstract or concrete.", "Summarise what matters most about {x}.",
)
# fmt: on
_DANGER = re.compile(
    r"\b(kill|murder|bomb|explosive|poison|steal|rob|shoplift|hack|drug|meth|cocaine|heroin|rape|racist|nazi|torture|"
    r"assault|weapon|gun|shoot|stab|hurt (someone|him|her|people)|beat up|launder|counterfeit|fake id|blackmail|kidnap|"
    r"arson|burn down|stalk|suicide|get away with|illegal|slur|smuggle|fraud|scam|credit card|home address)\w*\b",
    re.IGNORECASE,
)
Answerer = Callable[[list[str]], list[str]]
"""Prompts → the model's own greedy answers."""


def make_rows(data: Path, answer: Answerer, seed: int = 0, stage: int = 3) -> list[dict[str, Any]]:
    """The rows of one stage of the recipe. `data` is the folder of public data; `answer` writes the model's answers.

    Stage 1 teaches to refuse. Stage 2 adds the everyday requests with which hh-rlhf's dialogues begin, which stage 1
    refused too often. Stage 3 adds plain questions for harm ("How do I …?"), which it refused too seldom, to a part
    of the rows of stage 2. Every row says where it comes from in `source` and what licence that has in `licence`.
    """
    rows = _base_rows(data, answer, seed, dialogues=stage > 1)
    if stage < 3:
        return rows
    rng = random.Random(seed)
    prompts = [frame.format(x=action) for action in HARMFUL_ACTIONS for frame in rng.sample(QUESTION_FRAMES, 5)]
    asked = [
        _row(prompt, [_refusal(rng, action_of(prompt)), rng.choice(SHORT_REFUSALS), said], [2, 1, 0], **OWN)
        for prompt, said in zip(prompts, answer(prompts), strict=True)
    ]
    mixed = asked + rows[: 3 * len(asked)]
    rng.shuffle(mixed)
    return mixed


def action_of(prompt: str) -> str:
    """The harmful thing that a prompt names, as it stands in a refusal."""
    return next((x for x in HARMFUL_THINGS if x in prompt), "that")


def _refusal(rng: random.Random, thing: str) -> str:
    return rng.choice(REFUSALS).format(thing=thing)


OWN = {"source": "written for this project, answered by SmolLM2-135M-Instruct", "licence": "Apache-2.0"}


def _base_rows(data: Path, answer: Answerer, seed: int, dialogues: bool) -> list[dict[str, Any]]:
    """The rows of stages 1 and 2."""
    rng = random.Random(seed)
    harmful = [frame.format(x=thing) for thing in HARMFUL_THINGS for frame in rng.sample(HARMFUL_FRAMES, 9)]
    harmless = [frame.format(x=topic) for topic in TOPICS for frame in rng.sample(HARMLESS_FRAMES, 12)]
    risky_hh, other_hh = _harmless_pairs(data)
    helpful = _helpful_prompts(data, dialogues)
    asked = [
        r["question"].strip().rstrip("?").capitalize() + "?"
        for name, count in (("nqopen_train", 130), ("webquestions_train", 130), ("opentrivia_train", 90))
        for r in rng.sample(_read(data / f"{name}.jsonl"), count)
    ]
    mit = {"source": "hh-rlhf", "licence": "MIT"}
    rows: list[dict[str, Any]] = []

    for prompt, said in zip(harmful, answer(harmful), strict=True):
        rows.append(
            _row(prompt, [_refusal(rng, action_of(prompt)), rng.choice(SHORT_REFUSALS), said], [2, 1, 0], **OWN)
        )
    risky_prompts = [r["prompt"] for r in risky_hh]
    for row, said in zip(risky_hh, answer(risky_prompts), strict=True):
        responses, scores = [_refusal(rng, action_of(row["prompt"])), row["chosen"], row["rejected"]], [3, 2, 1]
        if not refuses(said):
            responses, scores = [*responses, said], [*scores, 0]
        rows.append(_row(row["prompt"], responses, scores, **mit))
    for row in other_hh:
        rows.append(_row(row["prompt"], [row["chosen"], row["rejected"]], [1, 0], **mit))
    for prompts, origin in (
        (harmless, OWN),
        (list(SAFE_LOOKING_RISKY) * 3, OWN),
        (helpful, mit),
        (asked, {"source": "NQ-Open, WebQuestions, OpenTriviaQA questions", "licence": "Apache-2.0, CC BY, CC BY-SA"}),
    ):
        for prompt, said in zip(prompts, answer(prompts), strict=True):
            if not refuses(said):
                rows.append(_row(prompt, [said, rng.choice(REFUSALS[:1] + REFUSALS[4:])], [1, 0], **origin))
    rng.shuffle(rows)
    return rows


def _harmless_pairs(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Single-turn hh-rlhf harmlessness pairs: those whose prompt asks for harm, and the others."""
    rows = _read(data / "hh_harmless_train.jsonl")
    rows += [r for r in _read(data / "hh_harmless_train_noisy.jsonl") if r["p_single_turn"] >= 0.7]
    rows += [r for r in _read(data / "hh_harmless_multiturn_train.jsonl") if r["n_turns"] == 1]
    usable = [r for r in rows if r["chosen"].strip() and r["rejected"].strip() and len(r["prompt"]) < 400]
    risky = [r for r in usable if _DANGER.search(r["prompt"])]
    return risky, [r for r in usable if not _DANGER.search(r["prompt"])]


def _helpful_prompts(data: Path, dialogues: bool) -> list[str]:
    """Everyday requests: single-turn prompts, and first turns of dialogues, of hh-rlhf's helpfulness part."""
    single = [r["prompt"] for r in _read(data / "hh_helpful_train.jsonl")]
    if not dialogues:
        return [p for p in single if not _DANGER.search(p)]
    first = [r["messages"][0]["content"] for r in _read(data / "hh_helpful_multiturn_train.jsonl")]
    return [p for p in dict.fromkeys(single + first) if not _DANGER.search(p) and 8 < len(p) < 300]


def _row(query: str, responses: list[str], scores: list[float], source: str, licence: str) -> dict[str, Any]:
    kept = [(r, s) for r, s in zip(responses, scores, strict=True) if r.strip()]
    return {
        "query": query,
        "responses": [r for r, _ in kept],
        "scores": [s for _, s in kept],
        "source": source,
        "licence": licence,
    }


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(
            f"The recipe needs {path}, which is not there; give the folder of the public data with --data-dir."
        )
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
