# What a machine of a site does at boot, the same at every provider and for every role: get the release that is pinned
# by its hash, get the secret files, install the units of its role, start them, and say so once they are alive. Run
# again it changes nothing that is right already. infra/boot.ts puts `#!/bin/sh` and the settings in front.
set -eu
umask 022
export DEBIAN_FRONTEND=noninteractive

etc="$ROOT/etc/archipelago"
opt="$ROOT/opt/archipelago"
systemd="$ROOT/etc/systemd/system"
metadata=http://169.254.169.254
# SHA-256 of nothing, which S3 wants to be told and not every curl tells.
no_body=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
# There from the first change until services run with it, also when a run ends half way.
changed="$etc/changed"

say() { printf 'archipelago boot: %s\n' "$*" >&2; }

# retry TIMES COMMAND...: networks and metadata services may be late at boot.
retry() {
  left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep "${RETRY_SECONDS:-5}"
  done
}

# put MODE FILE: standard input becomes the file, whole or not at all, and only when it differs. Says itself when it
# failed: where a caller asks for that, the shell no longer ends by itself.
put() {
  mkdir -p "$(dirname "$2")"
  (umask 077 && cat >"$2.new") || {
    rm -f "$2.new"
    return 1
  }
  if [ -e "$2" ] && cmp -s "$2.new" "$2"; then
    rm "$2.new"
    return 0
  fi
  chmod "$1" "$2.new"
  mkdir -p "$etc"
  : >"$changed"
  mv "$2.new" "$2"
}

# download ADDRESS: to $part/archive; from the own provider's store with the role of this machine.
download() {
  name=${1#*://}
  case $1 in
    s3://*)
      aws_keys | get --config - --aws-sigv4 "aws:amz:$REGION:s3" -H "x-amz-content-sha256: $no_body" \
        "https://${name%%/*}.s3.$REGION.amazonaws.com/${name#*/}"
      ;;
    gs://*) gcp_token | get --config - "https://storage.googleapis.com/$name" ;;
    *) get -L "$1" ;;
  esac
}
get() { curl -fsS --connect-timeout 10 --max-time 300 --max-filesize 300000000 -o "$part/archive" "$@"; }

# The release: any of the addresses will do, because the hash says what is right. It has its name once it is on the
# disk: what has the name is not looked into again, also after a power cut.
fetch_release() {
  mkdir -p "$etc"
  tree="$opt/releases/$RELEASE_SHA256"
  [ ! -d "$tree" ] || return 0
  part="$tree.part"
  for url in $RELEASE_URLS; do
    rm -rf "$part"
    mkdir -p "$part/tree"
    if ! download "$url"; then
      say "$url: no answer, trying the next"
    elif ! printf '%s  %s\n' "$RELEASE_SHA256" "$part/archive" | sha256sum -c --status; then
      say "$url: refused, not the release that is pinned; trying the next"
    elif tar -xzf "$part/archive" --no-same-owner -C "$part/tree" && sync && mv "$part/tree" "$tree"; then
      rm -rf "$part"
      return 0
    fi
  done
  rm -rf "$part"
  say "none of the addresses has the release $RELEASE_SHA256"
  return 1
}

# A release that was here before and is pinned again is a change, too.
use_release() {
  [ "$(readlink "$opt/current")" != "$tree" ] || return 0
  : >"$changed"
  ln -sfn "$tree" "$opt/current"
}

# The value of one field of JSON whose values need no escapes.
field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }

