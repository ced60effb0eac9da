"""Images in, whatever they are: every file has a row with the right pixels, or a reason by name."""

import io
import json
import os
import struct
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glocal.data.decode import Unreadable, decode_image
from glocal.errors import FileError
from glocal.extract import Extractor, open_images
from glocal.extract.folders import natural_key

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def flat(mode="RGB", color=RED, size=(16, 16)):
    return Image.new(mode, size, color)


def halves(size=(16, 16)):
    """Left half red, right half blue."""
    image = flat(size=size)
    image.paste(Image.new("RGB", (size[0] // 2, size[1]), BLUE), (size[0] // 2, 0))
    return image


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(halves((32, 32)), "PNG", exif=exif)


def png_header(width, height):
    """A PNG that promises a picture nobody has memory for."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def noise(kind, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def palette(transparent=None):
    image = flat("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return encoded(image, "PNG", **({} if transparent is None else {"transparency": transparent}))


def animated(kind, **options):
    return encoded(flat(), kind, save_all=True, append_images=[flat(color=BLUE), flat(color=GREEN)], **options)


def odd_files():
    """(name, bytes, what the four quarters show) of files that must have a row."""
    gray16 = np.full((16, 16), 0x80FF, np.uint16)
    return [
        ("rgb.png", encoded(flat(), "PNG"), RED),
        ("gray.png", encoded(flat("L", 128), "PNG"), (128, 128, 128)),
        ("bit.png", encoded(flat("1", 1), "PNG"), WHITE),
        ("palette.png", palette(), RED),
        ("palette_transparent.png", palette(1), WHITE),
        ("transparent.png", encoded(flat("RGBA", (255, 0, 0, 0)), "PNG"), WHITE),
        ("half_transparent.png", encoded(flat("RGBA", (255, 0, 0, 128)), "PNG"), (255, 127, 127)),
        ("gray_alpha.png", encoded(flat("LA", (0, 0)), "PNG"), WHITE),
        ("one_colour_transparent.png", encoded(flat(), "PNG", transparency=RED), WHITE),
        ("cmyk.jpg", encoded(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), RED),
        ("cmyk.tif", encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
        ("jpeg.jpeg", encoded(flat(), "JPEG", quality=95), RED),
        ("progressive.jpg", encoded(flat(), "JPEG", quality=95, progressive=True), RED),
        ("sixteen.png", encoded(Image.fromarray(gray16), "PNG"), (128, 128, 128)),
        ("sixteen.tif", encoded(Image.fromarray(gray16), "TIFF"), (128, 128, 128)),
        ("thirty_two.tif", encoded(Image.fromarray(gray16.astype(np.int32)), "TIFF"), (128, 128, 128)),
        ("real.tif", encoded(Image.fromarray(np.full((16, 16), 0.5, np.float32)), "TIFF"), (128, 128, 128)),
        ("upside_down.png", with_orientation(3), (BLUE, RED, BLUE, RED)),
        ("turned_right.png", with_orientation(6), (RED, RED, BLUE, BLUE)),
        ("turned_left.png", with_orientation(8), (BLUE, BLUE, RED, RED)),
        ("bad_exif.jpg", encoded(flat(), "JPEG", quality=95, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), RED),
        ("animated.gif", animated("GIF"), RED),
        ("animated.webp", animated("WEBP", lossless=True), RED),
        ("animated.png", animated("PNG"), RED),
        ("pages.tiff", animated("TIFF"), RED),
        ("bitmap.bmp", encoded(flat(), "BMP"), RED),
        ("one_pixel.png", encoded(flat(size=(1, 1)), "PNG"), RED),
        ("thin.png", encoded(flat(size=(900, 1)), "PNG"), RED),
        ("LOUD.JPG", encoded(flat(), "JPEG", quality=95), RED),
        ("wrong_extension.jpg", encoded(flat(), "PNG"), RED),
        ("müde katze (1).png", encoded(flat(), "PNG"), RED),
        ("deep/er/still.ppm", encoded(flat(), "PPM"), RED),
    ]


def damaged_files():
    """(name, bytes, a part of the reason) of files that cannot have a row."""
    return [
        ("empty.png", b"", "is empty"),
        ("text.jpg", b"this is no picture", "not an image of a known format"),
        ("page.png", b"<!doctype html><title>404</title>", "not an image of a known format"),
        ("zeros.jpg", bytes(2000), "not an image of a known format"),
        ("cut.jpg", noise("JPEG")[:1500], "damaged"),
        ("cut.png", noise("PNG")[:3000], "damaged"),
        ("cut.webp", noise("WEBP")[:300], "damaged"),
        ("header.gif", b"GIF89a\x10\x00", "not an image of a known format"),
        ("huge.png", png_header(60_000, 60_000), "damaged: Image size (3600000000 pixels) exceeds limit"),
        ("negative.tif", encoded(Image.fromarray(np.full((4, 4), -5, np.int32)), "TIFF"), "values from -5 to -5"),
        ("real.tiff", encoded(Image.fromarray(np.full((4, 4), 1e6, np.float32)), "TIFF"), "real values"),
        ("line\nbreak.png", encoded(flat(), "PNG"), "line break"),
    ]


def quarters(image):
    """The colour in the middle of each quarter."""
    return np.stack([np.asarray(image)[row, column] for row in (4, 11) for column in (4, 11)]).astype(np.float32)


def quarters_of(image):
    import torch

    return torch.from_numpy(quarters(image.resize((16, 16), Image.Resampling.NEAREST)).reshape(-1))


def write_all(folder, files):
    for name, data, _ in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_every_one_of_forty_odd_and_damaged_files_is_accounted_for(tmp_path):
    """Each of 46 files is a row with the pixels a person would see, or is missing by name with its reason."""
    folder, good, bad = tmp_path / "images", odd_files(), damaged_files()
    write_all(folder, good + bad)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    bad = [*bad, ("dangling.png", b"", "link to a file that does not exist")]
    (folder / "notes.md").write_text("no image")
    assert len(good) + len(bad) >= 40
    result = Extractor((lambda batch: batch, quarters_of), batch_size=5).extract(
        folder, tmp_path / "out", chunk_size=10
    )
    features = result.features()
    assert sorted(features.names) == sorted(name for name, _, _ in good)
    assert list(features.names) == sorted(features.names, key=natural_key)
    for name, _, shown in good:
        row = np.asarray(features.matrix[features.names.index(name)]).reshape(4, 3)
        colours = np.array([shown] * 4 if isinstance(shown[0], int) else shown, dtype=float)
        assert np.abs(row - colours).max() <= 3, (name, row)
    reasons = dict(result.missing)
    assert set(reasons) == {name for name, _, _ in bad}
    for name, _, part in bad:
        assert part in reasons[name], (name, reasons[name])
        assert "\n" not in reasons[name]
    assert result.ignored == ("notes.md",)
    assert result.rows + len(result.missing) == result.total == len(good) + len(bad)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert {entry["name"]: entry["reason"] for entry in record["missing"]} == reasons


def test_decoding_equals_pillows_own_conversion():
    """A plain photograph decodes to exactly what Pillow's convert gives."""
    data = noise("JPEG", quality=80)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(np.asarray(decode_image(data)), expected)


def test_a_sixteen_bit_image_with_a_transparent_value_lies_on_white():
    """A 16-bit gray PNG whose one value is transparent shows white there."""
    data = encoded(Image.fromarray(np.full((4, 4), 500, np.uint16)), "PNG")
    chunk = b"tRNS" + struct.pack(">H", 500)
    at = data.index(b"IDAT") - 4
    data = data[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at:]
    assert np.asarray(decode_image(data)).min() == 255


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff\xe0", b"II*\x00"])
)
def test_whatever_the_bytes_are_there_is_an_image_or_one_sentence(data, magic):
    """Random bytes behind real magic numbers never raise anything but Unreadable."""
    try:
        image = decode_image(magic + data)
    except Unreadable as reason:
        said = str(reason)
    else:
        said = image.mode
    assert said == "RGB" or ("\n" not in said and said.startswith(("is ", "has ", "does ")))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8), unique=True))
