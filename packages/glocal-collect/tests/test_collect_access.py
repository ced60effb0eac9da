"""Who may begin, continue and finish a study, across restarts and unreadable files."""

import json
from functools import partial

import world

from glocal_collect.limits import Limit, Refusal
from glocal_collect.tokens import OPEN, PERSON, Signer, Token

UNREADABLE = [
    ("consent.md", b"f\xfcr Menschen"),
    ("instructions.md", None),
]


def test_a_text_that_cannot_be_read_closes_the_study(serve_study, tmp_path):
    """If a text cannot be read, all links reply 503, only the owner learns which file it is, and
    nobody sees data, nor if the folder of the study is missing.
    """
    study = serve_study(people=2)
    link = study.begin("p1")
    trial = study.trial(link)
    image = trial["items"][0]["url"]
    folder = study.folder
    for name, content in UNREADABLE:
        file = folder / name
        moved = file.rename(tmp_path / name)
        file.symlink_to(name) if content is None else file.write_bytes(content)
        replies = [*map(study.request, ("p1", "p1/trial", "p2/consent"))]
        for reply in (*replies, study.get(image), study.answer(link, trial["trial"], 1)):
            assert reply.status_code == 503
            assert "again later" in reply.text
            assert name not in reply.text
        owner = study.request("owner")
        assert owner.status_code == 503
        assert name in owner.json()["error"]
        moved.replace(file)
    assert study.rows("answers") == []
    assert study.answer(link, trial["trial"], 1).status_code == 200
    folder.rename(tmp_path / "moved")
    for reply in map(study.get, (link, image)):
        assert reply.status_code == 503
        assert "Try again" in reply.json()["error"]


def test_a_closed_study_takes_nobody_else(serve_study):
    """In a closed study neither the open link nor a link that it gave out before begins, and people
    who have begun finish.
    """
    study = serve_study(open=True, per_person=3)
    study.play("""
        begun = ?id=abc&session=s1
        unused =
        begun/consent -> 200
        restart open=false
        open open?id=new open?id=abc&session=s1 -> 410 303 303
        unused unused/trial unused/consent -> 410 403 410""")
    study.answer_trials(study.addresses["begun"])
    assert study.request("begun/trial").json()["done"] == 3
    assert study.links["people"] == {}


# settings at first and after the restart; the number of trials of a person with two answers, 0 if
# more are to come; and the status of a newcomer's consent
RESTARTS = """
fewer personal links        | {}             | {"people": 1}               | 0   | 410
more personal links         | {}             | {"people": 5}               | 0   | 200
as many trials as answers   | {}             | {"per_person": 2}           | 2   | 200
fewer trials than answers   | {}             | {"per_person": 1}           | 2   | 200
more trials                 | {}             | {"per_person": 9}           | 0   | 200
opened                      | {}             | {"open": true}              | 0   | 200
opened and full             | {}             | {"open": true, "people": 1} | 0   | 429
personal links closed       | {}             | {"open": false}             | 0   | 410
open link closed            | {"open": true} | {"open": false}             | 0   | 410
full                        | {"open": true} | {"people": 1}               | 0   | 429
one more                    | {"open": true} | {"people": 2}               | 0   | 200
open, fewer trials          | {"open": true} | {"per_person": 2}           | 2   | 200
"""


@world.table("what, first, then, end, newcomer", RESTARTS)
def test_settings_hold_after_a_restart(serve_study, what, first, then, end, newcomer):
    """After a restart with other settings, people who have begun continue or are done, and
    newcomers begin only if the settings allow it.
    """
    first, then, end, newcomer = map(json.loads, (first, then, end, newcomer))
    study = serve_study(**{"people": 3, "per_person": 6, **first})
    people = study.links["people"]
    link = study.begin("p1" if people else "")
    study.addresses["new"] = people.get("p2") or study.visit()
    study.answer_trials(link, limit=2)
    waiting = study.trial(link)["trial"]
    study.restart(**then)
    trial = study.trial(link)
    if end == 0:
        assert trial["trial"] == waiting
        assert trial["of"] == then.get("per_person", 6)
    else:
        (person,) = study.rows("people")
        assert person["code"] == trial.pop("code")
        assert person["finished"] is not None
        assert trial == {"trial": None, "done": 2, "of": 2, "return_url": None}
        assert study.get(f"{link}/last").json()["of"] == 2
        assert study.answer(link, waiting, 1).status_code == 409
        assert len(study.rows("answers")) == 2
    study.play(f"new new/consent -> {newcomer} {newcomer}")
    assert len(study.rows("people")) == (2 if newcomer == 200 else 1)


