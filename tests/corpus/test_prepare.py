import gzip
import json
import random
import resource
import zlib

import pytest

from finbert2 import files
from finbert2.corpus import prepare

TEXT = "第{}号公告：公司前三季度实现营业收入{}亿元，净利润同比增长{}%，经营活动现金流持续改善，订单饱满。"
PAGE = "请务必阅读正文之后的免责声明部分"
SYLLABLES = "银行证券保险基金信托期货黄金原油煤炭钢铁化工医药食品白酒汽车家电电子通信传媒计算机军工电力港口航运"


def prose(seed: int, length: int = 160) -> str:
    return "".join(random.Random(seed).choices(SYLLABLES, k=length)) + "。"


def write(path, texts, **extra):
    rows = [{"text": text, "n": number, **extra} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def prepared(source, output, *flags, num_proc=1):
    prepare.main(["--input", str(source), "--output_dir", str(output), "--num_proc", str(num_proc), *flags])
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def lines(output, part) -> list[dict]:
    return [row.values for path in sorted((output / part).glob("*.jsonl.gz")) for row in files.read_rows(path)]


def content(output) -> dict[str, bytes]:
    """Every shard, unpacked (gzip writes the time into its header)."""
    return {p.relative_to(output).as_posix(): gzip.decompress(p.read_bytes()) for p in output.rglob("*.jsonl.gz")}


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        prepare.main([str(word) for word in argv])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Twenty different documents and a few of every kind that has to go."""
    different = [prose(seed) for seed in range(20)]
    near = different[0][:-3] + "银行。"
    same = different[1] + "\n" + PAGE
    bad = ["太短。", "This is an English text without any Chinese.", "12.5% 3.4% 利 5.6% 7.8%", "公告称" * 40]
    folder = tmp_path_factory.mktemp("planted")
    source = write(folder / "a.jsonl", [*different, near, same, different[2], *bad, " "], source="news")
    return source, folder / "out", prepared(source, folder / "out", "--valid_fraction", "0.3")


def test_documents_in_are_documents_out_and_dropped(planted):
    _, output, results = planted
    assert results["documents_in"] == results["documents_found"] == 27  # the empty one is none
    assert results["dropped"] == {
        "exact_duplicate": 2, "little_chinese": 1, "near_duplicate": 1, "repetitive": 1, "table": 1, "too_short": 1
    }  # fmt: skip
    assert results["documents_out"] == results["documents_train"] + results["documents_valid"] == 20
    assert results["documents_in"] == results["documents_out"] + sum(results["dropped"].values())
    assert (len(lines(output, "train")), len(lines(output, "valid"))) == (
        results["documents_train"], results["documents_valid"],
    )  # fmt: skip
    assert results["skipped"] == {} and results["by_source"] == {"news": {"kept": 20, **results["dropped"]}}
    assert not (output / ".work").exists() and "<svg" in (output / "kept_and_dropped.svg").read_text(encoding="utf-8")


def test_the_first_of_each_family_is_kept_with_its_fields(planted):
    _, output, _ = planted
    kept = lines(output, "train") + lines(output, "valid")
    assert sorted(row["n"] for row in kept) == list(range(20))
    assert all(set(row) == {"text", "n", "source"} and PAGE not in row["text"] for row in kept)


def test_dropped_documents_are_shown_for_a_person_to_read(planted):
    source, output, _ = planted
    shown = {path.stem: [row.values for row in files.read_rows(path)] for path in (output / "dropped").iterdir()}
    assert set(shown) == {"exact_duplicate", "little_chinese", "near_duplicate", "repetitive", "table", "too_short"}
    assert shown["too_short"] == [{"place": f"{source.absolute()} line 24", "text": "太短。"}]
    places = {
        reason: {(row["place"].split()[-1], row["kept_place"].split()[-1]) for row in shown[reason]}
        for reason in ("exact_duplicate", "near_duplicate")
    }
    # The lines of the copies and of what they are copies of; one differed by the page header that cleaning removes.
    assert places == {"exact_duplicate": {("22", "2"), ("23", "3")}, "near_duplicate": {("21", "1")}}
    assert all(row["text"] == row["kept_text"] for row in shown["exact_duplicate"])


def test_the_split_is_by_the_hash_of_the_text(planted):
    _, output, _ = planted
    held_out = {row["text"]: True for row in lines(output, "valid")} | {
        r["text"]: False for r in lines(output, "train")
    }
    assert len(held_out) == 20 and 0 < sum(held_out.values()) < 20
    assert all(out is (zlib.crc32(text.encode()) % 10_000 < 3000) for text, out in held_out.items())


def test_a_finished_run_is_left_alone_and_another_one_refused(planted, capsys):
    source, output, results = planted
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert prepared(source, output, "--valid_fraction", "0.3") == results
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != "args.json"} == {
        path: time for path, time in before.items() if path.name != "args.json"
    }
    message = refused(capsys, "--input", source, "--output_dir", output, "--valid_fraction", "0.1", "--num_proc", 1)
    assert message == (
        f"error: {output} holds another run (--valid_fraction was 0.3, is 0.1): "
        "choose another --output_dir, or remove this one to start anew\n"
    )


def test_without_its_results_the_run_makes_the_same_files_again(planted):
    source, output, results = planted
    before = content(output)
    (output / "results.json").unlink()
    again = prepared(source, output, "--valid_fraction", "0.3")
    assert content(output) == before and again["dropped"] == results["dropped"]


@pytest.mark.slow
def test_two_processes_write_the_same_documents(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed % 25) for seed in range(40)])
    one, two = (prepared(source, tmp_path / str(n), "--valid_fraction", "0.3", num_proc=n) for n in (1, 2))
    assert one["dropped"] == two["dropped"] == {"exact_duplicate": 15}
    for part in ("train", "valid"):
        first, second = ({row["text"] for row in lines(tmp_path / n, part)} for n in ("1", "2"))
        assert first == second and first


def test_a_sample_is_drawn_by_the_seed(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(30)])
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        results = prepared(source, tmp_path / name, "--max_documents", "10", "--seed", seed)
        assert (results["documents_in"], results["documents_found"], results["sampled"]) == (10, 30, True)
    numbers = [{row["n"] for row in lines(tmp_path / name, "train")} for name in "abc"]
    assert numbers[0] == numbers[1] != numbers[2]


def test_a_sample_of_a_packed_file_is_the_sample_of_the_plain_one(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(30)])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(source.read_bytes()))
    for name in ("a.jsonl", "b.jsonl.gz"):
        prepared(tmp_path / name, tmp_path / name[0], "--max_documents", "10")
    plain, packed = ({row["n"] for row in lines(tmp_path / name, "train")} for name in "ab")
    assert plain == packed and len(plain) >= 9


def test_documents_with_evaluation_texts_go(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(6)])
    (tmp_path / "test.csv").write_text(f"text,label\n{prose(2)[10:60]},1\n", encoding="utf-8")
    results = prepared(source, tmp_path / "o", "--decontaminate", str(tmp_path / "test.csv"))
    assert results["dropped"] == {"evaluation_text": 1}
    assert results["data"] == files.fingerprint([source, tmp_path / "test.csv"])
    assert [row["text"] for row in files_of(tmp_path / "o", "evaluation_text")] == [prose(2)]


def files_of(output, reason) -> list[dict]:
    return [row.values for row in files.read_rows(output / "dropped" / f"{reason}.jsonl")]


def test_parquet_and_saved_datasets_keep_their_fields_and_sources_are_told_apart(tmp_path):
    import datasets
    import pyarrow
    import pyarrow.parquet

    folder = tmp_path / "in"
    folder.mkdir()
    columns = {"body": [prose(1), "短"], "date": [None, "2024-03-01"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "b.parquet")
    write(folder / "a.jsonl", [])
    row = {"body": prose(2), "source": "news", "_source": "x"}
    (folder / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    datasets.Dataset.from_dict({"body": [prose(3)], "n": [7]}).save_to_disk(str(tmp_path / "saved"))
    flags = ["--input", str(folder), str(tmp_path / "saved"), "--output_dir", str(tmp_path / "o"), "--num_proc", "1"]
    prepare.main([*flags, "--text_field", "body", "--valid_fraction", "0"])
    results = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert results["by_source"] == {
        "b.parquet": {"kept": 1, "too_short": 1}, "news": {"kept": 1, "too_short": 0},
        "saved": {"kept": 1, "too_short": 0},
    }  # fmt: skip
    picture = (tmp_path / "o" / "kept_and_dropped.svg").read_text(encoding="utf-8")
    assert all(word in picture for word in ("b.parquet", "news", "saved", "kept", "too_short"))
    kept = {row["text"]: row for row in lines(tmp_path / "o", "train")}
    assert kept == {
        prose(1): {"text": prose(1), "date": None},
        prose(2): {"text": prose(2), "source": "news", "_source": "x"},
        prose(3): {"text": prose(3), "n": 7},
    }  # fmt: skip


def test_lines_that_cannot_be_read_are_counted_when_asked(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_bytes(f"{prose(1)}\n".encode() + "净利润".encode("gb18030") + f"\n{prose(2)}\n".encode())
    assert f"{path.absolute()} line 2 is not UTF-8" in refused(
        capsys, "--input", path, "--output_dir", tmp_path / "o", "--num_proc", 1
    )
    results = prepared(path, tmp_path / "o", "--errors", "skip")  # as the message says, in the same folder
    assert results["skipped"] == {"not_utf8": 1} and results["documents_in"] == results["documents_out"] == 2
    (shown,) = files_of(tmp_path / "o", "unreadable_not_utf8")
    assert shown["place"].startswith(f"{path.absolute()} line 2 is not UTF-8")


def test_a_bad_line_found_by_a_process_is_told_like_any_other(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(20)])
    with path.open("a") as file:
        file.write('{"text": 3}\n')
    message = refused(capsys, "--input", path, "--output_dir", tmp_path / "o", "--num_proc", 2)
    assert message.splitlines()[-1] == f"error: {path.absolute()} line 21 has 3 for 'text': a text was expected"


def test_a_huge_line_is_no_document(tmp_path):
    (tmp_path / "a.txt").write_text(f"{prose(1)}\n{'营收' * 700_000}\n", encoding="utf-8")
    results = prepared(tmp_path / "a.txt", tmp_path / "o")
    assert results["dropped"] == {"too_long": 1} and results["documents_out"] == 1
    assert len(files_of(tmp_path / "o", "too_long")[0]["text"]) == 2000


def test_a_full_disk_is_told_and_the_run_goes_on_later(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", [prose(seed, 900) for seed in range(60)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        message = refused(capsys, "--input", source, "--output_dir", tmp_path / "o", "--num_proc", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.splitlines()[-1].startswith("error: ") and message.endswith(
        " cannot be written (File too large): make room, the same command then goes on where this one stopped\n"
    )
    assert not list((tmp_path / "o").glob("train/*.gz")) and not (tmp_path / "o" / "results.json").exists()
    assert prepared(source, tmp_path / "o")["documents_out"] == 60


def test_shards_are_of_bounded_size(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed, 3000) for seed in range(150)])
    prepared(source, tmp_path / "o", "--shard_mb", "1", "--valid_fraction", "0")
    assert all(len(data) <= 2**20 for data in content(tmp_path / "o").values())
    assert len(lines(tmp_path / "o", "train")) == 150


def test_another_text_field_and_its_neighbour_named_text(tmp_path):
    (tmp_path / "a.csv").write_text(f"body,text,split\n{prose(1)},摘要,x\n", encoding="utf-8")
    prepared(tmp_path / "a.csv", tmp_path / "o", "--text_field", "body", "--valid_fraction", "0")
    assert lines(tmp_path / "o", "train") == [{"text": prose(1), "split": "x"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "{path}: no document was found; a corpus has one text a line, as JSON or plain"),
        (
            '{"body": "乙"}\n',
            "{path} line 1 has no 'text': it has 'body'; name the field of the text: --text_field",
        ),
        (
            '{"text": "甲"\n',
            "{path} line 1 is not JSON (unexpected end of data at column 13): "
            "each line has to be one whole object; mend or remove the line",
        ),
    ],
)
def test_bad_input_is_told_before_anything_is_written(tmp_path, capsys, content, expected):
    path = tmp_path / "a.jsonl"
    path.write_text(content, encoding="utf-8")
    message = refused(capsys, "--input", path, "--output_dir", tmp_path / "o")
    assert message == f"error: {expected.format(path=path)}\n" and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--valid_fraction", 1], "--valid_fraction is a share from 0 to below 1, not 1.0"),
        (["--shard_mb", 0], "--shard_mb is at least 1, not 0"),
        (["--executor", "slurm"], "--executor slurm needs --slurm_partition: sinfo lists them"),
    ],
)
def test_flags_that_say_nothing_possible(capsys, flags, message):
    assert refused(capsys, "--input", "a", "--output_dir", "o", *flags) == (
        f"finbert2 corpus prepare: error: {message}\n(flags: finbert2 corpus prepare -h)\n"
    )
