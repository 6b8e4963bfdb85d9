-- SPDX-License-Identifier: Apache-2.0
-- What has to speak for the next start in RAM as a node.

-- whether that start can read the installed system's key off the disk
ALTER TABLE nodes ADD COLUMN vouches INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN vouching TEXT NOT NULL DEFAULT '"facts"';  -- registry::Vouching
