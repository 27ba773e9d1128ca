"""Train a sentence encoder by InfoNCE on queries, positives and hard negatives."""

import dataclasses
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from finbert2 import args, cards, encoder, files, plots, runtime, training
from finbert2.errors import UserError
from finbert2.retriever import folder
from finbert2.retriever.data import read_training_rows
from finbert2.retriever.draw import Batches, Groups
from finbert2.retriever.loss import Collator, info_nce, pack, position_start

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finbert2.retriever.trainer import RetrieverTrainer

log = logging.getLogger(__name__)
INSTRUCTION = "为这个句子生成表示以用于检索相关文章："


@dataclasses.dataclass
class Options:
    """What is trained on what."""

    train_data: list[str] = args.option("files or folders of FlagEmbedding rows: query, pos, neg")
    model_name_or_path: str = args.option("encoder to start from", default="valuesimplex-ai-lab/FinBERT2-base")
    train_group_size: int = args.option("passages a query: one positive, the others negatives", default=15)
    temperature: float = args.option("divisor of the cosines", default=0.01)
    query_instruction: str = args.option("text before each query, kept in the model as its prompt", default=INSTRUCTION)
    query_max_len: int = args.option("tokens kept of a query", default=512)
    passage_max_len: int = args.option("tokens kept of a passage", default=512)
    mini_batch_tokens: int = args.option("tokens a forward pass by GradCache; 0: no GradCache", default=0)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.train_group_size < 1:
            raise ValueError(f"--train_group_size {self.train_group_size}: a group is at least its positive, so 1")
        if self.temperature <= 0:
            raise ValueError(f"--temperature {self.temperature} has to be above 0")


@dataclasses.dataclass
class RetrieverTrainingArguments(args.TrainingArguments):
    """The paper's recipe."""

    output_dir: str | None = args.option("folder of the model and its results", default="outputs/retriever")
    learning_rate: float = args.option("highest learning rate", default=2e-5)
    num_train_epochs: float = args.option("passes over the rows", default=5.0)
    warmup_steps: float = args.option("steps of warm-up, or below 1 their share", default=0.1)
    weight_decay: float = args.option("weight decay", default=0.03)
    per_device_train_batch_size: int = args.option("queries a batch and process", default=8)
    dataloader_drop_last: bool = args.option("leave the last, smaller batch out; always so here", default=True)
    logging_steps: float = args.option("steps between two losses in the log", default=10)

    def __post_init__(self) -> None:
        """Refuse evaluation during training, which is not there."""
        super().__post_init__()
        if self.eval_strategy != "no":
            raise ValueError(
                "--eval_strategy: there is no evaluation during training; use `retriever evaluate` after it"
            )
        if not self.dataloader_drop_last:
            raise ValueError("--dataloader_drop_last False: a smaller last batch would have fewer negatives")


@args.command
def main(argv: list[str] | None = None) -> None:
    """Read rows, train, write a folder that SentenceTransformer and AutoModel load."""
    options, arguments = args.parse("retriever train", __doc__ or "", argv, Options, RetrieverTrainingArguments)
    rows, moved = read_training_rows(options.train_data)
    groups = Groups(rows, options.train_group_size, options.query_instruction, arguments.seed)
    Batches(groups, arguments.per_device_train_batch_size, arguments.world_size)  # refuses too few rows before claiming
    args.claim(arguments.output_dir, options, arguments)
    if args.is_finished(arguments.output_dir):
        log.info("%s holds the finished run: nothing to do", arguments.output_dir)
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


def build_trainer(options: Options, arguments: RetrieverTrainingArguments, groups: Groups) -> "RetrieverTrainer":
    """Return the trainer of the model, the loss and the batches that the options name."""
    from finbert2.retriever.trainer import RetrieverTrainer

    model = load_model(options)
    pack(model)
    limits = options.query_max_len, options.passage_max_len
    collator = Collator(model.tokenizer, *limits, position_start(model))
    batches = Batches(groups, arguments.per_device_train_batch_size, arguments.world_size)
    loss = info_nce(model, options.temperature, options.mini_batch_tokens)
    return RetrieverTrainer(model, arguments, groups, batches, collator, loss)


def load_model(options: Options) -> "SentenceTransformer":
    """Return the encoder in fp32 with the instruction as its query prompt."""
    model = encoder.load_sentence_transformer(options.model_name_or_path)
    folder.check(model, options.model_name_or_path)
    limit = model.max_seq_length or 512
    longest = max(options.query_max_len, options.passage_max_len)
    if longest > limit:
        raise UserError(
            f"--query_max_len {options.query_max_len} and --passage_max_len {options.passage_max_len}: "
            f"{options.model_name_or_path} reads at most {limit} tokens; lower them"
        )
    model.max_seq_length = longest
    model.prompts = {"query": options.query_instruction, "document": ""}
    # transformers 5 opens a half-precision checkpoint in half precision, in which it must not train.
    return model.float()


def queries_a_step(arguments: RetrieverTrainingArguments) -> int:
    """Return how many queries enter one update."""
    return arguments.per_device_train_batch_size * arguments.world_size * arguments.gradient_accumulation_steps


def finish(
    trainer: "RetrieverTrainer", options: Options, arguments: RetrieverTrainingArguments, counts: dict, seconds: float
) -> None:
    """Write the model folder, its card and the results, in that order."""
    output_dir, steps = Path(arguments.output_dir or ""), trainer.state.global_step
    folder.save(trainer.model, output_dir, options.query_instruction)
    results = {
        **counts,
        **training.summary(trainer),
        "rows_per_second": (steps - counts["resumed_at_step"]) * queries_a_step(arguments) / seconds,
        "data": files.fingerprint(files.expand(options.train_data, (".jsonl", ".json"))),
    }
    use = f'SentenceTransformer("{output_dir.name}").encode(["美联储加息"], prompt_name="query")'
    tags = ["sentence-transformers", "feature-extraction", "sentence-similarity"]
    cards.write(output_dir, output_dir.name, use, tags, args.as_record(options, arguments), results)
    files.write_text(output_dir / "loss.svg", plots.svg(training.curve(trainer)))
    files.write_json(output_dir / "results.json", results | runtime.circumstances(arguments.seed, seconds))
    log.info("loss %.3f → %.3f; the model is in %s", results["loss_first"], results["loss_last"], output_dir)


if __name__ == "__main__":
    main()
