"""The stages' parts of the report page: what went in, what came out, a figure, the command at full size."""

import itertools
from pathlib import Path
from typing import Any

from finbert2 import files, plots
from finbert2.quickstart.report import Results, Section, load

EXAMPLE_TOPICS, EXAMPLE_WORDS = 12, 10


def sections(output: Path, stages: Results) -> list[Section]:
    """Return a section for every stage that ran."""
    made = [corpus(output, stages["corpus"]), tokenizer(output, stages["tokenizer"])]
    made += [mlm(output, stages["mlm"]), retromae(output, stages["retromae"])]
    builders = {"labeler": labeler, "ner": ner, "retriever": retriever, "topics": topics}
    return made + [build(output, stages[name]) for name, build in builders.items() if name in stages]


def read_svg(path: Path) -> str:
    """Return the text of a figure, "" if it was not made."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def used(rows: int, found: int) -> str:
    """Return a number of rows, with how many there are where that is more."""
    return f"{rows:,}" + (f"（共 {found:,}）" if found > rows else "")


def number(value: float | None) -> str:
    """Return a score with three digits."""
    return "–" if value is None else f"{value:.3f}"


def corpus(output: Path, stage: Results) -> Section:
    """Cleaning, filters, duplicates."""
    sampled = f"（从 {stage['documents_found']:,} 篇中固定种子抽样）" if stage["sampled"] else ""
    return Section(
        "语料", f"读入 {stage['documents_in']:,} 篇{sampled}，清洗、过滤、去重后保留 {stage['documents_out']:,} 篇。",
        stage["seconds"], "sh FinBERT2/pretrain/prepare_corpus.sh --input 语料文件夹 --output_dir 输出",
        [read_svg(output / "corpus" / "kept_and_dropped.svg")], ["去除原因", "篇数"],
        [[reason, f"{count:,}"] for reason, count in stage["dropped"].items()],
    )  # fmt: skip


def tokenizer(output: Path, stage: Results) -> Section:
    """Domain words and the tokens they save."""
    best = [row.values for row in itertools.islice(files.read_rows(output / "tokenizer" / "words.csv"), EXAMPLE_WORDS)]
    saved = 1 - stage["tokens_per_char"] / stage["tokens_per_char_base"]
    figure = plots.bars(
        {"基础词表": {"t": stage["tokens_per_char_base"]}, "加领域词": {"t": stage["tokens_per_char"]}},
        x="每字 token 数",
    )
    return Section(
        "词表", f"学到 {stage['words']:,} 个领域词，词表共 {stage['vocabulary']:,} 项；留出文本上每字 "
        f"{stage['tokens_per_char']:.3f} 个 token，少用 {saved:.0%}；未知字符占 {stage['unk_rate']:.4%}。",
        stage["seconds"],
        "sh FinBERT2/pretrain_wordpiece_tokenizer/spm.sh --corpus 语料 --base_tokenizer hfl/chinese-roberta-wwm-ext",
        [plots.svg(figure)], ["省 token 最多的词", "出现次数", "省下的 token"],
        [[row["word"], row["occurrences"], row["tokens_saved"]] for row in best],
    )  # fmt: skip


def mlm(output: Path, stage: Results) -> Section:
    """Masked language modelling: the model's shape and the masks as the run itself wrote them down."""
    model, recipe = load(output / "mlm", "config.json"), load(output / "mlm", "args.json")
    shape = f"{model['num_hidden_layers']} 层 × {model['hidden_size']} 的 BERT"
    return pretraining(
        output / "mlm", stage, "MLM 预训练", f"{shape}，全词掩码 {recipe['mask_ratio']:.0%}，变长打包",
        "NPROC=8 sh FinBERT2/pretrain/run_mlm.sh --train_data 语料",
    )  # fmt: skip


def retromae(output: Path, stage: Results) -> Section:
    """RetroMAE."""
    recipe = load(output / "retromae", "args.json")
    return pretraining(
        output / "retromae", stage, "RetroMAE 预训练",
        f"编码器掩码 {recipe['mask_ratio']:.0%}，单层解码器凭 [CLS] 与部分可见的词"
        f"（遮住 {recipe['decoder_mask_ratio']:.0%}）预测 {recipe['decoder_target_share']:.0%} 的 token，"
        "[CLS] 还直接预测全文的词",
        "NPROC=8 sh FinBERT2/pretrain/run_retromae.sh --model_name_or_path outputs/mlm --train_data 语料",
    )  # fmt: skip


def pretraining(folder: Path, stage: Results, title: str, what: str, command: str) -> Section:
    """Return the section of a pretraining run."""
    return Section(
        title, f"{what}：{stage['steps']} 步，看过 {stage['tokens_seen']:,} 个 token"
        f"（每秒 {stage['tokens_per_second']:,} 个，打包填充率 {stage['packing_fill']:.1%}）。"
        f"留出文本每字损失 {number(stage['valid_loss_per_char_before'])} → "
        f"{number(stage['valid_loss_per_char'])}，掩码词首选正确率 {stage['masked_accuracy']:.1%}。",
        stage["seconds"], command, [read_svg(folder / "loss.svg")],
    )  # fmt: skip


