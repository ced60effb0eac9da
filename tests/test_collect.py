"""Studies over HTTP: what a person may do, what is kept, and what nobody gets who has not the link."""

import asyncio
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sql
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import Request
from studies import picture, write_pictures

from glocal.cli.app import execute
from glocal.collect.answering import Refused
from glocal.collect.database import answers, checked_address, open_database, people, trials
from glocal.collect.limits import Limit
from glocal.collect.links import links
from glocal.collect.patience import Patient
from glocal.collect.process import listen, server
from glocal.collect.server import create_app
from glocal.collect.settings import Settings
from glocal.collect.study import create, open_study
from glocal.collect.tokens import OWNER, PERSON, Signer, Token
from glocal.collect.writer import Writer
from glocal.errors import FileError, ParameterError


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of twelve images."""
    return write_pictures(tmp_path_factory.mktemp("images"), [f"image{number}.png" for number in range(12)])


class Served:
    """A study that is served in this process, and somebody who answers."""

    def __init__(self, folder, images, **settings):
        self.study = create(folder, str(images), Settings(**{"fastest": 0.0, **settings}))
        self.engine = open_database(self.study)
        self.links = links(self.study, self.engine, "")
        self.client = TestClient(create_app(self.study, self.engine), follow_redirects=False)
        self.client.__enter__()
        self.get, self.post = self.client.get, self.client.post

    def close(self):
        self.client.__exit__(None, None, None)
        self.engine.dispose()

    def begun(self, person="p1"):
        """The address of a person who has consented."""
        me = self.links["people"][person]
        assert self.post(f"{me}/consent").status_code == 200
        return me

    def trial(self, me):
        return self.get(f"{me}/trial").json()

    def answer(self, me, trial, choice, **more):
        return self.post(f"{me}/trial/{trial}", json={"choice": choice, "seconds": 1.5, **more})

    def answered(self, me, choices):
        """Answer one trial after another; their numbers."""
        numbers = []
        for choice in choices:
            numbers.append(self.trial(me)["trial"])
            assert self.answer(me, numbers[-1], choice).status_code == 200
        return numbers

    def rows(self, table):
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sql.select(table)).mappings()]


@pytest.fixture
def served(images, tmp_path):
    """A function that serves a study."""
    running = []

    def serve(images=images, **settings):
        running.append(Served(tmp_path / f"study{len(running)}", images, **settings))
        return running[-1]

    serve.running = running
    yield serve
    for one in running:
        one.close()


def test_a_trial_stays_the_same_until_it_is_answered(served):
    """Two looks at a trial show the same one; after its answer comes the next, whose images could be loaded ahead."""
    study = served()
    me = study.links["people"]["p1"]
    assert study.get(f"{me}/trial").status_code == 403
    study.begun()
    first = study.trial(me)
    assert first == study.trial(me)
    assert first.keys() == {"trial", "kind", "items", "done", "of", "next"}
    assert (first["kind"], first["done"], first["of"], len(first["items"])) == ("odd-one-out", 0, 200, 3)
    assert study.answer(me, first["trial"], 1).status_code == 200
    second = study.trial(me)
    assert second["trial"] != first["trial"]
    assert second["done"] == 1
    assert {one["url"] for one in second["items"]} <= set(first["next"])


def test_an_answer_is_kept_once(served):
    """The same answer again is 200 and changes nothing; another one is 409."""
    study = served()
    me = study.begun()
    (number,) = study.answered(me, [2])
    before = study.rows(answers)
    assert study.answer(me, number, 2, seconds=9).status_code == 200
    assert [study.answer(me, number, other).status_code for other in (0, 1, None)] == [409, 409, 409]
    assert study.rows(answers) == before
    assert [(row["choice"], row["seconds"]) for row in before] == [(2, 1.5)]


def test_only_the_last_answer_can_be_taken_back(served):
    """Undo replaces the choice of the last answer, as often as one likes, and of none before."""
    study = served()
    me = study.begun()
    assert study.get(f"{me}/last").json() == {"trial": None}
    first, last = study.answered(me, [0, None])
    assert study.get(f"{me}/last").json()["choice"] is None
    assert study.answer(me, last, 1, undo=True).status_code == 200
    assert study.answer(me, last, 2, undo=True).status_code == 200
    assert study.answer(me, first, 2, undo=True).status_code == 409
    told = study.get(f"{me}/last").json()
    assert (told["trial"], told["choice"], len(told["items"])) == (last, 2, 3)
    assert [(row["choice"], row["changed"] is None) for row in study.rows(answers)] == [(0, True), (2, False)]


BODIES = [
    b"", b"[]", b"{}", b'{"choice": 1}', b'{"seconds": 1}', b'{"choice": 3, "seconds": 1}',
    b'{"choice": -1, "seconds": 1}', b'{"choice": true, "seconds": 1}', b'{"choice": "1", "seconds": 1}',
    b'{"choice": 1.5, "seconds": 1}', b'{"choice": 1, "seconds": -1}', b'{"choice": 1, "seconds": NaN}',
    b'{"choice": 1, "seconds": 1e9}', b'{"choice": 1, "seconds": null}', b'{"choice": 1, "seconds": 1, "x": 1}',
    b'{"choice": 1, "seconds": 1, "undo": 1}', b"\xff\xfe", b"[" * 1900,
]  # fmt: skip


def test_a_body_that_is_no_answer_is_refused(served):
    """Whatever else is sent is 422 with a sentence, and nothing is kept."""
    study = served()
    me = study.begun()
    number = study.trial(me)["trial"]
    for body in BODIES:
        reply = study.post(f"{me}/trial/{number}", content=body)
        assert reply.status_code == 422, body
        assert "choice" in reply.json()["error"]
    assert study.rows(answers) == []


def test_a_long_body_is_not_read(served):
    """A body beyond 2,000 bytes is 413."""
    study = served()
    me = study.begun()
    assert study.post(f"{me}/trial/1", content=b" " * 2001).status_code == 413


def test_the_reference_of_an_anchor_trial_is_no_answer(served):
    """For the kind anchor the choice 0 is 422, 1 and 2 are answers."""
    study = served(kind="anchor")
    me = study.begun()
    first = study.trial(me)
    assert first["kind"] == "anchor"
    assert study.answer(me, first["trial"], 0).status_code == 422
    study.answered(me, [1, 2, None])


def test_a_trial_that_is_not_ones_turn_or_not_ones_own_is_unknown(served):
    """Trials made ahead, of others, or never made are 404 for a person, and nothing is kept."""
    study = served(people=2)
    me, other = study.begun("p1"), study.begun("p2")
    mine, theirs = study.trial(me)["trial"], study.trial(other)["trial"]
    ahead = max(row["id"] for row in study.rows(trials) if row["person"] == "p1")
    for number in (theirs, ahead, 0, 10**6, "x", "-1", "1e0", "٣", "9" * 30):
        assert study.answer(me, number, 1).status_code == 404, number
    assert study.rows(answers) == []
    assert study.answer(me, mine, 1).status_code == 200
    assert study.answer(other, mine, 1).status_code == 404


ROUTES = [
    ("GET", "/r/{}"), ("POST", "/r/{}/consent"), ("GET", "/r/{}/trial"), ("POST", "/r/{}/trial/1"),
    ("GET", "/r/{}/last"), ("GET", "/r/{}/image/0"), ("GET", "/o/{}"), ("GET", "/o/{}/state"),
    ("GET", "/o/{}/chart/curve-light.svg"), ("GET", "/o/{}/report"), ("GET", "/o/{}/transform"), ("POST", "/o/{}/fit"),
]  # fmt: skip


def test_a_token_that_the_study_did_not_sign_opens_nothing(served):
    """A changed, foreign or guessed token, or one for another role, is 404 everywhere, an ended one 410."""
    study = served(people=2)
    me = study.begun()
    study.answered(me, [1])
    before = [study.rows(table) for table in (people, trials, answers)]
    signer = Signer(study.study.key, study.study.number)
    tokens = {"r": me.rsplit("/", 1)[1], "o": study.links["owner"].rsplit("/", 1)[1]}
    foreign = Signer("0" * 64, study.study.number).sign(Token(PERSON, "p1", until=2**40))
    of_another_study = Signer(study.study.key, "another").sign(Token(PERSON, "p1", until=2**40))
    unsigned = signer.sign(Token(PERSON, "p2", until=2**40)).rsplit(".", 1)[0]
    ended = {"r": Token(PERSON, "p1", until=int(time.time()) - 1), "o": Token(OWNER, until=int(time.time()) - 1)}
    for method, path in ROUTES:
        kind, other = path[1], {"r": "o", "o": "r"}[path[1]]
        body, signature = tokens[kind].rsplit(".", 1)
        changed = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
        wrong = [f"{body}.{changed}", f"{unsigned}.{signature}", body, signature, tokens[other], foreign]
        for token in [*wrong, of_another_study, "p1", "1", "x" * 5000, "%00", "..%2f..", "WyJwIl0."]:
            assert study.client.request(method, path.format(token)).status_code == 404, (method, path, token)
        assert study.client.request(method, path.format(signer.sign(ended[kind]))).status_code == 410
    assert [study.rows(table) for table in (people, trials, answers)] == before


def test_nobody_reads_what_others_answered(served):
    """What a person gets never holds an answer, a name or the number of another one."""
    study = served(people=2)
    me, other = study.begun("p1"), study.begun("p2")
    study.answered(other, [0, 1, 2])
    assert study.get(f"{me}/last").json() == {"trial": None}
    assert study.trial(me)["done"] == 0
    assert study.get(f"{me}/state").status_code == 404


def test_answers_that_come_too_fast_have_to_wait(served):
    """After ten answers at once the next is 429 with Retry-After, and is not kept; others are not slowed down."""
    study = served(people=2, fastest=50.0)
    me = study.begun()
    study.answered(me, [1] * 10)
    number = study.trial(me)["trial"]
    reply = study.answer(me, number, 1)
    assert reply.status_code == 429
    assert 0 < int(reply.headers["Retry-After"]) <= 50
    assert len(study.rows(answers)) == 10
    study.answered(study.begun("p2"), [1])


def test_a_limit_lets_through_what_its_rate_allows():
    """Of an event each 0.1 s for 100 s, a limit of one in 2 s and 5 at once lets 5 + 50 through, for each key."""
    now = [0.0]
    limit = Limit(2.0, 5, clock=lambda: now[0])
    passed = {"a": 0, "b": 0}
    for step in range(1000):
        now[0] = step / 10
        passed["a"] += limit.wait("a") == 0
        passed["b"] += step % 30 == 0 and limit.wait("b") == 0
    assert 54 <= passed["a"] <= 56
    assert passed["b"] == 34


def test_the_end_has_a_code_and_a_way_back(served):
    """After the last trial there is a completion code, always the same, and the address with the person's id."""
    study = served(per_person=3, return_url="https://example.org/done?id={id}&code={code}", open=True)
    me = "/r/" + study.get(study.links["open"] + "?PROLIFIC_PID=ab.1@x").headers["location"]
    study.post(f"{me}/consent")
    numbers = study.answered(me, [0, 1, 2])
    end = study.trial(me)
    code = end["code"]
    assert end == {
        "trial": None, "done": 3, "of": 3, "code": code, "return_url": f"https://example.org/done?id=ab.1%40x&code={code}"
    }  # fmt: skip
    assert len(code) == 8
    assert study.trial(me) == end
    assert study.answer(me, numbers[-1], 0, undo=True).status_code == 200
    assert study.trial(me) == end
    (row,) = study.rows(people)
    assert (row["code"], row["name"], row["finished"] is not None) == (code, "ab.1@x", True)


