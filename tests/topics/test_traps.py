"""One test for each of BERTopic 0.17.4's traps on this stage's way: Chinese, outliers, saving, months."""

import csv
from pathlib import Path

import numpy as np
import pytest

from finbert2.topics import counts, run, update
from finbert2.topics.model import load_model
from finbert2.topics.words import HAN

from .conftest import sample_rows

WORDS = ["--lexical_weight", "1", "--map", "false", "--report", "false"]


def table(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, titles_csv):
    """A run with many outliers, its BERTopic folder included."""
    from finbert2.topics import cluster

    def project(vectors, dimensions, neighbors, seed):
        left, scale, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        return (left * scale)[:, :dimensions]

    folder = tmp_path_factory.mktemp("traps") / "topics"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "reduce", project)
        flags = ["--titles", str(titles_csv), "--output_dir", str(folder), "--outlier_quantile", "0.25"]
        run.main([*flags, "--num_topics", "6", *WORDS])
    return folder


@pytest.fixture(scope="module")
def opened(finished):
    from bertopic import BERTopic
    from bertopic.backend import BaseEmbedder

    return BERTopic.load(str(finished / "bertopic"), embedding_model=BaseEmbedder())


@pytest.mark.slow
def test_1_chinese_is_not_deleted(opened):
    """`language="english"` without an encoder strips every non-ASCII character: topics would be numbers."""
    words = [word for topic, pairs in opened.get_topics().items() if topic >= 0 for word, score in pairs if score > 0]
    assert words and sum(HAN.search(word) is not None for word in words) > 0.9 * len(words)


@pytest.mark.slow
def test_2_predictions_are_not_shifted_by_one_after_outliers(finished, opened):
    """`update_topics` leaves the old row of -1 first: a reloaded model then predicted each topic's neighbour."""
    rows = table(finished / "titles_topics.csv")
    ours = np.array([int(row["topic"]) for row in rows])
    assert (ours < 0).mean() > 0.1  # there are outliers to be shifted by
    model = load_model(finished)
    titles = [row["title"] for row in rows]
    vectors = model.space.vectors(None, model.segmenter.words_and_parts(titles)[1])
    names = dict(zip(sorted(set(opened.topics_)), opened.custom_labels_, strict=True))
    theirs = opened.transform(titles, embeddings=vectors.astype(np.float64))[0]
    found = np.array([int(names[topic].split("_")[0]) for topic in theirs])
    inside = ours >= 0
    assert (found[inside] == ours[inside]).mean() > 0.9 > (found[inside] == ours[inside] + 1).mean()
    assert model.predict(titles, None)[0].tolist() == ours.tolist()


def test_3_a_saved_model_counts_as_before(finished):
    """BERTopic's safetensors drop the tokenizer: a loaded model finds hardly a word."""
    model = load_model(finished)
    titles = [row["title"] for row in sample_rows(200)]
    words = model.segmenter.words(titles)
    again = counts.count(words, model.vocabulary).matrix.sum()
    assert again == sum(len(cut) for cut in words) > 3 * len(titles)  # every word of the fitted titles is known


