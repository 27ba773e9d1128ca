"""Whether a tokenizer belongs to a checkpoint: a token's id is the row of its embedding."""

from typing import Any

from finbert2 import encoder


def of_checkpoint(name: str) -> dict[str, int]:
    """Return the ids of a checkpoint's own tokens; none where it comes without a tokenizer to compare with."""
    return encoder.load(own_tokens, name)


def own_tokens(name: str, **options: Any) -> dict[str, int]:
    """Return the same; `options` name a revision, if any."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    # Without files transformers makes one of special tokens alone.
    return tokenizer.get_vocab() if len(tokenizer) > len(tokenizer.all_special_ids) else {}


def size(tokenizer: Any) -> int:
    """Return how many embeddings a tokenizer's ids want: more than its tokens where lines of a vocab.txt are equal."""
    return max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=-1))


def first_moved(own: dict[str, int], given: dict[str, int]) -> tuple[int, str] | None:
    """Return id and token of the first of a checkpoint's `own` tokens that a tokenizer gives another id; None: none.

    More tokens at the end than the checkpoint's are welcome.
    """
    return min(((number, token) for token, number in own.items() if given.get(token) != number), default=None)