def test_one_link_for_all_makes_a_person_of_each_who_consents(served):
    """The open link leads to a link of one's own; only consent makes a person; the number of people is kept."""
    study = served(open=True, people=2)
    assert study.links["people"] == {}
    mine = ["/r/" + study.get(study.links["open"]).headers["location"] for _ in range(3)]
    assert len(set(mine)) == 3
    assert study.get(mine[0]).status_code == 200
    assert study.rows(people) == []
    assert [study.post(f"{me}/consent").status_code for me in mine] == [200, 200, 429]
    assert study.post(f"{mine[0]}/consent").status_code == 200
    assert study.get(f"{mine[2]}/trial").status_code == 403
    assert len(study.rows(people)) == 2


def test_an_id_of_a_recruiting_site_begins_once(served):
    """A second link for the same id is 409 at its consent; an id with other signs is 400."""
    study = served(open=True)
    mine = ["/r/" + study.get(study.links["open"] + "?PROLIFIC_PID=abc").headers["location"] for _ in range(2)]
    assert [study.post(f"{me}/consent").status_code for me in mine] == [200, 409]
    assert study.get(study.links["open"] + "?PROLIFIC_PID=<script>").status_code == 400
    assert study.get(study.links["open"] + f"?PROLIFIC_PID={'x' * 65}").status_code == 400


