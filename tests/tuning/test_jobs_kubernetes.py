"""A job's files for Kubernetes: by the published schemas, by each other, and by running them."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.sources import ROOT
from tests.tools import (
    KUBERNETES,
    OLDEST_KUBERNETES,
    TOOLS,
    free_port,
    in_dockerfile,
    lint_dockerfile,
    run,
    wait_until,
)
from tests.tuning.clusters import Cluster, Pod, Processes, calls, outlasts, processes
from tuning import jobs
from tuning.folder import BEAT, worker_folder
from tuning.jobs import KubernetesJob, kubernetes

ODD = ("--note", 'it\'s $HOME $(INDEX) $$ "q" \\ `id`\n two  lines, größer ☃ 😀', "")
SEARCH = KubernetesJob(recipe="sentiment", workers=3, words=("--trials", "6", *ODD), cpus=2)
TRAINING = replace(SEARCH, kind="training", words=ODD)
OTHER = KubernetesJob(
    recipe="speech",
    name="true",
    namespace="null",
    image="registry.example.org/a/b:1.2",
    storage_class="fast",
    storage_gib=7,
    deadline_hours=2.5,
    run_dir=Path("a $(b)/c d"),
    retries=0,
)
JOBS = {
    "search": SEARCH,
    "training": TRAINING,
    "other": OTHER,
    "other training": replace(OTHER, kind="training"),
}
MAIN = {"search": ("chief.yaml", "workers.yaml"), "training": ("trainers.yaml",)}


def cluster(job: KubernetesJob, folder: Path, **places: str) -> Cluster:
    """Write the files of a job, and return them with a new volume."""
    kubernetes(job, folder / "jobs")
    (folder / "volume").mkdir()
    return Cluster(folder / "jobs", folder / "volume", places)


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest) -> KubernetesJob:
    """Each of the jobs."""
    return JOBS[request.param]


@pytest.fixture
def written(job: KubernetesJob, tmp_path: Path) -> Cluster:
    """The files of that job."""
    return cluster(job, tmp_path)


class TestSchemas:
    @pytest.mark.parametrize("version", KUBERNETES)
    def test_they_fit_every_kubernetes_that_is_promised(self, written: Cluster, version: str):
        for manifest in written.manifests:
            kubernetes_validate.validate(manifest, version, strict=True)
        readme = (written.folder / "README.md").read_text()
        assert f"Kubernetes must be {OLDEST_KUBERNETES} or newer" in readme

    def test_the_validator_sees_a_mistake(self, written: Cluster):
        manifest = copy.deepcopy(written.manifest("volume.yaml"))
        manifest["spec"]["accessMode"] = manifest["spec"].pop("accessModes")
        with pytest.raises(kubernetes_validate.ValidationError, match="accessMode"):
            kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)

    def test_the_dockerfile_passes_its_linter(self, written: Cluster):
        assert lint_dockerfile((written.folder / "Dockerfile").read_text()) == ""

    def test_the_scripts_pass_theirs(self, written: Cluster):
        scripts = [*written.folder.glob("*.sh")]
        assert scripts
        for script in scripts:
            # SC2016: what is in single quotes is meant to stay as it is.
            done = run(TOOLS / "shellcheck", "--exclude=SC2016", "-", text=script.read_text())
            assert done.stdout == ""


def by_kind(written: Cluster, kind: str) -> list[Any]:
    return [each for each in written.manifests if each["kind"] == kind]


def containers(written: Cluster) -> list[tuple[Any, Any]]:
    """Return every pod's specification and its container."""
    specs = [each["spec"]["template"]["spec"] for each in by_kind(written, "Job")]
    specs += [each["spec"] for each in by_kind(written, "Pod")]
    return [(spec, container) for spec in specs for container in spec["containers"]]


