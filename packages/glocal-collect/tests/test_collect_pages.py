"""The pages of a study: their markup, and nightly what a person does in a browser."""

import re
import threading

import pytest
import uvicorn

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
        (study.folder / f"{name}.md").write_text(text, "utf-8")
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
    assert "<p>Not found.</p>" in problem
    assert "recruiting site" not in page
    assert "recruiting site" in recruited
    assert page.count("aria-keyshortcuts") == (5 if kind == "anchor" else 6)


# ---- in a browser

NASTY = '"><img src=x onerror=hurt=1>.png'
SOURCES = "(all) => all.map((image) => image.src)"
LABELS = "(all) => all.map((image) => image.alt)"
HEIGHTS = "(all) => all.filter((b) => b.checkVisibility()).map((b) => b.offsetHeight)"
DESK = {"width": 1280, "height": 800}
PHONE = {"viewport": {"width": 360, "height": 600}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def serve(serve_study, write_pictures, tmp_path):
    """Serve a study on a port of this machine, with the address as its `base`; one of its eight
    images has a name that is markup.
    """
    images = write_pictures(tmp_path / "images", [NASTY, *map("{}.png".format, range(7))])
    servers = []

    def start(**settings):
        study = serve_study(images=images, repeats=0.0, catch=0.0, **settings)
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


def stored(tab, column="choice"):
    """A column of the answers, in order."""
    return [row[column] for row in tab.study.rows("answers")]


@pytest.fixture
def visit(browser):
    """Open the page of p1; fails if it writes to the console or sends a request to another
    machine.
    """
    opened = []

    def open_page(study, *, expected=(), **options):
        tab = browser.new_context(**{"viewport": DESK, **options}).new_page()
        tab.set_default_timeout(0)  # the test has a limit
        tab.study = study
        tab.messages = []
        tab.requests = []
        tab.on("console", lambda message: tab.messages.append(message.text))
        tab.on("pageerror", lambda error: tab.messages.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        opened.append((tab, expected))
        tab.goto(study.base + study.links["people"]["p1"])
        return tab

    yield open_page
    for tab, expected in opened:
        assert [url for url in tab.requests if not url.startswith(tab.study.base)] == []
        for message in tab.messages:
            assert any(word in message for word in expected), message
        assert tab.evaluate("window.hurt") is None
        assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
        assert tab.context.cookies() == []
        tab.context.close()


def do(tab, steps):
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


def by_mouse(tab, selector):
    tab.click(selector, force=True)  # also if it is disabled


def by_key(tab, selector):
    tab.keyboard.press(tab.locator(selector).get_attribute("aria-keyshortcuts") or "Enter")


def by_tap(tab, selector):
    tab.tap(selector)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "act, options", [(by_mouse, {}), (by_key, {"reduced_motion": "reduce"}), (by_tap, PHONE)]
)
def test_a_person_answers_twenty_trials(serve, visit, act, options):
    """By mouse, by keyboard and on a phone, all twenty choices are stored once and in order."""
    tab = visit(serve(per_person=20), **options)
    for button in ("#agree", "#go"):
        do(tab, f"see {button}")
        do(tab, "press Tab")
        act(tab, button)
    choices = [0, 1, None, 2, 1, 0, 2, None, 1, 2] * 2
    for number, choice in enumerate(choices):
        do(tab, f"trial {number}")
        act(tab, "#unsure" if choice is None else f".choice >> nth={choice}")
    do(tab, "see #code")
    assert len(tab.text_content("#code output")) == 8
    assert stored(tab) == choices
    assert 0 < min(stored(tab, "seconds")) < 60


@pytest.mark.nightly
def test_the_last_answer_can_be_undone(serve, visit):
    """Undo shows the last trial with its choice, which can be replaced or kept, also at the end."""
    tab = visit(serve(per_person=2))
    do(tab, BEGIN)
    assert not tab.is_visible("#undo")
    do(tab, "press 2, trial 1, click #undo, see #changing, trial 0")
    pressed = tab.locator('[aria-pressed="true"]')
    assert pressed.get_attribute("aria-keyshortcuts") == "2"
    do(tab, "press Escape, trial 1")
    assert stored(tab) == [1]
    do(tab, "press u, see #changing, trial 0, press 3, trial 1")
    assert pressed.count() == 0
    do(tab, "press 0, click #undo-end, see #changing, trial 1, press 1, see #thanks")
    assert stored(tab) == [2, 0]


@pytest.mark.nightly
def test_a_reload_continues_where_it_was(serve, visit):
    """A reload and a second window show the same trial, and a second answer to it is not stored."""
    tab = visit(serve(per_person=9), expected=["409"])
    do(tab, f"{BEGIN}, press 1, trial 1")
    before = tab.eval_on_selector_all("#images img", SOURCES)
    tab.reload()
    do(tab, "trial 1")
    assert tab.eval_on_selector_all("#images img", SOURCES) == before
    do(visit(tab.study), "trial 1, press 2, trial 2")
    do(tab, "press 3, trial 2")
    assert "answered already" in tab.text_content("#status")
    assert stored(tab) == [0, 1]


@pytest.mark.nightly
def test_an_answer_outlives_the_connection(serve, visit):
    """The page says that it is offline and sends the answer later; after a lost reply, the answer
    is stored once.
    """
    tab = visit(serve(per_person=9), expected=["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"])
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
    assert stored(tab) == [1, 0]


@pytest.mark.nightly
def test_an_image_that_cannot_be_shown_leaves_one_answer(serve, visit):
    """If an image is damaged, the page says so, and only "can't tell" can be chosen."""
    tab = visit(serve(per_person=9))
    tab.route("**/image/*", lambda route: route.fulfill(body=b"no image", content_type="image/png"))
    do(tab, f'{BEGIN}, see #notice:has-text("cannot be shown"), press 1')
    by_mouse(tab, ".choice >> nth=0")
    do(tab, "press 0, trial 1")
    assert stored(tab) == [None]


@pytest.mark.nightly
def test_a_pause_stops_the_clock(serve, visit):
    """A minute of pause does not count, and a key that is held down or a double click
    answers once.
    """
    tab = visit(serve(per_person=9))
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
    assert stored(tab) == [1, None]
    assert 2 <= stored(tab, "seconds")[0] < 60


@pytest.mark.nightly
def test_a_screen_reader_hears_each_trial(serve, visit):
    """Progress and names are announced, and the visible focus follows the order of the page."""
    tab = visit(serve(per_person=9), reduced_motion="reduce")
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
    assert [label[:8] for label in labels] == ["Image 1:", "Image 2:", "Image 3:"]
    assert labels == tab.eval_on_selector_all("#images img", LABELS)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "kind, options", [("odd-one-out", {}), ("anchor", {"color_scheme": "dark", **PHONE})]
)
def test_axe_finds_nothing(serve, visit, kind, options):
    """Each view passes axe, fits its width and has targets of 44 pixels; a trial fits the
    window, and a phone shows no keys.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    study = serve(per_person=2, kind=kind, return_url="https://return.test/?id={id}&code={code}")
    tab = visit(study, expected=["404"], **options)

    def check(steps):
        do(tab, steps)
        report = axe.run(tab)
        assert report.violations_count == 0, report.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert min(tab.eval_on_selector_all("button, a.primary", HEIGHTS), default=44) >= 44

    check("see #consent")
    check("click #agree, see #go")
    check("click #go, trial 0, see #trial")
    assert tab.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert tab.locator("kbd:visible").count() == 0 or not options
    check("click button.choice >> nth=0, trial 1, click #undo, see #changing")
    check("trial 0, click #undo, trial 1, click #pause, see #paused")
    check("click #go, click #unsure, see #thanks")
    back = tab.get_attribute("#return a", "href")
    assert back == f"https://return.test/?id=p1&code={tab.text_content('#code output')}"
    assert stored(tab) == [int(kind == "anchor"), None]
    tab.goto(tab.url + "x")
    check("see main")
    tab.goto(study.base + study.links["owner"])
    check("see table")
    assert "2 of 2, finished" in tab.text_content(".bars")
