"""The server of the playground: one page, and one WebSocket per page that is open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from fastmlp.playground.connection import Connection
from fastmlp.playground.guard import Guard
from fastmlp.playground.session import Session
from fastmlp.playground.settings import Settings

__all__ = ["MAX_SESSIONS", "listen", "make_app", "serve"]

MAX_SESSIONS = 8
MAX_MESSAGE_BYTES = 64 * 1024
STATIC = Path(__file__).parent / "static"


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
