"""Which opens and clicks machines made: link scanners of mail gateways, and proxies that fetch pictures.

Neither the time since delivery nor a burst of clicks tells alone: a fifth of gateway bursts come hours later, and
people click two links in a row. What tells is both together with what the same gateway and the same mailbox did
with other mails: a recipient domain where most mails get a burst has a scanner, and a mailbox that opens nearly
every mail within minutes has a privacy proxy. A proxy fetches a mail once, so that a later open is a person's.

The evidence is added up as log-odds. Rates are held towards "no machine" where few mails are known. They are taken
over all mails, since a gateway is a fact about a mailbox and says nothing about an outcome.
"""

from scoring.engine import Engine

#: A mail's links clicked within so many seconds of each other are one burst.
BURST_SECONDS = 20
#: From so many clicks a burst is a scanner's; below, two clicks in a row are only unusual.
BURST_CLICKS = 3
#: An open so soon after delivery may be a proxy's.
_EARLY_SECONDS = 600
#: Few people have a mail open so soon after delivery.
_AT_ONCE_SECONDS = 30
#: Below this probability an event is left as it is.
LEAST = 0.05


def suspicions(engine: Engine, into: str = "machine_made") -> str:
    """Make the temporary table `into`: event_id, contact_id, machine (0-1, the probability that a machine did it),
    for opens and clicks of known mails (`campaign_id`) at or above `LEAST`. `human` of events is not looked at.
    Returns `into`."""
    engine.run(f"create or replace temp table {into} as {_MACHINES}")
    return into


_MACHINES = f"""
with mails as (
  select contact_id, campaign_id, min(occurred_at) as delivered_at from events
  where kind = 'email_delivered' and campaign_id is not null group by contact_id, campaign_id
), answers as (
  select e.event_id, e.contact_id, e.campaign_id, e.kind, e.occurred_at,
    secs_between(timestamp '1970-01-01 00:00:00', e.occurred_at) as second,
    secs_between(m.delivered_at, e.occurred_at) as since
  from events e left join mails m on e.contact_id = m.contact_id and e.campaign_id = m.campaign_id
  where e.kind in ('email_open', 'email_click') and e.contact_id is not null and e.campaign_id is not null
), timed as (
  select *, coalesce(sum(case when kind = 'email_click' then 1 else 0 end) over (
      partition by contact_id, campaign_id order by second
      range between {BURST_SECONDS} preceding and {BURST_SECONDS} following), 0) as clicks,
    row_number() over (partition by contact_id, campaign_id, kind order by second, event_id) as place
  from answers
), by_mail as (
  select contact_id, campaign_id, max(case when clicks >= {BURST_CLICKS} then 1 else 0 end) as burst,
    max(case when kind = 'email_open' and clicks < {BURST_CLICKS} and since <= {_EARLY_SECONDS}
      then 1 else 0 end) as early
  from timed group by contact_id, campaign_id
), mailboxes as (
  select contact_id, lower(split_part(email, '@', 2)) as domain from contacts
), outcomes as (
  select m.contact_id, b.domain, coalesce(o.burst, 0) as burst, coalesce(o.early, 0) as early
  from mails m left join by_mail o on m.contact_id = o.contact_id and m.campaign_id = o.campaign_id
    left join mailboxes b on m.contact_id = b.contact_id
), domains as (
  select domain, safe_div(sum(burst), count(*) + 4) as rate from outcomes
  where domain is not null and domain <> '' group by domain
), people as (
  select contact_id, safe_div(sum(early) + 1, count(*) + 4) as rate from outcomes group by contact_id
), weighed as (
  select t.event_id, t.contact_id,
    case when t.clicks >= 2 or (t.kind = 'email_click' and t.since <= 60)
      then case when t.clicks > {BURST_CLICKS} then 6.5e0 when t.clicks = {BURST_CLICKS} then 4.0e0
             when t.clicks = 2 then 1.0e0 else 0.0e0 end
           + case when t.since <= 60 then 1.0e0 else 0.0e0 end + 6.0e0 * coalesce(d.rate, 0.0e0) - 4.0e0
      else -6.0e0 end as scanner,
    case when t.kind <> 'email_open' or t.clicks >= {BURST_CLICKS} then -6.0e0
      when t.place > 1 or t.since is null then -4.0e0
      when t.since <= {_EARLY_SECONDS} then least(12.0e0 * (coalesce(p.rate, 0.0e0) - 0.45e0),
          1.5e0 + 2.4e0 * (coalesce(p.rate, 0.0e0) - 0.575e0))
        + case when t.since <= {_AT_ONCE_SECONDS} then 2.5e0 else 0.0e0 end
      else 8.0e0 * (coalesce(p.rate, 0.0e0) - 0.7e0) end as proxy
  from timed t left join mailboxes b on t.contact_id = b.contact_id
    left join domains d on b.domain = d.domain left join people p on t.contact_id = p.contact_id
), chances as (
  select event_id, contact_id,
    1.0e0 - (1.0e0 - safe_div(1.0e0, 1.0e0 + exp(-scanner))) * (1.0e0 - safe_div(1.0e0, 1.0e0 + exp(-proxy)))
      as machine
  from weighed
)
select event_id, contact_id, machine from chances where machine >= {LEAST}e0"""
