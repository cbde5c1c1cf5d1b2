"""Several models at once, their labels, and new configurations while they are served."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving import errors
from serving.server.core import ServerCore
from serving.server.lifecycle import Retries
from serving.values import ModelRef
from tests.serving.fakes import (
    BROKEN,
    Loader,
    available,
    config_of,
    core_of,
    put,
    remove,
)
from tests.tools import wait_until

UNAVAILABLE_LABEL = (
    "Request to assign label to version {} of model toy, which is not currently available for "
    "inference"
)


@pytest.fixture
def loader() -> Iterator[Loader]:
    """What loads the models."""
    loader = Loader()
    yield loader
    loader.gate.set()


@pytest.fixture
def core(loader: Loader, tmp_path: Path) -> ServerCore:
    """A core that serves the models "toy" and "more"."""
    for name in ("toy", "more"):
        put(tmp_path / name, 1, name)
    core = core_of(loader)
    core.reload(config_of(toy=tmp_path / "toy", more=tmp_path / "more"))
    return core


def content(core: ServerCore, name: str, **choice: Any) -> str:
    """Return what a model says."""
    return core.get(ModelRef(name, **choice)).servable.content


def labelled(base: Path, **labels: int) -> Any:
    """Return a configuration of all versions of "toy", with labels."""
    config = config_of(toy=base)
    model = config.model_config_list.config[0]
    model.model_version_policy.all.SetInParent()
    model.version_labels.update(labels)
    return config


class TestAsking:
    def test_every_model_answers_for_itself(self, core: ServerCore):
        assert [content(core, name) for name in ("toy", "more")] == ["toy", "more"]
        assert core.is_ready()

    def test_a_request_without_a_name_is_refused(self, core: ServerCore):
        with pytest.raises(errors.InvalidArgument, match="^ModelSpec has no name specified.$"):
            core.get(ModelRef(""))

    def test_unknown_models_versions_and_labels_are_refused(self, core: ServerCore):
        for ref, message in (
            (ModelRef("nobody"), r"Servable not found for request: Latest\(nobody\)"),
            (ModelRef("nobody", 3), r"Servable not found for request: Specific\(nobody, 3\)"),
            (ModelRef("toy", 3), r"Servable not found for request: Specific\(toy, 3\)"),
        ):
            with pytest.raises(errors.NotFound, match=f"^{message}$"):
                core.get(ref)
        for name in ("nobody", "toy"):
            with pytest.raises(
                errors.InvalidArgument, match="^Unrecognized servable version label: stable$"
            ):
                core.get(ModelRef(name, label="stable"))

    def test_states_of_what_is_not_there_are_not_found(self, core: ServerCore):
        with pytest.raises(errors.NotFound, match="^Could not find any versions of model nobody$"):
            core.status(ModelRef("nobody"))
        with pytest.raises(errors.NotFound, match="^Could not find version 3 of model toy$"):
            core.status(ModelRef("toy", version=3))

    @pytest.mark.parametrize("name", ["..", "../more", "more/../toy", "/toy", "toy/1", "toy\0"])
    def test_a_name_is_never_a_path(self, core: ServerCore, name: str):
        for ask in (core.get, core.status):
            with pytest.raises(errors.NotFound):
                ask(ModelRef(name))


class TestStart:
    def test_waits_for_the_first_version(
        self, loader: Loader, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        (tmp_path / "toy").mkdir()
        core = core_of(loader)
        starting = threading.Thread(target=core.reload, args=(config_of(toy=tmp_path / "toy"),))
        starting.start()
        wait_until(lambda: "No versions of servable toy found under base path" in caplog.text)
        assert not core.is_ready()
        put(tmp_path / "toy", 1)
        core.refresh()
        starting.join()
        assert core.is_ready()

    def test_waits_for_every_version_that_the_policy_takes(self, loader: Loader, tmp_path: Path):
        for version in (1, 2, 3):
            put(tmp_path / "toy", version)
        core = core_of(loader)
        core.reload(labelled(tmp_path / "toy"))
        assert {each.state for each in core.status(ModelRef("toy"))} == {"AVAILABLE"}

    def test_waits_through_the_tries_of_the_only_version(self, loader: Loader, tmp_path: Path):
        (tmp_path / "toy" / "1").mkdir(parents=True)
        core = core_of(loader, Retries(1000, 0.02))
        writing = threading.Timer(0.1, (tmp_path / "toy" / "1" / "model").write_text, ["late"])
        writing.start()
        core.reload(config_of(toy=tmp_path / "toy"))
        assert content(core, "toy") == "late" and len(loader.loaded) > 1

    def test_fails_with_the_models_that_do_not_load(self, loader: Loader, tmp_path: Path):
        put(tmp_path / "toy", 1)
        put(tmp_path / "bad", 2, BROKEN)
        put(tmp_path / "bad", 1)
        core = core_of(loader)
        with pytest.raises(errors.ServerFault) as caught:
            core.reload(config_of(toy=tmp_path / "toy", bad=tmp_path / "bad"))
        assert str(caught.value) == (
            "1 servable(s) did not become available: {{{name: bad version: 2} due to error: "
            "INTERNAL: the model is broken}, }"
        )

    def test_ends_when_the_server_is_to_stop(self, loader: Loader, tmp_path: Path):
        stop = threading.Event()
        core = ServerCore(loader, stop=stop)
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(errors.Unreachable, match="the server stops"):
            core.reload(config_of(toy=tmp_path / "nowhere"))

    def test_without_models_is_a_start_too(self, loader: Loader, tmp_path: Path):
        core = core_of(loader)
        core.reload(ModelServerConfig())
        assert core.is_ready()
        put(tmp_path / "toy", 1)
        core.reload(config_of(toy=tmp_path / "toy"))
        assert content(core, "toy") == "good"

    def test_a_model_that_waits_for_its_next_try_holds_up_no_other(
        self, loader: Loader, tmp_path: Path
    ):
        core = core_of(loader, Retries(5, 3600))
        for name in ("toy", "more"):
            put(tmp_path / name, 1)
        for version in range(1, 20):
            put(tmp_path / "third", version, BROKEN)
        config = labelled(tmp_path / "third")
        config.model_config_list.config[0].name = "third"
        config.MergeFrom(config_of(toy=tmp_path / "toy", more=tmp_path / "more"))
        core.apply(config)
        wait_until(lambda: available(core, "toy") and available(core, "more"))
        put(tmp_path / "toy", 2, "second")
        core.refresh()
        wait_until(lambda: available(core, "toy") == {2})
        assert core.status(ModelRef("third"))[0].state == "LOADING"


class TestReload:
    def test_adds_removes_and_brings_back(self, core: ServerCore, tmp_path: Path):
        put(tmp_path / "third", 1, "third")
        core.reload(config_of(third=tmp_path / "third", more=tmp_path / "more"))
        assert content(core, "third") == "third" and content(core, "more") == "more"
        with pytest.raises(errors.NotFound, match=r"Latest\(toy\)"):
            core.get(ModelRef("toy"))
        wait_until(lambda: core.status(ModelRef("toy"))[0].state == "END")
        core.reload(config_of(toy=tmp_path / "toy"))
        assert content(core, "toy") == "toy"

    def test_a_removed_model_is_not_looked_for(self, core: ServerCore, tmp_path: Path):
        core.reload(config_of(more=tmp_path / "more"))
        put(tmp_path / "toy", 2)
        core.refresh()
        assert [each.version for each in core.status(ModelRef("toy"))] == [1]

    def test_a_new_model_that_does_not_load_is_told_and_kept(
        self, core: ServerCore, tmp_path: Path
    ):
        put(tmp_path / "bad", 1, BROKEN)
        config = config_of(toy=tmp_path / "toy", bad=tmp_path / "bad")
        with pytest.raises(
            errors.ServerFault,
            match=r"^1 model\(s\) did not become available: {{{name: bad version: 1} due to error",
        ):
            core.reload(config)
        assert content(core, "toy") == "toy" and not core.is_ready()
        assert core.status(ModelRef("bad"))[0].state == "END"
        core.reload(config)  # it is in force: nothing is new

    def test_a_later_configuration_ends_the_wait_for_an_earlier_one(
        self, core: ServerCore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        waiting = threading.Thread(
            target=core.reload, args=(config_of(nowhere=tmp_path / "nowhere"),)
        )
        waiting.start()
        wait_until(lambda: "for servable nowhere" in caplog.text)
        core.reload(config_of(toy=tmp_path / "toy"))
        waiting.join(10)
        assert not waiting.is_alive()

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            (
                "config { name: 'a' base_path: '/a' model_platform: 'tensorflow' } "
                "config { name: 'a' base_path: '/b' model_platform: 'tensorflow' }",
                "Illegal to list model a multiple times in config list",
            ),
            (
                "config { name: 'a' base_path: 'some/where' model_platform: 'tensorflow' }",
                "Expected model a to have an absolute path or URI; got base_path()=some/where",
            ),
            (
                "config { name: 'a' base_path: '/a' }",
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform, model name is a",
            ),
            (
                "config { name: 'a' base_path: '/a' model_type: 1 model_platform: 'tensorflow' }",
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                "ModelServerConfig::model_platform, model name is a",
            ),
            (
                "config { name: 'a' base_path: '/a' model_type: 2 }",
                "ModelServerConfig::model_type choice 2 not supported.",
            ),
            (
                "config { name: 'a' base_path: '/a' model_platform: 'other' }",
                "Model a requests unsupported platform other",
            ),
            (
                "config { name: 'toy' base_path: '/a' model_platform: 'other' }",
                "Illegal to change a model's platform. For model toy platform was tensorflow and "
                "new platform requested is other",
            ),
        ],
        ids=["twice", "relative", "no platform", "two", "old type", "unknown", "changed"],
    )
    def test_what_cannot_be_served_changes_nothing(
        self, core: ServerCore, config: str, message: str
    ):
        listed = text_format.Parse(f"model_config_list {{ {config} }}", ModelServerConfig())
        with pytest.raises(errors.InvalidArgument) as caught:
            core.reload(listed)
        assert str(caught.value) == message
        assert core.is_ready() and content(core, "more") == "more"

    def test_a_list_of_models_stays_one(self, core: ServerCore):
        with pytest.raises(
            errors.FailedPrecondition, match="^Cannot transition to requested config. It is only"
        ):
            core.reload(ModelServerConfig())
        custom = ModelServerConfig()
        custom.custom_model_config.SetInParent()
        with pytest.raises(errors.InvalidArgument, match="does not yet support custom model"):
            core.reload(custom)

    def test_a_model_type_of_old_is_taken(self, core: ServerCore, tmp_path: Path):
        config = config_of(toy=tmp_path / "toy")
        model = config.model_config_list.config[0]
        model.model_platform, model.model_type = "", 1
        core.reload(config)
        assert content(core, "toy") == "toy"

    def test_an_empty_list_takes_all_models_away(self, core: ServerCore):
        core.reload(config_of())
        with pytest.raises(errors.NotFound):
            core.get(ModelRef("toy"))


class TestLabels:
    @pytest.fixture
    def base(self, core: ServerCore, tmp_path: Path) -> Path:
        """The base path of "toy", of which versions 1 and 2 are served."""
        base = tmp_path / "toy"
        put(base, 2, "second")
        core.reload(labelled(base))
        wait_until(lambda: available(core, "toy") == {1, 2})
        return base

    def test_stand_for_versions_and_move(self, core: ServerCore, base: Path):
        core.reload(labelled(base, stable=1, canary=2))
        assert content(core, "toy", label="stable") == "toy"
        assert content(core, "toy", label="canary") == "second"
        core.reload(labelled(base, stable=2))
        assert content(core, "toy", label="stable") == "second"
        with pytest.raises(errors.InvalidArgument, match="version label: canary"):
            core.get(ModelRef("toy", label="canary"))

    def test_need_a_version_that_is_available(self, core: ServerCore, base: Path):
        core.reload(labelled(base, stable=1))
        with pytest.raises(errors.FailedPrecondition) as caught:
            core.reload(labelled(base, stable=9))
        assert str(caught.value) == UNAVAILABLE_LABEL.format(9)
        assert content(core, "toy", label="stable") == "toy"

    def test_cannot_be_given_at_the_start(self, loader: Loader, base: Path):
        with pytest.raises(errors.FailedPrecondition) as caught:
            core_of(loader).reload(labelled(base, stable=1))
        assert str(caught.value) == UNAVAILABLE_LABEL.format(1)

    def test_may_be_given_in_advance_when_flagged(self, loader: Loader, base: Path):
        core = core_of(loader, label_unavailable=True)
        core.reload(labelled(base, stable=1, future=3))
        assert content(core, "toy", label="stable") == "toy"
        with pytest.raises(
            errors.NotFound, match=r"Servable not found for request: Specific\(toy, 3\)"
        ):
            core.get(ModelRef("toy", label="future"))
        put(base, 3, "third")
        core.refresh()
        wait_until(lambda: 3 in available(core, "toy"))
        assert content(core, "toy", label="future") == "third"

    def test_that_are_in_use_need_an_available_version_even_then(self, loader: Loader, base: Path):
        core = core_of(loader, label_unavailable=True)
        core.reload(labelled(base, stable=1))
        with pytest.raises(errors.FailedPrecondition):
            core.reload(labelled(base, stable=9))
        core.reload(labelled(base, stable=2))
        assert content(core, "toy", label="stable") == "second"

    def test_of_a_version_that_is_gone_find_nothing(self, core: ServerCore, base: Path):
        core.reload(labelled(base, stable=1))
        remove(base, 1)
        core.refresh()
        with pytest.raises(errors.NotFound, match=r"Specific\(toy, 1\)"):
            core.get(ModelRef("toy", label="stable"))


class TestWatching:
    def test_new_versions_are_found(self, loader: Loader, tmp_path: Path):
        put(tmp_path / "toy", 1)
        stop = threading.Event()
        core = ServerCore(loader, Retries(0), stop=stop)
        core.reload(config_of(toy=tmp_path / "toy"))
        watcher = threading.Thread(target=core.watch, args=(0.01,))
        watcher.start()
        put(tmp_path / "toy", 2)
        wait_until(lambda: core.get(ModelRef("toy")).number == 2)
        stop.set()
        watcher.join()

    def test_it_goes_on_after_an_error(
        self, loader: Loader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        stop = threading.Event()
        core = ServerCore(loader, stop=stop)
        looks: list[int] = []

        def fail() -> None:
            looks.append(1)
            if len(looks) == 2:
                stop.set()
            raise RuntimeError("a disk that nobody thought of")

        monkeypatch.setattr(core, "refresh", fail)
        with caplog.at_level(logging.ERROR):
            core.watch(0.001)
        assert len(looks) == 2 and "a disk that nobody thought of" in caplog.text
