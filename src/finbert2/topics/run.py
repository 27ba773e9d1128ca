"""`finbert2 topics run`: titles → topics, their words, quality, figures, a saved model."""

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, encoder, files, runtime
from finbert2.topics import quality, vectors
from finbert2.topics.export import save_for_bertopic
from finbert2.topics.fit import Fit, Settings, fit
from finbert2.topics.model import load_tokenizer
from finbert2.topics.tables import as_text, title_rows, topic_row, trend_rows
from finbert2.topics.titles import FEWEST, Titles, read_titles
from finbert2.topics.words import Segmenter, read_words

if TYPE_CHECKING:
    import numpy as np

MAP_TITLES = 5000

# "reading" was chosen by measurement (docs/topics.md); "paper" is what the FinBERT2 paper's notebook used.
PRESETS: dict[str, dict[str, Any]] = {
    "reading": {"dimensions": 5, "min_topic_size": None, "min_samples": 5, "lexical_weight": 0.5, "seed": 42},
    "paper": {"dimensions": 32, "min_topic_size": 2, "min_samples": 1, "lexical_weight": 0.0, "seed": 22},
}


@dataclasses.dataclass
class TopicArguments:
    """Which titles, which vectors, how fine the topics."""

    titles: str = args.option("file of titles (.csv, .tsv, .jsonl); columns date, industry and org are used if there")
    output_dir: str = args.option("folder for the topics; a rerun replaces them and reuses the vectors")
    title_column: str | None = args.option("column of the titles; unset: title, else metadata", default=None)
    model_name_or_path: str | None = args.option("encoder: folder or Hub name", default=None)
    embeddings: str | None = args.option("instead of an encoder: .npy file, a vector for each row", default=None)
    userdict: str | None = args.option("words to keep whole, one a line", default=None)
    stopwords: str | None = args.option("words that name no topic, one a line", default=None)
    preset: Literal["reading", "paper"] = args.option("defaults of the flags below that are unset", default="reading")
    dimensions: int | None = args.option("UMAP dimensions (reading: 5, paper: 32)", default=None)
    neighbors: int = args.option("UMAP neighbours", default=15)
    min_topic_size: int | None = args.option(
        "fewest titles of a topic (reading: half the square root of the number of titles, at least 5; paper: 2)",
        default=None,
    )
    min_samples: int | None = args.option("HDBSCAN's min_samples (reading: 5, paper: 1)", default=None)
    num_topics: int | None = args.option("this many topics, by k-means instead of HDBSCAN", default=None)
    lexical_weight: float | None = args.option(
        "share of the titles' words beside the encoder, 0 to 1 (reading: 0.5, paper: 0; 1 needs no encoder)",
        default=None,
    )
    outlier_quantile: float = args.option("share of a topic's least typical titles, left out", default=0.02)
    map: bool = args.option("draw map.svg", default=True)
    bertopic: bool = args.option("also write bertopic/, which BERTopic.load opens", default=True)
    batch_size: int = args.option("titles encoded at a time", default=64)
    seed: int | None = args.option("seed of UMAP, SVD and k-means (reading: 42, paper: 22)", default=None)

    def __post_init__(self) -> None:
        """Fill unset flags from the preset; refuse what cannot be."""
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if not 0 <= self.weight <= 1 or not 0 <= self.outlier_quantile < 1:
            raise ValueError("--lexical_weight lies between 0 and 1, --outlier_quantile between 0 and below 1")
        if self.model_name_or_path and self.embeddings:
            raise ValueError("--model_name_or_path and --embeddings are two sources of vectors: give one")
        if self.weight < 1 and not (self.model_name_or_path or self.embeddings):
            raise ValueError("give --model_name_or_path or --embeddings (or --lexical_weight 1 to go by words alone)")
        for name, least in {"num_topics": 2, "min_topic_size": 2, "dimensions": 2, "neighbors": 2}.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ValueError(f"--{name} is {getattr(self, name)}: {least} is the least")

    @property
    def weight(self) -> float:
        """The lexical weight, resolved."""
        return float(self.lexical_weight or 0)

    def settings(self, titles: int) -> Settings:
        """Return the settings for a number of distinct titles."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(Settings)}
        values["min_topic_size"] = self.min_topic_size or max(5, round(0.5 * titles**0.5))
        return Settings(**values)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Find the topics of titles and write them down."""
    (options,) = args.parse("topics run", __doc__ or "", argv, TopicArguments)
    started = time.perf_counter()
    titles = read_titles(options.titles, options.title_column, fewest=FEWEST)
    settings = options.settings(len(titles.unique))
    segmenter = read_segmenter(options)  # before the encoding: a missing word list is told at once
    encoded = read_vectors(options, titles)
    found = fit(titles, encoded, segmenter, settings, encoder_record(options))
    output = Path(options.output_dir)
    write(output, titles, found)
    if options.map:
        files.write_text(output / "map.svg", draw(found, settings))
    if options.bertopic:
        save_for_bertopic(output / "bertopic", titles, found, encoded)
    sources = filter(None, [options.titles, options.embeddings, options.userdict, options.stopwords])
    results = measure(titles, found) | {"settings": vars(settings), "data": files.fingerprint(sources)}
    files.write_json(output / "args.json", args.as_record(options))
    circumstances = runtime.circumstances(settings.seed, time.perf_counter() - started)
    files.write_json(output / "results.json", results | circumstances)
    sys.stdout.write(as_text(found, results))


