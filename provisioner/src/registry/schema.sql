-- SPDX-License-Identifier: Apache-2.0
-- What survives the server. Times are Unix milliseconds; documents are JSON of the types in provisioner/api.

CREATE TABLE nodes (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    state          TEXT NOT NULL,              -- lifecycle::State
    since          INTEGER NOT NULL,           -- when it came into that state
    created        INTEGER NOT NULL,
    note           TEXT NOT NULL,              -- what a person should know beside the state
    life           TEXT,                       -- which of its lives registered last
    ram_boot       TEXT,                       -- boot id of its last start in RAM,
    ram_seen       INTEGER NOT NULL,           -- and the last event heard of it
    installed_boot TEXT,                       -- the same for its last start from disk
    installed_seen INTEGER NOT NULL,
    ram_key        TEXT,                       -- key of its last start in RAM
    written_key    TEXT,                       -- key of the RAM life that wrote the disk
    home_key       TEXT,                       -- key of the installed system that came home
    installs       INTEGER NOT NULL            -- how often it became ready by an installation
) STRICT, WITHOUT ROWID;

-- Large and seldom read, so apart from the rows that change at every step.
CREATE TABLE inventories (node TEXT PRIMARY KEY REFERENCES nodes ON DELETE CASCADE, body TEXT NOT NULL) STRICT;
CREATE TABLE reports (node TEXT PRIMARY KEY REFERENCES nodes ON DELETE CASCADE, body TEXT NOT NULL) STRICT;

-- Private keys: never in a list, never in a log.
CREATE TABLE capsules (
    node TEXT PRIMARY KEY REFERENCES nodes ON DELETE CASCADE,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    node   TEXT,                               -- no reference: what happened stays when the node is forgotten
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL,
    actor  TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_node ON events (node, id);

CREATE TABLE tokens (
    name    TEXT PRIMARY KEY,
    hash    TEXT NOT NULL UNIQUE,              -- SHA-256 of the secret; the secret has 256 random bits
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counters VALUES ('node-name', 0);
