"""The character-level BERT tokenizer that domain words are added to, when no published one is given."""

import re
import string
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from finbert2.tokenizer.extend import MARKS
from finbert2.tokenizer.merges import CONTINUES, grow_vocab

if TYPE_CHECKING:
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from transformers import BertTokenizer

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# ASCII and the marks of Chinese prose are known whatever the corpus holds, letters and digits also inside words.
ALPHABET = {*map(chr, range(33, 127)), *MARKS}
INSIDE = {*string.ascii_lowercase, *string.digits}
# What BERT's normalizer and pre-tokenizer part in any case: a Chinese character, or a run of others without blanks.
CHUNK = re.compile(r"[\u4e00-\u9fff]|[^ \n\u4e00-\u9fff]+")
MOST_CHUNKS = 4_000_000  # half a gigabyte


def train_base(texts: Iterable[str], vocab_size: int) -> "BertTokenizer":
    """Return a BERT tokenizer whose vocabulary is learnt from `texts`: the same texts give the same one, byte by byte.

    BERT's pre-tokenizer puts every Chinese character by itself, so that WordPiece can only learn pieces of Latin
    words and numbers: the result has the shape of `bert-base-chinese` on the characters the texts use.
    """
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from transformers import BertTokenizer

    words = count_words(texts, BertNormalizer(lowercase=True), BertPreTokenizer())
    options: dict[str, Any] = {"model_max_length": 512, "do_lower_case": True} | SPECIAL
    return BertTokenizer(vocab=learn_vocab(words, vocab_size), **options)


def count_words(texts: Iterable[str], normalizer: "BertNormalizer", pre_tokenizer: "BertPreTokenizer") -> Counter[str]:
    """Return how often each word stands in the texts, by what normalizer and pre-tokenizer make of them.

    Both are slow, so they see each chunk once. Numbers and names without end would fill the memory: of more than
    `MOST_CHUNKS` the rarest go, single characters stay.
    """
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(CHUNK.findall(text))
        if len(chunks) > MOST_CHUNKS:
            chunks = without_rare(chunks, MOST_CHUNKS // 2)
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(chunk)):
            words[word] += count
    return words


def without_rare(chunks: Counter[str], most: int) -> Counter[str]:
    """Return the chunks but for the rarest longer ones: as many go, by their count, that about `most` stay."""
    counts = sorted((count for chunk, count in chunks.items() if len(chunk) > 1), reverse=True)
    least = counts[most] if most < len(counts) else 0
    return Counter({chunk: count for chunk, count in chunks.items() if len(chunk) == 1 or count > least})


def learn_vocab(words: Counter[str], size: int) -> dict[str, int]:
    """Return the id of each piece: special tokens, characters, characters inside words, merges, as far as they fit.

    All characters are known: where they are more than `size`, so are the pieces.
    """
    inside = {CONTINUES + character for character in INSIDE.union(*(word[1:] for word in words))}
    first = [*SPECIAL.values(), *sorted(ALPHABET.union(*words)), *sorted(inside)]
    return grow_vocab({piece: number for number, piece in enumerate(first)}, words, size)
