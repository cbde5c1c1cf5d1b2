"""eSpeak NG, a speech synthesiser by rules, as a shared library.

The library keeps its state in global variables, so one process has one synthesiser. Its glottal
pulses go on from where the last sentence ended: a sentence sounds the same every time, but is
not the same bit for bit unless all before it were the same too.
Source: github.com/espeak-ng/espeak-ng, src/include/espeak-ng/speak_lib.h.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from zoo.errors import DataError, MisuseError

_RETRIEVE = 1
"""AUDIO_OUTPUT_RETRIEVAL: hand samples over instead of playing them."""

_RATE, _PITCH = 1, 3
"""espeakRATE and espeakPITCH."""

_UTF8 = 1

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@cache
def espeak() -> Espeak:
    """Return the synthesiser of this process.

    Raises:
        MisuseError: espeakng-loader, which brings the library, is not installed.
    """
    return Espeak()


class Espeak:
    """The synthesiser; `espeak()` returns the only one that a process may have.

    Attributes:
        rate: Samples per second.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MisuseError(
                "making speech takes espeakng-loader: pip install -r requirements-speech.txt"
            ) from error
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        folder = espeakng_loader.get_data_path().encode()
        self.rate: int = self._library.espeak_Initialize(_RETRIEVE, 0, folder, 0)
        self._parts: list[np.ndarray] = []
        # Kept, since the library holds a mere pointer to it.
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
        """Return `float32[samples]` from -1 to 1.

        Args:
            text: What is said.
            voice: A language and, behind "+", a speaker: "en-us+f3".
            words_per_minute: From 80 to 450.
            pitch: From 0 to 99.

        Raises:
            DataError: There is no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise DataError(f"eSpeak NG has no voice '{voice}'")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._parts.clear()
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate([np.zeros(0, np.int16), *self._parts]) / np.float32(2**15)
