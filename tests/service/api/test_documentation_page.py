"""`/docs`: served by this host alone, under a policy that lets no other in."""

import re

import pytest

from tests.service.page.chromium import launched


def test_the_page_names_no_other_host(alone):
    page = alone.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"https?://|<script>|style=", page.text)
    for policy in (page.headers["content-security-policy"],):
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_its_files_are_packed_and_asked_for_anew(alone):
    names = re.findall(r'(?:src|href)="(docs/[^"]+)"', alone.get("/docs").text)
    assert len(names) == 3
    for name in names:
        answer = alone.get(f"/{name}", headers={"accept-encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        again = alone.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert alone.get("/docs/none.js").json()["code"] == "document_not_found"
    for gone in ("/redoc", "/docs/oauth2-redirect"):
        assert alone.get(gone).status_code == 404


@pytest.mark.slow
def test_a_browser_shows_every_operation_and_breaks_no_policy(live):
    with launched() as browser:
        page = browser.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{live.url}/docs", timeout=90_000)
        page.wait_for_selector(".opblock", timeout=90_000)
        page.click("#operations-label-label_image_v1_label_post .opblock-summary-control", timeout=90_000)
        page.wait_for_selector(".opblock-body", timeout=90_000)
        assert page.locator(".opblock").count() > 20
        assert all(url.startswith((live.url, "data:")) for url in asked), asked
        assert not told
