import json
import random

import pytest
import torch

from finbert2 import files
from finbert2.tokenizer import train
from finbert2.tokenizer.base import train_base
from finbert2.tokenizer.extend import extend_model, extend_tokenizer

from ..conftest import TEXTS, WORDS

NEW = ["公司公告", "营业收入同比", "汽车渗透"]
KNOWN = [
    "营业收入", "净利润", "同比增长", "半导体", "新能源汽车", "存款准备金", "股份回购", "产能利用率", "分析师",
    "渗透率", "产业链", "订单饱满",
]  # fmt: skip


def trained(corpus, output, *flags):
    train.main([
        "--corpus", str(corpus), "--output_dir", str(output), "--unigram_vocab_size", "200",
        "--base_vocab_size", "400", *flags,
    ])  # fmt: skip
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def load(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        train.main([str(word) for word in argv])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "a.jsonl"
    chance = random.Random(0)
    rows = [{"text": "".join(chance.choices([*KNOWN, "，", "2.5%", "上升"], k=12)) + "。"} for _ in range(60)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "o"
    return output, trained(corpus, output, "--num_added_tokens", "8")


def test_the_words_of_the_list_are_the_tokens_that_were_added(finished):
    output, results = finished
    rows = [row.values for row in files.read_rows(output / "words.csv")]
    tokenizer = load(output)
    assert results["words"] == len(rows) == 8
    assert results["extended"]["vocabulary"] == len(tokenizer) == results["base"]["vocabulary"] + 8
    saved = [int(row["tokens_saved"]) for row in rows]
    assert saved == sorted(saved, reverse=True)
    assert saved == [int(row["occurrences"]) * (len(row["word"]) - 1) for row in rows]
    first = results["base"]["vocabulary"]
    assert [tokenizer.tokenize(row["word"]) for row in rows] == [[row["word"]] for row in rows]
    assert tokenizer.convert_tokens_to_ids([row["word"] for row in rows]) == list(range(first, first + 8))


def test_tokens_saved_are_what_the_texts_get_shorter_by(finished, corpus):
    output, results = finished
    rows = [row.values for row in files.read_rows(output / "words.csv")]
    texts = [row.values["text"] for row in files.read_rows(corpus)]
    tokens = sum(map(len, load(output)(texts, add_special_tokens=False)["input_ids"]))
    characters = sum(map(len, train_base(texts, 400)(texts, add_special_tokens=False)["input_ids"]))
    # The list is counted on the shortlist of 12 words; the 8 that are left match at least as often.
    assert characters - tokens >= sum(int(row["tokens_saved"]) for row in rows) > 0
    assert results["extended"]["tokens_per_char"] < results["base"]["tokens_per_char"]


def test_encoded_sentences_are_left_for_other_runtimes(finished):
    output, _ = finished
    rows = [row.values for row in files.read_rows(output / "parity.jsonl")]
    tokenizer = load(output)
    assert len(rows) == 60 and all(tokenizer(row["text"])["input_ids"] == row["ids"] for row in rows)


def test_the_same_command_again_does_nothing_and_another_one_is_refused(finished, corpus, capsys):
    output, results = finished
    assert trained(corpus, output, "--num_added_tokens", "8") == results
    message = refused(
        capsys, "--corpus", corpus, "--output_dir", output, "--num_added_tokens", 9, "--unigram_vocab_size", 200,
        "--base_vocab_size", 400,
    )  # fmt: skip
    assert message == (
        f"error: {output} holds another run (--num_added_tokens was 8, is 9): "
        "choose another --output_dir, or remove this one to start anew\n"
    )


def test_a_run_killed_before_its_end_makes_the_same_tokenizer(corpus, tmp_path, monkeypatch, finished):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train, "report", killed)
        with pytest.raises(SystemExit) as stopped:
            trained(corpus, tmp_path / "o", "--num_added_tokens", "8")
    assert stopped.value.code == 130 and not (tmp_path / "o" / "results.json").exists()
    trained(corpus, tmp_path / "o", "--num_added_tokens", "8")
    for name in ("tokenizer.json", "words.csv", "parity.jsonl", "unigram.model"):
        assert (tmp_path / "o" / name).read_bytes() == (finished[0] / name).read_bytes()


def test_words_are_learnt_from_what_corpus_prepare_writes(corpus, tmp_path):
    from finbert2.corpus import prepare

    prepare.main(["--input", str(corpus), "--output_dir", str(tmp_path / "c"), "--num_proc", "1"])
    results = trained(tmp_path / "c" / "train", tmp_path / "o", "--num_added_tokens", "3")
    assert results["words"] == 3 and all(name.endswith(".jsonl.gz") for name in results["data"])


def test_more_words_are_asked_for_than_there_are(corpus, tmp_path, caplog):
    results = trained(corpus, tmp_path / "o", "--num_added_tokens", "5000")
    found = results["words"]
    assert 8 < found < 200 and len(load(tmp_path / "o")) == results["base"]["vocabulary"] + found
    assert (
        f"tokenizer: the corpus holds {found} words that occur 5 times or more; "
        f"5000 were asked for, all {found} are used"
    ) in caplog.text


def test_a_model_is_grown_with_its_tokenizer(corpus, tmp_path, tiny_bert):
    from transformers import AutoModelForMaskedLM

    trained(corpus, tmp_path / "o", "--base_model", tiny_bert, "--num_added_tokens", "9")
    model, base = (AutoModelForMaskedLM.from_pretrained(name) for name in (tmp_path / "o", tiny_bert))
    tokenizer, first = load(tmp_path / "o"), base.config.vocab_size
    assert model.config.vocab_size == len(tokenizer) == first + 9
    assert set(WORDS).isdisjoint(row.values["word"] for row in files.read_rows(tmp_path / "o" / "words.csv"))
    rows, old = model.get_input_embeddings().weight, base.get_input_embeddings().weight
    assert torch.equal(rows[:first], old)
    ids = load(tiny_bert)([tokenizer.convert_ids_to_tokens(first)], add_special_tokens=False)["input_ids"][0]
    torch.testing.assert_close(rows[first], old[ids].mean(0))
    with torch.no_grad():
        assert model(**tokenizer(TEXTS[0], return_tensors="pt")).logits.shape[-1] == first + 9


@pytest.mark.parametrize("kind", ["AutoModelForMaskedLM", "AutoModel"])
def test_a_new_word_starts_as_the_mean_of_its_characters(tiny_bert, kind):
    import transformers

    base = load(tiny_bert)
    model = getattr(transformers, kind).from_pretrained(tiny_bert)
    head = model.get_output_embeddings()
    if head is not None:
        torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(1))
        before_bias = head.bias.detach().clone()
    before = model.get_input_embeddings().weight.detach().clone()
    extended = extend_tokenizer(base, NEW)
    extend_model(model, base, extended)
    after = model.get_input_embeddings().weight
    assert torch.equal(after[: len(base)], before) and len(after) == len(extended) == len(base) + 3
    for row, word in enumerate(NEW, start=len(base)):
        ids = base(word, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(after[row], before[ids].mean(0))
        if head is not None:
            torch.testing.assert_close(model.get_output_embeddings().bias[row], before_bias[ids].mean())
    if head is not None:
        assert torch.equal(model.get_output_embeddings().bias[: len(base)], before_bias)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_extending_leaves_the_base_alone(tiny_bert):
    base = load(tiny_bert)
    extended = extend_tokenizer(base, NEW)
    assert len(extended) == len(base) + 3 and base.tokenize(NEW[0]) == list(NEW[0])


@pytest.mark.parametrize("text", [*TEXTS, "营业收入 净利润\t半导体设备EPS", "喆净利润喆"])
def test_offsets_cut_the_text_exactly(tokenizer_folder, text):
    encoded = load(tokenizer_folder)(text, return_offsets_mapping=True, add_special_tokens=False)
    cut = [text[start:end] for start, end in encoded["offset_mapping"]]
    assert "".join(cut) == "".join(text.split())
    tokens = [token.removeprefix("##") for token in encoded.tokens()]
    assert all(token in (piece.lower(), "[UNK]") for token, piece in zip(tokens, cut, strict=True))


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_the_text_back_up_to_case_and_blanks(tokenizer_folder, text):
    tokenizer = load(tokenizer_folder)
    decoded = tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
    assert "".join(decoded.split()) == "".join(text.lower().split())


@pytest.mark.parametrize("mark", "“”‘’—…，。；：（）《》%~!")
def test_marks_that_a_corpus_holds_are_known(mark):
    tokenizer = train_base([f"公告{mark}称"] * 3, 400)
    assert tokenizer.tokenize(f"公告{mark}称") == ["公", "告", mark, "称"]


def test_ascii_is_known_whatever_the_corpus_holds():
    tokenizer = train_base(["公告"] * 3, 400)
    assert tokenizer.unk_token_id not in tokenizer("".join(map(chr, range(33, 127))))["input_ids"]
    assert (tokenizer.model_max_length, tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4])) == (
        512, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    )  # fmt: skip
    assert tokenizer.convert_ids_to_tokens(tokenizer("公", "告")["input_ids"]) == [
        "[CLS]",
        "公",
        "[SEP]",
        "告",
        "[SEP]",
    ]


def test_an_empty_corpus(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text(" \n")
    message = refused(capsys, "--corpus", path, "--output_dir", tmp_path / "o")
    assert message == f"error: {path}: no text was found to learn words from\n" and not (tmp_path / "o").exists()
