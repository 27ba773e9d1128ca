"""What the pages promise: docs/performance.md is what its command writes, and the READMEs' NPROC is read."""

import argparse
import importlib
import json
import random
import re
import subprocess
from pathlib import Path

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


def test_a_record_measured_again_has_no_commit_yet(benchmark, monkeypatch, tmp_path):
    """`make study` writes records and then the page: the commit of the record before is not theirs."""
    page = benchmark("reproduction_page")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    record = tmp_path / "benchmarks" / "results" / "seen.json"
    record.parent.mkdir(parents=True)
    assert page.commit("seen") == "–"
    record.write_text("1")
    for words in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm m"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    assert re.fullmatch("[0-9a-f]{7,}", page.commit("seen"))
    record.write_text("2")
    assert page.commit("seen") == page.commit("new") == "–"


def test_the_encoders_peer_may_use_bf16_too(benchmark):
    """In fp32 ours stands beside the peer's fp32, in bf16 and int8 beside the fastest of the peer's arms."""
    rates = {"sentence_transformers_8": 2.0, "sentence_transformers_32": 1.0, "sentence_transformers_bf16_32": 4.0}
    ours = {"ours_fp32": 3.0, "ours_onnx_fp32": 2.0, "ours_bf16": 8.0, "ours_onnx_int8": 2.0}
    found = benchmark("retriever_encode").over_peer(rates | ours)
    assert found == {"ours_fp32": 1.5, "ours_onnx_fp32": 1.0, "ours_bf16": 2.0, "ours_onnx_int8": 0.5}


@pytest.mark.slow
def test_the_trainers_labels_come_back_in_the_texts_order(benchmark, tmp_path, monkeypatch):
    """Grouped by length it answers in the order of the groups; the model is drawn so that texts get many labels."""
    import torch

    from finbert2 import runtime

    monkeypatch.setattr(runtime, "has_bf16", lambda: False)  # labels of a drawn model turn with the last bits
    gpu, chance = benchmark("labeler_inference_gpu"), random.Random(0)
    texts = ["".join(chance.choices("一二三四五六七八九十", k=chance.randint(2, 60))) for _ in range(200)]
    labeler = benchmark("random_model").labeler(tmp_path, "tiny", texts, 8, 64)
    with torch.no_grad():
        for weights in labeler.model.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.6)
    labeler.save(tmp_path)
    expected = gpu.original(labeler, texts)
    assert len(set(expected)) > 2
    assert gpu.trainer_predict(labeler, str(tmp_path))(texts) == expected


def test_a_record_of_tasks_goes_on_with_other_seeds_only(benchmark, tmp_path):
    """Tasks at another rate, or by another encoder, would stand in one table as if they were made alike."""
    script, path = benchmark("labeler_tasks"), tmp_path / "record.json"
    there = {"settings": {"seeds": 3, "learning_rate": 1e-4}, "encoders": {"a": {}}, "tasks": {"x": {}}}
    script.files.write_json(path, there)

    def after(settings=None, encoders=None):
        now = there | {"settings": there["settings"] | (settings or {}), "encoders": encoders or {"a": {}}, "tasks": {}}
        return script.earlier(path, now)["tasks"]

    assert after() == after({"seeds": 5}) == {"x": {}}
    assert after({"learning_rate": 2e-4}) == after({"flags": ["--fgm", "1"]}) == after(None, {"b": {}}) == {}


def test_what_retromae_probe_keeps_is_of_one_work_folder(benchmark, tmp_path):
    """Encoders of another corpus or budget are not found by the next run."""
    for name in "ab":
        steps = benchmark("run_all").steps(tmp_path, tmp_path / name, "", "")
        assert str(tmp_path / name / "retromae_probe") in steps["retromae_probe"]


def test_a_run_that_is_stopped_leaves_the_machine_of_the_numbers(benchmark, monkeypatch, tmp_path):
    """labeler_inference wrote its machine beside the speeds of an earlier one before it had any of its own."""
    script, record = benchmark("labeler_inference"), tmp_path / "results" / "labeler_inference.json"
    script.files.write_json(record, {"speed": {"texts": 1}, "machine": "theirs", "versions": "theirs"})
    before = record.read_text(encoding="utf-8")
    monkeypatch.setattr(script, "__file__", str(tmp_path / "labeler_inference.py"))
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "missing")])
    with pytest.raises(script.data.UserError):
        script.main()
    assert record.read_text(encoding="utf-8") == before
    monkeypatch.setattr(script, "speed", lambda *_: iter([{"texts": 2}]))
    monkeypatch.setattr(script, "operators", lambda *_: {})
    script.main()
    assert json.loads(record.read_text(encoding="utf-8"))["machine"] != "theirs"


