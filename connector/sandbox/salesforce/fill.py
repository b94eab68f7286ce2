"""Fill an org from canonical tables: people, accounts and opportunities.

Contacts of a file are leads. In the made-up market every other one is a contact of an account from the start; the
rest are leads, and those with a deal were converted when it was opened.
"""

import json
import re
from collections.abc import Callable, Mapping

import pyarrow as pa

import manifests
from connector.sandbox import times
from connector.sandbox.contents import UNDATED_AGE_MS, contents
from connector.sandbox.options import Faults, SandboxOptions
from connector.sandbox.salesforce import activities
from connector.sandbox.salesforce.schema import Field, to_datetime
from connector.sandbox.salesforce.store import ADMIN_USER, INTEGRATION_USER, ORGANIZATION, Org
from scoring import tables as canonical

#: canonical type -> field type.
_TYPES = {"number": "double", "boolean": "boolean", "date": "datetime", "category": "picklist"}
_OURS = {
    # manifest type -> field type
    "number": "double",
    "boolean": "boolean",
    "datetime": "datetime",
    "category": "picklist",
    "text": "textarea",
}
#: Properties that are standard fields of leads and contacts.
_STANDARD = {"firstname": "FirstName", "lastname": "LastName", "jobtitle": "Title", "lead_source": "LeadSource"}
_STAGES = """create temp table stages as select * from (values
    ('closedwon', 100.0, 'Closed'), ('closedlost', 0.0, 'Omitted')) v(stage, chance, forecast)"""


def org(options: SandboxOptions, clock: Callable[[], int] = times.now_ms) -> Org:
    """The org that the options describe. Raises BadSetting for a mapping that is wrong."""
    made = Org(clock=clock, faults=Faults.of(options.faults), seed=options.seed)
    found = contents(options, clock())
    made.timezone, made.currency = found.timezone, found.currency
    fill(made, found.tables)
    if not options.bare:
        deploy(made)
    for path in made.faults.hidden_fields:
        made.hide(path)
    return made


def deploy(made: Org) -> None:
    """Our fields, as a deployment of the manifest leaves them: on people and on accounts, visible to us."""
    for one in (*manifests.properties(), *manifests.properties("company")):
        length = 32_768 if one.name == "leadlight_reasons" else 255
        kind = "string" if one.type == "text" and length == 255 else _OURS[one.type]
        ours = Field(
            name=one.salesforce,
            type=kind,
            length=length if kind in ("string", "textarea", "picklist") else 0,
            label=one.label,
            filterable=kind != "textarea",
            options=one.options,
        )
        for name in ("Lead", "Contact") if one.object == "contact" else ("Account",):
            made.define(name, ours)


def fill(made: Org, given: Mapping[str, pa.Table]) -> None:
    """Put canonical tables (`scoring.tables`, with `p_` columns) into an empty org."""
    sql = made.engine.execute
    _people_of_our_own(made)
    given = {**given, **{name: _widened(made, name, given) for name in ("contacts", "companies") if name in given}}
    names = (
        "contacts",
        "companies",
        "deals",
        "deal_contacts",
        "consents",
        "events",
        "campaigns",
        "property_history",
    )
    for name in names:
        made.engine.register(f"in_{name}", given.get(name, canonical.empty(name)))
    custom = _custom_fields(made, given)
    whole_market = "true" if given.get("deals") is not None and given["deals"].num_rows else "false"
    undated = f"timestamp '{to_datetime(made.started - UNDATED_AGE_MS)}'"
    sql(_STAGES)
    made.numbered("accounts", "Account", "select * from in_companies")
    sql("""create temp table opened as select dc.contact_id, min(d.created_at) as first
        from in_deal_contacts dc join in_deals d using (deal_id) group by all""")
    sql(f"""create temp table persons as select c.*, o.first as opened_at,
        coalesce(c.created_at, least(c.updated_at, {undated}), {undated}) as born,
        coalesce(c.updated_at, c.created_at, {undated}) as changed,
        {whole_market} and c.company_id is not null and n % 2 = 0 as is_contact
        from (select *, row_number() over () as n from in_contacts) c left join opened o using (contact_id)""")
    made.numbered("leads", "Lead", "select * from persons where not is_contact order by n")
    made.numbered(
        "customers", "Contact", "select * from persons where is_contact or opened_at is not null order by n"
    )
    sql("""create temp table who as select p.contact_id, l.id as lead_id, k.id as customer_id,
        greatest(p.opened_at, p.born) as converted_at, coalesce(k.id, l.id) as person_id,
        case when k.id is null then 'Lead' else 'Contact' end as kind
        from persons p left join leads l using (contact_id) left join customers k using (contact_id)""")
    _individuals(made)
    _owners(made)
    _load_accounts(made)
    _load_people(made, custom)
    _load_deals(made)
    activities.fill(made)
    _finish(made, undated)


