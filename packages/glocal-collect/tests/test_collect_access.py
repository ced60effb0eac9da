"""Who may begin, continue and finish a study, across revocations, restarts and unreadable files."""

import itertools

import pytest
from fastapi.testclient import TestClient

from glocal.errors import ParameterError
from glocal_collect.limits import Limit, Refusal
from glocal_collect.tokens import OPEN, PERSON, Signer, Token

P1_AND_OWNER = [
    b"p1\nowner\n",
    b"# p2 stays\n\n P1 # asked us to\nowner#\n",
    b"\xef\xbb\xbfp1\r\nowner\r\n",  # as Notepad saves it
    b"owner\n\xef\xbb\xbfp1",  # two such files joined
    b"p1\nowner\np2 left the open study",  # no id
]


@pytest.mark.parametrize("text", P1_AND_OWNER)
def test_a_link_can_be_revoked(serve_study, text):
    """An id, open or owner in revoked.txt ends that link at once, and no other link."""
    study = serve_study(people=2)
    link = study.begin("p1")
    other = study.begin("p2")
    revoked = study.study.folder / "revoked.txt"
    revoked.write_bytes(text)
    for address in (link, f"{link}/trial", study.links["owner"]):
        assert study.get(address).status_code == 404
    assert study.post(f"{link}/consent").status_code == 404
    assert study.get(other).status_code == 200
    revoked.write_bytes(b"")
    assert study.get(link).status_code == 200


@pytest.mark.parametrize("line", ["Ann", "ann@site.org"])
def test_the_id_of_a_recruiting_site_can_be_revoked(serve_study, line):
    """A line that is the id of a person at a recruiting site ends their links, and no others."""
    study = serve_study(open=True)
    query = f"?PROLIFIC_PID={line.swapcase()}&SESSION_ID="
    first, second = (study.visit(f"{query}{session}") for session in ("s1", "s2"))
    other = study.visit("?id=anna")
    (study.study.folder / "revoked.txt").write_text(line)
    assert [study.get(link).status_code for link in (first, second, other)] == [404, 404, 200]
    assert study.get(study.links["open"]).status_code == 303


UNREADABLE = [
    ("revoked.txt", "p9\n".encode("utf-16")),  # as PowerShell writes it
    ("revoked.txt", "p9\n".encode("utf-16-le")),
    ("revoked.txt", b"p9 \xfc\n"),
    ("revoked.txt", None),
    ("consent.md", "für Menschen".encode("latin-1")),
    ("instructions.md", None),
]


@pytest.mark.parametrize(("name", "content"), UNREADABLE)
def test_a_text_that_cannot_be_read_closes_the_study(serve_study, name, content):
    """If a text cannot be read, all links reply 503, only the owner learns which file it is, and
    nobody sees data.
    """
    study = serve_study(people=2)
    link = study.begin("p1")
    trial = study.trial(link)
    file = study.study.folder / name
    before = file.read_bytes() if file.exists() else b""
    file.unlink(missing_ok=True)
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    replies = [
        study.get(link),
        study.get(f"{link}/trial"),
        study.get(trial["items"][0]["url"]),
        study.answer(link, trial["trial"], 1),
        study.post(study.links["people"]["p2"] + "/consent"),
    ]
    for reply in replies:
        assert reply.status_code == 503
        assert "again later" in reply.json()["error"]
        assert name not in reply.text
        assert "default-src" in reply.headers["content-security-policy"]
    owner = study.get(study.links["owner"])
    assert owner.status_code == 503
    assert name in owner.json()["error"]
    assert study.rows("answers") == []
    if content is None:
        file.rmdir()
    file.write_bytes(before)
    assert study.answer(link, trial["trial"], 1).status_code == 200


def test_a_study_out_of_reach_is_one_sentence(serve_study, tmp_path):
    """While the folder of a study is missing, people read that they may try again."""
    study = serve_study(per_person=5)
    link = study.begin()
    image = study.trial(link)["items"][0]["url"]
    study.study.folder.rename(tmp_path / "moved")
    for address in (link, image):
        reply = study.get(address)
        assert reply.status_code == 503, address
        assert "Try again" in reply.json()["error"]


def close_by_setting(study):
    study.restart(open=False)


