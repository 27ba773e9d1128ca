"""Rows a second and peak memory of contrastive training beside FlagEmbedding and sentence-transformers, same loss.

python benchmarks/retriever_train.py --data FOLDER [--shape small|base] [--queries 8] [--group 15] [--bf16] …

FOLDER holds `*/train_flagembedding.jsonl`. All arms take the same groups (a row's own negatives, then other rows'), the
same weights without dropout, AdamW, temperature 0.01, 512 tokens; a step is tokenising, collation, forward, backward,
update. Each arm and round is a process of its own, rounds interleaved; the first-step losses have to agree to 1e-4
(fp32). sentence-transformers runs its default collation, FlagEmbedding its own collator and model, both by scaled dot
product attention. Memory is the GPU's, where
there is one. An arm that ends with an error (not installed; more than --memory_gib) is recorded with it. Writes
benchmarks/results/retriever_train.json, one entry a setting.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import random_model

from finbert2 import files, packing, runtime

RESULTS = Path(__file__).parent / "results" / "retriever_train.json"
ARMS = ("ours", "ours_gradcache", "sentence_transformers", "sentence_transformers_cached", "flag_embedding")
TEMPERATURE, LENGTH = 0.01, 512


def groups_of(data: str, queries: int, group: int) -> Iterator[list[Any]]:
    """Yield batches of groups, the same for every arm."""
    from finbert2.retriever.batches import Batches, Groups
    from finbert2.retriever.data import read_training_rows

    rows, _ = read_training_rows(sorted(Path(data).glob("*/train_flagembedding.jsonl")))
    groups = Groups(rows, group, "为这个句子生成表示以用于检索相关文章：", seed=0)
    for batch in Batches(groups, queries):
        yield [groups[place] for place in batch]


def step_of(arm: str, model: Any, options: argparse.Namespace) -> Callable[[list[Any]], Any]:
    """Return the function from a batch of groups to its loss, tokenising included.

    With bf16 the model's forward runs in autocast and returns fp32, as accelerate has it: GradCache calls it once more
    in the backward pass, outside any context around the step.
    """
    from accelerate.utils import convert_outputs_to_fp32, send_to_device
    from sentence_transformers.sentence_transformer import losses

    from finbert2.retriever.collate import Collator
    from finbert2.retriever.loss import Contrastive, Objective

    if arm == "flag_embedding":
        return flag_embedding(model, options.bf16)
    if arm.startswith("ours"):
        packing.pack(model)
    model.forward = convert_outputs_to_fp32(runtime.autocast(options.bf16)(model.forward))
    if arm.startswith("ours"):
        collate = Collator(model.tokenizer, LENGTH, LENGTH)
        ours = Contrastive(model, Objective(TEMPERATURE), options.tokens if arm == "ours_gradcache" else 0)
        return lambda groups: ours(*unpacked(send_to_device(collate(groups), model.device)))
    cached = arm.endswith("cached")
    peer = losses.CachedMultipleNegativesRankingLoss if cached else losses.MultipleNegativesRankingLoss
    theirs = peer(model, scale=1 / TEMPERATURE, **({"mini_batch_size": options.texts} if cached else {}))

    def loss(groups: list[Any]) -> Any:
        columns = [
            [group.query for group in groups],
            *map(list, zip(*(group.passages for group in groups), strict=True)),
        ]
        return theirs(send_to_device([model.preprocess(column) for column in columns], model.device), None)

    return loss


def unpacked(batch: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    """Return a collated batch as the trainer hands it to the loss."""
    columns = ("query", "positive", "negative")
    keys = ("input_ids", "position_ids", "cu_seq_lens_q")
    return [{key: batch[f"{column}_{key}"] for key in keys} for column in columns], batch["label"]


def flag_embedding(model: Any, bf16: bool) -> Callable[[list[Any]], Any]:
    """Return FlagEmbedding's loss through its collator."""
    # Its package imports decoder rerankers, which ask transformers for a module that 5.24 no longer has.
    names = ("", "_prepare_4d_attention_mask", "_prepare_4d_causal_attention_mask")
    stub = types.ModuleType("transformers.modeling_attn_mask_utils")
    for name in ("AttentionMaskConverter", *names[1:], f"{names[2]}_for_sdpa"):
        setattr(stub, name, lambda *_, **__: None)
    sys.modules.setdefault(stub.__name__, stub)
    from accelerate.utils import convert_outputs_to_fp32, send_to_device
    from FlagEmbedding.abc.finetune.embedder.AbsDataset import AbsEmbedderCollator
    from FlagEmbedding.finetune.embedder.encoder_only.base.modeling import BiEncoderOnlyEmbedderModel

    peer = BiEncoderOnlyEmbedderModel(
        model[0].auto_model, model.tokenizer, temperature=TEMPERATURE, sentence_pooling_method="cls",
        normalize_embeddings=True,
    ).train()  # fmt: skip
    peer.forward = convert_outputs_to_fp32(runtime.autocast(bf16)(peer.forward))
    collate = AbsEmbedderCollator(
        tokenizer=model.tokenizer, query_max_len=LENGTH, passage_max_len=LENGTH, pad_to_multiple_of=8, padding=True
    )

    def loss(groups: list[Any]) -> Any:
        rows = [(group.query, list(group.passages), None) for group in groups]
        batch = send_to_device(collate(rows), model.device)
        return peer(queries=batch["queries"], passages=batch["passages"]).loss

    return loss


