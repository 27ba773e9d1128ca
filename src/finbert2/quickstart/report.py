"""From the steps' results to `results.json`, a table for the terminal and one page for a browser."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finbert2 import files, pages, plots
from finbert2.quickstart import plan
from finbert2.quickstart.inventory import Inventory

Results = dict[str, Any]


def load(folder: Path, name: str = "results.json") -> Results:
    """Return a step's results."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def collect(output: Path, found: Inventory, seconds: dict[str, float]) -> Results:
    """Return `stages` of the quickstart's results, each stage with its seconds."""
    stages: Results = {
        "corpus": corpus(output), "tokenizer": tokenizer(output),
        "mlm": pretraining(output / "mlm"), "retromae": pretraining(output / "retromae"),
    }  # fmt: skip
    if found.classification:
        stages["labeler"] = {"tasks": {
            name: label_task(output / "labeler" / name) | rows_found(folder, "csv")
            for name, folder in found.classification.items()
        }}  # fmt: skip
    if found.ner:
        stages["ner"] = {"tasks": {
            name: ner_task(output / "ner" / name) | rows_found(folder, "txt") for name, folder in found.ner.items()
        }}  # fmt: skip
    if found.retrieval:
        stages["retriever"] = retriever(output / "retriever", found)
    if found.titles:
        stages["topics"] = topics(output) | {"n_found": sum(1 for _ in files.read_rows(found.titles))}
    for stage, values in stages.items():
        values["seconds"] = round(sum(s for name, s in seconds.items() if name.split("/")[0] == stage), 1)
    return {
        "stages": stages,
        "absent": found.absent,
        "encoder_from": "the sample corpus" if not found.corpus else "corpus",
    }


def corpus(output: Path) -> Results:
    """Return the corpus stage's numbers."""
    results = load(output / "corpus")
    return {name: results[name] for name in ("documents_in", "documents_out", "dropped", "documents_found", "sampled")}


def tokenizer(output: Path) -> Results:
    """Return the tokenizer stage's numbers on held-out text."""
    learnt, table = load(output / "tokenizer"), load(output / "tokenizer" / "evaluate")["tokenizers"]
    base, ours = list(table.values())[:2]
    return {
        "words": learnt["words"], "vocabulary": learnt["extended"]["vocabulary"],
        "tokens_per_char_base": per_character(base, "tokens_per_char"),
        "tokens_per_char": per_character(ours, "tokens_per_char"), "unk_rate": per_character(ours, "unk_rate"),
    }  # fmt: skip


def per_character(texts: dict[str, Results], name: str) -> float:
    """Return what a tokenizer makes of all held-out files together, from what it makes of each."""
    return sum(one[name] * one["characters"] for one in texts.values()) / sum(
        one["characters"] for one in texts.values()
    )


def pretraining(folder: Path) -> Results:
    """Return a pretraining run's losses and speed."""
    results = load(folder)
    kept = (
        "loss_first", "loss_last", "valid_loss_per_char", "steps", "tokens_seen", "tokens_per_second", "packing_fill",
    )  # fmt: skip
    before = results["valid_before"]["loss_per_char"]
    return {n: results[n] for n in kept} | {"valid_loss_per_char_before": before} | {
        "masked_accuracy": results["valid"]["masked_accuracy"]
    }  # fmt: skip


def label_task(folder: Path) -> Results:
    """Return a classification task's scores beside its baselines'."""
    results = load(folder)
    return {
        "accuracy": results["test"]["accuracy"], "macro_f1": results["test"]["macro_f1"],
        "majority_accuracy": results["majority"]["accuracy"], "majority_macro_f1": results["majority"]["macro_f1"],
        "tfidf_macro_f1": results["tfidf"]["macro_f1"], "classes": len(results["labels"]),
        "n_train": results["n_train"], "n_test": results["n_test"],
    }  # fmt: skip


def ner_task(folder: Path) -> Results:
    """Return a tagger's scores."""
    results = load(folder)
    scores = {name: results["test"][name] for name in ("precision", "recall", "f1")}
    return scores | {"n_train": results["n_train"], "n_test": results["n_test"]}


def rows_found(folder: Path, suffix: str) -> dict[str, int]:
    """Return how many rows a task's files have, of which a run may take a sample."""
    return {f"n_{part}_found": plan.count_rows(folder / f"{part}.{suffix}", suffix) for part in ("train", "test")}


def retriever(folder: Path, found: Inventory) -> Results:
    """Return each set's nDCG@10 (trained, untrained, BM25, hybrid), the training's losses, its rows of those found."""
    sets = {name: retrieval_set(folder / "evaluate" / name) for name, one in found.retrieval.items() if one.folder}
    trained_on = (folder / "model" / "results.json").exists()
    training = load(folder / "model") if trained_on else {}
    kept = {name: training[name] for name in ("loss_first", "loss_last", "n_rows") if name in training}
    return {"sets": sets} | kept | {"n_rows_found": sum(len(one.rows) for one in found.retrieval.values())}


