"""One training run: labelled rows and an encoder → a labeler."""

import copy
import logging
from collections import Counter
from typing import Any

from finbert2 import encoder, packing, training, vocabulary, weights
from finbert2.errors import UserError
from finbert2.labeler import features, packed
from finbert2.labeler.data import need_marks
from finbert2.labeler.features import Task
from finbert2.labeler.model import Labeler, Settings
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments

log = logging.getLogger(__name__)


def fine_tune(options: LabelerArguments, training_args: LabelerTrainingArguments, task: Task) -> tuple[Labeler, Any]:
    """Return the labeler of the best epoch and its trainer; resumes from a checkpoint in the output folder."""
    from transformers import (
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        EarlyStoppingCallback,
    )

    from finbert2.labeler.trainer import LabelTrainer

    tokenizer = encoder.load(AutoTokenizer.from_pretrained, options.model_name_or_path)
    need_marks(tokenizer, options.model_name_or_path)
    model = load_model(options.model_name_or_path, task, training_args.dropout)
    vocabulary.check_size(tokenizer, model.config, options.model_name_or_path)
    length = within_positions(options.max_seq_length, model.config)
    ner = task.kind == "ner"
    train, dev, score = inputs(task, tokenizer, length, options.long_texts)
    if ner and training_args.metric_for_best_model == "macro_f1":
        training_args.metric_for_best_model = "f1"
    collator: Any
    if packing.can_pack_layers(model.config) and training_args.n_gpu <= 1:  # DataParallel would cut the row into pieces
        packed.pack(model)
        collator = packed.Collator(packing.position_start(model.config))
        if training_args.ddp_find_unused_parameters is None:  # each step uses all of them: DDP need not search
            training_args.ddp_find_unused_parameters = False
    else:
        collator = (DataCollatorForTokenClassification if ner else DataCollatorWithPadding)(tokenizer)
    trainer = LabelTrainer(
        model=add_adapters(model, training_args.lora_rank, ner), args=training_args, train_dataset=train,
        eval_dataset=dev, processing_class=tokenizer, compute_metrics=score,
        data_collator=collator, multi_label=task.multi_label,
        weights=balanced(task) if training_args.class_weights == "balanced" else None,
        callbacks=[EarlyStoppingCallback(training_args.early_stopping)] if training_args.early_stopping else [],
    )  # fmt: skip
    training.train(trainer, task.kind)
    trained: Any = trainer.model
    if training_args.lora_rank:
        trained = trained.merge_and_unload()
    packed.unpack(trained)
    settings = Settings(task.kind, length, options.long_texts, task.multi_label)
    return Labeler(trained, tokenizer, settings), trainer


def load_model(name: str, task: Task, dropout: float | None = None) -> Any:
    """Return the encoder with a new head for the task's labels, in fp32, with its own dropout or the one given."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    kind = AutoModelForTokenClassification if task.kind == "ner" else AutoModelForSequenceClassification
    more: dict[str, Any] = {"problem_type": task.problem_type} if task.problem_type else {}
    if dropout is not None:
        more |= dict.fromkeys(dropouts(name), dropout)
    found = encoder.load(
        kind.from_pretrained, name, num_labels=len(task.labels), dtype=torch.float32,
        id2label=dict(enumerate(task.labels)), label2id={label: i for i, label in enumerate(task.labels)},
        ignore_mismatched_sizes=True, output_loading_info=True, **more,
    )  # fmt: skip
    return weights.need(found, name)


def dropouts(name: str) -> list[str]:
    """Return what a model's config calls its dropouts; one that is None follows another and stays."""
    from transformers import AutoConfig

    config = encoder.load(AutoConfig.from_pretrained, name).to_dict()
    return [key for key, value in config.items() if "dropout" in key and isinstance(value, int | float)]


def inputs(task: Task, tokenizer: Any, length: int, policy: str) -> tuple[list[Any], list[Any], Any]:
    """Return the features of the training and the development rows, and the function that scores the latter."""
    if task.kind == "ner":
        train, dev = (features.tag_features(rows, task, tokenizer, length) for rows in (task.train, task.dev))
        return train, dev, features.tag_scorer(task.labels)
    train, _ = features.text_features(task.train, task, tokenizer, length, policy)
    dev, owners = features.text_features(task.dev, task, tokenizer, length, policy)
    order = sorted(range(len(dev)), key=lambda place: -len(dev[place]["input_ids"]))  # neighbours need no padding
    dev, owners = [dev[place] for place in order], [owners[place] for place in order]
    return train, dev, features.text_scorer(task.dev, owners, task)


def within_positions(length: int, config: Any) -> int:
    """Return the input length, no longer than the model has positions for."""
    positions = packing.positions(config, length)
    if positions < length:
        log.warning("labeler: the model has %d positions; inputs are cut there", positions)
    return min(positions, length)


def balanced(task: Task) -> list[float]:
    """Return the weight of each label: rows / (labels × its rows); of a multi-label task rows without / rows with it.

    The first is scikit-learn's "balanced". Raises `UserError` for a tagger.
    """
    if task.kind == "ner":
        raise UserError("--class_weights balanced is for classification: tags have no classes to balance")
    counts = Counter(label for row in task.train for label in row.labels)
    rows, kinds = len(task.train), len(task.labels)
    if task.multi_label:
        return [(rows - counts[label]) / max(1, counts[label]) for label in task.labels]
    return [rows / (kinds * max(1, counts[label])) for label in task.labels]


def add_adapters(model: Any, rank: int, ner: bool) -> Any:
    """Return the model with LoRA adapters of `rank` on every linear layer of the encoder, as it is for rank 0."""
    if not rank:
        return model
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError:
        raise UserError("--lora_rank needs peft, which is not installed: pip install 'finbert2[lora]'") from None
    return get_peft_model(
        model, LoraConfig(
            task_type=TaskType.TOKEN_CLS if ner else TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank,
            target_modules="all-linear", lora_dropout=0.05,
        ),
    )  # fmt: skip


def for_run(training_args: LabelerTrainingArguments, folder: Any, seed: int) -> LabelerTrainingArguments:
    """Return the arguments of one of several runs: its own folder, its own seed."""
    mine = copy.copy(training_args)
    mine.output_dir, mine.seed, mine.resume_from_checkpoint = str(folder), seed, None
    return mine
