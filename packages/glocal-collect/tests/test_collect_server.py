"""Studies over HTTP: what a person may do, what is stored, and what nobody gets without a link."""

import io
import logging
import time

from fastapi.testclient import TestClient
from PIL import Image

from glocal_collect.app import create_app
from glocal_collect.db import Database
from glocal_collect.settings import Settings
from glocal_collect.study import open_study
from glocal_collect.tokens import PERSON, Signer, Token


def test_a_trial_stays_the_same_until_it_is_answered(serve_study):
    """A trial is the same at every request until it is answered, and comes with the next images to
    load ahead.
    """
    study = serve_study()
    link = study.links["people"]["p1"]
    assert study.get(f"{link}/trial").status_code == 403
    study.begin()
    first = study.trial(link)
    assert first == study.trial(link)
    assert first.keys() == {"trial", "kind", "items", "done", "of", "next"}
    assert (first["kind"], first["done"], first["of"]) == ("odd-one-out", 0, 200)
    assert len(first["items"]) == 3
    assert study.answer(link, first["trial"], 1).status_code == 200
    second = study.trial(link)
    assert second["trial"] != first["trial"]
    assert second["done"] == 1
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
    assert study.answer(link, last, 2, seconds=9).status_code == 200
    statuses = [study.answer(link, last, choice).status_code for choice in (0, 1, None)]
    assert statuses == [409, 409, 409]
    assert study.rows("answers") == before
    assert study.answer(link, last, None, undo=True).status_code == 200
    assert study.answer(link, first, 1, undo=True).status_code == 409
    trial = study.get(f"{link}/last").json()
    assert (trial["trial"], trial["choice"], len(trial["items"])) == (last, None, 3)
    answers = [(row["choice"], row["changed"] is None) for row in study.rows("answers")]
    assert answers == [(2, True), (None, False)]


BODIES = [
    b"",
    b"[]",
    b"{}",
    b'{"choice": 1}',
    b'{"seconds": 1}',
    b'{"choice": 3, "seconds": 1}',
    b'{"choice": -1, "seconds": 1}',
    b'{"choice": true, "seconds": 1}',
    b'{"choice": "1", "seconds": 1}',
    b'{"choice": 1.5, "seconds": 1}',
    b'{"choice": 1, "seconds": -1}',
    b'{"choice": 1, "seconds": NaN}',
    b'{"choice": 1, "seconds": 1e9}',
    b'{"choice": 1, "seconds": 1, "x": 1}',
    b'{"choice": 0, "seconds": 1}',  # 0 is the reference of an anchor trial
    b"\xff\xfe",
    b"[" * 1900,
]


def test_a_body_that_is_not_an_answer_is_refused(serve_study):
    """A body with other content is 422, a long one or one in chunks 413, and nothing is stored."""
    study = serve_study(kind="anchor")
    link = study.begin()
    number = study.trial(link)["trial"]
    for body in BODIES:
        reply = study.post(f"{link}/trial/{number}", content=body)
        assert reply.status_code == 422, body
        assert "choice" in reply.json()["error"]
    for body in (b" " * 2001, iter([b" "])):  # a long one, and one in chunks of no stated length
        assert study.post(f"{link}/trial/1", content=body).status_code == 413
    assert study.rows("answers") == []


def test_a_trial_of_another_turn_or_person_is_unknown(serve_study):
    """Trials that were made ahead, are of other people, or do not exist are 404, and nothing is
    stored.
    """
    study = serve_study(people=2)
    link = study.begin("p1")
    other = study.begin("p2")
    trial = study.trial(link)["trial"]
    trial_of_other = study.trial(other)["trial"]
    ahead = [row["id"] for row in study.rows("trials") if row["person"] == "p1"][1:]
    assert len(ahead) == 2
    for number in (trial_of_other, *ahead, 0, 10**6, "x", "-1", "1e0", "٣"):
        assert study.answer(link, number, 1).status_code == 404, number
    assert study.rows("answers") == []
    assert study.answer(link, trial, 1).status_code == 200
    assert study.answer(other, trial, 1).status_code == 404
    assert study.get(f"{other}/last").json() == {"trial": None}


def test_a_number_of_any_length_is_unknown(serve_study, caplog):
    """A number that no database can hold is 404, with a valid link or without, and
    nothing is logged.
    """
    study = serve_study()
    with caplog.at_level(logging.WARNING):
        for link in (study.begin(), "/r/nobody"):
            for number in (2**63 - 1, 2**63, "9" * 30, "9" * 5000):
                assert study.get(f"{link}/image/{number}").status_code == 404
                assert study.answer(link, number, 1).status_code == 404
    assert caplog.records == []


