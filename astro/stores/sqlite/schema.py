"""The schema: tables, and the views through which whole groups of operations are written.

A view carries many operations in one statement: its trigger applies one row. Views bear the
number of the schema, so that a statement of an older ASTRO finds no view in a file that a newer
one has migrated, and is refused without any check of its own.

A run's `phase` says how it stands to its owners: 0 rests until `wake_at` or a message, 1 is
claimable, 2 is held under a lease, 3 has ended. Indices that only hold some phases, none of which
a commit changes, cost a commit nothing and stay small beside millions of ended runs. Moments are
microseconds since 1970. An entry's `place` is its run's number, shifted by 28 bits, plus its
sequence number: rows of that size are cheapest in a table whose key is one integer.
"""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION", "MIGRATIONS", "VERSION", "script"]

VERSION: Final = 1
"""The newest schema."""

APPLICATION: Final = 0x41535452
"""Marks a file as ASTRO's, in SQLite's header."""

_TABLES: Final = """
create table runs (
    number integer primary key,
    tenant text not null,
    id text not null,
    task text not null,
    fingerprint text not null,
    key text,
    namespace text not null,
    priority integer not null,
    deadline integer,
    parent text,
    source text,
    family integer not null,
    created_at integer not null,
    updated_at integer not null,
    state text not null,
    needs text,
    phase integer not null check (phase between 0 and 3),
    wake_at integer,
    owner text,
    until integer,
    token integer not null default 0,
    seq integer not null,
    head text not null,
    failures integer not null default 0,
    lost integer not null default 0
) strict;
create unique index runs_by_id on runs (tenant, id);
create index runs_by_tenant on runs (tenant, number);
create index runs_by_parent on runs (tenant, parent, number) where parent is not null;
create index runs_by_family on runs (family);
create index runs_unfinished on runs (tenant, number) where phase < 3;
create index runs_troubled on runs (tenant, number) where state in ('failed', 'cancelled');
create index runs_resting on runs (wake_at) where phase = 0;
create index runs_ready on runs (task, tenant, priority desc, number) where phase = 1;
create index runs_held on runs (until) where phase = 2;
create index runs_ended on runs (updated_at) where phase = 3;
create index runs_owned on runs (owner) where owner is not null;

create table entries (
    place integer primary key,
    token integer not null,
    hash text not null,
    body text not null
) strict;

create table keys (
    tenant text not null,
    namespace text not null,
    key text not null,
    fingerprint text not null,
    run text not null,
    primary key (tenant, namespace, key)
) strict, without rowid;

create table inbox (
    number integer primary key autoincrement,
    run integer not null,
    at integer not null,
    once text,
    read integer not null default 0,
    body text not null
) strict;
create index inbox_by_run on inbox (run, read);
create index inbox_unread on inbox (number) where read = 0;
create unique index inbox_once on inbox (run, once) where once is not null;

create table results (
    tenant text not null,
    key text not null,
    result text not null,
    until integer not null,
    primary key (tenant, key)
) strict, without rowid;

create table blobs (
    number integer primary key,
    tenant text not null,
    hash text not null,
    touched integer not null,
    content blob not null,
    unique (tenant, hash)
) strict;
create index blobs_by_age on blobs (touched);

create table blob_refs (
    tenant text not null,
    hash text not null,
    run integer not null,
    primary key (tenant, hash, run)
) strict, without rowid;
create index blob_refs_by_run on blob_refs (run);

create table accounts (
    tenant text primary key,
    money real,
    tokens integer,
    calls integer,
    used_money real not null default 0,
    used_tokens integer not null default 0,
    used_calls integer not null default 0
) strict, without rowid;

create table reservations (
    run integer not null,
    name text not null,
    token integer not null,
    tenant text not null,
    money real not null,
    tokens integer not null,
    calls integer not null,
    primary key (run, name)
) strict, without rowid;
create index reservations_by_tenant on reservations (tenant);
"""


