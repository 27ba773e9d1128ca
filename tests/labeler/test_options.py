"""What the options of training do, on models of two layers."""

import json

import pytest
import torch
from torch.nn import functional
from transformers import AutoTokenizer, Trainer, set_seed

from finbert2.errors import UserError
from finbert2.labeler import train
from finbert2.labeler.data import Example, encode_characters, encode_windows
from finbert2.labeler.features import IGNORED, Task, pool, text_features
from finbert2.labeler.fit import balanced, load_model
from finbert2.labeler.options import LabelerTrainingArguments
from finbert2.labeler.trainer import LabelTrainer, depth, divergence

from .conftest import flags, run

LABELS = ["利好", "利空", "中性"]


def trainer(tiny_bert, tmp_path, task=None, multi_label=False, weights=None, **options):
    task = task or Task("classification", LABELS, multi_label, [], [])
    set_seed(0)
    arguments = LabelerTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False, **options)
    return LabelTrainer(
        model=load_model(tiny_bert, task), args=arguments, train_dataset=[], eval_dataset=[],
        multi_label=multi_label, weights=weights,
    )  # fmt: skip


@pytest.fixture
def batch(tiny_bert):
    tokens = AutoTokenizer.from_pretrained(tiny_bert)(["公司净利润增长", "央行下调"], return_tensors="pt", padding=True)
    return dict(tokens) | {"labels": torch.tensor([0, 2])}


def test_the_plain_loss_is_the_models_own(tiny_bert, tmp_path, batch):
    mine = trainer(tiny_bert, tmp_path)
    mine.model.eval()
    assert mine.compute_loss(mine.model, batch).item() == pytest.approx(mine.model(**batch).loss.item())
    several = trainer(tiny_bert, tmp_path, multi_label=True)
    several.model.eval()
    batch["labels"] = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert several.compute_loss(several.model, batch).item() == pytest.approx(several.model(**batch).loss.item())


def test_weights_and_smoothing_are_torchs(tiny_bert, tmp_path):
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, IGNORED, 1])
    mine = trainer(tiny_bert, tmp_path, weights=[1.0, 2.0, 0.5], label_smoothing_factor=0.1)
    expected = functional.cross_entropy(
        logits, labels, torch.tensor([1.0, 2.0, 0.5]), ignore_index=IGNORED, label_smoothing=0.1
    )
    assert mine.label_loss(logits, labels).item() == pytest.approx(expected.item())
    several = trainer(tiny_bert, tmp_path, multi_label=True, label_smoothing_factor=0.2)
    given = several.label_loss(logits, torch.tensor([[1.0, 0, 0]] * 4))
    soft = torch.tensor([[0.9, 0.1, 0.1]] * 4)
    assert given.item() == pytest.approx(functional.binary_cross_entropy_with_logits(logits, soft).item())


def test_balanced_weights_by_hand():
    rows = [Example("甲", "利好")] * 6 + [Example("乙", "利空")] * 2 + [Example("丙", "中性")]
    assert balanced(Task("classification", LABELS, False, rows, [])) == pytest.approx([0.5, 1.5, 3.0])
    several = [Example("甲", "利好|利空"), Example("乙", "利好"), Example("丙", "利好"), Example("丁", "")]
    assert balanced(Task("classification", LABELS, True, several, [])) == pytest.approx([1 / 3, 3.0, 4.0])
    with pytest.raises(UserError) as raised:
        balanced(Task("ner", ["O"], False, [], []))
    assert str(raised.value) == "--class_weights balanced is for classification: tags have no classes to balance"


def test_divergence_by_hand():
    p, q = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.4, 0.6]])
    kl = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    assert divergence(p.log(), q.log(), False).item() == pytest.approx(kl.item() / 2)
    logit = torch.tensor([[0.7, 0.4]]).logit()  # one label: the same two-way distribution
    assert divergence(logit[:, :1], logit[:, 1:], True).item() == pytest.approx(kl.item() / 2)


def test_dropout_is_the_configs_or_the_one_given(rows, tiny_bert, tmp_path, batch):
    own, none = (load_model(tiny_bert, Task("classification", LABELS, False, [], []), one) for one in (None, 0.0))
    assert own.config.hidden_dropout_prob == own.config.attention_probs_dropout_prob == 0.1
    for model, same in ((own, False), (none, True)):
        trained, applied = (model.train(mode)(**batch).logits for mode in (True, False))
        assert torch.equal(trained, applied) is same
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--max_steps", 1, "--dropout", 0.3))
    config = json.loads((tmp_path / "o" / "config.json").read_text(encoding="utf-8"))
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.3
    assert config["classifier_dropout"] is None  # so the head's is the hidden states'


def test_r_drop_adds_what_two_dropouts_differ_by(tiny_bert, tmp_path, batch):
    plain, dropped = trainer(tiny_bert, tmp_path), trainer(tiny_bert, tmp_path, r_drop=4.0)
    dropped.model.train()
    twice = {name: torch.cat([value, value]) for name, value in batch.items() if name != "labels"}
    torch.manual_seed(1)
    logits = dropped.model(**twice).logits
    one, other = logits.chunk(2)
    expected = functional.cross_entropy(logits, batch["labels"].repeat(2)) + 2.0 * divergence(one, other, False)
    torch.manual_seed(1)
    assert dropped.compute_loss(dropped.model, batch).item() == pytest.approx(expected.item())
    dropped.model.eval(), plain.model.eval()
    assert dropped.compute_loss(dropped.model, batch).item() == plain.compute_loss(plain.model, batch).item()


