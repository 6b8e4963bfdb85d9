SELECT nodes.*, inventories.body AS inventory, capsules.node IS NOT NULL AS has_capsule
FROM nodes
LEFT JOIN inventories ON inventories.node = nodes.id
LEFT JOIN capsules ON capsules.node = nodes.id
