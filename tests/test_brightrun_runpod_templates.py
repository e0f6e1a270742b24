"""The account's template: made once, brought up to date, never public, without a secret."""

from __future__ import annotations

import pytest
from runpod_rentals import IMAGE, account, client

from brightrun.compute.runpod import templates
from brightrun.compute.runpod.pods import Place
from brightrun.errors import ConfigurationError

PLACE = Place(image=IMAGE, registry="reg1")


def test_the_template_is_made_once_and_follows_the_image() -> None:
    with account() as fake:
        rest = client(fake)
        assert templates.lacks(rest, PLACE) == f"make template 'brightrun-trainer' with {IMAGE}"
        templates.make(rest, PLACE)
        assert templates.lacks(rest, PLACE) == ""
        newer = PLACE.model_copy(update={"image": IMAGE.replace("a" * 64, "b" * 64)})
        assert templates.lacks(rest, newer) == "set image of template 'brightrun-trainer'"
        templates.make(rest, newer)
        assert templates.lacks(rest, newer) == ""
        (there,) = fake.account.templates.values()
    assert (there["public"], there["startSsh"], there["ports"]) == (False, False, [])
    assert there["env"] == {"BRIGHTRUN_MODELS": "/workspace/models"}


def test_one_on_the_second_page_is_not_made_again() -> None:
    with account() as fake:
        fake.contract, fake.page_size = None, 1  # it knows no pages: others have met them
        fake.account.set_template({"name": "another", "image": IMAGE})
        for _ in range(2):
            templates.make(client(fake), PLACE)
        assert len(fake.account.templates) == 2


def test_two_of_that_name_are_for_a_person_to_tidy() -> None:
    with account() as fake:
        for _ in range(2):
            fake.account.set_template({"name": templates.NAME, "image": IMAGE})
        with pytest.raises(ConfigurationError, match="2 templates are called"):
            templates.lacks(client(fake), PLACE)
