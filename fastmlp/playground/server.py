"""The server of the playground: one page, and one WebSocket per page that is open.

A page sends JSON texts, each an object with a ``type``: ``settings`` (with ``settings``, and after
a lost connection with ``params`` and ``epoch`` to go on from), ``play``, ``pause``, ``step``,
``reset``, and ``ack`` for each frame that it received. It gets JSON texts (``hello``, ``problem``,
``status``, ``error``) and binary frames, which `Session.frame` describes. No more than a few frames
are under way at once: a page that ceases to acknowledge them stops the training, too.

Only pages that this server itself delivered are served: the header Host must name this server,
which foils the rebinding of names, and a header Origin must name the same.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import math
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.playground.problems import (
    EXTENT,
    FEATURES,
    N_SAMPLES,
    PROBLEMS,
    compute_features,
    make_grid,
    make_problem,
)
from fastmlp.playground.session import (
    COARSE,
    FINE,
    FRAME_HEADER,
    HEADER_FIELDS,
    Session,
    layer_outputs,
)
from fastmlp.playground.settings import (
    MAX_EPOCHS,
    MAX_LAYERS,
    MAX_UNITS,
    PRESETS,
    REGULARIZATIONS,
    SOLVERS,
    Settings,
    SettingsError,
)

__all__ = ["MAX_SESSIONS", "Connection", "Guard", "is_loopback", "listen", "make_app", "serve"]

MAX_SESSIONS = 8
MAX_MESSAGE_BYTES = 64 * 1024
MAX_FRAMES_UNDER_WAY = 6
FRAME_SECONDS = 1 / 30
TRAINING_SECONDS = 0.022  # of each frame; the rest is for drawing, and for other sessions
STATIC = Path(__file__).parent / "static"

T = TypeVar("T")


# Who is served ------------------------------------------------------------------------------


class Guard:
    """Middleware that refuses, with HTTP 403, requests that do not come from our own page.

    Parameters
    ----------
    app : ASGI application
        Gets the other requests.
    host : str
        The name or address that the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request.

        Parameters
        ----------
        scope, receive, send
            As ASGI has them.
        """
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        is_ours = len(hosts) == 1 and self._is_our_name(_without_port(hosts[0]))
        if not is_ours or any(origin != f"http://{hosts[0]}" for origin in origins):
            if scope["type"] == "http":
                await PlainTextResponse("Forbidden", 403)(scope, receive, send)
            else:  # not accepted yet: the server answers with 403
                await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, _with_headers(send, hosts[0]))

    def _is_our_name(self, name: str) -> bool:
        if name in ("localhost", self.host):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname() and not is_loopback(self.host)
        # A foreign name may be made to lead here, a number cannot stand for anything else.
        return address.is_loopback or not is_loopback(self.host)


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).strip("[]").lower()


def is_loopback(host: str) -> bool:
    """Return whether a name or address can be reached from this machine alone.

    Parameters
    ----------
    host : str
        Name or address.

    Returns
    -------
    bool
        Whether it is ``localhost`` or a loopback address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send, host: str) -> Send:
    """Wrap `send` so that every response says what the page may do: next to nothing."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    extra = {
        "content-security-policy": policy,
        "cache-control": "no-cache",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.encode(), value.encode("latin-1")) for name, value in extra.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return wrapped


# The application ----------------------------------------------------------------------------


def make_app(host: str = "127.0.0.1", max_sessions: int = MAX_SESSIONS) -> Starlette:
    """Return the application.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        The name or address that the server listens on.
    max_sessions : int, default=8
        Largest number of pages that may be connected at once.

    Returns
    -------
    Starlette
        An ASGI application.
    """
    workers = ThreadPoolExecutor(max_sessions, thread_name_prefix="playground")
    connections: set[Connection] = set()
    is_ready = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # A daemon: whoever interrupts the server need not wait for a compilation.
        loop = asyncio.get_running_loop()
        threading.Thread(target=prepare, args=(loop,), daemon=True).start()
        yield
        workers.shutdown(wait=False, cancel_futures=True)

    def prepare(loop: asyncio.AbstractEventLoop) -> None:
        try:
            _compile()
        finally:
            with contextlib.suppress(RuntimeError):  # the server may have ended
                loop.call_soon_threadsafe(is_ready.set)

    async def index(request: Any) -> Response:
        return FileResponse(STATIC / "index.html")

    async def websocket(websocket: WebSocket) -> None:
        await websocket.accept()
        if len(connections) >= max_sessions:
            text = f"{max_sessions} pages are open already, which is the limit. Close one of them."
            await websocket.send_json({"type": "error", "message": text})
            await websocket.close(1013, "too many sessions")
            return
        connection = Connection(websocket, workers)
        connections.add(connection)
        try:
            await connection.run(is_ready)
        finally:
            connections.discard(connection)

    return Starlette(
        routes=[
            Route("/", index),
            WebSocketRoute("/ws", websocket),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, host=host)],
        lifespan=lifespan,
    )


def _compile() -> None:
    """Make ready what sessions run, which takes some seconds on a machine that is new to it."""
    for batch_size in (16, 1):
        session = Session(Settings(solver="sgd", batch_size=batch_size))
        session.train(1, 1)
        session.frame()


@cache
def _hello() -> dict[str, Any]:
    """Return what the page needs to know to draw itself."""
    grid = make_grid(COARSE)
    examples = {name: make_problem(name) for name in PROBLEMS}
    return {
        "type": "hello",
        "extent": EXTENT,
        "fine": FINE,
        "coarse": COARSE,
        "header": {"fields": HEADER_FIELDS, "bytes": FRAME_HEADER.size},
        "limits": {
            "layers": MAX_LAYERS,
            "units": MAX_UNITS,
            "epochs": MAX_EPOCHS,
            "samples": N_SAMPLES,
        },
        "datasets": [
            {
                "id": name,
                "title": recipe.title,
                "task": recipe.task,
                "points": np.column_stack([examples[name].points_train, examples[name].y_train])
                .round(2)
                .tolist(),
            }
            for name, recipe in PROBLEMS.items()
        ],
        "features": [
            {
                "id": name,
                "label": feature.label,
                "map": _feature_map(compute_features(grid, [name])[:, 0]),
            }
            for name, feature in FEATURES.items()
        ],
        "activations": [
            {"id": name, "equation": row.equation, "curve": _curve(name)}
            for name, row in ACTIVATIONS.items()
            if row.is_hidden
        ],
        "solvers": [{"id": name, "title": title} for name, title in SOLVERS.items()],
        "regularizations": [
            {"id": name, "title": title} for name, title in REGULARIZATIONS.items()
        ],
        "presets": [
            {
                "id": name,
                "title": preset.title,
                "text": preset.text,
                "settings": preset.settings.to_message(),
            }
            for name, preset in PRESETS.items()
        ],
        "defaults": Settings().to_message(),
    }


def _curve(activation: str) -> list[float]:
    """Return an activation from -3 to 3."""
    z = np.linspace(-3, 3, 49).reshape(-1, 1)
    outputs = layer_outputs(z, np.ones((1, 1)), np.zeros(1), activation)
    curve: list[float] = outputs[:, 0].round(3).tolist()
    return curve


def _feature_map(values: np.ndarray[Any, Any]) -> str:
    scaled = np.rint(127 * values / np.abs(values).max()).astype(np.int8)
    return base64.b64encode(scaled.tobytes()).decode()


# One page -----------------------------------------------------------------------------------


class Connection:
    """One page that is open, and its session.

    Parameters
    ----------
    websocket : WebSocket
        The connection, accepted.
    workers : ThreadPoolExecutor
        Where the session runs.
    """

    def __init__(self, websocket: WebSocket, workers: ThreadPoolExecutor) -> None:
        self._websocket, self._workers = websocket, workers
        self._session: Session | None = None
        self._lock = asyncio.Lock()  # the session takes one call at a time
        self._is_playing = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._n_under_way = 0

    async def run(self, is_ready: asyncio.Event) -> None:
        """Serve the page until it goes away.

        Parameters
        ----------
        is_ready : Event
            Set once everything is compiled.
        """
        trainer: asyncio.Task[None] | None = None
        receiving = asyncio.ensure_future(self._websocket.receive())
        try:
            await self._greet(is_ready, receiving)
            trainer = asyncio.create_task(self._train())
            trainer.add_done_callback(self._on_trainer_end)
            while not _is_end(message := await receiving):
                receiving = asyncio.ensure_future(self._websocket.receive())
                await self._handle(message.get("text"))
        except (WebSocketDisconnect, RuntimeError):
            if self._is_open():
                raise
        finally:
            receiving.cancel()
            self._is_playing.clear()
            if trainer is not None:
                trainer.cancel()
                await asyncio.wait([trainer])

    async def _greet(self, is_ready: asyncio.Event, receiving: asyncio.Future[Message]) -> None:
        """Send what the page draws itself from, unless it goes away while all is compiled."""
        if not is_ready.is_set():
            await self._send({"type": "status", "status": "preparing"})
            ready = asyncio.ensure_future(is_ready.wait())
            both: list[asyncio.Future[Any]] = [ready, receiving]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done() and _is_end(receiving.result()):
                ready.cancel()
                return
            await ready
        await self._send(await self._in_worker(_hello))

    def _is_open(self) -> bool:
        state = self._websocket
        return state.client_state is state.application_state is WebSocketState.CONNECTED

    def _on_trainer_end(self, task: asyncio.Task[None]) -> None:
        """Close the connection if training failed for a reason other than the page's end."""
        if not task.cancelled() and task.exception() is not None and self._is_open():
            closing = asyncio.ensure_future(self._websocket.close(1011, "internal error"))
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _send(self, message: dict[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(message, separators=(",", ":")))

    async def _in_worker(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, function, *arguments)

    # -- what the page says -------------------------------------------------------------------

    async def _handle(self, text: str | None) -> None:
        """Carry out one message; whatever is wrong with it is answered with an error."""
        try:
            message = json.loads(text or "")
            kind = message["type"]
            action = _ACTIONS[kind]
        except (ValueError, TypeError, KeyError, RecursionError):
            await self._complain("this message makes no sense")
            return
        if kind == "ack":
            self._count_frames(-1)
            return
        async with self._lock:
            try:
                await action(self, message)
            except SettingsError as error:
                await self._complain(str(error))

    async def _complain(self, message: str) -> None:
        await self._send({"type": "error", "message": message})

    def _count_frames(self, change: int) -> None:
        self._n_under_way = max(self._n_under_way + change, 0)
        if self._n_under_way < MAX_FRAMES_UNDER_WAY:
            self._has_room.set()
        else:
            self._has_room.clear()

    def _require_session(self) -> Session:
        if self._session is None:
            raise SettingsError("send settings first")
        return self._session

    async def _on_settings(self, message: dict[str, Any]) -> None:
        settings = Settings.from_message(message.get("settings"))
        if self._session is None:
            self._session = await self._in_worker(Session, settings)
        else:
            await self._in_worker(self._session.update, settings)
        try:
            if "params" in message:
                self._session.resume(message["params"], message.get("epoch", 0))
        finally:
            await self._show_problem()

    async def _on_reset(self, message: dict[str, Any]) -> None:
        await self._in_worker(self._require_session().reset)
        await self._show_problem()

    async def _show_problem(self) -> None:
        await self._send({"type": "problem", **self._require_session().describe()})
        await self._send_frame()
        await self._send_status()

    async def _on_play(self, message: dict[str, Any]) -> None:
        self._require_session()
        self._is_playing.set()
        await self._send_status()

    async def _on_pause(self, message: dict[str, Any]) -> None:
        self._require_session().pause()
        self._is_playing.clear()
        await self._send_status()

    async def _on_step(self, message: dict[str, Any]) -> None:
        session = self._require_session()
        self._is_playing.clear()
        session.pause()
        await self._in_worker(session.train, 1, 0.001)
        await self._send_frame()
        await self._send_status()

    async def _send_frame(self) -> None:
        frame = await self._in_worker(self._require_session().frame)
        self._count_frames(1)
        await self._websocket.send_bytes(frame)

    async def _send_status(self) -> None:
        condition = self._require_session().condition
        if condition.value:
            self._is_playing.clear()
        status = "running" if self._is_playing.is_set() else "paused"
        await self._send({"type": "status", "status": status, "condition": condition.name.lower()})

    # -- training -----------------------------------------------------------------------------

    async def _train(self) -> None:
        """Send frame after frame while the page plays and has room for them."""
        loop = asyncio.get_running_loop()
        owed, before = 0.0, loop.time()
        while True:
            if not (self._is_playing.is_set() and self._has_room.is_set()):
                await self._is_playing.wait()
                await self._has_room.wait()
                owed, before = 1.0, loop.time()
            started = loop.time()
            async with self._lock:
                if self._is_playing.is_set():
                    session = self._require_session()
                    speed = session.settings.speed
                    # What a slow machine cannot do in time is not made up for.
                    owed = min(owed + speed * (started - before), 0.1 * speed + 1)
                    before = started
                    n_epochs = owed if speed else math.inf
                    if n_epochs >= 1:
                        owed -= await self._in_worker(session.train, n_epochs, TRAINING_SECONDS)
                        owed = max(owed, 0.0) if speed == 0 else owed
                    await self._send_frame()
                    if session.condition.value:
                        await self._send_status()
            await asyncio.sleep(max(FRAME_SECONDS - (loop.time() - started), 0.002))


def _is_end(message: Message) -> bool:
    return bool(message["type"] == "websocket.disconnect")


_Action = Callable[[Connection, dict[str, Any]], Awaitable[None]]


async def _nothing(connection: Connection, message: dict[str, Any]) -> None:
    """Acknowledgements are counted before anything is locked."""


_ACTIONS: dict[str, _Action] = {
    "settings": Connection._on_settings,
    "play": Connection._on_play,
    "pause": Connection._on_pause,
    "step": Connection._on_step,
    "reset": Connection._on_reset,
    "ack": _nothing,
}


# Running it ---------------------------------------------------------------------------------


def listen(host: str, port: int | None, preferred: Iterable[int] = (8642,)) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host : str
        Name or address of this machine.
    port : int or None
        Its port, 0 for any that is free; None for the first of `preferred` that is free, else any.
    preferred : iterable of int
        Ports to try.

    Returns
    -------
    socket
        It tells the port.

    Raises
    ------
    OSError
        If the port cannot be had.
    """
    family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
    for candidate in preferred if port is None else ():
        with contextlib.suppress(OSError):
            return socket.create_server((host, candidate), family=family)
    return socket.create_server((host, port or 0), family=family)


def serve(listener: socket.socket, host: str, on_start: Callable[[], object] | None = None) -> None:
    """Serve the playground until the process is interrupted.

    Parameters
    ----------
    listener : socket
        A socket that listens.
    host : str
        The name or address that it was made with.
    on_start : callable or None
        Called in a thread of its own. The socket listens already: requests wait for the server.
    """
    config = uvicorn.Config(
        make_app(host),
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )
    if on_start is not None:
        threading.Thread(target=on_start, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # passed on when all has ended
        uvicorn.Server(config).run(sockets=[listener])
