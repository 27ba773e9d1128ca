"""Adding words to a BERT tokenizer, and rows to a checkpoint's embeddings."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def extend_tokenizer(base: "PreTrainedTokenizerBase", words: Sequence[str]) -> "PreTrainedTokenizerBase":
    """Return a copy of a fast BERT tokenizer with `words` appended in order as added tokens.

    They cannot go into the vocabulary itself: BERT's normalizer puts blanks around every Chinese character before
    WordPiece looks anything up. `normalized=False` matches them in the raw text, so that offsets stay exact and the
    token is the plain word (the original's `normalized=True` shows it with blanks inside).
    """
    from tokenizers import AddedToken

    extended = copy.deepcopy(base)
    extended.add_tokens([AddedToken(word, normalized=False, special=False) for word in words])
    return extended


def extend_model(
    model: "PreTrainedModel", base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase"
) -> "PreTrainedModel":
    """Grow a checkpoint's embeddings in place to the extended tokenizer and return it.

    A new word's row, and its bias in the masked-language-model head, start as the mean of what its characters had
    (as WoBERT does), not as a draw from one distribution for all words.
    """
    import torch

    model.resize_token_embeddings(len(extended), mean_resizing=False)
    embeddings: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    rows = embeddings.weight.data  # (tokens, width)
    bias = getattr(head, "bias", None)  # (tokens,), None for a bare encoder
    new_words = extended.convert_ids_to_tokens(list(range(len(base), len(extended))))
    pieces = base(new_words, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        for row, ids in enumerate(pieces, start=len(base)):
            rows[row] = rows[ids].mean(0)
            if bias is not None:
                bias.data[row] = bias.data[ids].mean()
    return model
