import json
import random
from pathlib import Path

import pytest

KNOWN = [
    "营业收入", "净利润", "同比增长", "半导体", "新能源汽车", "存款准备金", "股份回购", "产能利用率", "分析师",
    "渗透率", "产业链", "订单饱满",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON-lines corpus of 60 sentences of known words."""
    path = tmp_path_factory.mktemp("corpus") / "a.jsonl"
    chance = random.Random(0)
    rows = [{"text": "".join(chance.choices([*KNOWN, "，", "2.5%", "上升"], k=12)) + "。"} for _ in range(60)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
