"""Studies over HTTP: what a person may do, what is kept, and what nobody gets who does not have the link."""

import io
import json

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from glocal.errors import FileError
from glocal_collect.app import create_app
from glocal_collect.db import Database
from glocal_collect.settings import Settings
from glocal_collect.study import create, open_study
from glocal_collect.tokens import OPEN, PERSON, Signer, Token


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


def test_an_answer_is_kept_once_and_only_the_last_one_can_be_changed(served):
    """The same answer again is 200 and changes nothing, another one 409; undo replaces the last choice, no earlier."""
    study = served()
    me = study.begun()
    assert study.get(f"{me}/last").json() == {"trial": None}
    first, last = study.answered(me, lambda names: 2, most=2)
    before = study.rows("answers")
    assert study.answer(me, last, 2, seconds=9).status_code == 200
    assert [study.answer(me, last, other).status_code for other in (0, 1, None)] == [409, 409, 409]
    assert study.rows("answers") == before
    assert study.answer(me, last, None, undo=True).status_code == 200
    assert study.answer(me, first, 1, undo=True).status_code == 409
    told = study.get(f"{me}/last").json()
    assert (told["trial"], told["choice"], len(told["items"])) == (last, None, 3)
    assert [(row["choice"], row["changed"] is None) for row in study.rows("answers")] == [(2, True), (None, False)]


BODIES = [
    b"", b"[]", b"{}", b'{"choice": 1}', b'{"seconds": 1}', b'{"choice": 3, "seconds": 1}',
    b'{"choice": -1, "seconds": 1}', b'{"choice": true, "seconds": 1}', b'{"choice": "1", "seconds": 1}',
    b'{"choice": 1.5, "seconds": 1}', b'{"choice": 1, "seconds": -1}', b'{"choice": 1, "seconds": NaN}',
    b'{"choice": 1, "seconds": 1e9}', b'{"choice": 1, "seconds": 1, "x": 1}', b"\xff\xfe", b"[" * 1900,
]  # fmt: skip


def test_a_body_that_is_not_an_answer_is_refused(served):
    """Whatever else is sent is 422, a long body 413, the reference of an anchor trial 422, and nothing is kept."""
    study = served(kind="anchor")
    me = study.begun()
    number = study.trial(me)["trial"]
    for body in [*BODIES, b'{"choice": 0, "seconds": 1}']:
        reply = study.post(f"{me}/trial/{number}", content=body)
        assert reply.status_code == 422, body
        assert "choice" in reply.json()["error"]
    assert study.post(f"{me}/trial/1", content=b" " * 2001).status_code == 413
    assert study.rows("answers") == []


def test_a_trial_that_is_not_ones_turn_or_not_ones_own_is_unknown(served):
    """Trials made ahead, of others, or never made are 404 for a person, and nothing is kept."""
    study = served(people=2)
    me, other = study.begun("p1"), study.begun("p2")
    mine, theirs = study.trial(me)["trial"], study.trial(other)["trial"]
    ahead = max(row["id"] for row in study.rows("trials") if row["person"] == "p1")
    for number in (theirs, ahead, 0, 10**6, "x", "-1", "1e0", "٣", "9" * 30):
        assert study.answer(me, number, 1).status_code == 404, number
    assert study.rows("answers") == []
    assert study.answer(me, mine, 1).status_code == 200
    assert study.answer(other, mine, 1).status_code == 404
    assert study.get(f"{other}/last").json() == {"trial": None}


ROUTES = [
    ("GET", "/r/{}"), ("POST", "/r/{}/consent"), ("GET", "/r/{}/trial"), ("POST", "/r/{}/trial/1"),
    ("GET", "/r/{}/last"), ("GET", "/r/{}/image/0"), ("GET", "/o/{}"),
]  # fmt: skip
ANSWER = {"choice": 1, "seconds": 1}


def test_a_token_that_the_study_did_not_sign_opens_nothing(served):
    """A changed, foreign or guessed token, or one for another role, is 404 everywhere."""
    study = served(people=2)
    me = study.begun()
    study.answered(me, lambda names: 1, most=1)
    before = [study.rows(table) for table in ("people", "trials", "answers")]
    signer = Signer(study.study.key)
    tokens = {"r": me.rsplit("/", 1)[1], "o": study.links["owner"].rsplit("/", 1)[1]}
    foreign = Signer("0" * 64).sign(Token(PERSON, "p1"))
    unsigned = signer.sign(Token(PERSON, "p2")).rsplit(".", 1)[0]
    for method, path in ROUTES:
        kind, other = path[1], {"r": "o", "o": "r"}[path[1]]
        body, signature = tokens[kind].rsplit(".", 1)
        changed = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
        wrong = [f"{body}.{changed}", f"{unsigned}.{signature}", body, signature, tokens[other], foreign]
        for token in [*wrong, "p1", "x" * 5000, "%00", "..%2f..", "WyJwIl0."]:
            reply = study.client.request(method, path.format(token), json=ANSWER)
            assert reply.status_code == 404, (method, path, token)
    assert [study.rows(table) for table in ("people", "trials", "answers")] == before