ROUTES = [
    ("GET", "/r/{}"),
    ("POST", "/r/{}/consent"),
    ("GET", "/r/{}/trial"),
    ("POST", "/r/{}/trial/1"),
    ("GET", "/r/{}/last"),
    ("GET", "/r/{}/image/0"),
    ("GET", "/o/{}"),
]
ANSWER = {"choice": 1, "seconds": 1}


def wrong_tokens(token, other_role, signer):
    """Changed, foreign and guessed tokens, and a token of another role."""
    body, signature = token.rsplit(".", 1)
    letter = "A" if signature[-2] != "A" else "B"
    changed_signature = f"{signature[:-2]}{letter}{signature[-1]}"
    other_body = signer.sign(Token(PERSON, "p2")).rsplit(".", 1)[0]
    foreign = [Signer(key).sign(Token(PERSON, "p1")) for key in ("0" * 64, "", "None")]
    guessed = ["p1", "x" * 5000, "%00", "..%2f..", "WyJwIl0."]
    changed = [f"{body}.{changed_signature}", f"{other_body}.{signature}", body, signature]
    return [*changed, other_role, *foreign, *guessed]


def test_a_token_that_the_study_did_not_sign_opens_nothing(serve_study):
    """A token that is changed, foreign, guessed, or for another role is 404 everywhere."""
    study = serve_study(people=2)
    link = study.begin()
    study.answer_trials(link, lambda names: 1, limit=1)
    before = [study.rows(table) for table in ("people", "trials", "answers")]
    person = link.rsplit("/", 1)[1]
    owner = study.links["owner"].rsplit("/", 1)[1]
    signer = Signer(study.study.key)
    wrong = {"r": wrong_tokens(person, owner, signer), "o": wrong_tokens(owner, person, signer)}
    for method, path in ROUTES:
        for token in wrong[path[1]]:
            reply = study.client.request(method, path.format(token), json=ANSWER)
            assert reply.status_code == 404, (method, path, token)
    assert [study.rows(table) for table in ("people", "trials", "answers")] == before


def test_shortening_the_days_of_a_study_ends_its_links(serve_study):
    """With fewer days the links are 410, and with more days they open again."""
    study = serve_study()
    link = study.begin()
    owner = study.links["owner"]
    for days, status in ((1e-9, 410), (90.0, 200)):
        study.restart(days=days)
        replies = [study.get(address) for address in (link, f"{link}/trial", owner)]
        assert [reply.status_code for reply in replies] == [status] * 3
        assert open_study(study.study.folder).settings.days == days


def test_the_days_of_a_study_count_from_its_start(serve_study, monkeypatch):
    """The links of a study of 90 days are open on day 89 and end before day 91."""
    study = serve_study()
    start = time.time()
    for day, status in ((89, 200), (91, 410)):
        monkeypatch.setattr("time.time", lambda day=day: start + 86_400 * day)
        assert study.get(study.links["people"]["p1"]).status_code == status


def test_answers_that_come_too_fast_have_to_wait(serve_study):
    """After ten answers at once, the next is 429 and not stored, and other people are
    not slowed down.
    """
    study = serve_study(people=2, min_seconds=50.0)
    link = study.begin()
    study.answer_trials(link, lambda names: 1, limit=10)
    reply = study.answer(link, study.trial(link)["trial"], 1)
    assert reply.status_code == 429
    assert 0 < int(reply.headers["Retry-After"]) <= 50
    assert len(study.rows("answers")) == 10
    study.answer_trials(study.begin("p2"), lambda names: 1, limit=1)


def test_requests_of_a_person_are_limited(serve_study):
    """After a hundred requests at once of a person, the next is 429, and others are not slowed
    down.
    """
    study = serve_study(people=2, min_seconds=50.0)
    link = study.begin("p1")
    statuses = {study.get(f"{link}/last").status_code for _ in range(99)}
    reply = study.get(f"{link}/last")
    assert (statuses, reply.status_code) == ({200}, 429)
    assert 0 < int(reply.headers["Retry-After"]) <= 5
    study.begin("p2")


