"""The pages of a study: their markup, and what a person meets in a browser."""

import re
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("markdown_it")

from glocal.collect.pages import default_consent, default_instructions, owner_page, person_page, problem_page
from glocal.collect.pages import static_file as static

pytestmark = pytest.mark.nightly

HOSTILE = "<script>hurt()</script>\"'><img src=x onerror=hurt()>"


def page(**changed) -> str:
    given = {"title": "T", "kind": "odd-one-out", "consent": "# Yes?", "instructions": "Look.", "consented": False}
    return person_page(**given | changed)


def test_markdown_of_a_study_becomes_markup_and_html_in_it_text():
    """Headings, emphasis and links are markup one level below the title; HTML, scripts and foreign images are not."""
    written = (
        f"# Head\n\n**bold** [here](https://a.test) [bad](javascript:hurt())\n\n{HOSTILE}\n\n![p](https://b.test/x.png)"
    )
    for made in (page(consent=written), page(instructions=written)):
        assert "<h2>Head</h2>" in made
        assert '<strong>bold</strong> <a href="https://a.test">here</a>' in made
        assert "<script>hurt" not in made
        assert 'href="javascript' not in made
        assert "<img src=" not in made


def test_a_title_is_text():
    """What is given as a title or a sentence is never markup."""
    for made in (page(title=HOSTILE), owner_page(title=HOSTILE), problem_page(HOSTILE)):
        assert "<script>hurt" not in made
        assert "&lt;script&gt;hurt" in made


def test_pages_hold_no_script_and_no_style_and_ask_only_their_server():
    """The strict policy finds nothing to stop: every address is relative, and nothing is inline."""
    for made in (page(), page(kind="anchor"), owner_page(title="T"), problem_page("No.")):
        assert re.findall(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=", made) == []
        for address in re.findall(r'(?:src|href)="([^"]+)"', made):
            assert address == "#" or static(address.removeprefix("../static/")), address


def test_static_files_are_served_by_name_alone():
    """A file of the pages has its media type; no other name, and no path, finds anything."""
    assert static("person.js")[1] == "text/javascript"
    assert static("style.css")[1] == "text/css"
    assert [static(name) for name in ("", ".", "..", "../page.py", "../templates/person.html", "no.js")] == [None] * 6


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_a_new_study_has_texts(kind):
    """The default texts of each kind name its question, and the page says what is stored."""
    made = page(kind=kind, consent=default_consent(), instructions=default_instructions(kind))
    assert "What is stored" in made
    assert ("reference" in default_instructions(kind)) == (kind == "anchor")
    assert made.count("aria-keyshortcuts") == (5 if kind == "anchor" else 6)
    assert "recruiting site" in page(participant=True)
    assert "recruiting site" not in made


# ---- in a browser

NASTY = '"><img src=x onerror=hurt=1>.png'
SOURCES = "(all) => all.map((image) => image.src)"
SHAPES = ("ellipse", "rectangle")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 600}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight drawings, one with a name that is markup."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("images")
    for number in range(8):
        image = Image.new("RGB", (160, 120 + 10 * number), "white")
        draw = ImageDraw.Draw(image)
        getattr(draw, SHAPES[number % 2])((20, 20, 140, 100), fill=("#0072b2", "#d55e00", "#009e73")[number % 3])
        image.save(folder / (NASTY if number == 7 else f"shape-{number}.png"))
    return folder