def work(options: argparse.Namespace) -> None:
    """Time the steps of one arm and print them as JSON."""
    import torch

    from finbert2 import encoder

    if options.memory_gib:  # an error instead of the kernel ending whatever is largest
        resource.setrlimit(resource.RLIMIT_AS, (options.memory_gib << 30,) * 2)
    model = encoder.load_sentence_transformer(options.model).float().train()
    step = step_of(options.arm, model, options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    found: dict[str, Any] = {"seconds": [], "cpu_seconds": []}
    for _, groups in zip(
        range(options.warmup + options.steps), groups_of(options.data, options.queries, options.group), strict=False
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = step(groups)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.setdefault("first_loss", loss.item())
        found["seconds"].append(time.perf_counter() - wall)
        found["cpu_seconds"].append(time.process_time() - cpu)
    timed = {name: found[name][options.warmup :] for name in ("seconds", "cpu_seconds")}
    peak = runtime.peak_device_memory_gib() or runtime.peak_memory_gib()
    print(json.dumps(found | timed | {"peak_memory_gib": peak}))


def measure(options: argparse.Namespace, folder: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return each arm's medians over interleaved rounds, and why the arms that are missing could not run."""
    parts: dict[str, list[dict[str, Any]]] = {}
    left_out: dict[str, str] = {}
    for _ in range(options.rounds):
        for arm in [one for one in options.arms if one not in left_out]:
            command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm, "--model", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                killed = f"killed by signal {-done.returncode}"  # says nothing itself; a bar of progress may stand last
                left_out[arm] = killed if done.returncode < 0 else done.stderr.strip().splitlines()[-1]
                print(f"{arm} left out: {left_out[arm]}")
                continue
            parts.setdefault(arm, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(arm, parts[arm][-1])
    return {arm: summary(found, options.queries) for arm, found in parts.items()}, left_out


def summary(found: list[dict[str, Any]], queries: int) -> dict[str, float]:
    """Return one arm's medians over all timed steps of its rounds."""
    pooled = {name: [value for one in found for value in one[name]] for name in ("seconds", "cpu_seconds")}
    return {
        "rows_per_second": queries / statistics.median(pooled["seconds"]),
        "rows_per_cpu_second": queries / statistics.median(pooled["cpu_seconds"]),
        "steps_timed": len(pooled["seconds"]),
        "peak_memory_gib": max(one["peak_memory_gib"] for one in found),
        "first_loss": found[0]["first_loss"],
    }


def main() -> None:
    """Measure one setting and put it into the results file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--shape", choices=("small", "base"), default="small")
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--group", type=int, default=15)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--tokens", type=int, default=4096, help="a forward pass of our GradCache")
    parser.add_argument("--texts", type=int, default=32, help="a forward pass of sentence-transformers' GradCache")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory_gib", type=int, default=0, help="address space an arm may take (0: all)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--arm")
    parser.add_argument("--model")
    options = parser.parse_args()
    if options.arm:
        work(options)
        return
    from transformers import BertModel

    texts = [
        text
        for _, batch in zip(range(20), groups_of(options.data, 64, 15), strict=False)
        for g in batch
        for text in g.passages
    ]
    with tempfile.TemporaryDirectory() as folder:
        random_model.make(
            BertModel, Path(folder), options.shape, texts, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        arms, left_out = measure(options, folder)
    losses = [one["first_loss"] for one in arms.values()]
    if not options.bf16 and max(losses) - min(losses) > 1e-4:
        sys.exit(f"the arms do not compute the same loss: {losses}")
    ours = (arms.get("ours") or arms["ours_gradcache"])["rows_per_second"]
    ratios = {arm: ours / one["rows_per_second"] for arm, one in arms.items() if not arm.startswith("ours")}
    keys = ("shape", "queries", "group", "tokens", "texts", "warmup", "steps", "rounds", "memory_gib")
    setting = {key: getattr(options, key) for key in keys} | {"precision": "bf16" if options.bf16 else "fp32"}
    entry = {**setting, "arms": arms, "left_out": left_out, "ours_over": ratios}
    entry |= {"machine": runtime.machine(), "versions": runtime.versions()}
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    same = {key: value for key, value in setting.items() if key not in keys[3:]}
    card = entry["machine"]["accelerator"]
    kept = [one for one in earlier if not (same.items() <= one.items() and one["machine"]["accelerator"] == card)]
    files.write_json(RESULTS, [*kept, entry])
    print(json.dumps({"ours_over": ratios}, indent=2))


if __name__ == "__main__":
    main()