def _rows(name: str, width: int) -> str:
    """Return the query that gives the rows of a flat array, as columns c0, c1 ..."""
    columns = "".join(f", lead(value, {n}) over (order by key) as c{n}" for n in range(1, width))
    return (
        f"select * from (select key as place, value as c0{columns} "
        f"from json_each(new.extras, '$.{name}')) where place % {width} = 0"
    )


# A direct statement mentions this view; see the module's docstring.
_SCHEMA: Final = "create view schema_1 as select 1;"

# Triggers use no JSON function but json_each: SQLite regards the others as unsafe in a schema that
# is not trusted. So an array of entries travels as an array of bodies, and hashes and tokens as
# strings of fixed width.
_CREATION: Final = """
create view creation_1 as select
    0 item, '' tenant, '' id, '' task, '' fingerprint, '' key, '' namespace, 0 priority,
    0 deadline, '' parent, '' source, '' state, 0 ended, 0 wake_at, 0 created_at, 0 seq,
    '' head, '' bodies, '' hashes, '' tokens, '' refs, 0 now, 0 inside
where 0;
create trigger creation_1_insert instead of insert on creation_1 begin
    -- Inside a commit, a run that exists already is as good as created, but not another one.
    select raise(abort, 'astro: key conflict') where new.inside and (
        exists (
            select 1 from keys where tenant = new.tenant and namespace = new.namespace
            and key = new.key and (fingerprint <> new.fingerprint or run <> new.id)
        ) or exists (
            select 1 from runs where tenant = new.tenant and id = new.id
            and fingerprint <> new.fingerprint and not exists (
                select 1 from keys
                where tenant = new.tenant and namespace = new.namespace and key = new.key
            )
        )
    );
    select raise(ignore) where exists (
        select 1 from keys
        where tenant = new.tenant and namespace = new.namespace and key = new.key
    ) or exists (select 1 from runs where tenant = new.tenant and id = new.id);
    insert into runs (
        number, tenant, id, task, fingerprint, key, namespace, priority, deadline, parent, source,
        family, created_at, updated_at, state, phase, wake_at, seq, head
    )
    select
        next.number, new.tenant, new.id, new.task, new.fingerprint, new.key, new.namespace,
        new.priority, new.deadline, new.parent, new.source,
        coalesce(
            (select family from runs where tenant = new.tenant and id = new.source),
            (select family from runs where tenant = new.tenant and id = new.parent),
            next.number
        ),
        new.created_at, new.now, new.state,
        case when new.ended then 3 when new.wake_at <= new.now then 1 else 0 end,
        case when new.ended then null else new.wake_at end,
        new.seq, new.head
    from (select coalesce(max(number), 0) + 1 as number from runs) next;
    insert into keys select new.tenant, new.namespace, new.key, new.fingerprint, new.id
        where new.key is not null;
    insert into entries (place, token, hash, body)
        select
            (r.number << 28) + e.key + 1, cast(substr(new.tokens, e.key * 20 + 1, 20) as integer),
            substr(new.hashes, e.key * 32 + 1, 32), e.value
        from runs r cross join json_each(new.bodies) e
        where r.tenant = new.tenant and r.id = new.id;
    insert or ignore into blob_refs
        select new.tenant, b.value, r.number from runs r cross join json_each(new.refs) b
        where new.refs is not null and r.tenant = new.tenant and r.id = new.id;
end;
"""

_POSTING: Final = """
create view posting_1 as select 0 item, 0 run, '' once, '' body, 0 now where 0;
create trigger posting_1_insert instead of insert on posting_1 begin
    select raise(ignore) where new.once is not null and exists (
        select 1 from inbox where run = new.run and once = new.once
    );
    insert into inbox (run, at, once, body) values (new.run, new.now, new.once, new.body);
    update runs set phase = 1, wake_at = new.now where number = new.run and phase = 0;
end;
"""

