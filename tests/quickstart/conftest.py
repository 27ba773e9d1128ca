import json
from pathlib import Path

import pytest

TOPICS = ["半导体芯片", "商业银行", "光伏组件", "白酒消费"]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(path: Path, rows: list) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def beir(folder: Path, splits: dict[str, list[int]]) -> Path:
    """Four passages, four queries; each split judges some of the queries."""
    jsonl(folder / "corpus.jsonl", [{"_id": f"p{n}", "title": t, "text": "需求回升。"} for n, t in enumerate(TOPICS)])
    jsonl(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"{topic}需求"} for n, topic in enumerate(TOPICS)])
    for split, numbers in splits.items():
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\tp{n}\t1" for n in numbers)]
        write(folder / "qrels" / f"{split}.tsv", "\n".join(lines) + "\n")
    return folder


def training_rows(count: int) -> list[dict]:
    return [{"query": f"问题{n}", "pos": [f"正文{n}"], "neg": [f"别的{n}"]} for n in range(count)]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data folder with every part, small and right."""
    root = tmp_path / "data"
    jsonl(root / "corpus" / "a.jsonl", [{"text": f"第{n}号公告称，公司营业收入增长。"} for n in range(30)])
    write(root / "corpus" / "b.txt", "央行下调存款准备金率。\n")
    jsonl(root / "corpus" / "valid.jsonl", [{"text": "分析师维持买入评级。"}])
    rows = "".join(f"第{n}号公告,{'利好' if n % 2 else '利空'}\n" for n in range(20))
    for part in ("train", "dev", "test"):
        write(root / "classification" / "mood" / f"{part}.csv", f"text,label\n{rows}")
        write(root / "ner" / "company" / f"{part}.txt", "中 B-ORG\n信 I-ORG\n涨 O\n\n跌 O\n")
    write(root / "classification" / "plain" / "train.csv", "text,label\n甲,1\n乙,0\n")
    write(root / "classification" / "plain" / "test.csv", "text,label\n丙,1\n")
    jsonl(beir(root / "retrieval" / "full", {"test": [0, 1]}) / "train_flagembedding.jsonl", training_rows(6))
    beir(root / "retrieval" / "judged", {"train": [2, 3], "test": [0]})
    beir(root / "retrieval" / "only_test", {"test": [0]})
    jsonl(root / "retrieval" / "only_train" / "rows.jsonl", training_rows(3))
    write(root / "topic" / "titles.csv", "title,industry\n" + "".join(f"标题{n},银行\n" for n in range(25)))
    return root
