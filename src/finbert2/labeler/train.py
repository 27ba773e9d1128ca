"""`finbert2 labeler train`: labelled texts → classifier; tagged sentences → tagger."""

import dataclasses
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finbert2 import args, cards, encoder, files, plots, runtime, training
from finbert2.errors import UserError
from finbert2.labeler import data, metrics
from finbert2.labeler.model import Labeler, Settings

log = logging.getLogger(__name__)
IGNORED = -100


@dataclass
class LabelerArguments:
    """What to learn from, and starting where."""

    model_name_or_path: str = args.option("encoder, folder or Hub name")
    train_data: str = args.option("training file: CSV `text,label`, or CoNLL for --task ner")
    task: Literal["classification", "ner"] = args.option("classification, or ner (BIO tags)", default="classification")
    dev_data: str | None = args.option("development file (default: a tenth of the training rows)", default=None)
    test_data: str | None = args.option("test file, looked at once, at the end", default=None)
    max_seq_length: int = args.option("longest input in tokens", default=512)
    long_texts: Literal["head", "head_tail"] = args.option("what is kept of longer texts", default="head_tail")
    max_train_samples: int = args.option("train on a random sample of that many rows (0: all)", default=0)
    max_test_samples: int = args.option("test on a random sample of that many rows (0: all)", default=0)
    baselines: bool = args.option("also measure the majority class and TF-IDF + logistic regression", default=True)


@dataclass
class LabelerTrainingArguments(args.TrainingArguments):
    """Fine-tuning defaults; the epoch with the best development score is the one that is kept."""

    output_dir: str | None = args.option("folder for the model and results.json", default="outputs/labeler")
    learning_rate: float = args.option("peak learning rate", default=5e-5)
    num_train_epochs: float = args.option("passes over the training rows", default=3.0)
    per_device_train_batch_size: int = args.option("rows a step and device", default=32)
    per_device_eval_batch_size: int = args.option("rows a forward pass of the development part", default=64)
    weight_decay: float = args.option("weight decay, not on norms and biases", default=0.01)
    warmup_steps: float = args.option("warm-up steps; below 1 a share of all", default=0.1)
    train_sampling_strategy: str = args.option("group_by_length wastes no padding", default="group_by_length")
    eval_strategy: str = args.option("when the development part is scored", default="epoch")
    save_strategy: str = args.option("when a checkpoint is written; has to match eval_strategy", default="epoch")
    load_best_model_at_end: bool = args.option("keep the best epoch, not the last", default=True)
    # Named here: transformers would fill an unset one in as "loss".
    metric_for_best_model: str | None = args.option("development score (f1 for ner)", default="macro_f1")
    logging_steps: float = args.option("steps between two logged losses", default=20)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Train a classifier or a tagger."""
    options, training_args = args.parse(
        "labeler train", __doc__ or "", argv, LabelerArguments, LabelerTrainingArguments
    )
    started = time.perf_counter()
    output = Path(training_args.output_dir)
    parts, labels = read_parts(options, training_args.seed)
    args.claim(output, options, training_args)
    if args.is_finished(output):
        return
    runtime.set_seed(training_args.seed)
    labeler, trainer = fine_tune(options, training_args, parts, labels)
    if not runtime.is_main_process():
        return
    labeler.save(output)
    results = judge(labeler, parts, labels, options)
    results |= training.summary(trainer) | {"labels": labels, "n_train": len(parts[0]), "n_dev": len(parts[1])}
    results["data"] = files.fingerprint(p for p in (options.train_data, options.dev_data, options.test_data) if p)
    files.write_text(output / "loss.svg", plots.svg(training.curve(trainer)))
    tag = "token-classification" if options.task == "ner" else "text-classification"
    use = f'pipeline("{tag}", "{output.name}")'
    cards.write(output, output.name, use, [tag], args.as_record(options, training_args), results)
    files.write_json(
        output / "results.json", results | runtime.circumstances(training_args.seed, time.perf_counter() - started)
    )


Parts = tuple[list[Any], list[Any], list[Any]]


def read_parts(options: LabelerArguments, seed: int) -> tuple[Parts, list[str]]:
    """Return training, development and test rows (the last empty if there are none) and the labels.

    The development part is given or split off the training rows; the test part never chooses anything.
    """
    read: Any = data.read_sentences
    check: Any = data.check_tags
    if options.task == "ner":
        train = read(options.train_data)
        labels = data.tag_list(train)
    else:
        names = data.label_names(options.train_data)
        read, check = functools.partial(data.read_examples, names=names), data.check_labels
        train = read(options.train_data)
        labels = data.label_list(train, names)
    others = []
    for path in (options.dev_data, options.test_data):
        rows = read(path) if path else []
        check(rows, labels, path or "")
        others.append(rows)
    train, dev = (train, others[0]) if options.dev_data else split(train, seed)
    return (
        (sample(train, options.max_train_samples, seed), dev, sample(others[1], options.max_test_samples, seed)),
        labels,
    )


def split(rows: Sequence[Any], seed: int, share: float = 0.1) -> tuple[list[Any], list[Any]]:
    """Return training and development rows; classes keep their shares where each has two rows or more.

    Raises `UserError` for a single row.
    """
    from sklearn.model_selection import train_test_split

    if len(rows) < 2:
        raise UserError(
            "the training data has one row: two or more are needed to hold some out; add rows, or name --dev_data"
        )
    groups = [getattr(row, "label", "") for row in rows]
    stratify = groups if min(map(groups.count, set(groups))) > 1 and len(set(groups)) <= share * len(rows) else None
    train, dev = train_test_split(list(rows), test_size=share, random_state=seed, stratify=stratify)
    return train, dev


def sample(rows: list[Any], limit: int, seed: int) -> list[Any]:
    """Return a random sample of `limit` rows in their order, all of them if there are no more (or limit is 0)."""
    import random

    if not 0 < limit < len(rows):
        return rows
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def fine_tune(
    options: LabelerArguments, training_args: LabelerTrainingArguments, parts: Parts, labels: list[str]
) -> tuple[Labeler, Any]:
    """Return the labeler of the best epoch and its trainer."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
    )

    tokenizer = encoder.load(AutoTokenizer.from_pretrained, options.model_name_or_path)
    ner = options.task == "ner"
    kind = AutoModelForTokenClassification if ner else AutoModelForSequenceClassification
    model = encoder.load(
        kind.from_pretrained, options.model_name_or_path, num_labels=len(labels), dtype=torch.float32,
        id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)},
    )  # fmt: skip
    options = within_positions(options, model.config)
    features = tag_features if ner else text_features
    train, dev = (features(rows, labels, tokenizer, options) for rows in parts[:2])
    if ner and training_args.metric_for_best_model == "macro_f1":
        training_args.metric_for_best_model = "f1"
    trainer = Trainer(
        model=model, args=training_args, train_dataset=train, eval_dataset=dev, processing_class=tokenizer,
        data_collator=(DataCollatorForTokenClassification if ner else DataCollatorWithPadding)(tokenizer),
        compute_metrics=scorer(labels, ner),
    )  # fmt: skip
    training.train(trainer, options.task)
    return Labeler(
        trainer.model, tokenizer, Settings(options.task, options.max_seq_length, options.long_texts)
    ), trainer


