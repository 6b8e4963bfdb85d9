# Where the installer filled one EFI system partition only, the other disk's gets the same: either disk can start.
# A mirrored partition is both already.
esp=$(findmnt -no SOURCE /boot/efi)
if [ "$(lsblk -dno TYPE "$esp")" = part ]; then
    other=$(lsblk -rnpo NAME,PARTTYPE | awk -v first="$esp" \
        '$2 == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" && $1 != first { print $1; exit }')
    [ -n "$other" ] || fail "storage.layout.second: it has no EFI system partition"
    [ "$(blockdev --getsize64 "$other")" -ge "$(blockdev --getsize64 "$esp")" ] ||
        fail "storage.layout.second: its EFI system partition is too small"
    sync
    dd if="$esp" of="$other" bs=1M conv=fsync
fi
