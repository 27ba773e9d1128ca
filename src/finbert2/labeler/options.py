"""The flags of `labeler train`."""

from dataclasses import dataclass
from typing import Any, Literal

from finbert2 import args
from finbert2.errors import UserError


@dataclass
class LabelerArguments:
    """What to learn from, starting where, and what is reported."""

    model_name_or_path: str = args.option("encoder, folder or Hub name")
    train_data: str = args.option(
        "training file: rows `text,label` (.csv, .jsonl, .parquet; several labels: a|b), or CoNLL for ner"
    )
    task: Literal["classification", "ner"] = args.option("what is learnt; ner: BIO tags", default="classification")
    dev_data: str | None = args.option("development file (default: a tenth of the training rows)", default=None)
    test_data: str | None = args.option("test file, looked at once, at the end", default=None)
    empty_texts: Literal["error", "drop"] = args.option("what is done with rows without a text", default="error")
    max_seq_length: int = args.option("longest input in tokens", default=512)
    long_texts: Literal["head", "head_tail", "windows"] = args.option(
        "longer texts: keep the head, a quarter from the head and the rest from the tail, or pool over windows",
        default="head_tail",
    )
    max_train_samples: int = args.option("train on a random sample of that many rows (0: all)", default=0)
    max_test_samples: int = args.option("test on a random sample of that many rows (0: all)", default=0)
    seeds: int = args.option("train that often, from --seed upwards; the best by development score is kept", default=1)
    folds: int = args.option("also cross-validate in that many folds (0: no)", default=0)
    target_precision: float | None = args.option(
        "abstain where a class's answers would be right less often than this on the development part", default=None
    )
    baselines: bool = args.option("also measure the majority class and TF-IDF + logistic regression", default=True)
    compare: list[str] = args.option("other classifiers to measure on the test file", factory=list)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.seeds < 1 or self.folds == 1 or self.folds < 0:
            raise ValueError(f"--seeds {self.seeds} --folds {self.folds}: one seed or more, two folds or more (or 0)")
        if self.target_precision is not None and not 0 < self.target_precision < 1:
            raise ValueError(f"--target_precision {self.target_precision}: a share between 0 and 1 was expected")
        if self.task == "ner" and (self.folds or self.target_precision or self.compare):
            raise ValueError("--folds, --target_precision and --compare are for classification, not for --task ner")
        least = 4 if self.task == "ner" else 3  # a character of a text that is tagged may make two tokens
        if self.max_seq_length < least:
            raise ValueError(
                f"--max_seq_length {self.max_seq_length}: {least} or more was expected, [CLS] and [SEP] included"
            )


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
    train_sampling_strategy: str = args.option(
        "group_by_length: rows of like length together, which matters to models that are padded; or random",
        default="group_by_length",
    )
    eval_strategy: str = args.option("when the development part is scored", default="epoch")
    save_strategy: str = args.option("when a checkpoint is written; has to match eval_strategy", default="epoch")
    load_best_model_at_end: bool = args.option("keep the best epoch, not the last", default=True)
    # Named here: transformers would fill an unset one in as "loss".
    metric_for_best_model: str | None = args.option("development score (f1 for ner)", default="macro_f1")
    logging_steps: float = args.option("steps between two logged losses", default=20)
    class_weights: Literal["none", "balanced"] = args.option("balanced: rare classes count more", default="none")
    dropout: float | None = args.option(
        "dropout in training (default: the model's own); 0 suits a small encoder that was pretrained for minutes",
        default=None,
    )
    r_drop: float = args.option("weight of R-Drop's KL term (0: off; usual 1 to 5)", default=0.0)
    fgm: float = args.option("size of FGM's step on the word embeddings (0: off; usual 0.5 to 1)", default=0.0)
    layer_lr_decay: float = args.option("learning rate of a layer by that of the one above it", default=1.0)
    early_stopping: int = args.option("stop after that many evaluations without a better score (0: no)", default=0)
    lora_rank: int = args.option("train LoRA adapters of that rank instead of all weights (0: no)", default=0)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        super().__post_init__()
        if not 0 < self.layer_lr_decay <= 1:
            raise ValueError(f"--layer_lr_decay {self.layer_lr_decay}: above 0 and at most 1 was expected")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"--dropout {self.dropout}: 0 or more and less than 1 was expected")
        if self.dropout == 0 and self.r_drop > 0:
            raise ValueError("--r_drop compares two dropouts of a row: it does nothing at --dropout 0")
        if min(self.r_drop, self.fgm, self.lora_rank, self.early_stopping) < 0:
            raise ValueError("--r_drop, --fgm, --lora_rank and --early_stopping cannot be negative")
        if self.early_stopping and not self.load_best_model_at_end:
            raise ValueError("--early_stopping needs --load_best_model_at_end True: the best epoch has to be kept")
        if self.early_stopping:  # a resumed run goes on counting where it was killed
            self.restore_callback_states_from_checkpoint = True


def need_score(training_args: LabelerTrainingArguments, what: str) -> None:
    """Raise `UserError` if nothing is scored on the development part, by which `what` chooses."""
    if training_args.eval_strategy == "no":
        raise UserError(f"{what} chooses by the development score: --eval_strategy has to be epoch or steps, not no")


def need_metric(training_args: LabelerTrainingArguments, kind: str, multi_label: bool) -> None:
    """Raise `UserError` for a --metric_for_best_model that the development part is not scored by."""
    if kind == "ner":
        known = {"f1", "precision", "recall", "loss"}
    else:
        known = {"macro_f1", "weighted_f1", "accuracy", "loss"}
        known |= {"micro_f1", "hamming_loss"} if multi_label else {"mcc"}
    name = (training_args.metric_for_best_model or "loss").removeprefix("eval_")
    # The default, of which a tagger makes its f1.
    if name not in known | {"macro_f1"} and training_args.eval_strategy != "no":
        raise UserError(f"--metric_for_best_model {name}: the scores of this task are {', '.join(sorted(known))}")


def scored(trainer: Any) -> float:
    """Return the best development score of a training; raise `UserError` if it was over before the first one."""
    if trainer.state.best_metric is None:
        raise UserError(
            f"the training ended after {trainer.state.global_step} steps without a development score: give a smaller "
            "--eval_steps and --save_steps, or --eval_strategy epoch --save_strategy epoch"
        )
    return float(trainer.state.best_metric)
