"""Tokenising, windows, packing, order."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from finbert2.errors import UserError
from finbert2.pretrain import data
from finbert2.pretrain.data import chunked, load_windows, set_tokenizer, tokenize_all, tokenize_chunk, word_starts
from finbert2.segment import segmenter, word_boundaries


def test_word_boundaries_are_where_the_segmenter_cuts():
    """The pieces of rjieba are marked by their first characters, and the end of the text is marked."""
    import rjieba

    text = "央行下调存款准备金率0.5个百分点，释放 长期资金。"
    cut = rjieba.cut(text)
    assert "".join(cut) == text
    expected = np.zeros(len(text) + 1, dtype=bool)
    expected[[sum(map(len, cut[:n])) for n in range(len(cut) + 1)]] = True
    assert (word_boundaries(segmenter(), text) == expected).all()


def test_a_token_across_a_boundary_merges_the_words():
    """The token after one that crosses a boundary begins inside a word, so it begins none."""
    text = "中国人民银行"
    boundaries = word_boundaries(segmenter(), text)
    crossing = [(0, 3), (3, 6)] if not boundaries[3] else [(0, 1), (1, 6)]
    starts = word_starts(segmenter(), text, crossing)
    assert starts.tolist() == [True, bool(boundaries[crossing[1][0]])]


def test_windows_hold_every_token_of_every_document(tokenizer_folder, corpus_file, tmp_path):
    """Nothing of a long document is thrown away, each window is [CLS] … [SEP], and the cache is used again."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path / "cache", "train")
    texts = [json.loads(line)["text"] for line in corpus_file.read_text(encoding="utf-8").splitlines()]
    expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    ends = windows.ends
    parts = [windows.ids[end - length : end] for end, length in zip(ends, windows.lengths, strict=True)]
    assert all(p[0] == tokenizer.cls_token_id and p[-1] == tokenizer.sep_token_id and len(p) <= 16 for p in parts)
    assert [int(i) for p in parts for i in p[1:-1]] == expected
    assert windows.tokens == len(expected)
    assert windows.characters == sum(map(len, texts))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.bin")}
    load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path / "cache", "train")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.bin")} == written


def test_files_of_another_format_are_written_anew(tokenizer_folder, corpus_file, tmp_path, monkeypatch):
    """Format 2 held other word starts in texts of more than 100,000 characters."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    assert data.FORMAT > 2
    now = load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path, "train").folder
    monkeypatch.setattr(data, "FORMAT", 2)
    assert load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path, "train").folder != now


def test_word_starts_agree_with_the_text(tokenizer_folder, corpus_file, tmp_path):
    """A domain word is one token that begins a word; specials always do."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(corpus_file)], "text", tokenizer, 128, tmp_path, "train")
    ids, starts = np.asarray(windows.ids), np.asarray(windows.starts)
    special = np.isin(ids, tokenizer.all_special_ids) & (ids != tokenizer.unk_token_id)
    assert starts[special].all()
    assert starts[ids == tokenizer.convert_tokens_to_ids("营业收入")].all()
    assert not starts.all()


