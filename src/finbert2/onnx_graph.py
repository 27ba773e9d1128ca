"""Encoders as ONNX graphs for ONNX Runtime's CPU kernels: fused, and without a mask where nothing is padded.

`torch.onnx` writes a BERT's attention as a dozen nodes a layer. Here they become one, and that in two forms: ONNX
Runtime goes through the keys block by block, as FlashAttention does, only where there is no mask, so a batch without
padding takes that form. The inputs stay what every loader expects; a padded batch takes the other form.
"""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finbert2.errors import UserError

OPSET = 18
UNPADDED = "nothing_is_padded"  # the graph's name for: the mask holds no zero
WANTED = "tokens_wanted"  # an input that has a value already, so loaders that do not know of it need not feed it
ALL = 2**63 - 1


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


def export(
    model: Any, config: Any, inputs: dict[str, Any], output: str, longest: int, wanted: int, folder: Path,
    names: Sequence[str], int8: bool,
) -> list[Path]:  # fmt: skip
    """Write a module's graph into `folder`, in fp32 and with `int8` quantised, by these two `names`; return the files.

    They get their names only when whole. Without `int8` one of an earlier export goes: it is of other weights. What the
    others say is said at `write`.
    """
    if getattr(config, "is_decoder", False):  # its attention has a second mask, which the fused one has not
        raise UserError(f"a {config.model_type} decoder looks back only: ONNX graphs are written of encoders")
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as part:
        written = [Path(part) / name for name in names[: 1 + int8]]
        write(model, config, inputs, output, longest, wanted, written[0])
        if int8:
            quantise(*written)
        for path in written:
            fuse_attention(path, config.num_attention_heads)
        if not int8:
            (folder / names[1]).unlink(missing_ok=True)
        return [path.replace(folder / path.name) for path in written]


def write(model: Any, config: Any, inputs: dict[str, Any], output: str, longest: int, wanted: int, path: Path) -> None:
    """Write a module's graph in fp32 to `path`, weights inside the file.

    `model` takes `inputs` by name, each (texts, tokens), one of them `attention_mask`; texts and tokens, up to
    `longest`, are left open. Its attention has to be the eager one: sdpa would be taken apart with a check for NaN in
    every layer. The last layer is computed for the first `wanted` tokens of each text, `ALL` or as many as the session
    is fed as `WANTED` (1,), int64.
    """
    import torch

    shape = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=longest)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of operators of packages that nobody uses here
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                model, kwargs=inputs, f=str(path), input_names=list(inputs), output_names=[output],
                dynamic_shapes=dict.fromkeys(inputs, shape), opset_version=OPSET, dynamo=True, external_data=False,
                verbose=False,
            )  # fmt: skip
        except torch.onnx.OnnxExporterError:  # its message is pages long
            raise UserError(
                f"a {config.model_type} cannot be written as an ONNX graph by torch {torch.__version__}: use the "
                "folder itself, by --engine torch"
            ) from None
    if config.model_type == "bert":
        fuse(path, config)
    narrow_last_layer(path, wanted)


def fuse(path: Path, config: Any) -> None:
    """Rewrite a BERT's graph with ONNX Runtime's kernels for GELU and layer norm, which it does not find itself.

    Sum and layer norm stay two nodes: on a CPU the kernel that does both takes twice their time. The bias before GELU
    stays apart too: int8 products add it themselves, which the kernel for bias and GELU would prevent.
    """
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    fusions = FusionOptions("bert")
    fusions.enable_skip_layer_norm = fusions.enable_bias_skip_layer_norm = fusions.enable_bias_gelu = False
    graph = optimizer.optimize_model(
        str(path), "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=0,
        optimization_options=fusions,
    )  # fmt: skip
    graph.save_model_to_file(str(path))


def narrow_last_layer(path: Path, wanted: int) -> None:
    """Let queries of the last layer, and what follows it, come from the first tokens only; keys and values from all.

    To be called before `quantise`. A graph whose last layer is none that `attention` knows stays as it is.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(path))
    graph = model.graph
    producer, readers = links(graph)
    last = [node for node in graph.node if node.op_type == "Softmax"][-1:]
    found = attention(last[0], producer, readers) if last else None
    if found is None:
        return
    products = [before(name, producer, "Add", "MatMul") for name in found[0]]
    states = {chain[-1].input[0] for chain in products if chain}
    if len(states) != 1 or not all(products):
        return
    (hidden,) = states
    answering = [chain[-1].output[0] for chain in products[1:]]  # keys and values
    for node in readers[hidden]:
        if node.output[0] not in answering:
            node.input[:] = ["asking" if name == hidden else name for name in node.input]
    place = next(number for number, node in enumerate(graph.node) if hidden in node.output)
    graph.node.insert(place + 1, helper.make_node("Slice", [hidden, "first", WANTED, "along_tokens"], ["asking"]))
    for name, value in (("first", 0), (WANTED, wanted), ("along_tokens", 1)):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    graph.input.append(helper.make_tensor_value_info(WANTED, TensorProto.INT64, [1]))
    del graph.value_info[:]
    onnx.save(model, str(path))


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
    producer, readers = links(graph)
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


def links(graph: Any) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the node that makes each tensor, and the nodes that read it."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return {name: node for node in graph.node for name in node.output}, readers


def before(name: str, producer: dict[str, Any], *kinds: str) -> list[Any]:
    """Return the chain of nodes of these kinds, each the maker of the next one's first input; [] if it is another."""
    chain: list[Any] = []
    for kind in kinds:
        node = producer.get(chain[-1].input[0] if chain else name)
        if node is None or node.op_type != kind:
            return []
        chain.append(node)
    return chain


def attention(softmax: Any, producer: dict[str, Any], readers: dict[str, list[Any]]) -> tuple[list[str], str] | None:
    """Return queries, keys and values (texts, tokens, width) and the result's name of the attention around a softmax.

    None where the nodes are not those of an eager attention.
    """
    scores = before(softmax.input[0], producer, "Add", "Mul", "MatMul")
    after, follow = [], softmax
    for kind in ("MatMul", "Transpose", "Reshape"):
        follow = next((node for node in readers.get(follow.output[0], []) if node.op_type == kind), None)
        if follow is None:
            return None
        after.append(follow)
    if not scores:
        return None
    sides = [before(name, producer, "Transpose", "Reshape") for name in (*scores[-1].input, after[0].input[1])]
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
