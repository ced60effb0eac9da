"""Whatever the images are, every file has a row with the right pixels, or is named with
a reason.
"""

import io
import os
import re

import numpy as np
import pytest
import systems
import world
from PIL import Image

from glocal import Extractor
from glocal.errors import FileError
from glocal.extract import open_images
from glocal.extract.images import Unreadable, decode_image, natural_key

RED = (255, 0, 0)
GREEN = (0, 255, 0)
BLUE = (0, 0, 255)
WHITE = (255, 255, 255)


def flat(mode="RGB", color=RED, size=(16, 16)):
    return Image.new(mode, size, color)


def gray_image(values):
    return Image.fromarray(np.full((16, 16), values))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise():
    return encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")


def turned():
    """A picture, red on the left and blue on the right, that a camera took turned to the right."""
    image = flat(size=(32, 32))
    exif = Image.Exif()
    image.paste(BLUE, (16, 0, 32, 32))
    exif[0x0112] = 6
    return encoded(image, "PNG", exif=exif)


def palette():
    image = flat("P", 1)
    image.putpalette([0, 0, 0, *RED])
    return encoded(image, "PNG", transparency=1)


GRAY = (128, 128, 128)
BAD_EXIF = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
GOOD = {  # a file, and the colour of the whole or of each quarter
    "palette-transparent.png": (palette(), WHITE),
    "half-transparent.png": (flat("RGBA", (255, 0, 0, 128)), (255, 127, 127)),
    "cmyk.jpg": (flat("CMYK", (0, 255, 255, 0)), RED),
    "sixteen.png": (gray_image(np.uint16(0x80FF)), GRAY),
    "thirty-two.tif": (gray_image(np.int32(0x80FF)), GRAY),
    "turned.png": (turned(), (RED, RED, BLUE, BLUE)),
    "bad-exif.jpg": (encoded(flat(), "JPEG", quality=95, exif=BAD_EXIF), RED),
    "animated.gif": (encoded(flat(), "GIF", save_all=True, append_images=[flat(color=BLUE)]), RED),
    "wrong-extension.JPG": (encoded(flat(), "PNG"), RED),
    "deep/er/müde katze (1).ppm": (flat(), RED),
}
BAD = {  # a file, and a word of the reason
    "empty.png": (b"", "cannot identify"),
    "text.jpg": (b"this is no picture", "cannot identify"),
    "cut.jpg": (noise()[:1500], "truncated"),
    "huge.ppm": (b"P6 60000 60000 255 ", "pixels"),
    "negative.tif": (gray_image(np.int32(-5)), "values"),
    "real.tiff": (gray_image(np.float32(1e6)), "values"),
}


def four_pixels(image):
    """The colour in the middle of each quarter."""
    return np.asarray(image.resize((2, 2), Image.Resampling.NEAREST), dtype=np.float32).reshape(-1)


FOUR_PIXELS = (lambda batch: batch, four_pixels)


@systems.needs_unicode_names
def test_every_odd_and_damaged_file_is_accounted_for(tmp_path):
    """Each file becomes a row with the pixels that a person sees, or is named as missing with a
    reason.
    """
    images = {name: file for name, (file, _) in (GOOD | BAD).items()}
    (tmp_path / "images/deep/er").mkdir(parents=True)
    folder = world.folder(tmp_path / "images", notes_md="no image", **images)
    (folder / "dangling.png").symlink_to("nowhere.png")
    result = Extractor(FOUR_PIXELS, batch_size=5).extract(folder, tmp_path / "out")
    features = result.features()
    assert list(features.names) == sorted(GOOD, key=natural_key)
    for row, name in zip(features.matrix.reshape(-1, 4, 3), features.names, strict=True):
        assert np.abs(row - GOOD[name][1]).max() <= 3, (name, row)
    words = {name: word for name, (_, word) in BAD.items()} | {"dangling.png": "No such file"}
    reasons = dict(result.missing)
    assert reasons.keys() == words.keys()
    for name, reason in reasons.items():
        assert re.fullmatch(f".*{words[name]}.*", reason), (name, reason)


