"""`python -m serving`: the commands, what they import, what they print, how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from serving import commands
from serving.__main__ import main
from serving.commands import call
from serving.runs import exported
from serving.server import RunningServer
from tests.serving import certificates
from tests.sources import ROOT
from zoo.errors import MisuseError

SECONDS = 120.0
HEAVY = "{'tensorflow', 'keras', 'matplotlib', 'grpc', 'httpx'}"


def run_python(code: str) -> str:
    """Run code in a process of its own and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_videos_too_large_for_a_call_are_refused_before_it():
    videos = {"frames": [np.zeros((50, 200, 100, 3), np.uint8)] * 2}
    call._check_size(videos, 6_000_000)
    with pytest.raises(MisuseError, match="the videos have 6 MB, more than the 5 of a call: send"):
        call._check_size(videos, 5_000_000)


class TestHelp:
    def test_every_command_is_listed_with_its_sentence(self, capsys: pytest.CaptureFixture[str]):
        assert main(["--help"]) == 0
        said = capsys.readouterr().out
        for name in commands.COMMANDS:
            assert f"  {name:<8}  {commands.command(name).HELP}\n" in said + "\n"

    def test_every_module_is_a_command(self):
        folder = Path(commands.__file__).parent
        names = {file.stem for file in folder.glob("*.py")} - {"__init__"}
        assert names == set(commands.COMMANDS)

    def test_help_loads_nothing_heavy_and_no_other_command(self):
        code = (
            "import contextlib, json, os, sys\n"
            "from serving.__main__ import main\n"
            "found = {}\n"
            f"for name in {[*commands.COMMANDS]}:\n"
            "    with contextlib.suppress(SystemExit), open(os.devnull, 'w') as null:\n"
            "        with contextlib.redirect_stdout(null):\n"
            "            main([name, '--help'])\n"
            f"    heavy = sorted({HEAVY} & sys.modules.keys())\n"
            "    those = [each for each in sys.modules if each.startswith('serving.commands.')]\n"
            "    found[name] = heavy, those\n"
            "    for each in those:\n"
            "        del sys.modules[each]\n"
            "print(json.dumps(found))\n"
        )
        for name, (heavy, loaded) in json.loads(run_python(code)).items():
            assert heavy == []
            shared = {"rollback": {"serving.commands.promote"}}.get(name, set())
            assert {*loaded} == {f"serving.commands.{name}"} | shared


