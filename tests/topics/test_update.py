import csv
import json

import numpy as np
import pytest

from finbert2 import files
from finbert2.errors import UserError
from finbert2.topics import run, update
from finbert2.topics.drift import drift
from finbert2.topics.model import load_model

from .conftest import sample_rows


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def finished(tmp_path, titles_csv, flat_layout):
    flags = ["--titles", str(titles_csv), "--output_dir", str(tmp_path / "topics"), "--lexical_weight", "1"]
    run.main([*flags, "--num_topics", "6", "--map", "false", "--bertopic", "false", "--report", "false"])
    return tmp_path / "topics"


def month_of_banks(tmp_path):
    """Sixty bank titles, twenty of them with a word that no earlier title had."""
    rows = [row for row in sample_rows(240, seed=4) if row["industry"] == "银行"]
    lines = ["title,date", *(f"{row['title']}{'数字人民币' * (n < 20)},2025-01-02" for n, row in enumerate(rows))]
    (tmp_path / "new.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(tmp_path / "new.csv")


def test_a_month_is_added_and_its_drift_told(finished, tmp_path, capsys):
    flags = ["--model_dir", str(finished), "--titles", month_of_banks(tmp_path), "--output_dir", str(tmp_path / "u")]
    update.main(flags)
    results = json.loads((tmp_path / "u" / "results.json").read_text(encoding="utf-8"))
    assert results["n_titles"] == 60 and results["coverage"] > 0.6 and results["n_rising"] >= 1 <= results["n_fading"]
    moves = table(tmp_path / "u" / "drift.csv")
    rose = [row for row in moves if row["kind"] in ("rising", "new")]
    assert all("银行" in row["words"] for row in rose) and float(moves[0]["z"]) == max(
        abs(float(r["z"])) for r in moves
    )
    assert all(float(row["similarity_now"]) >= float(row["threshold"]) for row in moves if row["similarity_now"])
    assert {"数字人民币", "人民币"} & {row["word"] for row in table(tmp_path / "u" / "new_words.csv")}
    assert "titles have a topic" in capsys.readouterr().out


def test_a_month_without_a_new_word_has_a_table_of_them_with_its_header(finished, tmp_path):
    (tmp_path / "new.csv").write_text(f"title\n{sample_rows(1)[0]['title']}\n", encoding="utf-8")
    flags = ["--model_dir", str(finished), "--titles", str(tmp_path / "new.csv"), "--output_dir", str(tmp_path / "u")]
    update.main(flags)
    assert (tmp_path / "u" / "new_words.csv").read_text(encoding="utf-8") == "word,titles\n"


def test_a_repeated_title_counts_as_often_in_its_topics_similarity(finished):
    found = drift(load_model(finished), [["银行"]] * 2, np.array([1, 1]), np.array([0.9, 0.5]), np.array([3.0, 1.0]))
    assert found.similarity[:2] == [None, pytest.approx(0.8)]


def test_topics_keep_their_numbers_and_old_titles_their_topics(finished, tmp_path):
    flags = ["--model_dir", str(finished), "--titles", month_of_banks(tmp_path), "--output_dir", str(tmp_path / "u")]
    update.main(flags)
    before, after = load_model(finished), load_model(tmp_path / "u")
    titles = [row["title"] for row in sample_rows(200)]
    assert after.predict(titles, None)[0].tolist() == before.predict(titles, None)[0].tolist()
    assert after.word_counts.sum() > before.word_counts.sum()
    (tmp_path / "next.csv").write_text((tmp_path / "new.csv").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    following = ["--titles", str(tmp_path / "next.csv"), "--output_dir", str(tmp_path / "u2")]
    update.main(["--model_dir", str(tmp_path / "u"), *following])
    assert sum(t.size for t in load_model(tmp_path / "u2").topics) > sum(t.size for t in after.topics)


def test_rows_may_have_fields_that_the_first_one_lacks(finished, tmp_path):
    titles = [row["title"] for row in sample_rows(2)]
    rows = [{"title": titles[0]}, {"title": titles[1], "org": "甲证券"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "new.jsonl").write_text("\n".join(lines), encoding="utf-8")
    flags = ["--model_dir", str(finished), "--titles", str(tmp_path / "new.jsonl")]
    update.main([*flags, "--output_dir", str(tmp_path / "u")])
    found = table(tmp_path / "u" / "new_titles_topics.csv")
    assert list(found[0]) == ["title", "org", "topic", "similarity", "words"]
    assert [row["org"] for row in found] == ["", "甲证券"]


def test_a_month_is_counted_once(finished, titles_csv, tmp_path, capsys):
    """Whatever its name, by the run or any update before, also of a model without its results, as the Hub gives it.

    The same update may be made again.
    """
    new, models = month_of_banks(tmp_path), [finished, tmp_path / "u", tmp_path / "u2"]
    flags = ["--model_dir", str(finished), "--titles", new, "--output_dir", str(models[1])]
    update.main(flags)
    update.main(flags)
    (tmp_path / "next.csv").write_text("title\n央行下调存款准备金率", encoding="utf-8")
    update.main(["--model_dir", str(models[1]), "--titles", str(tmp_path / "next.csv"), "--output_dir", str(models[2])])
    for folder in models:
        (folder / "results.json").unlink()
    (tmp_path / "copy.csv").write_bytes((tmp_path / "new.csv").read_bytes())
    for titles in (str(tmp_path / "copy.csv"), str(titles_csv)):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            update.main(["--model_dir", str(models[2]), "--titles", titles, "--output_dir", str(tmp_path / "u3")])
        assert stopped.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: {titles} is counted in {models[2]} already: a second time would count its titles twice; name the "
            "file of new titles"
        )


def test_a_kill_leaves_no_mixture_of_two_models(finished, tmp_path, monkeypatch):
    def killed(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", killed)  # the new centres are written, the words are not
    with pytest.raises(KeyboardInterrupt):
        load_model(finished).save(finished)
    with pytest.raises(UserError, match="is no topic model"):
        load_model(finished)


def test_an_update_in_place_is_refused(finished, tmp_path, capsys):
    with pytest.raises(SystemExit):
        update.main(["--model_dir", str(finished), "--titles", "t.csv", "--output_dir", str(finished)])
    assert "would count its titles twice" in capsys.readouterr().err
