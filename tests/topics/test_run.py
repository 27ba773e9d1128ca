import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finbert2.errors import UserError
from finbert2.topics import predict, run
from finbert2.topics.model import load_model

from .conftest import sample_rows

ROOT = Path(__file__).parents[2]
BY_WORDS = ["--lexical_weight", "1", "--min_topic_size", "10", "--map", "false", "--bertopic", "false"]


def table(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def finished(tmp_path, titles_csv, flat_layout):
    run.main(["--titles", str(titles_csv), "--output_dir", str(tmp_path / "topics"), *BY_WORDS])
    return tmp_path / "topics"


def test_run_finds_planted_topics_and_writes_everything(finished, capsys):
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert results["n_topics"] >= 4 and results["coverage"] > 0.9 and results["ami_covered"] > 0.5
    assert {"npmi", "topic_diversity", "silhouette", "seconds", "data", "machine"} <= set(results)
    topics, titles, trends = (table(finished / f"{name}.csv") for name in ("topics", "titles_topics", "trends"))
    assert len(topics) == results["n_topics"] and all(topic["words"] and topic["example_1"] for topic in topics)
    assert len(titles) == results["n_titles"] == 200 and {"date", "industry", "org"} <= set(titles[0])
    covered = sum(int(title["topic"]) >= 0 for title in titles)
    assert sum(int(topic["size"]) for topic in topics) == covered == sum(int(row["titles"]) for row in trends)
    assert list(finished.glob("*.pkl")) == [] and not (finished / "map.svg").exists()


def test_an_empty_flag_is_none(tmp_path, titles_csv, flat_layout):
    """So run_topics.sh's own model and lists are taken back: predict took the folder one stood in for the encoder."""
    more = ("--model_name_or_path", "", "--userdict", "", "--stopwords", "", "--topic_list", "")
    run.main(["--titles", str(titles_csv), "--output_dir", str(tmp_path / "o"), *BY_WORDS, *more])
    assert json.loads((tmp_path / "o" / "topics.json").read_text(encoding="utf-8"))["encoder"] is None
    new = ["--model_dir", str(tmp_path / "o"), "--titles", str(titles_csv), "--output", str(tmp_path / "new.csv")]
    predict.main(new)
    assert len(table(tmp_path / "new.csv")) == 200


def test_predict_says_what_the_run_said(finished, titles_csv, tmp_path):
    predict.main(["--model_dir", str(finished), "--titles", str(titles_csv), "--output", str(tmp_path / "out.csv")])
    ran, predicted = table(finished / "titles_topics.csv"), table(tmp_path / "out.csv")
    assert [row["topic"] for row in predicted] == [row["topic"] for row in ran]
    assert [row["title"] for row in predicted] == [row["title"] for row in ran]


def test_one_title_is_told_as_in_a_batch(finished):
    model = load_model(finished)
    titles = [*dict.fromkeys(row["title"] for row in sample_rows(40)), "a completely foreign title"]
    together, _ = model.predict(titles, None)
    assert [int(model.predict([title], None)[0][0]) for title in titles] == together.tolist()
    assert together[-1] == -1 and (together[:-1] >= 0).mean() > 0.9


def test_repeated_titles_count_and_share_a_topic(tmp_path, flat_layout):
    rows = sample_rows(120)
    lines = [row["title"] for row in rows] + [rows[0]["title"]] * 30
    (tmp_path / "t.txt").write_text("\n".join(lines), encoding="utf-8")
    base = ["--titles", str(tmp_path / "t.txt"), "--title_column", "text", "--output_dir", str(tmp_path / "o")]
    run.main([*base, *BY_WORDS])
    found = table(tmp_path / "o" / "titles_topics.csv")
    assert len(found) == 150 and len({row["topic"] for row in found if row["title"] == rows[0]["title"]}) == 1
    assert not (tmp_path / "o" / "trends.csv").exists()


def test_number_of_topics_is_a_dial(tmp_path, titles_csv, flat_layout):
    base = ["--titles", str(titles_csv), "--output_dir", str(tmp_path / "o"), *BY_WORDS]
    for number in (4, 9):  # the same folder again: tables are replaced
        run.main([*base, "--num_topics", str(number)])
        assert len(table(tmp_path / "o" / "topics.csv")) == number


def test_given_vectors(tmp_path, titles_csv, flat_layout, capsys):
    industries = [row["industry"] for row in table(titles_csv)]
    kinds = sorted(set(industries))
    vectors = np.random.default_rng(0).normal(0, 0.1, (200, 8)) + np.eye(8)[[kinds.index(i) for i in industries]]
    np.save(tmp_path / "v.npy", vectors)
    given = ["--embeddings", str(tmp_path / "v.npy")]
    run.main(
        [
            "--titles",
            str(titles_csv),
            "--output_dir",
            str(tmp_path / "o"),
            "--map",
            "false",
            "--bertopic",
            "false",
            *given,
        ]
    )
    assert json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))["ami_covered"] > 0.9
    base = ["--model_dir", str(tmp_path / "o"), "--titles", str(titles_csv), "--output", str(tmp_path / "p.jsonl")]
    predict.main([*base, *given])
    with pytest.raises(SystemExit):
        predict.main(base)
    assert "give those of the titles by --embeddings" in capsys.readouterr().err


