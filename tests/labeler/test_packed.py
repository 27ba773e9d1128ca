"""Labelers trained on texts laid end to end: the numbers of a padded batch."""

import pytest
import torch
from tokenizers import Tokenizer, models, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from finbert2 import packing
from finbert2.errors import UserError
from finbert2.labeler import packed
from finbert2.labeler.data import need_marks
from finbert2.labeler.features import IGNORED
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.labeler.trainer import LabelTrainer

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 40, "num_labels": 3, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
ROWS = [[2, 11, 12, 3], [2, 13, 3], [2, 14, 15, 16, 17, 18, 3]]
TAGS = [[IGNORED, 1, 2, IGNORED], [IGNORED, 0, IGNORED], [IGNORED, 1, IGNORED, 2, 0, 0, IGNORED]]
MODELS = {
    "classifier": (BertForSequenceClassification, BertConfig(pad_token_id=0, **SIZES)),
    "tagger": (BertForTokenClassification, BertConfig(pad_token_id=0, **SIZES)),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(pad_token_id=0, **SIZES)),
}


def padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_a_padded_batch(name):
    kind, config = MODELS[name]
    torch.manual_seed(0)
    model = kind(config).train()
    batch = padded(ROWS)
    weights = torch.randn(3, 7, 3) if name == "tagger" else torch.randn(3, 3)
    weights *= batch["attention_mask"][..., None] if name == "tagger" else 1
    found = []
    for laid in (False, True):
        if laid:
            packed.pack(model)
            features = packed.Collator(packing.position_start(config))([{"input_ids": r, "labels": 0} for r in ROWS])
            logits = model(**{key: value for key, value in features.items() if key != "labels"}).logits
        else:
            logits = model(**batch).logits
        model.zero_grad()
        (logits * weights).sum().backward()
        found.append((logits * weights, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}))
    assert found[0][0].shape == found[1][0].shape and torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for parameter, gradient in found[0][1].items():
        assert torch.allclose(gradient, found[1][1][parameter], atol=1e-5), parameter
    packed.unpack(model)
    assert torch.allclose(model(**batch).logits * weights, found[0][0], atol=1e-6)


def test_gradient_checkpointing_changes_nothing():
    kind, config = MODELS["classifier"]
    torch.manual_seed(0)
    model, gradients = kind(config).train(), []
    features = packing.lay(ROWS)
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        logits, _ = packed.logits(model, features)
        logits.square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_dropout_reaches_the_head():
    model = BertForSequenceClassification(BertConfig(pad_token_id=0, **{**SIZES, "classifier_dropout": 0.5})).train()
    torch.manual_seed(0)
    one, two = (packed.logits(model, packing.lay(ROWS))[0] for _ in range(2))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, 0, 1], torch.tensor([2, 0, 1])),
        ([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])),
        (TAGS, torch.tensor([tags + [IGNORED] * (7 - len(tags)) for tags in TAGS])),
    ],
)
def test_a_batch_is_laid_end_to_end_with_its_labels(labels, expected):
    rows = [{"input_ids": ids, "labels": label} for ids, label in zip(ROWS, labels, strict=True)]
    batch = packed.Collator(2)(rows)
    assert batch["input_ids"].tolist() == [sum(ROWS, [])]
    assert batch["position_ids"].tolist() == [[2, 3, 4, 5, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 4, 7, 14]
    assert torch.equal(batch["labels"], expected) and batch["labels"].dtype == expected.dtype


def test_a_model_that_answers_with_more_than_logits_is_scored_by_these(tmp_path):
    """BART's last states came along, and the score after the first epoch ended in a traceback."""
    from transformers import BartConfig, BartForSequenceClassification

    config = BartConfig(
        vocab_size=50, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, num_labels=3,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    arguments = LabelerTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False)
    trainer = LabelTrainer(model=BartForSequenceClassification(config), args=arguments, eval_dataset=[])
    batch = padded(ROWS) | {"labels": torch.tensor([0, 1, 2])}
    _, logits, _ = trainer.prediction_step(trainer.model, batch, prediction_loss_only=False)
    assert logits.shape == (3, 3)


def test_a_tokenizer_that_ends_in_both_marks_is_refused():
    """XLNet's: its classifiers read the last token, and would be given [CLS] first."""
    rules = Tokenizer(models.WordLevel({"[UNK]": 0, "<cls>": 1, "<sep>": 2}, unk_token="[UNK]"))
    marks = {"cls_token": "<cls>", "sep_token": "<sep>"}
    need_marks(PreTrainedTokenizerFast(tokenizer_object=rules, **marks), "own")  # with no order of its own
    rules.post_processor = processors.TemplateProcessing("$A <sep> <cls>", None, [("<cls>", 1), ("<sep>", 2)])
    with pytest.raises(UserError, match=r"xl has a tokenizer without \[CLS\] and \[SEP\]"):
        need_marks(PreTrainedTokenizerFast(tokenizer_object=rules, **marks), "xl")