def _widened(made: Org, name: str, given: Mapping[str, pa.Table]) -> pa.Table:
    """The table with a column for each property, where it has them in one JSON column."""
    table, definitions = given[name], given.get("property_definitions")
    if "properties" not in table.column_names or definitions is None:
        return table
    single = {"contacts": "contact", "companies": "company"}[name]
    wanted = [one["column_name"] for one in definitions.to_pylist() if one["object"] == single]
    made.engine.register("narrow", table)
    columns = "".join(
        f""", properties ->> '$."{column.removeprefix("p_")}"' as "{column}\"""" for column in wanted
    )
    wide = made.engine.sql(f"select *{columns} from narrow").to_arrow_table()
    made.engine.unregister("narrow")
    return wide


def _people_of_our_own(made: Org) -> None:
    for id_, name in ((INTEGRATION_USER, "Integration"), (ADMIN_USER, "Admin")):
        made.engine.execute(
            "insert into User by name select ? as Id, ? as Username, ? as LastName, true as IsActive, "
            "? as TimeZoneSidKey",
            [id_, f"{name.lower()}@leadlight-demo.example", name, made.timezone],
        )
    made.engine.execute(
        "insert into Organization by name select ? as Id, 'Leadlight demo' as Name, 'Enterprise Edition' as "
        "OrganizationType, false as IsSandbox, ? as TimeZoneSidKey, ? as DefaultCurrencyIsoCode",
        [ORGANIZATION, made.timezone, made.currency],
    )


def _custom_fields(made: Org, given: Mapping[str, pa.Table]) -> dict[str, list[tuple[str, str, str]]]:
    """Fields for the properties of the tables; by object of theirs: (column, field, type in the store)."""
    found: dict[str, list[tuple[str, str, str]]] = {"contact": [], "company": []}
    definitions = given.get("property_definitions")
    for one in definitions.to_pylist() if definitions is not None else ():
        name, column, of = str(one["property"]), str(one["column_name"]), str(one["object"])
        table = given.get({"contact": "contacts", "company": "companies"}.get(of, ""))
        if table is None or column not in table.column_names:
            continue
        if of == "contact" and name in _STANDARD:
            found[of].append((column, _STANDARD[name], "VARCHAR"))
            continue
        options = tuple((str(o["value"]), str(o["label"])) for o in json.loads(one["options"] or "[]"))
        kind = _TYPES.get(str(one["type"]), "string")
        length = 0 if kind not in ("string", "picklist") else 255
        if kind == "string" and _longest(made, table, column) > length:
            kind, length = "textarea", 131_072
        field = Field(_api_name(column), kind, length, str(one["label"] or name), (), False, kind != "textarea")
        for person in ("Lead", "Contact") if of == "contact" else ("Account",):
            made.define(person, Field(**{**field.__dict__, "options": options if kind == "picklist" else ()}))
        found[of].append((column, field.name, field.stored))
    return found


def _api_name(column: str) -> str:
    """'p_emp_var_rate' -> 'emp_var_rate__c'."""
    plain = re.sub(r"_+", "_", re.sub(r"\W", "_", column.removeprefix("p_"))).strip("_")[:40].rstrip("_")
    return f"{plain if plain[:1].isalpha() else 'x' + plain}__c"


def _longest(made: Org, table: pa.Table, column: str) -> int:
    made.engine.register("measured", table.select([column]))
    found = made.engine.sql(f'select max(length(cast("{column}" as varchar))) from measured').fetchall()[0][0]
    made.engine.unregister("measured")
    return int(found or 0)


