"""Record a finished quickstart for the READMEs: python benchmarks/record_quickstart.py [outputs/quickstart].

Copies its results.json to benchmarks/results/quickstart.json, draws pics/quickstart.png from it, and puts the table
that the run printed into both READMEs.
"""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import files, plots
from finbert2.quickstart.report import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "results" / "quickstart.json"
TABLE = re.compile(r"```text\n(?:QUICKSTART_TABLE|stage .*?)\n```", re.S)


def main() -> None:
    """Record results, figure and table."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "outputs" / "quickstart")
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    files.write_json(RECORD, results)
    figure(results["stages"]).savefig(ROOT / "pics" / "quickstart.png", dpi=160)
    lines = "\n".join(line.rstrip() for line in table(results).splitlines())
    for name in ("README.md", "README_en.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        files.write_text(ROOT / name, TABLE.sub(lambda _: f"```text\n{lines}\n```", text, count=1))


def figure(stages: dict) -> "Figure":
    """Return the bars of every labeler task and retrieval set beside their baselines."""
    untrained, lexical, tuned, hybrid = "majority / untuned", "TF-IDF / BM25", "fine-tuned", "fine-tuned + BM25"
    groups = {
        f"{task} (macro-F1)": {untrained: v["majority_macro_f1"], lexical: v["tfidf_macro_f1"], tuned: v["macro_f1"]}
        for task, v in stages["labeler"]["tasks"].items()
    }
    groups |= {f"{task} (F1)": {tuned: v["f1"]} for task, v in stages["ner"]["tasks"].items()}
    groups |= {
        f"{name} (nDCG@10)": {
            untrained: v["untrained_ndcg_at_10"],
            lexical: v["bm25_ndcg_at_10"],
            tuned: v["ndcg_at_10"],
            hybrid: v["hybrid_ndcg_at_10"],
        }
        for name, v in stages["retriever"]["sets"].items()
    }
    return plots.bars(groups)


if __name__ == "__main__":
    main()
