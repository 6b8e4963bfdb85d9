-- SPDX-License-Identifier: Apache-2.0
-- How an installed system that makes its own key joins, once.

ALTER TABLE installations ADD COLUMN join_hash TEXT;  -- SHA-256 of the secret, which is forgotten when it is used
ALTER TABLE installations ADD COLUMN joined INTEGER;  -- when it was used
CREATE UNIQUE INDEX installations_by_join ON installations (join_hash);
