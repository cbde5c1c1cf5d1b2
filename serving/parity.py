"""The parity gate: every way of asking an exported model gives the answer of the trained one.

At export the pipeline answers a set of probe rows: rows at the edges (empty, longest,
malformed) and real ones. Rows and answers are stored in the exported folder, so the gate
needs neither the run nor the recipe. It asks the reloaded SavedModel, and a server over
REST and gRPC, each row alone and in batches among shuffled strangers; and it asks a server
that makes batches itself, in many calls at once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import Client
from serving.errors import ServingError
from serving.server.launcher import RunningServer, launch
from zoo.errors import DataError, ParityError
from zoo.pipeline import Pipeline
from zoo.ports import Ports

TOLERANCE = 1e-5
BATCH_SIZES = (1, 7, 64)
AT_ONCE = 16
"""Calls in flight where the server makes batches."""
FILE = Path("assets.extra", "parity.json")


@dataclass(frozen=True)
class Probes:
    """Rows and the answers that the trained pipeline gave to them.

    Attributes:
        inputs, outputs: Ports of the model.
        rows: Raw rows by input name.
        answers: Answers by output name.
    """

    inputs: Ports
    outputs: Ports
    rows: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    @classmethod
    def of(cls, pipeline: Pipeline) -> Probes:
        """Ask a trained pipeline its probe rows and its samples, each row alone."""
        edges = pipeline.prepare.probe_rows()
        rows = {
            name: _joined(edges[name], np.asarray(pipeline.samples[name]))
            for name in pipeline.inputs
        }
        answers = pipeline.predict(rows, batch_size=1)
        return cls(pipeline.inputs, pipeline.outputs, rows, answers)

    def write(self, folder: Path) -> None:
        """Write into an exported folder."""
        values = {
            "inputs": self.inputs.to_json(),
            "outputs": self.outputs.to_json(),
            "rows": self.inputs.rows_to_json(self.rows),
            "answers": self.outputs.rows_to_json(self.answers),
        }
        (folder / FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Probes:
        """Read from an exported folder.

        Raises:
            DataError: The folder was not exported by this project.
        """
        try:
            values = json.loads((folder / FILE).read_text(encoding="utf-8"))
            inputs = Ports.from_json(values["inputs"])
            outputs = Ports.from_json(values["outputs"])
            rows = inputs.rows_from_json(values["rows"])
            answers = outputs.rows_from_json(values["answers"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"'{folder}' holds no readable {FILE}: export the run anew") from error
        return cls(inputs, outputs, rows, answers)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Yield row indices in batches of `size`, every row once, shuffled by a fixed seed."""
        order = np.random.default_rng(size).permutation(len(self))
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def difference(self, chosen: np.ndarray, received: Mapping[str, np.ndarray]) -> float:
        """Return the largest difference between the expected and the received numbers.

        Raises:
            ParityError: An output is missing, a text differs, or a number differs by more
                than the tolerance.
        """
        largest = 0.0
        for name in self.outputs:
            expected = self.answers[name][chosen]
            if name not in received or received[name].shape != expected.shape:
                raise ParityError(f"output '{name}' is missing or has another shape")
            rows = zip(chosen, expected, received[name], strict=True)
            gaps = [_gap(f"output '{name}' of row {row}", *pair) for row, *pair in rows]
            largest = max(largest, *gaps)
        return largest


@dataclass(frozen=True)
class Finding:
    """One transport at one batch size.

    Attributes:
        transport: "in process", "REST" or "gRPC"; with "batched" where the server batches.
        batch_size: Rows per call, at most.
        calls: Number of calls.
        difference: The largest difference of a number from the trained pipeline's.
    """

    transport: str
    batch_size: int
    calls: int
    difference: float


LONGEST_CALL = 1024
"""Rows that a call may have where calls are put together."""


@dataclass(frozen=True)
class Batching:
    """How the server is to make batches of the calls that come at once.

    Attributes:
        rows: Rows of a batch at most; a call of more is spread over several.
        wait_micros: Microseconds that a batch waits for more rows.
    """

    rows: int
    wait_micros: int

    def flags(self, folder: Path) -> list[str]:
        """Return the flags of the server, whose parameters are written into a folder."""
        values = {
            "max_batch_size": max(self.rows, LONGEST_CALL),
            "enable_large_batch_splitting": "true",
            "max_execution_batch_size": self.rows,
            "batch_timeout_micros": self.wait_micros,
        }
        lines = "".join(f"{name} {{ value: {value} }}\n" for name, value in values.items())
        file = folder / "batching.config"
        file.write_text(lines, encoding="ascii")
        return ["--enable_batching=true", f"--batching_parameters_file={file}"]


