"""Fused ONNX graphs: the same numbers as torch, with and without padding."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from finbert2 import onnx_graph
from finbert2.encoder import padded_batches
from finbert2.errors import UserError


@pytest.fixture(scope="module")
def exported(tiny_bert, tmp_path_factory):
    """The tiny BERT in torch, and its graph in fp32 and int8, before and after its attention was fused."""
    torch, onnx = pytest.importorskip("torch"), pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from transformers import AutoModel

    from finbert2.retriever.onnx_export import wrapped

    model = AutoModel.from_pretrained(tiny_bert, attn_implementation="eager", add_pooling_layer=False)
    module, paths = wrapped(model), [tmp_path_factory.mktemp("onnx") / name for name in ("fp32.onnx", "int8.onnx")]
    ids = torch.tensor([[2, 9, 8, 3], [2, 7, 3, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": torch.zeros_like(ids)}
    onnx_graph.write(module, model.config, inputs, "last_hidden_state", 128, onnx_graph.ALL, paths[0])
    onnx_graph.quantise(*paths)
    kinds = [{node.op_type for node in onnx.load(path).graph.node} for path in paths]
    fused = [onnx_graph.fuse_attention(path, model.config.num_attention_heads) for path in paths]
    return module, paths, kinds, fused


def test_a_graph_gets_its_name_only_when_whole(tmp_path, monkeypatch):
    """A kill while it is fused leaves the graphs of before, and nothing beside them."""

    def fuse(path, heads):
        if heads == 0:
            raise KeyboardInterrupt
        path.write_text(f"{path.read_text()}, {heads} heads")

    monkeypatch.setattr(onnx_graph, "write", lambda *parts: parts[-1].write_text("fp32"))
    monkeypatch.setattr(onnx_graph, "quantise", lambda path, output: output.write_text("int8"))
    monkeypatch.setattr(onnx_graph, "fuse_attention", fuse)

    def export(heads, int8=True):
        config, names = SimpleNamespace(num_attention_heads=heads), ["a.onnx", "b.onnx"]
        return onnx_graph.export(None, config, {}, "logits", 128, 1, tmp_path / "onnx", names, int8)

    assert export(2) == [tmp_path / "onnx" / "a.onnx", tmp_path / "onnx" / "b.onnx"]
    with pytest.raises(KeyboardInterrupt):
        export(0)
    found = {path.name: path.read_text() for path in (tmp_path / "onnx").iterdir()}
    assert found == {"a.onnx": "fp32, 2 heads", "b.onnx": "int8, 2 heads"}
    assert export(4, int8=False) == [tmp_path / "onnx" / "a.onnx"]  # and no int8 graph of the weights of before
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["a.onnx"]


@pytest.mark.slow
def test_every_layers_attention_becomes_one_node_in_two_forms(exported):
    onnx = pytest.importorskip("onnx")
    _, paths, kinds, fused = exported
    assert fused == [2, 2] and all("Softmax" in one and "If" not in one for one in kinds)
    for path in paths:
        graph = onnx.load(path).graph
        kinds_left = {node.op_type for node in graph.node}
        assert {"LayerNormalization", "Gelu"} <= kinds_left
        assert not {"Softmax", "Transpose", "SkipLayerNormalization", "BiasGelu"} & kinds_left
        branches = [attribute.g.node for node in graph.node if node.op_type == "If" for attribute in node.attribute]
        assert [[node.op_type for node in branch] for branch in branches] == [["MultiHeadAttention"]] * 4
        assert sorted(len(branch[0].input) for branch in branches) == [3, 3, 5, 5]
        assert onnx_graph.fuse_attention(path, 2) == 0  # nothing is left to do, and nothing is done


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [128, 2, 77]])
def test_both_forms_answer_as_torch_does(exported, lengths):
    import torch

    module, paths, _, _ = exported
    chance = np.random.default_rng(0)
    mask = np.array([[1] * one + [0] * (max(lengths) - one) for one in lengths])
    ids = chance.integers(5, 60, mask.shape) * mask
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    with torch.inference_mode():
        expected = module(**{name: torch.from_numpy(value) for name, value in feed.items()}).numpy()
    for path, tolerance in zip(paths, (1e-5, 0.1), strict=True):
        found = onnx_graph.session(path, 1).run(["last_hidden_state"], feed)[0]
        assert np.abs(found - expected)[mask == 1].max() < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("mask", [[[1, 1, 1, 1, 1, 1]], [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]])
def test_the_last_layer_is_computed_for_the_tokens_that_are_wanted(exported, mask):
    _, paths, _, _ = exported
    ids = np.random.default_rng(0).integers(5, 60, np.shape(mask)) * mask
    feed = {"input_ids": ids, "attention_mask": np.array(mask), "token_type_ids": np.zeros_like(ids)}
    for path in paths:
        session = onnx_graph.session(path, 1)
        assert [one.name for one in session.get_inputs()] == list(feed)
        (full,) = session.run(None, feed)
        assert full.shape[:2] == ids.shape
        for wanted in (1, 3):
            (found,) = session.run(None, feed | {onnx_graph.WANTED: np.array([wanted])})
            assert found.shape[:2] == (len(ids), wanted)
            # int8 takes its scale from all the states there are: fewer of them, a slightly different scale
            assert np.allclose(found, full[:, :wanted], atol=1e-5 if path == paths[0] else 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layers"), [("Bert", 1), ("Bert", 2), ("Roberta", 2)])
def test_a_classifiers_last_layer_is_computed_for_its_first_token(tmp_path, kind, layers):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=100, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        initializer_range=0.3, pad_token_id=0, max_position_embeddings=130, attn_implementation="eager",
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    ids = torch.tensor([[5, 9, 8, 3, 7, 6], [5, 7, 3, 0, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    path = tmp_path / "model.onnx"
    onnx_graph.write(model, config, inputs, "logits", 128, 1, path)
    assert onnx_graph.fuse_attention(path, 2) == layers
    session = onnx_graph.session(path, 1)
    (optional,) = session.get_overridable_initializers()
    assert optional.name == onnx_graph.WANTED  # it is there, so the layer was found
    (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.inference_mode():
        assert np.allclose(found, model(**inputs).logits.numpy(), atol=1e-5)


def test_batches_for_a_graph_that_is_faster_without_a_mask():
    # 300 slots are enough: the next length begins a batch; the short ones, in one batch, are padded.
    assert list(padded_batches([300, 300, 299, 20, 19, 18], 8192, unmasked=True)) == [[0, 1], [2], [3, 4, 5]]
    assert list(padded_batches([130, 130, 129], 8192, unmasked=True)) == [[0, 1], [2]]
    assert list(padded_batches([300, 300, 300], 600, unmasked=True)) == [[0, 1], [2]]


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name != "onnx" else object())
    with pytest.raises(UserError) as raised:
        onnx_graph.need()
    assert str(raised.value) == "ONNX needs onnxscript, onnxruntime, not installed here: pip install 'finbert2[onnx]'"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DistilBert", "Electra", "ModernBert", "DebertaV2"])
def test_encoders_of_other_kinds_are_exported(kind, tiny_bert, tmp_path):
    """They take no `add_pooling_layer`, two of them no types: it ended in a traceback."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("onnxscript")
    from finbert2.retriever import check, onnx_export

    names = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} if kind == "DistilBert" else {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64
    }  # fmt: skip
    transformers.set_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), initializer_range=0.3, pad_token_id=tokenizer.pad_token_id, **names
    )
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (file,) = onnx_export.export(tmp_path, quantise=False)
    assert check.least_cosine(check.by_onnx(file, tmp_path), check.own_vectors(tmp_path)) > 0.9999


def test_a_decoder_is_not_exported(tmp_path):
    """Its second mask would be lost where attention becomes one node."""
    config = SimpleNamespace(model_type="bert", is_decoder=True)
    with pytest.raises(UserError, match="a bert decoder looks back only: ONNX graphs are written of encoders"):
        onnx_graph.export(None, config, {}, "logits", 128, 1, tmp_path, ["a.onnx", "b.onnx"], False)
