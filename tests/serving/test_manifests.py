"""The Kubernetes manifests of a bundle: by the published schemas, and by each other."""

from __future__ import annotations

import copy
import re

import kubernetes_validate
import pytest

from serving import containers
from serving.containers import flags
from serving.protocol.rest import METRICS_PATH
from tests.serving.rendered import PLAIN, Rendered, every_bundle
from tests.tools import KUBERNETES, OLDEST_KUBERNETES

KINDS = ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")


@every_bundle
@pytest.mark.parametrize("version", KUBERNETES)
def test_they_fit_every_kubernetes_that_is_promised(bundle: Rendered, version: str) -> None:
    assert set(bundle.manifests) == {*KINDS, "ConfigMap"}
    for manifest in (*bundle.manifests["ConfigMap"], *map(bundle.manifests.get, KINDS)):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validator_sees_a_mistake() -> None:
    manifest = copy.deepcopy(PLAIN.manifests["Deployment"])
    manifest["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)


def test_the_oldest_kubernetes_is_what_the_readme_says() -> None:
    assert f"Kubernetes must be {OLDEST_KUBERNETES} or newer" in PLAIN.texts["README.md"]


@every_bundle
class TestAgreement:
    def test_names_and_selectors_lead_to_the_pods(self, bundle: Rendered):
        found, slug = bundle.manifests, bundle.contents.slug
        assert re.fullmatch("[a-z][a-z0-9-]*[a-z0-9]", slug) and len(slug) < 50
        assert {found[kind]["metadata"]["name"] for kind in KINDS} == {slug}
        labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for selector in (
            found["Deployment"]["spec"]["selector"]["matchLabels"],
            found["Service"]["spec"]["selector"],
            found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        ):
            assert selector and selector.items() <= labels.items()
        target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", slug)
        assert "replicas" not in found["Deployment"]["spec"]

    def test_ports_are_those_of_the_server(self, bundle: Rendered):
        ports = {each["name"]: each["containerPort"] for each in bundle.container["ports"]}
        assert f"--port={ports['grpc']}" in flags(bundle.contents)
        assert f"--rest_api_port={ports['http']}" in flags(bundle.contents)
        assert bundle.dockerfile("EXPOSE (.*)$") == [f"{ports['grpc']} {ports['http']}"]
        service = bundle.manifests["Service"]["spec"]["ports"]
        assert {each["targetPort"]: each["port"] for each in service} == ports
        published = [f"127.0.0.1:{port}:{port}" for port in ports.values()]
        assert bundle.services["server"]["ports"] == published

    def test_health_is_asked_over_grpc(self, bundle: Rendered):
        assert "--enable_grpc_healthcheck_service=true" in flags(bundle.contents)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert bundle.container[probe]["grpc"] == {"port": containers.GRPC_PORT}

    def test_the_config_maps_hold_what_the_image_has(self, bundle: Rendered):
        maps = bundle.manifests["ConfigMap"]
        assert {name: text for each in maps for name, text in each["data"].items()} == bundle.config
        config, _ = bundle.pod["volumes"]
        sources = [each["configMap"]["name"] for each in config["projected"]["sources"]]
        assert sources == [each["metadata"]["name"] for each in maps]
        mounts = {each["name"]: each["mountPath"] for each in bundle.container["volumeMounts"]}
        assert mounts[config["name"]] == "/config"

    def test_only_the_map_with_the_labels_keeps_its_name(self, bundle: Rendered):
        models, settings = bundle.yaml("kustomization.yaml")["configMapGenerator"]
        assert models["files"] == [containers.MODELS_FILE]
        assert models["options"] == {"disableNameSuffixHash": True}
        assert models["name"].endswith("-".join(map(str, bundle.contents.versions)))
        assert "options" not in settings

    def test_prometheus_finds_the_metrics(self, bundle: Rendered):
        template = bundle.manifests["Deployment"]["spec"]["template"]
        assert template["metadata"]["annotations"] == {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(containers.REST_PORT),
            "prometheus.io/path": METRICS_PATH,
        }

    def test_pods_end_after_their_calls(self, bundle: Rendered):
        sleep = bundle.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert 0 < sleep < bundle.pod["terminationGracePeriodSeconds"]