def ask_all(
    probes: Probes, transport: str, client: Client, batch_size: int, at_once: int = 1
) -> Finding:
    """Ask `client` every probe row in batches and compare.

    Args:
        probes: Rows and what they are answered.
        transport: What the finding calls the way of asking.
        client: Whom to ask.
        batch_size: Rows per call, at most.
        at_once: Calls in flight.

    Raises:
        ParityError: A call fails or an answer differs.
    """

    def ask(chosen: np.ndarray) -> float:
        rows = {name: values[chosen] for name, values in probes.rows.items()}
        try:
            return probes.difference(chosen, client.predict(rows, on_bad_row="return"))
        except (ServingError, ParityError) as error:
            where = f"{transport}, rows {chosen[:8].tolist()} in a batch of {len(chosen)}"
            raise ParityError(f"{where}: {error}") from error

    with ThreadPoolExecutor(at_once) as pool:
        gaps = list(pool.map(ask, probes.batches(batch_size)))
    return Finding(transport, batch_size, len(gaps), max(gaps, default=0.0))


def check(folder: Path) -> Iterator[Finding]:
    """Yield what each transport and batch size showed; starts and stops servers.

    Args:
        folder: An exported version folder, or a model folder, whose latest version is taken.

    Raises:
        DataError: There is no exported model.
        ParityError: The first answer that differs.
    """
    version = latest_version(folder)
    probes = Probes.read(version)
    with Client.in_process(version, "parity") as client:
        for size in BATCH_SIZES:
            yield ask_all(probes, "in process", client, size)
    # As many rows as a call has at most, so that calls are put together and never taken apart.
    for batching in (None, Batching(max(BATCH_SIZES), 2000)):
        kind, at_once = ("", 1) if batching is None else (" batched", AT_ONCE)
        with serve_alone(version, "parity", batching) as server:
            clients = {
                f"REST{kind}": Client.rest(server.rest_url, "parity"),
                f"gRPC{kind}": Client.grpc(server.grpc_address, "parity"),
            }
            for transport, client in clients.items():
                with client:
                    for size in BATCH_SIZES:
                        yield ask_all(probes, transport, client, size, at_once)


@contextmanager
def serve_alone(
    version: Path, name: str, batching: Batching | None = None
) -> Iterator[RunningServer]:
    """Serve one version folder, whatever it is called and whatever lies beside it.

    Args:
        version: An exported version folder.
        name: Name under which it is served, as version 1.
        batching: How the server is to make batches; None if it is not to.
    """
    with tempfile.TemporaryDirectory(prefix="seqzoo-serve-") as folder:
        base = Path(folder, "model")
        base.mkdir()
        Path(base, "1").symlink_to(version.resolve())
        flags = [] if batching is None else batching.flags(Path(folder))
        with launch(name, base, *flags) as server:
            yield server


def latest_version(folder: Path) -> Path:
    """Return `folder` if it is a version folder, else its version with the highest number.

    Raises:
        DataError: Neither.
    """
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [entry for entry in folder.glob("*/") if entry.name.isdecimal()]
    if not versions:
        raise DataError(f"'{folder}' holds no exported model: it needs numbered version folders")
    return max(versions, key=lambda entry: int(entry.name))


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the rows of both, whose axes are filled up with 0 to those of the larger one."""
    sizes = np.maximum(one.shape[1:], other.shape[1:])

    def filled(rows: np.ndarray) -> np.ndarray:
        missing = [(0, int(size) - has) for size, has in zip(sizes, rows.shape[1:], strict=True)]
        return np.pad(rows, [(0, 0), *missing])

    return np.concatenate([filled(one), filled(other)])


def _gap(what: str, expected: Any, received: Any) -> float:
    """Return the largest difference within one row's value, of numbers above 1 as a share.

    Pixels may differ by a level, for a value may lie halfway between two.
    """
    allowed = TOLERANCE
    if isinstance(expected, bytes):
        gap = _text_gap(what, _text(expected), _text(received))
    elif np.asarray(expected).dtype == np.uint8:
        levels = np.abs(np.asarray(received, np.float64) - expected)
        gap, allowed = float(np.max(levels, initial=0.0)), 1.0
    else:
        gaps = np.abs(np.float64(received) - expected) / np.maximum(np.abs(expected), 1.0)
        gap = float(np.max(gaps, initial=0.0))
    if not gap <= allowed:  # written so that NaN fails too
        raise ParityError(f"{what} differs by {gap:.2g}, more than {allowed:g}")
    return gap


def _text_gap(what: str, expected: str, received: str) -> float:
    """Return the largest difference of a number in a JSON list or object; else none may be.

    Numbers above 1 are compared by their share, since their last digits are those of float32.
    """
    if received == expected:
        return 0.0
    try:
        (ours, numbers), (theirs, others) = _without_numbers(expected), _without_numbers(received)
    except ValueError:
        ours, theirs, numbers, others = expected, received, [], []
    if not isinstance(ours, list | dict) or ours != theirs or not numbers:
        raise ParityError(f"{what} is {received!r}, not {expected!r}")
    pairs = zip(numbers, others, strict=True)
    return max(abs(one - other) / max(1.0, abs(one)) for one, other in pairs)


def _without_numbers(text: str) -> tuple[Any, list[float]]:
    """Return JSON with null in the place of each fraction, and the fractions."""
    numbers: list[float] = []
    value = json.loads(text, parse_float=lambda digits: numbers.append(float(digits)))
    return value, numbers


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