def revoke_the_open_link(study):
    (study.study.folder / "revoked.txt").write_text("open\n")


@pytest.mark.parametrize("close", [close_by_setting, revoke_the_open_link])
def test_a_closed_study_takes_nobody_else(serve_study, close):
    """In a closed study, neither the open link nor a link that it gave out before begins, and
    people who have begun finish.

    Only a revocation ends the open link for people of a recruiting site who come back by it.
    """
    study = serve_study(open=True, per_person=3)
    open_link = study.links["open"]
    site = "?PROLIFIC_PID=abc&SESSION_ID=s1"
    begun = study.visit(site)
    unused = study.visit()
    study.post(f"{begun}/consent")
    study.answer_trials(begun, lambda names: 1, limit=1)
    assert study.get(unused).status_code == 200
    close(study)
    assert study.get(open_link).status_code in (404, 410)
    assert study.get(open_link + "?PROLIFIC_PID=new").status_code in (303, 404)
    for reply in (study.get(unused), study.post(f"{unused}/consent")):
        assert reply.status_code == 410
        assert "no new" in reply.json()["error"]
    assert study.get(f"{unused}/trial").status_code == 403
    assert len(study.rows("people")) == 1
    back = study.get(open_link + site)
    if close is close_by_setting:
        assert "/r/" + back.headers["location"] == begun
    else:
        assert back.status_code == 404
    assert study.get(begun).status_code == 200
    study.answer_trials(begun, lambda names: 1)
    assert study.trial(begun)["code"] is not None
    assert study.links["people"] == {}
    assert (study.links["open"] is None) == (close is close_by_setting)


# settings at first and after the restart; the end of a person with two answers: the number of
# trials, 0 if more are to come, or the status; and the status of a newcomer's consent
RESTARTS = [
    pytest.param({}, {"people": 1}, 0, 410, id="fewer personal links"),
    pytest.param({}, {"people": 5}, 0, 200, id="more personal links"),
    pytest.param({}, {"per_person": 2}, 2, 200, id="as many trials as answers"),
    pytest.param({}, {"per_person": 1}, 2, 200, id="fewer trials than answers"),
    pytest.param({}, {"per_person": 9}, 0, 200, id="more trials"),
    pytest.param({}, {"open": True}, 0, 200, id="opened"),
    pytest.param({}, {"open": True, "people": 1}, 0, 429, id="opened and full"),
    pytest.param({}, {"open": False}, 0, 410, id="personal links closed"),
    pytest.param({}, {"days": 1e-9}, 410, 410, id="ended"),
    pytest.param({"open": True}, {"open": False}, 0, 410, id="open link closed"),
    pytest.param({"open": True}, {"people": 1}, 0, 429, id="full"),
    pytest.param({"open": True}, {"people": 2}, 0, 200, id="one more"),
    pytest.param({"open": True}, {"per_person": 2}, 2, 200, id="open, fewer trials"),
]


@pytest.mark.parametrize(("first", "then", "end", "newcomer"), RESTARTS)
def test_settings_hold_after_a_restart(serve_study, first, then, end, newcomer):
    """After a restart with other settings, people who have begun continue or are done, and
    newcomers begin only if the settings allow it.
    """
    study = serve_study(**{"people": 3, "per_person": 6, **first})
    if study.study.settings.open:
        link = study.visit()
        unused = study.visit()
        assert study.post(f"{link}/consent").status_code == 200
    else:
        link = study.begin("p1")
        unused = study.links["people"]["p2"]
    study.answer_trials(link, lambda names: 1, limit=2)
    waiting = study.trial(link)["trial"]
    study.restart(**then)
    reply = study.get(f"{link}/trial")
    if end == 410:
        assert reply.status_code == 410
    elif end:
        code = reply.json()["code"]
        assert len(code) == 8
        assert reply.json() == {
            "trial": None,
            "done": end,
            "of": end,
            "code": code,
            "return_url": None,
        }
        last = study.get(f"{link}/last").json()
        assert last["done"] < last["of"] == 2
        assert study.answer(link, waiting, 1).status_code == 409
        assert len(study.rows("answers")) == 2
        (person,) = study.rows("people")
        assert person["code"] == code
        assert person["finished"] is not None
    else:
        assert reply.json()["trial"] == waiting
        assert reply.json()["of"] == study.study.settings.per_person
    assert study.get(unused).status_code == newcomer
    assert study.post(f"{unused}/consent").status_code == newcomer
    assert len(study.rows("people")) == (2 if newcomer == 200 else 1)


