"""Canonical events as Salesforce keeps them.

Sent mail is an EmailMessage with its first and last opening; replies are incoming ones. Calls are tasks, meetings
are events, forms are responses to a campaign. Clicks and page views have no standard object: they are completed
tasks, as marketing tools log them.
"""

from connector.sandbox.salesforce.store import Org

_MAIL = """select min(e.event_id) as key, e.contact_id, e.campaign_id, min(e.occurred_at) as moment,
        false as incoming
        from in_events e where e.kind = 'email_sent' group by e.contact_id, e.campaign_id
    union all select e.event_id, e.contact_id, null, e.occurred_at, true
        from in_events e where e.kind = 'email_reply' order by 4, 1"""
_OPENED = """create temp table opened_mail as select contact_id, campaign_id,
        min(occurred_at) filter (kind = 'email_open') as first,
        max(occurred_at) filter (kind = 'email_open') as last,
        bool_or(kind = 'email_bounce') as bounced
    from in_events where kind in ('email_open', 'email_bounce') and coalesce(human, 1) > 0 or kind = 'email_bounce'
    group by all"""
_SUBJECTS = """case e.kind when 'email_click' then 'Clicked: ' || coalesce(e.url, 'link')
    when 'page_view' then 'Visited: ' || coalesce(e.url, 'page') when 'call' then 'Call' else 'Activity' end"""


def fill(made: Org) -> None:
    """Turn `events` and `campaigns` into records. Events of unknown contacts are left out."""
    _campaigns(made)
    _mail(made)
    _tasks(made)
    _meetings(made)
    _responses(made)
    _history(made)


def _campaigns(made: Org) -> None:
    made.numbered(
        "mailings",
        "Campaign",
        "select campaign_id, name, sent_at, cost, 'Email' as type from in_campaigns union all "
        "select distinct 'form:' || coalesce(properties ->> '$.form_id', 'form'), "
        "coalesce(properties ->> '$.form_name', 'Form'), null::timestamp, null::double, 'Web form' from in_events "
        "where kind = 'form_submit'",
    )
    made.engine.execute("""insert into Campaign by name select id as Id, name as Name, type as Type,
        'Completed' as Status, cast(sent_at as date) as StartDate, cost as ActualCost, true as IsActive,
        sent_at as CreatedDate from mailings""")


def _mail(made: Org) -> None:
    made.engine.execute(_OPENED)
    made.numbered(
        "letters", "EmailMessage", f"select m.* from ({_MAIL}) m join who using (contact_id) order by moment"
    )
    made.engine.execute("""insert into EmailMessage by name select m.id as Id, c.id as RelatedToId,
        coalesce(c.name, 'Re:') as Subject, m.incoming as Incoming,
        case when m.incoming then '1' else '3' end as Status, m.moment as MessageDate, not m.incoming as IsTracked,
        case when m.incoming then lower(p.email) else 'news@leadlight-demo.example' end as FromAddress,
        case when m.incoming then 'sales@leadlight-demo.example' else lower(p.email) end as ToAddress,
        o.first is not null as IsOpened, o.first as FirstOpenedDate, o.last as LastOpenedDate,
        coalesce(o.bounced, false) as IsBounced, m.moment as CreatedDate,
        greatest(m.moment, coalesce(o.last, m.moment)) as LastModifiedDate
        from letters m join persons p using (contact_id) left join mailings c using (campaign_id)
        left join opened_mail o on not m.incoming and o.contact_id = m.contact_id
            and o.campaign_id is not distinct from m.campaign_id""")
    made.numbered(
        "addressed", "EmailMessageRelation", "select id as letter, contact_id, incoming, moment from letters"
    )
    made.engine.execute("""insert into EmailMessageRelation by name select r.id as Id, r.letter as EmailMessageId,
        w.person_id as RelationId, case when r.incoming then 'FromAddress' else 'ToAddress' end as RelationType,
        lower(p.email) as RelationAddress, w.kind as RelationObjectType, r.moment as CreatedDate
        from addressed r join who w using (contact_id) join persons p using (contact_id)""")


