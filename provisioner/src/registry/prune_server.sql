-- All but the newest ?2 of the server's own events of node ?1; silences (?3) and all others are counted apart.
DELETE FROM events WHERE node IS ?1 AND actor = 'provisioner' AND (kind = 'lost') = ?3 AND id <= (
    SELECT id FROM events WHERE node IS ?1 AND actor = 'provisioner' AND (kind = 'lost') = ?3
    ORDER BY id DESC LIMIT 1 OFFSET ?2
)
