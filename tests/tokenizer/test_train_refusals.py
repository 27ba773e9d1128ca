"""What `tokenizer train` refuses, passes over and counts, or ends at with a message."""

import random

import pytest

from finbert2.tokenizer import train
from tests.tokenizer.conftest import KNOWN
from tests.tokenizer.test_train import refused, trained


def test_an_empty_corpus(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text(" \n")
    message = refused(capsys, "--corpus", path, "--output_dir", tmp_path / "o")
    assert message == f"error: {path}: no text was found to learn words from\n" and not (tmp_path / "o").exists()


def test_flags_that_contradict(tmp_path, capsys):
    argv = ("--corpus", tmp_path, "--output_dir", tmp_path)
    for flags, message in (
        (("--embedding_init", "focus"), "--embedding_init focus grows a checkpoint: name it by --base_model"),
        (("--source_smoothing", "2"), "--source_smoothing is 2.0: it lies between 0 and 1"),
        (("--num_added_tokens", "-1"), "--num_added_tokens is -1: it cannot be negative"),
        (("--max_characters", "0"), "--max_characters is 0: words are chosen by a sample of 1 or more"),
    ):
        assert f"error: {message}\n" in refused(capsys, *argv, *flags)


@pytest.mark.parametrize(("data", "line"), [(b"\xd6\xd0\xb9\xfa\n", 1), ("净利润\n".encode() + b"\x89PNG\n", 2)])
def test_what_is_not_utf8_is_named_or_skipped_and_counted(tmp_path, corpus, capsys, data, line):
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    message = refused(capsys, "--corpus", path, "--output_dir", tmp_path / "o")
    assert message.startswith(f"error: {path} line {line} is not UTF-8 (") and not (tmp_path / "o").exists()
    results = trained(corpus, tmp_path / "o", "--corpus", str(corpus), str(path), "--errors", "skip",
                      "--num_added_tokens", "3")  # fmt: skip
    assert results["skipped"] == 1 and results["skipped_first"] == [message.removeprefix("error: ").rstrip()]


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", "{]\n"), ("a.jsonl", "[1, 2]\n"), ("a.csv", "text\na,b\n")])
def test_what_is_no_record_is_skipped_too(tmp_path, capsys, name, content):
    path = tmp_path / name
    path.write_text(content)
    message = refused(capsys, "--corpus", path, "--output_dir", tmp_path / "o", "--errors", "skip")
    assert message == f"error: {path}: no text was found to learn words from (1 records could not be read)\n"


def test_a_binary_file_that_decodes(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_bytes(b"ELF\0\0\0\n")
    message = refused(capsys, "--corpus", path, "--output_dir", tmp_path / "o")
    assert (
        message
        == f"error: {path} line 1 holds a NUL character in 'ELF\\x00\\x00\\x00': is it a binary file? Give text\n"
    )


def test_a_full_disk_is_noticed_before_work(corpus, tmp_path, capsys, monkeypatch):
    from shutil import _ntuple_diskusage

    monkeypatch.setattr(train.shutil, "disk_usage", lambda path: _ntuple_diskusage(10, 10, 3 * 2**20))
    message = refused(capsys, "--corpus", corpus, "--output_dir", tmp_path / "o")
    assert message == (f"error: {tmp_path}/o has 3 MiB free, 64 are needed: make room or go elsewhere\n")


def test_a_sample_of_less_than_a_document(corpus, tmp_path):
    assert trained(corpus, tmp_path / "o", "--max_characters", "1")["documents"] == 60


def test_one_very_long_line(tmp_path):
    path = tmp_path / "a.txt"
    chance = random.Random(0)
    path.write_text("".join(chance.choices([*KNOWN, "，", "上升"], k=40_000)) + "\n", encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.writelines("净利润同比增长，渗透率\n" for _ in range(9))
    results = trained(path, tmp_path / "o", "--num_added_tokens", "3")
    assert results["words"] == 3 and results["documents"] == 10


def test_a_disk_that_fills_up_ends_with_a_message(corpus, tmp_path, capsys, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(train.files, "write_bytes", full)
    argv = ("--corpus", corpus, "--unigram_vocab_size", 200, "--base_vocab_size", 400)
    message = refused(capsys, *argv, "--output_dir", tmp_path / "o")
    assert message.endswith(f"error: the disk is full ({tmp_path}/o/unigram.model): make room and run it again\n")
    assert not (tmp_path / "o" / "results.json").exists()
