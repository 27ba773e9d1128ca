"""Put the tables into docs/reproduction.md and docs/reproduction_zh.md: python benchmarks/reproduction_page.py.

Between `<!-- name … -->` and `<!-- end -->` of these pages the tables of benchmarks/results/name.json are written anew,
their heads in the page's language. The experiments are steps of `run_all.py`; a results file that is not there is said,
in place of its table.
"""

import json
import re
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from labeler_tasks import paired
from performance_page import table, where

from finbert2 import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Row = tuple[str, ...]
PAGES = {ROOT / "docs" / "reproduction.md": "en", ROOT / "docs" / "reproduction_zh.md": "zh"}
PLACE = re.compile(r"(<!-- (?!end)([\w ]+) -->).*?(<!-- end -->)", re.S)
CHINESE = {
    "task": "任务", "from scratch": "从零训练", "majority": "多数类", "chosen seed": "选出的种子",
    "tokenizer": "分词器", "steps": "步数", "with FGM": "用 FGM", "without": "不用",
    "tokens seen": "读过的 token", "held-out loss per character": "留出文本每字损失", "set": "数据集", "recipe": "配方",
    "dense": "向量", "hybrid": "混合", "largest p": "最大的 p", "contender": "方法", "topics": "主题数",
    "coverage": "覆盖率", "diversity": "多样性", "vectors": "向量", "lexical weight": "词的权重",
}  # fmt: skip
PHRASES = re.compile(r"\b(" + "|".join(sorted(CHINESE, key=len, reverse=True)) + r")\b")
# Stage, what the paper's abstract says, what the original's code holds, ours, why they differ: filled by `numbers`.
SIDE_BY_SIDE = {
    "en": (
        ("stage", "paper, abstract", "original's code", "ours", "command", "record's commit", "why they differ"),
        ("tokenizer", "–", "34,932 entries (released files)",
         "{vocabulary:,} entries; {characters:.3f} → {words:.3f} tokens per character", "domain_words",
         "as many words, chosen otherwise, from {documents:,} documents"),
        ("pretraining", "32 G tokens", "a demo on 20 sentences",
         "{tokens:.0f} M tokens by {layers} × {width} in {seconds:.0f} s, held-out loss per character {loss:.2f}",
         "domain_pretraining", "one {gpu}, minutes; a small corpus"),
        ("labeler", "+0.4–3.3 % over BERTs, +9.7–12.3 % over LLMs",
         "SC_2 accuracy 0.46 after 10 steps (its only recorded line)",
         "mean macro-F1 of {tasks} tasks {tuned:.3f}, from scratch {scratch:.3f}, TF-IDF {tfidf:.3f}",
         "labeler_tasks", "other tasks, other size; the original's best score was chosen on test"),
        ("retriever", "+6.8 % over BGE-base-zh, +4.2 % over text-embedding-3-large",
         "calls a module that no longer exists",
         "mean nDCG@10 untuned {untuned:.3f}, {recipe} (the best of {recipes} on test) {dense:.3f}, BM25 {bm25:.3f}, "
         "hybrid {hybrid:.3f}",
         "retriever_quality",
         "an encoder pretrained for minutes and tuned for half an epoch does not reach BM25 alone, and helps it"),
        ("topics", "“superior”", "a notebook without outputs",
         "AMI with the industry {ami:.3f}, coverage {coverage:.3f}; the original's settings {ami_then:.3f}, "
         "{coverage_then:.3f}", "topics_quality", "{titles:,} titles, {industries:.0f} industries, a small encoder"),
    ),
    "zh": (
        ("阶段", "论文摘要", "原代码", "本项目", "命令", "记录的提交", "为何不同"),
        ("分词器", "–", "34,932 个词（已发布的文件）",
         "{vocabulary:,} 个词；每字 {characters:.3f} → {words:.3f} 个 token", "domain_words",
         "词数相同，选法不同，语料为 {documents:,} 篇"),
        ("预训练", "320 亿 token", "20 句话的演示",
         "{layers} × {width} 用 {seconds:.0f} 秒读了 {tokens:.0f} M token，留出文本每字损失 {loss:.2f}",
         "domain_pretraining", "一块 {gpu}，几分钟；小语料"),
        ("标注模型", "比其他 BERT 高 0.4–3.3 %，比大语言模型高 9.7–12.3 %", "10 步后 SC_2 准确率 0.46（唯一的记录）",
         "{tasks} 个任务的平均宏 F1 {tuned:.3f}，从零训练 {scratch:.3f}，TF-IDF {tfidf:.3f}", "labeler_tasks",
         "任务与规模不同；原代码的最好成绩选自测试集"),
        ("检索模型", "比 BGE-base-zh 高 6.8 %，比 text-embedding-3-large 高 4.2 %", "调用已不存在的模块",
         "平均 nDCG@10：未微调 {untuned:.3f}，{recipe}（{recipes} 种配方中测试集上最好的）{dense:.3f}，"
         "BM25 {bm25:.3f}，混合 {hybrid:.3f}",
         "retriever_quality", "只预训练几分钟、微调半轮的编码器单独不及 BM25，与它混合则有增益"),
        ("主题模型", "“更好”", "没有输出的笔记本",
         "与行业的 AMI {ami:.3f}，覆盖率 {coverage:.3f}；原设置 {ami_then:.3f}、{coverage_then:.3f}",
         "topics_quality", "{titles:,} 条标题，{industries:.0f} 个行业，很小的编码器"),
    ),
}  # fmt: skip


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


