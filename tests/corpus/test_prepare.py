import gzip
import json
import random
import zlib

import pytest

from finbert2 import files
from finbert2.corpus import pipeline, prepare

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
    same = different[1].replace("银行", "银行，") + "\n" + PAGE
    bad = ["太短。", "This is an English text without any Chinese.", "12.5% 3.4% 利 5.6% 7.8%", "公告称" * 40]
    folder = tmp_path_factory.mktemp("planted")
    source = write(folder / "a.jsonl", [*different, near, same, different[2], *bad, " "], source="news")
    return source, folder / "out", prepared(source, folder / "out", "--valid_fraction", "0.3")


def test_documents_in_are_documents_out_and_dropped(planted):
    _, output, results = planted
    assert results["documents_in"] == results["documents_found"] == 27  # the empty one is none
    assert results["dropped"] == {"duplicate": 3, "little_chinese": 1, "repetitive": 1, "table": 1, "too_short": 1}
    assert results["documents_out"] == results["documents_train"] + results["documents_valid"] == 20
    assert results["documents_in"] == results["documents_out"] + sum(results["dropped"].values())
    assert (len(lines(output, "train")), len(lines(output, "valid"))) == (
        results["documents_train"], results["documents_valid"],
    )  # fmt: skip
    assert not (output / ".work").exists() and "<svg" in (output / "kept_and_dropped.svg").read_text(encoding="utf-8")


def test_one_of_each_family_is_kept_with_its_fields(planted):
    _, output, _ = planted
    kept = lines(output, "train") + lines(output, "valid")
    families = [row["n"] if row["n"] < 20 else row["n"] - 20 for row in kept]
    assert sorted(families) == list(range(20))
    assert all(set(row) == {"text", "n", "source"} and PAGE not in row["text"] for row in kept)
    assert {row["n"] for row in lines(output, "dropped/duplicate")} <= {0, 1, 2, 20, 21, 22}
    assert [row["text"] for row in lines(output, "dropped/too_short")] == ["太短。"]


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


@pytest.mark.parametrize("num_proc", [1, 2])  # another number of processes must not lose or repeat documents
def test_a_killed_run_goes_on(tmp_path, monkeypatch, num_proc):
    source = write(tmp_path / "a.jsonl", [prose(seed) for seed in range(30)])
    whole = prepared(source, tmp_path / "whole")

    judge = pipeline.CleanFilter.filter

    def interrupted(self, doc):
        if doc.metadata["n"] == 17:
            raise KeyboardInterrupt
        return judge(self, doc)

    monkeypatch.setattr(pipeline.CleanFilter, "filter", interrupted)
    with pytest.raises(SystemExit) as stopped:
        prepared(source, tmp_path / "killed")
    assert stopped.value.code == 130 and not (tmp_path / "killed" / "results.json").exists()
    assert len(list((tmp_path / "killed" / ".work").glob("logs/0/completions/*"))) == 1  # of two tasks
    monkeypatch.undo()
    resumed = prepared(source, tmp_path / "killed", num_proc=num_proc)
    assert (resumed["documents_in"], resumed["documents_out"]) == (30, whole["documents_out"]) == (30, 30)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_processes_write_the_same_documents(tmp_path):
    source = write(tmp_path / "a.jsonl", [prose(seed % 25) for seed in range(40)])
    one, two = (prepared(source, tmp_path / str(n), "--valid_fraction", "0.3", num_proc=n) for n in (1, 2))
    assert one["dropped"] == two["dropped"] == {"duplicate": 15}
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


@pytest.mark.parametrize(("count", "limit", "expected"), [(10, 0, None), (10, 10, None), (10, 11, None), (10, 3, 3)])
def test_sample(count, limit, expected):
    drawn = pipeline.sample(count, limit, seed=4)
    assert drawn == pipeline.sample(count, limit, seed=4)
    assert drawn is None if expected is None else len(drawn) == expected and drawn <= set(range(count))


def test_another_text_field_and_its_neighbour_named_text(tmp_path):
    (tmp_path / "a.csv").write_text(f"body,text,split\n{prose(1)},摘要,x\n", encoding="utf-8")
    prepared(tmp_path / "a.csv", tmp_path / "o", "--text_field", "body", "--valid_fraction", "0")
    assert lines(tmp_path / "o", "train") == [{"text": prose(1), "split": "x"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "{path}: no document was found; a corpus has one text a line, as JSON or plain"),
        (
            '{"text": "甲"}\n{"body": "乙"}\n',
            "{path} line 2 has no 'text': it has 'body'; rename the column or field, or name yours by a flag",
        ),
        (
            '{"text": "甲"\n',
            "{path} line 1 is not JSON (Expecting ',' delimiter at column 13): "
            "each line has to be one whole object; mend or remove the line",
        ),
    ],
)
def test_bad_input_is_told_before_anything_is_written(tmp_path, capsys, content, expected):
    path = tmp_path / "a.jsonl"
    path.write_text(content, encoding="utf-8")
    message = refused(capsys, "--input", path, "--output_dir", tmp_path / "o")
    assert message == f"error: {expected.format(path=path)}\n" and not (tmp_path / "o").exists()


def test_a_share_that_is_none(capsys):
    assert refused(capsys, "--input", "a", "--output_dir", "o", "--valid_fraction", 1) == (
        "finbert2 corpus prepare: error: --valid_fraction is a share from 0 to below 1, not 1.0\n"
        "(flags: finbert2 corpus prepare -h)\n"
    )