def test_images_come_by_number_alone(served):
    """Each image has a number; a path, a sign or a number beyond them is 404."""
    study = served()
    me = study.links["people"]["p1"]
    reply = study.get(f"{me}/image/11")
    assert reply.headers["content-type"] == "image/jpeg"
    assert "immutable" in reply.headers["cache-control"]
    assert Image.open(io.BytesIO(reply.content)).size == (12, 8)
    for name in ("12", "-1", "0.5", "x", "..%2fsecret.json", "%2e%2e%2fstudy.json", "image0.png", "0%00", "9" * 40):
        assert study.get(f"{me}/image/{name}").status_code == 404, name
    for path in (
        "/static/..%2fpage.py",
        "/static/%2e%2e%2fpage.py",
        "/static/nothing.js",
        "/docs",
        "/openapi.json",
        "/",
    ):
        assert study.get(path).status_code == 404, path


def test_images_are_shown_upright_small_and_without_what_the_file_tells_besides(tmp_path, served):
    """A photograph with EXIF comes turned, at most 640 pixels wide or high, and without its metadata."""
    exif = Image.Exif()
    exif[274], exif[305] = 6, "where it was taken"
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (1400, 700), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.jpg", exif=exif)
    study = served(images=tmp_path / "photos")
    shown = Image.open(io.BytesIO(study.get(f"{study.links['people']['p1']}/image/0").content))
    assert shown.size == (320, 640)
    assert not shown.getexif()
    assert b"where it was taken" not in study.study.picture(0)[0]


