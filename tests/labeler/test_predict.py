"""Prediction of files: parts, several processes, policies, ONNX."""

import csv
import datetime
import json
import logging
import threading

import numpy as np
import pytest

from finbert2.labeler import export, inputs, predict, train
from finbert2.labeler.parts import Parts

from .conftest import examples, flags, read, refused, run, write_csv


@pytest.fixture(scope="module")
def classifier(tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    for name, count, seed in (("train", 40, 0), ("dev", 12, 1), ("test", 20, 2)):
        write_csv(folder / f"{name}.csv", examples(count, seed))
    run(train.main, *flags(tiny_bert, folder, folder / "o", "csv", "--num_train_epochs", 10, "--baselines", "False"))
    return folder / "o"


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "in.jsonl"
    rows = [{"id": f"n{n}", "text": text[n % 3 :]} for n, (text, _) in enumerate(examples(20, 3))]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def command(classifier, texts, output, *more):
    return ["--model_name_or_path", classifier, "--input", texts, "--output", output, *more]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_killed_prediction_goes_on_and_ends_the_same(classifier, texts, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(inputs, "CHUNK", 4)
    outputs = {name: (tmp_path / f"{name}.{suffix}", tmp_path / f"{name}.npy") for name in "ab"}
    run(predict.main, *command(classifier, texts, outputs["a"][0], "--cls_vectors", outputs["a"][1]))
    original, made = predict.label, []

    def label(labeler, chunk, options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(chunk)
        return original(labeler, chunk, options)

    with monkeypatch.context() as patched:
        patched.setattr(predict, "label", label)
        with pytest.raises(SystemExit) as stopped:
            run(predict.main, *command(classifier, texts, outputs["b"][0], "--cls_vectors", outputs["b"][1]))
    assert stopped.value.code == 130 and not outputs["b"][0].exists()
    assert len(list((tmp_path / f"b.{suffix}.parts").glob("*.rows"))) == 2
    calls = []
    monkeypatch.setattr(predict, "label", lambda *a: calls.append(1) or original(*a))
    run(predict.main, *command(classifier, texts, outputs["b"][0], "--cls_vectors", outputs["b"][1]))
    assert len(calls) == 3 and not (tmp_path / f"b.{suffix}.parts").exists()
    assert outputs["a"][0].read_bytes() == outputs["b"][0].read_bytes() and len(read(outputs["b"][0])) == 20
    assert np.array_equal(np.load(outputs["a"][1]), np.load(outputs["b"][1]))


def test_parquet_says_what_json_lines_say(classifier, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK", 4)
    for suffix in ("jsonl", "parquet"):
        run(predict.main, *command(classifier, texts, tmp_path / f"o.{suffix}"))
    assert read(tmp_path / "o.parquet") == read(tmp_path / "o.jsonl")


def test_parts_of_another_input_are_not_used(classifier, texts, tmp_path, caplog):
    stale = Parts(tmp_path / "o.csv", {"of": "something else"})
    stale.write(0, [{"id": 1, "text": "旧", "label": "旧"}], None)
    run(predict.main, *command(classifier, texts, tmp_path / "o.csv"))
    assert len(read(tmp_path / "o.csv")) == 20
    assert caplog.messages[0] == (
        f"{tmp_path / 'o.csv.parts'} is of another input, model or options: starting anew"
    )  # fmt: skip


def test_two_processes_share_the_parts(tmp_path):
    made_from = {"input": "x"}
    first = Parts(tmp_path / "o.csv", made_from, 0, 2)
    second = Parts(tmp_path / "o.csv", made_from, 1, 2)
    assert [first.is_mine(n) for n in range(4)] == [True, False, True, False]
    assert [second.is_mine(n) for n in range(4)] == [False, True, False, True]
    for number in (0, 2):
        first.write(number, [{"id": number, "text": "a,b"}], np.full((1, 2), number, dtype=np.float32))
    joining = threading.Thread(target=first.join, args=(4, (), tmp_path / "v.npy"))
    joining.start()
    for number in (1, 3):
        second.write(number, [{"id": number, "text": "\n"}], np.full((1, 2), number, dtype=np.float32))
    second.leave()
    joining.join(10)
    assert [row["id"] for row in read(tmp_path / "o.csv")] == ["0", "1", "2", "3"]
    assert np.load(tmp_path / "v.npy").tolist() == [[n, n] for n in range(4)]


def test_a_process_without_parts_that_comes_last_does_not_wait_for_ever(tmp_path):
    """Process 0 was done before it, and took the folder away that it looks for."""
    earlier = Parts(tmp_path / "o.csv", {"input": "x"}, 0, 2)
    earlier.mark(1).touch()  # of a run that was killed while its parts were joined
    first = Parts(tmp_path / "o.csv", {"input": "x"}, 0, 2)
    first.write(0, [{"id": 1, "text": "甲"}], None)
    joining = threading.Thread(target=first.join, args=(1, (), None))
    joining.start()
    joining.join(1)
    assert joining.is_alive() and first.folder.exists()
    Parts(tmp_path / "o.csv", {"input": "x"}, 1, 2).leave()
    joining.join(10)
    assert [path.name for path in tmp_path.iterdir()] == ["o.csv"] and len(read(tmp_path / "o.csv")) == 1


def test_rank_and_world_come_from_the_environment(classifier, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK", 6)
    run(predict.main, *command(classifier, texts, tmp_path / "a.csv"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    threads = []
    main = predict.main.__wrapped__
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        if rank == "0":
            waiting = threading.Thread(
                target=main, args=([str(w) for w in command(classifier, texts, tmp_path / "b.csv")],)
            )
            waiting.start()
            threads.append(waiting)
            while not (tmp_path / "b.csv.parts" / "000002.rows").exists():
                waiting.join(0.1)
        else:
            main([str(w) for w in command(classifier, texts, tmp_path / "b.csv")])
    threads[0].join(30)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_rows_without_text_are_abstained_from_if_asked(classifier, tmp_path, caplog):
    (tmp_path / "in.csv").write_text("id,text\n1,公司\n2,\n3, \n", encoding="utf-8")
    run(
        predict.main, *command(classifier, tmp_path / "in.csv", tmp_path / "o.jsonl"), "--empty_texts", "abstain",
        "--cls_vectors", tmp_path / "v.npy",
    )  # fmt: skip
    rows = read(tmp_path / "o.jsonl")
    assert [row["abstained"] for row in rows] == [False, True, True]
    assert rows[1] == {"id": "2", "text": "", "label": "", "score": 0.0, "probs": {}, "abstained": True}
    assert caplog.messages == ["labeler: 2 rows have no text and were abstained from"]
    assert np.abs(np.load(tmp_path / "v.npy")).sum(1).astype(bool).tolist() == [True, False, False]


def test_parquet(classifier, texts, tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    for name, source in (("a", texts), ("b", tmp_path / "in.parquet")):
        run(predict.main, *command(classifier, source, tmp_path / f"{name}.csv"))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.parquet", "no such thing", "in.parquet is not Parquet (Parquet magic bytes not found in footer."),
        ("none.parquet", None, "none.parquet does not exist"),
        ("in.csv", "text\n\ufeff" + "公", None),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_read(classifier, tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    arguments = command(classifier, tmp_path / name, tmp_path / "o.csv")
    if message is None:
        run(predict.main, *arguments)
    else:
        assert message in refused(capsys, predict.main, *arguments)


def test_a_row_keeps_its_other_columns(classifier, tmp_path, monkeypatch):
    """Also where JSON lines have different ones, in another part; a name with a line break; values of Parquet."""
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(inputs, "CHUNK", 1)
    lines = ['{"text": "公司", "label": "旧", "code": "600519"}', '{"text": "股东", "发布\\n日期": "2024-05-01"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run(predict.main, *command(classifier, tmp_path / "in.jsonl", tmp_path / "o.csv", "--csv_bom", "True"))
    assert (tmp_path / "o.csv").read_bytes().startswith("\ufeffid,text,given_label,code,".encode())
    with (tmp_path / "o.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "given_label", "code", "发布\n日期", "label", "score", "probs", "abstained"]
    assert [(row["given_label"], row["code"], row["发布\n日期"]) for row in rows] == [
        ("旧", "600519", ""), ("", "", "2024-05-01"),
    ]  # fmt: skip
    run(predict.main, *command(classifier, tmp_path / "in.jsonl", tmp_path / "o.jsonl"))
    answer = {"id", "text", "label", "score", "probs", "abstained"}
    assert [set(row) - answer for row in read(tmp_path / "o.jsonl")] == [{"given_label", "code"}, {"发布\n日期"}]
    day = datetime.date(2024, 5, 1)
    table = pyarrow.Table.from_pylist([{"title": "公司", "text": "全文", "id": 7, "day": day}])
    parquet.write_table(table, tmp_path / "in.parquet")
    run(predict.main, *command(classifier, tmp_path / "in.parquet", tmp_path / "p.jsonl", "--text_field", "title"))
    (row,) = read(tmp_path / "p.jsonl")
    assert (row["id"], row["text"], row["given_text"], row["day"]) == (7, "公司", "全文", "2024-05-01")
    assert "title" not in row
    parquet.write_table(pyarrow.Table.from_pylist([{"text": "公司", "id": day}]), tmp_path / "in.parquet")
    assert [row["id"] for row in inputs.read_texts(str(tmp_path / "in.parquet"), "text")] == ["2024-05-01"]


def test_no_column_of_a_row_is_lost_to_another(tmp_path):
    """A file that was labelled twice has `label` and `given_label`: each gets one more `given_`."""
    first = '{"text": "公司", "given_label": "最旧", "label": "旧", "given_by": "甲"}'
    (tmp_path / "in.jsonl").write_text(f'{first}\n{{"text": "股东", "given_label": "旧"}}\n', encoding="utf-8")
    rows = list(inputs.read_texts(str(tmp_path / "in.jsonl"), "text"))
    assert rows == [
        {"id": 1, "text": "公司", "given_given_label": "最旧", "given_label": "旧", "given_by": "甲"},
        {"id": 2, "text": "股东", "given_given_label": "旧"},
    ]


def test_a_mark_for_excel_is_for_csv_alone(classifier, texts, tmp_path, capsys):
    message = refused(capsys, predict.main, *command(classifier, texts, tmp_path / "o.jsonl", "--csv_bom", "True"))
    assert message == f"error: --csv_bom is for Excel, which opens .csv files: --output is {tmp_path / 'o.jsonl'}\n"


def test_an_input_without_rows(classifier, tmp_path):
    from pyarrow import parquet

    (tmp_path / "in.csv").write_text("text\n", encoding="utf-8")
    vectors = tmp_path / "new" / "v.npy"
    run(predict.main, *command(classifier, tmp_path / "in.csv", tmp_path / "o.csv", "--cls_vectors", vectors))
    assert (tmp_path / "o.csv").read_text() == "id,text,label,score,probs,abstained\n"
    assert np.load(vectors).shape == (0, 0)
    run(predict.main, *command(classifier, tmp_path / "in.csv", tmp_path / "o.parquet"))
    assert parquet.read_table(tmp_path / "o.parquet").to_pydict() == {
        name: [] for name in ("id", "text", "label", "score", "probs", "abstained")
    }
    run(predict.main, *command(classifier, tmp_path / "in.csv", tmp_path / "o.jsonl"))
    assert (tmp_path / "o.jsonl").read_text() == ""


def test_a_layer_that_is_not_there(classifier, texts, tmp_path, capsys):
    more = ("--cls_vectors", tmp_path / "v.npy", "--cls_layer", 3)
    message = refused(capsys, predict.main, *command(classifier, texts, tmp_path / "o.csv", *more))
    assert message.splitlines()[-1] == (
        "error: --cls_layer 3: the model has the layers 0 (embeddings) to 2, or -1 (last)"
    )
    assert not (tmp_path / "o.csv.parts").exists()


def test_chunks_are_bounded_by_characters_too(monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK_CHARACTERS", 10)
    rows = [{"text": "甲" * size} for size in (4, 4, 4, 30, 1)]
    assert [[len(row["text"]) for row in chunk] for chunk in inputs.chunks(rows)] == [[4, 4], [4], [30], [1]]


@pytest.fixture
def untraced():
    """torch.export logs every step for its own tools; pytest would format each line."""
    logger = logging.getLogger("torch.__trace")
    logger.propagate = False
    yield
    logger.propagate = True


@pytest.mark.slow
def test_onnx_answers_as_torch_does(classifier, texts, tmp_path, capsys, untraced):
    pytest.importorskip("onnxruntime")
    message = refused(capsys, predict.main, *command(classifier, texts, tmp_path / "o.csv", "--engine", "onnx"))
    assert message.splitlines()[-1] == (
        f"error: {classifier / 'onnx' / 'model.onnx'} does not exist: run  finbert2 labeler export "
        f"--model_name_or_path {classifier}  first"
    )
    run(export.main, "--model_name_or_path", classifier, "--texts", texts)
    found = json.loads((classifier / "onnx" / "results.json").read_text())
    assert list(found["data"]) == [str(texts)]
    found = found["engines"]
    assert found["onnx"]["equal"] == 1.0 and found["onnx"]["largest_gap"] < 1e-2  # bf16 where there is
    assert found["onnx-int8"]["equal"] >= 0.95 and found["onnx-int8"]["bytes"] < found["onnx"]["bytes"]
    for engine in ("torch", "onnx", "onnx-int8"):
        run(predict.main, *command(classifier, texts, tmp_path / f"{engine}.jsonl", "--engine", engine))
    plain, onnx, int8 = (read(tmp_path / f"{engine}.jsonl") for engine in ("torch", "onnx", "onnx-int8"))
    assert [row["label"] for row in plain] == [row["label"] for row in onnx]
    assert len({row["label"] for row in plain}) > 1 and len(int8) == 20
    message = refused(
        capsys, predict.main,
        *command(classifier, texts, tmp_path / "x.csv", "--engine", "onnx", "--cls_vectors", tmp_path / "v.npy"),
    )  # fmt: skip
    assert (
        message.splitlines()[-1] == "error: --cls_vectors needs --engine torch: the exported graph has no hidden states"
    )