def test_a_corpus_without_text_is_refused(tokenizer_folder, tmp_path):
    """The message names the file and the field."""
    path = tmp_path / "empty.jsonl"
    path.write_text('{"text": " "}\n', encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    with pytest.raises(UserError, match="empty.jsonl: no document with text in 'text' was found to train on"):
        load_windows([str(path)], "text", tokenizer, 16, tmp_path, "train")


def test_cache_key_depends_on_content_not_place(tokenizer_folder, corpus_file, tmp_path):
    """A copied corpus meets the cache of the original."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    load_windows([str(corpus_file)], "text", tokenizer, 32, tmp_path / "cache", "train")
    copy = Path(tmp_path / "elsewhere.jsonl")
    copy.write_bytes(corpus_file.read_bytes())
    load_windows([str(copy)], "text", tokenizer, 32, tmp_path / "cache", "train")
    assert len(list((tmp_path / "cache").glob("train-*"))) == 1


def test_tokenising_keeps_the_order_of_the_corpus(tokenizer_folder, corpus_file, monkeypatch):
    """Chunks come back in their order whichever process is done first, and no more than a few are read ahead."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    monkeypatch.setattr(data, "CHUNK", 2)
    monkeypatch.setattr(data.runtime, "cores", lambda: 2)
    read: list[int] = []

    def watched():
        for number, chunk in enumerate(chunked([str(corpus_file)], "text", "source")):
            read.append(number)
            yield chunk

    set_tokenizer(tokenizer, 16)
    expected = [tokenize_chunk(chunk) for chunk in chunked([str(corpus_file)], "text", "source")]
    found = []
    for part in tokenize_all(watched(), tokenizer, 16, "train"):
        found.append(part)
        assert len(read) <= len(found) + 4 * 2 + 1
    assert len(found) == len(expected) == 30
    for one, other in zip(found, expected, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.starts.tolist() == other.starts.tolist()


def test_long_documents_are_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CHUNK_CHARACTERS", 10)
    path = tmp_path / "a.txt"
    lengths = [4, 6, 1, 99, 3, 3, 3, 3]
    path.write_text("".join("甲" * length + "\n" for length in lengths), encoding="utf-8")
    chunks = chunked([str(path)], "text", "source")
    assert [[len(text) for text, _ in chunk] for chunk in chunks] == [[4, 6], [1], [99], [3, 3, 3], [3]]


def killed(chunk):
    """Stand in for a worker that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_told(tokenizer_folder, corpus_file, monkeypatch):
    monkeypatch.setattr(data, "CHUNK", 2)
    monkeypatch.setattr(data, "tokenize_chunk", killed)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    with pytest.raises(UserError, match=r"^a process that tokenises the train text was killed, most often for want of"):
        list(tokenize_all(chunked([str(corpus_file)], "text", "source"), tokenizer, 16, "train"))


def test_a_field_of_addresses_is_none_of_sources(tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MOST_SOURCES", 2)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "年报。", "source": s}) + "\n" for s in "abcab"), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(path)], "text", tokenizer, 32, tmp_path / "cache", "train")
    assert (windows.source_names, windows.sources.tolist()) == (["a", "b"], [0, 1, -1, 0, 1])


def test_sources_are_kept_by_window(tokenizer_folder, tmp_path):
    """Each window knows where its text is from; a row that does not say has none."""
    path = tmp_path / "mixed.jsonl"
    rows = [{"text": "央行公告。" * 9, "source": "news"}, {"text": "年报。", "source": 7}, {"text": "无来源。"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(path)], "text", tokenizer, 32, tmp_path / "cache", "train")
    assert windows.source_names == ["news", "7"]
    assert windows.sources.tolist() == [0, 0, 1, -1]
    assert windows.longest == 32


def test_an_interrupted_tokenising_leaves_no_cache(tokenizer_folder, corpus_file, tmp_path):
    """A folder gets its name when it is whole: what was cut off is done anew."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    first = load_windows([str(corpus_file)], "text", tokenizer, 32, tmp_path / "cache", "train")
    unfinished = first.folder.with_name(f"{first.folder.name}.part")
    first.folder.rename(unfinished)
    (unfinished / "meta.json").unlink()
    second = load_windows([str(corpus_file)], "text", tokenizer, 32, tmp_path / "cache", "train")
    assert second.tokens == first.tokens
    assert [path.name for path in (tmp_path / "cache").glob("train-*")] == [second.folder.name]


def test_a_file_that_is_named_twice_counts_twice(tokenizer_folder, corpus_file, tmp_path):
    """Also where the cache holds the tokens of the file alone."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    once, twice = (
        load_windows([str(corpus_file)] * times, "text", tokenizer, 32, tmp_path / "cache", "train") for times in (1, 2)
    )
    assert twice.tokens == 2 * once.tokens


def test_two_runs_that_share_a_cache_tokenise_once(tokenizer_folder, corpus_file, tmp_path, monkeypatch):
    """The second waits for the first; both read the same whole folder."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    calls, context = tmp_path / "calls", multiprocessing.get_context("fork")
    found = context.Queue()

    def slowly(chunks, tokenizer, max_length, name):
        with calls.open("a", encoding="utf-8") as file:
            file.write("once\n")
        for part in tokenize_all(chunks, tokenizer, max_length, name):
            time.sleep(1.0)
            yield part

    def load() -> None:
        windows = load_windows([str(corpus_file)], "text", tokenizer, 32, tmp_path / "cache", "train")
        found.put((len(windows.ids), int(windows.ends[-1])))

    monkeypatch.setattr(data, "tokenize_all", slowly)
    processes = [context.Process(target=load) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    results = [found.get(timeout=10) for _ in processes]
    assert results[0] == results[1]
    assert results[0][0] == results[0][1]
    assert calls.read_text(encoding="utf-8") == "once\n"