def within_positions(options: LabelerArguments, config: Any) -> LabelerArguments:
    """Return the options with no longer input than the model has positions for."""
    positions = getattr(config, "max_position_embeddings", options.max_seq_length)
    if positions < options.max_seq_length:
        log.warning("labeler: the model has %d positions; inputs are cut there", positions)
    return dataclasses.replace(options, max_seq_length=min(positions, options.max_seq_length))


def text_features(
    rows: Sequence[data.Example], labels: list[str], tokenizer: Any, options: LabelerArguments
) -> list[dict[str, Any]]:
    """Return token ids and label id of each example."""
    ids = data.encode_texts([row.text for row in rows], tokenizer, options.max_seq_length, options.long_texts)
    number = {label: i for i, label in enumerate(labels)}
    return [{"input_ids": i, "labels": number[row.label]} for i, row in zip(ids, rows, strict=True)]


def tag_features(
    rows: Sequence[data.Sentence], labels: list[str], tokenizer: Any, options: LabelerArguments
) -> list[dict[str, Any]]:
    """Return token ids and tag ids of each piece of a sentence; only a character's first token has a tag."""
    number = {label: i for i, label in enumerate(labels)}
    features = []
    for row in rows:
        done = 0
        for piece in data.encode_characters(row.characters, tokenizer, options.max_seq_length):
            tags = [IGNORED] * len(piece.ids)
            for tag, first in zip(row.tags[done : done + len(piece.firsts)], piece.firsts, strict=True):
                if first >= 0:
                    tags[first] = number[tag]
            done += len(piece.firsts)
            features.append({"input_ids": piece.ids, "labels": tags})
    return features


def scorer(labels: list[str], ner: bool) -> Any:
    """Return the function that scores the development part for the Trainer."""

    def score(output: Any) -> dict[str, float]:
        best, gold = output.predictions.argmax(-1), output.label_ids
        if not ner:
            table = metrics.classification([labels[i] for i in gold], [labels[i] for i in best], labels)
            return {name: table[name] for name in ("accuracy", "macro_f1", "mcc")}
        known = gold != IGNORED
        rows = [
            ([labels[i] for i in g[k]], [labels[i] for i in b[k]]) for g, b, k in zip(gold, best, known, strict=True)
        ]
        table = metrics.tagging([g for g, _ in rows], [b for _, b in rows])
        return {name: table[name] for name in ("precision", "recall", "f1")}

    return score


def judge(labeler: Labeler, parts: Parts, labels: list[str], options: LabelerArguments) -> dict[str, Any]:
    """Return the metrics on the test part, beside the baselines' if they were asked for; nothing without one."""
    train, dev, test = parts
    if not test:
        return {}
    if options.task == "ner":
        predicted = [tags for tags, _ in labeler.tag([row.characters for row in test])]
        return {"test": metrics.tagging([row.tags for row in test], predicted), "n_test": len(test)}
    predictions = [prediction.label for prediction in labeler.predict([row.text for row in test])]
    results = {"test": metrics.classification([row.label for row in test], predictions, labels), "n_test": len(test)}
    if options.baselines:
        results["majority"] = metrics.majority(train, test, labels)
        results["tfidf"] = metrics.tfidf(train, dev, test, labels)
    return results


if __name__ == "__main__":
    main()
