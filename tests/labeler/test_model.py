import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from finbert2 import packing, runtime
from finbert2.encoder import padded_batches
from finbert2.errors import UserError
from finbert2.labeler.forward import forward
from finbert2.labeler.model import Entity, Labeler, Settings, filled, spans

from ..conftest import TEXTS


@pytest.mark.parametrize("budget", [1, 64, 500, 10_000])
def test_batches_hold_every_row_once_and_stay_within_the_budget(budget):
    chance = random.Random(budget)
    lengths = [chance.randint(2, 128) for _ in range(200)]
    batches = list(padded_batches(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(200))
    assert all(len(batch) * max(lengths[p] for p in batch) <= budget or len(batch) == 1 for batch in batches)
    flat = [lengths[place] for batch in batches for place in batch]
    assert flat == sorted(flat, reverse=True)


def test_batches_by_hand():
    assert list(padded_batches([2, 5, 3, 5], 10)) == [[1, 3], [2, 0]] and list(padded_batches([], 10)) == []


def test_a_batch_of_a_fair_size_ends_where_rows_get_shorter():
    assert list(padded_batches([512, 500, 300, 290, 280, 20, 20], 8192)) == [[0, 1], [2, 3, 4, 5], [6]]
    assert list(padded_batches([512, 300], 8192)) == [[0, 1]]  # not before


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O O", []),
        ("B-ORG I-ORG O O", [("中信", "ORG", 0, 2, 0.8)]),
        ("O O B-PER I-PER", [("证券", "PER", 2, 4, 0.6)]),
        ("B-ORG B-ORG O O", [("中", "ORG", 0, 1, 0.9), ("信", "ORG", 1, 2, 0.8)]),
        ("I-ORG I-ORG O O", [("中信", "ORG", 0, 2, 0.8)]),
        ("O I-ORG O I-PER", [("信", "ORG", 1, 2, 0.8), ("券", "PER", 3, 4, 0.6)]),
        ("B-ORG I-PER I-PER O", [("中", "ORG", 0, 1, 0.9), ("信证", "PER", 1, 3, 0.7)]),
        ("B-ORG I-ORG B-PER I-ORG", [("中信", "ORG", 0, 2, 0.8), ("证", "PER", 2, 3, 0.7), ("券", "ORG", 3, 4, 0.6)]),
    ],
)
def test_entities_of_tags(tags, expected):
    assert spans("中信证券", tags.split(), [0.9, 0.8, 0.7, 0.6]) == [Entity(*row) for row in expected]


@pytest.mark.parametrize("seed", range(3))
def test_entities_are_seqevals(seed):
    from seqeval.metrics.sequence_labeling import get_entities

    tags = random.Random(seed).choices(["O", "B-A", "I-A", "B-B", "I-B"], k=60)
    found = [(entity.type, entity.start, entity.end - 1) for entity in spans("甲" * 60, tags, [1.0] * 60)]
    assert found == get_entities(tags) and len(found) > 10


