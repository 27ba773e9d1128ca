"""Train a sentence encoder by InfoNCE on queries, positives and hard negatives."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.trainer_utils import IntervalStrategy

from finbert2 import args, cards, encoder, files, packing, plots, runtime, training, uploads
from finbert2.errors import UserError
from finbert2.retriever import benchmark, check, folder
from finbert2.retriever.batches import Batches, Groups
from finbert2.retriever.collate import Collator
from finbert2.retriever.data import TrainingRow, read_training_rows
from finbert2.retriever.options import METRIC, RetrieverArguments, RetrieverTrainingArguments

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finbert2.retriever.trainer import RetrieverTrainer

log = logging.getLogger(__name__)


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read rows, train, write a folder that SentenceTransformer and AutoModel load."""
    options, arguments = args.parse(
        "retriever train", __doc__ or "", argv, RetrieverArguments, RetrieverTrainingArguments
    )
    check_evaluation(options, arguments)
    training.need_one_gpu(arguments, "contrastive_finetune.sh")
    rows, moved = read_training_rows(options.train_data, options.no_in_batch_negatives)
    check_scores(rows, options)
    groups = Groups(rows, options.train_group_size, options.query_instruction, arguments.seed)
    batches(groups, options, arguments)  # refuses too few rows before claiming
    facts = args.contents(*data_files(options)) | training.step_facts(arguments)
    args.claim(arguments.output_dir, options, arguments, facts=facts)
    if args.is_finished(arguments.output_dir):
        log.info("%s holds the finished run: nothing to do", arguments.output_dir)
        uploads.publish(Path(arguments.output_dir or ""), arguments)
        return
    start = time.monotonic()
    runtime.set_seed(arguments.seed)
    short = groups.short_rows()
    if short:
        log.info(
            "%d of %d rows have fewer than %d negatives: filled up from other rows", short, len(rows), groups.size - 1
        )
    trainer = build_trainer(options, arguments, groups)
    resumed = training.train(trainer, "contrastive")
    if trainer.is_world_process_zero():
        counts = {"n_rows": len(rows), "rows_filled_up": short, "positives_among_negatives": moved}
        counts["resumed_at_step"] = resumed
        finish(trainer, options, arguments, counts, time.monotonic() - start)
        uploads.publish(Path(arguments.output_dir or ""), arguments)


def data_files(options: RetrieverArguments) -> list[Path]:
    """Return the files of the rows, and of what is evaluated on during training."""
    evaluated = benchmark.parts(Path(options.eval_data), options.eval_split) if options.eval_data else []
    return [*files.expand(options.train_data, files.JSON_SUFFIXES), *(path for path in evaluated if path.is_file())]


def check_evaluation(options: RetrieverArguments, arguments: RetrieverTrainingArguments) -> None:
    """Raise `UserError` where evaluation during training is asked for by halves."""
    wanted = arguments.eval_strategy != "no"
    if wanted != bool(options.eval_data):
        raise UserError(
            "evaluation during training takes both --eval_data FOLDER and --eval_strategy steps (or epoch): "
            f"--eval_data is {options.eval_data}, --eval_strategy is {IntervalStrategy(arguments.eval_strategy).value}"
        )
    if options.early_stopping_patience and not wanted:
        raise UserError("--early_stopping_patience needs --eval_data FOLDER and --eval_strategy steps (or epoch)")


def check_scores(rows: list[TrainingRow], options: RetrieverArguments) -> None:
    """Raise `UserError` if there is nothing to distil."""
    if options.distillation_weight and not any(row.pos_scores and row.neg_scores for row in rows):
        raise UserError(
            f"--distillation_weight {options.distillation_weight}: no row has 'pos_scores' and 'neg_scores'; "
            "`retriever mine --reranker` writes them"
        )


def batches(groups: Groups, options: RetrieverArguments, arguments: RetrieverTrainingArguments) -> Batches:
    """Return the batches that the options name."""
    return Batches(
        groups, arguments.per_device_train_batch_size, arguments.world_size,
        options.data_ratio, options.one_source_a_batch,
    )  # fmt: skip


def build_trainer(
    options: RetrieverArguments, arguments: RetrieverTrainingArguments, groups: Groups
) -> "RetrieverTrainer":
    """Return the trainer of the model, the loss and the batches that the options name."""
    from finbert2.retriever.loss import Contrastive, Objective
    from finbert2.retriever.trainer import RetrieverTrainer

    model = load_model(options)
    packing.pack(model)
    start = packing.position_start(packing.config_of(model))
    collator = Collator(model.tokenizer, options.query_max_len, options.passage_max_len, start)
    objective = Objective(
        options.temperature, options.guide_margin, options.distillation_weight, options.teacher_temperature,
        dims(options, model.get_embedding_dimension() or 0),
    )  # fmt: skip
    loss = Contrastive(model, objective, options.mini_batch_tokens, load_guide(options, model))
    trainer = RetrieverTrainer(model, arguments, groups, batches(groups, options, arguments), collator, loss)
    if options.eval_data:
        full = benchmark.load(options.eval_data, options.eval_split)
        trainer.watch(
            benchmark.sample(full, 0, options.eval_max_passages, arguments.seed), options.early_stopping_patience
        )
    return trainer


