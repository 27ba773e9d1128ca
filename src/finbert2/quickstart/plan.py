"""The steps of a run: which script, with which flags, and where its results go."""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from finbert2 import files
from finbert2.quickstart.inventory import Inventory

ENCODER = (
    "--hidden_size", "256", "--num_hidden_layers", "4", "--num_attention_heads", "4", "--intermediate_size", "1024",
)  # fmt: skip
# Rows a step of fine-tuning: with 8 the sample's SC_4 fell back to one class; the retriever gains by small steps.
BATCH, LABEL_RATE = 16, "4e-4"
PUBLISHED_EPOCHS = 3  # from a published model, which needs less than one from scratch
SHORT_BYTES = 120  # a row of about 40 Chinese characters in UTF-8
FEW_TITLES = 60  # below, the topics' defaults may find no two; topics of 3 came out of each of 160 draws of 20 to 30
QUERY = "美联储加息对科技股的影响"


@dataclass(frozen=True)
class Scale:
    """How much of everything is done. Chosen for two CPU cores; the report says where it was less than all.

    Few tokens a step: in so short a time a model learns more from many small steps than from few large ones
    (`benchmarks/tokens_a_step.py`).
    """

    packed_rows: int  # of 512 tokens, a step of pretraining
    corpus_documents: int
    words: int
    pieces: int
    mlm_steps: int
    retromae_steps: int
    train_rows: int
    test_rows: int
    label_steps: int
    label_epochs: int
    tag_steps: int
    tag_batch: int
    dropout: str  # of labelers; "": the model's own. After minutes of pretraining a small one learns better without
    retrieval_rows: int
    retrieval_epochs: int
    passages: int
    titles: int


SMALL = Scale(
    packed_rows=1, corpus_documents=20_000, words=2_000, pieces=6_000, mlm_steps=620, retromae_steps=600,
    train_rows=3_000, test_rows=2_000, label_steps=200, label_epochs=8, tag_steps=280, tag_batch=8,
    dropout="0", retrieval_rows=1_000, retrieval_epochs=15, passages=5_000, titles=5_000,
)  # fmt: skip
LARGE = Scale(
    packed_rows=4, corpus_documents=30_000, words=4_000, pieces=16_000, mlm_steps=450, retromae_steps=200,
    train_rows=1_400, test_rows=1_000, label_steps=260, label_epochs=6, tag_steps=520, tag_batch=BATCH,
    dropout="", retrieval_rows=1_000, retrieval_epochs=3, passages=4_000, titles=20_000,
)  # fmt: skip
LARGE_CORPUS = 3_000_000  # characters from which on the large scale is used


@dataclass(frozen=True)
class Step:
    """One call of a stage's script (or, where there is none, command); `name` is "stage" or "stage/task"."""

    name: str
    script: str
    flags: tuple[str, ...]
    output: Path
    results: str = "results.json"  # written last, so its being there says that the step is done
    after: str = ""  # the step whose results it reads
    alone: bool = False  # it keeps all cores busy: nothing runs beside it


def scale_of(found: Inventory) -> Scale:
    """Return the scale for the size of the corpus, or of everything else where there is none."""
    return LARGE if found.characters > LARGE_CORPUS else SMALL


def steps(found: Inventory, output: Path, root: Path, model: str | None) -> list[Step]:
    """Return all steps; those that need nothing of one another may run side by side, the first of them first.

    Long ones stand before short ones, so that both cores have something left to do at the end. `model` is a checkpoint
    to start from, None for scratch.
    """
    size = scale_of(found)
    return [
        *pretraining(found, output, root, model, size),
        *topics(found, output),
        *labelers(found, output, model, size),
        *retrieval(found, output, model, size),
    ]


def chain(steps: list[Step], after: str = "", alone: bool = False) -> list[Step]:
    """Return the steps, each after the one before it, the first after `after`."""
    names = [after, *(step.name for step in steps)]
    return [replace(step, after=name, alone=alone) for name, step in zip(names, steps, strict=False)]


