"""Tables for papers: numbers that a program can read, LaTeX that compiles, and rows that name their
network.
"""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("altair")
import world
from world import run

from glocal import LinearTransform
from glocal.report import Run, load_runs, save_tables
from glocal.report.tables import escaped, latex
from glocal.results import Score, read_scores, write_rows
from glocal.suite.table import score_frame


def rows(network, values):
    """Two arms on a task whose score should be high, and on one whose score should be low."""
    scores = []
    for metric, pair in zip(("accuracy_ncm", "fpr95"), values, strict=True):
        for arm, value in zip(("original", "few_shot"), pair, strict=True):
            scores.append(
                Score(
                    f"{metric} & more", metric, value, value - 0.1, value + 0.1, 50,
                    transform=arm, network=network,
                )
            )  # fmt: skip
    difference = Score(
        "accuracy_ncm & more", "accuracy_ncm_difference", values[0][1] - values[0][0], n=50,
        transform="few_shot", network=network, settings={"baseline": "original"}, p=0.001,
        p_corrected=0.002,
    )  # fmt: skip
    return [*scores, difference]


@pytest.fixture
def tables(tmp_path):
    scores = [*rows("net_1", ((0.5, 0.6), (0.3, 0.4))), *rows("net_2", ((0.7, 0.6), (0.2, 0.1)))]
    files = save_tables([Run("suite", score_frame(scores))], tmp_path)
    assert {file.name for file in files} == {"1-scores.csv", "1-scores.tex"}
    return tmp_path


def test_the_csv_is_long_and_numeric(tables):
    """The CSV has a row for each network, arm, task and metric, and a difference has
    its corrected p.
    """
    table = pd.read_csv(tables / "1-scores.csv")
    columns = ["network", "arm", "task", "metric", "value", "low", "high", "p", "n"]
    assert [name for name in table if name != "features"] == columns
    assert all(pd.api.types.is_numeric_dtype(table[name]) for name in columns[4:])
    (difference,) = table.query(
        "metric == 'accuracy_ncm_difference' and network == 'net_1'"
    ).to_dict("records")
    assert (difference["value"], difference["p"]) == (pytest.approx(0.1), 0.002)


def test_rows_without_a_network_have_the_name_of_the_run(tmp_path):
    """Rows without a network get the name of the run, so that tables of several runs
    can be joined.
    """
    (scores, *_) = rows(None, ((0.5, 0.6), (0.3, 0.4)))
    save_tables([Run("clip-sweep", score_frame([scores]))], tmp_path)
    assert pd.read_csv(tmp_path / "1-scores.csv")["network"].tolist() == ["clip-sweep"]


def test_the_latex_has_escapes_the_best_in_bold_a_star_and_a_caption(tables):
    """For each network and task the best score is bold, high or low, the caption explains the star,
    which stands for a p-value, and special characters are escaped everywhere.
    """
    text = (tables / "1-scores.tex").read_text("utf-8")
    assert not re.search(r"(?<!\\)[_%]|(?<!\\)& more", text.split("\n", 1)[1])
    lines = [line for line in text.splitlines() if line.startswith(r"net\_")]
    bold = [re.findall(r"\\textbf\{(0\.\d+)", line) for line in lines]
    assert bold == [["0.300"], ["0.600"], ["0.700"], ["0.100"]]
    assert "0.600 [0.500, 0.700]*" in text
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    for word in ("95", "Bold", "fpr95", "*: differs from original"):
        assert word in caption
    assert len({line.count(" & ") for line in lines}) == 1


def test_the_best_in_bold_is_the_best_of_what_is_printed(tmp_path):
    """Two values are equal where they are printed alike: .6125, printed .613, beats .612, and is
    as good as .613. Where all are equal, none is the best.
    """
    values = {"original": 0.612, "a": 0.6125, "b": 0.613}
    scores = [Score("task", "accuracy_ncm", value, transform=arm) for arm, value in values.items()]
    scores += [replace(score, task="same", value=0.5) for score in scores]
    save_tables([Run("suite", score_frame(scores))], tmp_path)
    text = (tmp_path / "1-scores.tex").read_text("utf-8")
    assert text.count("textbf") == 2
    assert re.findall(r"\n(\w+) & (\\textbf)?", text)[-3:] == [
        ("original", ""),
        ("a", r"\textbf"),
        ("b", r"\textbf"),
    ]


