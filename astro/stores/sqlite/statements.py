"""The statements: what is sent to SQLite, beside the schema that they rely on.

Those that carry a group take the rows of all its operations as one JSON array (`:rows`) and
return the places of the accepted ones. All writing statements name a view of their schema.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCOUNT",
    "ACCOUNTS",
    "ADVANCE",
    "ALLOW",
    "COMMIT",
    "COMMIT_ONE",
    "CREATE",
    "DISALLOW",
    "EXPIRE",
    "FENCE",
    "FENCED",
    "FETCH",
    "FIND",
    "HEAD",
    "INBOX",
    "NEXT_DUE",
    "OWNERS",
    "POST",
    "PUT",
    "READ",
    "RECALL",
    "RELEASE",
    "RENEW",
    "RESERVE",
    "RESERVED",
    "STANDING",
    "TAKE",
    "TENANTS",
    "listing",
]

_COMMITS: Final = """
insert into committing_1
select
    {place}, r.tenant, r.number, r.token, r.seq, {5}, {6}, r.seq + {7}, {8}, {9}, {10}, {11},
    {12}, {13}, {14}, {now}
from {source} runs r
    on r.tenant = {0} and r.id = {1} and r.token = {2} and r.seq = {3} and r.head = {4}
    and r.phase < 3
returning item
"""

COMMIT: Final = _COMMITS.format(
    *(f"j.value ->> {n}" for n in range(15)),
    place="j.key",
    source="json_each(:rows) j cross join",
    now=":now",
)

COMMIT_ONE: Final = _COMMITS.format(
    *("?" for _ in range(15)), place="0", source="(select 1) cross join", now="?"
)
"""The same for one commit, a third cheaper. Its parameters are the cells in the order in which they
stand here: those behind the fence, the time, the fence."""

FENCE: Final = 5
"""How many cells of a commit's row are its fence; they come first."""

HEAD: Final = "select head from runs where tenant = ? and id = ?"

CREATE: Final = """
insert into creation_1
select
    key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
    value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
    coalesce(value ->> 12, :now), value ->> 13, value ->> 14, value ->> 15, value ->> 16,
    value ->> 17, value ->> 18, value ->> 19, :now, 0
from json_each(:rows) where true
returning item
"""

FIND: Final = """
select fingerprint, run from keys where tenant = :tenant and namespace = :namespace and key = :key
union all
select fingerprint, id from runs where tenant = :tenant and id = :id
limit 1
"""

POST: Final = """
insert into posting_1
select j.key, r.number, j.value ->> 2, j.value ->> 3, :now
from json_each(:rows) j cross join runs r on r.tenant = j.value ->> 0 and r.id = j.value ->> 1
where r.phase < 3 and (j.value ->> 4 is null or j.value ->> 4 >= :now)
returning item
"""

STANDING: Final = "select phase, state from runs where tenant = ? and id = ?"

RELEASE: Final = """
insert into releasing_1
select
    r.number,
    case
        when exists (select 1 from inbox where run = r.number and read = 0) then :now
        else j.value ->> 3
    end,
    :now
from json_each(:rows) j cross join runs r
    on r.tenant = j.value ->> 0 and r.id = j.value ->> 1 and r.token = j.value ->> 2
where r.owner is not null
"""

_LEASE: Final = "tenant, id, task, token, seq, head, priority, failures"

RENEW: Final = f"""
update runs set until = :until, phase = 2
where owner = :owner and exists (select 1 from schema_1)
returning {_LEASE}
"""

# Jumps from owner to owner in the index of leases.
OWNERS: Final = """
with recursive found (owner) as (
    select min(owner) from runs where owner is not null
    union all
    select (select min(owner) from runs where owner > found.owner)
    from found where found.owner is not null
)
select owner from found where owner is not null
"""

EXPIRE: Final = """
update runs set until = min(until, :now)
where owner = :owner and phase = 2 and exists (select 1 from schema_1)
"""

ADVANCE: Final = "insert into advancing_1 values (:now)"

