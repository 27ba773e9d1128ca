"""The flags of `pretrain run`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from finbert2 import args
from finbert2.errors import UserError

DEFAULT_RATIO = {"mlm": 0.15, "retromae": 0.30}
MEASURES = ("loss_per_token", "loss_per_char", "pseudo_perplexity", "masked_accuracy")
LONGEST_ROW = 2**16  # the masker's keys have 16 bits for a place
FROM_SCRATCH = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "start_from_counts",
)  # fmt: skip
RETROMAE_ONLY = ("hide_whole_words", "bag_of_words_weight", "cls_words_weight", "frozen_encoder_steps")


@dataclass
class PretrainingArguments:
    """What to train, from what, on what."""

    train_data: list[str] = args.option("files or folders of text")
    objective: Literal["mlm", "retromae"] = args.option("mlm, or RetroMAE on top of it", default="mlm")
    model_name_or_path: str | None = args.option("checkpoint to go on from, folder or Hub name", default=None)
    tokenizer_name: str | None = args.option("tokenizer (default: the checkpoint's); alone: from scratch", default=None)
    hidden_size: int = args.option("from scratch: width", default=768)
    num_hidden_layers: int = args.option("from scratch: layers", default=12)
    num_attention_heads: int = args.option("from scratch: heads", default=12)
    intermediate_size: int = args.option("from scratch: width of the feed-forward layers", default=3072)
    start_from_counts: bool = args.option(
        "from scratch: embeddings and first heads by the corpus's counts, not at random", default=False
    )
    valid_data: list[str] | None = args.option("held-out files or folders", default=None)
    text_field: str = args.option("field that holds the text", default="text")
    source_field: str = args.option("field that says where a text is from", default="source")
    max_seq_length: int = args.option("longest window in tokens; longer documents make several", default=512)
    row_length: int = args.option("tokens of a packed row (at least max_seq_length)", default=512)
    mask_ratio: float = args.option("masked share (0: 0.15 for mlm, 0.30 for retromae)", default=0.0)
    later_mask_ratios: list[str] | None = args.option(
        "other ratios from a share of the run on, SHARE:RATIO …, such as 0.9:0.15", default=None
    )
    mask_token_share: float = args.option("share of masked tokens that become [MASK]", default=0.8)
    random_token_share: float = args.option("share of masked tokens that become any token", default=0.1)
    span_words: float = args.option("mean number of words hidden together (1: single words)", default=1.0)
    decoder_mask_ratio: float = args.option("RetroMAE: share hidden from each decoder row", default=0.5)
    decoder_target_share: float = args.option("RetroMAE: share of tokens the decoder predicts", default=1.0)
    hide_whole_words: bool = args.option("RetroMAE: hide a token's whole word from it, not it alone", default=False)
    bag_of_words_weight: float = args.option("RetroMAE: weight of DupMAE's bag of words (paper: 0.1)", default=0.0)
    cls_words_weight: float = args.option(
        "RetroMAE: weight of the text's words predicted from [CLS] without the decoder (Ma et al. 2024)", default=0.0
    )
    frozen_encoder_steps: int = args.option("RetroMAE: first steps that train the decoder alone", default=0)
    new_rows_steps: int = args.option("first steps that train only the embeddings of added words", default=0)
    batch_ramp_steps: int = args.option("first steps in which the batch grows from one row", default=0)
    average_last: int = args.option("mean of so many last checkpoints, if its held-out loss is lower", default=0)
    peak_tflops: float = args.option("the device's peak, for MFU (0: known for A100, H100, H200)", default=0.0)
    cache_dir: str | None = args.option("where tokenised text is kept (default: in output_dir)", default=None)

    def __post_init__(self) -> None:
        """Fill in the objective's ratio; refuse what contradicts itself."""
        if not self.model_name_or_path and not self.tokenizer_name:
            raise ValueError("give --model_name_or_path to go on from a checkpoint, or --tokenizer_name to start anew")
        for name in FROM_SCRATCH:
            if self.model_name_or_path and getattr(self, name) != getattr(type(self), name):
                raise ValueError(
                    f"--{name} is for a model from scratch, {self.model_name_or_path} has its own: leave it out, "
                    "or start anew by --model_name_or_path '' --tokenizer_name TOKENIZER"
                )
        if not self.model_name_or_path and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"--hidden_size {self.hidden_size} is no multiple of --num_attention_heads {self.num_attention_heads}: "
                "give both, heads of 64 are usual"
            )
        if self.start_from_counts and self.num_attention_heads < 2:
            raise ValueError("--start_from_counts keeps a head's width for positions: --num_attention_heads 2 at least")
        self.mask_ratio = self.mask_ratio or DEFAULT_RATIO[self.objective]
        self.row_length = max(self.row_length, self.max_seq_length)
        self.check_shares()
        self.check_lengths()
        if self.average_last and not self.valid_data:
            raise ValueError("--average_last keeps the mean only if its held-out loss is lower: give --valid_data")
        for name in RETROMAE_ONLY:
            if self.objective != "retromae" and getattr(self, name):
                raise ValueError(f"--{name} belongs to --objective retromae")
        if self.new_rows_steps and self.frozen_encoder_steps:
            raise ValueError(
                "--new_rows_steps and --frozen_encoder_steps each hold back what the other one trains: give one of them"
            )
        self.ratios()

    def check_shares(self) -> None:
        """Raise `ValueError` for a share that is none."""
        for name in ("mask_ratio", "decoder_mask_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"--{name} is a share between 0 and 1, not {getattr(self, name)}")
        if (
            min(self.mask_token_share, self.random_token_share) < 0
            or self.mask_token_share + self.random_token_share > 1
        ):
            raise ValueError("--mask_token_share and --random_token_share are shares that add up to 1 at most")
        if not 0 < self.decoder_target_share <= 1:
            raise ValueError(f"--decoder_target_share is a share up to 1, not {self.decoder_target_share}")

    def check_lengths(self) -> None:
        """Raise `ValueError` for spans, windows and rows of impossible lengths."""
        if self.span_words < 1:
            raise ValueError(f"--span_words is a mean of 1 or more words, not {self.span_words}")
        check_window(self.max_seq_length)
        if self.row_length > LONGEST_ROW:
            raise ValueError(f"--row_length is {self.row_length}: a row holds {LONGEST_ROW} tokens at most")

    def ratios(self) -> tuple[tuple[float, float], ...]:
        """Return the mask ratios as (share of the run from which on, ratio), in rising order."""
        steps = [(0.0, self.mask_ratio)]
        for text in self.later_mask_ratios or []:
            try:
                share, ratio = map(float, text.split(":"))
            except ValueError:
                raise ValueError(f"--later_mask_ratios takes SHARE:RATIO such as 0.9:0.15, not {text!r}") from None
            if not (steps[-1][0] < share < 1 and 0 < ratio < 1):
                raise ValueError(f"--later_mask_ratios: {text!r} is not a later share of the run with a ratio below 1")
            steps.append((share, ratio))
        return tuple(steps)


def check_window(max_seq_length: int) -> None:
    """Raise `ValueError` for windows that hold nothing between [CLS] and [SEP]."""
    if max_seq_length < 3:
        raise ValueError(f"--max_seq_length is {max_seq_length}: [CLS], a token and [SEP] are 3")


@dataclass
class PretrainingTrainingArguments(args.TrainingArguments):
    """The paper's recipe where it is known (RoBERTa's large-batch optimizer settings)."""

    takes_fsdp: ClassVar[bool] = True

    output_dir: str | None = args.option(
        "folder for checkpoints, the model and results.json", default="outputs/pretrain"
    )
    per_device_train_batch_size: int = args.option("packed rows a step and device", default=16)
    learning_rate: float = args.option("peak learning rate", default=6e-4)
    warmup_steps: float = args.option("warm-up steps; below 1 a share of all", default=1000)
    weight_decay: float = args.option("weight decay, not on norms and biases", default=0.01)
    adam_beta2: float = args.option("AdamW's second beta", default=0.98)
    adam_epsilon: float = args.option("AdamW's epsilon", default=1e-6)
    num_train_epochs: float = args.option("passes over the corpus", default=1.0)
    logging_steps: float = args.option("steps between two logged losses", default=50)
    save_steps: float = args.option("steps between two checkpoints", default=1000)
    report_to: None | str | list[str] = args.option("tensorboard, wandb, swanlab, none", default="tensorboard")
    ddp_find_unused_parameters: bool | None = args.option("kept off: each step uses every parameter", default=False)
    remove_unused_columns: bool = args.option("kept off: the collator makes the columns", default=False)

    def __post_init__(self) -> None:
        """Refuse what pretraining does not have; choose the best checkpoint by a measure that it has."""
        if self.label_smoothing_factor:
            raise ValueError("--label_smoothing_factor is not for pretraining: its losses are taken of the true tokens")
        if self.load_best_model_at_end or self.lr_scheduler_type == "reduce_lr_on_plateau":
            self.metric_for_best_model = self.metric_for_best_model or MEASURES[0]
        if self.metric_for_best_model:
            measure = self.metric_for_best_model.removeprefix("eval_")
            if measure not in MEASURES:
                raise ValueError(f"--metric_for_best_model is {measure}: it can be {', '.join(MEASURES)}")
            if self.greater_is_better is None:  # transformers takes every name that does not end in "loss" for a score
                self.greater_is_better = measure == "masked_accuracy"
        if self.wants_fsdp and (self.save_only_model or self.optim == "adafactor"):
            raise ValueError(
                "--save_only_model and --optim adafactor are not for FSDP, whose processes hold parts of each weight: "
                "leave them out, or FSDP"
            )
        super().__post_init__()
        if self.fsdp and (self.world_size == 1 or self.use_cpu):
            raise ValueError(
                "--fsdp shares a model out among GPUs, a process each: NPROC=8 sh FinBERT2/pretrain/run_mlm.sh --fsdp …"
            )


def check_together(options: PretrainingArguments, training_args: PretrainingTrainingArguments) -> None:
    """Raise `UserError` for options that contradict each other: measures without a text, two rules of what is kept."""
    if options.average_last and training_args.load_best_model_at_end:
        raise UserError("--average_last and --load_best_model_at_end each say which weights are kept: leave one out")
    wanted = training_args.eval_strategy != "no" or training_args.eval_on_start
    if wanted and not options.valid_data:
        flag = "eval_on_start" if training_args.eval_on_start else "eval_strategy"
        raise UserError(f"--{flag} measures the model on held-out text: name it by --valid_data")
