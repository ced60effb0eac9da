"""The pages of a study: their markup, and nightly what a person does in a browser."""

import re
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from PIL import Image, ImageDraw

HOSTILE = "<script>hurt()</script>\"'><img src=x onerror=hurt()>"


def test_markdown_of_a_study_becomes_markup_and_html_in_it_text(serve_study):
    """Headings of Markdown are one level below the title, and HTML, scripts and foreign images do
    not become markup.
    """
    links = "[here](https://a.test) [bad](javascript:hurt())"
    text = f"# Head\n\n**bold** {links}\n\n{HOSTILE}\n\n![p](https://b.test/x.png)"
    study = serve_study(title=HOSTILE)
    for name in ("consent", "instructions"):
        (study.study.folder / f"{name}.md").write_text(text)
    page = study.get(study.links["people"]["p1"]).text
    owner = study.get(study.links["owner"]).text
    assert page.count("<h2>Head</h2>") == 2
    assert '<strong>bold</strong> <a href="https://a.test">here</a>' in page
    for html in (page, owner):
        assert "&lt;script&gt;hurt" in html
        for markup in ("<script>hurt", 'href="javascript', "<img src="):
            assert markup not in html


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_pages_hold_no_script_and_no_style_and_load_only_from_their_server(serve_study, kind):
    """The pages have no inline script or style, and every address in them is relative
    and exists.
    """
    study = serve_study(kind=kind, open=True)
    page = study.get(study.visit()).text
    recruited = study.get(study.visit("?PROLIFIC_PID=a")).text
    problem = study.get("/nothing", headers={"Accept": "text/html"}).text
    for html in (page, recruited, problem, study.get(study.links["owner"]).text):
        assert re.findall(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=", html) == []
        for address in set(re.findall(r'(?:src|href)="([^"]+)"', html)) - {"#"}:
            assert study.get(address.removeprefix("..")).status_code == 200, address
    assert "What is stored" in page
    assert ("recruiting site" in page, "recruiting site" in recruited) == (False, True)
    assert page.count("aria-keyshortcuts") == (5 if kind == "anchor" else 6)


# ---- in a browser

NASTY = '"><img src=x onerror=hurt=1>.png'
SOURCES = "(all) => all.map((image) => image.src)"
LABELS = "(all) => all.map((image) => image.alt)"
HEIGHTS = "(all) => all.filter((b) => b.checkVisibility()).map((b) => b.offsetHeight)"
COLORS = ("#0072b2", "#d55e00", "#009e73")
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 600}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Eight drawings, one of which has a name that is markup."""
    folder = tmp_path_factory.mktemp("drawings")
    for number in range(8):
        image = Image.new("RGB", (160, 120 + 10 * number), "white")
        draw = ImageDraw.Draw(image)
        shape = draw.rectangle if number % 2 else draw.ellipse
        shape((20, 20, 140, 100), fill=COLORS[number % 3])
        image.save(folder / (NASTY if number == 7 else f"shape-{number}.png"))
    return folder


@pytest.fixture
def serve(serve_study, drawings):
    """Serve a study on a port of this machine; gives its links, and a column of its answers."""
    servers = []

    def start(**settings):
        defaults = {"repeats": 0.0, "catch": 0.0, "title": "Which look alike?"}
        study = serve_study(images=drawings, **{**defaults, **settings})
        server = uvicorn.Server(
            uvicorn.Config(study.client.app, port=0, log_level="warning", access_log=False)
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
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
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def visit(browser):
    """Open an address; fails if a page writes to the console or sends a request to
    another machine.
    """
    contexts = []

    def open_page(url, *, expected=(), before=lambda tab: None, **options):
        context = browser.new_context(**{"viewport": DESK, **options})
        tab = context.new_page()
        tab.set_default_timeout(30_000)
        tab.messages = []
        tab.requests = []
        tab.expected = expected
        tab.on("console", lambda message: tab.messages.append(message.text))
        tab.on("pageerror", lambda error: tab.messages.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        contexts.append((context, tab, url))
        before(tab)
        tab.goto(url)
        return tab

    yield open_page
    for context, tab, url in contexts:
        home = "/".join(url.split("/")[:3]) + "/"
        assert [address for address in tab.requests if not address.startswith(home)] == []
        for message in tab.messages:
            assert any(word in message for word in tab.expected), message
        assert tab.evaluate("window.hurt") is None
        assert context.cookies() == []
        assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
        context.close()


def wait_for_trial(tab, n_answers: int) -> None:
    """Wait for the trial that follows this many answers."""
    header = f'header:has-text("{n_answers} of ")'
    tab.wait_for_selector(f'{header} ~ main #images[aria-busy="false"]:visible')


def begin(tab) -> None:
    tab.click("#agree")
    tab.click("#go")
    wait_for_trial(tab, 0)


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
    """By mouse, by keyboard and on a phone, all twenty choices are stored once and in order."""
    study = serve(per_person=20)
    tab = visit(study.link, **options)
    for button in ("#agree", "#go"):
        tab.wait_for_selector(f"{button}:visible")
        if act is by_key:
            tab.keyboard.press("Tab")
            assert tab.evaluate("document.activeElement.id") == button[1:]
        act(tab, button)
    choices = [0, 1, None, 2, 1, 0, 2, None, 1, 2] * 2
    for number, choice in enumerate(choices):
        wait_for_trial(tab, number)
        act(tab, "#unsure" if choice is None else f".choice >> nth={choice}")
    tab.wait_for_selector("#code:visible")
    assert len(tab.text_content("#code output")) >= 6
    assert study.answers() == choices
    assert all(0 < seconds < 60 for seconds in study.answers("seconds"))


@pytest.mark.nightly
def test_the_last_answer_can_be_undone(serve, visit):
    """Undo shows the last trial with its choice, which can be replaced or kept, also at the end."""
    study = serve(per_person=2)
    tab = visit(study.link)
    begin(tab)
    assert not tab.is_visible("#undo")
    tab.keyboard.press("2")
    wait_for_trial(tab, 1)
    tab.click("#undo")
    tab.wait_for_selector("#changing:visible")
    wait_for_trial(tab, 0)
    assert tab.locator('[aria-pressed="true"]').get_attribute("aria-keyshortcuts") == "2"
    tab.keyboard.press("Escape")
    wait_for_trial(tab, 1)
    assert study.answers() == [1]
    tab.keyboard.press("u")
    tab.wait_for_selector("#changing:visible")
    wait_for_trial(tab, 0)
    tab.keyboard.press("3")
    wait_for_trial(tab, 1)
    assert tab.locator('[aria-pressed="true"]').count() == 0
    tab.keyboard.press("0")
    tab.click("#undo-end")
    tab.wait_for_selector("#changing:visible")
    wait_for_trial(tab, 1)
    tab.keyboard.press("1")
    tab.wait_for_selector("#thanks:visible")
    assert study.answers() == [2, 0]


@pytest.mark.nightly
def test_a_reload_continues_where_it_was(serve, visit):
    """A reload and a second window show the same trial, and a second answer to it is not stored."""
    study = serve(per_person=9)
    tab = visit(study.link, expected=["409"])
    begin(tab)
    tab.keyboard.press("1")
    wait_for_trial(tab, 1)
    before = tab.eval_on_selector_all("#images img", SOURCES)
    tab.reload()
    wait_for_trial(tab, 1)
    assert tab.eval_on_selector_all("#images img", SOURCES) == before
    other = visit(study.link)
    wait_for_trial(other, 1)
    other.keyboard.press("2")
    wait_for_trial(other, 2)
    tab.keyboard.press("3")
    wait_for_trial(tab, 2)
    assert "answered already" in tab.text_content("#status")
    assert study.answers() == [0, 1]


@pytest.mark.nightly
def test_an_answer_outlives_the_connection(serve, visit):
    """The page says that it is offline and sends the answer later; after a lost reply, the answer
    is stored once.
    """
    study = serve(per_person=9)
    tab = visit(study.link, expected=["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"])
    begin(tab)
    tab.context.set_offline(True)
    tab.keyboard.press("2")
    tab.wait_for_selector('#notice:has-text("You are offline. Your answer is kept")')
    with tab.expect_event("dialog") as dialog:
        tab.close(run_before_unload=True)
    assert dialog.value.type == "beforeunload"
    dialog.value.dismiss()
    tab.keyboard.press("3")
    tab.context.set_offline(False)
    wait_for_trial(tab, 1)
    assert tab.text_content("#notice") == ""
    lost_urls = []

    def lose(route):
        route.fetch()
        lost_urls.append(route.request.url)
        route.abort()

    tab.route("**/trial/*", lose, times=1)
    tab.keyboard.press("1")
    wait_for_trial(tab, 2)
    assert len(lost_urls) == 1
    assert sum(url == lost_urls[0] for url in tab.requests) == 2
    assert study.answers() == [1, 0]


@pytest.mark.nightly
def test_an_image_that_cannot_be_shown_leaves_one_answer(serve, visit):
    """If an image is damaged, the page says so, and only "can't tell" can be chosen."""
    study = serve(per_person=9)
    tab = visit(study.link)
    tab.route("**/image/*", lambda route: route.fulfill(body=b"no image", content_type="image/png"))
    begin(tab)
    tab.wait_for_selector('#notice:has-text("cannot be shown")')
    tab.keyboard.press("1")
    by_mouse(tab, ".choice >> nth=0")
    tab.keyboard.press("0")
    wait_for_trial(tab, 1)
    assert study.answers() == [None]


@pytest.mark.nightly
def test_a_pause_stops_the_clock(serve, visit):
    """A minute of pause does not count, and a key that is held down or a double click
    answers once.
    """
    study = serve(per_person=9)
    tab = visit(study.link)
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
    wait_for_trial(tab, 1)
    tab.keyboard.down("2")
    tab.keyboard.up("2")
    by_mouse(tab, "#unsure")
    wait_for_trial(tab, 2)
    tab.mouse.down(click_count=2)
    tab.mouse.up(click_count=2)
    tab.click("#pause")
    assert tab.evaluate("document.activeElement.id") == "rest"
    assert study.answers() == [1, None]
    assert 2 <= study.answers("seconds")[0] < 60


@pytest.mark.nightly
def test_a_screen_reader_hears_each_trial(serve, visit, drawings):
    """Progress and names are announced, and the visible focus follows the order of the page."""
    study = serve(per_person=9)
    tab = visit(study.link, reduced_motion="reduce")
    begin(tab)
    names = {file.stem for file in drawings.iterdir()}
    order = []
    for _ in range(5):
        tab.keyboard.press("Tab")
        order.append(tab.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')"))
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert order == ["1", "2", "3", "0", "P"]
    image_style = "getComputedStyle(document.querySelector('#images img'))"
    assert tab.evaluate(f"{image_style}.transitionDuration") == "0s"
    loaded = set(tab.requests)
    tab.focus(".choice >> nth=1")
    tab.keyboard.press("Enter")
    wait_for_trial(tab, 1)
    assert tab.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')") == "2"
    tab.wait_for_selector('#status:has-text("Question 2 of 9.")')
    assert set(tab.eval_on_selector_all("#images img", SOURCES)) <= loaded
    labels = tab.text_content("#status").split(". ", 1)[1].removesuffix(".").split("; ")
    positions, label_names = zip(*(label.split(": ", 1) for label in labels), strict=True)
    assert positions == ("Image 1", "Image 2", "Image 3")
    assert set(label_names) <= names
    assert labels == tab.eval_on_selector_all("#images img", LABELS)


LEFT_EDGES = """
(all) => [...new Set(all.filter((e) => e.checkVisibility())
    .map((e) => Math.round(e.getBoundingClientRect().left)))]
