"""`finbert2 pretrain run`: corpus + checkpoint → checkpoint, by masked language modelling or RetroMAE."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finbert2 import args, cards, encoder, files, plots, runtime, training
from finbert2.errors import UserError
from finbert2.pretrain.evaluate import check_vocabulary, evaluate

if TYPE_CHECKING:
    from finbert2.pretrain.data import Windows
    from finbert2.pretrain.trainer import PretrainingTrainer

DECODER_FILE = "retromae_decoder.safetensors"
DEFAULT_RATIO = {"mlm": 0.15, "retromae": 0.30}


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
    valid_data: list[str] | None = args.option("held-out files or folders", default=None)
    text_field: str = args.option("field that holds the text", default="text")
    max_seq_length: int = args.option("longest window in tokens; longer documents make several", default=512)
    row_length: int = args.option("tokens of a packed row (at least max_seq_length)", default=512)
    mask_ratio: float = args.option("masked share (0: 0.15 for mlm, 0.30 for retromae)", default=0.0)
    decoder_mask_ratio: float = args.option("RetroMAE: share hidden from each decoder row", default=0.5)
    cache_dir: str | None = args.option("where tokenised text is kept (default: in output_dir)", default=None)

    def __post_init__(self) -> None:
        """Fill in the objective's ratio; refuse what contradicts itself."""
        if not self.model_name_or_path and not self.tokenizer_name:
            raise ValueError("give --model_name_or_path to go on from a checkpoint, or --tokenizer_name to start anew")
        self.mask_ratio = self.mask_ratio or DEFAULT_RATIO[self.objective]
        for name in ("mask_ratio", "decoder_mask_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"--{name} is a share between 0 and 1, not {getattr(self, name)}")
        self.row_length = max(self.row_length, self.max_seq_length)


@dataclass
class PretrainingTrainingArguments(args.TrainingArguments):
    """The paper's recipe where it is known (RoBERTa's large-batch optimizer settings)."""

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
    remove_unused_columns: bool = args.option("kept off: the collator makes the columns", default=False)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Pretrain."""
    options, training_args = args.parse(
        "pretrain run", __doc__ or "", argv, PretrainingArguments, PretrainingTrainingArguments
    )
    started = time.perf_counter()
    output = Path(training_args.output_dir)
    tokenizer = load_tokenizer(options)
    args.claim(output, options, training_args)
    if args.is_finished(output):
        return
    runtime.set_seed(training_args.seed)
    train_windows, valid_windows = load_data(options, tokenizer, output)
    model, dropout = build_model(options, tokenizer)
    trainer = build_trainer(model, tokenizer, train_windows, options, training_args)
    before = evaluate(model, valid_windows, tokenizer, row_length=options.row_length) if valid_windows else {}
    training.train(trainer, options.objective)
    after = evaluate(model, valid_windows, tokenizer, row_length=options.row_length) if valid_windows else {}
    if not runtime.is_main_process():
        return
    export(model, tokenizer, output, dropout)
    results = summarise(trainer, train_windows, before, after)
    results["data"] = files.fingerprint(files.expand(options.train_data))
    files.write_text(output / "loss.svg", plots.svg(training.curve(trainer)))
    use = f'AutoModel.from_pretrained("{output.name}")'
    cards.write(output, output.name, use, ["fill-mask"], args.as_record(options, training_args), results)
    files.write_json(
        output / "results.json", results | runtime.circumstances(training_args.seed, time.perf_counter() - started)
    )


def load_tokenizer(options: PretrainingArguments) -> Any:
    """Return the tokenizer; refuse one without the special tokens that BERT's inputs are made of."""
    from transformers import AutoTokenizer

    name = options.tokenizer_name or options.model_name_or_path
    assert name is not None  # __post_init__ saw to it
    tokenizer = encoder.load(AutoTokenizer.from_pretrained, name)
    missing = [t for t in ("cls_token", "sep_token", "mask_token", "pad_token") if getattr(tokenizer, t) is None]
    if missing:
        raise UserError(f"the tokenizer {name} has no {', '.join(missing)}: a BERT tokenizer was expected")
    return tokenizer


def load_data(options: PretrainingArguments, tokenizer: Any, output: Path) -> "tuple[Windows, Windows | None]":
    """Return the tokenised training and held-out text; the first process writes the cache, the others wait for it."""
    from accelerate import PartialState

    from finbert2.pretrain.data import load_windows

    cache = Path(options.cache_dir or output / "tokens")
    with PartialState().main_process_first():
        train, valid = (
            load_windows(paths, options.text_field, tokenizer, options.max_seq_length, cache, name) if paths else None
            for name, paths in (("train", options.train_data), ("valid", options.valid_data))
        )
    assert train is not None
    return train, valid


def build_model(options: PretrainingArguments, tokenizer: Any) -> tuple[Any, dict[str, float]]:
    """Return the model, without dropout, and the dropout that its exported config is to have.

    Pretraining sees each text once: dropout only slows it, and the packed kernels have none.
    """
    import torch
    from transformers import BertConfig

    from finbert2 import attention
    from finbert2.pretrain.model import BertForMaskedLM
    from finbert2.pretrain.retromae import RetroMAE

    kind = RetroMAE if options.objective == "retromae" else BertForMaskedLM
    attention.register()
    if options.model_name_or_path:
        config = encoder.load(BertConfig.from_pretrained, options.model_name_or_path)
        check_vocabulary(tokenizer, config.vocab_size, options.model_name_or_path)
    else:
        config = config_from_scratch(options, tokenizer)
    dropout = {name: getattr(config, name) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    config.update(dict.fromkeys(dropout, 0.0))
    if options.model_name_or_path:
        model = encoder.load(
            kind.from_pretrained, options.model_name_or_path, config=config, dtype=torch.float32,
            attn_implementation=attention.NAME,
        )  # fmt: skip
    else:
        model = kind._from_config(config, attn_implementation=attention.NAME)
    if isinstance(model, RetroMAE):
        prepare_decoder(model, options, tokenizer)
    return model, dropout


def config_from_scratch(options: PretrainingArguments, tokenizer: Any) -> Any:
    """Return the config of a new BERT; the vocabulary is rounded up to a multiple of 64 for the matrix units."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_size=options.hidden_size,
        num_hidden_layers=options.num_hidden_layers, num_attention_heads=options.num_attention_heads,
        intermediate_size=options.intermediate_size, max_position_embeddings=max(512, options.max_seq_length),
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def prepare_decoder(model: Any, options: PretrainingArguments, tokenizer: Any) -> None:
    """Give RetroMAE its decoder: the one saved beside the checkpoint, else the encoder's last layer."""
    from safetensors.torch import load_file

    model.special_ids = tuple(tokenizer.all_special_ids)
    model.decoder_ratio = options.decoder_mask_ratio
    saved = Path(options.model_name_or_path or "") / DECODER_FILE
    if saved.is_file():
        model.enhanced_decoder.load_state_dict(load_file(saved))
    else:
        model.start_decoder_from_encoder()


def build_trainer(
    model: Any, tokenizer: Any, windows: "Windows", options: PretrainingArguments, training_args: Any
) -> "PretrainingTrainer":
    """Return the trainer over packed rows."""
    from finbert2.pretrain.data import PackedRows
    from finbert2.pretrain.masking import Collator, Masker
    from finbert2.pretrain.trainer import PretrainingTrainer

    rows = PackedRows(windows, options.row_length, tokenizer.pad_token_id, training_args.seed)
    special = tuple(tokenizer.all_special_ids)
    masker = Masker(tokenizer.mask_token_id, special, len(tokenizer), options.mask_ratio, training_args.seed)
    collator = Collator(masker, for_retromae=options.objective == "retromae")
    return PretrainingTrainer(model=model, args=training_args, train_dataset=rows, data_collator=collator)


def export(model: Any, tokenizer: Any, output: Path, dropout: dict[str, float]) -> None:
    """Write a plain BERT folder, with RetroMAE's decoder beside it if there is one."""
    from safetensors.torch import save_file

    from finbert2.pretrain.model import BertForMaskedLM
    from finbert2.pretrain.retromae import DECODER_PREFIX, RetroMAE

    if isinstance(model, RetroMAE):
        decoder = {name: value.cpu().contiguous() for name, value in model.enhanced_decoder.state_dict().items()}
        save_file(decoder, output / DECODER_FILE)
        plain = BertForMaskedLM(model.config)
        state = {k: v for k, v in model.state_dict().items() if not k.startswith(DECODER_PREFIX)}
        plain.load_state_dict(state)
        model = plain
    model.config.update(dropout)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def summarise(
    trainer: "PretrainingTrainer", windows: "Windows", before: dict[str, float], after: dict[str, float]
) -> dict[str, Any]:
    """Return the run's results: losses, curve, held-out measures before and after, packing and speed."""
    rows = trainer.train_dataset
    seconds = trainer.state.log_history[-1].get("train_runtime", 0.0) if trainer.state.log_history else 0.0
    steps_rows = trainer.state.global_step * trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps
    tokens = steps_rows * trainer.args.world_size * rows.row_length * rows.fill  # type: ignore[union-attr]
    return training.summary(trainer) | {
        "valid_before": before,
        "valid": after,
        "valid_loss_per_char": after.get("loss_per_char"),
        "packing_fill": rows.fill,  # type: ignore[union-attr]
        "corpus_tokens": windows.tokens,
        "corpus_characters": windows.characters,
        "tokens_seen": round(tokens),
        "tokens_per_second": round(tokens / seconds) if seconds else None,
    }


if __name__ == "__main__":
    main()
