"""What a training leaves behind beside the tokenizer: word list, parity file, page and `results.json`."""

import dataclasses
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finbert2 import cards, files, pages, plots, runtime
from finbert2.segment import LONGEST, segmenter, word_boundaries
from finbert2.tokenizer.choose import Choice
from finbert2.tokenizer.extend import MARKS
from finbert2.tokenizer.measure import measure, of_huggingface
from finbert2.tokenizer.reading import Sample, Survey
from finbert2.tokenizer.unigram import sentences

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finbert2.tokenizer.train import TokenizerArguments

PARITY_SENTENCES = 1000
TEXTS_A_SOURCE = 500  # measured before and after
WORDS_SHOWN = 60


@dataclass(frozen=True)
class Outcome:
    """What was read and what was chosen from it."""

    found: Survey
    sample: Sample
    first: list[str]  # published words and marks, which come before the chosen ones
    chosen: list[Choice]
    dropped: dict[str, int]  # proposed words that are none, by reason


def write(
    output: Path, base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase", outcome: Outcome,
    options: "TokenizerArguments", data: dict[str, Any], started: float,
) -> None:  # fmt: skip
    """Write `words.csv`, `parity.jsonl`, `report.html`, of a grown checkpoint its card, and, last, `results.json`.

    `data` are the fingerprints of the corpus and the user dictionary.
    """
    files.write_rows(output / "words.csv", word_rows(outcome))
    parity = parity_sentences(outcome.sample, options.seed)
    encoded = extended(parity)["input_ids"]
    files.write_rows(output / "parity.jsonl", ({"text": t, "ids": i} for t, i in zip(parity, encoded, strict=True)))
    results: dict[str, Any] = {
        "words": len(outcome.first) + len(outcome.chosen),
        "base": measure(of_huggingface(base), parity),
        "extended": measure(of_huggingface(extended), parity),
        "sources": by_source(base, extended, outcome, options.seed),
        "documents": outcome.found.documents,
        "characters": outcome.found.characters,
        "counted_share": round(outcome.sample.share, 4),
        "candidates_dropped": outcome.dropped,
        "skipped": outcome.found.skipped.count,
        "skipped_first": outcome.found.skipped.first,
        "data": data,
    }
    if options.base_model:
        use = f'AutoModel.from_pretrained("{output.name}")'
        cards.write(output, output.name, use, ["fill-mask"], dataclasses.asdict(options), results)
    results |= runtime.circumstances(options.seed, time.perf_counter() - started)
    files.write_text(output / "report.html", page(outcome, results))
    files.write_json(output / "results.json", results)


def word_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield the added tokens in the order of their ids; those that were not chosen have no numbers."""
    for word in outcome.first:
        kind = "mark" if word in MARKS else "published"
        yield {"word": word, "occurrences": None, "tokens_saved": None, "kind": kind}
    for choice in outcome.chosen:
        yield dataclasses.asdict(choice) | {"tokens_saved": round(choice.tokens_saved), "kind": "chosen"}


def parity_sentences(sample: Sample, seed: int) -> list[str]:
    """Return lines of the corpus, drawn by the seed, for other runtimes to encode as they were encoded here."""
    texts = random.Random(seed).sample(sample.texts, min(len(sample.texts), PARITY_SENTENCES))
    return [line for line in sentences(texts) if line.strip()][:PARITY_SENTENCES]


def by_source(
    base: "PreTrainedTokenizerBase", extended: "PreTrainedTokenizerBase", outcome: Outcome, seed: int
) -> dict[str, Any]:
    """Return each source's characters and what both tokenizers do with some of its texts."""
    sample, jieba = outcome.sample, segmenter()
    table = {}
    for number, name in enumerate(sample.names):
        texts = [text for text, source in zip(sample.texts, sample.sources, strict=True) if source == number]
        texts = [text[:LONGEST] for text in random.Random(seed).sample(texts, min(len(texts), TEXTS_A_SOURCE))]
        if texts:
            edges = [word_boundaries(jieba, text) for text in texts]
            both = {"base": base, "extended": extended}
            table[name] = {"characters": outcome.found.characters_of(name), "texts_measured": len(texts)} | {
                key: measure(of_huggingface(one), texts, edges) for key, one in both.items()
            }
    return table


def page(outcome: Outcome, results: dict[str, Any]) -> str:
    """Return the self-contained report page."""
    bars = {
        Path(name).name: {"characters": row["base"]["tokens_per_char"], "words": row["extended"]["tokens_per_char"]}
        for name, row in results["sources"].items()
    }
    figures = [plots.svg(plots.bars(bars, x="tokens per character"))]
    if outcome.chosen:
        saved = np.cumsum([choice.tokens_saved for choice in outcome.chosen])
        share = 100 * saved / (outcome.found.characters * outcome.sample.share)
        curve = {"saved": (list(range(1, len(saved) + 1)), share.tolist())}
        figures.append(plots.svg(plots.lines(curve, x="words, best first", y="tokens saved per 100 characters")))
    return pages.render(
        "finbert2.tokenizer", "report.html", figures=figures, results=results, outcome=outcome,
        shown=outcome.chosen[:WORDS_SHOWN],
    )  # fmt: skip
