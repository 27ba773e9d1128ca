"""`finbert2 topics run`: titles → topics, their words, quality, figures, a saved model."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, files, runtime
from finbert2.endpoint import Chat
from finbert2.topics import compat, output, quality, stability, tables, vectors
from finbert2.topics.cluster import Settings
from finbert2.topics.export import save_for_bertopic
from finbert2.topics.fit import Fit, fit
from finbert2.topics.guide import Guide, read_list
from finbert2.topics.model import load_tokenizer
from finbert2.topics.names import name_topics
from finbert2.topics.titles import FEWEST, Titles, read_titles
from finbert2.topics.words import Segmenter, read_words
from finbert2.weights import fingerprint

if TYPE_CHECKING:
    import numpy as np

# "reading" was chosen by measurement (docs/topics.md); "paper" is what the FinBERT2 paper's notebook used.
PRESETS: dict[str, dict[str, Any]] = {
    "reading": {"dimensions": 5, "min_topic_size": None, "min_samples": 5, "lexical_weight": 0.5, "seed": 42},
    "paper": {"dimensions": 32, "min_topic_size": 2, "min_samples": 1, "lexical_weight": 0.0, "seed": 22},
}
LEAST = {
    "num_topics": 2, "max_fit_titles": FEWEST, "min_topic_size": 2, "min_samples": 1, "dimensions": 2, "neighbors": 2,
    "stability_runs": 0, "llm_topics": 0, "batch_size": 1,
}  # fmt: skip


@dataclasses.dataclass
class TopicArguments:
    """Which titles, which vectors, how fine the topics."""

    titles: str = args.option("file of titles (.csv, .jsonl, .parquet); columns date, industry, org are used if there")
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
    num_topics: int | None = args.option(
        "this many topics: hdbscan then becomes k-means in the UMAP layout, evoc takes the nearest layer", default=None
    )
    method: Literal["hdbscan", "kmeans", "evoc"] = args.option(
        "UMAP and HDBSCAN; k-means on the vectors themselves (needs num_topics); EVoC on the vectors", default="hdbscan"
    )
    layer: int | None = args.option("evoc: which layer, 0 the finest; unset: its own choice", default=None)
    max_fit_titles: int = args.option("of more distinct titles, topics are found among a sample", default=100_000)
    topic_list: str | None = args.option("topics to have, one a line: `name` or `name: word word`", default=None)
    topic_similarity: float = args.option("cosine from which a title is a listed topic's", default=0.5)
    lexical_weight: float | None = args.option(
        "share of the titles' words beside the encoder, 0 to 1 (reading: 0.5, paper: 0; 1 needs no encoder)",
        default=None,
    )
    outlier_quantile: float = args.option("share of a topic's least typical titles, left out", default=0.02)
    map: bool = args.option("lay the titles out in two dimensions: map.svg, map.png, the report's map", default=True)
    report: bool = args.option("write report.html, one page that needs no network", default=True)
    stability_runs: int = args.option(
        "runs with other seeds, and in other orders, that agreement is taken over; 0: none", default=0
    )
    llm_endpoint: str | None = args.option(
        "OpenAI-compatible address (…/v1) of a model that names topics", default=None
    )
    llm_model: str | None = args.option("the name of that model", default=None)
    llm_topics: int = args.option("how many of the largest topics it names", default=20)
    bertopic: bool = args.option("also write bertopic/, which BERTopic.load opens", default=True)
    batch_size: int = args.option("titles encoded at a time", default=64)
    seed: int | None = args.option("seed of UMAP, SVD and k-means (reading: 42, paper: 22)", default=None)

    def __post_init__(self) -> None:
        """Fill unset flags from the preset; refuse what cannot be. '' takes back what run_topics.sh names."""
        for field in dataclasses.fields(self):
            if field.default is None and getattr(self, field.name) == "":
                setattr(self, field.name, None)
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if not 0 <= self.weight <= 1 or not 0 <= self.outlier_quantile < 1:
            raise ValueError("--lexical_weight lies between 0 and 1, --outlier_quantile between 0 and below 1")
        if self.model_name_or_path and self.embeddings:
            raise ValueError(
                "--model_name_or_path and --embeddings are two sources of vectors: give one "
                "(run_topics.sh names a model: --model_name_or_path '' takes it back)"
            )
        if self.weight < 1 and not (self.model_name_or_path or self.embeddings):
            raise ValueError("give --model_name_or_path or --embeddings (or --lexical_weight 1 to go by words alone)")
        self.refuse_contradictions()
        for name, least in LEAST.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ValueError(f"--{name} is {getattr(self, name)}: {least} is the least")

    def refuse_contradictions(self) -> None:
        """Refuse flags that need or exclude one another."""
        if self.method == "kmeans" and not self.num_topics:
            raise ValueError("--method kmeans needs --num_topics")
        if self.layer is not None and (self.method != "evoc" or self.num_topics):
            raise ValueError("--layer picks a layer of --method evoc; with --num_topics the nearest one is taken")
        if self.topic_list and self.embeddings and self.weight < 1:
            raise ValueError("--topic_list needs the encoder, as its texts are encoded too: give --model_name_or_path")
        if bool(self.llm_endpoint) != bool(self.llm_model):
            raise ValueError("--llm_endpoint and --llm_model go together")

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
    months = titles.months() or [""] * len(titles.texts)
    encoded = read_vectors(options, titles)
    found = fit(titles, encoded, segmenter, settings, encoder_record(options), read_guide(options))
    counted = [files.sha256(Path(options.titles))]  # so that no update counts these titles again
    found = dataclasses.replace(found, model=dataclasses.replace(found.model, counted=counted))
    folder = Path(options.output_dir)
    output.clear(folder)
    found = named(found, options, folder)
    going = output.write_tables(folder, titles, found, months)
    layout = output.lay_out(found, settings.neighbors, settings.seed) if options.map else None
    if layout:
        output.draw(folder, found, layout)
    if options.bertopic:
        save_for_bertopic(folder / "bertopic", titles, found, encoded)
    lists = options.userdict, options.stopwords, options.topic_list
    sources = filter(None, [options.titles, options.embeddings, *lists])
    results = measure(titles, found) | stability.measured(
        found.vectors, titles.weights, found.labels, settings, options.stability_runs, found.guided
    )
    results |= {"settings": vars(settings), "data": files.fingerprint(sources)}
    files.write_json(folder / "args.json", args.as_record(options))
    results |= runtime.circumstances(settings.seed, time.perf_counter() - started)
    if options.report:
        output.write_page(folder, options.titles, titles, found, results, layout, months, going)
    files.write_json(folder / "results.json", results)
    sys.stdout.write(tables.as_text(found, results))


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
    return {"name": place, "fingerprint": fingerprint(name)}


def read_guide(options: TopicArguments) -> Guide | None:
    """Return the listed topics with the encoder's vectors of their texts."""
    if not options.topic_list:
        return None
    names, texts = read_list(options.topic_list)
    encoded = None
    if options.weight < 1:
        encoded = vectors.encode(str(options.model_name_or_path), texts, options.batch_size)
    return Guide(names, texts, encoded, options.topic_similarity)


