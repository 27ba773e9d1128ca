"""`finbert2 tokenizer train`: corpus + base tokenizer (+ base model) → tokenizer with domain words (+ grown model)."""

import logging
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, encoder, files, vocabulary, weights
from finbert2.errors import UserError
from finbert2.tokenizer import unigram
from finbert2.tokenizer.base_tokenizer import train_base
from finbert2.tokenizer.extend import added_words, extend_tokenizer, missing_marks
from finbert2.tokenizer.reading import Corpus, Sample, Survey, draw, survey

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finbert2.tokenizer.choose import Choice

log = logging.getLogger(__name__)
DISK = 64 * 2**20  # bytes that a tokenizer of any size and its reports fit into
FOCUS_TEXTS = 100_000  # documents in which `focus` looks for neighbours


@dataclass
class TokenizerArguments:
    """What to learn words from, and what to add them to."""

    corpus: list[str] = args.option("files or folders of the cleaned corpus")
    output_dir: str = args.option("folder for the tokenizer (and the grown model)")
    base_tokenizer: str | None = args.option(
        "BERT tokenizer, folder or Hub name; none: one of characters is trained from the corpus", default=None
    )
    base_model: str | None = args.option("checkpoint whose embeddings are grown, folder or Hub name", default=None)
    embedding_init: Literal["mean", "focus", "hf"] = args.option(
        "how new rows start; mean: of their characters'", default="mean"
    )
    num_added_tokens: int = args.option("words to add (13,804: with Chinese RoBERTa, FinBERT2's 34,932)", default=13804)
    keep_published_words: str | None = args.option(
        "FinBERT2 tokenizer, folder or Hub name, whose added words come first, in their order", default=None
    )
    base_vocab_size: int = args.option("vocabulary of a base tokenizer trained here", default=21128)
    unigram_vocab_size: int = args.option("pieces of the SentencePiece model that words are chosen from", default=50000)
    max_sentences: int = args.option("sentences sampled for the SentencePiece model", default=1_000_000)
    max_characters: int = args.option("characters sampled for counting what words save", default=50_000_000)
    userdict: str | None = args.option("jieba user dictionary: its words are candidates, one a line", default=None)
    text_field: str = args.option("field that holds the text", default="text")
    source_field: str = args.option("field that says which kind of text it is; else each path is one", default="source")
    source_smoothing: float = args.option(
        "exponent of a kind's share of the corpus when words are chosen (1: as it is, 0: all alike)", default=0.5
    )
    function_word_worth: float = args.option(
        "what a token counts that a piece with a function word at an end (公司的) saves; 0: no such pieces", default=0.3
    )
    errors: Literal["stop", "skip"] = args.option("what is done with lines that cannot be read", default="stop")
    seed: int = args.option("seed of the samples", default=0)

    def __post_init__(self) -> None:
        """A model is grown from its own tokenizer."""
        if self.base_model and not self.base_tokenizer:
            self.base_tokenizer = self.base_model
        if self.embedding_init != "mean" and not self.base_model:
            raise ValueError(f"--embedding_init {self.embedding_init} grows a checkpoint: name it by --base_model")
        if not 0 <= self.source_smoothing <= 1:
            raise ValueError(f"--source_smoothing is {self.source_smoothing}: it lies between 0 and 1")
        if not 0 <= self.function_word_worth <= 1:
            raise ValueError(f"--function_word_worth is {self.function_word_worth}: it lies between 0 and 1")
        if self.num_added_tokens < 0:
            raise ValueError(f"--num_added_tokens is {self.num_added_tokens}: it cannot be negative")
        if self.max_characters < 1:
            raise ValueError(f"--max_characters is {self.max_characters}: words are chosen by a sample of 1 or more")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Learn domain words and write the extended tokenizer."""
    from finbert2.tokenizer import report

    (options,) = args.parse("tokenizer train", __doc__ or "", argv, TokenizerArguments)
    started = time.perf_counter()
    output = Path(options.output_dir)
    corpus = Corpus(options.corpus, options.text_field, options.source_field, options.errors == "skip")
    if not args.is_finished(output):
        check_base(options)
        found = survey(corpus)
    data = files.fingerprint(files.of_corpus(options.corpus), output / ".contents.json")
    facts = {"the content of --corpus": files.content(data)} | args.contents(options.userdict)
    args.claim(output, options, facts=facts)
    if args.is_finished(output):
        log.info("%s holds the finished run: nothing to do", output)
        return
    check_disk(output)
    base = load_base(corpus, options)
    first = fixed_words(base, options)
    proposed = propose(corpus, found, output / "unigram.model", options)
    sample = draw(corpus, found, options.max_characters, options.seed)
    chosen, dropped = choose_words(proposed, first, base, sample, options)
    extended = extend_tokenizer(base, [*first, *(choice.word for choice in chosen)])
    encoder.save_tokenizer(extended, output)
    if not options.base_tokenizer:
        encoder.save_tokenizer(base, output / "base")  # what the words are to be measured beside, on any text
    if options.base_model:
        grow_model(base, extended, sample, output, options)
    data |= files.fingerprint(filter(None, [options.userdict]))
    report.write(output, base, extended, report.Outcome(found, sample, first, chosen, dropped), options, data, started)


def check_base(options: TokenizerArguments) -> None:
    """Raise `UserError` if the base tokenizer is not the one that the base model was trained with."""
    from transformers import AutoConfig, AutoTokenizer

    if not options.base_model or not options.base_tokenizer:
        return
    given = encoder.load(AutoTokenizer.from_pretrained, options.base_tokenizer).get_vocab()
    config: Any = encoder.load(AutoConfig.from_pretrained, options.base_model)
    other = options.base_tokenizer != options.base_model
    own = vocabulary.of_checkpoint(options.base_model) if other else given
    difference = disagreement(given, own, config.vocab_size)
    if difference:
        raise UserError(
            f"--base_tokenizer {options.base_tokenizer} and --base_model {options.base_model} do not belong together: "
            f"{difference}; leave --base_tokenizer out to take the model's own"
        )


def disagreement(given: dict[str, int], own: dict[str, int], embeddings: int) -> str | None:
    """Return why a tokenizer's ids are not those of a model with its `own` tokens and `embeddings`, None if they are.

    More tokens at the end than the model's own are welcome, as far as there are embeddings for them.
    """
    if len(given) > embeddings:
        return f"the tokenizer has {len(given)} tokens, the model {embeddings} embeddings"
    moved = vocabulary.first_moved(own, given)
    if moved is None:
        return None
    number, token = moved
    return f"the tokenizer gives {token!r} the id {given.get(token)}, the model has its embedding at {number}"


def check_disk(output: Path) -> None:
    """Raise `UserError` if what will be written does not fit: better now than after minutes."""
    free = shutil.disk_usage(output).free
    if free < DISK:
        raise UserError(f"{output} has {free / 2**20:.0f} MiB free, {DISK >> 20} are needed: make room or go elsewhere")


def load_base(corpus: Corpus, options: TokenizerArguments) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that words are added to: the one named, or one trained from the corpus."""
    from transformers import AutoTokenizer

    if options.base_tokenizer:
        base = encoder.load(AutoTokenizer.from_pretrained, options.base_tokenizer)
        ids = vocabulary.size(base)
        if ids > len(base):
            raise UserError(
                f"{options.base_tokenizer} has {len(base)} tokens and ids up to {ids - 1}: words would get others' "
                "ids. Its vocab.txt holds lines twice or blank ones: give each a name of its own, such as [unused1001]"
            )
        return base
    log.info("tokenizer: no --base_tokenizer, so its characters are learnt from the corpus")
    return train_base(unigram.sentences(corpus.texts()), options.base_vocab_size)


