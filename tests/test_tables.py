"""The network, notes and scores of a transform reach its record and its card."""

import pytest
from world import folder, run

from glocal import LinearTransform


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


def test_push_takes_the_same_options(tmp_path):
    """The options of `push` replace those of the record."""
    at = folder(tmp_path)
    options = ("--model-name", "net", "--notes", "Mine.")
    assert run("transforms push", at / "w.npz", at / "card", *options).code == 0
    card = (at / "card" / "README.md").read_text("utf-8")
    for words in ("Transform of net", "Mine."):
        assert words in card


@pytest.mark.parametrize("licence, kept", [(None, "mit"), ("cc0-1.0", "cc0-1.0")])
def test_a_second_push_keeps_the_licence(tmp_path, licence, kept):
    """The licence of a replaced card stays unless another is given, and nothing else does."""
    transform = LinearTransform.load(folder(tmp_path) / "w.npz")
    transform.save_pretrained(tmp_path / "card", licence="mit", notes="Old.")
    transform.save_pretrained(tmp_path / "card", licence=licence)
    card = (tmp_path / "card" / "README.md").read_text("utf-8")
    assert f'license: "{kept}"' in card
    assert "Old." not in card
