"""The application of a study: pages, trials, answers and images by signed links, and a table for its owner."""

import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glocal.errors import one_line
from glocal_collect import pages
from glocal_collect.db import Database, one
from glocal_collect.export import collected
from glocal_collect.people import Answering, Given, Refused
from glocal_collect.study import Study
from glocal_collect.tokens import OPEN, OWNER, PERSON, Signer, Token, is_name, new_person
from glocal_collect.trials import Asking

_BURST = 10  # answers that may come at once
_EACH = 10  # requests to an answer, images included; a page that loads ahead needs eight
_LONGEST = 2000  # bytes of a body
_KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; "
    "frame-ancestors 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",  # a link is a key
    "X-Content-Type-Options": "nosniff",
}


class Limit:
    """`burst` at once and one every `seconds` on average, for each key alone; no limit where `seconds` is 0."""

    def __init__(self, seconds: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._burst, self._clock = seconds, burst, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, key: str) -> None:
        """Take one, or refuse with the seconds after which there is one."""
        if not self._seconds:
            return
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.pop(key, now))
            missing = full_at - now - (self._burst - 1) * self._seconds
            self._full_at[key] = full_at if missing > 0 else full_at + self._seconds
            if len(self._full_at) > 20_000:
                self._full_at.popitem(last=False)
        if missing > 0:
            raise Refused(429, "That was too fast. Wait a moment and try again.", ceil(missing))


def create_app(study: Study, database: Database) -> FastAPI:
    """The application of a study. Whatever is answered with 200 is on the disk."""
    settings, signer = study.settings, Signer(study.key)
    answering = Answering(settings, signer, Asking(settings, len(study)))
    answers, requests = Limit(settings.fastest, _BURST), Limit(settings.fastest / _EACH, _BURST * _EACH)
    begins = Limit(60 / settings.begin_per_minute, settings.begin_per_minute)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    def who(text: str, role: str) -> Token:
        token = signer.read(text, role)
        if token is None or study.revoked(token.id or role) or (role == OPEN and not settings.open):
            raise Refused(404, "This link is not valid.")
        if study.ended():
            raise Refused(410, "This study has ended.")
        return token

    def person(text: str) -> Token:
        token = who(text, PERSON)
        requests.check(token.id)
        return token

    def number(number: int) -> int:
        if number >= 2**63:  # more than the database can look for
            raise Refused(404, "There is nothing of this number.")
        return number

    Person = Annotated[Token, Depends(person)]
    Number = Annotated[int, Depends(number)]

    def shown(text: str, trial: dict[str, Any]) -> dict[str, Any]:
        """A trial, or the end, as the page gets it: with addresses of images."""
        if trial["trial"] is None:
            name, url = trial.pop("name"), settings.return_url
            address = url and url.replace("{id}", quote(name, safe="")).replace("{code}", trial["code"])
            return {**trial, "return_url": address}
        items, ahead = trial.pop("items"), trial.pop("ahead", None)
        trial["items"] = [{"name": study.names[item], "url": f"/r/{text}/image/{item}"} for item in items]
        return trial if ahead is None else {**trial, "next": [f"/r/{text}/image/{item}" for item in ahead]}

    @app.get("/r/{text}")
    def page(text: str, request: Request) -> Response:
        if signer.read(text, OPEN) is not None:
            who(text, OPEN)
            name, session = (request.query_params.get(key, "") for key in ("PROLIFIC_PID", "SESSION_ID"))
            if name and not is_name(name):
                raise Refused(400, "The id in this link is invalid. Use up to 64 letters, digits or . @ - _")
            return RedirectResponse(signer.sign(signer.recruited(name, session) if name else new_person()), 303)
        token = person(text)
        with database.reading() as connection:
            consented = bool(one(connection, "SELECT consented FROM people WHERE id = ?", token.id))
        if consented:
            count = "UPDATE people SET opened = opened + 1 WHERE id = ?"
            database.write(lambda connection: connection.execute(count, (token.id,)))
        return HTMLResponse(pages.person_page(study, consented=consented, participant=bool(token.name)))

    @app.post("/r/{text}/consent")
    def consent(token: Person) -> dict[str, bool]:
        with database.reading() as connection:
            known = one(connection, "SELECT id FROM people WHERE id = ?", token.id)
        if known is None:
            begins.check("")  # for all together: each visit of the open link is another person
        if refusal := database.write(lambda connection: answering.consent(connection, token)):
            raise refusal
        return {"consented": True}

    @app.get("/r/{text}/trial")
    def trial(text: str, token: Person) -> dict[str, Any]:
        for made in (False, True):
            with database.reading() as connection:
                if (found := answering.current(connection, token)) is not None:
                    return shown(text, found)
            if not made:  # the study was made longer
                database.write(lambda connection: answering.make_ahead(connection, token))
        raise Refused(503, "There is no trial at the moment. Try again.")

    @app.get("/r/{text}/last")
    def last(text: str, token: Person) -> dict[str, Any]:
        with database.reading() as connection:
            found = answering.last(connection, token)
        return {"trial": None} if found is None else shown(text, found)

    async def given(request: Request) -> Given:
        """The answer in the body of a request; 413 and 422 for one that is too long or holds something else."""
        data = b""
        try:
            async for piece in request.stream():
                data += piece
                if len(data) > _LONGEST:
                    raise Refused(413, f"The answer is longer than {_LONGEST} bytes.")
            found = Given.model_validate_json(data)
        except ClientDisconnect as error:
            raise Refused(400, "The answer is incomplete.") from error
        except ValidationError as error:
            raise Refused(422, 'The answer must be {"choice": 0 to 2 or null, "seconds": 0 to 1e6}.') from error
        if settings.kind == "anchor" and found.choice == 0:
            raise Refused(422, "choice is 0, the reference; allowed are 1, 2 and null.")
        return found

    @app.post("/r/{text}/trial/{number:int}")
    def answer(token: Person, number: Number, given: Annotated[Given, Depends(given)]) -> dict[str, bool]:
        answers.check(token.id)
        database.write(lambda connection: answering.answer(connection, token, number, given))
        return {"stored": True}

    @app.get("/r/{text}/image/{number:int}")
    def image(token: Person, number: Number) -> Response:
        with database.reading() as connection:
            asked = "SELECT 1 FROM trials WHERE person = ? AND ? IN (a, b, c)"
            if one(connection, asked, token.id, number) is None:
                raise Refused(404, "You were not asked about an image of this number.")
        picture = (study.folder / "images" / f"{number}.jpg").read_bytes()
        return Response(picture, media_type="image/jpeg", headers=_KEEP)

    @app.get("/o/{text}")
    def table(text: str) -> Response:
        who(text, OWNER)
        return HTMLResponse(pages.owner_page(study, collected(study, database)))

    app.mount("/static", StaticFiles(packages=[("glocal_collect", "static")]))

    async def problem(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):  # the folder was moved, the disk is full
            logging.getLogger("uvicorn.error").error("%s", one_line(error))
            error = Refused(503, "The study cannot be reached at the moment. Try again later.")
        sentence = error.detail if isinstance(error, Refused) else "There is nothing here, or this cannot be done here."
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(pages.problem_page(sentence), error.status_code, error.headers)
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    for kind in (HTTPException, OSError, sqlite3.Error):
        app.add_exception_handler(kind, problem)
    app.add_middleware(with_headers)
    return app


def with_headers(app: ASGIApp) -> ASGIApp:
    """Add the headers of safety to each answer; one that has a header of its own keeps it."""

    async def passed_on(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await app(scope, receive, sent)

    return passed_on
