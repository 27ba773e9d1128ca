"""Topics of 20,000 real titles, ours and peers: python benchmarks/topics_quality.py TITLES.csv WORK [CONTENDER…].

WORK comes from topics_vectors.py: every contender gets the same vectors of the same titles, the same five seeds, and a
process of its own on one thread; compiling is left out of its CPU seconds by a fit of 2,000 titles before. Words and
their measures are taken by one procedure for all (our words, c-TF-IDF of every topic's titles); BERTopic with jieba
also by its own words. Peers that choose a number of topics are also brought to the reference's 86 by their own means
(`@86`). Contenders that are there already in WORK/quality are not run again. jieba and EVoC come with
`pip install -e '.[bench]'`. Writes benchmarks/results/topics_quality.json.
"""

import argparse
import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import topics_cost
from labeler_tasks import spread

from finbert2 import files, runtime
from finbert2.topics import cluster, quality
from finbert2.topics.counts import Counts, class_tfidf, count, top_words, topic_counts, vocabulary_of
from finbert2.topics.fit import place
from finbert2.topics.run import TopicArguments
from finbert2.topics.vectors import fit_space

TITLES, SEEDS, WARM = 20_000, 5, 2_000
Labels = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Material:
    """What every contender is given."""

    titles: list[str]
    industries: list[str]
    encoded: np.ndarray  # (titles, width)
    words: list[list[str]]  # by our segmenter, stop words out
    parts: list[list[str]]  # the same, domain words left in their parts
    counts: Counts

    @property
    def number(self) -> int:
        """How many reference industries there are."""
        return len(set(self.industries))

    def head(self, titles: int) -> "Material":
        """Return the first titles alone."""
        counts = Counts(self.counts.matrix[:titles], self.counts.vocabulary)
        return Material(
            self.titles[:titles], self.industries[:titles], self.encoded[:titles], self.words[:titles],
            self.parts[:titles], counts,
        )  # fmt: skip

    def joined(self) -> np.ndarray:
        """Return the vectors of our default space: encoder and words, half and half."""
        ones = np.ones(len(self.titles))
        return fit_space(self.encoded, self.parts, ones, 0.5, 42).vectors(self.encoded, self.parts)


def read(path: str, work: Path) -> Material:
    """Return the sample: 20,000 rows drawn with seed 0, in the file's order."""
    titles, chosen = topics_cost.read(path, TITLES)
    all_industries = [str(row.values["industry"]) for row in files.read_rows(path)]
    industries = [all_industries[n] for n in chosen]
    words, parts = topics_cost.segmenter(work).words_and_parts(titles)
    counts = count(words, vocabulary_of(words))
    return Material(titles, industries, np.load(work / "vectors.npy")[chosen], words, parts, counts)


def ours(m: Material, seed: int) -> Labels:
    """Our default, and at the reference's number on the same layout."""
    settings = TopicArguments("t", "o", model_name_or_path="m", seed=seed).settings(len(m.titles))
    started = time.process_time()
    ones, vectors = np.ones(len(m.titles)), m.joined()
    lay_out = cluster.reduce
    laid = functools.cache(lambda: lay_out(vectors, settings.dimensions, settings.neighbors, seed))
    cluster.reduce = lambda *_: laid()  # both groupings are of one layout: it is made once
    default = place(vectors, ones, settings).labels
    seconds = time.process_time() - started
    number = dataclasses.replace(settings, num_topics=m.number)
    asked = place(vectors, ones, number).labels
    cluster.reduce = lay_out
    return {"": default, f"@{m.number}": asked, ".seconds": seconds}


def ours_evoc(m: Material, seed: int) -> Labels:
    """EVoC's groups in our space, then our rule, at the reference's number."""
    settings = TopicArguments("t", "o", model_name_or_path="m", seed=seed).settings(len(m.titles))
    settings = dataclasses.replace(settings, method="evoc", num_topics=m.number)
    return {"": place(m.joined(), np.ones(len(m.titles)), settings).labels}


def original(m: Material, seed: int) -> Labels:
    """The original's settings (UMAP 32, smallest topic 2, 1 sample) with the repaired words, through BERTopic."""
    from hdbscan import HDBSCAN
    from umap import UMAP

    return bertopic(
        m, [" ".join(words) for words in m.words], str.split,
        UMAP(n_neighbors=15, n_components=32, min_dist=0.0, metric="cosine", random_state=seed),
        HDBSCAN(min_cluster_size=2, min_samples=1, metric="euclidean"),
    )  # fmt: skip