class TestAgreement:
    def test_everything_has_a_name_of_its_own_in_the_namespace(
        self, job: KubernetesJob, written: Cluster
    ):
        names = [(each["kind"], each["metadata"]["name"]) for each in written.manifests]
        assert len({*names}) == len(names)
        for each in written.manifests:
            assert each["metadata"]["namespace"] == job.namespace
            assert each["metadata"]["name"].startswith(job.title)

    def test_services_and_rules_lead_to_the_pods(self, written: Cluster):
        pods = [each["spec"]["template"] for each in by_kind(written, "Job")]
        (service,), (policy,) = by_kind(written, "Service"), by_kind(written, "NetworkPolicy")
        selector = service["spec"]["selector"].items()
        chosen = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        (pod,) = chosen
        (container,) = pod["spec"]["containers"]
        (port,) = service["spec"]["ports"]
        named = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert named[port["targetPort"]] == port["port"]
        ours = policy["spec"]["podSelector"]["matchLabels"].items()
        assert all(ours <= pod["metadata"]["labels"].items() for pod in pods)
        assert policy["spec"]["ingress"] == [
            {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
        ]

    def test_workers_look_for_the_chief_where_it_is(self, tmp_path: Path):
        written = cluster(SEARCH, tmp_path)
        (service,) = by_kind(written, "Service")
        (chief,), workers = written.pods("chief.yaml"), written.pods("workers.yaml")
        port = str(service["spec"]["ports"][0]["port"])
        for worker in workers:
            assert worker.environment["KERASTUNER_ORACLE_IP"] == service["metadata"]["name"]
            assert worker.environment["KERASTUNER_ORACLE_PORT"] == port
            assert worker.environment["SEARCH_OVER"] == chief.environment["SEARCH_OVER"]
        assert chief.environment["KERASTUNER_ORACLE_PORT"] == port
        # KerasTuner takes a name with "chief" in it for the chief's.
        names = [worker.environment["KERASTUNER_TUNER_ID"] for worker in workers]
        assert names == ["worker-0", "worker-1", "worker-2"]
        assert chief.environment["KERASTUNER_TUNER_ID"] == "chief"

    def test_a_training_pod_is_found_by_the_name_that_its_service_gives(self, tmp_path: Path):
        written = cluster(TRAINING, tmp_path)
        (service,), (trainers,) = by_kind(written, "Service"), by_kind(written, "Job")
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"]
        subdomain = trainers["spec"]["template"]["spec"]["subdomain"]
        assert subdomain == service["metadata"]["name"]
        port = service["spec"]["ports"][0]["port"]
        names = [f"{trainers['metadata']['name']}-{index}.{subdomain}" for index in range(3)]
        for index, pod in enumerate(written.pods("trainers.yaml")):
            assert json.loads(pod.environment["TF_CONFIG"]) == {
                "cluster": {"worker": [f"{name}:{port}" for name in names]},
                "task": {"type": "worker", "index": index},
            }
            assert pod.environment["PEERS"].split() == names

    def test_what_is_mounted_is_there(self, job: KubernetesJob, written: Cluster):
        (claim,), (scripts,) = (
            by_kind(written, kind) for kind in ("PersistentVolumeClaim", "ConfigMap")
        )
        for spec, container in containers(written):
            volumes = {each["name"]: each for each in spec["volumes"]}
            assert {each["name"] for each in container["volumeMounts"]} == {*volumes}
            claimed = volumes["shared"]["persistentVolumeClaim"]["claimName"]
            assert claimed == claim["metadata"]["name"]
            if "scripts" in volumes:
                assert volumes["scripts"]["configMap"]["name"] == scripts["metadata"]["name"]
                assert container["command"][1].removeprefix("/scripts/") in scripts["data"]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        assert claim["spec"].get("storageClassName", "") == job.storage_class
        assert claim["spec"]["resources"]["requests"]["storage"] == f"{job.storage_gib}Gi"

    def test_ending_the_job_does_not_end_the_volume(self, written: Cluster):
        assert "volume.yaml" not in written.manifest("kustomization.yaml")["resources"]

    def test_no_pod_has_rights_that_it_does_not_need(self, written: Cluster):
        dockerfile = (written.folder / "Dockerfile").read_text()
        for spec, container in containers(written):
            rights, own = spec["securityContext"], container["securityContext"]
            assert rights["runAsNonRoot"] and rights["seccompProfile"]["type"] == "RuntimeDefault"
            user, group = rights["runAsUser"], rights["runAsGroup"]
            assert in_dockerfile(dockerfile, r"USER (\d+):(\d+)$") == [(str(user), str(group))]
            assert own == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not spec["automountServiceAccountToken"]
            limits, requests = (container["resources"][name] for name in ("limits", "requests"))
            assert limits.keys() == requests.keys() == {"cpu", "memory"}

    def test_threads_are_as_many_as_cores(self, job: KubernetesJob, written: Cluster):
        for name in MAIN[job.kind]:
            for pod in written.pods(name):
                for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
                    assert pod.environment[variable] == str(job.cpus)

    def test_pre_emption_is_not_counted(self, job: KubernetesJob, written: Cluster):
        for each in by_kind(written, "Job"):
            spec = each["spec"]
            assert spec["template"]["spec"]["restartPolicy"] == "Never"  # the rules demand it
            first, second = spec["podFailurePolicy"]["rules"]
            assert first["action"] == "Ignore"
            assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
            (container,) = spec["template"]["spec"]["containers"]
            assert second["onExitCodes"] == {
                "containerName": container["name"],
                "operator": "In",
                "values": [1],
            }
            by_index = each["metadata"]["name"].endswith("-workers")
            assert second["action"] == ("FailIndex" if by_index else "FailJob")
            assert spec["backoffLimitPerIndex" if by_index else "backoffLimit"] == job.retries
            assert spec.get("activeDeadlineSeconds", 0) == job.deadline_seconds


class TestImage:
    def test_it_gets_what_it_copies_and_no_more(self, written: Cluster):
        lines = (written.folder / "Dockerfile.dockerignore").read_text().splitlines()
        kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
        text = (written.folder / "Dockerfile").read_text()
        copied = {
            name.rstrip("/")
            for words in in_dockerfile(text, "COPY (.*)$")
            for name in words.split()[:-1]
        }
        assert copied == kept == {*jobs.PACKAGES, *jobs.REQUIREMENTS, "pyproject.toml", "README.md"}
        assert all((ROOT / name).exists() for name in kept)

    def test_it_is_built_as_what_runs(self, job: KubernetesJob, written: Cluster):
        readme = (written.folder / "README.md").read_text()
        assert f"--tag {job.image} .\n" in readme and f"docker push {job.image}\n" in readme
        assert {container["image"] for _, container in containers(written)} == {job.image}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Processes]:
    """Where processes are started from."""
    (tmp_path / "bin").mkdir()
    with processes(tmp_path / "bin") as found:
        yield found


