"""Tokenising, windows, packing, order."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from finbert2.errors import UserError
from finbert2.pretrain.data import EpochSampler, PackedRows, load_windows, pack
from finbert2.pretrain.segment import word_boundaries, word_starts


def test_word_boundaries_are_where_the_segmenter_cuts():
    """The pieces of rjieba are marked by their first characters, and the end of the text is marked."""
    import rjieba

    text = "央行下调存款准备金率0.5个百分点，释放 长期资金。"
    cut = rjieba.cut(text)
    assert "".join(cut) == text
    expected = np.zeros(len(text) + 1, dtype=bool)
    expected[[sum(map(len, cut[:n])) for n in range(len(cut) + 1)]] = True
    assert (word_boundaries(text) == expected).all()


def test_a_token_across_a_boundary_merges_the_words():
    """The token after one that crosses a boundary begins inside a word, so it begins none."""
    text = "中国人民银行"
    boundaries = word_boundaries(text)
    crossing = [(0, 3), (3, 6)] if not boundaries[3] else [(0, 1), (1, 6)]
    starts = word_starts(text, crossing)
    assert starts.tolist() == [True, bool(boundaries[crossing[1][0]])]


def test_windows_hold_every_token_of_every_document(tokenizer_folder, corpus_file, tmp_path):
    """Nothing of a long document is thrown away, each window is [CLS] … [SEP], and the cache is used again."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path / "cache", "train")
    texts = [json.loads(line)["text"] for line in corpus_file.read_text(encoding="utf-8").splitlines()]
    expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    ends = np.cumsum(windows.lengths)
    parts = [windows.ids[end - length : end] for end, length in zip(ends, windows.lengths, strict=True)]
    assert all(p[0] == tokenizer.cls_token_id and p[-1] == tokenizer.sep_token_id and len(p) <= 16 for p in parts)
    assert [int(i) for p in parts for i in p[1:-1]] == expected
    assert windows.tokens == len(expected)
    assert windows.characters == sum(map(len, texts))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    load_windows([str(corpus_file)], "text", tokenizer, 16, tmp_path / "cache", "train")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == written


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


def test_packing_holds_each_window_once_and_rows_are_full():
    """Best fit over real length distributions fills 99 % of the slots."""
    lengths = np.clip(np.random.default_rng(0).lognormal(4.2, 0.8, 20_000).astype(int), 3, 512).astype(np.int32)
    rows = pack(lengths, 512, seed=1)
    assert sorted(window for row in rows for window in row) == list(range(len(lengths)))
    sums = np.array([lengths[row].sum() for row in rows])
    assert sums.max() <= 512
    assert sums.sum() / (512 * len(rows)) >= 0.99


def test_rows_pad_at_the_end_only(tokenizer_folder, corpus_file, tmp_path):
    """A row's segments add up to its length, padding is a segment of its own."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    windows = load_windows([str(corpus_file)], "text", tokenizer, 48, tmp_path, "train")
    rows = PackedRows(windows, 64, tokenizer.pad_token_id, seed=0)
    seen = 0
    for number in range(len(rows)):
        item = rows[(0, number)]
        assert sum(item["lengths"]) == 64
        pads = int((item["ids"] == tokenizer.pad_token_id).sum())
        assert pads == sum(item["lengths"][len(rows.rows[number]) :])
        assert max(item["lengths"]) <= 48
        seen += 64 - pads
    assert seen == int(windows.lengths.sum())
    assert rows.fill == pytest.approx(seen / (64 * len(rows)))


def test_order_is_a_function_of_seed_and_epoch():
    """The same epoch gives the same order, another one a different one, each row once."""
    sampler = EpochSampler(50, seed=3)
    first = list(sampler)
    assert first == list(EpochSampler(50, seed=3))
    sampler.set_epoch(1)
    second = list(sampler)
    assert {row for _, row in second} == set(range(50))
    assert [row for _, row in first] != [row for _, row in second]
    assert {epoch for epoch, _ in second} == {1}


def test_cache_key_depends_on_content_not_place(tokenizer_folder, corpus_file, tmp_path):
    """A copied corpus meets the cache of the original."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    load_windows([str(corpus_file)], "text", tokenizer, 32, tmp_path / "cache", "train")
    copy = Path(tmp_path / "elsewhere.jsonl")
    copy.write_bytes(corpus_file.read_bytes())
    load_windows([str(copy)], "text", tokenizer, 32, tmp_path / "cache", "train")
    assert len(list((tmp_path / "cache").iterdir())) == 1
