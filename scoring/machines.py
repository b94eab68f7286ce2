"""Which opens and clicks machines made: link scanners of mail gateways, and proxies that fetch pictures.

No single sign tells. A fifth of gateway scans come hours after delivery, some gateways try one link only, people
open several links in a row, and whoever sits in the inbox opens a mail within seconds as a proxy does. What tells
is all of it together with what the same gateway and the same mailbox did with *other* mails:

- **A scan** is a run of clicks in one mail. Signs are how soon after the open the first click came (nobody reads a
  mail in four seconds), how many clicks there are and how close together, how soon after delivery they came, and
  how many other mails of that recipient domain were scanned.
- **A proxy** fetches the pictures of nearly every mail of a mailbox, once a mail, mostly within minutes. How many
  of the mailbox's other mails were opened so soon says whether there is one; if so, each open of a mail competes
  with the others, and with "the proxy missed this mail", for being the proxy's.

The evidence is added up as log-odds, by constants that are rounded on purpose: they stand for what such machines
do, not for one account. Rates are held towards "no machine" where few mails are known. They are taken over all
mails, also later ones, since a gateway is a fact about a mailbox and says nothing about an outcome.
"""

from scoring.engine import Engine

#: A click of the same mail within so many seconds of the one before belongs to the same run.
BURST_SECONDS = 10
#: Nobody reads a mail and clicks within so many seconds of opening it.
_READ_SECONDS = 4
#: Clicks on average so many seconds apart, or less, are faster than hands open links one by one.
_PACE_SECONDS = 3
#: A scan before delivery into the inbox is over so many seconds after it.
_SCAN_SECONDS = 60
#: Evidence of the run itself (log-odds) from which a mail counts as scanned in its domain's history.
_SCANNED = 2
#: Of a domain that nothing is known of, this share of its mails is thought scanned, as if seen on so many mails.
_DOMAIN_MAILS, _DOMAIN_SHARE = 4, 0.02
#: A run of clicks is by itself a little more likely a scan than the share says, since most mails get none. Much
#: less than the full weight of that is given: a person's click lost costs more than a scan let through.
_CLICKED = 0.6
#: Below this probability an event is left as it is.
LEAST = 0.05


def suspicions(engine: Engine, into: str = "machine_made") -> str:
    """Make the temporary table `into`: event_id, contact_id, machine (0-1, the probability that a machine did it),
    for opens and clicks of known mails (`campaign_id`) at or above `LEAST`, to six places, since how many cores
    added it up shows in the sixteenth. `human` of events is not looked at. Returns `into`."""
    engine.run(f"create or replace temp table {into} as {_MACHINES}")
    return into


#: By a proxy's and by a person's delays: log-odds that an open so many seconds after delivery is the proxy's,
#: given that a proxy fetches nine mails in ten and people open one in four.
_OPEN_ODDS = """case when since <= 10 then 4.2e0 when since <= 30 then 5.0e0 when since <= 120 then 5.1e0
    when since <= 300 then 4.1e0 when since <= 600 then 2.1e0 when since <= 3600 then 1.1e0
    when since <= 43200 then 1.9e0 else -3.0e0 end"""

#: What a mail says of its mailbox: opened at once, soon, or neither.
_MAILBOX_EVIDENCE = "case when soonest <= 120 then 1.4e0 when soonest <= 300 then 0.5e0 else -1.1e0 end"

_EVIDENCE = f"""case when read_in is null then 0.0e0 when read_in <= {_READ_SECONDS} then 3.0e0
      when read_in <= 10 then -1.0e0 else -3.5e0 end
    + case when size = 1 then -2.0e0
        when safe_div(span, size - 1) <= {_PACE_SECONDS}
          then case when size = 2 then 0.0e0 when size = 3 then 2.0e0 else 5.0e0 end
        when size = 2 then -3.0e0 when size = 3 then -1.0e0 else 0.0e0 end
    + case when since is null then 0.0e0 when since <= {_SCAN_SECONDS} then 2.5e0 else -1.0e0 end"""

