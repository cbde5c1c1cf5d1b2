"""The files of a job: what may be asked for, how words are written, and how the folder appears."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recipes import config as configuration
from tests.sources import ROOT
from tests.tuning.clusters import expand
from tuning import jobs
from tuning.jobs import KubernetesJob, SlurmJob, kubernetes, slurm
from tuning.jobs.command import JobOptions
from tuning.jobs.command import jobs as command
from tuning.jobs.quoting import container_word, quoted
from zoo.errors import ConfigError, DataError, MisuseError, UnknownNameError

WORDS = st.text(st.characters(exclude_categories=("Cs",)))


class TestJob:
    def test_its_commands_end_with_the_run_folder(self):
        job = SlurmJob(recipe="speech", words=("--trials", "9"), run_dir=Path("a b"), cpus=3)
        end = ("--threads", "3", "--run-dir", "a b")
        assert job.chief == ("python", "-m", "tuning", "chief", "speech", "--trials", "9", *end)
        assert job.worker == ("python", "-m", "tuning", "worker", *end)
        assert job.training == (
            *("python", "-m", "recipes", "speech", "train", "--trials", "9"),
            *("--strategy", "multiworker", "--run-dir", "a b"),
        )

    @pytest.mark.parametrize("words", [("--lease", "1h"), ("--lease=1h",)])
    def test_workers_get_the_lease_of_their_chief(self, words: tuple[str, ...]):
        job = SlurmJob(recipe="speech", words=words)
        assert job.worker[4:6] == ("--lease", "1h")

    def test_in_a_cluster_the_run_folder_is_on_the_volume(self):
        job = KubernetesJob(recipe="speech", run_dir=Path("a/b"))
        assert job.folder == job.worker[-1] == "/shared/a/b"
        assert job.over.startswith("/shared/a/b/")

    def test_only_the_same_search_is_over_when_one_is(self):
        same = KubernetesJob(recipe="speech", words=("--trials", "9"))
        more = KubernetesJob(recipe="speech", words=("--trials", "10"))
        assert same.over == KubernetesJob(recipe="speech", words=("--trials", "9")).over
        assert same.over != more.over

    def test_minutes_and_seconds_are_never_too_few(self):
        assert SlurmJob(recipe="speech", hours=0.101).minutes == 7
        assert KubernetesJob(recipe="speech", deadline_hours=0.0001).deadline_seconds == 1
        assert KubernetesJob(recipe="speech").deadline_seconds == 0

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"workers": 0}, "workers must be at least 1, not 0"),
            ({"cpus": 0}, "cpus must be at least 1"),
            ({"memory_gib": 0}, "memory_gib must be at least 1"),
            ({"retries": -1}, "retries must be at least 0"),
            ({"name": "Mine"}, "lower case, digits and - alone, .* not 'Mine'"),
            ({"name": "mine-"}, "not 'mine-'"),
            ({"name": "m" * 41}, "at most 40 characters"),
            ({"run_dir": Path("-x")}, "run_dir must not begin with '-'"),
            ({"words": ("--run-dir=x",)}, "--run-dir must not be among"),
            ({"words": ("--workers", "2")}, "--workers must not be among"),
            ({"words": ("--threads", "2")}, "--threads must not be among"),
            ({"kind": "training", "words": ("--strategy", "x")}, "--strategy must not be among"),
            ({"words": ("--help",)}, "--help would only print"),
            ({"words": ("a\0b",)}, r"NUL, as 'a\\x00b' does"),
            ({"words": ("\udc80",)}, "must be text in UTF-8"),
        ],
    )
    @pytest.mark.parametrize("job", [SlurmJob, KubernetesJob])
    def test_what_no_cluster_takes_is_refused(
        self, job: type[jobs.Job], values: dict[str, Any], message: str
    ):
        with pytest.raises(ConfigError, match=message):
            job(recipe="sentiment", **values)

    @pytest.mark.parametrize(
        ("job", "values", "message"),
        [
            (SlurmJob, {"hours": 0.0}, "hours must be at least 0.1"),
            (SlurmJob, {"hours": float("nan")}, "hours must be at least 0.1"),
            (SlurmJob, {"hours": float("inf")}, "hours must be at least 0.1"),
            (SlurmJob, {"partition": "a b"}, "partition must have letters, .* not 'a b'"),
            (SlurmJob, {"account": "a\n#SBATCH"}, "account must have letters"),
            (SlurmJob, {"activate": "a\0"}, "NUL"),
            (KubernetesJob, {"storage_gib": 0}, "storage_gib must be at least 1"),
            (KubernetesJob, {"deadline_hours": -1.0}, "deadline_hours must be at least 0"),
            (KubernetesJob, {"run_dir": Path("/a")}, "a path on the volume, .* not '/a'"),
            (KubernetesJob, {"run_dir": Path("../a")}, "a path on the volume"),
            (KubernetesJob, {"image": ""}, "image must have a name"),
            (KubernetesJob, {"image": 'a"b'}, "image must have letters"),
            (KubernetesJob, {"storage_class": "a b"}, "storage_class must have letters"),
            (KubernetesJob, {"namespace": "A"}, "namespace must have lower case"),
        ],
    )
    def test_what_one_platform_does_not_take_is_refused(
        self, job: type[jobs.Job], values: dict[str, Any], message: str
    ):
        with pytest.raises(ConfigError, match=message):
            job(recipe="sentiment", **values)

    def test_a_recipe_must_exist(self):
        with pytest.raises(UnknownNameError, match="did you mean 'sentiment'"):
            SlurmJob(recipe="sentimant")


class TestWords:
    @given(WORDS)
    def test_yaml_gives_every_text_back(self, text: str):
        assert yaml.safe_load(quoted(text)) == text

    @given(WORDS)
    def test_a_cluster_gives_every_word_back(self, text: str):
        variables = {"HOME": "/root", "": "nothing", "x": "y"}
        assert expand(yaml.safe_load(container_word(text)), variables) == text

    @pytest.mark.parametrize("text", ["$(HOME)", "$$(HOME)", "$$", "$", "a$", "$(", "$(x", "$(x)$"])
    def test_nothing_is_filled_into_a_word(self, text: str):
        assert expand(yaml.safe_load(container_word(text)), {"HOME": "/root", "x": "y"}) == text

    def test_variables_are_filled_in_as_the_cluster_does(self):
        assert expand("$(A)-$$(A)-$(B)-$A-$(", {"A": "1"}) == "1-$(A)-$(B)-$A-$("


class TestFolder:
    @pytest.mark.parametrize("there", [False, True])
    def test_it_is_new_or_was_empty(self, tmp_path: Path, there: bool):
        out = tmp_path / "new" / "jobs"
        if there:
            out.mkdir(parents=True)
        slurm(SlurmJob(recipe="sentiment"), out)
        assert {each.name for each in out.iterdir()} == {"README.md", "search.sbatch"}
        assert [each.name for each in out.parent.iterdir()] == ["jobs"]

    @pytest.mark.parametrize("write", [slurm, kubernetes])
    def test_what_is_there_stays(self, tmp_path: Path, write: Any):
        job = SlurmJob if write is slurm else KubernetesJob
        (tmp_path / "mine").touch()
        for out in (tmp_path, tmp_path / "mine"):
            with pytest.raises(DataError, match="is there already: choose another folder"):
                write(job(recipe="sentiment"), out)
        assert [each.name for each in tmp_path.iterdir()] == ["mine"]

    def test_a_file_that_appears_meanwhile_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        out = tmp_path / "jobs"
        write_tree = jobs.files.write_tree

        def meanwhile(*arguments: Any) -> None:
            write_tree(*arguments)
            out.mkdir()
            (out / "mine").touch()

        monkeypatch.setattr(jobs.files, "write_tree", meanwhile)
        with pytest.raises(DataError, match="cannot write '.*jobs': Directory not empty"):
            slurm(SlurmJob(recipe="sentiment"), out)
        assert [each.name for each in tmp_path.iterdir()] == ["jobs"]
        assert [each.name for each in out.iterdir()] == ["mine"]

    def test_everybody_can_read_it(self, tmp_path: Path):
        before = os.umask(0o077)
        try:
            kubernetes(KubernetesJob(recipe="sentiment"), tmp_path / "jobs")
        finally:
            os.umask(before)
        assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o755
        for file in (tmp_path / "jobs").iterdir():
            assert file.stat().st_mode & 0o777 == 0o644

    @pytest.mark.parametrize("kind", ["search", "training"])
    def test_every_template_is_filled(self, tmp_path: Path, kind: Any):
        slurm(SlurmJob(recipe="sentiment", kind=kind), tmp_path / "a")
        kubernetes(KubernetesJob(recipe="sentiment", kind=kind), tmp_path / "b")
        for file in (*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()):
            assert not re.search(r"\{\{ |\{%|\{#", file.read_text()), file
            assert "\n\n\n" not in file.read_text(), file


class TestCommand:
    def test_it_writes_what_its_options_say(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        words = ["slurm", "speech", "--out", str(tmp_path / "jobs"), "--workers", "3"]
        command([*words, "--partition", "short", "--", "--algorithm", "grid", "--fix", "cell=gru"])
        text = (tmp_path / "jobs" / "search.sbatch").read_text()
        assert "#SBATCH --array=0-3\n" in text and "#SBATCH --partition=short\n" in text
        assert "\n  speech\n  --algorithm\n  grid\n  --fix\n  cell=gru\n  --threads\n" in text
        assert capsys.readouterr().out == (
            f"jobs: {tmp_path}/jobs, and {tmp_path}/jobs/README.md says how to start them\n"
        )

    def test_a_training_in_a_cluster(self, tmp_path: Path):
        words = ["kubernetes", "speech", "--kind", "training", "--namespace", "mine"]
        command([*words, "--out", str(tmp_path / "jobs"), "--", "--workers", "x"])
        found = yaml.safe_load((tmp_path / "jobs" / "trainers.yaml").read_text())
        assert found["metadata"]["namespace"] == "mine"
        (container,) = found["spec"]["template"]["spec"]["containers"]
        assert container["command"][6:9] == ["train", "--workers", "x"]

    @pytest.mark.parametrize("job", [SlurmJob, KubernetesJob])
    def test_every_option_is_explained(
        self, job: type[jobs.Job], capsys: pytest.CaptureFixture[str]
    ):
        default = JobOptions(job(recipe="sentiment"))
        with pytest.raises(SystemExit):
            configuration.parse(JobOptions[job], ["--help"], default, "jobs")  # type: ignore[valid-type]
        text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
        for name in set(configuration.option_names(default)) - {"--recipe", "--words"}:
            assert re.search(rf"{name} (\S+ )?[A-Z][^()]+\. \(default:", text), name
        assert "--words" not in text

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["slrm", "speech"], "unknown platform 'slrm'; did you mean 'slurm'"),
            (["slurm"], "the name of a recipe must follow"),
            (["slurm", "--out", "x"], "the name of a recipe must follow"),
            (["slurm", "speach"], "did you mean 'speech'"),
            (["slurm", "speech", "--image", "x"], "unknown option '--image'"),
            (["slurm", "speech", "--cpus", "many"], "invalid"),
            (["slurm", "speech", "--workers", "0"], "workers must be at least 1"),
            (["slurm", "speech", "--", "--port", "1"], "--port must not be among"),
        ],
    )
    def test_misuse_is_one_line_and_code_2(self, words: list[str], message: str, tmp_path: Path):
        with pytest.raises(MisuseError, match=message) as caught:
            command(
                [*words[:2], *(["--out", str(tmp_path / "x")] if len(words) > 2 else [])]
                + words[2:]
            )
        assert caught.value.exit_code == 2 and "\n" not in str(caught.value)
        assert not (tmp_path / "x").exists()

    def test_without_words_it_says_how_it_is_called(self, capsys: pytest.CaptureFixture[str]):
        command([])
        assert "jobs PLATFORM RECIPE --out DIR" in capsys.readouterr().out


class TestAgreement:
    """What the files take for granted of the rest of the project."""

    def test_the_image_gets_what_any_recipe_needs(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        dynamic = project["tool"]["setuptools"]["dynamic"]
        needed = {*dynamic["dependencies"]["file"]}
        for extra in dynamic["optional-dependencies"].values():
            needed |= {*extra["file"]}
        # Trackers are told of a search where its report is written, not in its pods.
        assert needed - {"requirements-tracking.txt"} == {*jobs.REQUIREMENTS}
        for name in (*jobs.REQUIREMENTS, *jobs.PACKAGES):
            assert (ROOT / name).exists()