def test_shortening_the_days_of_a_study_ends_its_links(served):
    """Links have no end of their own: with fewer days the same links are 410, with more they open again."""
    study = served()
    me, owner, now = study.begun(), study.links["owner"], study.study
    for days, status in ((1e-9, 410), (90.0, 200)):
        now = now.changed(Settings(fastest=0.0, days=days))
        client = TestClient(create_app(now, study.database))
        assert [client.get(link).status_code for link in (me, f"{me}/trial", owner)] == [status] * 3
        assert open_study(study.study.folder).settings.days == days


def test_a_link_can_be_revoked(served):
    """An id, open or owner on a line of revoked.txt ends that link at once, and no other."""
    study = served(people=2)
    me, other = study.begun("p1"), study.begun("p2")
    revoked = study.study.folder / "revoked.txt"
    revoked.write_text("p1\nowner\n")
    assert [study.get(link).status_code for link in (me, f"{me}/trial", study.links["owner"])] == [404] * 3
    assert study.get(other).status_code == 200
    revoked.unlink()
    assert study.get(me).status_code == 200
    public = served(open=True)
    (public.study.folder / "revoked.txt").write_text("open\n")
    assert public.get(public.links["open"]).status_code == 404


def test_a_recruited_person_who_closes_the_tab_comes_back_in(served):
    """The address of a recruiting site leads to the same person again, who goes on where they stopped."""
    study = served(open=True)
    query = "?PROLIFIC_PID=ab.1@x&SESSION_ID=s1"
    me = study.came(query)
    study.post(f"{me}/consent")
    study.answered(me, lambda names: 1, most=3)
    assert study.came(query) == me
    assert study.get(study.came(query)).status_code == 200
    assert study.post(f"{me}/consent").status_code == 200
    assert study.trial(me)["done"] == 3
    (row,) = study.rows("people")
    assert (row["name"], row["opened"]) == ("ab.1@x", 1)


def test_an_id_cannot_be_taken_over(served):
    """Whoever comes with a known id and another session is refused, is not let in as that person, and is counted."""
    study = served(open=True)
    me, thief, nobody = (study.came(f"?PROLIFIC_PID=abc{more}") for more in ("&SESSION_ID=s1", "&SESSION_ID=s2", ""))
    assert len({me, thief, nobody}) == 3
    assert [study.post(f"{one}/consent").status_code for one in (me, thief, nobody)] == [200, 409, 409]
    assert study.get(f"{thief}/trial").status_code == 403
    (row,) = study.rows("people")
    assert row["contested"] == 2
    assert ">2</td>" in study.get(study.links["owner"]).text
    assert study.get(study.links["open"] + "?PROLIFIC_PID=<script>").status_code == 400
    assert study.get(study.links["open"] + f"?PROLIFIC_PID={'x' * 65}").status_code == 400


def test_consents_are_limited_for_the_study_as_a_whole(served):
    """However many new people come by the open link, only so many begin in a minute; who has begun is not refused."""
    study = served(open=True, begin_per_minute=3)
    mine = [study.came() for _ in range(5)]
    replies = [study.post(f"{me}/consent") for me in mine]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert 0 < int(replies[-1].headers["Retry-After"]) <= 40
    assert study.post(f"{mine[0]}/consent").status_code == 200
    assert len(study.rows("people")) == 3


def test_one_link_for_all_makes_a_person_of_each_who_consents(served):
    """The open link leads to a link of one's own; only consent makes a person; the number of people is kept."""
    study = served(open=True, people=2)
    assert study.links["people"] == {}
    mine = [study.came() for _ in range(3)]
    assert len(set(mine)) == 3
    assert study.get(mine[0]).status_code == 200
    assert study.rows("people") == []
    assert [study.post(f"{me}/consent").status_code for me in mine] == [200, 200, 429]
    assert study.get(f"{mine[2]}/trial").status_code == 403
    closed = served()
    stranger = Signer(closed.study.key).sign(Token(PERSON, "o123"))
    assert closed.post(f"/r/{stranger}/consent").status_code == 404
    assert closed.get(f"/r/{Signer(closed.study.key).sign(Token(OPEN))}").status_code == 404


