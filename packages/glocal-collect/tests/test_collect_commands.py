"""The commands: their links, restarts and exports, and one sentence for each wrong command line."""

import io
import json
import shutil
import socket

import numpy as np
import pandas as pd
import pytest
import uvicorn

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal_collect.overview import MARK
from glocal_collect.people import StudyService
from glocal_collect.study import open_study


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command whose server stops at once, and return its exit code, output and messages."""
    addresses = []

    def serve(server, sockets):
        addresses.append(sockets[0].getsockname())
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", serve)

    def run_command(*arguments):
        code = execute(["collect", *map(str, arguments)])
        output, messages = capsys.readouterr()
        return code, output, messages

    run_command.addresses = addresses
    return run_command


@pytest.fixture
def study(run, images, tmp_path):
    """The folder of a study with two personal links, created by the command."""
    folder = tmp_path / "study"
    assert run("run", images, "--out", folder, "--port", 0, "--people", 2)[0] == 0
    return folder


def test_the_links_are_printed_and_stay_the_same(run, images, tmp_path):
    """Each person has a link to the port of the server, and a restart prints the same links."""
    command = ["run", images, "--out", tmp_path / "study", "--port", 0, "--people", 2]
    code, output, messages = run(*command)
    assert code == 0
    words = [line.split() for line in output.splitlines()]
    links = {line[0]: line[1] for line in words if len(line) == 2}
    assert links.keys() == {"p1", "p2", "owner"}
    address, port = run.addresses[0]
    assert address == "127.0.0.1"
    assert links["p1"].startswith(f"http://127.0.0.1:{port}/r/")
    assert links["owner"].startswith(f"http://127.0.0.1:{port}/o/")
    assert "all answers are in" in messages
    code, output, _ = run(*command, "--json", "--test-links", 1)
    again = json.loads(output)
    assert again["test"].keys() == {"t1"}
    assert code == 0
    assert again["people"]["p2"].rsplit("/")[-1] == links["p2"].rsplit("/")[-1]
    assert again["images"] == 12


def test_a_study_is_opened_and_closed_by_the_command(run, study):
    """`--open` prints the open link, and `--no-open` prints no link but the owner's."""
    code, output, _ = run("run", "--out", study, "--port", 0, "--open", "--people", 5)
    assert code == 0
    assert "open link  http" in output
    assert "p1  http" not in output
    code, output, _ = run("run", "--out", study, "--port", 0, "--no-open")
    assert code == 0
    assert "open link" not in output
    assert "closed" in output
    assert open_study(study).settings.open is False
    code, output, _ = run("run", "--out", study, "--port", 0)
    assert code == 0
    assert "closed" in output


def test_an_address_for_people_is_printed_as_it_is(run, images, tmp_path):
    """With `--public-url` the server can listen on all addresses, and links begin with
    that address.
    """
    command = ["run", images, "--out", tmp_path / "study", "--port", 0, "--host", "0.0.0.0"]
    code, output, _ = run(*command, "--public-url", "https://study.example.org/", "--json")
    assert code == 0
    assert json.loads(output)["owner"].startswith("https://study.example.org/o/")
    assert run.addresses[0][0] == "0.0.0.0"


def test_images_that_are_left_out_are_named(run, tmp_path, write_pictures):
    """The command counts images that cannot be shown, and names the first with its reason."""
    folder = write_pictures(tmp_path / "mixed", ["a.png", "b.png", "c.png"])
    (folder / "empty.png").write_bytes(b"")
    code, _, messages = run("run", folder, "--out", tmp_path / "study", "--port", 0)
    assert code == 0
    assert "study.json lists: 1;" in messages
    assert "empty.png" in messages


def test_answers_are_exported_as_archive_and_as_table(run, serve_study, tmp_path):
    """`--out` may be an .npz, with a .csv beside it, or the .csv alone."""
    study = serve_study(per_person=4)
    study.answer_trials(study.begin(), lambda names: 1)
    folder = study.study.folder
    code, output, _ = run("export", folder, "--out", tmp_path / "a.npz", "--csv", "--json")
    assert code == 0
    record = json.loads(output)
    assert record["people"] == 1
    assert record["files"] == [str(tmp_path / "a.npz"), str(tmp_path / "a.csv")]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert len(archive["answers"]) == record["answers"]
    code, output, _ = run("export", folder, "--out", tmp_path / "b.csv")
    assert code == 0
    assert str(tmp_path / "b.csv") in output
    assert len(pd.read_csv(tmp_path / "b.csv")) == 4
    assert sorted(file.name for file in tmp_path.glob("?.*")) == ["a.csv", "a.npz", "b.csv"]


