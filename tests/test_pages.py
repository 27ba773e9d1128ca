"""What the pages promise: docs/performance.md is what its command writes, and the READMEs' NPROC is read."""

import importlib
import json
import re

import pytest

from finbert2.quickstart import run
from tests.surface import SCRIPTS, command_of

ROOT = run.ROOT


@pytest.fixture
def benchmark(monkeypatch):
    """Return a module of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def test_the_performance_page_is_what_its_command_writes(benchmark, monkeypatch):
    page, written = benchmark("performance_page"), {}
    monkeypatch.setattr(page.plots, "svg", lambda figure: "")
    monkeypatch.setattr(page.plots, "bars", lambda *bars: None)
    monkeypatch.setattr(page.files, "write_text", lambda path, text: written.update({path: text}))
    page.main()
    text = written[page.PAGE]
    assert text == page.PAGE.read_text(encoding="utf-8"), "run  python benchmarks/performance_page.py"
    assert {path.name for path in written} - {page.PAGE.name} == {path.name for path in page.FIGURES.glob("*.svg")}


def test_the_tables_of_reproduction_are_what_their_command_writes(benchmark):
    """But for the last one's commits, which a clone without history does not know."""
    page = benchmark("reproduction_page")
    for path, language in page.PAGES.items():
        for place in page.PLACE.finditer(path.read_text(encoding="utf-8")):
            if place[2] != "side_by_side":
                assert page.filled(place, language) == place[0], "run  python benchmarks/reproduction_page.py"
                continue
            head, rows = page.side_by_side(language)
            shown = [line.strip("| ").split(" | ") for line in place[0].splitlines()[1:-1]]
            assert [[*row[:5], *row[6:]] for row in shown[2:]] == [[*row[:5], *row[6:]] for row in rows]
            assert shown[0] == list(head)


@pytest.mark.parametrize(
    ("rounds", "shown"), [(1, ["1", "1"]), (3, ["3", "3"]), ({"ours": 2, "transformers": 1}, ["2", "1"])]
)
def test_rounds_stand_beside_each_arm(benchmark, rounds, shown):
    arm = {"rows_per_second": 2.0, "peak_memory_gib": 1.0}
    entry = {
        "shape": "small", "task": "mood", "batch": 32, "precision": "bf16", "machine": {"accelerator": None},
        "rounds": rounds, "ours_over": 1.0, "arms": {"ours": arm, "transformers": arm},
    }  # fmt: skip
    section = benchmark("performance_sections").tuning([entry])
    assert [row[section.head.index("rounds")] for row in section.rows] == shown


def test_rounds_in_words(benchmark):
    sections = benchmark("performance_sections")
    assert (sections.medians(1), sections.medians(5)) == (" One round.", " Medians of 5 rounds.")
    found = json.loads((ROOT / "benchmarks" / "results" / "labeler_inference.json").read_text(encoding="utf-8"))
    assert sections.inference(found).text.endswith(sections.medians(len(found["speed"]["cpu_seconds"]["original"])))


def test_a_peer_that_unites_two_families_loses_one_document_by_it(benchmark):
    """Rows 1 and 2 are of one family, row 0 is another document: dropping 1 is wrong, dropping its copy 2 is right."""
    pairs = benchmark("corpus_near_duplicates").pairs_of_clusters([7, 7, 7, 3, 7], ["a", "b", "b", "c", "a"])
    assert pairs == [(1, 0), (2, 1), (4, 0)]


def test_the_plan_by_hand(benchmark):
    """Two documents' megabytes in 2 + 2 seconds of the steps that the printed command runs; vectors of four bytes."""
    plan = benchmark("plan")
    runs = [{"read": 2.0, "decontaminate": n, "sketch": 2.0} for n in (5.0, 7.0, 9.0)]
    assert plan.corpus_rate({"megabytes": 8.0, "cpu_seconds_of_each_run": runs}) == 2.0
    rows = dict(plan.passages(count=1e9, width=1000))
    assert rows["vectors alone, 1000 numbers in fp32"] == "4,000 GB on disk"
    assert rows["query nodes' memory: the vectors and a graph of 32 links"] == "4,128 GB"


@pytest.mark.parametrize(
    ("name", "promise"),
    [
        ("README.md", "训练脚本与 `predict.sh` 前写 `NPROC=8`"),
        ("README_en.md", "`NPROC=8` before a training script or `predict.sh`"),
    ],
)
def test_nproc_is_promised_where_it_is_read(name, promise):
    """The scripts of training and `predict.sh` are launched, the others are one process; a machine has its number."""
    launched = [path for path in SCRIPTS if re.search(r"^launch ", path.read_text(encoding="utf-8"), re.M)]
    assert {command_of(path)[:2] for path in launched if path.name != "predict.sh"} == {
        ("pretrain", "run"), ("labeler", "train"), ("retriever", "train"),
    }  # fmt: skip
    page = (ROOT / name).read_text(encoding="utf-8")
    assert promise in page
    assert all("NODE_RANK=" in line for line in page.splitlines() if "NNODES=" in line)
