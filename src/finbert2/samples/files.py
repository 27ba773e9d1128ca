"""The sample files of the repository: which there are, and how their rows are written."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from finbert2.samples import documents, entities, labels, retrieval, titles
from finbert2.samples.names import companies, industries, words

DOCUMENTS, TOKENIZER_LINES = 2150, 400


def sample_files(seed: int) -> dict[str, str]:
    """Return the text of each sample file by its path below the repository root."""
    return {
        "FinBERT2/pretrain/sample_data.jsonl": jsonl(documents.corpus(seed, DOCUMENTS)),
        "FinBERT2/pretrain_wordpiece_tokenizer/sample_corpus.txt": lines(documents.lines(seed, TOKENIZER_LINES)),
        **label_files("SC_2", labels.sc_2(seed), labels.SC_2_NAMES),
        **label_files("SC_4", labels.sc_4(seed), labels.SC_4_NAMES),
        **label_files("industry", labels.industry(seed), ()),
        **entity_files("company_ner", entities.company(seed)),
        **entity_files("person_ner", entities.person(seed)),
        **retrieval_files(retrieval.collection(seed)),
        **topic_files(seed),
    }


def write_samples(root: Path, seed: int) -> list[Path]:
    """Write the sample files below a folder and return their paths."""
    paths = []
    for name, text in sample_files(seed).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        paths.append(path)
    return paths


def label_files(task: str, splits: labels.Splits, names: Sequence[str]) -> dict[str, str]:
    """Return the files of a classification task; integer labels come with their names."""
    files = {f"Fin-labeler/{task}/{split}.csv": table(("text", "label"), rows) for split, rows in splits.items()}
    if names:
        files[f"Fin-labeler/{task}/labels.csv"] = table(("label", "name"), list(enumerate(names)))
    return files


def entity_files(task: str, splits: entities.Entities) -> dict[str, str]:
    """Return the files of an entity task in CoNLL's form."""
    return {f"Fin-labeler/{task}/{split}.txt": conll(rows) for split, rows in splits.items()}


def retrieval_files(found: retrieval.Collection) -> dict[str, str]:
    """Return the training file, the BEIR folder and the seven passages of the README's example."""
    folder = "Fin-retriever/sample_beir"
    passages = [{"_id": name, "title": title, "text": text} for name, (title, text) in found.passages.items()]
    example = resources.files(__package__).joinpath("passages.json").read_text(encoding="utf-8")
    return {
        "Fin-retriever/finetune_traindata_sample.json": jsonl(found.triples),
        "Fin-retriever/sample_passages.jsonl": jsonl(json.loads(example)),
        f"{folder}/corpus.jsonl": jsonl(passages),
        f"{folder}/queries.jsonl": jsonl({"_id": name, "text": text} for name, text in found.queries.items()),
        **{f"{folder}/qrels/{split}.tsv": qrels(pairs) for split, pairs in found.qrels.items()},
    }


def topic_files(seed: int) -> dict[str, str]:
    """Return the report titles, the stop words and the user dictionary."""
    fields = [
        entry for table in industries().values() for field in ("product", "kpi", "core") for entry in table[field]
    ]
    names = [company.name for company in companies()]
    return {
        "Fin-Topicmodel/sample_titles.csv": table(("title", "date", "industry", "org"), titles.titles(seed)),
        "Fin-Topicmodel/stopwords_cn.txt": lines(sorted(set(words("stopwords.txt")))),
        "Fin-Topicmodel/userdict.txt": lines(sorted({*words("terms.txt"), *fields, *names})),
    }


def jsonl(rows: Iterable[Mapping[str, object]]) -> str:
    """Return one JSON object a line."""
    return lines(json.dumps(row, ensure_ascii=False) for row in rows)


def lines(rows: Iterable[str]) -> str:
    """Return the rows, each with a line end."""
    return "".join(row + "\n" for row in rows)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return comma-separated values with a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def conll(sentences: Iterable[entities.Tagged]) -> str:
    """Return a character and its tag a line, a blank line between sentences."""
    return "\n".join(lines(f"{char} {tag}" for char, tag in sentence) for sentence in sentences)


def qrels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return BEIR's judgements; a judged passage is relevant."""
    return lines(["query-id\tcorpus-id\tscore", *(f"{query}\t{passage}\t1" for query, passage in pairs)])
