"""What topics cost: python benchmarks/topics_cost.py TITLES.csv WORK ORIGINAL [words|path|growth …].

WORK comes from topics_vectors.py; ORIGINAL is a clone of valuesimplex/FinBERT, whose merger and notebook are measured
as they are (only its tokenizer, which it fetches from the Hub, is WORK's). Three questions, each step in a process of
its own on one thread:

- words: cutting 20,000 titles, our way once a title, against the original's merger as BERTopic calls it (fit and
  transform on the titles of each topic joined by blanks). The topics are 86 by k-means: its own settings leave a noise
  topic of thousands of titles, on which its quadratic time is far worse;
- path: everything but the embedding at 20,000 titles, `topics run` with all its outputs against the notebook's cells;
- growth: words, space, UMAP, HDBSCAN and the rule at 5,000, 20,000, 68,000 and 500,000 titles; the last are drawn with
  noise on the vectors, once with the sample that the command takes by default, once without.

Writes benchmarks/results/topics_cost.json; steps that are there already are kept.
"""

import argparse
import copy
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from finbert2 import files, runtime
from finbert2.topics import cluster
from finbert2.topics.counts import class_tfidf, count, top_words, topic_counts, vocabulary_of
from finbert2.topics.fit import sample
from finbert2.topics.model import load_tokenizer
from finbert2.topics.run import TopicArguments
from finbert2.topics.vectors import fit_space
from finbert2.topics.words import Segmenter, read_words

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
RESULTS = ROOT / "benchmarks" / "results" / "topics_cost.json"
STAGE = ROOT / "Fin-Topicmodel"
LIMIT = 450  # CPU seconds after which a step of the original is given up; its ratio is then "at least"
Step = tuple[str, ...]


def read(path: str, number: int) -> tuple[list[str], np.ndarray]:
    """Return a sample of the titles drawn with seed 0, in the order of the file, and their rows."""
    titles = [str(row.values["title"]).strip() for row in files.read_rows(path)]
    chosen = np.sort(np.random.default_rng(0).choice(len(titles), min(number, len(titles)), replace=False))
    return [titles[n] for n in chosen], chosen


def segmenter(work: Path, folder: Path = STAGE) -> Segmenter:
    """Return our cutter with the word lists of a folder."""
    lists = read_words(folder / "userdict.txt"), read_words(folder / "stopwords_cn.txt")
    return Segmenter(*lists, load_tokenizer(str(work / "encoder")))


def original_merger(original: Path, work: Path) -> Callable[[str], list[str]]:
    """Import the original's merger from its folder, as it wants; it gets WORK's tokenizer in place of the Hub's."""
    import jieba
    import transformers

    jieba.setLogLevel(60)
    folder, tokenizer = (original / "Fin-Topicmodel").resolve(), load_tokenizer(str(work / "encoder"))
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    theirs = transformers.AutoTokenizer.from_pretrained
    transformers.AutoTokenizer.from_pretrained = lambda *_: tokenizer  # type: ignore[method-assign]
    from merge_tokenizer import merge_tokenizers

    transformers.AutoTokenizer.from_pretrained = theirs  # type: ignore[method-assign]
    merge_tokenizers("预热")
    return merge_tokenizers


def vectorizer(original: Path, work: Path) -> Any:
    """Return the notebook's vectorizer."""
    from sklearn.feature_extraction.text import CountVectorizer

    merger = original_merger(original, work)
    stop = [line.strip() for line in Path("stopwords_cn.txt").read_text(encoding="utf-8").splitlines()]
    return CountVectorizer(tokenizer=merger, stop_words=stop)


def words_ours(path: str, work: Path, _: Path) -> dict[str, Any]:
    """Cut and count; say how many titles come back whole."""
    titles, _rows = read(path, 20_000)
    cutter = segmenter(work)
    cutter.words(["预热"])
    started = time.process_time()
    words = cutter.words(titles)
    count(words, vocabulary_of(words))
    seconds = time.process_time() - started
    whole = sum("".join(cut) == title for cut, title in zip(cutter.pieces(titles), titles, strict=True))
    return {"cpu_seconds": seconds, "lossless": whole / len(titles)}


