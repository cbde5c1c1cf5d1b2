"""The REST interface: status, metadata and predict under /v1/models, as TF Serving has them."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import unquote

import uvicorn
from google.protobuf import json_format
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import errors
from serving.server import json_answers, json_requests
from serving.server.core import ServerCore
from serving.server.grpc_api import METADATA_FIELD, model_metadata, status_response
from serving.values import DEFAULT_SIGNATURE, ModelRef

log = logging.getLogger(__name__)

_MODEL = r"([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/{_MODEL}:(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_GET = re.compile(rf"/v1/models(?:/{_MODEL})?(/metadata)?", re.IGNORECASE | re.ASCII)


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
            path: Path as it was sent, still percent-encoded.
            body: The request's body.
        """
        try:
            return 200, self._dispatch(method, path, body)
        except errors.ServingError as error:
            message = errors.message_of(error)
            return errors.row_of(error).http, json.dumps({"error": message}, ensure_ascii=False)
        except Exception:
            log.exception("a REST call failed")
            return 500, json.dumps({"error": "internal error; see the server's log"})

    def _dispatch(self, method: str, path: str, body: bytes) -> str:
        """Find out what a request asks for, and do it."""
        if method == "POST" and (match := _POST.fullmatch(path)):
            *model, verb = match.groups()
            if verb.lower() != "predict":
                raise errors.Unimplemented(f"Method {verb} is not implemented")
            return self._predict(_ref(*model), body)
        if method == "GET" and (match := _GET.fullmatch(path)):
            *model, metadata = match.groups()
            if model[0] is None:
                raise errors.InvalidArgument("Missing model name in request.")
            ref = _ref(*model)
            return self._metadata(ref) if metadata else self._status(ref)
        raise errors.InvalidArgument(f"Malformed request: {method} {path}")

    def _predict(self, ref: ModelRef, body: bytes) -> str:
        """Run a signature on the tensors of a JSON document."""
        document = json_requests.parse(body)
        name = json_requests.signature_name(document) or DEFAULT_SIGNATURE
        _, servable = self._core.get(ref)
        if name not in servable.signatures:
            raise errors.InvalidArgument(
                f'Serving signature name: "{name}" not found in signature def'
            )
        inputs, by_row = json_requests.read_inputs(document, servable.signatures[name].inputs, name)
        outputs = servable.predict(name, inputs)
        return json_answers.write_rows(outputs) if by_row else json_answers.write_columns(outputs)

    def _status(self, ref: ModelRef) -> str:
        return _to_json(status_response(self._core.status(ref)))

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


def application(api: RestApi) -> ASGIApp:
    """Return the ASGI application of the interface."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = scope["raw_path"].decode("latin-1")
        if not path.lower().startswith("/v1/"):
            await Response(status_code=404)(scope, receive, send)
            return
        try:
            body = await request.body()
        except ClientDisconnect:  # nobody is left to answer
            return
        status, text = await run_in_threadpool(api.answer, request.method, path, body)
        content = text.encode(errors="surrogateescape")
        response = Response(content, status, media_type="application/json")
        await response(scope, receive, send)

    return app


class RestServer:
    """The interface in a thread of its own.

    Args:
        core: The models.
        listener: Socket that holds the address.

    Attributes:
        port: The port that it listens on.

    Raises:
        InternalFault: It ended instead of starting; the log says why.
    """

    def __init__(self, core: ServerCore, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            application(RestApi(core)),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._server.started:
            raise errors.InternalFault("the REST interface did not start")

    def stop(self, grace: float) -> None:
        """Take no new connections, let running calls finish for so many seconds, and end."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        self._thread.join(grace + 1)
