"""Put the tables into docs/reproduction.md and docs/reproduction_zh.md: python benchmarks/reproduction_page.py.

Between `<!-- name … -->` and `<!-- end -->` of these pages the tables of benchmarks/results/name.json are written anew.
The experiments are steps of `run_all.py`; a results file that is not there is said, in place of its table.
"""

import json
import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from performance_page import table, where

from finbert2 import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Row = tuple[str, ...]
PAGES = (ROOT / "docs" / "reproduction.md", ROOT / "docs" / "reproduction_zh.md")
PLACE = re.compile(r"(<!-- (?!end)([\w ]+) -->).*?(<!-- end -->)", re.S)
HEAD = ("stage", "paper", "original's code", "ours", "command", "commit", "why they differ")


def read(name: str) -> Any:
    """Return a results file, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def spread(value: dict[str, Any] | list[float]) -> str:
    """Return mean and standard deviation."""
    mean, sd = (value["mean"], value["sd"]) if isinstance(value, dict) else value
    return f"{mean:.3f}" + (f" ± {sd:.3f}" if sd is not None else "")


def pretraining(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Every task from each start, the means over classification; TF-IDF beside the seed that the dev part chose."""
    tasks = found["tasks"]
    starts = list(next(iter(tasks.values()))["starts"])
    rows = [
        (name, *(spread(one["starts"][start]) for start in starts),
         *((f"{one['tfidf']:.3f}", difference(one["best_seed_minus_tfidf"])) if "tfidf" in one else ("–", "–")),
         *(difference(one["minus"][start]) for start in starts[1:]))
        for name, one in tasks.items()
    ]  # fmt: skip
    classified = [one for one in tasks.values() if "tfidf" in one]

    def mean(value: Callable[[dict[str, Any]], float], form: str) -> str:
        return format(fmean(map(value, classified)), form)

    rows.append((
        f"**mean of {len(classified)}**",
        *(mean(lambda one, s=start: one["starts"][s]["mean"], ".3f") for start in starts),
        mean(lambda one: one["tfidf"], ".3f"), mean(lambda one: one["best_seed_minus_tfidf"]["difference"], "+.3f"),
        *(mean(lambda one, s=start: one["minus"][s]["difference"], "+.3f") for start in starts[1:]),
    ))  # fmt: skip
    beside = (f"{before} − {start} (p)" for before, start in pairwise(starts))
    head = ("task", *starts, "TF-IDF + LR", "chosen seed − TF-IDF (p)", *beside)
    return tuple(name.replace("_", " ") for name in head), rows


def difference(one: dict[str, Any]) -> str:
    """Return a difference and its p."""
    if one["p"] is None:
        return f"{one['difference']:+.3f}"
    return f"{one['difference']:+.3f} ({'< 0.001' if one['p'] < 0.001 else format(one['p'], '.3f')})"


