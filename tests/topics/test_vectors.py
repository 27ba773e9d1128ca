import numpy as np
import pytest

from finbert2 import encoder
from finbert2.errors import UserError
from finbert2.topics.vectors import Lexicon, Space, encode, fit_lexicon, fit_space, read_vectors, unit


def test_rows_at_length_one():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 2)), r"shape \(3, 2\).*4 rows"),
        (np.ones(4), r"shape \(4,\)"),
        (np.ones((4, 2), dtype=int), "one vector of floats"),
        (np.array([[1.0], [1], [np.nan], [1]]), "not finite, first in row 2"),
        (np.array([{}, {}, {}, {}]), "no array of vectors"),
    ],
)
def test_vectors_that_do_not_fit_the_titles(tmp_path, array, message):
    np.save(tmp_path / "vectors.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        read_vectors(str(tmp_path / "vectors.npy"), 4, np.arange(4))


def test_vectors_of_the_wanted_rows(tmp_path):
    np.save(tmp_path / "vectors.npy", np.array([[2.0, 0], [0, 0], [0, 5]]))
    assert read_vectors(str(tmp_path / "vectors.npy"), 3, np.array([0, 2])).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(UserError, match="no array"):
        read_vectors(str(tmp_path / "none.npy"), 3, np.array([0]))


def test_vectors_in_half_precision_keep_their_length(tmp_path):
    vectors = np.random.default_rng(0).normal(0, 10, (3, 1024)).astype(np.float16)  # of length 320: squares overflow
    np.save(tmp_path / "vectors.npy", vectors)
    found = read_vectors(str(tmp_path / "vectors.npy"), 3, np.arange(3))
    assert found.dtype == np.float32 and np.linalg.norm(found, axis=1) == pytest.approx(1)


def test_a_joined_cosine_is_the_weighted_mean():
    lexicon = Lexicon(["银行", "利率"], np.ones(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    space = Space(np.zeros(2, dtype=np.float32), lexicon, 0.25)
    joined = space.vectors(np.array([[1.0, 0], [0.6, 0.8]]), [["银行"], ["银行"]])
    assert joined[0] @ joined[1] == pytest.approx(0.75 * 0.6 + 0.25 * 1.0)


def test_the_encoders_common_direction_is_taken_out():
    encoded = unit(np.array([[100.0, 1, 0], [100, -1, 0]]))
    space = fit_space(encoded, [[], []], np.ones(2), 0.0, seed=0)
    vectors = space.vectors(encoded, [[], []])
    assert encoded[0] @ encoded[1] > 0.999 and vectors[0] @ vectors[1] == pytest.approx(-1.0)


def test_lexicon_of_few_words_and_a_title_without_any():
    words = [["银行", "利率"], ["保险"], ["银行", "保险", "利率"], ["光伏"]]
    vectors = fit_lexicon(words, seed=0).vectors(words)
    assert vectors.shape == (4, 2) and vectors[3].tolist() == [0, 0]
    assert np.linalg.norm(vectors[:3], axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_vectors_are_kept_by_weights_and_text(tmp_path, monkeypatch):
    calls = []

    def counting(name, titles, batch_size, show_progress):
        calls.append(name)
        return np.full((len(titles), 2), len(calls), dtype=np.float32)

    monkeypatch.setattr(encoder, "load_sentence_transformer", lambda name: name)
    monkeypatch.setattr(encoder, "encode", counting)
    monkeypatch.setattr("finbert2.topics.vectors.fingerprint", lambda name: name)
    first = encode("a/b", ["甲", "乙"], 8, tmp_path)
    assert np.array_equal(encode("a/b", ["甲", "乙"], 8, tmp_path), first) and calls == ["a/b"]
    assert encode("a/b", ["甲", "丙"], 8, tmp_path)[0, 0] == 2 and encode("a/c", ["甲", "乙"], 8, tmp_path)[0, 0] == 3
    assert not list(tmp_path.glob("*.part"))
