-- SPDX-License-Identifier: Apache-2.0
-- Enrolment windows and who came in through them, or by a key that somebody pressed.

CREATE TABLE windows (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    opened  INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    max     INTEGER NOT NULL,
    whom    TEXT NOT NULL,                     -- JSON: whom it is for
    tags    TEXT NOT NULL,                     -- JSON: a list of words
    profile TEXT,
    by      TEXT NOT NULL,
    closed  INTEGER                            -- before its time
) STRICT;

CREATE TABLE places (
    mac    TEXT PRIMARY KEY,                   -- the card that it was let in by
    window INTEGER,                            -- none: by a key
    at     INTEGER NOT NULL,
    node   TEXT                                -- once it is one; until then the place is held for a while
) STRICT, WITHOUT ROWID;

ALTER TABLE nodes ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE nodes ADD COLUMN profile TEXT;     -- what it becomes where its approval does not say otherwise