def bertopic_jieba(m: Material, seed: int) -> Labels:
    """BERTopic's defaults with jieba as its tokenizer; UMAP seeded, else its defaults."""
    import jieba
    from umap import UMAP

    jieba.setLogLevel(60)
    layout = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=seed)
    return bertopic(m, m.titles, jieba.lcut, layout, None)


def bertopic(m: Material, documents: list[str], tokenizer: Callable, layout: Any, clusterer: Any) -> Labels:
    """Fit BERTopic; return its labels and words, and those after its own reduction to the reference's number."""
    from bertopic import BERTopic
    from sklearn.feature_extraction.text import CountVectorizer

    model = BERTopic(
        language="multilingual", umap_model=layout, hdbscan_model=clusterer,
        vectorizer_model=CountVectorizer(tokenizer=tokenizer, token_pattern=None),
    )  # fmt: skip
    started = time.process_time()
    found = np.array(model.fit_transform(documents, embeddings=m.encoded)[0])
    seconds = time.process_time() - started
    words = own_words(model)
    reduced = {}
    if found.max() + 1 > m.number:
        model.reduce_topics(documents, nr_topics=int(m.number + (found.min() < 0)))
        reduced = {f"@{m.number}": np.array(model.topics_), f"@{m.number}.words": own_words(model)}
    return {"": found, ".words": words, ".seconds": seconds, **reduced}


def own_words(model: Any) -> list[list[str]]:
    """Return BERTopic's own ten words of each topic, its padding left out."""
    return [[word for word, score in pairs if word] for topic, pairs in model.get_topics().items() if topic >= 0]