imds() {
  token=$(curl -fsS -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata/latest/api/token")
  curl -fsS -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/$1"
}

# The role of this machine as curl's configuration, so that keys never stand on a command line.
aws_keys() {
  keys=$(imds "iam/security-credentials/$(imds iam/security-credentials/)")
  printf 'user = "%s:%s"\nheader = "X-Amz-Security-Token: %s"\n' "$(printf '%s' "$keys" | field AccessKeyId)" \
    "$(printf '%s' "$keys" | field SecretAccessKey)" "$(printf '%s' "$keys" | field Token)"
}
gcp_token() {
  token=$(curl -fsS -m 5 -H 'Metadata-Flavor: Google' \
    "$metadata/computeMetadata/v1/instance/service-accounts/default/token" | field access_token)
  printf 'header = "Authorization: Bearer %s"\n' "$token"
}

# aws_call SERVICE CURL-ARGUMENTS...
aws_call() {
  service=$1
  shift
  aws_keys | curl -fsS -m 20 --config - --aws-sigv4 "aws:amz:$REGION:$service" "$@" \
    "https://$service.$REGION.amazonaws.com/"
}

# The bundle of secret files: name:base64,name:base64
bundle() {
  case $SECRETS_FROM in
    inline) printf '%s' "$SECRETS" ;;
    aws)
      aws_call secretsmanager -H 'Content-Type: application/x-amz-json-1.1' \
        -H 'X-Amz-Target: secretsmanager.GetSecretValue' -d "{\"SecretId\":\"$SECRETS\"}" | field SecretString
      ;;
    gcp)
      gcp_token |
        curl -fsS -m 20 --config - "https://secretmanager.googleapis.com/v1/$SECRETS/versions/latest:access" |
        field data | base64 -d
      ;;
  esac
}

fetch_secrets() {
  line=$(bundle)
  [ -n "$line" ] || return 1
  mkdir -p "$etc/secret"
  chown root:archipelago "$etc/secret"
  chmod 750 "$etc/secret"
  for entry in $(printf '%s' "$line" | tr , ' '); do
    name=${entry%%:*}
    printf '%s' "${entry#*:}" | base64 -d | put 440 "$etc/secret/$name" || return 1
    chown root:archipelago "$etc/secret/$name"
  done
  for file in "$etc/secret"/*; do
    case ",$line" in *",${file##*/}:"*) continue ;; esac
    : >"$changed"
    rm "$file"
  done
}

# readable DEVICE: its first MiB can be read. What a device that answers with errors, or has no size yet, holds is not known:
# blkid finds nothing on it, as on a new one.
readable() {
  [ "$(head -c 1048576 "$1" 2>/dev/null | wc -c)" -eq 1048576 ]
}

# The disk of Redis: encrypted here where the provider does not do it, formatted only when it is empty.
prepare_disk() {
  retry 60 readable "$DISK" || { say "$DISK cannot be read" && return 1; }
  device=$DISK
  if [ -n "$DISK_KEY" ]; then
    cryptsetup isLuks "$DISK" || {
      [ -z "$(blkid -o value -s TYPE "$DISK")" ] || { say "$DISK holds something else" && return 1; }
      cryptsetup -q luksFormat --key-file "$DISK_KEY" "$DISK"
    }
    device=/dev/mapper/archipelago
    [ -b "$device" ] || cryptsetup open --key-file "$DISK_KEY" "$DISK" archipelago
  fi
  readable "$device" || { say "$device cannot be read" && return 1; }
  [ -n "$(blkid -o value -s TYPE "$device")" ] || mkfs.ext4 -q "$device"
  mkdir -p /var/lib/archipelago-redis
  mountpoint -q /var/lib/archipelago-redis || mount -o noatime,nodev,nosuid,noexec "$device" /var/lib/archipelago-redis
  chown redis:redis /var/lib/archipelago-redis
  chmod 700 /var/lib/archipelago-redis
}

# Nobody but root reaches the metadata service, where the role's credentials are, and at Hetzner the secret files
# themselves; except for names, which Google serves at the same address.
install_guard() {
  put 644 "$etc/metadata.nft" <<NFT
table inet archipelago
delete table inet archipelago
table inet archipelago {
  chain output {
    type filter hook output priority filter
    meta skuid != 0 tcp dport != 53 ip daddr 169.254.169.254 counter reject
    meta skuid != 0 tcp dport != 53 ip6 daddr { fd00:ec2::254, fd20:ce::254 } counter reject
  }
}
NFT
  put 644 "$systemd/archipelago-guard.service" <<UNIT
[Unit]
Description=Only root reaches the metadata service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/archipelago/metadata.nft
UNIT
}

