"""A cross-encoder that scores pairs: sentence-transformers' or FlagEmbedding's, which share the format."""

from collections.abc import Sequence
from typing import Any

from finbert2 import encoder, runtime, vocabulary, weights


class Reranker:
    """A sequence classifier with one output; its raw score, no sigmoid."""

    def __init__(self, name: str, batch_size: int = 32, max_length: int = 512) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.tokenizer = encoder.load(AutoTokenizer.from_pretrained, name)
        found = encoder.load(
            AutoModelForSequenceClassification.from_pretrained, name, num_labels=1, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
        model = weights.need(found, name, head=True)
        vocabulary.check_size(self.tokenizer, model.config, name)
        self.model: Any = weights.widened(model).eval().to(runtime.device())
        self.batch_size = batch_size
        self.max_length = min(max_length, self.tokenizer.model_max_length)

    def score(self, pairs: Sequence[tuple[str, str]], show_progress: bool = False) -> list[float]:
        """Return the score of each pair, longest pairs first behind the scenes.

        Tokens beyond the limit are taken from the longer of the two texts, as sentence-transformers does: a query
        loses some only where it is the longer one.
        """
        found = [0.0] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda place: -len(pairs[place][0]) - len(pairs[place][1]))
        with runtime.inference(), encoder.progress(len(pairs), show_progress) as bar:
            for start in range(0, len(order), self.batch_size):
                places = order[start : start + self.batch_size]
                queries, passages = zip(*(pairs[place] for place in places), strict=True)
                batch = self.tokenizer(
                    list(queries), list(passages), truncation="longest_first", max_length=self.max_length, padding=True,
                    return_tensors="pt",
                ).to(self.model.device)  # fmt: skip
                for place, score in zip(places, self.model(**batch).logits[:, 0].float().tolist(), strict=True):
                    found[place] = score
                bar.update(len(places))
        return found
