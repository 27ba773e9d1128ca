"""The page `report.html`: one file, no network, what the results say and the texts behind them."""

from pathlib import Path
from typing import Any

from finbert2 import files, pages, plots
from finbert2.labeler.audit import SHOWN
from finbert2.labeler.judge import Judgement

NAMES = {"majority": "多数类", "tfidf": "TF-IDF + LR", "test": "本模型"}


def write(folder: Path, title: str, judgement: Judgement, results: dict[str, Any]) -> None:
    """Write `report.html` into a folder; `results` is what its `results.json` holds."""
    context = {name: rows[:SHOWN] if isinstance(rows, list) else rows for name, rows in judgement.page.items()}
    counts = {name: len(rows) for name, rows in judgement.page.items() if isinstance(rows, list)}
    files.write_text(
        folder / "report.html",
        pages.render(
            "finbert2.labeler", "report.html",
            title=title, results=results, models=models(results), names=NAMES, counts=counts, figures=figures(results),
            confusion=confusion(results), **context,
        ),
    )  # fmt: skip


def models(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the measured models by name, the judged one first."""
    found = {name: table for name, table in results.items() if isinstance(table, dict) and "per_class" in table}
    return {"test": found.pop("test"), **found} if "test" in found else {}


def figures(results: dict[str, Any]) -> dict[str, str]:
    """Return the page's figures as SVG: models beside one another, reliability, training loss."""
    drawn = {}
    if table := models(results):
        drawn["models"] = plots.svg(
            plots.bars(
                {NAMES.get(n, n): {"宏平均 F1": v["macro_f1"]} for n, v in table.items()}, x="宏平均 F1（测试集）"
            )
        )
    if calibration := results.get("calibration"):
        curves: dict[str, Any] = {
            name: ([b["confidence"] for b in calibration[key]], [b["accuracy"] for b in calibration[key]])
            for name, key in (("校准后", "bins_after"), ("校准前", "bins_before"))
        } | {"理想": ([0.0, 1.0], [0.0, 1.0])}
        drawn["reliability"] = plots.svg(plots.lines(curves, x="模型给出的概率", y="实际正确的比例"))
    if curve := results.get("curve"):
        drawn["loss"] = plots.svg(plots.lines({"loss": (curve["step"], curve["loss"])}, x="步", y="训练损失"))
    return drawn


def confusion(results: dict[str, Any]) -> dict[str, Any] | None:
    """Return the confusion matrix with each cell's share of its row, or None if there is none."""
    if "confusion" not in results:
        return None
    rows = [[(count, round(count / max(1, sum(row)), 3)) for count in row] for row in results["confusion"]]
    return {"labels": results["labels"], "rows": list(zip(results["labels"], rows, strict=True))}