# The fence has been checked by the select that feeds the view, which SQLite evaluates as a whole
# before the first row reaches the trigger; a group holds at most one commit of a run.
_COMMITTING: Final = """
create view committing_1 as select
    0 item, '' tenant, 0 run, 0 token, 0 after, '' bodies, '' hashes, 0 seq, '' head, '' state,
    0 wake_at, 0 ended, '' needs, '' extras, 0 proves, 0 now
where 0;
create trigger committing_1_insert instead of insert on committing_1 begin
    insert into entries (place, token, hash, body)
        select
            (new.run << 28) + new.after + key + 1, new.token,
            substr(new.hashes, key * 32 + 1, 32), value
        from json_each(new.bodies);
    update runs set
        seq = new.seq, head = new.head, state = new.state, wake_at = new.wake_at,
        needs = new.needs, updated_at = new.now,
        failures = case when new.proves then 0 else failures end
    where number = new.run;
    update runs set owner = null, until = null, wake_at = null, phase = 3
        where new.ended and number = new.run;
    update inbox set read = 1 where new.ended and run = new.run and read = 0;
    delete from inbox where new.ended and run = new.run and read = 1 and once is null;
    delete from reservations where new.ended and run = new.run;
end;
"""

# What few commits carry. Lists of rows are flat arrays, put back into rows by lead().
_EXTRAS: Final = f"""
create trigger committing_1_extras instead of insert on committing_1
when new.extras is not null begin
    update inbox set read = 1
        where run = new.run and number in (select value from json_each(new.extras, '$.consumed'));
    delete from inbox where run = new.run and read = 1 and once is null;
    insert into creation_1
        select
            0, new.tenant, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, coalesce(c11, new.now),
            c12, c13, c14, c15, c16, c17, c18, new.now, 1
        from ({_rows("create", 19)});
    insert into posting_1
        select 0, r.number, m.c1, m.c2, new.now
        from ({_rows("outgoing", 4)}) m
        cross join runs r on r.tenant = new.tenant and r.id = m.c0
        where r.phase < 3 and (m.c3 is null or m.c3 >= new.now);
    insert or replace into results
        select new.tenant, c0, c1, c2 from ({_rows("remember", 3)});
    insert or ignore into blob_refs
        select new.tenant, value, new.run from json_each(new.extras, '$.refs');
    update accounts set
        used_money = used_money + u.c0, used_tokens = used_tokens + u.c1,
        used_calls = used_calls + u.c2
    from ({_rows("used", 3)}) u where tenant = new.tenant;
    delete from reservations where run = new.run
        and exists (select 1 from json_each(new.extras, '$.reserved'))
        and name not in (select value from json_each(new.extras, '$.reserved'));
end;
"""

_RELEASING: Final = """
create view releasing_1 as select 0 run, 0 wake_at, 0 now where 0;
create trigger releasing_1_insert instead of insert on releasing_1 begin
    update runs set
        owner = null, until = null, wake_at = new.wake_at,
        phase = case when new.wake_at <= new.now then 1 else 0 end
    where number = new.run;
end;
"""

# A lease that ran out keeps its owner, who may renew it until somebody else takes the run.
_ADVANCING: Final = """
create view advancing_1 as select 0 now where 0;
create trigger advancing_1_insert instead of insert on advancing_1 begin
    update runs set
        phase = 0,
        wake_at = case
            when exists (select 1 from inbox where run = runs.number and read = 0) then new.now
            else wake_at
        end
    where phase = 2 and until <= new.now;
    update runs set phase = 1 where phase = 0 and wake_at <= new.now;
end;
"""

MIGRATIONS: Final = (
    "".join((_TABLES, _SCHEMA, _CREATION, _POSTING, _COMMITTING, _EXTRAS, _RELEASING, _ADVANCING)),
)
"""What makes schema n + 1 out of schema n; the first makes schema 1 out of an empty file."""


def script(version: int) -> str:
    """Return what brings a file from a schema to the newest one, in one transaction."""
    steps = "".join(MIGRATIONS[version:])
    return (
        f"begin immediate;\n{steps}\npragma application_id = {APPLICATION};\n"
        f"pragma user_version = {VERSION};\ncommit;"
    )
