"""A retrieval set as a task of MTEB, so that any model MTEB knows can be measured on it, and ours beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finbert2.errors import UserError
from finbert2.retriever import benchmark
from finbert2.retriever.data import TEMPLATE


def mteb_task(data: str | Path, name: str, splits: Sequence[str] = ("test",), template: str = TEMPLATE) -> Any:
    """Return `data` (what `retriever evaluate --data` takes) as a task for `mteb.evaluate(model, task)`.

    Passages are rendered by the template, as everywhere in the suite; queries get their prompt from the model. Raises
    `UserError` for data that cannot be read, or if mteb is not installed.
    """
    try:
        from mteb.abstasks.retrieval import AbsTaskRetrieval
        from mteb.abstasks.task_metadata import TaskMetadata
    except ImportError:
        raise UserError("an MTEB task needs a package that is not installed: pip install 'finbert2[mteb]'") from None
    loaded: dict[str, Any] = {split: split_data(benchmark.load(data, split, template)) for split in splits}

    class Task(AbsTaskRetrieval):
        """The set, already in memory."""

        metadata = TaskMetadata(
            name=name, description=f"{name}: Chinese financial retrieval", type="Retrieval", category="t2t",
            dataset={"path": str(data), "revision": "local"}, modalities=["text"], eval_splits=list(splits),
            eval_langs=["cmn-Hans"], main_score="ndcg_at_10", domains=["Financial"], reference=None, date=None,
            task_subtypes=None, license=None, annotations_creators=None, dialect=None, sample_creation=None,
            bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, *arguments: Any, **options: Any) -> None:
            """Take what was read."""
            self.dataset, self.data_loaded = {"default": loaded}, True

    return Task()


def split_data(found: benchmark.Benchmark) -> dict[str, Any]:
    """Return a benchmark in MTEB's form."""
    from datasets import Dataset

    passages = [{"id": key, "title": "", "text": text} for key, text in found.passages.items()]
    queries = [{"id": key, "text": text} for key, text in found.queries.items()]
    return {
        "corpus": Dataset.from_list(passages), "queries": Dataset.from_list(queries),
        "relevant_docs": found.judgements, "top_ranked": None,
    }  # fmt: skip
