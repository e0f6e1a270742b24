"""Renting from RunPod: launch once, look up what is doubtful, end what runs.

A create that is not clearly answered may have rented a pod that bills: it is looked for by its
name until it is seen or RunPod's lists had time to show it, and is never sent a second time.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from brightrun.clock import Clock, SystemClock
from brightrun.compute.provider import (
    Balance,
    Billed,
    Doubtful,
    LaunchRequest,
    Manners,
    Offer,
    Pod,
)
from brightrun.compute.runpod import bills, catalog
from brightrun.compute.runpod.client import Client, settled
from brightrun.compute.runpod.graphql import GraphQl, SpotGone
from brightrun.compute.runpod.pods import Place, body, pod_of, spot_input
from brightrun.compute.runpod.problems import Away, Denied, NotThere, RateLimited, to_mend
from brightrun.errors import CapacityError, ConfigurationError, ProviderError
from brightrun.jobs import Market
from brightrun.settings import Settings

# Of the time between two looks: a minute of silence, polls and this stay below 75 s.
SECOND_LOOK = 0.8
# For so long a market that said no to us is not offered: a proxy's no may pass.
SPOT_GONE = timedelta(hours=1)
BY_DIGEST = re.compile(r"^\S+@sha256:[0-9a-f]{64}$")


def manners(settings: Settings) -> Manners:
    return Manners(
        look_every_s=settings.runpod_look_seconds,
        second_look_s=SECOND_LOOK * settings.runpod_look_seconds,
        gone_gap_s=settings.runpod_gone_seconds,
        boot_deadline_s=settings.runpod_boot_seconds,
        lease_s=settings.runpod_lease_seconds,
        far_away=True,
    )


class RunPodProvider:
    """One RunPod account; `place` is the same for all its pods."""

    def __init__(
        self,
        rest: Client,
        graphql: GraphQl,
        place: Place,
        manners: Manners,
        clock: Clock | None = None,
    ) -> None:
        self.rest, self.graphql, self.place, self.manners = rest, graphql, place, manners
        self.clock = clock or SystemClock()
        self.ids: dict[str, str] = {}
        self.spot_gone_until: datetime | None = None

    @classmethod
    def of(
        cls, settings: Settings, clock: Clock | None = None, *, patient: bool = True
    ) -> RunPodProvider:
        """ConfigurationError without a key."""
        if settings.runpod_api_key is None:
            raise ConfigurationError(
                "there is no key for RunPod",
                cause="BRIGHTRUN_RUNPOD_API_KEY is not set",
                fix="make a key in RunPod's console and set it, or use --provider local",
            )
        key = settings.runpod_api_key
        return cls(
            Client(settings.runpod_rest_url, key, clock=clock, patient=patient),
            # What GraphQL adds is never waited for: it may go at any time.
            GraphQl(Client(settings.runpod_graphql_url, key, clock=clock, patient=False)),
            Place.of(settings),
            manners(settings),
            clock,
        )

    def offers(self, gpu_count: int = 1) -> tuple[Offer, ...]:
        now, place = self.clock.now(), self.place
        with to_mend():
            listed = catalog.on_demand(self.rest, place.clouds, gpu_count, place.min_cuda, now)
        if self.place.data_centers:
            listed = tuple(o for o in listed if o.data_center in self.place.data_centers)
        if self.spot_gone_until is not None and now < self.spot_gone_until:
            return listed
        try:
            return (*listed, *catalog.spot(self.graphql, listed, gpu_count))
        except ProviderError:
            return listed  # the legacy API is away: spot is not offered now, which does no harm

    def launch(self, request: LaunchRequest) -> Pod:
        offer = request.offer
        if offer is None:
            raise ConfigurationError(
                "RunPod rents only what was chosen from its offers",
                fix="check with `brightrun estimate --provider runpod` that it offers anything",
            )
        try:
            pod = self._create(request, offer)
        except RateLimited as error:
            raise CapacityError(error.message, fix=error.fix) from error
        except Denied as error:
            raise ConfigurationError(error.message, cause=error.cause, fix=error.fix) from error
        except (Away, NotThere) as error:
            pod = self._settle(request.name, error)
        self.ids[request.name] = pod.provider_id
        return pod

    def _create(self, request: LaunchRequest, offer: Offer) -> Pod:
        hidden = [value.get_secret_value() for value in request.secrets.values()]
        if offer.market == Market.spot:
            pod_id = self._create_spot(request, offer, hidden)
            try:
                facts = self.rest.get(f"/v2/pods/{pod_id}")
            except ProviderError as error:  # also one that of a create would say: nothing was done
                raise Away(
                    f"RunPod rented {pod_id} and does not show it: {error.message}"
                ) from error
        else:
            facts = self.rest.create("/v2/pods", body(request, offer, self.place), hidden)
        pod = pod_of(facts)
        if pod is None or pod.name != request.name:
            raise Away(f"RunPod answered a create of {request.name} with another pod")
        return pod

    def _create_spot(self, request: LaunchRequest, offer: Offer, hidden: list[str]) -> str:
        """The new pod's id; a no to the whole market is remembered, until a pod is rented there."""
        try:
            pod_id = self.graphql.rent_spot(spot_input(request, offer, self.place), hidden)
        except SpotGone:
            self.spot_gone_until = self.clock.now() + SPOT_GONE
            raise
        self.ids[request.name], self.spot_gone_until = pod_id, None
        return pod_id

    def _settle(self, name: str, doubt: ProviderError) -> Pod:
        """The pod that a doubtful create may have made; Doubtful when none is to be seen."""
        if (pod := settled(self.clock, lambda: self.find(name))) is not None:
            return pod
        raise Doubtful(
            f"RunPod may have started pod {name}: {doubt.message}",
            cause="the answer to the create was lost, and no list shows the pod",
            fix="nothing: it is looked for until it is surely gone, and ended if it appears",
        ) from doubt

    def learn(self, name: str, pod_id: str) -> None:
        if pod_id:
            self.ids[name] = pod_id

    def find(self, name: str) -> Pod | None:
        same = [pod for pod in self.list(name) if pod.name == name]
        if same:
            return min(same, key=lambda pod: pod.state == "ended")
        known = self.ids.get(name)  # a list may be behind
        if known is None:
            return None
        try:
            return pod_of(self.rest.get(f"/v2/pods/{known}"))
        except NotThere:
            return None

    def list(self, prefix: str) -> list[Pod]:
        every = self.rest.listed("/v2/pods", "pods")
        named = (facts for facts in every if str(facts.get("name")).startswith(prefix))
        return [pod for facts in named if (pod := pod_of(facts)) is not None]

    def terminate(self, name: str) -> None:
        """Every pod of that name: a doubtful create may have left two, and one that cannot be ended
        must not keep the other running."""
        ids = {pod.provider_id for pod in self.list(name) if pod.name == name}
        if name in self.ids:
            ids.add(self.ids[name])
        failed: ProviderError | None = None
        for pod_id in sorted(ids):
            try:
                self.rest.delete(f"/v2/pods/{pod_id}")
            except NotThere:
                continue  # which proves nothing: see ending.make_gone
            except ProviderError as error:
                failed = error
        if failed is not None:
            raise failed

    def balance(self) -> Balance | None:
        return self.graphql.balance()

    def billing(self, since: datetime) -> tuple[Billed, ...]:
        names = {pod.provider_id: pod.name for pod in self.list("")}
        return bills.billed(self.rest, since, self.clock.now(), names)

    def data_center(self) -> str:
        try:
            return self.volume_place()
        except NotThere:
            return ""  # unready says so

    def volume_gb(self) -> float:
        if not self.place.volume:
            return 0.0
        return float(self._of_volume("size", int | float))

    def volume_place(self) -> str:
        """The data centre of our network volume, "" without one. NotThere: there is no such."""
        if not self.place.volume:
            return ""
        return str(self._of_volume("dataCenter", str))

    def _of_volume(self, name: str, kind: Any) -> Any:
        path = f"/v2/network-volumes/{self.place.volume}"
        with to_mend():
            answer = self.rest.get(path)
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, kind):
            raise Away(f"RunPod answered nonsense: GET {path}: {name} is {found!r:.80}")
        return found

    def unready(self, request: LaunchRequest) -> tuple[str, ...]:
        found = []
        if not BY_DIGEST.match(self.place.image):
            found.append(
                f"the trainer image {self.place.image!r} is not named by digest; "
                "set BRIGHTRUN_RUNPOD_IMAGE=NAME@sha256:..."
            )
        try:
            place = self.volume_place()
        except NotThere:
            found.append(
                f"the account has no network volume {self.place.volume!r}; "
                "mend BRIGHTRUN_RUNPOD_VOLUME or run `brightrun setup volume`"
            )
        else:
            if place and request.offer is not None and place != request.offer.data_center:
                found.append(
                    f"the network volume {self.place.volume} lies in {place}, the offer in "
                    f"{request.offer.data_center}; choose an offer in {place}"
                )
        return tuple(found)
