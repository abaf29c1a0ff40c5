"""How a page looks to those who see it otherwise: in light and dark, narrow and wide, to axe."""

from __future__ import annotations

import pytest


def check_accessible(browser, page, width, scheme):
    """Open a page in a window of this width, and check that it fits and that axe finds nothing."""
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        browser.get(page.as_uri())
        is_dark = browser.execute_script(
            "return matchMedia('(prefers-color-scheme: dark)').matches"
        )
        assert is_dark == (scheme == "dark")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        violations = axe.run(browser)["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:100]) for each in violations] == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
