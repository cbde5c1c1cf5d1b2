"""The parity gate: every way of asking an exported model gives the answer of the trained one.

At export the pipeline answers a set of probe rows: rows at the edges (empty, longest,
malformed) and real ones. Rows and answers are stored in the exported folder, so the gate
needs neither the run nor the recipe. It asks the reloaded SavedModel, and a server over
REST and gRPC, each row alone and in batches among shuffled strangers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
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
            name: np.concatenate([edges[name], np.asarray(pipeline.samples[name])])
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
        transport: "in process", "REST" or "gRPC".
        batch_size: Rows per call, at most.
        calls: Number of calls.
        difference: The largest difference of a number from the trained pipeline's.
    """

    transport: str
    batch_size: int
    calls: int
    difference: float


def ask_all(probes: Probes, transport: str, client: Client, batch_size: int) -> Finding:
    """Ask `client` every probe row in batches and compare.

    Raises:
        ParityError: A call fails or an answer differs.
    """
    calls, largest = 0, 0.0
    for chosen in probes.batches(batch_size):
        rows = {name: values[chosen] for name, values in probes.rows.items()}
        try:
            answers = client.predict(rows, on_bad_row="return")
            largest = max(largest, probes.difference(chosen, answers))
        except (ServingError, ParityError) as error:
            where = f"{transport}, rows {chosen[:8].tolist()} in a batch of {len(chosen)}"
            raise ParityError(f"{where}: {error}") from error
        calls += 1
    return Finding(transport, batch_size, calls, largest)


def check(folder: Path) -> Iterator[Finding]:
    """Yield what each transport and batch size showed; starts and stops a server.

    Args:
        folder: An exported version folder, or a model folder, whose latest version is taken.

    Raises:
        DataError: There is no exported model.
        ParityError: The first answer that differs.
    """
    version = latest_version(folder)
    probes = Probes.read(version)
    with serve_alone(version, "parity") as server:
        clients = {
            "in process": Client.in_process(version, "parity"),
            "REST": Client.rest(server.rest_url, "parity"),
            "gRPC": Client.grpc(server.grpc_address, "parity"),
        }
        for transport, client in clients.items():
            with client:
                for size in BATCH_SIZES:
                    yield ask_all(probes, transport, client, size)


@contextmanager
def serve_alone(version: Path, name: str) -> Iterator[RunningServer]:
    """Serve one version folder, whatever it is called and whatever lies beside it.

    Args:
        version: An exported version folder.
        name: Name under which it is served, as version 1.
    """
    with tempfile.TemporaryDirectory(prefix="seqzoo-serve-") as base:
        Path(base, "1").symlink_to(version.resolve())
        with launch(name, base) as server:
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


def _gap(what: str, expected: Any, received: Any) -> float:
    """Return the largest difference within one row's value; texts must be equal."""
    if isinstance(expected, bytes):
        if _text(received) != _text(expected):
            raise ParityError(f"{what} is {_text(received)!r}, not {_text(expected)!r}")
        return 0.0
    gap = float(np.max(np.abs(np.float64(received) - expected), initial=0.0))
    if not gap <= TOLERANCE:  # written so that NaN fails too
        raise ParityError(f"{what} differs by {gap:.2g}, more than {TOLERANCE:g}")
    return gap


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
