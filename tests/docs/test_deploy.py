"""The examples in deploy/, read by what reads them in earnest; and docs/deploy.md, whose commands,
fields and metrics are to be there."""

import configparser
import re
from pathlib import PurePosixPath

import pytest
import typer
import yaml

from tacita.cli.main import app
from tacita.errors import Refused
from tacita.network.identity import Principal
from tacita.network.tls import Credentials
from tacita.service import config
from tacita.service.config import Limits, StockSettings
from tacita.service.dealer_metrics import DealerMetrics
from tacita.service.metrics import Metrics
from tacita.service.policy import Policy

from .pages import DEPLOY, QUOTED, ROOT, blocks, first_column, page, section

FOLDER = DEPLOY / "compose"
CREDENTIALS = ("CERTIFICATE", "KEY", "AUTHORITY")


def principal(text):
    role, name = text.split(":")
    return Principal(role, name, "0" * 64)


# ---- settings ----------------------------------------------------------------------------------


def test_the_network():
    network = config.load_network(DEPLOY / "network.toml")
    assert network.names == ("alice", "bob")
    assert network.leader.front == "https://alice.example.org:8441"
    assert str(network.parties[1].peers) == "bob.example.org:8442"
    assert str(network.dealer.address) == "dana.example.org:8450"


def test_a_party():
    party = config.load_party(DEPLOY / "party.toml")
    assert (party.name, party.index) == ("alice", 0)
    assert party.policy == DEPLOY / "policy.toml"
    assert party.data == DEPLOY / "data"
    assert party.audit_path == DEPLOY / "data" / "audit.jsonl"
    assert party.credentials == Credentials(*files_of("alice"))
    assert party.limits == Limits(), "the example says what holds without it"
    assert party.stock == StockSettings()


def test_the_ledger_that_is_commented_out(tmp_path):
    text = (DEPLOY / "party.toml").read_text()
    (tmp_path / "party.toml").write_text(text.replace("# ledger = ", "ledger = "))
    (tmp_path / "network.toml").write_text((DEPLOY / "network.toml").read_text())
    party = config.load_party(tmp_path / "party.toml")
    assert party.ledger_url == "postgresql://tacita:PASSWORD@db.example.org/tacita_alice"


def test_the_dealer():
    dealer = config.load_dealer(DEPLOY / "dealer.toml")
    assert dealer.name == "dana"
    assert dealer.credentials == Credentials(*files_of("dana"))
    assert str(dealer.metrics) == "127.0.0.1:9100"
    assert dealer.limits == Limits()


def test_a_client():
    client = config.load_client(DEPLOY / "client.toml")
    assert client.credentials == Credentials(*files_of("carol"))
    assert client.limits == Limits()


def files_of(name):
    return (DEPLOY / f"{name}.pem", DEPLOY / f"{name}.key", DEPLOY / "authority.pem")


def test_the_policy():
    policy = Policy.load(DEPLOY / "policy.toml")
    acme, carol = principal("owner:acme"), principal("client:carol")
    assert policy.may_publish(acme, "scans")
    assert not policy.may_publish(carol, "scans")
    assert policy.query_terms(carol, "scans").per_minute == 60
    assert policy.query_terms(acme, "scans").per_minute == 6
    for who, model in ((carol, "others"), (principal("client:mallory"), "scans")):
        with pytest.raises(Refused):
            policy.query_terms(who, model)
    assert not policy.may_open_sessions(carol)
    assert policy.may_watch(principal("client:operator"))
    assert not policy.may_watch(carol)


# ---- services ----------------------------------------------------------------------------------


class Once(configparser.RawConfigParser):
    """Units have each key once here; a second one would be an error."""

    optionxform = staticmethod(str)


def unit(name):
    parsed = Once(strict=True, delimiters=("=",), interpolation=None)
    parsed.read_string((DEPLOY / "systemd" / f"tacita-{name}.service").read_text())
    return parsed


@pytest.mark.parametrize(
    ("name", "prefix"), [("party", "TACITA_PARTY__"), ("dealer", "TACITA_DEALER__")]
)
def test_a_unit(name, prefix, monkeypatch):
    parsed = unit(name)
    assert parsed.sections() == ["Unit", "Service", "Install"]
    service = parsed["Service"]
    program, command, settings = service["ExecStart"].split()
    assert PurePosixPath(program).name == "tacita"
    assert command == name
    assert command in commands()
    assert settings == f"/etc/tacita/{name}.toml"
    assert (DEPLOY / f"{name}.toml").exists()
    # Its environment is one that the loader takes, and leads to the folder that systemd makes.
    variable, value = service["Environment"].split("=")
    assert variable.startswith(prefix)
    monkeypatch.setenv(variable, value)
    loaded = getattr(config, f"load_{name}")(DEPLOY / f"{name}.toml")
    assert str(loaded.data) == f"/var/lib/{service['StateDirectory']}"
    # Who stops it waits longer than it takes: for queries, and for what is written then.
    assert float(service["TimeoutStopSec"]) > 2 * Limits().shutdown
    assert service["LimitCORE"] == "0"
    assert service["UMask"] == "0077"


def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def test_the_services_of_compose():
    services = compose()["services"]
    assert set(services) == {"keys", "dana", "alice", "bob", "acme", "carol"}
    network = config.load_network(DEPLOY / "network.toml")
    for name in (*network.names, network.dealer.name):
        (alias,) = services[name]["networks"]["default"]["aliases"]
        assert alias in str(network), f"{name} answers to an address of the network"
    named = {volume.split(":")[0] for each in services.values() for volume in each["volumes"]}
    declared = set(compose()["volumes"])
    assert {each for each in named if not each.startswith(".")} == declared
    for each in services.values():
        dockerfile = FOLDER / each["build"]["context"] / each["build"]["dockerfile"]
        assert dockerfile.resolve() == FOLDER / "Dockerfile"


