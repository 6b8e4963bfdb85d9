-- SPDX-License-Identifier: Apache-2.0
-- What only the machine that a distribution's installer runs on may know, while it does: never in a list, never in a log.

CREATE TABLE installations (
    node   TEXT PRIMARY KEY REFERENCES nodes ON DELETE CASCADE,
    hash   TEXT NOT NULL UNIQUE,               -- SHA-256 of the token
    token  TEXT NOT NULL,                      -- in the URLs of its answers; 256 random bits, as the next
    secret TEXT NOT NULL,                      -- by which its installed system introduces itself for the first time
    until  INTEGER NOT NULL
) STRICT;

-- How an installer's log ended.
CREATE TABLE installer_logs (node TEXT PRIMARY KEY REFERENCES nodes ON DELETE CASCADE, body TEXT NOT NULL) STRICT;