def propose(corpus: Corpus, found: Survey, path: Path, options: TokenizerArguments) -> list[str]:
    """Return the words of the SentencePiece model at `path`, which is learnt unless a killed run left it there."""
    if path.exists() and path.stat().st_mtime > max(p.stat().st_mtime for p in files.of_corpus(options.corpus)):
        log.info("tokenizer: %s is newer than the corpus and taken as it is", path)
        return unigram.proposed_words(path.read_bytes())
    needed, free = unigram.memory_needed(found.characters, found.lines, options.max_sentences), unigram.memory_free()
    log.info(
        "tokenizer: %s documents, %.1f million characters; learning %s SentencePiece pieces takes about %.1f GiB "
        "of memory (%.1f free)",
        f"{found.documents:,}", found.characters / 1e6, f"{options.unigram_vocab_size:,}", needed / 2**30, free / 2**30,
    )  # fmt: skip
    unigram.check_memory(needed, free, options.max_sentences)
    share = unigram.share_of(found.lines, options.max_sentences)
    model = unigram.train_unigram(corpus.texts(), options.unigram_vocab_size, share, options.seed)
    files.write_bytes(path, model)
    return unigram.proposed_words(model)


def fixed_words(base: "PreTrainedTokenizerBase", options: TokenizerArguments) -> list[str]:
    """Return the tokens that are added whatever the corpus holds: published words, then marks the base does not know.

    Raises `UserError` if they are more than `num_added_tokens`.
    """
    from transformers import AutoTokenizer

    published: list[str] = []
    if options.keep_published_words:
        published = added_words(encoder.load(AutoTokenizer.from_pretrained, options.keep_published_words))
        if not published:
            raise UserError(f"{options.keep_published_words} has no added words to keep: name a FinBERT2 tokenizer")
    known = base.get_vocab()
    first = [word for word in dict.fromkeys([*published, *missing_marks(base)]) if word not in known]
    if published and len(first) > options.num_added_tokens:
        raise UserError(
            f"{options.keep_published_words} and the punctuation the base lacks are {len(first)} tokens, more than "
            f"--num_added_tokens {options.num_added_tokens}: give at least {len(first)}"
        )
    return first[: options.num_added_tokens]


