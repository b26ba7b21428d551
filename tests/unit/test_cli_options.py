"""The command line, the settings and the formats agree on what there is."""

from __future__ import annotations

import dataclasses

from poolctl import config
from poolctl.cli import options
from poolctl.cli.app import command
from poolctl.report import FORMATS


def test_every_format_can_be_configured() -> None:
    assert set(config.FORMATS) == set(FORMATS)


def test_every_shared_option_that_is_a_setting_is_one() -> None:
    fields = {field.name for field in dataclasses.fields(config.Settings)}
    assert set(options.SETTINGS) - fields == set()


def test_loadtest_offers_every_setting_that_concerns_it() -> None:
    offered = {param.name for param in command("loadtest").params}
    assert set(options.SETTINGS) - offered == set()
    elsewhere = {"policy", "effective", "notes", "baseline", "window", "proxy", "proxy_log", "otlp"}
    assert {field.name for field in dataclasses.fields(config.Settings)} - offered <= elsewhere