def test_answers_that_come_too_fast_have_to_wait(served):
    """After ten answers at once the next is 429 with Retry-After, and is not kept; others are not slowed down."""
    study = served(people=2, fastest=50.0)
    me = study.begun()
    study.answered(me, lambda names: 1, most=10)
    reply = study.answer(me, study.trial(me)["trial"], 1)
    assert reply.status_code == 429
    assert 0 < int(reply.headers["Retry-After"]) <= 50
    assert len(study.rows("answers")) == 10
    study.answered(study.begun("p2"), lambda names: 1, most=1)


def test_the_end_has_a_code_and_a_way_back(served):
    """After the last trial there is a completion code, always the same, and the address with the person's id."""
    study = served(per_person=3, return_url="https://example.org/done?id={id}&code={code}", open=True)
    me = study.came("?PROLIFIC_PID=ab.1@x")
    study.post(f"{me}/consent")
    numbers = study.answered(me, lambda names: 0)
    end = study.trial(me)
    code = end["code"]
    assert end == {
        "trial": None, "done": 3, "of": 3, "code": code, "return_url": f"https://example.org/done?id=ab.1%40x&code={code}"
    }  # fmt: skip
    assert len(code) == 8
    assert study.answer(me, numbers[-1], 1, undo=True).status_code == 200
    assert study.trial(me) == end
    (row,) = study.rows("people")
    assert (row["code"], row["finished"] is not None) == (code, True)


def test_images_are_those_of_a_persons_own_trials(served):
    """Before the consent there is no image; afterwards those of the trials that were made, and no path finds others."""
    study = served(people=2)
    me = study.links["people"]["p1"]
    assert [study.get(f"{me}/image/{number}").status_code for number in range(12)] == [404] * 12
    study.begun()
    mine = {number for row in study.rows("trials") for number in (row["a"], row["b"], row["c"])}
    assert 3 <= len(mine) < 12
    for number in range(12):
        assert study.get(f"{me}/image/{number}").status_code == (200 if number in mine else 404)
    reply = study.get(f"{me}/image/{min(mine)}")
    assert reply.headers["content-type"] == "image/jpeg"
    assert "immutable" in reply.headers["cache-control"]
    assert Image.open(io.BytesIO(reply.content)).size == (12, 8)
    for name in ("12", "-1", "0.5", "x", "..%2fsecret.json", "%2e%2e%2fstudy.json", "0%00", "9" * 40):
        assert study.get(f"{me}/image/{name}").status_code == 404, name
    for path in ("/static/..%2fpages.py", "/static/nothing.js", "/docs", "/openapi.json", "/", f"{me}/trial/"):
        reply = study.get(path, headers={"Host": "evil.example"})
        assert (reply.status_code, "location" in reply.headers) == (404, False), path


def test_images_are_shown_upright_small_and_without_what_the_file_tells_besides(tmp_path, served):
    """A photograph with EXIF comes turned, at most 640 pixels wide or high, and without its metadata."""
    exif = Image.Exif()
    exif[274], exif[305] = 6, "where it was taken"
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (1400, 700), (number, 0, 0)).save(tmp_path / "photos" / f"{number}.jpg", exif=exif)
    shown = (served(images=tmp_path / "photos").study.folder / "images" / "0.jpg").read_bytes()
    assert Image.open(io.BytesIO(shown)).size == (320, 640)
    assert b"where it was taken" not in shown


HOSTILE = ["<script>hurt()<", "' onerror='hurt()", '"><img src=x>', "{{ 7 * 7 }}", "a&b", "-1"]


def test_names_of_images_are_data(tmp_path, served, write_pictures):
    """Names that are markup are in no page, and stand in JSON as text; the addresses of images hold numbers."""
    names = [f"{name}.png" for name in HOSTILE]
    study = served(images=write_pictures(tmp_path / "hostile", names), per_person=9)
    me = study.begun()
    assert sorted(study.study.names) == sorted(names)
    items = study.trial(me)["items"]
    assert {item["name"] for item in items} <= set(names)
    assert all(item["url"].rsplit("/", 1)[1].isdigit() for item in items)
    pages = study.get(me).text + study.get(study.links["owner"]).text
    assert not [name for name in names if name in pages]


def test_images_that_cannot_be_shown_are_left_out_and_named(tmp_path, served, write_pictures):
    """Damaged images are left out with a reason, the others have numbers; fewer than three are no study."""
    folder = write_pictures(tmp_path / "mixed", ["a.png", "d.png", "e.png"])
    (folder / "empty.png").write_bytes(b"")
    study = served(images=folder).study
    assert (study.names, [name for name, _ in study.left_out]) == (("a.png", "d.png", "e.png"), ["empty.png"])
    assert open_study(study.folder).left_out == study.left_out
    (folder / "a.png").unlink()
    with pytest.raises(FileError, match="three"):
        create(tmp_path / "study", str(folder), Settings())


