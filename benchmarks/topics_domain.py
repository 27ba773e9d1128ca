"""Topics by encoders that read other texts: python benchmarks/topics_domain.py TITLES.csv NAME=ENCODER….

The encoders are those of domain_pretraining.py: one shape, one tokenizer, as many steps, other texts. A title's vector
is [CLS] where NAME ends in `_retromae`; else the mean of its tokens', since [CLS] of an encoder that had MLM alone says
little. 20,000 titles as in topics_quality.py and our settings, five seeds, by the vectors alone (`--lexical_weight 0`)
and beside the titles' words (0.5, the default), these by jieba and the user dictionary alone. With them random weights
of the first encoder's shape, and the words alone. Writes benchmarks/results/topics_domain.json.
"""

import argparse
import json
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from domain_pretraining import RETROMAE, made_with
from labeler_tasks import paired, random_weights, spread
from topics_cost import STAGE, read

from finbert2 import encoder, files, runtime
from finbert2.topics import quality
from finbert2.topics.fit import place
from finbert2.topics.run import TopicArguments
from finbert2.topics.vectors import fit_space
from finbert2.topics.words import Segmenter, read_words

TITLES, SEEDS, WEIGHTS = 20_000, 5, (0.0, 0.5)
MEASURES = ("n_topics", "coverage", "ami")


def fit(encoded: np.ndarray | None, parts: list[list[str]], industries: list[str], weight: float, seed: int) -> dict:
    """Return number of topics, coverage and AMI with the industries of one fit."""
    ones = np.ones(len(parts))
    settings = TopicArguments("t", "o", model_name_or_path="m", lexical_weight=weight, seed=seed).settings(len(parts))
    space = fit_space(encoded, parts, ones, weight, seed)
    placed = place(space.vectors(encoded, parts), ones, settings)
    found = {"n_topics": len(placed.centres), "coverage": quality.coverage(placed.labels, ones)}
    return found | {"ami": quality.agreement(placed.labels, industries)["ami"]}


def main() -> None:
    """Encode, fit, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("titles")
    parser.add_argument("encoders", nargs="+", metavar="NAME=ENCODER")
    options = parser.parse_args()
    encoders = dict(one.split("=", 1) for one in options.encoders)
    titles, rows = read(options.titles, TITLES)
    table = list(files.read_rows(options.titles))
    industries = [str(table[row].values["industry"]) for row in rows]
    cutter = Segmenter(read_words(STAGE / "userdict.txt"), read_words(STAGE / "stopwords_cn.txt"))
    _, parts = cutter.words_and_parts(titles)
    with tempfile.TemporaryDirectory() as folder:
        starts = encoders | {"random weights": random_weights(next(iter(encoders.values())), Path(folder))}
        vectors = {
            name: encoder.SentenceEncoder(one, 256, "cls" if name.endswith(RETROMAE) else "mean").encode(titles)
            for name, one in starts.items()
        }
    arms = [(name, weight, vectors[name]) for name in starts for weight in WEIGHTS] + [("words alone", 1.0, None)]
    fits = [(encoded, parts, industries, weight, seed) for _, weight, encoded in arms for seed in range(SEEDS)]
    with multiprocessing.get_context("spawn").Pool(runtime.cores()) as pool:
        found = pool.starmap(fit, fits, chunksize=1)
    by_arm = [found[start : start + SEEDS] for start in range(0, len(found), SEEDS)]
    values = {
        (name, weight): {measure: [one[measure] for one in some] for measure in MEASURES}
        for (name, weight, _), some in zip(arms, by_arm, strict=True)
    }
    first = next(iter(encoders))

    def row(name: str, weight: float) -> dict:
        mine = values[name, weight]
        found = {"vectors": name, "lexical_weight": weight, **{measure: spread(mine[measure]) for measure in MEASURES}}
        if (first, weight) in values and name != first:
            found["first_minus"] = paired(values[first, weight]["ami"], mine["ami"])
        return found

    results = {
        "rows": [row(name, weight) for name, weight in values],
        "titles": len(titles), "seeds": SEEDS, "industries": len(set(industries)),
        "encoders": {name: made_with(one) for name, one in encoders.items()},
        "data": {Path(options.titles).name: next(iter(files.fingerprint([options.titles]).values()))},
        "machine": runtime.machine(), "versions": runtime.versions(),
    }  # fmt: skip
    files.write_json(Path(__file__).parent / "results" / "topics_domain.json", results)
    print(json.dumps(results["rows"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