# What a service may do besides its work: as little as Node allows.
hardening() {
  cat <<UNIT
Restart=always
RestartSec=5
LimitNOFILE=1048576
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
RemoveIPC=yes
KeyringMode=private
UNIT
}

# A service of the release, and what restarts it when it no longer answers /livez. Never /readyz: a partition would
# restart every healthy relay.
service_units() {
  put 644 "$systemd/archipelago.service" <<UNIT
[Unit]
Description=Archipelago $ROLE
Wants=network-online.target
Requires=archipelago-guard.service
After=network-online.target archipelago-guard.service
StartLimitIntervalSec=0

[Service]
User=archipelago
Group=archipelago
EnvironmentFile=/etc/archipelago/environment
ExecStart=/opt/archipelago/current/bin/node /opt/archipelago/current/$1
ExecReload=/bin/sh -c 'kill -HUP \$MAINPID'
TimeoutStopSec=70
StateDirectory=archipelago
StateDirectoryMode=0700
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
$(hardening)

[Install]
WantedBy=multi-user.target
UNIT
  put 644 "$systemd/archipelago-watch.service" <<UNIT
[Unit]
Description=Restart the Archipelago $ROLE when it no longer answers /livez

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for attempt in 1 2 3; do curl -fsS -m 2 -o /dev/null $LIVEZ && exit 0; sleep 3; done; systemctl try-restart archipelago.service'
UNIT
  put 644 "$systemd/archipelago-watch.timer" <<UNIT
[Unit]
Description=Look at /livez of the Archipelago $ROLE

[Timer]
OnActiveSec=120
OnUnitActiveSec=10

[Install]
WantedBy=timers.target
UNIT
}

# environment PREFIX: standard input, what this stack says beside it, and a setting for each secret file that is there.
environment() {
  {
    cat
    [ -z "$SETTINGS" ] || printf '%s\n' "$SETTINGS"
    for file in "$etc/secret"/*; do
      printf '%s_%s=/etc/archipelago/secret/%s\n' "$1" "$(printf '%s' "${file##*/}" | tr a-z- A-Z_)" "${file##*/}"
    done
  } | put 640 "$etc/environment"
}

install_relay() {
  environment RELAY <<ENVIRONMENT
NODE_OPTIONS=--max-semi-space-size=4
RELAY_SITE=$SITE
RELAY_MANIFEST=/var/lib/archipelago/manifest.jws
RELAY_MANIFEST_KEY=$MANIFEST_KEY
RELAY_MANIFEST_VERSION_MIN=$MANIFEST_VERSION_MIN
RELAY_STATE_DIR=/var/lib/archipelago
RELAY_LISTEN=[::]:443
RELAY_PRIVATE_LISTEN=$PRIVATE_LISTEN
RELAY_REDIS=$REDIS
ENVIRONMENT
  service_units relay/main.ts
}

install_nameserver() {
  # A resolver's stub on port 53 of the loopback would be in the way of ours on all addresses.
  if [ -d "$ROOT/run/systemd/resolve" ]; then
    stub="$ROOT/etc/systemd/resolved.conf.d/archipelago.conf"
    if [ ! -e "$stub" ]; then
      printf '[Resolve]\nDNSStubListener=no\n' | put 644 "$stub"
      ln -sf /run/systemd/resolve/resolv.conf "$ROOT/etc/resolv.conf"
      systemctl restart systemd-resolved
    fi
  fi
  environment VANTAGE <<ENVIRONMENT
VANTAGE_SITE=$SITE
VANTAGE_MANIFEST=/var/lib/archipelago/manifest.jws
VANTAGE_MANIFEST_KEY=$MANIFEST_KEY
VANTAGE_MANIFEST_VERSION_MIN=$MANIFEST_VERSION_MIN
VANTAGE_DNS_LISTEN=[::]:53
VANTAGE_VOTE_LISTEN=[::]:443
VANTAGE_PRIVATE_LISTEN=$PRIVATE_LISTEN
VANTAGE_STATE_DIR=/var/lib/archipelago
ENVIRONMENT
  service_units healthcheck/main.ts
}

