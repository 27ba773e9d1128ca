import json

from finbert2 import files
from finbert2.corpus import pipeline
from tests.corpus.test_prepare import prepared, prose, write


def test_sources_beyond_the_most_are_counted_together():
    sources = pipeline.Sources(2)
    assert [sources.counted(name) for name in "abcad"] == ["a", "b", "…", "a", "…"]


def test_an_address_for_each_document_makes_no_counter_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "SOURCES_IN_A_TASK", 3)
    path = write(tmp_path / "a.jsonl", [])
    rows = [{"text": prose(seed), "source": f"https://example.com/{seed}"} for seed in range(9)] + [{"text": "短"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    results = prepared(path, tmp_path / "o")
    kept = {source: row["kept"] for source, row in results["by_source"].items()}
    assert sum(kept.values()) == results["documents_out"] == 9 and results["dropped"] == {"too_short": 1}
    assert len(kept) == 7 and kept["…"] == 3  # two tasks of three names each


def test_all_tasks_together_count_a_bounded_number_of_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "SOURCES_IN_ALL", 2)
    for rank, names in enumerate(("ab", "bc", "d")):
        stats = {f"{what}\t{name}": 1 for name in names for what in ("read", "train")} | {"skipped\tnot_utf8": 1}
        files.write_json(tmp_path / "logs" / "clean" / "stats" / f"{rank}.json", [{"stats": stats}])
    assert pipeline.totals(tmp_path) == {
        ("read", "a"): 1, ("read", "b"): 2, ("read", "…"): 2, ("train", "a"): 1, ("train", "b"): 2, ("train", "…"): 2,
        ("skipped", "not_utf8"): 3,
    }  # fmt: skip