def test_decoding_equals_pillows_own_conversion(tmp_path):
    """A plain photograph decodes to exactly what Pillow's convert gives, and to a smaller picture
    at a smaller scale.
    """
    file = tmp_path / "a.jpg"
    file.write_bytes(noise())
    assert decode_image(file).tobytes() == Image.open(file).convert("RGB").tobytes()
    assert decode_image(file, at_least=16).size == (16, 16)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_images_is_missing_by_name(tmp_path):
    """A named pipe and a folder that is named like an image have no row, and nothing waits for a
    writer.
    """
    (tmp_path / "b.png").mkdir()
    flat().save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "c.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\n", "utf-8")
    result = Extractor(FOUR_PIXELS).extract(tmp_path / "list.txt", tmp_path / "out")
    assert result.features().names == ("a.png",)
    assert [name for name, reason in result.missing if "pipe" in reason] == ["b.png", "c.png"]


@pytest.fixture
def few(tmp_path):
    """Three images in two folders."""
    below = world.folder(tmp_path / "few/sub", b_bmp=flat(color=BLUE))
    return world.folder(below.parent, a10_png=flat(), a9_png=flat(color=GREEN))


def test_a_folder_a_pattern_and_a_list_name_the_same_images(few):
    """A tree and a pattern are read in natural order and a list in its own, and links are followed
    once.
    """
    tree = open_images(few)
    names = ["a9.png", "a10.png", "sub/b.bmp"]
    assert [tree.read(i).getpixel((0, 0)) for i in range(3)] == [GREEN, RED, BLUE]
    (few / "list.txt").write_text(f"sub/b.bmp\nnone.png\n\n{few}/a9.png\n", "utf-8")

    for images, expected in (
        (few, names),
        (f"{few}/**/*.*", names),
        (f"{few}/a?.png", names[:1]),
        (few / "a9.png", names[:1]),
        (few / "list.txt", ["sub/b.bmp", "none.png", f"{few}/a9.png"]),
    ):
        assert list(open_images(images).names) == expected
    (few / "sub" / "up").symlink_to(few, target_is_directory=True)
    assert list(open_images(few).names) == names
    with pytest.raises(Unreadable, match="No such file"):
        open_images(few / "list.txt").read(1)


def test_the_hash_of_images_sees_names_sizes_and_times(few):
    """The hash changes if a file is renamed, touched or changed, and else stays the same."""
    file = few / "a9.png"
    changes = (str, lambda: file.rename(few / "a8.png"), lambda: os.utime(few / "a8.png", (0, 0)))
    seen = []
    for change in changes:
        change()
        seen += [open_images(few).sha256() for _ in range(2)]
    assert len({*seen}) == 3


def test_what_is_not_a_source_of_images_is_refused(tmp_path):
    """Missing and empty folders, other files, lists that are not text, and names with line breaks
    are refused.
    """
    world.folder(tmp_path / "line", **{"a\nb.png": b""})
    world.folder(tmp_path / "code", **{"a\udcff.png": b""})
    world.folder(tmp_path / "other", l_txt=b"\xff\xfe\xff")
    for images in "none line code other other/*.png other/l.txt".split():
        with pytest.raises(FileError, match=r"^.*image.*$"):
            open_images(tmp_path / images)


@pytest.mark.skipif(os.name == "nt", reason="here the names of files cannot hold the separator")
def test_names_of_images_have_slashes_on_every_system(tmp_path, monkeypatch):
    """Where the separator of paths is a backslash, names of images have slashes, so that features
    of two systems join.
    """
    (tmp_path / "images" / "sub\\deep").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "images" / "sub\\deep" / "1.png")
    monkeypatch.setattr("os.sep", "\\")
    assert [*open_images(tmp_path / "images").names] == ["sub/deep/1.png"]