class TestMisuse:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "a command is missing"),
            (["srve"], "unknown command 'srve'; did you mean 'serve'?"),
            (["serve"], "the following arguments are required: model"),
            (["call", "toy"], "the following arguments are required: TEXT_OR_FILE"),
            (["call", "toy", "a", "--version", "1", "--label", "b"], "not allowed with"),
            (["call", "toy", "a", "--every", "0"], "--every must be from 1 to 10000, not 0"),
            (["call", "toy", "a", "--every", "10001"], "must be from 1 to 10000, not 10001"),
            (["call", "toy", "a", "--frames", "0"], "--frames must be at least 1, not 0"),
            (["call", "toy", "a", "--every", "2", "--stream"], "do not go with --stream"),
            (["call", "toy", "a", "--cert", "c"], "takes --ca, and --cert and --key both or none"),
            (["promote", "c", "toy", "1", "--ca", "a"], "--ca, --cert and --key belong to --tar"),
            (["bench", "toy"], "the following arguments are required: --json"),
            (["promote", "models.config"], "required: model, version"),
        ],
    )
    def test_it_is_one_line_and_code_2(
        self, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and message in said and said.count("\n") == 1

    def test_a_reader_that_goes_away_is_no_error(self, toy_server: RunningServer):
        words = " ".join(["call", "toy", *["x"] * 300, "--target", toy_server.grpc_address])
        pipe = f"'{sys.executable}' -m serving {words} | head -n 1"
        done = subprocess.run(
            ["bash", "-c", pipe], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr


class TestCall:
    @pytest.fixture(params=["grpc", "rest"])
    def where(self, request: pytest.FixtureRequest, toy_server: RunningServer) -> list[str]:
        """The flags that lead to the toy server over each transport in turn."""
        if request.param == "grpc":
            return ["--target", toy_server.grpc_address]
        return ["--rest", "--target", toy_server.rest_url.removeprefix("http://")]

    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def test_texts_and_files(
        self, where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        lines = tmp_path / "lines.txt"
        lines.write_text("one\ntwo words\n")
        sound = tmp_path / "yes.wav"
        sound.write_bytes(b"RIFF\xff")
        words = ["call", "toy", "A joy.", str(lines), str(sound), *where]
        assert main(words) == 0
        answers = self.lines(capsys)
        assert [each["text_plain"] for each in answers] == [
            "A joy.",
            "one",
            "two words",
            {"b64": "UklGRv8="},
        ]
        assert {each["status"] for each in answers} == {""}

    def test_a_bad_row_is_shown_and_gives_code_1(
        self, where: list[str], capsys: pytest.CaptureFixture[str]
    ):
        rows = ["fine"] * 40 + [""] + ["fine"] * 40
        assert main(["call", "toy", *rows, *where]) == 1
        status = [each["status"] for each in self.lines(capsys)]
        assert status == [""] * 40 + ["the text is empty"] + [""] * 40

    def test_tables_of_numbers(
        self, where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        table = tmp_path / "x.csv"
        table.write_text("x\n2\n4\n")
        assert main(["call", "toy", str(table), "--signature", "half", *where]) == 0
        assert self.lines(capsys) == [{"y": 3.0}, {"y": 4.0}]

    def test_frames_are_left_out_of_videos_alone(
        self, where: list[str], capsys: pytest.CaptureFixture[str]
    ):
        assert main(["call", "toy", "A joy.", "--every", "2", *where]) == 2
        assert "--every is for videos, the signature takes text" in capsys.readouterr().err
        assert main(["call", "toy", "A joy.", "--frames", "1", *where]) == 2
        assert "--frames is for videos, the signature takes text" in capsys.readouterr().err

    def test_failures_are_one_line_and_code_1(
        self, where: list[str], capsys: pytest.CaptureFixture[str]
    ):
        for words, message in (
            (["tyo", "a"], "Servable not found for request: Latest(tyo)"),
            (["toy", "a", "--version", "9"], "Specific(toy, 9)"),
            (["toy", "a", "--label", "nix"], "Unrecognized servable version label: nix"),
            (["toy", "a", "--signature", "haff"], "has no signature 'haff'; did you mean 'half'?"),
        ):
            assert main(["call", *words, *where]) == 1
            said = capsys.readouterr().err
            assert message in said and said.count("\n") == 1


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python -m serving serve` on free ports; yield the process and its gRPC address."""
    with _started("serving", "serve", *words, "--", "--port=0", "--rest_api_port", "0") as found:
        yield found


@contextmanager
def _started(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = ""
            while not (address := re.search(r"gRPC ModelServer at (\S+) \.\.\.", printed)):
                line = process.stdout.readline()
                assert line, f"it ended: {printed}"
                printed += line
            yield process, address[1]
        finally:
            process.kill()


class TestServe:
    def test_a_model_is_served_until_it_is_told_to_stop(
        self, toy_base_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        (tmp_path / "toy").symlink_to(toy_base_path)
        with serving(str(tmp_path / "toy")) as (process, address):
            assert main(["call", "toy", "A joy.", "--target", address]) == 0
            assert json.loads(capsys.readouterr().out)["text_plain"] == "A joy."
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0

    def test_a_server_that_wants_certificates_is_asked_with_them_and_has_no_rest_if_told_so(
        self, toy_base_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        files = certificates.make(tmp_path)
        pem = {name: (files / name).read_text() for name in ("server.key", "server.crt", "ca.crt")}
        key, cert, ca = map(json.dumps, pem.values())
        (tmp_path / "ssl.config").write_text(
            f"server_key: {key} server_cert: {cert} custom_ca: {ca} client_verify: true"
        )
        models = tmp_path / "models.config"
        models.write_text(
            "model_config_list { config { name: 'toy' model_platform: 'tensorflow' "
            f"base_path: '{toy_base_path}' version_labels {{ key: 'stable' value: 1 }} }} }}"
        )
        flags = f"--model_config_file={models}", f"--ssl_config_file={tmp_path / 'ssl.config'}"
        free = "--allow_version_labels_for_unavailable_models"
        words = ["--port=0", "--rest_api_port=-1", free, *flags]
        with _started("serving.server", *words) as (_, address):
            address = address.replace("127.0.0.1", "localhost")
            trust = ["--target", address, "--ca", str(files / "ca.crt")]
            words = ["--cert", str(files / "client.crt"), "--key", str(files / "client.key")]
            assert main(["call", "toy", "A joy.", *trust, *words]) == 0
            assert json.loads(capsys.readouterr().out)["text_plain"] == "A joy."
            assert main(["promote", str(models), "toy", "1", *trust, *words]) == 0
            assert f"{address} answers with it" in capsys.readouterr().out
            assert main(["call", "toy", "A joy.", "--timeout", "2", *trust]) == 1

    def test_what_cannot_be_served_is_said(
        self, toy_base_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        version = toy_base_path / "1"
        for folder, message in (
            (tmp_path, "holds no exported model"),
            (version, f"'{version}' is one version of a model: serve '{toy_base_path}'"),
        ):
            assert main(["serve", str(folder)]) == 2
            assert message in capsys.readouterr().err


class TestRuns:
    def test_a_run_is_exported_once_for_each_training(
        self, tiny_run: Path, tiny_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def export(_: object, base: Path, name: str) -> Path:
            number = len([*(base / name).glob("*")]) + 1
            return shutil.copytree(tiny_export, base / name / str(number))

        monkeypatch.setattr("serving.export.export", export)
        run = shutil.copytree(tiny_run, tmp_path / "mine")
        model = exported(run)
        assert model == run / "models" / "sentiment"
        assert exported(run) == model
        assert [folder.name for folder in model.iterdir()] == ["1"]
        later = time.time() + 60
        os.utime(run / "pipeline" / "pipeline.json", (later, later))
        exported(run)
        assert sorted(folder.name for folder in model.iterdir()) == ["1", "2"]

    def test_only_the_pipeline_is_needed(self, tiny_run: Path, tmp_path: Path):
        run = tmp_path / "mine"
        shutil.copytree(tiny_run / "pipeline", run / "pipeline")
        shutil.copy(tiny_run / "model.keras", run)
        assert exported(run) == run / "models" / "mine"
        assert (run / "models" / "mine" / "1" / "saved_model.pb").is_file()

    def test_an_exported_model_stays_what_it_is(self, tiny_export: Path, tmp_path: Path):
        for folder in (tiny_export, tiny_export.parent, tmp_path):
            assert exported(folder) == folder
