#!/bin/sh
# Makes the installed system what it shall be. Runs in it, as root, before its first start or at it.
set -eu
LOGS=/var/log/gleaner-install.log
exec >>"$LOGS" 2>&1
{% include "common/report.sh" %}

step="starting"
# A command that fails ends the script; the server hears at which step.
trap 'code=$?; [ "$code" = 0 ] || report_failure "late step, $step: ended with $code"' EXIT

# put PATH MODE BASE64
put() {
    mkdir -p "$(dirname "$1")"
    (umask 077 && printf %s "$3" | base64 -d >"$1.new")
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
}

# SELinux wants to know what kind of file it is.
label() {
    ! command -v restorecon >/dev/null || restorecon -RF "$@" || :
}

{% if os_packages is defined %}
{% include os_packages %}

{% endif %}
tell {{ stage.late }}

step="name"
put /etc/hostname 0644 {{ (spec.hostname ~ "\n") | b64 }}
{% if spec.label %}
put /etc/motd.d/gleaner 0644 {{ (spec.label ~ "\n") | b64 }}
{% endif %}

step="users"
# No password fits a star; keys do their work beside it.
usermod --password '*' root
{% for user in spec.users %}
id -u {{ user.name }} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {{ user.name }}
usermod --password '*' {{ user.name }}
{% if user.full_name %}
usermod --comment={{ user.full_name }} {{ user.name }}
{% endif %}
home=$(getent passwd {{ user.name }} | cut -d: -f6)
{% set keys %}{% include "common/authorized-keys.ini" %}{% endset %}
put "$home/.ssh/authorized_keys" 0600 {{ keys | b64 }}
chmod 0700 "$home/.ssh"
chown -R {{ user.name }}: "$home/.ssh"
label "$home/.ssh"
{% if user.admin %}
put {{ "/etc/sudoers.d/" ~ user.name }} 0440 {{ (user.name ~ " ALL=(ALL:ALL) NOPASSWD: ALL\n") | b64 }}
{% endif %}
{% endfor %}

{% if spec.proxy or spec.repositories %}
step="package sources"
{% include "common/sources.sh" %}
{% endif %}

step="files of the role"
{% for file in spec.role.files %}
{% include "common/file.sh" %}
{% endfor %}

{% if spec.storage.layout.kind == "data-disk" %}
step="data disk"
{% include "common/data-disk.sh" %}
{% endif %}
{% if spec.storage.swap.encrypted is defined %}
step="encrypted swap"
{% include "common/swap.sh" %}
{% endif %}

step="node-init"
{% for program in site.node_init.programs %}
program={{ program.path }}
mkdir -p "$(dirname "$program")"
curl -fsS --retry 5 --retry-connrefused -o "$program.new" {{ program.url }}
echo {{ program.sha256 }} " $program.new" | sha256sum -c -
chmod 0755 "$program.new"
mv -f "$program.new" "$program"
label "$program"
{% endfor %}
{% for file in site.node_init.files %}
{% include "common/file.sh" %}
{% endfor %}

step="mark of this installation"
# By it a loader tells this disk from others. Where /boot is on LVM or RAID no loader can say which disk that is, so
# the firmware's own partition has it, too.
if mountpoint -q /boot/efi && [ -d /boot/gleaner ]; then
    mkdir -p /boot/efi/gleaner
    cp /boot/gleaner/* /boot/efi/gleaner/
fi
{% if spec.storage.layout.kind == "raid1" and spec.firmware == "uefi" %}
step="second EFI system partition"
{% include "common/second-esp.sh" %}
{% endif %}

step="units"
{% for unit in spec.role.units + site.node_init.units %}
systemctl enable {{ unit }}
{% endfor %}

{% include os_late %}

{% for command in spec.late_commands %}
step={{ "late_commands[" ~ loop.index0 ~ "]" }}
sh -c {{ command }}
{% endfor %}

step="end"
# Without this word the machine would be installed again. Whatever the server answers, it has heard.
for pause in 1 2 5 10 20 30 60 60 60 60; do
    code=$(curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -H 'Content-Type: text/plain' \
        --data-binary {{ stage.done }} {{ site.hooks.progress }}) || code=000
    case $code in
        2* | 4*) break ;;
    esac
    sleep "$pause"
done
