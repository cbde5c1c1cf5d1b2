"""Ask a running server, and print a line of JSON per row.

    python -m serving call sentiment "A joy." "A bore."
    python -m serving call sentiment reviews.txt --target 10.0.0.5:8500
    python -m serving call commands yes.wav no.wav --rest
    python -m serving call forecast sales.csv --signature serving_default
    python -m serving call dictation speech.wav --stream
    python -m serving call video film.mp4 --out next.gif
    python -m serving call sentiment "A joy." --target models.example.org:8500 --ca ca.crt

A word that names a file is read, any other is the text of a row. A .txt file is a row per line;
a .csv file is a row per line if its header names the inputs, and else a table of numbers; any
other file, such as a WAV or an image, is one row of bytes. The exit code is 1 if the model could
not use a row; its status says why, and a line on standard error which text or file it came from.

With --stream every recording is sent chunk by chunk to a model that can listen so, and what it
has understood is shown whenever that changes.

Of a video, or a folder of pictures, the last 64 frames are sent, with --frames 10 fewer, as many as
the model looks at, and with --every 5 those of every fifth, as it was trained with; --out writes
the frames of the answer as a GIF or an MP4, or the PNG of the signature `encoded`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from serving.targets import add_tls_arguments, tls_of
from zoo.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from serving.client import Client

HELP = "send text, a WAV, a CSV, a video or an image to a running server"

BATCH = 32
"""Rows per call: what a server that makes batches of that many still takes."""

MOST_SKIPPED = 10_000
"""Frames of which one is sent."""

MOST_BYTES = {False: 2**30, True: 2**26}
"""Of videos in a call, over gRPC and over REST, where four or five more stand for each."""

CHUNK = 100.0
"""Milliseconds of a chunk."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", help="name under which the model is served")
    parser.add_argument("rows", nargs="+", metavar="TEXT_OR_FILE", help="what to send")
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help="the server (default: 127.0.0.1:8500, with --rest 127.0.0.1:8501)",
    )
    parser.add_argument("--rest", action="store_true", help="over REST instead of gRPC")
    parser.add_argument(
        "--signature", help="of the model (default: serving_default); not with --stream"
    )
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds (default: 60)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for frames: .gif, .mp4 or .png")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="frames of a video")
    parser.add_argument("--frames", type=int, metavar="N", help="most frames of a video")
    parser.add_argument("--stream", action="store_true", help="send recordings chunk by chunk")
    parser.add_argument("--chunk", type=float, metavar="MS", help="of --stream (default: 100 ms)")
    add_tls_arguments(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="a version instead of the latest one")
    which.add_argument("--label", help="a label instead of the latest version")


def run(options: argparse.Namespace) -> int:
    """Print the answers; return 1 if a row cannot be used."""
    if options.stream and options.signature:
        raise MisuseError("--stream has its own signatures: leave --signature out")
    if options.stream and (options.out or options.every != 1 or options.frames is not None):
        raise MisuseError("--out, --every and --frames do not go with --stream")
    if not 1 <= options.every <= MOST_SKIPPED:
        raise MisuseError(f"--every must be from 1 to {MOST_SKIPPED}, not {options.every}")
    if options.frames is not None and options.frames < 1:
        raise MisuseError(f"--frames must be at least 1, not {options.frames}")
    if options.chunk is not None and not options.stream:
        raise MisuseError("--chunk belongs to --stream")
    chunk = CHUNK if options.chunk is None else options.chunk
    if not 1 <= chunk <= 60_000:
        raise MisuseError(f"--chunk must be from 1 to 60000 milliseconds, not {chunk:g}")
    with _client(options) as client:
        if options.stream:
            for file in options.rows:
                _listen(client, Path(file), chunk / 1000)
            return 0
        return _ask(client, options)


