import json
import signal
import threading
import time

import pytest

from finbert2.endpoint import Answer, Chat
from finbert2.errors import UserError
from finbert2.labeler import evaluate, llm
from finbert2.labeler.data import Example, Sentence
from finbert2.labeler.features import Task
from finbert2.labeler.llm import cost

from .server import Server

LABELS = ["利好", "利空", "中性"]


def reply(prompt: str) -> str:
    """What a good model says: the last text of the prompt decides."""
    text = prompt.rsplit("文本：", 1)[1]
    return "利好" if "增长" in text else "利空"


@pytest.fixture
def server():
    running = Server(reply)
    yield running
    running.close()


def endpoint(server, tmp_path, **more) -> Chat:
    return Chat(server.url, "m", tmp_path / "answers", **({"first_wait": 0.01, "timeout": 5.0} | more))


@pytest.mark.parametrize("fault", [429, 500, 503, 408, "half", "slow"])
def test_a_failure_that_passes_is_tried_again(server, tmp_path, fault):
    server.faults = [fault, fault]
    answer = endpoint(server, tmp_path, timeout=0.2 if fault == "slow" else 5.0).ask("文本：利润增长")
    assert answer.text == "利好" and (answer.prompt_tokens, answer.completion_tokens) == (100, 2)
    assert len(server.requests) == 3


def test_a_server_that_never_answers_is_told_and_what_it_said_is_kept(server, tmp_path):
    mine = endpoint(server, tmp_path, retries=2, concurrency=1)
    server.faults = []
    mine.ask("文本：利润增长")
    server.faults = [500] * 9
    with pytest.raises(UserError) as raised:
        mine.ask_all(["文本：利润增长", "文本：利润下降"])
    assert str(raised.value) == (
        f"{server.url}/chat/completions did not answer in 2 tries (last: HTTP 500 Internal Server Error): "
        "check --endpoint, --llm_model; answers so far are kept in "
        f"{tmp_path / 'answers'}, the same command goes on after them"
    )
    server.faults = []
    assert [a.text for a in mine.ask_all(["文本：利润增长", "文本：利润下降"])] == ["利好", "利空"]
    assert [r["messages"][0]["content"] for r in server.requests].count("文本：利润增长") == 1


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(tmp_path):
    """For each of its tries it may hang until the time-out: it took minutes."""
    done = threading.Event()
    running = Server(lambda prompt: done.wait(20) and "利好")
    stopped = signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Timer(0.5, *stopped).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        endpoint(running, tmp_path, timeout=20.0, concurrency=2).ask_all(["文本：甲", "文本：乙", "文本：丙"])
    signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 5
    done.set()
    running.close()
    assert len(running.requests) == 2


def test_an_answer_in_parts_is_its_texts(server, tmp_path):
    server.reply = lambda prompt: [{"type": "thinking", "thinking": []}, {"type": "text", "text": "利好"}]
    assert [answer.text for answer in endpoint(server, tmp_path).ask_all(["涨", "涨"])] == ["利好", "利好"]


def test_equal_texts_are_asked_and_paid_for_once(server, tmp_path):
    prompts = ["文本：利润增长", "文本：利润下降", "文本：利润增长"] * 8
    answers = endpoint(server, tmp_path).ask_all(prompts)
    assert [answer.text for answer in answers] == ["利好", "利空", "利好"] * 8
    assert len(server.requests) == 2


