#!/bin/sh
# One member of the SSH lab: a real sshd on a port of loopback, in namespaces of its own, on an overlay over this machine's
# root. Inside, every program of the products is the shim. Nothing of this machine is changed.
#
#   member.sh FOLDER NAME PORT SHIM        FOLDER has: key.pub, host_key, boot_id, shell, sshd_lines; NAME is the host's name
#
# With a file `link` (this machine's address, the member's) it has a network of its own too, at the other end of a cable that
# is gone with it.
set -eu
folder=$1 name=$2 port=$3 shim=$4
programs="lxc lxd microceph microceph.ceph microovn microovn.ovn-appctl microovn.ovn-sbctl microcloud"

listen=127.0.0.1
if [ -e "$folder/link" ]; then read -r here listen < "$folder/link"; fi
if [ -e "$folder/link" ] && [ -z "${5:-}" ]; then
	exec unshare --net "$0" "$folder" "$name" "$port" "$shim" linked
fi
if [ "${5:-}" = linked ]; then
	ip link add eth0 type veth peer name "ls$port" netns "$PPID"
	ip address add "$listen/30" dev eth0
	ip link set lo up
	ip link set eth0 up
	nsenter --net --target "$PPID" ip address add "$here/30" dev "ls$port"
	nsenter --net --target "$PPID" ip link set "ls$port" up
fi
if [ "${5:-}" != inside ]; then
	exec unshare --mount --uts --pid --fork --kill-child --propagation private "$0" "$folder" "$name" "$port" "$shim" inside
fi

mount -t tmpfs tmpfs "$folder/disk"
mkdir "$folder/disk/upper" "$folder/disk/work" "$folder/disk/root"
root=$folder/disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/disk/upper,workdir=$folder/disk/work" "$root"
mount -t proc proc "$root/proc"
for outer in dev tmp; do mount --rbind "/$outer" "$root/$outer"; done
mkdir -p "$root/run/sshd" "$root/snap/bin" "$root/var/lib/snapd" "$root/home/ubuntu/.ssh"
cp "$folder/boot_id" "$root/etc/boot_id"
mount --bind "$root/etc/boot_id" "$root/proc/sys/kernel/random/boot_id"
hostname "$name"

for program in $programs; do ln -sf "$shim" "$root/snap/bin/$program"; done
for program in snap curl find openssl; do ln -sf "$shim" "$root/usr/bin/$program"; done
printf '%s\n%s\n' "$name" "$folder/../world.sock" > "$root/etc/lockstep-lab"

sed -i '/^ubuntu:/d' "$root/etc/passwd" "$root/etc/shadow" "$root/etc/group"
echo "ubuntu:x:4242:4242::/home/ubuntu:$(cat "$folder/shell")" >> "$root/etc/passwd"
echo 'ubuntu:*:19000:0:99999:7:::' >> "$root/etc/shadow"
echo 'ubuntu:x:4242:' >> "$root/etc/group"
cp "$folder/key.pub" "$root/home/ubuntu/.ssh/authorized_keys"
# A shell that talks: nothing that it says may be taken for an answer.
echo 'echo "Welcome to $(uname -n)!"; echo "you have mail" >&2' > "$root/home/ubuntu/.bashrc"
chown -R 4242:4242 "$root/home/ubuntu"
chmod 700 "$root/home/ubuntu/.ssh"
echo "127.0.0.1 localhost $name" > "$root/etc/hosts"
mkdir -p "$root/etc/sudoers.d"
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' > "$root/etc/sudoers.d/lab"
chmod 440 "$root/etc/sudoers.d/lab"
if [ -d "$folder/files" ]; then cp -r "$folder/files/." "$root/"; fi
cat > "$root/etc/ssh/lab_config" <<EOF
ListenAddress $listen
Port $port
HostKey $folder/host_key
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
PidFile none
LogLevel VERBOSE
EOF
cat "$folder/sshd_lines" >> "$root/etc/ssh/lab_config"
exec chroot "$root" /usr/sbin/sshd -D -e -f /etc/ssh/lab_config
