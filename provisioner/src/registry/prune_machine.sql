-- All but the newest ?2 of these events of node ?1.
DELETE FROM events WHERE node IS ?1 AND actor IN ('node', 'installer') AND id <= (
    SELECT id FROM events WHERE node IS ?1 AND actor IN ('node', 'installer') ORDER BY id DESC LIMIT 1 OFFSET ?2
)