def words_original(path: str, work: Path, original: Path) -> dict[str, Any]:
    """Cut as BERTopic has it cut: the titles of each topic joined, once to fit, once to transform."""
    titles, rows = read(path, 20_000)
    labels = cluster.equal_groups(np.load(work / "vectors.npy")[rows], 86, 0)
    joined = [" ".join(titles[n] for n in np.flatnonzero(labels == topic)) for topic in range(86)]
    model = vectorizer(original, work)
    started = time.process_time()
    model.fit(joined)
    model.transform(joined)
    return {"cpu_seconds": time.process_time() - started, "topics": len(joined)}


def path_ours(path: str, work: Path, _: Path) -> dict[str, Any]:
    """`topics run` on the sample's vectors, all outputs written."""
    titles, rows = read(path, 20_000)
    folder = work / "path"
    table = list(files.read_rows(path))
    files.write_rows(folder / "titles.csv", (table[n].values for n in rows))
    np.save(folder / "vectors.npy", np.load(work / "vectors.npy")[rows])
    flags = ["topics", "run", "--titles", str(folder / "titles.csv"), "--embeddings", str(folder / "vectors.npy")]
    flags += ["--userdict", str(STAGE / "userdict.txt"), "--stopwords", str(STAGE / "stopwords_cn.txt")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "finbert2", *flags, "--output_dir", str(folder / "out")], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def path_original(path: str, work: Path, original: Path) -> dict[str, Any]:
    """The notebook's cells from `fit_transform` to the tree, its figures left out; starting and compiling included."""
    from bertopic import BERTopic
    from bertopic.backend import BaseEmbedder
    from hdbscan import HDBSCAN
    from umap import UMAP

    titles, rows = read(path, 20_000)
    vectors = np.load(work / "vectors.npy")[rows]
    words = vectorizer(original, work)
    layout = UMAP(n_neighbors=15, n_components=32, min_dist=0.0, metric="cosine", random_state=22)
    groups = HDBSCAN(min_cluster_size=2, min_samples=1, metric="euclidean")
    model = BERTopic(
        language="multilingual", embedding_model=BaseEmbedder(), vectorizer_model=words, umap_model=layout,
        hdbscan_model=groups,
    )  # fmt: skip
    seconds, last = {}, time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        seconds[name], last = round(time.process_time() - last, 1), time.process_time()
        print(name, seconds[name], flush=True)

    topics, _ = model.fit_transform(titles, embeddings=vectors)
    lap("fit_transform")
    model.get_topic_info()
    model.get_document_info(titles).to_csv(work / "original_docs.csv")
    lap("tables")
    second = copy.deepcopy(model)
    moved = second.reduce_outliers(titles, topics, threshold=0.4)
    lap("reduce_outliers")
    second.update_topics(titles, topics=moved, vectorizer_model=words)
    lap("update_topics")
    from evaluate_cluster_quality import evaluate_clustering

    evaluate_clustering(str(work / "original_docs.csv"), layout.fit_transform(vectors), str(work / "original_eval.csv"))
    lap("evaluate")
    model.get_topic_tree(second.hierarchical_topics(titles))
    lap("hierarchy")
    return {"cpu_seconds": time.process_time(), "steps": seconds}


