"""The server: whom it serves, what it says, and what it puts up with."""

import asyncio
import contextlib
import json
import threading
import time

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fastmlp.playground import server
from fastmlp.playground.connection import MAX_FRAMES_UNDER_WAY
from fastmlp.playground.server import make_app
from fastmlp.playground.session import Session
from fastmlp.playground.settings import MAX_EPOCHS, Settings, SettingsError
from tests.playground.frames import Frame

HOST = "127.0.0.1:8642"


@contextlib.contextmanager
def client_of(**arguments):
    with TestClient(make_app(**arguments), base_url=f"http://{HOST}") as client:
        yield client


@pytest.fixture(scope="module")
def client():
    with client_of() as client:
        yield client


@contextlib.contextmanager
def open_page(client, **headers):
    """A connection after its greeting."""
    with client.websocket_connect(f"ws://{HOST}/ws", headers=headers) as socket:
        greeting = receive(socket, "hello")
        socket.greeting = greeting
        yield socket


def receive(socket, kind):
    """The next text of a kind; what comes before it is skipped."""
    while True:
        message = socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"], message["reason"])
        if "text" in message and json.loads(message["text"])["type"] == kind:
            return json.loads(message["text"])


def receive_frame(socket):
    """The next frame, acknowledged."""
    while True:
        message = socket.receive()
        if message.get("bytes") is not None:
            socket.send_json({"type": "ack"})
            return Frame(message["bytes"])


def start(socket, **settings):
    socket.send_json({"type": "settings", "settings": settings})
    problem = receive(socket, "problem")
    return problem, receive_frame(socket)


# Who is served


@pytest.mark.parametrize(
    ("bound_to", "host", "origin", "is_served"),
    [
        ("127.0.0.1", "127.0.0.1:8642", None, True),
        ("127.0.0.1", "127.0.0.1:8642", "http://127.0.0.1:8642", True),
        ("127.0.0.1", "localhost:8642", "http://localhost:8642", True),
        ("127.0.0.1", "[::1]:8642", "http://[::1]:8642", True),
        ("localhost", "localhost:1", "http://localhost:1", True),
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1", True),
        # Foreign pages
        ("127.0.0.1", "127.0.0.1:8642", "http://evil.example", False),
        ("127.0.0.1", "127.0.0.1:8642", "http://evil.example:8642", False),
        ("127.0.0.1", "127.0.0.1:8642", "http://127.0.0.1:3000", False),
        ("127.0.0.1", "127.0.0.1:8642", "http://localhost:8642", False),
        ("127.0.0.1", "127.0.0.1:8642", "https://127.0.0.1:8642", False),
        ("127.0.0.1", "127.0.0.1:8642", "null", False),
        ("127.0.0.1", "127.0.0.1:8642", "", False),
        # Foreign names that lead here
        ("127.0.0.1", "evil.example:8642", "http://evil.example:8642", False),
        ("127.0.0.1", "evil.example", None, False),
        ("127.0.0.1", "127.0.0.1.evil.example:8642", None, False),
        ("127.0.0.1", "192.168.1.2:8642", None, False),
        ("127.0.0.1", "", None, False),
        # Open to others
        ("0.0.0.0", "192.168.1.2:8642", "http://192.168.1.2:8642", True),
        ("0.0.0.0", "evil.example:8642", "http://evil.example:8642", False),
        ("192.168.1.2", "192.168.1.2:8642", "http://evil.example", False),
        ("box.example", "box.example:8642", "http://box.example:8642", True),
    ],
)
def test_only_our_own_page_is_served(bound_to, host, origin, is_served):
    app = make_app(bound_to)
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    assert answer(app, "http", headers) == (200 if is_served else 403)
    # Before it is accepted, a refused WebSocket is answered with HTTP 403.
    assert answer(app, "websocket", headers) == ("accept" if is_served else "close")


def test_two_hosts_are_one_too_many():
    app = make_app()
    headers = [(b"host", HOST.encode()), (b"host", b"evil.example")]
    assert answer(app, "http", headers) == 403
    assert answer(app, "http", []) == 403


def answer(app, kind, headers):
    """How the application begins its answer."""
    sent = []
    scope = {
        "type": kind,
        "method": "GET",
        "path": "/" if kind == "http" else "/ws",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http" if kind == "http" else "ws",
        "headers": headers,
    }
    connect = {"type": "websocket.connect"}
    events = [connect if kind == "websocket" else {"type": "http.request", "body": b""}]

    async def receive():
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    async def send(message):
        sent.append(message)

    async def run():
        task = asyncio.ensure_future(app(scope, receive, send))
        while not sent:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    first = sent[0]
    return first.get("status", first["type"].rpartition(".")[2])