@pytest.fixture
def answered(serve_study, answer_all):
    """A study in which p1, p2 and p3 leave the two nearest numbers, and p4 clicks at random."""
    study = serve_study(people=5, per_person=120, repeats=0.2, catch=0.05)
    service = StudyService(study.study, study.database)
    rng = np.random.default_rng(0)
    for person in ("p1", "p2", "p3"):
        answer_all(service, person)
    answer_all(service, "p4", lambda names: int(rng.integers(3)))
    return study


def test_people_are_shown_and_excluded(run, answered, tmp_path):
    """A careless person is marked, and an exclusion is recorded, holds for exports, and can be
    taken back.
    """
    folder = answered.study.folder
    code, output, _ = run("people", folder)
    assert code == 0
    (line,) = (line for line in output.splitlines() if MARK in line)
    assert line.startswith("p4")
    assert "p5" in output
    distances = np.subtract.outer(np.arange(12), np.arange(12))
    np.save(tmp_path / "features.npy", np.exp(-(distances**2) / 8))
    (tmp_path / "file_names.txt").write_text("\n".join(f"image{i}" for i in range(12)))
    code, output, _ = run(
        "people", folder, "--features", tmp_path / "features.npy", "--exclude", "p4", "--json"
    )
    assert code == 0
    rows = {row["person"]: row for row in json.loads(output)["people"]}
    assert [person for person, row in rows.items() if row["is_marked"]] == ["p4"]
    assert [person for person, row in rows.items() if row["excluded"]] == ["p4"]
    assert rows["p1"]["low"] < rows["p1"]["agreement"] <= rows["p1"]["high"]
    assert rows["p1"]["catch_trials"] == 6
    assert rows["p5"]["answers"] == 0

    def exported(*options):
        code, output, _ = run(
            "export", folder, "--out", tmp_path / "a.npz", "--csv", "--json", *options
        )
        assert code == 0
        people = set(Answers.load(tmp_path / "a.npz").person)
        assert set(pd.read_csv(tmp_path / "a.csv")["person"]) == people
        with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
            assert archive["without"].tolist() == json.loads(output)["without"]
        return people

    everybody = {"p1", "p2", "p3", "p4"}
    assert exported() == everybody - {"p4"}
    assert exported("--without", "p1") == everybody - {"p1", "p4"}
    assert exported("--everybody") == everybody
    assert len(answered.rows("answers")) == 480
    assert run("people", folder, "--include", "p4")[0] == 0
    assert exported() == everybody
    for command in (["people", folder, "--exclude"], ["export", folder, "--without"]):
        arguments = ["--out", tmp_path / "b.npz"] if command[0] == "export" else []
        code, output, messages = run(*command, "p9", *arguments)
        assert (code, output) == (2, "")
        assert "p9" in messages


