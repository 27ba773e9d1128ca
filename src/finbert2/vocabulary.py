"""Whether a tokenizer belongs to a checkpoint: a token's id is the row of its embedding."""

from typing import Any

from finbert2 import encoder
from finbert2.errors import UserError


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


def check_size(tokenizer: Any, config: Any, name: str, masked: bool = False) -> None:
    """Raise `UserError` for a tokenizer with ids that the model of a configuration has no embedding for.

    Special tokens that stand in no text, such as a [MASK] that transformers adds by itself, count only with `masked`.
    """
    unread = set() if masked else set(tokenizer.all_special_ids).difference(tokenizer("")["input_ids"])
    tokens = size(tokenizer) if masked else 1 + max(set(tokenizer.get_vocab().values()) - unread, default=-1)
    embeddings = getattr(config, "vocab_size", None)  # none where characters are hashed
    if embeddings is not None and tokens > embeddings:
        raise UserError(
            f"the tokenizer has {tokens} tokens, the model {name} has embeddings for {embeddings}: "
            "they do not belong together; grow the model with `tokenizer train --base_model`, or name its own tokenizer"
        )


def need_cls(tokenizer: Any, name: str) -> None:
    """Raise `UserError` for a plain model, to be read by its [CLS] vector, whose texts do not begin with one."""
    if tokenizer.cls_token_id is None or tokenizer("")["input_ids"][:1] != [tokenizer.cls_token_id]:
        raise UserError(
            f"{name} has a tokenizer that puts no [CLS] before a text ({type(tokenizer).__name__}), whose vector would "
            "be read: name an encoder such as BERT, or a sentence-transformers folder, which says what its vector is"
        )
