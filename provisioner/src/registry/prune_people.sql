-- All but the newest ?1 of what people, their programs and their rules did.
DELETE FROM events WHERE actor NOT IN ('node', 'installer', 'provisioner') AND id <= (
    SELECT id FROM events WHERE actor NOT IN ('node', 'installer', 'provisioner') ORDER BY id DESC LIMIT 1 OFFSET ?1
)
