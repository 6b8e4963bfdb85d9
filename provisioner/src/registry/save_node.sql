INSERT INTO nodes (id, name, state, since, created, note, life, ram_boot, ram_seen, installed_boot, installed_seen,
                   ram_from, vouches, vouching, ram_key, written_key, home_key, installs, tags, profile, mark)
VALUES (:id, :name, :state, :since, :created, :note, :life, :ram_boot, :ram_seen, :installed_boot, :installed_seen,
        :ram_from, :vouches, :vouching, :ram_key, :written_key, :home_key, :installs, :tags, :profile, :mark)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, state = excluded.state, since = excluded.since, note = excluded.note, life = excluded.life,
    ram_boot = excluded.ram_boot, ram_seen = excluded.ram_seen,
    installed_boot = excluded.installed_boot, installed_seen = excluded.installed_seen,
    ram_from = excluded.ram_from, vouches = excluded.vouches, vouching = excluded.vouching,
    ram_key = excluded.ram_key, written_key = excluded.written_key, home_key = excluded.home_key,
    installs = excluded.installs, tags = excluded.tags, profile = excluded.profile,
    mark = excluded.mark