def test_links_that_nobody_used_do_not_count(serve_study):
    """After a trial run with personal links, the open link lets in as many people as its limit."""
    study = serve_study(people=2)
    study.restart(open=True)
    links = [study.visit() for _ in range(3)]
    statuses = [study.post(f"{link}/consent").status_code for link in links]
    assert statuses == [200, 200, 429]


def test_one_link_for_all_makes_a_person_of_each_who_consents(serve_study):
    """The open link leads each visitor to a link of their own, and only consent makes a visitor a
    person of the study.
    """
    study = serve_study(open=True, people=2)
    assert study.links["people"] == {}
    links = [study.visit() for _ in range(3)]
    assert len(set(links)) == 3
    assert study.get(links[0]).status_code == 200
    assert study.rows("people") == []
    statuses = [study.post(f"{link}/consent").status_code for link in links]
    assert statuses == [200, 200, 429]
    assert study.get(links[2]).status_code == 429
    assert study.get(f"{links[2]}/trial").status_code == 403


def test_a_study_with_personal_links_has_no_others(serve_study):
    """Without an open link, its token opens nothing, and no other id can begin, even if
    it is signed.
    """
    study = serve_study(people=2)
    signer = Signer(study.study.key)
    for person in ("o123", "p0", "p3", "p01", "P1", "", "1"):
        link = f"/r/{signer.sign(Token(PERSON, person))}"
        assert study.post(f"{link}/consent").status_code == 410, person
        assert study.get(link).status_code == 410, person
    assert study.get(f"/r/{signer.sign(Token(OPEN))}").status_code == 404
    assert study.rows("people") == []


def test_a_recruited_person_who_closes_the_tab_comes_back_in(serve_study):
    """The address of a recruiting site always leads to the same person, who continues at the same
    trial.
    """
    study = serve_study(open=True)
    query = "?PROLIFIC_PID=ab.1@x&SESSION_ID=s1"
    link = study.visit(query)
    study.post(f"{link}/consent")
    study.answer_trials(link, lambda names: 1, limit=3)
    assert study.visit(query) == link
    assert study.get(study.visit(query)).status_code == 200
    assert study.post(f"{link}/consent").status_code == 200
    assert study.trial(link)["done"] == 3
    (row,) = study.rows("people")
    assert row["name"] == "ab.1@x"


def test_opened_counts_openings(serve_study):
    """Each opening of a page counts, also before the consent, but not if the page is refused."""
    study = serve_study(people=2)
    link = study.links["people"]["p1"]
    study.get(link)
    study.begin("p1")
    study.get(link)
    assert study.rows("openings") == [{"link": "p1", "count": 2}]
    study.restart(open=True, people=2)
    links = [study.visit() for _ in range(3)]
    for link in links:
        study.get(link)
    statuses = [study.post(f"{link}/consent").status_code for link in links]
    assert statuses == [200, 429, 429]
    assert study.get(links[1]).status_code == 429
    study.get(links[0])
    counts = {row["link"]: row["count"] for row in study.rows("openings")}
    person = study.rows("people")[1]["id"]
    assert counts == {"p1": 2, "open": 3, person: 2}


RETURN = "https://app.prolific.com/submissions/complete?cc={code}"


def test_everybody_gets_the_code_of_the_study(serve_study):
    """If the study has a code, the last page shows and returns it; people who had finished before
    keep their own, which the owner looks up.
    """
    study = serve_study(open=True, per_person=1, return_url="https://a.test/?c={code}&i={id}")
    early = study.visit("?id=ann&session=s1")
    study.post(f"{early}/consent")
    study.answer_trials(early, lambda names: 1)
    own_code = study.trial(early)["code"]
    assert study.trial(early)["return_url"] == f"https://a.test/?c={own_code}&i=ann"
    study.restart(code="C1ABC23", return_url=RETURN)
    late = study.visit("?PROLIFIC_PID=bob&SESSION_ID=s2")
    study.post(f"{late}/consent")
    study.answer_trials(late, lambda names: 1)
    for link, code in ((early, own_code), (late, "C1ABC23")):
        end = study.trial(link)
        assert end["code"] == code
        assert end["return_url"] == RETURN.replace("{code}", code)
    codes = {row["name"]: row["code"] for row in study.rows("people")}
    assert codes == {"ann": own_code, "bob": "C1ABC23"}
    assert own_code != "C1ABC23"


