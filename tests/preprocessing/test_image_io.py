"""Every format and mode gives the same grey values; what is not a picture is refused in one line."""

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

STROKE = Image.new("L", (60, 40), 255)  # a dark stroke on white
ImageDraw.Draw(STROKE).line((10, 5, 30, 35), fill=40, width=6)
LARGE = Image.new("L", (4000, 3000), 255)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def refusal(source) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(UserError) as caught:
        image_io.read(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_orientation(orientation: int, **options) -> dict:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif, **options}


ALIKE = {
    **{f"mode {mode}": encode(STROKE.convert("RGB").convert(mode)) for mode in ("L", "RGB", "RGBA", "LA")},
    "a palette": encode(STROKE.quantize()),
    "mode CMYK": encode(STROKE.convert("CMYK"), "TIFF"),
    **{kind: encode(STROKE, kind) for kind in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")},
    "an animation": encode(STROKE, "GIF", save_all=True, append_images=[Image.new("L", STROKE.size, 90)]),
    "an open file": io.BytesIO(encode(STROKE)),
    "a tensor": torch.from_numpy(np.array(STROKE)),
    "one channel first": torch.from_numpy(np.array(STROKE))[None],
    "one channel last": np.array(STROKE)[..., None],
    "three channels first": torch.from_numpy(np.array(STROKE)).expand(3, -1, -1),
    "a tensor with gradients": torch.from_numpy(np.array(STROKE)).float().requires_grad_(),
    "a photograph taken sideways": encode(STROKE.transpose(Image.Transpose.ROTATE_90), "JPEG", **with_orientation(6)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_formats_modes_and_arrays_look_alike(name):
    for _ in range(2):  # an open file is read from its beginning each time
        read = image_io.read(ALIKE[name])
        assert read.grey.shape == (40, 60) and read.scale == 1
        assert np.abs(read.grey - grey(STROKE)).mean() < 0.02


def test_numbers_of_other_ranges_are_rescaled():
    bright = grey(STROKE) > 0.5
    sixteen_bits = encode(Image.fromarray((bright * 4000).astype(np.uint16)))
    for source in (
        Image.fromarray(bright),
        (bright * 1000).astype(np.uint16),
        bright * 0.001,
        bright - 5.0,
        sixteen_bits,
    ):
        read = image_io.read(source).grey
        assert np.array_equal(read > 0.5, bright) and set(np.unique(read)) == {0.0, 1.0}
    values = np.full((20, 20), 0.5)
    values[5:15, 9:11], values[0, 0], values[0, 1] = 0.1, np.inf, np.nan  # which become the minimum
    read = image_io.read(values).grey
    assert read[10, 10] == read[0, 0] == read[0, 1] == 0 and read[1, 1] == 1


@pytest.mark.parametrize("size", [STROKE.size, (1800, 1200)])
@pytest.mark.parametrize(("ink", "paper"), [(0, 1.0), (255, 0.0)])  # white ink would not show on white
def test_transparency_is_background(ink, paper, size):
    shape = ImageOps.invert(STROKE).resize(size)
    read = image_io.read(encode(Image.merge("LA", (Image.new("L", size, ink), shape)))).grey
    assert read[0, 0] == paper and abs(read[len(read) // 2, read.shape[1] // 3] - paper) > 0.7


def test_one_grey_value_may_be_transparent():
    black_on_black = Image.eval(STROKE, lambda value: value // 255)
    assert np.ptp(image_io.read(encode(black_on_black, transparency=1)).grey) > 0.9


def test_coloured_ink_on_coloured_paper_is_seen():
    colours = np.zeros((30, 30, 3), np.uint8) + np.uint8([200, 60, 60])
    colours[10:20, 10:20] = [60, 125, 60]  # of about the same luminance
    assert np.ptp(image_io.read(colours).grey) > 0.4


def test_large_pictures_are_downscaled():
    read = image_io.read(np.zeros((1600, 3200), np.uint8))
    assert (read.grey.shape, read.scale) == ((320, 640), 5)
    panorama = image_io.read(np.zeros((500, 20_000), np.uint8)).grey  # has as many pixels
    assert panorama.shape == (72, 2862)
    assert image_io.read(encode(LARGE, "JPEG")).scale == 6.25


@pytest.mark.parametrize("orientation", image_io.TRANSPOSITIONS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_orientation_is_turned_upright(kind, orientation):
    content = encode(STROKE, kind, **with_orientation(orientation))
    upright = grey(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.abs(image_io.read(content).grey - upright).max() < 1e-6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(60_000), bytes(9)])
def test_corrupt_metadata_is_ignored(exif, kind):
    for header in (b"Exif\0\0", b""):
        read = image_io.read(encode(STROKE, kind, exif=header + exif))
        assert np.abs(read.grey - grey(STROKE)).mean() < 0.02


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, "text")
    return file.getvalue()


# What people take for pictures, its name, and what to do about it.
OTHERS = [
    (b'<?xml version="1.0"?>\n<svg width="9"/>', "an SVG drawing, not pixels; save it as PNG"),
    (b"%PDF-1.7\n", "a PDF document; save its page as PNG"),
    (b"\n" * 99 + b"%PDF-1.7\n", "a PDF document; save its page as PNG"),
    *((b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(50), "HEIC, as iPhones save photographs; export it as")
      for brand in (b"heic", b"heix", b"hevc", b"mif1")),
    (b"\0\0\0\x18ftypisom" + bytes(50), "a video; save one picture of it"),
    (b"\x1aE\xdf\xa3" + bytes(50), "a video; save one picture of it"),
    (b"RIFF\0\0\0\0AVI " + bytes(50), "a video; save one picture of it"),
    (archive("word/document.xml"), "an office document; save its picture"),
    (b"\xd0\xcf\x11\xe0" + bytes(50), "an office document; save its picture"),
    (archive("digit.png"), "an archive; unpack it"),
    (gzip.compress(b"digit"), "an archive; unpack it"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript, a program that draws; save it as PNG"),
    (b"8BPS\0\1" + bytes(50), "a Photoshop file; save it as PNG"),
    (b"\0\0\0\x0cjP  \r\n" + bytes(50), "JPEG 2000 or JPEG XL; save it as"),
    (b"\0\0\1\0\1\0" + bytes(50), "an icon; save it as PNG"),
    (b"II+\0\x08\0\0\0" + bytes(50), "a BigTIFF; save it as"),
    (b"<!DOCTYPE html><html></html>", "a web page; save the picture itself"),
    ("sieben 7 \u2013 \u00fc\n".encode() * 2000, "text, not pixels"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged at its beginning"),
    (bytes(range(256)), "none of PNG, JPEG, GIF, BMP, TIFF, WebP; save it as"),
    (b"", "none of PNG, JPEG, GIF, BMP, TIFF, WebP; save it as"),
]  # fmt: skip


# An archive holds the time at which it was made, and the processes that test must give each test one name.
@pytest.mark.parametrize(
    ("content", "words"), OTHERS, ids=[f"{place} {words}" for place, (_, words) in enumerate(OTHERS)]
)
def test_other_formats_are_named_whatever_the_suffix(content, words, tmp_path):
    (tmp_path / "seven.png").write_bytes(content)
    said = refusal(tmp_path / "seven.png").removeprefix(f"{tmp_path}/")
    assert said.startswith("seven.png is not a picture that can be read: it is " + words)
    assert refusal(content) == said.replace("seven.png", "this picture")


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "PCX", "SGI", "PDF", "DDS", "MSP", "BLP"])
def test_rare_formats_are_not_opened(kind):
    """For EPS, Pillow would start Ghostscript."""
    mode = {"MSP": "1", "BLP": "P"}.get(kind, "RGB")
    assert "is not a picture that can be read" in refusal(encode(Image.new(mode, (32, 32)), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_that_was_cut_off_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)
    whole = encode(Image.fromarray(noise), kind)
    assert "damaged" in refusal(whole[: len(whole) // 2])


def test_files_that_are_too_large_or_have_too_many_pixels_are_refused(tmp_path, monkeypatch):
    with (tmp_path / "large.png").open("w+b") as file:
        file.write(encode(STROKE))
        file.truncate(image_io.MAX_FILE_MB * 1_000_000 + 1)  # a hole: it takes no room
        for source in (tmp_path / "large.png", file):
            assert "large.png has more than 100 megabytes" in refusal(source)
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
              for part in (header, b"IDAT" + zlib.compress(bytes(1000)))]  # fmt: skip
    assert "has more than 120 million pixels" in refusal(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    monkeypatch.setattr(image_io, "MAX_DECODED_PIXELS", 2000)
    assert "has 60 x 40 pixels, more than 0 million; save it as JPEG, or make it smaller" in refusal(encode(STROKE))
    jpeg = encode(LARGE, "JPEG")
    assert "has 2,000 x 1,500 pixels" in refusal(jpeg)  # counted as the decoder reduces it
    monkeypatch.setattr(image_io, "MAX_DECODED_PIXELS", 2000 * 1500)
    assert image_io.read(jpeg).scale == 6.25


def test_a_tiff_of_very_many_strips_is_refused():
    content = bytearray(encode(STROKE, "TIFF"))
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (273,):  # where the strips begin
            struct.pack_into("<I", content, entry + 4, 50_000_000)
    assert "cut into more than 100,000 strips" in refusal(bytes(content) + bytes(1000))


@pytest.mark.parametrize(
    "source", [np.zeros((1, 1)), np.zeros((3, 4), np.uint8), Image.new("L", (1, 1)), np.zeros(5), np.zeros((9, 9, 2))]
)
def test_tiny_pictures_and_other_arrays_are_refused(source):
    assert any(words in refusal(source) for words in ("too few for a digit", "is not a picture"))


def test_what_cannot_be_opened_is_named_on_one_line(tmp_path):
    said = refusal(Path("no\n\x1b[2Jsuch\u202efile.png"))
    assert said.startswith("cannot read no ?[2Jsuch?file.png: No such file")
    assert f"{tmp_path} is a folder, or not an ordinary file" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("7")
    with (tmp_path / "a.txt").open() as text:
        assert "open it with mode 'rb'" in refusal(text)
