import csv
import json

import numpy as np
import pytest

from finbert2.errors import UserError
from finbert2.topics import run
from finbert2.topics.guide import read_list
from finbert2.topics.model import load_model


def test_a_list_of_names_with_or_without_words(tmp_path):
    path = tmp_path / "topics.txt"
    path.write_text("# 说明\n银行：净息差 拨备\n新能源汽车\n\n", encoding="utf-8")
    assert read_list(path) == (["银行", "新能源汽车"], ["银行 净息差 拨备", "新能源汽车"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n# 说明\n", "lists no topic"), ("银行\n银行: 信贷\n", "line 2 lists the topic '银行' a second")],
)
def test_a_list_that_cannot_be_meant(tmp_path, text, message):
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_list(tmp_path / "t.txt")


def flags(titles_csv, folder, *more):
    base = ["--titles", str(titles_csv), "--output_dir", str(folder), "--lexical_weight", "1", "--map", "false"]
    return [*base, "--bertopic", "false", "--report", "false", "--min_topic_size", "8", *more]


def test_listed_topics_take_their_titles_and_keep_their_names(tmp_path, titles_csv, flat_layout):
    (tmp_path / "list.txt").write_text("银行业务：银行 信贷 净息差\n汽车: 汽车 智能驾驶", encoding="utf-8")
    run.main(flags(titles_csv, tmp_path / "o", "--topic_list", str(tmp_path / "list.txt"), "--topic_similarity", "0.3"))
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert list(results["data"]) == [str(titles_csv), str(tmp_path / "list.txt")]
    model = load_model(tmp_path / "o")
    named = {topic.name: topic.topic for topic in model.topics if topic.name}
    assert set(named) == {"银行业务", "汽车"} and len(model.topics) > 2
    with (tmp_path / "o" / "titles_topics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, industry in (("银行业务", "银行"), ("汽车", "汽车")):
        inside = [row["industry"] for row in rows if int(row["topic"]) == named[name]]
        assert len(inside) > 10 and np.mean([value == industry for value in inside]) > 0.9


def test_a_list_may_take_nearly_every_title(tmp_path, titles_csv, flat_layout):
    (tmp_path / "list.txt").write_text("行业: 银行 医药 汽车 地产", encoding="utf-8")
    more = ["--topic_list", str(tmp_path / "list.txt"), "--topic_similarity", "0.05", "--stability_runs", "1"]
    run.main([*flags(titles_csv, tmp_path / "o", *more), "--min_topic_size", "150"])
    assert [topic.name for topic in load_model(tmp_path / "o").topics] == ["行业"]
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert results["stability_seeds"] == results["stability_orders"] == 1.0


def test_a_listed_topic_without_titles_is_told(tmp_path, titles_csv, flat_layout, capsys):
    (tmp_path / "list.txt").write_text("银行\n海洋生物", encoding="utf-8")
    with pytest.raises(SystemExit):
        run.main(flags(titles_csv, tmp_path / "o", "--topic_list", str(tmp_path / "list.txt")))
    assert (
        "no title belongs to the listed topic '海洋生物' (best cosine 0.00, --topic_similarity 0.5)"
        in capsys.readouterr().err
    )
