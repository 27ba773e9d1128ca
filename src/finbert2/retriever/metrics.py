"""nDCG, MRR, MAP, recall and precision at k, by trec_eval's own code."""

from finbert2.retriever.benchmark import Judgements
from finbert2.retriever.ranking import Run

MEASURES = {
    "ndcg@10": "ndcg_cut_10",
    "map@10": "map_cut_10",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "precision@10": "P_10",
}


def measure(run: Run, judgements: Judgements) -> dict[str, float]:
    """Return the means over the judged queries; a query that the run lacks counts 0."""
    by_query = measure_queries(run, judgements)
    names = ["ndcg@10", "mrr@10", *list(MEASURES)[1:]]
    return {name: sum(values[name] for values in by_query.values()) / len(by_query) for name in names}


def measure_queries(run: Run, judgements: Judgements) -> dict[str, dict[str, float]]:
    """Return each judged query's metrics.

    trec_eval sorts by score, and its recip_rank knows no cut: it is given places instead of scores, and the first ten.
    """
    import pytrec_eval

    names = {"ndcg_cut.10", "map_cut.10", "recall.10,100", "P.10"}
    whole = pytrec_eval.RelevanceEvaluator(judgements, names).evaluate(by_place(run, 1000))
    first = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate(by_place(run, 10))
    return {
        query: {name: whole.get(query, {}).get(measure, 0.0) for name, measure in MEASURES.items()}
        | {"mrr@10": first.get(query, {}).get("recip_rank", 0.0)}
        for query in judgements
    }


def by_place(run: Run, k: int) -> dict[str, dict[str, float]]:
    """Return a run as pytrec_eval takes it, with falling scores in the run's own order."""
    return {q: {p: float(-place) for place, (p, _) in enumerate(ranked[:k])} for q, ranked in run.items() if ranked}
