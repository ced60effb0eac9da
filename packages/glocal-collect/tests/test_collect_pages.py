"""The pages of a study: their markup, and nightly what a person does in a browser."""

import re
import threading

import pytest
import uvicorn
from PIL import Image, ImageDraw

HOSTILE = "<script>hurt()</script>\"'><img src=x onerror=hurt()>"
NAMES = ["<script>hurt()<", "' onerror='hurt()", '"><img src=x>', "{{ 7 * 7 }}", "a&b", "-1"]


def test_texts_and_names_of_a_study_become_no_markup(serve_study, write_pictures, tmp_path):
    """Headings of Markdown are one level below the title, HTML, scripts and foreign images do not
    become markup, and the names of images are in JSON alone, with numbers as addresses.
    """
    links = "[here](https://a.test) [bad](javascript:hurt())"
    text = f"# Head\n\n**bold** {links}\n\n{HOSTILE}\n\n![p](https://b.test/x.png)"
    names = {f"{name}.png" for name in NAMES}
    images = write_pictures(tmp_path / "hostile", sorted(names))
    study = serve_study(images=images, title=HOSTILE, per_person=9)
    for name in ("consent", "instructions"):
        (study.study.folder / f"{name}.md").write_text(text)
    link = study.begin()
    page = study.get(link).text
    owner = study.get(study.links["owner"]).text
    assert page.count("<h2>Head</h2>") == 2
    assert "finished, 0 answers" in owner
    assert '<strong>bold</strong> <a href="https://a.test">here</a>' in page
    for html in (page, owner):
        assert "&lt;script&gt;hurt" in html
        for markup in ("<script>hurt", 'href="javascript', "<img src=", *names):
            assert markup not in html
    for item in study.trial(link)["items"]:
        assert item["name"] in names
        assert item["url"].rsplit("/", 1)[1].isdigit()


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
LEFT_EDGES = """
(all) => [...new Set(all.filter((e) => e.checkVisibility())
    .map((e) => Math.round(e.getBoundingClientRect().left)))]
"""
COLORS = ("#0072b2", "#d55e00", "#009e73")
DESK = {"width": 1280, "height": 800}
PHONE = {"viewport": {"width": 360, "height": 600}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Eight drawings, one of which has a name that is markup."""
    folder = tmp_path_factory.mktemp("drawings")
    for number, name in enumerate([NASTY, *(f"shape-{i}.png" for i in range(7))]):
        image = Image.new("RGB", (160, 120 + 10 * number), "white")
        ImageDraw.Draw(image).ellipse((20, 20, 140, 100), fill=COLORS[number % 3])
        image.save(folder / name)
    return folder


@pytest.fixture
def serve(serve_study, drawings):
    """Serve a study on a port of this machine, with the address as its `base`."""
    servers = []

    def start(**settings):
        study = serve_study(images=drawings, repeats=0.0, catch=0.0, **settings)
        server = uvicorn.Server(uvicorn.Config(study.client.app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive()
        study.base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        return study

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


def stored(study, column="choice"):
    """A column of the answers, in order."""
    return [row[column] for row in study.rows("answers")]


@pytest.fixture
def visit(browser):
    """Open the page of p1; fails if it writes to the console or sends a request to another
    machine.
    """
    opened = []

    def open_page(study, *, expected=(), **options):
        tab = browser.new_context(**{"viewport": DESK, **options}).new_page()
        tab.set_default_timeout(0)  # the test has a limit
        tab.messages = []
        tab.requests = []
        tab.on("console", lambda message: tab.messages.append(message.text))
        tab.on("pageerror", lambda error: tab.messages.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        opened.append((tab, study.base, expected))
        tab.goto(study.base + study.links["people"]["p1"])
        return tab

    yield open_page
    for tab, base, expected in opened:
        assert [url for url in tab.requests if not url.startswith(base)] == []
        for message in tab.messages:
            assert any(word in message for word in expected), message
        assert tab.evaluate("window.hurt") is None
        assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
        assert tab.context.cookies() == []
        tab.context.close()


def do(tab, steps: str) -> None:
    """Do one thing after another: `press` a key, `click` an element, `see` one, or wait for the
    `trial` that follows so many answers.
    """
    for step in steps.split(", "):
        verb, what = step.split(" ", 1)
        if verb == "press":
            tab.keyboard.press(what)
        elif verb == "click":
            tab.click(what)
        elif verb == "see":
            tab.wait_for_selector(f"{what}:visible")
        else:
            header = f'header:has-text("{what} of ")'
            tab.wait_for_selector(f'{header} ~ main #images[aria-busy="false"]:visible')


BEGIN = "click #agree, click #go, trial 0"


def by_mouse(tab, selector: str) -> None:
    box = tab.locator(selector).bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def by_key(tab, selector: str) -> None:
    tab.keyboard.press(tab.locator(selector).get_attribute("aria-keyshortcuts") or "Enter")


def by_tap(tab, selector: str) -> None:
    tab.tap(selector)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "act, options", [(by_mouse, {}), (by_key, {"reduced_motion": "reduce"}), (by_tap, PHONE)]
)
def test_a_person_answers_twenty_trials(serve, visit, act, options):
    """By mouse, by keyboard and on a phone, all twenty choices are stored once and in order."""
    study = serve(per_person=20)
    tab = visit(study, **options)
    for button in ("#agree", "#go"):
        do(tab, f"see {button}")
        if act is by_key:
            tab.keyboard.press("Tab")
            assert tab.evaluate("document.activeElement.id") == button[1:]
        act(tab, button)
    choices = [0, 1, None, 2, 1, 0, 2, None, 1, 2] * 2
    for number, choice in enumerate(choices):
        do(tab, f"trial {number}")
        act(tab, "#unsure" if choice is None else f".choice >> nth={choice}")
    do(tab, "see #code")
    assert len(tab.text_content("#code output")) >= 6
    assert stored(study) == choices
    assert 0 < min(stored(study, "seconds")) < 60


@pytest.mark.nightly
def test_the_last_answer_can_be_undone(serve, visit):
    """Undo shows the last trial with its choice, which can be replaced or kept, also at the end."""
    study = serve(per_person=2)
    tab = visit(study)
    do(tab, BEGIN)
    assert not tab.is_visible("#undo")
    do(tab, "press 2, trial 1, click #undo, see #changing, trial 0")
    pressed = tab.locator('[aria-pressed="true"]')
    assert pressed.get_attribute("aria-keyshortcuts") == "2"
    do(tab, "press Escape, trial 1")
    assert stored(study) == [1]
    do(tab, "press u, see #changing, trial 0, press 3, trial 1")
    assert pressed.count() == 0
    do(tab, "press 0, click #undo-end, see #changing, trial 1, press 1, see #thanks")
    assert stored(study) == [2, 0]


@pytest.mark.nightly
def test_a_reload_continues_where_it_was(serve, visit):
    """A reload and a second window show the same trial, and a second answer to it is not stored."""
    study = serve(per_person=9)
    tab = visit(study, expected=["409"])
    do(tab, f"{BEGIN}, press 1, trial 1")
    before = tab.eval_on_selector_all("#images img", SOURCES)
    tab.reload()
    do(tab, "trial 1")
    assert tab.eval_on_selector_all("#images img", SOURCES) == before
    do(visit(study), "trial 1, press 2, trial 2")
    do(tab, "press 3, trial 2")
    assert "answered already" in tab.text_content("#status")
    assert stored(study) == [0, 1]


@pytest.mark.nightly
def test_an_answer_outlives_the_connection(serve, visit):
    """The page says that it is offline and sends the answer later; after a lost reply, the answer
    is stored once.
    """
    study = serve(per_person=9)
    tab = visit(study, expected=["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"])
    do(tab, BEGIN)
    tab.context.set_offline(True)
    do(tab, 'press 2, see #notice:has-text("You are offline. Your answer is kept")')
    with tab.expect_event("dialog") as dialog:
        tab.close(run_before_unload=True)
    assert dialog.value.type == "beforeunload"
    dialog.value.dismiss()
    do(tab, "press 3")
    tab.context.set_offline(False)
    do(tab, "trial 1")
    assert tab.text_content("#notice") == ""
    lost_urls = []

    def lose(route):
        route.fetch()
        lost_urls.append(route.request.url)
        route.abort()

    tab.route("**/trial/*", lose, times=1)
    do(tab, "press 1, trial 2")
    assert tab.requests.count(*lost_urls) == 2
    assert stored(study) == [1, 0]


@pytest.mark.nightly
def test_an_image_that_cannot_be_shown_leaves_one_answer(serve, visit):
    """If an image is damaged, the page says so, and only "can't tell" can be chosen."""
    study = serve(per_person=9)
    tab = visit(study)
    tab.route("**/image/*", lambda route: route.fulfill(body=b"no image", content_type="image/png"))
    do(tab, f'{BEGIN}, see #notice:has-text("cannot be shown"), press 1')
    by_mouse(tab, ".choice >> nth=0")
    do(tab, "press 0, trial 1")
    assert stored(study) == [None]


@pytest.mark.nightly
def test_a_pause_stops_the_clock(serve, visit):
    """A minute of pause does not count, and a key that is held down or a double click
    answers once.
    """
    study = serve(per_person=9)
    tab = visit(study)
    tab.clock.install()
    tab.reload()
    do(tab, BEGIN)
    tab.clock.fast_forward(2_000)
    do(tab, "press p, see #paused, press 1")
    tab.clock.fast_forward(60_000)
    do(tab, "press p")
    tab.keyboard.down("2")
    do(tab, "trial 1")
    tab.keyboard.down("2")
    tab.keyboard.up("2")
    by_mouse(tab, "#unsure")
    do(tab, "trial 2")
    tab.mouse.down(click_count=2)
    tab.mouse.up(click_count=2)
    do(tab, "click #pause")
    assert tab.evaluate("document.activeElement.id") == "rest"
    assert stored(study) == [1, None]
    assert 2 <= stored(study, "seconds")[0] < 60


@pytest.mark.nightly
def test_a_screen_reader_hears_each_trial(serve, visit, drawings):
    """Progress and names are announced, and the visible focus follows the order of the page."""
    study = serve(per_person=9)
    tab = visit(study, reduced_motion="reduce")
    do(tab, BEGIN)
    key_of_focus = "document.activeElement.getAttribute('aria-keyshortcuts')"
    for key in "1230P":
        do(tab, "press Tab")
        assert tab.evaluate(key_of_focus) == key
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    image_style = "getComputedStyle(document.querySelector('#images img'))"
    assert tab.evaluate(f"{image_style}.transitionDuration") == "0s"
    loaded = set(tab.requests)
    tab.focus(".choice >> nth=1")
    do(tab, "press Enter, trial 1")
    assert tab.evaluate(key_of_focus) == "2"
    do(tab, 'see #status:has-text("Question 2 of 9.")')
    assert set(tab.eval_on_selector_all("#images img", SOURCES)) <= loaded
    labels = tab.text_content("#status").split(". ", 1)[1].removesuffix(".").split("; ")
    positions, names = zip(*(label.split(": ", 1) for label in labels), strict=True)
    assert positions == ("Image 1", "Image 2", "Image 3")
    assert set(names) <= {file.stem for file in drawings.iterdir()}
    assert labels == tab.eval_on_selector_all("#images img", LABELS)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "kind, options",
    [
        ("odd-one-out", {}),
        ("anchor", {"color_scheme": "dark", **PHONE}),
    ],
)
def test_axe_finds_nothing(serve, visit, kind, options):
    """Each view passes axe, fits its width, begins at one left edge and has targets of 44 pixels; a
    trial fits the window, and a phone shows no keys.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    study = serve(per_person=2, kind=kind, return_url="https://return.test/?id={id}&code={code}")
    tab = visit(study, expected=["404"], **options)

    def check(steps: str, beside: str = "h1") -> None:
        do(tab, steps)
        report = axe.run(tab)
        assert report.violations_count == 0, report.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert min(tab.eval_on_selector_all("button, a.main", HEIGHTS), default=44) >= 44
        assert len(tab.eval_on_selector_all(f"h1, {beside}", LEFT_EDGES)) == 1

    check("see #consent", "#consent .text")
    check("click #agree, see #go", "#rest .text")
    check("click #go, trial 0, see #trial", "#images")
    assert tab.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert tab.locator("kbd:visible").count() == 0 or not options
    check("click button.choice >> nth=0, trial 1, click #undo, see #changing")
    check("trial 0, click #undo, trial 1, click #pause, see #paused")
    check("click #go, click #unsure, see #thanks", "#thanks")
    back = tab.get_attribute("#return a", "href")
    assert back == f"https://return.test/?id=p1&code={tab.text_content('#code output')}"
    assert stored(study) == [int(kind == "anchor"), None]
    tab.goto(tab.url + "x")
    check("see main")
    tab.goto(study.base + study.links["owner"])
    check("see table", "h2, .scroll")
    assert "2 of 2, finished" in tab.text_content(".bars")
