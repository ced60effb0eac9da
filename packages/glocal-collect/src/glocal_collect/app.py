"""The web application of a study: pages, trials, answers and images behind signed links."""

from __future__ import annotations

import logging
import re
import sqlite3
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glocal.errors import GLocalError, one_line
from glocal_collect import pages
from glocal_collect.db import Database
from glocal_collect.limits import Refusal
from glocal_collect.people import CLOSED, AnswerBody, StudyService
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

router = APIRouter()


def create_app(study: Study, database: Database) -> ASGIApp:
    """Create the application of a study. It replies 200 to an answer once that is on the disk."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = StudyService(study, database)
    app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("glocal_collect", "static")]))
    for kind in (HTTPException, OSError, sqlite3.Error):
        app.add_exception_handler(kind, error_response)
    return with_headers(app)


def get_service(request: Request) -> StudyService:
    """The service of the study, which all routes share."""
    return request.app.state.service


Service = Annotated[StudyService, Depends(get_service)]


def participant(text: str, service: Service) -> Token:
    """The token of a person's link."""
    return service.authenticate(text)


def number_in_path(number: str) -> int:
    """The number of a trial or an image; 404 for anything that the database cannot hold."""
    if re.fullmatch("[0-9]{1,18}", number) is None:
        raise Refusal(404, "There is nothing with this number.")
    return int(number)


async def read_answer(request: Request) -> AnswerBody:
    """Read the answer in the body of a request; 413 for a long body, 422 for any other content."""
    data = b""
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > _MAX_BODY_BYTES:
                raise Refusal(413, f"The answer is longer than {_MAX_BODY_BYTES} bytes.")
        return AnswerBody.model_validate_json(data)
    except ClientDisconnect as error:
        raise Refusal(400, "The answer is incomplete.") from error
    except ValidationError as error:
        sentence = 'The answer must be {"choice": 0 to 2 or null, "seconds": 0 to 1e6}.'
        raise Refusal(422, sentence) from error


Participant = Annotated[Token, Depends(participant)]
Number = Annotated[int, Depends(number_in_path)]
Answer = Annotated[AnswerBody, Depends(read_answer)]


@router.get("/r/{text}")
def page(text: str, request: Request, service: Service) -> Response:
    """The page of a person; the open link redirects to a link of the visitor's own."""
    if service.signer.read(text, OPEN) is not None:
        visitor = token_of_visitor(text, request, service)
        return RedirectResponse(service.signer.sign(visitor), 303)
    token = service.authenticate(text)
    has_begun = service.open_page(token)
    return HTMLResponse(
        pages.person_page(service.study, has_begun=has_begun, is_recruited=token.name != "")
    )


@router.post("/r/{text}/consent")
def consent(token: Participant, service: Service) -> dict[str, bool]:
    """Record the consent of a person, once."""
    service.consent(token)
    return {"consented": True}


@router.get("/r/{text}/trial")
def current_trial(token: Participant, service: Service) -> dict[str, Any]:
    """The trial to answer, or the end."""
    return service.current(token)


@router.get("/r/{text}/last")
def last_trial(token: Participant, service: Service) -> dict[str, Any]:
    """The trial answered last."""
    return service.last(token)


@router.post("/r/{text}/trial/{number}")
def answer(token: Participant, number: Number, body: Answer, service: Service) -> dict[str, bool]:
    """Store an answer."""
    service.answer(token, number, body)
    return {"stored": True}


@router.get("/r/{text}/image/{number}")
def image(token: Participant, number: Number, service: Service) -> Response:
    """An image of one of the person's own trials."""
    return Response(service.image(token, number), media_type="image/jpeg", headers=_IMAGE_HEADERS)


@router.get("/o/{text}")
def owner_table(text: str, service: Service) -> Response:
    """The page of the owner."""
    service.authenticate(text, OWNER)
    try:
        return HTMLResponse(pages.owner_page(service.study, service.overview()))
    except GLocalError as error:
        raise Refusal(503, str(error)) from error


def token_of_visitor(text: str, request: Request, service: StudyService) -> Token:
    """Return the token for a visitor of the open link.

    Once the study is closed, only visitors whom a recruiting site names get a token, so that those
    of them who have begun can finish.
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
    if not isinstance(error, HTTPException):  # a file cannot be read, or the disk is full
        logging.getLogger("uvicorn.error").error("%s", one_line(error))
        error = Refusal(503, "The study cannot be reached at the moment. Try again later.")
    sentence = error.detail if isinstance(error, Refusal) else "Not found."
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(pages.problem_page(sentence), error.status_code, error.headers)
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


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
