"""`finbert2 pretrain run`: corpus + checkpoint → checkpoint, by masked language modelling or RetroMAE."""

import logging
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finbert2 import args, cards, encoder, files, plots, runtime, training, uploads
from finbert2.errors import UserError, first_line
from finbert2.pretrain import build, checkpoint
from finbert2.pretrain.evaluate import evaluate
from finbert2.pretrain.options import PretrainingArguments, PretrainingTrainingArguments, check_together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from finbert2.pretrain.packing import PackedRows
    from finbert2.pretrain.trainer import PretrainingTrainer

log = logging.getLogger(__name__)
SIGTERM_EXIT = 128 + 15


@args.command
def main(argv: list[str] | None = None) -> None:
    """Pretrain."""
    options, training_args = args.parse(
        "pretrain run", __doc__ or "", argv, PretrainingArguments, PretrainingTrainingArguments
    )
    started = time.perf_counter()
    output = Path(training_args.output_dir)
    check_together(options, training_args)
    tokenizer = checkpoint.load_tokenizer(options.tokenizer_name or options.model_name_or_path or "")
    cache = Path(options.cache_dir or output / "tokens")
    data = fingerprints(options, cache)
    facts: dict[str, Any] = {f"the content of --{flag}": files.content(found) for flag, found in data.items()}
    args.claim(output, options, training_args, facts=facts | training.step_facts(training_args))
    if args.is_finished(output):
        log.info("%s holds the finished run: nothing to do", output)
        uploads.publish(output, training_args)
        return
    training_args.save_total_limit = kept_checkpoints(training_args.save_total_limit, options.average_last)
    runtime.set_seed(training_args.seed)
    training.starting_point(training_args)  # this and the model are refused now and not after tokenising
    model, dropout = build.build_model(options, tokenizer)
    rows, valid = build.load_rows(options, tokenizer, cache, training_args.seed)
    if options.start_from_counts:
        from finbert2.pretrain.initial import start_from_counts

        start_from_counts(model, rows.windows.ids, tokenizer.all_special_ids, training_args.seed)
    trainer = build.build_trainer(model, tokenizer, rows, valid, options, training_args)
    before = evaluate(model, valid, tokenizer) if valid else {}
    resumed = train(trainer, options.objective)
    model = trainer.whole_model()
    after = evaluate(model, valid, tokenizer) if valid else {}
    averaging: dict[str, Any] = {}
    if options.average_last and valid:
        after, averaging = average(model, valid, tokenizer, output, options.average_last, after)
    if not runtime.is_main_process():
        return
    export(model, tokenizer, output, dropout)
    results = summarise(trainer, before, after, resumed) | averaging
    results["data"] = data["train_data"] | data.get("valid_data", {})
    files.write_text(output / "loss.svg", plots.svg(curve(trainer)))
    use = f'AutoModel.from_pretrained("{output.name}")'
    cards.write(output, output.name, use, ["fill-mask"], args.as_record(options, training_args), results)
    files.write_json(
        output / "results.json", results | runtime.circumstances(training_args.seed, time.perf_counter() - started)
    )
    uploads.publish(output, training_args)


