"""deploy/kubernetes renders, is valid, and keeps to the restricted profile of Pod Security."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.support import ROOT

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
HOME = ROOT / "deploy" / "kubernetes"
FOLDERS = ("base", "single-node", "cloud", "gpu", "autoscaling", "kserve")
# With the component that fetches models, as a kustomization of an operator's own would have it.
FETCHING = ("single-node", "cloud", "gpu")
EVERY = (*FOLDERS, *(f"{folder}+models-sync" for folder in FETCHING))
# Of Kubernetes, those that get fixes; the resources of operators have schemas of their own.
VERSIONS = ("1.35", "1.36", "1.37")
OPERATORS = {
    "monitoring.coreos.com/v1",
    "keda.sh/v1alpha1",
    "serving.kserve.io/v1alpha1",
}
# What a pod may mount (Pod Security Standards, restricted) and this one does.
VOLUMES = {"persistentVolumeClaim", "emptyDir", "secret"}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}

Resource = dict[str, Any]


@pytest.fixture(params=EVERY)
def rendered(request: pytest.FixtureRequest) -> list[Resource]:
    """What `kubectl apply -k` would send."""
    return render(request.param)


@cache
def render(name: str) -> list[Resource]:
    folder, _, component = name.partition("+")
    if not component:
        return kustomized(HOME / folder)
    with tempfile.TemporaryDirectory() as own:
        home = os.path.relpath(HOME, Path(own).resolve())
        sources = ["KERAPORT_SOURCES=flowers=s3://models/flowers"]
        about = {
            "namespace": "keraport",
            "resources": [f"{home}/{folder}"],
            "components": [f"{home}/{component}"],
            "configMapGenerator": [{"name": "keraport-models-sync", "literals": sources}],
        }
        (Path(own) / "kustomization.yaml").write_text(yaml.safe_dump(about))
        return kustomized(Path(own))


def kustomized(folder: Path) -> list[Resource]:
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a warning"
    return list(yaml.safe_load_all(done.stdout))


def of_kind(resources: list[Resource], *kinds: str) -> list[Resource]:
    return [r for r in resources if r["kind"] in kinds]


def pods(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    """What pods are made of, with the name of their resource."""
    for resource in of_kind(resources, "Deployment", "ClusterServingRuntime"):
        spec = resource["spec"]
        yield resource["metadata"]["name"], spec.get("template", {}).get("spec", spec)


def containers(resources: list[Resource]) -> Iterator[tuple[Resource, Resource]]:
    for _, pod in pods(resources):
        for container in containers_of(pod):
            yield pod, container


def containers_of(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_resources_are_valid(version: str) -> None:
    every = {repr(r): r for name in EVERY for r in render(name)}
    known = [r for r in every.values() if r["apiVersion"] not in OPERATORS]
    assert {r["kind"] for r in known} >= {"Deployment", "Service", "Ingress", "NetworkPolicy"}
    for resource in known:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_validation_finds_mistakes() -> None:
    deployment = deepcopy(of_kind(render("base"), "Deployment")[0])
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def test_pods_are_restricted(rendered: list[Resource]) -> None:
    assert [*containers(rendered)]
    for pod, container in containers(rendered):
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert {k for v in pod["volumes"] for k in v if k != "name"} <= VOLUMES
        context = pod.get("securityContext", {}) | container["securityContext"]
        assert context.items() >= RESTRICTED.items()
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] in (101, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPort" in port for port in container.get("ports", ()))


def test_containers_have_limits_and_versions(rendered: list[Resource]) -> None:
    for _, container in containers(rendered):
        image, _, tag = container["image"].partition(":")
        assert image.startswith("keraport")
        assert tag not in ("", "latest")
        for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
            assert amounts.keys() >= {"cpu", "memory"}
    for volume in (v for _, pod in pods(rendered) for v in pod["volumes"]):
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


def test_pods_have_probes_and_no_account(rendered: list[Resource]) -> None:
    for deployment in of_kind(rendered, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        # Else the variables of a Service named keraport are taken for settings.
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}


def test_the_drain_fits_into_the_grace_period(rendered: list[Resource]) -> None:
    for _, pod in pods(of_kind(rendered, "Deployment")):
        for container in pod["containers"]:
            if container["name"] == "keraport":
                settings = settings_of(rendered)
                drain = settings.drain_delay_s + settings.drain_timeout_s
                pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                assert pause + drain + 5 <= pod["terminationGracePeriodSeconds"]
                ready = container["readinessProbe"]
                assert pause >= ready["periodSeconds"] * ready["failureThreshold"]


def settings_of(resources: list[Resource]) -> Settings:
    """As the server reads the ConfigMap. Raises what it would."""
    (found,) = (m for m in of_kind(resources, "ConfigMap") if "KERAPORT_PORT" in m["data"])
    fields = {name.removeprefix("KERAPORT_").lower(): v for name, v in found["data"].items()}
    assert fields.keys() <= Settings.model_fields.keys()
    return Settings(**fields)


def test_what_is_referred_to_is_there(rendered: list[Resource]) -> None:
    labels = [
        deployment["spec"]["template"]["metadata"]["labels"].items()
        for deployment in of_kind(rendered, "Deployment")
    ]
    named = {(r["kind"], r["metadata"]["name"]) for r in rendered}
    for deployment in of_kind(rendered, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in named
            mounted = {m["name"] for c in containers_of(pod) for m in c["volumeMounts"]}
            assert volume["name"] in mounted
        for source in (s for c in containers_of(pod) for s in c["envFrom"]):
            if secret := source.get("secretRef"):
                assert secret["optional"] is True
            else:
                assert ("ConfigMap", source["configMapRef"]["name"]) in named
    for service in of_kind(rendered, "Service"):
        if selector := service["spec"].get("selector"):
            assert any(selector.items() <= each for each in labels)
    for policy in of_kind(rendered, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]["matchLabels"]
        assert any(selector.items() <= each for each in labels)
    for scaler in of_kind(rendered, "HorizontalPodAutoscaler", "ScaledObject"):
        assert ("Deployment", scaler["spec"]["scaleTargetRef"]["name"]) in named
    for ingress in of_kind(rendered, "Ingress"):
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        for service in (path["backend"]["service"] for path in paths):
            assert ("Service", service["name"]) in named


@pytest.mark.parametrize("folder", FETCHING)
def test_models_arrive_before_a_replica_answers(folder: str) -> None:
    resources = render(f"{folder}+models-sync")
    claims = {r["metadata"]["name"] for r in of_kind(resources, "PersistentVolumeClaim")}
    assert claims == {"keraport-cache"}
    (pod,) = (pod for name, pod in pods(of_kind(resources, "Deployment")) if name == "keraport")
    (volume,) = (v for v in pod["volumes"] if v["name"] == "models")
    limit = size(volume["emptyDir"]["sizeLimit"])
    once, always = pod["initContainers"]
    assert ("restartPolicy" in once, always["restartPolicy"]) == (False, "Always")
    for container in (once, always):
        assert {"name": "models", "mountPath": "/srv/keraport/models"} in container["volumeMounts"]
        assert size(container["resources"]["limits"]["ephemeral-storage"]) > limit
        name = container["envFrom"][0]["configMapRef"]["name"]
        (data,) = (m["data"] for m in resources if m["metadata"]["name"] == name)
        assert data["KERAPORT_SOURCES"] == "flowers=s3://models/flowers"
    (mount,) = (m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "models")
    assert mount["readOnly"] is True


def size(amount: str) -> int:
    assert amount.endswith("Gi")
    return int(amount.removesuffix("Gi"))


def test_one_of_them_scales(rendered: list[Resource]) -> None:
    scalers = of_kind(rendered, "HorizontalPodAutoscaler", "ScaledObject")
    deployments = of_kind(rendered, "Deployment")
    assert len(scalers) == (1 if deployments else 0)
    for deployment in deployments:
        if deployment["metadata"]["name"] == "keraport":
            assert "replicas" not in deployment["spec"]


def test_the_alerts_are_those_of_the_stack() -> None:
    (resource,) = of_kind(render("cloud"), "PrometheusRule")
    rules = ROOT / "deploy/monitoring/prometheus/rules/keraport.yml"
    assert resource["spec"] == yaml.safe_load(rules.read_text())