def choose_words(
    proposed: list[str], first: list[str], base: "PreTrainedTokenizerBase", sample: Sample, options: TokenizerArguments
) -> tuple[list["Choice"], dict[str, int]]:
    """Return the words to add after `first`, best first, and how many of the proposed were dropped for which reason."""
    import numpy as np

    from finbert2.segment import segmenter
    from finbert2.tokenizer import matching
    from finbert2.tokenizer.candidates import filter_words
    from finbert2.tokenizer.choose import choose, source_weights

    dictionary = [row for _, row in files.read_lines(options.userdict)] if options.userdict else []
    terms = [line.split()[0] for line in dictionary if line.strip()]
    text = matching.encode(sample.texts, sample.sources)
    known = base.get_vocab()
    fixed = frozenset(word for word in first if unigram.is_chinese(word))
    words = [w for w in dict.fromkeys([*proposed, *filter(unigram.WORD.fullmatch, terms)]) if w not in known]
    filtered = filter_words(text, sample.texts, words, segmenter(terms), fixed)
    characters = Counter[int]()
    for source, one in zip(sample.sources, sample.texts, strict=True):
        characters[source] += len(one)
    shares = np.array([characters[number] for number in range(len(sample.names))], np.float64)
    wanted = options.num_added_tokens - len(first)
    if options.function_word_worth == 0:
        filtered = filtered.without_dangling(fixed)
    worth = np.where(filtered.dangling, options.function_word_worth, 1.0)
    chosen = choose(filtered.occurrences, wanted, source_weights(shares, options.source_smoothing), worth, fixed)
    if len(chosen) < wanted:
        log.warning(
            "tokenizer: the corpus holds %d words that save tokens; %d were asked for, all %d are used",
            len(chosen), wanted, len(chosen),
        )  # fmt: skip
    return chosen, filtered.dropped


def grow_model(
    base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase", sample: Sample, output: Path,
    options: TokenizerArguments,
) -> None:  # fmt: skip
    """Write the base checkpoint with embeddings grown to the extended tokenizer into `output`."""
    import torch
    from transformers import AutoModelForMaskedLM

    from finbert2.tokenizer.embeddings import extend_model

    name = options.base_model or ""
    model, report = encoder.load(
        AutoModelForMaskedLM.from_pretrained, name, dtype=torch.float32, output_loading_info=True
    )
    weights.need((model, report), name)
    if any(not weight.startswith(model.base_model_prefix) for weight in report["missing_keys"]):
        log.warning("tokenizer: %s has no masked-language-model head: the one that is written is random", name)
    texts = list(unigram.sentences(sample.texts[:FOCUS_TEXTS])) if options.embedding_init == "focus" else []
    extend_model(model, base, extended, options.embedding_init, texts).save_pretrained(output)


if __name__ == "__main__":
    main()