def growth(path: str, work: Path, number: int, sampled: bool) -> dict[str, Any]:
    """Every step from words to topics, in CPU seconds."""
    titles, rows = read(path, number)
    vectors = np.load(work / "vectors.npy")[rows]
    if number > len(titles):  # drawn with noise
        draw = np.random.default_rng(0)
        chosen = draw.integers(0, len(titles), number)
        titles = [titles[n] for n in chosen]
        vectors = vectors[chosen] + draw.normal(0, 0.02, (number, vectors.shape[1])).astype(np.float32)
    settings = TopicArguments("t", "o", model_name_or_path="m").settings(len(titles))
    warm = np.random.default_rng(0).normal(size=(4200, 20)).astype(np.float32)
    cluster.dense_groups(cluster.reduce(warm, 5, 15, 0)[:50].repeat(2, 0) + warm[:100, :5] * 1e-3, 2, 1)
    ones, seconds, last = np.ones(len(titles)), {}, time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        seconds[name], last = round(time.process_time() - last, 2), time.process_time()
        print(number, name, seconds[name], flush=True)

    words, parts = segmenter(work).words_and_parts(titles)
    counts = count(words, vocabulary_of(words))
    lap("words")
    space = fit_space(vectors, parts, ones, settings.lexical_weight, settings.seed)
    joined = space.vectors(vectors, parts)
    lap("space")
    kept = joined[sample(len(joined), settings.max_fit_titles if sampled else number, settings.seed)]
    points = cluster.reduce(kept, settings.dimensions, settings.neighbors, settings.seed)
    lap("umap")
    groups, _ = cluster.largest_first(
        cluster.dense_groups(points, settings.min_topic_size, settings.min_samples), np.ones(len(kept))
    )
    lap("hdbscan")
    centres = cluster.centroids(kept, groups, np.ones(len(kept)))
    labels, _ = cluster.assign(joined, centres, cluster.thresholds(kept, groups, centres, settings.outlier_quantile))
    lap("rule")
    top_words(class_tfidf(topic_counts(counts, labels, ones)), counts.vocabulary)
    lap("counting")
    return {
        "titles": len(titles), "fitted": len(kept), "topics": len(centres), "coverage": float((labels >= 0).mean()),
        "steps": seconds, "cpu_seconds": round(sum(seconds.values()), 2),
    }  # fmt: skip


STEPS: dict[str, Callable[[str, Path, Path], dict[str, Any]]] = {
    "words ours": words_ours,
    "words original": words_original,
    "path ours": path_ours,
    "path original": path_original,
    "growth 5000": lambda path, work, _: growth(path, work, 5_000, True),
    "growth 20000": lambda path, work, _: growth(path, work, 20_000, True),
    "growth 68000": lambda path, work, _: growth(path, work, 68_000, True),
    "growth 500000": lambda path, work, _: growth(path, work, 500_000, True),
    "growth 500000 whole": lambda path, work, _: growth(path, work, 500_000, False),
}


def run_one(name: str, path: str, work: Path, original: Path) -> None:
    """Run a step here, within the limit, and write what it says and what memory it took."""
    if name.endswith("original"):
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
    found = STEPS[name](path, work, original)
    files.write_json(work / "cost" / f"{name}.json", found | {"peak_memory_gib": runtime.peak_memory_gib()})


def main() -> None:
    """Run the steps asked for that are not there yet; write all there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("titles", "work", "original"):
        parser.add_argument(name, type=lambda path: Path(path).resolve())
    parser.add_argument("steps", nargs="*", metavar="STEP", help="beginnings of names (default: all)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path, work, original = options.titles, options.work, options.original
    if options.one:
        run_one(options.one, str(path), work, original)
        return
    wanted = [name for name in STEPS if not options.steps or name.startswith(tuple(options.steps))]
    for name in wanted:
        stored = work / "cost" / f"{name}.json"
        if not stored.exists():
            command = [sys.executable, __file__, str(path), str(work), str(original), "--one", name]
            code = subprocess.run(command, env=os.environ | ONE_THREAD, check=False).returncode
            if code == -signal.SIGXCPU:
                files.write_json(stored, {"cpu_seconds": LIMIT, "given_up": True})
            elif code:
                print(f"{name}: failed (exit {code})", flush=True)
    rows = {
        name: json.loads(stored.read_text(encoding="utf-8"))
        for name in STEPS
        if (stored := work / "cost" / f"{name}.json").exists()
    }
    ratios = {
        part: round(rows[f"{part} original"]["cpu_seconds"] / rows[f"{part} ours"]["cpu_seconds"], 1)
        for part in ("words", "path")
        if f"{part} original" in rows and f"{part} ours" in rows
    }
    results = {
        "ratios": ratios,
        "rows": rows,
        "data": {path.name: next(iter(files.fingerprint([path]).values()))},
    }
    files.write_json(RESULTS, results | {"machine": runtime.machine(), "versions": runtime.versions()})
    print(json.dumps({"ratios": ratios, "rows": rows}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
