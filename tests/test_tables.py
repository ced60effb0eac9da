"""The network, notes and scores of a transform reach its record and its card."""

import pytest
from world import folder, run

from glocal import LinearTransform
from glocal.results import Score, write_rows


def test_model_layer_preprocessing_and_notes_reach_record_and_card(tmp_path):
    """`fit` records what the features do not state themselves, and `push` puts it on the card."""
    at = folder(tmp_path)
    line = "--method global --holdout 3 --model-name my-net --layer fc --out"
    options = ("--preprocessing", "resized to 224", "--notes", "Of our pilot.")
    files = ("--features", at / "x.npy", "--answers", at / "t.npy", *options)
    assert run(f"fit {line}", at / "t.npz", *files).code == 0
    meta = LinearTransform.load(at / "t.npz").meta
    assert meta["source"] == {"model": "my-net", "layer": "fc", "preprocessing": "resized to 224"}
    assert run("transforms push", at / "t.npz", at / "card").code == 0
    card = (at / "card" / "README.md").read_text("utf-8")
    for words in ("my-net / fc", "resized to 224", "pilot.", "agreement on held-out answers"):
        assert words in card


def test_push_takes_the_same_options_and_scores(tmp_path):
    """The options of `push` replace those of the record, and only scores of this transform get onto
    the card; the licence of a replaced card stays unless another is given, and nothing else does.
    """
    at = folder(tmp_path)
    path = str(at / "w.npz")
    other = Score("rsa", "spearman", 0.123).row()
    row = Score("odd-one-out", "accuracy_cosine", 0.561, 0.55, 0.57, 900, transform=path)
    for rows, code in (([row.row(), other], 0), ([other], 2)):
        write_rows(at / "s.jsonl", rows)
        options = ("--model-name", "net", "--notes", "Mine.", "--scores", at / "s.jsonl")
        assert run("transforms push", path, at / "card", *options).code == code
    card = (at / "card" / "README.md").read_text("utf-8")
    for words in ("Transform of net", "Mine.", "0.561 [0.550, 0.570] (n = 900)"):
        assert words in card
    assert "0.123" not in card


@pytest.mark.parametrize(("licence", "kept"), [(None, "mit"), ("cc0-1.0", "cc0-1.0")])
def test_a_second_push_keeps_the_licence(tmp_path, licence, kept):
    """The licence of a replaced card stays unless another is given, and nothing else does."""
    transform = LinearTransform.load(folder(tmp_path) / "w.npz")
    transform.save_pretrained(tmp_path / "card", licence="mit", notes="Old.")
    transform.save_pretrained(tmp_path / "card", licence=licence)
    card = (tmp_path / "card" / "README.md").read_text("utf-8")
    assert f'license: "{kept}"' in card
    assert "Old." not in card
