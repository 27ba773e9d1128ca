"""From flags to tokenizer, text, model and trainer; what does not fit together is refused here."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import training, vocabulary
from finbert2.errors import UserError
from finbert2.pretrain import checkpoint
from finbert2.pretrain.evaluate import held_out_rows
from finbert2.pretrain.options import PretrainingArguments

if TYPE_CHECKING:
    from finbert2.pretrain.data import Windows
    from finbert2.pretrain.packing import PackedRows
    from finbert2.pretrain.trainer import PretrainingTrainer

log = logging.getLogger(__name__)
DECODER_FILE = "retromae_decoder.safetensors"


def load_rows(
    options: PretrainingArguments, tokenizer: Any, cache: Path, seed: int
) -> "tuple[PackedRows, PackedRows | None]":
    """Return training and held-out text as packed rows; the first process writes the cache, the others wait for it."""
    from accelerate import PartialState

    from finbert2.pretrain.data import load_windows
    from finbert2.pretrain.packing import PackedRows

    def windows(paths: list[str], name: str) -> "Windows":
        return load_windows(
            paths, options.text_field, tokenizer, options.max_seq_length, cache, name, options.source_field
        )

    with PartialState().main_process_first():
        train = PackedRows(windows(options.train_data, "train"), options.row_length, tokenizer.pad_token_id, seed)
        valid = None
        if options.valid_data:
            valid = held_out_rows(windows(options.valid_data, "valid"), tokenizer)
    return train, valid


def build_model(options: PretrainingArguments, tokenizer: Any) -> tuple[Any, dict[str, float]]:
    """Return the model, without dropout, and the dropout that its exported config is to have.

    Pretraining sees each text once: dropout only slows it, and the packed kernels have none.
    """
    from finbert2 import attention
    from finbert2.pretrain.model import BertForMaskedLM
    from finbert2.pretrain.retromae import RetroMAE

    kind = RetroMAE if options.objective == "retromae" else BertForMaskedLM
    name = options.model_name_or_path
    config = checkpoint_config(options, tokenizer) if name else config_from_scratch(options, tokenizer)
    dropout = {name: getattr(config, name) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    config.update(dict.fromkeys(dropout, 0.0))
    if name:
        model, has_head = checkpoint.load_model(kind, name, config=config)
        if not has_head:
            log.warning("pretrain: %s has no masked-language-model head: a random one is trained from the start", name)
    else:
        model = kind._from_config(config, attn_implementation=attention.register())
    if isinstance(model, RetroMAE):
        prepare_decoder(model, options)
    return model, dropout


def checkpoint_config(options: PretrainingArguments, tokenizer: Any) -> Any:
    """Return the checkpoint's config; refuse a checkpoint that does not fit the options or another tokenizer."""
    name = options.model_name_or_path
    assert name is not None
    config = checkpoint.load_config(name, tokenizer, options.max_seq_length)
    if options.tokenizer_name:
        checkpoint.check_same_ids(tokenizer, name)
    return config


def config_from_scratch(options: PretrainingArguments, tokenizer: Any) -> Any:
    """Return the config of a new BERT; the vocabulary is rounded up to a multiple of 64 for the matrix units."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=-(-vocabulary.size(tokenizer) // 64) * 64, hidden_size=options.hidden_size,
        num_hidden_layers=options.num_hidden_layers, num_attention_heads=options.num_attention_heads,
        intermediate_size=options.intermediate_size, max_position_embeddings=max(512, options.max_seq_length),
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def prepare_decoder(model: Any, options: PretrainingArguments) -> None:
    """Give RetroMAE its decoder: the one saved beside the checkpoint, else the encoder's last layer."""
    from safetensors.torch import load_file

    model.decoder_ratio = options.decoder_mask_ratio
    model.hide_whole_words = options.hide_whole_words
    model.bag_of_words_weight = options.bag_of_words_weight
    model.cls_words_weight = options.cls_words_weight
    saved = Path(options.model_name_or_path or "") / DECODER_FILE
    if not options.model_name_or_path or not saved.is_file():
        model.start_decoder_from_encoder()
        return
    try:
        model.enhanced_decoder.load_state_dict(load_file(saved))
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise UserError(f"{saved} is the decoder of another model ({detail}): remove it to start a new one") from None


def build_trainer(
    model: Any, tokenizer: Any, rows: "PackedRows", valid: "PackedRows | None", options: PretrainingArguments,
    training_args: Any,
) -> "PretrainingTrainer":  # fmt: skip
    """Return the trainer over packed rows."""
    from finbert2.pretrain.collator import Collator
    from finbert2.pretrain.masking import Masker
    from finbert2.pretrain.meters import peak_flops
    from finbert2.pretrain.trainer import PretrainingTrainer

    training.need_one_gpu(training_args, "run_mlm.sh")
    masker = Masker(
        tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), vocabulary.size(tokenizer), training_args.seed,
        options.mask_token_share, options.random_token_share, options.span_words,
    )  # fmt: skip
    targets = options.decoder_target_share if options.objective == "retromae" else 0.0
    collator = Collator(masker, targets, bool(options.bag_of_words_weight))  # which wants the last states of all tokens
    trainer = PretrainingTrainer(
        model=model, args=training_args, train_dataset=rows, eval_dataset=valid, data_collator=collator,
        processing_class=tokenizer, ratios=options.ratios(), ramp=options.batch_ramp_steps,
        peak=peak_flops(options.peak_tflops, training_args.bf16),
    )  # fmt: skip
    callbacks = held_back(options, tokenizer)
    if callbacks and trainer.is_fsdp_enabled:  # its gradients pass by the hooks that hold back
        raise UserError("--new_rows_steps and --frozen_encoder_steps are not for FSDP: leave them out, or --fsdp")
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def held_back(options: PretrainingArguments, tokenizer: Any) -> list[Any]:
    """Return the callbacks that let only a part of the model learn at the start."""
    from finbert2.pretrain.callbacks import HoldBack, only_decoder, only_new_rows
    from finbert2.pretrain.retromae import DECODER_PREFIX

    callbacks = []
    if options.new_rows_steps:
        added = [number for number, token in tokenizer.added_tokens_decoder.items() if not token.special]
        if not added:
            raise UserError("--new_rows_steps trains the embeddings of added words first; this tokenizer has none")
        callbacks.append(HoldBack(options.new_rows_steps, only_new_rows(min(added))))
    if options.frozen_encoder_steps:
        callbacks.append(HoldBack(options.frozen_encoder_steps, only_decoder(DECODER_PREFIX)))
    return callbacks
