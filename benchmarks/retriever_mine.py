"""False negatives that miners let through where paraphrases are planted: python benchmarks/retriever_mine.py DATA.

For each query of DATA (a BEIR folder with train_flagembedding.jsonl) two paraphrases of its positive are put into the
pool, made by rules that keep the meaning: clauses in another order, and words swapped, numbers rewritten, fillers
added. Every miner sees the same BM25 ranks 0-50 of the same pool. Ours: known positives, near duplicates, 95 % of the
positive's score (`ours_98`: 98 %). sentence-transformers' rule (`mine_hard_negatives`, relative_margin 0.05): all known
positives by text and the margin. FlagEmbedding's rule (`hn_mine`): the exact texts of the row, from rank 0 as
FinBERT2's authors did, and from rank 10, where its own range begins. A negative is true where it is no paraphrase.
Slipped: paraphrases kept of those in the window. Kept: true negatives kept of those in the window. Writes
benchmarks/results/retriever_mine.json.
"""

import argparse
import dataclasses
import json
import random
import re
import time
from collections import Counter
from pathlib import Path

from finbert2 import files, runtime
from finbert2.retriever import mine
from finbert2.retriever.candidates import Found, Searcher
from finbert2.retriever.data import known_positives, read_pool, read_training_rows
from finbert2.retriever.duplicates import Refusal

CLAUSE = re.compile(r"(?<=[，。；！？])")
SWAPS = (
    ("公司", "企业"),
    ("同比增长", "较上年同期增长"),
    ("预计", "料"),
    ("维持", "保持"),
    ("提升", "提高"),
    ("显著", "明显"),
)
ROWS = 1000


def reordered(text: str, chance: random.Random) -> str:
    """Return a text with its clauses in another order."""
    clauses = [clause for clause in CLAUSE.split(text) if clause]
    chance.shuffle(clauses)
    return "".join(clauses)


def reworded(text: str, chance: random.Random) -> str:
    """Return a text with words swapped, blanks around numbers and a filler before it."""
    for one, other in SWAPS:
        text = text.replace(one, other)
    return chance.choice(("据悉，", "消息面上，", "")) + re.sub(r"(\d+)", r" \1 ", text)


def main() -> None:
    """Plant, mine by the three rules, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a retrieval set with train_flagembedding.jsonl")
    folder = parser.parse_args().folder
    rows = read_training_rows([folder / "train_flagembedding.jsonl"])[0][:ROWS]
    known, chance = known_positives(rows), random.Random(0)
    planted = {
        query: {make(text, chance) for text in sorted(texts) for make in (reordered, reworded)} - texts
        for query, texts in known.items()
    }
    pool = list(
        dict.fromkeys([*read_pool(folder / "corpus.jsonl"), *(t for ts in planted.values() for t in sorted(ts))])
    )
    options = mine.MiningArguments([""], "x.jsonl", source="bm25", rank_max=50)
    searcher, refusal = Searcher(pool, known, 0, 50), Refusal(options.near_duplicate)
    started = time.process_time()
    found = list(searcher.search([searcher.bm25()]))
    searched = time.process_time() - started
    looser = dataclasses.replace(options, max_relative_score=0.98)
    kept: dict[str, dict[str, list[str]]] = {}
    for query, one in found:
        bar = mine.highest_score(max(one.scores[text] for text in known[query]), options)
        ours, ours_98 = (
            mine.filtered(query, Found(one.candidates, one.scores), known[query], refusal, chosen, Counter())
            for chosen in (options, looser)
        )
        others = [text for text in one.candidates if text not in known[query] and text != query]
        by_margin = [text for text in others if one.scores[text] <= bar]
        kept[query] = {
            "ours": ours.candidates,
            "ours_98": ours_98.candidates,
            "sentence_transformers": by_margin,
            "flag_embedding": others,
            "flag_embedding_from_10": [text for text in others if text not in one.candidates[:10]],
        }
    filtered = time.process_time() - started - searched
    table = {}
    for name in ("ours", "ours_98", "sentence_transformers", "flag_embedding", "flag_embedding_from_10"):
        slipped = sum(text in planted[query] for query, _ in found for text in kept[query][name])
        in_window = sum(text in planted[query] for query, one in found for text in one.candidates)
        true = sum(text not in planted[query] for query, _ in found for text in kept[query][name])
        true_in_window = sum(
            text not in planted[query] and text not in known[query] for query, one in found for text in one.candidates
        )
        table[name] = {"slipped": slipped / in_window, "true_negatives_kept": true / true_in_window}
    results = {
        "data": folder.name, "queries": len(found), "pool": len(pool), "arms": table,
        "cpu_seconds": {"search": searched, "filters_of_all_arms": filtered},
        "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "retriever_mine.json", results)
    print(json.dumps({"arms": table, "cpu_seconds": results["cpu_seconds"]}, indent=2))


if __name__ == "__main__":
    main()
