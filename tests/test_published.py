"""A folder of the published checkpoints' shape, 21,128 + 13,804 words with `normalized=True`, through every stage."""

import csv
import itertools
import json

import pytest
import torch
from transformers import AddedToken, AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, BertTokenizerFast

from finbert2.labeler import train as labeler_train
from finbert2.labeler.model import Labeler
from finbert2.pretrain import run as pretrain_run
from finbert2.retriever import evaluate as retriever_evaluate
from finbert2.retriever import train as retriever_train
from finbert2.tokenizer import evaluate as tokenizer_evaluate
from finbert2.topics import run as topics_run
from tests.surface import ROOT

BASE, WORDS = 21_128, 13_804
SAMPLES = {
    "corpus": ROOT / "FinBERT2" / "pretrain" / "sample_data.jsonl",
    "labels": ROOT / "Fin-labeler" / "SC_2",
    "tags": ROOT / "Fin-labeler" / "company_ner",
    "rows": ROOT / "Fin-retriever" / "finetune_traindata_sample.json",
    "beir": ROOT / "Fin-retriever" / "sample_beir",
    "titles": ROOT / "Fin-Topicmodel" / "sample_titles.csv",
}
REAL_WORDS = ["公司", "净利润", "同比增长", "营业收入", "半导体", "新能源汽车", "证券", "研究报告", "银行", "市场"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder: a tokenizer of that shape, and a BERT of one layer × 32 whose embeddings fit it."""
    folder = tmp_path_factory.mktemp("published")
    characters = [chr(code) for code in range(0x4E00, 0x9FA6)][:20_700]
    single = [chr(code) for code in range(33, 127)] + [*"，。；：？！“”‘’—…、《》（）％"]
    names = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    base = list(dict.fromkeys([*names, *single, *(f"##{one}" for one in single), *characters]))
    base += [f"##{one}" for one in characters][: BASE - len(base)]
    tokenizer = BertTokenizerFast(vocab={token: n for n, token in enumerate(base)}, model_max_length=512)
    made = ("".join(pair) for pair in itertools.product("财金股债基汇银企产业", characters[:2000]))
    words = list(dict.fromkeys([*REAL_WORDS, *made]))[:WORDS]
    tokenizer.add_tokens([AddedToken(word, normalized=True) for word in words])
    assert len(tokenizer) == BASE + WORDS
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=BASE + WORDS, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def unharmed(folder, published) -> None:
    """The folder has the published tokenizer still, id for id, and embeddings of its size."""
    before, after = AutoTokenizer.from_pretrained(published), AutoTokenizer.from_pretrained(folder)
    assert before.get_vocab() == after.get_vocab()
    text = "公司公告：半导体业务净利润同比增长8.3%，新能源汽车“订单饱满”。"
    assert before(text)["input_ids"] == after(text)["input_ids"]
    assert sum(number >= BASE for number in after(text)["input_ids"]) >= 5
    assert AutoModel.from_pretrained(folder).get_input_embeddings().weight.shape == (BASE + WORDS, 32)


def results_of(folder):
    """Return a command's results."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def head(path, rows, out):
    """Copy the first lines of a file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text("".join(lines[:rows]), encoding="utf-8")
    return str(out)


def test_tokenizer_and_pretraining(published, tmp_path):
    """Words are found in text, masks fall on whole words, and the checkpoint keeps its 34,932 rows."""
    corpus = head(SAMPLES["corpus"], 60, tmp_path / "corpus.jsonl")
    tokenizer_evaluate.main(
        ["--tokenizers", str(published), "--texts", corpus, "--output_dir", str(tmp_path / "evaluate")]
    )
    texts = next(iter(results_of(tmp_path / "evaluate")["tokenizers"].values()))
    row = next(iter(texts.values()))
    assert row["tokens_per_char"] < 0.98 and row["unk_rate"] < 0.01
    for objective in ("mlm", "retromae"):
        out = tmp_path / objective
        pretrain_run.main([
            "--objective", objective, "--model_name_or_path", str(published), "--train_data", corpus, "--max_steps",
            "2", "--max_seq_length", "64", "--per_device_train_batch_size", "2", "--report_to", "none",
            "--output_dir", str(out),
        ])  # fmt: skip
        unharmed(out, published)


def test_labeler(published, tmp_path):
    """A classifier and a tagger; the tagger's entities lie on the text's own characters."""
    for task, name, suffix, kind in (
        ("classification", "labels", "csv", "predict"), ("ner", "tags", "txt", "entities"),
    ):  # fmt: skip
        out = tmp_path / name
        labeler_train.main([
            "--task", task, "--model_name_or_path", str(published), "--max_train_samples", "40", "--max_test_samples",
            "20", "--num_train_epochs", "1", "--max_seq_length", "64", "--report_to", "none", "--output_dir", str(out),
            *(word for part in ("train", "dev", "test")
              for word in (f"--{part}_data", str(SAMPLES[name] / f"{part}.{suffix}"))),
        ])  # fmt: skip
        unharmed(out, published)
        labeler = Labeler.from_pretrained(str(out))
        assert len(getattr(labeler, kind)(["公司净利润同比增长", "新能源汽车"])) == 2
    tags, scores = labeler.tag([list("公司净利润同比增长")])[0]
    assert len(tags) == len(scores) == 9


def test_retriever_and_topics(published, tmp_path):
    """Training, evaluation and topics; no topic word holds a blank, as the added tokens do when they are decoded."""
    rows = head(SAMPLES["rows"], 16, tmp_path / "rows.jsonl")
    out = tmp_path / "retriever"
    retriever_train.main([
        "--model_name_or_path", str(published), "--train_data", rows, "--train_group_size", "2", "--num_train_epochs",
        "1", "--per_device_train_batch_size", "4", "--query_max_len", "32", "--passage_max_len", "48",
        "--report_to", "none", "--output_dir", str(out),
    ])  # fmt: skip
    unharmed(out, published)
    retriever_evaluate.main([
        "--model_name_or_path", str(out), "--data", str(SAMPLES["beir"]), "--max_queries", "20", "--max_passages", "60",
        "--output_dir", str(tmp_path / "evaluate"),
    ])  # fmt: skip
    assert 0 <= results_of(tmp_path / "evaluate")["models"][str(out)]["ndcg@10"] <= 1
    titles = head(SAMPLES["titles"], 200, tmp_path / "titles.csv")
    topics_run.main([
        "--model_name_or_path", str(out), "--titles", titles, "--min_topic_size", "8", "--map", "false", "--bertopic",
        "false", "--report", "false", "--output_dir", str(tmp_path / "topics"),
    ])  # fmt: skip
    with (tmp_path / "topics" / "topics.csv").open(encoding="utf-8", newline="") as file:
        words = [word for row in csv.DictReader(file) for word in row["words"].split()]
    assert len(words) > 20
    assert all(len(word) > 1 for word in words)  # a blank inside would have made two of one
