"""Prices and their sources, and the machines that they are for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from cost_samples import BALANCED, FULL, PCIE, SETTINGS

from brightrun.comparing import compare_markets
from brightrun.costs import LLAMA_3_70B, ModelProfile, machine_of
from brightrun.errors import ConfigurationError
from brightrun.jobs import Market
from brightrun.physics import SMOLLM2
from brightrun.prices import CPU, H100_PCIE, H100_SXM, choose, gpu_name, offers


def test_runpods_spot_is_shown_as_not_offered_and_not_taken() -> None:
    spot, demand = offers("runpod", "", SETTINGS)
    assert (spot.market, spot.offered, spot.usd_per_hour) == (Market.spot, False, Decimal("2.49"))
    assert "not offered" in spot.note
    price, note = choose([spot, demand], Market.spot)
    assert price == demand
    assert note.startswith("spot: not offered")
    assert "$2.39" in demand.note
    assert "$7.99" in demand.note
    assert "documents" in demand.source


def test_the_local_price_is_notional_and_dated_today() -> None:
    spot, demand = offers("local", "", SETTINGS, today=date(2026, 11, 22))
    assert not spot.offered
    assert demand.as_json() == {
        "usd_per_hour": 0.5,
        "source": "notional (BRIGHTRUN_LOCAL_USD_PER_HOUR)",
        "as_of": "2026-11-22",
    }


def test_markets_stand_side_by_side_and_an_absent_one_has_no_cost() -> None:
    rows = compare_markets(FULL, PCIE, LLAMA_3_70B, BALANCED, offers("runpod", "", SETTINGS))
    spot, demand = (row.as_json() for row in rows)
    assert spot["offered"] is False
    assert "cost_usd" not in spot
    assert demand["cost_usd"]["likely"] > 0
    assert demand["market"] == "on_demand"


@pytest.mark.parametrize(
    ("gpu", "provider", "name"),
    [
        ("", "local", CPU),
        ("", "runpod", H100_PCIE),
        ("h100-sxm", "runpod", H100_SXM),
        ("NVIDIA H100 80GB HBM3", "runpod", H100_SXM),
        ("H100 80GB PCIe", "runpod", H100_PCIE),
    ],
)
def test_gpus_have_one_name(gpu: str, provider: str, name: str) -> None:
    assert gpu_name(gpu, provider) == name


@pytest.mark.parametrize(("gpu", "provider"), [("a toaster", "runpod"), ("cpu", "runpod")])
def test_a_gpu_without_a_price_is_refused(gpu: str, provider: str) -> None:
    with pytest.raises(ConfigurationError, match="H100 80GB"):
        offers(provider, gpu, SETTINGS)


def test_unknown_providers_and_machines_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no provider 'aws'"):
        offers("aws", "", SETTINGS)
    with pytest.raises(ConfigurationError, match="no profile"):
        machine_of("TPU")


def test_a_prepared_models_profile_becomes_ours_or_says_what_is_missing() -> None:
    shape = {
        "hidden_size": 576,
        "layers": 30,
        "intermediate_size": 1536,
        "heads": 9,
        "kv_heads": 3,
        "vocab": 49_152,
    }
    made = ModelProfile.of_prepared(
        {"name": SMOLLM2.name, "parameters": 134.5e6, "architecture": shape}
    )
    assert made == SMOLLM2
    with pytest.raises(ConfigurationError, match="layers"):
        ModelProfile.of_prepared({"name": "x", "parameters": 1, "architecture": {"hidden_size": 1}})
