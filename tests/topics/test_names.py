import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from finbert2.endpoint import Chat
from finbert2.errors import UserError
from finbert2.topics import run
from finbert2.topics.model import Topic, load_model
from finbert2.topics.names import clean, name_topics, prompt

TOPICS = [
    Topic(0, 9, ["银行", "信贷"], ["银行业周报"]),
    Topic(1, 5, ["汽车", "销量"], ["乘用车周报", "汽车月报"]),
    Topic(2, 2, ["钢铁"], []),
]


@pytest.fixture
def endpoint(tmp_path):
    """A model on loopback: answers by the prompt's words; `refuse` makes it answer 500, `forbidden` words 400."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[dict] = []
        keys: list[str | None] = []
        refuse = False
        forbidden = "\0"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.asked.append(body)
            self.keys.append(self.headers.get("Authorization"))
            text = body["messages"][0]["content"]
            answer = (
                "“银行信贷”。\n因为……"
                if "银行" in text
                else None
                if "钢铁" in text
                else "这是一个关于汽车的主题，它的名字我认为可以叫做汽车销量与出口"
            )
            self.send_response(500 if self.refuse else 400 if self.forbidden in text else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": answer}}]}).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/v1/"
    yield Chat(url, "m", tmp_path / "names.cache", retries=4, first_wait=0.01), Handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_largest_are_named_once_and_the_audit_shows_what_was_said(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    where, server = endpoint
    for _ in range(2):  # the second time everything is known
        named = name_topics(TOPICS, where, 2, tmp_path)
    assert [topic.name for topic in named] == ["银行信贷", "", ""] and len(server.asked) == 2
    assert server.keys == ["Bearer k"] * 2 and server.asked[0]["model"] == "m"
    with (tmp_path / "names.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (
        rows[1]["name"] == ""
        and rows[1]["answer"].startswith("这是一个")
        and rows[1]["titles"] == "乘用车周报 | 汽车月报"
    )
    kept = [path.read_text(encoding="utf-8") for path in (tmp_path / "names.cache").iterdir()]
    assert len(kept) == 2 and not any("k" in text.split('"') for text in kept)


def test_a_topic_that_the_server_will_not_read_is_told_of_and_why(endpoint, tmp_path, caplog):
    where, server = endpoint
    server.forbidden = "汽车"
    assert [topic.name for topic in name_topics(TOPICS, where, 3, tmp_path)] == ["银行信贷", "", ""]
    assert caplog.messages == [
        "topics: the server refused 1 of 3 prompts for a name, these topics keep their words; why stands in "
        f"{tmp_path / 'names.csv'}"
    ]
    with (tmp_path / "names.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["name"] == "" and rows[1]["answer"].startswith(
        f"{where.url}chat/completions refused a request (HTTP 400 Bad Request: "
    )


def test_a_null_answer_is_no_name_and_is_not_kept(endpoint, tmp_path):
    where, server = endpoint
    for asked in (1, 2):
        assert name_topics(TOPICS[2:], where, 1, tmp_path)[0].name == "" and len(server.asked) == asked
    assert not (tmp_path / "names.cache").exists()


def test_names_that_are_there_are_not_asked_for(endpoint, tmp_path):
    where, server = endpoint
    listed = Topic(0, 9, ["银行"], [], "我的名字")
    assert name_topics([listed], where, 5, tmp_path)[0].name == "我的名字" and server.asked == []


def test_a_refusal_and_a_closed_door_are_told(endpoint, tmp_path):
    where, server = endpoint
    server.refuse = True
    told = "check --endpoint, --llm_model; answers so far are kept in {}, the same command goes on after them"
    with pytest.raises(UserError) as raised:
        name_topics(TOPICS, where, 1, tmp_path)
    assert str(raised.value) == (
        f"{where.url}chat/completions did not answer in 4 tries (last: HTTP 500 Internal Server Error): "
        + told.format(where.cache)
    )
    lost = Chat("http://127.0.0.1:9/v1", "m", tmp_path, timeout=2, retries=4, first_wait=0.01)
    with pytest.raises(UserError, match="did not answer in 4 tries .*" + told.format(tmp_path)):
        name_topics(TOPICS, lost, 1, tmp_path)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("《新能源车》", "新能源车"),
        ("<think>嗯，\n银行？</think>\n银行信贷", "银行信贷"),
        ("用户给出一组主题词\n……\n</think>\n\n光伏产业链", "光伏产业链"),
        ("<think>\n我想想", ""),
        ("", ""),
        ("长" * 25, ""),
        ("** 煤炭 **", "煤炭"),
    ],
)
def test_answers_become_names_or_nothing(answer, name):
    assert clean(answer) == name


def test_the_prompt_is_chinese_and_holds_words_and_titles():
    text = prompt(TOPICS[1])
    assert "汽车、销量" in text and "- 乘用车周报\n- 汽车月报" in text and "只输出名字" in text and "{" not in text


def test_a_run_with_names_puts_them_into_its_tables(endpoint, tmp_path, titles_csv, flat_layout):
    where, server = endpoint
    flags = ["--titles", str(titles_csv), "--output_dir", str(tmp_path), "--lexical_weight", "1", "--num_topics", "4"]
    flags += [
        "--map",
        "false",
        "--bertopic",
        "false",
        "--llm_endpoint",
        where.url,
        "--llm_model",
        "m",
        "--llm_topics",
        "4",
    ]
    run.main(flags)
    with (tmp_path / "topics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(server.asked) == 4 and "银行信贷" in {row["name"] for row in rows}
    assert "银行信贷" in (tmp_path / "tree.txt").read_text(encoding="utf-8")
    assert "银行信贷" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "银行信贷" in {topic.name for topic in load_model(tmp_path).topics}
