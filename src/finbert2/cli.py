"""The command `finbert2 <stage> <verb>`: a table of verbs, each imported only when it is called."""

import importlib
import os
import sys

from finbert2 import __version__

VERBS: tuple[tuple[str, str, str], ...] = (
    ("corpus", "prepare", "text files → cleaned, de-duplicated JSONL shards"),
    ("tokenizer", "train", "corpus + base tokenizer → tokenizer with domain words (+ model with grown embeddings)"),
    ("tokenizer", "evaluate", "tokenizers + text → tokens per character, unknown rate, speed"),
    ("pretrain", "run", "corpus + checkpoint → checkpoint, by MLM or RetroMAE"),
    ("pretrain", "evaluate", "corpus + checkpoint → held-out loss, pseudo-perplexity, masked accuracy"),
    ("labeler", "train", "labelled texts → classifier or tagger"),
    ("labeler", "predict", "texts → labels, probabilities, optional CLS vectors"),
    ("labeler", "evaluate", "model + labelled texts → metrics beside plain baselines"),
    ("labeler", "search", "labelled texts → the best options of training, by Optuna"),
    ("labeler", "export", "labeler → ONNX graphs in fp32 and int8, compared with torch"),
    ("retriever", "mine", "training rows + passages → rows with hard negatives"),
    ("retriever", "train", "rows → sentence encoder (a SentenceTransformer folder)"),
    ("retriever", "evaluate", "models + queries, passages, judgements → nDCG, MRR, MAP, recall at k"),
    ("retriever", "check", "model folder → which loaders read it right, proved on stored vectors"),
    ("retriever", "export", "model folder → ONNX files, fp32 and int8"),
    ("retriever", "index", "passages → Milvus collection (a file or a server)"),
    ("retriever", "search", "query → ranked passages, dense, BM25 or hybrid"),
    ("topics", "run", "titles → topics, their words, quality, figures, a saved model"),
    ("topics", "predict", "new titles + saved model → topics"),
    ("topics", "compare", "folders of several runs → their quality side by side, seeds as a spread"),
    ("topics", "update", "saved model + a month of titles → both counted, without refitting, and what drifted"),
    ("hub", "push", "finished folder → model or data set on the Hub, with its card"),
)

USAGE = "usage: finbert2 <stage> <verb> [flags]      flags of a verb: finbert2 <stage> <verb> -h"


def main(argv: list[str] | None = None) -> None:
    """Import the verb that `argv` names and hand it the remaining arguments; exit 2 with the table if there is none."""
    argv = sys.argv[1:] if argv is None else argv
    # Read when torch loads OpenMP: how long a waiting thread spins before it sleeps. Two trainings on the same cores
    # wait for each other's spinning threads; threads that sleep at once make a step on a free machine a quarter slower.
    # benchmarks/omp_wait_policy.py measures both.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if argv[:1] in (["--version"], ["-V"]):
        print(f"finbert2 {__version__}")
        return
    stage, verb, flags = [*argv[:2], "", ""][0], [*argv[:2], "", ""][1], argv[2:]
    if any((stage, verb) == row[:2] for row in VERBS):
        try:
            module = importlib.import_module(f"finbert2.{stage}.{verb}")
        except KeyboardInterrupt:  # the imports take seconds; a verb's own Ctrl-C is told by `args.command`
            sys.exit(130)
        module.main(flags)
        return
    asked_for_help = not argv or "-h" in argv or "--help" in argv
    rows = [row for row in VERBS if row[0] == stage] or list(VERBS)
    table = "\n".join([USAGE, "", *(f"  {stage:<11}{verb:<10}{line}" for stage, verb, line in rows)])
    if asked_for_help:
        print(table)
        return
    print(f"{table}\n\nfinbert2: error: there is no command '{' '.join(argv[:2])}'", file=sys.stderr)
    sys.exit(2)
