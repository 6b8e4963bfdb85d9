-- SPDX-License-Identifier: Apache-2.0
-- Which start in RAM a node's is.

ALTER TABLE nodes ADD COLUMN ram_from TEXT;   -- the address that its last start in RAM introduced itself from
