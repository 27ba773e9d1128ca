"""The character-level BERT tokenizer that domain words are added to, when no published one is given."""

import itertools
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from finbert2.tokenizer.extend import MARKS

if TYPE_CHECKING:
    from transformers import BertTokenizer

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def train_base(texts: Iterable[str], vocab_size: int) -> "BertTokenizer":
    """Return a BERT tokenizer whose vocabulary is learnt from `texts`.

    BERT's pre-tokenizer puts every Chinese character by itself, so that WordPiece can only learn pieces of Latin
    words and numbers: the result has the shape of `bert-base-chinese` on the characters the texts use.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertTokenizer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=list(SPECIAL.values()), show_progress=False,
        # ASCII and the marks of Chinese prose are always known, whatever the corpus holds.
        initial_alphabet=[*(chr(code) for code in range(33, 127)), *MARKS],
    )  # fmt: skip
    # … also inside a word: the last text holds every letter and digit once as a piece that goes on.
    inside = "0" + string.ascii_lowercase + string.digits
    tokenizer.train_from_iterator(itertools.chain(texts, [inside]), trainer)
    cls, sep = (("[CLS]", list(SPECIAL.values()).index("[CLS]")), ("[SEP]", list(SPECIAL.values()).index("[SEP]")))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    options: dict[str, Any] = {"model_max_length": 512, "do_lower_case": True} | SPECIAL
    return BertTokenizer(tokenizer_object=tokenizer, **options)