@pytest.fixture
def serve(images, tmp_path):
    """Serve a study on a port of this machine: its links, the study, and its answers so far."""
    uvicorn = pytest.importorskip("uvicorn")
    from glocal.collect.database import open_database
    from glocal.collect.export import collected
    from glocal.collect.links import links
    from glocal.collect.process import listen
    from glocal.collect.server import create_app
    from glocal.collect.settings import Settings
    from glocal.collect.study import create

    stopping = []

    def served(**settings):
        given = {"fastest": 0.0, "repeats": 0.0, "catch": 0.0, "title": "Which look alike?", **settings}
        study = create(tmp_path / "study", str(images), Settings(**given))
        engine = open_database(study)
        at = listen("127.0.0.1", 0)
        config = uvicorn.Config(create_app(study, engine), log_level="warning", access_log=False, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        thread.start()
        stopping.append((server, thread, engine, at))
        found = links(study, engine, f"http://127.0.0.1:{at.getsockname()[1]}")
        return SimpleNamespace(
            link=found["people"]["p1"], owner=found["owner"], study=study, answers=lambda: collected(study, engine)
        )

    yield served
    for server, thread, engine, at in stopping:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
        engine.dispose()
        at.close()


@pytest.fixture
def visit(browser):
    """Open an address; at the end no page has said anything to the console or asked another machine."""
    contexts = []

    def opened(url, *, expected=(), before=lambda tab: None, **options):
        context = browser.new_context(**{"viewport": DESK, **options})
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.said, tab.asked, tab.expected = [], [], expected
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        contexts.append((context, tab, url))
        before(tab)
        tab.goto(url)
        return tab

    yield opened
    for context, tab, url in contexts:
        home = "/".join(url.split("/")[:3]) + "/"
        assert [one for one in tab.asked if not one.startswith(home)] == []
        assert [one for one in tab.said if not any(word in one for word in tab.expected)] == []
        assert tab.evaluate("window.hurt") is None
        assert context.cookies() == []
        assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
        context.close()


def shown(tab, done: int) -> None:
    """Wait for the trial after so many answers."""
    tab.wait_for_selector(f'header:has-text("{done} of ") ~ main #images[aria-busy="false"]:visible')


def begin(tab) -> None:
    tab.click("#agree")
    tab.click("#go")
    shown(tab, 0)


def by_mouse(tab, selector: str) -> None:
    box = tab.locator(selector).bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def by_key(tab, selector: str) -> None:
    tab.keyboard.press(tab.locator(selector).get_attribute("aria-keyshortcuts") or "Enter")


def by_tap(tab, selector: str) -> None:
    tab.tap(selector)


@pytest.mark.parametrize(
    ("act", "options"),
    [
        pytest.param(by_mouse, {}, id="mouse"),
        pytest.param(by_key, {"reduced_motion": "reduce"}, id="keyboard"),
        pytest.param(by_tap, {"viewport": PHONE, "has_touch": True, "is_mobile": True}, id="phone"),
    ],
)
def test_a_person_answers_fifty_trials(serve, visit, act, options):
    """By mouse, by keyboard and on a phone all fifty choices are stored once, in order; a code ends them."""
    served = serve(per_person=50)
    tab = visit(served.link, **options)
    for button in ("#agree", "#go"):
        tab.wait_for_selector(f"{button}:visible")
        if act is by_key:
            tab.keyboard.press("Tab")
            assert tab.evaluate("document.activeElement.id") == button[1:]
        act(tab, button)
    planned = [(0, 1, -1, 2, 1, 0, 2, -1, 1, 2)[number % 10] for number in range(50)]
    for number, choice in enumerate(planned):
        shown(tab, number)
        act(tab, "#unsure" if choice < 0 else f".choice >> nth={choice}")
    tab.wait_for_selector("#code:visible")
    assert len(tab.text_content("#code output")) >= 6
    found = served.answers()
    assert found.choice.tolist() == planned
    assert (found.seconds > 0).all()
    assert (found.seconds < 60).all()


def test_the_last_answer_can_be_taken_back(serve, visit):
    """Undo shows the last trial with its choice, to be replaced or kept, and works at the end too."""
    served = serve(per_person=2)
    tab = visit(served.link)
    begin(tab)
    assert not tab.is_visible("#undo")
    tab.keyboard.press("2")
    shown(tab, 1)
    tab.click("#undo")
    tab.wait_for_selector("#changing:visible")
    shown(tab, 0)
    assert tab.locator('[aria-pressed="true"]').get_attribute("aria-keyshortcuts") == "2"
    tab.keyboard.press("Escape")
    shown(tab, 1)
    assert served.answers().choice.tolist() == [1]
    tab.keyboard.press("u")
    tab.wait_for_selector("#changing:visible")
    shown(tab, 0)
    tab.keyboard.press("3")
    shown(tab, 1)
    assert tab.locator('[aria-pressed="true"]').count() == 0
    tab.keyboard.press("0")
    tab.click("#undo-end")
    tab.wait_for_selector("#changing:visible")
    shown(tab, 1)
    tab.keyboard.press("1")
    tab.wait_for_selector("#thanks:visible")
    assert served.answers().choice.tolist() == [2, 0]


def test_a_reload_goes_on_where_it_was(serve, visit):
    """After a reload, and in a second window, the same trial is there; the second answer to it is not stored."""
    served = serve(per_person=9)
    tab = visit(served.link, expected=["409"])
    begin(tab)
    tab.keyboard.press("1")
    shown(tab, 1)
    before = tab.eval_on_selector_all("#images img", SOURCES)
    tab.reload()
    shown(tab, 1)
    assert tab.eval_on_selector_all("#images img", SOURCES) == before
    other = visit(served.link)
    shown(other, 1)
    other.keyboard.press("2")
    shown(other, 2)
    tab.keyboard.press("3")
    shown(tab, 2)
    assert "answered already" in tab.text_content("#said")
    assert served.answers().choice.tolist() == [0, 1]


def test_an_answer_outlives_the_connection(serve, visit):
    """Offline the page says so and sends the answer later by itself; one whose reply is lost is stored once."""
    served = serve(per_person=9)
    tab = visit(served.link, expected=["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"])
    begin(tab)
    tab.context.set_offline(True)
    tab.keyboard.press("2")
    tab.wait_for_selector('#notice:has-text("You are offline. Your answer is kept")')
    with tab.expect_event("dialog") as asked:
        tab.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    tab.keyboard.press("3")
    tab.context.set_offline(False)
    shown(tab, 1)
    assert tab.text_content("#notice") == ""
    lost = []

    def lose(route):
        route.fetch()
        lost.append(route.request.url)
        route.abort()

    tab.route("**/trial/*", lose, times=1)
    tab.keyboard.press("1")
    shown(tab, 2)
    assert len(lost) == 1
    assert sum(url == lost[0] for url in tab.asked) == 2
    assert served.answers().choice.tolist() == [1, 0]


def test_a_slow_server_is_waited_for(serve, visit):
    """A server that is down or asks for patience gets the answer later; the page says that the answer is kept."""
    served = serve(per_person=9)
    tab = visit(served.link, expected=["503", "429"])
    begin(tab)
    tab.route("**/trial/*", lambda route: route.fulfill(status=503))
    tab.keyboard.press("2")
    tab.wait_for_selector('#notice:has-text("cannot answer at the moment. Your answer is kept")')
    tab.unroute("**/trial/*")
    shown(tab, 1)
    tab.route("**/trial", lambda route: route.fulfill(status=429, headers={"Retry-After": "1"}), times=1)
    tab.keyboard.press("1")
    shown(tab, 2)
    assert served.answers().choice.tolist() == [1, 0]


def test_an_image_that_cannot_be_shown_leaves_one_answer(serve, visit):
    """Where an image is damaged the page says so, and only "can't tell" answers."""
    served = serve(per_person=9)
    tab = visit(served.link)
    tab.route("**/image/*", lambda route: route.fulfill(body=b"no image", content_type="image/png"))
    begin(tab)
    tab.wait_for_selector('#notice:has-text("cannot be shown")')
    tab.keyboard.press("1")
    by_mouse(tab, ".choice >> nth=0")
    tab.keyboard.press("0")
    shown(tab, 1)
    assert served.answers().choice.tolist() == [-1]


def test_a_pause_stops_the_clock(serve, visit):
    """A minute of pause is not counted, and no key answers in it; a held key or a double click answers once."""
    served = serve(per_person=9)
    tab = visit(served.link)
    tab.clock.install()
    tab.reload()
    begin(tab)
    tab.clock.fast_forward(2_000)
    tab.keyboard.press("p")
    tab.wait_for_selector("#paused:visible")
    tab.keyboard.press("1")
    tab.clock.fast_forward(60_000)
    tab.keyboard.press("p")
    tab.keyboard.down("2")
    shown(tab, 1)
    tab.keyboard.down("2")
    tab.keyboard.up("2")
    by_mouse(tab, "#unsure")
    shown(tab, 2)
    tab.mouse.down(click_count=2)
    tab.mouse.up(click_count=2)
    tab.click("#pause")
    assert tab.evaluate("document.activeElement.id") == "rest"
    found = served.answers()
    assert found.choice.tolist() == [1, -1]
    assert 2 <= found.seconds[0] < 60


def test_a_screen_reader_hears_each_trial(serve, visit, images):
    """Progress and names are announced, focus stays and is seen, in the order of the page; images are loaded ahead."""
    served = serve(per_person=9)
    tab = visit(served.link, reduced_motion="reduce")
    begin(tab)
    names = {file.stem for file in images.iterdir()}
    order = []
    for _ in range(5):
        tab.keyboard.press("Tab")
        order.append(tab.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["1", "2", "3", "0", "P"]
    assert tab.evaluate("getComputedStyle(document.querySelector('#images img')).transitionDuration") == "0s"
    loaded = set(tab.asked)
    tab.focus(".choice >> nth=1")
    tab.keyboard.press("Enter")
    shown(tab, 1)
    assert tab.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')") == "2"
    tab.wait_for_selector('#said:has-text("Question 2 of 9.")')
    assert set(tab.eval_on_selector_all("#images img", SOURCES)) <= loaded
    heard = tab.text_content("#said").split(". ", 1)[1].removesuffix(".").split("; ")
    assert [one.split(": ")[0] for one in heard] == ["Image 1", "Image 2", "Image 3"]
    assert {one.split(": ", 1)[1] for one in heard} <= names
    assert heard == tab.eval_on_selector_all("#images img", "(all) => all.map((image) => image.alt)")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("odd-one-out", {}),
        ("anchor", {"color_scheme": "dark", "viewport": PHONE, "has_touch": True, "is_mobile": True}),
    ],
)
def test_axe_finds_nothing(serve, visit, kind, options):
    """Every view of a person's page passes axe, fits its window, has targets of 44 pixels; a trial needs no scroll."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    served = serve(per_person=2, kind=kind, return_url="https://return.test/?id={id}&code={code}")
    tab = visit(served.link, expected=["404"], **options)

    def check(selector: str) -> None:
        tab.wait_for_selector(f"{selector}:visible")
        found = axe.run(tab)
        assert found.violations_count == 0, found.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sides = tab.eval_on_selector_all(
            "button, a.main", "(all) => all.filter((b) => b.checkVisibility()).map((b) => b.offsetHeight)"
        )
        assert min(sides, default=44) >= 44

    check("#consent")
    tab.click("#agree")
    check("#go")
    tab.click("#go")
    shown(tab, 0)
    check("#trial")
    assert tab.evaluate("document.documentElement.scrollHeight <= innerHeight")
    tab.click("button.choice >> nth=0")
    shown(tab, 1)
    tab.click("#undo")
    check("#changing")
    shown(tab, 0)
    tab.click("#undo")
    shown(tab, 1)
    tab.click("#pause")
    check("#paused")
    tab.click("#go")
    tab.click("#unsure")
    check("#thanks")
    back = tab.get_attribute("#return a", "href")
    assert back == f"https://return.test/?id=p1&code={tab.text_content('#code output')}"
    first = {"odd-one-out": 0, "anchor": 1}[kind]
    assert served.answers().choice.tolist() == [first, -1]
    tab.goto(served.link + "x")
    check("main")


def test_the_owner_sees_what_has_come_in(serve, visit):
    """Numbers, tables and drawings of the state are on the page, which passes axe, wide and narrow; a fit starts."""
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    from glocal.collect.charts import draw

    served = serve()
    curve = [
        {"answers": n, "value": 0.6 - 1 / n, "low": 0.5 - 1 / n, "high": 0.7 - 1 / n} for n in (50, 100, 200)
    ]  # fmt: skip
    person = {"person": "p1", "done": 9, "of": 20, "last": "2026-01-31T13:05:00Z", "seconds": 2.25}
    state = {
        "answers": 1234, "cannot_tell": 5, "hours": [{"hour": "2026-01-31T13:00:00Z", "answers": 9}],
        "people": [person | {"cannot_tell": 1, "repeats": [1, 2], "catch": [3, 3], "finished": False}],
        "reliability": {"value": 0.5, "low": 0.2, "high": 0.8, "n": 2}, "catch": [3, 4], "ceiling": curve[-1],
        "curve": curve, "neighbours": curve[0],
        "map": {"before": [[0, 0], [1, 0.5], [3, 2]], "after": [[0, 1], [2, 2], [1, 0]]},
        "projection": {"sentence": "about 1,500 more answers for +.01", "points": [*curve[-1:], curve[0]]},
        "fit": {"state": "done", "at": "2026-01-31T14:00:00Z", "answers": 200, "seconds": 7.0},
    }  # fmt: skip
    served.study.fit.mkdir()
    state["fit"]["charts"] = draw(state, served.study.fit)
    for options in ({}, {"color_scheme": "dark", "viewport": PHONE}):
        tab = visit(
            served.owner,
            before=lambda tab: tab.route("**/state", lambda route: route.fulfill(json=state)),
            **options,
        )
        tab.wait_for_selector('#owner[data-fit="done"]')
        assert tab.text_content("#verdict").endswith(" on 0.595 of new answers: about 1,500 more answers for +.01.")
        cards = tab.eval_on_selector_all("#numbers > div", "(all) => all.map((one) => one.textContent)")
        assert any("Answers1,234" in one for one in cards)
        assert any("Catch trials right0.750" in one for one in cards)
        assert any("Neighbours kept0.580 0.480 to 0.680" in one for one in cards)
        row = tab.eval_on_selector_all("#people tr > *", "(all) => all.map((one) => one.textContent)")
        assert row[:7] == ["p1", "9 of 20", "", "1", "2.3", "1 of 2", "3 of 3"]
        drawn = tab.locator("picture img")
        assert drawn.count() == 3
        for number in range(3):
            drawn.nth(number).scroll_into_view_if_needed()
            assert drawn.nth(number).evaluate("async (image) => (await image.decode(), image.naturalWidth)") > 100
        dark = "dark" if options else "light"
        assert dark in drawn.nth(0).evaluate("(image) => image.currentSrc")
        assert axe.run(tab).violations_count == 0, axe.run(tab).generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    started = []
    tab.route("**/fit", lambda route: (started.append(route.request.method), route.fulfill(json={"started": True})))
    state["fit"] = {**state["fit"], "state": "running"}
    tab.click("#fit")
    tab.wait_for_selector('#owner[data-fit="running"]')
    assert started == ["POST"]
    assert tab.get_attribute("#fit", "aria-disabled") == "true"


def test_the_owner_gets_the_report_and_the_transform(serve):
    """Both are handed out when a fit has written them: the report under its own policy, the transform as a file."""
    served = serve()

    def get(what):
        try:
            with urllib.request.urlopen(f"{served.owner}/{what}") as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read(), refusal.headers

    assert [get(what)[0] for what in ("report", "transform", "chart/curve-light.svg", "log.txt")] == [404] * 4
    served.study.fit.mkdir()
    for name in ("report.html", "transform.npz", "curve-light.svg", "log.txt"):
        (served.study.fit / name).write_text(name)
    status, body, headers = get("report")
    assert (status, body, headers["Content-Security-Policy"]) == (200, b"report.html", "frame-ancestors 'none'")
    status, body, headers = get("transform")
    assert (status, body) == (200, b"transform.npz")
    assert headers["Content-Disposition"].startswith("attachment")
    assert get("chart/curve-light.svg")[1] == b"curve-light.svg"
    assert [get(what)[0] for what in ("log.txt", "chart/log.txt", "chart/transform.npz")] == [404] * 3
