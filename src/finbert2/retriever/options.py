"""What a training run is told: the paper's recipe and its extensions, as flags."""

import dataclasses
from typing import Literal

from finbert2 import args

INSTRUCTION = "为这个句子生成表示以用于检索相关文章："
METRIC = "eval_ndcg@10"


@dataclasses.dataclass
class RetrieverArguments:
    """What is trained on what."""

    train_data: list[str] = args.option("files or folders of FlagEmbedding rows: query, pos, neg; each is one source")
    model_name_or_path: str = args.option("encoder to start from", default="valuesimplex-ai-lab/FinBERT2-base")
    sentence_pooling_method: Literal["cls", "mean"] = args.option(
        "the vector of a text that a plain encoder starts from: of [CLS], or the mean of its tokens'", default="cls"
    )
    train_group_size: int = args.option("passages a query: one positive, the others negatives", default=15)
    temperature: float = args.option("divisor of the cosines", default=0.01)
    query_instruction: str = args.option("text before each query, kept in the model as its prompt", default=INSTRUCTION)
    query_max_len: int = args.option("tokens kept of a query", default=512)
    passage_max_len: int = args.option("tokens kept of a passage", default=512)
    mini_batch_tokens: int = args.option("tokens a forward pass by GradCache; 0: no GradCache", default=0)
    data_ratio: list[float] = args.option(
        "shares of the sources in an epoch's rows, one number a source; unset: as many as they have", factory=list
    )
    one_source_a_batch: bool = args.option("rows of a step come from one source", default=False)
    no_in_batch_negatives: list[str] = args.option(
        "those of --train_data whose queries see the negatives of their own row only", factory=list
    )
    distillation_weight: float = args.option(
        "weight of the loss from pos_scores and neg_scores beside InfoNCE; 0: not read", default=0.0
    )
    teacher_temperature: float = args.option("divisor of pos_scores and neg_scores", default=1.0)
    guide_model: str | None = args.option(
        "encoder with the same vocabulary that finds false negatives in the batch", default=None
    )
    guide_margin: float = args.option(
        "passages that the guide scores above the positive's score less this leave the softmax", default=0.0
    )
    matryoshka_dims: list[int] = args.option("lengths of the vectors' beginnings that are trained too", factory=list)
    start_share: float = args.option(
        "share of the starting weights mixed into the trained ones at the end, against forgetting", default=0.0
    )
    eval_data: str | None = args.option("BEIR folder on which nDCG@10 is measured during training", default=None)
    eval_split: str = args.option("its judgements, qrels/<split>.tsv", default="dev")
    eval_max_passages: int = args.option("passages drawn from its corpus, relevant ones always kept; 0: all", default=0)
    early_stopping_patience: int = args.option(
        "evaluations without a better nDCG@10 after which training ends; 0: never", default=0
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.train_group_size < 1:
            raise ValueError(f"--train_group_size {self.train_group_size}: a group is at least its positive, so 1")
        for name in ("temperature", "teacher_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} {getattr(self, name)} has to be above 0")
        if not 0 <= self.start_share < 1:
            raise ValueError(f"--start_share {self.start_share}: it has to be from 0 to below 1")
        if self.data_ratio and len(self.data_ratio) != len(self.train_data):
            raise ValueError(
                f"--data_ratio has {len(self.data_ratio)} numbers for {len(self.train_data)} of --train_data: one each"
            )
        if any(share <= 0 for share in self.data_ratio):
            raise ValueError(f"--data_ratio {' '.join(map(str, self.data_ratio))}: each has to be above 0")
        strangers = set(self.no_in_batch_negatives) - set(self.train_data)
        if strangers:
            raise ValueError(f"--no_in_batch_negatives {sorted(strangers)[0]}: it is not one of --train_data")
        if self.train_group_size == 1 and self.no_in_batch_negatives:
            raise ValueError("--no_in_batch_negatives needs negatives: raise --train_group_size")


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
    metric_for_best_model: str | None = args.option("measure of the best checkpoint", default=METRIC)

    def __post_init__(self) -> None:
        """Let checkpoints follow evaluations, so that the best one can be kept; refuse a smaller last batch."""
        if str(getattr(self.eval_strategy, "value", self.eval_strategy)) != "no":
            self.save_strategy, self.load_best_model_at_end = self.eval_strategy, True
            self.save_steps = self.eval_steps or self.logging_steps  # the steps that transformers evaluates at
        super().__post_init__()
        if not self.dataloader_drop_last:
            raise ValueError("--dataloader_drop_last False: a smaller last batch would have fewer negatives")
        if self.metric_for_best_model != METRIC:
            raise ValueError(f"--metric_for_best_model {self.metric_for_best_model}: {METRIC} is the one measured here")
