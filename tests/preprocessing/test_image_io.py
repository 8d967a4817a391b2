"""Every format and mode gives the same grey values; what is not a picture is refused in one line."""

import contextlib
import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from digit_recognizer.preprocessing import image_io
from digit_recognizer.runtime.errors import UserError


@pytest.fixture(scope="module")
def stroke() -> Image.Image:
    """A dark stroke on white, grey, 60 wide and 40 high."""
    image = Image.new("L", (60, 40), 255)
    ImageDraw.Draw(image).line((10, 5, 30, 35), fill=40, width=6)
    return image


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_modes_look_alike(mode, stroke):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    same = stroke.quantize() if mode == "P" else stroke.convert("RGB").convert(mode)
    read = image_io.read(saved(same, kind)).grey
    assert read.shape == (40, 60)
    assert np.abs(read - grey(stroke)).max() < 0.02


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_formats_look_alike(kind, stroke):
    assert np.abs(image_io.read(saved(stroke, kind)).grey - grey(stroke)).mean() < 0.02


def test_one_bit_and_sixteen_bits_and_floats_are_stretched(stroke):
    hard = grey(stroke) > 0.5
    for picture in (Image.fromarray(hard), (hard * 1000).astype(np.uint16), hard * 0.001, hard.astype(float) - 5):
        assert np.array_equal(image_io.read(picture).grey > 0.5, hard)
        assert set(np.unique(image_io.read(picture).grey)) == {0.0, 1.0}
    assert np.array_equal(
        image_io.read(saved(Image.fromarray((hard * 4000).astype(np.uint16)), "PNG")).grey > 0.5, hard
    )


def test_tensors_and_channels_first(stroke):
    same = torch.from_numpy(np.array(stroke))
    for picture in (same, same[None], same[..., None], same.expand(3, -1, -1), same.float().requires_grad_()):
        assert np.abs(image_io.read(picture).grey - grey(stroke)).max() < 0.2
        assert image_io.read(picture).grey.shape == (40, 60)


def test_nan_and_infinities_become_the_minimum():
    values = np.full((20, 20), 0.5)
    values[5:15, 9:11], values[0, 0], values[0, 1] = 0.1, np.inf, np.nan
    read = image_io.read(values).grey
    assert read[10, 10] == read[0, 0] == read[0, 1] == 0 and read[1, 1] == 1


def test_one_grey_value_may_be_transparent():
    ink = Image.new("L", (40, 40), 1)
    ImageDraw.Draw(ink).line((20, 5, 20, 35), fill=0, width=5)
    assert np.ptp(image_io.read(saved(ink, "PNG", transparency=1)).grey) > 0.9


def test_transparency_is_background(stroke):
    shape = Image.eval(stroke, lambda value: 255 - value)
    for ink, paper in ((0, 1.0), (255, 0.0)):  # white ink would not show on white
        drawn = Image.merge("LA", (Image.new("L", stroke.size, ink), shape))
        read = image_io.read(saved(drawn, "PNG")).grey
        assert read[0, 0] == paper
        assert abs(read[20, 20] - paper) > 0.7


def test_a_photograph_taken_sideways_is_turned_upright(stroke):
    sideways, exif = stroke.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    read = image_io.read(saved(sideways, "JPEG", exif=exif, quality=95))
    assert np.abs(read.grey - grey(stroke)).mean() < 0.02
    assert read.scale == 1


def test_coloured_ink_on_coloured_paper_is_seen():
    colours = np.zeros((30, 30, 3), np.uint8) + np.uint8([200, 60, 60])
    colours[10:20, 10:20] = [60, 125, 60]  # of about the same luminance
    assert np.ptp(image_io.read(colours).grey) > 0.4


def test_large_pictures_are_downscaled():
    read = image_io.read(np.zeros((1000, 3200), np.uint8))
    assert read.grey.shape == (200, 640)
    assert read.scale == 5
    file = saved(Image.new("L", (4000, 3000), 255), "JPEG")
    assert image_io.read(file).scale == 6.25


