-- The newest :limit of those that were asked for, oldest first.
SELECT * FROM (
    SELECT id, at, node, kind, detail, actor FROM events
    WHERE (:node IS NULL OR node = :node) AND (:after IS NULL OR id > :after)
    ORDER BY id DESC LIMIT :limit
) ORDER BY id