def words(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """A model from scratch with each tokenizer, for the same CPU time."""
    rows = [
        (name, f"{one['steps']:,}", f"{one['tokens_seen']:,}", f"{one['valid_loss_per_char']:.3f}",
         f"{one['task_macro_f1']:.3f}")
        for name, one in found["arms"].items()
    ]  # fmt: skip
    return ("tokenizer", "steps", "tokens seen", "held-out loss per character", f"macro-F1 {found['task']}"), rows


def retrievers(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Recipes, set by set; the hybrid beside BM25 by the paired randomisation test of the seed where it says least."""
    rows = [
        (name, arm.replace("_", " "), *(spread(one["mean_sd"][kind]) for kind in ("dense", "bm25", "hybrid")),
         difference({
             "difference": one["mean_sd"]["hybrid"][0] - one["mean_sd"]["bm25"][0],
             "p": max(seed["hybrid_against_bm25_p"] for seed in one["seeds"]),
         }))
        for name, arms in found["sets"].items() for arm, one in arms.items()
    ]  # fmt: skip
    return ("set", "recipe", "nDCG@10 dense", "BM25", "hybrid", "hybrid − BM25 (largest p)"), rows


def topics(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Topic models on the same vectors."""
    names = ("coverage", "ami", "npmi", "topic_diversity")
    rows = [
        (name, f"{row['n_topics']['mean']:.0f}", *(spread(row[key]) for key in names))
        for name, row in found["rows"].items()
    ]
    return ("contender", "topics", "coverage", "AMI", "NPMI", "diversity"), rows


TABLES: dict[str, Callable[[Any], tuple[Row, list[Row]]]] = {
    "labeler_tasks": pretraining, "labeler_tasks_of_1000_rows": pretraining, "domain_words_pretraining": words,
    "retriever_quality": retrievers,
    "retriever_quality_without_event_qa": retrievers, "retriever_quality_without_news_headline": retrievers,
    "retriever_quality_without_report_abstract": retrievers, "topics_quality": topics,
}  # fmt: skip


def experiment(name: str) -> str:
    """Return the table of an experiment, and where it was run."""
    if name == "side_by_side":
        return table(HEAD, side_by_side())
    found = read(name)
    if found is None:
        return f"`benchmarks/results/{name}.json`: not run here (未运行)."
    return f"{table(*TABLES[name](found))}\n\n`benchmarks/results/{name}.json`; {where(found)}."


def commit(name: str) -> str:
    """Return the commit that recorded a results file."""
    path = f"benchmarks/results/{name}.json"
    found = subprocess.run(["git", "log", "-1", "--format=%h", "--", path], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "–"


def side_by_side() -> list[Row]:
    """Return stage, number of the paper, of the original's code, ours, the command, its commit, and why they differ."""
    quick = read("quickstart_real_data")["stages"]
    labels, encoder = quick["labeler"]["tasks"], read("domain_pretraining")["financial"]
    command, at = "`sh quickstart.sh DATA`", commit("quickstart_real_data")
    return [
        ("tokenizer", "34,932 entries; no ablation published", "34,932 (released files)",
         f"{quick['tokenizer']['vocabulary']:,}; {quick['tokenizer']['tokens_per_char_base']} → "
         f"{quick['tokenizer']['tokens_per_char']} tokens per character", command, at, "fewer words at a small scale"),
        ("pretraining", "32 G tokens; loss not published", "a demo on 20 sentences",
         f"{encoder['tokens_seen'] / 1e6:.0f} M tokens by {encoder['layers']} × {encoder['width']} in "
         f"{encoder['seconds']:.0f} s, held-out loss per character {encoder['valid_loss_per_char']:.2f}",
         "`benchmarks/domain_pretraining.py`", commit("domain_pretraining"),
         f"one {encoder['machine']['accelerator']}, minutes; a small corpus"),
        ("labeler", "+0.4–3.3 % over BERTs, +9.7–12.3 % over LLMs; per task not published",
         "SC_2 accuracy 0.46 after 10 steps (its only recorded line)",
         f"mean accuracy {fmean(one['accuracy'] for one in labels.values()):.3f} over {len(labels)} tasks, majority "
         f"{fmean(one['majority_accuracy'] for one in labels.values()):.3f}", command, at,
         "other tasks, other size; the original's best score was chosen on test"),
        ("retriever", "+6.8 % over BGE-base-zh, +4.2 % over text-embedding-3-large; per task not published",
         "calls a module that no longer exists", retrieval(read("retriever_quality")["sets"]),
         "`benchmarks/retriever_quality.py`", commit("retriever_quality"),
         "an encoder pretrained for minutes and tuned for half an epoch does not reach BM25 alone, and helps it"),
        ("topics", "“superior”; no number published", "a notebook without outputs",
         f"AMI with the industry {quick['topics']['ami']:.3f}, coverage {quick['topics']['coverage']:.2f}", command, at,
         "titles of reports, 88 industries"),
    ]  # fmt: skip


def retrieval(sets: dict[str, Any]) -> str:
    """Return the means over the sets of the untuned encoder, the best recipe, BM25 and the best recipe's hybrid."""

    def over(arm: str, kind: str) -> float:
        return fmean(arms[arm]["mean_sd"][kind][0] for arms in sets.values())

    best = max(next(iter(sets.values())), key=lambda arm: over(arm, "hybrid"))
    return (
        f"mean nDCG@10 untuned {over('untuned', 'dense'):.3f}, {best.replace('_', ' ')} {over(best, 'dense'):.3f}, "
        f"BM25 {over(best, 'bm25'):.3f}, hybrid {over(best, 'hybrid'):.3f}"
    )


def main() -> None:
    """Fill the places of both pages."""
    for path in PAGES:
        text = PLACE.sub(
            lambda found: (
                f"{found[1]}\n" + "\n\n".join(experiment(name) for name in found[2].split()) + f"\n{found[3]}"
            ),
            path.read_text(encoding="utf-8"),
        )
        files.write_text(path, text)


if __name__ == "__main__":
    main()
