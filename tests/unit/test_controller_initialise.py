"""`controller init`: once, whatever happens in between."""

import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.server_certificate import ServerCertificate
from seawall.controller.config import ControllerConfig
from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.initialise import (
    STEPS,
    Initialised,
    _Making,
    initialise,
    load_operator_token_hashes,
    load_wrapper_key,
    require_initialised,
)
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.secrets import SecretBox
from support.controller_clock import ManualClock


def config_of(state_dir: Path) -> ControllerConfig:
    return ControllerConfig(state_dir=state_dir, enrol_address="controller.example:7440")


def files_of(state_dir: Path) -> dict[str, bytes]:
    return {str(path.relative_to(state_dir)): path.read_bytes() for path in state_dir.rglob("*") if path.is_file()}


def check_complete(config: ControllerConfig) -> None:
    """Everything is there, fits together, and is for its owner's eyes."""
    paths = config.paths
    require_initialised(paths)
    box = SecretBox.from_file(paths.kek)
    authority = CertificateAuthority.load(paths, box, ManualClock())
    ServerCertificate(paths.server_certificate, authority, box, config.certificate_names, ManualClock())
    assert len(load_wrapper_key(paths, box).reveal()) == 32
    access = OperatorAccess.parse(config.operator_toml.read_text())
    assert access.address == "controller.example:7440"
    assert access.ca_pem.encode() == authority.bundle_pem
    assert len(access.token.reveal()) >= 43
    assert load_operator_token_hashes(paths) == (hashlib.sha256(access.token.reveal()).digest(),)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (paths.state_dir, paths.kek, config.operator_toml)}
    assert list(modes.values()) == [0o700, 0o400, 0o600]
    assert not [name for name in files_of(paths.state_dir) if name.endswith(".new")]
    for name, body in files_of(paths.state_dir).items():
        assert b"PRIVATE KEY" not in body, name
        assert access.token.reveal() not in body or name == "operator.toml"


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path / "state")
    first = initialise(config, ManualClock())
    check_complete(config)
    before = files_of(config.state_dir)
    second = initialise(config, ManualClock())
    assert (first.already, second.already) == (False, True)
    assert second == Initialised(first.cluster_id, True, config.operator_toml)
    assert files_of(config.state_dir) == before


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_a_run_that_was_cut_short_is_continued(tmp_path: Path, done: int) -> None:
    config = config_of(tmp_path / "state")
    for step in STEPS[:done]:
        step(_Making(config, ManualClock()))
    before = files_of(tmp_path)
    assert initialise(config, ManualClock()).already is (done == len(STEPS))
    check_complete(config)
    assert before.items() <= files_of(tmp_path).items()


def test_operator_toml_of_another_controller_is_kept_aside(tmp_path: Path) -> None:
    shared = tmp_path / "operator.toml"
    for name in ("one", "two"):
        initialise(ControllerConfig(state_dir=tmp_path / name, operator_file=shared), ManualClock())
    ca_of = {name: (tmp_path / name / "ca" / "root.pem").read_text() for name in ("one", "two")}
    assert OperatorAccess.parse(shared.read_text()).ca_pem == ca_of["two"]
    assert OperatorAccess.parse((tmp_path / "operator.toml.before").read_text()).ca_pem == ca_of["one"]


def test_a_continued_run_may_name_another_place_for_operator_toml(tmp_path: Path) -> None:
    for step in STEPS[:-1]:
        step(_Making(config_of(tmp_path / "state"), ManualClock()))
    config = replace(config_of(tmp_path / "state"), operator_file=tmp_path / "elsewhere" / "operator.toml")
    initialise(config, ManualClock())
    access = OperatorAccess.parse((tmp_path / "elsewhere" / "operator.toml").read_text())
    assert load_operator_token_hashes(config.paths) == (hashlib.sha256(access.token.reveal()).digest(),)


def test_where_operator_toml_went_is_remembered(tmp_path: Path) -> None:
    initialise(ControllerConfig(state_dir=tmp_path / "s", operator_file=tmp_path / "o.toml"), ManualClock())
    assert initialise(ControllerConfig(state_dir=tmp_path / "s"), ManualClock()).operator_toml == tmp_path / "o.toml"
    assert json.loads((tmp_path / "s" / "initialised.json").read_text())["version"] == 1


def test_what_is_not_initialised_says_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="controller init"):
        require_initialised(ControllerConfig(state_dir=tmp_path).paths)


def test_a_foreign_kek_is_told(tmp_path: Path) -> None:
    config = config_of(tmp_path / "state")
    initialise(config, ManualClock())
    config.paths.kek.unlink()
    config.paths.kek.write_bytes(bytes(32))
    with pytest.raises(DataLoss) as caught:
        load_wrapper_key(config.paths, SecretBox.from_file(config.paths.kek))
    assert caught.value.reason == "WRONG_KEK"