def test_the_caption_says_how_many_neighbours_were_counted(tmp_path):
    """The caption has the number of neighbours in the rows, which is below ten for few images."""
    scores = []
    for arm in ("original", "glocal"):
        common = {"n": 8, "transform": arm}
        scores.append(Score("odd-one-out", "accuracy_cosine", 0.5, **common))
        scores.append(Score("structure", "neighbours_kept", 0.9, settings={"k": 7}, **common))
    save_tables([Run("small", score_frame(scores))], tmp_path)
    assert "the 7 nearest neighbours kept" in (tmp_path / "1-methods.tex").read_text("utf-8")


def test_every_special_character_means_itself_in_latex():
    """Each character with a meaning in TeX is written as its command."""
    assert escaped("\\~^&%$#_{}") == (
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\&\%\$\#\_\{\}"
    )
    table = latex(["a"], [["b"]], "100 % of x_1")
    assert r"\caption{100 \% of x\_1}" in table


def test_rows_of_evaluate_name_the_network_and_the_features(tmp_path):
    """A file to which several commands append becomes one table with a line for each network."""
    rng = np.random.default_rng(0)
    world.folder(tmp_path, a_npz=world.answers(60, 20))
    for network in ("net-a", "net-b"):
        where = world.folder(tmp_path / network, features_npy=rng.normal(size=(20, 4)))
        files = ["--answers", tmp_path / "a.npz", "--out", tmp_path / "scores.jsonl"]
        assert run("evaluate odd-one-out --features", where, *files).code == 0
    scores = read_scores(tmp_path / "scores.jsonl")
    assert {score.network for score in scores} == {"net-a", "net-b"}
    assert {score.features for score in scores} == {str(tmp_path / n) for n in ("net-a", "net-b")}
    save_tables(load_runs([tmp_path / "scores.jsonl"]), tmp_path)
    table = pd.read_csv(tmp_path / "1-scores.csv")
    assert table["network"].unique().tolist() == ["net-a", "net-b"]


# the network and the features of a transform, in its record and on its card


def test_model_layer_preprocessing_and_notes_reach_record_and_card(tmp_path):
    """`fit` records what the features do not state themselves, and `push` puts it on the card."""
    folder = world.folder(tmp_path)
    line = "--method global --holdout 3 --model-name my-net --layer fc --preprocessing"
    words = [*line.split(), "resized to 224", "--notes", "Of our pilot.", "--out", folder / "t.npz"]
    data = ["--features", folder / "x.npy", "--answers", folder / "a.npz"]
    assert run("fit", *data, *words).code == 0
    meta = LinearTransform.load(folder / "t.npz").meta
    assert meta["source"] == {"model": "my-net", "layer": "fc", "preprocessing": "resized to 224"}
    assert run("transforms push", folder / "t.npz", folder / "card").code == 0
    card = (folder / "card" / "README.md").read_text("utf-8")
    for sentence in ("my-net / fc", "resized to 224", "Of our pilot.", "agreement on held-out"):
        assert sentence in card


def test_push_takes_the_same_options_and_scores(tmp_path):
    """The options of `push` replace those of the record, and only scores of this transform get onto
    the card.
    """
    path = world.folder(tmp_path) / "w.npz"
    scores = tmp_path / "scores.jsonl"
    row = Score("odd-one-out", "accuracy_cosine", 0.561, 0.55, 0.57, 900, transform=str(path))
    write_rows(scores, [row.row(), Score("rsa", "spearman", 0.123).row()])
    options = ("--model-name", "net", "--notes", "Mine.", "--scores", scores)
    assert run("transforms push", path, tmp_path / "card", *options).code == 0
    card = (tmp_path / "card" / "README.md").read_text("utf-8")
    for words in ("Transform of net", "Mine.", "0.561 [0.550, 0.570] (n = 900)"):
        assert words in card
    assert "0.123" not in card
    write_rows(scores, [Score("rsa", "spearman", 0.123).row()])
    code, _, err = run("transforms push", path, tmp_path / "card", *options)
    assert (code, "has no score" in err) == (2, True)


def test_a_second_push_keeps_the_licence(tmp_path):
    """The licence of a replaced card stays unless another is given, and nothing else does."""
    transform = LinearTransform(np.eye(3, dtype=np.float32), None, 0.0, 1.0)
    transform.save_pretrained(tmp_path, licence="mit", datasets=["me/answers"], notes="Old.")
    transform.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert 'license: "mit"' in card
    assert "me/answers" not in card
    assert "Old." not in card
    transform.save_pretrained(tmp_path, licence="cc0-1.0")
    assert 'license: "cc0-1.0"' in (tmp_path / "README.md").read_text("utf-8")