_MACHINES = f"""
with mails as (
  select contact_id, campaign_id, min(occurred_at) as delivered_at from events
  where kind = 'email_delivered' and campaign_id is not null group by contact_id, campaign_id
), answers as (
  select e.event_id, e.contact_id, e.campaign_id, case when e.kind = 'email_click' then 1 else 0 end as click,
    secs_between(timestamp '1970-01-01 00:00:00', e.occurred_at) as second,
    secs_between(m.delivered_at, e.occurred_at) as since
  from events e left join mails m on e.contact_id = m.contact_id and e.campaign_id = m.campaign_id
  where e.kind in ('email_open', 'email_click') and e.contact_id is not null and e.campaign_id is not null
), placed as (
  select *,
    max(case when click = 1 then second end) over (partition by contact_id, campaign_id
      order by second, click, event_id rows between unbounded preceding and 1 preceding) as click_before,
    min(case when click = 1 then second end) over (partition by contact_id, campaign_id
      order by second, click, event_id rows between 1 following and unbounded following) as click_after,
    max(case when click = 0 then second end) over (partition by contact_id, campaign_id
      order by second, click, event_id rows between unbounded preceding and 1 preceding) as opened
  from answers
), begun as (
  select *, sum(case when click = 1 and (click_before is null or second - click_before > {BURST_SECONDS})
      then 1 else 0 end) over (partition by contact_id, campaign_id
      order by second, click, event_id rows between unbounded preceding and current row) as runs
  from placed
), joined as (
  select *, case when click = 1 then runs
      when click_after - second <= {_READ_SECONDS}
        then runs + case when click_before is null or click_after - click_before > {BURST_SECONDS}
          then 1 else 0 end
      when second - click_before <= {_READ_SECONDS} then runs else 0 end as run
  from begun
), chains as (
  select contact_id, campaign_id, run, count(*) as size, max(second) - min(second) as span,
    min(since) as since, min(second) - min(opened) as read_in
  from joined where click = 1 group by contact_id, campaign_id, run
), evident as (
  select *, {_EVIDENCE} as evidence from chains
), scanned as (
  select contact_id, campaign_id, max(evidence) as most,
    max(case when evidence >= {_SCANNED} then 1 else 0 end) as hit,
    max(case when evidence >= {_SCANNED} then size end) as links
  from evident group by contact_id, campaign_id
), mailboxes as (
  select contact_id, nullif(lower(split_part(email, '@', 2)), '') as domain from contacts
), domains as (
  select b.domain, sum(coalesce(s.hit, 0)) as hits, count(*) as mails,
    safe_div(sum(s.links), sum(s.hit)) as links
  from mails m join mailboxes b on m.contact_id = b.contact_id
    left join scanned s on m.contact_id = s.contact_id and m.campaign_id = s.campaign_id
  where b.domain is not null group by b.domain
), shares as (
  select e.*, s.most, d.links, safe_div(
      greatest(coalesce(d.hits, 0) - s.hit, 0) + {_DOMAIN_MAILS} * {_DOMAIN_SHARE}e0,
      greatest(coalesce(d.mails, 0) - 1, 0) + {_DOMAIN_MAILS}) as share
  from evident e join scanned s on e.contact_id = s.contact_id and e.campaign_id = s.campaign_id
    left join mailboxes b on e.contact_id = b.contact_id left join domains d on b.domain = d.domain
), scans as (
  select contact_id, campaign_id, run,
    safe_div(1.0e0, 1.0e0 + exp(-(evidence + {_CLICKED}e0
      - case when evidence < most - 3.0e0 then 2.0e0 else 0.0e0 end
      - case when 2 * size < links then 3.0e0 else 0.0e0 end + ln(safe_div(share, 1.0e0 - share))))) as scan
  from shares
), told as (
  select j.*, coalesce(s.scan, 0.0e0) as scan
  from joined j left join scans s
    on j.contact_id = s.contact_id and j.campaign_id = s.campaign_id and j.run = s.run
), firsts as (
  select contact_id, campaign_id, min(since) as soonest from told
  where click = 0 and scan < 0.5e0 and since is not null group by contact_id, campaign_id
), habits as (
  select m.contact_id, m.campaign_id, {_MAILBOX_EVIDENCE} as evidence
  from mails m left join firsts f on m.contact_id = f.contact_id and m.campaign_id = f.campaign_id
), people as (
  select contact_id, campaign_id, sum(evidence) over (partition by contact_id) - evidence - 1.0e0 as others
  from habits
), fetches as (
  select event_id,
    safe_div(exp(odds), 1.0e0 + sum(exp(odds)) over (partition by contact_id, campaign_id)) as fetched
  from (select event_id, contact_id, campaign_id, {_OPEN_ODDS} as odds from told
        where click = 0 and scan < 0.5e0 and since is not null) o
), chances as (
  select t.event_id, t.contact_id, 1.0e0 - (1.0e0 - t.scan) * (1.0e0 - coalesce(f.fetched, 0.0e0)
      * safe_div(1.0e0, 1.0e0 + exp(-greatest(-20.0e0, least(20.0e0, coalesce(p.others, -20.0e0)))))) as machine
  from told t left join fetches f on t.event_id = f.event_id
    left join people p on t.contact_id = p.contact_id and t.campaign_id = p.campaign_id
)
select event_id, contact_id, round(machine, 6) as machine from chances where machine >= {LEAST}e0"""
