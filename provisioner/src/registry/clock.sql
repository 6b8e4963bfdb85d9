-- SPDX-License-Identifier: Apache-2.0
-- What the clocks said when the server last looked: tells the next start how long it was away. One row.

CREATE TABLE clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    at      INTEGER NOT NULL,                  -- the server's time, which all other times are of
    running INTEGER NOT NULL,                  -- milliseconds since the machine started, sleep included
    boot    TEXT NOT NULL                      -- that start of the machine
) STRICT;
