"""A tiny Chinese BERT, built in process; the Hub is off for every test."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

TEXTS = [
    "公司公告称，前三季度实现营业收入12.5亿元，同比增长8.3%，净利润2.1亿元。",
    "央行下调存款准备金率0.5个百分点，释放长期资金约1万亿元。",
    "分析师认为，新能源汽车渗透率持续提升，产业链盈利有望修复；维持“买入”评级。",
    "The company said its EPS rose 12% to RMB 1.35 in 2024, beating estimates.",
    "股东拟减持不超过2%的股份；公司回购计划延期，市场情绪偏弱……",
    "半导体设备国产化加速，订单饱满，产能利用率超过90%。",
]
WORDS = ["营业收入", "同比增长", "净利润", "存款准备金率", "新能源汽车", "半导体设备"]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT tokenizer of the characters of `TEXTS` with six domain words."""
    from finbert2.tokenizer.base_tokenizer import train_base
    from finbert2.tokenizer.extend import extend_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    extend_tokenizer(train_base(TEXTS * 3, 400), WORDS).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_bert(tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a BERT of 2 layers × 32 and its tokenizer, weights from seed 0."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny_bert")
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bf16_casts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """A function that counts how often a call in bf16 casts the two layers' weights from width to feed-forward."""
    from torch.profiler import ProfilerActivity, profile

    from finbert2 import runtime

    monkeypatch.setattr(runtime, "has_bf16", lambda: True)

    def count(call: Callable[[], object]) -> int:
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            call()
        return sum(one.name == "aten::_to_copy" and one.input_shapes[0] == [64, 32] for one in profiler.events())

    return count


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    """A JSON-lines corpus of 60 different documents."""
    import json

    path = tmp_path / "corpus.jsonl"
    rows = [{"text": f"{text}第{n}号公告。", "source": "news"} for n in range(10) for text in TEXTS]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
