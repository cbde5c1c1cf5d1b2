"""The server as a process: starts, fails to start, reloads, is killed, stops."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving import errors
from serving.client import Client
from serving.server import launch
from tests.tools import wait_until

DEADLINE = 60.0


def half(client: Client) -> float:
    """Return half of two plus the bias of the version that answers."""
    return float(client.predict([2], signature="half")["y"][0])


def test_help_and_mistakes_do_not_import_tensorflow() -> None:
    code = (
        "import sys\n"
        "from serving.server.__main__ import main\n"
        "try:\n    main(['--prot=1'])\n"
        "except SystemExit as end:\n    print(end.code, 'tensorflow' in sys.modules)"
    ).replace("\\\n", "\n")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "2 False"
    assert result.stderr.strip().endswith("unknown flag '--prot'; did you mean '--port'?")


def test_a_server_that_ends_at_once_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(errors.ServerFault, match="exit code 2: .*unknown flag '--prot'"),
        launch("toy", tmp_path, "--prot=1"),
    ):
        pass


def test_it_ends_with_the_process_that_launched_it(toy_base_path: Path) -> None:
    program = (
        "import sys, time\nfrom serving.server import launch\n"
        "with launch('toy', sys.argv[1]) as server:\n"
        "    print(server.process.pid, flush=True)\n    time.sleep(600)\n"
    )
    words = [sys.executable, "-c", program, str(toy_base_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        server = Path("/proc", parent.stdout.readline().strip())
        assert server.exists()
        parent.kill()
    wait_until(lambda: not server.exists())


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for flag in ("port", "rest_api_port"):
            with (
                pytest.raises(
                    errors.ServerFault,
                    match=f"exit code 1: Failed to start server. Error: cannot listen on .*{port}",
                ),
                launch("toy", tmp_path, f"--{flag}={port}"),
            ):
                pass


def test_new_versions_are_taken_up_and_broken_ones_reported(
    toy_base_path: Path, tmp_path: Path
) -> None:
    from tests.serving import models

    base_path = tmp_path / "toy"
    shutil.copytree(toy_base_path / "1", base_path / "1")

    with launch("toy", base_path) as server, Client.grpc(server.grpc_address, "toy") as client:
        assert half(client) == 3.0
        # A new version is taken up while the old one answers.
        models.save(tmp_path / "2", bias=7.0)
        (tmp_path / "2").rename(base_path / "2")
        seen = set()

        def new_version_answers() -> bool:
            seen.add(half(client))
            return 8.0 in seen

        wait_until(new_version_answers)
        assert seen <= {3.0, 8.0}
        # A broken one is reported, and the good one goes on.
        (base_path / "3").mkdir()
        (base_path / "3" / "saved_model.pb").write_bytes(b"broken")
        wait_until(lambda: client.status()[0].version == 3 and client.status()[0].code != "OK")
        assert [(each.version, each.state) for each in client.status()] == [
            (3, "END"),
            (2, "AVAILABLE"),
            (1, "END"),
        ]
        assert half(client) == 8.0


@pytest.mark.slow
def test_a_killed_server_starts_again_on_its_port_and_drains_on_sigterm(
    toy_base_path: Path,
) -> None:
    with launch("toy", toy_base_path) as server, Client.grpc(server.grpc_address, "toy") as client:
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        with pytest.raises(errors.Unreachable):
            half(client)

    port = f"--port={server.grpc_address.split(':')[1]}"
    with launch("toy", toy_base_path, port) as server:
        with Client.grpc(server.grpc_address, "toy") as client:
            assert half(client) == 3.0
        # SIGTERM lets a running call finish.
        call = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys\nfrom serving.client import Client\n"
                "client = Client.grpc(sys.argv[1], 'toy')\n"
                "client.metadata()\nprint('asking', flush=True)\n"
                "print(client.predict(300_000, signature='spin')['rounds'])",
                server.grpc_address,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert call.stdout is not None and call.stdout.readline() == "asking\n"
        time.sleep(0.2)
        server.process.terminate()
        assert call.communicate(timeout=DEADLINE)[0].strip() == "300000"
        assert server.process.wait(DEADLINE) == 0
