"""Every benchmark in its order: python benchmarks/run_all.py DATA [--only NAME…] [--work FOLDER] [--list].

DATA is a folder laid out as quickstart.sh takes it. Steps stand one after the other, since they are timed; a step that
fails is said and the next one runs. --peers names a Python that has datatrove with spacy and jieba and text-dedup,
--original a clone of valuesimplex/FinBERT; without them the arms that need them are left out. The topics' peers come
with `pip install -e '.[bench]'`. All experiments start from one set of encoders, small on a CPU, larger on a GPU;
docs/reproduction.md has some of each and gives the commands of both. Hours on two cores. Left out is
retriever_pooling.py, which goes on from a finished quickstart. The pages made from the results: python
benchmarks/performance_page.py, benchmarks/reproduction_page.py.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from domain_pretraining import READS, RETROMAE

from finbert2 import runtime

HERE = Path(__file__).parent
SEEDS = ("0", "1", "2")


def steps(data: Path, work: Path, peers: str, original: str) -> dict[str, list[str]]:
    """Return the arguments of each step; some need what an earlier one left in `work`."""
    corpus, valid = str(data / "corpus" / "corpus.jsonl.gz"), str(data / "corpus" / "valid.jsonl.gz")
    titles, retrieval = str(data / "topic" / "titles.csv"), str(data / "retrieval")
    words, encoders, topics = work / "words", work / "encoders", str(work / "topics")
    base, ours = str(words / "base"), str(words / "ours")
    financial, retriever = str(encoders / "financial"), work / "retriever"
    sets = sorted(path.parent.name for path in (data / "retrieval").glob("*/train_flagembedding.jsonl"))
    tuned = str(retriever / "models" / "-".join(["large_batch", "0", *sets]))
    with_peers = ["--peers", peers] if peers else []
    on_gpu = runtime.device() == "cuda"
    # A GPU reads in two minutes twenty times what two cores read in half an hour, so its encoders can be larger.
    shape = ["--layers", "6", "--width", "384", "--batch", "128", "--workers", "8"]
    larger = [*shape, "--steps", "2400"]
    fewer = ["--documents", "128"] if on_gpu else []  # with 256 the stock arms' logits need 80 GB
    warm = ["--warmup", "30", "--steps", "50"] if on_gpu else []  # kernels are loaded and chosen as lengths first come
    texts = [f"newswire={valid}", f"report_titles={titles}:title"]
    texts += [f"{path.parent.name}={path}" for path in sorted((data / "retrieval").glob("*/corpus.jsonl"))]
    texts += [f"{path.parent.name}={path}" for path in sorted((data / "classification").glob("*/test.csv"))]
    tokenizers = ["--tokenizer", base, "--domain", ours]
    counted = work / "from_counts"
    tasks = [path.parent.name for path in sorted((data / "classification").glob("*/train.csv"))]
    thousand = ["--train_rows", "1000", "--steps", "200", "--seeds", "3", "--max_seq_length", "256", "--tasks", *tasks]
    found = {
        "corpus_throughput": ["corpus_throughput.py", "--corpus", corpus, *with_peers],
        "corpus_near_duplicates": ["corpus_near_duplicates.py", "--corpus", corpus, "--titles", titles, *with_peers],
        "corpus_memory": ["corpus_memory.py", "--corpus", corpus],
        "domain_words": ["domain_words.py", "--corpus", corpus, "--work", str(words), "--texts", *texts],
        "domain_words_pretraining": [
            "domain_words_pretraining.py", str(data), str(work / "words_pretraining"),
            *([*shape, "--seconds", "60"] if on_gpu else []),
        ],
        "collator": ["collator.py", "--tokenizer", base, "--corpus", corpus],
        "omp_wait_policy": ["omp_wait_policy.py"],
        "tokens_a_step": ["tokens_a_step.py", "--work", str(work / "tokens_a_step")],
        "pretrain_step": ["pretrain_step.py", "--corpus", corpus, *tokenizers],
        "pretrain_step_base": ["pretrain_step.py", "--corpus", corpus, *tokenizers, "--model", "base", *fewer],
        "pretrain_quality": ["pretrain_quality.py", "--corpus", corpus, "--valid", valid, *tokenizers],
        "mask_ratio": [
            "mask_ratio.py", "--corpus", corpus, "--valid", valid, "--tokenizer", base,
            "--work", str(work / "mask_ratio"),
        ],
        "initial_weights": [
            "initial_weights.py", "--corpus", corpus, "--valid", valid, "--tokenizer", base,
            "--work", str(work / "initial_weights"),
        ],
        "domain_pretraining": [
            "domain_pretraining.py", str(data), str(encoders), "--tokenizer", base, "--encoders", *READS,
            f"financial{RETROMAE}", *(larger if on_gpu else []),
        ],
        "domain_pretraining_from_counts": [
            "domain_pretraining.py", str(data), str(counted), "--encoders", *READS, "--steps", "11500",
            "--start_from_counts",
        ],
        "labeler_tasks": [
            "labeler_tasks.py", str(data), f"financial={financial}", "--work_dir", str(work / "labeler_tasks"),
        ],
        "labeler_tasks_from_counts": [
            "labeler_tasks.py", str(data), f"financial={counted / 'financial'}", "--work_dir",
            str(work / "labeler_tasks_from_counts"), "--record", "labeler_tasks_from_counts", "--no_random",
            "--seeds", "3", "--learning_rate", "4e-4", "--steps", "1200",
        ],
        "labeler_tasks_from_counts_fgm": [
            "labeler_tasks.py", str(data), f"financial={counted / 'financial'}", "--work_dir",
            str(work / "labeler_tasks_from_counts_fgm"), "--record", "labeler_tasks_from_counts_fgm", "--no_random",
            "--learning_rate", "4e-4", "--steps", "1200", "--tasks", "event_type", "forum_sentiment", "--fgm", "0.5",
        ],
        "labeler_tasks_of_1000_rows": [
            "labeler_tasks.py", str(data), *(f"{n}={encoders / n}" for n in READS),
            "--work_dir", str(work / "labeler_tasks_of_1000_rows"), *thousand,
        ],
        "labeler_tasks_from_counts_of_1000_rows": [
            "labeler_tasks.py", str(data), *(f"{n}={counted / n}" for n in READS),
            "--work_dir", str(work / "labeler_tasks_from_counts_of_1000_rows"), "--record", "labeler_tasks_from_counts",
            "--learning_rate", "4e-4", *thousand,
        ],
        "labeler_long_texts": [
            "labeler_long_texts.py", str(data / "classification" / "sc2_sentiment"), financial,
            "--work_dir", str(work / "labeler_long_texts"),
        ],
        "labeler_train": ["labeler_train.py", str(data)],
        "labeler_train_base": ["labeler_train.py", str(data), "--shape", "base", *warm],
        "labeler_inference": ["labeler_inference_gpu.py" if on_gpu else "labeler_inference.py", str(data)],
        "labeler_stream": ["labeler_stream.py"],
        "retromae_probe": [
            "retromae_probe.py", "--corpus", corpus, "--tokenizer", base, "--cache", str(work / "retromae_probe"),
            "--retrieval", f"{retrieval}/news_headline", f"{retrieval}/report_abstract",
        ],
        "retriever_mine": ["retriever_mine.py", f"{retrieval}/event_qa"],
        **{
            f"retriever_train_{name}": ["retriever_train.py", "--data", retrieval, *flags]
            for name, flags in contrastive().items()
        },
        "retriever_quality": [
            "retriever_quality.py", "--data", retrieval, "--model", financial,
            "--retromae", f"{financial}{RETROMAE}", "--work", str(retriever), "--group", "2", "--temperature", "0.05",
            "--passage_max_len", "96", "--queries", "64", "--epochs", "0.5", "--learning_rate", "3e-4",
            "--seeds", *SEEDS,
        ],
        "retriever_encode": [
            "retriever_encode.py", "--model", tuned, "--data", f"{retrieval}/report_abstract", "--evaluate",
        ],
        "retriever_encode_base": [
            "retriever_encode.py", "--model", tuned, "--data", f"{retrieval}/event_qa", "--random_base",
            "--passages", "300", "--rounds", "4", "--batch_sizes", "8", "32",
        ],
        "vector_store": ["vector_store.py"],
        "topics_vectors": ["topics_vectors.py", str(data), topics],
        "topics_quality": ["topics_quality.py", titles, topics],
        "topics_domain": [
            "topics_domain.py", titles, *(f"{n}={counted / n}" for n in READS),
        ],
    }  # fmt: skip
    for held_out in sets:
        extra = ["--held_out", held_out, "--arms", "untuned", "mined"]
        found[f"retriever_quality_without_{held_out}"] = [*found["retriever_quality"], *extra]
    if original:
        found["topics_cost"] = ["topics_cost.py", titles, topics, original]
    return found


def contrastive() -> dict[str, list[str]]:
    """Return the settings of retriever_train.py: speed at a few queries, memory at many."""
    if runtime.device() == "cuda":
        common = ["--shape", "base", "--bf16", "--tokens", "65536", "--texts", "256"]
        return {
            "base_bf16": [*common, "--warmup", "10", "--steps", "20"],
            "base_bf16_256": [*common, "--queries", "256", "--warmup", "1", "--steps", "2"],
        }
    base = ["--shape", "base", "--queries", "2", "--warmup", "1", "--steps", "2"]
    once = ["--warmup", "0", "--steps", "1", "--rounds", "1", "--memory_gib", "22"]
    return {
        "small": [], "small_bf16": ["--bf16"], "base": base, "base_bf16": [*base, "--bf16"],
        "memory_32": ["--queries", "32", *once], "memory_256": ["--queries", "256", *once],
    }  # fmt: skip


def main() -> int:
    """Run the steps asked for and return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--work", type=Path, default=Path("outputs/benchmarks"))
    parser.add_argument("--peers", default="")
    parser.add_argument("--original", default="")
    parser.add_argument("--list", action="store_true", help="only print the commands")
    options = parser.parse_args()
    failed = 0
    for name, arguments in steps(options.data, options.work, options.peers, options.original).items():
        if options.only and name not in options.only:
            continue
        print(name, "python", "benchmarks/" + " ".join(arguments), flush=True)
        if not options.list:
            options.work.mkdir(parents=True, exist_ok=True)
            code = subprocess.run([sys.executable, str(HERE / arguments[0]), *arguments[1:]], check=False).returncode
            failed += code != 0
            print(f"{name}: {'done' if code == 0 else f'failed, exit code {code}'}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
