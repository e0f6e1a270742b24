from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

from reports import live, sparkline
from reports.live import LiveJob, LiveStage

NOW = datetime(2026, 11, 20, 9, 15, tzinfo=UTC)
JOB = LiveJob(
    job_id="demo-1",
    name="<script>alert(1)</script>",
    status="running",
    percent=41.6,
    stages=(
        LiveStage("model_loading", "finished", 20, 22.4, 1.0),
        LiveStage("training", "running", 290, 120, 0.45),
    ),
    epoch=0.9,
    epochs=2,
    step=18,
    total_steps=40,
    loss=tuple((s, 3.0 - 0.03 * s) for s in range(1, 19)),
    validation_loss=((10, 2.6),),
    learning_rate=1.8e-4,
    eta_seconds=312,
    elapsed_seconds=200,
    cost_usd=0.031,
    estimate_usd=0.07,
    notional=True,
    interruptions=1,
    resumed=True,
    warnings=("slow & steady",),
)


def test_the_page_shows_every_number_of_a_job() -> None:
    text = live.page([JOB], NOW)
    for part in ("42%", "0.90 of 2", "18 of 40", "2.460", "1.80e-04", "5 min 12 s", "$0.031",
                 "(notional)", "Interrupted 1x, resumed", "slow &amp; steady"):  # fmt: skip
        assert part in text, part


def test_the_page_loads_itself_again_while_it_is_written_also_without_a_job() -> None:
    for jobs in ([JOB], []):
        assert '<meta http-equiv="refresh" content="5">' in live.page(jobs, NOW)
        last = live.page(jobs, NOW, watching=False)
        assert "refresh" not in last
        assert "ended at 2026-11-20 09:15 UTC" in last
    assert "No job is running" in live.page([], NOW)


def test_names_are_escaped_and_nothing_is_loaded() -> None:
    text = live.page([JOB], NOW)
    assert "<script" not in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "default-src 'none'" in text


def test_a_job_that_knows_nothing_yet_has_dashes() -> None:
    text = live.page([LiveJob("demo-2", "", "queued", 0.0)], NOW)
    assert "demo-2" in text
    assert "appears after two steps" in text
    assert "None" not in text


def test_two_jobs_stand_on_one_page() -> None:
    text = live.page([JOB, replace(JOB, job_id="demo-9")], NOW)
    assert text.count("<article>") == 2


def test_a_long_curve_stays_light_and_is_valid_xml() -> None:
    losses = [(s, 2.0 + 1.0 / s) for s in range(1, 20_001)]
    drawn = sparkline.svg(losses, ((5000, 2.1),), total_steps=30_000)
    assert len(drawn) < 12_000
    ElementTree.fromstring(drawn)  # our own text
    assert len(sparkline.thin(losses)) == sparkline.MOST_POINTS


def test_a_flat_curve_is_no_division_by_zero() -> None:
    ElementTree.fromstring(sparkline.svg([(1, 2.0), (2, 2.0)]))