def labeler(output: Path, stage: Results) -> Section:
    """Text classification."""
    figure = plots.bars(
        {
            task: {"多数类": v["majority_macro_f1"], "TF-IDF + LR": v["tfidf_macro_f1"], "微调编码器": v["macro_f1"]}
            for task, v in stage["tasks"].items()
        },
        x="宏平均 F1（测试集）",
    )
    header = ["任务", "类别", "训练", "测试", "准确率", "宏 F1", "TF-IDF 宏 F1", "多数类准确率"]
    rows = [
        [task, v["classes"], *rows_used(v), number(v["accuracy"]), number(v["macro_f1"]),
         number(v["tfidf_macro_f1"]), number(v["majority_accuracy"])]
        for task, v in stage["tasks"].items()
    ]  # fmt: skip
    return Section(
        "Fin-labeler：文本分类", f"{len(rows)} 个任务，在开发集上选轮次，测试集只看一次；TF-IDF 用同样的训练行。",
        stage["seconds"],
        "cd Fin-labeler && sh runclassify.sh --train_data 训练集 --dev_data 开发集 --test_data 测试集",
        [plots.svg(figure)], header, rows,
    )  # fmt: skip


def rows_used(task: Results) -> list[str]:
    """Return the cells of a task's training and test rows."""
    return [used(task[f"n_{part}"], task[f"n_{part}_found"]) for part in ("train", "test")]


def ner(output: Path, stage: Results) -> Section:
    """Named entities."""
    rows: list[list[Any]] = [
        [task, *rows_used(v), number(v["precision"]), number(v["recall"]), number(v["f1"])]
        for task, v in stage["tasks"].items()
    ]
    figure = plots.bars({task: {"F1": v["f1"]} for task, v in stage["tasks"].items()}, x="实体级 F1（测试集）")
    return Section(
        "Fin-labeler：实体识别", "BIO 标注，按整个实体计分。", stage["seconds"],
        "cd Fin-labeler && sh runner.sh --train_data train.txt --dev_data dev.txt --test_data test.txt",
        [plots.svg(figure)], ["任务", "训练句", "测试句", "精确率", "召回率", "F1"], rows,
    )  # fmt: skip


def retriever(output: Path, stage: Results) -> Section:
    """Retrieval."""
    names = {
        "未微调": "untrained_ndcg_at_10",
        "BM25": "bm25_ndcg_at_10",
        "微调": "ndcg_at_10",
        "混合": "hybrid_ndcg_at_10",
    }
    figure = plots.bars(
        {
            one: {label: v[key] for label, key in names.items() if v[key] is not None}
            for one, v in stage["sets"].items()
        },
        x="nDCG@10（测试查询）",
    )
    rows = [
        [
            one,
            v["n_queries"],
            f"{v['n_passages']:,}" + ("（抽样）" if v["sampled"] else ""),
            *(number(v[k]) for k in names.values()),
        ]
        for one, v in stage["sets"].items()
    ]
    training = "没有训练数据，只评测未微调的编码器，"
    if "n_rows" in stage:
        training = f"用 {used(stage['n_rows'], stage['n_rows_found'])} 行挖掘难负例，对比学习微调，"
    log = output / "retriever" / "search.log"
    example = log.read_text(encoding="utf-8") if log.exists() else ""
    return Section(
        "Fin-retriever：检索",
        f"{training}与 BM25 和混合检索比较；下面是 search.sh 对 7 篇样例文档的回答。",
        stage["seconds"], "cd Fin-retriever && sh hn_mine.sh && NPROC=4 sh contrastive_finetune.sh && sh evaluate.sh",
        [plots.svg(figure)], ["数据集", "查询", "段落", *names], rows, example,
    )  # fmt: skip


def topics(output: Path, stage: Results) -> Section:
    """Topics of titles."""
    rows = itertools.islice(files.read_rows(output / "topics" / "topics.csv"), EXAMPLE_TOPICS)
    best: list[list[Any]] = [[row.values[name] for name in ("topic", "size", "words", "example_1")] for row in rows]
    ami = "" if stage["ami"] is None else f"；与行业标签的 AMI 为 {stage['ami']:.3f}（随机打乱为 0）"
    return Section(
        "Fin-Topicmodel：主题", f"{used(stage['n_titles'], stage['n_found'])} 条标题，{stage['n_topics']} 个主题，"
        f"覆盖率 {stage['coverage']:.1%}，主题词多样性 {stage['topic_diversity']:.3f}{ami}。",
        stage["seconds"], "cd Fin-Topicmodel && sh run_topics.sh --titles 标题.csv",
        [read_svg(output / "topics" / "map.svg")], ["主题", "标题数", "主题词", "最典型的标题"], best,
    )  # fmt: skip