def test_a_refusal_is_not_tried_again(server, tmp_path):
    server.faults = [401]
    with pytest.raises(UserError) as raised:
        endpoint(server, tmp_path).ask("文本：甲")
    assert str(raised.value) == (
        f'{server.url}/chat/completions refused a request (HTTP 401 Unauthorized: {{"error": "no"}}): '
        "check --endpoint, --llm_model and "
        "the key (FINBERT2_LLM_KEY or OPENAI_API_KEY in the environment)"
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_a_text_that_a_server_will_not_read_is_counted_unless_it_reads_none(server, tmp_path, status):
    """Vendors answer so to what their filter forbids, to texts beyond the model's length, and to a wrong request."""
    server.faults = [status]
    asker = endpoint(server, tmp_path, concurrency=1)
    refused, answered = asker.ask_all(["文本：甲", "文本：乙增长"])
    assert refused.refused.startswith(f"{server.url}/chat/completions refused a request (HTTP {status} ")
    assert (answered.text, answered.refused) == ("利好", "")
    server.faults = [status] * 2
    with pytest.raises(UserError, match=f"refused a request \\(HTTP {status} "):
        asker.ask_all(["文本：甲", "文本：丙"])
    server.faults = [403]
    with pytest.raises(UserError, match="HTTP 403"):
        asker.ask_all(["文本：甲", "文本：乙增长"])


def test_a_key_is_cleaned_and_never_shown(server, tmp_path, monkeypatch):
    """A line break comes with a key from a file; http.client would print the whole header."""
    monkeypatch.setenv("FINBERT2_LLM_KEY", "sk-secret\r\n")
    endpoint(server, tmp_path).ask("文本：甲")
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret"
    monkeypatch.setenv("FINBERT2_LLM_KEY", "sk-\nsecret")
    with pytest.raises(UserError) as raised:
        endpoint(server, tmp_path).ask("文本：乙")
    assert str(raised.value) == (
        "FINBERT2_LLM_KEY holds characters that no key has (line breaks, or others than ASCII): set it anew"
    )


def test_nobody_listens(tmp_path):
    lost = Chat("http://127.0.0.1:9/v1", "m", tmp_path, retries=2, first_wait=0.01)
    with pytest.raises(UserError, match="did not answer in 2 tries \\(last: URLError: .*refused"):
        lost.ask("甲")


def test_cost_by_hand():
    answers = [Answer("", 100, 2, 0.5), Answer("", 300, 4, 1.5)]
    assert cost(answers, 2, 10.0, 20.0) == pytest.approx({
        "prompt_tokens_per_1000": 200_000, "completion_tokens_per_1000": 3_000, "seconds_per_1000": 500.0,
        "latency_seconds": 1.0, "cost_per_1000": 2.06,
    })  # fmt: skip
    assert "cost_per_1000" not in cost(answers, 2, None, None)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("利好", "利好"), (" “利空”。\n", "利空"), ("类别是利好。", "利好"),
        ("<think>利空？利好？</think>利好", "利好"),
        ("利好？利空？更像利空。</think>利好", "利好"),
        ("<think>还没想完，利好", None), ("可能利好，也可能利空", None), ("很难说", None), ("", None), ("利", None),
        ("利好，确实是利好", "利好"),
    ],
)  # fmt: skip
def test_labels_from_answers(answer, label):
    assert llm.read_label(answer, LABELS, False) == label


@pytest.mark.parametrize(
    ("answer", "labels", "multi_label", "label"),
    [
        ("*ST", ["ST", "*ST", "正常"], False, "*ST"), ("**ST**", ["ST", "*ST"], False, "ST"),
        ("答案：*ST", ["ST", "*ST"], False, "*ST"), ("【减持】", ["【减持】", "其他"], False, "【减持】"),
        ("Positive.", ["positive", "negative"], False, "positive"), ("a", ["A", "b"], False, "A"),
        ("Ab", ["AB", "ab"], False, None),
        ("农、林、牧、渔业", ["农、林、牧、渔业", "采矿业"], True, "农、林、牧、渔业"),
        ("采矿业\n\n农、林、牧、渔业|", ["农、林、牧、渔业", "采矿业"], True, "农、林、牧、渔业|采矿业"),
        ("", ["采矿业"], True, None), ("|", ["采矿业"], True, None), ("“无”", ["采矿业"], True, ""),
    ],
)  # fmt: skip
def test_labels_with_marks_of_their_own(answer, labels, multi_label, label):
    assert llm.read_label(answer, labels, multi_label) == label


def test_longer_names_go_before_their_parts_and_numbers_in_prose_are_no_labels():
    assert llm.read_label("属于医药商业", ["医药", "医药商业"], False) == "医药商业"
    assert llm.read_label("1", ["0", "1"], False) == "1" and llm.read_label("我有1个想法", ["0", "1"], False) is None


@pytest.mark.parametrize(
    ("answer", "labels"),
    [("利好|中性", "中性|利好"), ("利好、利空", "利好|利空"), ("无", ""), ("利好|好", None), ("不知道", None)],
)
def test_several_labels_from_answers(answer, labels):
    assert llm.read_label(answer, LABELS, True) == labels


SENTENCE = Sentence(tuple("中信证券与中信银行"), ("B-ORG",) + ("I-ORG",) * 3 + ("O",) + ("B-ORG",) + ("I-ORG",) * 3)


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        ('[{"text": "中信证券", "type": "ORG"}, {"text": "中信银行", "type": "ORG"}]', list(SENTENCE.tags)),
        ('好的：\n```json\n[{"text": "中信", "type": "ORG"}, {"text": "中信", "type": "ORG"}]\n```',
         ["B-ORG", "I-ORG", "O", "O", "O", "B-ORG", "I-ORG", "O", "O"]),
        ('[{"text": "中信", "type": "LOC"}, {"text": "华泰", "type": "ORG"}, 3]', ["O"] * 9),
        ("[]", ["O"] * 9), ("没有实体", None), ('[{"text": "中信"', None),
    ],
)  # fmt: skip
def test_tags_from_answers(answer, tags):
    assert llm.read_tags(answer, SENTENCE, ["O", "B-ORG", "I-ORG"]) == tags


def test_a_prompt_has_its_examples_class_by_class():
    train = [Example(f"第{n}条", LABELS[n % 2]) for n in range(20)]
    task = Task("classification", LABELS, False, train, [], [Example("净利润{labels}增长" * 3, "利好")])
    (prompt,) = llm.prompts(task, llm.template(task), 2, 20, 0)
    assert "类别：利好、利空、中性" in prompt
    assert prompt.count("文本：") == 3 and prompt.count("类别：利好\n") == 1 and prompt.count("类别：利空\n") == 1
    assert "净利润{labels……{labels}增长" in prompt and prompt == llm.prompts(task, llm.template(task), 2, 20, 0)[0]
    with pytest.raises(UserError, match="--shots 1 needs --train_data"):
        llm.examples([], 1, 0)