def test_exports_are_read_as_they_come(run, answered, tmp_path, capsys):
    """Check, import, split and fit read both files, joined with the features by name alone."""
    run("export", answered.study.folder, "--out", tmp_path / "a.npz", "--csv")
    order = np.random.default_rng(0).permutation(12)
    matrix = np.exp(-(np.subtract.outer(order, np.arange(12)) ** 2) / 8)
    np.save(tmp_path / "features.npy", matrix)
    (tmp_path / "file_names.txt").write_text("\n".join(f"photos/image{i}.jpg" for i in order))
    features = ["--features", str(tmp_path / "features.npy")]
    objectives = []
    for name in ("a.npz", "a.csv"):
        answers = ["--answers", str(tmp_path / name)]
        assert execute(["data", "check", *features, *answers]) == 0
        capsys.readouterr()
        fit = ["fit", *features, *answers, "--lmbda", "1", "--method", "global", "--holdout", "0"]
        assert execute([*fit, "--out", str(tmp_path / "t.npz"), "--json"]) == 0
        output, messages = capsys.readouterr()
        objectives.append(json.loads(output)["objective"])
        assert "no names" not in messages
        assert (
            execute(["data", "split", *features, *answers, "--out", str(tmp_path / name[2:])]) == 0
        )
        split = Answers.load(tmp_path / name[2:] / "train.npz")
        assert set(split.names) == {f"image{i}.png" for i in range(12)}
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-6)
    imported = ["data", "import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.npz")]
    assert execute(imported) == 0
    first = Answers.load(tmp_path / "a.npz")
    second = Answers.load(tmp_path / "b.npz")
    shown = [np.array(answers.names)[answers.objects].tolist() for answers in (first, second)]
    assert [{*row[:2]} | {row[2]} for row in shown[0]] == [{*row} for row in shown[1]]
    assert [row[2] for row in shown[0]] == [row[2] for row in shown[1]]
    assert first.person.tolist() == second.person.tolist()
    assert first.catch_passed.tolist() == second.catch_passed.tolist()


def test_the_people_of_a_new_study_are_shown(run, study):
    """Before anybody has begun, there is a line for each link."""
    code, output, _ = run("people", study)
    assert code == 0
    assert output.count("has not begun") == 2


def test_an_open_study_without_people_is_an_empty_table(run, images, tmp_path):
    """`collect people` shows its titles alone, and --json an empty list."""
    folder = tmp_path / "open"
    assert run("run", images, "--out", folder, "--port", 0, "--open")[0] == 0
    code, output, _ = run("people", folder)
    assert (code, "Person" in output) == (0, True)
    assert json.loads(run("people", folder, "--json")[1]) == {"people": []}


def test_a_plan_says_what_a_study_takes(run, images):
    """A plan counts images or takes their number, and says if a share is never reached for other
    images.
    """
    code, output, _ = run("plan", "--objects", 100, "--gain", 0.5, "--seconds", 4, "--pay", "12/h")
    assert code == 0
    assert "2,500 answers: 13 people × 200 trials" in output
    assert "49 for their pay" in output
    assert "never with a weak network" in output
    code, output, messages = run("plan", "--images", images, "--json")
    record = json.loads(output)
    assert (code, record["objects"], record["cost"]) == (0, 12, None)
    assert "copies" not in messages


def test_copies_of_an_image_are_named(run, images, tmp_path):
    """An image under two names causes a warning of plan and of run, with both names."""
    folder = tmp_path / "copies"
    shutil.copytree(images, folder)
    shutil.copyfile(folder / "image3.png", folder / "my photo (1).png")
    code, output, messages = run("plan", "--images", folder, "--json")
    assert code == 0
    assert json.loads(output)["objects"] == 13
    assert "image3.png and my photo (1).png" in messages
    code, _, messages = run("run", folder, "--out", tmp_path / "study", "--port", 0)
    assert code == 0
    assert "image3.png and my photo (1).png" in messages


