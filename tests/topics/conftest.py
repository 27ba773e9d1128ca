import csv
import random

import pytest

INDUSTRIES = {
    "银行": "银行 信贷 净息差 拨备 存款 不良率 理财 贷款",
    "医药": "创新药 集采 疫苗 医疗器械 临床 仿制药 中药 医保",
    "汽车": "新能源汽车 智能驾驶 整车 销量 零部件 轻量化 座舱 出海",
    "地产": "房地产 土地 销售面积 房企 竣工 二手房 开工 限购",
}


def sample_rows(number: int, seed: int = 0) -> list[dict]:
    """Titles of four planted industries, a few words each, some of them twice."""
    draw = random.Random(seed)
    rows = []
    for place in range(number):
        industry = list(INDUSTRIES)[place % len(INDUSTRIES)]
        words = draw.sample(INDUSTRIES[industry].split(), 3)
        title = f"{industry}行业周报：{words[0]}与{words[1]}，关注{words[2]}"
        date = f"2024-{place % 12 + 1:02d}-{place % 28 + 1:02d}"
        rows.append({"title": title, "date": date, "industry": industry, "org": "甲证券"})
    return rows


@pytest.fixture(scope="session")
def titles_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("titles") / "titles.csv"
    rows = sample_rows(200)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A folder with a one-layer Chinese BERT of random weights that knows the planted words' characters."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    characters = sorted({letter for row in sample_rows(200) for letter in row["title"] if not letter.isspace()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(vocabulary)}, model_max_length=64)
    tokenizer.add_tokens(["净息差", "智能驾驶"])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def flat_layout(monkeypatch):
    """UMAP compiles for half a minute: where the layout is not the question, a projection stands in for it."""
    import numpy as np

    from finbert2.topics import cluster

    def project(vectors, dimensions, neighbors, seed):
        left, scale, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        return (left * scale)[:, :dimensions]

    monkeypatch.setattr(cluster, "reduce", project)
