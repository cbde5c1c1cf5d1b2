"""The REST interface without its sockets: what TF Serving answers under /v1/."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import errors
from serving.server import (
    inference,
    json_answers,
    json_inference,
    json_requests,
    metrics,
)
from serving.server.core import ServerCore
from serving.server.grpc_api import METADATA_FIELD, model_metadata, status_response
from serving.values import DEFAULT_SIGNATURE, ModelRef

log = logging.getLogger(__name__)

_MODEL = r"([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/{_MODEL}:(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_GET = re.compile(rf"/v1/models(?:/{_MODEL})?(/metadata)?", re.IGNORECASE | re.ASCII)

ORIGINS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}
"""Headers that let scripts of every origin in."""


class Request(NamedTuple):
    """What a path asks for.

    Attributes:
        model: The model that it names; None if it names none.
        verb: "predict", "classify" or "regress"; "metadata" or "status" otherwise.
    """

    model: ModelRef | None
    verb: str


class RestApi:
    """Answers HTTP requests.

    Args:
        core: The models.
    """

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str]:
        """Return the HTTP status and the JSON text that answer a request.

        Args:
            method: HTTP method.
            path: Path and query as they were sent, still percent-encoded.
            body: The request's body.
        """
        began, request, failure = time.perf_counter(), Request(None, ""), None
        try:
            request = _parse(method, path)
            return 200, self._respond(request, body)
        except errors.ServingError as error:
            failure = error
        except Exception:
            log.exception("a REST call failed")
            failure = errors.InternalFault("internal error; see the server's log")
        finally:
            name = request.model.name if request.model else ""
            seconds = time.perf_counter() - began
            metrics.answered(name, request.verb, "REST", failure, seconds)
        return errors.row_of(failure).http, error_text(errors.message_of(failure))

    def _respond(self, request: Request, body: bytes) -> str:
        """Do what a request asks for."""
        model = request.model
        if model is None:
            raise errors.InvalidArgument("Missing model name in request.")
        if request.verb == "status":
            return _to_json(status_response(self._core.status(model)))
        if request.verb == "metadata":
            return self._metadata(model)
        document = json_requests.document(body)
        name = json_requests.signature_name(document) or DEFAULT_SIGNATURE
        if request.verb == "predict":
            return self._predict(model, name, document)
        examples = json_inference.read_examples(document)
        _, servable = self._core.get(model)
        if request.verb == "classify":
            return json_inference.write_classes(inference.classify(servable, name, examples))
        return json_inference.write_values(inference.regress(servable, name, examples))

    def _predict(self, model: ModelRef, name: str, document: Mapping[str, Any]) -> str:
        """Run a signature on the tensors of a JSON document."""
        _, servable = self._core.get(model)
        if name not in servable.signatures:
            raise errors.InvalidArgument(
                f'Serving signature name: "{name}" not found in signature def'
            )
        inputs, by_row = json_requests.read_inputs(document, servable.signatures[name].inputs, name)
        outputs = servable.predict(name, inputs)
        return json_answers.write_rows(outputs) if by_row else json_answers.write_columns(outputs)

    def _metadata(self, ref: ModelRef) -> str:
        """Return the signatures, with the map inside of the response spelt out."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[METADATA_FIELD])
        request.model_spec.name = ref.name
        if ref.version is not None:
            request.model_spec.version.value = ref.version
        elif ref.label is not None:
            request.model_spec.version_label = ref.label
        response = model_metadata(self._core, request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[METADATA_FIELD].Unpack(definitions)
        return (
            f'{{\n"model_spec":{_to_json(response.model_spec)},\n'
            f'"metadata": {{"{METADATA_FIELD}": {_to_json(definitions)}}}\n}}\n'
        )


def _ref(name: str, version: str | None, label: str | None) -> ModelRef:
    """Return the model that the parts of a path name."""
    if version is not None and int(version) >= 2**63:
        raise errors.InvalidArgument(f"Failed to convert version: {version} to numeric.")
    return ModelRef(
        unquote(name),
        None if version is None else int(version),
        None if label is None else unquote(label),
    )


def _to_json(message: Any) -> str:
    return json_format.MessageToJson(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )


def _parse(method: str, path: str) -> Request:
    """Return what a path asks for.

    Raises:
        InvalidArgument: Nothing that there is.
    """
    if method == "POST" and (match := _POST.fullmatch(path)):
        *model, verb = match.groups()
        return Request(_ref(*model), verb.lower())
    if method == "GET" and (match := _GET.fullmatch(path)):
        *model, metadata = match.groups()
        return Request(_ref(*model) if model[0] else None, "metadata" if metadata else "status")
    raise errors.InvalidArgument(f"Malformed request: {method} {path}")


def error_text(message: str) -> str:
    """Return the body of an answer that is an error."""
    return json.dumps({"error": message}, ensure_ascii=False)
