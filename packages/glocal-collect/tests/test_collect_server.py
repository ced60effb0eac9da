"""Studies over HTTP: what a person may do, what is stored, and what nobody gets without a link."""

import io
import re
import time
from collections import Counter

from PIL import Image

from glocal_collect.study import open_study
from glocal_collect.tokens import PERSON, Signer, Token

ANSWER = {"choice": 1, "seconds": 1}


def test_a_trial_stays_the_same_until_it_is_answered(serve_study):
    """A trial is the same at every request until it is answered, and comes with the next images to
    load ahead.
    """
    study = serve_study()
    link = study.links["people"]["p1"]
    assert study.codes(f"{link}/trial") == [403]
    study.begin()
    first = study.trial(link)
    assert first == study.trial(link)
    assert " ".join(first) == "trial kind items done of next"
    assert (first["kind"], first["done"], first["of"]) == ("odd-one-out", 0, 200)
    assert len(first["items"]) == 3
    study.answer(link, first["trial"], 1)
    second = study.trial(link)
    assert (second["trial"] != first["trial"], second["done"]) == (True, 1)
    assert {item["url"] for item in second["items"]} <= set(first["next"])


def test_an_answer_is_stored_once_and_only_the_last_one_can_be_changed(serve_study):
    """The same answer again changes nothing, another answer is 409, and undo replaces
    the last choice.
    """
    study = serve_study()
    link = study.begin()
    assert study.get(f"{link}/last").json() == {"trial": None}
    first, last = study.answer_trials(link, lambda names: 2, limit=2)
    before = study.rows("answers")
    choices = (2, 0, 1, None)
    replies = [study.answer(link, last, choice, seconds=9) for choice in choices]
    assert [reply.status_code for reply in replies] == [200, 409, 409, 409]
    assert study.rows("answers") == before
    replies = [study.answer(link, trial, None, undo=True) for trial in (last, first)]
    assert [reply.status_code for reply in replies] == [200, 409]
    trial = study.get(f"{link}/last").json()
    assert (trial["trial"], trial["choice"], len(trial["items"])) == (last, None, 3)
    answers = [(row["choice"], row["changed"] is None) for row in study.rows("answers")]
    assert answers == [(2, True), (None, False)]


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
    """A body with other content is 422, a long one or one in chunks 413, and nothing is stored."""
    study = serve_study(kind="anchor")
    link = study.begin()
    address = f"{link}/trial/{study.trial(link)['trial']}"
    for body in (*BODIES.split("\n"), b"\xff\xfe", "[" * 1900):
        reply = study.post(address, content=body)
        assert (reply.status_code, "choice" in reply.json()["error"]) == (422, True), body
    for body in (b" " * 2001, iter([b" "])):  # a long one, and one in chunks of no stated length
        assert study.post(address, content=body).status_code == 413
    assert study.rows("answers") == []


def test_a_trial_of_another_turn_or_person_is_unknown(serve_study, caplog):
    """Trials that were made ahead, are of other people, or do not exist are 404, also by numbers
    that no database can hold, and nothing is stored or logged.
    """
    study = serve_study(people=2)
    link, other = map(study.begin, ("p1", "p2"))
    trial, *ahead = (row["id"] for row in study.rows("trials") if row["person"] == "p1")
    words = f"0 1000000 x -1 1e0 ٣ {2**63 - 1} {2**63} {10**30} {'9' * 5000}".split()
    for number in (study.trial(other)["trial"], *ahead, *words):
        assert study.answer(link, number, 1).status_code == 404, number
    for number in words[-4:]:
        assert study.codes(f"{link}/image/{number}", f"/r/no/image/{number}") == [404, 404]
    assert (len(ahead), caplog.records, study.rows("answers")) == (2, [], [])
    assert study.answer(link, trial, 1).status_code == 200
    assert study.answer(other, trial, 1).status_code == 404
    assert study.get(f"{other}/last").json() == {"trial": None}


ROUTES = """GET /r/{}
POST /r/{}/consent
GET /r/{}/trial
POST /r/{}/trial/1
GET /r/{}/last
GET /r/{}/image/0
GET /o/{}"""
TABLES = ("people", "trials", "answers")


def wrong_tokens(token, other_role, signer):
    """Changed, foreign and guessed tokens, and a token of another role."""
    body, signature = token.rsplit(".", 1)
    letter = "A" if signature[-2] != "A" else "B"
    other_body = signer.sign(Token(PERSON, "p2")).rsplit(".", 1)[0]
    changed = f"{body}.{signature[:-2]}{letter}{signature[-1]} {other_body}.{signature}"
    foreign = [Signer(key).sign(Token(PERSON, "p1")) for key in ("0" * 64, "", "None")]
    guessed = f"p1 %00 ..%2f.. WyJwIl0. {'x' * 5000}"
    return [*f"{changed} {body} {signature} {guessed} {other_role}".split(), *foreign]