def test_4_months_are_counted_and_nothing_is_tuned(finished, titles_csv):
    """`evolution_tuning` changes no number: here a month's row is a plain count, and the rows add up."""
    rows, months = table(finished / "titles_topics.csv"), table(finished / "trends.csv")
    for row in months[:: max(1, len(months) // 7)]:
        same = [r for r in rows if r["date"].startswith(row["month"])]
        number = sum(r["topic"] == row["topic"] for r in same)
        assert int(row["titles"]) == number and float(row["share"]) == pytest.approx(number / len(same), abs=1e-5)
    assert sum(int(row["titles"]) for row in months) == sum(int(row["topic"]) >= 0 for row in rows)


def test_5_dates_are_strings_in_any_spelling(tmp_path, flat_layout):
    """String dates fail in BERTopic on pandas 3; here no table library sees them."""
    forms = ("{}-{:02d}-01", "{}/{}/1", "{}.{}.1", "{}{:02d}01", "{}年{}月1日")
    rows = [row | {"date": forms[n % 5].format(2024, n % 3 + 1)} for n, row in enumerate(sample_rows(100))]
    titles = write(tmp_path / "t.csv", rows)
    run.main(
        ["--titles", titles, "--output_dir", str(tmp_path / "o"), "--num_topics", "4", "--bertopic", "false", *WORDS]
    )
    assert {row["month"] for row in table(tmp_path / "o" / "trends.csv")} == {"2024-01", "2024-02", "2024-03"}


def test_6_an_update_takes_float32_and_keeps_what_was_there(finished, tmp_path):
    """`partial_fit` fails on float32 vectors, and its labels are those of the last batch alone."""
    before = load_model(finished)
    assert before.centres.dtype == np.float32
    new = write(tmp_path / "new.csv", sample_rows(40, seed=9))
    update.main(["--model_dir", str(finished), "--titles", new, "--output_dir", str(tmp_path / "u")])
    after = load_model(tmp_path / "u")
    placed = [int(row["topic"]) for row in table(tmp_path / "u" / "new_titles_topics.csv")]
    gained = [new.size - old.size for old, new in zip(before.topics, after.topics, strict=True)]
    assert gained == [placed.count(topic) for topic in range(len(gained))] and sum(gained) > 0


def test_7_an_update_keeps_the_cutting_of_words(finished, tmp_path):
    """`update_topics()` resets the vectorizer: words become whole clauses."""
    new = write(tmp_path / "new.csv", sample_rows(40, seed=9))
    update.main(["--model_dir", str(finished), "--titles", new, "--output_dir", str(tmp_path / "u")])
    before, after = load_model(finished), load_model(tmp_path / "u")
    assert after.vocabulary == before.vocabulary and after.segmenter.digests() == before.segmenter.digests()
    assert all(word in before.vocabulary for topic in after.topics for word in topic.words)


@pytest.mark.parametrize("method", [["--num_topics", "5"], ["--method", "kmeans", "--num_topics", "5"], []])
def test_8_every_method_can_place_new_titles(method, tmp_path, titles_csv, flat_layout):
    """scikit-learn's HDBSCAN and fast_hdbscan have no `predict`, so BERTopic's `transform` fails on them."""
    flags = [
        "--titles",
        str(titles_csv),
        "--output_dir",
        str(tmp_path),
        "--min_topic_size",
        "10",
        "--bertopic",
        "false",
    ]
    run.main([*flags, *method, *WORDS])
    labels, _ = load_model(tmp_path).predict([row["title"] for row in sample_rows(40, seed=5)], None)
    assert (labels >= 0).mean() > 0.5


def test_9_no_words_are_padded_and_no_texts_are_joined(finished):
    """BERTopic pads short topics with empty words and counts on titles joined by blanks."""
    assert all(word for row in table(finished / "topics.csv") for word in row["words"].split(" "))
    model, rows = load_model(finished), table(finished / "titles_topics.csv")
    for topic in model.topics:
        words = model.segmenter.words([row["title"] for row in rows if int(row["topic"]) == topic.topic])
        assert model.word_counts[topic.topic].sum() == sum(len(cut) for cut in words)


def test_10_one_title_and_a_batch_are_told_alike_outliers_too(finished):
    """HDBSCAN's approximate prediction depends on the batch, and outlier reduction never reaches new titles."""
    model = load_model(finished)
    titles = [*dict.fromkeys(row["title"] for row in sample_rows(60, seed=3)), "毫不相干的一句话", "x"]
    together = model.predict(titles, None)[0].tolist()
    assert [int(model.predict([title], None)[0][0]) for title in titles] == together
    assert together[-1] == -1 and set(together[:-2]) > {-1}