def dims(options: RetrieverArguments, width: int) -> tuple[int, ...]:
    """Return the lengths of vectors that are trained, the whole one always among them; none without Matryoshka."""
    wrong = [dim for dim in options.matryoshka_dims if not 0 < dim <= width]
    if wrong:
        raise UserError(f"--matryoshka_dims {wrong[0]}: the vectors of {options.model_name_or_path} are {width} long")
    return tuple(sorted({*options.matryoshka_dims, width}, reverse=True)) if options.matryoshka_dims else ()


def load_guide(options: RetrieverArguments, model: "SentenceTransformer") -> "SentenceTransformer | None":
    """Return the encoder that judges false negatives, reading the same packed tokens as the one that is trained."""
    if options.guide_model is None:
        return None
    guide = encoder.load_sentence_transformer(options.guide_model)
    if not packing.can_pack(guide) or guide.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise UserError(
            f"--guide_model {options.guide_model} has not the vocabulary of {options.model_name_or_path}, "
            "whose tokens it is to read: choose a guide that was made from the same encoder"
        )
    packing.pack(guide)
    return guide


def load_model(options: RetrieverArguments) -> "SentenceTransformer":
    """Return the encoder in fp32 with the instruction as its query prompt."""
    model = encoder.load_sentence_transformer(options.model_name_or_path, pooling=options.sentence_pooling_method)
    folder.check(model, options.model_name_or_path)
    pooling: Any = model[1]
    if options.sentence_pooling_method == "mean" != pooling.pooling_mode:
        raise UserError(
            f"--sentence_pooling_method mean: {options.model_name_or_path} was trained to pool by "
            f"{pooling.pooling_mode}, and goes on so; start from a plain encoder"
        )
    if not packing.can_pack(model):
        kinds, config = ", ".join(sorted(packing.KINDS)), packing.config_of(model)
        kind = config.model_type + " decoder" * (config.model_type in packing.KINDS)
        raise UserError(f"{options.model_name_or_path} is a {kind}: encoders of {kinds} are trained here")
    limit = model.max_seq_length or 512
    longest = max(options.query_max_len, options.passage_max_len)
    if longest > limit:
        raise UserError(
            f"--query_max_len {options.query_max_len} and --passage_max_len {options.passage_max_len}: "
            f"{options.model_name_or_path} reads at most {limit} tokens; lower them"
        )
    model.max_seq_length, model.truncate_dim = longest, None  # all of the vectors is trained and saved
    model.prompts = {"query": options.query_instruction, "document": ""}
    # transformers 5 opens a half-precision checkpoint in half precision, in which it must not train.
    return model.float()


def finish(
    trainer: "RetrieverTrainer",
    options: RetrieverArguments,
    arguments: RetrieverTrainingArguments,
    counts: dict,
    seconds: float,
) -> None:
    """Write the model folder, its card and the results, in that order."""
    output_dir, steps = Path(arguments.output_dir or ""), trainer.state.global_step
    if options.start_share:
        mix(trainer.model, load_model(options), options.start_share)
    folder.save(trainer.model, output_dir, options.query_instruction)
    check.store(trainer.model, output_dir)
    results = {
        **counts,
        **training.summary(trainer),
        "rows_per_second": (steps - counts["resumed_at_step"]) * training.rows_a_step(arguments) / seconds,
        "data": files.fingerprint(data_files(options)),
    }
    use = f'SentenceTransformer("{output_dir.name}").encode(["美联储加息"], prompt_name="query")'
    results |= watched(trainer.state.log_history)
    tags = ["sentence-transformers", "feature-extraction", "sentence-similarity"]
    cards.write(output_dir, output_dir.name, use, tags, args.as_record(options, arguments), results)
    files.write_text(output_dir / "loss.svg", plots.svg(training.curve(trainer)))
    files.write_json(output_dir / "results.json", results | runtime.circumstances(arguments.seed, seconds))
    log.info("loss %.3f → %.3f; the model is in %s", results["loss_first"], results["loss_last"], output_dir)


def mix(trained: "SentenceTransformer", start: "SentenceTransformer", share: float) -> None:
    """Move the trained weights towards those of the start: (1 - share) · trained + share · start (LM-Cocktail)."""
    import torch

    with torch.no_grad():
        for one, other in zip(trained.parameters(), start.parameters(), strict=True):
            one.lerp_(other.to(one.device), share)


def watched(history: list[dict]) -> dict:
    """Return from the trainer's log what was watched beside the loss, and the evaluations with the best of them."""
    found: dict = {}
    steps = [entry for entry in history if "positive_rank" in entry]
    if steps:
        found = {name: [entry[name] for entry in steps] for name in ("positive_rank", "positive_margin")}
    evaluations = [entry for entry in history if METRIC in entry]
    if evaluations:
        found |= {"evaluations": evaluations, "best_ndcg@10": max(entry[METRIC] for entry in evaluations)}
    return found


if __name__ == "__main__":
    main()