def _individuals(made: Org) -> None:
    made.numbered(
        "persons_apart",
        "Individual",
        "select distinct contact_id from in_consents where purpose = 'profiling' and status = 'denied' order by 1",
    )
    made.engine.execute(
        "insert into Individual by name select id as Id, true as HasOptedOutProfiling, 'Person' as LastName, "
        "p.born as CreatedDate from persons_apart join persons p using (contact_id)"
    )


def _owners(made: Org) -> None:
    made.numbered(
        "owners",
        "User",
        "select distinct owner_id from in_contacts where owner_id is not null order by 1",
    )
    made.engine.execute(
        "insert into User by name select id as Id, 'owner' || owner_id || '@leadlight-demo.example' as Username, "
        "'owner' || owner_id || '@leadlight-demo.example' as Email, 'Owner' as FirstName, owner_id as LastName, "
        f"true as IsActive, '{made.timezone}' as TimeZoneSidKey from owners"
    )


def _load_accounts(made: Org) -> None:
    made.engine.execute(
        "insert into Account by name select id as Id, coalesce(name, company_id) as Name, domain as Website, "
        "industry as Industry, annual_revenue as AnnualRevenue, cast(employees as bigint) as NumberOfEmployees, "
        "country as BillingCountry, company_id as Source_Record_ID__c, created_at as CreatedDate, "
        "coalesce(updated_at, created_at) as LastModifiedDate from accounts"
    )


_COMMON = """coalesce(p_last, 'Person ' || p.contact_id) as LastName, lower(p.email) as Email,
    coalesce(o.id, '{admin}') as OwnerId, i.id as IndividualId, r.refused as HasOptedOutOfEmail,
    p.timezone as Time_Zone__c, p.contact_id as Source_Record_ID__c, p.deleted_at is not null as IsDeleted"""
_JOINS = """left join owners o on o.owner_id = p.owner_id left join persons_apart i on i.contact_id = p.contact_id
    left join (select distinct contact_id, true as refused from in_consents
        where purpose = 'marketing' and status = 'denied') r on r.contact_id = p.contact_id
    left join accounts a on a.company_id = p.company_id"""


def _load_people(made: Org, custom: Mapping[str, list[tuple[str, str, str]]]) -> None:
    own = [(column, name, kind) for column, name, kind in custom["contact"] if name != "LastName"]
    last = next((f'p."{column}"' for column, name, _ in custom["contact"] if name == "LastName"), "null")
    values = "".join(f', try_cast(p."{column}" as {kind}) as {name}' for column, name, kind in own)
    common = _COMMON.format(admin=ADMIN_USER).replace("p_last", last) + values
    made.engine.execute(f"""insert into Lead by name select p.id as Id, {common},
        coalesce(a.name, 'Unknown') as Company, a.industry as Industry, a.annual_revenue as AnnualRevenue,
        cast(a.employees as bigint) as NumberOfEmployees, p.country as Country,
        case when w.customer_id is not null then 'Closed - Converted' when p.lifecycle_stage is null
            or p.lifecycle_stage in ('subscriber', 'lead') then 'Open - Not Contacted'
            else 'Working - Contacted' end as Status,
        w.customer_id is not null as IsConverted, cast(w.converted_at as date) as ConvertedDate,
        w.customer_id as ConvertedContactId, a.id as ConvertedAccountId, m.lead_id as MasterRecordId,
        p.born as CreatedDate, coalesce(w.converted_at, greatest(p.changed, p.born)) as LastModifiedDate
        from leads p join who w on w.contact_id = p.contact_id
        left join who m on m.contact_id = p.merged_into {_JOINS}""")
    made.engine.execute("update Lead set ConvertedAccountId = null, ConvertedDate = null where not IsConverted")
    made.engine.execute("update Lead set IsDeleted = true where MasterRecordId is not null")
    made.engine.execute(f"""insert into Contact by name select p.id as Id, {common}, a.id as AccountId,
        p.country as MailingCountry, m.customer_id as MasterRecordId,
        case when w.lead_id is null then p.born else w.converted_at end as CreatedDate,
        greatest(p.changed, p.born, w.converted_at) as LastModifiedDate
        from customers p join who w on w.contact_id = p.contact_id
        left join who m on m.contact_id = p.merged_into {_JOINS}""")
    made.engine.execute("update Contact set IsDeleted = true where MasterRecordId is not null")


