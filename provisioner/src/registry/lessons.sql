-- SPDX-License-Identifier: Apache-2.0
-- What the starts of a card have taught about loaders and disks (memory::Lessons).

CREATE TABLE lessons (
    mac  TEXT PRIMARY KEY,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
