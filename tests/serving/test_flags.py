"""The server's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.server import flags


@pytest.fixture
def base(tmp_path: Path) -> str:
    """The flag that every command line needs."""
    return f"--model_base_path={tmp_path}"


def test_both_ways_of_writing_a_flag(tmp_path: Path) -> None:
    expected = flags.Options(
        port=1, rest_api_port=2, model_name="toy", model_base_path=str(tmp_path)
    )
    path = str(tmp_path)
    assert expected == flags.parse(
        ["--port=1", "--rest_api_port=2", "--model_name=toy", f"--model_base_path={path}"]
    )
    assert expected == flags.parse(
        ["--port", "1", "--rest_api_port", "2", "--model_name", "toy", "--model_base_path", path]
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--enable_batching"], True),
        (["--enable_batching=true"], True),
        (["--enable_batching=1"], True),
        (["--enable_batching", "true"], True),
        (["--enable_batching", "--port=1"], True),
        (["--enable_batching=false"], False),
        (["--enable_batching", "0"], False),
        (["--enable_batching", "--enable_batching=false"], False),
        ([], False),
    ],
)
def test_flags_that_are_true_or_false(base: str, words: list[str], expected: bool) -> None:
    assert flags.parse([base, *words]).enable_batching is expected


def test_one_that_is_true_by_default_can_be_turned_off(base: str) -> None:
    assert flags.parse([base]).enable_model_warmup
    assert not flags.parse([base, "--enable_model_warmup=false"]).enable_model_warmup


def test_defaults_are_those_of_the_reference(base: str) -> None:
    options = flags.parse([base])
    assert (options.port, options.model_name, options.saved_model_tags) == (
        8500,
        "default",
        "serve",
    )
    assert options.max_num_load_retries == 5
    assert options.load_retry_interval_micros == 60 * 1000 * 1000
    assert options.rest_api_timeout_in_ms == 30 * 1000
    assert options.file_system_poll_wait_seconds == 1
    assert options.model_config_file_poll_wait_seconds == 0
    off = ("batching", "per_model_batching_parameters", "signature_method_name_check")
    assert not any(getattr(options, f"enable_{name}") for name in off)
    assert not options.enable_grpc_healthcheck_service


def test_only_this_machine_is_listened_to_unless_told_otherwise(base: str) -> None:
    assert flags.parse([base]).host == "127.0.0.1"
    assert flags.parse([base, "--host=0.0.0.0"]).host == "0.0.0.0"


def test_flags_without_meaning_are_noted_when_they_are_given(base: str) -> None:
    assert flags.parse([base]).ignored == ()
    words = ["--xla_cpu_compilation_enabled", "--num_load_threads", "4", "--mixed_precision=bf16"]
    options = flags.parse([base, *words, "--per_process_gpu_memory_fraction=0.5"])
    assert set(options.ignored) == {
        "mixed_precision",
        "num_load_threads",
        "per_process_gpu_memory_fraction",
        "xla_cpu_compilation_enabled",
    }


def test_a_file_with_models_takes_the_place_of_name_and_path() -> None:
    options = flags.parse(["--model_config_file=models.txt", "--model_name="])
    assert options.model_config_file == "models.txt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot=1"], "unknown flag '--prot'; did you mean '--port'?"),
        (["--num_load_thread=1"], "did you mean '--num_load_threads'?"),
        (["--zzz"], "unknown flag '--zzz'; see --help"),
        (["models"], "unknown flag 'models'; did you mean '--model_name'?"),
        (["--port=x"], "argument --port: invalid int value: 'x'"),
        (["--port"], "argument --port: expected one argument"),
        (["--port=70000"], "--port must be a port from 0 to 65535, not 70000"),
        (["--port=5", "--rest_api_port=5"], "must differ, but both are 5"),
        (["--enable_batching=yes"], "--enable_batching: must be true or false, not 'yes'"),
        (["--num_load_threads=many"], "--num_load_threads: invalid int value: 'many'"),
        (["--file_system_poll_wait_seconds=-1"], "must not be negative: -1"),
        (["--max_num_load_retries=-1"], "--max_num_load_retries must not be negative: -1"),
        (["--rest_api_timeout_in_ms=0"], "--rest_api_timeout_in_ms must be at least 1: 0"),
        (["--batching_parameters_file=x"], "is set without --enable_batching"),
        (["--use_alts_credentials"], "cannot be had here: encrypt with --ssl_config_file"),
        (
            [
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "all three cannot be set",
        ),
        (["--model_name="], "--model_name must not be empty"),
        ([], "--model_base_path is required"),
        (["--model_base_path=/no/such"], "must be an existing folder, not '/no/such'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == ""
    assert message in printed.err and printed.err.count("\n") == 1


def test_help_and_version(capsys: pytest.CaptureFixture) -> None:
    names = [name for name in vars(flags.Options()) if name != "ignored"]
    for flag, expected in (
        ("--help", [f"--{name}" for name in (*names, *flags.IGNORED)]),
        ("--version", ["SeqZoo ModelServer: ", "TensorFlow Library: 2."]),
    ):
        with pytest.raises(SystemExit) as caught:
            flags.parse([flag])
        printed = capsys.readouterr().out
        assert caught.value.code == 0
        assert not [each for each in expected if each not in printed]
