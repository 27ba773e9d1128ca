"""`finbert2 topics update`: saved model + a month of new titles → model with both counted, and what drifted."""

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import args, files, runtime
from finbert2.errors import UserError
from finbert2.topics.counts import class_tfidf, count, top_words, topic_counts
from finbert2.topics.drift import drift, drift_rows
from finbert2.topics.model import TopicModel, load_model
from finbert2.topics.predict import NewTitles, encode, rows, write
from finbert2.topics.tables import topic_row
from finbert2.topics.titles import read_titles

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix


@dataclass(kw_only=True)
class UpdateArguments(NewTitles):
    """Which titles, into which topics, and where the updated ones go."""

    output_dir: str = args.option("folder for the updated model; another one than model_dir")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Place new titles, add them to the topics' sizes and words, keep centres and thresholds, say what drifted."""
    (options,) = args.parse("topics update", __doc__ or "", argv, UpdateArguments)
    runtime.set_seed(options.seed)
    started = time.perf_counter()
    output = Path(options.output_dir)
    if output.resolve() == Path(options.model_dir).resolve():
        raise UserError(
            "--output_dir is the model's own folder: a second update would count its titles twice; name another"
        )
    args.spare_run(output)
    titles = read_titles(options.titles, options.title_column)
    model = load_model(Path(options.model_dir), options.model_name_or_path)
    data = files.fingerprint([options.titles])
    new = [one["sha256"] for one in data.values()]
    if set(new) & set(model.counted):
        raise UserError(
            f"{options.titles} is counted in {options.model_dir} already: a second time would count its titles twice; "
            "name the file of new titles"
        )
    words, parts = model.segmenter.words_and_parts(titles.unique)
    counts = count(words, model.vocabulary)
    vectors = model.space.vectors(encode(model, titles, options), parts)
    labels, similarity = model.assign(vectors)
    found = drift(model, words, labels, similarity, titles.weights)
    grown = grow(model, topic_counts(counts, labels, titles.weights), labels, titles.weights)
    (output / "results.json").unlink(missing_ok=True)
    dataclasses.replace(grown, counted=[*model.counted, *new]).save(output)
    files.write_rows(output / "topics.csv", (topic_row(topic) for topic in grown.topics))
    write(output / "new_titles_topics.csv", titles, rows(grown, titles, labels, similarity))
    files.write_rows(output / "drift.csv", drift_rows(found, model, grown))
    fresh = ({"word": word, "titles": n} for word, n in found.new_words)
    files.write_rows(output / "new_words.csv", fresh, ("word", "titles"))
    results = {
        "n_titles": len(titles.texts), "n_topics": len(grown.topics), "coverage": found.coverage,
        "n_rising": sum(move.kind in ("rising", "new") for move in found.topics),
        "n_fading": sum(move.kind == "fading" for move in found.topics), "n_new_words": len(found.new_words),
        "data": data,
    }  # fmt: skip
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )
    sys.stdout.write(
        f"{found.coverage:.1%} of {len(titles.texts)} titles have a topic; {results['n_rising']} topics rose, "
        f"{results['n_fading']} faded, {len(found.new_words)} new words; see {output / 'drift.csv'}\n"
    )


def grow(model: TopicModel, sums: "csr_matrix", labels: "np.ndarray", weights: "np.ndarray") -> TopicModel:
    """Return the model with the sums of the new titles added to its topics; numbers, centres and names stay."""
    from scipy.sparse import csr_matrix

    sums.resize(model.word_counts.shape)  # a topic that no new title has is a row of zeros
    total = csr_matrix(model.word_counts + sums)
    words = top_words(class_tfidf(total), model.vocabulary)
    topics = [
        dataclasses.replace(
            topic, words=words[topic.topic], size=topic.size + int(weights[labels == topic.topic].sum())
        )
        for topic in model.topics
    ]
    return dataclasses.replace(model, topics=topics, word_counts=total)


if __name__ == "__main__":
    main()
