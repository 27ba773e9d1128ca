"""`finbert2 tokenizer evaluate`: tokenizers + text → tokens per character, unknown rate, characters per second."""

import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from finbert2 import args, encoder, files, plots, runtime
from finbert2.errors import UserError
from finbert2.segment import LONGEST, segmenter, word_boundaries
from finbert2.tokenizer.measure import Cutter, measure, of_huggingface, of_sentencepiece


@dataclass
class EvaluationArguments:
    """Which tokenizers, on which text."""

    tokenizers: list[str] = args.option("folders, Hub names or SentencePiece .model files")
    texts: list[str] = args.option("files or folders of text")
    output_dir: str = args.option("folder for results.json and the figure")
    text_field: str = args.option("field that holds the text", default="text")
    max_texts: int = args.option("read no more texts than that from each path (0: all)", default=0)
    seed: int = args.option("recorded in results.json; nothing here is drawn", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Compare tokenizers on the same texts."""
    (options,) = args.parse("tokenizer evaluate", __doc__ or "", argv, EvaluationArguments)
    args.spare_run(options.output_dir)
    started = time.perf_counter()
    sources = {path: read(path, options) for path in options.texts}
    jieba = segmenter()
    edges = {path: [word_boundaries(jieba, text) for text in texts] for path, texts in sources.items()}
    cutters = {name: load(name) for name in options.tokenizers}
    table = {
        name: {path: measure(cutter, texts, edges[path]) for path, texts in sources.items()}
        for name, cutter in cutters.items()
    }
    output = Path(options.output_dir)
    figure = plots.bars(
        {
            text: {label: table[name][path]["tokens_per_char"] for name, label in short_names(table).items()}
            for path, text in short_names(sources).items()
        },
        x="tokens per character",
    )
    files.write_text(output / "tokens_per_char.svg", plots.svg(figure))
    results = {"tokenizers": table, "data": files.fingerprint(files.of_corpus(options.texts))}
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )
    sys.stdout.write(as_text(table))


def read(path: str, options: EvaluationArguments) -> list[str]:
    """Return the texts of one path; raise `UserError` if there are none."""
    rows = itertools.islice(files.read_documents([path], options.text_field), max(0, options.max_texts) or None)
    texts = [row.values[options.text_field][:LONGEST] for row in rows]
    if not texts:
        raise UserError(f"{path}: no text was found to measure tokenizers on")
    return texts


def load(name: str) -> Cutter:
    """Return the tokenizer `name`: a SentencePiece model file, a folder or a Hub name."""
    from transformers import AutoTokenizer

    if name.endswith(".model"):
        if not Path(name).is_file():
            raise UserError(f"{name} does not exist: a SentencePiece model file was expected")
        return of_sentencepiece(name)
    return of_huggingface(encoder.load(AutoTokenizer.from_pretrained, name))


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return for each path its last part, or the whole path where another one ends alike."""
    last = {path: Path(path).name for path in paths}
    times = Counter(last.values())
    return {path: name if times[name] == 1 else path for path, name in last.items()}


def as_text(table: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the table as lines of text."""
    columns = f"{'tokens/char':>11} {'unknown/char':>13} {'crossing':>9} {'used':>7} {'chars/CPU-s':>12}"
    lines = [f"{'tokenizer':<40} {'texts':<32} {columns}"]
    for name, row in table.items():
        for path, m in row.items():
            numbers = f"{m['tokens_per_char']:>11.4f} {m['unk_rate']:>13.6f} {m['crossing_rate']:>9.2%}"
            more = f"{m['vocabulary_used']:>7,} {m['chars_per_cpu_second']:>12,}"
            lines.append(f"{name[-40:]:<40} {path[-32:]:<32} {numbers} {more}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
