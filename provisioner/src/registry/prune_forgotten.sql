-- All but the newest ?1 of what happened to machines that are no nodes any more.
DELETE FROM events WHERE actor IN ('node', 'installer', 'provisioner') AND id IN (
    SELECT id FROM events
    WHERE node IS NOT NULL AND node NOT IN (SELECT id FROM nodes) AND actor IN ('node', 'installer', 'provisioner')
    ORDER BY id DESC LIMIT -1 OFFSET ?1
)