def retrieval_set(folder: Path) -> Results:
    """Return a set's nDCG@10; without rows to train on there is one model, the untrained."""
    results = load(folder)
    *trained, untrained = [model["ndcg@10"] for model in results["models"].values()]
    return {
        "ndcg_at_10": trained[0] if trained else None, "untrained_ndcg_at_10": untrained,
        "bm25_ndcg_at_10": results["bm25"]["ndcg@10"],
        "hybrid_ndcg_at_10": next(iter(results["hybrid"].values()))["ndcg@10"],
        "n_queries": results["n_queries"], "n_passages": results["n_passages"], "sampled": results["sampled"],
    }  # fmt: skip


def topics(output: Path) -> Results:
    """Return the topics' quality."""
    results = load(output / "topics")
    kept = ("n_titles", "n_topics", "coverage", "ami", "topic_diversity", "npmi")
    return {name: results.get(name) for name in kept}


def table(results: Results) -> str:
    """Return the main numbers as lines of text for the terminal."""
    rows = [("stage", "result", "for comparison", "seconds")]
    for name, stage in results["stages"].items():
        lines = headline(name, stage) or [("done", "")]  # rows to train on alone have nothing to be measured by
        rows += [(name, result, beside, "") for result, beside in lines]
        rows[-1] = (*rows[-1][:3], f"{stage['seconds']:.0f}")
    rows.append(("whole", "", "after pretraining, two steps at a time", f"{results['seconds']:.0f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)


def of_step(name: str, output: Path) -> str:
    """Return what the table will say of a step that has ended; nothing for one that is not in the table."""
    match name.split("/"):
        case ["corpus"]:
            stage = corpus(output)
        case ["tokenizer", "evaluate"]:
            stage = tokenizer(output)
        case ["mlm" | "retromae"]:
            stage = pretraining(output / name)
        case ["labeler", task]:
            stage = {"tasks": {task: label_task(output / name)}}
        case ["ner", task]:
            stage = {"tasks": {task: ner_task(output / name)}}
        case ["retriever", "evaluate", one]:
            stage = {"sets": {one: retrieval_set(output / name)}}
        case ["topics"]:
            stage = topics(output)
        case _:
            return ""
    ((result, beside),) = headline(name.split("/")[0], stage)
    result = result.removeprefix(f"{name.split('/')[-1]}: ")
    return f"{result}; {beside}" if beside else result


def headline(name: str, stage: Results) -> list[tuple[str, str]]:
    """Return a stage's (result, what stands beside it), one pair a task or set."""
    if name == "corpus":
        return [
            (f"{stage['documents_out']:,} of {stage['documents_in']:,} documents kept", dropped_text(stage["dropped"]))
        ]
    if name == "tokenizer":
        base = f"without domain words {stage['tokens_per_char_base']:.3f}"
        return [(f"{stage['tokens_per_char']:.3f} tokens per character", base)]
    if name in ("mlm", "retromae"):
        held_out = (
            f"held out, per character: {stage['valid_loss_per_char_before']:.2f} -> {stage['valid_loss_per_char']:.2f}"
        )
        return [(f"loss {stage['loss_first']:.2f} -> {stage['loss_last']:.2f}", held_out)]
    if name == "labeler":
        return [
            (
                f"{task}: macro-F1 {v['macro_f1']:.3f}",
                f"TF-IDF {v['tfidf_macro_f1']:.3f}, majority {v['majority_macro_f1']:.3f}",
            )
            for task, v in stage["tasks"].items()
        ]
    if name == "ner":
        return [(f"{task}: F1 {v['f1']:.3f}", f"precision {v['precision']:.3f}, recall {v['recall']:.3f}")
                for task, v in stage["tasks"].items()]  # fmt: skip
    if name == "retriever":
        return [
            (f"{name}: {retrieved(v)}, hybrid {v['hybrid_ndcg_at_10']:.3f}",
             f"BM25 {v['bm25_ndcg_at_10']:.3f}, untrained {v['untrained_ndcg_at_10']:.3f}")
            for name, v in stage["sets"].items()
        ]  # fmt: skip
    ami = "" if stage["ami"] is None else f"AMI with industry {stage['ami']:.3f} (shuffled: 0)"
    return [(f"{stage['n_topics']} topics, coverage {stage['coverage']:.2f}", ami)]


def retrieved(scores: Results) -> str:
    """Return what the trained encoder reaches on a set, or that there was nothing to train it on."""
    return "not trained" if scores["ndcg_at_10"] is None else f"nDCG@10 {scores['ndcg_at_10']:.3f}"


def dropped_text(dropped: dict[str, int]) -> str:
    """Return the reasons for dropping documents with their numbers."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items(), key=lambda item: -item[1]))


@dataclass
class Section:
    """A stage's part of the page."""

    title: str
    text: str
    seconds: float
    command: str
    figures: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    note: str = ""


def page(output: Path, results: Results, folder: str | None) -> str:
    """Return the self-contained report page."""
    from finbert2.quickstart.sections import sections

    return pages.render(
        "finbert2.quickstart", "report.html",
        sections=sections(output, results["stages"]), results=results, data=folder or "样例数据",
        absent=results["absent"], figure=plots.svg,
    )  # fmt: skip
