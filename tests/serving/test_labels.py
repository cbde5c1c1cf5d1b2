"""Labels are promoted and rolled back in the configuration file, and at a running server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving import errors, labels
from serving.__main__ import main
from serving.labels import Change, Target, earlier_version, promote, rollback
from serving.protocol import messages
from zoo.errors import DataError, UnknownNameError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of one model with the versions 1, 2 and 3, all of them served."""
    for version in (1, 2, 3):
        (tmp_path / "toy" / str(version)).mkdir(parents=True)
    file = tmp_path / "models.config"
    file.write_text(
        "# ours\nmodel_config_list {\n  config {\n"
        f'    name: "toy"\n    base_path: "{tmp_path}/toy"  # here\n'
        "    model_version_policy { all {} }\n"
        '    version_labels { key: "stable" value: 1 }\n  }\n}\n'
    )
    return file


def standing(config: Path) -> dict[str, int]:
    """Return the labels of the file's only model."""
    message = text_format.Parse(config.read_text(), model_server_config_pb2.ModelServerConfig())
    return dict(message.model_config_list.config[0].version_labels)


def history(config: Path) -> list[tuple[str, int | None, int]]:
    """Return action, previous and new version of each line."""
    lines = config.with_name("models.config.history.jsonl").read_text().splitlines()
    changes = map(json.loads, lines)
    return [(each["action"], each["previous"], each["version"]) for each in changes]


class TestFile:
    def test_a_promotion_is_written_and_remembered(self, config: Path):
        change = promote(config, "toy", 2)
        assert (change.previous, change.version) == (1, 2)
        assert standing(config) == {"stable": 2}
        assert history(config) == [("promote", 1, 2)]
        assert "# ours\n" in config.read_text() and "# here\n" in config.read_text()

    def test_a_rollback_goes_back_one_promotion_each_time(self, config: Path):
        promote(config, "toy", 2)
        promote(config, "toy", 3)
        promote(config, "toy", 3, "canary")
        for version in (2, 1):
            assert rollback(config, "toy").version == version
            assert standing(config) == {"stable": version, "canary": 3}
        with pytest.raises(DataError, match="'stable' of model 'toy' has no earlier version"):
            rollback(config, "toy")
        promote(config, "toy", 3)
        assert rollback(config, "toy").version == 1

    def test_a_label_may_be_new(self, config: Path):
        assert promote(config, "toy", 3, "canary").previous is None
        assert standing(config) == {"stable": 1, "canary": 3}
        with pytest.raises(DataError, match="no earlier version in '.*history.jsonl'"):
            rollback(config, "toy", "canary")

    def test_the_same_version_again_changes_nothing(self, config: Path):
        before = config.read_text()
        assert promote(config, "toy", 1).version == 1
        assert config.read_text() == before
        assert sorted(path.name for path in config.parent.iterdir()) == ["models.config", "toy"]

    def test_a_text_that_cannot_be_edited_is_written_anew(self, config: Path):
        text = config.read_text().replace("config {", "config: [ {").replace("  }\n}", "  } ]\n}")
        config.write_text(text)
        promote(config, "toy", 2)
        assert standing(config) == {"stable": 2}

    def test_a_link_stays_a_link_and_permissions_stay(self, config: Path):
        config.chmod(0o640)
        link = config.with_name("link.config")
        link.symlink_to(config)
        promote(link, "toy", 2)
        assert link.is_symlink() and standing(config) == {"stable": 2}
        assert config.stat().st_mode & 0o777 == 0o640

    def test_several_promotions_at_once_come_one_after_the_other(self, config: Path):
        with ThreadPoolExecutor(4) as pool:
            names = [f"label-{number}" for number in range(12)]
            list(pool.map(lambda name: promote(config, "toy", 2, name), names))
        assert standing(config) == {"stable": 1, **dict.fromkeys(names, 2)}
        assert len(history(config)) == 12