def test_a_prompt_file_needs_its_places(tmp_path):
    (tmp_path / "p.txt").write_text("{labels}\n{text}", encoding="utf-8")
    with pytest.raises(UserError) as raised:
        llm.template(Task("ner", [], False, [], []), str(tmp_path / "p.txt"))
    assert str(raised.value) == (
        f"{tmp_path / 'p.txt'} has no {{examples}}: a prompt needs {{labels}}, {{examples}} and {{text}}"
    )


def run(server, tmp_path, *more) -> dict:
    evaluate.main([
        "--endpoint", server.url, "--llm_model", "qwen", "--test_data", str(tmp_path / "test.csv"),
        "--output_dir", str(tmp_path / "o"), *more,
    ])  # fmt: skip
    return json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))


def test_a_file_is_labelled_by_a_server_that_misbehaves(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FINBERT2_LLM_KEY", "sk-secret")
    monkeypatch.setattr(Chat, "first_wait", 0.01)
    rows = [(f"第{n}号公告利润{'增长' if n % 2 else '下降'}", "利好" if n % 2 else "利空") for n in range(12)]
    content = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    (tmp_path / "test.csv").write_text(content, encoding="utf-8")
    (tmp_path / "train.csv").write_text(content.replace("号", "份"), encoding="utf-8")
    server.faults = [429, 500, "half", "prose"]
    found = run(server, tmp_path, "--concurrency", "1", "--price_in", "1", "--price_out", "2",
                "--train_data", str(tmp_path / "train.csv"), "--shots", "2")  # fmt: skip
    assert found["llm"]["unparsable"] == 1 and found["test"]["accuracy"] == pytest.approx(11 / 12)
    assert found["llm"]["cost_per_1000"] == pytest.approx(0.104) and found["n_test"] == 12
    assert {"majority", "tfidf"} <= set(found["comparisons"])
    assert {one["Authorization"] for one in server.headers} == {"Bearer sk-secret"}
    written = [path.read_text(encoding="utf-8") for path in (tmp_path / "o").rglob("*") if path.is_file()]
    assert len(list((tmp_path / "o" / "answers.cache").iterdir())) == 12  # a name that no upload takes along
    assert len(written) == 15 and not any("sk-secret" in text for text in written)
    asked = len(server.requests)
    assert run(server, tmp_path, "--train_data", str(tmp_path / "train.csv"), "--shots", "2")["test"] == found["test"]
    assert len(server.requests) == asked


def test_entities_by_a_server(tmp_path, server):
    server.reply = lambda prompt: (
        '[{"text": "央行", "type": "ORG"}]' if "央行" in prompt.rsplit("文本：", 1)[1] else "[]"
    )
    (tmp_path / "test.txt").write_text("央 B-ORG\n行 I-ORG\n涨 O\n\n公 B-ORG\n司 I-ORG\n", encoding="utf-8")
    evaluate.main([
        "--endpoint", server.url, "--llm_model", "qwen", "--task", "ner", "--test_data", str(tmp_path / "test.txt"),
        "--output_dir", str(tmp_path / "o"),
    ])  # fmt: skip
    found = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    assert (found["test"]["precision"], found["test"]["recall"], found["llm"]["unparsable"]) == (1.0, 0.5, 0)


def test_a_test_file_without_a_bar_may_have_rows_of_no_label(tmp_path):
    """What the training file says of the task holds for the test file."""
    (tmp_path / "train.csv").write_text("text,label\n涨,利好|并购\n买,并购\n跌,利好\n平,\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label\n涨了,利好\n平了,\n", encoding="utf-8")
    options = evaluate.EvaluationArguments(
        str(tmp_path / "test.csv"), str(tmp_path / "o"), train_data=str(tmp_path / "train.csv")
    )
    task = evaluate.read_task(None, options, "classification")
    assert task.multi_label and [row.labels for row in task.test] == [["利好"], []]


def test_half_an_endpoint_and_none(capsys, tmp_path):
    for flags, message in (
        (["--endpoint", "http://x"], "--endpoint and --llm_model belong together: name both or neither"),
        (
            ["--endpoint", "http://x", "--llm_model", "m", "--concurrency", "0"],
            "--concurrency and --max_retries: one or more was expected",
        ),
        ([], "nothing to measure: name --model_name_or_path, or --endpoint and --llm_model"),
        (["--model_name_or_path", ""], "nothing to measure: name --model_name_or_path, or --endpoint and --llm_model"),
    ):
        with pytest.raises(SystemExit) as stopped:
            evaluate.main([*flags, "--test_data", "x.csv", "--output_dir", str(tmp_path)])
        assert stopped.value.code == 2 and message in capsys.readouterr().err
