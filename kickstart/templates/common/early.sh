# What was asked for before anything is written.
{% for command in spec.early_commands %}
sh -c {{ command }} || fail {{ "early_commands[" ~ loop.index0 ~ "] failed" }}
{% endfor %}
