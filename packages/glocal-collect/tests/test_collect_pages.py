"""The pages of a study: their markup, and nightly what a person meets in a browser."""

import re
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from PIL import Image, ImageDraw

HOSTILE = "<script>hurt()</script>\"'><img src=x onerror=hurt()>"


def test_markdown_of_a_study_becomes_markup_and_html_in_it_text(serve_study):
    """Headings, emphasis and links are markup one level below the title; HTML, scripts and foreign images are not."""
    written = f"# Head\n\n**bold** [here](https://a.test) [bad](javascript:hurt())\n\n{HOSTILE}\n\n![p](https://b.test/x.png)"
    study = serve_study(title=HOSTILE)
    for name in ("consent", "instructions"):
        (study.study.folder / f"{name}.md").write_text(written)
    page, owner = study.get(study.links["people"]["p1"]).text, study.get(study.links["owner"]).text
    assert page.count("<h2>Head</h2>") == 2
    assert '<strong>bold</strong> <a href="https://a.test">here</a>' in page
    for made in (page, owner):
        assert "&lt;script&gt;hurt" in made
        assert not [
            sign for sign in ("<script>hurt", 'href="javascript', "<img src=") if sign in made
        ]


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_pages_hold_no_script_and_no_style_and_ask_only_their_server(serve_study, kind):
    """The strict policy finds nothing to stop: every address is relative and served; a new study has texts."""
    study = serve_study(kind=kind, open=True)
    page = study.get(study.visit()).text
    named = study.get(study.visit("?PROLIFIC_PID=a")).text
    problem = study.get("/nothing", headers={"Accept": "text/html"}).text
    for made in (page, named, problem, study.get(study.links["owner"]).text):
        assert re.findall(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=", made) == []
        for address in re.findall(r'(?:src|href)="([^"]+)"', made):
            assert address == "#" or study.get(address.removeprefix("..")).status_code == 200, (
                address
            )
    assert "What is stored" in page
    assert ("recruiting site" in page, "recruiting site" in named) == (False, True)
    assert page.count("aria-keyshortcuts") == (5 if kind == "anchor" else 6)


# ---- in a browser

NASTY = '"><img src=x onerror=hurt=1>.png'
SOURCES = "(all) => all.map((image) => image.src)"
SHAPES = ("ellipse", "rectangle")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 600}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Eight drawings, one with a name that is markup."""
    folder = tmp_path_factory.mktemp("drawings")
    for number in range(8):
        image = Image.new("RGB", (160, 120 + 10 * number), "white")
        draw = ImageDraw.Draw(image)
        getattr(draw, SHAPES[number % 2])(
            (20, 20, 140, 100), fill=("#0072b2", "#d55e00", "#009e73")[number % 3]
        )
        image.save(folder / (NASTY if number == 7 else f"shape-{number}.png"))
    return folder


@pytest.fixture
def serve(serve_study, drawings):
    """Serve a study on a port of this machine: its links, and its choices so far with their seconds."""
    stopping = []

    def start(**settings):
        given = {"repeats": 0.0, "catch": 0.0, "title": "Which look alike?", **settings}
        study = serve_study(images=drawings, **given)
        server = uvicorn.Server(
            uvicorn.Config(study.client.app, port=0, log_level="warning", access_log=False)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        stopping.append((server, thread))
        while not server.started:
            assert thread.is_alive()
        base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        def answers(column="choice"):
            return [row[column] for row in study.rows("answers")]

        return SimpleNamespace(
            link=base + study.links["people"]["p1"],
            owner=base + study.links["owner"],
            answers=answers,
        )

    yield start
    for server, thread in stopping:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


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
    tab.wait_for_selector(
        f'header:has-text("{done} of ") ~ main #images[aria-busy="false"]:visible'
    )


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


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("act", "options"),
    [
        pytest.param(by_mouse, {}, id="mouse"),
        pytest.param(by_key, {"reduced_motion": "reduce"}, id="keyboard"),
        pytest.param(by_tap, {"viewport": PHONE, "has_touch": True, "is_mobile": True}, id="phone"),
    ],
)
def test_a_person_answers_twenty_trials(serve, visit, act, options):
    """By mouse, by keyboard and on a phone all twenty choices are stored once, in order; a code ends them."""
    served = serve(per_person=20)
    tab = visit(served.link, **options)
    for button in ("#agree", "#go"):
        tab.wait_for_selector(f"{button}:visible")
        if act is by_key:
            tab.keyboard.press("Tab")
            assert tab.evaluate("document.activeElement.id") == button[1:]
        act(tab, button)
    planned = [(0, 1, -1, 2, 1, 0, 2, -1, 1, 2)[number % 10] for number in range(20)]
    for number, choice in enumerate(planned):
        shown(tab, number)
        act(tab, "#unsure" if choice < 0 else f".choice >> nth={choice}")
    tab.wait_for_selector("#code:visible")
    assert len(tab.text_content("#code output")) >= 6
    assert [-1 if one is None else one for one in served.answers()] == planned
    assert all(0 < seconds < 60 for seconds in served.answers("seconds"))


@pytest.mark.nightly
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
    assert served.answers() == [1]
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
    assert served.answers() == [2, 0]


@pytest.mark.nightly
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
    assert served.answers() == [0, 1]


@pytest.mark.nightly
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
    assert served.answers() == [1, 0]


@pytest.mark.nightly
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
    assert served.answers() == [None]


@pytest.mark.nightly
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
    assert served.answers() == [1, None]
    assert 2 <= served.answers("seconds")[0] < 60


@pytest.mark.nightly
def test_a_screen_reader_hears_each_trial(serve, visit, drawings):
    """Progress and names are announced, focus stays and is seen, in the order of the page; images are loaded ahead."""
    served = serve(per_person=9)
    tab = visit(served.link, reduced_motion="reduce")
    begin(tab)
    names = {file.stem for file in drawings.iterdir()}
    order = []
    for _ in range(5):
        tab.keyboard.press("Tab")
        order.append(tab.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["1", "2", "3", "0", "P"]
    assert (
        tab.evaluate("getComputedStyle(document.querySelector('#images img')).transitionDuration")
        == "0s"
    )
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
    assert heard == tab.eval_on_selector_all(
        "#images img", "(all) => all.map((image) => image.alt)"
    )


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("odd-one-out", {}),
        (
            "anchor",
            {"color_scheme": "dark", "viewport": PHONE, "has_touch": True, "is_mobile": True},
        ),
    ],
)
def test_axe_finds_nothing(serve, visit, kind, options):
    """Each view of a person and of the owner passes axe, fits, has targets of 44 pixels; a trial needs no scroll."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    served = serve(per_person=2, kind=kind, return_url="https://return.test/?id={id}&code={code}")
    tab = visit(served.link, expected=["404"], **options)

    def check(selector: str) -> None:
        tab.wait_for_selector(f"{selector}:visible")
        found = axe.run(tab)
        assert found.violations_count == 0, found.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sides = tab.eval_on_selector_all(
            "button, a.main",
            "(all) => all.filter((b) => b.checkVisibility()).map((b) => b.offsetHeight)",
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
    assert served.answers() == [first, None]
    tab.goto(served.link + "x")
    check("main")
    tab.goto(served.owner)
    check("table")
    assert tab.locator("tbody td").all_text_contents()[1] == "2 of 2"