def test_a_changed_list_or_a_foreign_folder_is_refused(finished, tmp_path):
    lists = json.loads((finished / "words.json").read_text(encoding="utf-8"))
    (finished / "words.json").write_text(json.dumps(lists | {"stopwords": ["行业"]}), encoding="utf-8")
    with pytest.raises(UserError, match="stopwords changed"):
        load_model(finished)
    with pytest.raises(UserError, match="is no topic model"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give --model_name_or_path or --embeddings"),
        (["--model_name_or_path", "m", "--embeddings", "e"], "give one"),
        (["--lexical_weight", "1.5"], "between 0 and 1"),
        (["--lexical_weight", "1", "--min_topic_size", "1"], "2 is the least"),
        (["--lexical_weight", "1", "--min_samples", "0"], "error: --min_samples is 0: 1 is the least\n"),
        (["--lexical_weight", "1", "--stability_runs", "-1"], "error: --stability_runs is -1: 0 is the least\n"),
        (["--lexical_weight", "1", "--llm_topics", "-1"], "error: --llm_topics is -1: 0 is the least\n"),
        (["--lexical_weight", "1", "--batch_size", "0"], "error: --batch_size is 0: 1 is the least\n"),
        (["--lexical_weight", "1", "--method", "kmeans"], "--method kmeans needs --num_topics"),
        (["--lexical_weight", "1", "--layer", "1"], "--layer picks a layer of --method evoc"),
        (["--embeddings", "e", "--topic_list", "l"], "--topic_list needs the encoder"),
        (["--lexical_weight", "1", "--llm_endpoint", "u"], "go together"),
        (["--preset", "best"], "invalid choice"),
        (["--lexical_weight", "1", "--titles", "none.csv"], "none.csv does not exist"),
    ],
)
def test_mistakes_are_told(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--titles", "t.csv", "--output_dir", str(tmp_path / "o"), *flags])
    assert stop.value.code == 2 and message in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_presets_fill_only_what_is_unset():
    paper = run.TopicArguments("t", "o", model_name_or_path="m", preset="paper", dimensions=8).settings(10_000)
    assert (paper.dimensions, paper.min_topic_size, paper.min_samples, paper.lexical_weight) == (8, 2, 1, 0.0)
    reading = run.TopicArguments("t", "o", model_name_or_path="m").settings(10_000)
    assert (reading.dimensions, reading.min_topic_size, reading.seed) == (5, 50, 42)


@pytest.mark.slow
def test_with_an_encoder_twice_the_same_and_an_other_encoder_refused(tmp_path, titles_csv, tiny_encoder, capsys):
    for name in ("one", "two"):
        flags = ["--titles", str(titles_csv), "--model_name_or_path", str(tiny_encoder), "--min_topic_size", "8"]
        run.main([*flags, "--output_dir", str(tmp_path / name)])
    one, two = (table(tmp_path / name / "titles_topics.csv") for name in ("one", "two"))
    assert one == two
    assert "<svg" in (tmp_path / "one" / "map.svg").read_text(encoding="utf-8")
    base = ["--model_dir", str(tmp_path / "one"), "--titles", str(titles_csv), "--output", str(tmp_path / "p.csv")]
    predict.main(base)
    same = [a["topic"] == b["topic"] for a, b in zip(one, table(tmp_path / "p.csv"), strict=True)]
    assert all(same)
    shutil.copytree(tiny_encoder, tmp_path / "other")
    from safetensors.numpy import load_file, save_file

    weights = load_file(tiny_encoder / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "other" / "model.safetensors")
    with pytest.raises(SystemExit):
        predict.main([*base, "--model_name_or_path", str(tmp_path / "other")])
    assert "is not the one this topic model was fitted with" in capsys.readouterr().err


@pytest.mark.slow
def test_script_from_any_folder(tmp_path, titles_csv, tiny_encoder):
    command = ["sh", str(ROOT / "Fin-Topicmodel" / "run_topics.sh"), "--titles", str(titles_csv), "--num_topics", "4"]
    command += ["--model_name_or_path", str(tiny_encoder), "--output_dir", str(tmp_path / "o"), "--map", "false"]
    environment = os.environ | {"FINBERT2_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "coverage" in done.stdout and len(table(tmp_path / "o" / "topics.csv")) == 4


@pytest.mark.slow
def test_bertopic_opens_the_same_topics(tmp_path, titles_csv, flat_layout):
    from bertopic import BERTopic
    from bertopic.backend import BaseEmbedder

    flags = ["--titles", str(titles_csv), "--output_dir", str(tmp_path), "--map", "false"]
    run.main([*flags, "--lexical_weight", "1", "--num_topics", "6"])
    opened = BERTopic.load(str(tmp_path / "bertopic"), embedding_model=BaseEmbedder())
    # Numbers may differ among topics of one size: the custom label begins with ours.
    names = dict(zip(sorted(set(opened.topics_)), opened.custom_labels_, strict=True))
    ours = [int(names[topic].split("_")[0]) for topic in opened.topics_]
    assert ours == [int(row["topic"]) for row in table(tmp_path / "titles_topics.csv")]
    words = {int(row["topic"]): set(row["words"].split()) for row in table(tmp_path / "topics.csv")}
    for theirs, label in names.items():
        if theirs >= 0:
            found = {word for word, score in opened.get_topic(theirs) if score > 0}
            assert len(found & words[int(label.split("_")[0])]) >= 5