"""


@pytest.mark.nightly
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_left_edges_agree_and_a_phone_shows_no_keys(serve, visit, width):
    """On each page of a person, the title, the text and the images begin at the same left edge, and
    a phone shows no keys.
    """
    is_phone = width == 390
    study = serve(per_person=2)
    options = {"has_touch": True, "is_mobile": True} if is_phone else {}
    tab = visit(study.link, viewport={"width": width, "height": 844}, **options)
    edges = []

    def look(selector):
        tab.wait_for_selector(f"{selector}:visible")
        assert tab.locator("kbd:visible").count() == 0 or not is_phone
        edges.extend(tab.eval_on_selector_all(f"h1, {selector}", LEFT_EDGES))

    look("#consent .text")
    tab.click("#agree")
    look("#rest .text")
    tab.click("#go")
    wait_for_trial(tab, 0)
    look("#images")
    for number in range(2):
        wait_for_trial(tab, number)
        tab.click(".choice >> nth=1")
    look("#thanks")
    assert len(set(edges)) == 1
    tab.goto(study.owner)
    assert len(tab.eval_on_selector_all("h1, h2, .scroll", LEFT_EDGES)) == 1


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
    """Each view passes axe, fits its width and has targets of 44 pixels, and a trial
    fits the window.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    study = serve(per_person=2, kind=kind, return_url="https://return.test/?id={id}&code={code}")
    tab = visit(study.link, expected=["404"], **options)

    def check(selector: str) -> None:
        tab.wait_for_selector(f"{selector}:visible")
        report = axe.run(tab)
        assert report.violations_count == 0, report.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert min(tab.eval_on_selector_all("button, a.main", HEIGHTS), default=44) >= 44

    check("#consent")
    tab.click("#agree")
    check("#go")
    tab.click("#go")
    wait_for_trial(tab, 0)
    check("#trial")
    assert tab.evaluate("document.documentElement.scrollHeight <= innerHeight")
    tab.click("button.choice >> nth=0")
    wait_for_trial(tab, 1)
    tab.click("#undo")
    check("#changing")
    wait_for_trial(tab, 0)
    tab.click("#undo")
    wait_for_trial(tab, 1)
    tab.click("#pause")
    check("#paused")
    tab.click("#go")
    tab.click("#unsure")
    check("#thanks")
    back = tab.get_attribute("#return a", "href")
    assert back == f"https://return.test/?id=p1&code={tab.text_content('#code output')}"
    first = {"odd-one-out": 0, "anchor": 1}[kind]
    assert study.answers() == [first, None]
    tab.goto(study.link + "x")
    check("main")
    tab.goto(study.owner)
    check("table")
    assert tab.locator("tbody td").all_text_contents()[1] == "2 of 2"
