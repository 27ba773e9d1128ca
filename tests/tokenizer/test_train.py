import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from finbert2 import files
from finbert2.tokenizer import evaluate, train
from finbert2.tokenizer.base_tokenizer import train_base

from ..conftest import TEXTS
from .conftest import KNOWN

NEW = ["公司公告", "营业收入同比", "汽车渗透"]


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
def finished(corpus, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "o"
    return output, trained(corpus, output, "--num_added_tokens", "8")


def test_the_words_of_the_list_are_the_tokens_that_were_added(finished):
    output, results = finished
    rows = [row.values for row in files.read_rows(output / "words.csv")]
    tokenizer = load(output)
    assert results["words"] == len(rows) == 8
    assert results["extended"]["vocabulary"] == len(tokenizer) == results["base"]["vocabulary"] + 8
    assert all(int(row["tokens_saved"]) > 0 and row["kind"] == "chosen" for row in rows)
    first = results["base"]["vocabulary"]
    assert [tokenizer.tokenize(row["word"]) for row in rows] == [[row["word"]] for row in rows]
    assert tokenizer.convert_tokens_to_ids([row["word"] for row in rows]) == list(range(first, first + 8))
    assert not any(tokenizer.added_tokens_decoder[number].normalized for number in range(first, first + 8))


def test_the_base_without_the_words_is_kept_beside_it(finished):
    output, results = finished
    base, grown = load(output / "base"), load(output)
    assert len(base) == results["base"]["vocabulary"]
    assert base.get_vocab().items() < grown.get_vocab().items()


def test_occurrences_are_what_the_tokenizer_takes(finished, corpus):
    output, results = finished
    rows = [row.values for row in files.read_rows(output / "words.csv")]
    texts = [row.values["text"] for row in files.read_rows(corpus)]
    tokens = Counter(token for text in texts for token in load(output).tokenize(text))
    assert {row["word"]: int(row["occurrences"]) for row in rows} == {row["word"]: tokens[row["word"]] for row in rows}
    characters = sum(map(len, train_base(texts, 400)(texts, add_special_tokens=False)["input_ids"]))
    assert characters - tokens.total() == sum(tokens[row["word"]] * (len(row["word"]) - 1) for row in rows)
    assert results["extended"]["tokens_per_char"] < results["base"]["tokens_per_char"]


def test_the_page_and_the_numbers_by_source(finished, corpus):
    output, results = finished
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and "产能利用率" in page
    assert not re.search(r"<(script|img|link rel=.stylesheet)", page)
    assert results["documents"] == 60 and results["counted_share"] == 1 and results["skipped"] == 0
    (source,) = results["sources"].values()
    assert source["extended"]["tokens_per_char"] < source["base"]["tokens_per_char"]
    assert set(source["extended"]) >= {"unk_rate", "vocabulary_used", "crossing_rate", "length_p90"}


def test_encoded_sentences_are_left_for_other_runtimes(finished):
    output, _ = finished
    rows = [row.values for row in files.read_rows(output / "parity.jsonl")]
    tokenizer = load(output)
    assert len(rows) == 60 and all(tokenizer(row["text"])["input_ids"] == row["ids"] for row in rows)


def test_the_same_command_again_does_nothing_and_another_one_is_refused(finished, corpus, capsys, caplog):
    output, results = finished
    caplog.set_level("INFO")
    assert trained(corpus, output, "--num_added_tokens", "8") == results
    assert caplog.messages == [f"{output} holds the finished run: nothing to do"]
    message = refused(
        capsys, "--corpus", corpus, "--output_dir", output, "--num_added_tokens", 9, "--unigram_vocab_size", 200,
        "--base_vocab_size", 400,
    )  # fmt: skip
    assert message == (
        f"error: {output} holds another run (--num_added_tokens was 8, is 9): "
        "choose another --output_dir, or remove this one to start anew\n"
    )


def test_a_changed_corpus_is_another_run(corpus, tmp_path, capsys):
    """Behind names and sizes that stay."""
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus" / "a.jsonl"
    path.write_bytes(corpus.read_bytes())
    argv = ("--corpus", path.parent, "--output_dir", tmp_path / "o", "--num_added_tokens", 3)
    train.main([str(word) for word in argv])
    path.write_text(path.read_text(encoding="utf-8").replace("净利润", "净利率"), encoding="utf-8")
    message = refused(capsys, *argv)
    assert re.fullmatch(
        rf"error: {tmp_path}/o holds another run \(the content of --corpus was '\w{{12}}', is '\w{{12}}'\): "
        r"choose another --output_dir, or remove this one to start anew\n", message,
    )  # fmt: skip


def test_a_saved_dataset_is_fingerprinted_by_its_texts(corpus, tmp_path):
    """Not by the small JSON files beside them alone, which say nothing of the texts."""
    import datasets

    rows = [row.values for row in files.read_rows(corpus)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    trained(tmp_path / "saved", tmp_path / "o", "--num_added_tokens", "3")
    evaluate.main(["--tokenizers", str(tmp_path / "o"), "--texts", str(tmp_path / "saved"), "--output_dir",
                   str(tmp_path / "e")])  # fmt: skip
    for name in ("o", "e"):
        data = json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8"))["data"]
        assert str(tmp_path / "saved" / "data-00000-of-00001.arrow") in data


def test_a_run_killed_before_its_end_makes_the_same_tokenizer(corpus, tmp_path, monkeypatch, finished):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train.encoder, "save_tokenizer", killed)
        with pytest.raises(SystemExit) as stopped:
            trained(corpus, tmp_path / "o", "--num_added_tokens", "8")
    assert stopped.value.code == 130 and not (tmp_path / "o" / "results.json").exists()
    learnt = (tmp_path / "o" / "unigram.model").stat().st_mtime_ns
    trained(corpus, tmp_path / "o", "--num_added_tokens", "8")
    for name in ("tokenizer.json", "words.csv", "parity.jsonl", "unigram.model"):
        assert (tmp_path / "o" / name).read_bytes() == (finished[0] / name).read_bytes()
    assert (tmp_path / "o" / "unigram.model").stat().st_mtime_ns == learnt  # the slow part is not done again


@pytest.mark.slow
def test_another_process_on_one_core_makes_the_same_tokenizer(corpus, tmp_path):
    """Neither hashes nor the number of cores nor a draw that nobody seeded has a say."""
    flags = ("--max_sentences", "40", "--max_characters", "1000", "--num_added_tokens", "8")
    trained(corpus, tmp_path / "a", *flags)
    one_core = (
        "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]) if sys.platform == 'linux' else None"
    )
    program = f"{one_core}; from finbert2.tokenizer import train; train.main()"
    again = ("--corpus", str(corpus), "--output_dir", str(tmp_path / "b"), "--unigram_vocab_size", "200",
             "--base_vocab_size", "400", *flags)  # fmt: skip
    subprocess.run([sys.executable, "-c", program, *again], check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    for name in ("tokenizer.json", "words.csv", "parity.jsonl", "unigram.model"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_unigram_model_older_than_the_corpus_is_learnt_anew(corpus, tmp_path, monkeypatch):
    (tmp_path / "unigram.model").write_bytes(b"old")
    os.utime(tmp_path / "unigram.model", (0, 0))
    assert trained(corpus, tmp_path, "--num_added_tokens", "3")["words"] == 3


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
        f"tokenizer: the corpus holds {found} words that save tokens; 5000 were asked for, all {found} are used"
    ) in caplog.text


def test_published_words_and_marks_come_first(corpus, tmp_path):
    from transformers import BertTokenizer

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set("".join(KNOWN)))]
    base = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    base.save_pretrained(tmp_path / "base")
    published = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
    published.add_tokens(["渗透率", " 净  利  润 "])  # as FinBERT2's come out of a fast tokenizer
    published.save_pretrained(tmp_path / "published")
    flags = ("--base_tokenizer", str(tmp_path / "base"), "--keep_published_words", str(tmp_path / "published"))
    results = trained(corpus, tmp_path / "o", *flags, "--num_added_tokens", "12")
    rows = [row.values for row in files.read_rows(tmp_path / "o" / "words.csv")]
    assert [row["word"] for row in rows[:8]] == ["渗透率", "净利润", *"“”‘’—…"] and results["words"] == 12
    assert [row["kind"] for row in rows] == ["published"] * 2 + ["mark"] * 6 + ["chosen"] * 4
    tokenizer = load(tmp_path / "o")
    assert tokenizer.unk_token_id not in tokenizer("“”‘’—…", add_special_tokens=False)["input_ids"]
    assert tokenizer.tokenize("净利润…渗透率") == ["净利润", "…", "渗透率"]
    assert {"净利润", "渗透率"}.isdisjoint(row["word"] for row in rows[8:])


