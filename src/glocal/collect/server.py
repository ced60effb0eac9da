"""The application of a study: pages, trials, answers and images by signed links, and the numbers for its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from glocal.collect import owner, pages, process
from glocal.collect.answering import Answering, Refused
from glocal.collect.charts import DRAWINGS, THEMES
from glocal.collect.export import collected
from glocal.collect.http import Headers, problem, read_answer, read_number
from glocal.collect.limits import Limit
from glocal.collect.study import Study
from glocal.collect.tokens import OPEN, OWNER, PERSON, Signer, Token, is_name, new_person
from glocal.collect.trials import Asking
from glocal.collect.writer import Writer
from glocal.files import one_line

T = TypeVar("T")
_BURST = 10  # answers that may come at once
_EACH = 10  # requests to an answer, images included; a page that loads ahead needs eight
_PICTURES = 2000  # in memory, of some 40 kB each
_CHARTS = [f"{name}-{theme}.svg" for name in DRAWINGS for theme in THEMES]
_OF_REPORT = "frame-ancestors 'none'"  # beside the policy that the report itself has, which allows no request
_KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}


def create_app(study: Study, engine: Engine) -> FastAPI:
    """The application of a study; it owns the writer of its database while it runs.

    Parameters
    ----------
    study : Study
    engine : Engine
        Its database, as `glocal.collect.database.open_database` opens it.
    """
    desk = _Desk(study, engine)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        desk.writer = Writer(engine)
        yield
        desk.writer.close()
        desk.readers.shutdown()
        desk.counting.shutdown()

    app = FastAPI(lifespan=life, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_people(app, desk)
    _add_owner(app, desk)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        found = pages.static_file(name)
        if found is None:
            raise Refused(404, "There is nothing here.")
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "no-cache"})

    @app.exception_handler(Refused)
    async def refused(request: Request, reason: Refused) -> Response:
        return problem(request, reason)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return problem(request, Refused(error.status_code, "There is nothing here, or this cannot be done here."))

    async def unreachable(request: Request, error: Exception) -> Response:
        logging.getLogger("uvicorn.error").error("%s", one_line(getattr(error, "orig", None) or error))
        return problem(request, Refused(503, "The study cannot be reached at the moment. Try again later."))

    for kind in (OSError, SQLAlchemyError):  # the folder was moved, the disk is full, the database is down
        app.add_exception_handler(kind, unreachable)

    app.add_middleware(Headers)
    return app


class _Desk:
    """What all routes of a study share: who asks, and how its database is read and written."""

    writer: Writer

    def __init__(self, study: Study, engine: Engine) -> None:
        self.study, self.engine = study, engine
        self.signer = Signer(study.key, study.number)
        self.answering = Answering(study, self.signer, Asking(study))
        fastest = study.settings.fastest
        self.answers, self.requests = Limit(fastest, _BURST), Limit(fastest / _EACH, _BURST * _EACH)
        self.readers = ThreadPoolExecutor(2, "glocal-collect-reader")
        self.counting = ThreadPoolExecutor(1, "glocal-collect-owner")
        self.counted: asyncio.Future[dict[str, Any]] | None = None  # shared by the windows of the owner that wait

    async def write(self, operation: Callable[[Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.wrap_future(self.writer.submit(operation))
        return await future

    async def read(self, operation: Callable[[Connection], T]) -> T:
        def run() -> T:
            with self.engine.connect().execution_options(reads=True) as connection:
                return operation(connection)

        return await asyncio.get_running_loop().run_in_executor(self.readers, run)

    def who(self, text: str, role: str) -> Token:
        token = self.signer.read(text, role)
        if token is None:
            raise Refused(404, "This link is not valid.")
        if token.until < time():
            raise Refused(410, "This link has ended.")
        return token

    def person(self, text: str) -> Token:
        token = self.who(text, PERSON)
        _slow_down(self.requests, token.id)
        return token

    def shown(self, text: str, trial: dict[str, Any]) -> dict[str, Any]:
        """A trial, or the end, as the page gets it: with addresses of images."""
        if trial["trial"] is None:
            return {"trial": None, "done": trial["done"], "of": trial["of"], "code": trial["code"],
                    "return_url": _return_url(self.study, trial["name"], trial["code"])}  # fmt: skip
        told = {name: value for name, value in trial.items() if name not in ("items", "ahead")}
        pictures = zip(trial["items"], _urls(text, trial["items"]), strict=True)
        told["items"] = [{"name": self.study.names[item], "url": url} for item, url in pictures]
        return told | ({"next": _urls(text, trial["ahead"])} if "ahead" in trial else {})


def _add_people(app: FastAPI, desk: _Desk) -> None:
    study, answering = desk.study, desk.answering

    @app.get("/r/{text}")
    async def page(text: str, request: Request) -> Response:
        if desk.signer.read(text, OPEN) is not None:
            token = desk.who(text, OPEN)
            name = request.query_params.get("PROLIFIC_PID", "")
            if name and not is_name(name):
                raise Refused(400, "The id in this link is not one that can be kept.")
            return RedirectResponse(desk.signer.sign(new_person(token.until, name)), 303)
        token = desk.person(text)
        consented = await desk.read(lambda connection: answering.consented(connection, token))
        return HTMLResponse(
            pages.person_page(
                title=study.title, kind=study.settings.kind, consent=study.text("consent"),
                instructions=study.text("instructions"), consented=consented, participant=bool(token.name),
            )
        )  # fmt: skip

    @app.post("/r/{text}/consent")
    async def consent(text: str) -> dict[str, bool]:
        token = desk.person(text)
        await desk.write(lambda connection: answering.consent(connection, token))
        return {"consented": True}

    @app.get("/r/{text}/trial")
    async def trial(text: str) -> dict[str, Any]:
        token = desk.person(text)
        found = await desk.read(lambda connection: answering.current(connection, token))
        if found is None:
            await desk.write(lambda connection: answering.make_ahead(connection, token))
            found = await desk.read(lambda connection: answering.current(connection, token))
        if found is None:
            raise Refused(503, "There is no trial at the moment. Try again.")
        return desk.shown(text, found)

    @app.get("/r/{text}/last")
    async def last(text: str) -> dict[str, Any]:
        token = desk.person(text)
        found = await desk.read(lambda connection: answering.last(connection, token))
        return {"trial": None} if found is None else desk.shown(text, found)

    @app.post("/r/{text}/trial/{number}")
    async def answer(text: str, number: str, request: Request) -> dict[str, bool]:
        token = desk.person(text)
        given, place = await read_answer(request, study.settings.kind), read_number(number)
        _slow_down(desk.answers, token.id)
        await desk.write(lambda connection: answering.answer(connection, token, place, given))
        return {"stored": True}

    @lru_cache(maxsize=_PICTURES)
    def picture(number: int) -> tuple[bytes, str]:
        return study.picture(number)

    @app.get("/r/{text}/image/{number}")
    def image(text: str, number: str) -> Response:
        desk.person(text)
        place = read_number(number)
        if place >= len(study):
            raise Refused(404, "The study has no image of this number.")
        content, media = picture(place)
        return Response(content, media_type=media, headers=_KEEP)


def _add_owner(app: FastAPI, desk: _Desk) -> None:
    study = desk.study

    @app.get("/o/{text}")
    def owners_page(text: str) -> Response:
        desk.who(text, OWNER)
        return HTMLResponse(pages.owner_page(title=study.title))

    @app.get("/o/{text}/state")
    async def state(text: str) -> dict[str, Any]:
        desk.who(text, OWNER)
        if desk.counted is None or desk.counted.done():
            desk.counted = asyncio.get_running_loop().run_in_executor(desk.counting, count)
        return await asyncio.shield(desk.counted)

    def count() -> dict[str, Any]:
        return owner.state(study, collected(study, desk.engine))

    @app.get("/o/{text}/chart/{name}")
    def chart(text: str, name: str) -> Response:
        desk.who(text, OWNER)
        if name not in _CHARTS or not (study.fit / name).is_file():
            raise Refused(404, "This chart has not been drawn yet.")
        return Response((study.fit / name).read_bytes(), media_type="image/svg+xml")

    @app.get("/o/{text}/report")
    def report(text: str) -> Response:
        desk.who(text, OWNER)
        return _fitted(study.fit / "report.html", headers={"Content-Security-Policy": _OF_REPORT})

    @app.get("/o/{text}/transform")
    def transform(text: str) -> Response:
        desk.who(text, OWNER)
        return _fitted(study.fit / "transform.npz", filename=f"{study.title}.npz")

    @app.post("/o/{text}/fit")
    def fit(text: str) -> dict[str, bool]:
        desk.who(text, OWNER)
        process.start_fit(study)
        return {"started": True}


def _urls(text: str, items: list[int]) -> list[str]:
    return [f"/r/{text}/image/{item}" for item in items]


def _slow_down(limit: Limit, person: str) -> None:
    wait = limit.wait(person)
    if wait:
        raise Refused(429, "That was too fast. Wait a moment and try again.", wait)


def _fitted(file: Path, **options: Any) -> Response:
    if not file.is_file():
        raise Refused(404, "No fit has written this yet.")
    return FileResponse(file, **options)


def _return_url(study: Study, name: str, code: str) -> str | None:
    url = study.settings.return_url
    return None if url is None else url.replace("{id}", quote(name, safe="")).replace("{code}", code)
