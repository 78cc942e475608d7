# shellcheck shell=bash disable=SC2154 # the names of integration.sh
# What integration.sh checks of the way out through other proxies: squid,
# tinyproxy, dante, microsocks, nghttpx and viaduct itself, as they come from
# Debian. They stand in a place of their own, so that the origin sees by the
# address who has asked it.
#
#   proxy 10.0.1.1 --- 10.0.1.2 parents 93.184.217.2 --- 93.184.217.1 origin
#
# Each runs as somebody who is no root, and is one of few processes: what is
# killed here is killed whole.

at=10.0.1.2 parents=$lab/parents ncsa=/usr/lib/squid/basic_ncsa_auth
# A password that has to be escaped in a URL. tinyproxy takes no such.
parent_password='se:cret/@' parent_login=lab:se%3Acret%2F%40 tame_login=lab:tame
declare -A parent_pid

# parents_place connects the fourth place.
parents_place() {
	ip netns add parents && ip -n parents link set lo up &&
		ip link add parents netns proxy type veth peer name proxy netns parents &&
		ip link add parents netns origin type veth peer name origin netns parents &&
		addresses proxy parents 10.0.1.1/24 && addresses parents proxy $at/24 &&
		addresses origin parents 93.184.217.1/24 && addresses parents origin 93.184.217.2/24 &&
		ip -n parents route add 93.184.216.0/24 via 93.184.217.1
}

# parent starts one and waits until it listens: parent NAME PORT COMMAND…
parent() {
	local name=$1 port=$2
	shift 2
	ip netns exec parents sh -c "mount --bind $parents/passwd /etc/passwd && mount --bind $parents/shadow /etc/shadow &&
		exec unshare --user --map-user=1000 --map-group=1000 env -i PATH='$PATH' HOME=$lab/home \"\$@\"" "$name" "$@" >>"$parents/$name.out" 2>&1 &
	parent_pid[$name]=$!
	within 10 settled "$name" "$port" && heard "$port" && return
	echo "$name does not listen: $(tail -n 20 "$parents/$name".{out,err} 2>/dev/null)"
	return 1
}

settled() { heard "$2" || ! kill -0 "${parent_pid[$1]}" 2>/dev/null; }

# heard tells whether somebody listens on a port of the parents.
heard() { [[ -n $(ip netns exec parents ss -Hltn "sport = :$1") ]]; }

# kill_parent ends some as rudely as can be: kill_parent NAME…
kill_parent() {
	local name
	for name in "$@"; do
		kill -KILL "${parent_pid[$name]}"
		wait "${parent_pid[$name]}" 2>/dev/null
	done
}

# squid: 3128 is open, 3129 asks for a password, 3130 is by TLS.
squid_starts() {
	cat >"$parents/squid.conf" <<-END
		http_port $at:3128 name=open
		http_port $at:3129 name=locked
		https_port $at:3130 name=secure tls-cert=$lab/parent.crt tls-key=$lab/parent.key
		auth_param basic program $ncsa $parents/users
		auth_param basic children 1 startup=1
		acl asked myportname locked
		acl known proxy_auth REQUIRED
		http_access allow !asked
		http_access allow known
		http_access deny all
		cache deny all
		cache_mem 8 MB
		access_log stdio:$parents/squid.log
		cache_log $parents/squid.err
		pid_filename none
		pinger_enable off
		max_filedescriptors 4096
		visible_hostname squid.test
		shutdown_lifetime 0 seconds
	END
	parent squid 3128 squid -N -f "$parents/squid.conf"
}

# tinyproxy_starts NAME PORT [LINE]
tinyproxy_starts() {
	printf '%s\n' "Port $2" "Listen $at" 'Timeout 60' 'MaxClients 500' "LogFile \"$parents/$1.log\"" 'LogLevel Connect' "${@:3}" >"$parents/$1.conf"
	parent "$1" "$2" tinyproxy -d -c "$parents/$1.conf"
}

# dante_starts NAME PORT METHOD: it takes the users of the machine, of which it
# sees a list of its own.
dante_starts() {
	local name=$1 port=$2 method=$3
	cat >"$parents/$name.conf" <<-END
		logoutput: $parents/$name.log
		internal: $at port = $port
		external: 93.184.217.2
		clientmethod: none
		socksmethod: $method
		client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
		socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }
	END
	parent "$name" "$port" danted -f "$parents/$name.conf" -p "$parents/$name.pid"
}

# microsocks: 1081 is open, 1082 asks for a password.
microsocks_starts() { parent microsocks 1081 microsocks -i $at -p 1081; }