def test_every_reply_keeps_the_page_to_itself(served):
    """Pages, JSON, images and problems forbid other sites, sniffing, referrers with the link in them, and caches."""
    study = served()
    me = study.begun()
    image = study.trial(me)["items"][0]["url"]
    for path in (me, f"{me}/trial", image, "/r/wrong", "/nothing", study.links["owner"], "/static/style.css"):
        headers = study.get(path).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert not [sign for sign in ("unsafe", "http:", "https:", "*") if sign in policy]
        assert "default-src" in policy
        assert "set-cookie" not in headers
        assert headers["cache-control"].startswith(("no-store", "no-cache", "private"))
    page = study.get("/r/wrong", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert study.get("/r/wrong").json() == {"error": "This link is not valid."}


def test_the_key_is_for_the_owner_alone(served):
    """The key and the answers can be read by their owner only; study.json holds no secret."""
    study = served().study
    for name in ("secret.json", "answers.sqlite", "answers.sqlite-wal"):
        assert (study.folder / name).stat().st_mode & 0o077 == 0, name
    assert study.key not in (study.folder / "study.json").read_text()
    assert json.loads((study.folder / "secret.json").read_text())["key"] == study.key


def test_a_transaction_is_whole_or_undone(served):
    """Work that fails in the middle of its writes leaves nothing, and the next is not harmed; others read meanwhile."""
    study = served()

    def half(connection):
        connection.execute("INSERT INTO people (id) VALUES ('half')")
        assert len(study.rows("people")) == 1, "nobody sees what has not ended"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        study.database.write(half)
    study.database.write(lambda connection: connection.execute("INSERT INTO people (id) VALUES ('whole')"))
    assert [row["id"] for row in study.rows("people")] == ["p1", "whole"]


def test_two_servers_of_one_study_ask_nothing_twice(served):
    """Two processes on one database make trials that are balanced as those of one are."""
    study = served(people=2, per_person=12, repeats=0.0, catch=0.0)
    other = TestClient(create_app(study.study, Database(study.study.database)))
    for turn in range(12):
        for person, client in (("p1", study.client), ("p2", other)):
            me = study.links["people"][person]
            client.post(f"{me}/consent")
            trial = client.get(f"{me}/trial").json()
            assert trial["done"] == turn
            assert client.post(f"{me}/trial/{trial['trial']}", json=ANSWER).status_code == 200
    shown = [row[place] for row in study.rows("trials") for place in "abc"]
    assert {shown.count(image) for image in range(12)} == {6}


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "pairs"}, {"catch": 0.9}, {"catch": 0.3, "repeats": 0.3}, {"return_url": "javascript:alert(1)"},
        {"people": 0}, {"people": 10**11}, {"per_person": 10**12}, {"fastest": float("inf")}, {"days": 0},
        {"days": float("nan")}, {"unknown": 1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings):
    """Each setting that cannot be is refused."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        Settings(**settings)


def test_a_study_out_of_reach_is_one_sentence(served, tmp_path):
    """Where a text cannot be read, or the folder was moved, people read that they may try again."""
    study = served(per_person=5)
    me = study.begun()
    (study.study.folder / "consent.md").write_bytes("für Menschen".encode("latin-1"))
    assert study.get(me).status_code == 503
    image = study.trial(me)["items"][0]["url"]
    study.study.folder.rename(tmp_path / "moved")
    for address in (me, image):
        found = study.get(address)
        assert found.status_code == 503, address
        assert "Try again" in found.json()["error"]


def test_a_study_is_continued_and_kind_and_seed_are_fixed(images, tmp_path):
    """What was made again after a kill has the same key; a folder that is none, or damaged, is refused."""
    made = create(tmp_path / "study", str(images), Settings())
    (tmp_path / "study" / "study.json").unlink()
    again = create(tmp_path / "study", str(images), Settings())
    assert again.key == made.key
    assert open_study(tmp_path / "study").names == made.names
    for changed in ({"kind": "anchor"}, {"seed": 1}):
        with pytest.raises(ValueError, match=next(iter(changed))):
            made.changed(Settings(**changed))
    (tmp_path / "study" / "study.json").write_text('{"made": 1}')
    for folder in (tmp_path / "study", tmp_path):
        with pytest.raises(FileError, match="study"):
            open_study(folder)
