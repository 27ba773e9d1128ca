"""Labelling texts of SC_2's lengths with a BERT-base: python benchmarks/labeler_inference.py DATA [--texts 1000].

Side by side, in one process and interleaved: the original's way (batches of 32 in file order, padded, two forwards
each, fp32), transformers' pipeline at the best of three batch sizes in fp32 and, where the processor has it, in bf16,
ours in torch (bf16 where the processor has it), in torch in fp32, in ONNX int8. Seconds are CPU seconds of all threads.
Weights are random: they cost what trained ones do. Where the time goes is told by torch's profiler (--rounds 0 for that
alone). Whether int8 answers as fp32 does is asked of a trained model, where one is named: --trained FOLDER --test_data
FILE (--rounds 0 --operators 0 for that alone). Writes benchmarks/results/labeler_inference.json.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import random_model
import torch
from transformers import pipeline

from finbert2 import files, runtime
from finbert2.labeler import data, export
from finbert2.labeler.model import Labeler, Prediction

LENGTH, BATCH = 512, 32
PIPELINE_BATCHES = (1, 4, 16)


def sc2_texts(folder: Path, count: int) -> list[str]:
    """Return `count` of SC_2's texts in file order, spread evenly over its lengths; if they are too few, over again."""
    texts = [e.text for part in ("train", "dev", "test") for e in data.read_examples(folder / f"{part}.csv")]
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    wanted = Counter(by_length[int(place)] for place in np.linspace(0, len(texts) - 1, count))
    turns = range(max(wanted.values()))
    return [text for turn in turns for place, text in enumerate(texts) if wanted[place] > turn]


def base_labeler(texts: list[str], folder: Path) -> Labeler:
    """Return a two-class BERT-base with random weights and a character vocabulary, saved in the folder."""
    return random_model.labeler(folder, "base", texts, 2, LENGTH)


def original(labeler: Labeler, texts: list[str]) -> list[str]:
    """Return the labels as the original's sequence_inference.py finds them: logits, then hidden states, a pass each."""
    labels = []
    for start in range(0, len(texts), BATCH):
        batch = labeler.tokenizer(
            texts[start : start + BATCH], padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
        ).to(labeler.model.device)
        with torch.no_grad():
            labels += labeler.model(**batch).logits.softmax(-1).argmax(-1).tolist()
            hidden = labeler.model(**batch, output_hidden_states=True).hidden_states[-1]
        assert len(hidden) == len(batch["input_ids"])
    return [labeler.labels[label] for label in labels]


def in_fp32(labeler: Labeler, texts: list[str]) -> list[Prediction]:
    """Return the predictions of a processor without bf16."""
    with mock.patch.object(runtime, "has_bf16", return_value=False):
        return labeler.predict(texts)