# viaduct: 3228 is open, 3229 asks for a password, 3230 is by TLS, and 3231 asks
# for a certificate, too.
viaduct_starts() {
	cat >"$parents/viaduct.yaml" <<-END
		log: {access: {path: $parents/viaduct.log}}
		forward:
		  - {listen: ['$at:3228'], open: true, connect_ports: any}
		  - {listen: ['$at:3229'], users: $parents/users, connect_ports: any}
		  - {listen: ['https://$at:3230'], open: true, connect_ports: any, tls: {cert: $lab/parent.crt, key: $lab/parent.key}}
		  - {listen: ['https://$at:3231'], connect_ports: any, tls: {cert: $lab/parent.crt, key: $lab/parent.key, client_ca: $office}}
	END
	parent viaduct 3231 $lab/viaduct run -c "$parents/viaduct.yaml"
}

# nghttpx speaks HTTP/2, and has squid behind it.
nghttpx_starts() {
	parent nghttpx 8443 nghttpx --conf=/dev/null --http2-proxy --single-process --workers=1 --frontend="$at,8443" --backend="$at,3128" \
		--no-ocsp --errorlog-file="$parents/nghttpx.err" $lab/parent.key $lab/parent.crt
}

parents_start() {
	mkdir -p "$parents" && printf 'lab:%s\n' "$(openssl passwd -apr1 "$parent_password")" >"$parents/users" &&
		echo "lab:x:1000:1000::$lab/home:/bin/false" >"$parents/passwd" &&
		echo "lab:$(openssl passwd -6 "$parent_password"):1::::::" >"$parents/shadow" &&
		certify $lab/parent $lab/office parent server 30 IP:$at &&
		squid_starts && tinyproxy_starts tinyproxy 8888 && tinyproxy_starts tinyproxy-locked 8889 'BasicAuth lab tame' &&
		dante_starts dante 1080 none && dante_starts dante-locked 1083 username && microsocks_starts && parent microsocks-locked 1082 microsocks -i $at -p 1082 -u lab -P "$parent_password" &&
		viaduct_starts && nghttpx_starts
}

# goes runs a check with the proxy started for it, and ended: goes 'FLAGS' COMMAND…
goes() {
	local flags status
	read -ra flags <<<"$1"
	shift
	forward "${flags[@]}" || return 1
	"$@"
	status=$?
	stop
	ended_well && return $status
}

# by tries a check of a way out: by NAME 'LINES' URL 'FLAGS' COMMAND… Of the log
# it wants the lines, and the parent without its login.
by() {
	local name=$1 lines=$2 url=$3 flags=$4
	shift 4
	: >$lab/access.log
	try "parents: $name" "$lines" tells "\"pool\":\"upstream\"" tells "${url/#*@/${url%%:*}://}" \
		goes "--connect-ports 80,443 --upstream-idle-timeout 2s --upstream $url $flags" "$@"
}

# serves asks in every way there is: by name and by address, with and without a
# tunnel, with a body of known length and in pieces.
serves() {
	local want
	want=$(sum $lab/large)
	curl_says 'hello GET HTTP/1.1 curl.origin.test' --http1.1 https://curl.origin.test/hello &&
		curl_says 'hello GET HTTP/2.0 curl.origin.test' --http2 https://curl.origin.test/hello &&
		curl_says "$want" --http1.1 -H Expect: --data-binary @$lab/large https://up.origin.test/sum &&
		curl_says 'hello GET HTTP/1.1 curl.origin.test' http://curl.origin.test/hello &&
		curl_says "$want" -H Expect: --data-binary @$lab/large http://up.origin.test/sum &&
		curl_says "$want" -H Expect: -H 'Transfer-Encoding: chunked' --data-binary @$lab/large http://up.origin.test/sum &&
		curl_says 'hello GET HTTP/1.1 93.184.216.34' http://93.184.216.34/hello &&
		curl_says 'hello GET HTTP/1.1 93.184.216.34' -k --http1.1 https://93.184.216.34/hello
}

served='CONNECT curl.origin.test:443 200, CONNECT up.origin.test:443 200, CONNECT 93.184.216.34:443 200'
served+=', GET http://curl.origin.test/hello 200, POST http://up.origin.test/sum 200, GET http://93.184.216.34/hello 200'

# serves_by tries a parent with names looked up here, and by the parent: then we
# have no name server.
serves_by() {
	local name=$1 url=$2 flags=${3:-}
	by "$name" "$served" "$url" "$flags" serves
	by "$name looks names up" "$served" "$url" "--upstream-resolve parent --resolver 127.0.0.1:9 $flags" serves
}

