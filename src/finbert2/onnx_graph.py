"""Encoders as ONNX graphs for ONNX Runtime's CPU kernels: fused, and without a mask where nothing is padded.

`torch.onnx` writes a BERT's attention as a dozen nodes a layer. Here they become one, and that in two forms: ONNX
Runtime goes through the keys block by block, as FlashAttention does, only where there is no mask, so a batch without
padding takes that form. The inputs stay what every loader expects; a padded batch takes the other form.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

from finbert2.errors import UserError

OPSET = 18
UNPADDED = "nothing_is_padded"  # the graph's name for: the mask holds no zero


def need() -> None:
    """Raise `UserError` where the packages of ONNX are not installed."""
    import importlib.util

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}, not installed here: pip install 'finbert2[onnx]'")


def session(path: Path, threads: int) -> Any:
    """Return ONNX Runtime's session of a file on the CPU."""
    need()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def write(model: Any, config: Any, inputs: dict[str, Any], output: str, longest: int, path: Path) -> None:
    """Write a module's graph in fp32 to `path`, weights inside the file.

    `model` takes `inputs` by name, each (texts, tokens), one of them `attention_mask`; texts and tokens, up to
    `longest`, are left open. Its attention has to be the eager one: sdpa would be taken apart with a check for NaN in
    every layer.
    """
    import torch

    shape = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=longest)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators of packages that nobody uses here
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, kwargs=inputs, f=str(path), input_names=list(inputs), output_names=[output],
            dynamic_shapes=dict.fromkeys(inputs, shape), opset_version=OPSET, dynamo=True, external_data=False,
            verbose=False,
        )  # fmt: skip
    if config.model_type == "bert":
        fuse(path, config)


def fuse(path: Path, config: Any) -> None:
    """Rewrite a BERT's graph with ONNX Runtime's kernels for GELU and layer norm, which it does not find itself."""
    from onnxruntime.transformers import optimizer

    graph = optimizer.optimize_model(
        str(path), "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=0
    )
    graph.save_model_to_file(str(path))


def quantise(path: Path, output: Path) -> None:
    """Write the graph with its matrix products in int8: weights ahead, a scale a channel, activations as they come.

    Weights keep seven of eight bits: without VNNI, AVX2 adds two products in 16 bits, which could overflow.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it advises a step that changes nothing here, by the root logger
    try:
        quantize_dynamic(
            str(path), str(output), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"], extra_options={"DefaultTensorType": 1},
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)


def fuse_attention(path: Path, heads: int) -> int:
    """Make each layer's attention one node, with the mask or without; return how many were found.

    To be called last: the quantiser does not look into the branches.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(path))
    graph = model.graph
    producer = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    replaced: dict[str, Any] = {}
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        found = attention(softmax, producer, readers)
        if found is None:
            continue
        states, result = found
        branches = {}
        for branch, mask in (("then", []), ("else", ["", "mask_int32"])):
            name = f"{result}_{branch}"
            node = helper.make_node(
                "MultiHeadAttention", [*states, *mask], [name], domain="com.microsoft", num_heads=heads
            )
            output = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            branches[f"{branch}_branch"] = helper.make_graph([node], name, [], [output])
        replaced[result] = helper.make_node("If", [UNPADDED], [result], **branches)
    if replaced:
        start = [
            helper.make_node("Cast", ["attention_mask"], ["mask_int32"], to=TensorProto.INT32),
            helper.make_node("ReduceMin", ["mask_int32"], ["mask_minimum"], keepdims=0),
            helper.make_node("Cast", ["mask_minimum"], [UNPADDED], to=TensorProto.BOOL),
        ]
        nodes = [*start, *(replaced.get(node.output[0], node) for node in graph.node)]
        keep_read(graph, nodes)
        if not any(one.domain == "com.microsoft" for one in model.opset_import):
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        onnx.save(model, str(path))
    return len(replaced)


def attention(softmax: Any, producer: dict[str, Any], readers: dict[str, list[Any]]) -> tuple[list[str], str] | None:
    """Return queries, keys and values (texts, tokens, width) and the result's name of the attention around a softmax.

    None where the nodes are not those of an eager attention.
    """

    def before(name: str, *kinds: str) -> list[Any]:
        chain: list[Any] = []
        for kind in kinds:
            node = producer.get(chain[-1].input[0] if chain else name)
            if node is None or node.op_type != kind:
                return []
            chain.append(node)
        return chain

    scores = before(softmax.input[0], "Add", "Mul", "MatMul")
    after, follow = [], softmax
    for kind in ("MatMul", "Transpose", "Reshape"):
        follow = next((node for node in readers.get(follow.output[0], []) if node.op_type == kind), None)
        if follow is None:
            return None
        after.append(follow)
    if not scores:
        return None
    sides = [before(name, "Transpose", "Reshape") for name in (*scores[-1].input, after[0].input[1])]
    if not all(sides):
        return None
    return [reshape.input[0] for _, reshape in sides], after[-1].output[0]


def keep_read(graph: Any, nodes: list[Any]) -> None:
    """Put the nodes whose output is read into the graph, and leave out the weights that none of them reads."""
    while True:
        read = {name.name for name in graph.output}
        for node in nodes:
            read.update(node.input)
            for branch in node.attribute:
                read.update(name for inner in branch.g.node for name in inner.input)
        kept = [node for node in nodes if read.intersection(node.output)]
        if len(kept) == len(nodes):
            break
        nodes = kept
    weights = [weight for weight in graph.initializer if weight.name in read]
    for part, values in ((graph.node, kept), (graph.initializer, weights), (graph.value_info, [])):
        del part[:]
        part.extend(values)