def _tasks(made: Org) -> None:
    made.numbered(
        "jottings",
        "Task",
        f"select e.*, {_SUBJECTS} as subject, w.person_id from in_events e join who w using (contact_id) "
        "where e.kind in ('call', 'email_click', 'page_view', 'custom') and coalesce(e.human, 1) > 0 "
        "order by occurred_at, event_id",
    )
    made.engine.execute("""insert into Task by name select id as Id, person_id as WhoId, subject as Subject,
        'Completed' as Status, true as IsClosed, cast(occurred_at as date) as ActivityDate,
        occurred_at as CompletedDateTime, case when kind = 'call' then 'Call' else 'Task' end as TaskSubtype,
        properties ->> '$.outcome' as CallDisposition, occurred_at < current_timestamp::timestamp - interval 1 year
            as IsArchived, occurred_at as CreatedDate from jottings""")


def _meetings(made: Org) -> None:
    made.numbered(
        "talks",
        "Event",
        "select e.*, w.person_id from in_events e join who w using (contact_id) where e.kind = 'meeting' "
        "order by occurred_at, event_id",
    )
    made.engine.execute("""insert into Event by name select id as Id, person_id as WhoId, 'Meeting' as Subject,
        cast(occurred_at as date) as ActivityDate, occurred_at as ActivityDateTime, occurred_at as StartDateTime,
        occurred_at + interval 30 minute as EndDateTime, 30 as DurationInMinutes, occurred_at as CreatedDate
        from talks""")


def _responses(made: Org) -> None:
    made.numbered(
        "answers",
        "CampaignMember",
        "select contact_id, 'form:' || coalesce(properties ->> '$.form_id', 'form') as campaign_id, "
        "min(occurred_at) as moment, max(occurred_at) as last from in_events join who using (contact_id) "
        "where in_events.kind = 'form_submit' group by 1, 2 order by 3, 1",
    )
    made.engine.execute("""insert into CampaignMember by name select r.id as Id, c.id as CampaignId,
        w.lead_id as LeadId, w.customer_id as ContactId, 'Responded' as Status, true as HasResponded,
        cast(r.moment as date) as FirstRespondedDate, r.moment as CreatedDate, r.last as LastModifiedDate
        from answers r join who w using (contact_id) join mailings c using (campaign_id)""")


def _history(made: Org) -> None:
    """Changes of tracked fields, conversions and refusals; a field's first value is no change."""
    names = {"jobtitle": "Title", "lead_source": "LeadSource"}
    custom = {one.name.lower() for one in made.objects["lead"].fields.values()}
    for (name,) in made.engine.sql(
        "select distinct property from in_property_history where object = 'contact' order by 1 limit 20"
    ).fetchall():
        if f"{name}__c".lower() in custom:
            names.setdefault(name, f"{name}__c")
    pairs = ", ".join(f"('{theirs}', '{field}')" for theirs, field in names.items())
    for object_name, column in (("LeadHistory", "lead_id"), ("ContactHistory", "customer_id")):
        past = (
            "w.customer_id is null or h.changed_at < w.converted_at"
            if column == "lead_id"
            else "w.lead_id is null or h.changed_at >= w.converted_at"
        )
        made.numbered(
            f"past_{column}",
            object_name,
            f"""select w.{column} as person, f.field, h.old, h.value, h.changed_at from (
                select *, lag(value) over (partition by object_id, property order by changed_at) as old
                from in_property_history where object = 'contact' and changed_at is not null) h
            join (values {pairs}) f(property, field) using (property)
            join who w on w.contact_id = h.object_id where w.{column} is not null and ({past})
            union all select w.{column}, 'HasOptedOutOfEmail', 'false', 'true', c.since from in_consents c
            join who w using (contact_id) where w.{column} is not null and c.purpose = 'marketing'
                and c.status = 'denied' and c.since is not null
            {
                "union all select lead_id, 'Status', 'Working - Contacted', 'Closed - Converted', converted_at "
                "from who where lead_id is not null and customer_id is not null"
                if column == "lead_id"
                else ""
            }
            order by 5, 1""",
        )
        parent = "LeadId" if column == "lead_id" else "ContactId"
        made.engine.execute(f"""insert into {object_name} by name select id as Id, person as {parent},
            field as Field, old as OldValue, value as NewValue, changed_at as CreatedDate from past_{column}""")
