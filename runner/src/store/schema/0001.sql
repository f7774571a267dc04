-- The first tables. They belong to whoever runs `lockstep store init`, who sees all of them.

create table lockstep.store (
    one boolean primary key default true check (one),
    -- Which database this is, wherever it is moved to. The machines' copies go by it.
    id uuid not null default gen_random_uuid(),
    version integer not null
);

create table lockstep.runs (
    id text primary key,
    -- Its advisory lock.
    number integer generated always as identity unique,
    -- The labels of its cluster.
    labels jsonb not null default '{}',
    -- Who began it.
    owner text not null default current_user,
    -- How often it was taken up. Who has another number has it no more.
    sitting bigint not null default 0,
    -- Who took it up last: process and machine.
    holder text not null default '',
    -- How many lines its journal has, and how many bytes.
    records integer not null default 0,
    bytes bigint not null default 0,
    written timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table lockstep.records (
    run text not null references lockstep.runs,
    n integer not null,
    line text not null,
    primary key (run, n)
);

create table lockstep.events (
    run text not null references lockstep.runs,
    -- Where in the file they begin.
    start bigint not null,
    content bytea not null,
    primary key (run, start)
);

create table lockstep.files (
    run text not null references lockstep.runs,
    name text not null,
    version bigint not null default 1,
    executable boolean not null default false,
    -- Of a cluster's file in its rollout: the cluster's labels.
    labels jsonb not null default '{}',
    content bytea not null,
    primary key (run, name)
);

-- Which role sees the runs of which clusters beside those that it began: all of them where the label is null.
create table lockstep.readers (
    role text not null,
    label text,
    value text
);

create function lockstep.visible(owner text, labels jsonb) returns boolean language sql stable as $$
    select exists (
        select from pg_catalog.pg_roles r where r.rolname = owner and pg_catalog.pg_has_role(r.oid, 'member')
    ) or exists (
        select from lockstep.readers s join pg_catalog.pg_roles r on r.rolname = s.role
        where pg_catalog.pg_has_role(r.oid, 'member') and (s.label is null or labels ->> s.label = s.value)
    )
$$;

alter table lockstep.runs enable row level security;
alter table lockstep.records enable row level security;
alter table lockstep.events enable row level security;
alter table lockstep.files enable row level security;

create policy seen on lockstep.runs
    using (lockstep.visible(owner, labels));
create policy seen on lockstep.records
    using (exists (select from lockstep.runs r where r.id = run));
create policy seen on lockstep.events
    using (exists (select from lockstep.runs r where r.id = run));
create policy seen on lockstep.files
    using (exists (select from lockstep.runs r where r.id = run) or lockstep.visible('', labels));
-- What was approved counts for the runs of all regions, whoever approved it.
create policy approved on lockstep.files for select
    using (name = 'clusters/plans.approved');
