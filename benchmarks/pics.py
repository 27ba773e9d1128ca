"""Draw the READMEs' figure from the recorded quickstart: python benchmarks/pics.py."""

import json
from pathlib import Path

from finbert2 import plots

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Write pics/quickstart.png from benchmarks/results/quickstart.json."""
    stages = json.loads((ROOT / "benchmarks" / "results" / "quickstart.json").read_text(encoding="utf-8"))["stages"]
    groups = {
        f"{task} (macro-F1)": {
            "majority": v["majority_macro_f1"],
            "TF-IDF + LR": v["tfidf_macro_f1"],
            "fine-tuned": v["macro_f1"],
        }
        for task, v in stages["labeler"]["tasks"].items()
    }
    groups |= {
        f"{name} (nDCG@10)": {
            "untuned": v["untrained_ndcg_at_10"],
            "BM25": v["bm25_ndcg_at_10"],
            "fine-tuned": v["ndcg_at_10"],
            "hybrid": v["hybrid_ndcg_at_10"],
        }
        for name, v in stages["retriever"]["sets"].items()
    }
    plots.bars(groups).savefig(ROOT / "pics" / "quickstart.png", dpi=160)


if __name__ == "__main__":
    main()
