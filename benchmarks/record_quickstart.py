"""Record a finished quickstart: python benchmarks/record_quickstart.py [outputs/quickstart [NAME]].

Copies its results.json to benchmarks/results/NAME.json. Of the run on the sample data, NAME quickstart, it also draws
pics/quickstart.png and puts the table that the run printed into both READMEs; the run on real data is
quickstart_real_data.
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
RECORDS = ROOT / "benchmarks" / "results"
TABLE = re.compile(r"```text\n(?:QUICKSTART_TABLE|stage .*?)\n```", re.S)


def main() -> None:
    """Record results, and of the sample's run figure and table."""
    output = sys.argv[1] if len(sys.argv) > 1 else ROOT / "outputs" / "quickstart"
    name = sys.argv[2] if len(sys.argv) > 2 else "quickstart"
    results = json.loads((Path(output) / "results.json").read_text(encoding="utf-8"))
    files.write_json(RECORDS / f"{name}.json", results)
    if name == "quickstart":
        show(results)


def show(results: dict) -> None:
    """Draw the figure and put the table into both READMEs."""
    figure(results["stages"]).savefig(ROOT / "pics" / "quickstart.png", dpi=160)
    lines = table(results)
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
