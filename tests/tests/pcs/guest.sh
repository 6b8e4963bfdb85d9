# Starts the smallest guest there is: a boot sector that writes to its serial line and halts.
set -eu
cd /var/lib/libvirt/images
# org 7c00: print the string at 7c1c by BIOS int 14h on COM1, then halt for ever.
#   31c0 8ed8        xor ax,ax; mov ds,ax
#   be1c7c           mov si,7c1c
#   31d2             xor dx,dx
#   b8e300 cd14      mov ax,00e3; int 14h   (initialize: 9600 8N1)
#   ac 08c0 7406     next: lodsb; or al,al; jz end
#   b401 cd14 ebf5   mov ah,1; int 14h; jmp next
#   f4 ebfd          end: hlt; jmp end
{
    printf '\x31\xc0\x8e\xd8\xbe\x1c\x7c\x31\xd2\xb8\xe3\x00\xcd\x14\xac\x08\xc0\x74\x06\xb4\x01\xcd\x14\xeb\xf5\xf4\xeb\xfd'
    printf 'A GUEST RUNS\r\n\0'
} > tiny.img
truncate -s 510 tiny.img
printf '\x55\xaa' >> tiny.img
truncate -s 4M tiny.img
cat > tiny.xml <<'XML'
<domain type='qemu'>
  <name>tiny</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/tiny.img'/><target dev='vda' bus='virtio'/></disk>
    <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='file'><source path='/var/lib/libvirt/images/tiny.log'/><target port='0'/></serial>
  </devices>
</domain>
XML
virsh --quiet destroy tiny >/dev/null 2>&1 || true
virsh --quiet create tiny.xml
for _ in $(seq 120); do
    if grep -q 'A GUEST RUNS' tiny.log 2>/dev/null; then cat tiny.log; exit 0; fi
    sleep 1
done
virsh domstate tiny; cat tiny.log; exit 1