@pytest.fixture(scope="module")
def classifier(tiny_bert, tmp_path_factory):
    """A classifier of another library's making: no labeler.json in its folder."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    set_seed(0)
    folder = tmp_path_factory.mktemp("classifier")
    labels = {0: "利空", 1: "中性", 2: "利好"}
    options = {"num_labels": 3, "id2label": labels, "label2id": {name: n for n, name in labels.items()}}
    AutoModelForSequenceClassification.from_pretrained(tiny_bert, **options).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


@pytest.fixture
def exact(monkeypatch):
    """No bf16, so that numbers can be compared."""
    from finbert2 import runtime

    monkeypatch.setattr(runtime, "has_bf16", lambda: False)


def test_any_classifier_opens_and_answers_as_transformers_does(classifier, exact):
    from transformers import pipeline

    labeler = Labeler.from_pretrained(str(classifier))
    assert labeler.settings == Settings("classification", 128, "head_tail")
    assert labeler.labels == ["利空", "中性", "利好"]
    answers = pipeline("text-classification", str(classifier), top_k=None, device="cpu")(TEXTS)
    for prediction, answer in zip(labeler.predict(TEXTS), answers, strict=True):
        expected = {row["label"]: row["score"] for row in answer}
        assert dict(zip(labeler.labels, prediction.probabilities, strict=True)) == pytest.approx(expected, abs=1e-5)
        assert (prediction.label, prediction.score) == (
            answer[0]["label"], pytest.approx(answer[0]["score"], abs=1e-5),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "filled_tags", "filled_scores"),
    [
        (["B-ORG", None, "I-ORG"], ["B-ORG", "I-ORG", "I-ORG"], [0.9, 0.7, 0.7]),
        (["B-ORG", None, None, "I-ORG"], ["B-ORG", "I-ORG", "I-ORG", "I-ORG"], [0.9, 0.6, 0.6, 0.6]),
        (["B-ORG", None, "B-ORG"], ["B-ORG", "O", "B-ORG"], [0.9, 1.0, 0.7]),
        (["B-ORG", None, "I-PER"], ["B-ORG", "O", "I-PER"], [0.9, 1.0, 0.7]),
        ([None, "I-ORG", None], ["O", "I-ORG", "O"], [1.0, 0.8, 1.0]),
        (["O", None, "O"], ["O", "O", "O"], [0.9, 1.0, 0.7]),
        ([], [], []),
    ],
)
def test_a_blank_is_inside_the_entity_that_goes_on_after_it(tags, filled_tags, filled_scores):
    """Morgan Stanley is one entity, although its blank has no token."""
    row = [tag and (tag, score) for tag, score in zip(tags, (0.9, 0.8, 0.7, 0.6), strict=False)]
    found_tags, found_scores = filled(row)
    assert found_tags == filled_tags and found_scores == pytest.approx(filled_scores)


def test_a_foreign_classifier_of_several_labels_says_so_in_its_config(classifier, tmp_path):
    shutil.copytree(classifier, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["problem_type"] = "multi_label_classification"
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    labeler = Labeler.from_pretrained(str(tmp_path))
    assert labeler.settings.multi_label and Labeler.from_pretrained(str(classifier)).settings.multi_label is False


def test_one_string_is_not_a_list_of_characters(classifier):
    labeler = Labeler.from_pretrained(str(classifier))
    for call in (labeler.predict, labeler.entities):
        with pytest.raises(UserError) as raised:
            call("净利润增长")
        assert str(raised.value) == "texts are a list of strings, one string was given: put it into a list"


def test_a_model_without_cls_is_no_encoder(classifier, tmp_path):
    shutil.copytree(classifier, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"cls_token": None, "tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        Labeler.from_pretrained(str(tmp_path))
    assert str(raised.value).endswith("name an encoder such as BERT")


def test_batches_do_not_change_the_answer(classifier, exact):
    labeler = Labeler.from_pretrained(str(classifier))
    together = labeler.predict(TEXTS)
    for budget in (1, 100):
        alone = labeler.predict(TEXTS, budget)
        assert [p.label for p in alone] == [p.label for p in together]
        assert [p.score for p in alone] == pytest.approx([p.score for p in together], abs=1e-5)
    assert labeler.predict([]) == []


def test_a_weight_is_cast_to_bf16_once_however_many_batches(classifier, bf16_casts):
    """Of two layers twice; under `torch.inference_mode` autocast would cast it once a batch."""
    labeler = Labeler.from_pretrained(str(classifier))
    assert bf16_casts(lambda: labeler.predict(TEXTS, batch_tokens=1)) == 2


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
def test_texts_without_padding_are_answered_like_padded_ones(tiny_bert, exact, monkeypatch, kind, task):
    """Logits and vectors of any layer; RoBERTa counts its positions from behind the padding's number."""
    import transformers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=140, pad_token_id=tokenizer.pad_token_id, num_labels=3,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}For{task}")(config).eval()
    ids = tokenizer(TEXTS)["input_ids"]
    for layer in (None, 0, 2, -1):
        packed = rows_of(forward(model, tokenizer, ids, 64, layer))
        with monkeypatch.context() as changed:
            changed.setattr(packing, "KINDS", set())
            padded = rows_of(forward(model, tokenizer, ids, 64, layer))
        assert len(packed) == len(TEXTS)
        for (logits, vector), (expected, expected_vector) in zip(packed, padded, strict=True):
            assert logits.numpy() == pytest.approx(expected[: len(logits)].numpy(), abs=1e-5)
            assert (vector is None) == (layer is None)
            assert layer is None or vector.numpy() == pytest.approx(expected_vector.numpy(), abs=1e-5)


