"""Studies over HTTP: what a person may do, what is stored, and what nobody gets without a link."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient

from glocal_collect.tokens import OWNER, PERSON, Signer, Token

ANSWER = {"choice": 1, "seconds": 1}


def test_an_answer_is_stored_once_and_only_the_last_one_can_be_changed(serve_study):
    """A trial is the same until it is answered, and comes with the next images to load ahead; the
    same answer again changes nothing, another one is 409, and undo replaces the last choice.
    """
    study = serve_study()
    link = study.begin()
    first = study.trial(link)
    assert study.get(f"{link}/last").json() == {"trial": None}
    assert study.answer(link, first["trial"], 2).status_code == 200
    trial = study.trial(link)
    assert trial == study.trial(link)
    assert trial["trial"] != first["trial"]
    assert trial["done"] == 1
    assert trial["of"] == 200
    assert {item["url"] for item in trial["items"]} <= set(first["next"])
    (last,) = study.answer_trials(link, lambda names: 2, limit=1)
    before = study.rows("answers")
    replies = [study.answer(link, last, choice, seconds=9) for choice in (2, 0, 1, None)]
    assert study.rows("answers") == before
    replies += [study.answer(link, number, None, undo=True) for number in (first["trial"], last)]
    assert [reply.status_code for reply in replies] == [200, 409, 409, 409, 409, 200]
    trial = study.get(f"{link}/last").json()
    assert trial["trial"] == last
    assert trial["choice"] is None
    assert len(trial["items"]) == 3
    assert [row["choice"] for row in study.rows("answers")] == [2, None]
    assert [row["changed"] is None for row in study.rows("answers")] == [True, False]


JSON = {"Content-Type": "application/json"}
BODIES = """
[]
{}
{"choice": 1}
{"seconds": 1}
{"choice": 3, "seconds": 1}
{"choice": -1, "seconds": 1}
{"choice": true, "seconds": 1}
{"choice": "1", "seconds": 1}
{"choice": 1.5, "seconds": 1}
{"choice": 1, "seconds": -1}
{"choice": 1, "seconds": NaN}
{"choice": 1, "seconds": 1e9}
{"choice": 1, "seconds": 1, "x": 1}
{"choice": 0, "seconds": 1}"""  # the first is empty; 0 is the reference of an anchor trial


def test_a_body_that_is_not_an_answer_is_refused(serve_study):
    """A body with other content, or one that is nested too deep, is 422 with the form of an answer;
    a long one or one in chunks is 413; and nothing is stored.
    """
    study = serve_study(kind="anchor")
    link = study.begin()
    address = f"{link}/trial/{study.trial(link)['trial']}"
    for body in (*BODIES.split("\n"), b"\xff\xfe", b"[" * 1900):
        reply = study.post(address, content=body, headers=JSON)
        assert (reply.status_code, "choice" in reply.json()["error"]) == (422, True), body
    for body in (b" " * 2001, iter([b" "])):  # a long one, and one in chunks of no stated length
        assert study.post(address, content=body).status_code == 413
    assert study.rows("answers") == []


NO_NUMBERS = f"x -1 1e0 ٣ 0 1000000 {2**63 - 1} {2**63} {10**30} {'9' * 5000}"


def test_a_trial_of_another_turn_or_person_is_unknown(serve_study, caplog):
    """Trials that were made ahead, are of other people, or do not exist are 404, also by numbers
    that no database can hold, and nothing is stored or logged.
    """
    study = serve_study(people=2)
    link, other = map(study.begin, ("p1", "p2"))
    _, *ahead = (row["id"] for row in study.rows("trials") if row["person"] == "p1")
    for number in (*NO_NUMBERS.split(), study.trial(other)["trial"], *ahead):
        assert study.answer(link, number, 1).status_code == 404, number
    for number in NO_NUMBERS.split()[5:]:
        assert study.codes(f"{link}/image/{number}") == [404]
    assert len(ahead) == 2
    assert caplog.records == []
    assert study.rows("answers") == []


ROUTES = """GET /r/{}
POST /r/{}/consent
GET /r/{}/trial
POST /r/{}/trial/1
GET /r/{}/last
GET /r/{}/image/0
GET /o/{}"""
TABLES = ("people", "trials", "answers")


def test_a_token_that_the_study_did_not_sign_opens_nothing(serve_study):
    """A token that is changed, foreign, guessed, or for another role is 404 everywhere."""
    study = serve_study(people=2)
    link = study.begin()
    study.answer_trials(link, limit=1)
    before = [*map(study.rows, TABLES)]
    person, owner = (address[3:] for address in (link, study.links["owner"]))
    body, signature = person.rsplit(".", 1)
    other_body = study.links["people"]["p2"][3:].rsplit(".", 1)[0]
    changed = f"{body}.{signature[::-1]} {other_body}.{signature}"
    guessed = f"{body} {signature} p1 %00 ..%2f.. WyJwIl0. {'x' * 5000}"
    signers = map(Signer, ("0" * 64, "", "None"))
    foreign = [signer.sign(Token(role, "p1")) for signer in signers for role in (PERSON, OWNER)]
    for route in ROUTES.split("\n"):
        method, path = route.split()
        of_other_role = person if path.startswith("/o") else owner
        for token in (*changed.split(), *guessed.split(), *foreign, of_other_role):
            reply = study.client.request(method, path.format(token), json=ANSWER)
            assert reply.status_code == 404, (route, token)
    assert before == [*map(study.rows, TABLES)]


def test_the_days_of_a_study_end_its_links(serve_study, monkeypatch):
    """The links of 90 days are open on day 89 and end before day 91."""
    study = serve_study()
    study.play("p1/consent -> 200")
    start = time.time()
    for day, status in ((89, 200), (91, 410)):
        monkeypatch.setattr("time.time", lambda day=day: start + 86_400 * day)
        study.play(f"p1 p1/trial owner -> {status} {status} {status}")


def test_requests_that_come_too_fast_have_to_wait(serve_study):
    """After a hundred requests at once the next is 429, an answer among them is not stored, and
    other people are not slowed down.
    """
    study = serve_study(people=2, min_seconds=50.0)
    link = study.begin()
    trial = study.trial(link)["trial"]
    assert study.codes(*[f"{link}/last"] * 98) == [200] * 98
    reply = study.answer(link, trial, 1)
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "5")
    assert not study.rows("answers")
    study.play("p2/consent p2/trial -> 200 200")


def test_the_end_has_a_code_and_a_way_back(serve_study):
    """After the last trial, and not before, the reply has a code, and the return address with the
    id. They stay if the last answer is changed, the study is made longer, or others get the code of
    the study.
    """
    address = "https://a.test/?i={id}&c={code}"
    study = serve_study(per_person=3, return_url=address, open=True)
    link = study.begin("?PROLIFIC_PID=ab.1@x")
    study.answer_trials(link, limit=2)
    (person,) = study.rows("people")
    assert person["code"] is None
    assert person["finished"] is None
    (number,) = study.answer_trials(link)
    end = study.trial(link)
    people = study.rows("people")
    code = people[0]["code"]
    assert end["code"] == code
    assert len(code) == 8
    assert end["return_url"] == f"https://a.test/?i=ab.1%40x&c={code}"
    assert people[0]["finished"] >= people[0]["consented"]
    assert study.answer(link, number, 2, undo=True).status_code == 200
    assert study.trial(link) == end
    study.restart(per_person=5, code="C1ABC23")
    assert len(study.answer_trials(link)) == 2
    assert study.trial(link) == {**end, "done": 5, "of": 5}
    assert study.rows("people") == people
    assert study.finish("?id=bob")["code"] == "C1ABC23"


NO_PATHS = """/static/..%2fpages.py /static/nothing.js /docs /openapi.json / {link}/trial/
{link}/image/12 {link}/image/-1 {link}/image/0.5 {link}/image/x {link}/image/0%00
{link}/image/..%2fsecret.json {link}/image/%2e%2e%2fstudy.json"""


def test_images_are_those_of_a_persons_own_trials(serve_study):
    """A person gets no image before the consent, and afterwards only those of their own trials."""
    study = serve_study(people=2, seed=3)
    for person, link in study.links["people"].items():
        images = [f"{link}/image/{number}" for number in range(12)]
        assert study.codes(*images) == [404] * 12
        study.begin(person)
        trials = [row for row in study.rows("trials") if row["person"] == person]
        numbers = {row[column] for row in trials for column in "abc"}
        assert 3 <= len(numbers) < 12
        assert study.codes(*images) == [200 if i in numbers else 404 for i in range(12)]
    for path in NO_PATHS.format(link=link).split():
        assert study.get(path).status_code == 404, path


POLICY = "default-src 'self';(?!.*unsafe)[a-z ';-]+"  # no other site, no inline script or style


def test_every_reply_keeps_the_page_to_itself(serve_study, monkeypatch):
    """Every reply forbids other sites, sniffing, referrers that contain the link, and caches; that
    to an unforeseen error says nothing about it.
    """
    study = serve_study(people=2)
    link = study.begin()
    image = study.trial(link)["items"][0]["url"]
    monkeypatch.setattr("glocal_collect.pages.owner_page", lambda *_: 1 / 0)
    paths = (image, link, f"{link}/trial", "/r/wrong", "/nothing", "/static/style.css")
    client = TestClient(study.client.app, raise_server_exceptions=False)
    *replies, error = map(client.get, (*paths, study.links["owner"]))
    assert error.status_code == 500
    assert "division" not in error.text
    for reply in (*replies, error):
        headers = reply.headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(POLICY, headers["content-security-policy"])
        assert "set-cookie" not in headers
        cached = "private, max-age=31536000, immutable" if reply is replies[0] else "no-store"
        assert headers["cache-control"] == cached
    assert replies[0].headers["content-type"] == "image/jpeg"


def test_two_servers_of_one_study_ask_nothing_twice(serve_study):
    """Two processes that use one database at once take turns, and make trials that are balanced as
    those of one process.
    """
    study = serve_study(people=2, per_person=24, repeats=0.0, catch=0.0)
    servers = (study, serve_study(study=study.study))
    links = [server.begin(person) for server, person in zip(servers, ("p1", "p2"), strict=True)]
    with ThreadPoolExecutor(2) as pool:
        answered = pool.map(lambda server, link: server.answer_trials(link), servers, links)
        assert [*map(len, answered)] == [24, 24]
    images = Counter(row[column] for row in study.rows("trials") for column in "abc")
    assert images == dict.fromkeys(range(12), 12)
