"""What the options of training do, on models of two layers."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoTokenizer, Trainer, set_seed

from finbert2.errors import UserError
from finbert2.labeler import predict, repeat, train
from finbert2.labeler.data import Example, encode_characters, encode_windows
from finbert2.labeler.features import IGNORED, Task, pool, text_features
from finbert2.labeler.fit import balanced, load_model
from finbert2.labeler.model import Labeler
from finbert2.labeler.options import LabelerArguments, LabelerTrainingArguments, scored
from finbert2.labeler.trainer import LabelTrainer, depth, divergence

from .test_train import examples, flags, read, refused, results, run, write_csv

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


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    for name, count, seed in (("train", 40, 0), ("dev", 12, 1), ("test", 20, 2)):
        write_csv(folder / f"{name}.csv", examples(count, seed))
    return folder


@pytest.mark.slow
def test_all_options_at_once_learn_over_seeds_and_folds(rows, tiny_bert, tmp_path):
    command = flags(
        tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 5, "--seeds", 2, "--folds", 2, "--r_drop", 1,
        "--fgm", 0.3, "--layer_lr_decay", 0.9, "--class_weights", "balanced", "--label_smoothing_factor", 0.05,
        "--early_stopping", 4, "--target_precision", 0.9, "--long_texts", "windows", "--max_seq_length", 16,
    )  # fmt: skip
    run(train.main, *command)
    found = results(tmp_path / "o")
    assert len(found["seeds"]["macro_f1"]["values"]) == len(found["folds"]["macro_f1"]["values"]) == 2
    assert found["seed_kept"] in (42, 43) and found["test"]["macro_f1"] in found["seeds"]["macro_f1"]["values"]
    assert found["test"]["accuracy"] > 0.7
    assert not list((tmp_path / "o").rglob("checkpoint-*"))
    assert (tmp_path / "o" / "train_label_errors.jsonl").exists()
    settings = json.loads((tmp_path / "o" / "labeler.json").read_text())
    assert settings["long_texts"] == "windows" and set(settings["thresholds"]) == {"利好", "利空"}
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "随机种子" in page and "混淆矩阵" in page and "src=" not in page
    # A run that was killed after the first seed goes on with the second.
    (tmp_path / "o" / "results.json").unlink()
    kept = (tmp_path / "o" / "seeds" / "seed-42" / "run.json").stat().st_mtime_ns
    run(train.main, *command)
    assert (tmp_path / "o" / "seeds" / "seed-42" / "run.json").stat().st_mtime_ns == kept
    assert results(tmp_path / "o")["seeds"] == found["seeds"]


def test_several_labels_are_learnt_and_open_in_a_pipeline(tiny_bert, tmp_path):
    from transformers import pipeline

    words = {"增长": "净利润增长", "减持": "股东减持"}
    rows = [
        ("、".join(words[label] for label in chosen) + "公司公告", "|".join(chosen))
        for chosen in (["增长"], ["减持"], ["增长", "减持"]) * 24
    ]
    for name in ("train", "dev", "test"):
        write_csv(tmp_path / f"{name}.csv", [(f"{text}{n}", label) for n, (text, label) in enumerate(rows)])
    run(train.main, *flags(tiny_bert, tmp_path, tmp_path / "o", "csv", "--num_train_epochs", 10))
    found = results(tmp_path / "o")
    assert found["test"]["accuracy"] > 0.9 and found["labels"] == ["减持", "增长"] and found["tfidf"]["micro_f1"] > 0.9
    config = json.loads((tmp_path / "o" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    answers = pipeline("text-classification", str(tmp_path / "o"), top_k=None, device="cpu")([rows[2][0]])[0]
    assert {a["label"] for a in answers if a["score"] > 0.5} == {"增长", "减持"}
    (prediction,) = Labeler.from_pretrained(str(tmp_path / "o")).predict([rows[2][0]])
    assert prediction.label == "减持|增长" and prediction.score > 0.5


def test_lora_trains_adapters_and_leaves_a_whole_model(rows, tiny_bert, tmp_path):
    pytest.importorskip("peft")
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--num_train_epochs", 2, "--lora_rank", 4))
    saved = load_file(tmp_path / "o" / "model.safetensors")
    assert not any("lora" in name for name in saved) and "classifier.weight" in saved
    start = load_file(f"{tiny_bert}/model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(saved[name], start[name])
    assert not torch.equal(saved["bert.encoder.layer.0.attention.self.query.weight"],
                           start["bert.encoder.layer.0.attention.self.query.weight"])  # fmt: skip
    Labeler.from_pretrained(str(tmp_path / "o")).predict(["公司"])


def test_abstaining_is_saved_and_used_by_predict(rows, tiny_bert, tmp_path):
    run(train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", "--max_steps", 2, "--target_precision", 0.99))
    found = results(tmp_path / "o")
    run(
        predict.main,
        "--model_name_or_path",
        tmp_path / "o",
        "--input",
        rows / "test.csv",
        "--output",
        tmp_path / "o.jsonl",
    )
    answers = read(tmp_path / "o.jsonl")
    thresholds = json.loads((tmp_path / "o" / "labeler.json").read_text())["thresholds"]
    gaps = [row["score"] - thresholds[row["label"]] for row in answers]  # of scores rounded to six digits
    assert all(row["abstained"] == (gap < 0) for row, gap in zip(answers, gaps, strict=True) if abs(gap) > 1e-5)
    assert sum(row["abstained"] for row in answers) == found.get("abstention", {"abstained": 0})["abstained"]
    run(
        predict.main, "--model_name_or_path", tmp_path / "o", "--input", rows / "test.csv", "--output",
        tmp_path / "p.jsonl", "--min_score", 1.01,
    )  # fmt: skip
    assert all(row["abstained"] for row in read(tmp_path / "p.jsonl"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--folds", 1], "--seeds 1 --folds 1: one seed or more, two folds or more (or 0)"),
        (["--target_precision", 2], "--target_precision 2.0: a share between 0 and 1 was expected"),
        (["--task", "ner", "--folds", 3], "--folds, --target_precision and --compare are for classification, not for"),
        (["--max_seq_length", 2], "--max_seq_length 2: 3 or more was expected, [CLS] and [SEP] included\n"),
        (["--max_seq_length", 3, "--task", "ner"], "--max_seq_length 3: 4 or more was expected, [CLS] and [SEP] incl"),
        (["--layer_lr_decay", 0], "--layer_lr_decay 0.0: above 0 and at most 1 was expected"),
        (["--metric_for_best_model", "f1"], "--metric_for_best_model f1: the scores of this task are accuracy, loss, "),
        (["--dropout", 1], "--dropout 1.0: 0 or more and less than 1 was expected"),
        (["--dropout", 0, "--r_drop", 1], "--r_drop compares two dropouts of a row: it does nothing at --dropout 0"),
        (["--fgm", -1], "--r_drop, --fgm, --lora_rank and --early_stopping cannot be negative"),
        (["--early_stopping", 2, "--load_best_model_at_end", "False"], "--early_stopping needs --load_best_model"),
        (
            ["--seeds", 2, "--eval_strategy", "no", "--load_best_model_at_end", "False"],
            "--seeds chooses by the development score: --eval_strategy has to be epoch or steps, not no",
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_be(rows, tiny_bert, tmp_path, capsys, more, message):
    assert message in refused(capsys, train.main, *flags(tiny_bert, rows, tmp_path / "o", "csv", *more))


@pytest.mark.parametrize(("metric", "kept"), [("loss", 42), ("macro_f1", 43)])
def test_the_seed_that_is_kept_is_the_best_by_the_metrics_own_direction(tiny_bert, tmp_path, monkeypatch, metric, kept):
    """Of a loss that is the lowest."""
    labeler = Labeler.from_pretrained(str(classifier_folder(tiny_bert, tmp_path / "model")))
    devs = iter([0.2, 0.6])
    monkeypatch.setattr(
        repeat, "fine_tune", lambda *_: (labeler, SimpleNamespace(state=SimpleNamespace(best_metric=next(devs))))
    )
    monkeypatch.setattr(repeat.training, "summary", lambda trainer: {})
    arguments = LabelerTrainingArguments(
        output_dir=str(tmp_path), metric_for_best_model=metric, use_cpu=True, report_to=[], bf16=False
    )
    task = Task("classification", LABELS, False, [], [])
    options = LabelerArguments(tiny_bert, "train.csv", seeds=2)
    _, summary, spread = repeat.seeds(options, arguments, task, tmp_path)
    assert summary["seed_kept"] == kept and spread["dev"]["values"] == [0.2, 0.6]


def test_a_training_that_was_never_scored_says_how_it_would_be():
    state = SimpleNamespace(best_metric=None, global_step=15)
    with pytest.raises(UserError) as raised:
        scored(SimpleNamespace(state=state))
    assert str(raised.value) == (
        "the training ended after 15 steps without a development score: give a smaller --eval_steps and --save_steps, "
        "or --eval_strategy epoch --save_strategy epoch"
    )


def classifier_folder(tiny_bert, folder):
    """Save an untrained classifier with its tokenizer."""
    load_model(tiny_bert, Task("classification", LABELS, False, [], [])).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def test_what_cannot_be_judged_is_refused_before_training(tiny_bert, tmp_path, capsys, monkeypatch):
    """A tagger beside a classifier, and a precision that thresholds of several labels do not aim at."""
    monkeypatch.setattr(train, "fit", None)
    write_csv(tmp_path / "train.csv", [("涨", "利好|中性"), ("跌", "利空"), ("平", "中性"), ("升", "利好")] * 5)
    rows = tmp_path / "train.csv"
    command = [
        "--model_name_or_path", tiny_bert, "--train_data", rows, "--dev_data", rows, "--output_dir", tmp_path / "o",
    ]  # fmt: skip
    assert refused(capsys, train.main, *command, "--target_precision", 0.9) == (
        "error: --target_precision is for tasks of one label a row: of several, each has its best F1's threshold\n"
    )
    load_model(tiny_bert, Task("ner", ["O", "B-ORG", "I-ORG"], False, [], [])).save_pretrained(tmp_path / "tagger")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "tagger")
    assert refused(capsys, train.main, *command, "--compare", tmp_path / "tagger") == (
        "error: this model is for ner, classification was asked of it: name another model folder\n"
    )
    assert not (tmp_path / "o").exists()


def test_the_shortest_inputs_hold_something_of_a_text(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    assert len(encode_windows(["公司"], tokenizer, 3)[0]) == 2
    assert [len(piece.firsts) for piece in encode_characters("公司", tokenizer, 4)] == [1, 1]
