"""ModelService: the state of versions, and new lists of models while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from tests.serving.conformance import models
from tests.serving.conformance.calls import (
    AVAILABLE,
    END,
    code_of,
    half,
    refused,
    reload,
    spec,
    states,
    status,
)
from tests.serving.conformance.conftest import Started, add_version, model, write_config
from tests.serving.conformance.process import Server, wait_until

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class TestStatus:
    def test_every_version_is_told_the_newest_first(self, first: Server):
        told = status(first, "half")
        assert [(each.version, each.state) for each in told] == [
            (version, AVAILABLE) for version in (3, 2, 1)
        ]
        assert {(each.status.error_code, each.status.error_message) for each in told} == {(0, "")}

    def test_one_version_can_be_asked_for(self, first: Server):
        assert states(first, spec("half", version=2)) == {2: AVAILABLE}

    def test_a_label_does_not_narrow_it(self, first: Server):
        assert [*states(first, spec("half", label="stable"))] == [3, 2, 1]

    def test_unknown_models_and_versions_are_not_found(self, first: Server):
        with refused(NOT_FOUND, "Could not find any versions of model nobody"):
            status(first, "nobody")
        with refused(NOT_FOUND, "Could not find version 99 of model half"):
            status(first, spec("half", version=99))

    def test_a_request_without_a_model_is_refused(self, first: Server):
        with refused(INVALID, "Missing ModelSpec"):
            first.models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest())


@pytest.fixture(scope="module")
def server(start: Started, half_base: Path, tmp_path_factory: Any) -> Server:
    """A server that the tests below give other lists of models."""
    config = tmp_path_factory.mktemp("reload") / "models.txt"
    return start(
        model_config_file=write_config(config, model("half", half_base)),
        enable_model_warmup=False,
        max_num_load_retries=0,
        file_system_poll_wait_seconds=1,
    ).wait()


@pytest.fixture(autouse=True)
def only_the_newest(request: pytest.FixtureRequest, half_base: Path) -> Iterator[None]:
    """Put the first list of models back after a test that has changed it."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        reload(server, model("half", half_base))
        wait_until(lambda: available(server, "half") == {3})


def available(server: Server, name: str) -> set[int]:
    """Return the versions of a model that can be asked."""
    return {version for version, state in states(server, name).items() if state == AVAILABLE}


