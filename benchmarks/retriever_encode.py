"""Texts a second of encoding beside SentenceTransformer.encode.

python benchmarks/retriever_encode.py --model FOLDER --data FOLDER [--passages 2000] [--evaluate]

--data is a BEIR folder whose first --passages passages are encoded; FOLDER a model folder of `retriever train`, whose
ONNX files are made where it has none. sentence-transformers runs in fp32 and, where the processor has it, in bf16, at
each of its batch sizes: ours in fp32 is held against its best in fp32, the others against its best of all. With
--random_base a BERT-base of random weights with FOLDER's tokenizer is timed instead: it costs what a trained one does.
With --evaluate nDCG@10 of every arm on --split is measured too. Arms are interleaved over --rounds. Writes
benchmarks/results/retriever_encode.json, one entry a model, number of passages and GPU; ratios are of CPU-seconds, on a
GPU of the clock's.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import encoder, files, runtime
from finbert2.retriever import benchmark, metrics, onnx_export, ranking
from finbert2.retriever.check import least_cosine
from finbert2.retriever.onnx_export import FP32, INT8, OnnxEncoder

RESULTS = Path(__file__).parent / "results" / "retriever_encode.json"


def arms(folder: str, batch_sizes: list[int]) -> dict[str, Callable[[list[str]], np.ndarray]]:
    """Return the ways to encode."""
    from sentence_transformers import SentenceTransformer

    peers = {"sentence_transformers": SentenceTransformer(folder).float()}
    if runtime.has_bf16():
        peers["sentence_transformers_bf16"] = SentenceTransformer(folder).bfloat16()
    ours = encoder.load_sentence_transformer(folder).float()
    found: dict[str, Callable[[list[str]], np.ndarray]] = {
        f"{name}_{size}": lambda texts, peer=peer, size=size: peer.encode(texts, batch_size=size)
        for name, peer in peers.items()
        for size in batch_sizes
    }
    found["ours_fp32"] = lambda texts: encoder.encode(ours, texts, bf16=False)
    if runtime.has_bf16():
        found["ours_bf16"] = lambda texts: encoder.encode(ours, texts, bf16=True)
    for name, file in (("ours_onnx_fp32", FP32), ("ours_onnx_int8", INT8)):
        if (Path(folder) / file).exists():
            onnx = OnnxEncoder(Path(folder) / file, threads=len(os.sched_getaffinity(0)))
            found[name] = onnx.encode
    return found


def random_base(source: str, folder: str) -> None:
    """Write a BERT-base of random weights with a model folder's tokenizer, read by its CLS vector."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer)), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    encoder.load_sentence_transformer(folder).save(folder)


def main() -> None:
    """Measure the model asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--random_base", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.random_base:
            random_base(options.model, temporary)
        measure(temporary if options.random_base else options.model, options)


def measure(folder: str, options: argparse.Namespace) -> None:
    """Time every arm on one model folder, compare vectors, write down."""
    full = benchmark.load(options.data, options.split)
    if not (Path(folder) / INT8).exists():
        onnx_export.export(folder)
    texts = list(full.passages.values())[: options.passages]
    ways = arms(folder, options.batch_sizes)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    vectors: dict[str, np.ndarray] = {}
    for way in ways.values():
        way(texts[:64])
    for _ in range(options.rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            vectors[name] = way(texts)
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    reference = vectors[f"sentence_transformers_{options.batch_sizes[0]}"]
    table: dict[str, Any] = {}
    for name, found in seconds.items():
        table[name] = {
            "texts_per_second": len(texts) / statistics.median(wall for wall, _ in found),
            "texts_per_cpu_second": len(texts) / statistics.median(cpu for _, cpu in found),
            "least_cosine": least_cosine(vectors[name], reference),
        }
        if options.evaluate:
            table[name]["ndcg@10"] = ndcg(ways[name], full, folder)
    card = runtime.machine()["accelerator"]
    ratios = over_peer(
        {name: one["texts_per_second" if card else "texts_per_cpu_second"] for name, one in table.items()}
    )
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    name = "random weights" if options.random_base else Path(options.model).name
    shape = f"{config['num_hidden_layers']} × {config['hidden_size']}"
    setting = {"model": f"{name}, {shape}", "data": Path(options.data).name, "passages": len(texts)}
    entry = {**setting, "rounds": options.rounds, "arms": table, "over_sentence_transformers": ratios}
    entry |= {"machine": runtime.machine(), "versions": runtime.versions()}
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    kept = [one for one in earlier if not (setting.items() <= one.items() and one["machine"]["accelerator"] == card)]
    files.write_json(RESULTS, [*kept, entry])
    print(json.dumps({"arms": table, "over_sentence_transformers": ratios}, indent=2))


def over_peer(rates: dict[str, float]) -> dict[str, float]:
    """Return how many times as fast ours is: in fp32 as the peer's best in fp32, else as its best of all."""
    peers = {name: rate for name, rate in rates.items() if name.startswith("sentence")}
    best, in_fp32 = max(peers.values()), max(rate for name, rate in peers.items() if "bf16" not in name)
    ours = {name: rate for name, rate in rates.items() if name.startswith("ours")}
    return {name: rate / (in_fp32 if name.endswith("fp32") else best) for name, rate in ours.items()}


def ndcg(way: Callable[[list[str]], np.ndarray], full: benchmark.Benchmark, folder: str) -> float:
    """Return nDCG@10 of one way over the whole benchmark."""
    prompt = encoder.query_prompt(encoder.load_sentence_transformer(folder))
    queries = way([prompt + text for text in full.queries.values()])
    passages = way(list(full.passages.values()))
    run = ranking.rank(full.queries, ranking.products(queries, passages), list(full.passages), 100)
    return metrics.measure(run, full.judgements)["ndcg@10"]


if __name__ == "__main__":
    main()
