"""Settings that are shown tell no secret."""

import pytest

from toco.jobs.settings import InvalidSettings, load_settings, masked_url
from toco.jobs.store import Store


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hidden@h:1/0", "redis://:***@h:1/0"),
        ("redis://me:hidden@h/0", "redis://me:***@h/0"),
        ("redis://me@h/0", "redis://me@h/0"),
        ("redis://h/0?password=hidden&db=2", "redis://h/0?password=***&db=2"),
        ("rediss://h/0?ssl_cert_reqs=none&Password=hid%20den", "rediss://h/0?ssl_cert_reqs=none&Password=***"),
        ("s3://bucket/a?access_key_id=hidden&secret_access_key=hidden", None),
        ("az://c/p?sas_token=hidden&sig=hidden", None),
        ("s3://AKIA:hid@den@bucket/photos", "s3://AKIA:***@bucket/photos"),
        ("file:///data/objects", "file:///data/objects"),
    ],
)
def test_urls_are_shown_without_secrets(url, shown):
    assert "hid" not in masked_url(url)
    if shown is not None:
        assert masked_url(url) == shown


def test_settings_mask_passwords_wherever_they_stand():
    settings = load_settings(
        redis_url="redis://h:1/0?password=hidden-1", store_url="s3://k:hidden-2@bucket?secret_access_key=hidden-3",
        label_studio_token="hidden-4", _env_file=None,
    )  # fmt: skip
    shown = settings.masked()
    assert "hidden" not in str(shown)
    assert shown["store_url"] == "s3://k:***@bucket?secret_access_key=***"


def test_errors_about_urls_tell_no_secret():
    with pytest.raises(InvalidSettings) as found:
        load_settings(store_url="ftp://k:hidden@bucket", _env_file=None)
    assert "hidden" not in str(found.value)
    with pytest.raises(InvalidSettings) as found:
        Store.open(load_settings(store_url="s3://k:hidden@?secret=hidden", _env_file=None))
    assert "hidden" not in str(found.value)