def test_r_drop_of_tags_is_of_the_characters_that_have_one(tiny_bert, tmp_path, batch):
    """Tags of padding and of [CLS] say nothing: with other words there the term stays the same."""
    labels = torch.full(batch["input_ids"].shape, IGNORED)
    labels[0, 1:4], labels[1, 2:4] = torch.tensor([0, 1, 2]), torch.tensor([2, 1])
    mine = trainer(tiny_bert, tmp_path, Task("ner", ["O", "B-ORG", "I-ORG"], False, [], []), r_drop=2.0)
    mine.model.train()
    set_seed(1)
    loss = mine.compute_loss(mine.model, batch | {"labels": labels})
    features = {name: torch.cat([value, value]) for name, value in batch.items() if name != "labels"}
    set_seed(1)
    one, other = (part[labels != IGNORED] for part in mine.model(**features).logits.chunk(2))
    assert one.shape == (5, 3)
    kept = torch.cat([labels[labels != IGNORED]] * 2)
    expected = functional.cross_entropy(torch.cat([one, other]), kept) + divergence(one, other, False)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_fgm_adds_the_gradient_at_the_shifted_embeddings(tiny_bert, tmp_path, batch, monkeypatch):
    mine = trainer(tiny_bert, tmp_path, fgm=0.5)
    for module in mine.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    table = mine.model.get_input_embeddings().weight
    before = table.detach().clone()
    functional.cross_entropy(
        mine.model(**{k: v for k, v in batch.items() if k != "labels"}).logits, batch["labels"]
    ).backward()
    first = table.grad.clone()
    table.data.add_(first, alpha=0.5 / first.norm().item())
    functional.cross_entropy(
        mine.model(**{k: v for k, v in batch.items() if k != "labels"}).logits, batch["labels"]
    ).backward()
    expected = table.grad.clone()
    table.data.copy_(before)
    mine.model.zero_grad()
    mine.current_gradient_accumulation_steps = 1  # as its loop sets it
    mine.training_step(mine.model, batch)
    assert torch.equal(table, before) and torch.allclose(table.grad, expected, atol=1e-6)
    assert not torch.allclose(expected, 2 * first, atol=1e-6)
    earlier = torch.randn_like(table) * first.norm()  # of the batches before it of the same step
    table.grad = earlier.clone()
    mine.training_step(mine.model, batch)
    assert torch.allclose(table.grad, earlier + expected, atol=1e-5)
    mean, step = torch.randn_like(table) * first.norm(), Trainer.training_step

    def averaged(self, *more):  # as DDP does, of other processes with the same batch now and others before
        value = step(self, *more)
        table.grad += mean - earlier
        monkeypatch.setattr(Trainer, "training_step", step)
        return value

    monkeypatch.setattr(Trainer, "training_step", averaged)
    monkeypatch.setattr(mine.accelerator, "reduce", lambda value, how: mean)
    table.grad = earlier.clone()
    mine.training_step(mine.model, batch)
    assert torch.allclose(table.grad, mean + expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("bert.embeddings.word_embeddings.weight", 0), ("bert.encoder.layer.0.attention.self.query.weight", 1),
        ("bert.encoder.layer.11.output.dense.bias", 12), ("bert.pooler.dense.weight", 13), ("classifier.weight", 13),
        ("model.layers.3.attn.Wqkv.weight", 4),
    ],
)  # fmt: skip
def test_heights_of_parameters(name, height):
    assert depth(name, 12) == height


def test_every_layer_has_its_rate_and_every_parameter_its_group(tiny_bert, tmp_path):
    mine = trainer(tiny_bert, tmp_path, layer_lr_decay=0.5, learning_rate=1e-3, weight_decay=0.1)
    groups = mine.create_optimizer().param_groups
    assert sorted({group["lr"] for group in groups}) == pytest.approx([1e-3 / 8, 1e-3 / 4, 1e-3 / 2, 1e-3])
    assert len(groups) == len(list(mine.model.parameters())) and {g["weight_decay"] for g in groups} == {0.0, 0.1}
    by_name = dict(zip((n for n, _ in mine.model.named_parameters()), groups, strict=True))
    assert by_name["classifier.weight"]["lr"] == 1e-3 and by_name["classifier.bias"]["weight_decay"] == 0.0


def test_windows_of_a_text_share_its_label_and_are_pooled(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = [Example("公" * 30, "利空"), Example("司", "利好")]
    made, owners = text_features(rows, Task("classification", LABELS, False, rows, []), tokenizer, 12, "windows")
    assert owners == [0, 0, 0, 1] and [row["labels"] for row in made] == [1, 1, 1, 0]
    assert pool(torch.tensor([[1.0], [2.0], [6.0], [5.0]]).numpy(), owners, 2).tolist() == [[3.0], [5.0]]


def test_the_shortest_inputs_hold_something_of_a_text(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    assert len(encode_windows(["公司"], tokenizer, 3)[0]) == 2
    assert [len(piece.firsts) for piece in encode_characters("公司", tokenizer, 4)] == [1, 1]
