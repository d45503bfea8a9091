#!/bin/sh
# The first process of a machine that runs the lab image: what systemd, cloud-init and docker.service would do, in the same order,
# in a second. /dev, /proc and /sys are there already (on a machine of namespaces the firmware mounts them, as a kernel would).

PATH=/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
export PATH HOME
umask 022
docker=
stopping=

say() { echo "init: $*"; }

# The power button. Whatever waits is interrupted by it.
trap 'stopping=yes; say "power button"; [ -z "$docker" ] || kill "$docker"' TERM
trap '' HUP INT

# Control groups as this kernel has them: each version 1 hierarchy in a directory of its own, or the one of version 2.
mount_cgroups() {
    [ -d /sys/fs/cgroup ] || return 0
    hierarchies=$(sed -n 's/^[1-9][0-9]*:\([^:]*\):.*/\1/p' /proc/self/cgroup)
    if [ -z "$hierarchies" ]; then
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o nosuid,nodev,noexec,mode=755,size=1m cgroup /sys/fs/cgroup
    for hierarchy in $hierarchies; do
        case $hierarchy in
        name=*) options=none,$hierarchy ;;
        *) options=$hierarchy ;;
        esac
        mkdir "/sys/fs/cgroup/${hierarchy#name=}"
        mount -t cgroup -o "nosuid,nodev,noexec,$options" cgroup "/sys/fs/cgroup/${hierarchy#name=}" ||
            rmdir "/sys/fs/cgroup/${hierarchy#name=}"
    done
}

# Prints, in blocks of 512 bytes, where the partition called config-2 begins and where it ends, from the partition table at block 1
# (UEFI specification 2.10, section 5.3): 128 bytes an entry, of these 8 first block, 8 last block, 72 name in UTF-16LE.
find_config_drive() {
    [ "$(dd if=/dev/vda bs=512 skip=1 count=1 status=none | head -c 8)" = "EFI PART" ] || return 0
    dd if=/dev/vda bs=512 skip=2 count=32 status=none | xxd -p -c 128 | awk '
        function number(at,   i, digits) {
            for (i = 14; i >= 0; i -= 2) digits = digits substr($0, at + i, 2)
            return "0x" digits
        }
        substr($0, 113, 36) == "63006f006e006600690067002d0032000000" { print number(65), number(81); exit }'
}