def read_segmenter(options: TopicArguments) -> Segmenter:
    """Return the cutter of titles: dictionary, stop list and the encoder's own words."""
    lists = read_words(options.userdict), read_words(options.stopwords)
    return Segmenter(*lists, load_tokenizer(options.model_name_or_path))


def read_vectors(options: TopicArguments, titles: Titles) -> "np.ndarray | None":
    """Return the encoder's vectors of the distinct titles, None where words alone decide."""
    if options.weight == 1:
        return None
    if options.embeddings:
        return vectors.read_vectors(options.embeddings, titles.rows_in_file, titles.first_in_file())
    cache = Path(options.output_dir)
    return vectors.encode(str(options.model_name_or_path), titles.unique, options.batch_size, cache)


def encoder_record(options: TopicArguments) -> dict[str, Any] | None:
    """Return the name and fingerprint that a saved model remembers its encoder by."""
    name = options.model_name_or_path
    if name is None:
        return None
    place = str(Path(name).resolve()) if Path(name).exists() else name
    return {"name": place, "fingerprint": encoder.fingerprint(name)}


def write(output: Path, titles: Titles, found: Fit) -> None:
    """Write the model and the tables; what an earlier run left in the folder and this one may not write goes."""
    for name in ("results.json", "trends.csv", "map.svg"):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "bertopic", ignore_errors=True)
    found.model.save(output)
    files.write_rows(output / "topics.csv", (topic_row(topic) for topic in found.model.topics))
    files.write_rows(output / "titles_topics.csv", title_rows(titles, found))
    months = titles.months()
    if months and any(months):
        files.write_rows(output / "trends.csv", trend_rows(months, found.labels[titles.place], found))


def measure(titles: Titles, found: Fit) -> dict[str, Any]:
    """Return the quality of the topics, coverage first."""
    words, weights = [topic.words for topic in found.model.topics], titles.weights
    results = {
        "n_titles": len(titles.texts), "n_distinct_titles": len(titles.unique), "n_dropped": titles.dropped,
        "n_topics": len(words), "n_moved": found.moved, "coverage": quality.coverage(found.labels, weights),
        "topic_diversity": quality.topic_diversity(words),
        "npmi": quality.npmi(words, found.counts.matrix, found.counts.vocabulary, weights),
        **quality.shape(found.vectors, found.labels),
    }  # fmt: skip
    reference = titles.column("industry")
    if reference and any(reference):
        results |= quality.agreement(found.labels[titles.place], reference)
    return results


def draw(found: Fit, settings: Settings) -> str:
    """Return the map of the titles, or of a sample of them, laid out anew in two dimensions, as SVG."""
    import numpy as np

    from finbert2.topics import cluster, figures

    chosen = np.arange(len(found.labels))
    if len(chosen) > MAP_TITLES:
        chosen = np.sort(np.random.default_rng(settings.seed).choice(chosen, MAP_TITLES, replace=False))
    points = cluster.reduce(found.vectors[chosen], 2, settings.neighbors, settings.seed, min_dist=0.3)
    names = [" ".join(topic.words[:2]) for topic in found.model.topics]
    return figures.map_svg(figures.topic_map(points, found.labels[chosen], names))


if __name__ == "__main__":
    main()
