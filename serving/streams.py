"""A recording to a model that listens while it is spoken, chunk by chunk.

The server remembers nothing between the calls: what a stream depends on comes back with every
answer and goes out again with the next chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from serving.client import Client
from zoo.sound import read_sound

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
        return str(answer["text"][0])

    def end(self) -> str:
        """Return the whole text.

        Raises:
            ServingError: The server cannot be reached; it may be asked again.
        """
        return str(self._client.predict(self._after, signature=END)["text"][0])


def read_recording(file: Path, rate: int) -> np.ndarray:
    """Return a sound file as `float32[time]`: mono, at `rate` samples per second.

    Raises:
        DataError: It cannot be read, or holds no samples.
        MisuseError: soundfile is not installed.
    """
    from scipy.signal import resample_poly

    samples, own = read_sound(file)
    return samples if own == rate else resample_poly(samples, rate, own).astype(np.float32)


def chunks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield samples in pieces of `size`; the last one may be shorter."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