def experiment(name: str, language: str) -> str:
    """Return the table of an experiment, and where it was run."""
    if name == "side_by_side":
        return table(*side_by_side(language))
    found = read(name)
    if found is None:
        return f"`benchmarks/results/{name}.json`: not run here (未运行)."
    head, rows = TABLES[name](found)
    if language == "zh":
        head = tuple(PHRASES.sub(lambda phrase: CHINESE[phrase[0]], word) for word in head)
    return f"{table(head, rows)}\n\n`benchmarks/results/{name}.json`; {where(found)}."


def commit(name: str) -> str:
    """Return the commit that recorded a results file; of one that was measured again since there is none yet."""

    def git(*words: str) -> str:
        command = ["git", *words, "--", f"benchmarks/results/{name}.json"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return "–" if git("status", "--porcelain") else git("log", "-1", "--format=%h") or "–"


def side_by_side(language: str) -> tuple[Row, list[Row]]:
    """Return head and rows of paper, original's code and ours."""
    values = numbers()
    head, *rows = SIDE_BY_SIDE[language]
    return head, [
        (*(cell.format(**values) for cell in cells), f"`benchmarks/{script}.py`", commit(script), why.format(**values))
        for *cells, script, why in rows
    ]


def numbers() -> dict[str, Any]:
    """Return what the study's records say of each stage."""
    words, encoder = read("domain_words"), read("domain_pretraining")["financial"]
    grown, plain = (words["tokenizers"][name]["newswire"] for name in ("ours_13804", "base"))
    labels = [one for one in read("labeler_tasks")["tasks"].values() if "tfidf" in one]
    sets, titles = read("retriever_quality")["sets"], read("topics_quality")
    ours, then = titles["rows"]["ours"], titles["rows"]["original's settings"]
    recipes = next(iter(sets.values()))
    best = max(recipes, key=lambda arm: over(sets, arm, "hybrid"))
    return {
        "vocabulary": grown["vocabulary"], "characters": plain["tokens_per_char"], "words": grown["tokens_per_char"],
        "documents": words["documents"],
        "tokens": encoder["tokens_seen"] / 1e6, "layers": encoder["layers"], "width": encoder["width"],
        "seconds": encoder["seconds"], "loss": encoder["valid_loss_per_char"],
        "gpu": encoder["machine"]["accelerator"],
        "tasks": len(labels), "tuned": fmean(one["starts"]["financial"]["mean"] for one in labels),
        "scratch": fmean(one["starts"]["from scratch"]["mean"] for one in labels),
        "tfidf": fmean(one["tfidf"] for one in labels),
        "untuned": over(sets, "untuned", "dense"), "recipe": best.replace("_", " "),
        "recipes": len(recipes.keys() - {"untuned"}),
        "dense": over(sets, best, "dense"), "bm25": over(sets, best, "bm25"), "hybrid": over(sets, best, "hybrid"),
        "ami": ours["ami"]["mean"], "coverage": ours["coverage"]["mean"], "ami_then": then["ami"]["mean"],
        "coverage_then": then["coverage"]["mean"], "titles": titles["titles"],
        "industries": titles["rows"]["the industries themselves"]["n_topics"]["mean"],
    }  # fmt: skip


def over(sets: dict[str, Any], arm: str, kind: str) -> float:
    """Return a recipe's mean over the sets."""
    return fmean(arms[arm]["mean_sd"][kind][0] for arms in sets.values())


def main() -> None:
    """Fill the places of both pages."""
    for path, language in PAGES.items():
        text = path.read_text(encoding="utf-8")
        files.write_text(path, PLACE.sub(lambda found, language=language: filled(found, language), text))


def filled(place: re.Match[str], language: str) -> str:
    """Return a place of a page with its tables."""
    return "\n".join([place[1], "\n\n".join(experiment(name, language) for name in place[2].split()), place[3]])


if __name__ == "__main__":
    main()
