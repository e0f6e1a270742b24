"""Verdict (frozen shape), the evaluation's result, and ReportData, the reports' data contract."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from brightrun.brand import Brand
from brightrun.figures import Figures
from brightrun.frozen import Frozen

# The report's template, and with an ending its files.
REPORT = "validation-report"


class EvidenceKind(StrEnum):
    human = "human"
    llm_judge = "llm_judge"
    llm_judge_uncalibrated = "llm_judge_uncalibrated"
    measurement = "measurement"
    marker = "marker"

    @property
    def words(self) -> str:
        """`llm judge uncalibrated`."""
        return self.value.replace("_", " ")


class MetricName(StrEnum):
    perplexity = "perplexity"
    emotional_intelligence = "emotional_intelligence"
    knowledge_retention = "knowledge_retention"
    brand_voice = "brand_voice"
    safety = "safety"
    marker_index = "marker_index"


TargetMet = Literal["pass", "fail", "inconclusive", "not_measured"]
Standing = Literal[TargetMet, "exploratory"]


class Verdict(Frozen):
    """One claim and how far the evidence carries it. `estimate` and the CI share `unit`."""

    metric: MetricName
    evidence: EvidenceKind
    n: int = Field(ge=0)
    n_clusters: int = Field(ge=0, description="Conversations, scenarios or questions")
    baseline: float | None = None
    trained: float | None = None
    gold: float | None = Field(None, description="The held-out human-written answers")
    estimate: float | None = Field(None, description="Relative change, or retained share")
    ci_low: float | None = None
    ci_high: float | None = None
    target: float | None = None
    improved: bool | None = Field(None, description="None: the CI does not say")
    p_value: float | None = Field(None, description="Two-sided, of no change")
    p_holm: float | None = Field(None, description="Adjusted over the headline verdicts")
    floor: float | None = Field(None, description="The least change that is guaranteed")
    floor_met: TargetMet = "not_measured"
    target_met: TargetMet = "not_measured"
    n_needed: int | None = Field(None, description="Clusters that would settle an inconclusive")
    exploratory: bool = Field(False, description="Not in the plan that was hashed before training")
    undecided: dict[str, int] = Field(
        default_factory=dict, description="Clusters left to a person by kind: in no other number"
    )
    proves_nothing: str = Field("", description="Why no change is claimed; said first")
    note: str = ""

    @property
    def standing(self) -> Standing:
        """What it counts as: outside the plan, a met target is none that was promised."""
        outside = self.exploratory and self.target_met != "not_measured"
        return "exploratory" if outside else self.target_met


class Table(Frozen):
    """A small table for the report. Cells are raw: the renderer formats and escapes them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]
    caption: str = ""


NO_TABLE = Table(columns=(), rows=())

MarkKind = Literal["emotion", "jargon", "step", "figure"]


class Mark(Frozen):
    """A stretch of an answer that is pointed out: characters start to end."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    kind: MarkKind


class Example(Frozen):
    """One scenario answered by both models, shown side by side."""

    scenario_id: str
    arc: str
    persona: str
    client_message: str
    baseline: str
    trained: str
    why: str = Field(description="Rule that chose it: best | worst | random | safety")
    notes: tuple[str, ...] = Field((), description="What the markers say differs")
    baseline_marks: tuple[Mark, ...] = ()
    trained_marks: tuple[Mark, ...] = ()


class Evaluation(Frozen):
    """evals/evaluation.json: everything that was concluded from the measurements."""

    verdicts: tuple[Verdict, ...]
    perplexity: Table
    knowledge: Table
    lost_questions: Table
    markers: Table = Field(description="Marker x baseline / trained / gold")
    safety: Table
    comparison: Table | None = Field(None, description="Model x measure against the baseline")
    contamination: Table | None = Field(None, description="What is tested against the data")
    data_feedback: Table | None = Field(None, description="For whoever writes the conversations")
    examples: tuple[Example, ...]
    ei: Table = Field(
        NO_TABLE, description="Overall, by group, dimension and arc: levels, change, CI, n, alpha"
    )
    voice: Table = Field(NO_TABLE, description="The ten characteristics on the scale of 1 to 5")
    correctness: Table = Field(NO_TABLE, description="Financial content that is not right")
    judges: Table = Field(NO_TABLE, description="Who judged, of what kind, how much, how steadily")
    flags: tuple[str, ...] = Field((), description="What a reader must see first")
    facts: dict[str, Any] = Field(default_factory=dict, description="n, seeds, truncation, times")

    @property
    def foreign(self) -> bool:
        """Whether the adapter comes from elsewhere: what it was trained on is not known."""
        return bool(self.facts.get("foreign_adapter"))


class CurvePoint(Frozen):
    step: int
    epoch: float
    loss: float
    learning_rate: float
    validation_loss: float | None = None


class Interruption(Frozen):
    attempt: int
    killed_at: int = Field(description="Last step that was logged")
    resumed_from: int = Field(description="Step of the checkpoint that was loaded, 0 = none")
    reason: str
    seconds_lost: float | None = Field(
        None, description="To the next pod's first step, and the work that it did again"
    )
    usd_lost: float | None = Field(None, description="What pods were paid for in that time")


class Issue(Frozen):
    """Which report this is: it stands on every page."""

    report_id: str = ""
    version: int = 1
    audience: str = ""


def kind_of_test(meaningful: bool, smoke: bool) -> str:
    """What kind of test numbers come from that mean nothing; "" = they mean something.

    meaningful: of the base model.
    """
    return "Smoke test" if smoke else "" if meaningful else "Test model"


class ReportData(Frozen):
    """report.json: all that any report format needs; rendered without a GPU at any time."""

    job_id: str
    name: str
    client: str
    requested_by: str
    approved_by: str = ""
    confirmed_by: str = ""  # below the limits no approval is needed
    created_at: datetime
    finished_at: datetime
    preset: str
    training_file: str
    meaningful: bool = Field(description="False: base model `tiny` or a smoke test")
    smoke: bool = Field(False, description="A smoke test: 2 conversations, 2 steps")
    spec: dict[str, Any]
    spec_hash: str
    evaluation: Evaluation
    curve: tuple[CurvePoint, ...]
    interruptions: tuple[Interruption, ...]
    dataset: Table
    cost: Table = Field(description="Part, estimate, actual, how far off")
    cost_usd: float
    cost_off: float | None = Field(None, description="Actual over likely estimate less 1")
    estimate_usd: tuple[float, float, float] = Field(description="low, likely, high")
    hours: float
    price: dict[str, Any] = Field(description="usd_per_hour, source, as_of")
    stages: Table = Field(description="Stage, estimated and actual seconds")
    cuts: tuple[str, ...] = Field(description="What this preset left out, one sentence each")
    provenance: dict[str, str] = Field(description="Hashes, versions, seed, threads")
    reproduce: str = Field(description="The command that runs it again")
    next_command: str = Field("", description="What would measure the EI claim")
    issue: Issue = Issue()
    brand: Brand = Brand()
    figures: Figures | None = Field(None, description="The client's own assumptions")

    @property
    def meaningless(self) -> str:
        return kind_of_test(self.meaningful, self.smoke)