def test_a_return_to_prolific_needs_its_code(serve_study):
    """The address of Prolific with a different code for each person is refused, with the option to
    pass.
    """
    with pytest.raises(ParameterError, match="code=C1ABC23"):
        serve_study(open=True, return_url=RETURN)
    with pytest.raises(ParameterError, match="code"):
        serve_study(open=True, code="two words")


def test_an_id_cannot_be_taken_over(serve_study):
    """A visitor with a known id in another session is refused and counted."""
    study = serve_study(open=True)
    first, thief, nobody = (
        study.visit(f"?PROLIFIC_PID=abc{session}")
        for session in ("&SESSION_ID=s1", "&SESSION_ID=s2", "")
    )
    assert len({first, thief, nobody}) == 3
    statuses = [study.post(f"{link}/consent").status_code for link in (first, thief, nobody)]
    assert statuses == [200, 409, 409]
    assert study.get(thief).status_code == 409
    assert study.get(f"{thief}/trial").status_code == 403
    (row,) = study.rows("people")
    assert row["contested"] == 3
    assert ">3</td>" in study.get(study.links["owner"]).text
    assert study.get(study.links["open"] + "?PROLIFIC_PID=<script>").status_code == 400
    assert study.get(study.links["open"] + f"?PROLIFIC_PID={'x' * 65}").status_code == 400


def test_consents_are_limited_for_the_study_as_a_whole(serve_study):
    """Only a limited number of new people can begin per minute by the open link, and those who have
    begun, or have a link of their own, do not count.
    """
    study = serve_study(open=True, people=4, max_starts_per_minute=3)
    links = [study.visit() for _ in range(5)]
    replies = [study.post(f"{link}/consent") for link in links]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert 0 < int(replies[-1].headers["Retry-After"]) <= 40
    assert study.post(f"{links[0]}/consent").status_code == 200
    assert len(study.rows("people")) == 3
    study = serve_study(people=2, test_links=1, max_starts_per_minute=1)
    for link in (*study.links["people"].values(), *study.links["test"].values()):
        assert study.post(f"{link}/consent").status_code == 200


def test_a_limit_lets_a_burst_pass_and_then_one_after_another():
    """A limit lets `burst` requests of a key pass at once, and then one every `seconds`."""
    now = itertools.count(0.0, 0.0)
    limit = Limit(1.0, 1, lambda: next(now))
    limit.check("a")
    with pytest.raises(Refusal) as refusal:
        limit.check("a")
    assert (refusal.value.status_code, refusal.value.headers) == (429, {"Retry-After": "1"})
    limit.check("b")
    times = iter([0.0, 0.0, 0.5, 1.0, 1.5])
    limit = Limit(1.0, 2, lambda: next(times))
    limit.check("a")
    limit.check("a")
    for passes in (False, True, False):
        if passes:
            limit.check("a")
        else:
            with pytest.raises(Refusal):
                limit.check("a")


def test_a_flood_of_keys_does_not_reset_a_limit(monkeypatch):
    """Above the largest number of keys, the least recently used is forgotten, not the newest."""
    monkeypatch.setattr("glocal_collect.limits._MAX_KEYS", 2)
    limit = Limit(1.0, 1, lambda: 0.0)
    for key in ("a", "b", "c"):
        limit.check(key)
    with pytest.raises(Refusal):
        limit.check("c")
    limit.check("a")


def test_an_unforeseen_error_has_the_headers_of_every_reply(serve_study, monkeypatch):
    """A reply of 500 has the security headers too, and says nothing about the error."""
    study = serve_study()
    monkeypatch.setattr("glocal_collect.pages.person_page", lambda *_, **__: 1 / 0)
    client = TestClient(study.client.app, raise_server_exceptions=False)
    reply = client.get(study.links["people"]["p1"])
    assert reply.status_code == 500
    assert "division" not in reply.text
    assert reply.headers["referrer-policy"] == "no-referrer"