def test_the_first_frame_of_an_animation_is_read(stroke):
    file = saved(stroke, "GIF", save_all=True, append_images=[Image.new("L", stroke.size, value) for value in (0, 90)])
    read = image_io.read(file)
    assert read.warnings == ("the first of several frames was read",)
    assert np.abs(read.grey - grey(stroke)).mean() < 0.02


def huge() -> bytes:
    """The beginning of a PNG file of 40,000 by 40,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a picture that can be read"),
        (b"7,8,9\n", "is not a picture that can be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a picture that can be read"),
        (huge(), "pixels"),
    ],
)
def test_what_is_not_a_picture_is_refused(content, words, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), content):
        with pytest.raises(UserError, match=words) as caught:
            image_io.read(source)
        assert "\n" not in str(caught.value)


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, "text")
    return file.getvalue()


def heif(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(50)


# What people take for pictures, its name, and what to do about it.
OTHERS = {
    "svg": (b'<?xml version="1.0"?>\n<svg width="9"/>', "an SVG drawing, not pixels; save it as PNG"),
    "pdf": (b"%PDF-1.7\n", "a PDF document; save its page as PNG"),
    "late pdf": (b"\n" * 99 + b"%PDF-1.7\n", "a PDF document; save its page as PNG"),
    **{f"heif {brand}": (heif(brand), "HEIC, as iPhones save photographs; export it as JPEG")
       for brand in (b"heic", b"heix", b"hevc", b"mif1")},
    "mp4": (b"\0\0\0\x18ftypisom" + bytes(50), "a video; save one picture of it"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(50), "a video; save one picture of it"),
    "avi": (b"RIFF\0\0\0\0AVI " + bytes(50), "a video; save one picture of it"),
    "docx": (archive("word/document.xml"), "an office document; save its picture"),
    "doc": (b"\xd0\xcf\x11\xe0" + bytes(50), "an office document; save its picture"),
    "zip": (archive("digit.png"), "an archive; unpack it"),
    "gz": (gzip.compress(b"digit"), "an archive; unpack it"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript, a program that draws; save it as PNG"),
    "psd": (b"8BPS\0\1" + bytes(50), "a Photoshop file; save it as PNG"),
    "jp2": (b"\0\0\0\x0cjP  \r\n" + bytes(50), "JPEG 2000 or JPEG XL; save it as"),
    "ico": (b"\0\0\1\0\1\0" + bytes(50), "an icon; save it as PNG"),
    "bigtiff": (b"II+\0\x08\0\0\0" + bytes(50), "a BigTIFF; save it as"),
    "html": (b"<!DOCTYPE html><html></html>", "a web page; save the picture itself"),
    "txt": ("sieben 7 \u2013 \u00fc\n".encode() * 2000, "text, not pixels"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged at its beginning"),
    "raw": (bytes(range(256)), "none of PNG, JPEG, GIF, BMP, TIFF, WebP; save it as"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_named_whatever_the_suffix(kind, tmp_path):
    content, words = OTHERS[kind]
    (tmp_path / "seven.png").write_bytes(content)
    with pytest.raises(UserError) as caught:
        image_io.read(tmp_path / "seven.png")
    said = str(caught.value).removeprefix(f"{tmp_path}/")
    assert said.startswith("seven.png is not a picture that can be read: it is " + words) and "\n" not in said


def test_only_common_formats_are_opened():
    """Not EPS, for which Pillow starts Ghostscript, and none of thirty rare formats."""
    Image.init()
    others = Image.SAVE.keys() - set(image_io.FORMATS) - {"PDF"}
    assert {"EPS", "ICO", "TGA", "PCX", "SGI"} <= others
    tried = 0
    for kind in sorted(others):
        file = io.BytesIO()
        with contextlib.suppress(Exception):  # some write other modes only, or need a library
            Image.new("RGB", (32, 32)).save(file, kind)
        if file.getvalue() and not file.getvalue().startswith(b"BM") and kind != "MPO":
            tried += 1
            with pytest.raises(UserError, match="is not a picture that can be read"):
                image_io.read(file.getvalue())
    assert tried > 10


def test_limits(tmp_path, monkeypatch, stroke):
    whole = saved(stroke, "PNG")
    with (tmp_path / "large.png").open("wb") as file:
        file.write(whole)
        file.truncate(image_io.MAX_FILE_MB * 1_000_000 + 1)  # a hole: it takes no room
    for source in (tmp_path / "large.png", (tmp_path / "large.png").open("rb")):
        with pytest.raises(UserError, match=r"large\.png has more than 100 megabytes"):
            image_io.read(source)
    source.close()
    monkeypatch.setattr(image_io, "MAX_DECODED_PIXELS", 2000)
    with pytest.raises(
        UserError, match=r"has 60 x 40 pixels, more than 0 million; save it as JPEG, or make it smaller"
    ):
        image_io.read(whole)
    large = Image.new("L", (4000, 3000), 255)
    with pytest.raises(UserError, match=r"has 1,000 x 750 pixels"):
        image_io.read(saved(large, "JPEG"))  # looked at after it is known how far the decoder reduces it
    monkeypatch.setattr(image_io, "MAX_DECODED_PIXELS", 1000 * 750)
    assert image_io.read(saved(large, "JPEG")).scale == 6.25


def test_a_tiff_of_very_many_strips_is_refused(stroke):
    content = bytearray(saved(stroke, "TIFF"))
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    for number in range(count):
        entry = place + 2 + 12 * number
        if struct.unpack_from("<H", content, entry) == (273,):  # where the strips begin
            struct.pack_into("<I", content, entry + 4, 50_000_000)
    with pytest.raises(UserError, match="cut into more than 100,000 strips"):
        image_io.read(bytes(content) + bytes(1000))


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(60_000),
        b"no",
        bytes(9),
    ],
    ids=lambda exif: repr(exif[:20]),
)
def test_corrupt_metadata_is_ignored(exif, stroke):
    for kind in ("JPEG", "PNG", "WEBP"):
        read = image_io.read(saved(stroke, kind, exif=exif))
        assert np.abs(read.grey - grey(stroke)).mean() < 0.02


@pytest.mark.parametrize("turn", image_io.TRANSPOSITIONS)
def test_every_orientation_is_turned_upright(turn, stroke):
    exif = Image.Exif()
    exif[0x0112] = turn
    for kind in ("PNG", "TIFF"):
        read = image_io.read(saved(stroke, kind, exif=exif)).grey
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(saved(stroke, kind, exif=exif))))
        assert read.shape == grey(upright).shape and np.abs(read - grey(upright)).max() < 1e-6


def test_a_name_is_one_line_of_plain_text():
    with pytest.raises(UserError) as caught:
        image_io.read(Path("no\n\x1b[2Jsuch\u202efile.png"))
    assert str(caught.value).startswith("cannot read no??[2Jsuch?file.png: No such file")


def test_an_open_file_is_read_from_its_beginning_each_time(stroke, tmp_path):
    file = io.BytesIO(saved(stroke, "PNG"))
    assert np.array_equal(image_io.read(file).grey, image_io.read(file).grey)
    (tmp_path / "a.txt").write_text("7")
    with (tmp_path / "a.txt").open() as text, pytest.raises(UserError, match="open it with mode 'rb'"):
        image_io.read(text)


def test_transparency_of_large_pictures_is_background(stroke):
    shape = Image.eval(stroke, lambda value: 255 - value).resize((1800, 1200))
    drawn = Image.merge("LA", (Image.new("L", shape.size, 0), shape))
    read = image_io.read(saved(drawn, "PNG")).grey
    assert read.shape == (427, 640) and read[0, 0] == 1 and read[213, 213] < 0.3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_that_was_cut_off_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)
    whole = saved(Image.fromarray(noise), kind)
    with pytest.raises(UserError, match=r"damaged|not a picture"):
        image_io.read(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "source", [np.zeros((1, 1)), np.zeros((3, 4), np.uint8), Image.new("L", (1, 1)), np.zeros(5), np.zeros((9, 9, 2))]
)
def test_tiny_pictures_and_other_arrays_are_refused(source):
    with pytest.raises(UserError, match=r"too few for a digit|is not a picture"):
        image_io.read(source)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.png: No such file"):
        image_io.read(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder, or no ordinary file"):
        image_io.read(tmp_path)
