"""HuggingFace's Trainer over packed rows."""

from collections import deque
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader
from transformers import Trainer

from finbert2 import training
from finbert2.errors import UserError
from finbert2.pretrain.callbacks import EpochKeeper, LossWatch, StopOnSignal, leave_sigterm_to_the_run
from finbert2.pretrain.collator import Origin
from finbert2.pretrain.evaluate import evaluate
from finbert2.pretrain.meters import Meter
from finbert2.pretrain.packing import EpochSampler, PackedRows, Schedule

PARTS = ("encoder_loss", "decoder_loss", "bag_of_words_loss", "cls_words_loss")


class PretrainingTrainer(Trainer):
    """Draws rows by `Place`, counts RetroMAE's kinds of predictions apart, measures speed, watches the loss."""

    def __init__(
        self, *, ratios: tuple[tuple[float, float], ...], ramp: int = 0, peak: float | None = None, **kwargs: Any
    ) -> None:
        """Take the mask ratios by share of the run, the steps of the batch ramp and the device's peak in FLOP/s."""
        super().__init__(**kwargs)
        if self.is_fsdp_enabled:
            self.prepare_fsdp(self.accelerator.state.fsdp_plugin)
        self.ratios, self.ramp, self.peak = ratios, ramp, peak
        self.meter = Meter()
        self.origins: deque[Origin] = deque()
        self.part_sums = dict.fromkeys(PARTS, 0.0)
        self.unlogged_steps = 0
        self.watch, self.stop, self.epochs = LossWatch(self.args.output_dir or ""), StopOnSignal(), EpochKeeper()
        for callback in (self.epochs, self.stop, self.watch):  # the watch sees also the checkpoint that a signal wants
            self.add_callback(callback)

    def prepare_fsdp(self, plugin: Any) -> None:
        """Choose what of FSDP's settings there is a choice in; raise `UserError` for those that do harm."""
        if plugin.fsdp_version != 2 or plugin.cpu_ram_efficient_loading:
            raise UserError(
                "FSDP works here by its second version, every process loading the whole model first: give --fsdp "
                "alone, or docs/accelerate/fsdp.yaml (fsdp_version: 2, fsdp_cpu_ram_efficient_loading: false)"
            )
        # A run that resumes from whole states waits for ever (torch 2.13); `save_model` writes the model whole.
        plugin.state_dict_config = plugin.optim_state_dict_config = None
        plugin.set_state_dict_type("SHARDED_STATE_DICT")
        self.trained.to(self.args.device)  # the Trainer leaves that to FSDP, but the model is evaluated before

    @property
    def trained(self) -> Any:
        """The model that is trained, without wrappers."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; under FSDP each process keeps its part of weights, gradients and optimizer between the passes.

        The model is one unit of FSDP: BERT ties the embeddings to the head and passes by its layers' own forward, and
        its weights, whole during a pass, are small beside the activations.
        """
        if self.is_fsdp_enabled:
            fully_shard(self.trained)
        return super().train(*args, **kwargs)

    def whole_model(self) -> Any:
        """Return the model; under FSDP a copy that all processes put together, each for itself."""
        model = self.trained
        if not self.is_fsdp_enabled:
            return model
        weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
        whole = type(model)._from_config(model.config)
        whole.load_state_dict(weights)
        return whole.to(self.args.device)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, whole also under FSDP."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        whole = self.whole_model()
        if self.args.should_save:
            self._save(output_dir, whole.state_dict())

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader over `PackedRows`, its order a pure function of (seed, epoch)."""
        rows: Any = self.train_dataset
        self.meter.reset()
        self.epochs.sampler = EpochSampler(len(rows), self.args.seed, self.schedule(len(rows)))
        loader = DataLoader(
            rows, batch_size=self.args.train_batch_size, sampler=self.epochs.sampler,
            collate_fn=self.data_collator, num_workers=self.args.dataloader_num_workers,
            # Shapes never change, and a corpus smaller than one batch still makes one.
            drop_last=len(rows) >= self.args.train_batch_size * self.args.world_size,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
            worker_init_fn=leave_sigterm_to_the_run,
        )  # fmt: skip
        return self.accelerator.prepare(loader)

    def schedule(self, rows: int) -> Schedule:
        """Return what changes over the run that the arguments plan on a corpus of `rows` rows."""
        batches = self.args.world_size * self.args.gradient_accumulation_steps
        planned = int(self.args.num_train_epochs * rows)
        if self.args.max_steps > 0:
            epochs, steps = divmod(self.args.max_steps, self.steps_an_epoch(rows))
            planned = epochs * rows + steps * training.rows_a_step(self.args)
        return Schedule(self.ratios, planned, self.args.train_batch_size, batches, self.ramp)

    def steps_an_epoch(self, rows: int) -> int:
        """Return how many steps the Trainer makes of `rows` rows; the last one may have fewer batches."""
        batches = max(1, rows // (self.args.world_size * self.args.train_batch_size))
        return -(-batches // self.args.gradient_accumulation_steps)

    def rows_met(self, steps: int) -> int:
        """Return how many rows the run has met after so many steps; what fills no batch of an epoch is left out."""
        dataset: Any = self.train_dataset
        rows, batch = len(dataset), self.args.world_size * self.args.train_batch_size
        of_epoch = max(min(rows, batch), rows // batch * batch)
        schedule = self.schedule(rows)
        ramped = range(min(schedule.batches * min(steps, self.ramp), of_epoch // self.args.train_batch_size))
        blank = sum(self.args.train_batch_size - schedule.rows(batch) for batch in ramped)
        epochs, steps = divmod(steps, self.steps_an_epoch(rows))
        return epochs * of_epoch + steps * training.rows_a_step(self.args) - blank

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Return the step's micro-batches and the number of MLM predictions in them on all ranks.

        RetroMAE's batches also get `num_decoder_items`, since its decoder predicts every token and not only the masked
        ones, and `num_documents`.
        """
        self.unlogged_steps += 1
        with self.meter.waiting():
            batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        decoders = [batch["decoder_batch"] for batch in batches if "decoder_batch" in batch]
        if decoders:
            counts = torch.tensor([[len(d["decoder_places"]), len(d["documents"])] for d in decoders]).sum(0)
            if self.args.world_size > 1 and self.args.average_tokens_across_devices:
                counts = self.accelerator.reduce(counts.to(device), reduction="sum")
            for batch in batches:
                batch["num_decoder_items"], batch["num_documents"] = counts
        for batch in batches:
            origin = batch.pop("origin")
            decoded = len(batch["decoder_batch"]["decoder_places"]) if decoders else 0
            self.meter.count(origin, len(batch["labels"]), decoded)
            self.origins.append(origin)
        return batches, items

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Train on one micro-batch; its loss is watched."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.watch.add(f"step {self.state.global_step + 1} ({self.origins.popleft()})", loss)
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss; RetroMAE's parts are summed for the log."""
        # Accelerate has autocast in all models but FSDP's, where it would keep the weights themselves in bf16.
        low = self.is_fsdp_enabled and self.args.bf16
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=low):
            loss, outputs = super().compute_loss(
                model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
            )
        for name in PARTS:
            if outputs.get(name) is not None:
                self.part_sums[name] = self.part_sums[name] + outputs[name]
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; beside a training loss also its parts, tokens a second, MFU and the share of waiting for the loader."""
        if "loss" in logs:
            for name, total in self.part_sums.items():
                if isinstance(total, torch.Tensor):
                    logs[name] = round(float(total) * self.args.world_size / self.unlogged_steps, 4)
            self.part_sums, self.unlogged_steps = dict.fromkeys(PARTS, 0.0), 0
            logs |= self.meter.read(self.trained, self.args.world_size, self.peak)
        super().log(logs, start_time)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return and log the held-out measures of `pretrain evaluate`, as `eval_…`."""
        rows: Any = self.eval_dataset
        assert isinstance(rows, PackedRows)
        measured = evaluate(self.whole_model(), rows, self.processing_class)
        metrics = {f"{metric_key_prefix}_{n}": v for n, v in measured.items() if isinstance(v, float)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