HOSTILE = [
    "<img src=x onerror=alert(1)>.png", "\"'`;--.png", "x..y..png", "=cmd|' !A1.png", "@sum(1).png", "{{7*7}}.png",
    "a%2f..%2fb.png", "&lt;&amp;.png", "+1+1.png", "日本.png",
]  # fmt: skip


def test_names_of_files_do_no_harm(tmp_path, served):
    """Names with HTML, quotes, formulas and dots come as text in JSON and are in no page; none is a path."""
    study = served(images=write_pictures(tmp_path / "hostile", HOSTILE))
    me = study.begun()
    study.answered(me, [1, 2, None] * 5)
    assert sorted(study.study.names) == sorted(HOSTILE)
    reply = study.get(f"{me}/trial")
    assert reply.headers["content-type"] == "application/json"
    assert {item["name"] for item in reply.json()["items"]} <= set(HOSTILE)
    assert all("/image/" in item["url"] and item["url"].rsplit("/", 1)[1].isdigit() for item in reply.json()["items"])
    pages = study.get(me).text + study.get(study.links["owner"]).text
    assert not [name for name in HOSTILE if name in pages]


def test_images_that_cannot_be_shown_are_left_out_and_named(tmp_path, served):
    """Damaged images are left out with a reason; the others have numbers."""
    folder = write_pictures(tmp_path / "mixed", ["a.png", "d.png", "e.png"])
    (folder / "damaged.png").write_bytes(picture(1)[:40])
    (folder / "empty.png").write_bytes(b"")
    study = served(images=folder)
    assert study.study.names == ("a.png", "d.png", "e.png")
    assert {name for name, _ in study.study.left_out} == {"damaged.png", "empty.png"}
    assert open_study(study.study.folder).left_out == study.study.left_out