def test_the_title_is_asked_for_in_a_terminal(run, images, tmp_path, monkeypatch):
    """A new study without --title asks for a title; without a terminal it takes the name of the
    folder.
    """
    assert run("run", images, "--out", tmp_path / "quiet", "--port", 0)[0] == 0
    assert open_study(tmp_path / "quiet").title == "quiet"
    answers = io.StringIO("Which look alike?\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    code, output, _ = run("run", images, "--out", tmp_path / "study", "--port", 0, "--json")
    assert code == 0
    assert json.loads(output)["images"] == 12
    assert open_study(tmp_path / "study").title == "Which look alike?"


def test_wrong_commands_end_in_one_sentence(run, images, tmp_path):
    """A wrong port, address, option or folder is refused in one sentence, and nothing
    is created.
    """
    out = ["--out", tmp_path / "study"]
    new = ["run", images, *out, "--port", 0]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        commands = [
            (["run", images, *out, "--port", port], str(port)),
            ([*new, "--host", "nowhere.invalid"], "--host"),
            ([*new, "--host", "0.0.0.0"], "--public-url"),
            ([*new, "--host", "::"], "--public-url"),
            ([*new, "--public-url", "example.org"], "--public-url"),
            ([*new, "--catch", "0.9"], "--catch"),
            ([*new, "--max-starts-per-minute", "5"], "--open"),
            ([*new, "--no-open"], "--no-open"),
            (["run", f"{images}x", *out, "--port", 0], f"{images}x"),
            (["run", *out, "--port", 0], "images"),
            (["plan"], "--objects"),
            (["plan", "--objects", "9", "--images", images], "--images"),
            (["plan", "--objects", "2"], "--objects"),
            (["plan", "--objects", "9", "--pay", "much"], "--pay"),
            (["people", tmp_path], "study.json"),
            (["export", tmp_path, "--out", tmp_path / "a.npz"], "study.json"),
            (["export", tmp_path, "--out", tmp_path / "a.txt"], ".csv"),
        ]
        for arguments, word in commands:
            code, output, messages = run(*arguments)
            assert code in (1, 2), arguments
            assert output == ""
            assert word in messages
            assert len(messages.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert run("run", images)[0] == 2


def test_a_study_that_cannot_go_on_says_why(run, study, images, tmp_path, write_pictures):
    """Other images, an option without effect and another kind are refused, and change nothing."""
    others = write_pictures(tmp_path / "others", ["x.png", "y.png", "z.png"])
    again = ["run", "--out", study, "--port", 0]
    before = (study / "study.json").read_text()
    for arguments, word in (
        (["run", others, "--out", study, "--port", 0], "images"),
        (["run", tmp_path / "nothing", "--out", study, "--port", 0], "nothing"),
        ([*again, "--max-starts-per-minute", "5"], "--open"),
        ([*again, "--no-open", "--people", "5"], "--people"),
        ([*again, "--kind", "anchor"], "kind"),
    ):
        code, output, messages = run(*arguments)
        assert code in (1, 2), arguments
        assert output == ""
        assert word in messages
    assert (study / "study.json").read_text() == before
    assert run("run", images, "--out", study, "--port", 0)[0] == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("study.json", b'{"made": 1}'),
        ("study.json", b"{"),
        ("secret.json", b"{}"),
        ("answers.sqlite", None),
        ("answers.sqlite", b"xxxx"),
        ("images/11.jpg", None),
    ],
)
def test_a_damaged_study_is_bad_content(run, study, tmp_path, name, content):
    """For a damaged study, run and export exit with 1 and name the file, which is not
    created again; answers are exported without images too.
    """
    file = study / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for arguments in (
        ["run", "--out", study, "--port", 0],
        ["export", study, "--out", tmp_path / "a.npz"],
    ):
        code, output, messages = run(*arguments)
        assert code == 1
        assert output == ""
        assert (name if arguments[0] == "run" or "/" not in name else "no answers") in messages
        assert len(messages.splitlines()) == 1
    assert file.exists() == (content is not None)


def test_a_line_of_revoked_that_is_no_id_is_said(run, serve_study):
    """A start names the lines of revoked.txt that are nobody's id, and no others."""
    study = serve_study(open=True, test_links=1)
    link = study.visit("?id=Ann")
    study.post(f"{link}/consent")
    (person,) = study.rows("people")
    file = study.study.folder / "revoked.txt"
    file.write_text(f"# left\nopen\nowner\nt1\nann\n{person['id']} # asked\n")
    start = ["run", "--out", study.study.folder, "--port", 0]
    assert "nobody" not in run(*start)[2]
    file.write_text("ann and p1\n")
    assert "ann and p1" in run(*start)[2]


@pytest.mark.parametrize("settings", [{"per_person": -1}, {"theme": "dark"}])
def test_wrong_settings_in_the_file_are_bad_content(run, study, settings):
    """A setting in study.json that is not allowed is exit code 1 with the name of the file."""
    record = json.loads((study / "study.json").read_text())
    record["settings"] |= settings
    (study / "study.json").write_text(json.dumps(record))
    code, _, messages = run("run", "--out", study, "--port", 0)
    assert code == 1
    assert "study.json" in messages
    assert str(next(iter(settings.values()))) in messages or next(iter(settings)) in messages