# bare checks that the origin is told of no proxy by the last viaduct of a chain.
bare() {
	local out
	out=$(with_curl http://curl.origin.test/seen) || return 1
	echo "$out"
	! grep -iE '^(via|forwarded|x-forwarded|proxy|authorization)' <<<"$out"
}

# refused_by_parent: what a parent has against us is no business of our client's,
# who is never asked for a password, and whose own helps nothing. It gets one of
# these statuses: refused_by_parent TUNNEL PLAIN.
refused_by_parent() {
	local site out
	for site in http://curl.origin.test/hello http://93.184.216.34/hello https://curl.origin.test/hello; do
		out=$(with_curl -D - -o /dev/null --proxy-user "lab:$parent_password" -w '%{http_code} %{http_connect}\n' "$site" 2>&1)
		echo "$out"
		grep -qE "^(($1|$2) 000|000 ($1))\$" <<<"$out" && ! grep -iE ' 407|proxy-authenticate' <<<"$out" || return 1
	done
}

# refuses_by: NAME URL [FLAGS [STATUSES OF TUNNELS [OF PLAIN REQUESTS]]]. A plain
# request may be refused by the origin as well: that answer is passed on.
refuses_by() {
	local name=$1 url=$2 flags=${3:-} tunnel=${4:-500} plain=${5:-${4:-500}} meant
	meant="($tunnel|$plain)"
	by "$name" '' "$url" "$flags" refused_by_parent "$tunnel" "$plain"
	by "$name, asked by name" '' "$url" "--upstream-resolve parent $flags" refused_by_parent "$tunnel" "$plain"
}

# connections tells how many the proxy has opened since the lab stands.
connections() { ip netns exec proxy awk '/^Tcp:/ {n = $6} END {print n}' /proc/net/snmp; }

# few checks that many requests left over few connections.
few() {
	local before opened
	before=$(connections)
	"$@" || return 1
	opened=$(($(connections) - before))
	echo "$opened connections"
	[[ $opened -gt 0 && $opened -le 12 ]]
}

# tunnels opens 40, eight at a time; literals asks 40 times for an address, which
# needs no tunnel.
tunnels() {
	local answers
	answers=$(client curl -Z --parallel-max 8 --http1.1 -x $proxy_at --cacert $ca "https://{a,b,c,d,e,f,g,h}.origin.test/hello?[1-5]" -H 'Connection: close' 2>/dev/null | grep -c '^hello GET')
	echo "$answers answers"
	[[ $answers -eq 40 ]]
}

literals() {
	local answers
	answers=$(with_curl 'http://93.184.216.34/hello?[1-40]' | grep -c '^hello GET')
	echo "$answers answers"
	[[ $answers -eq 40 ]]
}

# loops runs a second viaduct whose parent is the first: what the first is asked
# comes back to it once, and no further.
loops() {
	local status
	parent loop 3300 $lab/viaduct forward --listen $at:3300 --open --connect-ports any \
		--access-log "$parents/loop.log" --upstream http://10.0.1.1:3128 --upstream-resolve parent || return 1
	forward --listen 10.0.1.1:3128 --connect-ports any --upstream http://$at:3300 --upstream-resolve parent && looped
	status=$?
	kill_parent loop
	stop
	ended_well && return $status
}

looped() {
	local site out lines=0
	for site in http://loop.origin.test/hello https://loop.origin.test/hello; do
		out=$(with_curl -o /dev/null -w '%{http_code} %{http_connect}\n' "$site" 2>&1)
		echo "$out"
		grep -qE '^(421 000|000 421)$' <<<"$out" || return 1
		lines=$((lines + 2))
		within 5 has_lines $lab/access.log $lines && within 5 has_lines "$parents/loop.log" $((lines / 2)) || return 1
	done
}

has_lines() {
	[[ $(grep -c loop.origin.test "$1") -eq $2 ]] && return
	grep loop.origin.test "$1"
	return 1
}

# all_in_turn gives requests to all parents in turn. What status shows is read
# by root alone.
all_in_turn() {
	local id
	curl_many http://many.origin.test && curl_many http://many.origin.test || return 1
	$lab/viaduct status --admin unix://$lab/admin.sock >$lab/status || return 1
	cat $lab/status
	[[ $(stat -c %a $lab/admin.sock) == 600 ]] || echo 'wanted the socket to be ours alone'
	for id in "${all[@]}"; do
		id=${id/#*@/${id%%:*}://}
		grep -F "$id " $lab/status >/dev/null && within 5 told "\"endpoint\":\"$id\"" || {
			echo "wanted $id in the status and in the access log"
			return 1
		}
	done
	[[ $(stat -c %a $lab/admin.sock) == 600 ]]
}

hides_logins() {
	! grep -F -e "$parent_password" -e "${parent_login#*:}" -e tame -e "$(printf 'lab:%s' "$parent_password" | base64)" $lab/access.log $lab/viaduct.err $lab/status
}

# asked_by_parents: the origin knows nobody else.
asked_by_parents() {
	tail -n "+$(($1 + 1))" $lab/origin.log | grep '^open' | grep -v '^open 93\.184\.217\.2:' >$lab/others
	head -n 5 $lab/others
	[[ ! -s $lab/others ]]
}

# wants tells whether checks whose names begin with a word are to be made.
wants() { [[ ${#only[@]} -eq 0 || " ${only[*]}" == *" $1"* ]]; }

# parents are the checks of all this.
parents() {
	local before secure="--upstream-ca $office"
	wants parents || wants storm || return 0
	need squid tinyproxy danted microsocks nghttpx ss "$ncsa"
	{ parents_place && parents_start; } >$lab/output 2>&1 || die "$(cat $lab/output)"
	before=$(wc -l <$lab/origin.log)
	! wants parents || {
		each_parent
		each_refusal
		by 'viaduct tells nobody' 'GET http://curl.origin.test/seen 200' http://$at:3228 '--upstream-resolve parent' bare
		by 'nghttpx, many tunnels over few connections' '' https://$at:8443 "$secure" few tunnels
		by 'squid, many requests over few connections' '' http://$at:3128 '' few literals
		report 'parents: two viaducts in a loop' loops
		chains
		everybody
	}
	! wants storm || storm
	report 'parents: the origin saw nobody else' asked_by_parents "$before"
}

each_parent() {
	serves_by squid http://$at:3128
	serves_by 'squid with a password' "http://$parent_login@$at:3129"
	serves_by 'squid by TLS' https://$at:3130 "$secure"
	serves_by tinyproxy http://$at:8888
	serves_by 'tinyproxy with a password' http://$tame_login@$at:8889
	serves_by dante socks5://$at:1080
	serves_by 'dante with a password' "socks5://$parent_login@$at:1083"
	serves_by microsocks socks5://$at:1081
	serves_by 'microsocks with a password' "socks5://$parent_login@$at:1082"
	serves_by viaduct http://$at:3228
	serves_by 'viaduct with a password' "http://$parent_login@$at:3229"
	serves_by 'viaduct by TLS' https://$at:3230 "$secure"
	serves_by 'viaduct that asks for a certificate' https://$at:3231 "$secure --upstream-cert $lab/ada.crt --upstream-key $lab/ada.key"
	# nghttpx tells squid nothing of a client that has ended its side.
	meant='200,"fault":"connection_read_timeout"' serves_by 'nghttpx by HTTP/2' https://$at:8443 "$secure --half-close-timeout 1s"
}

each_refusal() {
	refuses_by 'squid, wrong password' http://lab:wrong@$at:3129
	refuses_by 'squid, no password' http://$at:3129
	refuses_by 'tinyproxy, wrong password' http://lab:wrong@$at:8889 '' '500|403' 401 # a 401 is its answer to that
	refuses_by 'tinyproxy, no password' http://$at:8889
	refuses_by 'dante, wrong password' socks5://lab:wrong@$at:1083
	refuses_by 'microsocks, wrong password' socks5://lab:wrong@$at:1082
	refuses_by 'microsocks, no password' socks5://$at:1082
	refuses_by 'viaduct, wrong password' http://lab:wrong@$at:3229
	refuses_by 'viaduct by TLS, unknown authority' https://$at:3230 '' 502
	refuses_by 'viaduct that asks for a certificate, none' https://$at:3231 "$secure" '502|403' 403
}

# chains are of two parents; an endpoint of that kind has spaces in it.
chains() {
	local chain id
	for chain in "http://$at:3128 -> socks5://$at:1081" "socks5://$parent_login@$at:1082 -> https://$at:3230" "https://$at:8443 -> http://$parent_login@$at:3229"; do
		: >$lab/access.log
		id=${chain//$parent_login@/}
		try "parents: a chain, $id" "$served" tells "\"endpoint\":\"$id\"" chained "$chain"
	done
}

chained() {
	local status
	local authority=()
	[[ $1 != *https://* ]] || authority=(--upstream-ca $office)
	forward --connect-ports 80,443 "${authority[@]}" --upstream "$1" || return 1
	serves
	status=$?
	stop
	ended_well && return $status
}

# everybody is a pool of them all.
everybody() {
	local all flags=(--balance round_robin --upstream-ca $office --admin unix://$lab/admin.sock) id base
	all=(http://$at:{3128,8888,3228} "http://$parent_login@$at:3129" https://$at:{3130,3230} socks5://$at:{1080,1081} "socks5://$parent_login@$at:1082")
	for id in "${all[@]}"; do
		flags+=(--upstream "$id")
	done
	forward --connect-ports 80,443 --upstream-idle-timeout 2s "${flags[@]}" || exit 1
	base=$(sockets)
	try 'parents: all in turn' 'GET http://many.origin.test/hello 200' all_in_turn
	report 'parents: no login is shown' hides_logins
	ends parents "$base"
}