def test_two_images_are_no_study(tmp_path):
    """Fewer than three images that can be shown are refused with the first reason."""
    folder = write_pictures(tmp_path / "few", ["a.png", "b.png"])
    (folder / "c.png").write_bytes(b"no image")
    with pytest.raises(FileError, match=r"has 2 images that can be shown \(c.png .*a trial needs three"):
        create(tmp_path / "study", str(folder), Settings())


def test_every_reply_keeps_the_page_to_itself(served):
    """Pages, JSON, images and problems forbid other sites, sniffing, referrers with the link in them, and caches."""
    study = served()
    me = study.begun()
    paths = [me, f"{me}/trial", f"{me}/image/0", "/r/wrong", "/nothing", study.links["owner"], "/static/style.css"]
    for path in paths:
        headers = study.get(path).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src" in policy
        assert not [sign for sign in ("unsafe", "http:", "https:", "*") if sign in policy]
        assert "set-cookie" not in headers
        assert headers["cache-control"].startswith(("no-store", "no-cache", "private"))


def test_a_browser_gets_a_page_where_something_is_wrong(served):
    """The same 404 is a page for who asks for HTML, and JSON otherwise."""
    study = served()
    page = study.get("/r/wrong", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert study.get("/r/wrong").json() == {"error": "This link is not valid."}


def test_the_key_is_for_the_owner_alone(served):
    """The key and the answers can be read by their owner only; study.json holds no secret."""
    study = served().study
    for name in ("secret.json", "answers.sqlite"):
        assert (study.folder / name).stat().st_mode & 0o077 == 0, name
    assert study.key not in (study.folder / "study.json").read_text()
    assert json.loads((study.folder / "secret.json").read_text())["key"] == study.key


def test_an_operation_that_fails_takes_no_other_with_it(served):
    """Of several operations in one transaction one fails in the middle of its writes: it alone is undone, and told."""
    study = served()
    writer = Writer(study.engine)
    blocked = writer.submit(lambda connection: time.sleep(0.1))  # the others come together meanwhile

    def add(name, fails=False):
        def operation(connection):
            connection.execute(people.insert().values(id=name, made=0.0))
            if fails:
                raise ZeroDivisionError
            return name

        return writer.submit(operation)

    futures = [add("a"), add("b", fails=True), add("c")]
    assert blocked.result(10) is None
    assert [futures[0].result(10), futures[2].result(10)] == ["a", "c"]
    assert isinstance(futures[1].exception(10), ZeroDivisionError)
    writer.close()
    assert {row["id"] for row in study.rows(people)} == {"p1", "a", "c"}


def test_a_study_keeps_to_its_own_database(images, tmp_path):
    """Another kind of database, no address, and the database of another study are refused in a sentence."""
    study = create(tmp_path / "one", str(images), Settings())
    open_database(study).dispose()
    for number, url in enumerate(("mysql://x/y", "nonsense")):
        with pytest.raises(ParameterError, match="--database is"):
            open_database(create(tmp_path / f"two-{number}", str(images), Settings(), url))
    with pytest.raises(FileError, match="has the answers of another study"):
        open_database(create(tmp_path / "three", str(images), Settings(), study.database))
    with pytest.raises(FileError, match=r"cannot be opened .* may be written"):
        open_database(create(tmp_path / "four", str(images), Settings(), f"sqlite:///{tmp_path}/none/x.sqlite"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "pairs"}, "allowed are odd-one-out and anchor"),
        ({"catch": 0.9}, "allowed is 0 to 0.5"),
        ({"catch": 0.3, "repeats": 0.3}, "together at most 0.5"),
        ({"return_url": "javascript:alert(1)"}, "https://"),
        ({"order": "informative"}, "give --features or --model"),
        ({"features": "f.npy", "model": "timm:x"}, "give one"),
        ({"people": 0}, "1 to 100000"),
        ({"people": 10**11}, "1 to 100000"),
        ({"per_person": 10**12}, "1 to 100000"),
        ({"fastest": float("inf")}, "0 to 3600"),
    ],
)
def test_settings_out_of_range_are_refused(settings, sentence):
    """Each setting that cannot be is refused in a sentence that says what is allowed."""
    with pytest.raises(ParameterError, match=sentence):
        Settings(**settings)


