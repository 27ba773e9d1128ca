"""Queries, passages and judgements: BEIR folders and FIR-Bench's flat labelled records, in one form."""

import math
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from finbert2 import files, lines
from finbert2.errors import UserError, first_line
from finbert2.files import Row
from finbert2.retriever.data import TEMPLATE, body, content_id, passage_text

Judgements = dict[str, dict[str, int]]
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass
class Benchmark:
    """Passages by descending id (so ties fall as in trec_eval), queries that have judgements, and these."""

    passages: dict[str, str]
    queries: dict[str, str]
    judgements: Judgements
    files: list[Path]
    sources: dict[str, str] = field(default_factory=dict)  # query → `source` in queries.jsonl, if any


def load(path: str | Path, split: str, template: str = TEMPLATE) -> Benchmark:
    """Return a BEIR folder's split, a flat file of labelled pairs (which has no splits), or such pairs from the Hub."""
    name, path = str(path), Path(path)
    if path.is_dir():
        found = load_beir(path, split, template)
    elif path.exists():
        found = load_flat(files.read_rows(path), [path], template)
    elif HUB_NAME.fullmatch(name) and path.suffix not in files.SUFFIXES + lines.PACKED_SUFFIXES:
        found = load_flat(*hub_rows(name, split), template)
    else:
        raise UserError(
            f"{path} does not exist: --data names a BEIR folder, a file of labelled pairs or a Hub data set of such "
            "pairs (valuesimplex-ai-lab/FIR-Bench-…)"
        )
    judged = {query: labels for query, labels in found.judgements.items() if any(v > 0 for v in labels.values())}
    if not judged:
        raise UserError(f"{found.files[-1]} has no relevant passage for any query: scores above 0 are relevant")
    found.judgements, found.queries = judged, {query: found.queries[query] for query in judged}
    found.passages = dict(sorted(found.passages.items(), reverse=True))
    return found


def has_split(path: str | Path, split: str) -> bool:
    """Tell whether a BEIR folder has judgements of that name."""
    return (Path(path) / "qrels" / f"{split}.tsv").is_file()


def parts(path: Path, split: str) -> list[Path]:
    """Return the files that are read of a BEIR folder, or the file of labelled pairs itself."""
    names = ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv")
    return [path / name for name in names] if path.is_dir() else [path]


def load_beir(folder: Path, split: str, template: str) -> Benchmark:
    """Return `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv` of a folder."""
    paths = parts(folder, split)
    for path in paths[:2]:
        if not path.is_file():
            raise UserError(f"{folder} has no {path.name}: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels/")
    if not paths[2].is_file():
        splits = ", ".join(sorted(p.stem for p in (folder / "qrels").glob("*.tsv"))) or "none"
        raise UserError(f"{folder} has no qrels/{split}.tsv; it has: {splits}. Choose one by --split")
    passages = by_id(paths[0], lambda row: passage_text({**row.values, "text": body(row, template, "text")}, template))
    queries = by_id(paths[1], lambda row: row.text("text"))
    sources = by_id(paths[1], lambda row: str(row.values.get("source") or ""))
    named = {query: source for query, source in sources.items() if source}
    return Benchmark(passages, queries, read_judgements(paths[2], passages, queries), paths, named)


def by_id(path: Path, text: Callable[[Row], str]) -> dict[str, str]:
    """Return `text(row)` of each row by its `_id`; raise `UserError` for an id that comes twice."""
    found: dict[str, str] = {}
    for row in files.read_rows(path):
        key = str(row.require("_id", "id"))
        if key in found:
            raise UserError(f"{row.place} has the _id '{key}' a second time: ids have to be unique; remove one")
        found[key] = text(row)
    return found


def read_judgements(path: Path, passages: dict[str, str], queries: dict[str, str]) -> Judgements:
    """Return query → passage → grade; raise `UserError` for an id that the corpus or the queries lack."""
    judgements: Judgements = {}
    for row in files.read_rows(path):
        query, passage = str(row.require("query-id")), str(row.require("corpus-id"))
        for kind, key, known, file in (
            ("query", query, queries, "queries.jsonl"),
            ("passage", passage, passages, "corpus.jsonl"),
        ):
            if key not in known:
                raise UserError(f"{row.place} names the {kind} '{key}', which {file} lacks: add it or remove the line")
        judgements.setdefault(query, {})[passage] = grade(row, "score")
    return judgements


def grade(row: Row, *columns: str) -> int:
    """Return a row's integer grade, which may be written as 1.0."""
    value = row.require(*columns)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer():
        raise UserError(f"{row.place} has {value!r} for '{columns[0]}': an integer was expected")
    return int(number)


def hub_rows(name: str, split: str) -> tuple[list[Row], list[Path]]:
    """Return the records of a Hub data set's split (of the only one it has), and the cached files they are in."""
    import datasets

    try:
        found = datasets.load_dataset(name)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(
            f"the data set '{name}' could not be loaded ({reason}): check the name and the network (HF_ENDPOINT names "
            "a mirror, HF_TOKEN a token), or download it elsewhere and give its file"
        ) from None
    if split not in found and len(found) > 1:
        raise UserError(f"{name} has no split {split}; it has: {', '.join(sorted(found))}. Choose one by --split")
    part = found[split] if split in found else next(iter(found.values()))
    rows = [Row(Path(name), number, values) for number, values in enumerate(part, start=1)]
    return rows, [Path(file["filename"]) for file in part.cache_files]


def load_flat(rows: Iterable[Row], paths: list[Path], template: str) -> Benchmark:
    """Return FIR-Bench's records `query|question, title, passage, label` as a benchmark; ids are content hashes.

    Labels 0 and 1 mean what they say. Where a 2 or more occurs, that is relevant and 1 unsure: the passage stays in the
    corpus, the judgement goes, as in the authors' scorer.
    """
    passages: dict[str, str] = {}
    queries: dict[str, str] = {}
    judgements: Judgements = {}
    for row in rows:
        query = row.text("query", "question")
        passage = passage_text({**row.values, "text": body(row, template, "passage", "text")}, template)
        query_id, passage_id = content_id(query), content_id(passage)
        queries[query_id], passages[passage_id] = query, passage
        labels = judgements.setdefault(query_id, {})
        labels[passage_id] = max(grade(row, "label", "final_label"), labels.get(passage_id, 0))
    if not queries:
        raise UserError(f"{paths[0]} holds no rows: each has to have 'query', 'passage' and 'label'")
    if any(max(labels.values()) >= 2 for labels in judgements.values()):
        judgements = {q: {p: int(v >= 2) for p, v in labels.items() if v != 1} for q, labels in judgements.items()}
    return Benchmark(passages, queries, judgements, paths)


def sample(full: Benchmark, max_queries: int, max_passages: int, seed: int) -> Benchmark:
    """Return a smaller benchmark, 0 meaning all; relevant passages of the kept queries always stay."""
    chance = random.Random(seed)
    queries, passages = list(full.queries), list(full.passages)
    if 0 < max_queries < len(queries):
        queries = sorted(chance.sample(queries, max_queries))
    judgements = {query: full.judgements[query] for query in queries}
    kept = {passage for labels in judgements.values() for passage, value in labels.items() if value > 0}
    others = [passage for passage in passages if passage not in kept]
    if max_passages:
        others = chance.sample(others, min(len(others), max(0, max_passages - len(kept))))
    kept |= set(others)
    return Benchmark(
        {passage: text for passage, text in full.passages.items() if passage in kept},
        {query: full.queries[query] for query in queries},
        {q: {p: value for p, value in labels.items() if p in kept} for q, labels in judgements.items()},
        full.files,
        full.sources,
    )
