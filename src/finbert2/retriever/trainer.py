"""sentence-transformers' trainer on batches of groups; imports it, so it is imported only to train."""

import dataclasses
from typing import Any

from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finbert2 import encoder
from finbert2.args import SECRETS
from finbert2.retriever import ranking
from finbert2.retriever.batches import Batches, Groups
from finbert2.retriever.benchmark import Benchmark
from finbert2.retriever.collate import Collator
from finbert2.retriever.loss import Contrastive, drain
from finbert2.retriever.metrics import measure
from finbert2.retriever.options import METRIC
from finbert2.retriever.ranking import Run


class RetrieverTrainer(SentenceTransformerTrainer):
    """Trains on groups drawn anew each epoch; the model card is ours, written at the end."""

    def __init__(
        self,
        model: SentenceTransformer,
        arguments: TrainingArguments,
        groups: Groups,
        batches: Batches,
        collator: Collator,
        loss: Contrastive,
    ) -> None:
        self.groups, self.batches, self.contrastive = groups, batches, loss
        self.benchmark: Benchmark | None = None
        values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(arguments) if field.init}
        values |= dict.fromkeys(SECRETS)  # each checkpoint holds these arguments
        super().__init__(
            model=model,
            args=SentenceTransformerTrainingArguments(**values),
            train_dataset=Dataset.from_dict({"row": range(len(groups))}),  # only its length is read
            eval_dataset=Dataset.from_dict({"row": [0]}) if arguments.eval_strategy != "no" else None,  # never read
            loss=loss,
            data_collator=collator,  # type: ignore[arg-type]
        )

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader of this process; accelerate deals whole batches out to the processes."""
        self.accelerator.even_batches = False
        loader: DataLoader[Any] = DataLoader(
            self.groups,  # type: ignore[arg-type]
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out sentence-transformers' card, which would describe the row numbers as the data."""

    def watch(self, benchmark: Benchmark, patience: int) -> None:
        """Measure nDCG@10 on a benchmark when `eval_strategy` says so; stop after `patience` without a better one."""
        self.benchmark = benchmark
        if patience:
            self.add_callback(EarlyStopping(patience))

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return the benchmark's metrics, `eval_ndcg@10` and the rest, of the model as it now is."""
        assert self.benchmark is not None, "`watch` names what is evaluated"
        run = encoder_run(self.model, self.benchmark)
        found = {f"{metric_key_prefix}_{name}": v for name, v in measure(run, self.benchmark.judgements).items()}
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log beside the loss the positive's mean rank and its lead over the best other passage."""
        super().log(logs | drain(self.contrastive.seen) if "loss" in logs else logs, start_time)


class EarlyStopping(TrainerCallback):
    """Ends training after `patience` evaluations without a better nDCG@10.

    They are counted in the log, which goes on in a resumed run: transformers' own callback begins to count anew.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End a run that was interrupted after its last evaluation."""
        self.on_evaluate(args, state, control)

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Count the evaluations since the best one, of equals the first."""
        found = [entry[METRIC] for entry in state.log_history if METRIC in entry]
        if found and len(found) - 1 - found.index(max(found)) >= self.patience:
            control.should_training_stop = True


def encoder_run(model: SentenceTransformer, benchmark: Benchmark) -> Run:
    """Return the model's run over a benchmark, queries with their prompt."""
    queries = encoder.encode(model, list(benchmark.queries.values()), prompt=encoder.query_prompt(model))
    passages = encoder.encode(model, list(benchmark.passages.values()))
    return ranking.rank(benchmark.queries, ranking.products(queries, passages), list(benchmark.passages), 100)