def _load_deals(made: Org) -> None:
    made.numbered("chances", "Opportunity", "select * from in_deals")
    made.engine.execute(f"""insert into Opportunity by name select c.id as Id, a.id as AccountId,
        'Deal ' || c.deal_id as Name, c.stage as StageName, c.amount as Amount,
        coalesce(s.chance, 40.0) as Probability, c.amount * coalesce(s.chance, 40.0) / 100 as ExpectedRevenue,
        cast(coalesce(c.closed_at, c.created_at + interval 90 day) as date) as CloseDate, c.is_closed as IsClosed,
        c.is_won as IsWon, coalesce(s.forecast, 'Pipeline') as ForecastCategory, '{ADMIN_USER}' as OwnerId,
        w.customer_id as ContactId, c.deleted_at is not null as IsDeleted, c.created_at as CreatedDate,
        coalesce(c.updated_at, c.closed_at, c.created_at) as LastModifiedDate
        from chances c left join accounts a on a.company_id = c.company_id left join stages s on s.stage = c.stage
        left join (select deal_id, min(contact_id) as contact_id from in_deal_contacts group by all) d
            on d.deal_id = c.deal_id left join who w on w.contact_id = d.contact_id""")
    made.engine.execute("""update Lead l set ConvertedOpportunityId = o.first from (
        select ContactId, arg_min(Id, CreatedDate) as first from Opportunity
        where ContactId is not null group by all
        ) o where l.IsConverted and o.ContactId = l.ConvertedContactId""")
    made.numbered(
        "roles",
        "OpportunityContactRole",
        "select c.id as deal, w.customer_id as person, d.role, d.is_primary, c.created_at from in_deal_contacts d "
        "join chances c using (deal_id) join who w on w.contact_id = d.contact_id",
    )
    made.engine.execute("""insert into OpportunityContactRole by name select id as Id, deal as OpportunityId,
        person as ContactId, role as Role, is_primary as IsPrimary, created_at as CreatedDate from roles""")
    # A closed deal was open once: the time of its closing stands in the history only, the record has the date.
    made.numbered(
        "steps",
        "OpportunityHistory",
        """select c.id as deal, h.value as stage, h.changed_at as moment, c.amount from in_property_history h
            join chances c on h.object = 'deal' and h.object_id = c.deal_id and h.property = 'dealstage'
        union all select c.id, case when c.is_closed then 'qualifiedtobuy' else c.stage end, c.created_at, c.amount
            from chances c where c.deal_id not in (select object_id from in_property_history where object = 'deal')
        union all select c.id, c.stage, c.closed_at, c.amount from chances c where c.closed_at is not null
            and c.deal_id not in (select object_id from in_property_history where object = 'deal') order by 3""",
    )
    made.engine.execute("""insert into OpportunityHistory by name select p.id as Id, p.deal as OpportunityId,
        p.stage as StageName, p.amount as Amount, coalesce(s.chance, 40.0) as Probability,
        coalesce(s.forecast, 'Pipeline') as ForecastCategory, p.moment as CreatedDate
        from steps p left join stages s on s.stage = p.stage""")


def _finish(made: Org, undated: str) -> None:
    """What every record has: stamps, their authors, and boxes that are ticked or not."""
    for one in made.objects.values():
        boxes = [f"{f.name} = coalesce({f.name}, false)" for f in one.kept() if f.type == "boolean"]
        made.engine.execute(f"""update {one.name} set {", ".join(boxes)},
            CreatedDate = date_trunc('second', coalesce(CreatedDate, {undated})),
            LastModifiedDate = date_trunc('second', coalesce(LastModifiedDate, CreatedDate, {undated})),
            SystemModstamp = date_trunc('second', coalesce(LastModifiedDate, CreatedDate, {undated})),
            CreatedById = '{ADMIN_USER}', LastModifiedById = '{ADMIN_USER}'""")
