# Chooses the disks by the machine's rules, into DISK1 and, where there is a second, DISK2: names such as sda.
# When nothing fits, or more than one disk answers to a name, nothing is written.
TAKEN=

# Every disk that may be written, a line each: size in sectors, and name. Sticks and card readers are none of them.
disks() {
    for folder in /sys/block/*; do
        name=${folder##*/}
        case $name in
            nvme*c*n* | mmcblk*[!0-9]*) continue ;;
            # An eMMC is soldered on; any other card sits in a slot, whatever `removable` says of it.
            mmcblk*) [ "$(cat "$folder/device/type" 2>/dev/null)" = MMC ] || continue ;;
            sd* | hd* | vd* | xvd* | nvme*n*) ;;
            *) continue ;;
        esac
        case $(readlink -f "$folder") in
            */usb[0-9]*) continue ;;
        esac
        [ "$(cat "$folder/removable")" = 0 ] || continue
        [ "$(cat "$folder/ro")" = 0 ] || continue
        size=$(cat "$folder/size")
        [ "$size" -gt 0 ] || continue
        [ "$name" = "$TAKEN" ] || echo "$size $name"
    done
}

# A gigabyte is 1953125 sectors of 512 bytes.
smallest() {
    disks | sort -n | while read -r size name; do
        if [ "$size" -ge "$(($1 * 1953125))" ]; then
            echo "$name"
            break
        fi
    done
}

# What tells of a serial number: letters and digits. Of "AB CD  12" udev makes AB_CD_12, and others ABCD12.
plain() {
    LC_ALL=C tr -cd 'A-Za-z0-9\n' | tr A-Z a-z
}

serial() {
    wanted=$(printf '%s\n' "$1" | plain)
    [ -n "$wanted" ] || return 0
    disks | while read -r size name; do
        {
            cat "/sys/block/$name/serial" "/sys/block/$name/device/serial" 2>/dev/null || :
            # Where SCSI and SATA disks have it; the text begins behind four bytes.
            dd if="/sys/block/$name/device/vpd_pg80" bs=4 skip=1 2>/dev/null || :
            echo
            udevadm info --query=property --name="/dev/$name" 2>/dev/null |
                sed -n 's/^ID_SERIAL_SHORT=//p; s/^ID_SCSI_SERIAL=//p'
        } | plain | grep -Fqx -e "$wanted" && echo "$name"
    done
}

place() {
    there=$(readlink -f "/dev/disk/by-path/$1") || there=
    disks | while read -r size name; do
        [ "/dev/$name" != "$there" ] || echo "$name"
    done
}

# one FIELD RULE ARGUMENT: the only disk, in FOUND.
one() {
    field=$1
    shift
    FOUND=$("$@" || :)
    case $FOUND in
        '') fail "$field: no disk fits ($*). Disks that could be written, in sectors: $(disks | tr '\n' ';')" ;;
        *"
"*) fail "$field: several disks answer to it ($*): $(printf '%s' "$FOUND" | tr '\n' ' ')" ;;
    esac
}

one storage.disk {% set rule = spec.storage.disk %}{% include "common/rule.sh" %}
DISK1=$FOUND
{% if spec.storage.layout.kind == "raid1" %}
TAKEN=$DISK1
one storage.layout.second {% set rule = spec.storage.layout.second %}{% include "common/rule.sh" %}
DISK2=$FOUND
{% elif spec.storage.layout.kind == "data-disk" %}
TAKEN=$DISK1
one storage.layout.disk {% set rule = spec.storage.layout.disk %}{% include "common/rule.sh" %}
DISK2=$FOUND
{% endif %}
