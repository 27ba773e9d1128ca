"""Adding words to a BERT tokenizer so that they match, decode and keep their offsets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Chinese prose is full of them and the vocabulary of bert-base-chinese lacks them: nearly all of its unknown tokens.
# Each stands beside the ASCII mark whose embedding it starts from.
MARKS = {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "-", "…": "."}
WIDE = r"\p{Han}\u3000-\u303f\uff00-\uffef" + "".join(MARKS)  # Chinese text writes no blank beside these
NUMBER_MARKS = (".", ",", ":", "/", "-")
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


def missing_marks(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the quotation marks, dashes and ellipses that a tokenizer does not know."""
    unknown = tokenizer.unk_token
    return [mark for mark in MARKS if tokenizer.tokenize(mark) in ([], [unknown])]


def added_words(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the words that were added to a tokenizer, in the order of their ids; special tokens are none.

    FinBERT2's own come with blanks between the characters, which are taken out.
    """
    added = sorted(tokenizer.get_added_vocab().items(), key=lambda item: item[1])
    words = ("".join(word.split()) for word, _ in added if word not in tokenizer.all_special_tokens)
    return list(dict.fromkeys(word for word in words if word))


def extend_tokenizer(base: "PreTrainedTokenizerBase", words: Sequence[str]) -> "PreTrainedTokenizerBase":
    """Return a copy of a fast BERT tokenizer with `words` appended in order as added tokens.

    They cannot go into the vocabulary itself: BERT's normalizer puts blanks around every Chinese character before
    WordPiece looks anything up. `normalized=False` matches them in the raw text, so that offsets stay exact and the
    token is the plain word (the original's `normalized=True` shows it with blanks inside).

    The result is of the generic class: transformers builds a `BertTokenizer` anew from its vocabulary alone, and would
    lose the decoder that puts no blanks into Chinese text.
    """
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(base.backend_tokenizer.to_str())
    backend.decoder = decoder()
    options: dict[str, Any] = {"model_max_length": base.model_max_length, "model_input_names": INPUTS}
    extended = PreTrainedTokenizerFast(tokenizer_object=backend, **options, **base.special_tokens_map)
    extended.add_tokens([AddedToken(word, normalized=False, special=False) for word in words])
    return extended


def decoder() -> Any:
    """Return a decoder that joins WordPieces as BERT's does, without blanks in Chinese text and inside numbers."""
    from tokenizers import Regex, decoders

    beside_wide = decoders.Replace(Regex(f"(?<=[{WIDE}]) | (?=[{WIDE}])"), "")
    in_numbers = [decoders.Replace(Regex(rf"(?<=\d) ?\{mark} ?(?=\d)"), mark) for mark in NUMBER_MARKS]
    percent = decoders.Replace(Regex(r"(?<=\d) %"), "%")
    return decoders.Sequence([decoders.WordPiece(), decoders.Fuse(), beside_wide, *in_numbers, percent])