def kmeans(m: Material, seed: int, joined: bool = False) -> Labels:
    """K-means with ten starts on the vectors, or on those of our space."""
    from sklearn.cluster import KMeans

    points = m.joined() if joined else m.encoded
    return {"": KMeans(min(m.number, len(points) // 2), n_init=10, random_state=seed).fit_predict(points)}


def evoc(m: Material, seed: int, joined: bool = False) -> Labels:
    """EVoC on the vectors, or on those of our space: its own layer, and the layer nearest to the reference's number."""
    from evoc import EVoC

    points = np.ascontiguousarray(m.joined() if joined else m.encoded)
    started = time.process_time()
    free = EVoC(random_state=seed).fit_predict(points)
    seconds = time.process_time() - started
    model = EVoC(random_state=seed, approx_n_clusters=m.number)
    model.fit_predict(points)
    near = min(model.cluster_layers_, key=lambda layer: abs(int(layer.max()) + 1 - m.number))
    return {"": free, f"@{m.number}": near, ".seconds": seconds}


def tfidf(m: Material, seed: int) -> Labels:
    """The lexical baseline: TF-IDF, SVD 100, k-means with ten starts, on the words that titles are compared by."""
    return kmeans(dataclasses.replace(m, encoded=lexical(m)), seed)


def lexical(m: Material) -> np.ndarray:
    """Return the titles' TF-IDF in 100 directions, at unit length."""
    return fit_space(None, m.parts, np.ones(len(m.titles)), 1.0, 0).vectors(None, m.parts)


CONTENDERS: dict[str, Callable[[Material, int], Labels]] = {
    "ours": ours,
    "ours, EVoC": ours_evoc,
    "original's settings": original,
    "BERTopic, jieba": bertopic_jieba,
    "k-means": kmeans,
    "k-means, our space": lambda m, seed: kmeans(m, seed, joined=True),
    "EVoC": evoc,
    "TF-IDF, SVD, k-means": tfidf,
}


def run_one(name: str, path: str, work: Path) -> None:
    """Fit a contender with every seed; write labels and seconds."""
    material, contender = read(path, work), CONTENDERS[name]
    contender(material.head(WARM), 0)
    runs: list[Labels] = []
    for seed in range(SEEDS):
        started = time.process_time()
        found = contender(material, seed)
        found.setdefault(".seconds", time.process_time() - started)
        runs.append(found)
        print(name, seed, round(found[".seconds"], 1), flush=True)
    memory = runtime.peak_memory_gib()
    listed = [{key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in run.items()} for run in runs]
    files.write_json(work / "quality" / f"{name}.json", {"runs": listed, "peak_memory_gib": memory})


def rows(name: str, stored: dict[str, Any], m: Material) -> dict[str, dict[str, Any]]:
    """Return the measures of a contender: one row for what it chose, one for what it was brought to."""
    table = {}
    for kind in [key for key in stored["runs"][0] if not key.endswith((".words", ".seconds"))]:
        labelings = [np.array(run[kind]) for run in stored["runs"] if kind in run]
        each = [measures(labels, m) for labels in labelings]
        row = {key: spread([one[key] for one in each]) for key in each[0]}
        row["stability_seeds"] = quality.stability(labelings)
        if kind == "":
            row["cpu_seconds"] = statistics.median(run[".seconds"] for run in stored["runs"])
            row["peak_memory_gib"] = stored["peak_memory_gib"]
        if name == "BERTopic, jieba":
            row["own_words"] = jieba_measures([run[f"{kind}.words"] for run in stored["runs"]], m)
        table[name + kind] = row
    return table


def measures(labels: np.ndarray, m: Material) -> dict[str, float]:
    """Return what is told of one labeling."""
    ones = np.ones(len(labels))
    words = top_words(class_tfidf(topic_counts(m.counts, labels, ones)), m.counts.vocabulary)
    agreed = quality.agreement(labels, m.industries)
    return {
        "n_topics": len(words), "coverage": quality.coverage(labels, ones), "ami": agreed["ami"],
        "ami_covered": agreed["ami_covered"], "ari": agreed["ari"],
        "npmi": quality.npmi(words, m.counts.matrix, m.counts.vocabulary, ones),
        "topic_diversity": quality.topic_diversity(words),
    }  # fmt: skip


def jieba_measures(runs: list[list[list[str]]], m: Material) -> dict[str, float]:
    """Return NPMI and diversity of BERTopic's own words, over titles cut as it cut them."""
    import jieba

    cut = [jieba.lcut(title.lower()) for title in m.titles]
    counts = count(cut, vocabulary_of(cut, 1))
    ones = np.ones(len(cut))
    return {
        "npmi": statistics.fmean(quality.npmi(words, counts.matrix, counts.vocabulary, ones) for words in runs),
        "topic_diversity": statistics.fmean(quality.topic_diversity(words) for words in runs),
    }


def main() -> None:
    """Run the contenders that are not there yet, each in its own process; measure all; write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("titles")
    parser.add_argument("work", type=Path)
    parser.add_argument("contenders", nargs="*", metavar="CONTENDER")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path, work = options.titles, options.work
    if options.one:
        run_one(options.one, path, work)
        return
    for name in options.contenders or CONTENDERS:
        if not (work / "quality" / f"{name}.json").exists():
            command = [sys.executable, __file__, path, str(work), "--one", name]
            subprocess.run(command, check=True, env=os.environ | topics_cost.ONE_THREAD)
    material = read(path, work)
    table: dict[str, Any] = {}
    for name in CONTENDERS:
        stored = work / "quality" / f"{name}.json"
        if stored.exists():
            table |= rows(name, json.loads(stored.read_text(encoding="utf-8")), material)
    industries = measures(np.unique(material.industries, return_inverse=True)[1], material)
    table["the industries themselves"] = {key: spread([value]) for key, value in industries.items()}
    results = {
        "titles": len(material.titles), "seeds": SEEDS, "rows": table,
        "data": {Path(path).name: next(iter(files.fingerprint([path]).values()))},
        "encoder": json.loads((work / "vectors.json").read_text(encoding="utf-8"))["encoder"],
        "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "topics_quality.json", results)
    print(markdown(table))


def markdown(table: dict[str, Any]) -> str:
    """Return the table as Markdown, the standard deviation over the seeds in brackets."""
    names = ("n_topics", "coverage", "ami", "npmi", "topic_diversity")
    lines = ["| contender | topics | coverage | AMI | NPMI | diversity | stability | CPU s | GiB |", "|" + " --- |" * 9]
    for name, row in table.items():
        spread = {n: "" if row[n]["sd"] is None else f" ({row[n]['sd']:.3f})" for n in names}
        cells = [f"{row[n]['mean']:.0f}" if n == "n_topics" else f"{row[n]['mean']:.3f}{spread[n]}" for n in names]
        cells += [f"{row[n]:.3f}" if n in row else "–" for n in ("stability_seeds",)]
        cells += [f"{row[n]:.1f}" if n in row else "–" for n in ("cpu_seconds", "peak_memory_gib")]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