@pytest.mark.parametrize("name", ["alice", "bob", "dana", "acme", "carol"])
def test_a_service_of_compose_finds_its_settings(name, tmp_path, monkeypatch):
    service = compose()["services"][name]
    etc = tmp_path / "etc" / "tacita"
    etc.mkdir(parents=True)
    for volume in service["volumes"]:
        source, target, *_ = volume.split(":")
        if target.startswith("/etc/tacita/"):
            (etc / PurePosixPath(target).name).write_text((FOLDER / source).read_text())
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    if name in ("acme", "carol"):
        settings = service["environment"]["TACITA_CLIENT_CONFIG"]
        loaded = config.load_client(etc / PurePosixPath(settings).name)
    else:
        command, settings = service["command"]
        assert command in commands()
        loaded = getattr(config, f"load_{command}")(etc / PurePosixPath(settings).name)
        assert loaded.name == name
        assert str(loaded.data) == "/var/lib/tacita"
    keys = PurePosixPath("/keys") / name
    found = [str(each) for each in vars(loaded.credentials).values()]
    assert found == [str(keys / each) for each in (f"{name}.pem", f"{name}.key", "authority.pem")]


def test_the_certificates_that_compose_makes():
    (script,) = compose()["services"]["keys"]["command"]
    network = config.load_network(DEPLOY / "network.toml")
    for party in network.names:
        assert f"party:{party}" in script
    assert f"dealer:{network.dealer.name}" in script
    for used in calls_in(script):
        require(used)


def test_what_the_dockerfile_copies_is_there():
    text = (FOLDER / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    extras = re.search(r"\.\[([a-z,]+)\]", text)[1].split(",")
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras)


# ---- the page ----------------------------------------------------------------------------------


def commands():
    """The command line as a tree: names, and the options of each."""

    def of(command):
        inner = getattr(command, "list_commands", None)
        if inner is None:
            return {
                option for each in command.params for option in (*each.opts, *each.secondary_opts)
            }
        return {name: of(command.get_command(None, name)) for name in inner(None)}

    return of(typer.main.get_command(app))


CALL = re.compile(r"(?:^[#\s]*|[`(]|\|\| )tacita ((?:keys )?[a-z]+)([^`\n]*)", re.MULTILINE)


def calls_in(text):
    """Words and options of each command that begins with `tacita `."""
    for found in CALL.finditer(text):
        yield found[1].split(), re.findall(r"(?<!\S)--[a-z-]+", found[2])


def require(call):
    words, options = call
    options = set(options) - {"--help"}
    tree = commands()
    for word in words:
        assert word in tree, f"there is no command tacita {' '.join(words)}"
        tree = tree[word]
    assert options <= set(tree), f"tacita {' '.join(words)} has no {options - set(tree)}"


def test_the_commands_of_the_page_exist():
    text = page("deploy.md")
    calls = list(calls_in(text))
    assert len(calls) > 30
    for call in calls:
        require(call)


def test_the_commands_of_compose_exist():
    text = (FOLDER / "compose.yaml").read_text()
    text = re.sub(r"docker compose run --rm (acme|carol) ", "tacita ", text)
    calls = list(calls_in(text))
    assert {tuple(words) for words, _ in calls} >= {("doctor",), ("publish",), ("models",)}
    for call in calls:
        require(call)


@pytest.mark.parametrize(
    ("heading", "model"), [("### `[limits]`", Limits), ("### `[stock]`", StockSettings)]
)
def test_tables_of_settings_name_every_field_with_its_default(heading, model):
    text = section(page("deploy.md"), heading)
    fields = model.model_fields
    assert first_column(text) == list(fields)
    for name, field in fields.items():
        said = re.search(rf"^\| `{name}` \| ([0-9]+)( MiB| GiB)?( s)? \|", text, re.MULTILINE)
        unit_of = {None: 1, " MiB": 1 << 20, " GiB": 1 << 30}[said[2]]
        assert int(said[1]) * unit_of == field.default, name


def test_the_policy_s_tables_are_those_of_the_page():
    text = section(page("deploy.md"), "### The policy")
    named = re.findall(r"^- `\[+([a-z]+)\]+`", text, re.MULTILINE)
    assert named == list(Policy.model_fields)


def test_every_metric_is_on_the_page_and_no_other():
    families = set()
    for metrics in (Metrics("party:alice"), DealerMetrics("dealer:dana")):
        families |= set(
            re.findall(r"^# TYPE (tacita_\w+)", metrics.render().decode(), re.MULTILINE)
        )
    named = {
        each
        for each in first_column(section(page("deploy.md"), "## Metrics"))
        if each.startswith("tacita_")
    }
    assert named == families


def test_the_events_of_the_audit_log_are_on_the_page():
    source = "".join(path.read_text() for path in (ROOT / "src/tacita/service").glob("*.py"))
    recorded = set(re.findall(r"_audit\.record\(\s*\"([a-z]+)\"", source))
    assert recorded, "the way of recording has changed; this test has to"
    named = set(QUOTED.findall(section(page("deploy.md"), "## Audit log")))
    assert recorded <= named


def test_links_lead_somewhere():
    for name in ("deploy.md", "frames.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page(name)):
            if "://" not in target:
                assert (ROOT / "docs" / target).exists(), f"{name}: {target}"


def test_blocks_for_a_host_say_which():
    for block in blocks(page("deploy.md")):
        if block.language == "sh":
            assert block.words[0] in ("ca", "alice", "bob", "dana", "acme", "carol")