# Redis as relays demand it: docs/configuration.md. Everything that was accepted is on its own disk.
install_redis() {
  put 640 "$etc/redis.conf" <<CONF
bind ${REDIS%:*}
port ${REDIS##*:}
dir /var/lib/archipelago-redis
requirepass $(cat "$etc/secret/redis-password")
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
maxmemory-policy noeviction
maxmemory $(awk '/^MemTotal:/ { print int($2 * 0.6) }' /proc/meminfo)kb
save ""
CONF
  chown root:redis "$etc/redis.conf"
  # Only at Google does the whole script run at every boot; the disk must be there at every one.
  put 700 "$etc/boot.sh" <"$0"
  put 644 "$systemd/archipelago-disk.service" <<UNIT
[Unit]
Description=Disk of the Archipelago Redis

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=BOOT_FUNCTION=prepare_disk
ExecStart=/bin/sh /etc/archipelago/boot.sh
UNIT
  printf '%s' "$SET_ASIDE" | put 755 "$etc/set-aside.sh"
  put 644 "$systemd/archipelago-redis.service" <<UNIT
[Unit]
Description=Archipelago Redis
Wants=network-online.target
Requires=archipelago-disk.service archipelago-guard.service
After=network-online.target archipelago-disk.service archipelago-guard.service
AssertPathIsMountPoint=/var/lib/archipelago-redis
StartLimitIntervalSec=0

[Service]
Type=notify
User=redis
Group=redis
ExecStartPre=+/bin/sh -c 'journalctl -q -u archipelago-redis -n 200 -o cat | /etc/archipelago/set-aside.sh /var/lib/archipelago-redis'
ExecStart=/usr/bin/redis-server /etc/archipelago/redis.conf --daemonize no --supervised systemd
TimeoutStartSec=infinity
TimeoutStopSec=60
ReadWritePaths=/var/lib/archipelago-redis
CapabilityBoundingSet=
MemoryDenyWriteExecute=yes
IPAddressDeny=any
IPAddressAllow=localhost 10.0.0.0/8
$(hardening)

[Install]
WantedBy=multi-user.target
UNIT
}

# A group that waits for its machines counts this one only from here on, and gives up on those that never get here.
tell_group() {
  [ -n "$GROUP" ] || return 0
  instance=$(imds instance-id)
  aws_call autoscaling -o /dev/null -d Action=CompleteLifecycleAction -d Version=2011-01-01 \
    -d "AutoScalingGroupName=$GROUP" -d LifecycleHookName=alive -d "InstanceId=$instance" \
    -d LifecycleActionResult=CONTINUE || say 'the group was not waiting for this machine'
}

start() {
  systemctl daemon-reload
  systemctl enable -q "$@"
  if [ -e "$changed" ]; then systemctl restart "$@"; else systemctl start "$@"; fi
  rm -f "$changed"
}

packages() {
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing=yes
  done
  [ -n "${missing:-}" ] || return 0
  # Debian's own updates of the first minutes may hold the lock, and a mirror may be late.
  retry 10 apt-get update -q
  retry 10 apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=60 "$@"
}

main() {
  if [ "$ROLE" = redis ]; then
    # The package's own service must not come up with the package's own settings.
    systemctl mask redis-server.service
    packages curl ca-certificates nftables redis-server ${DISK_KEY:+cryptsetup}
  else
    packages curl ca-certificates nftables
  fi
  getent group archipelago >/dev/null || groupadd --system archipelago
  id archipelago >/dev/null 2>&1 ||
    useradd --system --gid archipelago --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin archipelago
  retry 30 fetch_secrets
  install_guard
  if [ "$ROLE" = redis ]; then
    install_redis
    start archipelago-redis.service
    return 0
  fi
  retry 30 fetch_release
  use_release
  "install_$ROLE"
  start archipelago.service archipelago-watch.timer
  retry 60 curl -fsS -m 2 -o /dev/null "$LIVEZ"
  tell_group
}

if [ "${BOOT_FUNCTION:-}" = '' ]; then main; else "$BOOT_FUNCTION" "$@"; fi
