"""Video files and pictures to frames, by PyAV and Pillow, and frames to GIF, MP4 and PNG.

Outside the graph: data loading reads files with it, a client its input and its answer. Frames are
`uint8[height, width, channels]`, grey (1) or red, green, blue (3).
"""

from __future__ import annotations

import io
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import DataError, MisuseError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
FILMS = (".mp4", ".avi", ".gif", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v")
"""Endings that are taken to mean a video; a folder holds a picture per frame."""

USUAL_RATE = Fraction(10)
"""Frames per second where nothing says how many there are."""

TEXT = ("tty",)
"""What FFmpeg calls files that hold text: it would draw that."""

WIDE = ("PNG", "PPM")
"""Formats of which Pillow gives more than 8 bits as numbers up to 65535."""

ANIMATED = ("WEBP", "PNG", "TIFF")
"""Formats of pictures in which a file may hold a film."""

_PACKAGE = "pip install -r requirements-video.txt"


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video file, or of a folder of pictures in the order of their names.

    One frame at a time is in memory. Names count by their numbers: 2.png comes before 10.png.
    Films and photographs are turned as they are to be shown, transparency is dropped, more than 8
    bits become 8, and a picture in grey stays so. A WebP, PNG or TIFF file by itself gives all of
    its pictures, one in a folder its first. Of a film that is damaged further on, or says that it
    has more frames, what could be decoded comes, and a line on standard error says so.

    Args:
        path: A file that PyAV can read (MP4, AVI, GIF, MOV, MKV, WebM), a picture, or a folder.

    Raises:
        DataError: It cannot be read or holds no frame; the message names it and the reason.
        MisuseError: PyAV is not installed.
    """
    mode = mode_of(path)
    if stat.S_ISDIR(mode):
        pictures = entries(path, PICTURES)
        if not pictures:
            raise DataError(f"'{path}' holds no pictures ({', '.join(PICTURES)})")
        for picture in pictures:
            yield next(_read_pictures(picture))
    elif not stat.S_ISREG(mode):
        raise DataError(f"there is no file '{path}'")
    elif path.suffix.lower() in PICTURES:
        yield from _read_pictures(path)
    else:
        yield from _read_film(path)


def mode_of(path: Path) -> int:
    """Return what a path is, for the functions of `stat`; 0 if there is nothing.

    Raises:
        DataError: That cannot be told, as in a folder of somebody else.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from error


def frame_rate(path: Path) -> Fraction:
    """Return the frames per second of a film, 10 where a file or folder does not say.

    Raises:
        DataError: The path cannot be examined.
        MisuseError: PyAV is not installed.
    """
    av = _av()
    if not stat.S_ISREG(mode_of(path)) or path.suffix.lower() in PICTURES:
        return USUAL_RATE
    try:
        with av.open(_address(path)) as container:
            return container.streams.video[0].average_rate or USUAL_RATE
    except (OSError, av.FFmpegError, ValueError, IndexError):
        return USUAL_RATE


def entries(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return what a folder holds with one of these endings, hidden files left out.

    The order is that of the names, numbers in them by their size.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read '{folder}': {error.strerror}") from error
    return sorted((e for e in found if e.suffix.lower() in suffixes), key=by_number)


def by_number(path: Path) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them: "clip2" before "clip10"."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def encode_gif(frames: np.ndarray, frames_per_second: Fraction = USUAL_RATE) -> bytes:
    """Return a GIF that plays again and again, of at most 256 colours.

    Args:
        frames: `uint8[time, height, width, channels]`, 1 or 3 channels, at least one frame.
        frames_per_second: Its speed.

    Raises:
        MisuseError: PyAV is not installed.
    """
    # Not by Pillow, which leaves out frames that are equal to the one before.
    if frames.shape[-1] == 1:
        pictures: list[Any] = [np.ascontiguousarray(frame[..., 0]) for frame in frames]
        return _encode(pictures, "gray", "gif", "gif", frames_per_second, frames.shape)
    whole = _picture(frames.reshape(-1, *frames.shape[2:])).quantize(256, dither=0)
    colours = np.array(whole.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colours), 1:] = colours
    indices = np.asarray(whole).reshape(frames.shape[:3])
    pictures = [(np.ascontiguousarray(each), palette) for each in indices]
    return _encode(pictures, "pal8", "gif", "gif", frames_per_second, frames.shape)


def encode_mp4(frames: np.ndarray, frames_per_second: Fraction = USUAL_RATE) -> bytes:
    """Return an MP4 file in H.264; an odd last row or column is repeated, as the format needs.

    Args:
        frames: `uint8[time, height, width, channels]`, 1 or 3 channels, at least one frame.
        frames_per_second: Its speed.

    Raises:
        MisuseError: PyAV is not installed.
    """
    count, height, width, _ = frames.shape
    missing = [(0, height % 2), (0, width % 2), (0, 0)]
    shape = (count, height + height % 2, width + width % 2, 3)

    def even(frame: np.ndarray) -> np.ndarray:
        padded = np.pad(frame, missing, mode="edge")
        return np.ascontiguousarray(np.broadcast_to(padded, shape[1:]))

    return _encode(map(even, frames), "rgb24", "mp4", "libx264", frames_per_second, shape)


def encode_png(frame: np.ndarray) -> bytes:
    """Return a PNG file of `uint8[height, width, channels]`."""
    file = io.BytesIO()
    _picture(frame).save(file, "PNG")
    return file.getvalue()


ENCODERS = {".gif": encode_gif, ".mp4": encode_mp4}
"""How frames become a file, by its ending."""


def side_by_side(films: Sequence[np.ndarray], scale: int = 1, gap: int = 4) -> np.ndarray:
    """Return films of equal size beside each other, as long as the longest.

    A shorter one stands still at its end. Pixels are enlarged as squares.

    Args:
        films: `uint8[time, height, width, channels]` each.
        scale: Pixels per pixel.
        gap: Grey columns between them.
    """
    longest = max(map(len, films))
    columns: list[np.ndarray] = []
    for film in films:
        still = np.concatenate([film, np.repeat(film[-1:], longest - len(film), axis=0)])
        large = still.repeat(scale, axis=1).repeat(scale, axis=2)
        columns += [large, np.full((longest, large.shape[1], gap, film.shape[-1]), 128, np.uint8)]
    return np.concatenate(columns[:-1], axis=2)


def stacked(frames: Iterable[np.ndarray], path: Path) -> np.ndarray:
    """Return frames as `uint8[time, height, width, channels]`, all in colour if one is.

    Raises:
        DataError: There is none, or they differ in size; the message names `path`.
    """
    every = list(frames)
    sizes = {frame.shape[:2] for frame in every}
    if len(sizes) != 1:
        found = ", ".join(f"{height} x {width}" for height, width in sorted(sizes)) or "none"
        raise DataError(f"the frames of '{path}' must be of one size, and are of: {found}")
    channels = max(frame.shape[-1] for frame in every)
    return np.stack([np.broadcast_to(each, (*each.shape[:2], channels)) for each in every])


def _encode(
    pictures: Iterable[Any],
    kind: str,
    container: str,
    codec: str,
    frames_per_second: Fraction,
    shape: tuple[int, ...],
) -> bytes:
    """Return a film of pictures `[height, width, ...]`; `kind` is what PyAV calls their pixels."""
    av = _av()
    file = io.BytesIO()
    with av.open(file, "w", format=container) as film:
        stream = film.add_stream(codec, rate=frames_per_second)
        stream.height, stream.width = shape[1:3]
        stream.pix_fmt = "yuv420p" if kind == "rgb24" else kind
        for picture in pictures:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=kind)))
        film.mux(stream.encode())
    return file.getvalue()


