import json
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

TOPICS = ["半导体芯片", "商业银行", "光伏组件", "白酒消费", "新能源汽车", "医疗器械", "房地产开发", "煤炭开采"]
FACTS = ["需求回升订单增长", "价格下跌利润承压", "产能扩张投资加快", "政策支持估值修复"]


def jsonl(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def refused(capsys, command, argv) -> str:
    """Run a command that has to end with a message and exit code 2; return the message."""
    with pytest.raises(SystemExit) as stopped:
        command([str(word) for word in argv])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    return next((line for line in lines if line.startswith("error: ")), lines[0])  # behind a progress bar, say


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A folder with a tokenizer of single characters and a BERT of two layers, 32 wide."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_encoder")
    text = "".join(TOPICS + FACTS) + "为这个句子生成表示以用于检索相关文章：行业公司第季度的是什么怎样？。，0123456789"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(text)]
    BertTokenizerFast(vocab={token: n for n, token in enumerate(vocabulary)}, model_max_length=128).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, initializer_range=0.2,  # vectors that differ
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def training_rows() -> list[dict]:
    """Thirty-two rows: the positive states the query's topic and fact, negatives another fact or topic."""
    rows = []
    for t, topic in enumerate(TOPICS):
        for f, fact in enumerate(FACTS):
            negatives = [f"{topic}行业{other}。" for other in FACTS if other != fact]
            negatives += [f"{TOPICS[(t + step) % 8]}行业{FACTS[(f + step) % 4]}。" for step in (1, 2, 3)]
            rows.append({"query": f"{topic}{fact}", "pos": [f"{topic}行业{fact}。"], "neg": negatives})
    return rows


@pytest.fixture
def train_file(tmp_path, training_rows) -> Path:
    return jsonl(tmp_path / "train.jsonl", training_rows)


@pytest.fixture
def beir(tmp_path) -> Path:
    """Eight topics by four facts as passages; a query for each, dev and test in turn."""
    folder = tmp_path / "beir"
    pairs = [(topic, fact) for topic in TOPICS for fact in FACTS]
    jsonl(
        folder / "corpus.jsonl", [{"_id": f"p{n}", "title": t, "text": f"行业{f}。"} for n, (t, f) in enumerate(pairs)]
    )
    jsonl(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"{t}{f}"} for n, (t, f) in enumerate(pairs)])
    (folder / "qrels").mkdir()
    for split, first in (("dev", 0), ("test", 1)):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\tp{n}\t1" for n in range(first, len(pairs), 2))]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder
