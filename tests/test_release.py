"""What a release says of itself: one owner, one version, the licences of what it holds."""

import os
import re
import tomllib

import pytest
from world import ROOT

import glocal

PROJECTS = [ROOT / "pyproject.toml", ROOT / "packages" / "glocal-collect" / "pyproject.toml"]
PLACEHOLDER = "OWNER"


def project(path):
    return tomllib.loads(path.read_text("utf-8"))["project"]


def owner():
    """The owner of the repository, by the metadata of glocal."""
    return re.fullmatch(
        r"https://github\.com/([\w-]+)/glocal", project(PROJECTS[0])["urls"]["Repository"]
    )[1]


def faults(name, tag):
    """What is wrong with a tag of a repository of this owner."""
    if name == PLACEHOLDER:
        yield f"the owner is still {PLACEHOLDER}: make owner NAME=…"
    if tag != f"v{glocal.__version__}":
        yield f"the tag is {tag}, but the version {glocal.__version__}"


def test_a_placeholder_and_another_version_are_refused_at_a_tag():
    """A tag with a placeholder for the owner, or that is not the version, is refused; if these
    tests run for a tag, it is that tag.
    """
    version = f"v{glocal.__version__}"
    assert [*faults("ada", version)] == []
    assert len([*faults(PLACEHOLDER, f"{version}.post1")]) == 2
    if os.environ.get("GITHUB_REF_TYPE") == "tag":
        assert [*faults(owner(), os.environ["GITHUB_REF_NAME"])] == []


def test_every_address_of_the_repository_has_its_owner():
    """All addresses of the repository, in whichever file, name the owner that the metadata name."""
    folders = [".github", "docs", "examples", "packages"]
    files = [path for path in ROOT.iterdir() if path.suffix in (".md", ".toml", ".cff")]
    files += [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    owners = {}
    for path in files:
        if path.suffix in (".md", ".toml", ".cff", ".yml", ".ipynb"):
            text = path.read_text("utf-8")
            for name in re.findall(r"github\.com/([\w-]+)/glocal\b", text):
                owners.setdefault(name, []).append(path.name)
    assert owners.keys() == {owner()}, owners
    assert {"CITATION.cff", "SECURITY.md"} <= {*owners[owner()]}


def test_both_distributions_have_one_version_and_the_same_addresses():
    """glocal-collect has the version and the addresses of glocal, and the citation the version."""
    first, second = map(project, PROJECTS)
    assert second["version"] == glocal.__version__
    assert first["urls"] == second["urls"]
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {glocal.__version__}\n" in cited


def test_the_licence_of_the_package_names_that_of_its_matrices():
    """The licence expression has that of the code, and that which the cards of the matrices state;
    the cards are among the files of licences.
    """
    metadata = project(PROJECTS[0])
    cards = [path for pattern in metadata["license-files"] for path in ROOT.glob(pattern)]
    stated = set()
    for card in cards:
        stated |= {*re.findall(r'(?m)^license: "([\w.-]+)"', card.read_text("utf-8"))}
    assert stated == {"cc-by-4.0"}
    assert metadata["license"] == "MIT AND CC-BY-4.0"


@pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="only the repository has workflows")
def test_a_release_runs_the_checks_first():
    """The workflow of a release calls that of the checks, which therefore can be called."""
    workflows = ROOT / ".github" / "workflows"
    assert "uses: ./.github/workflows/ci.yml" in (workflows / "release.yml").read_text("utf-8")
    assert "workflow_call:" in (workflows / "ci.yml").read_text("utf-8")
