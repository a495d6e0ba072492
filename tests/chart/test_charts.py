"""What the charts make, in every combination of switches, is what Kubernetes takes and what the services expect."""

import json
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
from kubernetes_validate.utils import SchemaNotFoundError
from pydantic import AliasChoices

import ai.settings
import cleanup.settings
import delivery.settings
import ingest.settings
from common.kafka.apply_topics import TopicSettings
from common.kafka.topics import CONVERSATION_PARTITIONS, TOPICS
from common.settings import DEVELOPMENT_VALUES, ServiceSettings

KUBERNETES = "1.34"
SETTINGS: dict[str, type[ServiceSettings]] = {
    "ingest": ingest.settings.Settings,
    "ai": ai.settings.Settings,
    "delivery": delivery.settings.Settings,
    "cleanup": cleanup.settings.Settings,
}
SERVICES = tuple(SETTINGS)
SCALABLE = ("ingest", "ai", "delivery")

SET_BY_THE_CHART = {
    "PORT",
    "KAFKA_DRAIN_TIMEOUT",
    "KAFKA_CA_FILE",
    "KAFKA_CERT_FILE",
    "KAFKA_KEY_FILE",
    "DELIVERY_REPLICAS",
}
NOT_FOR_A_DEPLOYMENT = {"HOST", "KAFKA_GROUP_INSTANCE_ID"}
"""Every pod listens on all addresses, and an id of one replica cannot be that of several."""
SECRET_THOUGH_PLAIN_TEXT = {"KAFKA_USERNAME", "OPERATOR_WEBHOOK_URL"}