def test_the_natural_order_is_one_order(names):
    """Any distinct names have distinct keys, so their order does not depend on how they were listed."""
    keys = [natural_key(name) for name in names]
    assert len(set(keys)) == len(names)
    turned = names[::-1]
    assert sorted(names, key=natural_key) == sorted(turned, key=natural_key)


def test_numbers_sort_by_value_and_folders_before_names():
    """img2 comes before img10, in every folder, whatever the case."""
    names = ["b/img10.png", "b/img2.png", "a/img1.png", "A/img0.png", "img3.png", "Img20.png"]
    assert sorted(names, key=natural_key) == [
        "A/img0.png", "a/img1.png", "b/img2.png", "b/img10.png", "img3.png", "Img20.png",
    ]  # fmt: skip


def test_the_stem_is_compared_before_the_extension():
    """paint.png comes before paint2.png, and what lies in a folder before the file of that name."""
    names = ["paint2.png", "paint/x.png", "paint.png", "paint_a.png", "paint.jpg", "paint10.png"]
    assert sorted(names, key=natural_key) == [
        "paint/x.png", "paint.jpg", "paint.png", "paint2.png", "paint10.png", "paint_a.png",
    ]  # fmt: skip


@pytest.fixture
def few(tmp_path):
    """Three images in two folders."""
    folder = tmp_path / "few"
    for name, color in (("a10.png", RED), ("a9.png", GREEN), ("sub/b.jpg", BLUE)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(flat(color=color), "PNG"))
    return folder


