import json
import shutil

import numpy as np
import pytest

from finbert2 import encoder
from finbert2.retriever import check, evaluate, export, folder, onnx_export, options, train

from .conftest import refused


@pytest.fixture
def model_folder(tiny_encoder, tmp_path):
    """A folder as training leaves it."""
    out = tmp_path / "model"
    model = train.load_model(
        options.RetrieverArguments([""], str(tiny_encoder), query_max_len=128, passage_max_len=128)
    )
    folder.save(model, out, options.INSTRUCTION)
    check.store(model, out)
    return out


def test_every_loader_reads_the_folder_and_mistakes_are_told(model_folder, capsys):
    check.main([str(model_folder)])
    lines = capsys.readouterr().out.splitlines()
    verdicts = {line[25:]: line[:15].strip() for line in lines}
    ours = [verdict for name, verdict in verdicts.items() if name.startswith(("Sentence", "AutoModel"))]
    assert ours == ["right"] * 2
    assert verdicts["a loader without 1_Pooling/config.json: mean of the tokens"] == "would be wrong"
    assert verdicts["a caller who leaves the prompt out"] == "would be wrong"


def test_a_folder_of_mean_vectors_is_read_by_the_mean(train_file, tiny_encoder, tmp_path, capsys):
    """From training to every loader; what was trained to pool by one is not turned to the other in passing."""
    out, again = tmp_path / "mean", tmp_path / "again"
    argv = ["--train_data", train_file, "--model_name_or_path", tiny_encoder, "--sentence_pooling_method", "mean"]
    argv += ["--query_max_len", 48, "--passage_max_len", 48, "--max_steps", 2]
    argv += ["--per_device_train_batch_size", 4, "--train_group_size", 3, "--report_to", "none"]
    train.main([str(word) for word in [*argv, "--output_dir", out]])
    pooling = json.loads((out / "1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] and not pooling["pooling_mode_cls_token"]
    capsys.readouterr()
    check.main([str(out)])
    lines = capsys.readouterr().out.splitlines()
    verdicts = {line[25:]: line[:15].strip() for line in lines}
    assert verdicts["AutoModel, mean of the tokens, normalised, prompt put before queries"] == "right"
    assert verdicts["SentenceTransformer(folder), prompt_name='query' for queries"] == "right"
    assert verdicts["a loader without 1_Pooling/config.json: CLS vector"] == "would be wrong"
    cls = tmp_path / "cls"
    train.main([str(word) for word in [*argv[:4], *argv[6:], "--output_dir", cls]])
    capsys.readouterr()
    assert refused(capsys, train.main, [*argv[:3], cls, *argv[4:], "--output_dir", again]) == (
        f"error: --sentence_pooling_method mean: {cls} was trained to pool by cls, and goes on so; "
        "start from a plain encoder"
    )


def test_a_folder_that_pools_otherwise_fails(model_folder, capsys):
    config = model_folder / "1_Pooling/config.json"
    modes = json.loads(config.read_text())
    config.write_text(json.dumps(modes | {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}))
    with pytest.raises(SystemExit) as stopped:
        check.main(["--folder", str(model_folder)])
    assert stopped.value.code == 1
    assert capsys.readouterr().out.startswith("WRONG")


def test_a_folder_without_stored_vectors(tiny_encoder, capsys):
    assert refused(capsys, check.main, [tiny_encoder]) == (
        f"error: {tiny_encoder} has no check.json: `finbert2 retriever train` writes it beside the model"
    )


@pytest.mark.slow
def test_onnx_files_give_the_folders_vectors(model_folder, beir, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export.main(["--model_name_or_path", str(model_folder)])
    found = json.loads((model_folder / "onnx/results.json").read_text())["least_cosine"]
    assert found["model.onnx"] > 0.99999 and found["model_quantized.onnx"] > 0.9
    texts = ["半导体芯片", "商业银行需求回升订单增长" * 5, "煤炭"]
    opened = encoder.load_sentence_transformer(str(model_folder))
    prompted = [encoder.query_prompt(opened) + text for text in texts]
    ours = encoder.encode(opened, prompted, bf16=False)  # as the file computes, also where the processor has bf16
    assert np.allclose(onnx_export.OnnxEncoder(model_folder / onnx_export.FP32).encode(texts, True), ours, atol=1e-5)
    name = str(model_folder / onnx_export.INT8)
    evaluate.main(
        ["--model_name_or_path", name, str(model_folder), "--data", str(beir), "--output_dir", str(tmp_path / "o")]
    )
    models = json.loads((tmp_path / "o/results.json").read_text())["models"]
    assert abs(models[name]["ndcg@10"] - models[str(model_folder)]["ndcg@10"]) < 0.2
    shutil.rmtree(model_folder / "onnx")


def test_only_a_folder_is_exported_and_only_one_read_by_cls(model_folder, capsys):
    argv = ["--model_name_or_path", "BAAI/bge-small-zh"]
    assert refused(capsys, export.main, argv) == (
        "error: BAAI/bge-small-zh is not a folder: the files go into a model's onnx/; download it and name its folder"
    )
    config = model_folder / "1_Pooling/config.json"
    booleans = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    for written, modes in (
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls", "max"]}, "cls, max"),
        (booleans, "cls, mean"),
        ({"pooling_mode_cls_token": False}, "mean"),
    ):
        config.write_text(json.dumps(written))
        assert refused(capsys, export.main, ["--model_name_or_path", model_folder]) == (
            f"error: {model_folder} pools by {modes}: ONNX files are read by the CLS vector here; use the folder itself"
        )
        assert not (model_folder / "onnx").exists()
    for written in ({"pooling_mode": "cls"}, {"pooling_mode": ["cls"]}, {"pooling_mode_cls_token": True}):
        config.write_text(json.dumps(written))
        onnx_export.check_pooling(model_folder)


def test_a_folder_of_others_is_compared_with_its_own_vectors(model_folder, monkeypatch):
    stored = check.own_vectors(model_folder)
    (model_folder / check.NAME).unlink()
    (model_folder / "onnx").mkdir()
    monkeypatch.setattr(onnx_export, "export", lambda folder, int8: [folder / onnx_export.FP32])
    monkeypatch.setattr(check, "by_onnx", lambda path, folder: stored)
    export.main(["--model_name_or_path", str(model_folder)])
    found = json.loads((model_folder / "onnx/results.json").read_text())["least_cosine"]
    assert found == {"model.onnx": pytest.approx(1, abs=1e-5)}


def test_what_onnx_cannot_read(model_folder, capsys, beir, tmp_path):
    name = model_folder / "onnx/model.onnx"
    argv = ["--model_name_or_path", name, "--data", beir, "--output_dir", tmp_path / "o"]
    assert refused(capsys, evaluate.main, argv) == (
        f"error: {name} does not exist: `finbert2 retriever export` writes it into a model folder"
    )
