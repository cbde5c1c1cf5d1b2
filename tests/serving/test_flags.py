"""The server's command line."""

from __future__ import annotations

import pytest

from serving.server import flags


def test_both_ways_of_writing_a_flag(tmp_path) -> None:
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
    ("arguments", "message"),
    [
        (["--prot=1"], "unknown flag '--prot'; did you mean '--port'?"),
        (["--zzz"], "unknown flag '--zzz'; see --help"),
        (["--port=x"], "argument --port: invalid int value: 'x'"),
        (["--port=70000"], "--port must be a port from 0 to 65535, not 70000"),
        (["--port=5", "--rest_api_port=5"], "must differ, but both are 5"),
        (["--file_system_poll_wait_seconds=-1"], "must not be negative: -1"),
        (["--model_name="], "--model_name must not be empty"),
        ([], "--model_base_path is required"),
        (["--model_base_path=/no/such"], "must be an existing folder, not '/no/such'"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == ""
    assert message in printed.err and printed.err.count("\n") == 1


def test_help_and_version(capsys) -> None:
    for flag, expected in (
        ("--help", "--model_base_path"),
        ("--version", "TensorFlow Library: 2."),
    ):
        with pytest.raises(SystemExit) as caught:
            flags.parse([flag])
        assert caught.value.code == 0 and expected in capsys.readouterr().out
