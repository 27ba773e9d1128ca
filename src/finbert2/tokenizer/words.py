"""From a corpus to a ranked list of domain words: SentencePiece proposes, tokens saved decide."""

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from finbert2.errors import UserError

WORD = re.compile(r"[\u4e00-\u9fff]{2,6}")
CHINESE_RUN = re.compile(r"[\u4e00-\u9fff]+")
# A piece that begins or ends with one of these is a torn clause (“的公司”, “公告称在”), not a word.
FUNCTION_CHARACTERS = frozenset("的了在是与和及或将被对为从于其之等也又并但而且该此各每某以把向让使由自")
MIN_COUNT = 5
MAX_SENTENCE_BYTES = 4096


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts' lines, cut where SentencePiece would pass over a line as too long."""
    for text in texts:
        for line in text.split("\n"):
            for start in range(0, len(line), MAX_SENTENCE_BYTES // 4):
                yield line[start : start + MAX_SENTENCE_BYTES // 4]


def train_unigram(texts: Iterable[str], vocab_size: int, max_sentences: int, seed: int, threads: int) -> bytes:
    """Return a serialised SentencePiece unigram model (settings of the original: unigram, nmt_nfkc, 50,000 pieces).

    Unlike the original, digits are split and pieces end at 8 characters: thousands of its pieces were numbers
    and clauses of disclaimers. A corpus too small for `vocab_size` pieces gives as many as it can.
    Raises `UserError` if it cannot give any.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.set_random_generator_seed(seed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(texts), model_writer=model, vocab_size=vocab_size, model_type="unigram",
            input_sentence_size=max_sentences, shuffle_input_sentence=True, split_digits=True, hard_vocab_limit=False,
            max_sentencepiece_length=8, max_sentence_length=MAX_SENTENCE_BYTES, num_threads=threads,
            character_coverage=0.9995, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise UserError(f"the corpus is too small to learn words from ({error}): give more text") from None
    return model.getvalue()


def count_pieces(model: bytes, texts: Iterable[str]) -> Counter[str]:
    """Return how often each piece of a SentencePiece model occurs when it segments the texts."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    counts: Counter[str] = Counter()
    for chunk in batches(sentences(texts), 4096):
        for pieces in processor.encode(chunk, out_type=str):
            counts.update(pieces)
    return counts


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` consecutive items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def candidates(pieces: Iterable[str]) -> list[str]:
    """Return the pieces that can be words: pure Chinese, 2 to 6 characters, no function character at either end."""
    plain = dict.fromkeys(piece.replace("\u2581", "") for piece in pieces)
    return [
        piece for piece in plain
        if WORD.fullmatch(piece) and piece[0] not in FUNCTION_CHARACTERS and piece[-1] not in FUNCTION_CHARACTERS
    ]  # fmt: skip


def count_matches(words: Sequence[str], texts: Iterable[str]) -> Counter[str]:
    """Return how often each word is taken when texts are cut by leftmost-longest match, as added tokens are."""
    known = frozenset(words)
    longest = max(map(len, words), default=0)
    counts: Counter[str] = Counter()
    for text in texts:
        for run in CHINESE_RUN.findall(text):
            counts.update(longest_matches(run, known, longest))
    return counts


def longest_matches(run: str, known: frozenset[str], longest: int) -> Iterator[str]:
    """Yield the words of a run of Chinese characters that a leftmost-longest matcher takes."""
    place = 0
    while place < len(run) - 1:
        for length in range(min(longest, len(run) - place), 1, -1):
            piece = run[place : place + length]
            if piece in known:
                yield piece
                place += length
                break
        else:
            place += 1


def rank(counts: Counter[str], known: frozenset[str], limit: int) -> list[tuple[str, int, int]]:
    """Return the best `limit` words as (word, occurrences, tokens saved): occurrences × (length − 1), rarest out.

    Words already in the vocabulary (`known`) are passed over; ties go to the word that comes first alphabetically.
    """
    rows = [(w, n, n * (len(w) - 1)) for w, n in counts.items() if n >= MIN_COUNT and w not in known]
    return sorted(rows, key=lambda row: (-row[2], row[0]))[:limit]
