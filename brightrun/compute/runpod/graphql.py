"""What REST v2 lacks, over the legacy GraphQL API: balance, and interruptible ("spot") pods.

The schema is not part of RunPod's published contract and is announced to go: every part of it may
be missing. Missing spot means "not offered"; a missing balance means "not known". Values travel
as variables, never inside the query's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from brightrun.compute.provider import Balance, Refused
from brightrun.compute.runpod.client import Client
from brightrun.compute.runpod.problems import SHOWN, Away, BalanceEmpty, Denied, NotThere, unread
from brightrun.errors import ProviderError

BALANCE = "query Balance { myself { clientBalance currentSpendPerHr } }"
MUTATIONS = 'query Mutations { __type(name: "Mutation") { fields { name } } }'
SPOT_PRICES = """query SpotPrices($count: Int!) {
  gpuTypes { id lowestPrice(input: {gpuCount: $count}) { minimumBidPrice stockStatus } }
}"""
RENT_SPOT = """mutation RentSpot($input: PodRentInterruptableInput!) {
  podRentInterruptable(input: $input) { id }
}"""
SPOT = "podRentInterruptable"
# What GraphQL says of a field that the schema has no more (graphql-js and graphql-core alike).
NO_STOCK = ("no longer any instances", "not available", "no instances")
UNKNOWN = ("Cannot query field", "Unknown type", "GRAPHQL_VALIDATION_FAILED")


class SpotGone(Refused):
    """The market itself is not offered (any more), or not to this key."""

    code = "spot_gone"


class NotInSchema(ProviderError):
    code = "not_in_schema"


class GraphQl:
    """The same account's GraphQL address."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def balance(self) -> Balance | None:
        """None when the API does not say it (any more). Away, Denied."""
        try:
            me = self._data(BALANCE).get("myself") or {}
            return Balance(
                usd=Decimal(str(me["clientBalance"])),
                spend_per_hour=Decimal(str(me["currentSpendPerHr"])),
            )
        except (NotInSchema, KeyError, InvalidOperation):
            return None

    def spot_prices(self, count: int) -> dict[str, tuple[Decimal, str]]:
        """GPU id -> (least bid in $/h for one GPU, stock in the API's words); {} = not offered."""
        try:
            if not self._can_rent():
                return {}
            rows = self._data(SPOT_PRICES, {"count": count}).get("gpuTypes") or ()
        except NotInSchema:
            return {}
        found = {}
        for row in rows:
            least = row.get("lowestPrice") or {}
            if least.get("minimumBidPrice"):
                price = Decimal(str(least["minimumBidPrice"]))
                found[str(row["id"])] = (price, str(least.get("stockStatus") or ""))
        return found

    def rent_spot(self, wanted: Mapping[str, Any], hidden: Iterable[str] = ()) -> str:
        """The new pod's id. SpotGone, Refused, BalanceEmpty; Away: there may be a pod.

        A no that is not for want of machines is SpotGone: on demand may still be had, and what is
        wrong with the key or the request itself is said there.
        """
        try:
            pod = self._data(RENT_SPOT, {"input": dict(wanted)}, tuple(hidden)).get(SPOT)
        except NotInSchema as error:
            raise SpotGone("spot is not offered by RunPod any more", cause=error.message) from None
        except (Denied, NotThere, Refused) as error:
            if isinstance(error, Refused) and not error.broken:
                raise
            raise SpotGone(
                f"spot cannot be rented: {error.message}", cause=error.cause, fix=error.fix
            ) from None
        if not pod or not pod.get("id"):
            raise Away("RunPod did not say which spot pod it started")
        return str(pod["id"])

    def _can_rent(self) -> bool:
        """False when the schema lacks the mutation; a server that hides its schema is trusted."""
        try:
            kind = self._data(MUTATIONS).get("__type")
        except (NotInSchema, Denied):
            return True  # introspection is switched off: the prices and the create will tell
        fields = (kind or {}).get("fields") or ()
        return SPOT in {field["name"] for field in fields}

    def _data(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        hidden: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        body = {"query": query, "variables": dict(variables or {})}
        try:
            if query == RENT_SPOT:
                answer = self.client.create("", body, hidden)
            else:
                answer = self.client.query("", body)
        except (Denied, Refused) as error:  # what does not fit the schema may be answered with 400
            if any(word in error.message for word in UNKNOWN):
                raise NotInSchema(error.message) from None
            raise
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            found = _error(errors, hidden)
            # Only what rents can be refused: of a question it is an answer that is none.
            may_refuse = query == RENT_SPOT or isinstance(found, ProviderError)
            raise found if may_refuse else Away(found.message)
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise Away("RunPod's GraphQL answered without data")
        return dict(answer["data"])


def _error(errors: Any, hidden: Iterable[str]) -> ProviderError | Refused | BalanceEmpty:
    """The first error as one of ours; its texts are known from others' code, not documented."""
    first = errors[0] if isinstance(errors, list) and errors else {}
    facts = first if isinstance(first, dict) else {}
    text = unread(str(facts.get("message", "")), hidden)[:SHOWN]
    code = str((facts.get("extensions") or {}).get("code", ""))
    said = f"RunPod's GraphQL says: {text} {code}".strip()
    if code == UNKNOWN[2] or text.startswith(UNKNOWN[:2]):
        return NotInSchema(said)
    if "balance" in text.lower() or "credit" in text.lower():
        return BalanceEmpty(said, fix="add credit in RunPod's console")
    if any(words in text for words in NO_STOCK):
        return Refused(said, said=text)
    if code in ("UNAUTHENTICATED", "FORBIDDEN"):
        return Denied(said, cause="the key may not use GraphQL", fix="check the key's permissions")
    return Away(said)