# The page


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/static/main.js", "text/javascript"),
        ("/static/style.css", "text/css"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_page(client, path, kind):
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_page_needs_nothing_from_elsewhere(client):
    for file in server.STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/etc", "/x"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


# The conversation


def test_greeting(client):
    with open_page(client, origin=f"http://{HOST}") as socket:
        greeting = socket.greeting
    assert greeting["limits"]["epochs"] == MAX_EPOCHS
    assert Settings.from_message(greeting["defaults"]) == Settings()
    for preset in greeting["presets"]:
        Settings.from_message(preset["settings"])
    curves = {row["id"]: row["curve"] for row in greeting["activations"]}
    assert curves["relu"][0] == 0
    assert curves["relu"][-1] == 3


def test_pages_wait_for_the_compilation(monkeypatch):
    is_compiled = threading.Event()
    monkeypatch.setattr(server, "_compile", is_compiled.wait)
    url = f"ws://{HOST}/ws"
    try:
        with client_of(max_sessions=1) as client:
            for _ in range(2):  # one that goes away in the meantime leaves room for the next
                with client.websocket_connect(url) as socket:
                    assert receive(socket, "status")["status"] == "preparing"
            with client.websocket_connect(url) as socket:
                receive(socket, "status")
                is_compiled.set()
                receive(socket, "hello")
                start(socket)
    finally:
        is_compiled.set()


def test_settings_are_answered_with_a_problem_and_a_frame(client):
    with open_page(client) as socket:
        problem, frame = start(socket, dataset="spiral", hidden=[3], train_share=75)
        settings = Settings(dataset="spiral", hidden=(3,), train_share=75)
        assert Settings.from_message(problem["settings"]) == settings
        assert (len(problem["train"]), len(problem["test"])) == (300, 100)
        assert problem["units"] == [2, 3, 1]
        assert (frame.epoch, frame.n_hidden, frame.revision) == (0, 3, problem["revision"])
        assert receive(socket, "status")["status"] == "paused"


def test_step_reset_and_resume(client):
    with open_page(client) as socket:
        start(socket)
        socket.send_json({"type": "step"})
        first = receive_frame(socket)
        assert first.epoch == 1
        socket.send_json({"type": "reset"})
        assert receive(socket, "problem")["revision"] == 2
        assert receive_frame(socket).epoch == 0
    with open_page(client) as socket:
        socket.send_json(
            {"type": "settings", "settings": {}, "params": first.params.tolist(), "epoch": 1}
        )
        frame = receive_frame(socket)
        assert frame.epoch == 1
        assert frame.params.tolist() == first.params.tolist()


def test_play_and_pause(client):
    with open_page(client) as socket:
        start(socket, speed=0)
        socket.send_json({"type": "play"})
        assert receive(socket, "status")["status"] == "paused"  # that of the settings
        assert receive(socket, "status")["status"] == "running"
        epochs = [receive_frame(socket).epoch for _ in range(5)]
        assert epochs == sorted(set(epochs))
        socket.send_json({"type": "pause"})
        assert receive(socket, "status")["status"] == "paused"
        socket.send_json({"type": "step"})
        assert receive_frame(socket).epoch > epochs[-1]


def test_speed_is_kept(client):
    with open_page(client) as socket:
        start(socket, speed=100)
        started = time.monotonic()
        socket.send_json({"type": "play"})
        while (frame := receive_frame(socket)).epoch < 50:
            pass
        # Slower is possible on a busy machine, faster is not.
        assert frame.epoch <= 100 * (time.monotonic() - started) + 15


def test_settings_change_while_it_runs(client):
    with open_page(client) as socket:
        start(socket)
        socket.send_json({"type": "play"})
        for _ in range(3):
            receive_frame(socket)
        socket.send_json({"type": "settings", "settings": {"hidden": [6, 2]}})
        problem = receive(socket, "problem")
        frame = receive_frame(socket)
        assert (frame.revision, frame.n_hidden) == (problem["revision"], 8)
        assert receive(socket, "status")["status"] == "running"
        while receive_frame(socket).epoch < 3:
            pass


def test_the_end_of_training_is_told(client):
    with open_page(client) as socket:
        start(socket, dataset="plane", solver="lbfgs", speed=0)
        socket.send_json({"type": "play"})
        while True:
            message = socket.receive()
            if message.get("bytes") is not None:
                socket.send_json({"type": "ack"})
                continue
            status = json.loads(message["text"])
            if status.get("condition") == "converged":
                break
        assert status["status"] == "paused"


def test_no_frames_without_acknowledgement(client):
    with open_page(client) as socket:
        start(socket)
        receive(socket, "status")
        socket.send_json({"type": "play"})
        receive(socket, "status")
        for _ in range(MAX_FRAMES_UNDER_WAY):
            last = Frame(socket.receive_bytes()).epoch
        time.sleep(0.5)
        socket.send_json({"type": "pause"})
        assert receive(socket, "status")["status"] == "paused"
        socket.send_json({"type": "step"})
        assert receive_frame(socket).epoch == last + 1


def test_training_stops_when_the_page_goes_away(client, monkeypatch):
    calls = []
    train = Session.train

    def counting(self, *arguments):
        calls.append(time.monotonic())
        return train(self, *arguments)

    monkeypatch.setattr(Session, "train", counting)
    with open_page(client) as socket:
        start(socket)
        socket.send_json({"type": "play"})
        for _ in range(5):
            receive_frame(socket)
    time.sleep(0.2)
    n_calls = len(calls)
    assert n_calls >= 2
    time.sleep(0.3)
    assert len(calls) == n_calls


def test_pages_do_not_disturb_each_other(client):
    with open_page(client) as first, open_page(client) as second:
        start(first, dataset="xor")
        start(second, dataset="plane", hidden=[2])
        for socket in (first, second):
            socket.send_json({"type": "play"})
        for _ in range(5):
            assert receive_frame(first).n_hidden == 6
            assert receive_frame(second).n_hidden == 2


# What it puts up with

NONSENSE = [
    "",
    "hello",
    "{",
    "[" * 60_000,
    "null",
    "3",
    '"play"',
    "[]",
    "{}",
    '{"type": null}',
    '{"type": ["play"]}',
    '{"type": "explode"}',
    '{"type": "__init__"}',
    '{"type": 1e999}',
    "9" * 10_000,
    "\x00",
    '{"type": "hello"}',
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_answered(client, text):
    with open_page(client) as socket:
        start(socket)
        socket.send_text(text)
        assert receive(socket, "error")["message"] == "this message makes no sense"
        socket.send_json({"type": "step"})
        assert receive_frame(socket).epoch == 1


def test_bytes_are_nonsense(client):
    with open_page(client) as socket:
        socket.send_bytes(b"\xff\x00")
        assert receive(socket, "error")["message"] == "this message makes no sense"
        start(socket)


@pytest.mark.parametrize("kind", ["play", "pause", "step", "reset"])
def test_settings_come_first(client, kind):
    with open_page(client) as socket:
        socket.send_json({"type": kind})
        assert receive(socket, "error")["message"] == "send settings first"
        start(socket)


def test_wrong_settings_change_nothing(client):
    with open_page(client) as socket:
        start(socket)
        receive(socket, "status")
        for message in (
            {"settings": {"hidden": [1000]}},
            {"settings": {"noise": float("nan")}},
            {"settings": None},
            {},
        ):
            socket.send_text(json.dumps({"type": "settings", **message}))
            assert "must be" in receive(socket, "error")["message"]
        socket.send_json({"type": "step"})
        assert receive_frame(socket).epoch == 1


def test_wrong_weights_to_go_on_from(client):
    with open_page(client) as socket:
        socket.send_json({"type": "settings", "settings": {}, "params": [1, 2], "epoch": 3})
        assert receive_frame(socket).epoch == 0
        assert receive(socket, "error")["message"].startswith("params must be")


def test_acknowledgements_of_nothing_do_no_harm(client):
    with open_page(client) as socket:
        for _ in range(50):
            socket.send_json({"type": "ack"})
        start(socket)
        socket.send_json({"type": "play"})
        receive_frame(socket)


def test_sessions_are_capped():
    url = f"ws://{HOST}/ws"
    with client_of(max_sessions=2) as client:
        with open_page(client), open_page(client), client.websocket_connect(url) as third:
            assert "2 pages are open already" in receive(third, "error")["message"]
            with pytest.raises(WebSocketDisconnect) as closing:
                third.receive_json()
            assert closing.value.code == 1013
        # There is room again.
        with open_page(client) as socket:
            start(socket)


def test_a_fault_in_training_closes_the_connection(client, monkeypatch):
    def fail(self, *arguments):
        raise ZeroDivisionError

    with open_page(client) as socket:
        start(socket)
        monkeypatch.setattr(Session, "train", fail)
        socket.send_json({"type": "play"})
        with pytest.raises(WebSocketDisconnect) as closing:
            receive(socket, "nothing")
        assert closing.value.code == 1011
    monkeypatch.undo()
    with open_page(client) as socket:
        start(socket)


def test_settings_errors_are_one_line():
    with pytest.raises(SettingsError) as error:
        Settings.from_message({"x" * 500 + "\n": 1})
    assert len(str(error.value)) < 100
    assert "\n" not in str(error.value)
