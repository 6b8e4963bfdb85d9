-- SPDX-License-Identifier: Apache-2.0
-- What machines cause is kept per machine, so that none can push out what happened to another one, or what people did.

CREATE INDEX events_of_machines ON events (node, id) WHERE actor IN ('node', 'installer');
CREATE INDEX events_of_server ON events (node, id) WHERE actor = 'provisioner';

-- When the installer was heard to be at its last step: what decides is not looked up in the list of events.
ALTER TABLE installations ADD COLUMN last_step INTEGER;
UPDATE installations SET last_step = (
    SELECT max(at) FROM events
    WHERE events.node = installations.node AND actor = 'installer' AND detail = 'late'
);
