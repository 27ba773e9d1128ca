"""Put the tables into docs/reproduction.md and docs/reproduction_zh.md: python benchmarks/reproduction_page.py.

Between `<!-- name … -->` and `<!-- end -->` of these pages the tables of benchmarks/results/name.json are written anew,
their heads in the page's language. The experiments are steps of `run_all.py`; a results file that is not there is said,
in place of its table.
"""

import re
import subprocess
from pathlib import Path
from statistics import fmean
from typing import Any

from performance_page import table, where
from reproduction_tables import TABLES, Row, read

from finbert2 import files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {ROOT / "docs" / "reproduction.md": "en", ROOT / "docs" / "reproduction_zh.md": "zh"}
PLACE = re.compile(r"(<!-- (?!end)([\w ]+) -->).*?(<!-- end -->)", re.S)
CHINESE = {
    "task": "任务", "from scratch": "从零训练", "majority": "多数类", "chosen seed": "选出的种子",
    "steps": "步数", "with FGM": "用 FGM", "without": "不用", "held-out loss per character": "留出文本每字损失",
    "tokens per character": "每字 token 数", "characters read, millions": "读过的字（百万）", "set": "数据集",
    "mean macro-F1": "平均宏 F1", "pieces": "个基本词元",
    "CPU-seconds of pretraining": "预训练的 CPU 秒数",
    "domain words": "个领域词", "difference": "差", "recipe": "配方",
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


def experiment(name: str, language: str) -> str:
    """Return the table of an experiment, and where it was run."""
    if name == "side_by_side":
        return table(*side_by_side(language))
    found = read(name)
    if found is None:
        return f"`benchmarks/results/{name}.json`: not run here (未运行)."
    head, rows = TABLES[name](found)
    if language == "zh":
        head, *rows = (chinese(head), *((*chinese(row[:1]), *row[1:]) for row in rows))
    return f"{table(head, rows)}\n\n`benchmarks/results/{name}.json`; {where(found)}."


def chinese(cells: Row) -> Row:
    """Return cells with the words that are known in Chinese."""
    return tuple(PHRASES.sub(lambda phrase: CHINESE[phrase[0]], cell) for cell in cells)


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
