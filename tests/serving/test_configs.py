"""The files that the server's flags name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving import errors
from serving.server import configs, flags
from serving.server.app import engine_options, grpc_options, rest_options
from serving.server.configs import Settings
from serving.server.engine import BatchingParameters, EngineOptions

MODELS = "model_config_list {{ config {{ name: 'toy' base_path: '{}' {} }} }}"
TENSORFLOW = "model_platform: 'tensorflow'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "config.txt"


def settings(tmp_path: Path, *words: str) -> Settings:
    """Return what a command line with a model asks for."""
    return configs.read(flags.parse([f"--model_base_path={tmp_path}", *words]))


class TestModels:
    def test_one_model_is_given_by_flags(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "toy").mkdir()
        monkeypatch.chdir(tmp_path)
        read = configs.read(flags.parse(["--model_name=toy", "--model_base_path=toy"]))
        (model,) = read.models.model_config_list.config
        assert (model.name, model.base_path) == ("toy", str(tmp_path / "toy"))
        assert model.model_platform == "tensorflow"

    def test_several_by_a_file(self, file: Path):
        policy = "model_version_policy { specific { versions: [1, 2] } }"
        labels = "version_labels { key: 'stable' value: 1 }"
        file.write_text(MODELS.format("/toy", f"{TENSORFLOW} {policy} {labels}"))
        read = configs.read(flags.parse([f"--model_config_file={file}"]))
        (model,) = read.models.model_config_list.config
        assert list(model.model_version_policy.specific.versions) == [1, 2]
        assert dict(model.version_labels) == {"stable": 1}

    def test_an_empty_file_serves_nothing(self, file: Path):
        file.write_text("")
        read = configs.read(flags.parse([f"--model_config_file={file}"]))
        assert read.models.WhichOneof("config") is None

    def test_a_list_that_cannot_be_served_is_refused_at_once(self, file: Path):
        file.write_text(MODELS.format("some/where", TENSORFLOW))
        with pytest.raises(errors.InvalidArgument, match="Expected model toy to have an absolute"):
            configs.read(flags.parse([f"--model_config_file={file}"]))


class TestBatching:
    def test_is_off_unless_flagged(self, tmp_path: Path):
        assert settings(tmp_path).batching is None
        assert settings(tmp_path, "--enable_batching").batching == BatchingParameters()

    def test_every_value_is_read(self, file: Path):
        file.write_text(
            "max_batch_size { value: 32 } batch_timeout_micros { value: 2000 } "
            "max_enqueued_batches { value: 7 } num_batch_threads { value: 3 } "
            "thread_pool_name { value: 'pool' } allowed_batch_sizes: [8, 32] "
            "pad_variable_length_inputs: true enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 16 }"
        )
        assert configs.batching_parameters(file) == BatchingParameters(
            max_batch_size=32,
            batch_timeout_micros=2000,
            max_enqueued_batches=7,
            num_batch_threads=3,
            allowed_batch_sizes=(8, 32),
            pad_variable_length_inputs=True,
            enable_large_batch_splitting=True,
            max_execution_batch_size=16,
        )

    def test_zero_is_a_value_and_silence_is_the_default(self, file: Path):
        file.write_text("max_enqueued_batches { value: 0 } batch_timeout_micros { }")
        assert configs.batching_parameters(file) == BatchingParameters(max_enqueued_batches=0)

    def test_values_that_do_not_fit_are_refused(self, tmp_path: Path, file: Path):
        file.write_text("max_batch_size { value: 4 } allowed_batch_sizes: [2, 3]")
        with pytest.raises(
            errors.InvalidArgument,
            match="^Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; "
            "expected 4$",
        ):
            settings(tmp_path, "--enable_batching", f"--batching_parameters_file={file}")

    def test_a_version_brings_its_own_and_shares_the_threads(self, tmp_path: Path, file: Path):
        file.write_text("max_batch_size { value: 5 } num_batch_threads { value: 2 }")
        read = settings(
            tmp_path,
            "--enable_batching",
            "--enable_per_model_batching_parameters",
            f"--batching_parameters_file={file}",
        )
        assert engine_options(read, tmp_path).batching is None
        own = tmp_path / configs.PER_MODEL
        own.write_text("max_batch_size { value: 9 } num_batch_threads { value: 8 }")
        batching = engine_options(read, tmp_path).batching
        assert batching == BatchingParameters(max_batch_size=9, num_batch_threads=2)
        own.write_text("nonsense")
        with pytest.raises(errors.InvalidArgument, match=configs.PER_MODEL):
            engine_options(read, tmp_path)


class TestMonitoring:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("", None),
            ("prometheus_config { path: '/metrics' }", None),
            ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
            ("prometheus_config { enable: true path: '/metrics' }", "/metrics"),
        ],
        ids=["empty", "off", "usual", "own"],
    )
    def test_says_where_metrics_are(self, tmp_path: Path, file: Path, text: str, path: str | None):
        file.write_text(text)
        read = settings(tmp_path, f"--monitoring_config_file={file}")
        assert rest_options(read).metrics_path == path


class TestEncryption:
    def test_key_and_certificates_are_read(self, tmp_path: Path, file: Path):
        file.write_text("server_key: 'K\\n' server_cert: 'C' custom_ca: 'A' client_verify: true")
        tls = settings(tmp_path, f"--ssl_config_file={file}").tls
        assert tls is not None and tls.client_verify
        assert (tls.server_key, tls.server_cert, tls.custom_ca) == (b"K\n", b"C", b"A")

    def test_a_part_that_is_missing_is_told(self, tmp_path: Path, file: Path):
        file.write_text("server_key: 'K'")
        with pytest.raises(errors.InvalidArgument, match="'server_key' and 'server_cert'"):
            settings(tmp_path, f"--ssl_config_file={file}")


class TestTranslation:
    def test_every_flag_reaches_the_engine(self, tmp_path: Path):
        read = settings(
            tmp_path,
            "--saved_model_tags=serve,gpu",
            "--tensorflow_inter_op_parallelism=3",
            "--enable_model_warmup=false",
            "--num_request_iterations_for_warmup=4",
            "--enable_signature_method_name_check",
        )
        assert engine_options(read, tmp_path) == EngineOptions(
            tags=("serve", "gpu"),
            intra_op_threads=0,
            inter_op_threads=3,
            warm_up=False,
            warm_up_iterations=4,
            check_method_names=True,
        )
        assert engine_options(settings(tmp_path), tmp_path) == EngineOptions()

    def test_one_number_stands_for_both_kinds_of_threads(self, tmp_path: Path):
        options = engine_options(settings(tmp_path, "--tensorflow_session_parallelism=2"), tmp_path)
        assert (options.intra_op_threads, options.inter_op_threads) == (2, 2)

    def test_every_flag_reaches_the_interfaces(self, tmp_path: Path):
        read = settings(
            tmp_path,
            "--grpc_max_threads=5",
            "--grpc_channel_arguments=a=1,b=x",
            "--grpc_socket_path=rpc.sock",
            "--enable_grpc_healthcheck_service",
            "--rest_api_num_threads=6",
            "--rest_api_timeout_in_ms=700",
            "--rest_api_enable_cors_support",
        )
        grpc, rest = grpc_options(read), rest_options(read)
        assert (grpc.host, grpc.port, grpc.max_threads) == ("127.0.0.1", 8500, 5)
        assert (grpc.channel_arguments, grpc.socket_path) == ("a=1,b=x", "rpc.sock")
        assert grpc.health and grpc.tls is None
        assert (rest.threads, rest.timeout_ms, rest.cors) == (6, 700, True)


class TestMistakes:
    @pytest.mark.parametrize(
        ("flag", "kind"),
        [
            ("model_config_file", "ModelServerConfig"),
            ("batching_parameters_file", "BatchingParameters"),
            ("monitoring_config_file", "MonitoringConfig"),
            ("ssl_config_file", "SSLConfig"),
        ],
    )
    @pytest.mark.parametrize("content", [b"improperly formatted file", b"\xff", b"unclosed {"])
    def test_a_file_that_cannot_be_parsed_is_named(
        self, tmp_path: Path, file: Path, flag: str, kind: str, content: bytes
    ):
        file.write_bytes(content)
        with pytest.raises(errors.InvalidArgument) as caught:
            settings(tmp_path, "--enable_batching", f"--{flag}={file}")
        assert str(caught.value).startswith(
            f"Invalid protobuf file: '{file}': Error parsing text-format tensorflow.serving.{kind}:"
        )

    def test_the_line_is_told(self, file: Path):
        file.write_text("model_config_list {\n  config {\n    nam: 'toy'\n  }\n}\n")
        with pytest.raises(errors.InvalidArgument, match='3:5 : .* no field named "nam"'):
            configs.model_server_config(file)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path):
        with pytest.raises(errors.NotFound, match="no-such.txt; No such file or directory"):
            settings(tmp_path, f"--monitoring_config_file={tmp_path / 'no-such.txt'}")

    def test_they_end_the_server_before_tensorflow_is_there(self, tmp_path: Path, file: Path):
        file.write_text("improperly formatted file")
        code = (
            "import sys\n"
            "from serving.server.__main__ import main\n"
            f"print(main(['--model_config_file={file}']), 'tensorflow' in sys.modules)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.stdout == "1 False\n"
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("Failed to start server. Error: Invalid protobuf file: ")
