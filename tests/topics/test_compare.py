import json

import pytest

from finbert2.topics import compare


@pytest.fixture
def runs(tmp_path):
    """Two seeds of one setting and one run of another."""

    def make(name, seed, weight, ami, sha="a"):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"titles": "t.csv", "output_dir": name, "seed": seed, "lexical_weight": weight, "preset": "reading"}
        results = {"coverage": 0.9, "ami": ami, "n_topics": 10, "data": {"t.csv": {"sha256": sha}}}
        (folder / "args.json").write_text(json.dumps(settings), encoding="utf-8")
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        return str(folder)

    return make("a", 1, 0.5, 0.6), make("b", 2, 0.5, 0.8), make("c", 1, 0.0, 0.5), make("d", 1, 0.5, 0.5, "other")


def test_seeds_are_a_spread_and_settings_a_row(runs, tmp_path, capsys):
    compare.main(["--runs", *runs[:3], "--output_dir", str(tmp_path / "o")])
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    rows = results["rows"]
    assert results["data"] == {"t.csv": {"sha256": "a"}}
    assert [(row["setting"], row["runs"], row["ami"]) for row in rows] == [
        ("lexical_weight 0.5", 2, 0.7),
        ("lexical_weight 0.0", 1, 0.5),
    ]
    assert rows[0]["ami_sd"] == pytest.approx(0.1414) and "npmi" not in rows[0]
    assert "| lexical_weight 0.5 | 2 | 10 (0) | 0.9 (0) | 0.7 (0.14) |" in capsys.readouterr().out
    assert rows[1]["ami_sd"] is None
    table = (tmp_path / "o" / "comparison.csv").read_text(encoding="utf-8-sig").splitlines()
    assert table[1:] == ["lexical_weight 0.5,2,10.0,0.0,0.9,0.0,0.7,0.1414", "lexical_weight 0.0,1,10.0,,0.9,,0.5,"]


def test_a_path_may_be_spelt_in_two_ways(runs, tmp_path):
    path = tmp_path / "b" / "args.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"t.csv"', '"./t.csv"'), encoding="utf-8")
    compare.main(["--runs", *runs[:2], "--output_dir", str(tmp_path / "o")])
    (row,) = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert (row["setting"], row["runs"], row["ami"]) == ("all", 2, 0.7)


@pytest.mark.parametrize(("chosen", "message"), [((0, 3), "has other titles than"), ((0,), "no args.json there")])
def test_runs_that_do_not_compare(runs, chosen, message, tmp_path, capsys):
    folders = [runs[n] for n in chosen] + ([str(tmp_path)] if len(chosen) == 1 else [])
    with pytest.raises(SystemExit):
        compare.main(["--runs", *folders, "--output_dir", str(tmp_path / "o")])
    assert message in capsys.readouterr().err


def test_a_run_of_another_command_is_no_run_of_topics(runs, tmp_path, capsys):
    (tmp_path / "d" / "args.json").write_text('{"corpus": "c.jsonl"}', encoding="utf-8")
    with pytest.raises(SystemExit):
        compare.main(["--runs", runs[0], runs[3], "--output_dir", str(tmp_path / "o")])
    assert capsys.readouterr().err == (
        f"error: {runs[3]} holds a run of another command: name the --output_dir of a `topics run`\n"
    )
