"""`fastmlp playground`: its options and its errors."""

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from fastmlp import cli as cli_module
from fastmlp.cli import cli
from fastmlp.playground import server
from fastmlp.playground.guard import is_loopback
from fastmlp.playground.server import listen


def run(*arguments):
    return CliRunner().invoke(cli, ["playground", *map(str, arguments)])


@pytest.fixture
def served(monkeypatch):
    """What would be served: the arguments of `serve`, which does nothing."""
    calls = []

    def serve(listener, host, on_start):
        calls.append((listener.getsockname(), host, on_start))
        listener.close()

    monkeypatch.setattr(server, "serve", serve)
    return calls


def test_loopback_unless_told_otherwise(served):
    result = run("--port", 0)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    (address, host, on_start) = served[0]
    assert address[0] == host == "127.0.0.1"
    assert f"The playground is at http://127.0.0.1:{address[1]}/" in result.stdout
    assert on_start is not None


def test_open_to_others_with_a_warning(served):
    result = run("--port", 0, "--host", "0.0.0.0", "--no-browser")
    assert served[0][0][0] == "0.0.0.0"
    assert served[0][2] is None
    assert result.stderr == "Everyone who can reach this machine can use it.\n"


def test_a_browser_is_opened(served, monkeypatch):
    opened = []
    monkeypatch.setattr(cli_module.webbrowser, "open", opened.append)
    run("--port", 0)
    served[0][2]()
    assert opened == [f"http://127.0.0.1:{served[0][0][1]}/"]


def test_a_port_that_is_taken(served):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert re.fullmatch(r"Error: cannot listen on 127\.0\.0\.1: .*in use.*\n", result.stderr)
    assert served == []


def test_the_preferred_port_may_be_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listen("127.0.0.1", None, [port]) as other:
            assert other.getsockname()[1] != port
    with listen("127.0.0.1", None, [port]) as other:
        assert other.getsockname()[1] == port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_ours(served, host):
    result = run("--port", 0, "--host", host)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: cannot listen on {host}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_ports_that_there_are_not(served, port):
    assert run(f"--port={port}").exit_code == 2


def test_without_its_packages(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        cli_module, "find_spec", lambda name: None if name == "starlette" else find_spec(name)
    )
    result = run("--no-browser")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: the playground needs more packages: pip install 'fastmlp[playground]'\n"
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_addresses(host, expected):
    assert is_loopback(host) is expected


def test_served_for_real():
    """The page, a refused WebSocket over the wire, and a quiet end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fastmlp", "playground", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = re.search(r"http://\S+/", process.stdout.readline()).group()
        with urllib.request.urlopen(url) as response:
            assert b"playground" in response.read()
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        for headers in (
            {"Origin": "http://evil.example"},
            {"Host": "evil.example"},
            {"Origin": "null", **upgrade},
            {"Origin": "http://evil.example", **upgrade},
            {"Host": "evil.example", "Origin": "http://evil.example", **upgrade},
        ):
            request = urllib.request.Request(f"{url}ws" if len(headers) > 2 else url)
            for name, value in headers.items():
                request.add_header(name, value)
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(request)
            assert error.value.code == 403
            error.value.close()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors == ""