def pretraining(found: Inventory, output: Path, root: Path, model: str | None, size: Scale) -> list[Step]:
    """Return corpus, tokenizer, MLM and RetroMAE; without a corpus of the user's they run on the sample corpus."""
    corpus = found.corpus or [root / "FinBERT2" / "pretrain" / "sample_data.jsonl"]
    train, valid = output / "corpus" / "train", found.valid or [output / "corpus" / "valid"]
    base = ("--base_model", model) if model else ("--base_vocab_size", "12000")
    # In so few steps random weights learn how frequent tokens are, and little more (docs/pretrain.md).
    start = (
        ("--model_name_or_path", str(output / "tokenizer")) if model
        else ("--model_name_or_path", "", "--tokenizer_name", str(output / "tokenizer"), *ENCODER,
              "--start_from_counts", "True")
    )  # fmt: skip
    common = (
        "--train_data", str(train), "--valid_data", *map(str, valid), "--max_seq_length", "128",
        "--cache_dir", str(output / "tokens"), "--save_steps", str(800 // size.packed_rows), "--report_to", "none",
        "--per_device_train_batch_size", str(size.packed_rows),
    )  # fmt: skip
    rates = ("5e-5", "3e-5") if model else ("1e-3", "1e-3")
    # At 15 % it would have fewer tokens to learn from.
    masks = () if model else ("--mask_ratio", "0.4")
    made = [
        Step("corpus", "FinBERT2/pretrain/prepare_corpus.sh", (
            "--input", *map(str, corpus), "--max_documents", str(size.corpus_documents),
            "--output_dir", str(output / "corpus"),
        ), output / "corpus"),
        Step("tokenizer", "FinBERT2/pretrain_wordpiece_tokenizer/spm.sh", (
            "--corpus", str(train), "--num_added_tokens", str(size.words), "--unigram_vocab_size", str(size.pieces),
            "--max_sentences", "100000", *base, "--output_dir", str(output / "tokenizer"),
        ), output / "tokenizer"),
        Step("tokenizer/evaluate", "tokenizer evaluate", (
            "--tokenizers", model or str(output / "tokenizer" / "base"), str(output / "tokenizer"),
            str(output / "tokenizer" / "unigram.model"),
            "--texts", *map(str, valid), "--output_dir", str(output / "tokenizer" / "evaluate"),
        ), output / "tokenizer" / "evaluate"),
        Step("mlm", "FinBERT2/pretrain/run_mlm.sh", (
            *start, *common, *masks, "--max_steps", str(size.mlm_steps), "--learning_rate", rates[0],
            "--warmup_steps", "0.1", "--logging_steps", str(40 // size.packed_rows),
            "--output_dir", str(output / "mlm"),
        ), output / "mlm"),
        Step("retromae", "FinBERT2/pretrain/run_retromae.sh", (
            "--model_name_or_path", str(output / "mlm"), *common, "--max_steps", str(size.retromae_steps),
            "--learning_rate", rates[1], "--logging_steps", str(20 // size.packed_rows),
            # In so few steps the decoder hardly begins to ask [CLS] for the text: its words are asked for directly.
            "--cls_words_weight", "5", "--decoder_target_share", "0.25",
            "--output_dir", str(output / "retromae"),
        ), output / "retromae"),
    ]  # fmt: skip
    return chain(made, alone=True)


def labelers(found: Inventory, output: Path, model: str | None, size: Scale) -> list[Step]:
    """Return training of every task, then prediction with, and evaluation of, the first of each kind."""
    made = [
        label_step(f"labeler/{name}", folder, "runclassify.sh", "csv", output, model, size)
        for name, folder in found.classification.items()
    ] + [
        label_step(f"ner/{name}", folder, "runner.sh", "txt", output, model, size)
        for name, folder in found.ner.items()
    ]  # fmt: skip
    for stage, tasks, suffix in (("labeler", found.classification, "csv"), ("ner", found.ner, "txt")):
        for name, folder in list(tasks.items())[:1]:
            trained, test = output / stage / name, str(folder / f"test.{suffix}")
            use = [
                Step(f"{stage}/{name}/evaluate", "labeler evaluate", (
                    "--model_name_or_path", str(trained), "--test_data", test,
                    "--output_dir", str(trained / "evaluate"),
                ), trained / "evaluate"),
                Step(f"{stage}/{name}/predict", "Fin-labeler/predict.sh", (
                    "--model_name_or_path", str(trained), "--input", str(trained / "evaluate" / "predictions.jsonl"),
                    "--output", str(trained / "predictions.jsonl"),
                ), trained, "predictions.jsonl"),
            ]  # fmt: skip
            made += chain(use, after=f"{stage}/{name}")
    return made


def label_step(name: str, folder: Path, script: str, suffix: str, output: Path, model: str | None, size: Scale) -> Step:
    """Return the training of one task: some epochs, more where these are few steps, twenty at the most.

    It starts from RetroMAE, which trained the [CLS] vector that a classifier reads. At 4e-4 tasks of many classes fell
    back to one class while that encoder had begun at random; now they learn more than at 2e-4.
    """
    fewest, batch, rate = size.tag_steps, size.tag_batch, "4e-4"
    if suffix == "csv":
        fewest, batch, rate = size.label_steps, BATCH, LABEL_RATE
    train = folder / f"train.{suffix}"
    rows = min(size.train_rows, count_rows(train, suffix))
    if suffix == "csv" and train.stat().st_size / count_rows(train, suffix) < SHORT_BYTES:
        fewest *= 2  # short texts cost little and say little: more of them are needed
    least = size.label_epochs if suffix == "csv" and not model else PUBLISHED_EPOCHS
    epochs = min(20, max(least, ceil(fewest * batch / rows)))
    dev = folder / f"dev.{suffix}"
    return Step(name, f"Fin-labeler/{script}", (
        "--model_name_or_path", str(output / "retromae"), "--train_data", str(train),
        "--dev_data", str(dev) if dev.exists() else "", "--test_data", str(folder / f"test.{suffix}"),
        "--max_train_samples", str(size.train_rows), "--max_test_samples", str(size.test_rows),
        "--max_seq_length", "96", "--num_train_epochs", str(epochs), "--per_device_train_batch_size", str(batch),
        "--learning_rate", "5e-5" if model else rate, "--save_total_limit", "1",
        *(("--dropout", size.dropout) if size.dropout and not model else ()),
        "--output_dir", str(output / Path(name)),
    ), output / Path(name), after="retromae")  # fmt: skip


def count_rows(path: Path, suffix: str) -> int:
    """Return the number of rows of a training file, sentences for a CoNLL file."""
    if suffix == "csv":
        return max(1, sum(1 for _ in files.read_rows(path)))
    lines = [line for _, line in files.read_lines(path)]
    return max(1, sum(1 for before, line in zip(["", *lines], lines, strict=False) if line and not before))


def retrieval(found: Inventory, output: Path, model: str | None, size: Scale) -> list[Step]:
    """Return mining of each set's rows, one training on all of them, evaluation of each set, and index and search."""
    if not found.retrieval:
        return []
    folder, start = output / "retriever", str(output / "retromae")
    mined = {name: folder / "mined" / f"{name}.jsonl" for name, rows in found.retrieval.items() if rows.rows}
    trained = str(folder / "model") if mined else start
    made = [
        Step(f"retriever/mine/{name}", "Fin-retriever/hn_mine.sh", (
            "--model_name_or_path", start, "--train_data", str(training_rows(output, name)), "--output", str(path),
            "--source", "bm25", "--negatives", "7",
        ), path.parent, f"{name}.jsonl.results.json")
        for name, path in mined.items()
    ]  # fmt: skip
    # After minutes of pretraining the mean of the tokens learns faster than [CLS] (`benchmarks/retriever_pooling.py`).
    rate, batch, pooling = ("2e-5", "32", "cls") if model else ("1e-3", str(BATCH), "mean")
    epochs = PUBLISHED_EPOCHS if model else size.retrieval_epochs
    if mined:
        made.append(Step("retriever/train", "Fin-retriever/contrastive_finetune.sh", (
            "--model_name_or_path", start, "--train_data", *map(str, mined.values()), "--train_group_size", "2",
            "--temperature", "0.05", "--query_max_len", "48", "--passage_max_len", "96",
            "--learning_rate", rate, "--per_device_train_batch_size", batch, "--sentence_pooling_method", pooling,
            "--num_train_epochs", str(epochs), "--output_dir", trained,
        ), Path(trained)))  # fmt: skip
    made = chain(made, after="retromae")
    last = made[-1].name if made else "retromae"
    for name, one in found.retrieval.items():
        if one.folder:
            made.append(Step(f"retriever/evaluate/{name}", "Fin-retriever/evaluate.sh", (
                "--model_name_or_path", *dict.fromkeys([trained, start]), "--data", str(one.folder),
                "--sentence_pooling_method", pooling,
                "--max_queries", str(size.test_rows), "--max_passages", str(size.passages),
                "--output_dir", str(folder / "evaluate" / name),
            ), folder / "evaluate" / name, after=last))  # fmt: skip
    index = ("--uri", str(folder / "passages.db"))
    search = [
        Step("retriever/index", "Fin-retriever/index.sh", ("--model_name_or_path", trained, *index), folder,
             "passages.db.results.json"),
        Step("retriever/search", "Fin-retriever/search.sh", (*index, "--query", QUERY, "--top_k", "7"), folder,
             "search.log"),
    ]  # fmt: skip
    return made + chain(search, after=last)


def training_rows(output: Path, name: str) -> Path:
    """Return the file of the sampled training rows of a retrieval set."""
    return output / "retriever" / "rows" / f"{name}.jsonl"


def sampled_titles(output: Path) -> Path:
    """Return the file of the sampled titles."""
    return output / "topics" / "titles.csv"


def topics(found: Inventory, output: Path) -> list[Step]:
    """Return the topics of a sample of the titles, with the trained retriever's vectors if there is one."""
    if not found.titles:
        return []
    trained = any(one.rows for one in found.retrieval.values())
    flags = (
        "--model_name_or_path", str(output / "retriever" / "model" if trained else output / "retromae"),
        "--titles", str(sampled_titles(output)), "--output_dir", str(output / "topics"),
        *(("--min_topic_size", "3", "--min_samples", "1") if count_rows(found.titles, "csv") < FEW_TITLES else ()),
    )  # fmt: skip
    last = "retriever/train" if trained else "retromae"
    return [Step("topics", "Fin-Topicmodel/run_topics.sh", flags, output / "topics", after=last)]