def test_a_token_that_the_study_did_not_sign_opens_nothing(serve_study):
    """A token that is changed, foreign, guessed, or for another role is 404 everywhere."""
    study = serve_study(people=2)
    link = study.begin()
    study.answer_trials(link, limit=1)
    before = [*map(study.rows, TABLES)]
    person, owner = (address.rsplit("/", 1)[1] for address in (link, study.links["owner"]))
    signer = Signer(study.study.key)
    wrong = {"r": wrong_tokens(person, owner, signer), "o": wrong_tokens(owner, person, signer)}
    for route in ROUTES.split("\n"):
        method, path = route.split()
        for token in wrong[path[1]]:
            reply = study.client.request(method, path.format(token), json=ANSWER)
            assert reply.status_code == 404, (route, token)
    assert before == [*map(study.rows, TABLES)]


def test_the_days_of_a_study_end_its_links(serve_study, monkeypatch):
    """With fewer days the links are 410, and with more they open again; other settings stay. The
    links of 90 days are open on day 89 and end before day 91.
    """
    study = serve_study(people=2, title="Which look alike?")
    settings = study.study.settings
    study.play("""
        p1/consent -> 200
        restart days=1e-9
        p1 p1/trial owner -> 410 410 410
        restart days=90
        p1 p1/trial owner -> 200 200 200""")
    assert open_study(study.study.folder).settings == settings.replace(days=90)
    start = time.time()
    for day, status in ((89, 200), (91, 410)):
        monkeypatch.setattr("time.time", lambda day=day: start + 86_400 * day)
        study.play(f"p1 -> {status}")


def test_answers_and_requests_that_come_too_fast_have_to_wait(serve_study):
    """After ten answers at once, or a hundred requests, the next is 429 and not stored, and other
    people are not slowed down.
    """
    study = serve_study(people=2, min_seconds=50.0)
    link = study.begin()
    replies = [study.answer(link, study.trial(link)["trial"], 1) for _ in range(11)]
    assert [reply.status_code for reply in replies] == [200] * 10 + [429]
    assert len(study.rows("answers")) == 10
    last = f"{link}/last"
    assert study.codes(*[last] * 77) == [200] * 77
    waits = [reply.headers["Retry-After"] for reply in (replies[-1], study.get(last))]
    assert waits == ["50", "5"]
    other = study.begin("p2")
    assert study.answer(other, study.trial(other)["trial"], 1).status_code == 200


def test_the_end_has_a_code_and_a_way_back(serve_study):
    """After the last trial, and not before, the reply has a code, and the return
    address with the id; a change of the last answer changes neither.
    """
    address = "https://example.org/done?id={id}&code={code}"
    study = serve_study(per_person=3, return_url=address, open=True)
    link = study.visit("?PROLIFIC_PID=ab.1@x")
    study.consents(link)
    study.answer_trials(link, limit=2)
    (person,) = study.rows("people")
    assert (person["code"], person["finished"]) == (None, None)
    (number,) = study.answer_trials(link)
    end = study.trial(link)
    people = study.rows("people")
    code = people[0]["code"]
    assert end["return_url"] == f"https://example.org/done?id=ab.1%40x&code={code}"
    assert (end["code"], len(code)) == (code, 8)
    assert people[0]["finished"] >= people[0]["consented"]
    assert study.answer(link, number, 2, undo=True).status_code == 200
    assert (study.trial(link), study.rows("people")) == (end, people)


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
    reply = study.get(images[min(numbers)])
    assert reply.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(reply.content)).size == (12, 8)
    for path in NO_PATHS.format(link=link).split():
        reply = study.get(path, headers={"Host": "evil.example"})
        assert (reply.status_code, "location" in reply.headers) == (404, False), path


def test_every_reply_keeps_the_page_to_itself(serve_study):
    """Every reply forbids other sites, sniffing, referrers that contain the link, and caches."""
    study = serve_study()
    link = study.begin()
    image = study.trial(link)["items"][0]["url"]
    owner = study.links["owner"]
    for path in (link, f"{link}/trial", image, "/r/wrong", "/nothing", owner, "/static/style.css"):
        headers = study.get(path).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src" in headers["content-security-policy"]
        assert not re.search(r"unsafe|https?:|\*", headers["content-security-policy"])
        assert "set-cookie" not in headers
        cached = "private, max-age=31536000, immutable" if path == image else "no-store"
        assert headers["cache-control"] == cached
    page = study.get("/r/wrong", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert study.get("/r/wrong").json() == {"error": "This link is not valid."}


def test_two_servers_of_one_study_ask_nothing_twice(serve_study):
    """Two processes on one database make trials that are balanced as those of one process."""
    study = serve_study(people=2, per_person=12, repeats=0.0, catch=0.0)
    other = serve_study(study=study.study)
    links = (study.begin("p1"), other.begin("p2"))
    for _ in range(12):
        study.answer_trials(links[0], limit=1)
        other.answer_trials(links[1], limit=1)
    images = Counter(row[column] for row in study.rows("trials") for column in "abc")
    assert images == dict.fromkeys(range(12), 6)
