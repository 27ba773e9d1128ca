"""The tables of docs/reproduction.md and docs/reproduction_zh.md: from a results file to a head and rows of text."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from labeler_tasks import paired
from labeler_tasks import spread as mean_and_sd

RESULTS = Path(__file__).parent / "results"
Row = tuple[str, ...]


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
        (seeds(name, one, found), *(spread(one["starts"][start]) for start in starts),
         *(plain(one) if "tfidf" in one else ("–", "–", "–")),
         *(difference(one["minus"][start]) for start in starts[1:]))
        for name, one in tasks.items()
    ]  # fmt: skip
    classified = [one for one in tasks.values() if "tfidf" in one]

    def mean(value: Callable[[dict[str, Any]], float], form: str) -> str:
        return format(fmean(map(value, classified)), form)

    if len(classified) > 1:
        rows.append((
            f"**mean of {len(classified)}**",
            *(mean(lambda one, s=start: one["starts"][s]["mean"], ".3f") for start in starts),
            *(mean(lambda one, n=name: one[n], ".3f") for name in ("majority", "tfidf")),
            mean(lambda one: one["best_seed_minus_tfidf"]["difference"], "+.3f"),
            *(mean(lambda one, s=start: one["minus"][s]["difference"], "+.3f") for start in starts[1:]),
        ))  # fmt: skip
    beside = (f"{before} − {start} (p)" for before, start in pairwise(starts))
    head = ("task", *starts, "majority", "TF-IDF + LR", "chosen seed − TF-IDF (p)", *beside)
    return tuple(name.replace("_", " ") for name in head), rows


def adversarial(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """The tasks with FGM, beside the same encoder's without: as many seeds as both have, which are the first."""
    head, rows = pretraining(found)
    without = read("labeler_tasks_from_counts")["tasks"]
    beside = {}
    for name, one in found["tasks"].items():
        both = zip(one["values"]["financial"], without[name]["values"]["financial"], strict=False)
        beside[seeds(name, one, found)] = difference(paired(*map(list, zip(*both, strict=True))))
    return (*head, "with FGM − without (p)"), [(*row, beside[row[0]]) for row in rows if row[0] in beside]


def plain(one: dict[str, Any]) -> Row:
    """Return what needs no encoder, and what the chosen seed adds to it."""
    return f"{one['majority']:.3f}", f"{one['tfidf']:.3f}", difference(one["best_seed_minus_tfidf"])


def seeds(name: str, one: dict[str, Any], found: dict[str, Any]) -> str:
    """Return a task's name, with the number of its seeds if that is not the table's."""
    own = one.get("settings", found["settings"])["seeds"]
    return name if own == found["settings"]["seeds"] else f"{name}, {own} seeds"


def difference(one: dict[str, Any]) -> str:
    """Return a difference and its p."""
    if one["p"] is None:
        return f"{one['difference']:+.3f}"
    return f"{one['difference']:+.3f} ({'< 0.001' if one['p'] < 0.001 else format(one['p'], '.3f')})"


def words(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Encoders for the same CPU time, with and without domain words; the differences are over paired seeds."""
    rows = [
        ("tokens per character", "tokens_per_char", "{:.3f}"), ("steps", "steps", "{:,}"),
        ("CPU-seconds of pretraining", "seconds", "{:.0f}"),
        ("characters read, millions", "characters_read", "{:.2f}"),
        ("held-out loss per character", "valid_loss_per_char", ""),
        *((task, task, "") for task in found["settings"]["tasks"]), ("mean macro-F1", "mean_macro_f1", ""),
    ]  # fmt: skip
    return (
        ("", *(cell for name in found["vocabularies"] for cell in heads(*name.split("+")))),
        [(label, *(cell for one in found["vocabularies"].values() for cell in both(one, name, form)))
         for label, name, form in rows],
    )  # fmt: skip


def heads(pieces: str, added: str) -> Row:
    """Return the names of a vocabulary's three columns."""
    return f"{int(pieces):,} pieces", f"+ {int(added):,} domain words", "difference (p)"


def both(found: dict[str, Any], name: str, form: str) -> Row:
    """Return a value without and with words, and the difference of those that are learnt."""
    arms = [found["pieces"][name], found["with_words"][name]]
    if form:
        return *(form.format(fmean(one) if isinstance(one, list) else one) for one in arms), ""
    return *(spread(mean_and_sd(one)) for one in arms), difference(found["words_minus"][name])


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


def vectors(found: dict[str, Any]) -> tuple[Row, list[Row]]:
    """Topics by encoders that read other texts; the differences are over the same seeds of UMAP."""
    first = found["rows"][0]["vectors"]
    rows = [
        (row["vectors"].replace("_", " "), f"{row['lexical_weight']:.1f}", f"{row['n_topics']['mean']:.0f}",
         *(spread(row[key]) for key in ("coverage", "ami")),
         difference(row["first_minus"]) if "first_minus" in row else "–")
        for row in found["rows"]
    ]  # fmt: skip
    return ("vectors", "lexical weight", "topics", "coverage", "AMI", f"AMI, {first} − this (p)"), rows


TABLES: dict[str, Callable[[Any], tuple[Row, list[Row]]]] = {
    "labeler_tasks": pretraining, "labeler_tasks_from_counts": pretraining,
    "labeler_tasks_from_counts_fgm": adversarial, "labeler_tasks_of_1000_rows": pretraining,
    "labeler_tasks_from_counts_of_1000_rows": pretraining,
    "domain_words_pretraining": words, "retriever_quality": retrievers,
    "retriever_quality_without_event_qa": retrievers, "retriever_quality_without_news_headline": retrievers,
    "retriever_quality_without_report_abstract": retrievers, "topics_quality": topics,
    "topics_domain": vectors,
}  # fmt: skip