@runtime.inference()
def rows_of(batches):
    """Return (logits, vector) of each text in its order."""
    found = {}
    for places, logits, vectors in batches:
        for number, place in enumerate(places):
            found[place] = logits[number], None if vectors is None else vectors[number]
    return [found[place] for place in sorted(found)]


@pytest.mark.parametrize("kind", ["classifier", "tagger"])
def test_threads_share_a_labeler(classifier, tiny_bert, exact, kind):
    from transformers import AutoConfig, AutoModelForTokenClassification

    labeler = Labeler.from_pretrained(str(classifier))
    call = labeler.predict
    if kind == "tagger":
        config = AutoConfig.from_pretrained(tiny_bert, id2label={0: "O", 1: "B-ORG", 2: "I-ORG"})
        model = AutoModelForTokenClassification.from_pretrained(tiny_bert, config=config)
        call = Labeler(model, labeler.tokenizer, Settings("ner", 32)).entities
    expected = call(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(call, [TEXTS] * 40):
            assert found == expected


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_cls_vectors_are_the_layers(classifier, exact, layer):
    import torch
    from transformers import AutoModel, AutoTokenizer

    vectors = Labeler.from_pretrained(str(classifier)).cls_vectors(TEXTS, layer, 64)
    model, tokenizer = AutoModel.from_pretrained(classifier), AutoTokenizer.from_pretrained(classifier)
    with torch.inference_mode():
        for text, vector in zip(TEXTS, vectors, strict=True):
            hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            assert vector == pytest.approx(hidden[layer][0, 0].numpy(), abs=1e-5)
    assert vectors.shape == (6, 32)


def test_a_classifier_tags_nothing_and_a_plain_encoder_neither(classifier, tiny_bert, tmp_path):
    labeler = Labeler.from_pretrained(str(classifier))
    with pytest.raises(UserError) as raised:
        labeler.entities(TEXTS)
    assert str(raised.value) == "this model is for classification, ner was asked of it: name another model folder"
    with pytest.raises(UserError) as raised:
        Labeler.from_pretrained(tiny_bert)
    assert str(raised.value) == (
        f"{tiny_bert} holds a BertForMaskedLM, no classifier or tagger: name a folder written by `labeler train`"
    )
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError) as raised:
        Labeler.from_pretrained(str(tmp_path))
    assert str(raised.value) == (
        f"{tmp_path} is not a model folder (no config.json there; found: notes.txt): "
        "name a folder written by save_pretrained, or a Hub name such as valuesimplex-ai-lab/FinBERT2-base"
    )


def test_settings_travel_with_the_weights(classifier, tmp_path):
    labeler = Labeler.from_pretrained(str(classifier))
    settings = Settings("classification", 16, "head", temperature=2.0, thresholds={"利好": 0.7})
    Labeler(labeler.model, labeler.tokenizer, settings).save(tmp_path / "o")
    again = Labeler.from_pretrained(str(tmp_path / "o"))
    assert again.settings == settings and again.labels == labeler.labels
    assert json.loads((tmp_path / "o" / "labeler.json").read_text()) == {
        "task": "classification", "max_seq_length": 16, "long_texts": "head", "multi_label": False,
        "temperature": 2.0, "thresholds": {"利好": 0.7},
    }  # fmt: skip
