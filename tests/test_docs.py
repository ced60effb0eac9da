"""The documentation is true: its examples run, its tree matches, and every command and option in it
exists.
"""

import contextlib
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from fits import record_of, row_record
from world import ROOT, folder, normal, run

from glocal import Features, LinearTransform, __version__, few_shot, simulated_world
from glocal.cli.app import app
from glocal.similarity import KINDS
from glocal.suite.demo import write_demo

START = ROOT / "docs" / "start.md"
USE = ROOT / "docs" / "recipes.md"
EXTEND = ROOT / "docs" / "extend.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text("utf-8") for page in PAGES}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


REFERENCE = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "cli_reference.py")))
COMMAND = typer.main.get_command(app)


def blocks(text, language):
    """The fenced code blocks in a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


def parse(line):
    """Raise an error unless a ``glocal ...`` line names a command that takes its words."""
    _, *words = shlex.split(line.partition(" > ")[0], comments=True)
    command = COMMAND
    with contextlib.suppress(typer.Exit):  # of --help
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(line, words)


def command_lines(text):
    """Every line of a page's shell blocks, fenced or indented, that calls glocal; tests run ``sh``,
    not ``shell``.
    """
    lines = [line for block in blocks(text, "(?:sh|shell)") for line in block.splitlines()]
    lines += re.findall(r"^ {4}(glocal .*)$", text, re.MULTILINE)
    return [line.strip() for line in lines if line.strip().startswith("glocal ")]


def shell(block):
    """Run the lines of a shell block in this process, ``glocal ...``, ``cd`` and ``python FILE``,
    and return what they print.
    """
    printed = ""
    for line in block.splitlines():
        words = shlex.split(line)
        if words[0] == "glocal":
            ended = run("", *words[1:])
            assert ended.code == 0, (line, ended.err)
            printed += ended.out
        elif words[0] == "cd":
            os.chdir(words[1])
        elif words[0] == "python":
            runpy.run_path(words[1], run_name="__main__")
        else:
            pytest.fail(f"the tests cannot run {line!r}: call its block shell if it installs")
    return printed


def masked(text):
    """A printed text without numbers, object names and column widths, and the fractions in it."""
    text = re.sub(r"object_\d+", "object", text)
    text = re.sub(r"\bp (= )?[\d.e-]+", r"p \g<1>0", text)  # of any length
    fractions = [float(number) for number in re.findall(r"(?<![\d.])[01]\.\d{3}\b", text)]
    words = re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", text)
    words = re.sub(r"-{2,}", "-", words)  # the rule under a head is as wide as the numbers below it
    return [" ".join(line.split()) for line in words.strip().splitlines()], fractions


EXAMPLES = [
    pytest.param(code, id=f"{page.name} {k}", marks=[pytest.mark.nightly] * (page.parent != ROOT))
    for page in PAGES
    if page not in (START, USE, EXTEND)  # run below, since their blocks build on others
    # test_answer_recipes.py runs the recipes
    for k, code in enumerate(blocks(TEXTS[page].partition("## Recipes for ")[0], "python"))
]


def write_world(path):
    """Write the files that the demo leaves, for a smaller world."""
    made = simulated_world(n_answers=20_000, n_local=120)
    objects = made.objects
    folder(path / "objects", features_npy=objects.matrix, file_names_txt=objects.names)
    folder(path, local_npy=made.local.matrix, answers_npz=made.answers)


def write_embeddings():
    """Write rows with the great column of CLIP, and labels for them."""
    likeness_of_clip = -14 * np.eye(512)[92]
    np.save("embeddings.npy", np.random.default_rng(0).normal(likeness_of_clip, size=(32, 512)))
    Path("labels.csv").write_text("masterCategory\n" + "cat\ndog\n" * 16, encoding="utf-8")


@every_page
def test_examples_import_from_glocal_itself(page):
    """No Python example needs to know in which module of the package a name is."""
    for code in blocks(TEXTS[page], "python"):
        assert "from glocal." not in code


@pytest.mark.parametrize("code", EXAMPLES)
def test_python_examples_run(code, here, as_a_user):
    """Each Python example of the README and the pages runs as written and without a warning, in a
    folder with the files of the demo, or embeddings like those of CLIP, only if it names them.
    """
    if "embeddings.npy" in code:
        write_embeddings()
    if "demo-out/world" in code:
        write_world(here / "demo-out" / "world")
    compiled = compile(code, "example", "exec")
    if code.startswith("# on a cluster"):
        pytest.skip("the example needs a cluster: it is compiled, not run")
    exec(compiled, {"__name__": "example"})


CLIP = "clip-ViT-B-32"
OPEN_CLIP = '"ViT-B-32", pretrained="openai"'
TINY_OPEN_CLIP = """{"embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2,
        "layers": 1}}"""


TINY_CLIP = """{"projection_dim": 64,
    "text_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 10, "bos_token_id": 0, "eos_token_id": 1},
    "vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 8}}"""
TINY_IMAGES = """{"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}"""


def tiny_clip(path):
    """A network like CLIP with 64 features and random weights, which no test needs to download."""
    transformers = pytest.importorskip("transformers")
    path.mkdir()
    config = transformers.CLIPConfig(**json.loads(TINY_CLIP))
    transformers.CLIPModel(config).save_pretrained(path)
    (path / "vocab.json").write_text(
        '{"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}', encoding="utf-8"
    )
    (path / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    transformers.CLIPProcessor(
        transformers.CLIPImageProcessor(**json.loads(TINY_IMAGES)),
        transformers.CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt")),
    ).save_pretrained(path)
    return path


FILES, *USES = blocks(TEXTS[USE], "python")


@pytest.mark.nightly
@pytest.mark.parametrize("code", USES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_use_of_a_transform_runs(code, here, monkeypatch, capsys):
    """Each example on the page about other libraries runs after the first one, prints what the page
    says, and maps rows as `apply` does.
    """
    # huggingface_hub reads the environment once: other tests of this process go online
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {"__name__": "example"}
    exec(compile(FILES, "files", "exec"), names)
    if CLIP in code:
        code = code.replace(CLIP, str(tiny_clip(here / "clip")))
    if OPEN_CLIP in code:
        code = code.replace(OPEN_CLIP, '"tiny-clip"').replace('"ViT-B-32"', '"tiny-clip"')
        folder(here, **{"tiny-clip_json": TINY_OPEN_CLIP})
        pytest.importorskip("open_clip").add_model_config(here / "tiny-clip.json")
    try:
        exec(compile(code, "example", "exec"), names)
    except ModuleNotFoundError as error:
        if error.name.startswith("glocal"):
            raise
        pytest.skip(f"{error.name} is not installed")
    said = re.findall(r"(?m)^ *print\(.*\)  # ([^:\n]+)", code)
    assert {*said} <= {*capsys.readouterr().out.splitlines()}
    if "texts/features.npy" in code:
        texts = Features.load("texts")
        assert texts.names == ("cat", "dog")
        X = normal(20, texts.dimensions)
        few_shot(X, np.array(["cat", "dog"] * 10), shots=0, texts=texts, originals=X)
    if "onnx.export" in code:
        session = pytest.importorskip("onnxruntime").InferenceSession("aligned.onnx")
        images = normal(5, 3 * 8 * 8).astype("f4").reshape(5, 3, 8, 8)
        rows = names["backbone"](names["torch"].from_numpy(images)).detach().numpy()
        made = session.run(["aligned"], {"images": images})[0]
        np.testing.assert_allclose(made, names["transform"](rows), rtol=1e-4, atol=1e-4)
    if "map_blocks" in code:
        made = names["da"].from_npy_stack("aligned-stack").compute()
        expected = names["transform"](names["X"])
        np.testing.assert_allclose(made, expected, atol=1e-4 * np.abs(made).max())


FOLD = next(code for code in USES if "folded.weight" in code)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_transform_folded_into_a_layer_is_the_layer_and_the_transform(normalize):
    """The recipe gives the layer followed by the transform, and refuses a transform that scales
    rows, which no linear layer can.
    """
    torch = pytest.importorskip("torch")
    W = normal(64, 64).astype("f4")
    record = record_of(rows=row_record(normalize=normalize))
    names = {"transform": LinearTransform(W, W[0], mean=0.3, std=1.7, record=record)}
    if normalize:
        with pytest.raises(ValueError, match="length 1"):
            exec(FOLD, names)
        return
    exec(FOLD, names)
    Y = torch.from_numpy(normal(6, 128).astype("f4"))
    with torch.no_grad():
        expected = names["transform"].map_rows(names["layer"](Y))
        torch.testing.assert_close(names["folded"](Y), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.nightly
@pytest.mark.timeout(600)  # the demo is one of the commands of the page
def test_the_start_page_works_from_top_to_bottom(here, as_a_user, capsys):
    """Every block of docs/start.md, apart from the installation, runs in order and prints what the
    page shows after it.
    """
    printed = ""
    for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", TEXTS[START]):
        if saved := re.match(r"# ([\w.]+\.(?:py|toml))\n", block):
            Path(saved[1]).write_text(block, "utf-8")
        elif language == "python":
            exec(compile(block, "example", "exec"), {"__name__": "example"})
        elif language == "sh":
            printed = shell(block)
        elif language == "text":
            words, fractions = masked(printed)
            page_words, page_fractions = masked(block)
            assert words == page_words
            assert fractions == pytest.approx(page_fractions, abs=0.02)
    assert "True" in capsys.readouterr().out, "numpy alone gives what glocal apply wrote"


@pytest.mark.nightly
def test_every_extension_runs(here, monkeypatch, as_a_user, capsys):
    """Each block of the page on extensions runs in order, the distribution that it describes adds
    its kind of task, and each prints what the page says.
    """
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("torch")
    write_demo(here / "demo-out")
    (here / "images").mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        image.new("RGB", (40, 30), colour).save(here / "images" / f"{number}.png")
    monkeypatch.setattr(sys, "path", sys.path.copy())  # an installed command has no current folder
    monkeypatch.setitem(KINDS, "two-pairs", KINDS["anchor"])  # the page sets it, the end removes it
    printed = []
    for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", TEXTS[EXTEND]):
        name = block.splitlines()[0].removeprefix("# ")
        if language == "sh":
            printed.append(shell(block))
            continue
        if language == "shell":
            install(block)
            continue
        Path(name).write_text(block, "utf-8")
        if language == "python":
            exec(compile(block, name, "exec"), {"__name__": "example"})
            said = re.findall(r"(?m)^print\(.*\)  # (.*)$", block)
            assert capsys.readouterr().out.splitlines() == said
    assert np.load("colours/features.npy").round(1).tolist()[0] == [1, 0, 0]
    table = [line.split()[1] for line in printed[-1].splitlines() if line.startswith("mine")]
    assert table == ["original", "white", "margin"]


def install(line):
    """Run the pip command of a page with what this machine has, into the folder ``installed``."""
    pytest.importorskip("setuptools")
    assert line.split()[:2] == ["pip", "install"]
    options = "--no-deps --no-index --no-build-isolation --target installed"
    command = [sys.executable, "-m", *line.split(), *options.split()]
    subprocess.run(command, check=True, capture_output=True)
    sys.path.insert(0, str(Path("installed").absolute()))


def test_pages_that_the_repository_shows_are_plain_markdown():
    """Sphinx directives are only on pages of the API, since others would show them as code."""
    using = {str(page.relative_to(ROOT)) for page in PAGES if "\n```{" in f"\n{TEXTS[page]}"}
    assert [page for page in using if not page.startswith("docs/api/")] == []


def test_titles_of_pages_differ():
    """A tab of a browser, and a result of a search, say which page they are of."""
    pages = [text for page, text in TEXTS.items() if page.parent != ROOT]
    titles = [re.search(r"(?m)^# (.*)$", text)[1] for text in pages]
    assert len({*titles}) == len(titles)


def test_the_first_screen_of_the_readme_names_make_demo_and_make_test():
    """The first 20 lines of the README name both commands, and make has them."""
    first_screen = TEXTS[ROOT / "README.md"].splitlines()[:20]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo", "test"):
        assert f"`make {target}`" in " ".join(first_screen)
        assert re.search(rf"(?m)^{target}:", makefile)


def test_the_picture_of_the_method_is_up_to_date():
    """The picture of the method, and that for phones, are what method_figure.py draws."""
    figure = runpy.run_path(str(ROOT / "docs" / "method_figure.py"))
    for layout in ("", "-narrow"):
        picture = (figure["IMAGES"] / f"method{layout}.svg").read_text("utf-8")
        assert picture == figure["drawing"](is_narrow=bool(layout))


def test_every_help_has_an_example():
    """docs/cli is what docs/cli_reference.py writes, every command is on one of its pages, and the
    help of each has example lines of that command.
    """
    pages = REFERENCE.pages()
    for page, text in pages.items():
        assert TEXTS[ROOT / "docs" / "cli" / f"{page}.md"] == text
    headings = re.findall(r"(?m)^## (glocal .*)$", "".join(pages.values()))
    assert sorted(headings) == sorted(name for name, _ in REFERENCE.commands(COMMAND))
    for name, command in REFERENCE.commands(COMMAND):
        examples = REFERENCE.examples(command)
        assert examples
        assert all(example.startswith(f"{name} ") for example in examples)


@every_page
def test_command_lines_on_the_pages_are_right(page):
    """Each ``glocal`` line in a shell block of a page, the examples of the help among them, names a
    command, with options that exist and suffice and with values in their ranges.
    """
    for line in command_lines(TEXTS[page]):
        parse(line)


FIRST_PAGES = ("README.md", "docs/start.md", "docs/collect.md")
ONLY_POSIX = re.compile(r"'|\\$|\$|`|&|^\.\s|^export |python3 ")


@pytest.mark.parametrize("name", FIRST_PAGES)
def test_commands_of_the_first_pages_run_in_powershell_too(name):
    """A shell line of these pages has nothing that PowerShell reads otherwise, unless the page on
    Windows says what to write there.
    """
    table = re.findall(r"(?m)^\| (.*?) \| ", TEXTS[ROOT / "docs" / "windows.md"])
    explained = {line for cell in table for line in re.findall(r"`(.*?)`", cell)}
    for block in blocks(TEXTS[ROOT / name], "(?:sh|shell)"):
        for written in block.splitlines():
            line = re.sub(r'"[^"$`]*"', "", written.partition(" #")[0]).rstrip()
            is_explained = line in explained or line.endswith(" &")
            assert is_explained or not ONLY_POSIX.search(line), written


def anchors(text):
    """The anchors of the headings of a page, as the site and GitHub make them."""
    titles = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_links_lead_somewhere(page):
    """Each relative link of a page names a file that exists and, if it names a heading, one that
    the file has.
    """
    lost = []
    for name, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", TEXTS[page]):
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
            lost.append(f"{name}#{anchor}")
    assert lost == []


@every_page
def test_tests_named_on_the_pages_exist(page):
    """Each ``test_x.py::test_y`` that a page names is a test function of that file."""
    for file, name in re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", TEXTS[page]):
        assert f"def {name}" in (ROOT / "tests" / file).read_text("utf-8"), (file, name)


NOTEBOOK = ROOT / "examples" / "walkthrough.ipynb"


@pytest.mark.nightly
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Every cell of the walkthrough runs in an empty folder, and the last leave a page and a
    transform there.
    """
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # more would only wait, since matrices are small
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1500, resources=resources).execute()
    assert {"report.html", "transform.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_the_notebook_is_kept_with_its_outputs():
    """The notebook was run from top to bottom without an error, and shows no paths of
    one machine.
    """
    text = NOTEBOOK.read_text("utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert re.findall(r'"output_type": "error"|/(?:home|root|tmp|Users)/', text) == []


def test_the_citation_has_the_version_and_address_of_the_package():
    """CITATION.cff has the version and the address of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"repository-code: {project['urls']['Repository']}\n" in cited
    assert f"\nversion: {__version__}\n" in cited
