import json

import numpy as np
import pytest

from finbert2.tokenizer import evaluate, unigram
from finbert2.tokenizer.measure import Cutter, measure, of_huggingface, of_sentencepiece


@pytest.fixture(scope="module")
def tiny():
    from transformers import BertTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"营业收入", "a", "##b"]
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    tokenizer.add_tokens(["营业收入"])
    return of_huggingface(tokenizer)


@pytest.mark.parametrize(
    ("texts", "tokens", "unknown", "used"),
    [
        (["营业收入收入"], 3, 0, 3),  # the word, two characters
        (["营业收入", "喆塔"], 3, 2, 2),
        (["ab营", "abc"], 4, 1, 4),  # a ##b 营 and one [UNK] for all of abc
    ],
)
def test_tokens_and_unknowns_per_character_by_hand(tiny, texts, tokens, unknown, used):
    found = measure(tiny, texts)
    characters = len("".join(texts))
    assert found["tokens_per_char"] == round(tokens / characters, 4)
    assert found["unk_rate"] == round(unknown / characters, 6)
    assert (found["vocabulary"], found["vocabulary_used"]) == (12, used)


def test_a_tokenizer_of_bytes_knows_no_unknown():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    found = measure(of_huggingface(PreTrainedTokenizerFast(tokenizer_object=tokenizer)), ["营a"])
    assert (found["tokens_per_char"], found["unk_rate"], found["vocabulary"]) == (2.0, 0.0, 256)  # three bytes and one


def test_lengths_of_more_texts_than_a_batch(tiny):
    found = measure(tiny, ["营业收入", "喆"] * 1500 + ["营业" * 5])
    assert found["tokens_per_char"] == round(3010 / 7510, 4)
    assert [found[name] for name in ("length_p50", "length_p90", "length_p99", "length_max")] == [1, 1, 1, 10]


def test_tokens_that_tear_words_and_tokens_that_unite_them():
    spans = [[(0, 3), (3, 4), (4, 8), (8, 9)], [(0, 2)]]
    cutter = Cutter(ids=lambda texts: [[1] * 4, [1]], spans=lambda texts: spans, unknown=0, size=2)
    words = [[0, 2, 4, 6, 8, 9], [0, 2]]  # (0, 3) tears the second word, (4, 8) is two whole ones
    edges = [np.isin(np.arange(places[-1] + 1), places) for places in words]
    found = measure(cutter, ["甲" * 9, "乙乙"], edges)
    assert (found["crossing_rate"], found["uniting_rate"]) == (0.2, 0.2)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "unigram.model"
    path.write_bytes(unigram.train_unigram(["营业收入同比增长"] * 50, 20))
    return str(path)


def test_a_sentencepiece_model_by_its_own_pieces(model_file):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=model_file)
    cutter, texts = of_sentencepiece(model_file), ["😀营业收入增长", "喆"]
    found = measure(cutter, texts)
    ids = [number for text in texts for number in processor.encode(text)]
    assert found["tokens_per_char"] == round(len(ids) / 8, 4)
    assert found["unk_rate"] == round(ids.count(processor.unk_id()) / 8, 6) > 0
    assert found["vocabulary"] == processor.get_piece_size()
    cut = [[text[begin:end] for begin, end in spans] for text, spans in zip(texts, cutter.spans(texts), strict=True)]
    assert ["".join(parts) for parts in cut] == texts


def test_evaluate_compares_folders_and_model_files(tmp_path, tokenizer_folder, model_file, corpus_file, capsys):
    names, texts = [tokenizer_folder, model_file], [str(corpus_file), str(tmp_path / "b.txt")]
    (tmp_path / "b.txt").write_text("净利润增长\n营业收入\n", encoding="utf-8")
    evaluate.main(["--tokenizers", *names, "--texts", *texts, "--output_dir", str(tmp_path / "o"), "--max_texts", "1"])
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert {name: list(row) for name, row in results["tokenizers"].items()} == dict.fromkeys(names, texts)
    cell = results["tokenizers"][tokenizer_folder][texts[1]]
    assert (cell["tokens_per_char"], cell["unk_rate"]) == (0.6, 0.0)  # 净利润 增 长, of five characters
    assert (cell["crossing_rate"], cell["vocabulary_used"], cell["length_max"]) == (0, 3, 3)
    assert set(results["data"]) == set(texts) and results["seed"] == 0
    assert "<svg" in (tmp_path / "o" / "tokens_per_char.svg").read_text(encoding="utf-8")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4


def test_names_that_end_alike_are_told_apart():
    assert evaluate.short_names(["a/t", "b/t", "c/u"]) == {"a/t": "a/t", "b/t": "b/t", "c/u": "u"}


@pytest.mark.parametrize(
    ("flag", "name", "message"),
    [
        ("texts", "empty.txt", "{path}: no text was found to measure tokenizers on"),
        ("tokenizers", "missing.model", "{path} does not exist: a SentencePiece model file was expected"),
        (
            "tokenizers",
            "missing",
            "{path} is not a model folder (no config.json there; found: no such folder): "
            "name a folder written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base",
        ),
    ],
)
def test_nothing_to_measure(tmp_path, tokenizer_folder, corpus_file, capsys, flag, name, message):
    (tmp_path / "empty.txt").write_text("\n")
    given = {"tokenizers": tokenizer_folder, "texts": corpus_file} | {flag: tmp_path / name}
    flags = [str(word) for key, value in given.items() for word in (f"--{key}", value)]
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([*flags, "--output_dir", str(tmp_path / "o")])
    assert stopped.value.code == 2 and not (tmp_path / "o").exists()
    assert capsys.readouterr().err == f"error: {message.format(path=tmp_path / name)}\n"


def test_no_more_texts_are_read_than_asked_for(tmp_path):
    """The line after them may be anything."""
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "公司"}\n{"text": "公告"}\nno JSON\n', encoding="utf-8")
    options = evaluate.EvaluationArguments([], [], "", max_texts=2)
    assert evaluate.read(str(path), options) == ["公司", "公告"]
