{% if spec.kernel_arguments %}
step="kernel arguments"
{% set text %}{% include "ubuntu/grub.ini" %}{% endset %}
put /etc/default/grub.d/90-gleaner.cfg 0644 {{ text | b64 }}
update-grub
{% endif %}
