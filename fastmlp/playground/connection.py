"""One page that is open: what it says, what it is sent, and the pace of both.

A page sends JSON texts, each an object with a ``type``: ``settings`` (with ``settings``, and after
a lost connection with ``params`` and ``epoch`` to go on from), ``play``, ``pause``, ``step``,
``reset``, and ``ack`` for each frame that it received. It gets JSON texts (``hello``, ``problem``,
``status``, ``error``) and binary frames, which `Session.frame` describes. No more than a few frames
are under way at once: a page that ceases to acknowledge them stops the training, too.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fastmlp.playground.greeting import greeting
from fastmlp.playground.session import Session
from fastmlp.playground.settings import Settings, SettingsError

__all__ = ["MAX_FRAMES_UNDER_WAY", "Connection"]

MAX_FRAMES_UNDER_WAY = 6
FRAME_SECONDS = 1 / 30
TRAINING_SECONDS = 0.022  # of each frame; the rest is for drawing, and for other sessions

T = TypeVar("T")


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
        await self._send(await self._in_worker(greeting))

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
