"""sentence-transformers' trainer on batches of groups; imports it, so it is imported only to train."""

import dataclasses
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from finbert2.retriever.draw import Batches, Groups
from finbert2.retriever.loss import Collator


class RetrieverTrainer(SentenceTransformerTrainer):
    """Trains on groups drawn anew each epoch; the model card is ours, written at the end."""

    def __init__(
        self,
        model: SentenceTransformer,
        arguments: TrainingArguments,
        groups: Groups,
        batches: Batches,
        collator: Collator,
        loss: torch.nn.Module,
    ) -> None:
        self.groups, self.batches = groups, batches
        values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(arguments) if field.init}
        super().__init__(
            model=model,
            args=SentenceTransformerTrainingArguments(**values),
            train_dataset=Dataset.from_dict({"row": range(len(groups))}),  # only its length is read
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