def test_too_many_published_words_and_none(corpus, tmp_path, tokenizer_folder, tiny_bert, capsys):
    argv = ("--corpus", corpus, "--unigram_vocab_size", 200, "--base_vocab_size", 400)
    message = refused(
        capsys, *argv, "--output_dir", tmp_path / "a", "--keep_published_words", tokenizer_folder,
        "--num_added_tokens", 2,
    )  # fmt: skip
    assert message.endswith(
        f"error: {tokenizer_folder} and the punctuation the base lacks are 6 tokens, more than "
        "--num_added_tokens 2: give at least 6\n"
    )
    train_base(TEXTS, 400).save_pretrained(tmp_path / "plain")
    message = refused(capsys, *argv, "--output_dir", tmp_path / "b", "--keep_published_words", tmp_path / "plain")
    assert message.endswith(f"error: {tmp_path}/plain has no added words to keep: name a FinBERT2 tokenizer\n")


def test_sources_are_counted_by_their_field_or_path(corpus, tmp_path):
    rows = [{"text": "净利润同比增长" * 3, "source": "titles"}, {"text": "半导体" * 9}]
    files.write_rows(tmp_path / "b.jsonl", rows * 9)
    both = [str(corpus), str(tmp_path / "b.jsonl")]
    results = trained(corpus, tmp_path / "o", "--corpus", *both)
    found = {name: row["characters"] for name, row in results["sources"].items()}
    assert (found["titles"], found[both[1]]) == (9 * 21, 9 * 27) and set(found) == {"titles", *both}
    assert sum(found.values()) == results["characters"]


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