def named(found: Fit, options: TopicArguments, folder: Path) -> Fit:
    """Return the fit with the largest topics named by the language model, if there is one."""
    if not options.llm_endpoint:
        return found
    flags = "--llm_endpoint (without it topics are named by their words), --llm_model"
    chat = Chat(options.llm_endpoint, str(options.llm_model), folder / "names.cache", flags, concurrency=4, retries=4)
    topics = name_topics(found.model.topics, chat, options.llm_topics, folder)
    return dataclasses.replace(found, model=dataclasses.replace(found.model, topics=topics))


def measure(titles: Titles, found: Fit) -> dict[str, Any]:
    """Return the quality of the topics, coverage first."""
    words, weights = [topic.words for topic in found.model.topics], titles.weights
    placed, clustered = found.placed, found.labels[found.placed.chosen]
    results: dict[str, Any] = {
        "n_titles": len(titles.texts), "n_distinct_titles": len(titles.unique), "n_dropped": titles.dropped,
        "n_topics": len(words), "n_moved": placed.moved, "coverage": quality.coverage(found.labels, weights),
        "topic_diversity": quality.topic_diversity(words),
        "npmi": quality.npmi(words, found.counts.matrix, found.counts.vocabulary, weights),
        **quality.shape(found.vectors, found.labels), **quality.clustered_shape(placed.points, clustered),
        "compat": compat.original_numbers(
            placed.points, clustered, found.counts.rows(placed.chosen), weights[placed.chosen]
        ),
    }  # fmt: skip
    if placed.layers:
        results["layers"] = placed.layers
    reference = titles.column("industry")
    if reference and any(reference):
        results |= quality.agreement(found.labels[titles.place], reference)
    return results


if __name__ == "__main__":
    main()
