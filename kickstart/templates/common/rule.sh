{% if rule["smallest-above"] is defined %}
smallest {{ rule["smallest-above"] }}
{%- elif rule.serial is defined %}
serial {{ rule.serial }}
{%- else %}
place {{ rule["by-path"] }}
{%- endif %}

