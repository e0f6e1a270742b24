"""Everything that comes from the environment, in one file.

Prefix BRIGHTRUN_, plus DATABASE_URL, STORAGE_URL and REPORTS_URL. Secrets are SecretStr:
they print as ********** and are never written to a run folder, log, artifact or report.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from brightrun import addresses

CHECKOUT = Path(__file__).resolve().parents[1]
BUILT_IMAGE = CHECKOUT / "deployments/trainer-image"
MADE_VOLUME = CHECKOUT / "deployments/network-volume.json"
MAX_ATTEMPTS = 20  # from docs/simulation.md: at 30 % an hour a 20-hour job is lost 12 times at most


class Settings(BaseSettings):
    """State lives under `home`; every other place is derived from it unless it is set."""

    model_config = SettingsConfigDict(env_prefix="BRIGHTRUN_", extra="ignore", frozen=True)

    home: Path = Field(CHECKOUT / ".brightrun", description="Ledger, run folders, models, reports")
    database_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("DATABASE_URL", "BRIGHTRUN_DATABASE_URL")
    )
    storage_url: str | None = Field(
        None, validation_alias=AliasChoices("STORAGE_URL", "BRIGHTRUN_STORAGE_URL")
    )
    reports_url: str | None = Field(
        None, validation_alias=AliasChoices("REPORTS_URL", "BRIGHTRUN_REPORTS_URL")
    )

    prefect_results: str = Field(
        "", description="s3://BUCKET/PREFIX for Prefect's results; empty: on each worker's disk"
    )
    local_base_model: str = Field("demo", description="Base model of the local provider")
    runpod_base_model: str = Field(
        "meta-llama/Meta-Llama-3-70B-Instruct", description="Base model of runpod"
    )
    ui_port: int = Field(4200, ge=1, le=65535, description="Prefect pages of `make ui`")
    prefect_url: str = Field("", description="API of the team's server: http://HOST:4200/api")
    pool: str = Field(
        "brightrun-local",
        pattern=r"^[a-z0-9][a-z0-9-]{0,60}$",
        description="Work pool of this environment: a worker takes runs of no other one",
    )
    worker_runs: int = Field(4, ge=1, le=500, description="Runs at once of one worker")
    reports_port: int = Field(4280, ge=1, le=65535, description="Report pages of `make ui`")

    local_usd_per_hour: Decimal = Field(
        Decimal("0.50"), ge=0, description="Notional price of the local provider"
    )
    threads: int = Field(2, ge=1, le=256, description="CPU threads of a local pod")
    cpu_speed: float = Field(
        0.0, ge=0, description="This CPU against the reference in a first estimate; 0: measured"
    )
    processes: int = Field(1, ge=1, le=64, description="Processes of a pod, one for each GPU")
    choices: str = Field("", description="JSON of choices that the pod must not make itself")
    lease_seconds: int = Field(60, ge=10, description="A local pod stops itself without renewal")
    heartbeat_stale_seconds: int = Field(60, ge=5)
    max_attempts: int = Field(
        MAX_ATTEMPTS, ge=1, le=50, description="Pods per job before it is given up"
    )

    gpu_quota: int = Field(0, ge=0, le=1000, description="Jobs with a GPU at once; 0: no limit")
    longest_pod_hours: float = Field(72.0, gt=0, description="A pod stops itself after so long")

    warn_above_usd: Decimal = Field(Decimal(100), ge=0)
    approve_above_usd: Decimal = Field(Decimal(150), ge=0)
    month_budget_usd: Decimal = Field(Decimal(500), ge=0)
    time_zone: str = Field("UTC", description="Of months, digests and nights: Europe/Berlin")
    smoke_limit_usd: Decimal = Field(Decimal(1), gt=0, description="A smoke test stops there")
    storage_usd_per_gb_month: Decimal = Field(Decimal("0.10"), ge=0)
    nightly_template: str = Field("", description="Trains changed files at night; empty: off")
    nightly_budget_usd: Decimal = Field(Decimal(50), ge=0, description="Of one night")
    nightly_at: str = Field(
        "02:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="When a night begins"
    )
    approval_timeout_hours: int = Field(72, ge=1)
    max_json_gb: float = Field(20.0, gt=0, description="Largest single JSON document")

    openai_api_key: SecretStr | None = Field(None, description="For judges openai:MODEL")
    anthropic_api_key: SecretStr | None = Field(None, description="For judges anthropic:MODEL")
    judge_api_key: SecretStr | None = Field(None, description="For judges at another base URL")

    people: Path | None = Field(None, description="Who hears what; else people.toml in the home")
    stuck_minutes: float = Field(30.0, gt=0, description="A pod that has not moved for so long")
    webhook_url: str = Field("", description="Of your own application; gets every event, signed")
    webhook_secret: SecretStr | None = Field(None, description="Without it nothing is sent there")

    share_url: str = Field(
        "", description="Where shares lie: file://, s3://bucket/prefix, supabase://bucket"
    )
    share_logs: str = Field(
        "", description="Where S3 writes the access logs of the shares: s3://bucket/prefix"
    )
    supabase_url: str = Field(
        "", validation_alias=AliasChoices("BRIGHTRUN_SUPABASE_URL", "SUPABASE_URL")
    )
    supabase_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("BRIGHTRUN_SUPABASE_KEY", "SUPABASE_KEY")
    )

    slack_token: SecretStr | None = None
    slack_channel: str = ""
    slack_base_url: str = "https://slack.com/api/"
    smtp_host: str = ""
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr | None = None
    smtp_starttls: bool = True
    smtp_implicit_tls: bool = Field(False, description="TLS from the first byte; port 465 has it")
    email_from: str = ""
    email_to: str = Field("", description="Comma-separated addresses")

    runpod_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("BRIGHTRUN_RUNPOD_API_KEY", "RUNPOD_API_KEY")
    )
    runpod_rest_url: str = Field("https://api.runpod.io", description="Of REST v2, without /v2")
    runpod_graphql_url: str = "https://api.runpod.io/graphql"
    runpod_image: str = Field(
        default_factory=lambda: built_image(),
        description="Trainer image by digest: NAME@sha256:...; else deployments/trainer-image",
    )
    runpod_registry: str = Field("", description="RunPod's id of the credential for the image")
    registry_user: str = Field("", description="For the look whether the image is there")
    registry_token: SecretStr | None = Field(None, description="Of registry_user, read-only")
    hub_url: str = Field(
        "https://huggingface.co", validation_alias=AliasChoices("HF_ENDPOINT", "BRIGHTRUN_HUB_URL")
    )
    runpod_args: str = Field("", description="Arguments of the image's entry point")
    runpod_disk_gb: int = Field(60, ge=10, le=2000, description="Container disk of a pod")
    volume_file: Path = Field(
        MADE_VOLUME, description="What `brightrun setup volume` has made: volume and NF4 copies"
    )
    runpod_volume: str = Field(
        "", description="Network volume with the model cache; its id; else as in volume_file"
    )
    runpod_volume_path: str = Field("/workspace", description="Where the volume is in the pod")
    runpod_models: str = Field("/workspace/models", description="The model cache in the pod")
    runpod_volume_usd_per_gb_month: Decimal = Field(
        Decimal("0.07"), ge=0, description="Of the network volume; RunPod's list price up to 1 TB"
    )
    runpod_clouds: str = Field("SECURE", description="SECURE, COMMUNITY; comma-separated")
    runpod_data_centers: str = Field("", description="Only these, comma-separated; empty: any")
    runpod_min_cuda: str = Field("", pattern=r"^(\d+\.\d+)?$", description="e.g. 12.8")
    runpod_lease_seconds: int = Field(900, ge=60)
    runpod_boot_seconds: int = Field(600, ge=30, description="To a pod's first sign of life")
    runpod_look_seconds: float = Field(15.0, gt=0, description="Between two questions about a pod")
    runpod_gone_seconds: float = Field(
        60.0, ge=0, description="A pod is gone when it was not seen twice, so far apart"
    )

    pod_storage_url: str = Field("", description="STORAGE_URL as a rented pod sees it")
    pod_storage_endpoint: str = Field("", description="Of an S3 service that is not Amazon's")
    pod_storage_region: str = ""
    pod_storage_key_id: SecretStr | None = Field(None, description="For pods: only its prefix")
    pod_storage_secret: SecretStr | None = None
    pod_storage_token: SecretStr | None = Field(None, description="Session token, short-lived")
    pod_storage_signing: SecretStr | None = Field(
        None, description="JWT secret of a Supabase project: signs each pod's session token"
    )
    pod_storage_role: str = Field("", description="STS makes each pod's keys from it, for its job")
    pod_storage_sts: str = Field("", description="Endpoint of STS; empty: the storage's, Amazon's")
    pod_storage_seconds: int = Field(
        43_200,
        ge=1800,
        le=43_200,
        description="Life of those keys; pods are replaced before it",
    )
    pod_hub_token: SecretStr | None = Field(None, description="Read-only token for gated models")

    hub_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("HF_TOKEN", "BRIGHTRUN_HUB_TOKEN")
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone, like Europe/Berlin or UTC") from None

    @field_validator("email_from", "email_to")
    @classmethod
    def _addresses(cls, text: str) -> str:
        return addresses.checked(text)

    @property
    def zone(self) -> ZoneInfo:
        """Where months and days begin."""
        return ZoneInfo(self.time_zone)

    @property
    def storage(self) -> str:
        """Root of all run folders, an fsspec URL without a trailing slash."""
        return (self.storage_url or (self.home.resolve() / "storage").as_uri()).rstrip("/")

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the ledger."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home.resolve() / 'ledger.db'}"

    @property
    def volume(self) -> str:
        """Id of the pods' network volume; "" without one."""
        return self.runpod_volume or made_volume(self.volume_file)

    @property
    def models(self) -> Path:
        """Cache of prepared base models."""
        return self.home.resolve() / "models"

    @property
    def prefect_home(self) -> Path:
        return self.home.resolve() / "prefect"


def built_image(place: Path = BUILT_IMAGE) -> str:
    """What deployments/build-image.sh has pushed last: code and image change together."""
    return place.read_text().strip() if place.is_file() else ""


def made_volume(place: Path) -> str:
    """The id of the volume that `brightrun setup volume` has made or found; "" before that."""
    return str(json.loads(place.read_bytes())["id"]) if place.is_file() else ""


def load() -> Settings:
    """Settings of this process, read afresh from the environment."""
    return Settings()