def test_a_study_out_of_reach_is_one_sentence(tmp_path, images):
    """Where the folder of a study was moved, or its disk fails, people read that they may try again."""
    served = Served(tmp_path / "study", images, per_person=5)
    try:
        me = served.begun()
        served.study.folder.rename(tmp_path / "moved")
        for part in ("", "/image/0"):
            found = served.get(f"{me}{part}")
            assert found.status_code == 503
            assert "Try again" in found.json()["error"]
    finally:
        served.close()


def test_an_answer_that_breaks_off_is_refused():
    """Whoever hangs up in the middle of an answer leaves no traceback."""
    from glocal.collect.http import read_answer

    async def gone():
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, gone)
    with pytest.raises(Refused, match="broke off"):
        asyncio.run(read_answer(request, "odd-one-out"))


def test_a_wrong_address_of_a_database_leaves_no_study(tmp_path, images, capsys):
    """--database is looked at before anything is written: another address could not be given later."""
    study = tmp_path / "study"
    arguments = ["collect", "run", str(images), "--out", str(study), "--database"]
    for address in ("mysql://me:secret@host/x", "secret"):
        assert execute([*arguments, address]) == 1
        assert "secret" not in capsys.readouterr().err
    assert not study.exists()


def test_a_database_that_cannot_be_written_is_one_sentence(tmp_path, images):
    """A disk that is full, or may only be read, ends the command with a sentence that says what to look at."""
    study = create(tmp_path / "study", str(images), Settings())
    engine = open_database(study)
    engine.dispose()
    sql.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    with pytest.raises(FileError, match=r"cannot be written \(attempt to write .* may be written, with room") as caught:
        links(study, engine, "")
    engine.dispose()
    assert "\n" not in str(caught.value)


def test_a_study_is_made_once(tmp_path, images):
    """Whoever comes second, as of two processes that began together, leaves the key by which the links are signed."""
    made = create(tmp_path / "study", str(images), Settings())
    with pytest.raises(FileError, match="is a study already"):
        create(tmp_path / "study", str(images), Settings())
    again = open_study(tmp_path / "study")
    assert (again.key, again.number) == (made.key, made.number)


def test_windows_of_the_owner_share_a_count(served, monkeypatch):
    """However many windows of the owner ask, one counts for those who wait, and holds no connection but its own."""
    study, running, most = served(), [], []

    def slow(of, found):
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return {}

    monkeypatch.setattr("glocal.collect.owner.state", slow)
    address = f"{study.links['owner']}/state"
    with ThreadPoolExecutor(8) as pool:
        assert {reply.status_code for reply in pool.map(study.get, [address] * 16)} == {200}
    assert max(most) == 1
    counts = len(most)
    assert study.get(address).status_code == 200
    assert len(most) == counts + 1, "what was counted before is not told again"


def test_a_database_is_a_file_that_stays_where_it_is(tmp_path, monkeypatch):
    """One in memory would lose all answers and is refused; a relative file is the same from every folder."""
    monkeypatch.chdir(tmp_path)
    for address in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"):
        with pytest.raises(ParameterError, match="names no file"):
            checked_address(address)
    absolute = f"sqlite:///{tmp_path}/a%25b.sqlite"
    assert checked_address("sqlite:///a%25b.sqlite") == checked_address(absolute) == absolute
    assert checked_address("postgresql://u:p@h/x") == "postgresql://u:p@h/x"


