"""The files of a bundle around the image: each by its own schema, and all by each other."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import containers
from serving.containers import BATCHING_FILE, Contents, flags, render
from serving.parity import LONGEST_CALL, Batching
from serving.protocol.rest import METRICS_PATH
from serving.server import configs
from serving.server import flags as server_flags
from tests.serving.rendered import CANARY, PLAIN, UNBATCHED, Rendered, every_bundle
from tests.sources import ROOT
from tests.tools import TOOLS, lint_dockerfile, run


@every_bundle
class TestSchemas:
    """What the tools that read a file demand of it."""

    def test_the_dockerfile_passes_its_linter(self, bundle: Rendered):
        assert lint_dockerfile(bundle.texts["Dockerfile"]) == ""

    def test_the_compose_file_fits_the_compose_specification(self, bundle: Rendered):
        command = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
        command += ["--default-filetype", "yaml", "-"]
        done = run(*command, text=bundle.texts["compose.yaml"])
        assert done.returncode == 0, done.stdout
        done = run(*command, text=bundle.texts["compose.yaml"].replace("read_only:", "readonly:"))
        assert done.returncode == 1 and "readonly" in done.stdout

    def test_every_other_file_is_what_its_name_says(self, bundle: Rendered):
        for path, text in bundle.texts.items():
            if path.endswith((".yaml", ".yml")):
                assert isinstance(yaml.safe_load(text), dict)
            elif path.endswith(".json"):
                assert isinstance(json.loads(text), dict)
            elif path.endswith(".sh"):
                assert run("bash", "-n", text=text).returncode == 0
            assert not re.search(r"\{\{ |\{%", text), path


@every_bundle
class TestConfig:
    def test_the_versions_are_served_and_have_labels(self, bundle: Rendered):
        text, contents = bundle.config["models.config"], bundle.contents
        parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        (config,) = parsed.model_config_list.config
        assert (config.name, config.model_platform) == (contents.model, "tensorflow")
        assert tuple(config.model_version_policy.specific.versions) == contents.versions
        assert dict(config.version_labels) == {
            "stable": contents.versions[0],
            "canary": contents.versions[-1],
        }
        assert config.base_path == f"/models/{contents.model}"
        assert bundle.dockerfile("COPY models/ (.*)$") == ["/models/"]

    def test_batching_is_what_was_chosen(self, bundle: Rendered, tmp_path: Path):
        chosen, file = bundle.contents.batching, bundle.write(tmp_path) / BATCHING_FILE
        assert file.exists() == bool(chosen)
        if chosen:
            found = configs.batching_parameters(file)
            assert found.largest_batch == chosen.rows
            assert found.batch_timeout_micros == chosen.wait_micros
            assert found.pad_variable_length_inputs == bundle.contents.pads
            assert found.max_batch_size == LONGEST_CALL

    def test_metrics_are_where_they_are_looked_for(self, bundle: Rendered, tmp_path: Path):
        path = configs.metrics_path(bundle.write(tmp_path) / containers.MONITORING_FILE)
        assert path == METRICS_PATH


def test_a_batch_may_be_larger_than_a_call_usually_may(tmp_path: Path) -> None:
    large = Batching(2 * LONGEST_CALL, 0)
    file = tmp_path / "batching.config"
    file.write_text(render(Contents("a", (1,), large, False, 0))[BATCHING_FILE])
    found = configs.batching_parameters(file)
    assert found.max_batch_size == found.largest_batch == large.rows


@every_bundle
class TestFlags:
    def test_the_server_is_started_with_them(self, bundle: Rendered):
        assert bundle.entrypoint == ["tensorflow_model_server", *flags(bundle.contents)]

    def test_the_embedded_server_knows_every_one(self, bundle: Rendered):
        options = server_flags.parse(flags(bundle.contents))
        assert options.port == containers.GRPC_PORT and not options.ignored
        assert options.enable_batching == bool(bundle.contents.batching)

    def test_the_files_that_they_name_are_in_the_image(self, bundle: Rendered):
        named = [flag.split("=")[1] for flag in flags(bundle.contents) if "_file=" in flag]
        assert {f"/config/{name}" for name in bundle.config} == set(named)
        assert bundle.dockerfile("COPY config/ (.*)$") == ["/config/"]


@every_bundle
class TestImage:
    def test_what_is_copied_is_not_ignored(self, bundle: Rendered):
        lines = bundle.texts[".dockerignore"].splitlines()
        rules = [line for line in lines if not line.startswith("#")]
        assert rules[0] == "*"
        kept = {rule.removeprefix("!").split("/")[0] for rule in rules[1:]}
        assert kept == {path.rstrip("/") for path in bundle.dockerfile(r"COPY (\S+) ")}

    def test_all_agree_on_its_name(self, bundle: Rendered):
        image = bundle.contents.image
        (entry,) = bundle.yaml("kustomization.yaml")["images"]
        assert bundle.services["server"]["image"] == bundle.container["image"] == image
        assert f"{entry['name']}:{entry['newTag']}" == image
        assert f"--tag {image} .\n" in bundle.texts["README.md"]

    def test_all_agree_on_its_user_who_is_not_root(self, bundle: Rendered):
        rights = bundle.pod["securityContext"]
        numbers = (str(rights["runAsUser"]), str(rights["runAsGroup"]))
        assert bundle.dockerfile(r"USER (\d+):(\d+)$") == [numbers]
        assert rights["runAsNonRoot"] and rights["runAsUser"] > 0

    def test_every_image_has_a_version(self, bundle: Rendered):
        images = [each["image"] for each in bundle.services.values()]
        for image in (*images, *bundle.dockerfile("FROM (.*)$")):
            name, _, tag = image.partition(":")
            assert name and re.search(r"\d", tag), image


@every_bundle
class TestCompose:
    def test_what_is_mounted_is_there_and_cannot_be_written(self, bundle: Rendered, tmp_path: Path):
        folder = bundle.write(tmp_path)
        for service in bundle.services.values():
            for volume in service["volumes"]:
                source, target, *mode = volume.split(":")
                if source.startswith("./"):
                    assert (folder / source).exists() and mode == ["ro"]
                else:
                    assert source in bundle.yaml("compose.yaml")["volumes"]
                assert target.startswith("/")

    def test_nothing_is_open_to_other_machines(self, bundle: Rendered):
        for service in bundle.services.values():
            assert all(port.startswith("127.0.0.1:") for port in service["ports"])
            assert service["read_only"] and service["cap_drop"] == ["ALL"]

    def test_a_service_starts_when_what_it_needs_is_healthy(self, bundle: Rendered):
        (check,) = bundle.dockerfile("HEALTHCHECK .* CMD (.*)$")
        port, model = str(containers.REST_PORT), bundle.contents.model
        assert json.loads(check) == ["bash", "/healthcheck.sh", port, model]
        assert "healthcheck.sh" in bundle.texts
        healthy = {"condition": "service_healthy"}
        assert bundle.services["prometheus"]["depends_on"] == {"server": healthy}
        assert bundle.services["grafana"]["depends_on"] == {"prometheus": healthy}
        assert all("healthcheck" in bundle.services[name] for name in ("prometheus", "grafana"))


class TestNames:
    @pytest.mark.parametrize(
        ("model", "slug"),
        [
            ("sentiment", "sentiment"),
            ("Spoken_Digits-2", "spoken-digits-2"),
            ("007", "model-007"),
            ("__", "model"),
            ("a" * 39 + "-b", "a" * 39),
        ],
    )
    def test_a_name_fits_where_less_is_allowed(self, model: str, slug: str):
        assert Contents(model, (1,), None, False, 0).slug == slug

    @pytest.mark.parametrize("model", ["true", "null", "on", "1e3", "007"])
    def test_a_name_that_looks_like_a_value_stays_a_text(self, model: str):
        bundle = Rendered(Contents(model, (1,), Batching(8, 0), False, 0, None, "12345678"))
        names = [bundle.yaml("compose.yaml")["name"], bundle.container["image"].split(":")[0]]
        manifests = dict(bundle.manifests)
        for manifest in (*manifests.pop("ConfigMap"), *manifests.values()):
            names.append(manifest["metadata"]["name"])
        assert all(isinstance(name, str) and bundle.contents.slug in name for name in names)

    def test_memory_grows_with_the_models(self):
        assert Contents("a", (1,), None, False, 0).memory_mib == 512
        assert Contents("a", (1,), None, False, 2**30).memory_mib == 512 + 3 * 1024


class TestReadme:
    @every_bundle
    def test_the_files_that_it_names_are_there(self, bundle: Rendered, tmp_path: Path):
        text, folder = bundle.texts["README.md"], bundle.write(tmp_path)
        table = text[text.index("|---|---|") : text.index("## Build and run")]
        made = {"models/", "requests/", "bundle.json", "measurements.json"}
        named = set(re.findall("`([^`]+)`", table))
        assert {name for name in named if not (folder / name).exists()} <= made

    def test_it_says_how_the_batching_was_found(self):
        plain, canary, unbatched = (each.texts["README.md"] for each in (PLAIN, CANARY, UNBATCHED))
        assert "Not measured: batches of up to 32 rows, which wait up to 2000 µs" in plain
        assert "batches of up to 16 rows, which wait up to 1000 µs" in canary
        assert "| 16 | 1000 | 2000 **chosen** | 1.00 | 2.00 | 3.00 | 0 |" in canary
        assert "at 1.5 ms or less. This came\nnearest: no batching." in unbatched


def test_the_templates_are_part_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "*.jinja" in project["tool"]["setuptools"]["package-data"]["*"]
