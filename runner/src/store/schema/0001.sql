-- The first tables. They belong to whoever runs `lockstep store init`, who sees all of them.

create table lockstep.store (
    one boolean primary key default true check (one),
    -- Which database this is, wherever it is moved to. The machines' copies go by it.
    id uuid not null default gen_random_uuid(),
    version integer not null
);

create table lockstep.runs (
    -- Each machine has its copy of the run in a folder of this name.
    id text primary key check (id !~ '/' and id not in ('', '.', '..')),
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
    run text not null references lockstep.runs on delete cascade,
    n integer not null,
    line text not null,
    primary key (run, n)
);

create table lockstep.events (
    run text not null references lockstep.runs on delete cascade,
    -- Where in the file they begin.
    start bigint not null,
    content bytea not null,
    primary key (run, start)
);

create table lockstep.files (
    run text not null references lockstep.runs on delete cascade,
    -- Within the folder of the run, and none of the files that each machine writes there itself.
    name text not null check (
        name !~ '(^|/)[.]{0,2}(/|$)'
        and split_part(name, '/', 1) not in ('journal.jsonl', 'events.jsonl', 'lock', 'copy.json')
    ),
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

-- Whether a role sees what has this owner and these labels. What stands here is parsed now: no operator or table of whoever asks
-- takes the place of these. (A column would take a parameter's: none has the name of one.)
create function lockstep.visible(who name, owner text, labels jsonb) returns boolean language sql stable
    return exists (
        select from pg_catalog.pg_roles r where r.rolname = owner and pg_catalog.pg_has_role(who, r.oid, 'member')
    ) or exists (
        select from lockstep.readers s join pg_catalog.pg_roles r on r.rolname = s.role
        where pg_catalog.pg_has_role(who, r.oid, 'member') and (s.label is null or labels ->> s.label = s.value)
    );

-- Whether a rollout's cluster is for a role to work on: the role sees the cluster, or all of the rollout. Beside that it tells
-- nothing of what the role doesn't see.
create function lockstep.entrusted(who name, rollout text, cluster text) returns boolean
    language sql stable security definer
    -- Whoever asks is who is meant: nobody learns what another role may do.
    return pg_catalog.pg_has_role(session_user, who, 'member') and exists (
        select from lockstep.files f join lockstep.runs r on r.id = f.run
        where f.run = rollout and f.name = 'clusters/' || cluster || '.json'
        and (lockstep.visible(who, '', f.labels) or lockstep.visible(who, r.owner, r.labels))
    );

-- The labels that something gets which is written with these: by those alone that the writer was given, others see it.
create function lockstep.given(labels jsonb) returns jsonb language sql stable
    return case
        when not pg_catalog.row_security_active('lockstep.runs') or lockstep.visible(current_user, '', labels) then labels
        else '{}'
    end;

alter table lockstep.runs enable row level security;
alter table lockstep.records enable row level security;
alter table lockstep.events enable row level security;
alter table lockstep.files enable row level security;

create policy seen on lockstep.runs
    using (lockstep.visible(current_user, owner, labels));
create policy given on lockstep.runs as restrictive for insert
    with check (labels = lockstep.given(labels));
-- The runs of a rollout's clusters are ROLLOUT.CLUSTER, or ROLLOUT.CLUSTER+2.
create policy begun on lockstep.runs as restrictive for insert with check (
    position('.' in id) = 0
    or lockstep.entrusted(current_user, split_part(id, '.', 1), substring(id from '^[^.]*[.]([^+]*)'))
);
create policy seen on lockstep.records
    using (exists (select from lockstep.runs r where r.id = run));
create policy seen on lockstep.events
    using (exists (select from lockstep.runs r where r.id = run));
create policy seen on lockstep.files
    using (exists (select from lockstep.runs r where r.id = run));
create policy given on lockstep.files as restrictive
    using (true) with check (labels = lockstep.given(labels));
create policy labeled on lockstep.files for select
    using (lockstep.visible(current_user, '', labels));
-- Whoever begins a cluster's run says why it couldn't be begun.
create policy complained on lockstep.files
    using (lockstep.entrusted(current_user, run, substring(name from '^clusters/(.*)[.](?:log|refused)$')));
-- What was approved counts for the runs of all regions, whoever approved it.
create policy approved on lockstep.files for select
    using (name = 'clusters/plans.approved');
