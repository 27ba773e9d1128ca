"""HuggingFace's Trainer over packed rows."""

from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from finbert2.pretrain.data import EpochSampler
from finbert2.pretrain.masking import IGNORED


class PretrainingTrainer(Trainer):
    """Draws rows by (epoch, row) and counts RetroMAE's two kinds of predictions apart."""

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader over `PackedRows`, its order a pure function of (seed, epoch)."""
        rows: Any = self.train_dataset
        loader = DataLoader(
            rows, batch_size=self.args.train_batch_size, sampler=EpochSampler(len(rows), self.args.seed),
            collate_fn=self.data_collator, num_workers=self.args.dataloader_num_workers,
            # Shapes never change, and a corpus smaller than one batch still makes one.
            drop_last=len(rows) >= self.args.train_batch_size * self.args.world_size,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Return the step's micro-batches and the number of MLM predictions in them on all ranks.

        RetroMAE's batches also get `num_decoder_items`: its decoder predicts every token, not only the masked ones.
        """
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches and "target_ids" in batches[0]:
            model: Any = self.accelerator.unwrap_model(self.model)
            count = sum((model.decoder_targets(batch["target_ids"]) != IGNORED).sum() for batch in batches)
            if self.args.world_size > 1 and self.args.average_tokens_across_devices:
                count = self.accelerator.gather(count.to(device)).sum()
            for batch in batches:
                batch["num_decoder_items"] = count
        return batches, items
