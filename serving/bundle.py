"""An exported model to a folder from which TF Serving's container is built and deployed.

The folder is written aside and then renamed: there is a whole bundle, or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from serving import bench, files
from serving.containers import BASE_IMAGE, REST_PORT, Contents, measurement, render
from serving.containers.measurement import Goal
from serving.parity import Probes, latest_version
from serving.protocol import messages, rest, rpc
from serving.values import DEFAULT_SIGNATURE, Call, ModelRef, Signature
from zoo.errors import DataError, UnknownNameError

MANIFEST, MEASUREMENTS = "bundle.json", "measurements.json"
_FORMAT = "seqzoo-bundle"
LENGTH = "length"
"""Input that says where a row ends which was filled up to the length of another."""

_NAME = re.compile("[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Plan:
    """What is to be bundled.

    Attributes:
        model: An exported model: the folder of its versions, or one of them.
        out: The bundle's folder.
        stable: An older version that is served beside the newest one; None for no other.
        goal: By what the batching is chosen; None for `bench.BATCHING`, unmeasured.
        force: Whether a bundle that is there is replaced.
    """

    model: Path
    out: Path
    stable: int | None = None
    goal: Goal | None = field(default_factory=Goal)
    force: bool = False


def bundle(plan: Plan, tell: Callable[[str], None]) -> Contents:
    """Write a bundle.

    Args:
        plan: What to bundle, and where to.
        tell: Called with lines for people while the batching is measured.

    Returns:
        What is in it.

    Raises:
        DataError: There is no exported model, its name does not fit, or the folder cannot be
            written or replaced.
        UnknownNameError: There is no such version.
        ServingError: No way of batching could be measured.
    """
    require_replaceable(plan.out, plan.force)
    versions = _versions(plan)
    *_, probes = (Probes.read(folder) for folder in versions.values())
    out = plan.out.resolve()
    try:
        with files.aside(out) as folder:
            models = folder / "models" / _name(versions)
            for number, version in versions.items():
                shutil.copytree(version, models / str(number), copy_function=shutil.copyfile)
            contents = _contents(plan, models, probes, tell)
            texts = {**render(contents), **_requests(contents, probes), **_records(contents)}
            # The server's user has to read all of it.
            files.write_tree(folder, texts)
            require_replaceable(out, plan.force)  # measuring took minutes
            _publish(folder, out)
    except OSError as error:
        raise DataError(f"cannot write '{out}': {error.strerror or error}") from error
    return contents


def require_replaceable(out: Path, force: bool) -> None:
    """Refuse a folder that is there already, unless it is a bundle and may be replaced.

    Raises:
        DataError: It is to stay.
    """
    if not os.path.lexists(out):
        return
    if not _is_bundle(out):
        raise DataError(f"'{out}' is there already, and it is no bundle: choose another folder")
    if not force:
        raise DataError(f"'{out}' is a bundle already: --force replaces it, with its labels")


def _is_bundle(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == _FORMAT


def _versions(plan: Plan) -> dict[int, Path]:
    """Return the folders of the versions that are to be served, in increasing order."""
    newest = latest_version(plan.model).resolve()
    if not newest.name.isdecimal():
        raise DataError(f"'{newest}' is no version of a model: its name must be a number")
    number = int(newest.name)
    if plan.stable is None or plan.stable == number:
        return {number: newest}
    folders = [entry for entry in newest.parent.iterdir() if entry.name.isdecimal()]
    older = {int(entry.name): entry for entry in folders if int(entry.name) < number}
    if plan.stable not in older:
        raise UnknownNameError(f"version before {number}", str(plan.stable), map(str, older))
    return {plan.stable: older[plan.stable], number: newest}


def _name(versions: Mapping[int, Path]) -> str:
    """Return the model's name."""
    (name,) = {folder.parent.name for folder in versions.values()}
    if not _NAME.fullmatch(name):
        raise DataError(
            f"in a container a model's name has letters a to z, digits, - and _ alone, not '{name}'"
        )
    return name


def _contents(plan: Plan, models: Path, probes: Probes, tell: Callable[[str], None]) -> Contents:
    """Choose the batching and sum up what the bundle is made of."""
    pads = any(None in port.shape for port in probes.inputs.values())
    alone = pads and LENGTH not in probes.inputs
    contents = Contents(
        model=models.name,
        versions=tuple(sorted(int(version.name) for version in models.iterdir())),
        batching=None if alone else bench.BATCHING,
        pads=pads and not alone,
        alone=alone,
        size=sum(file.stat().st_size for file in _files(models)),
    )
    if plan.goal and not alone:
        measurements = measurement.measure(contents, models, plan.goal, tell)
        report = measurement.report(measurements, plan.goal)
        batching = measurements[report["chosen"]].batching
        contents = replace(contents, batching=batching, report=report)
    return replace(contents, fingerprint=_fingerprint(contents, models))


def _fingerprint(contents: Contents, models: Path) -> str:
    """Return eight hexadecimal digits that stand for all that goes into the image."""
    digest = hashlib.sha256()
    for path, text in sorted(render(contents).items()):
        if path.startswith(("Dockerfile", "config/", "healthcheck")):
            digest.update(f"{path}\0{text}\0".encode())
    for file in sorted(_files(models)):
        digest.update(f"{file.relative_to(models)}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:8]


def _requests(contents: Contents, probes: Probes) -> dict[str, str]:
    """Return a request for each interface: one of the real rows that travel with the model."""
    row = bench.rows_of(probes)[-1]
    call = Call(ModelRef(contents.model), DEFAULT_SIGNATURE, Signature({}, {}), row)
    message = messages.PredictRequest.FromString(rpc.predict(call).request)
    body = rest.predict(f"http://127.0.0.1:{REST_PORT}", call).content or b""
    return {
        "requests/rest.json": body.decode() + "\n",
        "requests/grpc.json": json_format.MessageToJson(message, preserving_proto_field_name=True)
        + "\n",
    }


def _records(contents: Contents) -> dict[str, str]:
    """Return what the bundle was made of, and by what its batching was chosen."""
    manifest = {
        "format": _FORMAT,
        "model": contents.model,
        "versions": contents.versions,
        "image": contents.image,
        "base_image": BASE_IMAGE,
        "batching": contents.batching and asdict(contents.batching),
        "measured": contents.report is not None,
        "seqzoo": metadata.version("seqzoo"),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    records: dict[str, Any] = {MANIFEST: manifest}
    if contents.report:
        records[MEASUREMENTS] = contents.report
    return {name: json.dumps(record, indent=1) + "\n" for name, record in records.items()}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _publish(aside: Path, out: Path) -> None:
    """Rename `aside` to `out`; a bundle that is there goes as soon as the new one is."""
    old = aside.with_name(f"{aside.name}.old")
    replaces = out.exists()
    if replaces:
        out.rename(old)
    try:
        aside.rename(out)
    except BaseException:
        if replaces:
            old.rename(out)
        raise
    if replaces:
        shutil.rmtree(old)
