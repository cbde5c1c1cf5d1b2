"""A job's files for Slurm: by bash and its linter, and by running them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tools import TOOLS, run, wait_until
from tests.tuning.clusters import Processes, Slurm, calls, outlasts, processes
from tuning.folder import BEAT, worker_folder
from tuning.jobs import SlurmJob, slurm

ODD = ("--note", 'it\'s $HOME $(id) "q" \\ `id`\n two  lines, größer ☃ 😀', "")
SEARCH = SlurmJob(
    recipe="sentiment", workers=2, words=("--trials", "6", *ODD), run_dir=Path("it's $here/a b")
)
TRAINING = replace(SEARCH, kind="training", workers=3, words=ODD)
OTHER = SlurmJob(
    recipe="speech",
    name="mine",
    cpus=2,
    memory_gib=3,
    hours=1.5,
    retries=0,
    partition="short,long",
    account="us",
    activate="source 'an environment'/bin/activate\nmodule load python",
)
JOBS = {
    "search": SEARCH,
    "training": TRAINING,
    "other": OTHER,
    "other training": replace(OTHER, kind="training"),
}


def script(job: SlurmJob, folder: Path) -> Path:
    """Write the files of a job, and return its script."""
    slurm(job, folder / "jobs")
    (found,) = (folder / "jobs").glob("*.sbatch")
    return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Processes]:
    """Where processes are started from."""
    (tmp_path / "bin").mkdir()
    with processes(tmp_path / "bin") as found:
        yield found


def submitted(job: SlurmJob, folder: Path, running: Processes, number: int = 40) -> Slurm:
    """Return Slurm for a job that is submitted from a new folder."""
    (folder / "here").mkdir(exist_ok=True)
    return Slurm(running, script(job, folder), folder / "here", number)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
class TestScript:
    def test_bash_and_its_linter_pass_it(self, job: SlurmJob, tmp_path: Path):
        text = script(job, tmp_path).read_text()
        assert text.startswith("#!/bin/bash\n")
        assert run("bash", "-n", text=text).returncode == 0
        # SC2016: what is in single quotes is meant to stay. SC1091: the environment is the user's.
        exclude = "--exclude=SC2016,SC1091"
        assert run(TOOLS / "shellcheck", exclude, "-", text=text).stdout == ""

    def test_slurm_is_asked_for_what_was_wanted(
        self, job: SlurmJob, tmp_path: Path, running: Processes
    ):
        options = submitted(job, tmp_path, running).options
        assert options["job-name"] == job.title
        assert options["cpus-per-task"] == str(job.cpus)
        assert options["mem"] == f"{job.memory_gib}G"
        assert options["time"] == str(job.minutes)
        assert options.get("partition", "") == job.partition
        assert options.get("account", "") == job.account
        # Whatever is pre-empted comes back, and its log goes on.
        assert options["requeue"] == "" and options["open-mode"] == "append"
        assert re.fullmatch(r"B:USR1@\d+", options["signal"])
        if job.kind == "search":
            assert (options["array"], options["ntasks"]) == (f"0-{job.workers}", "1")
        else:
            assert (options["nodes"], options["ntasks-per-node"]) == (str(job.workers), "1")

    def test_its_environment_is_prepared_before_all_else(self, job: SlurmJob, tmp_path: Path):
        lines = script(job, tmp_path).read_text().splitlines()
        commands = [line for line in lines if line and not line.startswith("#")]
        assert commands[: commands.index("set -u")] == job.activate.splitlines()

    def test_the_readme_names_the_script(self, job: SlurmJob, tmp_path: Path):
        name = script(job, tmp_path).name
        assert f"sbatch {name}\n" in (tmp_path / "jobs" / "README.md").read_text()


class TestSearch:
    """The script, with a stand-in for what it runs."""

    def folder(self, search: Slurm) -> Path:
        return search.folder / SEARCH.run_dir

    def done(self, search: Slurm) -> list[str]:
        """Return the trials that are done."""
        file = self.folder(search) / "state.json"
        if not file.exists():
            return []
        return sorted(trial for trial, _ in json.loads(file.read_text())["done"])

    def address(self, search: Slurm) -> list[str]:
        """Return what is published of the chief."""
        file = self.folder(search) / f"chief-{search.number}.address"
        return file.read_text().split() if file.exists() else []

    def test_it_runs_to_its_end(self, tmp_path: Path, running: Processes):
        search = submitted(SEARCH, tmp_path, running)
        tasks = [search.task(index) for index in (2, 1, 0)]  # the chief comes last
        assert [task.wait(30) for task in tasks] == [0, 0, 0]
        assert self.done(search) == [f"trial-{number}" for number in range(1, 7)]
        assert search.task(1).wait(30) == 0  # though nobody is there to be asked

    def test_words_arrive_as_they_are(self, tmp_path: Path, running: Processes):
        search = submitted(SEARCH, tmp_path, running)
        assert [task.wait(30) for task in (search.task(0), search.task(2))] == [0, 0]
        found = calls(self.folder(search))
        chief, worker = sorted(found, key=lambda call: call["words"][0])
        folder = str(SEARCH.run_dir)
        end = ["--threads", "4", "--run-dir", folder]
        assert chief["words"] == ["chief", "sentiment", *SEARCH.words, *end]
        assert worker["words"] == ["worker", *end]
        assert chief["environment"]["KERASTUNER_TUNER_ID"] == "chief"
        assert chief["environment"]["KERASTUNER_ORACLE_IP"] == "0.0.0.0"
        assert worker["environment"]["KERASTUNER_TUNER_ID"] == "worker-2"
        assert worker["environment"]["KERASTUNER_ORACLE_IP"] == "127.0.0.1"
        for call in (chief, worker):
            assert call["environment"]["TF_NUM_INTRAOP_THREADS"] == str(SEARCH.cpus)
        steps = search.log.read_text().splitlines()
        assert steps == [f"--cpus-per-task={SEARCH.cpus} --ntasks=1"] * 2

    def test_workers_find_a_chief_that_moved(self, tmp_path: Path, running: Processes):
        search = submitted(SEARCH, tmp_path, running)
        chief, worker = search.task(0), search.task(1)
        wait_until(lambda: len(self.done(search)) > 1)
        before = self.address(search)
        running.end(chief)
        chief = search.task(0, node="127.0.0.2")
        wait_until(lambda: len(self.done(search)) > 3)
        assert self.address(search)[0] == "127.0.0.2" != before[0]
        running.end(worker)
        assert [task.wait(30) for task in (chief, search.task(1))] == [0, 0]
        assert self.done(search) == [f"trial-{number}" for number in range(1, 7)]

    def test_a_worker_that_waits_for_the_old_place_is_ended(
        self, tmp_path: Path, running: Processes
    ):
        search = submitted(SEARCH, tmp_path, running)
        running.program("python", '#!/bin/bash\necho $$ > "$SRUN_LOG.pid"\nexec /bin/sleep 60\n')
        folder = self.folder(search)
        folder.mkdir(parents=True)
        address = folder / f"chief-{search.number}.address"
        started = Path(f"{search.log}.pid")
        with socket.create_server(("127.0.0.1", 0)) as chief:
            address.write_text(f"127.0.0.1 {chief.getsockname()[1]}\n")
            task = search.task(1)
            wait_until(started.exists)
            assert outlasts(task, 0.5)
            address.write_text("over\n")
            assert task.wait(30) == 0

    def test_a_worker_without_a_sign_of_life_is_started_again(
        self, tmp_path: Path, running: Processes
    ):
        search = submitted(SEARCH, tmp_path, running)
        folder = self.folder(search)
        beat = worker_folder(folder, "worker-1") / BEAT
        beat.parent.mkdir(parents=True)
        beat.touch()
        os.utime(beat, (0, 0))  # of an earlier time
        running.program(
            "python",
            '#!/bin/bash\necho $$ >> "$SRUN_LOG.pid"\n/bin/sleep 0.5\n'
            f"touch --date '10 minutes ago' {shlex.quote(str(beat))}\n"
            "exec /bin/sleep 60\n",
        )
        started = Path(f"{search.log}.pid")
        with socket.create_server(("127.0.0.1", 0)) as chief:
            address = folder / f"chief-{search.number}.address"
            address.write_text(f"127.0.0.1 {chief.getsockname()[1]}\n")
            task = search.task(1)
            wait_until(lambda: started.exists() and len(started.read_text().split()) > 2)
            address.write_text("over\n")
            assert task.wait(30) == 0

    def test_an_earlier_submission_says_nothing(self, tmp_path: Path, running: Processes):
        search = submitted(SEARCH, tmp_path, running)
        self.folder(search).mkdir(parents=True)
        (self.folder(search) / "chief-39.address").write_text("over\n")
        assert outlasts(search.task(1))

    def test_a_fault_of_its_own_is_tried_again_and_then_ends_all(
        self, tmp_path: Path, running: Processes
    ):
        job = replace(SEARCH, words=("--code", "3"), retries=2)
        search = submitted(job, tmp_path, running)
        worker = search.task(1)
        assert search.task(0).wait(30) == 1
        assert [call["words"][0] for call in calls(self.folder(search))] == ["chief"] * 3
        assert self.address(search) == ["over"] and worker.wait(30) == 0

    def test_before_its_time_is_up_it_goes_back_into_the_queue(
        self, tmp_path: Path, running: Processes
    ):
        search = submitted(SEARCH, tmp_path, running)
        tasks = [search.task(index) for index in (0, 1)]
        wait_until(lambda: self.done(search))
        for task in tasks:
            task.send_signal(signal.SIGUSR1)
            assert task.wait(30) == 0
        assert search.log.read_text().splitlines()[-2:] == ["requeue 41", "requeue 42"]
        assert self.address(search) != ["over"]

    def test_if_the_queue_refuses_it_works_on(self, tmp_path: Path, running: Processes):
        search = submitted(SEARCH, tmp_path, running)
        running.program("scontrol", "#!/bin/sh\nexit 1\n")
        tasks = [search.task(index) for index in (0, 1)]
        wait_until(lambda: self.done(search))
        for task in tasks:
            task.send_signal(signal.SIGUSR1)
        assert [task.wait(30) for task in tasks] == [0, 0]
        assert len(calls(self.folder(search))) == 2

    def test_a_chief_that_fails_stays_where_it_was(self, tmp_path: Path, running: Processes):
        job = replace(SEARCH, words=("--code", "3"), retries=1)
        search = submitted(job, tmp_path, running)
        assert search.task(0).wait(30) == 1
        ports = {
            call["environment"]["KERASTUNER_ORACLE_PORT"] for call in calls(self.folder(search))
        }
        assert len(ports) == 1


class TestTraining:
    """The script, with a stand-in for what it runs."""

    NODES = "127.0.0.1,127.0.0.2,127.0.0.3"

    def start(self, training: Slurm) -> subprocess.Popen[str]:
        return training.start(job_nodelist=self.NODES)

    def test_all_meet_and_words_arrive_as_they_are(self, tmp_path: Path, running: Processes):
        training = submitted(TRAINING, tmp_path, running)
        assert self.start(training).wait(30) == 0
        run_dir = training.folder / TRAINING.run_dir
        assert json.loads((run_dir / "metrics.json").read_text()) == {"workers": 3}
        found = calls(run_dir)
        configs = [json.loads(call["environment"]["TF_CONFIG"]) for call in found]
        assert sorted(config["task"]["index"] for config in configs) == [0, 1, 2]
        assert {config["task"]["type"] for config in configs} == {"worker"}
        (addresses,) = {tuple(config["cluster"]["worker"]) for config in configs}
        assert [each.rpartition(":")[0] for each in addresses] == self.NODES.split(",")
        for call in found:
            given = ["sentiment", "train", *ODD, "--strategy", "multiworker", "--run-dir"]
            assert call["words"] == [*given, str(TRAINING.run_dir)]
        (step,) = training.log.read_text().splitlines()
        cpus = f"--cpus-per-task={TRAINING.cpus}"
        assert step == f"{cpus} --nodes=3 --ntasks-per-node=1 --kill-on-bad-exit=1"

    def test_one_that_fails_ends_the_others_and_all_are_started_again(
        self, tmp_path: Path, running: Processes
    ):
        training = submitted(TRAINING, tmp_path, running)
        run_dir = training.folder / TRAINING.run_dir
        run_dir.mkdir(parents=True)
        (run_dir / "fail").touch()
        assert self.start(training).wait(30) == 0
        assert len(training.log.read_text().splitlines()) == 2
        assert (run_dir / "metrics.json").exists()

    @pytest.mark.parametrize(("progress", "attempts"), [(0, 3), (4, 6)])
    def test_it_gives_up_without_progress(
        self, tmp_path: Path, running: Processes, progress: int, attempts: int
    ):
        words = ("--code", "3", "--progress", str(progress))
        job = replace(TRAINING, words=words, workers=1, retries=2)
        training = submitted(job, tmp_path, running)
        assert training.start(job_nodelist="127.0.0.1").wait(30) == 1
        assert len(training.log.read_text().splitlines()) == attempts

    def test_before_its_time_is_up_it_goes_back_into_the_queue(
        self, tmp_path: Path, running: Processes
    ):
        training = submitted(replace(TRAINING, words=("--code", "3")), tmp_path, running)
        process = self.start(training)
        wait_until(lambda: calls(training.folder / TRAINING.run_dir))
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 0
        assert "requeue 40" in training.log.read_text().splitlines()
