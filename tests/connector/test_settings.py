import hmac
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.errors import BadSetting, Unverified
from connector.platform import Account, Received
from connector.registry import connect, receiver
from connector.settings import load

TOKEN = "pat-na1-0123-secret"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PLATFORM", "HUBSPOT_TOKEN", "HUBSPOT_TOKEN_FILE", "STATE_DIR"):
        monkeypatch.delenv(f"LEADLIGHT_{name}", raising=False)


def write(text: str) -> Path:
    path = Path("leadlight.toml")
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_need_no_file() -> None:
    settings = load()
    assert settings.state_dir == Path(".leadlight")
    assert settings.hubspot_base_url == "https://api.hubapi.com"


def test_environment_outranks_the_file_and_options_outrank_both(monkeypatch: pytest.MonkeyPatch) -> None:
    write('platform = "files"\nprefix = "fromfile"')
    assert load().platform == "files"
    monkeypatch.setenv("LEADLIGHT_PLATFORM", "hubspot")
    settings = load()
    assert (settings.platform, settings.prefix) == ("hubspot", "fromfile")
    assert load(None, {"platform": "files", "mapping": None}).platform == "files"


def test_a_secret_comes_from_a_file_and_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n", encoding="utf-8")
    monkeypatch.setenv("LEADLIGHT_HUBSPOT_TOKEN_FILE", str(secret))
    settings = load()
    assert settings.hubspot_token is not None
    assert settings.hubspot_token.get_secret_value() == TOKEN
    assert TOKEN not in repr(settings)


SECRETS = (
    "hubspot_token",
    "hubspot_client_secret",
    "salesforce_client_secret",
    "salesforce_private_key",
    "salesforce_webhook_secret",
    "salesforce_hmac_secret",
    "alerts_webhook_url",
    "alerts_smtp_password",
)


