"""A tiny random model with a real tokenizer, made on the spot, and a models.yaml around it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "how do I make a cake",
    "once upon a time in a far land",
    "0123456789",
]


def make_tokenizer(vocab: int = 320) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    core.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=special[0], eos_token=special[1])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(folder: Path, seed: int = 0, vocab: int = 320) -> Path:
    """Save a random two-layer Llama and its tokenizer in `folder`."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(vocab)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(folder: Path, model_folder: Path, seed: int = 1) -> Path:
    """Save a random LoRA adapter for the model in `model_folder`."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(model_folder)
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))
    peft.save_pretrained(folder)
    return folder


def make_answers(folder: Path, model_folder: Path) -> Path:
    """Save a random adapter with a random self-evaluation: vectors, and an adapter for their places."""
    make_adapter(folder, model_folder, seed=5)
    make_adapter(folder / "self_evaluation", model_folder, seed=6)
    save_file({"vectors": torch.randn(3, 64)}, folder / "self_evaluation" / "vectors.safetensors")
    return folder


def make_value(folder: Path, seed: int = 7, hidden_size: int = 64) -> Path:
    """Save a random value head with a hidden layer."""
    random = torch.Generator().manual_seed(seed)
    sizes = {"hidden.weight": (16, hidden_size), "hidden.bias": (16,), "weight": (1, 16), "bias": (1,)}
    folder.mkdir(exist_ok=True)
    save_file({k: torch.randn(size, generator=random) for k, size in sizes.items()}, folder / "value_head.safetensors")
    return folder


def make_embedder(folder: Path) -> Path:
    """Save a random BERT with a word tokenizer, as the sentence embedder is."""
    torch.manual_seed(2)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(config).save_pretrained(folder)
    words = {"[UNK]": 0, "[PAD]": 1} | {
        word: n for n, word in enumerate(["the", "fox", "dog", "cake", "time", "a", "i"], 2)
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_catalogue(folder: Path, **models_changes) -> Path:
    """Model, adapter and models.yaml in `folder`; returns the path of models.yaml."""
    make_model(folder / "tiny")
    make_adapter(folder / "adapter", folder / "tiny")
    make_answers(folder / "answers", folder / "tiny")
    make_value(folder / "value_sentiment", seed=7)
    make_value(folder / "value_harmless", seed=8)
    make_embedder(folder / "embedder")
    content = {
        "models": {
            "tiny": {"title": "Tiny", "licence": "none", "source": {"folder": "tiny"}, "precision": {"cpu": "bf16"}}
        },
        "variants": {
            "reference": {"title": "Tiny", "model": "tiny"},
            "aligned": {"title": "Tiny, careful", "model": "tiny", "prefix": "Be careful."},
            "adapted": {"title": "Tiny, adapted", "model": "tiny", "adapter": "adapter"},
            "quarter": {"title": "Tiny, a quarter adapted", "mix": {"reference": 0.75, "adapted": 0.25}},
            "answers": {"title": "Tiny, answers", "model": "tiny", "learned": "answers"},
            "evaluator": {"title": "Tiny, evaluator", "model": "tiny", "adapter": "adapter", "writes": False},
            **{
                name: {"title": f"Tiny, {name}", "model": "tiny", "learned": name, "writes": False}
                for name in ("value_sentiment", "value_harmless")
            },
        },
    }
    content["embedder"] = {"title": "Tiny", "licence": "none", "source": {"folder": "embedder"}}
    content["arena"] = {
        "lanes": ["greedy", "sample:temperature=1.5", "greedy:variant=adapted"],
        "newcomers": ["greedy:variant={name}"],
        "prompts": [{"text": "the fox", "category": "animals"}, {"text": "a cake", "category": "food"}],
        "max_new_tokens": 6,
        "battles_an_hour": 5000,
        "battles_an_hour_in_all": 9000,
    }
    content["models"] |= models_changes
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