# Tenants take turns: the first run of each tenant behind the last one that was served, then of
# those before it, then the second run of each, and so on. `turns` finds tenants with claimable
# runs of each offered task by jumping from one to the next in the index, so what it costs depends
# on what it finds and not on how much waits.
TAKE: Final = f"""
with recursive
offered (task) as materialized (select value from json_each(:offers)),
turns (task, lap, tenant, found) as (
    select offered.task, laps.lap, (
        select min(tenant) from runs where phase = 1 and task = offered.task
        and tenant >= case laps.lap when 0 then :last else '' end
        and (laps.lap = 1 or tenant > :last)
    ), 1
    from offered cross join (select 0 as lap union all select 1) laps
    union all
    select task, lap, (
        select min(tenant) from runs
        where phase = 1 and task = turns.task and tenant > turns.tenant
    ), found + 1
    from turns where tenant is not null and found < :limit
),
places as (
    select
        r.number, r.tenant, r.tenant <= :last as lap,
        row_number() over (partition by r.tenant order by r.priority desc, r.number) as place
    from (select distinct task, tenant from turns where tenant is not null) t
    cross join runs r on r.number in (
        select number from runs where phase = 1 and task = t.task and tenant = t.tenant
        and owner is not :owner and (needs is null or not exists (
            select 1 from json_each(iif(json_valid(runs.needs), runs.needs, '{{}}')) lacks
            where lacks.key in ('agent', 'task')
            and case lacks.key when 'agent' then 'agent:' else '' end || lacks.value
                not in (select value from json_each(:offers))
        ))
        order by priority desc, number limit :limit
    )
)
update runs set
    phase = 2, owner = :owner, until = :until, token = token + 1,
    failures = failures + (owner is not null), lost = owner is not null
where exists (select 1 from schema_1) and number in (
    select number from places order by place, lap, tenant limit :limit
)
returning {_LEASE}, number, case when seq = 1 then (
    select body from entries where place = (runs.number << 28) + 1
) end, lost
"""

INBOX: Final = """
select i.number, r.tenant, r.id, i.at, i.body
from inbox i cross join runs r on r.number = i.run
where i.read = 0 and r.owner = ? order by i.number
"""

READ: Final = """
select e.place & 268435455, e.body, e.hash, e.token
from runs r left join entries e
    on e.place > (r.number << 28) + ? and e.place < (r.number + 1) << 28
where r.tenant = ? and r.id = ? order by e.place limit ?
"""

# Jumps from tenant to tenant in the index of unfinished runs.
TENANTS: Final = """
with recursive found (tenant) as (
    select min(tenant) from runs where phase < 3
    union all
    select (select min(tenant) from runs where phase < 3 and tenant > found.tenant)
    from found where found.tenant is not null
)
select tenant from found where tenant is not null
"""

RECALL: Final = "select result from results where tenant = ? and key = ? and until > ?"

NEXT_DUE: Final = """
select min(moment) from (
    select min(wake_at) as moment from runs where phase = 0 and wake_at > :after
    union all
    select min(until) from runs where phase = 2 and until > :after
)
"""

ALLOW: Final = """
insert into accounts (tenant, money, tokens, calls)
select :tenant, :money, :tokens, :calls where exists (select 1 from schema_1)
on conflict (tenant) do update set
    money = excluded.money, tokens = excluded.tokens, calls = excluded.calls,
    used_money = 0, used_tokens = 0, used_calls = 0
"""

DISALLOW: Final = "delete from accounts where tenant = :tenant and exists (select 1 from schema_1)"

ACCOUNTS: Final = """
select tenant, money, tokens, calls, used_money, used_tokens, used_calls from accounts
"""

ACCOUNT: Final = """
select
    a.tenant, a.money, a.tokens, a.calls, a.used_money, a.used_tokens, a.used_calls,
    coalesce(sum(r.money), 0.0), coalesce(sum(r.tokens), 0), coalesce(sum(r.calls), 0)
from accounts a left join reservations r on r.tenant = a.tenant
where a.tenant = :tenant group by a.tenant
"""

RESERVED: Final = """
select coalesce(sum(money), 0.0), coalesce(sum(tokens), 0), coalesce(sum(calls), 0)
from reservations where tenant = :tenant and not (run = :run and name = :name)
"""

FENCED: Final = "select number from runs where tenant = ? and id = ? and token = ? and phase < 3"

RESERVE: Final = """
insert or replace into reservations (run, name, token, tenant, money, tokens, calls)
select :run, :name, :token, :tenant, :money, :tokens, :calls where exists (select 1 from schema_1)
"""

PUT: Final = """
insert into blobs (tenant, hash, touched, content)
select ?, ?, ?, ? where exists (select 1 from schema_1)
on conflict (tenant, hash) do update set touched = excluded.touched
"""

FETCH: Final = "select content from blobs where tenant = ? and hash = ?"


def listing(conditions: list[str]) -> str:
    """Return the statement that lists runs, newest first.

    Args:
        conditions: SQL of this module's users, never of theirs.
    """
    return (
        "select number, id, task, state, created_at, updated_at, key, priority, deadline, "
        "wake_at, parent, source, seq, owner, until, needs from runs where "
        + " and ".join(conditions)
        + " order by number desc limit ?"
    )
