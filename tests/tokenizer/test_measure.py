import json

import pytest

from finbert2.tokenizer import evaluate, words
from finbert2.tokenizer.measure import measure, measure_sentencepiece


@pytest.fixture(scope="module")
def tiny():
    from transformers import BertTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"营业收入", "a", "##b"]
    tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    tokenizer.add_tokens(["营业收入"])
    return tokenizer


@pytest.mark.parametrize(
    ("texts", "tokens", "unknown"),
    [
        (["营业收入收入"], 3, 0),  # the word, two characters
        (["营业收入", "喆塔"], 3, 2),
        (["ab营", "abc"], 4, 1),  # a ##b 营 and one [UNK] for all of abc
    ],
)
def test_tokens_and_unknowns_per_character_by_hand(tiny, texts, tokens, unknown):
    found = measure(tiny, texts)
    characters = len("".join(texts))
    assert found["tokens_per_char"] == round(tokens / characters, 4)
    assert found["unk_rate"] == round(unknown / characters, 6)
    assert found["vocabulary"] == 12


def test_more_texts_than_a_batch(tiny):
    assert measure(tiny, ["营业收入", "喆"] * 1500)["tokens_per_char"] == round(3000 / 7500, 4)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "unigram.model"
    path.write_bytes(words.train_unigram(["营业收入同比增长"] * 50, 20, 1000, seed=0, threads=1))
    return str(path)


def test_a_sentencepiece_model_by_its_own_pieces(model_file):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=model_file)
    texts = ["营业收入增长", "喆"]
    found = measure_sentencepiece(model_file, texts)
    ids = [number for text in texts for number in processor.encode(text)]
    assert found["tokens_per_char"] == round(len(ids) / 7, 4)
    assert found["unk_rate"] == round(ids.count(processor.unk_id()) / 7, 6) > 0
    assert found["vocabulary"] == processor.get_piece_size()


def test_evaluate_compares_folders_and_model_files(tmp_path, tokenizer_folder, model_file, corpus_file, capsys):
    names, texts = [tokenizer_folder, model_file], [str(corpus_file), str(tmp_path / "b.txt")]
    (tmp_path / "b.txt").write_text("净利润增长\n营业收入\n", encoding="utf-8")
    evaluate.main(["--tokenizers", *names, "--texts", *texts, "--output_dir", str(tmp_path / "o"), "--max_texts", "1"])
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert {name: list(row) for name, row in results["tokenizers"].items()} == dict.fromkeys(names, texts)
    cell = results["tokenizers"][tokenizer_folder][texts[1]]
    assert (cell["tokens_per_char"], cell["unk_rate"]) == (0.6, 0.0)  # 净利润 增 长, of five characters
    assert set(results["data"]) == set(texts) and results["seed"] == 0
    assert "<svg" in (tmp_path / "o" / "tokens_per_char.svg").read_text(encoding="utf-8")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("texts", "{empty}: no text was found to measure tokenizers on"),
        (
            "tokenizers",
            "{missing} is not a model folder (no config.json there; found: no such folder): "
            "name a folder written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base",
        ),
    ],
)
def test_nothing_to_measure(tmp_path, tokenizer_folder, corpus_file, capsys, flag, message):
    empty, missing = tmp_path / "empty.txt", tmp_path / "missing"
    empty.write_text("\n")
    given = {"tokenizers": tokenizer_folder, "texts": corpus_file} | {flag: empty if flag == "texts" else missing}
    flags = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([*flags, "--output_dir", str(tmp_path / "o")])
    assert stopped.value.code == 2 and not (tmp_path / "o").exists()
    assert capsys.readouterr().err == f"error: {message.format(empty=empty, missing=missing)}\n"