def seconds(call: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Return the CPU seconds of a call and what it returned."""
    started = time.process_time()
    found = call()
    return time.process_time() - started, found


def pipeline_of(labeler: Labeler, dtype: torch.dtype) -> Callable[[list[str], int], list[str]]:
    """Return transformers' pipeline of the labeler's model in a precision: texts and batch size to labels."""
    model = copy.deepcopy(labeler.model).to(dtype)
    classify = pipeline("text-classification", model=model, tokenizer=labeler.tokenizer, device="cpu")
    return lambda texts, size: [
        row["label"] for row in classify(texts, batch_size=size, truncation=True, max_length=LENGTH)
    ]


def best_batch(classify: Callable[[list[str], int], list[str]], texts: list[str]) -> int:
    """Return the batch size at which the pipeline is fastest on a sample."""
    pilot = {size: seconds(lambda size=size: classify(texts, size))[0] for size in PIPELINE_BATCHES}
    return min(pilot, key=lambda size: pilot[size])


def speed(folder: Path, count: int, rounds: int) -> Iterator[dict]:
    """Yield, after each round, the medians of each way so far and the ratios between them."""
    texts = sc2_texts(folder, count)
    with tempfile.TemporaryDirectory() as temporary:
        labeler = base_labeler(texts, Path(temporary))
        export.main(["--model_name_or_path", temporary])
        int8 = Labeler.from_pretrained(temporary, "onnx-int8")
        peers = {"pipeline": pipeline_of(labeler, torch.float32)}
        if runtime.has_bf16():
            peers["pipeline_bf16"] = pipeline_of(labeler, torch.bfloat16)
        sizes = {name: best_batch(classify, texts[:: max(1, len(texts) // 8)]) for name, classify in peers.items()}
        ways: dict[str, Callable[[], list[str]]] = {
            "original": lambda: original(labeler, texts),
            **{name: lambda peer=peer, name=name: peer(texts, sizes[name]) for name, peer in peers.items()},
            "ours_torch": lambda: [p.label for p in labeler.predict(texts)],
            "ours_torch_fp32": lambda: [p.label for p in in_fp32(labeler, texts)],
            "ours_onnx_int8": lambda: [p.label for p in int8.predict(texts)],
        }
        runs: dict[str, list[float]] = {name: [] for name in ways}
        labels = {}
        for number in range(rounds):
            for name, way in ways.items():
                spent, labels[name] = seconds(way)
                runs[name].append(round(spent, 2))
                print(f"round {number + 1} {name}: {spent:.1f} CPU s", flush=True)
            yield summary(texts, sizes, runs, labels)


def summary(
    texts: list[str], sizes: dict[str, int], runs: dict[str, list[float]], labels: dict[str, list[str]]
) -> dict:
    """Return the medians of each way, the ratios between them, and how many labels equal the original's."""
    medians = {name: statistics.median(values) for name, values in runs.items()}
    same = {name: sum(a == b for a, b in zip(found, labels["original"], strict=True)) for name, found in labels.items()}
    lengths = [len(text) for text in texts]
    return {
        "texts": len(texts), "median_characters": statistics.median(lengths), "longest": max(lengths),
        "threads": torch.get_num_threads(), "pipeline_batches": sizes, "cpu_seconds": runs,
        "median_cpu_seconds": medians, "labels_equal_to_the_originals": same,
        "times": {
            peer: {name: round(medians[peer] / value, 2) for name, value in medians.items()}
            for peer in ("original", *sizes)
        },
    }  # fmt: skip


def operators(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Return the share of the time that each of torch's operators takes itself, of ours and of `pipeline` text by text.

    Both in the precision of this processor, after a first call; shares below a hundredth are left out.
    """
    texts = sc2_texts(folder, count)
    with tempfile.TemporaryDirectory() as temporary:
        labeler = base_labeler(texts, Path(temporary))
    piped = pipeline_of(labeler, torch.bfloat16 if runtime.has_bf16() else torch.float32)
    found = {}
    for name, call in (("ours", lambda: labeler.predict(texts)), ("pipeline", lambda: piped(texts, 1))):
        call()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            call()
        spent = {one.key: one.self_cpu_time_total for one in profile.key_averages()}
        shares = {key: value / sum(spent.values()) for key, value in spent.items()}
        found[name] = {
            key.removeprefix("aten::"): round(share, 3)
            for key, share in sorted(shares.items(), key=lambda one: -one[1]) if share >= 0.01
        }  # fmt: skip
    return found


def agreement(trained: str, path: str) -> dict:
    """Return how often the engines of a trained model agree on a test file, and what each scores."""
    export.main(["--model_name_or_path", trained, "--texts", path])
    rows = data.read_examples(path, data.label_names(path))
    scores = {}
    for engine in ("torch", "onnx", "onnx-int8"):
        labeler = Labeler.from_pretrained(trained, engine)
        spent, labels = seconds(lambda labeler=labeler: [p.label for p in labeler.predict([r.text for r in rows])])
        right = np.mean([label == row.label for label, row in zip(labels, rows, strict=True)])
        scores[engine] = {"accuracy": float(right), "cpu_seconds": round(spent, 2)}
    compared = json.loads((Path(trained) / "onnx" / "results.json").read_text(encoding="utf-8"))
    config = Labeler.from_pretrained(trained).model.config
    shape = f"{config.num_hidden_layers} × {config.hidden_size}"
    return {"rows": len(rows), "shape": shape, "engines": compared["engines"], "scores": scores}


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with classification/sc2_sentiment")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--operators", type=int, default=48, help="texts that are profiled")
    parser.add_argument("--trained", help="a trained labeler's folder")
    parser.add_argument("--test_data", help="the file it is compared on")
    options = parser.parse_args()
    path = Path(__file__).parent / "results" / "labeler_inference.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    here = {"machine": runtime.machine(), "versions": runtime.versions()}
    if options.trained:
        results["agreement"] = agreement(options.trained, options.test_data) | here
        files.write_json(path, results)
    folder = options.data / "classification" / "sc2_sentiment"
    if options.operators:
        counts = {"texts": options.operators, "threads": torch.get_num_threads()}
        results["operators"] = counts | operators(folder, options.operators) | here
        files.write_json(path, results)
    for found in speed(folder, options.texts, options.rounds) if options.rounds else ():
        results |= {"speed": found, **here}  # the machine is that of the speeds: those of an earlier one keep theirs
        files.write_json(path, results)
    shown = ("speed", "operators", "agreement")
    print(json.dumps({name: results.get(name) for name in shown}, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
