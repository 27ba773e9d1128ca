"""`finbert2 labeler evaluate`: model + labelled texts → metrics."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finbert2 import args, files, runtime
from finbert2.labeler import data, metrics
from finbert2.labeler.model import Labeler


@dataclass
class EvaluationArguments:
    """Which model, on which rows."""

    model_name_or_path: str = args.option("folder written by `labeler train`, or a classifier's Hub name")
    test_data: str = args.option("labelled file: CSV `text,label`, or CoNLL for a tagger")
    output_dir: str = args.option("folder for results.json and the predictions")
    seed: int = args.option("recorded in results.json; nothing here is drawn", default=0)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Measure a labeler."""
    (options,) = args.parse("labeler evaluate", __doc__ or "", argv, EvaluationArguments)
    started = time.perf_counter()
    labeler = Labeler.from_pretrained(options.model_name_or_path)
    measure = measure_tagger if labeler.settings.task == "ner" else measure_classifier
    test, rows = measure(labeler, options.test_data)
    output = Path(options.output_dir)
    files.write_rows(output / "predictions.jsonl", rows)
    results = {"test": test, "n_test": len(rows), "data": files.fingerprint([options.test_data])}
    files.write_json(
        output / "results.json", results | runtime.circumstances(options.seed, time.perf_counter() - started)
    )
    sys.stdout.write(json.dumps(test, ensure_ascii=False, indent=2) + "\n")


def measure_classifier(labeler: Labeler, path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a classifier's metrics on a file, and its rows with gold and predicted label."""
    examples = data.read_examples(path, data.label_names(path))
    data.check_labels(examples, labeler.labels, path)
    predictions = labeler.predict([example.text for example in examples])
    gold, predicted = [e.label for e in examples], [p.label for p in predictions]
    rows = [
        {"text": e.text, "gold": e.label, "label": p.label, "score": p.score}
        for e, p in zip(examples, predictions, strict=True)
    ]
    return metrics.classification(gold, predicted, labeler.labels), rows


def measure_tagger(labeler: Labeler, path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a tagger's metrics on a file, and its sentences with gold and predicted tags."""
    sentences = data.read_sentences(path)
    data.check_tags(sentences, labeler.labels, path)
    predicted = [tags for tags, _ in labeler.tag([sentence.characters for sentence in sentences])]
    rows = [
        {"text": "".join(s.characters), "gold": list(s.tags), "tags": tags}
        for s, tags in zip(sentences, predicted, strict=True)
    ]
    return metrics.tagging([sentence.tags for sentence in sentences], predicted), rows


if __name__ == "__main__":
    main()
