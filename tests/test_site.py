"""The site of the documentation in a browser."""

import subprocess
import sys

import pytest
from world import ROOT

PAGES = (
    "index.html",
    "start.html",
    "results.html",
    "all-results.html",
    "method.html",
    "cli/fit.html",
    "api/transform.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` writes it."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"]
    subprocess.run([*command, ROOT / "docs", folder], check=True, timeout=600)
    return folder


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_each_kind_of_page_is_accessible_and_fits_its_width(browser, site, scheme, width):
    """On a phone and a desktop, light and dark, no page scrolls sideways or asks another site, and
    axe finds no fault in it.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visitor = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    addresses = []
    for name in PAGES:
        tab = visitor.new_page()
        tab.on("request", lambda asked: addresses.append(asked.url))
        tab.goto((site / name).as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        # style sheets of a file cannot be loaded again by a script, as axe would
        violations = axe.run(tab, options={"preload": False}).response["violations"]
        assert [(broken["id"], broken["nodes"][0]["html"]) for broken in violations] == []
        tab.close()
    visitor.close()
    assert [address for address in addresses if not address.startswith(("file:", "data:"))] == []