def _read_film(path: Path) -> Iterator[np.ndarray]:
    av = _av()
    count = told = 0
    try:
        with av.open(_address(path)) as container:
            if not container.streams.video or container.format.name in TEXT:
                raise DataError(f"cannot read '{path}': it holds no pictures")
            told = container.streams.video[0].frames  # 0 where a file does not say
            for frame in container.decode(video=0):
                grey = frame.format.name.startswith("gray")
                pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
                upright = np.rot90(pixels, frame.rotation // 90)
                yield upright[..., None] if grey else upright
                count += 1
    except (OSError, av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if not count:
            raise DataError(f"cannot read '{path}': {reason}") from error
        print(f"note: '{path}' ends at frame {count + 1}: {reason}", file=sys.stderr)
        return
    if not count:
        raise DataError(f"cannot read '{path}': it holds no frame")
    if count < told:
        print(f"note: of the {told} frames of '{path}' {count} could be read", file=sys.stderr)


def _address(path: Path) -> str:
    """Return a path as FFmpeg takes it: a relative name with a colon would be a protocol's."""
    return str(path.absolute())


def _read_pictures(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            # Photographs of a telephone may hold a second picture, which is none of a film.
            count = getattr(opened, "n_frames", 1) if opened.format in ANIMATED else 1
            for number in range(count):
                opened.seek(number)
                yield _pixels_of(opened, path)
    except UnidentifiedImageError as error:
        raise DataError(f"cannot read '{path}': it is no picture") from error
    except DataError:
        raise
    except Exception as error:  # Pillow has no common class for what a damaged file may cause
        raise DataError(f"cannot read '{path}': {error}") from error


def _pixels_of(opened: Any, path: Path) -> np.ndarray:
    """Return the picture at which an opened file stands."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(opened)
    if picture.mode == "F" or (picture.mode == "I" and opened.format not in WIDE):
        raise DataError(
            f"cannot read '{path}': its values have no known range; save it with 8 or 16 bits per "
            "pixel"
        )
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        values = np.asarray(picture, np.float64)
        return np.round(values / 257.0).clip(0, 255).astype(np.uint8)[..., None]
    pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _picture(frame: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MisuseError(f"reading and writing videos takes PyAV: {_PACKAGE}") from error
    av.logging.set_level(av.logging.PANIC)
    return av
