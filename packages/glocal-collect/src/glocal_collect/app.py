"""The web application of a study: pages, trials, answers and images behind signed links."""

from __future__ import annotations

import logging
import sqlite3
from typing import Annotated

from fastapi import FastAPI, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glocal.errors import GLocalError, one_line
from glocal_collect import pages
from glocal_collect.db import Database
from glocal_collect.limits import Refusal
from glocal_collect.people import (
    CLOSED,
    AnswerBody,
    EndRecord,
    NoTrial,
    StudyService,
    TrialRecord,
)
from glocal_collect.study import Study
from glocal_collect.tokens import OPEN, OWNER, Token, is_name, new_person

_MAX_BODY_BYTES = 2000
_IMAGE_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; "
    "form-action 'none'; frame-ancestors 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",  # a link is a key
    "X-Content-Type-Options": "nosniff",
}

Number = Annotated[int, PathParameter(ge=0, lt=2**63)]


def create_app(study: Study, database: Database) -> ASGIApp:
    """Create the application of a study. It replies 200 to an answer once that is on the disk."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    static = StaticFiles(packages=[("glocal_collect", "static")])
    app.mount("/static", static)
    for kind in (HTTPException, RequestValidationError, OSError, sqlite3.Error):
        app.add_exception_handler(kind, error_response)
    app.middleware("http")(limit_body)
    service = StudyService(study, database)
    add_person_routes(app, service)
    add_owner_route(app, service)
    return with_headers(app)


def add_person_routes(app: FastAPI, service: StudyService) -> None:
    """Add the page of a person, and the requests that it makes."""
    authenticate = service.authenticate

    @app.get("/r/{text}")
    def page(text: str, request: Request) -> Response:
        """The page of a person; the open link redirects to a link of the visitor's own."""
        open_token = service.signer.read(text, OPEN)
        if open_token is not None:
            visitor = token_of_visitor(text, request, service)
            link = service.signer.sign(visitor)
            return RedirectResponse(link, 303)
        token = authenticate(text)
        content = pages.person_page(
            service.study,
            has_begun=service.has_begun(token),
            is_recruited=token.name != "",
        )
        return HTMLResponse(content)

    @app.post("/r/{text}/consent")
    def consent(text: str) -> dict[str, bool]:
        service.consent(authenticate(text))
        return {"consented": True}

    @app.get("/r/{text}/trial")
    def current_trial(text: str) -> TrialRecord | EndRecord | None:
        token = authenticate(text)
        return service.current(token)

    @app.get("/r/{text}/last")
    def last_trial(text: str) -> TrialRecord | NoTrial:
        token = authenticate(text)
        return service.last(token)

    @app.post("/r/{text}/trial/{number}")
    def answer(text: str, number: Number, body: AnswerBody) -> dict[str, bool]:
        token = authenticate(text)
        service.answer(token, number, body)
        return {"stored": True}

    @app.get("/r/{text}/image/{number}")
    def image(text: str, number: Number) -> Response:
        token = authenticate(text)
        data = service.image(token, number)
        return Response(data, media_type="image/jpeg", headers=_IMAGE_HEADERS)


def add_owner_route(app: FastAPI, service: StudyService) -> None:
    """Add the page of the owner."""

    @app.get("/o/{text}")
    def owner_table(text: str) -> Response:
        service.authenticate(text, OWNER)
        try:
            people = service.overview()
            content = pages.owner_page(service.study, people)
        except GLocalError as error:
            raise Refusal(503, str(error)) from error
        return HTMLResponse(content)


async def limit_body(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Refuse a posted body that is long, or whose length is not stated."""
    # a body in chunks may be longer than the length that is stated beside it
    is_chunked = "transfer-encoding" in request.headers
    length = request.headers.get("content-length", "")
    has_length = length.isdecimal() and not is_chunked
    is_short = has_length and int(length) <= _MAX_BODY_BYTES
    if is_short or request.method != "POST":
        return await call_next(request)
    refusal = Refusal(413, f"The answer is longer than {_MAX_BODY_BYTES} bytes.")
    return await error_response(request, refusal)


def token_of_visitor(text: str, request: Request, service: StudyService) -> Token:
    """Return the token for a visitor of the open link.

    Once the study is closed, only visitors whom a recruiting site names get a token, so that they
    can finish if they have begun.
    """
    service.authenticate(text, OPEN)
    query = request.query_params
    name = query.get("PROLIFIC_PID") or query.get("id", "")
    if name and not is_name(name):
        raise Refusal(
            400, "The ID in this link is invalid. Use up to 64 letters, digits or . @ - _"
        )
    if name:
        session = query.get("SESSION_ID") or query.get("session", "")
        return service.signer.recruited(name, session)
    if not service.settings.open:
        raise Refusal(410, CLOSED)
    return new_person()


async def error_response(request: Request, error: Exception) -> Response:
    """Reply to an error with one sentence, on a page if HTML is asked for, otherwise in JSON."""
    if _is_unreadable_path(error):
        error = Refusal(404, "There is nothing with this number.")
    elif isinstance(error, RequestValidationError) or _is_unreadable_body(error):
        error = Refusal(422, 'The answer must be {"choice": 0 to 2 or null, "seconds": 0 to 1e6}.')
    elif not isinstance(error, HTTPException):  # a file cannot be read, or the disk is full
        log = logging.getLogger("uvicorn.error")
        log.error("%s", one_line(error))
        error = Refusal(503, "The study cannot be reached at the moment. Try again later.")
    sentence = error.detail if isinstance(error, Refusal) else "Not found."
    accepted = request.headers.get("accept", "")
    if "text/html" in accepted:
        content = pages.problem_page(sentence)
        return HTMLResponse(content, error.status_code, error.headers)
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


def _is_unreadable_path(error: Exception) -> bool:
    """Whether the number in the path of a request cannot be read."""
    if not isinstance(error, RequestValidationError):
        return False
    first = error.errors()[0]
    return first["loc"][0] == "path"


def _is_unreadable_body(error: Exception) -> bool:
    """Whether the body of a request cannot be parsed, for example because it is nested too deep."""
    return (
        isinstance(error, HTTPException)
        and error.status_code == 400
        and not isinstance(error, Refusal)
    )


def with_headers(app: ASGIApp) -> ASGIApp:
    """Add the security headers to every reply that does not set them itself."""

    async def app_with_headers(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, send_with_headers)

    return app_with_headers
