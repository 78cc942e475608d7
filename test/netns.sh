#!/usr/bin/env bash
# Where connections leave from, seen by the origin: the built binary with
# --egress in the lab of integration/lab.sh. The requests are integration/egress.py.
set -uo pipefail
# shellcheck source-path=SCRIPTDIR source=integration/lab.sh
source "$(dirname "${BASH_SOURCE[0]}")/integration/lab.sh"
need /usr/bin/python3
enter "$@"

# Egress addresses of both families, two each.
one=93.184.216.11 two=93.184.216.12 six=2606:2800::11 seven=2606:2800::12

# asks makes requests as egress.py says.
asks() {
	ip netns exec client env -i PATH="$PATH" timeout -k 5 60 /usr/bin/python3 "$root/test/integration/egress.py" "$@" && return
	sleep 0.5 # what the log holds back
	tail -n 5 $lab/access.log $lab/viaduct.err
	return 1
}

# leaves checks a proxy with flags, of which egress.py makes requests.
#
#   leaves NAME 'FLAGS' WORDS OF egress.py…
leaves() {
	local name=$1
	shift
	report "$name" served "$@"
}

served() {
	local flags status
	read -ra flags <<<"$1"
	shift
	forward --connect-ports 80 "${flags[@]}" || return 1
	asks "$@"
	status=$?
	stop
	ended_well && return $status
}

# refused checks that the proxy does not start with flags, and says so.
refused() {
	local code=$1 text=$2 status
	shift 2
	ip netns exec proxy timeout 20 $lab/viaduct forward --listen 10.0.0.1:3128 --open "$@" >$lab/refused 2>&1
	status=$?
	[[ $status -eq $code ]] && grep -F -- "$text" $lab/refused && return
	echo "exit code $status, wanted $code and a word about $text"
	cat $lab/refused
	return 1
}

# connections tells how many the origin saw from an address.
connections() { grep -cF "$1:" $lab/origin.log; }

none_from() {
	local a
	for a in "$@"; do
		[[ $(connections "$a") -eq 0 ]] || {
			echo "$(connections "$a") connections from $a"
			return 1
		}
	done
}

# few_ports leaves the proxy 20 ports for each of its addresses and destinations.
few_ports() {
	ip netns exec proxy sh -c 'cd /proc/sys/net/ipv4 && echo 40000 40019 >ip_local_port_range && echo 1 >tcp_tw_reuse'
}

# reloaded runs the proxy from a file, which changes while it runs.
reloaded() {
	local status
	cat >$lab/viaduct.yaml <<-END
		log: {access: {path: $lab/access.log}}
		forward:
		  - {listen: ["10.0.0.1:3128"], open: true, connect_ports: [80], egress: [$one]}
	END
	viaduct run -c $lab/viaduct.yaml || return 1
	asks reload "$proxy" $lab/viaduct.yaml $one $two four.test
	status=$?
	stop
	ended_well && return $status
}

addresses proxy origin $one/24 $two/24 $six/64 $seven/64 || die 'no addresses'
addresses origin proxy 93.184.216.{35,41,42,43,44}/24 2606:2800::41/64 || die 'no addresses'
for i in {100..123}; do
	addresses client proxy "10.0.0.$i/24" || die 'no addresses'
done
origin four.test=93.184.216.34 six.test=2606:2800::34 both.test=93.184.216.34,2606:2800::34 other.test=93.184.216.35

leaves 'one address' "--egress $one" only $one four.test both.test 93.184.216.34
leaves 'one address: nothing over IPv6' "--egress $one" unreachable six.test '[2606:2800::34]'
report 'one address: no connection from another' none_from 93.184.216.1 $two '[2606:2800::1]' "[$six]" "[$seven]"
leaves 'one IPv6 address' "--egress $six" only $six six.test both.test '[2606:2800::34]'
leaves 'one IPv6 address: nothing over IPv4' "--egress $six" unreachable four.test 93.184.216.34
leaves 'one of each family: IPv4' "--egress $one --egress $six" only $one four.test
leaves 'one of each family: IPv6' "--egress $one,$six" only $six six.test
leaves 'round_robin' "--egress $one --egress $two" round-robin $one $two four.test
leaves 'round_robin over IPv6' "--egress $six,$seven --egress-by round_robin" round-robin $six $seven six.test
leaves 'client' "--egress $one,$two --egress-by client" by-client $one $two four.test
leaves 'host' "--egress $one,$two --egress-by host" by-host $one $two four.test
echo nameserver 93.184.216.99 >$lab/resolv.conf # nobody is there
leaves 'a resolver of its own' "--egress $one --resolver 93.184.216.53" only $one four.test both.test
echo nameserver 93.184.216.53 >$lab/resolv.conf
report 'an address of another machine' refused 2 93.184.216.99 --egress $one --egress 93.184.216.99
report 'no address at all' refused 1 nonsense --egress nonsense
report 'no way to choose' refused 1 moon_phase --egress $one,$two --egress-by moon_phase
report 'reload: nothing leaves from the address before' reloaded

few_ports || die 'no port range'
# A destination for each: ports of connections that ended are not free at once.
leaves 'ports: one address' "--egress $one --dial-timeout 30s" exhaust 20 93.184.216.41 other.test $one
leaves 'ports: two addresses in turn' "--egress $one,$two --dial-timeout 30s" exhaust 20 93.184.216.42 other.test $one $two
leaves 'ports: a client with two addresses' "--egress $one,$two --egress-by client --dial-timeout 30s" exhaust 20 93.184.216.43 other.test $one $two
leaves 'ports: two IPv6 addresses' "--egress $six,$seven --dial-timeout 30s" exhaust 20 '[2606:2800::41]' six.test $six $seven
leaves 'ports: the system chooses' '--dial-timeout 30s' exhaust 20 93.184.216.44 other.test 93.184.216.1
summary
