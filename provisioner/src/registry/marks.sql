-- SPDX-License-Identifier: Apache-2.0
-- The mark of the installation on a node's disk, by which loaders find it; NULL where it was installed before there
-- were any.
ALTER TABLE nodes ADD COLUMN mark TEXT;