def local(job: KubernetesJob, folder: Path) -> Cluster:
    """Return a job whose names all stand for this machine."""
    places = {str(jobs.CHIEF_PORT): str(free_port()), f"{job.title}-chief": "127.0.0.1"}
    for peer in job.peers:
        places[f"{peer}:{jobs.TRAINING_PORT}"] = f"127.0.0.1:{free_port()}"
        places[peer] = "127.0.0.1"
    return cluster(job, folder, **places)


class TestSearch:
    """The commands of the manifests, with a stand-in for what they run."""

    @pytest.fixture
    def search(self, tmp_path: Path) -> Cluster:
        return local(SEARCH, tmp_path)

    def start(self, pod: Pod, search: Cluster, running: Processes) -> Any:
        return running.start(pod.command, pod.environment, search.volume)

    def done(self, search: Cluster) -> list[str]:
        """Return the trials that are done."""
        state = json.loads((search.volume / "runs" / "state.json").read_text())
        return sorted(trial for trial, _ in state["done"])

    def test_it_runs_to_its_end(self, search: Cluster, running: Processes):
        pods = [*search.pods("workers.yaml"), *search.pods("chief.yaml")]
        started = [self.start(pod, search, running) for pod in pods]  # the chief comes last
        assert [process.wait(30) for process in started] == [0, 0, 0, 0]
        assert self.done(search) == [f"trial-{number}" for number in range(1, 7)]
        late = self.start(pods[0], search, running)
        assert late.wait(30) == 0  # though nobody is there to be asked

    def test_words_arrive_as_they_are(self, search: Cluster, running: Processes):
        chief, *workers = [*search.pods("chief.yaml"), *search.pods("workers.yaml")]
        for process in [self.start(pod, search, running) for pod in (chief, workers[0])]:
            assert process.wait(30) == 0
        first, second = sorted(calls(search.volume / "runs"), key=lambda call: call["words"][0])
        folder = str(search.volume / "runs")
        end = ["--threads", "2", "--run-dir", folder]
        assert first["words"] == ["chief", "sentiment", *SEARCH.words, *end]
        assert second["words"] == ["worker", *end]
        for call in (first, second):
            assert call["cwd"] == str(search.volume)
            assert call["environment"]["TF_NUM_INTRAOP_THREADS"] == "2"
            assert call["environment"]["SEQZOO_DATA"] == str(search.volume / "data")
        assert second["environment"]["KERASTUNER_TUNER_ID"] == "worker-0"

    def test_a_chief_and_a_worker_that_are_killed_are_replaced(
        self, search: Cluster, running: Processes
    ):
        (chief,), (pod, *_) = search.pods("chief.yaml"), search.pods("workers.yaml")
        first, worker = (self.start(each, search, running) for each in (chief, pod))
        state = search.volume / "runs" / "state.json"
        wait_until(lambda: state.exists() and len(json.loads(state.read_text())["done"]) > 1)
        running.end(first)
        wait_until(lambda: [*state.parent.glob("lost-*.json")])
        assert outlasts(worker)  # it is the chief that is missing
        second = self.start(chief, search, running)
        wait_until(lambda: len(json.loads(state.read_text())["done"]) > 3)
        running.end(worker)
        third = self.start(pod, search, running)
        assert [second.wait(30), third.wait(30)] == [0, 0]
        assert self.done(search) == [f"trial-{number}" for number in range(1, 7)]

    def test_a_worker_without_a_sign_of_life_is_not_alive(
        self, search: Cluster, running: Processes
    ):
        job = search.manifest("workers.yaml")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        command = container["livenessProbe"]["exec"]["command"]
        pod = search.pods("workers.yaml")[1]
        beat = worker_folder(search.volume / "runs", "worker-1") / BEAT
        assert pod.environment["BEAT"] == str(beat)

        def probe() -> int:
            return running.start(command, pod.environment, search.volume).wait(30)

        assert probe() == 0  # it has not begun yet
        beat.parent.mkdir(parents=True)
        beat.touch()
        assert probe() == 0
        os.utime(beat, (time.time() - 400, time.time() - 400))
        assert probe() == 1
        waiting = self.start(pod, search, running)  # without a chief
        wait_until(lambda: probe() == 0)
        assert outlasts(waiting)

    def test_a_fault_of_its_own_is_tried_again_and_then_ends_all(
        self, tmp_path: Path, running: Processes
    ):
        search = local(replace(SEARCH, words=("--code", "3"), retries=2), tmp_path)
        (chief,), (worker, *_) = search.pods("chief.yaml"), search.pods("workers.yaml")
        waiting = self.start(worker, search, running)
        assert self.start(chief, search, running).wait(30) == 1
        assert [call["words"][0] for call in calls(search.volume / "runs")] == ["chief"] * 3
        assert waiting.wait(30) == 0
        # Of a later attempt that says nothing: its workers wait.
        assert outlasts(self.start(worker, search, running))

    def test_a_chief_that_never_comes_is_not_waited_for_for_ever(
        self, search: Cluster, running: Processes
    ):
        pod = search.pods("workers.yaml")[0]
        assert int(pod.environment["CHIEF_SECONDS"]) >= 1800
        pod.environment["CHIEF_SECONDS"] = "1"
        assert self.start(pod, search, running).wait(30) == 3
