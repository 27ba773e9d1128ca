"""`finbert2 tokenizer train`: corpus + base tokenizer (+ base model) → tokenizer with domain words (+ grown model)."""

import itertools
import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import args, encoder, files, runtime
from finbert2.errors import UserError
from finbert2.tokenizer import words
from finbert2.tokenizer.base import train_base
from finbert2.tokenizer.extend import extend_model, extend_tokenizer
from finbert2.tokenizer.measure import measure

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)
PARITY_SENTENCES = 1000


@dataclass
class TokenizerArguments:
    """What to learn words from, and what to add them to."""

    corpus: list[str] = args.option("files or folders of the cleaned corpus")
    output_dir: str = args.option("folder for the tokenizer (and the grown model)")
    base_tokenizer: str | None = args.option(
        "BERT tokenizer, folder or Hub name; none: one of characters is trained from the corpus", default=None
    )
    base_model: str | None = args.option("checkpoint whose embeddings are grown, folder or Hub name", default=None)
    num_added_tokens: int = args.option("words to add (13,804: with Chinese RoBERTa, FinBERT2's 34,932)", default=13804)
    base_vocab_size: int = args.option("vocabulary of a base tokenizer trained here", default=21128)
    unigram_vocab_size: int = args.option("pieces of the SentencePiece model that words are chosen from", default=50000)
    max_sentences: int = args.option("sentences sampled for the SentencePiece model", default=1_000_000)
    text_field: str = args.option("field that holds the text", default="text")
    seed: int = args.option("seed of the samples", default=0)

    def __post_init__(self) -> None:
        """A model is grown from its own tokenizer."""
        if self.base_model and not self.base_tokenizer:
            self.base_tokenizer = self.base_model


@args.command
def main(argv: list[str] | None = None) -> None:
    """Learn domain words and write the extended tokenizer."""
    (options,) = args.parse("tokenizer train", __doc__ or "", argv, TokenizerArguments)
    started = time.perf_counter()
    output = Path(options.output_dir)
    first = next(texts(options), None)
    if first is None:
        raise UserError(f"{', '.join(options.corpus)}: no text was found to learn words from")
    args.claim(output, options)
    if args.is_finished(output):
        return
    base = load_base(options)
    log.info("tokenizer: learning %d SentencePiece pieces", options.unigram_vocab_size)
    threads = os.cpu_count() or 1
    unigram = words.train_unigram(
        texts(options), options.unigram_vocab_size, options.max_sentences, options.seed, threads
    )
    files.write_bytes(output / "unigram.model", unigram)
    chosen = choose_words(unigram, base, options)
    extended = extend_tokenizer(base, [word for word, _, _ in chosen])
    extended.save_pretrained(output)
    if options.base_model:
        grow_model(options.base_model, base, extended, output)
    report(output, base, extended, chosen, options, started)


def texts(options: TokenizerArguments) -> Iterator[str]:
    """Yield the corpus's texts."""
    return (row.values[options.text_field] for row in files.read_documents(options.corpus, options.text_field))


def load_base(options: TokenizerArguments) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that words are added to: the one named, or one trained from the corpus."""
    from transformers import AutoTokenizer

    if options.base_tokenizer:
        return encoder.load(AutoTokenizer.from_pretrained, options.base_tokenizer)
    log.info("tokenizer: no --base_tokenizer, so its characters are learnt from the corpus")
    return train_base(texts(options), options.base_vocab_size)


def choose_words(
    unigram: bytes, base: "PreTrainedTokenizerBase", options: TokenizerArguments
) -> list[tuple[str, int, int]]:
    """Return the words to add, best first, as (word, occurrences, tokens saved)."""
    proposed = words.candidates(words.count_pieces(unigram, texts(options)))
    known = frozenset(base.get_vocab())
    # Counted twice, since a word's worth depends on which others are there to take its place: first all candidates,
    # then only half as many again as are wanted.
    counts = words.count_matches(proposed, texts(options))
    shortlist = [word for word, _, _ in words.rank(counts, known, options.num_added_tokens * 3 // 2)]
    chosen = words.rank(words.count_matches(shortlist, texts(options)), known, options.num_added_tokens)
    if len(chosen) < options.num_added_tokens:
        log.warning(
            "tokenizer: the corpus holds %d words that occur %d times or more; %d were asked for, all %d are used",
            len(chosen), words.MIN_COUNT, options.num_added_tokens, len(chosen),
        )  # fmt: skip
    return chosen


def grow_model(name: str, base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase", output: Path) -> None:
    """Write the checkpoint `name` with embeddings grown to the extended tokenizer into `output`."""
    import torch
    from transformers import AutoModelForMaskedLM

    model = encoder.load(AutoModelForMaskedLM.from_pretrained, name, dtype=torch.float32)
    extend_model(model, base, extended).save_pretrained(output)


def report(
    output: Path, base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase",
    chosen: list[tuple[str, int, int]], options: TokenizerArguments, started: float,
) -> None:  # fmt: skip
    """Write the ranked word list, 1,000 encoded sentences for other runtimes to compare with, and `results.json`."""
    columns = ("word", "occurrences", "tokens_saved")
    files.write_rows(output / "words.csv", (dict(zip(columns, row, strict=True)) for row in chosen))
    sample = list(itertools.islice(words.sentences(texts(options)), 50 * PARITY_SENTENCES))
    random.Random(options.seed).shuffle(sample)
    parity = [line for line in sample if line][:PARITY_SENTENCES]
    encoded = extended(parity)["input_ids"]
    files.write_rows(output / "parity.jsonl", ({"text": t, "ids": i} for t, i in zip(parity, encoded, strict=True)))
    results = {"words": len(chosen), "base": measure(base, parity), "extended": measure(extended, parity)}
    results["data"] = files.fingerprint(files.expand(options.corpus))
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )


if __name__ == "__main__":
    main()
