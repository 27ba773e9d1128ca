"""The SentencePiece unigram model that proposes words."""

import io
import os
import random
import re
from collections.abc import Iterable, Iterator

from finbert2.errors import UserError

MAX_SENTENCE_BYTES = 4096
WORD = re.compile(r"[\u4e00-\u9fff]{2,6}")
CHINESE = re.compile(r"[\u4e00-\u9fff]+")
# What training takes at its peak for a character of its sample, mostly its text and suffix array (measured with
# sentencepiece 0.2.3 on 25.5 million characters, 50,000 pieces: 1,056 MiB, 43 bytes a character), and what besides.
BYTES_A_CHARACTER, BYTES_BESIDES = 45, 100 * 2**20
# Each thread adds up probabilities of its own, so another number of them rounds and ranks the pieces otherwise: were it
# that of the cores, each machine would get its own words. More threads than cores cost next to nothing.
THREADS = 16


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts' lines, cut where SentencePiece would pass over a line as too long."""
    for text in texts:
        for line in text.split("\n"):
            for start in range(0, len(line), MAX_SENTENCE_BYTES // 4):
                yield line[start : start + MAX_SENTENCE_BYTES // 4]


def share_of(lines: int, max_sentences: int) -> float:
    """Return the share of a corpus's lines that makes about `max_sentences`."""
    return min(1.0, max_sentences / max(1, lines))


def memory_needed(characters: int, lines: int, max_sentences: int) -> int:
    """Return the bytes that training is expected to take on at most `max_sentences` of a corpus's lines."""
    return BYTES_BESIDES + int(characters * share_of(lines, max_sentences)) * BYTES_A_CHARACTER


def memory_free() -> int:
    """Return the bytes that the system can give: what Linux counts as available, elsewhere the free pages."""
    path = "/proc/meminfo"
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            found = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
        if found:
            return int(found.group(1)) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def check_memory(needed: int, free: int, max_sentences: int) -> None:
    """Raise `UserError` if training would not fit: SentencePiece itself would be killed after minutes."""
    if needed > free:
        fitting = int(max_sentences * max(0.0, free - BYTES_BESIDES) / needed)
        raise UserError(
            f"learning the SentencePiece model needs about {needed / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} GiB are free: give --max_sentences {fitting} or fewer"
        )


def train_unigram(texts: Iterable[str], vocab_size: int, share: float = 1.0, seed: int = 0) -> bytes:
    """Return a serialised SentencePiece unigram model (settings of the original: unigram, nmt_nfkc, 50,000 pieces).

    It is learnt from a share of the lines, drawn here: SentencePiece's own draw is another one in each process.
    Unlike the original, digits are split and pieces end at 8 characters: thousands of its pieces were numbers
    and clauses of disclaimers. A corpus too small for `vocab_size` pieces gives as many as it can.
    Raises `UserError` if it cannot give any.
    """
    import sentencepiece

    chance = random.Random(seed)
    lines = (line for line in sentences(texts) if share == 1 or chance.random() < share)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=model, vocab_size=vocab_size, model_type="unigram",
            split_digits=True, hard_vocab_limit=False,
            max_sentencepiece_length=8, max_sentence_length=MAX_SENTENCE_BYTES, num_threads=THREADS,
            character_coverage=0.9995, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise UserError(f"the corpus is too small to learn words from ({error}): give more text") from None
    return model.getvalue()


def is_chinese(word: str) -> bool:
    """Tell whether a word is written in Chinese characters alone."""
    return CHINESE.fullmatch(word) is not None


def proposed_words(model: bytes) -> list[str]:
    """Return the pieces of a SentencePiece model that can be words, best first: pure Chinese, 2 to 6 characters."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = (processor.id_to_piece(number).replace("\u2581", "") for number in range(processor.get_piece_size()))
    return list(dict.fromkeys(piece for piece in pieces if WORD.fullmatch(piece)))