@pytest.mark.parametrize(
    ("code", "stderr", "reason"),
    [(1, "a\nOSError: b\n", "OSError: b"), (-9, "Loading: 100%", "killed by signal 9"), (-9, "", "killed by signal 9")],
)
def test_an_arm_of_retriever_train_that_was_killed_is_left_out(benchmark, monkeypatch, code, stderr, reason):
    """The kernel kills what takes too much memory; the arms that ran stay."""
    script = benchmark("retriever_train")
    done = subprocess.CompletedProcess([], code, "", stderr)
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: done)
    options = argparse.Namespace(rounds=2, arms=["ours"], queries=1)
    assert script.measure(options, "folder") == ({}, {"ours": reason})


def test_long_texts_may_be_measured_with_one_seed(benchmark, monkeypatch, tmp_path):
    """A run of one seed has no table of seeds."""
    script, task = benchmark("labeler_long_texts"), tmp_path / "task"
    script.files.write_text(task / "test.csv", "text,label\n公司,0\n")

    def train(flags):
        output = Path(flags[flags.index("--output_dir") + 1])
        script.files.write_json(output / "results.json", {"test": {"macro_f1": 0.5}})

    monkeypatch.setattr(script.train, "main", train)
    monkeypatch.setattr(script, "__file__", str(tmp_path / "x.py"))
    monkeypatch.setattr("sys.argv", ["x", str(task), "encoder", "--work_dir", str(tmp_path / "work"), "--seeds", "1"])
    script.main()
    found = json.loads((tmp_path / "results" / "labeler_long_texts.json").read_text(encoding="utf-8"))
    assert found["policies"]["head"]["macro_f1"] == {"mean": 0.5, "sd": None, "values": [0.5]}


def test_a_gpus_texts_are_by_the_clock(benchmark):
    """CPU-seconds would be those of waiting for it."""
    arm = {"texts_per_second": 9.0, "texts_per_cpu_second": 2.0, "least_cosine": 1.0}
    entry = {"data": "d", "model": "m", "passages": 5, "rounds": 1, "arms": {"sentence_transformers_8": arm}}
    entry["over_sentence_transformers"] = {}
    for name, shown in ((None, "2.0"), ("H100", "9.0")):
        section = benchmark("performance_sections").encoding([entry | {"machine": {"accelerator": name}}])
        assert section.rows[0][3] == shown and section.rows[0][0].endswith(name or "m")


@pytest.mark.slow
def test_the_vector_stores_sizes_keep_apart_on_one_server(benchmark, monkeypatch, tmp_path):
    """Each has a collection of its own, and none stays."""
    store, uri = benchmark("vector_store"), str(tmp_path / "server.db")
    monkeypatch.setattr(store, "RESULTS", tmp_path / "found.json")
    monkeypatch.setattr("sys.argv", ["x", "--uri", uri, "--sizes", "20", "30", "--queries", "1", "--width", "4"])
    store.main()
    assert [one["size"] for one in json.loads(store.RESULTS.read_text(encoding="utf-8"))["sizes"]] == [20, 30]
    assert store.milvus.connect(uri, must_exist=True).list_collections() == []


@pytest.mark.slow
def test_both_arms_of_labeler_train_take_the_same_batches(benchmark, monkeypatch, tmp_path):
    """In fp32 the script stops where the first losses differ."""
    script, folder = benchmark("labeler_train"), tmp_path / "classification" / "mood"
    folder.mkdir(parents=True)
    rows = [f"{'好坏'[n % 2]}公司{'涨跌' * (n % 7)},{n % 2}" for n in range(40)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "found.json")
    flags = "--task mood --fp32 --batch 4 --warmup 1 --steps 1 --rounds 1 --max_seq_length 32"
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path), *flags.split()])
    script.main()
    assert script.RESULTS.exists()


def test_a_peers_cluster_is_followed_to_its_first_document(benchmark):
    """text-dedup's tree is not flat: 3 hangs on 2, which hangs on 0."""
    peer = benchmark("corpus_peer")
    assert [peer.root({2: 0, 3: 2, 0: 0}, number) for number in range(4)] == [0, 1, 0, 0]


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
