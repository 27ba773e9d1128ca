import pytest
import sentencepiece

from finbert2.errors import UserError
from finbert2.tokenizer import unigram


@pytest.mark.parametrize("length", [0, 5, 1024, 1025, 5000])
def test_lines_are_cut_where_sentencepiece_would_pass_over_them(length):
    line = "甲" * length
    cut = list(unigram.sentences([f"{line}\n乙", "丙"]))
    assert "".join(cut) == line + "乙丙" and max(len(part.encode()) for part in cut) <= unigram.MAX_SENTENCE_BYTES


def test_proposed_words_are_the_pure_chinese_pieces_of_two_to_six():
    texts = ["营业收入同比增长，净利润下降12%"] * 20 + ["净利润同比增长EPS"] * 20
    model = unigram.train_unigram(texts, 60)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(number).replace("\u2581", "") for number in range(len(processor))]
    wanted = [piece for piece in pieces if 2 <= len(piece) <= 6 and all("\u4e00" <= c <= "\u9fff" for c in piece)]
    assert unigram.proposed_words(model) == list(dict.fromkeys(wanted)) and wanted
    assert unigram.train_unigram(texts, 60) == model


@pytest.mark.parametrize(
    ("word", "chinese"), [("净利润", True), ("营业收入同比增长", True), ("EPS", False), ("", False)]
)
def test_what_is_chinese(word, chinese):
    assert unigram.is_chinese(word) is chinese


def test_a_corpus_without_anything_to_learn():
    with pytest.raises(UserError, match=r"^the corpus is too small to learn words from \(.*\): give more text$"):
        unigram.train_unigram(["", ""], 100)


def test_memory_is_that_of_the_sample():
    whole = unigram.memory_needed(10**9, 10**7, 10**7)
    assert unigram.memory_needed(10**9, 10**7, 10**6) - unigram.BYTES_BESIDES == pytest.approx(
        (whole - unigram.BYTES_BESIDES) / 10
    )
    assert unigram.memory_needed(10**9, 10**6, 10**7) == whole
    assert unigram.memory_free() > 2**20


def test_too_little_memory_is_said_before_it_is_used():
    unigram.check_memory(2**30, 2**30, 100)
    with pytest.raises(UserError) as caught:
        unigram.check_memory(4 * 2**30, 2**30, 1_000_000)
    assert str(caught.value) == (
        "learning the SentencePiece model needs about 4.0 GiB of memory, 1.0 GiB are free: "
        "give --max_sentences 225585 or fewer"
    )