def test_the_end_has_a_code_and_a_way_back(serve_study):
    """After the last trial, and not before, the reply has a code, and the return
    address with the id.
    """
    address = "https://example.org/done?id={id}&code={code}"
    study = serve_study(per_person=3, return_url=address, open=True)
    link = study.visit("?PROLIFIC_PID=ab.1@x")
    study.post(f"{link}/consent")
    study.answer_trials(link, lambda names: 0, limit=2)
    (person,) = study.rows("people")
    assert (person["code"], person["finished"]) == (None, None)
    (number,) = study.answer_trials(link, lambda names: 0)
    end = study.trial(link)
    code = end["code"]
    assert end == {
        "trial": None,
        "done": 3,
        "of": 3,
        "code": code,
        "return_url": f"https://example.org/done?id=ab.1%40x&code={code}",
    }
    assert len(code) == 8
    (person,) = study.rows("people")
    assert person["code"] == code
    assert person["finished"] >= person["consented"]
    assert study.answer(link, number, 1, undo=True).status_code == 200
    assert study.trial(link) == end
    assert study.rows("people") == [person]


def test_images_are_those_of_a_persons_own_trials(serve_study):
    """A person gets no image before the consent, and afterwards only those of their own trials."""
    study = serve_study(people=2, seed=3)
    for link in study.links["people"].values():
        assert {study.get(f"{link}/image/{number}").status_code for number in range(12)} == {404}
    for person in ("p2", "p1"):
        study.begin(person)
    for person in ("p2", "p1"):
        link = study.links["people"][person]
        trials = [row for row in study.rows("trials") if row["person"] == person]
        numbers = {row[column] for row in trials for column in "abc"}
        assert 3 <= len(numbers) < 12
        for number in range(12):
            status = study.get(f"{link}/image/{number}").status_code
            assert status == (200 if number in numbers else 404)
    reply = study.get(f"{link}/image/{min(numbers)}")
    assert reply.headers["content-type"] == "image/jpeg"
    assert "immutable" in reply.headers["cache-control"]
    assert Image.open(io.BytesIO(reply.content)).size == (12, 8)
    for name in ("12", "-1", "0.5", "x", "..%2fsecret.json", "%2e%2e%2fstudy.json", "0%00"):
        assert study.get(f"{link}/image/{name}").status_code == 404, name
    elsewhere = ["/static/..%2fpages.py", "/static/nothing.js", "/docs", "/openapi.json", "/"]
    for path in [*elsewhere, f"{link}/trial/"]:
        reply = study.get(path, headers={"Host": "evil.example"})
        assert (reply.status_code, "location" in reply.headers) == (404, False), path


HOSTILE = ["<script>hurt()<", "' onerror='hurt()", '"><img src=x>', "{{ 7 * 7 }}", "a&b", "-1"]


def test_names_of_images_are_data(tmp_path, serve_study, write_pictures):
    """Names that are markup are not in a page and are text in JSON, and addresses have numbers."""
    names = [f"{name}.png" for name in HOSTILE]
    study = serve_study(images=write_pictures(tmp_path / "hostile", names), per_person=9)
    link = study.begin()
    assert sorted(study.study.names) == sorted(names)
    items = study.trial(link)["items"]
    assert {item["name"] for item in items} <= set(names)
    assert all(item["url"].rsplit("/", 1)[1].isdigit() for item in items)
    pages = study.get(link).text + study.get(study.links["owner"]).text
    assert not [name for name in names if name in pages]


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
        policy = headers["content-security-policy"]
        assert not [source for source in ("unsafe", "http:", "https:", "*") if source in policy]
        assert "default-src" in policy
        assert "set-cookie" not in headers
        is_image = path == image
        cached = "private, max-age=31536000, immutable" if is_image else "no-store"
        assert headers["cache-control"] == cached
    page = study.get("/r/wrong", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert study.get("/r/wrong").json() == {"error": "This link is not valid."}


def test_two_servers_of_one_study_ask_nothing_twice(serve_study):
    """Two processes on one database make trials that are balanced as those of one process."""
    study = serve_study(people=2, per_person=12, repeats=0.0, catch=0.0)
    database = Database(study.study.database)
    other = TestClient(create_app(study.study, database))
    for turn in range(12):
        for person, client in (("p1", study.client), ("p2", other)):
            link = study.links["people"][person]
            client.post(f"{link}/consent")
            trial = client.get(f"{link}/trial").json()
            assert trial["done"] == turn
            reply = client.post(f"{link}/trial/{trial['trial']}", json=ANSWER)
            assert reply.status_code == 200
    database.close()
    images = [row[column] for row in study.rows("trials") for column in "abc"]
    assert {images.count(image) for image in range(12)} == {6}


def test_settings_of_another_study_are_no_settings_of_this_one(serve_study):
    """A restart writes the changed settings and nothing else."""
    study = serve_study(people=2, title="Which look alike?")
    study.restart(per_person=7)
    settings = Settings(min_seconds=0.0, people=2, title="Which look alike?", per_person=7)
    assert open_study(study.study.folder).settings == settings