class TestRefusals:
    def test_unknown_models(self, config: Path):
        with pytest.raises(UnknownNameError, match="unknown model 'tyo'; did you mean 'toy'"):
            promote(config, "tyo", 2)

    def test_versions_that_are_not_there(self, config: Path):
        with pytest.raises(DataError, match=r"no version 9; the nearest is 3 \(known: 1, 2, 3\)"):
            promote(config, "toy", 9)

    @pytest.mark.parametrize(
        ("policy", "served"),
        [
            ("", "3"),
            ("model_version_policy { latest { num_versions: 2 } }", "2, 3"),
            ("model_version_policy { specific { versions: 2 versions: 9 } }", "2"),
        ],
    )
    def test_versions_that_the_policy_leaves_out(self, config: Path, policy: str, served: str):
        text = config.read_text().replace("model_version_policy { all {} }", policy)
        config.write_text(text)
        with pytest.raises(DataError, match=f"version 1 .* is not served: .* takes {served} of 1,"):
            promote(config, "toy", 1)

    def test_a_version_that_is_gone_is_not_rolled_back_to(self, config: Path):
        promote(config, "toy", 2)
        (config.parent / "toy" / "1").rmdir()
        with pytest.raises(DataError, match="has no version 1; the nearest is 2"):
            rollback(config, "toy")
        assert standing(config) == {"stable": 2}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model_config_list { confg { } }", "is not a ModelServerConfig: 1:21"),
            ("model_config_list { config { name: 'toy' base_path: '/no' } }", "no version under"),
        ],
    )
    def test_files_that_cannot_be_used(self, config: Path, text: str, message: str):
        config.write_text(text)
        with pytest.raises(DataError, match=message):
            promote(config, "toy", 1)
        assert config.read_text() == text

    def test_no_file_is_made_where_there_is_none(self, tmp_path: Path):
        with pytest.raises(DataError, match="cannot use .*No such file"):
            promote(tmp_path / "models.config", "toy", 1)
        assert not list(tmp_path.iterdir())

    def test_a_history_that_cannot_be_read(self, config: Path):
        config.with_name("models.config.history.jsonl").write_text("{}\n")
        with pytest.raises(DataError, match="history '.*' cannot be read"):
            rollback(config, "toy")


def changes(*steps: str) -> list[Change]:
    """Return changes written as "1>2" for a promotion and "2<1" for a rollback to 1."""
    made = []
    for step in steps:
        action = "promote" if ">" in step else "rollback"
        before, after = (int(part) if part else None for part in step.replace("<", ">").split(">"))
        made.append(Change(action, "toy", "stable", after, before, ""))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("steps", "current", "expected"),
    [
        ([], 1, None),
        (["1>2"], 2, 1),
        ([">2"], 2, None),
        (["1>2", "2>3"], 3, 2),
        (["1>2", "2>3", "3<2"], 2, 1),
        (["1>2", "2>3", "3<2", "2<1"], 1, None),
        (["1>2", "2<1", "1>3"], 3, 1),
        (["1>2", "2>1"], 1, 2),
        # The file was edited by hand: to 5, and then back to what was promoted last.
        (["1>2"], 5, 2),
        (["1>2", "5>6"], 6, 5),
        # The line was written, but not the file any more.
        (["1>2", "2>3"], 2, 1),
        (["1>2", "2>3", "3<2"], 3, 2),
    ],
)
def test_what_a_label_stood_for(steps: list[str], current: int, expected: int | None) -> None:
    assert earlier_version(changes(*steps), current) == expected