def test_a_study_serves_its_own_images_alone(tmp_path, images):
    """A study of a stranger cannot name a file outside its folder."""
    create(tmp_path / "study", str(images), Settings())
    record = tmp_path / "study/study.json"
    held = json.loads(record.read_text())
    held["images"][0]["file"] = "../secret.json"
    record.write_text(json.dumps(held))
    with pytest.raises(FileError, match="outside its folder"):
        open_study(tmp_path / "study")


@pytest.mark.parametrize("name", ["100%", "a%20b", "a?b=1", "a#b", "%00"])
def test_the_answers_of_a_study_lie_in_its_folder(tmp_path, images, name):
    """Signs that mean something in an address of a database are letters of the name of a folder."""
    study = create(tmp_path / name, str(images), Settings())
    open_database(study).dispose()
    assert (tmp_path / name / "answers.sqlite").exists()
    open_database(open_study(tmp_path / name)).dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_whoever_sends_too_slowly_is_let_go(served, monkeypatch):
    """A connection whose request is not whole in time is closed, in its head, its body or before; others are not."""
    monkeypatch.setattr(Patient, "patience", 0.3)
    me = served().begun()
    app = served.running[-1].client.app

    async def attack():
        at = listen("127.0.0.1", 0)
        port = at.getsockname()[1]
        running = server(app)
        serving = asyncio.create_task(running.serve(sockets=[at]))

        async def said(*pieces):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.1)
            try:
                return await asyncio.wait_for(reader.read(), 20)
            except ConnectionError:
                return b""
            finally:
                writer.close()

        whole = f"GET {me}/trial HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        body = f"POST {me}/trial/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n".encode()
        found = await asyncio.gather(
            said(), said(b"GET / HT"), said(body, b"{"), said(*[b"G"] * 6), said(whole[:9], whole[9:])
        )  # fmt: skip
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body)
        await asyncio.sleep(0.05)
        running.should_exit = True
        began = time.monotonic()
        await serving
        writer.close()
        at.close()
        return found, time.monotonic() - began

    (*slow, quick), ended = asyncio.run(attack())
    assert slow == [b""] * 4
    assert quick.startswith(b"HTTP/1.1 200")
    assert ended < 4, "a server that is stopped waits for no half body"


def test_no_address_leads_elsewhere(served):
    """A slash too many is 404, not a redirect to what a request calls its host, with the secret in it."""
    study = served()
    for address in (f"{study.links['owner']}/", f"{study.begun()}/trial/", "/static/person.js/"):
        reply = study.get(address, headers={"Host": "evil.example"})
        assert (reply.status_code, "location" in reply.headers) == (404, False)


def test_texts_that_cannot_be_read_are_one_sentence(served):
    """Where consent.md is gone, or in another encoding, people read that they may try again, and the owner why."""
    study = served()
    for text in (None, "für Menschen".encode("latin-1")):
        (study.study.folder / "consent.md").unlink()
        if text is not None:
            (study.study.folder / "consent.md").write_bytes(text)
        assert study.get(study.links["people"]["p1"]).status_code == 503
        with pytest.raises(FileError, match="consent"):
            study.study.text("consent")
        (study.study.folder / "consent.md").touch()


def test_a_database_out_of_reach_is_told_to_all_at_once():
    """Of many operations for which no transaction begins, each gets the error of one try."""
    tries = []

    def gone():
        tries.append(1)
        time.sleep(0.05)
        raise OSError("gone")

    writer = Writer(sql.create_engine("sqlite://", creator=gone))
    futures = [writer.submit(lambda connection: None) for _ in range(50)]
    assert {str(future.exception(10)) for future in futures} == {"gone"}
    writer.close()
    assert len(tries) <= 2


def test_a_folder_whose_name_is_no_text_is_refused(images, tmp_path):
    """An address of a database cannot hold bytes that are no UTF-8."""
    with pytest.raises(ParameterError, match="no UTF-8 text"):
        create(tmp_path / "od\udcff", str(images), Settings())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("days", [0, 36_501, float("inf"), float("nan")])
def test_links_end_within_a_hundred_years(days):
    """Days are above 0 and at most 36500: a later end does not fit into a link."""
    with pytest.raises(ParameterError, match="allowed is above 0, at most 36500"):
        Settings(days=days)