@pytest.mark.parametrize("how", ["unset in a compose file", "blank", "an empty file", "in the settings file"])
def test_a_blank_secret_is_absent(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    for name in SECRETS:
        if how == "an empty file":
            monkeypatch.setenv(f"LEADLIGHT_{name.upper()}_FILE", str(tmp_path / "empty"))
        elif how != "in the settings file":
            monkeypatch.setenv(f"LEADLIGHT_{name.upper()}", " \n" if how == "blank" else "")
    settings = load(write("".join(f'{name} = ""\n' for name in SECRETS)) if "settings" in how else None)
    assert {name: getattr(settings, name) for name in SECRETS} == dict.fromkeys(SECRETS)
    assert receiver(settings, Account("hubspot", "1")) is None
    assert receiver(settings, Account("salesforce", "00D5A0000000001UAA")) is None
    with pytest.raises(BadSetting, match="HubSpot needs a token"):
        connect(settings.model_copy(update={"platform": "hubspot"}))


def test_a_variable_that_is_empty_hides_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    monkeypatch.setenv("LEADLIGHT_HUBSPOT_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("LEADLIGHT_HUBSPOT_TOKEN", "")
    monkeypatch.setenv("LEADLIGHT_PREFIX", "")
    settings = load(write('prefix = "fromfile"'))
    assert settings.hubspot_token is not None
    assert (settings.hubspot_token.get_secret_value(), settings.prefix) == (TOKEN, "fromfile")


def test_one_secret_of_salesforce_opens_one_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLIGHT_SALESFORCE_WEBHOOK_SECRET", "in-the-path")
    monkeypatch.setenv("LEADLIGHT_SALESFORCE_HMAC_SECRET", "")
    found = receiver(load(), Account("salesforce", "00D5A0000000001UAA"))
    assert found is not None
    now, body = datetime.now(UTC), b'{"at": "2026-11-29T00:00:00Z", "records": []}'
    stamp = str(int(now.timestamp()))
    code = hmac.digest(b"", stamp.encode() + b"." + body, "sha256").hex()
    signed = {"x-leadlight-signature": f"sha256={code}", "x-leadlight-timestamp": stamp}
    with pytest.raises(Unverified):
        found.verify(Received("POST", "/webhooks/salesforce", signed, body, now.replace(tzinfo=None)))


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLIGHT_HUBSPOT_TOKEN_FILE", "nowhere/token")
    with pytest.raises(BadSetting, match="LEADLIGHT_HUBSPOT_TOKEN_FILE names nowhere/token"):
        load()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("plattform = 'files'", "plattform is no setting"),
        ("spare_calls = 2", "spare_calls"),
        ("timezone = 'Mars/Olympus'", "timezone: is no IANA time zone"),
        ("hubspot_base_url = 'http://api.example.com'", "must start with https"),
        ("platform = [", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named(text: str, named: str) -> None:
    with pytest.raises(BadSetting, match=r"leadlight\.toml") as caught:
        load(write(text))
    assert named in str(caught.value)


def test_a_rejected_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(BadSetting) as caught:
        load(write(f"hubspot_token = ['{TOKEN}']"))
    assert TOKEN not in str(caught.value)


def test_plain_http_is_for_loopback_only() -> None:
    assert load(write("hubspot_base_url = 'http://127.0.0.1:8801/'")).hubspot_base_url == "http://127.0.0.1:8801"


def test_a_settings_file_that_was_asked_for_must_exist() -> None:
    with pytest.raises(BadSetting, match=r"no settings file other\.toml"):
        load(Path("other.toml"))


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "leadlight.toml").write_text("mapping = 'mapping.toml'", encoding="utf-8")
    assert load(folder / "leadlight.toml").mapping == folder / "mapping.toml"


def test_a_holdout_is_off_unless_asked_for_and_its_keys_are_checked(tmp_path: Path) -> None:
    assert load().holdout is None
    config = tmp_path / "holdout.toml"
    config.write_text('[holdout]\nsalt = "spring"\n', encoding="utf-8")
    holdout = load(config).holdout
    assert holdout is not None
    assert (holdout.share, holdout.predictors, holdout.act_on) == (0.1, ("lead_score",), ("A", "B"))
    for wrong, named in (("share = 0.9", "holdout.share"), ('predictors = ["x"]', "holdout.predictors")):
        config.write_text(f"[holdout]\n{wrong}\n", encoding="utf-8")
        with pytest.raises(BadSetting, match=named):
            load(config)


@pytest.mark.parametrize("key", ["salesforce_base_url", "salesforce_audience"])
def test_salesforce_is_reached_by_https_alone_beyond_this_machine(key: str) -> None:
    for url in ("http://acme.my.salesforce.com", "acme.my.salesforce.com", "ftp://x"):
        with pytest.raises(BadSetting, match=key):
            load(write(f'{key} = "{url}"'))
    assert getattr(load(write(f'{key} = "http://127.0.0.1:8802/"')), key) == "http://127.0.0.1:8802"


def test_a_retired_api_version_is_no_setting() -> None:
    assert load().salesforce_api_version == "v68.0"
    for version in ("v40.0", "68.0", "v68"):
        with pytest.raises(BadSetting, match="salesforce_api_version"):
            load(write(f'salesforce_api_version = "{version}"'))


def test_what_salesforce_lacks_is_all_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "PRIVATE_KEY", "USERNAME"):
        monkeypatch.delenv(f"LEADLIGHT_SALESFORCE_{name}", raising=False)
    with pytest.raises(BadSetting) as caught:
        connect(load(write('platform = "salesforce"')))
    for name in ("BASE_URL", "CLIENT_ID", "PRIVATE_KEY_FILE", "CLIENT_SECRET_FILE"):
        assert f"LEADLIGHT_SALESFORCE_{name}" in str(caught.value)
    monkeypatch.setenv("LEADLIGHT_SALESFORCE_PRIVATE_KEY", "key")
    with pytest.raises(BadSetting, match="LEADLIGHT_SALESFORCE_USERNAME"):
        connect(load(write('platform = "salesforce"')))


def test_the_schedule_is_nightly_unless_said_otherwise_and_its_keys_are_checked() -> None:
    serve = load().serve
    assert (serve.sync, serve.poll_minutes, serve.timezone, serve.late_hours) == ("15 2 * * *", 5, None, 26)
    assert load(write('[serve]\nsync = ""\npoll_minutes = 0')).serve.sync == ""
    assert load(write('[serve]\nsync = "0 3 * * 7"\ntimezone = "Europe/Berlin"')).serve.timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[serve]\nsync = '15 2 * *'", "serve.sync: is no cron expression: five fields"),
        ("[serve]\nsync = '0 3 31 2 *'", "serve.sync: is no cron expression, or one that never comes"),
        ("[serve]\nsync = '0 3 * * 8'", "serve.sync: has no weekday '8'"),
        ("[serve]\ntimezone = 'Mars/Olympus'", "serve.timezone: is no IANA time zone"),
        ("[serve]\npoll_minutes = -1", "serve.poll_minutes"),
        (
            "[serve]\nsyncs = 'x'",
            "serve.syncs is no setting. Known are: late_hours, max_body_kb, poll_minutes, sync",
        ),
        ("[alerts]\nsmtp_host = 'mail.example'", "alerts: smtp_host needs mail_from and mail_to"),
        ("[alerts]\nmail_to = 'somebody'", "alerts.mail_to: is no e-mail address"),
        (
            "[alerts]\nsmtp_host = 'mail.example'\nmail_from = 'a@x.example'\nmail_to = 'b@x.example'\n"
            "smtp_tls = 'none'",
            'smtp_tls = "none" is for loopback addresses only',
        ),
        ("hubspot_signatures = ['v4']", "hubspot_signatures"),
        ("hubspot_signatures = []", "hubspot_signatures"),
    ],
)
def test_what_is_wrong_with_the_service_s_settings_is_named(text: str, named: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load(write(text))
    assert named in str(caught.value)


def test_a_command_beside_the_service_needs_no_mail_password() -> None:
    assert load(write("[alerts]\nsmtp_user = 'me'")).alerts_smtp_password is None


def test_alerts_keep_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = "[alerts]\nsmtp_host = '127.0.0.1'\nsmtp_tls = 'none'\nsmtp_user = 'me'\nmail_from = 'a@x.example'\n"
    mail += "mail_to = 'b@x.example, c@x.example'"
    secrets = {"WEBHOOK_URL": "https://chat.example/services/T0/B0/secret", "SMTP_PASSWORD": "pass word"}
    for name, secret in secrets.items():
        (tmp_path / name).write_text(secret + "\n", encoding="utf-8")
        monkeypatch.setenv(f"LEADLIGHT_ALERTS_{name}_FILE", str(tmp_path / name))
    settings = load(write(mail))
    assert settings.alerts.mail_to == ("b@x.example", "c@x.example")
    assert settings.alerts_webhook_url is not None
    assert settings.alerts_webhook_url.get_secret_value() == secrets["WEBHOOK_URL"]
    assert settings.alerts_smtp_password is not None
    assert settings.alerts_smtp_password.get_secret_value() == "pass word"
    assert not any(secret in repr(settings) for secret in secrets.values())


@pytest.mark.parametrize("key", ["webhook_url", "smtp_password"])
def test_a_secret_among_the_alerts_is_sent_where_it_belongs(key: str) -> None:
    with pytest.raises(BadSetting, match=f"LEADLIGHT_ALERTS_{key.upper()}_FILE") as caught:
        load(write(f"[alerts]\n{key} = '{TOKEN}'"))
    assert TOKEN not in str(caught.value)


def test_an_alert_s_webhook_goes_by_https_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLIGHT_ALERTS_WEBHOOK_URL", "http://chat.example/services/secret")
    with pytest.raises(BadSetting, match="alerts_webhook_url: must start with https") as caught:
        load()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("LEADLIGHT_ALERTS_WEBHOOK_URL", "http://127.0.0.1:9/x")
    assert load().alerts_webhook_url is not None


def test_signatures_are_v3_and_a_rotation_has_several_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().hubspot_signatures == ("v3",)
    assert load().hubspot_client_secrets == ()
    monkeypatch.setenv("LEADLIGHT_HUBSPOT_CLIENT_SECRET", "new-one, old-one\nolder\n")
    settings = load(write("hubspot_signatures = ['v3', 'v1']"))
    assert settings.hubspot_signatures == ("v3", "v1")
    assert settings.hubspot_client_secrets == ("new-one", "old-one", "older")


@pytest.mark.parametrize("name", ["TRUSTED", "SERVE", "HUBSPOT_SIGNATURES"])
def test_a_list_or_table_in_the_environment_that_is_no_json_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LEADLIGHT_{name}", TOKEN)
    with pytest.raises(BadSetting, match=f"LEADLIGHT_{name} is no JSON") as caught:
        load()
    assert TOKEN not in str(caught.value)
