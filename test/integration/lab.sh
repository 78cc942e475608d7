# shellcheck shell=bash
# The lab of integration.sh and netns.sh: three places, each a network
# namespace. The client reaches the proxy and nothing else, the origin is
# reached by the proxy alone, and the name server stands at the origin. Whoever
# goes round the proxy gets nowhere.
#
#   client 10.0.0.2 --- 10.0.0.1 proxy 93.184.216.1 --- 93.184.216.34 origin
#          fd00::2         fd00::1     2606:2800::1     2606:2800::34
#
# The origins have public addresses, so the proxy's guard need not be lifted.
#
# All of it lives in a process namespace and a mount namespace of its own, whose
# first process is the script. However that one ends, by kill -9 too, the kernel
# ends the others, and files, interfaces and namespaces are gone.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd) || exit 1
lab=/run/lab # in memory, seen by nobody outside
PATH=$PATH:/usr/sbin:/sbin
good=0 bad=0
export GOWORK=off

die() {
	echo "$*" >&2
	exit 1
}

# need ends the script when a program is missing.
need() {
	local name missing=()
	for name in "$@"; do
		command -v "$name" >/dev/null || missing+=("$name")
	done
	[[ ${#missing[@]} -eq 0 ]] || die "missing: ${missing[*]}; ./test/run.sh installs them on Debian"
}

# enter starts the calling script again as the first process of a new lab, and
# returns in there. Outside it waits, and takes the lab down when it is stopped.
enter() {
	if [[ ${VIADUCT_LAB:-} == here && $$ -eq 1 ]]; then
		furnish || die "this needs the right to make namespaces: run it as root"
		return
	fi
	need go unshare setpriv ip mount git timeout
	# What is compiled here is not compiled again in the lab, where no module can be loaded.
	(cd "$root" && go build -o /dev/null . && go build -o /dev/null ./test/integration/...) || exit 1
	local user=() inside
	[[ $(id -u) -eq 0 ]] || user=(--map-root-user) # root of nothing but the lab
	VIADUCT_LAB=here setpriv --pdeathsig KILL unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc "$(realpath "$0")" "$@" &
	inside=$!
	trap 'kill -KILL $inside; exit 1' HUP INT TERM
	wait $inside
	exit
}

# furnish hides /run, and with it the sockets of the machine's services, builds
# the programs and the three places.
furnish() {
	mount -t tmpfs lab /run && mkdir -p $lab/home $lab/tmp $lab/www || return 1
	local race=()
	[[ -z ${VIADUCT_RACE:-} ]] || race=(-race)
	(cd "$root" && go build "${race[@]}" -o $lab/viaduct . && go build -o $lab/ ./test/integration/origin ./test/integration/clients) || exit 1
	# The same file for all three: from the client there is no way to this server.
	local conf
	conf=$(realpath -m /etc/resolv.conf)
	[[ $conf != /run/* ]] || { mkdir -p "$(dirname "$conf")" && touch "$conf"; } || return 1
	echo nameserver 93.184.216.53 >$lab/resolv.conf
	mount --bind $lab/resolv.conf "$conf" || return 1
	places
}

places() {
	local place
	for place in client proxy origin; do
		ip netns add $place && ip -n $place link set lo up || return 1
		# Addresses are there at once, without asking who else has them.
		ip netns exec $place sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad' || return 1
	done
	ip link add origin netns proxy type veth peer name proxy netns origin &&
		ip link add client netns proxy type veth peer name proxy netns client &&
		addresses client proxy 10.0.0.2/24 fd00::2/64 &&
		addresses proxy client 10.0.0.1/24 fd00::1/64 &&
		addresses proxy origin 93.184.216.1/24 2606:2800::1/64 &&
		addresses origin proxy 93.184.216.34/24 93.184.216.53/24 2606:2800::34/64
}

# addresses gives addresses to the interface that leads from a place to another.
addresses() {
	local from=$1 to=$2 a
	shift 2
	for a in "$@"; do
		ip -n "$from" address add "$a" dev "$to" || return 1
	done
	ip -n "$from" link set "$to" up
}

# within polls until a command succeeds, for so many seconds at the most.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[[ $SECONDS -lt $end ]] || return 1
		sleep 0.05
	done
}

# origin starts the far side. Its notes say who connected to it.
origin() {
	ip netns exec origin env -i PATH="$PATH" HOME=$lab/home TMPDIR=$lab/tmp \
		$lab/origin -root $lab/www -dns 93.184.216.53 "$@" >$lab/origin.log 2>$lab/origin.err &
	within 10 grep -qx ready $lab/origin.log || die "the origin did not start: $(cat $lab/origin.err)"
}

# viaduct starts the proxy with arguments and waits until it listens.
viaduct() {
	: >$lab/access.log
	: >$lab/viaduct.err # what the one before said there
	ip netns exec proxy env -i PATH="$PATH" HOME=$lab/home $lab/viaduct "$@" 2>$lab/viaduct.err &
	proxy=$!
	within 10 decided && listens && return
	echo "viaduct did not start: $(cat $lab/viaduct.err)"
	kill -KILL "$proxy" 2>/dev/null
	return 1
}

listens() { grep -q 'msg=listening' $lab/viaduct.err; }

decided() { listens || ! kill -0 "$proxy" 2>/dev/null; }

# forward starts it as a forward proxy with flags.
forward() {
	viaduct forward --listen '10.0.0.1:3128,[fd00::1]:3128' --open --access-log $lab/access.log "$@"
}

# sockets counts those of the proxy.
sockets() { find "/proc/$proxy/fd" -lname 'socket:*' 2>/dev/null | wc -l; }

has_sockets() { [[ $(sockets) -eq $1 ]]; }

# stop ends the proxy; its exit code is left in $code.
stop() {
	local watchdog
	kill -TERM "$proxy"
	(sleep 45 && kill -KILL "$proxy") &
	watchdog=$!
	wait "$proxy"
	code=$?
	kill $watchdog 2>/dev/null
}

# ended_well looks at how the proxy ended, and at what it said.
ended_well() {
	[[ $code -eq 0 ]] || echo "exit code $code after SIGTERM"
	! grep -E -A 40 -m 3 'panic|goroutine |DATA RACE|level=(ERROR|WARN)' $lab/viaduct.err && [[ $code -eq 0 ]]
}

# report runs a check and tells how it went; of what failed, everything.
report() {
	local name=$1 status
	shift
	"$@" >$lab/output 2>&1
	status=$?
	if [[ $status -eq 0 ]]; then
		good=$((good + 1))
		echo "ok    $name"
		return
	fi
	bad=$((bad + 1))
	echo "FAIL  $name"
	sed 's/^/      /' $lab/output
}

# summary is the last command of a script, and says how it went.
summary() {
	echo "$good passed, $bad failed"
	[[ $bad -eq 0 && $good -gt 0 ]]
}