class TestReload:
    def test_adds_models_and_waits_for_them(self, server: Server, half_base: Path):
        response = reload(server, model("half", half_base), model("more", half_base))
        assert response.status.error_code == 0
        assert (half(server, "half"), half(server, "more")) == (4.0, 4.0)

    def test_removes_models(self, server: Server, half_base: Path):
        reload(server, model("more", half_base))
        wait_until(lambda: available(server, "half") == set())
        with refused(NOT_FOUND, "Servable not found for request: Latest(half)"):
            half(server, "half")
        assert half(server, "more") == 4.0
        assert set(states(server, "half").values()) == {END}

    def test_changes_version_policies(self, server: Server, half_base: Path):
        reload(server, model("half", half_base, specific={"versions": [1]}))
        wait_until(lambda: available(server, "half") == {1})
        assert half(server) == 2.0
        reload(server, model("half", half_base, latest={"num_versions": 2}))
        wait_until(lambda: available(server, "half") == {2, 3})
        assert half(server) == 4.0
        reload(server, model("half", half_base, all={}))
        wait_until(lambda: available(server, "half") == {1, 2, 3})

    def test_moves_labels(self, server: Server, half_base: Path):
        entry = model("half", half_base, all={})
        reload(server, entry)
        wait_until(lambda: available(server, "half") == {1, 2, 3})
        for version in (1, 2):
            entry.version_labels["stable"] = version
            reload(server, entry)
            assert half(server, spec("half", label="stable")) == 1.0 + version
        del entry.version_labels["stable"]
        reload(server, entry)
        with refused(INVALID, "Unrecognized servable version label: stable"):
            half(server, spec("half", label="stable"))

    def test_refuses_a_label_of_a_version_that_is_not_available(
        self, server: Server, half_base: Path
    ):
        entry = model("half", half_base)
        entry.version_labels["stable"] = 1
        with refused(
            PRECONDITION,
            "Request to assign label to version 1 of model half, which is not currently available "
            "for inference",
        ):
            reload(server, entry)
        assert half(server) == 4.0

    def test_unavailable_versions_take_labels_that_are_not_in_use_when_flagged(
        self, first: Server, half_base: Path, probe_base: Path
    ):
        half_entry = model("half", half_base, all={})
        half_entry.version_labels.update({"stable": 1, "canary": 2, "future": 8})
        with refused(PRECONDITION, part="Request to assign label to version 8 of model half"):
            reload(first, half_entry, model("probe", probe_base))
        assert half(first, spec("half", label="stable")) == 2.0
        half_entry.version_labels.update({"future": 9, "other": 8})
        reload(first, half_entry, model("probe", probe_base))
        with refused(NOT_FOUND, "Servable not found for request: Specific(half, 8)"):
            half(first, spec("half", label="other"))

    def test_tells_of_a_model_that_does_not_load(
        self, server: Server, half_base: Path, tmp_path: Path
    ):
        (tmp_path / "bad" / "1").mkdir(parents=True)
        with refused(grpc.StatusCode.UNKNOWN, part="1 model(s) did not become available: {"):
            reload(server, model("half", half_base), model("bad", tmp_path / "bad"))
        assert code_of(server, "bad") is NOT_FOUND
        assert half(server) == 4.0

    def test_does_not_warm_up_when_flagged(self, server: Server, half_base: Path, tmp_path: Path):
        add_version(tmp_path, 1, half_base / "1")
        models.save_warm_up(tmp_path / "1", "a signature that is not there")
        reload(server, model("half", half_base), model("cold", tmp_path))
        assert half(server, "cold") == 2.0

    def test_refuses_what_is_no_list_of_models(self, server: Server):
        with refused(
            INVALID,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ):
            server.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())

    def test_refuses_a_model_twice(self, server: Server, half_base: Path):
        with refused(INVALID, "Illegal to list model half multiple times in config list"):
            reload(server, model("half", half_base), model("half", half_base))
        assert half(server) == 4.0

    def test_refuses_relative_paths(self, server: Server):
        with refused(
            INVALID,
            "Expected model more to have an absolute path or URI; got base_path()=some/where",
        ):
            reload(server, model("more", Path("some/where")))
        assert half(server) == 4.0

    def test_refuses_other_platforms(self, server: Server, half_base: Path):
        entry = model("half", half_base)
        entry.model_platform = "other"
        with refused(
            INVALID,
            "Illegal to change a model's platform. For model half platform was tensorflow and new "
            "platform requested is other",
        ):
            reload(server, entry)
        assert half(server) == 4.0

    def test_refuses_a_model_without_a_platform(self, server: Server, half_base: Path):
        entry = model("half", half_base)
        entry.model_platform = ""
        with refused(
            INVALID,
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is half",
        ):
            reload(server, entry)
        assert half(server) == 4.0


class TestConfigFile:
    def test_is_looked_at_again_when_flagged(self, start: Started, half_base: Path, tmp_path: Path):
        config = write_config(tmp_path / "models.txt", model("half", half_base))
        server = start(
            model_config_file=config,
            model_config_file_poll_wait_seconds=1,
            file_system_poll_wait_seconds=1,
        ).wait()
        write_config(config, model("more", half_base))
        wait_until(lambda: (available(server, "half"), available(server, "more")) == (set(), {3}))
        config.write_text("improperly formatted file")
        assert half(server, "more") == 4.0
        write_config(config, model("third", half_base))
        wait_until(lambda: available(server, "third"))

    def test_is_read_once_otherwise(self, server: Server, half_base: Path):
        reload(server, model("more", half_base))
        wait_until(lambda: available(server, "half") == set())
        assert available(server, "more") == {3}
