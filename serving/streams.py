"""A recording to a model that listens while it is spoken, chunk by chunk.

The server remembers nothing between the calls: what a stream depends on comes back with every
answer and goes out again with the next chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from serving.client import Client
from zoo.errors import DataError, MisuseError

START, STEP, END = "stream_start", "stream_step", "stream_end"
"""The signatures of a model that can be streamed."""


class Stream:
    """One recording on its way.

    Example:
        >>> stream = Stream(client)
        >>> for chunk in microphone(stream.rate):
        ...     print(stream.feed(chunk))
        >>> print(stream.end())

    Args:
        client: Of the model.

    Attributes:
        rate: Samples per second that the model listens to.

    Raises:
        ServingError: The model cannot be reached, or cannot be streamed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        answer = client.predict({"stream": [""]}, signature=START)
        self.rate = int(answer["rate"][0])
        self._after = {name: answer[name] for name in ("state", "text")}

    def feed(self, samples: np.ndarray) -> str:
        """Send the next samples, `float32[time]` from -1 to 1; return the text so far.

        Raises:
            RowError: They are not finite numbers; they are as if never sent.
            ServingError: The server cannot be reached; the same samples may be sent again.
        """
        chunk = {"samples": samples[None], "length": np.array([len(samples)], np.int32)}
        answer = self._client.predict({**chunk, **self._after}, signature=STEP)
        self._after = {name: answer[name] for name in self._after}
        return _text(answer["text"])

    def end(self) -> str:
        """Return the whole text.

        Raises:
            ServingError: The server cannot be reached; it may be asked again.
        """
        return _text(self._client.predict(self._after, signature=END)["text"])


def _text(answer: np.ndarray) -> str:
    value = answer[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def read_recording(file: Path, rate: int) -> np.ndarray:
    """Return a sound file as `float32[time]`: mono, at `rate` samples per second.

    Raises:
        DataError: It cannot be read, or holds no sound.
        MisuseError: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MisuseError(
            "reading a recording takes soundfile: pip install -r requirements-speech.txt"
        ) from error
    from scipy.signal import resample_poly

    if not file.is_file():
        raise DataError(f"there is no file '{file}'")
    try:
        samples, own = soundfile.read(file, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot read '{file}': {str(error).rpartition(': ')[2]}") from error
    if not len(samples):
        raise DataError(f"'{file}' holds no sound")
    mono = samples.mean(axis=1)
    return mono if own == rate else resample_poly(mono, rate, own).astype(np.float32)


def chunks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield samples in pieces of `size`; the last one may be shorter."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