class FakeServer:
    """A ModelService and metadata, by hand: labels answer some questions after the reload."""

    def __init__(self, config: Path, late: int = 0, refuse: str = "") -> None:
        self.config, self.late, self.refuse = config, late, refuse
        self.received: list[model_server_config_pb2.ModelServerConfig] = []

    def reload(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        request = model_management_pb2.ReloadConfigRequest.FromString(content)
        self.received.append(request.config)
        if self.refuse:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuse)
        return model_management_pb2.ReloadConfigResponse().SerializeToString()

    def metadata(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        label = messages.GetModelMetadataRequest.FromString(content).model_spec.version_label
        self.late -= 1
        if self.late >= 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label")
        response = messages.GetModelMetadataResponse()
        model = self.received[-1].model_config_list.config[0]
        response.model_spec.version.value = model.version_labels[label]
        return response.SerializeToString()

    def status(self, content: bytes, context: grpc.ServicerContext) -> bytes:
        response = messages.GetModelStatusResponse()
        for version, state in ((4, 30), (3, 50)):
            response.model_version_status.add(version=version, state=state)
        return response.SerializeToString()

    @contextmanager
    def running(self) -> Iterator[str]:
        server = grpc.server(ThreadPoolExecutor(2))
        paths: dict[str, Callable[[bytes, grpc.ServicerContext], bytes]] = {
            messages.HANDLE_RELOAD_CONFIG: self.reload,
            messages.GET_MODEL_METADATA: self.metadata,
            messages.GET_MODEL_STATUS: self.status,
        }
        for path, behaviour in paths.items():
            _, service, method = path.split("/")
            handlers = {method: grpc.unary_unary_rpc_method_handler(behaviour)}
            handler = grpc.method_handlers_generic_handler(service, handlers)
            server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


class TestServer:
    def test_a_server_is_told_and_waited_for(self, config: Path):
        fake = FakeServer(config, late=2)
        with fake.running() as target:
            promote(config, "toy", 2, target=Target(target))
        assert [dict(c.model_config_list.config[0].version_labels) for c in fake.received] == [
            {"stable": 2}
        ]
        assert fake.late < 0, "it was asked until the label answered"
        assert standing(config) == {"stable": 2}

    def test_a_refused_change_is_undone(self, config: Path):
        before = config.read_text()
        refusing = FakeServer(config, refuse="version 2 is not available")
        with (
            refusing.running() as target,
            pytest.raises(errors.FailedPrecondition, match="version 2 is not available"),
        ):
            promote(config, "toy", 2, target=Target(target))
        assert config.read_text() == before
        assert history(config) == []
        # It may have taken it up all the same, and is told what holds.
        assert [dict(c.model_config_list.config[0].version_labels) for c in refusing.received] == [
            {"stable": 2},
            {"stable": 1},
        ]

    def test_a_server_that_is_away_changes_nothing(self, config: Path):
        before = config.read_text()
        with pytest.raises(errors.Unreachable, match="127.0.0.1:9"):
            promote(config, "toy", 2, target=Target("127.0.0.1:9"))
        assert config.read_text() == before

    def test_a_label_that_does_not_come_is_not_waited_for_forever(self, config: Path):
        settings = labels.parse(config.read_text(), "")
        (change,) = changes("1>2")
        with (
            FakeServer(config).running() as target,
            pytest.raises(errors.TimedOut, match="stands for version 1 after 0 s, not for 2"),
        ):
            labels.take_up(settings, change, Target(target), wait=0.3)

    def test_the_server_tells_of_folders_that_are_not_seen_from_here(self, config: Path):
        config.write_text(config.read_text().replace("/toy", "/elsewhere"))
        with FakeServer(config).running() as target:
            assert promote(config, "toy", 4, target=Target(target)).version == 4
            with pytest.raises(DataError, match=r"no version 3; the nearest is 4 \(known: 4\)"):
                promote(config, "toy", 3, target=Target(target))


class TestCommands:
    def test_they_print_what_a_label_stands_for(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ):
        assert main(["promote", str(config), "toy", "2"]) == 0
        assert main(["promote", str(config), "toy", "3", "--label", "canary"]) == 0
        assert main(["rollback", str(config), "toy"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "label 'stable' of model 'toy' stands for version 2 (before: 1)",
            "label 'canary' of model 'toy' stands for version 3 (new)",
            "label 'stable' of model 'toy' stands for version 1 (before: 2)",
        ]

    def test_misuse_and_failure_have_exit_codes(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ):
        assert main(["promote", str(config), "toy", "two"]) == 2
        assert main(["promote", str(config), "toy", "9"]) == 2
        assert main(["promote", str(config), "toy", "2", "--target", "127.0.0.1:9"]) == 1
        assert [line[:7] for line in capsys.readouterr().err.splitlines()] == ["error: "] * 3
