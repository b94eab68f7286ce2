"""HubSpot's official client takes the sandbox for the real thing."""

from collections.abc import Callable
from typing import Any

import pytest
from hubspot import HubSpot
from hubspot.crm.associations.v4 import BatchInputPublicFetchAssociationsBatchRequest
from hubspot.crm.contacts import (
    ApiException,
    BatchInputSimplePublicObjectBatchInput,
    BatchReadInputSimplePublicObjectId,
    Filter,
    FilterGroup,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInput,
    SimplePublicObjectId,
    SimplePublicObjectInput,
)
from hubspot.crm.properties import PropertyCreate

from connector.sandbox.hubspot.state import Record
from tests.connector.sandbox.hubspot.conftest import NOW, Api


@pytest.fixture
def client(api: Api) -> Any:
    return HubSpot(access_token=api.box.token, host=api.box.base_url)


def test_it_pages_through_all_contacts(api: Api, client: Any) -> None:
    api.portal.contacts.load(Record(id_, {"firstname": f"n{id_}"}, NOW, NOW) for id_ in range(1_000, 1_250))
    found = client.crm.contacts.get_all(properties=["firstname"])
    assert [int(one.id) for one in found] == [101, 102, 103, 104, 105, *range(1_000, 1_250)]
    assert found[-1].properties["firstname"] == "n1249"
    assert api.box.calls == {"GET /crm/v3/objects/contacts": 3}


def test_it_pages_with_history_by_fifty(api: Api, client: Any) -> None:
    api.portal.contacts.load(Record(id_, {"firstname": "n"}, NOW, NOW) for id_ in range(1_000, 1_060))
    found = client.crm.contacts.get_all(properties_with_history=["lifecyclestage"])
    assert len(found) == 65
    assert [one.value for one in found[0].properties_with_history["lifecyclestage"]] == ["lead", "subscriber"]
    assert api.box.calls == {"GET /crm/v3/objects/contacts": 2}


def test_it_searches(client: Any) -> None:
    iron = Filter(property_name="plan", operator="EQ", value="iron")
    request = PublicObjectSearchRequest(
        filter_groups=[FilterGroup(filters=[iron])], properties=["plan"], sorts=["-seats"], limit=100
    )
    found = client.crm.contacts.search_api.do_search(public_object_search_request=request)
    assert (found.total, [one.id for one in found.results]) == (2, ["105", "102"])


def test_it_reads_and_updates_in_batches(client: Any) -> None:
    inputs = [SimplePublicObjectBatchInput(id=id_, properties={"seats": "12"}) for id_ in ("103", "999", "101")]
    updated = client.crm.contacts.batch_api.update(
        batch_input_simple_public_object_batch_input=BatchInputSimplePublicObjectBatchInput(inputs=inputs)
    )
    assert [one.id for one in updated.results] == ["101", "103"]
    assert updated.errors[0].context == {"ids": ["999"]}
    wanted = BatchReadInputSimplePublicObjectId(
        properties=["seats"],
        properties_with_history=[],
        inputs=[SimplePublicObjectId(id=id_) for id_ in ("101", "102", "103")],
    )
    read = client.crm.contacts.batch_api.read(batch_read_input_simple_public_object_id=wanted)
    assert [one.properties["seats"] for one in read.results] == ["12", "1.5", "12"]


def test_it_reads_and_updates_one(client: Any) -> None:
    change = SimplePublicObjectInput(properties={"plan": "iron"})
    updated = client.crm.contacts.basic_api.update(contact_id="107", simple_public_object_input=change)
    assert updated.id == "101"
    found = client.crm.contacts.basic_api.get_by_id(contact_id="101", properties=["plan"])
    assert (found.properties["plan"], found.archived) == ("iron", False)
    with pytest.raises(ApiException) as refused:
        client.crm.contacts.basic_api.get_by_id(contact_id="999")
    assert refused.value.status == 404


def test_it_makes_properties_and_reads_pipelines_and_owners(client: Any) -> None:
    made = client.crm.properties.core_api.create(
        object_type="contacts",
        property_create=PropertyCreate(
            name="lis_score", label="Score", type="number", field_type="number", group_name="contactinformation"
        ),
    )
    assert (made.name, made.hubspot_defined) == ("lis_score", False)
    names = [one.name for one in client.crm.properties.core_api.get_all(object_type="contacts").results]
    assert {"lis_score", "email", "plan"} <= set(names)
    stages = client.crm.pipelines.pipelines_api.get_all(object_type="deals").results[0].stages
    assert [one.metadata["probability"] for one in stages] == ["0.4", "0.0", "1.0"]
    assert [one.id for one in client.crm.owners.get_all()] == ["31"]


def test_it_reads_associations(client: Any) -> None:
    inputs = BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": "101"}, {"id": "102"}])
    found = client.crm.associations.v4.batch_api.get_page(
        from_object_type="contacts",
        to_object_type="deals",
        batch_input_public_fetch_associations_batch_request=inputs,
    )
    assert [one.to_object_id for one in found.results[0].to] == ["901", "902"]


def test_it_understands_refusals(start: Callable[..., Api]) -> None:
    api = start(faults=(("missing-scope", "crm.objects.contacts.read"),))
    with pytest.raises(ApiException) as refused:
        HubSpot(access_token=api.box.token, host=api.box.base_url).crm.contacts.basic_api.get_page()
    assert refused.value.status == 403
    assert "MISSING_SCOPES" in refused.value.body