def names_of(source):
    return [item.name for item in source.items]


def first_pixels(source):
    return [tuple(int(v) for v in np.asarray(source.read(i))[0, 0]) for i in range(len(source))]


def test_a_folder_a_pattern_and_a_list_name_the_same_images(few, tmp_path):
    """Tree and pattern are in natural order; a list keeps its own, and its missing line is named."""
    tree = open_images(few)
    assert names_of(tree) == ["a9.png", "a10.png", "sub/b.jpg"]
    assert first_pixels(tree) == [GREEN, RED, BLUE]
    assert names_of(open_images(f"{few}/**/*.*")) == names_of(tree)
    assert names_of(open_images(f"{few}/a?.png")) == ["a9.png"]
    (few / "list.txt").write_text(f"sub/b.jpg\nnone.png\n\n{few}/a9.png\na\0.png\n", encoding="utf-8")
    listed = open_images(few / "list.txt")
    assert names_of(listed)[:4] == ["sub/b.jpg", "none.png", "line 3", f"{few}/a9.png"]
    missing = ["does not exist", "is an empty line of the list", "has a NUL character in its name, which no file has"]
    assert listed.known_missing() == list(zip((1, 2, 4), missing, strict=True))
    assert names_of(open_images(few / "a9.png")) == ["a9.png"]


def test_a_link_that_leads_back_is_followed_once(few):
    """A folder that links to its parent does not go on for ever."""
    (few / "sub" / "up").symlink_to(few, target_is_directory=True)
    assert names_of(open_images(few)) == ["a9.png", "a10.png", "sub/b.jpg"]


def test_a_fingerprint_sees_names_and_sizes_and_a_content_hash_sees_bytes(few):
    """Changing a byte changes the content hash; changing a name changes both."""
    before = open_images(few)
    data = bytearray((few / "a9.png").read_bytes())
    data[-20] ^= 1
    (few / "a9.png").write_bytes(bytes(data))
    changed = open_images(few)
    assert changed.fingerprint() == before.fingerprint()
    (few / "a9.png").rename(few / "a8.png")
    renamed = open_images(few)
    assert renamed.fingerprint() != changed.fingerprint()
    assert renamed.content_sha256() != changed.content_sha256()


def shard(path, members, *, cut=None):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    if cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def test_tar_shards_are_read_where_they_lie(tmp_path):
    """Members keep the order of the archive, shards the natural order; other members are left out by name."""
    red, blue = encoded(flat(), "PNG"), encoded(flat(color=BLUE), "PNG")
    shard(tmp_path / "s10.tar", [("z.png", blue)])
    shard(tmp_path / "s9.tar", [("b.png", red), ("b.cls", b"3"), ("a.png", blue)])
    source = open_images(tmp_path)
    assert names_of(source) == ["s9/b.png", "s9/a.png", "s10/z.png"]
    assert first_pixels(source) == [RED, BLUE, BLUE]
    assert source.ignored == ("s9/b.cls",)
    assert names_of(open_images(tmp_path / "s9.tar")) == ["b.png", "a.png"]
    assert names_of(open_images(f"{tmp_path}/*.tar")) == names_of(source)


@pytest.mark.parametrize("where", ["data", "header"])
def test_a_damaged_shard_is_said_and_its_whole_members_are_kept(tmp_path, where):
    """A shard that is cut in the data or overwritten in a header is an item with a reason."""
    red = encoded(flat(size=(64, 64)), "PNG") + bytes(2000)
    path = shard(tmp_path / "s.tar", [("a.png", red), ("b.png", red)])
    data = bytearray(path.read_bytes())
    second = data.index(b"b.png")
    if where == "data":
        path.write_bytes(data[: second + 600])
    else:
        data[second : second + 512] = b"x" * 512
        path.write_bytes(data)
    source = open_images(path)
    assert names_of(source)[0] == "a.png"
    assert np.asarray(source.read(0)).shape == (64, 64, 3)
    assert source.known_missing()
    assert all("cut off" in reason or "damaged after" in reason for _, reason in source.known_missing())