def _client(options: argparse.Namespace) -> Client:
    from serving.client import Client

    chosen = {name: getattr(options, name) for name in ("version", "label", "timeout")}
    chosen["tls"] = tls_of(options)
    if options.rest:
        scheme, target = "https" if chosen["tls"] else "http", options.target or "127.0.0.1:8501"
        return Client.rest(f"{scheme}://{target}", options.model, **chosen)
    return Client.grpc(options.target or "127.0.0.1:8500", options.model, **chosen)


def _ask(client: Client, options: argparse.Namespace) -> int:
    """Send all rows, many at a time."""
    from serving.errors import RowError
    from serving.rows import MOST_FRAMES, json_lines, read_named_rows, takes_frames
    from serving.values import DEFAULT_SIGNATURE

    code, signature = 0, options.signature or DEFAULT_SIGNATURE
    inputs = client.signature(signature).inputs
    of_videos = any(map(takes_frames, inputs.values()))
    given = {"every": options.every != 1, "frames": options.frames is not None}
    for name in given:
        if given[name] and not of_videos:
            raise MisuseError(f"--{name} is for videos, the signature takes {', '.join(inputs)}")
    most = options.frames or MOST_FRAMES
    names, rows = read_named_rows(options.rows, inputs, options.every, most)
    count = len(names)
    if of_videos:
        _check_size(rows, MOST_BYTES[options.rest])
    if options.out and count != 1:
        raise MisuseError(f"--out takes the answer to one video, and there are {count} rows")
    for start in range(0, count, BATCH):
        batch = {name: values[start : start + BATCH] for name, values in rows.items()}
        try:
            answer = client.predict(batch, signature=signature)
        except RowError as error:
            answer, code = dict(error.answer), 1
            for row, reason in sorted(error.rows.items()):
                print(f"error: {names[start + row]}: {reason}", file=sys.stderr)
        if options.out and not code:
            answer = _written(answer, options.out, Path(names[0]), options.every)
        for line in json_lines(answer, min(BATCH, count - start)):
            print(line, flush=True)
    return code


def _check_size(rows: Mapping[str, Sequence[np.ndarray]], most: int) -> None:
    """Refuse videos that are too large for a call, before they are sent."""
    size = sum(row.nbytes for videos in rows.values() for row in videos)
    if size > most:
        raise MisuseError(
            f"the videos have {size / 1e6:,.0f} MB, more than the {most / 1e6:,.0f} of a call: "
            "send fewer frames by --frames, as many as the model looks at, or use gRPC"
        )


def _written(
    answer: Mapping[str, np.ndarray], file: Path, source: Path, every: int
) -> dict[str, np.ndarray]:
    """Write the frames of an answer, and return the answer with the file's name in their place.

    They follow each other as fast as those of the video that was sent.
    """
    import numpy as np

    from serving.files import replace
    from zoo.video import ENCODERS, frame_rate

    suffix = file.suffix.lower()
    if "png" in answer and suffix == ".png":
        name, content = "png", answer["png"][0]
    elif "frames" in answer and suffix in ENCODERS:
        name, content = "frames", ENCODERS[suffix](answer["frames"][0], frame_rate(source) / every)
    else:
        have = ", ".join(answer)
        raise MisuseError(
            f"--out takes .gif or .mp4 for an answer with frames, .png for one with png; "
            f"'{file}' does not fit an answer with {have}"
        )
    try:
        replace(file, content)
    except OSError as error:
        raise MisuseError(f"'{file}' cannot be written: {error.strerror}") from error
    return {**answer, name: np.array([str(file)], object)}


def _listen(client: Client, file: Path, seconds: float) -> None:
    """Send one recording as it would be spoken, and show what is understood."""
    from serving.streams import Stream, chunks, read_recording

    stream = Stream(client)
    samples = read_recording(file, stream.rate)
    shown, sent = "", 0
    for chunk in chunks(samples, max(round(seconds * stream.rate), 1)):
        text, sent = stream.feed(chunk), sent + len(chunk)
        if text != shown:
            print(f"{sent / stream.rate:7.2f} s  {text}", flush=True)
            shown = text
    print(json.dumps({"audio": str(file), "text": stream.end()}, ensure_ascii=False), flush=True)
