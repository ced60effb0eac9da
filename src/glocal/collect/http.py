"""What goes over the wire: headers that keep a page to itself, bodies of bounded size, problems in one sentence."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glocal.collect.answering import Given, Refused
from glocal.collect.pages import POLICY, problem_page

_LONGEST = 2000  # bytes of a body
_LARGEST = 2**31 - 1  # of a number in an address
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",  # a link is a key
    "X-Content-Type-Options": "nosniff",
}


class _Body(BaseModel):
    """What the page sends with an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    choice: Annotated[int, Field(ge=0, le=2)] | None
    seconds: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    undo: bool = False


class Headers:
    """Adds the headers of safety to each answer; one that has a header of its own keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sent)


async def read_answer(request: Request, kind: str) -> Given:
    """The answer in the body of a request; 413 and 422 for one that is too long or holds something else."""
    data = b""
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > _LONGEST:
                raise Refused(413, f"The answer is longer than {_LONGEST} bytes.")
    except ClientDisconnect as error:
        raise Refused(400, "The answer broke off.") from error
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        raise Refused(
            422,
            'The answer must be {"choice": 0, 1, 2 or null, "seconds": a number from 0 to 1e6}; it may have "undo".',
        ) from error
    if kind == "anchor" and body.choice == 0:
        raise Refused(422, "choice is 0, the reference; allowed are 1, 2 and null.")
    return Given(body.choice, body.seconds, body.undo)


def read_number(text: str) -> int:
    """A number of an address: digits alone, else 404."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LARGEST):
        raise Refused(404, "There is nothing of this number.")
    return int(text)


def problem(request: Request, reason: Refused) -> Response:
    """A page where a browser asks for one, else JSON."""
    headers = {"Retry-After": str(ceil(reason.wait))} if reason.wait else None
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(problem_page(str(reason)), reason.status, headers)
    return JSONResponse({"error": str(reason)}, reason.status, headers)