def fingerprints(options: PretrainingArguments, cache: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the fingerprints of the training and the held-out text by flag; the first process reads, all remember."""
    from accelerate import PartialState

    from finbert2.pretrain.data import fingerprint

    texts = {"train_data": options.train_data, "valid_data": options.valid_data or []}
    with PartialState().main_process_first():
        return {flag: fingerprint(paths, cache) for flag, paths in texts.items() if paths}


def kept_checkpoints(limit: int | None, averaged: int) -> int | None:
    """Return how many checkpoints a run keeps, so that as many as are to be averaged are there at its end."""
    return max(limit, averaged) if limit else limit


def train(trainer: "PretrainingTrainer", name: str) -> int:
    """Train to the end and return the step that the run went on from, 0 for a new one.

    Exits 143 if SIGTERM stopped the run. Raises `UserError` if a checkpoint could not be written: what was written of
    it is removed, the one before it stays whole.
    """
    from safetensors import SafetensorError

    try:
        resumed = training.train(trainer, name)
    except (OSError, SafetensorError, RuntimeError) as error:
        step = trainer.state.global_step
        unfinished = Path(trainer.args.output_dir or "") / f"checkpoint-{step}"
        if not unfinished.is_dir() or training.is_whole(unfinished):
            raise
        shutil.rmtree(unfinished)
        good = training.last_checkpoint(trainer.args.output_dir or "")
        raise UserError(
            f"the checkpoint of step {step} could not be written ({first_line(error)}): free space in "
            f"{trainer.args.output_dir} and run the same command, which goes on from {good or 'the start'}"
        ) from None
    if trainer.stop.stopped:
        log.info("stopped by SIGTERM after step %d: the same command goes on from there", trainer.state.global_step)
        sys.exit(SIGTERM_EXIT)
    return resumed


def average(
    model: Any, valid: "PackedRows", tokenizer: Any, output: Path, count: int, after: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the model the mean weights of its last checkpoints if that lowers the held-out loss.

    Returns the held-out measures of what it holds then, and what `results.json` says of it.
    """
    from finbert2.pretrain.average import last_checkpoints, mean_weights

    checkpoints = last_checkpoints(output, count)
    last = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(mean_weights(checkpoints), strict=False)  # tied weights are stored once
    mean = evaluate(model, valid, tokenizer)
    better = mean["loss_per_token"] < after["loss_per_token"]
    if not better:
        model.load_state_dict(last)
    found = {
        "checkpoints": [path.name for path in checkpoints], "kept": better,
        "loss_per_token": mean["loss_per_token"], "loss_per_token_of_the_last": after["loss_per_token"],
    }  # fmt: skip
    return (mean if better else after), {"averaging": found}


def export(model: Any, tokenizer: Any, output: Path, dropout: dict[str, float]) -> None:
    """Write a plain BERT folder, with RetroMAE's decoder beside it if there is one."""
    from safetensors.torch import save_file

    from finbert2.pretrain.model import BertForMaskedLM
    from finbert2.pretrain.retromae import DECODER_PREFIX, RetroMAE

    output.mkdir(parents=True, exist_ok=True)
    if isinstance(model, RetroMAE):
        decoder = {name: value.cpu().contiguous() for name, value in model.enhanced_decoder.state_dict().items()}
        save_file(decoder, output / build.DECODER_FILE)
        plain = BertForMaskedLM(model.config)
        state = {k: v for k, v in model.state_dict().items() if not k.startswith(DECODER_PREFIX)}
        plain.load_state_dict(state)
        model = plain
    model.config.update(dropout)
    model.save_pretrained(output)
    encoder.save_tokenizer(tokenizer, output)


def curve(trainer: "PretrainingTrainer") -> "Figure":
    """Return the figure of the training loss by step, with the held-out loss if it was taken on the way."""
    curves = {"train": training.losses(trainer.state)}
    held_out = [entry for entry in trainer.state.log_history if "eval_loss_per_token" in entry]
    if held_out:
        steps, losses = zip(*((entry["step"], entry["eval_loss_per_token"]) for entry in held_out), strict=True)
        curves["held-out, 15 %"] = (list(steps), list(losses))
    return plots.lines(curves, x="step", y="loss")


def summarise(
    trainer: "PretrainingTrainer", before: dict[str, Any], after: dict[str, Any], resumed: int
) -> dict[str, Any]:
    """Return the run's results: losses, curve, held-out measures before and after, packing and speed.

    The Trainer times this call alone, so the speed is of the steps after `resumed`, the one it went on from; so are the
    `seconds` that stand beside.
    """
    rows: Any = trainer.train_dataset
    history, steps = trainer.state.log_history, trainer.state.global_step
    seconds = history[-1].get("train_runtime", 0.0) if history else 0.0
    row_tokens = rows.row_length * rows.fill
    readings = {
        name: values[len(values) // 2]
        for name in ("mfu", "loader_wait")
        if (values := sorted(entry[name] for entry in history if name in entry))
    }
    return (
        training.summary(trainer)
        | {
            "valid_before": before,
            "valid": after,
            "valid_loss_per_char": after.get("loss_per_char"),
            "resumed_at_step": resumed,
            "packing_fill": rows.fill,
            "corpus_tokens": rows.windows.tokens,
            "corpus_characters": rows.windows.characters,
            "tokens_seen": round(trainer.rows_met(steps) * row_tokens),
            "tokens_per_second": round((trainer.rows_met(steps) - trainer.rows_met(resumed)) * row_tokens / seconds)
            if seconds
            else None,
        }
        | readings
    )


if __name__ == "__main__":
    main()