EVERYTHING = {
    "kafkaCa": {"existingSecret": "kafka-ca"},
    "kafkaClientCertificate": {"existingSecret": "kafka-client", "certKey": "own.crt"},
    "serviceMonitor": {"enabled": True, "labels": {"team": "shop"}},
    "podAnnotations": {"example.com/a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "image": {"pullSecrets": ["registry"], "tag": "9"},
}


def names_of(settings: type[ServiceSettings]) -> dict[str, bool]:
    """Return a settings class's environment names, and whether each is a secret."""
    names = {}
    for field in settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        names[str(field.validation_alias.choices[0])] = "SecretStr" in str(field.annotation)
    return names


def variants(service: str) -> list[tuple[dict[str, Any], bool]]:
    """Return the values a chart is tried with, and whether values-prod.yaml is below them."""
    found: list[tuple[dict[str, Any], bool]] = [({}, False), ({}, True), (EVERYTHING, False), (EVERYTHING, True)]
    if service in SCALABLE:
        kinds = ("cpu",) if service == "ingest" else ("cpu", "lag")
        found += [({"autoscaling": {"enabled": True, "by": kind}}, False) for kind in kinds]
        found += [({"autoscaling": {"enabled": False}}, True)]
    return found


CASES = [(service, values, production) for service in SERVICES for values, production in variants(service)]


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the only document of a kind."""
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1
    return found[0]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pod of everything that makes pods."""
    found = []
    for document in documents:
        match document["kind"]:
            case "Deployment" | "Job":
                found.append(document["spec"]["template"]["spec"])
            case "CronJob":
                found.append(document["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    return found


def container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the Deployment's container."""
    (only,) = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("production", [False, True])
def test_helm_finds_nothing_wrong(charts: Path, service: str, production: bool):
    values = helm.values_from_yaml((charts / service / "values-prod.yaml").read_text()) if production else None
    report = helm.lint(str(charts / service), values, strict=True, kube_version=f"v{KUBERNETES}.0")
    assert report["errors"] == []
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize(("service", "values", "production"), CASES)
def test_kubernetes_takes_every_document(render, service: str, values: dict[str, Any], production: bool):
    custom = set()
    for document in render(service, values, production=production):
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except SchemaNotFoundError:
            custom.add((document["apiVersion"], document["kind"]))
    assert custom <= {("monitoring.coreos.com/v1", "ServiceMonitor"), ("keda.sh/v1alpha1", "ScaledObject")}


@pytest.mark.parametrize(("service", "values", "production"), CASES)
def test_every_pod_is_without_rights(render, service: str, values: dict[str, Any], production: bool):
    for pod in pods(render(service, values, production=production)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["limits"]["memory"]
            assert each["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "tmp" in {mount["name"] for mount in each["volumeMounts"]}


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_what_the_service_answers(render, service: str):
    only = container(render(service))
    assert only["startupProbe"]["httpGet"]["path"] == "/livez"
    assert only["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert only["readinessProbe"]["httpGet"]["path"] == "/readyz"
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert {only[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"http"}
    assert ports == {"http": SETTINGS[service].model_fields["port"].default}


@pytest.mark.parametrize("service", SERVICES)
def test_the_port_is_one_in_container_configuration_and_service(render, service: str):
    documents = render(service, {"port": 9123})
    assert container(documents)["ports"][0]["containerPort"] == 9123
    assert one(documents, "ConfigMap")["data"]["PORT"] == "9123"
    (port,) = one(documents, "Service")["spec"]["ports"]
    assert port["targetPort"] == "http"


@pytest.mark.parametrize(
    ("values", "share"),
    [({"replicas": 3}, "4"), ({"autoscaling": {"enabled": True, "maxReplicas": 6}}, "7")],
)
def test_the_limits_are_shared_by_as_many_as_there_can_be_with_the_one_that_a_rollout_adds(render, values, share):
    assert one(render("delivery", values), "ConfigMap")["data"]["DELIVERY_REPLICAS"] == share


@pytest.mark.parametrize("service", SERVICES)
def test_the_service_selects_its_pods_and_never_a_jobs(render, service: str):
    documents = render(service)
    selector = one(documents, "Service")["spec"]["selector"]
    deployment = one(documents, "Deployment")["spec"]
    assert selector == deployment["selector"]["matchLabels"]
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    for document in documents:
        if document["kind"] in {"Job", "CronJob"}:
            spec = document["spec"] if document["kind"] == "Job" else document["spec"]["jobTemplate"]["spec"]
            assert not selector.items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("service", "values", "production"), CASES)
def test_configuration_has_only_names_the_service_reads(render, service: str, values: dict[str, Any], production: bool):
    documents = render(service, values, production=production)
    known = names_of(SETTINGS[service])
    data = one(documents, "ConfigMap")["data"]
    assert data.keys() <= known.keys()
    assert not [name for name in data if known[name]]
    assert not DEVELOPMENT_VALUES & set(data.values())
    for variable in container(documents)["env"]:
        assert variable["name"] in known
        assert "value" not in variable
        assert known[variable["name"]] or variable["name"] in SECRET_THOUGH_PLAIN_TEXT


@pytest.mark.parametrize("service", SERVICES)
def test_every_secret_the_service_must_have_is_given(render, service: str):
    settings = SETTINGS[service]
    env = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container(render(service))["env"]}
    needed = {
        str(field.validation_alias.choices[0])
        for field in settings.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices) and field.is_required()
    }
    given = {name for name, reference in env.items() if not reference.get("optional")}
    assert needed <= given
    assert {reference["name"] for reference in env.values()} == {"jawab"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_schema_takes_exactly_the_settings_that_are_not_secret(charts: Path, service: str):
    schema = json.loads((charts / service / "values.schema.json").read_text())
    taken = set(schema["properties"]["config"]["properties"])
    plain = {name for name, secret in names_of(SETTINGS[service]).items() if not secret}
    expected = plain - SET_BY_THE_CHART - NOT_FOR_A_DEPLOYMENT - SECRET_THOUGH_PLAIN_TEXT
    assert taken == expected, f"deploy/helm/{service}/values.schema.json: add or remove {sorted(taken ^ expected)}"


def test_the_four_schemas_agree_where_they_speak_of_the_same(charts: Path):
    schemas = [json.loads((charts / service / "values.schema.json").read_text()) for service in SERVICES]
    shared = set.intersection(*(set(schema["properties"]) for schema in schemas)) - {"config"}
    assert {"image", "replicas", "secret", "resources"} <= shared
    for name in shared:
        assert all(schema["properties"][name] == schemas[0]["properties"][name] for schema in schemas)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
        ({"port": 80}, "at '/port': minimum: got 80, want 1,024"),
        ({"config": {"LOG_LEVEL": "loud"}}, "at '/config/LOG_LEVEL': value must be one of 'debug', 'info'"),
        ({"config": {"JWT_SECRET": "x"}}, "at '/config': additional properties 'JWT_SECRET' not allowed"),
        ({"config": {"LOG_LEVLE": "info"}}, "at '/config': additional properties 'LOG_LEVLE' not allowed"),
        (
            {"config": {"INSTAGRAM_PAGE_ID": 17841400000000001}},
            "at '/config/INSTAGRAM_PAGE_ID': got number, want string",
        ),
        ({"secret": {"existingSecret": ""}}, "at '/secret/existingSecret': '' does not match pattern"),
        ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
        ({"resources": {"limits": {"memroy": "1Gi"}}}, "additional properties 'memroy' not allowed"),
    ],
)
@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_value_is_refused_by_its_name(render, service: str, values: dict[str, Any], said: str):
    with pytest.raises(helm.HelmValuesError) as refused:
        render(service, values)
    assert said in str(refused.value)


@pytest.mark.parametrize("service", ["ai", "delivery"])
def test_more_replicas_than_partitions_are_refused(render, service: str):
    with pytest.raises(helm.HelmValuesError, match=f"maximum: got 13, want {CONVERSATION_PARTITIONS}"):
        render(service, {"autoscaling": {"maxReplicas": 13}})


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("drain", [0, 15, 120])
def test_the_grace_period_is_longer_than_the_drain_needs(render, service: str, drain: int):
    documents = render(service, {"drainSeconds": drain})
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    asked = float(one(documents, "ConfigMap")["data"]["KAFKA_DRAIN_TIMEOUT"])
    left = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert asked == drain
    assert pod["terminationGracePeriodSeconds"] > asked + left + 10


@pytest.mark.parametrize("service", SCALABLE)
def test_replicas_are_nobodys_but_the_autoscalers_when_it_is_on(render, service: str):
    assert one(render(service), "Deployment")["spec"]["replicas"] == 2
    scaled = render(service, {"autoscaling": {"enabled": True, "by": "cpu"}})
    assert "replicas" not in one(scaled, "Deployment")["spec"]
    assert one(scaled, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == f"jawab-{service}"


@pytest.mark.parametrize("service", ["ai", "delivery"])
def test_keda_watches_the_lag_of_topics_the_service_reads(render, service: str):
    documents = render(service, {"autoscaling": {"enabled": True}}, production=True)
    assert not [d for d in documents if d["kind"] == "HorizontalPodAutoscaler"]
    scaled = one(documents, "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"] == {"name": f"jawab-{service}"}
    assert scaled["spec"]["maxReplicaCount"] <= CONVERSATION_PARTITIONS
    declared = {topic.name for topic in TOPICS}
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["type"] == "kafka"
        assert trigger["metadata"]["topic"] in declared
        assert trigger["metadata"]["consumerGroup"] == service
        assert trigger["metadata"]["bootstrapServers"] == one(documents, "ConfigMap")["data"]["KAFKA_BOOTSTRAP_SERVERS"]
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert trigger["authenticationRef"] == {"name": "jawab-kafka"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_service_monitor_scrapes_the_service_under_the_name_the_alerts_know(render, service: str):
    assert not [d for d in render(service) if d["kind"] == "ServiceMonitor"]
    documents = render(service, EVERYTHING)
    monitor = one(documents, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["team"] == "shop"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= one(documents, "Service")["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": service}]


@pytest.mark.parametrize("service", SERVICES)
def test_a_changed_setting_makes_new_pods(render, service: str):
    def checksum(values: dict[str, Any]) -> str:
        template = one(render(service, values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    # Delivery's replicas share the platforms' limits: where there are more of them, each has to know.
    assert (checksum({}) == checksum({"replicas": 5})) == (service != "delivery")
    assert checksum({}) != checksum({"config": {"LOG_LEVEL": "debug"}})


@pytest.mark.parametrize("service", SERVICES)
def test_reloader_is_named_every_secret_that_the_pods_read(render, service: str):
    documents = render(service, EVERYTHING)
    named = one(documents, "Deployment")["metadata"]["annotations"]["secret.reloader.stakater.com/reload"].split(",")
    read = {v["valueFrom"]["secretKeyRef"]["name"] for v in container(documents)["env"]}
    read |= {v["secret"]["secretName"] for pod in pods(documents) for v in pod["volumes"] if "secret" in v}
    assert sorted(named) == sorted(read)
    assert "annotations" not in one(render(service, {"reloader": {"enabled": False}}), "Deployment")["metadata"]


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_have_a_checksum_of_their_own(render, service: str):
    """What they hold only Helm on a cluster can see; without one the checksum still tells whose they are."""

    def checksum(values: dict[str, Any]) -> str:
        template = one(render(service, values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/secrets"])

    assert checksum({}) == checksum({"config": {"LOG_LEVEL": "debug"}})
    assert checksum({}) != checksum({"secret": {"existingSecret": "another"}})


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_certificate_is_mounted_where_the_service_looks(render, service: str):
    documents = render(service, EVERYTHING)
    settings = one(documents, "ConfigMap")["data"]
    for pod in pods(documents):
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        (volume,) = [v for v in pod["volumes"] if v["name"] == "kafka-client"]
        files = {item["key"]: f"{mounts['kafka-client']}/{item['path']}" for item in volume["secret"]["items"]}
        assert files == {"own.crt": settings["KAFKA_CERT_FILE"], "tls.key": settings["KAFKA_KEY_FILE"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_private_authority_is_mounted_where_the_service_looks(render, service: str):
    documents = render(service, EVERYTHING)
    file = one(documents, "ConfigMap")["data"]["KAFKA_CA_FILE"]
    for pod in pods(documents):
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        (volume,) = [v for v in pod["volumes"] if v["name"] == "kafka-ca"]
        assert file == f"{mounts['kafka-ca']}/{volume['secret']['items'][0]['path']}"


def test_only_what_outsiders_need_is_reachable_from_outside(render):
    for service in SERVICES:
        assert not [d for d in render(service) if d["kind"] == "Ingress"]
    (rule,) = one(render("ingest", production=True), "Ingress")["spec"]["rules"]
    paths = {p["path"]: p["backend"]["service"]["name"] for p in rule["http"]["paths"]}
    assert paths == {
        "/webhooks": "jawab-ingest",
        "/api/instagram/webhook": "jawab-ingest",
        "/privacy": "jawab-cleanup",
    }
    (rule,) = one(render("delivery", production=True), "Ingress")["spec"]["rules"]
    assert [p["path"] for p in rule["http"]["paths"]] == ["/api/utility-messages"]


def test_retention_runs_alone_and_does_one_job(render):
    job = one(render("cleanup", {"tokens": {"enabled": False}}), "CronJob")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (only,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert only["args"] == ["retention"]
    assert "command" not in only
    neither = {"retention": {"enabled": False}, "tokens": {"enabled": False}}
    assert not [d for d in render("cleanup", neither) if d["kind"] == "CronJob"]


def test_only_the_job_that_renews_tokens_can_open_them(render):
    documents = render("cleanup", {"retention": {"enabled": False}})
    job = one(documents, "CronJob")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (only,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert only["args"] == ["tokens"]
    assert "ENCRYPTION_KEY" in {variable["name"] for variable in only["env"]}
    for pod in pods(render("cleanup", {"tokens": {"enabled": False}})):
        assert "ENCRYPTION_KEY" not in {variable["name"] for variable in pod["containers"][0]["env"]}


def test_the_topics_job_knows_kafka_and_no_other_secret(render):
    job = one(render("ingest", production=True), "Job")
    (only,) = job["spec"]["template"]["spec"]["containers"]
    assert only["command"] == ["python", "-m", "common.kafka.apply_topics"]
    env = {variable["name"]: variable.get("value") for variable in only["env"]}
    assert env == {
        "KAFKA_USERNAME": None,
        "KAFKA_PASSWORD": None,
        "KAFKA_KEY_PASSWORD": None,
        "KAFKA_OAUTH_CLIENT_SECRET": None,
        "KAFKA_REPLICATION_FACTOR": "3",
        "KAFKA_MIN_INSYNC_REPLICAS": "2",
    }
    known = {str(f.validation_alias.choices[0]) for f in TopicSettings.model_fields.values()}  # type: ignore[union-attr]
    assert env.keys() <= known
    assert not [d for d in render("ingest", {"topics": {"apply": False}}) if d["kind"] == "Job"]


@pytest.mark.parametrize("release", ["ai", "jawab-ai", "mail", "shop"])
def test_names_say_which_service_they_belong_to(charts: Path, release: str):
    with helm.Chart.load(str(charts / "ai")) as chart:
        text = chart.render({}, name=release)["ai/templates/serviceaccount.yaml"]
    name = "ai" if release == "ai" else "jawab-ai" if release == "jawab-ai" else f"{release}-ai"
    assert f"\n  name: {name}\n" in text


@pytest.mark.parametrize("service", SERVICES)
def test_the_library_chart_is_linked_not_copied(charts: Path, service: str):
    link = charts / service / "charts" / "common"
    assert link.is_symlink()
    assert link.resolve() == (charts / "common").resolve()
    assert not list(charts.rglob("*.tgz"))
