"""How well a tokenizer spends its tokens on a text."""

import time
from collections.abc import Sequence
from typing import Any

BATCH = 1000


def measure(tokenizer: Any, texts: Sequence[str]) -> dict[str, float]:
    """Return tokens and unknowns per character and characters per CPU-second of a HuggingFace tokenizer.

    Unknowns are counted per character, not per token: per token the rate grows as tokens get fewer.
    """
    characters = sum(map(len, texts))
    tokens = unknown = 0
    started = time.process_time()
    for start in range(0, len(texts), BATCH):
        encoded = tokenizer(list(texts[start : start + BATCH]), add_special_tokens=False)["input_ids"]
        tokens += sum(map(len, encoded))
        unknown += sum(ids.count(tokenizer.unk_token_id) for ids in encoded)
    seconds = time.process_time() - started
    return {
        "tokens_per_char": round(tokens / characters, 4),
        "unk_rate": round(unknown / characters, 6),
        "chars_per_cpu_second": round(characters / seconds) if seconds else 0,
        "vocabulary": len(tokenizer),
    }


def measure_sentencepiece(path: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the same numbers as `measure` for a SentencePiece model file."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=path)
    characters = sum(map(len, texts))
    started = time.process_time()
    encoded = processor.encode(list(texts))
    seconds = time.process_time() - started
    return {
        "tokens_per_char": round(sum(map(len, encoded)) / characters, 4),
        "unk_rate": round(sum(ids.count(processor.unk_id()) for ids in encoded) / characters, 6),
        "chars_per_cpu_second": round(characters / seconds) if seconds else 0,
        "vocabulary": len(processor),
    }