# Unpacks the config drive into /run/config; fails if there is none.
read_config_drive() {
    set -- $(find_config_drive)
    [ $# -eq 2 ] || return 1
    (umask 077; dd if=/dev/vda of=/run/config.iso bs=64k iflag=skip_bytes,count_bytes \
        skip=$(($1 * 512)) count=$((($2 - $1 + 1) * 512)) status=none) || return 1
    mkdir -m 700 /run/config
    for file in meta_data.json network_data.json user_data; do
        # isoinfo ends with status 0 whether or not the file is there.
        isoinfo -J -i /run/config.iso -x "/openstack/latest/$file" >"/run/config/$file" 2>/dev/null
        [ -s "/run/config/$file" ] || rm "/run/config/$file"
    done
    rm /run/config.iso
    [ -s /run/config/meta_data.json ] || [ -s /run/config/user_data ]
}

set_hostname() {
    name=$(jq -r '.hostname // .name // empty' /run/config/meta_data.json 2>/dev/null)
    hostname "${name:-localhost}"
    hostname >/etc/hostname
    printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n' "$(hostname)" >/etc/hosts
}

nic_of() {
    for nic in /sys/class/net/*; do
        [ "$(cat "$nic/address" 2>/dev/null)" = "$1" ] && basename "$nic" && return
    done
    return 1
}

# Static addresses of network_data.json. A name server of 127.0.0.1, where none is, refuses at once; without any, lookups of
# images that are not in a registry would wait for tens of seconds.
set_network() {
    ip link set lo up
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    [ -f /run/config/network_data.json ] || return 0
    jq -r '. as $all | .networks[]? | . as $net
        | ($all.links[]? | select(.id == $net.link)) as $link
        | [.type, ($link.ethernet_mac_address // "" | ascii_downcase), ($link.mtu // 1500), .ip_address // "", .netmask // "255.255.255.0"]
        | map(tostring) | join(" ")' /run/config/network_data.json |
    while read -r type mac mtu address mask; do
        nic=$(nic_of "$mac") || { say "no NIC has the address $mac"; continue; }
        ip link set dev "$nic" mtu "$mtu" up
        case $type in
        ipv4)
            prefix=$(ipcalc -p "${address%/*}" "$mask")
            ip addr add "${address%/*}/${prefix#PREFIX=}" broadcast + dev "$nic" && say "$nic has ${address%/*}/${prefix#PREFIX=}"
            ;;
        *) say "networks of type $type are not set up by this image" ;;
        esac
    done
    jq -r '.networks[]? | .routes[]? | select(.gateway) | [.network, .netmask, .gateway] | join(" ")' /run/config/network_data.json |
    while read -r network mask gateway; do
        case $network in *:*) continue ;; esac
        prefix=$(ipcalc -p "$network" "$mask")
        ip route add "$network/${prefix#PREFIX=}" via "$gateway" || say "no route to $network/${prefix#PREFIX=} via $gateway"
    done
    servers=$(jq -r '.services[]? | select(.type == "dns") | "nameserver " + .address' /run/config/network_data.json)
    [ -z "$servers" ] || echo "$servers" >/etc/resolv.conf
}

# Runs the tenant's script, once in the life of a deployment (as cloud-init does).
run_user_data() {
    [ -f /run/config/user_data ] || return 0
    instance=$(jq -r '.uuid // empty' /run/config/meta_data.json 2>/dev/null)
    mkdir -p /var/lib/cloud
    if [ -n "$instance" ] && [ "$(cat /var/lib/cloud/instance 2>/dev/null)" = "$instance" ]; then
        return 0
    fi
    if [ "$(head -c 2 /run/config/user_data)" != '#!' ]; then
        say 'user data is not a script: ignored'
        return 0
    fi
    chmod 700 /run/config/user_data
    # In the background, so that the power button interrupts the waiting.
    timeout -k 5 300 /run/config/user_data &
    wait $!
    status=$?
    say "user data ended with status $status"
    [ $status -ne 0 ] || [ -z "$instance" ] || echo "$instance" >/var/lib/cloud/instance
}

# This kernel may know one kind of iptables only.
choose_iptables() {
    iptables -t nat -S >/dev/null 2>&1 && return
    say 'iptables by nftables does not work here, taking the old kind'
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -sf xtables-legacy-multi "/usr/sbin/$name"
    done
}

# What dockerd needs to be told on this kind of machine, unless the tenant has decided: dockerd refuses to start if an option is
# in both places.
docker_options() {
    unless storage-driver --storage-driver=overlay2
    unless exec-opts --exec-opt=native.cgroupdriver=cgroupfs
    # The right to be spared when memory runs out is not ours to give.
    unless oom-score-adjust --oom-score-adjust=0
    # No colours on the console.
    unless raw-logs --raw-logs
}

unless() {
    jq -e --arg key "$1" 'has($key)' /etc/docker/daemon.json >/dev/null 2>&1 || echo "$2"
}

run_docker() {
    mkdir -p /etc/docker
    choose_iptables
    while [ -z "$stopping" ]; do
        rm -f /run/docker.pid
        dockerd $(docker_options) 2>&1 &
        docker=$!
        say 'dockerd started'
        while kill -0 "$docker" 2>/dev/null; do
            wait "$docker"
            status=$?
        done
        docker=
        [ -n "$stopping" ] || { say "dockerd ended with status $status"; sleep 1; }
    done
}

mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
mkdir -p /run/lock
mount_cgroups
if read_config_drive; then
    set_hostname
    set_network
    run_user_data
    run_docker
else
    say 'no config drive: nothing to do'
    ip link set lo up
    while [ -z "$stopping" ]; do
        sleep 86400 &
        wait $!
    done
fi
say 'the end'
# A file system without a process is a file system that can be taken off; what is left is killed with this process.
exit 0