def test_one_link_for_all_makes_a_person_of_each_who_consents(serve_study):
    """The open link leads each visitor to a link of their own, only consent makes a visitor a
    person of the study, and personal links that nobody used do not count.
    """
    study = serve_study(people=2)
    study.play("""
        p1 -> 200
        restart open=true
        a =
        b =
        c =
        a b -> 200 200""")
    assert study.links["people"] == {}
    assert study.rows("people") == []
    study.play("""
        a/consent b/consent c/consent -> 200 200 429
        c c/trial a -> 429 403 200""")
    assert len(study.rows("people")) == 2


def test_a_study_with_personal_links_has_no_others(serve_study):
    """Without an open link, its token opens nothing, and no other id can begin, even if
    it is signed.
    """
    study = serve_study(people=2)
    sign = Signer(study.study.key).sign
    for person in ("o123", "p0", "p3", "p01", "P1", "", "1"):
        study.addresses["signed"] = f"/r/{sign(Token(PERSON, person))}"
        study.play("signed signed/consent -> 410 410")
    assert study.codes(f"/r/{sign(Token(OPEN))}") == [404]
    assert study.rows("people") == []


def test_the_id_of_a_person_leads_to_that_person_alone(serve_study):
    """The address of a recruiting site always leads to the same person, who continues at the same
    trial, and a visitor with their id in another session is refused.
    """
    study = serve_study(open=True)
    study.play("""
        ann = ?PROLIFIC_PID=ab.1@x&SESSION_ID=s1
        b = ?PROLIFIC_PID=ab.1@x&id=b
        none = ?PROLIFIC_PID=ab.1@x
        ann/consent b/consent none/consent -> 200 409 409""")
    study.answer_trials(study.addresses["ann"], limit=3)
    study.play(f"""
        again = ?PROLIFIC_PID=ab.1@x&SESSION_ID=s1
        again again/consent b b/trial -> 200 200 409 403
        open?id=<script> open?id={"x" * 65} -> 400 400""")
    assert study.addresses["again"] == study.addresses["ann"]
    assert study.trial(study.addresses["ann"])["done"] == 3
    (person,) = study.rows("people")
    assert person["name"] == "ab.1@x"


def test_consents_are_limited_for_the_study_as_a_whole(serve_study):
    """Only a limited number of new people can begin per minute by the open link, and those who have
    begun, or have a link of their own, do not count.
    """
    study = serve_study(open=True, people=4, max_starts_per_minute=3)
    study.play("""
        a =
        b =
        c =
        d =
        a/consent b/consent c/consent d/consent a/consent -> 200 200 200 429 200""")
    assert study.request("d/consent").headers["Retry-After"] == "20"
    study = serve_study(people=2, max_starts_per_minute=1)
    study.play("p1/consent p2/consent -> 200 200")


def test_a_limit_lets_a_burst_pass_and_then_one_after_another(monkeypatch):
    """A limit lets `burst` requests of a key pass at once, and then one every `seconds`; above the
    largest number of keys, the least recently used is forgotten, not the newest.
    """
    monkeypatch.setattr("glocal_collect.limits._MAX_KEYS", 2)
    limit = Limit(1.0, 2)

    def seconds_to_wait(key):
        try:
            limit.check(key)
        except Refusal as refusal:
            return refusal.headers["Retry-After"]
        return "0"

    for row in ("0 aaba 0001", "1 aa 01", "1.5 abcccaa 1000100"):
        now, keys, seconds = row.split()
        limit.clock = partial(float, now)
        assert "".join(map(seconds_to_wait, keys)) == seconds
