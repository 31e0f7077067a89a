"""What `vestnik deployment-secrets` refuses before it makes anything."""

from pathlib import Path

import pytest

from infra.cli.system.deployment_secrets import deployment_secrets
from infra.settings import BadSetting


@pytest.mark.parametrize("smtp_url", ["mail.example.org", "http://mail.example.org", "smtp://[", "smtp://a:b@c:99999"])
def test_a_mail_server_with_which_auth_would_not_start_is_refused(tmp_path: Path, smtp_url: str) -> None:
    with pytest.raises(BadSetting, match="VESTNIK_SMTP_URL"):
        deployment_secrets.main([str(tmp_path / "made"), "--smtp-url", smtp_url], standalone_mode=False)
    assert not (tmp_path / "made").exists()