def test_a_shard_whose_header_counts_beyond_all_integers_is_one_sentence(tmp_path):
    """The length of a record of a PAX header has hundreds of digits."""
    with tarfile.open(
        tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 500}
    ) as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    data = (tmp_path / "s.tar").read_bytes()
    at = data.index(b" comment=")
    (tmp_path / "s.tar").write_bytes(data[: at - 3] + b"9" * 400 + b" comment=" + data[at + 406 :])
    with pytest.raises(FileError, match="is not a tar file"):
        open_images(tmp_path / "s.tar")


def test_a_name_that_is_no_utf8_before_damage_is_hashed(tmp_path):
    """A shard damaged behind a member whose name is not UTF-8 has a content hash, as every source."""
    name = b"\xff.png".decode("utf-8", "surrogateescape")
    path = shard(tmp_path / "s.tar", [("a.png", encoded(flat(), "PNG")), (name, encoded(flat(), "PNG"))])
    path.write_bytes(path.read_bytes().rstrip(b"\0") + b"\0" * 700 + b"x" * 1200)
    source = open_images(path)
    assert any("damaged after" in reason for _, reason in source.known_missing())
    assert source.content_sha256() == open_images(path).content_sha256()


def linked(archive, name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    archive.addfile(info)


def test_links_in_a_tar_are_the_images_that_they_lead_to(tmp_path):
    """Hard and symbolic links, chains too, give the image they lead to; one that leads nowhere is an item with why."""
    red, blue = encoded(flat(), "PNG"), encoded(flat(color=BLUE), "PNG")
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        linked(archive, "k/before.png", "../a/blue.png", tarfile.SYMTYPE)  # before what it leads to
        for name, data in (("./a/red.png", red), ("a/blue.png", blue)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        linked(archive, "k/hard.png", "./a/red.png", tarfile.LNKTYPE)
        linked(archive, "k/chain.png", "hard.png", tarfile.SYMTYPE)
        linked(archive, "k/out.png", "../../away.png", tarfile.SYMTYPE)
        linked(archive, "k/loop.png", "loop.png", tarfile.SYMTYPE)
        linked(archive, "k/pipe.png", "", tarfile.FIFOTYPE)
        linked(archive, "folder", "a", tarfile.SYMTYPE)
    source = open_images(tmp_path / "s.tar")
    whole = ["k/before.png", "a/red.png", "a/blue.png", "k/hard.png", "k/chain.png"]
    assert names_of(source) == [*whole, "k/out.png", "k/loop.png", "k/pipe.png"]
    pixels = [np.asarray(source.read(number))[0, 0].tolist() for number in range(5)]
    assert pixels == [list(BLUE), list(RED), list(BLUE), list(RED), list(RED)]
    assert [reason for _, reason in source.known_missing()] == [
        "is a link that leads to ../away.png, which is not in the shard",
        "is a link that leads back to itself",
        "is not a regular file",
    ]
    assert source.ignored == ("folder -> a",)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda d: d / "none", "do not exist"),
        (lambda d: (d / "e").mkdir() or d / "e", "there is no image in folder"),
        (lambda d: (d / "f.csv").write_text("a") and d / "f.csv", "file of another kind"),
        (lambda d: (d / "f.tar").write_text("a" * 600) and d / "f.tar", "not a tar file"),
        (lambda d: (d / "f.tar.gz").write_text("a") and d / "f.tar.gz", "is compressed"),
        (lambda d: f"{d}/*.png", "there is no image"),
        (lambda d: (d / "l.txt").write_bytes(b"\xff\xfe\xff") and d / "l.txt", "not UTF-8"),
    ],
)
def test_what_is_no_source_of_images_is_refused_in_one_sentence(tmp_path, make, sentence):
    """Missing, empty, wrong and compressed sources each give one sentence that says so."""
    with pytest.raises(FileError, match=sentence) as caught:
        open_images(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_listed_is_named(few):
    """A subfolder without permission is an item with its reason, not a silent gap."""
    (few / "sub").chmod(0)
    try:
        assert open_images(few).known_missing() == [(2, "is a folder that cannot be read: Permission denied")]
    finally:
        (few / "sub").chmod(0o755)
