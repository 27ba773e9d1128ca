"""How well a tokenizer spends its tokens on a text."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finbert2 import vocabulary
from finbert2.encoder import batches

BATCH, BATCH_CHARACTERS = 1000, 2**20
QUANTILES = {"length_p50": 0.5, "length_p90": 0.9, "length_p99": 0.99}


@dataclass(frozen=True)
class Cutter:
    """A tokenizer of any library, as measuring needs it."""

    ids: Callable[[list[str]], list[list[int]]]
    spans: Callable[[list[str]], list[Sequence[tuple[int, int]]]]  # of each token, in characters of the text
    unknown: int | None  # none where bytes spell out what the vocabulary lacks
    size: int


def of_huggingface(tokenizer: Any) -> Cutter:
    """Return a fast HuggingFace tokenizer as a cutter; special tokens are left out."""
    return Cutter(
        ids=lambda texts: tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"],
        spans=lambda texts: tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"],
        unknown=tokenizer.unk_token_id,
        size=vocabulary.size(tokenizer),
    )


def of_sentencepiece(path: str) -> Cutter:
    """Return a SentencePiece model file as a cutter."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=path)

    def spans(texts: list[str]) -> list[Sequence[tuple[int, int]]]:
        return [one["offsets"] for one in processor.encode(texts, return_type="offset_mapping")]

    return Cutter(processor.encode, spans, processor.unk_id(), processor.get_piece_size())


def measure(cutter: Cutter, texts: Sequence[str], edges: Sequence[np.ndarray] = ()) -> dict[str, float]:
    """Return what a tokenizer does with texts.

    - `characters`, `tokens_per_char`;
    - `unk_rate`, unknown tokens per character (per token it grows as tokens get fewer);
    - `chars_per_cpu_second`, of plain encoding;
    - `vocabulary`, its size, and `vocabulary_used`, how many of its tokens occur in the texts;
    - `length_p50`, `length_p90`, `length_p99`, `length_max`: tokens a text;
    - with `edges`, masks (characters + 1,) of where words begin and end, a text each: `crossing_rate`, the share of
      tokens that run over a word's edge without beginning and ending at one, and `uniting_rate`, the share made of
      several whole words.
    """
    characters = sum(map(len, texts))
    counts = np.zeros(cutter.size, np.int64)
    lengths: list[int] = []
    seconds = 0.0
    for batch in blocks(texts):
        started = time.process_time()
        encoded = cutter.ids(batch)
        seconds += time.process_time() - started
        lengths += map(len, encoded)
        counts += np.bincount(np.concatenate([np.zeros(0, np.int64), *encoded]).astype(np.int64), minlength=len(counts))
    unknown = 0 if cutter.unknown is None else int(counts[cutter.unknown])
    return {
        "characters": characters,
        "tokens_per_char": round(sum(lengths) / characters, 4),
        "unk_rate": round(unknown / characters, 6),
        "chars_per_cpu_second": round(characters / seconds) if seconds else 0,
        "vocabulary": cutter.size,
        "vocabulary_used": int((counts > 0).sum()),
        **{name: int(np.quantile(lengths, share)) for name, share in QUANTILES.items()},
        "length_max": max(lengths),
        **(crossings(cutter, texts, edges) if edges else {}),
    }


def blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `BATCH` and, but for a single longer one, `BATCH_CHARACTERS` characters."""
    for places in batches(range(len(texts)), list(map(len, texts)), BATCH, BATCH_CHARACTERS):
        yield [texts[place] for place in places]


def crossings(cutter: Cutter, texts: Sequence[str], edges: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the shares of tokens that tear words apart and that unite several whole ones."""
    tokens = crossing = uniting = 0
    spans = (one for batch in blocks(texts) for one in cutter.spans(batch))
    for places, mask in zip(spans, edges, strict=True):
        begin, end = np.array(places, np.int64).reshape(-1, 2).T
        inside = np.cumsum(mask)
        over = inside[np.maximum(end - 1, begin)] > inside[begin]  # an edge strictly between beginning and end
        whole = mask[begin] & mask[end]
        tokens += len(begin)
        crossing += int((over & ~whole).sum())
        uniting += int((over & whole).sum())
    return {
        "crossing_rate": round(crossing / max(1, tokens), 5),
        "uniting_rate": round(uniting / max(1, tokens), 5),
    }
